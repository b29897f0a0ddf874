//! Which account stands for which partner. Proofs, halts and deletion caps belong to the partner
//! (invariants 2 and 3): they stay with it whatever the account is called, and another one starts
//! without them.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, SqliteConnection};

use super::accounts;
use crate::core::account::{Account, Identity, Proven, Stop};
use crate::core::ids::AccountName;
use crate::core::reason::Reason;
use crate::core::settlement;
use crate::store::Result;
use crate::store::tables::sqlite::rows::{Fields, time_text};

/// An identity as it stands in the table, so that an odd row there hinders no start.
type Words = [String; 3];

fn words(identity: &Identity) -> Words {
    let Identity { partner_tenant, cloud, client_id } = identity;
    [cloud.clone(), partner_tenant.to_string(), client_id.to_string()]
}

fn words_of(f: &Fields<'_>) -> Result<Words> {
    Ok([f.get("cloud")?, f.get("partner_tenant")?, f.get("client_id")?])
}

/// The halt that was in force when an account ceased to stand for something.
fn halt_of(f: &Fields<'_>, now: Timestamp) -> Result<Option<Stop>> {
    let Some(reason) = f.get::<Option<String>>("halted_reason")? else { return Ok(None) };
    let since = f.time("halted_since").unwrap_or(now);
    Ok(Some(Stop { reason, actor: f.get("halted_by")?, since, until: None }))
}

/// Takes up what the configuration says these accounts stand for. Names that it has no more, and those
/// that stand for something else now, leave their proofs and halts to whoever takes the partner up.
pub(super) async fn adopt(
    conn: &mut SqliteConnection,
    configured: &[(AccountName, Identity)],
    now: Timestamp,
) -> Result<()> {
    halt_by_recorded_answers(conn, now).await?;
    let found = sqlx::query("SELECT * FROM identities WHERE left_at IS NULL ORDER BY account")
        .fetch_all(&mut *conn)
        .await?;
    let mut in_force = Vec::new();
    for row in &found {
        let f = Fields::new(row, "identities", "account");
        in_force.push((AccountName::new(f.get::<&str>("account")?), words_of(&f)?));
    }
    let wanted: Vec<(AccountName, Words)> =
        configured.iter().map(|(name, identity)| (name.clone(), words(identity))).collect();
    for (name, _) in in_force.iter().filter(|held| !wanted.contains(held)) {
        leave(conn, name, now).await?;
    }
    for (name, identity) in wanted.iter().filter(|wanted| !in_force.contains(wanted)) {
        take_up(conn, name, identity, now).await?;
    }
    Ok(())
}

async fn leave(conn: &mut SqliteConnection, name: &AccountName, now: Timestamp) -> Result<()> {
    let mut account = accounts::load(conn, name).await?;
    let (proven, halted) = (std::mem::take(&mut account.proven), account.halted.take());
    sqlx::query(
        "UPDATE identities SET left_at = ?2, proven_write = ?3, proven_reservation = ?4,
             proven_delete = ?5, halted_reason = ?6, halted_by = ?7, halted_since = ?8
         WHERE account = ?1 AND left_at IS NULL",
    )
    .bind(name.as_str())
    .bind(time_text(now))
    .bind(proven.write)
    .bind(proven.reservation)
    .bind(proven.delete)
    .bind(halted.as_ref().map(|stop| &stop.reason))
    .bind(halted.as_ref().map(|stop| &stop.actor))
    .bind(halted.as_ref().map(|stop| time_text(stop.since)))
    .execute(&mut *conn)
    .await?;
    settle(conn, &account, now).await
}

