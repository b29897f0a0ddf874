//! The questions and answers that the arms of the [`machine`](super::machine) share: what must be
//! read before a step, and how a step is put together.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::assess::{self, Assessment};
use super::backoff;
use super::command::{Action, Command, Outcome};
use super::fault::{Class, Fault, Trouble};
use super::ids::CommandId;
use super::machine::{Decision, Situation, Transition, Wake};
use super::observation::{CustomerSeen, Entitlements, Read};
use super::plan::{Need, Plan, Run};
use super::reason::Reason;
use super::request::CUSTOMER;
use super::routes::Kind;
use super::settlement;
use super::teardown::State;

/// Facts are read again when this much of their allowed age is spent, so that they are still good
/// when the gate asks.
const USABLE_PART: f64 = 0.75;

impl Situation<'_> {
    // ---- before the arms -------------------------------------------------------------------------

    /// The deadline of eligible time. A DELETE that is out is remembered all the same.
    pub(super) fn deadline(&self) -> Option<Decision> {
        let at = self.teardown.deadline_at(self.policy.deadline)?;
        (at <= self.now).then(|| {
            let limit = humantime::format_duration(self.policy.deadline);
            self.fail(Reason::DeadlineExceeded, format!("{limit} of eligible time have passed"))
        })
    }

    /// What went wrong in this pass, if anything did.
    pub(super) fn trouble(&self) -> Option<Decision> {
        Some(match self.seen.trouble.as_ref()? {
            Trouble::Account { reason, until, text } => {
                let mut step = self.step(self.teardown.state);
                step.reason = Some(*reason);
                step.text = Some(text.clone());
                step.wake = Wake::At(*until);
                Decision::Transition(Box::new(step))
            }
            Trouble::Transient { text, wait } => self.set_back_for(text, *wait),
            // The customer itself will tell whether it is gone.
            Trouble::Permanent(fault)
                if settlement::classify(fault) == Class::CustomerGone
                    && self.seen.customer.is_none() =>
            {
                Decision::Read(vec![Read::Customer])
            }
            Trouble::Permanent(fault) => self.refused_read(fault),
        })
    }

    fn refused_read(&self, fault: &Fault) -> Decision {
        if settlement::classify(fault) == Class::CustomerGone {
            return self.set_back(&format!("the customer is there, yet: {}", fault.text));
        }
        let code = fault.code.as_deref().unwrap_or("no code");
        let note = self.policy.codes.note(fault.status, fault.code.as_deref());
        self.fail(Reason::ApiRefused, format!("{} {code}: {}{note}", fault.status, fault.text))
    }

    /// A failure of this tenant's own step: an attempt is spent and the next one waits.
    pub(super) fn set_back(&self, text: &str) -> Decision {
        self.set_back_for(text, Duration::ZERO)
    }

    /// The same, waiting for no less than was asked.
    fn set_back_for(&self, text: &str, asked: Duration) -> Decision {
        let attempts = self.teardown.attempts.saturating_add(1);
        if attempts >= self.policy.max_attempts {
            return self.fail(Reason::AttemptsExhausted, format!("attempt {attempts}: {text}"));
        }
        let (initial, max) = (self.policy.retry_initial, self.policy.retry_max);
        let mut step = self.step(self.teardown.state);
        step.attempts = attempts;
        step.reason = Some(Reason::RetryBackoff);
        step.text = Some(text.to_owned());
        step.wake = self.after(backoff::delay(initial, max, attempts - 1, self.dice).max(asked));
        Decision::Transition(Box::new(step))
    }

    // ---- what must be read first -------------------------------------------------------------------

    /// Whether the customer is there. `Ok(false)`: it reads as gone and a DELETE of ours is out.
    ///
    /// # Errors
    /// The decision to take instead: read it, or end a teardown whose customer went without us.
    pub(super) fn customer(&self, max_age: Duration) -> Result<bool, Decision> {
        let Some(seen) = self.seen.customer.as_ref().filter(|seen| self.is_fresh(seen.at, max_age))
        else {
            return Err(Decision::Read(vec![Read::Customer]));
        };
        match &seen.fact {
            CustomerSeen::Present(_) => Ok(true),
            CustomerSeen::Gone { .. } if self.memory.delete_is_out() => Ok(false),
            CustomerSeen::Gone { code, text, by_code: true } => {
                Err(self.gone_without_us(seen.at, code, text))
            }
            CustomerSeen::Gone { code, text, by_code: false } => {
                Err(self.fail(Reason::ApiRefused, format!("{code}: {text}")))
            }
        }
    }

    /// Whether the customer was read in this pass, and read as gone.
    pub(super) fn reads_as_gone(&self) -> bool {
        let seen = self.seen.customer.as_ref();
        seen.is_some_and(|seen| matches!(seen.fact, CustomerSeen::Gone { .. }))
    }

    /// A DELETE is out and the customer list lacks the customer, which could still be read a moment
    /// ago: nothing more is to be sent, the proof comes next.
    pub(super) fn went_meanwhile(&self, state: State) -> Option<Decision> {
        let unlisted = self.seen.census.as_ref().is_some_and(|census| census.fact.entry.is_none());
        (unlisted && self.memory.delete_is_out()).then(|| {
            let text = "a DELETE is out, and the customer list lacks the customer".to_owned();
            self.poll_again(state, Reason::ProofPending, text)
        })
    }

    /// The customer reads as gone and no DELETE of ours is out: not a success. The account's whole
    /// list must agree before the teardown ends.
    fn gone_without_us(&self, seen_at: Timestamp, code: &str, text: &str) -> Decision {
        let Some(census) = self.seen.census.as_ref().filter(|census| census.at >= seen_at) else {
            return Decision::Read(vec![Read::Census { not_before: seen_at }]);
        };
        if census.fact.entry.is_some() || !census.fact.conclusive {
            return self.set_back(&format!("the customer reads as gone ({code}), but is listed"));
        }
        let tenant = self.teardown.tenant_id;
        if self.teardown.domain.is_none() {
            let text = format!("{code}: {text}; {tenant} is no customer of this account");
            return self.fail(Reason::CustomerNotFound, text);
        }
        let text = format!("{code}: {text}; the customer went without a DELETE of ours");
        self.fail(Reason::CustomerVanished, text)
    }

    /// The complete inventory, each part no older than allowed.
    ///
    /// # Errors
    /// The reads that are missing.
    pub(super) fn inventory(&self, max_age: Duration) -> Result<Assessment, Decision> {
        let mut missing = self.every_list();
        missing.retain(|read| !self.is_here(read, max_age));
        if !missing.is_empty() {
            return Err(Decision::Read(missing));
        }
        match assess::assess(self.seen) {
            Some(assessment) if assessment.complete => Ok(assessment),
            Some(_) | None => Err(Decision::Read(self.every_list())),
        }
    }

    /// Every read that a complete inventory rests on, as far as is known by now.
    pub(super) fn every_list(&self) -> Vec<Read> {
        let mut reads = vec![Read::Orders, Read::Subscriptions, Read::Entitlements];
        reads.extend(self.teardown.suspects.iter().cloned().map(Read::Order));
        reads.extend(assess::follow_up_reads(self.seen));
        reads.sort();
        reads.dedup();
        reads
    }

    /// What a record says of an inventory that could not be checked against the entitlements.
    pub(super) fn basis(&self) -> &'static str {
        let entitlements = self.seen.entitlements.as_ref().map(|seen| &seen.fact);
        match entitlements {
            Some(Entitlements::Refused) => {
                "; without the cross-check: the API refuses entitlements to this app, so orders and \
                 subscriptions alone say so"
            }
            Some(Entitlements::Listed(_)) | None => "",
        }
    }

    /// Makes sure of the account's customer list.
    ///
    /// # Errors
    /// The read, where the list is missing or would soon be too old.
    pub(super) fn census(&self, max_age: Duration) -> Result<(), Decision> {
        if self.seen.census.as_ref().is_some_and(|seen| self.is_fresh(seen.at, max_age)) {
            return Ok(());
        }
        let not_before = self.now.checked_sub(max_age.mul_f64(USABLE_PART / 2.0));
        let not_before = not_before.unwrap_or(self.now);
        Err(Decision::Read(vec![Read::Census { not_before }]))
    }

    pub(super) fn is_fresh(&self, at: Timestamp, max_age: Duration) -> bool {
        let usable = SignedDuration::try_from(max_age.mul_f64(USABLE_PART)).unwrap_or_default();
        self.now.duration_since(at) <= usable
    }

    fn is_here(&self, read: &Read, max_age: Duration) -> bool {
        self.seen.read_at(read).is_some_and(|at| self.is_fresh(at, max_age))
    }

    // ---- polling -----------------------------------------------------------------------------------

    /// Looks only at the lists in which an accepted cancellation is still awaited, and waits on while
    /// nothing there calls for more. `None`: the whole inventory is worth reading.
    pub(super) fn poll(&self) -> Option<Decision> {
        // Once the whole inventory is being read in this pass, it alone decides.
        if self.seen.entitlements.is_some() {
            return None;
        }
        let unfinished: Vec<&String> = self
            .memory
            .purchases
            .iter()
            .filter(|(_, p)| p.unfinished)
            .map(|(key, _)| key)
            .collect();
        let awaited: Vec<&String> = unfinished
            .iter()
            .copied()
            .filter(|key| self.memory.latest_for(key).is_some())
            .collect();
        if awaited.is_empty() {
            return None;
        }
        let mut reads: Vec<Read> = awaited.iter().flat_map(|key| self.lists_of(key)).collect();
        reads.sort();
        reads.dedup();
        reads.retain(|read| !self.is_here(read, super::gates::FACTS_BEFORE_DELETE));
        if !reads.is_empty() {
            return Some(Decision::Read(reads));
        }
        let mut purchases = assess::judge(self.seen);
        purchases.retain(|purchase| awaited.contains(&&purchase.key));
        let by_id = assess::by_id(self.seen);
        let partial = Assessment { purchases, read_at: self.now, complete: false, by_id };
        let still_active = partial.unfinished().count();
        let finished_one = still_active < awaited.len();
        let others_wait = awaited.len() < unfinished.len();
        let plan = self.plan(&partial);
        let idle = plan.needs.iter().all(|(_, need)| matches!(need, Need::Goal | Need::Ready));
        if still_active == 0 || !idle || (finished_one && others_wait) {
            return None;
        }
        Some(self.wait_for_goals(&plan))
    }

    /// The lists in which a purchase with this key shows.
    fn lists_of(&self, key: &str) -> Vec<Read> {
        if let Some(rest) = key.strip_prefix("azure:")
            && let Some((plan, _)) = rest.split_once('/')
        {
            return vec![Read::AzureEntitlements(plan.to_owned())];
        }
        if key.starts_with("order:") {
            let mut reads = vec![Read::Orders];
            reads.extend(self.teardown.suspects.iter().cloned().map(Read::Order));
            return reads;
        }
        // A software subscription may have been cancelled through its order.
        let by_order =
            self.memory.latest_for(key).is_some_and(|c| c.intent.action == Action::CancelOrder);
        if by_order { vec![Read::Orders, Read::Subscriptions] } else { vec![Read::Subscriptions] }
    }

    /// The class of a refusal, with what came before it in this run.
    pub(super) fn verdict(&self, refusal: &Command) -> Class {
        self.memory.verdict(refusal, self.teardown.run_since, &self.policy.codes)
    }

    // ---- judging -----------------------------------------------------------------------------------

    pub(super) fn plan(&self, inventory: &Assessment) -> Plan {
        Plan::of(
            inventory,
            self.memory,
            Run { since: self.teardown.run_since, try_anyway: self.teardown.try_anyway },
            self.policy,
            self.now,
        )
    }

    /// The plan, if it can be acted on.
    ///
    /// # Errors
    /// The decision to take instead: read again, or end.
    pub(super) fn workable_plan(&self, inventory: &Assessment) -> Result<Plan, Decision> {
        let plan = self.plan(inventory);
        if plan.wants_read() {
            return Err(Decision::Read(self.every_list()));
        }
        let doubtful = plan.doubtful();
        if !doubtful.is_empty() {
            return Err(Decision::Read(doubtful));
        }
        match self.blocked(&plan, inventory) {
            Some(failure) => Err(failure),
            None => Ok(plan),
        }
    }

    /// The failure to end with, where something can be cancelled only by a person or was refused for
    /// good. What is unsettled is settled first.
    pub(super) fn blocked(&self, plan: &Plan, inventory: &Assessment) -> Option<Decision> {
        if !plan.resends().is_empty() {
            return None;
        }
        let for_a_person = plan.for_a_person();
        if !for_a_person.is_empty() {
            let unknown = inventory.unfinished().any(|p| p.kind == Kind::Unknown);
            let reason = if unknown {
                Reason::UnknownProduct
            } else if inventory.unfinished().any(|p| p.lacks_upload) {
                Reason::PoUploadRequired
            } else {
                Reason::BlockedUncancellable
            };
            return Some(self.fail(reason, for_a_person.join("; ")));
        }
        let lasting = plan.lasting();
        if !lasting.is_empty() {
            return Some(self.fail(Reason::SaasStaysActive, lasting.join("; ")));
        }
        let refused = plan.refused();
        (!refused.is_empty()).then(|| self.fail(Reason::ApiRefused, refused.join("; ")))
    }

    /// Unsettled cancellations whose purchase reads as inactive, or is not there any more: settled
    /// by reading. What never went out is withdrawn, too, where it is not what would be decided now.
    pub(super) fn reached(&self, inventory: &Assessment) -> Vec<(CommandId, Outcome, String)> {
        let active: Vec<String> = inventory
            .unfinished()
            .flat_map(|purchase| purchase.resources().collect::<Vec<_>>())
            .collect();
        self.memory
            .commands
            .iter()
            .filter(|c| c.is_unsettled() && c.intent.resource != CUSTOMER)
            .filter_map(|c| {
                let (outcome, text) = if !active.contains(&c.intent.resource) {
                    let sent = c.was_sent();
                    let outcome = if sent { Outcome::GoalReached } else { Outcome::Withdrawn };
                    (outcome, "read as inactive")
                } else if !c.was_sent() && !inventory.unfinished().any(|p| p.leads_to(&c.intent)) {
                    (Outcome::Withdrawn, "what was read has changed before it was sent")
                } else {
                    return None;
                };
                Some((c.id, outcome, text.to_owned()))
            })
            .collect()
    }

    // ---- steps -------------------------------------------------------------------------------------

    /// A step to `state` that changes nothing else and goes on at once.
    pub(super) fn step(&self, state: State) -> Transition {
        let row = self.teardown;
        Transition {
            state,
            reason: None,
            text: None,
            settled: Vec::new(),
            intents: Vec::new(),
            resends: Vec::new(),
            // Reads that succeed do not make up for a write that never does.
            attempts: if self.memory.a_write_is_failing(row.run_since, &self.policy.codes) {
                row.attempts
            } else {
                0
            },
            polls: row.polls,
            rounds: row.rounds,
            suspects: row.suspects.clone(),
            wake: if state.is_terminal() { Wake::Never } else { Wake::Now },
        }
    }

    /// Goes to `state` and on at once.
    pub(super) fn go(&self, state: State, reason: Option<Reason>, text: &str) -> Decision {
        let mut step = self.step(state);
        step.reason = reason;
        step.text = Some(text.to_owned());
        Decision::Transition(Box::new(step))
    }

    /// Stays and waits.
    pub(super) fn park(&self, wake: Wake) -> Decision {
        let mut step = self.step(self.teardown.state);
        step.wake = wake;
        Decision::Transition(Box::new(step))
    }

    /// Ends in `failed`, with the counters kept for the operator.
    pub(super) fn fail(&self, reason: Reason, text: String) -> Decision {
        let mut step = self.step(State::Failed);
        step.reason = Some(reason);
        step.text = Some(text);
        step.attempts = self.teardown.attempts;
        Decision::Transition(Box::new(step))
    }

    /// Nothing can be committed now: polls for what is awaited, or goes on if nothing is.
    pub(super) fn wait_or_finish(&self, inventory: &Assessment, plan: &Plan) -> Decision {
        if inventory.unfinished().next().is_none() {
            let mut step = self.step(State::Polling);
            step.settled = self.reached(inventory);
            return Decision::Transition(Box::new(step));
        }
        let mut decision = self.wait_for_goals(plan);
        if let Decision::Transition(step) = &mut decision {
            step.settled = self.reached(inventory);
        }
        decision
    }

    fn wait_for_goals(&self, plan: &Plan) -> Decision {
        let accepted = plan.needs.iter().any(|(_, need)| *need == Need::Goal);
        let reason = if accepted { Reason::CancellationPending } else { Reason::PurchasePending };
        self.poll_again(State::Polling, reason, plan.summary())
    }

    /// Parks with the polling backoff.
    pub(super) fn poll_again(&self, state: State, reason: Reason, text: String) -> Decision {
        let (initial, max) = (self.policy.polling_initial, self.policy.polling_max);
        let mut step = self.step(state);
        step.reason = Some(reason);
        step.text = Some(text);
        step.wake = self.after(backoff::delay(initial, max, self.teardown.polls, self.dice));
        step.polls = self.teardown.polls.saturating_add(1);
        Decision::Transition(Box::new(step))
    }

    pub(super) fn after(&self, delay: Duration) -> Wake {
        Wake::At(self.now.checked_add(delay).unwrap_or(Timestamp::MAX))
    }

    /// Whether `since` lies at least `duration` back.
    pub(super) fn is_past(&self, since: Timestamp, duration: Duration) -> bool {
        since.checked_add(duration).is_ok_and(|at| self.now >= at)
    }
}
