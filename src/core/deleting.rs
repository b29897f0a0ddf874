//! The state `deleting`: one DELETE, and the proof that it worked (invariants 7 and 8).

use jiff::Timestamp;

use super::assess::{self, Assessment};
use super::command::{Command, Outcome};
use super::fault::Class;
use super::freshness::Before;
use super::ids::CommandId;
use super::key::ResourceKey;
use super::machine::{Arm, Decision, MAX_ROUNDS, Situation};
use super::memory::refusal_text;
use super::observation::{CustomerSeen, Read, Seen};
use super::reason::Reason;
use super::routes;
use super::teardown::State;

impl Situation<'_> {
    /// The arm for the DELETE and its proof.
    pub(super) fn deleting(&self) -> Arm {
        decide(self)
    }
}

/// How many order ids of one refusal are followed up.
const MAX_SUSPECTS: usize = 20;

/// Where the DELETE of this customer stands.
enum Stage<'a> {
    /// None was committed yet, or the last one's refusal is dealt with.
    Before,
    /// Committed and never sent.
    Unsent(&'a Command),
    /// Sent, effect unknown.
    Unsettled(&'a Command),
    /// Accepted, or known to have worked: what follows is always the proof.
    Accepted(&'a Command),
    /// It was answered that the customer is gone, although no DELETE of ours can have done that.
    GoneWithoutUs,
    /// Refused in this stay in `deleting`.
    Refused(&'a Command, Class),
}

fn stage<'a>(s: &Situation<'a>) -> Stage<'a> {
    // Gone after a DELETE of ours, whatever became of later ones.
    if s.reads_as_gone()
        && let Some(command) = s.memory.delete_out()
    {
        return if command.is_unsettled() {
            Stage::Unsettled(command)
        } else {
            Stage::Accepted(command)
        };
    }
    let Some(command) = s.memory.latest(&ResourceKey::Customer) else { return Stage::Before };
    match command.outcome {
        None if !command.was_sent() => Stage::Unsent(command),
        None => Stage::Unsettled(command),
        Some(Outcome::Accepted | Outcome::GoalReached) => Stage::Accepted(command),
        Some(Outcome::Withdrawn) => Stage::Before,
        Some(Outcome::Refused) => match s.verdict(command) {
            // An earlier DELETE, or an earlier sending of this one, may be why it is gone or in progress.
            Class::AlreadyDone | Class::CustomerGone | Class::Wait if s.memory.delete_is_out() => {
                Stage::Accepted(command)
            }
            _ if settled_at(command) < s.teardown.state_since => Stage::Before,
            Class::AlreadyDone | Class::CustomerGone => Stage::GoneWithoutUs,
            class => Stage::Refused(command, class),
        },
    }
}

fn settled_at(command: &Command) -> Timestamp {
    command.settled_at.unwrap_or(command.created_at)
}

/// The arm of [`decide`](super::machine::decide) for `deleting`.
fn decide(s: &Situation<'_>) -> Arm {
    if s.reads_as_gone() {
        // Without a DELETE of ours this ends the teardown.
        s.customer(Before::Delete)?;
    }
    match stage(s) {
        Stage::Before => delete(s, None, 0),
        Stage::Unsent(command) => delete(s, Some(command.id), 0),
        Stage::Unsettled(command) => unsettled(s, command),
        Stage::Accepted(command) => proof(s, command),
        Stage::GoneWithoutUs => {
            s.customer(Before::Delete)?;
            Ok(s.set_back("DELETE says the customer is gone, reading it says it is there"))
        }
        Stage::Refused(command, class) => refused(s, command, class),
    }
}

/// Sends the DELETE, new or again, if a fresh and complete inventory shows nothing active.
/// `round` is added to the count of rounds if something is.
fn delete(s: &Situation<'_>, again: Option<CommandId>, round: u32) -> Arm {
    let inventory = s.round(Before::Delete, &[s.census()])?;
    if !inventory.proves_nothing_active() {
        return Ok(back_to_cancelling(s, &inventory, round));
    }
    s.listed(State::Deleting)?;
    let mut step = s.step(State::Deleting);
    match again {
        Some(id) => step.resends.push(id),
        None => step.intents.push(routes::delete_customer()),
    }
    step.polls = 0;
    Ok(Decision::Transition(Box::new(step)))
}

fn back_to_cancelling(s: &Situation<'_>, inventory: &Assessment, round: u32) -> Decision {
    let rounds = s.teardown.rounds.saturating_add(round);
    let text = s.plan(inventory).summary();
    if rounds > MAX_ROUNDS {
        return s.fail(
            Reason::RoundsExhausted,
            format!("{MAX_ROUNDS} rounds of refused DELETEs; still there: {text}"),
        );
    }
    let mut step = s.step(State::OrdersCancelling);
    step.reason = Some(Reason::PurchaseActive);
    step.text = Some(text);
    step.rounds = rounds;
    Decision::Transition(Box::new(step))
}

/// The customer as read after `since`.
///
/// # Errors
/// The read.
fn customer_since<'a>(
    s: &Situation<'a>,
    since: Timestamp,
) -> Result<&'a Seen<CustomerSeen>, Decision> {
    s.seen
        .customer
        .as_ref()
        .filter(|seen| seen.at >= since && s.is_fresh(seen.at, Before::Delete))
        .ok_or_else(|| Decision::Read(vec![Read::Customer]))
}

