//! Kept connections and what the protocol guarantees, against real servers on the loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use crate::partner_center::reqwest_transport::{ReqwestTransport, TransportSettings};
use crate::partner_center::transport::{Request, Response, Transport, TransportError};

const ID: &str = "0e1d2c3b-4a59-4687-8796-a5b4c3d2e1f0";

fn request(method: &'static str, url: &Url, fresh: bool) -> Request {
    let body = (method != "GET").then(|| Bytes::from_static(b"{}"));
    let headers = vec![("MS-RequestId", ID.to_owned())];
    Request { method, url: url.clone(), headers, body, timeout: Duration::from_secs(60), fresh }
}

fn address(listener: &TcpListener) -> Url {
    let port = listener.local_addr().unwrap().port();
    Url::parse(&format!("http://127.0.0.1:{port}/v1/customers")).unwrap()
}

/// A server that answers one request on each connection and closes it when the next one has arrived
/// there. Counts the connections.
async fn closing_server() -> (Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = address(&listener);
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
                let _ = stream.read(&mut request).await;
            });
        }
    });
    (url, connections)
}

#[tokio::test]
async fn a_kept_connection_that_turns_out_closed_is_told_and_a_fresh_one_is_new() {
    for method in ["GET", "PATCH"] {
        let (url, connections) = closing_server().await;
        let transport = ReqwestTransport::new(&TransportSettings::default()).unwrap();
        assert_eq!(transport.exchange(request(method, &url, false)).await.unwrap().status, 200);
        let closed = transport.exchange(request(method, &url, false)).await.unwrap_err();
        assert!(matches!(closed, TransportError::Closed(_)), "{method}: {closed}");
        assert_eq!(connections.load(Ordering::Relaxed), 1, "{method}: nothing is repeated here");
        for n in 2..5 {
            let answered = transport.exchange(request(method, &url, true)).await;
            assert_eq!(answered.unwrap().status, 200);
            assert_eq!(connections.load(Ordering::Relaxed), n, "each has a connection of its own");
        }
    }
}

/// How a server of HTTP/2 deals with the first request.
#[derive(Debug, Clone, Copy)]
enum First {
    /// Refuses its stream, or breaks it off for another reason.
    Reset(Reason),
    /// Goes away before it has taken the stream up.
    GoesAway,
    /// Takes it up, and then the connection breaks.
    Breaks,
}

/// A server of HTTP/2 that answers all requests but the first. Counts those that arrive, and notes
/// their ids.
async fn server_of_http_2(first: First) -> (Url, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = address(&listener);
    let arrived = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&arrived);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                if let First::GoesAway = first
                    && noted.lock().unwrap().is_empty()
                {
                    goes_away(stream, &noted).await;
                    return;
                }
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let id = request.headers()["ms-requestid"].to_str().unwrap().to_owned();
                    noted.lock().unwrap().push(id);
                    let is_first = noted.lock().unwrap().len() == 1;
                    match first {
                        First::Reset(reason) if is_first => respond.send_reset(reason),
                        First::Breaks if is_first => return,
                        First::Reset(_) | First::GoesAway | First::Breaks => {
                            let answer = axum::http::Response::new(());
                            respond.send_response(answer, true).unwrap();
                        }
                    }
                }
            });
        }
    });
    (url, arrived)
}

/// Speaks just enough of HTTP/2 to take up no stream: settings, and when a request has arrived GOAWAY
/// with 0 as the last stream (RFC 9113, section 6.8).
async fn goes_away(mut stream: tokio::net::TcpStream, noted: &std::sync::Mutex<Vec<String>>) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    stream.write_all(&SETTINGS).await.unwrap();
    let mut seen = Vec::new();
    let mut part = [0; 4096];
    while !seen.windows(ID.len()).any(|text| text == ID.as_bytes()) && !has_headers(&seen) {
        let read = stream.read(&mut part).await.unwrap();
        seen.extend_from_slice(&part[..read]);
    }
    noted.lock().unwrap().push(ID.to_owned());
    stream.write_all(&GOAWAY).await.unwrap();
    while stream.read(&mut part).await.is_ok_and(|read| read > 0) {}
}

/// Whether a frame of headers follows the preface.
fn has_headers(seen: &[u8]) -> bool {
    const PREFACE: usize = 24;
    let mut rest = seen.get(PREFACE..).unwrap_or_default();
    while let [a, b, c, kind, ..] = *rest {
        if kind == 1 {
            return true;
        }
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    false
}

async fn ask(
    method: &'static str,
    first: First,
) -> (Result<Response, TransportError>, Vec<String>) {
    let (url, arrived) = server_of_http_2(first).await;
    let settings = TransportSettings::default();
    let builder = || Ok(ReqwestTransport::builder(&settings)?.http2_prior_knowledge());
    let transport = ReqwestTransport::build(builder).unwrap();
    let answer = transport.exchange(request(method, &url, false)).await;
    let arrived = arrived.lock().unwrap().clone();
    (answer, arrived)
}

#[tokio::test]
async fn invariant_4_what_http_2_guarantees_not_to_have_processed_goes_out_again_under_its_id() {
    for method in ["GET", "PATCH", "DELETE"] {
        for first in [First::Reset(Reason::REFUSED_STREAM), First::GoesAway] {
            let (answer, arrived) = ask(method, first).await;
            assert_eq!(answer.unwrap().status, 200, "{method} {first:?}");
            assert_eq!(arrived, [ID, ID], "{method} {first:?}");
        }
    }
}

#[tokio::test]
async fn invariant_4_what_may_have_been_processed_is_not_repeated() {
    for method in ["GET", "PATCH", "DELETE"] {
        for first in
            [First::Reset(Reason::INTERNAL_ERROR), First::Reset(Reason::CANCEL), First::Breaks]
        {
            let (answer, arrived) = ask(method, first).await;
            let error = answer.unwrap_err();
            assert!(matches!(error, TransportError::Closed(_)), "{method} {first:?}: {error}");
            assert_eq!(arrived, [ID], "{method} {first:?}");
        }
    }
}
