//! The schema on a server: its version, and the triggers and functions that hold the invariants in the
//! database itself. They are there, or the database is not fit.

use std::sync::LazyLock;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use super::ServerUrl;
use crate::store::{Result, StoreError, Tx};

static MIGRATOR: Migrator = sqlx::migrate!("migrations/postgres");

/// A server and the schema of its database, as far as they decide whether it will do.
#[derive(Debug)]
pub(super) struct Fitness {
    /// `server_version_num`.
    pub(super) release: i64,
    /// The encoding of its text.
    pub(super) encoding: String,
    /// Whether it follows another server.
    pub(super) is_standby: bool,
    may_create: bool,
    owns_tables: bool,
    has_schema: bool,
    applied: Vec<i64>,
    min_reader: Option<i64>,
}

/// The connection itself. The schema is looked at and made through it alone.
fn plain(tx: &mut Tx) -> Result<&mut PgConnection> {
    match tx {
        Tx::Postgres(conn) => Ok(conn),
        Tx::Sqlite(_) => Err(StoreError::Engine("not a server".to_owned())),
    }
}

/// Looks at a database without changing anything.
pub(super) async fn look(tx: &mut Tx) -> Result<Fitness> {
    let conn = plain(tx)?;
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::bigint AS release,
                current_setting('server_encoding') AS encoding,
                pg_is_in_recovery() AS is_standby,
                coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
                to_regclass('_sqlx_migrations') IS NOT NULL
                    AND to_regclass('meta') IS NOT NULL AS has_schema,
                NOT EXISTS (SELECT 1 FROM pg_class
                            WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
                              AND NOT pg_has_role(relowner, 'USAGE')) AS owns_tables",
    )
    .fetch_one(&mut *conn)
    .await?;
    let mut fitness = Fitness {
        release: row.try_get("release")?,
        encoding: row.try_get("encoding")?,
        is_standby: row.try_get("is_standby")?,
        may_create: row.try_get("may_create")?,
        owns_tables: row.try_get("owns_tables")?,
        has_schema: row.try_get("has_schema")?,
        applied: Vec::new(),
        min_reader: None,
    };
    if fitness.has_schema && fitness.owns_tables {
        fitness.applied = sqlx::query_scalar(
            "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version",
        )
        .fetch_all(&mut *conn)
        .await?;
        fitness.min_reader =
            sqlx::query_scalar("SELECT value::bigint FROM meta WHERE key = 'min_reader'")
                .fetch_optional(conn)
                .await?;
    }
    Ok(fitness)
}

impl Fitness {
    /// The version of the schema, if there is one.
    pub(super) fn version(&self) -> Option<i64> {
        self.applied.last().copied()
    }

    /// The migrations still to be applied; a newer schema that this program may use needs none.
    pub(super) fn pending(&self, url: &ServerUrl) -> Result<Vec<i64>> {
        let unfit = |text: String| Err(StoreError::Unfit(format!("{url} {text}")));
        if self.has_schema && !self.owns_tables {
            return unfit(
                "has tables that the role of database.url does not own: give it the rights of their \
                 owner with GRANT owner TO role"
                    .to_owned(),
            );
        }
        let stored = self.version().unwrap_or(0);
        let own = newest();
        if stored > own && self.min_reader.is_none_or(|min_reader| min_reader > own) {
            return unfit(format!(
                "has schema version {stored}, and this teardownd knows only version {own}: install the \
                 newer teardownd, or restore a copy from before the migration"
            ));
        }
        let known = MIGRATOR.iter().map(|migration| migration.version);
        let pending: Vec<i64> = known.filter(|version| !self.applied.contains(version)).collect();
        let pending = if stored > own { Vec::new() } else { pending };
        if !pending.is_empty() && !self.may_create {
            return unfit(
                "lets the role of database.url create nothing: GRANT CREATE ON SCHEMA public TO role, or \
                 let the role own the database"
                    .to_owned(),
            );
        }
        Ok(pending)
    }
}

fn newest() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Applies what is missing. Processes that start at once wait for one another. Returns the version then.
pub(super) async fn migrate(tx: &mut Tx, url: &ServerUrl) -> Result<i64> {
    let conn = plain(tx)?;
    // A migration takes as long as its tables are large.
    conn.execute("SET statement_timeout = 0; SET lock_timeout = 0").await?;
    MIGRATOR.run_direct(None, conn, false).await.map_err(|error| {
        StoreError::Unfit(format!("{url} could not be migrated and stays as it was: {error}"))
    })?;
    Ok(newest())
}

/// A trigger or a function, as its migration makes it.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    kind: Kind,
    name: &'static str,
    /// The whole statement.
    sql: &'static str,
    /// A function's body; of a trigger its table.
    held: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Function,
    Trigger,
}

/// The parts that the migrations make, the latest of each name.
static PARTS: LazyLock<Vec<Part>> = LazyLock::new(|| {
    let mut parts: Vec<Part> = Vec::new();
    for migration in MIGRATOR.iter() {
        for part in parts_of(migration.sql.as_str()) {
            parts.retain(|known| (known.kind, known.name) != (part.kind, part.name));
            parts.push(part);
        }
    }
    parts
});

