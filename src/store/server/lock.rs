//! The lock of the one daemon that works on a database, held by a session of its own on the server: it ends
//! with the process, however that ends.

use sqlx::{Connection as _, PgConnection};

use super::{RECONNECTIONS, Server, pause};
use crate::store::lanes::Way;
use crate::store::{Result, StoreError, Tx};

/// The lock's name, as PostgreSQL takes it. It is a lock of this database alone.
const KEY: i64 = 0x7465_6172_646f_776e;

/// The session that holds the lock.
#[derive(Debug)]
pub(super) struct Held {
    conn: PgConnection,
}

impl Held {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when another daemon has it; [`StoreError::Lost`] when the server cannot be
    /// reached.
    pub(super) async fn take(server: &Server, way: &Way) -> Result<Self> {
        let Tx::Postgres(mut conn) = way.open().await? else {
            return Err(StoreError::Engine("not a server".to_owned()));
        };
        let is_taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(KEY)
            .fetch_one(&mut conn)
            .await?;
        if is_taken {
            return Ok(Self { conn });
        }
        let holder = holder(&mut conn).await?;
        Err(StoreError::Unfit(format!(
            "{} is in use by {holder}: only one `teardownd run` may work on a database. Stop that one \
             first; the other commands work beside it",
            server.url
        )))
    }

    /// Whether the session still stands, and with it the lock.
    pub(super) async fn is_held(&mut self) -> bool {
        self.conn.ping().await.is_ok()
    }
}

/// The session that holds the lock, in words.
async fn holder(conn: &mut PgConnection) -> Result<String> {
    let found: Option<String> = sqlx::query_scalar(
        "SELECT concat('a daemon at ', coalesce(host(client_addr), 'the server itself'),
                       ', process ', activity.pid, ' of the server, since ',
                       to_char(backend_start, 'YYYY-MM-DD HH24:MI:SSOF'))
         FROM pg_locks AS lock JOIN pg_stat_activity AS activity USING (pid)
         WHERE locktype = 'advisory' AND granted AND objsubid = 1
           AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND (classid::bigint << 32 | objid::bigint) = $1",
    )
    .bind(KEY)
    .fetch_optional(conn)
    .await?;
    Ok(found.unwrap_or_else(|| "another daemon".to_owned()))
}

/// Whether a daemon holds the lock of this database.
pub(super) async fn is_held(tx: &mut Tx) -> Result<bool> {
    let Tx::Postgres(conn) = tx else { return Ok(false) };
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_locks
             WHERE locktype = 'advisory' AND granted AND objsubid = 1
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND (classid::bigint << 32 | objid::bigint) = $1)",
    )
    .bind(KEY)
    .fetch_one(conn)
    .await?)
}

impl Server {
    /// Takes the lock for this process.
    ///
    /// # Errors
    /// As [`Held::take`].
    pub(in crate::store) async fn lock(&self) -> Result<()> {
        *self.held.lock().await = Some(Held::take(self, &self.way(String::new())).await?);
        Ok(())
    }

    /// Whether this process still has the lock, if it ever had it. A session that the server has ended is
    /// begun anew.
    ///
    /// # Errors
    /// [`StoreError::Gone`] when another daemon has the lock by now; [`StoreError::Lost`] when the server
    /// cannot be reached.
    pub(in crate::store) async fn keep_lock(&self) -> Result<()> {
        let mut held = self.held.lock().await;
        let is_ours = match held.as_mut() {
            None => true,
            Some(held) => held.is_held().await,
        };
        if is_ours {
            return Ok(());
        }
        let mut lost = 0;
        loop {
            match Held::take(self, &self.way(String::new())).await {
                Ok(anew) => {
                    *held = Some(anew);
                    return Ok(());
                }
                Err(StoreError::Lost(_)) if lost < RECONNECTIONS => {
                    self.clock.sleep(pause(lost)).await;
                    lost += 1;
                }
                Err(StoreError::Unfit(text)) => return Err(StoreError::Gone(text)),
                Err(error) => return Err(error),
            }
        }
    }
}
