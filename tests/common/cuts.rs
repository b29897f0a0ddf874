//! A proxy in front of a PostgreSQL server that breaks connections where it hurts: after the server has
//! carried something out, and before the client hears of it. Or it keeps answers back for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use teardownd::core::clock::Clock as _;
use teardownd::runtime::clock::SystemClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Where a connection breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// At every COMMIT of this number that was carried out, over all connections.
    AtCommits(usize),
    /// At every statement of this number that was carried out, over all connections. Settings of sessions do
    /// not count.
    AtEvery(usize),
    /// Nowhere, but nobody hears of a NOTIFY, as behind a pooler that gives connections away after each
    /// transaction.
    Deaf,
    /// Nowhere, but each row of an answer comes this late.
    Late(Duration),
}

/// The proxy. It ends with its handle.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of a server on this machine.
    pub(crate) async fn before(port: u16, cut: Cut) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicUsize::new(0));
        let (statements, counted) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&cuts));
        let task = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let is_cut = {
                    let (statements, counted) = (Arc::clone(&statements), Arc::clone(&counted));
                    move |tag: &[u8]| {
                        let (counts, number) = match cut {
                            Cut::AtCommits(number) => (tag.starts_with(b"COMMIT\0"), number),
                            Cut::AtEvery(number) => (!tag.starts_with(b"SET\0"), number),
                            Cut::Late(_) | Cut::Deaf => return false,
                        };
                        let is_cut = counts
                            && (statements.fetch_add(1, Ordering::Relaxed) + 1) % number == 0;
                        counted.fetch_add(usize::from(is_cut), Ordering::Relaxed);
                        is_cut
                    }
                };
                let (late, is_deaf) = match cut {
                    Cut::Late(late) => (late, false),
                    Cut::Deaf => (Duration::ZERO, true),
                    Cut::AtCommits(_) | Cut::AtEvery(_) => (Duration::ZERO, false),
                };
                // Whichever ends first ends both: dropping the halves closes the sockets.
                tokio::spawn(async move {
                    tokio::select! {
                        () = copy(from_client, to_server) => {}
                        () = answer(from_server, to_client, late, is_deaf, is_cut) => {}
                    }
                });
            }
        });
        Self { address, cuts, task }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections it has broken.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    tokio::io::copy(&mut from, &mut to).await.ok();
}

/// Hands on the server's messages, up to the one at which the connection breaks. Each is a letter, its length
/// and the rest; `A` is a NOTIFY, `D` a row, and `C` tells of a statement that was carried out
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    late: Duration,
    is_deaf: bool,
    is_cut: impl Fn(&[u8]) -> bool,
) {
    let clock = SystemClock::start();
    let mut message = Vec::new();
    loop {
        let mut head = [0; 5];
        if from.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        message.clear();
        message.extend_from_slice(&head);
        message.resize(1 + length, 0);
        if from.read_exact(&mut message[5..]).await.is_err() {
            return;
        }
        if head[0] == b'D' && !late.is_zero() {
            clock.sleep(late).await;
        }
        if head[0] == b'A' && is_deaf {
            continue;
        }
        if head[0] == b'C' && is_cut(&message[5..]) {
            return;
        }
        if to.write_all(&message).await.is_err() {
            return;
        }
    }
}