/// The parts in the text of a migration.
fn parts_of(text: &'static str) -> Vec<Part> {
    let statements = |begin: &'static str, end: &'static str| {
        text.match_indices(begin).filter_map(move |(at, _)| {
            let is_at_line_start = at == 0 || text.as_bytes()[at - 1] == b'\n';
            let length = text[at..].find(end)? + end.len();
            is_at_line_start.then(|| &text[at..at + length])
        })
    };
    let word = |sql: &'static str, after: &str| -> Option<&'static str> {
        let rest = sql[sql.find(after)? + after.len()..].trim_start();
        rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next()
    };
    let functions = statements("CREATE FUNCTION ", "$$;\n");
    let function = |sql: &'static str| {
        let held = sql.split("$$").nth(1)?;
        Some(Part { kind: Kind::Function, name: word(sql, "CREATE FUNCTION ")?, sql, held })
    };
    let trigger = |sql: &'static str| {
        let held = word(sql, " ON ")?;
        Some(Part { kind: Kind::Trigger, name: word(sql, "CREATE TRIGGER ")?, sql, held })
    };
    let triggers = statements("CREATE TRIGGER ", ");\n").filter_map(trigger);
    functions.filter_map(function).chain(triggers).collect()
}

/// The parts that a database lacks, or has otherwise.
async fn missing(tx: &mut Tx) -> Result<Vec<&'static Part>> {
    let conn = plain(tx)?;
    let functions: Vec<(String, String)> = sqlx::query_as(
        "SELECT proname::text, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace",
    )
    .fetch_all(&mut *conn)
    .await?;
    // One that fires only on a replica, or never, holds nothing.
    let triggers: Vec<(String, String)> = sqlx::query_as(
        "SELECT tgname::text, relname::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
         WHERE relnamespace = current_schema()::regnamespace AND tgenabled IN ('O', 'A')
           AND NOT tgisinternal",
    )
    .fetch_all(conn)
    .await?;
    let is_there = |part: &&Part| {
        let found = match part.kind {
            Kind::Function => &functions,
            Kind::Trigger => &triggers,
        };
        found.iter().any(|(name, held)| name == part.name && held == part.held)
    };
    Ok(PARTS.iter().filter(|part| !is_there(part)).collect())
}

/// Refuses a database that lacks one of them. A newer schema knows its own.
pub(super) async fn check(tx: &mut Tx, url: &ServerUrl, version: Option<i64>) -> Result<()> {
    if version != Some(newest()) {
        return Ok(());
    }
    let missing = missing(tx).await?;
    let Some(first) = missing.first() else { return Ok(()) };
    let kind = match first.kind {
        Kind::Function => "function",
        Kind::Trigger => "trigger",
    };
    let others = match missing.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} others"),
    };
    Err(StoreError::Unfit(format!(
        "{url} lacks the {kind} `{}` as teardownd made it{others}, and with it a rule that holds whatever \
         writes there: find out who changed it, then run `teardownd migrate`, which puts it back, or \
         restore a copy",
        first.name
    )))
}

/// Puts back what is missing, and names it.
pub(super) async fn mend(tx: &mut Tx) -> Result<Vec<String>> {
    let missing = missing(tx).await?;
    let conn = plain(tx)?;
    for part in &missing {
        let sql = match part.kind {
            Kind::Function => part.sql.replacen("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1),
            Kind::Trigger => {
                format!("DROP TRIGGER IF EXISTS {} ON {}; {}", part.name, part.held, part.sql)
            }
        };
        conn.execute(AssertSqlSafe(sql)).await?;
    }
    Ok(missing.iter().map(|part| part.name.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_release_is_refused_and_a_standby_may_become_a_server() {
        let url = ServerUrl::parse("postgres://ann@db.example/t").unwrap();
        let fit = |release, is_standby| Fitness {
            release,
            encoding: "UTF8".to_owned(),
            is_standby,
            may_create: true,
            owns_tables: true,
            has_schema: false,
            applied: Vec::new(),
            min_reader: None,
        };
        assert_eq!(fit(140_000, false).check(&url), Ok(()));
        let old = fit(130_014, false).check(&url);
        assert!(
            matches!(&old, Err(StoreError::Unfit(text)) if text.contains("is PostgreSQL 13")
                && text.contains("upgrade the server")),
            "{old:?}"
        );
        let standby = fit(150_000, true).check(&url);
        assert!(matches!(standby, Err(StoreError::Lost(_))), "{standby:?}");
    }

    #[test]
    fn every_function_and_trigger_of_the_migrations_is_known() {
        for migration in MIGRATOR.iter() {
            let text = migration.sql.as_str();
            for (kind, begin) in
                [(Kind::Function, "\nCREATE FUNCTION "), (Kind::Trigger, "\nCREATE TRIGGER ")]
            {
                let made = text.matches(begin).count();
                let known = parts_of(text).iter().filter(|part| part.kind == kind).count();
                assert_eq!(known, made, "{kind:?}");
            }
        }
    }
}
