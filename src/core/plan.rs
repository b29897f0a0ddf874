//! What each unfinished purchase needs next, from what is read and from the commands on record.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::assess::Assessment;
use super::command::{Action, Command, Intent, Outcome};
use super::fault::Class;
use super::ids::CommandId;
use super::key::ResourceKey;
use super::memory::{Memory, refusal_class, refusal_text};
use super::observation::Read;
use super::policy::Policy;
use super::routes::{Kind, Purchase, Standing};
use super::settlement;

/// The present run of a teardown: from the enqueue, or from the latest retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// When it began. Refusals before that decide nothing any more.
    pub since: Timestamp,
    /// Whether the operator wants to find out what the API says to what is held to be impossible.
    pub try_anyway: bool,
}

/// What one unfinished purchase needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A new command.
    Command(Intent),
    /// The unsettled command once more, under its own id.
    Resend(CommandId),
    /// Its cancellation was accepted: wait for the goal.
    Goal,
    /// Partner Center is still working on it: wait.
    Ready,
    /// Something else must be inactive first.
    Others,
    /// A refusal is on record that is newer than what was read: read again.
    Read,
    /// A list shows it active although its cancellation was accepted: read it by id, since lists lag
    /// behind.
    Confirm(BTreeSet<Read>),
    /// The API refuses it for good.
    Refused(String),
    /// Only a person can cancel it.
    Person(String),
    /// Its cancellation was accepted and changed nothing, for longer than anything takes.
    Lasting(String),
}

/// The needs of all unfinished purchases, in the order of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Purchase key and need.
    pub needs: Vec<(ResourceKey, Need)>,
}

impl Plan {
    /// Works out what is needed.
    pub fn of(
        assessment: &Assessment,
        memory: &Memory,
        run: Run,
        policy: &Policy,
        now: Timestamp,
    ) -> Self {
        let looker = Looker { assessment, memory, run, policy, now };
        let needs = assessment.unfinished().map(|p| (p.key.clone(), looker.need(p))).collect();
        Self { needs }
    }

    /// The commands to commit, each resource once. None while a command is to be sent again: a gate
    /// that lets no new one pass would end the pass before the old one goes out, and what that gate
    /// waits for may be the old one's answer.
    pub fn intents(&self) -> Vec<Intent> {
        let mut intents: Vec<Intent> = Vec::new();
        if !self.resends().is_empty() {
            return intents;
        }
        for (_, need) in &self.needs {
            if let Need::Command(intent) = need
                && intents.iter().all(|known| known.resource != intent.resource)
            {
                intents.push(intent.clone());
            }
        }
        intents
    }

    /// The unsettled commands to send again.
    pub fn resends(&self) -> Vec<CommandId> {
        let mut ids = Vec::new();
        for (_, need) in &self.needs {
            if let Need::Resend(id) = need
                && !ids.contains(id)
            {
                ids.push(*id);
            }
        }
        ids
    }

    /// Whether something can be committed or sent now.
    pub fn has_work(&self) -> bool {
        self.needs.iter().any(|(_, need)| matches!(need, Need::Command(_) | Need::Resend(_)))
    }

    /// Whether a decision needs fresher reads.
    pub fn wants_read(&self) -> bool {
        self.needs.iter().any(|(_, need)| *need == Need::Read)
    }

    /// What must be read by id before a cancellation that was accepted is asked for once more.
    pub fn doubtful(&self) -> Vec<Read> {
        let reads = self.needs.iter().filter_map(|(_, need)| match need {
            Need::Confirm(reads) => Some(reads),
            _ => None,
        });
        reads.flatten().cloned().collect()
    }

    /// The keys of purchases only a person can cancel, with the reasons.
    pub fn for_a_person(&self) -> Vec<String> {
        self.collect(|need| if let Need::Person(why) = need { Some(why) } else { None })
    }

    /// The keys of purchases the API refuses to cancel, with its texts.
    pub fn refused(&self) -> Vec<String> {
        self.collect(|need| if let Need::Refused(why) = need { Some(why) } else { None })
    }

    /// The keys of purchases that stay active although their cancellation was accepted, with what is known.
    pub fn lasting(&self) -> Vec<String> {
        self.collect(|need| if let Need::Lasting(why) = need { Some(why) } else { None })
    }

