//! Putting a backup in the place of the database.
//!
//! A backup knows nothing of what came after it. So that nothing is done on old knowledge, the restored
//! database starts with everything paused, with the clocks of deadlines stopped at the backup's own
//! time, and with what the database it replaces knows of stops, consents and deny entries
//! ([`carry_over()`]). Where that one cannot be read, the accounts stay closed for one window of the budget,
//! none of them is armed and nothing is approved. Leases are taken over at the next start; commands without an
//! answer are sent again under their own ids only after the remote state was read.

mod carry_over;
mod replaced;

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

pub use self::carry_over::Carried;
use self::carry_over::{carry_over, keep_protections, trust_nothing};
use self::replaced::Replaced;
use super::backup::{Partial, verify};
use super::open::{bring_up, check_file, check_header, lock_migration, unfit};
use super::rows::time_text;
use crate::store::Result;
use crate::store::lock::{RunLock, beside, real};

/// As long as any window of the budget: what was sent since the backup has then aged out.
const WINDOW: Duration = Duration::from_secs(62);

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// The database.
    pub database: PathBuf,
    /// What it was restored from.
    pub from: PathBuf,
    /// Version of its schema, which is brought up to this program's.
    pub schema: i64,
    /// Teardowns in it.
    pub teardowns: u64,
    /// Where the database that was replaced stands now.
    pub kept: Option<PathBuf>,
    /// What was taken over from that one; `None` where it could not be read or there was none.
    pub carried: Option<Carried>,
    /// Deny entries taken over from that one, which are looked for even where the rest of it cannot be
    /// read; `None` where they could not be read either.
    pub protections: Option<u64>,
}

/// Puts the backup `file` in the place of `database`, and keeps what was there. `owner` names this
/// process to others that want the database meanwhile, and `actor` who asked.
///
/// # Errors
/// `StoreError::Unfit` when a daemon runs, another process has the database open, or the file is not
/// a whole database of a version that this program can read. Everything is then as it was.
pub async fn restore(
    database: &Path,
    file: &Path,
    owner: &str,
    actor: &str,
    now: Timestamp,
) -> Result<RestoreReport> {
    let database = check_file(database, true)?;
    let _run = RunLock::acquire(&database, owner)?;
    let _migration = lock_migration(&database).await?;
    let from = real(file);
    check_backup(&from, &database)?;
    // Nobody else is at work here: this process holds the lock of the one daemon.
    let partial = copy(&from, beside(&database, ".restore.partial"))?;
    let (_, teardowns) = verify(&partial.0).await?;
    let given = Given::new(&from, actor, now);
    let schema = make_ready(&partial.0, &from, &given).await?;
    let replaced = Replaced::put_aside(&database, now).await?;
    let placed = place(partial, &database, replaced.as_ref(), &given).await;
    if let (Err(_), Some(replaced)) = (&placed, &replaced) {
        replaced.put_back()?;
    }
    let Placed { carried, protections } = placed?;
    let kept = replaced.map(|replaced| replaced.file);
    Ok(RestoreReport { database, from, schema, teardowns, kept, carried, protections })
}

/// What was taken over.
struct Placed {
    carried: Option<Carried>,
    protections: Option<u64>,
}

/// Takes over what the replaced database knew, and puts the copy in its place.
async fn place(
    copy: Partial,
    database: &Path,
    replaced: Option<&Replaced>,
    given: &Given,
) -> Result<Placed> {
    let mut placed = Placed { carried: None, protections: None };
    let present = match replaced {
        Some(replaced) => replaced.readable().await,
        None => None,
    };
    if let Some(present) = present {
        // A database is often restored because the present one is damaged, here or there.
        placed.protections = keep_protections(&copy.0, &present.file).await.ok();
        placed.carried = carry_over(&copy.0, &present.file, given).await.ok();
    }
    if placed.carried.is_none() {
        trust_nothing(&copy.0, given).await?;
    }
    give_to_its_owner(&copy.0, replaced, database)?;
    copy.become_file(database)?;
    Ok(placed)
}

// ---- the backup --------------------------------------------------------------------------------------

