//! Commands that are not what would be derived. They are never sent: whoever typed them in, the
//! transaction that was to commit or send a command settles them and holds their teardown.

use jiff::Timestamp;

use crate::core::gates;
use crate::core::gates::Verdict;
use crate::core::teardown::Teardown;
use crate::store::tables::commands;
use crate::store::{Result, Tx};

/// Settles what is forged among the unsettled commands of a tenant, so that it keeps neither its resource
/// nor its account waiting once a person has released the teardown. The verdict is about the first.
pub(super) async fn set_aside(
    tx: &mut Tx,
    row: &Teardown,
    now: Timestamp,
) -> Result<Option<Verdict>> {
    let unsettled = commands::unsettled(tx, row).await?;
    let mut verdict = None;
    for (seq, id, command) in unsettled {
        // One that cannot even be read is none that was derived.
        let why = match command {
            Ok(command) => match command.request() {
                Ok(_) => continue,
                Err(forged) => forged.to_string(),
            },
            Err(damage) => damage.to_string(),
        };
        commands::settle_forged(tx, seq, &why, now).await?;
        verdict.get_or_insert_with(|| gates::forged(&format!("command {id}: {why}")));
    }
    Ok(verdict)
}
