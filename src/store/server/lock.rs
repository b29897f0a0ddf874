//! The lock on the name of a replica, held by a session of its own on the server: it ends with the process,
//! however that ends.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::open::session;
use super::{RECONNECTIONS, Server, pause};
use crate::store::lanes::Way;
use crate::store::{Result, StoreError, Tx};

/// Sets the locks of this program apart from those of others. A lock is one of this database alone. Programs
/// that knew of no replicas lock the number itself, each for itself; replicas share it.
const SEED: i64 = 0x7465_6172_646f_776e;

/// Within this a replica that works has written its heartbeat anew.
const HEARTBEAT: Duration = Duration::from_secs(12);

/// The session that holds the lock.
#[derive(Debug)]
pub(super) struct Held {
    name: String,
    conn: PgConnection,
}

/// Somebody else has the name.
struct Taken {
    /// Who, in words.
    text: String,
    /// The latest heartbeat of that replica, if it has had one.
    ticked_at: Option<String>,
}

impl Held {
    /// Takes the lock on a name, unless somebody has it.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when an older program works on the database; [`StoreError::Lost`] when the server
    /// cannot be reached.
    async fn take(server: &Server, way: &Way, name: &str) -> Result<Result<Self, Taken>> {
        let Tx::Postgres(mut conn) = way.open().await? else {
            return Err(StoreError::Engine("not a server".to_owned()));
        };
        let is_shared: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock_shared($1)")
            .bind(SEED)
            .fetch_one(&mut conn)
            .await?;
        if !is_shared {
            return Err(StoreError::Unfit(format!(
                "an older teardownd works on {}, and works alone: stop it first",
                server.url
            )));
        }
        let is_taken: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, $2))")
                .bind(name)
                .bind(SEED)
                .fetch_one(&mut conn)
                .await?;
        if is_taken {
            return Ok(Ok(Self { name: name.to_owned(), conn }));
        }
        let text = format!(
            "{} has a replica named {name:?} already, {}: each needs a name of its own. Stop that one, or \
             set engine.replica to another name here",
            server.url,
            holder(&mut conn, name).await?
        );
        Ok(Err(Taken { text, ticked_at: heartbeat(&mut conn, name).await }))
    }

    /// Whether the session still stands, and with it the lock.
    async fn is_held(&mut self) -> bool {
        self.conn.ping().await.is_ok()
    }
}

/// The latest heartbeat of a replica. A database that has yet to be migrated knows of none.
async fn heartbeat(conn: &mut PgConnection, name: &str) -> Option<String> {
    sqlx::query_scalar("SELECT ticked_at::text FROM replicas WHERE name = $1")
        .bind(name)
        .fetch_optional(conn)
        .await
        .unwrap_or_default()
}

/// The locks on names, with the sessions that hold them.
const LOCKS: &str = "pg_locks AS lock JOIN pg_stat_activity AS activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// The session that holds the lock on a name, in words.
async fn holder(conn: &mut PgConnection, name: &str) -> Result<String> {
    let found: Option<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT concat('at ', coalesce(host(client_addr), 'the server itself'),
                       ', process ', activity.pid, ' of the server, since ',
                       to_char(backend_start, 'YYYY-MM-DD HH24:MI:SSOF'))
         FROM {LOCKS} AND (classid::bigint << 32 | objid::bigint) = hashtextextended($1, $2)"
    )))
    .bind(name)
    .bind(SEED)
    .fetch_optional(conn)
    .await?;
    Ok(found.unwrap_or_else(|| "whose session is not shown to this role".to_owned()))
}

/// Whether a replica of this database holds the lock on its name.
pub(super) async fn is_held(tx: &mut Tx) -> Result<bool> {
    let Tx::Postgres(conn) = tx else { return Ok(false) };
    Ok(sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT EXISTS (SELECT 1 FROM {LOCKS} AND (classid::bigint << 32 | objid::bigint)
             IN (SELECT hashtextextended(name, $1) FROM replicas))"
    )))
    .bind(SEED)
    .fetch_one(conn)
    .await?)
}

impl Server {
    /// Takes the lock on the name of this replica. The server may still hold it for a process whose host has
    /// crashed: its heartbeat tells.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when another process works under the name; [`StoreError::Busy`] when one has
    /// it that gives no sign of life; [`StoreError::Lost`] when the server cannot be reached.
    pub(in crate::store) async fn lock(&self, name: &str) -> Result<()> {
        let mut first: Option<Taken> = None;
        for _ in 0..=HEARTBEAT.as_secs() {
            let taken = match Held::take(self, &self.way(session("")), name).await? {
                Ok(held) => {
                    *self.held.lock().await = Some(held);
                    return Ok(());
                }
                Err(taken) => taken,
            };
            if first.as_ref().is_some_and(|first| first.ticked_at != taken.ticked_at) {
                return Err(StoreError::Unfit(taken.text));
            }
            first.get_or_insert(taken);
            self.clock.sleep(Duration::from_secs(1)).await;
        }
        let text = first.map(|taken| taken.text).unwrap_or_default();
        Err(StoreError::Busy(format!(
            "{text}. It gives no sign of life: if its host has crashed, the server lets go of the name within \
             a minute, and the next start has it"
        )))
    }

    /// Makes sure that this process still has the lock, if it ever had it. A session that the server has
    /// ended is begun anew.
    ///
    /// # Errors
    /// [`StoreError::Gone`] when another process has the name by now; [`StoreError::Lost`] when the server
    /// cannot be reached.
    pub(in crate::store) async fn keep_lock(&self) -> Result<()> {
        let mut held = self.held.lock().await;
        let Some(own) = held.as_mut() else { return Ok(()) };
        if own.is_held().await {
            return Ok(());
        }
        let name = own.name.clone();
        let mut lost = 0;
        loop {
            match Held::take(self, &self.way(session("")), &name).await {
                Ok(Ok(anew)) => {
                    *held = Some(anew);
                    return Ok(());
                }
                Ok(Err(taken)) => return Err(StoreError::Gone(taken.text)),
                Err(StoreError::Lost(_)) if lost < RECONNECTIONS => {
                    self.clock.sleep(pause(lost)).await;
                    lost += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
