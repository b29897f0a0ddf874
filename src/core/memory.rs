//! The memory of a tenant: its commands and purchases on record, and what the refusals among them mean.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::backoff;
use super::command::{Command, Outcome};
use super::fault::{Class, Fault};
use super::ids::CommandId;
use super::key::ResourceKey;
use super::policy::Policy;
use super::settlement::{self, Codes, Patience};

/// A purchase as earlier passes have stored it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remembered {
    /// Not read as inactive the last time.
    pub unfinished: bool,
    /// When it was last read as inactive. A command accepted before that has done its work: if the
    /// purchase is active now, it came back.
    pub last_inactive_at: Option<Timestamp>,
    /// The order it belongs to: a software subscription may be cancelled through that.
    pub order_id: Option<String>,
}

/// Everything that the store knows of a tenant, besides the row itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Every command ever committed for the tenant in this account, oldest first.
    pub commands: Vec<Command>,
    /// Purchases by key.
    pub purchases: BTreeMap<ResourceKey, Remembered>,
}

impl Memory {
    /// The commands on a resource, the latest first, without those that decide nothing any more.
    fn on_resource(&self, resource: &ResourceKey) -> impl Iterator<Item = &Command> {
        let commands = self.commands.iter().rev();
        commands.filter(move |c| c.intent.resource == *resource && !c.was_set_aside())
    }

    /// The latest command on a resource.
    pub fn latest(&self, resource: &ResourceKey) -> Option<&Command> {
        self.on_resource(resource).next()
    }

    /// The latest command that was to cancel a remembered purchase, by its own resource or by that of
    /// its order.
    pub fn latest_for(&self, key: &ResourceKey) -> Option<&Command> {
        let order = self.purchases.get(key).and_then(|known| known.order_id.as_deref());
        let by_order = order.and_then(|id| self.latest(&ResourceKey::order(id)));
        self.latest(key).into_iter().chain(by_order).max_by_key(|command| command.created_at)
    }

    /// The resources that are unfinished by what is stored.
    pub fn on_record(&self) -> impl Iterator<Item = &ResourceKey> {
        let unsettled = self.commands.iter().filter(|command| command.is_unsettled());
        let purchases = self.purchases.iter().filter(|(_, known)| known.unfinished);
        unsettled.map(|command| &command.intent.resource).chain(purchases.map(|(key, _)| key))
    }

    /// The purchases that came back, and what they were cancelled through: they were read as inactive and
    /// later as active. A list that lags behind may show them as inactive still.
    pub fn come_back(&self) -> impl Iterator<Item = &ResourceKey> {
        let back = |known: &Remembered| known.unfinished && known.last_inactive_at.is_some();
        let back = self.purchases.iter().filter(move |(_, known)| back(known));
        back.flat_map(|(key, _)| {
            let through = self.latest_for(key).map(|command| &command.intent.resource);
            [key].into_iter().chain(through)
        })
    }

    /// Whether the latest command on some resource is unsettled although it was sent, or was refused
    /// in this run in a way that asks for another try. What is known to be over does not count: somebody
    /// else was first.
    pub fn a_write_is_failing(&self, run_since: Timestamp, codes: &Codes) -> bool {
        self.commands.iter().any(|command| {
            let failing = match command.outcome {
                None => command.was_sent(),
                Some(Outcome::Refused) => {
                    command.settled_at.is_some_and(|at| at >= run_since)
                        && matches!(refusal_class(command, codes), Class::Retry | Class::Access)
                }
                Some(Outcome::Accepted | Outcome::GoalReached | Outcome::Withdrawn) => false,
            };
            let resource = &command.intent.resource;
            let is_over = self.purchases.get(resource).is_some_and(|known| !known.unfinished);
            failing && !is_over && self.latest(resource).is_some_and(|last| last.id == command.id)
        })
    }