fn check_backup(from: &Path, database: &Path) -> Result<()> {
    if !from.exists() {
        return Err(unfit(from, "does not exist: name the file of a backup"));
    }
    if from == database {
        return Err(unfit(from, "is the database itself: name the file of a backup"));
    }
    check_header(from)?;
    if std::fs::metadata(from).is_ok_and(|file| file.len() == 0) {
        return Err(unfit(from, "is empty: name the file of a backup"));
    }
    if std::fs::metadata(beside(from, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(unfit(
            from,
            "has a write-ahead log beside it, so it is a database in use and no backup: make one \
             with `teardownd backup FILE`",
        ));
    }
    Ok(())
}

/// Copies a database that nobody works on into a new file, over what a restore that was broken off
/// has left there.
fn copy(from: &Path, to: PathBuf) -> Result<Partial> {
    std::fs::remove_file(&to).ok();
    let partial = Partial::shared(to)?;
    let copied = File::open(from).and_then(|mut from| {
        let mut to = File::options().write(true).open(&partial.0)?;
        std::io::copy(&mut from, &mut to)
    });
    copied.map_err(|error| unfit(&partial.0, &format!("cannot be copied: {error}")))?;
    Ok(partial)
}

const PREPARE: [&str; 4] = [
    // The time between the backup and now was nobody's to use.
    "UPDATE teardowns SET
         eligible_used_ms = eligible_used_ms + max(0,
             (strftime('%s', lived.at) * 1000 + substr(lived.at, 21, 3))
           - (strftime('%s', eligible_since) * 1000 + substr(eligible_since, 21, 3))),
         eligible_since = NULL
     FROM (SELECT min(?1, coalesce((SELECT ticked_at FROM daemon), ?1)) AS at) AS lived
     WHERE eligible_since IS NOT NULL AND state NOT IN ('deleted', 'aborted', 'failed')",
    // What was asked for before the backup is not done after it, but for what stops something.
    "UPDATE operator_requests SET answered_at = ?1,
         answer = 'not done: the database was restored from a backup'
     WHERE answered_at IS NULL AND verb NOT IN ('hold', 'abort', 'protect')",
    "UPDATE reloads SET answered_at = ?1, taken_up = 0,
         answer = 'not done: the database was restored from a backup'
     WHERE answered_at IS NULL",
    "INSERT INTO accounts (name, paused_reason, paused_by, paused_since)
     VALUES ('*', ?4, ?3, ?1)
     ON CONFLICT (name) DO UPDATE SET paused_reason = ?4, paused_by = ?3,
         paused_since = ?1, paused_until = NULL",
];

/// Brings the copy up to this program's schema and takes from it what is not true any more. Returns the
/// version of its schema.
async fn make_ready(copy: &Path, from: &Path, given: &Given) -> Result<i64> {
    let mut conn = open_alone(copy).await?;
    let schema = bring_up(&mut conn, from).await?;
    given.run(&mut conn, &PREPARE).await?;
    conn.close().await?;
    Ok(schema)
}

// ---- small things ------------------------------------------------------------------------------------

/// A connection on a file that nobody else knows of, and that stays one file.
async fn open_alone(path: &Path) -> Result<SqliteConnection> {
    let mut conn = SqliteConnectOptions::new().filename(path).connect().await?;
    sqlx::query("PRAGMA journal_mode = DELETE").execute(&mut conn).await?;
    Ok(conn)
}

/// What the statements are given: ?1 is now, ?2 when the accounts open, ?3 who asked, ?4 why all is
/// paused.
#[derive(Debug)]
struct Given([String; 4]);

impl Given {
    fn new(from: &Path, actor: &str, now: Timestamp) -> Self {
        let opens = now.checked_add(WINDOW).unwrap_or(now);
        let reason = format!("restored from {}", from.display());
        Self([time_text(now), time_text(opens), actor.to_owned(), reason])
    }

    /// Runs statements as one transaction.
    async fn run(&self, conn: &mut SqliteConnection, statements: &[&'static str]) -> Result<()> {
        let mut tx = conn.begin().await?;
        for sql in statements {
            let query = self.0.iter().fold(sqlx::query(*sql), |query, value| query.bind(value));
            query.execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// Gives the file to whoever owned the one it replaces, with the same permissions; where there was
/// none, to the owner of the folder. Root may be the one who restores.
fn give_to_its_owner(copy: &Path, replaced: Option<&Replaced>, database: &Path) -> Result<()> {
    let folder = database.parent().unwrap_or(Path::new("/"));
    let like = replaced.map_or(folder, |replaced| &replaced.file);
    let give = || {
        let (now, wanted) = (std::fs::metadata(copy)?, std::fs::metadata(like)?);
        if (now.uid(), now.gid()) != (wanted.uid(), wanted.gid()) {
            std::os::unix::fs::chown(copy, Some(wanted.uid()), Some(wanted.gid()))?;
        }
        if replaced.is_some() {
            let mode = wanted.permissions().mode() & 0o777;
            std::fs::set_permissions(copy, std::fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    };
    give().map_err(|error: std::io::Error| {
        unfit(copy, &format!("cannot be given to the owner of {}: {error}", like.display()))
    })
}
