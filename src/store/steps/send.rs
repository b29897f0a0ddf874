//! Sends and answers of commands (invariant 4).

use jiff::Timestamp;
use uuid::Uuid;

use super::{account, facts, forged};
use crate::core::account::Proven;
use crate::core::command::{Action, Answer, Outcome};
use crate::core::gates;
use crate::core::gates::{SafetyPolicy, Verdict};
use crate::core::ids::{CommandId, Fence, TeardownId};
use crate::core::observation::Observation;
use crate::core::reason::Reason;
use crate::core::teardown::Teardown;
use crate::store::model::time::millis;
use crate::store::rules::admission;
use crate::store::tables::{accounts, commands, identities, teardowns};
use crate::store::{Result, Store, Tx, rules};

impl Store {
    /// Asks the gates once more for a committed command, and if they allow it counts the send. Must
    /// precede every send, also a repeated one.
    ///
    /// A command that was never sent and is refused by [`Verdict::Hold`] or [`Verdict::Halt`] is
    /// settled as withdrawn. The hold or the halt itself is stored as in [`commit`](Self::commit),
    /// but the lease stays with the caller.
    #[allow(clippy::too_many_arguments)]
    pub async fn begin_send(
        &self,
        command: CommandId,
        teardown: TeardownId,
        fence: Fence,
        correlation: Uuid,
        seen: &Observation,
        policy: &SafetyPolicy,
        now: Timestamp,
    ) -> Result<Verdict> {
        let send = &Send { command, teardown, fence, correlation, seen, policy };
        let begin = || async move |tx: &mut Tx| begin(tx, send, millis(now)).await;
        let verdict = self.write("begin_send", begin).await?;
        // The last moment before the request goes out.
        self.check_files()?;
        Ok(verdict)
    }

    /// Stores what a send taught. Needs no fence: an answer is a fact, whoever holds the lease. An
    /// accepted command proves its class for the account; an answer that halts the account does so in the
    /// same step.
    pub async fn record_answer(
        &self,
        command: CommandId,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<()> {
        self.write_anywhere("record_answer", || {
            async move |tx: &mut Tx| record_answer(tx, command, answer, millis(now)).await
        })
        .await
    }
}

/// A send about to begin.
struct Send<'a> {
    command: CommandId,
    teardown: TeardownId,
    fence: Fence,
    correlation: Uuid,
    seen: &'a Observation,
    policy: &'a SafetyPolicy,
}

async fn begin(tx: &mut Tx, send: &Send<'_>, now: Timestamp) -> Result<Verdict> {
    let mut row = teardowns::load(tx, send.teardown).await?;
    rules::check_lease(&row, send.fence)?;
    let verdict = match forged::set_aside(tx, &row, now).await? {
        Some(verdict) => verdict,
        None => ask(tx, &row, send, now).await?,
    };
    match &verdict {
        Verdict::Hold { guard, text } => {
            if let Some(event) = rules::hold(&mut row, *guard, text, guard.as_str(), now) {
                super::keep(tx, &row, event, now).await?;
            }
        }
        Verdict::Halt { guard, text } => {
            account::halt(tx, &row.account, guard.as_str(), text, now).await?;
        }
        Verdict::Allow | Verdict::Wait { .. } | Verdict::Stale => {}
    }
    Ok(verdict)
}

/// Asks the gates about a command that is as it was derived, and counts the send or withdraws it.
async fn ask(tx: &mut Tx, row: &Teardown, send: &Send<'_>, now: Timestamp) -> Result<Verdict> {
    let command = commands::load(tx, send.command).await?;
    admission::check_send(&command, row)?;
    let deleting = command.intent.action == Action::DeleteCustomer;
    let mut facts = facts::gather(tx, row, Some(command.id), deleting, send.policy, now).await?;
    facts.calls = commands::calls(tx, row, command.id, now).await?;
    let verdict = gates::admit(&command.intent, &facts, send.seen, send.policy, now);
    match &verdict {
        Verdict::Allow => {
            commands::count_send(tx, send.command, send.correlation, now).await?;
            if let Some(canary) = facts.as_canary(&command.intent) {
                accounts::set_canary(tx, &row.account, canary).await?;
            }
        }
        Verdict::Hold { .. } | Verdict::Halt { .. } if !command.was_sent() => {
            commands::withdraw(tx, command.id, now).await?;
        }
        Verdict::Hold { .. } | Verdict::Halt { .. } | Verdict::Wait { .. } | Verdict::Stale => {}
    }
    Ok(verdict)
}

/// Settles a command by what was read. One that an answer has settled since stays as it is.
pub(super) async fn settle(
    tx: &mut Tx,
    id: CommandId,
    outcome: Outcome,
    text: &str,
    now: Timestamp,
) -> Result<()> {
    let command = commands::load(tx, id).await?;
    admission::check_settle(&command, outcome)?;
    if !command.is_unsettled() {
        return Ok(());
    }
    commands::settle(tx, id, outcome, text, now).await?;
    if outcome == Outcome::Accepted {
        account::prove(tx, &command.account, Proven::of(&command.intent)).await?;
    }
    Ok(())
}

async fn record_answer(tx: &mut Tx, id: CommandId, answer: &Answer, now: Timestamp) -> Result<()> {
    let command = commands::load(tx, id).await?;
    commands::answer(tx, id, answer, now).await?;
    let name = &command.account;
    let sent_at = command.last_sent_at.unwrap_or(now);
    // The account may stand for another partner by now, whom this answer is not about.
    let left = identities::left_since(tx, name, sent_at).await?;
    if answer.outcome == Some(Outcome::Accepted) && left.is_none() {
        account::prove(tx, name, Proven::of(&command.intent)).await?;
    }
    let Some(text) = &answer.halts else { return Ok(()) };
    let guard = Reason::Halted.as_str();
    if let Some(left) = left {
        identities::halt_left(tx, name, sent_at, text, guard, now).await?;
        let in_force = identities::in_force(tx).await?;
        let stands_for = in_force.iter().find(|(known, _)| known == name);
        // The same partner with another app is halted, too.
        if stands_for.is_none_or(|(_, words)| words[..2] != left[..2]) {
            return Ok(());
        }
    }
    // One step with the answer: there is no moment at which the one is known and not the other.
    account::halt(tx, name, guard, text, now).await
}
