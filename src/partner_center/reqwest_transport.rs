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

/// How soon a connection is asked for a sign of life, and how long that may take.
const KEPT_ALIVE: Duration = Duration::from_secs(10);

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
/// not follow one). Nothing is repeated but what was provably not processed, with the same headers and
/// body: a request that never left, a stream that the server refused (`REFUSED_STREAM`) or did not
/// take up before it went away (`GOAWAY`; RFC 9113, section 8.7).
#[derive(Debug, Clone)]
pub struct ReqwestTransport {
    kept: reqwest::Client,
    /// Keeps no connection, so that each request has a new one.
    fresh: reqwest::Client,
}

impl ReqwestTransport {
    /// Builds the transport.
    ///
    /// # Errors
    /// When TLS cannot be set up or the proxy's address cannot be used.
    pub fn new(settings: &TransportSettings) -> Result<Self, TransportError> {
        Self::build(|| Self::builder(settings))
    }

    pub(super) fn build(
        builder: impl Fn() -> Result<reqwest::ClientBuilder, TransportError>,
    ) -> Result<Self, TransportError> {
        Ok(Self {
            kept: builder()?.build().map_err(unfit)?,
            fresh: builder()?.pool_max_idle_per_host(0).build().map_err(unfit)?,
        })
    }

    pub(super) fn builder(
        settings: &TransportSettings,
    ) -> Result<reqwest::ClientBuilder, TransportError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("teardownd/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .gzip(true)
            .tcp_nodelay(true)
            // A connection that died in silence is given up within half a minute.
            .tcp_keepalive(KEPT_ALIVE)
            .tcp_keepalive_interval(KEPT_ALIVE / 2)
            .tcp_keepalive_retries(3)
            .http2_keep_alive_interval(KEPT_ALIVE)
            .http2_keep_alive_timeout(KEPT_ALIVE);
        if let Some(proxy) = &settings.proxy {
            let direct = reqwest::NoProxy::from_string("localhost,127.0.0.0/8,::1");
            let proxy = reqwest::Proxy::all(proxy.as_str()).map_err(unfit)?.no_proxy(direct);
            builder = builder.proxy(proxy);
        }
        Ok(builder)
    }

    async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let timeout = request.timeout;
        let http = if request.fresh { &self.fresh } else { &self.kept };
        let request = Self::compose(request)?;
        let sent = http.execute(request).await;
        let mut response =
            sent.map_err(|error| classify(&error, timeout, TransportError::Closed))?;
        let failed = |error: reqwest::Error| classify(&error, timeout, TransportError::Broken);
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

    fn compose(request: Request) -> Result<reqwest::Request, TransportError> {
        let Request { method, url, headers, body, timeout, .. } = request;
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

fn unfit(error: reqwest::Error) -> TransportError {
    TransportError::Connect(words(&error))
}

fn classify(
    error: &reqwest::Error,
    timeout: Duration,
    otherwise: fn(String) -> TransportError,
) -> TransportError {
    if error.is_connect() {
        TransportError::Connect(words(error))
    } else if error.is_timeout() {
        TransportError::Timeout(timeout)
    } else {
        otherwise(words(error))
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection with these bytes, and keeps it open if they are none.
    async fn server(answer: Vec<u8>) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    let _ = stream.write_all(&answer).await;
                });
            }
        });
        Url::parse(&format!("http://127.0.0.1:{port}/v1/secret-path")).unwrap()
    }

    fn http(head: &str, body: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body]
            .concat()
    }

    async fn get(url: Url, timeout: Duration) -> Result<Response, TransportError> {
        let transport = ReqwestTransport::new(&TransportSettings::default()).unwrap();
        let headers = vec![("Authorization", "Bearer s3cret".to_owned())];
        let fresh = false;
        let request = Request { method: "GET", url, headers, body: None, timeout, fresh };
        transport.exchange(request).await
    }

    const LONG: Duration = Duration::from_secs(300);

    #[tokio::test]
    async fn answers_are_read_whole_and_redirects_are_not_followed() {
        let url =
            server(http("302 Found\r\nLocation: http://127.0.0.1:1/\r\nX-Up: Yes", b"body")).await;
        let response = get(url, LONG).await.unwrap();
        assert_eq!((response.status, &response.body[..]), (302, &b"body"[..]));
        assert_eq!(response.header("x-up"), Some("Yes"));
    }

    #[tokio::test]
    async fn compressed_answers_are_unpacked() {
        let packed: &[u8] = &[
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0,
            0,
        ];
        let url = server(http("200 OK\r\nContent-Encoding: gzip", packed)).await;
        assert_eq!(&get(url, LONG).await.unwrap().body[..], b"{}");
    }

    #[tokio::test]
    async fn silence_and_cut_off_answers_are_told_apart_and_show_no_address() {
        let silent = get(server(Vec::new()).await, Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(silent, TransportError::Timeout(Duration::from_millis(50)));

        let mut answer = http("200 OK", b"{\"items\":[");
        answer.truncate(answer.len() - 3);
        let cut = get(server(answer).await, LONG).await.unwrap_err();
        assert!(matches!(cut, TransportError::Broken(_)), "{cut}");

        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let url = Url::parse(&format!("http://{gone}/v1/secret-path")).unwrap();
        let refused = get(url, LONG).await.unwrap_err();
        assert!(matches!(refused, TransportError::Connect(_)), "{refused}");
        for error in [silent, cut, refused] {
            let text = error.to_string();
            assert!(!text.contains("secret"), "invariant 13: {text}");
        }
    }

    #[tokio::test]
    async fn answers_that_are_too_large_are_refused() {
        let url = server(http("200 OK", &vec![b' '; LARGEST_ANSWER + 1])).await;
        let error = get(url, LONG).await.unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
    }

    #[tokio::test]
    async fn a_header_that_cannot_be_sent_is_an_error_without_its_value() {
        let transport = ReqwestTransport::new(&TransportSettings::default()).unwrap();
        let request = Request {
            method: "GET",
            url: Url::parse("http://127.0.0.1:1/").unwrap(),
            headers: vec![("Authorization", "Bearer s3cret\r\nX: y".to_owned())],
            body: None,
            timeout: LONG,
            fresh: false,
        };
        let text = transport.exchange(request).await.unwrap_err().to_string();
        assert!(text.contains("Authorization") && !text.contains("s3cret"), "{text}");
    }
}
