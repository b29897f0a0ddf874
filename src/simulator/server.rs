//! The simulator behind a listener on loopback, in plain HTTP.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Simulator;
use super::call::{Answer, Call, Delivery};
use super::transport::Awaited;

/// The largest request body it reads.
const LARGEST_BODY: usize = 1 << 20;

/// A running listener. Dropping it leaves the listener running.
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl ServerHandle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for both the API and the token authority.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting and waits for the connections that are open to finish their answers.
    pub async fn shutdown(self) {
        // An error means that the task has ended already.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Serves a simulator on a listener, in a task of its own, until told to shut down.
pub fn serve(simulator: Simulator, listener: TcpListener) -> io::Result<ServerHandle> {
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    let app = Router::new()
        .fallback(answer)
        .with_state(simulator)
        .into_make_service_with_connect_info::<Cable>();
    let serving = axum::serve(Sockets(listener), app).with_graceful_shutdown(async {
        // The handle was dropped: go on serving.
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    });
    let task = tokio::spawn(async move {
        // Serving ends without an error: failing connections end alone.
        let _ = serving.await;
    });
    Ok(ServerHandle { address, stop, task })
}

async fn answer(
    State(simulator): State<Simulator>,
    ConnectInfo(cable): ConnectInfo<Cable>,
    request: Request,
) -> Response {
    let call = match read(request).await {
        Ok(call) => call,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let reply = simulator.handle(&call);
    // If the client hangs up, this future is dropped and takes the guard with it.
    let awaited = Awaited::new(&simulator, reply.call);
    if !reply.delay.is_zero() {
        simulator.clock().sleep(reply.delay).await;
    }
    match reply.delivery {
        Delivery::Whole(answer) => {
            awaited.arrived();
            let body = Body::from(answer.body.clone());
            response(&answer, body)
        }
        Delivery::CutOff(answer) => {
            let length = answer.body.len();
            let half = answer.body.slice(..length / 2);
            let broken = io::Error::from(io::ErrorKind::ConnectionReset);
            let parts = [Ok::<Bytes, io::Error>(half), Err(broken)];
            let mut cut = response(&answer, Body::from_stream(futures::stream::iter(parts)));
            cut.headers_mut().insert("content-length", length.into());
            cut
        }
        Delivery::Dropped => {
            cable.cut();
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

async fn read(request: Request) -> Result<Call, axum::Error> {
    let (head, body) = request.into_parts();
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
    Ok(Call {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: to_bytes(body, LARGEST_BODY).await?,
    })
}

fn response(answer: &Answer, body: Body) -> Response {
    let headers: HeaderMap = answer
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let name: axum::http::HeaderName = name.parse().ok()?;
            Some((name, value.parse().ok()?))
        })
        .collect();
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, headers, body).into_response()
}

/// The switch of one connection. Once cut, neither side gets another byte through.
#[derive(Debug, Clone, Default)]
struct Cable(Arc<AtomicBool>);

impl Cable {
    fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Connected<IncomingStream<'_, Sockets>> for Cable {
    fn connect_info(stream: IncomingStream<'_, Sockets>) -> Self {
        stream.io().cable.clone()
    }
}

/// A listener whose connections can be cut by a handler, which a service cannot do by itself.
struct Sockets(TcpListener);

impl Listener for Sockets {
    type Io = Socket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Socket, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (Socket { stream, cable: Cable::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection and its switch.
struct Socket {
    stream: TcpStream,
    cable: Cable,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cable.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cable.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cable.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
