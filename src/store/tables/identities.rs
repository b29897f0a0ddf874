//! Which account stands for which partner.

use crate::store::sql::{self, Row};
use jiff::Timestamp;

use super::rows::Fields;
use crate::core::account::{Identity, Proven, Stop};
use crate::core::ids::AccountName;
use crate::store::{Result, Tx};

/// An identity as it stands in the table: cloud, partner tenant and client id. An odd row there hinders no
/// start.
pub(in crate::store) type Words = [String; 3];

pub(in crate::store) fn words(identity: &Identity) -> Words {
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

/// What each account stands for now.
pub(in crate::store) async fn in_force(tx: &mut Tx) -> Result<Vec<(AccountName, Words)>> {
    let found = sql::query("SELECT * FROM identities WHERE left_at IS NULL ORDER BY account")
        .fetch_all(tx)
        .await?;
    let read = |row| {
        let f = Fields::new(row, "identities", "account");
        Ok((AccountName::new(f.get::<&str>("account")?), words_of(&f)?))
    };
    found.iter().map(read).collect()
}

/// The account stands for nothing any more, and leaves this behind.
pub(in crate::store) async fn leave(
    tx: &mut Tx,
    name: &AccountName,
    proven: Proven,
    halted: Option<&Stop>,
    now: Timestamp,
) -> Result<()> {
    sql::query(
        "UPDATE identities SET left_at = $2, proven_write = $3, proven_reservation = $4,
             proven_delete = $5, halted_reason = $6, halted_by = $7, halted_since = $8
         WHERE account = $1 AND left_at IS NULL",
    )
    .bind(name.as_str())
    .bind(now)
    .bind(proven.write)
    .bind(proven.reservation)
    .bind(proven.delete)
    .bind(halted.map(|stop| &stop.reason))
    .bind(halted.map(|stop| &stop.actor))
    .bind(halted.map(|stop| stop.since))
    .execute(tx)
    .await?;
    Ok(())
}

/// What stands or stood for a partner.
pub(in crate::store) struct Former {
    /// Whether it did so with the same app.
    pub(in crate::store) is_the_same_app: bool,
    /// What it proved.
    pub(in crate::store) proven: Proven,
    /// The halt that it left.
    pub(in crate::store) halted: Option<Stop>,
}

/// All that stands or stood for the partner of an identity.
pub(in crate::store) async fn of_partner(
    tx: &mut Tx,
    [cloud, partner_tenant, client_id]: &Words,
    now: Timestamp,
) -> Result<Vec<Former>> {
    let found = sql::query(
        "SELECT * FROM identities WHERE cloud = $1 AND partner_tenant = $2
         ORDER BY halted_since NULLS FIRST",
    )
    .bind(cloud)
    .bind(partner_tenant)
    .fetch_all(tx)
    .await?;
    let read = |row| {
        let f = Fields::new(row, "identities", "account");
        Ok(Former {
            is_the_same_app: f.get::<&str>("client_id")? == client_id,
            proven: Proven {
                write: f.flag("proven_write")?,
                reservation: f.flag("proven_reservation")?,
                delete: f.flag("proven_delete")?,
            },
            halted: halt_of(&f, now)?,
        })
    };
    found.iter().map(read).collect()
}

/// Clears the halts that were left behind for a partner.
pub(in crate::store) async fn clear_halts(
    tx: &mut Tx,
    [cloud, partner_tenant, _]: &Words,
) -> Result<()> {
    sql::query(
        "UPDATE identities SET halted_reason = NULL, halted_by = NULL, halted_since = NULL
         WHERE cloud = $1 AND partner_tenant = $2",
    )
    .bind(cloud)
    .bind(partner_tenant)
    .execute(tx)
    .await?;
    Ok(())
}

/// The account stands for this from now on.
pub(in crate::store) async fn take_up(
    tx: &mut Tx,
    name: &AccountName,
    [cloud, partner_tenant, client_id]: &Words,
    now: Timestamp,
) -> Result<()> {
    let bound = |statement: &'static str| {
        let statement = sql::query(statement).bind(name.as_str()).bind(cloud);
        statement.bind(partner_tenant).bind(client_id).bind(now)
    };
    let returned = bound(
        "UPDATE identities SET since = $5, left_at = NULL
         WHERE account = $1 AND cloud = $2 AND partner_tenant = $3 AND client_id = $4",
    );
    if returned.execute(&mut *tx).await? == 0 {
        let first = bound(
            "INSERT INTO identities
                 (account, cloud, partner_tenant, client_id, since, no_entitlements_at)
             SELECT $1, $2, $3, $4, $5, max(no_entitlements_at) FROM identities
             WHERE cloud = $2 AND partner_tenant = $3 AND client_id = $4",
        );
        first.execute(&mut *tx).await?;
    }
    Ok(())
}

