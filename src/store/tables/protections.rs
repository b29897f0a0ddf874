//! Deny entries.

use super::rows::Fields;
use crate::core::domain::DomainPattern;
use crate::core::ids::AccountName;
use crate::core::protection::{Protection, Subject};
use crate::core::teardown::Teardown;
use crate::store::sql::{self, Row};
use crate::store::{Result, Tx};

/// Every entry.
pub(in crate::store) async fn load_all(tx: &mut Tx) -> Result<Vec<Protection>> {
    let found = sql::query("SELECT * FROM protections ORDER BY account, kind, subject")
        .fetch_all(tx)
        .await?;
    // All or nothing: an entry must not be overlooked.
    found.iter().map(protection).collect()
}

/// The entries that may be about a row: those of its tenant, and all domains.
pub(in crate::store) async fn load_for(tx: &mut Tx, row: &Teardown) -> Result<Vec<Protection>> {
    let found = sql::query(
        "SELECT * FROM protections
         WHERE account IN ('*', $1) AND (kind = 'domain' OR subject = $2)
         ORDER BY account, kind, subject",
    )
    .bind(row.account.as_str())
    .bind(row.tenant_id.to_string())
    .fetch_all(tx)
    .await?;
    found.iter().map(protection).collect()
}

fn protection(row: &Row) -> Result<Protection> {
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

/// Stores an entry; one that stands already stays.
pub(in crate::store) async fn insert(tx: &mut Tx, entry: &Protection) -> Result<()> {
    sql::query(
        "INSERT INTO protections (account, kind, subject, actor, reason, since)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(entry.account.as_str())
    .bind(entry.subject.kind())
    .bind(entry.subject.to_string())
    .bind(&entry.actor)
    .bind(&entry.reason)
    .bind(entry.since)
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes an entry. Returns whether there was one.
pub(in crate::store) async fn delete(
    tx: &mut Tx,
    account: &AccountName,
    subject: &Subject,
) -> Result<bool> {
    let gone =
        sql::query("DELETE FROM protections WHERE account = $1 AND kind = $2 AND subject = $3")
            .bind(account.as_str())
            .bind(subject.kind())
            .bind(subject.to_string())
            .execute(tx)
            .await?;
    Ok(gone > 0)
}
