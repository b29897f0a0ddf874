//! The questions and answers that the arms of the [`machine`](super::machine) share: what must be
//! read before a step, and how a step is put together.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::assess::{self, Assessment};
use super::backoff;
use super::command::{Action, Command, Outcome};
use super::fault::{Class, Fault, Trouble};
use super::freshness::{Before, JUST_READ};
use super::ids::is_resource_id;
use super::key::ResourceKey;
use super::machine::{Decision, Situation, Transition, Wake};
use super::memory::Settled;
use super::observation::{CustomerSeen, Entitlements, Read};
use super::plan::{Need, Plan, Run};
use super::reason::Reason;
use super::routes::Kind;
use super::settlement;
use super::teardown::State;

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
            Trouble::Refused(fault) => self.refused_read(fault),
        })
    }

    fn refused_read(&self, fault: &Fault) -> Decision {
        let code = fault.code.as_deref().unwrap_or("no code");
        let note = self.policy.codes.note(fault.status, fault.code.as_deref());
        let text = format!("{} {code}: {}{note}", fault.status, fault.text);
        match settlement::classify(fault) {
            // The customer itself will tell whether it is gone.
            Class::CustomerGone if self.seen.customer.is_none() => {
                Decision::Read(vec![Read::Customer])
            }
            Class::CustomerGone => {
                self.set_back(&format!("the customer is there, yet: {}", fault.text))
            }
            Class::Wait => self.poll_again(self.teardown.state, Reason::PurchasePending, text),
            _ => self.fail(Reason::ApiRefused, text),
        }
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
    pub(super) fn customer(&self, before: Before) -> Result<bool, Decision> {
        let Some(seen) = self.seen.customer.as_ref().filter(|seen| self.is_fresh(seen.at, before))
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

    /// Everything a cancellation rests on, read in one round. `None`: the customer reads as gone and a
    /// DELETE of ours is out.
    ///
    /// # Errors
    /// The decision to take instead: read, or end a teardown whose customer went without us.
    pub(super) fn footing(&self) -> Result<Option<Assessment>, Decision> {
        let is_known = self.seen.customer.is_some();
        // Where it is likely to be gone, or known to be, there is nothing else to be read.
        let likely_gone = self.reads_as_gone() || (self.memory.delete_is_out() && !is_known);
        if likely_gone && !self.customer(Before::Change)? {
            return Ok(None);
        }
        self.round(Before::Change, &[Read::Customer, self.census()]).map(Some)
    }

    /// Makes sure that the customer list holds the customer. One that a list lacks is looked for in
    /// another list before that counts: the first may have been begun before the customer was created.
    ///
    /// # Errors
    /// The read; or, where a DELETE is out and the list lacks the customer, which could still be read a
    /// moment ago, the wait for the proof.
    pub(super) fn listed(&self, state: State) -> Result<(), Decision> {
        match self.seen.census.as_ref().map(|census| &census.fact) {
            Some(census) if census.entry.is_some() => Ok(()),
            Some(_) if self.memory.delete_is_out() => {
                let text = "a DELETE is out, and the customer list lacks the customer".to_owned();
                Err(self.poll_again(state, Reason::ProofPending, text))
            }
            // The guard of that name holds the teardown.
            Some(census) if census.lacks_the_tenant() => Ok(()),
            Some(_) | None => Err(Decision::Read(vec![Read::Census { not_before: self.now }])),
        }
    }

    /// The customer reads as gone and no DELETE of ours is out: not a success. The account's whole
    /// list must agree before the teardown ends.
    fn gone_without_us(&self, seen_at: Timestamp, code: &str, text: &str) -> Decision {
        let Some(census) = self.seen.census.as_ref().filter(|census| census.at >= seen_at) else {
            return Decision::Read(vec![Read::Census { not_before: seen_at }]);
        };
        if census.fact.entry.is_some() {
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

    /// The complete inventory, read in one round with what else is wanted `beside` it. As soon as one
    /// part is too old, all that was not read a moment ago is read once more.
    ///
    /// # Errors
    /// The reads; or a wait, where a round takes so long that nothing can rest on it.
    pub(super) fn round(&self, before: Before, beside: &[Read]) -> Result<Assessment, Decision> {
        let mut wanted = self.every_list();
        wanted.extend_from_slice(beside);
        let age = |read: &Read| self.seen.read_at(read);
        let is_stale = |read: &Read| age(read).is_some_and(|at| !self.is_fresh(at, before));
        let stale = wanted.iter().any(is_stale);
        wanted.retain(|read| age(read).is_none_or(|at| stale && self.is_past(at, JUST_READ)));
        if !wanted.is_empty() {
            let slow = if stale { self.too_slow() } else { None };
            return Err(slow.unwrap_or(Decision::Read(wanted)));
        }
        assess::whole(self.seen, self.memory).ok_or_else(|| Decision::Read(self.every_list()))
    }

    /// The wait where the latest round took too long. It is the account's condition and no failure.
    fn too_slow(&self) -> Option<Decision> {
        let took =
            humantime::format_duration(Duration::from_secs(self.seen.is_too_slow()?.as_secs()));
        let text = format!("reading took {took}, after which nothing can rest on it any more");
        Some(self.poll_again(self.teardown.state, Reason::StaleFacts, text))
    }

    /// Every read that a complete inventory rests on, as far as is known by now.
    pub(super) fn every_list(&self) -> Vec<Read> {
        let mut reads = vec![Read::Orders, Read::Subscriptions, Read::Entitlements];
        for suspect in &self.teardown.suspects {
            reads.push(Read::Order(suspect.clone()));
            match self.seen.named_orders.get(suspect).map(|read| &read.fact) {
                // An id in a text does not say of what it is.
                Some(None) => reads.push(Read::Subscription(suspect.clone())),
                // A list may lag behind what the refusal knows.
                Some(Some(order)) => {
                    let held = order.lines.iter().filter_map(|line| line.subscription_id.clone());
                    reads.extend(held.filter(|id| is_resource_id(id)).map(Read::Subscription));
                }
                None => {}
            }
        }
        reads.extend(assess::follow_up_reads(self.seen));
        reads.extend(assess::unproven(self.seen, self.memory));
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

    /// The account's customer list, shared with whoever needs it now.
    pub(super) fn census(&self) -> Read {
        let not_before = self.now.checked_sub(JUST_READ).unwrap_or(self.now);
        Read::Census { not_before }
    }

    pub(super) fn is_fresh(&self, at: Timestamp, before: Before) -> bool {
        self.seen.is_fresh(at, before, self.now)
    }

    // ---- polling -----------------------------------------------------------------------------------

    /// Looks only at the lists in which an accepted cancellation is still awaited, and waits on while
    /// nothing there calls for more. `None`: the whole inventory is worth reading.
    pub(super) fn poll(&self) -> Option<Decision> {
        // Once the whole inventory is being read in this pass, it alone decides.
        if self.seen.entitlements.is_some() {
            return None;
        }
        let unfinished: Vec<&ResourceKey> = self
            .memory
            .purchases
            .iter()
            .filter(|(_, p)| p.unfinished)
            .map(|(key, _)| key)
            .collect();
        let awaited: Vec<&ResourceKey> = unfinished
            .iter()
            .copied()
            .filter(|key| self.memory.latest_for(key).is_some())
            .collect();
        if awaited.is_empty() {
            return None;
        }
        let mut reads: Vec<Read> = awaited.iter().flat_map(|key| self.lists_of(key)).collect();
        reads.extend(self.memory.come_back().filter_map(ResourceKey::read));
        reads.sort();
        reads.dedup();
        let is_here = |read: &Read| {
            self.seen.read_at(read).is_some_and(|at| self.is_fresh(at, Before::Delete))
        };
        reads.retain(|read| !is_here(read));
        if !reads.is_empty() {
            return Some(Decision::Read(reads));
        }
        let mut purchases = assess::judge(self.seen);
        purchases.retain(|purchase| awaited.contains(&&purchase.key));
        let by_id = assess::by_id(self.seen);
        let shown = BTreeSet::new();
        let partial = Assessment { purchases, read_at: self.now, complete: false, by_id, shown };
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
    fn lists_of(&self, key: &ResourceKey) -> Vec<Read> {
        match key {
            ResourceKey::Azure { plan, .. } => return vec![Read::AzureEntitlements(plan.clone())],
            ResourceKey::Order(_) => {
                let mut reads = vec![Read::Orders];
                reads.extend(self.teardown.suspects.iter().cloned().map(Read::Order));
                return reads;
            }
            ResourceKey::Customer | ResourceKey::Subscription(_) | ResourceKey::Entitlement(_) => {}
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

    // ---- steps -------------------------------------------------------------------------------------

    /// A step to `state` that changes nothing else and goes on at once. Whatever the step is, it
    /// settles what this pass has read.
    pub(super) fn step(&self, state: State) -> Transition {
        let row = self.teardown;
        // Reads that succeed do not make up for a write that never does.
        let failing = self.memory.a_write_is_failing(row.run_since, &self.policy.codes);
        Transition {
            settled: self.settled_by_reading(state),
            attempts: if failing { row.attempts } else { 0 },
            polls: row.polls,
            rounds: row.rounds,
            suspects: row.suspects.clone(),
            wake: if state.is_terminal() { Wake::Never } else { Wake::Now },
            ..Transition::to(state)
        }
    }

    /// Unsettled commands whose goal a complete inventory shows as reached: the purchase reads as
    /// inactive, or is not there. With the customer everything is gone. The DELETE has a proof of its
    /// own. What never went out is withdrawn, also where it is not what would be decided now.
    fn settled_by_reading(&self, state: State) -> Vec<Settled> {
        let unsettled: Vec<_> =
            self.memory.commands.iter().filter(|command| command.is_unsettled()).collect();
        if unsettled.is_empty() {
            return Vec::new();
        }
        let inventory = assess::whole(self.seen, self.memory);
        let seen = |command: &Command| match &inventory {
            _ if state == State::Deleted => Some("the customer is gone"),
            Some(inventory) if inventory.shows_done(command) => Some("read as inactive"),
            Some(inventory)
                if !command.was_sent()
                    && command.intent.resource != ResourceKey::Customer
                    && !inventory.unfinished().any(|p| p.leads_to(&command.intent)) =>
            {
                Some("what was read has changed before it was sent")
            }
            Some(_) | None => None,
        };
        let settled = unsettled.into_iter().filter_map(|command| {
            let outcome =
                if command.was_sent() { Outcome::GoalReached } else { Outcome::Withdrawn };
            seen(command).map(|text| (command.id, outcome, text.to_owned()))
        });
        settled.collect()
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
            return Decision::Transition(Box::new(self.step(State::Polling)));
        }
        self.wait_for_goals(plan)
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
