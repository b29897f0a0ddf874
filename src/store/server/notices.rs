//! Notices of the server: somebody has queued a row or typed in a request. They save the wait for the next
//! look, which finds the same without them.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};

use super::{Server, pause};
use crate::store::Result;

/// The channel on which the triggers of the schema tell.
const CHANNEL: &str = "teardownd";
/// By then an echo has come back, or it never will.
const ECHO: Duration = Duration::from_secs(5);

/// A connection that listens.
#[derive(Debug)]
pub(super) struct Notices {
    listener: PgListener,
}

impl Notices {
    async fn open(server: &Server) -> Result<Self> {
        let options = server.options();
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Self { listener })
    }

    /// Asks for an echo of its own words, which a pooler in transaction mode swallows.
    async fn is_heard(&mut self, server: &Server) -> Result<bool> {
        sqlx::query("SELECT pg_notify($1, 'echo')")
            .bind(CHANNEL)
            .execute(&mut self.listener)
            .await?;
        tokio::select! {
            heard = self.listener.recv() => Ok(heard.is_ok()),
            () = server.clock.sleep(ECHO) => Ok(false),
        }
    }
}

impl Server {
    /// Completes when somebody has stored something that may have to be looked at, or may have done so while
    /// nobody listened. One task alone listens.
    pub(in crate::store) async fn changed(&self) {
        let mut notices = self.notices.lock().await;
        let mut tried = 0;
        loop {
            match notices.as_mut() {
                // The end of a connection is `None`; the next one is opened by then.
                Some(open) => match open.listener.try_recv().await {
                    Ok(_) => return,
                    Err(error) => {
                        tracing::debug!(%error, "the server is not heard any more");
                        *notices = None;
                    }
                },
                None => match self.listen().await {
                    Ok(open) => {
                        *notices = Some(open);
                        return;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "the server cannot be listened to");
                        self.clock.sleep(pause(tried)).await;
                        tried += 1;
                    }
                },
            }
        }
    }

    async fn listen(&self) -> Result<Notices> {
        let mut open = Notices::open(self).await?;
        if !open.is_heard(self).await? {
            // A pooler in transaction mode stands between.
            tracing::warn!(database = %self.url, "NOTIFY does not arrive: new rows are found by looking");
        }
        Ok(open)
    }
}