    /// Who waits for what, in words.
    pub fn summary(&self) -> String {
        let words = |need: &Need| match need {
            Need::Command(intent) => format!("to be sent: {}", intent.action.as_str()),
            Need::Resend(_) => "unsettled".to_owned(),
            Need::Goal => "cancellation accepted".to_owned(),
            Need::Ready => "not ready yet".to_owned(),
            Need::Others => "waits for others".to_owned(),
            Need::Read | Need::Confirm(_) => "to be read again".to_owned(),
            Need::Refused(_) => "refused".to_owned(),
            Need::Person(_) => "needs a person".to_owned(),
            Need::Lasting(_) => "stays active".to_owned(),
        };
        let all: Vec<String> =
            self.needs.iter().map(|(key, need)| format!("{key} ({})", words(need))).collect();
        all.join(", ")
    }

    fn collect(&self, pick: impl Fn(&Need) -> Option<&String>) -> Vec<String> {
        self.needs
            .iter()
            .filter_map(|(key, need)| pick(need).map(|why| format!("{key}: {why}")))
            .collect()
    }
}

/// 800081: the subscription must be activated before it can be cancelled (error-codes.md).
fn wants_activation(command: &Command) -> bool {
    command.ms_code.as_deref() == Some("800081")
}

struct Looker<'a> {
    assessment: &'a Assessment,
    memory: &'a Memory,
    run: Run,
    policy: &'a Policy,
    now: Timestamp,
}