/// A DELETE whose effect is unknown: the remote state first, then the same id again. Only the whole proof
/// settles it: one answer alone may say "gone" of a customer that is there.
fn unsettled(s: &Situation<'_>, command: &Command) -> Arm {
    let customer = customer_since(s, command.last_sent_at.unwrap_or(command.created_at))?;
    match customer.fact {
        CustomerSeen::Present(_) => delete(s, Some(command.id), 1),
        CustomerSeen::Gone { .. } => proof(s, command),
    }
}

/// The proof: a structured "gone" on the customer and then a complete list without it.
fn proof(s: &Situation<'_>, command: &Command) -> Arm {
    let since = settled_at(command).min(s.now);
    let customer = customer_since(s, since)?;
    let CustomerSeen::Gone { code, .. } = &customer.fact else {
        if s.is_past(since, s.policy.reissue_after) {
            return delete(s, None, 1);
        }
        let text = "DELETE was accepted, the customer can still be read".to_owned();
        return Ok(s.poll_again(State::Deleting, Reason::ProofPending, text));
    };
    let Some(census) = s.seen.census.as_ref().filter(|census| census.at >= customer.at) else {
        return Err(Decision::Read(vec![Read::Census { not_before: customer.at }]));
    };
    if census.fact.entry.is_some() {
        let text = format!("the customer reads as gone ({code}), the customer list still has it");
        return Ok(s.poll_again(State::Deleting, Reason::ProofPending, text));
    }
    let text = format!(
        "the customer reads as gone ({code}) and the complete list of {} customers lacks it",
        census.fact.customers
    );
    Ok(s.go(State::Deleted, Some(Reason::ProvenGone), &text))
}

/// A refused DELETE: wait, try again, or look what is still active.
fn refused(s: &Situation<'_>, command: &Command, class: Class) -> Arm {
    let since = settled_at(command);
    let status = command.http_status.unwrap_or_default();
    let text = format!("DELETE was refused: {status} {}", refusal_text(command, &s.policy.codes));
    if let Some(step) = follow(s, command, &text) {
        return Ok(step);
    }
    let pause = s.memory.pause_after_wait(&ResourceKey::Customer, s.teardown.run_since, s.policy);
    match class {
        Class::Wait if !s.is_past(since, pause) => {
            Ok(s.poll_again(State::Deleting, Reason::PurchasePending, text))
        }
        Class::Retry | Class::Throttled | Class::Unauthorized | Class::Access
            if !s.is_past(since, s.policy.retry_initial) =>
        {
            Ok(s.set_back(&text))
        }
        Class::Wait
        | Class::Retry
        | Class::Throttled
        | Class::Unauthorized
        | Class::Access
        // After a safety stop only a person makes the account go on, and then it is tried again.
        | Class::SafetyStop
        | Class::AlreadyDone
        | Class::CustomerGone => delete(s, None, 1),
        Class::OtherRoute | Class::Permanent | Class::Unknown => look_again(s, command, text),
    }
}

