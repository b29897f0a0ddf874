//! Putting a backup in the place of the database.
//!
//! A backup knows nothing of what came after it. So that nothing is done on old knowledge, the restored
//! database starts with everything paused, with the clocks of deadlines stopped at the backup's own
//! time, and with the halts, pauses, holds and spent budget of the database it replaces, and a hold on
//! whatever had been aborted or had failed since. Where that one cannot be read, the accounts stay closed
//! for one window of the budget. Leases are taken over at the next start; commands without an answer are sent again
//! under their own ids only after the remote state was read.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::backup::{Partial, verify};
use super::open::{
    BUSY_TIMEOUT, MIGRATOR, check_file, check_header, lock_migration, read_schema, unfit,
};
use super::rows::time_text;
use crate::store::lock::{RunLock, beside, real};
use crate::store::{Result, StoreError};

/// As long as any window of the budget: what was sent since the backup has then aged out.
const WINDOW: Duration = Duration::from_secs(62);

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// The database.
    pub database: PathBuf,
    /// What it was restored from.
    pub from: PathBuf,
    /// Version of its schema.
    pub schema: i64,
    /// Teardowns in it.
    pub teardowns: u64,
    /// Where the database that was replaced stands now.
    pub kept: Option<PathBuf>,
    /// What was taken over from that one; `None` where it could not be read or there was none.
    pub carried: Option<Carried>,
}

/// What the replaced database knew and the backup did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Accounts whose halt or pause was taken over.
    pub stops: u64,
    /// Teardowns that are held because they had been held or aborted, or had failed, since.
    pub held: u64,
    /// Teardowns that the backup does not have.
    pub missing: u64,
}

/// Puts the backup `file` in the place of `database`, and keeps what was there. `owner` names this
/// process to others that want the database meanwhile, and `actor` who asked.
///
/// # Errors
/// [`StoreError::Unfit`] when a daemon runs, another process has the database open, or the file is not
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
    let partial = copy(&from, &database)?;
    let (schema, teardowns) = verify(&partial.0).await?;
    let given = Given::new(&from, actor, now);
    make_ready(&partial.0, &from, &given).await?;
    let replaced = Replaced::put_aside(&database, now).await?;
    let placed = place(partial, &database, replaced.as_ref(), &given).await;
    if let (Err(_), Some(replaced)) = (&placed, &replaced) {
        replaced.put_back()?;
    }
    let carried = placed?;
    let kept = replaced.map(|replaced| replaced.file);
    Ok(RestoreReport { database, from, schema, teardowns, kept, carried })
}