impl Looker<'_> {
    fn need(&self, purchase: &Purchase) -> Need {
        let latest = purchase
            .resources()
            .filter_map(|resource| self.memory.latest(&resource))
            .max_by_key(|command| command.created_at);
        // An unsettled command comes before everything else: its effect is unknown. One that never went
        // out and is not what would be decided now is replaced.
        if let Some(command) = latest
            && command.is_unsettled()
            && (command.was_sent() || purchase.leads_to(&command.intent))
        {
            return Need::Resend(command.id);
        }
        if let Some(why) = purchase.blocked()
            && !(self.run.try_anyway && purchase.actions().next().is_some())
        {
            return Need::Person(why.to_owned());
        }
        if self.has_active_predecessor(purchase) {
            return Need::Others;
        }
        match latest {
            Some(command) => self.after(purchase, command),
            None => self.fresh(purchase),
        }
    }

    fn has_active_predecessor(&self, purchase: &Purchase) -> bool {
        self.assessment.unfinished().any(|other| purchase.after.contains(&other.key))
    }

    /// The need of a purchase whose latest command is settled.
    fn after(&self, purchase: &Purchase, command: &Command) -> Need {
        let settled_at = command.settled_at.unwrap_or(command.created_at);
        let class = match command.outcome {
            // It cancelled nothing yet: there is no goal to wait for, only for it to take effect.
            Some(Outcome::Accepted) if command.intent.action == Action::ActivateSubscription => {
                return self.again(purchase, settled_at, self.policy.polling_max);
            }
            Some(Outcome::Accepted | Outcome::GoalReached) => {
                return self.goal(purchase, command);
            }
            Some(Outcome::Refused) => {
                self.memory.verdict(command, self.run.since, &self.policy.codes)
            }
            Some(Outcome::Withdrawn) | None => return self.fresh(purchase),
        };
        // Our own cancellation may be what is "in progress": accepted before, or sent without an answer.
        let cancels = command.intent.action != Action::ActivateSubscription;
        let went_unseen = cancels && command.sends > 1;
        if class == Class::Wait && (went_unseen || self.is_under_way(purchase)) {
            return self.goal(purchase, command);
        }
        if settled_at < self.run.since {
            return self.fresh(purchase);
        }
        // A refusal before it came back says nothing of what it is now.
        if self.came_back(purchase, command) {
            return self.goal(purchase, command);
        }
        if self.was_cleared(purchase, settled_at) {
            return self.again(purchase, settled_at, Duration::ZERO);
        }
        let text = || refusal_text(command, &self.policy.codes);
        match class {
            // It is active by now, and can be cancelled.
            Class::AlreadyDone if command.intent.action == Action::ActivateSubscription => {
                self.again(purchase, settled_at, Duration::ZERO)
            }
            Class::AlreadyDone => self.goal(purchase, command),
            Class::Wait => {
                let resource = &command.intent.resource;
                let pause = self.memory.pause_after_wait(resource, self.run.since, self.policy);
                self.again(purchase, settled_at, pause)
            }
            Class::Retry | Class::Throttled | Class::Unauthorized | Class::Access => {
                self.again(purchase, settled_at, self.policy.retry_initial)
            }
            // Once a person has lifted the halt, the same step may be tried again.
            Class::SafetyStop => self.again(purchase, settled_at, Duration::ZERO),
            Class::OtherRoute if wants_activation(command) && !self.was_activated(purchase) => {
                match purchase.activation() {
                    Some(intent) if self.assessment.read_at >= settled_at => Need::Command(intent),
                    Some(_) => Need::Read,
                    None => self.refused(purchase, settled_at, text()),
                }
            }
            Class::OtherRoute if self.next_action(purchase).is_some() => {
                self.again(purchase, settled_at, Duration::ZERO)
            }
            Class::OtherRoute | Class::Permanent | Class::CustomerGone | Class::Unknown => {
                self.refused(purchase, settled_at, text())
            }
        }
    }

    /// Whether a cancellation of it was accepted and its goal has not been seen since.
    fn is_under_way(&self, purchase: &Purchase) -> bool {
        let resources: Vec<ResourceKey> = purchase.resources().collect();
        self.memory.commands.iter().any(|command| {
            command.intent.action != Action::ActivateSubscription
                && resources.contains(&command.intent.resource)
                && command.outcome == Some(Outcome::Accepted)
                && !self.came_back(purchase, command)
        })
    }

    /// Whether something that must be inactive first was cancelled after a refusal: what was in its way is
    /// gone.
    fn was_cleared(&self, purchase: &Purchase, refused_at: Timestamp) -> bool {
        self.memory.commands.iter().any(|command| {
            purchase.after.contains(&command.intent.resource)
                && matches!(command.outcome, Some(Outcome::Accepted | Outcome::GoalReached))
                && command.settled_at.is_some_and(|at| refused_at < at)
        })
    }

    /// Whether it was seen inactive after this command had its answer: if it is active now, it came
    /// back.
    fn came_back(&self, purchase: &Purchase, command: &Command) -> bool {
        let seen =
            self.memory.purchases.get(&purchase.key).and_then(|known| known.last_inactive_at);
        command.outcome == Some(Outcome::GoalReached) || seen > command.settled_at
    }

    /// A cancellation was accepted: its goal is waited for, unless it was reached before and the
    /// purchase came back, or the wait has become too long to believe in.
    fn goal(&self, purchase: &Purchase, command: &Command) -> Need {
        let settled_at = command.settled_at.unwrap_or(command.created_at);
        let too_long = self.is_past(settled_at, self.policy.reissue_after);
        if !self.came_back(purchase, command) && !too_long {
            return Need::Goal;
        }
        if let Some(look) = self.unconfirmed(purchase, settled_at) {
            return look;
        }
        match self.lasts(purchase) {
            Some(why) => Need::Lasting(why),
            None => self.again(purchase, settled_at, Duration::ZERO),
        }
    }

    /// Whether software as a service runs on although its cancellation was accepted: past its window
    /// such a subscription answers 2xx and stays active until its renewal
    /// (kvamseek/partner-center, `create-a-new-subscription.md`). A change may queue behind a renewal for
    /// a day, and nothing is documented to take longer, so it is believed after the same patience as
    /// with a 409 of unknown cause; a term may last three years.
    fn lasts(&self, purchase: &Purchase) -> Option<String> {
        if purchase.kind != Kind::MarketplaceSaas {
            return None;
        }
        let known = self.memory.purchases.get(&purchase.key);
        let since = known.and_then(|known| known.last_inactive_at).unwrap_or(Timestamp::MIN);
        let since = since.max(self.run.since);
        let resources: Vec<ResourceKey> = purchase.resources().collect();
        let accepted = self.memory.commands.iter().filter(|command| {
            command.outcome == Some(Outcome::Accepted)
                && resources.contains(&command.intent.resource)
        });
        let first = accepted.filter_map(|command| command.settled_at).find(|at| *at >= since)?;
        let hours = settlement::LONG_PATIENCE.as_secs() / 3600;
        self.is_past(first, settlement::LONG_PATIENCE).then(|| {
            format!(
                "the cancellation was accepted at {first:.0}, and {hours} hours later it is active"
            )
        })
    }

    /// A refusal ends nothing before the purchase itself has been looked at, since somebody else may
    /// have been first, and what must be inactive before it, since a list may lag behind.
    fn refused(&self, purchase: &Purchase, since: Timestamp, why: String) -> Need {
        if let Some(look) = self.unconfirmed(purchase, since) {
            return look;
        }
        let before: BTreeSet<Read> = purchase.after.iter().filter_map(ResourceKey::read).collect();
        let doubtful = self.unread(before, since);
        if doubtful.is_empty() { Need::Refused(why) } else { Need::Confirm(doubtful) }
    }

    /// The look at the purchase by itself that is missing since then. An Azure subscription may not be
    /// readable by itself; then its list has to say it.
    fn unconfirmed(&self, purchase: &Purchase, since: Timestamp) -> Option<Need> {
        let doubtful = self.unread(purchase.reads_by_id(), since);
        if !doubtful.is_empty() {
            return Some(Need::Confirm(doubtful));
        }
        let by_list = purchase.kind == Kind::AzureSubscription;
        (by_list && self.assessment.read_at < since).then_some(Need::Read)
    }

    /// The reads among these that were not made since then.
    fn unread(&self, mut reads: BTreeSet<Read>, since: Timestamp) -> BTreeSet<Read> {
        reads.retain(|read| self.assessment.by_id.get(read).is_none_or(|at| *at < since));
        reads
    }

    /// A new attempt after `pause`, on facts newer than the last answer.
    fn again(&self, purchase: &Purchase, settled_at: Timestamp, pause: Duration) -> Need {
        if !self.is_past(settled_at, pause) {
            Need::Ready
        } else if self.assessment.read_at < settled_at {
            Need::Read
        } else {
            self.fresh(purchase)
        }
    }

    fn is_past(&self, since: Timestamp, duration: Duration) -> bool {
        since.checked_add(duration).is_ok_and(|at| self.now >= at)
    }

    fn fresh(&self, purchase: &Purchase) -> Need {
        if purchase.standing == Standing::Pending {
            return Need::Ready;
        }
        match self.next_action(purchase).and_then(|action| purchase.intent(action)) {
            Some(intent) => Need::Command(intent),
            None => Need::Refused("every route was refused".to_owned()),
        }
    }

    /// Whether what a refusal asked for was done since: the same route may then be tried again.
    fn was_mended(&self, refusal: &Command) -> bool {
        wants_activation(refusal)
            && self.memory.commands.iter().any(|command| {
                command.intent.action == Action::ActivateSubscription
                    && command.intent.resource == refusal.intent.resource
                    && self.has_activated(command)
                    && command.settled_at >= refusal.settled_at
            })
    }

    /// Whether a subscription is active after this activation: it was accepted, or not needed.
    fn has_activated(&self, activation: &Command) -> bool {
        match activation.outcome {
            Some(Outcome::Accepted) => true,
            Some(Outcome::Refused) => {
                refusal_class(activation, &self.policy.codes) == Class::AlreadyDone
            }
            Some(Outcome::GoalReached | Outcome::Withdrawn) | None => false,
        }
    }

    /// Whether an activation was tried in this run.
    fn was_activated(&self, purchase: &Purchase) -> bool {
        let resources: Vec<ResourceKey> = purchase.resources().collect();
        self.memory.commands.iter().any(|command| {
            command.intent.action == Action::ActivateSubscription
                && resources.contains(&command.intent.resource)
                && command.created_at >= self.run.since
        })
    }

    /// The best action that no refusal of this run has ruled out.
    fn next_action(&self, purchase: &Purchase) -> Option<Action> {
        let resources: Vec<ResourceKey> = purchase.resources().collect();
        purchase.actions().find(|action| {
            !self.memory.commands.iter().any(|command| {
                command.intent.action == *action
                    && resources.contains(&command.intent.resource)
                    && command.outcome == Some(Outcome::Refused)
                    && command.settled_at.is_some_and(|at| at >= self.run.since)
                    && !self.came_back(purchase, command)
                    && refusal_class(command, &self.policy.codes) == Class::OtherRoute
                    && !self.was_mended(command)
                    && !command.settled_at.is_some_and(|at| self.was_cleared(purchase, at))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(number: u128) -> (ResourceKey, Need) {
        let action = Action::CancelOrder;
        let intent = Intent {
            action,
            reservation: false,
            resource: ResourceKey::order(&number.to_string()),
            body: None,
            if_match: None,
        };
        (intent.resource.clone(), Need::Command(intent))
    }

    #[test]
    fn invariant_4_what_is_unsettled_goes_out_before_anything_new_is_asked_for() {
        let again = CommandId(uuid::Uuid::from_u128(7));
        let mut plan = Plan { needs: vec![need(1), need(2), need(2)] };
        assert_eq!(plan.intents().len(), 2);
        plan.needs.push((ResourceKey::order("3"), Need::Resend(again)));
        assert_eq!((plan.intents(), plan.resends()), (vec![], vec![again]));
        assert!(plan.has_work());
    }
}
