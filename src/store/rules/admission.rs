//! The rules of commands, without any I/O: which ones are admitted, which may be
//! sent and settled, and which keep others waiting.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::core::command::{Command, Outcome};
use crate::core::gates::{self, StoredFacts, Verdict};
use crate::core::key::ResourceKey;
use crate::core::teardown::Teardown;
use crate::store::{Commit, Result, StoreError};

/// What the gates said to the commands of one commit.
#[derive(Debug)]
pub(in crate::store) struct Admission {
    /// The commands to store, in order.
    pub(in crate::store) admitted: Vec<Command>,
    /// The first verdict other than `Allow`.
    pub(in crate::store) verdict: Option<Verdict>,
}

/// Puts the commands through the gates. `busy` holds the resources of the tenant that have an
/// unsettled command. After a hold or a halt nothing more is asked.
pub(in crate::store) fn admit(
    commit: &Commit<'_>,
    facts: &mut StoredFacts,
    mut busy: BTreeSet<ResourceKey>,
    now: Timestamp,
) -> Admission {
    let mut admission = Admission { admitted: Vec::new(), verdict: None };
    // A commit of a tenant has no call of it under way: a canary of its own that is left over is none.
    let own = facts.teardown.tenant_id;
    facts.account.canary = facts.account.canary.filter(|canary| canary.tenant_id != own);
    for command in &commit.commands {
        facts.command = Some(command.id);
        facts.resource_busy = busy.contains(&command.intent.resource);
        let mut verdict = gates::admit(&command.intent, facts, commit.seen, commit.policy, now);
        if verdict == Verdict::Allow {
            let row = &facts.teardown;
            let (account, tenant, id) = (row.account.clone(), row.tenant_id, row.id);
            match Command::fresh(command.clone(), account, tenant, id, now) {
                Ok(fresh) => {
                    facts.count(&fresh.intent, now);
                    busy.insert(fresh.intent.resource.clone());
                    admission.admitted.push(fresh);
                    continue;
                }
                Err(forged) => verdict = gates::forged(&forged.to_string()),
            }
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
pub(in crate::store) fn check_send(command: &Command, row: &Teardown) -> Result<()> {
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
pub(in crate::store) fn check_settle(command: &Command, outcome: Outcome) -> Result<()> {
    if command.is_unsettled() && command.was_sent() && outcome == Outcome::Withdrawn {
        return Err(StoreError::Refused(format!(
            "command {} was sent and cannot be withdrawn: its effect is unknown until it is read",
            command.id
        )));
    }
    Ok(())
}