    /// The latest DELETE of the customer that may have been carried out, or was. The refusal of a
    /// repetition says nothing of what became of the sendings before it.
    pub fn delete_out(&self) -> Option<&Command> {
        self.commands.iter().rev().find(|c| {
            c.intent.resource == ResourceKey::Customer
                && match c.outcome {
                    None => c.was_sent(),
                    Some(Outcome::Accepted | Outcome::GoalReached) => true,
                    Some(Outcome::Refused) => c.sends > 1,
                    Some(Outcome::Withdrawn) => false,
                }
        })
    }

    /// How long to leave a resource alone whose latest commands were refused with the request to wait:
    /// longer with each of them in this run, and hours where that is what it takes.
    pub fn pause_after_wait(
        &self,
        resource: &ResourceKey,
        since: Timestamp,
        policy: &Policy,
    ) -> Duration {
        let asked_to_wait = |c: &&Command| {
            c.outcome == Some(Outcome::Refused)
                && c.settled_at.is_some_and(|at| at >= since)
                && refusal_class(c, &policy.codes) == Class::Wait
        };
        let refusals: Vec<&Command> =
            self.on_resource(resource).take_while(asked_to_wait).collect();
        let (first, longest) = if refusals.first().is_some_and(|latest| takes_hours(latest)) {
            LONG_WAIT
        } else {
            (policy.polling_initial, policy.reissue_after.max(policy.polling_max))
        };
        let earlier = u32::try_from(refusals.len().saturating_sub(1)).unwrap_or(u32::MAX);
        backoff::delay(first, longest, earlier, 1.0)
    }

    /// The class of a refusal of this run, with what came before it: an answer that bounds the patience
    /// with it is permanent once that is used up.
    pub fn verdict(&self, refusal: &Command, run_since: Timestamp, codes: &Codes) -> Class {
        let fault = fault_of(refusal, codes);
        let class = settlement::classify(&fault);
        let alike = |c: &&Command| {
            c.outcome == Some(Outcome::Refused)
                && c.settled_at.is_some_and(|at| at >= run_since)
                && refusal_class(c, codes) == class
        };
        let series: Vec<&Command> =
            self.on_resource(&refusal.intent.resource).take_while(alike).collect();
        let first = series.last().and_then(|c| c.settled_at);
        let spent = match settlement::patience(&fault) {
            Patience::Usual => false,
            Patience::Once => series.len() > 1,
            Patience::For(patience) => first
                .and_then(|first| first.checked_add(patience).ok())
                .is_some_and(|end| refusal.settled_at.is_some_and(|at| at >= end)),
        };
        if spent { Class::Permanent } else { class }
    }

    /// Whether a DELETE of the customer may have been carried out, or was (invariant 7).
    pub fn delete_is_out(&self) -> bool {
        self.delete_out().is_some()
    }
}

/// A command, how it ended, and by what.
pub type Settled = (CommandId, Outcome, String);

/// The first and the longest pause after a refusal that speaks of hours or days.
const LONG_WAIT: (Duration, Duration) = (Duration::from_hours(1), Duration::from_hours(4));

/// Whether a refusal that says "wait" speaks of hours: an operation is pending for up to 24 of them
/// (900278), or the customer is under review (80007x).
fn takes_hours(refusal: &Command) -> bool {
    matches!(refusal.ms_code.as_deref(), Some("900278" | "800073" | "800074"))
}

/// A refusal on record as the fault that it was.
fn fault_of(command: &Command, codes: &Codes) -> Fault {
    let status = command.http_status.unwrap_or_default();
    Fault {
        status,
        code: command.ms_code.clone(),
        text: command.text.clone().unwrap_or_default(),
        structured: true,
        // A gateway's answer settles nothing.
        own: true,
        told: codes.class_of(status, command.ms_code.as_deref()),
        ..Fault::default()
    }
}

/// The class of a refusal on record.
pub fn refusal_class(command: &Command, codes: &Codes) -> Class {
    settlement::classify(&fault_of(command, codes))
}