/// Takes over what the replaced database knew, and puts the copy in its place.
async fn place(
    copy: Partial,
    database: &Path,
    replaced: Option<&Replaced>,
    given: &Given,
) -> Result<Option<Carried>> {
    let carried = match replaced.filter(|replaced| replaced.is_readable) {
        // A database is often restored because the present one is damaged.
        Some(replaced) => carry_over(&copy.0, &replaced.file, given).await.ok(),
        None => None,
    };
    if carried.is_none() {
        close_accounts(&copy.0, given).await?;
    }
    give_to_its_owner(&copy.0, replaced, database)?;
    copy.become_file(database)?;
    Ok(carried)
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

/// Copies the backup beside the database, so that it can take its place at once.
fn copy(from: &Path, database: &Path) -> Result<Partial> {
    let path = beside(database, ".restore.partial");
    // Nobody else is at work here: this process holds the lock of the one daemon.
    std::fs::remove_file(&path).ok();
    let partial = Partial::create(path)?;
    let copied = File::open(from).and_then(|mut from| {
        let mut to = File::options().write(true).open(&partial.0)?;
        std::io::copy(&mut from, &mut to)
    });
    copied.map_err(|error| unfit(&partial.0, &format!("cannot be copied: {error}")))?;
    Ok(partial)
}

const PREPARE: [&str; 3] = [
    // The time between the backup and now was nobody's to use.
    "UPDATE teardowns SET
         eligible_used_ms = eligible_used_ms + max(0,
             (strftime('%s', lived.at) * 1000 + substr(lived.at, 21, 3))
           - (strftime('%s', eligible_since) * 1000 + substr(eligible_since, 21, 3))),
         eligible_since = NULL
     FROM (SELECT min(?1, coalesce((SELECT ticked_at FROM daemon), ?1)) AS at) AS lived
     WHERE eligible_since IS NOT NULL AND state NOT IN ('deleted', 'aborted', 'failed')",
    // What was asked for before the backup is not done after it.
    "UPDATE operator_requests SET answered_at = ?1,
         answer = 'not done: the database was restored from a backup'
     WHERE answered_at IS NULL",
    "INSERT INTO accounts (name, paused_reason, paused_by, paused_since)
     VALUES ('*', ?4, ?3, ?1)
     ON CONFLICT (name) DO UPDATE SET paused_reason = ?4, paused_by = ?3,
         paused_since = ?1, paused_until = NULL",
];

/// Where nothing is known of what was sent since: as if the whole budget had been.
const CLOSE: [&str; 2] = [
    "INSERT OR IGNORE INTO accounts (name)
     SELECT DISTINCT lower(account) FROM teardowns WHERE state NOT IN ('deleted', 'aborted', 'failed')",
    "UPDATE accounts SET throttled_until = max(coalesce(throttled_until, ''), ?2) WHERE name <> '*'",
];

/// Checks the copy and takes from it what is not true any more.
async fn make_ready(copy: &Path, from: &Path, given: &Given) -> Result<()> {
    let mut conn = open_alone(copy).await?;
    read_schema(&mut conn, from).await?.pending(from, &MIGRATOR)?;
    given.run(&mut conn, &PREPARE).await?;
    conn.close().await?;
    Ok(())
}

async fn close_accounts(copy: &Path, given: &Given) -> Result<()> {
    let mut conn = open_alone(copy).await?;
    given.run(&mut conn, &CLOSE).await?;
    conn.close().await?;
    Ok(())
}

// ---- the database that is replaced -------------------------------------------------------------------

/// The database that was there, under another name.
#[derive(Debug)]
struct Replaced {
    database: PathBuf,
    file: PathBuf,
    is_readable: bool,
}

impl Replaced {
    /// Moves it aside, where no new connection finds it, and makes sure that there is no old one.
    async fn put_aside(database: &Path, now: Timestamp) -> Result<Option<Self>> {
        if !database.exists() {
            return Ok(None);
        }
        // Folds its write-ahead log, so that a crash between two renames loses nothing. A damaged one
        // is moved as it is.
        if let Ok(mut conn) = SqliteConnectOptions::new().filename(database).connect().await {
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await.ok();
            conn.close().await.ok();
        }
        let time = now.strftime("%Y%m%dT%H%M%S%.3fZ");
        let file = beside(database, &format!(".before-restore-{time}"));
        let mut replaced = Self { database: database.to_owned(), file, is_readable: false };
        replaced.rename(&replaced.database, &replaced.file)?;
        match is_alone(&replaced.file).await {
            Ok(true) => replaced.is_readable = true,
            Ok(false) => {
                replaced.put_back()?;
                return Err(unfit(
                    database,
                    "is open in another process, such as `teardownd watch`: end it and try again",
                ));
            }
            // Damaged, which may be why it is replaced.
            Err(_) => {}
        }
        Ok(Some(replaced))
    }

    fn put_back(&self) -> Result<()> {
        self.rename(&self.file, &self.database)
    }

    /// Renames the database with its log and its index of that.
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        for suffix in ["", "-wal", "-shm"] {
            let name = |path: &Path| {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                PathBuf::from(name)
            };
            if name(from).exists() {
                std::fs::rename(name(from), name(to)).map_err(|error| {
                    unfit(
                        &name(from),
                        &format!("cannot be moved to {}: {error}", name(to).display()),
                    )
                })?;
            }
        }
        Ok(())
    }
}

/// Whether no other connection is open on a database. Only then can it leave the mode in which several
/// work on it; it is one single file afterwards.
async fn is_alone(path: &Path) -> Result<bool> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT);
    let mut conn = options.connect().await?;
    let mode: Result<String, sqlx::Error> =
        sqlx::query_scalar("PRAGMA journal_mode = DELETE").fetch_one(&mut conn).await;
    conn.close().await.ok();
    match mode.map_err(StoreError::from) {
        Ok(mode) => Ok(mode == "delete"),
        Err(StoreError::Engine(text)) if text.contains("locked") => Ok(false),
        Err(error) => Err(error),
    }
}