/// An answer on record.
pub(in crate::store) struct Answered {
    pub(in crate::store) account: AccountName,
    pub(in crate::store) status: Option<u16>,
    pub(in crate::store) code: Option<String>,
    pub(in crate::store) text: Option<String>,
}

/// The answers with a code that came after a person last lifted a halt of their account, if one did, and
/// since it stands for its partner.
pub(in crate::store) async fn answers_since_lifted(tx: &mut Tx) -> Result<Vec<Answered>> {
    let found = sql::query(
        "SELECT id, account, http_status, ms_code, text FROM commands AS c
         WHERE ms_code IS NOT NULL AND outcome IS DISTINCT FROM 'accepted'
           AND coalesce(coalesce(settled_at, last_sent_at, created_at) >
               (SELECT max(answered_at) FROM operator_requests
                WHERE verb = 'unhalt' AND answer LIKE '%is lifted%'
                  AND coalesce(lower(account), '*') IN ('*', c.account)), true)
           AND coalesce(coalesce(settled_at, last_sent_at, created_at) >
               (SELECT max(coalesce(left_at, since)) FROM identities
                WHERE account = c.account), true)
         ORDER BY seq",
    )
    .fetch_all(tx)
    .await?;
    let read = |row| {
        let f = Fields::new(row, "commands", "id");
        let status: Option<i64> = f.get("http_status")?;
        Ok(Answered {
            account: f.account()?,
            status: status.and_then(|status| u16::try_from(status).ok()),
            code: f.get("ms_code")?,
            text: f.get("text")?,
        })
    };
    found.iter().map(read).collect()
}

/// When the API last refused entitlements to the app of this account, unless it gave them since.
pub(in crate::store) async fn no_entitlements_at(
    tx: &mut Tx,
    name: &AccountName,
) -> Result<Option<Timestamp>> {
    let row = sql::query(
        "SELECT account, no_entitlements_at FROM identities WHERE account = $1 AND left_at IS NULL",
    )
    .bind(name.as_str())
    .fetch_optional(tx)
    .await?;
    let at = |row: &Row| Fields::new(row, "identities", "account").time_opt("no_entitlements_at");
    row.as_ref().map_or(Ok(None), at)
}

pub(in crate::store) async fn note_entitlements(
    tx: &mut Tx,
    name: &AccountName,
    refused_at: Option<Timestamp>,
) -> Result<()> {
    sql::query(
        "UPDATE identities SET no_entitlements_at = $1 WHERE account = $2 AND left_at IS NULL",
    )
    .bind(refused_at)
    .bind(name.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// The partner that the account stood for at a time, if it has left that one since.
pub(in crate::store) async fn left_since(
    tx: &mut Tx,
    name: &AccountName,
    at: Timestamp,
) -> Result<Option<Words>> {
    let found =
        sql::query("SELECT * FROM identities WHERE account = $1 AND since <= $2 AND left_at > $2")
            .bind(name.as_str())
            .bind(at)
            .fetch_optional(tx)
            .await?;
    found.map(|row| words_of(&Fields::new(&row, "identities", "account"))).transpose()
}

/// Halts the partner that the account stood for at a time, and left since.
pub(in crate::store) async fn halt_left(
    tx: &mut Tx,
    name: &AccountName,
    at: Timestamp,
    text: &str,
    guard: &str,
    now: Timestamp,
) -> Result<()> {
    sql::query(
        "UPDATE identities SET halted_reason = coalesce(halted_reason, $3),
             halted_by = coalesce(halted_by, $4), halted_since = coalesce(halted_since, $5)
         WHERE account = $1 AND since <= $2 AND left_at > $2",
    )
    .bind(name.as_str())
    .bind(at)
    .bind(text)
    .bind(guard)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}
