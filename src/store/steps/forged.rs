//! Commands that are not what would be derived. They are never sent: whoever typed them in, the
//! transaction that was to commit or send a command settles them and holds their teardown.

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection};

use crate::core::gates::{self, Verdict};
use crate::core::teardown::Teardown;
use crate::store::Result;
use crate::store::tables::sqlite::rows::{self, time_text};

/// Settles what is forged among the unsettled commands of a tenant, so that it keeps neither its resource
/// nor its account waiting once a person has released the teardown. The verdict is about the first.
pub(super) async fn set_aside(
    conn: &mut SqliteConnection,
    row: &Teardown,
    now: Timestamp,
) -> Result<Option<Verdict>> {
    let found = sqlx::query(
        "SELECT * FROM commands WHERE account = ? AND tenant_id = ? AND outcome IS NULL ORDER BY seq",
    )
    .bind(row.account.as_str())
    .bind(row.tenant_id.to_string())
    .fetch_all(&mut *conn)
    .await?;
    let mut verdict = None;
    for found in &found {
        // One that cannot even be read is none that was derived.
        let why = match rows::command(found) {
            Ok(command) => match command.request() {
                Ok(_) => continue,
                Err(forged) => forged.to_string(),
            },
            Err(damage) => damage.to_string(),
        };
        let id: String = found.try_get("id").unwrap_or_default();
        settle(conn, found.try_get("seq")?, &why, now).await?;
        verdict.get_or_insert_with(|| gates::forged(&format!("command {id}: {why}")));
    }
    Ok(verdict)
}

/// Without an answer of the API, so that nobody takes it for one: see `Command::was_set_aside`.
async fn settle(conn: &mut SqliteConnection, seq: i64, why: &str, now: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE commands SET outcome = CASE sends WHEN 0 THEN 'withdrawn' ELSE 'refused' END,
             settled_at = ?, calling = 0, http_status = NULL, ms_code = NULL, text = ?
         WHERE seq = ?",
    )
    .bind(time_text(now))
    .bind(why)
    .bind(seq)
    .execute(conn)
    .await?;
    Ok(())
}