const CARRY_OVER: [&str; 8] = [
    // The same row, and not only the same number: a restore may have happened before.
    "CREATE TEMP TABLE stopped AS
     SELECT t.id, coalesce(p.hold_code, 'operator') AS code,
            'in the database that was replaced it was ' || CASE WHEN p.hold_code IS NULL THEN p.state
                ELSE 'held' END || coalesce(': ' || coalesce(p.hold_text, p.reason_text), '') AS text,
            coalesce(p.hold_by, ?3) AS by, coalesce(p.hold_since, ?1) AS since
     FROM teardowns AS t JOIN present.teardowns AS p
       ON p.id = t.id AND p.created_at = t.created_at
      AND lower(p.account) = lower(t.account) AND lower(p.tenant_id) = lower(t.tenant_id)
     WHERE t.state NOT IN ('deleted', 'aborted', 'failed') AND t.hold_code IS NULL
       AND (p.hold_code IS NOT NULL OR p.state IN ('aborted', 'failed'))",
    "INSERT INTO transitions (teardown_id, account, tenant_id, at, from_state, to_state, reason, text, actor)
     SELECT t.id, lower(t.account), lower(t.tenant_id), ?1, t.state, t.state, s.code, s.text, ?3
     FROM teardowns AS t JOIN stopped AS s ON s.id = t.id",
    "UPDATE teardowns SET hold_code = s.code, hold_text = s.text, hold_by = s.by, hold_since = s.since
     FROM stopped AS s WHERE s.id = teardowns.id",
    // What the budget was spent on.
    "DELETE FROM sends",
    "INSERT INTO sends (account, resource, at, reads, writes)
     SELECT account, resource, at, reads, writes FROM present.sends",
    "INSERT OR IGNORE INTO accounts (name) SELECT name FROM present.accounts WHERE name <> '*'",
    "CREATE TEMP TABLE halts AS
     SELECT a.name FROM accounts AS a JOIN present.accounts AS p ON p.name = a.name
     WHERE a.name <> '*' AND ((p.halted_reason IS NOT NULL AND a.halted_reason IS NULL)
        OR (p.paused_reason IS NOT NULL AND a.paused_reason IS NULL))",
    "UPDATE accounts SET
         halted_reason = coalesce(accounts.halted_reason, p.halted_reason),
         halted_by = CASE WHEN accounts.halted_reason IS NULL THEN p.halted_by ELSE accounts.halted_by END,
         halted_since = CASE WHEN accounts.halted_reason IS NULL THEN p.halted_since ELSE accounts.halted_since END,
         paused_reason = coalesce(accounts.paused_reason, p.paused_reason),
         paused_by = CASE WHEN accounts.paused_reason IS NULL THEN p.paused_by ELSE accounts.paused_by END,
         paused_since = CASE WHEN accounts.paused_reason IS NULL THEN p.paused_since ELSE accounts.paused_since END,
         paused_until = CASE WHEN accounts.paused_reason IS NULL THEN p.paused_until ELSE accounts.paused_until END,
         throttled_until = nullif(max(coalesce(accounts.throttled_until, ''), coalesce(p.throttled_until, '')), ''),
         clock_high = nullif(max(coalesce(accounts.clock_high, ''), coalesce(p.clock_high, '')), '')
     FROM present.accounts AS p WHERE p.name = accounts.name AND accounts.name <> '*'",
];

/// Takes over what the replaced database knew of stops.
async fn carry_over(copy: &Path, replaced: &Path, given: &Given) -> Result<Carried> {
    let mut conn = open_alone(copy).await?;
    let name = replaced.to_str().ok_or_else(|| unfit(replaced, "has a name that is not UTF-8"))?;
    sqlx::query("ATTACH DATABASE ? AS present").bind(name).execute(&mut conn).await?;
    given.run(&mut conn, &CARRY_OVER).await?;
    let mut counts = [0_u64; 3];
    for (count, sql) in counts.iter_mut().zip([
        "SELECT count(*) FROM temp.halts",
        "SELECT count(*) FROM temp.stopped",
        "SELECT count(*) FROM present.teardowns AS p WHERE NOT EXISTS (
             SELECT 1 FROM main.teardowns AS t WHERE t.id = p.id AND t.created_at = p.created_at)",
    ]) {
        let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await?;
        *count = u64::try_from(found).unwrap_or_default();
    }
    conn.close().await?;
    let [stops, held, missing] = counts;
    Ok(Carried { stops, held, missing })
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
