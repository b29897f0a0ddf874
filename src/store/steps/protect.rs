//! Deny entries and acknowledgements.

use jiff::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::core::domain::DomainPattern;
use crate::core::ids::{AccountName, TeardownId};
use crate::core::protection::{Protection, Subject};
use crate::core::teardown::Teardown;
use crate::store::rules::protect;
use crate::store::tables::sqlite::rows::{self, Fields, time_text};
use crate::store::{Ack, OperatorRequest, RequestEffect, Result};

/// Every entry.
pub(super) async fn load_all(conn: &mut SqliteConnection) -> Result<Vec<Protection>> {
    let found = sqlx::query("SELECT * FROM protections ORDER BY account, kind, subject")
        .fetch_all(conn)
        .await?;
    // All or nothing: an entry must not be overlooked.
    found.iter().map(protection).collect()
}

/// The entries that may be about a row: those of its tenant, and all domains.
pub(super) async fn load_for(
    conn: &mut SqliteConnection,
    row: &Teardown,
) -> Result<Vec<Protection>> {
    let found = sqlx::query(
        "SELECT * FROM protections
         WHERE account IN ('*', ?) AND (kind = 'domain' OR subject = ?)
         ORDER BY account, kind, subject",
    )
    .bind(row.account.as_str())
    .bind(row.tenant_id.to_string())
    .fetch_all(conn)
    .await?;
    found.iter().map(protection).collect()
}

fn protection(row: &SqliteRow) -> Result<Protection> {
    let f = Fields::new(row, "protections", "subject");
    let tenant = f.get::<&str>("kind")? == "tenant";
    let subject = f.parse("subject", |text| {
        if tenant {
            text.parse().ok().map(Subject::Tenant)
        } else {
            DomainPattern::parse(text).ok().map(Subject::Domain)
        }
    })?;
    Ok(Protection {
        account: AccountName::new(f.get::<&str>("account")?),
        subject,
        actor: f.get("actor")?,
        reason: f.get("reason")?,
        since: f.time("since")?,
    })
}

/// Sets the entries of a request, and returns them.
pub(super) async fn set(
    conn: &mut SqliteConnection,
    request: &OperatorRequest,
    now: Timestamp,
    effects: &mut Vec<RequestEffect>,
) -> Result<Vec<Protection>> {
    let standing = load_all(conn).await?;
    let entries = protect::wanted(request, now);
    for entry in &entries {
        let same = |p: &&Protection| p.account == entry.account && p.subject == entry.subject;
        effects.push(protect::set(entry, standing.iter().find(same)));
        sqlx::query(
            "INSERT INTO protections (account, kind, subject, actor, reason, since)
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(entry.account.as_str())
        .bind(entry.subject.kind())
        .bind(entry.subject.to_string())
        .bind(&entry.actor)
        .bind(&entry.reason)
        .bind(time_text(entry.since))
        .execute(&mut *conn)
        .await?;
    }
    Ok(entries)
}

/// Lifts the entries of a request.
pub(super) async fn lift(
    conn: &mut SqliteConnection,
    request: &OperatorRequest,
) -> Result<Vec<RequestEffect>> {
    let account = protect::scope(request);
    let mut effects = Vec::new();
    for subject in request.subjects() {
        let gone =
            sqlx::query("DELETE FROM protections WHERE account = ? AND kind = ? AND subject = ?")
                .bind(account.as_str())
                .bind(subject.kind())
                .bind(subject.to_string())
                .execute(&mut *conn)
                .await?;
        effects.push(protect::lifted(account.clone(), &subject, gone.rows_affected() > 0));
    }
    Ok(effects)
}

/// Acknowledges a row as it stands; the latest who did is kept.
pub(super) async fn acknowledge(
    conn: &mut SqliteConnection,
    id: TeardownId,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("REPLACE INTO acks (teardown_id, at, actor, reason) VALUES (?, ?, ?, ?)")
        .bind(id.0)
        .bind(time_text(now))
        .bind(&request.actor)
        .bind(&request.reason)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn acks(conn: &mut SqliteConnection) -> Result<Vec<Ack>> {
    let found = sqlx::query("SELECT * FROM acks ORDER BY teardown_id").fetch_all(conn).await?;
    rows::readable(&found, |row| {
        let f = Fields::new(row, "acks", "teardown_id");
        Ok(Ack {
            id: TeardownId(f.get("teardown_id")?),
            at: f.time("at")?,
            actor: f.get("actor")?,
            reason: f.get("reason")?,
        })
    })
}