async fn take_up(
    conn: &mut SqliteConnection,
    name: &AccountName,
    [cloud, partner_tenant, client_id]: &Words,
    now: Timestamp,
) -> Result<()> {
    let found = sqlx::query(
        "SELECT * FROM identities WHERE cloud = ? AND partner_tenant = ? ORDER BY halted_since",
    )
    .bind(cloud)
    .bind(partner_tenant)
    .fetch_all(&mut *conn)
    .await?;
    let mut account = accounts::load(conn, name).await?;
    // A proof of an older version is nobody's: that one did not store whose it was.
    account.proven = Proven::default();
    for row in &found {
        let f = Fields::new(row, "identities", "account");
        if f.get::<&str>("client_id")? == client_id {
            account.proven.write |= f.flag("proven_write")?;
            account.proven.reservation |= f.flag("proven_reservation")?;
            account.proven.delete |= f.flag("proven_delete")?;
        }
        account.halted = account.halted.or(halt_of(&f, now)?);
    }
    // A halt stands in one place, or lifting it there would not lift it.
    sqlx::query(
        "UPDATE identities SET halted_reason = NULL, halted_by = NULL, halted_since = NULL
         WHERE cloud = ? AND partner_tenant = ?",
    )
    .bind(cloud)
    .bind(partner_tenant)
    .execute(&mut *conn)
    .await?;
    let bound = |statement: &'static str| {
        let statement = sqlx::query::<Sqlite>(statement).bind(name.as_str()).bind(cloud);
        statement.bind(partner_tenant).bind(client_id).bind(time_text(now))
    };
    let returned = bound(
        "UPDATE identities SET since = ?5, left_at = NULL
         WHERE account = ?1 AND cloud = ?2 AND partner_tenant = ?3 AND client_id = ?4",
    );
    if returned.execute(&mut *conn).await?.rows_affected() == 0 {
        let first = bound(
            "INSERT INTO identities
                 (account, cloud, partner_tenant, client_id, since, no_entitlements_at)
             SELECT ?1, ?2, ?3, ?4, ?5, max(no_entitlements_at) FROM identities
             WHERE cloud = ?2 AND partner_tenant = ?3 AND client_id = ?4",
        );
        first.execute(&mut *conn).await?;
    }
    tracing::info!(
        account = %name, cloud, partner_tenant, client_id, proven = ?account.proven,
        halted = account.halted.is_some(), "the account stands for this partner from now on"
    );
    settle(conn, &account, now).await
}

/// Stores an account whose halt may have come or gone.
async fn settle(conn: &mut SqliteConnection, account: &Account, now: Timestamp) -> Result<()> {
    accounts::save(conn, account).await?;
    accounts::set_clocks(conn, &account.name, now).await
}

/// Halts the accounts where an answer on record demands it that came after a person last lifted a halt
/// there, if one did: an older version stored the halt after the answer, and may have been killed in
/// between.
async fn halt_by_recorded_answers(conn: &mut SqliteConnection, now: Timestamp) -> Result<()> {
    let found = sqlx::query(
        "SELECT id, account, http_status, ms_code, text FROM commands AS c
         WHERE ms_code IS NOT NULL AND outcome IS NOT 'accepted'
           AND coalesce(settled_at, last_sent_at, created_at) > max(
               coalesce((SELECT max(answered_at) FROM operator_requests
                         WHERE verb = 'unhalt' AND answer LIKE '%is lifted%'
                           AND coalesce(lower(account), '*') IN ('*', c.account)), ''),
               coalesce((SELECT max(coalesce(left_at, since)) FROM identities
                         WHERE account = c.account), ''))
         ORDER BY seq",
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in &found {
        let f = Fields::new(row, "commands", "id");
        let status: Option<i64> = f.get("http_status")?;
        let status = status.and_then(|status| u16::try_from(status).ok());
        if let Some(text) = settlement::halts(status, f.get("ms_code")?, f.get("text")?) {
            let name = AccountName::new(row.try_get::<&str, _>("account")?);
            accounts::halt(conn, &name, Reason::Halted.as_str(), &text, now).await?;
        }
    }
    Ok(())
}

/// When the API last refused entitlements to the app of this account, unless it gave them since.
pub(super) async fn no_entitlements_at(
    conn: &mut SqliteConnection,
    name: &AccountName,
) -> Result<Option<Timestamp>> {
    let row = sqlx::query(
        "SELECT account, no_entitlements_at FROM identities WHERE account = ? AND left_at IS NULL",
    )
    .bind(name.as_str())
    .fetch_optional(conn)
    .await?;
    let at =
        |row: &SqliteRow| Fields::new(row, "identities", "account").time_opt("no_entitlements_at");
    row.as_ref().map_or(Ok(None), at)
}

pub(super) async fn note_entitlements(
    conn: &mut SqliteConnection,
    name: &AccountName,
    refused_at: Option<Timestamp>,
) -> Result<()> {
    sqlx::query(
        "UPDATE identities SET no_entitlements_at = ? WHERE account = ? AND left_at IS NULL",
    )
    .bind(refused_at.map(time_text))
    .bind(name.as_str())
    .execute(conn)
    .await?;
    Ok(())
}