/// A refusal in words; where an operator has classified it, they say so.
pub(super) fn refusal_text(command: &Command, codes: &Codes) -> String {
    let code = command.ms_code.as_deref();
    let text = command.text.as_deref().unwrap_or("no text");
    let note = codes.note(command.http_status.unwrap_or_default(), code);
    // A text that was classified when it was answered says so by itself.
    let note = if text.ends_with(&note) { "" } else { note.as_str() };
    format!("{}: {text}{note}", code.unwrap_or("no code"))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use uuid::Uuid;

    use super::*;
    use crate::core::command::{Action, Intent};
    use crate::core::ids::{AccountName, CommandId, TeardownId, TenantId};

    const RUN: Timestamp = Timestamp::UNIX_EPOCH;

    /// A cancellation of one order that was refused so many seconds after the run began. Without a status it
    /// was refused here, because it was forged.
    fn refused(seconds: i64, answer: Option<(u16, &str)>) -> Command {
        let at = RUN + SignedDuration::from_secs(seconds);
        Command {
            id: CommandId(Uuid::from_u128(seconds.unsigned_abs().into())),
            account: AccountName::new("lab"),
            tenant_id: TenantId::new(Uuid::from_u128(1)),
            teardown_id: TeardownId(1),
            intent: Intent {
                action: Action::CancelOrder,
                reservation: false,
                resource: ResourceKey::order("o"),
                body: None,
                if_match: None,
            },
            method: "PATCH".to_owned(),
            path: String::new(),
            created_at: at,
            sends: 1,
            first_sent_at: Some(at),
            last_sent_at: Some(at),
            settled_at: Some(at),
            correlation_id: None,
            outcome: Some(Outcome::Refused),
            http_status: answer.map(|(status, _)| status),
            ms_code: answer.map(|(_, code)| code.to_owned()),
            text: None,
        }
    }

    fn verdict(commands: Vec<Command>) -> Class {
        let memory = Memory { commands, ..Memory::default() };
        let latest = memory.latest(&ResourceKey::order("o")).unwrap();
        memory.verdict(latest, RUN, &Codes::default())
    }

    #[test]
    fn a_refusal_that_is_tried_once_more_is_permanent_the_second_time() {
        let once = Some((400, "800090"));
        assert_eq!(verdict(vec![refused(1, once)]), Class::Retry);
        assert_eq!(verdict(vec![refused(1, once), refused(2, once)]), Class::Permanent);
        let other = Some((400, "2055"));
        assert_eq!(
            verdict(vec![refused(1, once), refused(2, other), refused(3, once)]),
            Class::Permanent
        );
        let wait = Some((409, "800060"));
        assert_eq!(
            verdict(vec![refused(1, once), refused(2, wait), refused(3, once)]),
            Class::Retry
        );
    }

    #[test]
    fn a_refusal_of_what_is_over_by_now_is_no_failing_write() {
        let purchases = BTreeMap::from([(ResourceKey::order("o"), Remembered::default())]);
        let commands = vec![refused(1, Some((403, "2032")))];
        let mut memory = Memory { commands, purchases };
        let failing = |memory: &Memory| memory.a_write_is_failing(RUN, &Codes::default());
        assert!(!failing(&memory));
        memory.purchases.get_mut(&ResourceKey::order("o")).unwrap().unfinished = true;
        assert!(failing(&memory));
    }

    #[test]
    fn a_forged_command_between_two_refusals_gives_no_further_try() {
        let once = Some((400, "800090"));
        let commands = vec![refused(1, once), refused(2, None), refused(3, once)];
        assert_eq!(verdict(commands), Class::Permanent);
        let wait = Some((409, "4242"));
        let day = 26 * 3600;
        let commands = vec![refused(1, wait), refused(2, None), refused(day + 1, wait)];
        assert_eq!(verdict(commands), Class::Permanent);
    }
}
