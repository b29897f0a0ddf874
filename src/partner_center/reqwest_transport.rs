//! The transport over reqwest and rustls.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, redirect};
use url::Url;

use super::decode::tidy;
use super::transport::{Request, Response, Transport, TransportError};
use crate::core::clock::BoxFuture;

/// Answers larger than this are refused: a customer list of a sandbox is well below one megabyte.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Settings of the transport.
#[derive(Debug, Clone)]
pub struct TransportSettings {
    /// Limit on making a connection.
    pub connect_timeout: Duration,
    /// A proxy for everything but loopback addresses. The proxy variables of the environment are
    /// not read: tokens go where the configuration says and nowhere else.
    pub proxy: Option<Url>,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), proxy: None }
    }
}

/// HTTP over TCP and TLS: HTTP/2 where it is offered, connections kept, no redirects (a token must
/// not follow one), no retries (a write may go out only when it was decided to).
#[derive(Debug, Clone)]
pub struct ReqwestTransport {
    http: reqwest::Client,
}

impl ReqwestTransport {
    /// Builds the transport.
    ///
    /// # Errors
    /// When TLS cannot be set up or the proxy's address cannot be used.
    pub fn new(settings: &TransportSettings) -> Result<Self, TransportError> {
        let unfit = |error: reqwest::Error| TransportError::Connect(words(&error));
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("teardownd/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .gzip(true)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30));
        if let Some(proxy) = &settings.proxy {
            let direct = reqwest::NoProxy::from_string("localhost,127.0.0.0/8,::1");
            let proxy = reqwest::Proxy::all(proxy.as_str()).map_err(unfit)?.no_proxy(direct);
            builder = builder.proxy(proxy);
        }
        Ok(Self { http: builder.build().map_err(unfit)? })
    }

    async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let timeout = request.timeout;
        let failed = |error: reqwest::Error| classify(&error, timeout);
        let request = self.compose(request)?;
        let mut response = self.http.execute(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                let text = format!("the answer is larger than {LARGEST_ANSWER} bytes");
                return Err(TransportError::Broken(text));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body: body.freeze() })
    }

    fn compose(&self, request: Request) -> Result<reqwest::Request, TransportError> {
        let Request { method, url, headers, body, timeout } = request;
        let unfit = |what: &str| TransportError::Broken(format!("nothing was sent: {what}"));
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| unfit("unknown method"))?;
        let mut built = reqwest::Request::new(method, url);
        *built.timeout_mut() = Some(timeout);
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| unfit(&format!("the header {name} cannot be sent as it is")))?;
            value.set_sensitive(name.eq_ignore_ascii_case("authorization"));
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| unfit("a header has a malformed name"))?;
            built.headers_mut().append(name, value);
        }
        *built.body_mut() = body.map(|bytes: Bytes| reqwest::Body::from(bytes));
        Ok(built)
    }
}

impl Transport for ReqwestTransport {
    fn exchange(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(self.exchange(request))
    }
}

fn classify(error: &reqwest::Error, timeout: Duration) -> TransportError {
    if error.is_connect() {
        TransportError::Connect(words(error))
    } else if error.is_timeout() {
        TransportError::Timeout(timeout)
    } else {
        TransportError::Broken(words(error))
    }
}

/// The causes, innermost last, without reqwest's own sentence: that one holds the address.
fn words(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn Error> = error.source();
    let mut words: Vec<String> = Vec::new();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if words.last() != Some(&text) {
            words.push(text);
        }
        cause = inner.source();
    }
    if words.is_empty() { "no reason given".to_owned() } else { tidy(&words.join(": ")) }
}
