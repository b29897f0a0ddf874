//! What every backend does alike with commands, without any I/O: which ones are admitted, which may be
//! sent and settled, and which keep others waiting.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Commit, Result, StoreError};
use crate::core::account::{Account, Proven};
use crate::core::command::{Action, Command, Intent, Outcome};
use crate::core::gates::{self, StoredFacts, Verdict};
use crate::core::teardown::Teardown;

/// What the gates said to the commands of one commit.
#[derive(Debug)]
pub(super) struct Admission {
    /// The commands to store, in order.
    pub(super) admitted: Vec<Command>,
    /// The first verdict other than `Allow`.
    pub(super) verdict: Option<Verdict>,
}

/// The time that commands of an account are stored with: it never runs backwards, so that the caps
/// count them whatever the machine's clock does.
pub(super) fn high_clock(account: &Account, now: Timestamp) -> Timestamp {
    account.clock_high.map_or(now, |high| high.max(now))
}

/// Puts the commands through the gates. `busy` holds the resources of the tenant that have an
/// unsettled command. After a hold or a halt nothing more is asked.
pub(super) fn admit(
    commit: &Commit<'_>,
    facts: &mut StoredFacts,
    mut busy: BTreeSet<String>,
    now: Timestamp,
) -> Admission {
    let clock = high_clock(&facts.account, now);
    let mut admission = Admission { admitted: Vec::new(), verdict: None };
    for command in &commit.commands {
        facts.resource_busy = busy.contains(&command.intent.resource);
        let verdict = gates::admit(&command.intent, facts, commit.seen, commit.policy, now);
        if verdict == Verdict::Allow {
            facts.count(&command.intent, clock);
            busy.insert(command.intent.resource.clone());
            let row = &facts.teardown;
            let (account, tenant, id) = (row.account.clone(), row.tenant_id, row.id);
            admission.admitted.push(Command::fresh(command.clone(), account, tenant, id, clock));
            continue;
        }
        let final_word = matches!(verdict, Verdict::Hold { .. } | Verdict::Halt { .. });
        admission.verdict.get_or_insert(verdict);
        if final_word {
            break;
        }
    }
    admission
}

/// Refuses to send a command that is settled or another tenant's.
pub(super) fn check_send(command: &Command, row: &Teardown) -> Result<()> {
    if command.account != row.account || command.tenant_id != row.tenant_id {
        return Err(StoreError::Refused(format!(
            "command {} concerns {} of {}, not teardown {}",
            command.id, command.tenant_id, command.account, row.id
        )));
    }
    match command.outcome {
        None => Ok(()),
        Some(outcome) => Err(StoreError::Refused(format!(
            "command {} is settled ({}): a new attempt is a new command",
            command.id,
            outcome.as_str()
        ))),
    }
}

/// Refuses to settle a command as never sent when it was sent.
pub(super) fn check_settle(command: &Command, outcome: Outcome) -> Result<()> {
    if command.is_unsettled() && command.was_sent() && outcome == Outcome::Withdrawn {
        return Err(StoreError::Refused(format!(
            "command {} was sent and cannot be withdrawn: its effect is unknown until it is read",
            command.id
        )));
    }
    Ok(())
}

/// Whether a DELETE counts towards the caps: anything that may have been carried out.
pub(super) fn counts_as_deletion(command: &Command) -> bool {
    command.intent.action == Action::DeleteCustomer
        && matches!(command.outcome, None | Some(Outcome::Accepted | Outcome::GoalReached))
}

/// Whether an unsettled command blocks others of its class while that is unproven: not if its
/// teardown has ended, nor if it was never sent and its teardown is held, because then it cannot go
/// out and would keep the whole account waiting.
pub(super) fn blocks_others(command: &Command, active: Option<&Teardown>) -> bool {
    command.is_unsettled() && active.is_some_and(|row| command.was_sent() || row.hold.is_none())
}

/// Whether a command is the DELETE of the very tenant that asks.
pub(super) fn is_own_delete(command: &Command, row: &Teardown) -> bool {
    command.tenant_id == row.tenant_id && command.intent.action == Action::DeleteCustomer
}

/// Whether the first of two unsettled commands goes out before the second, where only one may be
/// out: one that was sent already, else the older one. Each waiting for the other would last for
/// ever. The numbers are the commands' places in the order of their commits.
pub(super) fn goes_first(first: (usize, &Command), second: (usize, &Command)) -> bool {
    (!first.1.was_sent(), first.0) < (!second.1.was_sent(), second.0)
}

/// Which classes an accepted command proves.
pub(super) fn proves(intent: &Intent) -> Proven {
    Proven {
        write: true,
        reservation: intent.reservation,
        delete: intent.action == Action::DeleteCustomer,
    }
}