/// The step that stores the ids a refusal names, where they are new: each inventory from then on reads
/// them by id.
fn follow(s: &Situation<'_>, command: &Command, text: &str) -> Option<Decision> {
    let known = &s.teardown.suspects;
    let named = order_ids(command.text.as_deref().unwrap_or(""), &s.teardown.tenant_id.to_string());
    let mut suspects = known.clone();
    suspects.extend(named.into_iter().filter(|id| !known.contains(id)));
    suspects.truncate(MAX_SUSPECTS);
    (suspects != *known).then(|| {
        let mut step = s.step(State::Deleting);
        step.reason = Some(Reason::DeleteRefused);
        step.text = Some(text.to_owned());
        step.suspects = suspects;
        Decision::Transition(Box::new(step))
    })
}

/// Nobody said why, or the reason is not understood: a fresh inventory decides.
fn look_again(s: &Situation<'_>, command: &Command, text: String) -> Arm {
    let inventory = s.round(Before::Delete, &[])?;
    if inventory.read_at < settled_at(command) {
        return Err(Decision::Read(s.every_list()));
    }
    if !inventory.proves_nothing_active() {
        return Ok(back_to_cancelling(s, &inventory, 1));
    }
    let suspects = s.teardown.suspects.iter();
    let unplaced: Vec<&str> =
        suspects.map(String::as_str).filter(|id| !assess::places(s.seen, id)).collect();
    let text = match unplaced.as_slice() {
        [] => text,
        ids => format!("{text}; nothing can be found under {}", ids.join(", ")),
    };
    Ok(s.fail(Reason::DeleteRefused, text))
}

/// Words of a text that have the form of an order id: a GUID, about 12 hexadecimal digits, or 33
/// characters of base64url (the forms seen in the documentation's examples).
fn order_ids(text: &str, tenant: &str) -> Vec<String> {
    let is_id_char = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut ids: Vec<String> = Vec::new();
    for word in text.split(|c| !is_id_char(c)) {
        let has_digit = word.bytes().any(|b| b.is_ascii_digit());
        let hex = word.bytes().all(|b| b.is_ascii_hexdigit());
        let guid = word.len() == 36 && uuid::Uuid::try_parse(word).is_ok();
        let looks_like_one =
            guid || (has_digit && hex && (10..=14).contains(&word.len())) || word.len() == 33;
        if looks_like_one && !word.eq_ignore_ascii_case(tenant) && !ids.iter().any(|id| id == word)
        {
            ids.push(word.to_owned());
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_ids_are_found_in_the_text_of_a_refusal() {
        let text = "Customer relationship cannot be removed due to active Azure reserved instances: \
                    [Hx2m81KsPfvgeJQjgRI8QY1DznnUWZTH1, 8f3af3dea1ea], and \
                    d51a052e-043c-4a2a-aa37-2bb938cef6c1; customer \
                    1f2e3d4c-5b6a-4788-9900-aabbccddeeff (deadbeef).";
        assert_eq!(
            order_ids(text, "1f2e3d4c-5b6a-4788-9900-aabbccddeeff"),
            [
                "Hx2m81KsPfvgeJQjgRI8QY1DznnUWZTH1",
                "8f3af3dea1ea",
                "d51a052e-043c-4a2a-aa37-2bb938cef6c1",
            ]
        );
    }
}
