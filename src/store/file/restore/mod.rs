//! Putting a backup in the place of the database.
//!
//! A backup knows nothing of what came after it. So that nothing is done on old knowledge, the restored
//! database starts with everything paused, with the clocks of deadlines stopped at the backup's own
//! time, and with what the database it replaces knows of stops, consents and deny entries
//! ([`carry_over()`]). Where that one cannot be read, the accounts stay closed for one window of the
//! budget, none of them is armed and nothing is approved. Leases are taken over at the next start;
//! commands without an answer are sent again under their own ids only after the remote state was read.
//!
//! All of that is done to a copy beside the database, which takes its place in one step at the end: a
//! process that is killed on the way leaves the one or the other, whole.

mod carry_over;
mod replaced;
#[cfg(test)]
mod tests;

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
use super::fitness::{check_file, check_header, unfit};
use super::open::{bring_up, lock_migration};
use crate::store::Result;
use crate::store::file::lock::{Holder, RunLock, beside, real};
use crate::store::model::time::time_text;

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
/// `StoreError::Unfit` when a daemon runs, or the file is not a whole database of a version that this
/// program can read; `StoreError::Busy` when another process has the database open. Everything is then
/// as it was.
pub async fn restore(
    database: &Path,
    file: &Path,
    owner: &str,
    actor: &str,
    now: Timestamp,
) -> Result<RestoreReport> {
    let given = Given::new(&real(file), actor, now);
    in_steps(database, file, owner, &given, &|| ()).await
}

/// Calls `step` wherever something has changed on the disk.
async fn in_steps(
    database: &Path,
    file: &Path,
    owner: &str,
    given: &Given,
    step: &(dyn Fn() + Sync),
) -> Result<RestoreReport> {
    let database = check_file(database, true)?;
    let _run = RunLock::acquire(&database, owner, Holder::Restore)?;
    let _migration = lock_migration(&database).await?;
    replaced::tidy_up(&database, given.now)?;
    let from = real(file);
    check_backup(&from, &database)?;
    step();
    // Nobody else is at work here: this process holds the lock of the one daemon.
    let partial = copy(&from, beside(&database, ".restore.partial"))?;
    step();
    let (_, teardowns) = verify(&partial.path).await?;
    let mut conn = open_alone(&partial.path).await?;
    let schema = bring_up(&mut conn, &from).await?;
    step();
    given.run(&mut conn, &PREPARE).await?;
    step();
    conn.close().await?;
    let replaced = Replaced::hold(&partial.path, &database).await?;
    step();
    let mut report = RestoreReport {
        database: database.clone(),
        from,
        schema,
        teardowns,
        kept: None,
        carried: None,
        protections: None,
    };
    let mut conn = match replaced {
        Some(Replaced { conn, is_readable: true, .. }) => {
            let mut conn = conn;
            // A database is often restored because the present one is damaged, here or there.
            report.protections = keep_protections(&mut conn).await.ok();
            step();
            report.carried = carry_over(&mut conn, given).await.ok();
            step();
            conn
        }
        Some(Replaced { conn, .. }) => conn,
        None => open_alone(&partial.path).await?,
    };
    if report.carried.is_none() {
        trust_nothing(&mut conn, given).await?;
        step();
    }
    give_to_its_owner(&partial, &database)?;
    if database.exists() {
        report.kept = Some(replaced::swap(partial, &database, given.now, step)?);
    } else {
        partial.become_file(&database)?;
    }
    step();
    // Until now nobody could open the one that was replaced.
    conn.close().await?;
    Ok(report)
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

/// Copies a database that nobody works on into a new file.
fn copy(from: &Path, to: PathBuf) -> Result<Partial> {
    let mut partial = Partial::shared(to)?;
    let copied =
        File::open(from).and_then(|mut from| std::io::copy(&mut from, &mut partial.content));
    copied.map_err(|error| unfit(&partial.path, &format!("cannot be copied: {error}")))?;
    Ok(partial)
}

const PREPARE: [&str; 4] = [
    // The time between the backup and now was nobody's to use.
    "UPDATE teardowns SET
         eligible_used_ms = eligible_used_ms + max(0,
             (strftime('%s', lived.at) * 1000 + substr(lived.at, 21, 3))
           - (strftime('%s', eligible_since) * 1000 + substr(eligible_since, 21, 3))),
         eligible_since = NULL
     FROM (SELECT min(?1, coalesce((SELECT max(ticked_at) FROM replicas), ?1)) AS at) AS lived
     WHERE eligible_since IS NOT NULL AND state NOT IN ('deleted', 'aborted', 'failed')",
    // What was asked for before the backup is not done after it, but for what stops something.
    "UPDATE operator_requests SET answered_at = ?1,
         answer = 'not done: the database was restored from a backup'
     WHERE answered_at IS NULL AND verb NOT IN ('hold', 'abort', 'protect')",
    "INSERT INTO reload_answers (reload, replica, answered_at, taken_up, answer, changed, restart)
     SELECT id, '', ?1, 0, 'not done: the database was restored from a backup', '[]', '[]' FROM reloads
     WHERE NOT EXISTS (SELECT 1 FROM reload_answers WHERE reload = reloads.id)",
    "INSERT INTO accounts (name, paused_reason, paused_by, paused_since)
     VALUES ('*', ?4, ?3, ?1)
     ON CONFLICT (name) DO UPDATE SET paused_reason = ?4, paused_by = ?3,
         paused_since = ?1, paused_until = NULL",
];

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
struct Given {
    now: Timestamp,
    values: [String; 4],
}

impl Given {
    fn new(from: &Path, actor: &str, now: Timestamp) -> Self {
        let opens = now.checked_add(WINDOW).unwrap_or(now);
        let reason = format!("restored from {}", from.display());
        Self { now, values: [time_text(now), time_text(opens), actor.to_owned(), reason] }
    }

    /// Runs statements as one transaction.
    async fn run(&self, conn: &mut SqliteConnection, statements: &[&'static str]) -> Result<()> {
        let mut tx = conn.begin().await?;
        for sql in statements {
            let query =
                self.values.iter().fold(sqlx::query(*sql), |query, value| query.bind(value));
            query.execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// Gives the copy to whoever owns the database it replaces, with the same permissions; where there is
/// none, to the owner of the folder. Root may be the one who restores.
fn give_to_its_owner(copy: &Partial, database: &Path) -> Result<()> {
    let replaces = database.exists();
    let like = if replaces { database } else { database.parent().unwrap_or(Path::new("/")) };
    let give = || {
        let (now, wanted) = (copy.content.metadata()?, std::fs::metadata(like)?);
        if (now.uid(), now.gid()) != (wanted.uid(), wanted.gid()) {
            std::os::unix::fs::fchown(&copy.content, Some(wanted.uid()), Some(wanted.gid()))?;
        }
        if replaces {
            let mode = wanted.permissions().mode() & 0o777;
            copy.content.set_permissions(std::fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    };
    give().map_err(|error: std::io::Error| {
        unfit(&copy.path, &format!("cannot be given to the owner of {}: {error}", like.display()))
    })
}
