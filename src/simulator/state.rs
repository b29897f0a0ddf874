//! The way of a request: counted, checked, handled or hindered, answered, noted.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::answering::{self, date_header};
use super::api::tokens::{Issued, Issuer};
use super::api::{self, Context, Outcome, faults};
use super::audit::{self, Finding};
use super::call::{Answer, Call, Delivery, Reply};
use super::dice::Dice;
use super::journal::{Breach, BreachKind, Entry, Journal};
use super::life::{InFlight, Moment};
use super::options::Options;
use super::profile::FaultKind;
use super::retry_after::RetryAfterForm;
use super::route::{Route, Template};
use super::rules::{Effect, Rules};
use super::target;
use super::visit::{Fingerprint, Produced, Visit, bearer, fingerprint, unauthorised};
use super::world::Account;

/// Everything the simulator remembers.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) start: Timestamp,
    pub(crate) options: Options,
    pub(crate) dice: Dice,
    pub(crate) accounts: Vec<Account>,
    pub(crate) rules: Rules,
    pub(crate) journal: Journal,
    pub(crate) tokens: HashMap<String, Issued>,
    pub(crate) seen: HashMap<String, Seen>,
}

/// A request id that has arrived.
#[derive(Debug)]
pub(crate) struct Seen {
    fingerprint: Fingerprint,
    /// The answer, once the request has been applied.
    answer: Option<Answer>,
}

impl State {
    /// The time since the start.
    pub(crate) fn moment(&self, wall: Timestamp) -> Moment {
        Duration::try_from(wall.duration_since(self.start)).unwrap_or_default()
    }

    pub(crate) fn handle(&mut self, call: &Call, wall: Timestamp) -> Reply {
        let now = self.moment(wall);
        let route = Route::of(&call.path);
        let (effect, fault) = self.goes_wrong(&route, call, now);
        let later = if let Some(Effect::Delay(later)) = effect { later } else { Duration::ZERO };
        let visit = Visit {
            number: self.journal.entries.len() as u64,
            call,
            route: &route,
            effect,
            fault,
            now,
            wall,
            delay: self.dice.between(self.options.latency) + later,
            request_id: call.header("MS-RequestId").map(str::to_ascii_lowercase),
        };
        self.note_wait(&visit);
        let (account, produced) = match route.template {
            Template::TokenV1 | Template::TokenV2 => (None, self.token(&visit)),
            _ => self.api(&visit),
        };
        self.finish(&visit, account, produced)
    }

    /// What goes wrong with a call: a rule decides before the profile of faults does.
    fn goes_wrong(
        &mut self,
        route: &Route,
        call: &Call,
        now: Moment,
    ) -> (Option<Effect>, Option<FaultKind>) {
        let account = self.account_of(route, call);
        let partner = account.map(|index| self.accounts[index].partner_tenant);
        if let Some(effect) = self.rules.strike(route, call, partner, now, &mut self.dice) {
            return (Some(effect), None);
        }
        let dice = account.map_or(&mut self.dice, |index| &mut self.accounts[index].faults);
        let profile = self.options.faults.as_ref();
        match profile.and_then(|profile| profile.draw(&call.method, route.template, dice)) {
            Some((kind, effect)) => (Some(effect), Some(kind)),
            None => (None, None),
        }
    }

    /// The account that a call concerns: by the path of a token request, else by the token or the
    /// customer.
    fn account_of(&self, route: &Route, call: &Call) -> Option<usize> {
        if matches!(route.template, Template::TokenV1 | Template::TokenV2) {
            let partner = Uuid::try_parse(&route.item).ok()?;
            return self.accounts.iter().position(|own| own.partner_tenant == partner);
        }
        let issued = bearer(call).and_then(|token| self.tokens.get(token));
        issued.map(|issued| issued.account).or_else(|| self.owner_of(route.customer))
    }

    fn owner_of(&self, customer: Option<Uuid>) -> Option<usize> {
        self.accounts.iter().position(|own| customer.and_then(|id| own.tenant(id)).is_some())
    }

    fn token(&mut self, visit: &Visit<'_>) -> Produced {
        if let Some(effect) = visit.effect.as_ref().filter(|effect| effect.prevents_handling()) {
            return self.hindered(effect, visit);
        }
        let (outcome, issued) = Issuer {
            accounts: &mut self.accounts,
            options: &self.options,
            dice: &mut self.dice,
            now: visit.now,
            wall: visit.wall,
            foreign: visit.effect == Some(Effect::ForeignTid),
        }
        .answer(visit.route, visit.call);
        if let Some((token, issued)) = issued {
            self.tokens.insert(token, issued);
        }
        let answer = answering::plain(&outcome, visit.answered_at());
        Produced { answer: Some(answer), ..Produced::default() }
    }

    fn api(&mut self, visit: &Visit<'_>) -> (Option<usize>, Produced) {
        let (account, denied) = self.authorise(visit);
        let mut findings = audit::headers(visit.call);
        findings.extend(audit::unknown_write(visit.call, visit.route));
        let limited = account.and_then(|index| self.count(index, visit, &mut findings));
        let reused = visit.call.is_write() && self.note_write(account, visit, &mut findings);
        for finding in findings {
            self.breach(visit, finding);
        }
        let hindrance = visit.effect.as_ref().filter(|effect| effect.prevents_handling());
        let produced = match (hindrance, denied, limited, account) {
            (Some(effect), ..) => self.hindered(effect, visit),
            (None, Some(denied), ..) => self.plainly(denied, visit),
            (None, None, Some(wait), _) => self.throttled(wait, self.options.retry_after, visit),
            (None, None, None, Some(_)) if reused => {
                let text = "The request id was used for another request.";
                self.plainly(faults::fault(400, 800002, text), visit)
            }
            (None, None, None, Some(index)) => self.handled(index, visit),
            (None, None, None, None) => self.plainly(unauthorised(800001), visit),
        };
        (account, produced)
    }

    /// The account of the token, or of the customer where the token is not known, and why the call
    /// is denied.
    fn authorise(&self, visit: &Visit<'_>) -> (Option<usize>, Option<Outcome>) {
        let account = self.account_of(visit.route, visit.call);
        let Some(token) = bearer(visit.call) else {
            return (account, Some(unauthorised(800001)));
        };
        let Some(issued) = self.tokens.get(token) else {
            return (account, Some(unauthorised(400)));
        };
        let denied = if issued.expires <= visit.now {
            Some(unauthorised(400))
        } else if self.options.audience.as_ref().is_some_and(|own| *own != issued.audience) {
            Some(unauthorised(900420))
        } else {
            None
        };
        (account, denied)
    }

    /// Counts the call; says how long to wait where it is one too many.
    fn count(
        &mut self,
        index: usize,
        visit: &Visit<'_>,
        findings: &mut Vec<Finding>,
    ) -> Option<Duration> {
        let class = visit.route.template.class();
        let foreign = bearer(visit.call).and_then(|token| self.tokens.get(token));
        if foreign.is_some_and(|issued| issued.foreign) {
            let text = "the token's tid is not the account's partner tenant".to_owned();
            findings.push((BreachKind::ForeignToken, text));
        }
        let throttle = &mut self.accounts[index].throttle;
        if throttle.is_closed(visit.now, &self.options.allowances) {
            let text = format!("{} arrives inside a Retry-After window", visit.call.path);
            findings.push((BreachKind::InsideRetryAfter, text));
        }
        let count = throttle.count(class, visit.now);
        let limit = self.options.limit_per_minute;
        let budget = self.options.budget_per_minute.or(limit);
        if let Some(budget) = budget.filter(|budget| count > *budget) {
            let text = format!("{count} requests of class {class:?} in 60 s, budget {budget}");
            findings.push((BreachKind::OverBudget, text));
        }
        let limit = limit.filter(|limit| count > *limit)?;
        Some(self.accounts[index].throttle.wait(class, visit.now, limit))
    }

    /// Checks a write before anything becomes of it. Says whether its id was used for another one.
    fn note_write(
        &mut self,
        account: Option<usize>,
        visit: &Visit<'_>,
        findings: &mut Vec<Finding>,
    ) -> bool {
        let fingerprint = fingerprint(visit.call);
        let id = visit.request_id.clone().unwrap_or_default();
        let earlier = self.seen.get(&id);
        let known = earlier.is_some();
        let reused = earlier.is_some_and(|seen| seen.fingerprint != fingerprint);
        if reused {
            let text = format!("{id} was sent before with another method, path, body or If-Match");
            findings.push((BreachKind::ReusedId, text));
        }
        if !known && !id.is_empty() {
            self.seen.insert(id.clone(), Seen { fingerprint, answer: None });
        }
        let Some(account) = account.and_then(|index| self.accounts.get_mut(index)) else {
            return reused;
        };
        if let Some(customer) = visit.route.customer.filter(|c| account.protected.contains(c)) {
            findings.push((BreachKind::ProtectedCustomer, format!("a write on {customer}")));
        }
        let context = visit.context(&self.options, self.start);
        let aim = target::of_write(account, &visit.call.method, visit.route, &context);
        if let Some((resource, life)) = aim {
            if !known {
                findings.extend(audit::new_write(life, &resource, &id, visit.now, &self.options));
            }
            findings.extend(audit::overlapping(life, &resource, &id, visit.now));
        }
        let is_delete = visit.call.method == "DELETE" && visit.route.template == Template::Customer;
        let tenant = visit.route.customer.and_then(|id| account.tenant(id));
        // A repetition rests on what its first sending rested on.
        if let Some(tenant) = tenant.filter(|_| is_delete && !known) {
            findings.extend(audit::delete(account, tenant, &context));
        }
        reused
    }

    fn hindered(&mut self, effect: &Effect, visit: &Visit<'_>) -> Produced {
        match effect {
            Effect::Throttle(wait) => self.throttled(*wait, self.options.retry_after, visit),
            Effect::ThrottleIn(wait, form) => self.throttled(*wait, *form, visit),
            Effect::CodeInSuccess(code) => {
                self.plainly(faults::fault(200, *code, "The request has failed."), visit)
            }
            Effect::Answer { .. } => {
                let answer = answering::scripted(effect, visit.answered_at());
                let seconds = answer.as_ref().and_then(answering::retry_after_seconds);
                Produced { answer, closes: seconds, ..Produced::default() }
            }
            _ => Produced::default(),
        }
    }

    fn plainly(&self, outcome: Outcome, visit: &Visit<'_>) -> Produced {
        let mut answer = answering::render(&outcome, visit.answered_at());
        if outcome.own {
            answer.headers.extend(visit.own_headers());
        }
        Produced {
            answer: Some(answer),
            applied: outcome.applied,
            complete_since: outcome.complete_since,
            ..Produced::default()
        }
    }

    fn throttled(&self, wait: Duration, form: RetryAfterForm, visit: &Visit<'_>) -> Produced {
        let seconds = wait.as_secs().max(1);
        let text = format!("Rate limit is exceeded. Try again in {seconds} seconds.");
        // As long as it says, no longer.
        let told = Duration::from_secs(seconds);
        let (value, closes) = match form {
            RetryAfterForm::Seconds => (seconds.to_string(), told),
            // The date has whole seconds, so that its window is up to a second shorter.
            RetryAfterForm::Date => (
                date_header(visit.answered_at() + told),
                told.saturating_sub(Duration::from_secs(1)),
            ),
        };
        let outcome = faults::gateway(429, text).header("retry-after", value);
        Produced { closes: Some(closes), ..self.plainly(outcome, visit) }
    }

    fn handled(&mut self, index: usize, visit: &Visit<'_>) -> Produced {
        let id = visit.request_id.clone().unwrap_or_default();
        if let Some(answer) = self.seen.get(&id).and_then(|seen| seen.answer.clone())
            && visit.call.is_write()
        {
            return Produced { answer: Some(answer), replayed: true, ..Produced::default() };
        }
        let token = bearer(visit.call).and_then(|token| self.tokens.get(token));
        let user = token.is_some_and(|issued| issued.user);
        let context = Context { user, ..visit.context(&self.options, self.start) };
        let account = &mut self.accounts[index];
        let outcome = api::dispatch(account, visit.route, visit.call, &context);
        let produced = self.plainly(outcome, visit);
        if produced.applied {
            if let Some(seen) = self.seen.get_mut(&id) {
                seen.answer.clone_from(&produced.answer);
            }
            self.count_applied(index, visit);
        }
        produced
    }

    fn count_applied(&mut self, index: usize, visit: &Visit<'_>) {
        let context = visit.context(&self.options, self.start);
        let method = &visit.call.method;
        let account = &mut self.accounts[index];
        if let Some((resource, _)) = target::of_write(account, method, visit.route, &context) {
            *self.journal.applied.entry(format!("{method} {resource}")).or_default() += 1;
        }
    }

    /// Damages, notes and delivers the answer.
    fn finish(&mut self, visit: &Visit<'_>, account: Option<usize>, produced: Produced) -> Reply {
        let delivery =
            answering::deliver(produced.answer, visit.effect.as_ref(), visit.answered_at());
        let whole = match &delivery {
            Delivery::Whole(answer) => Some(answer),
            Delivery::CutOff(_) | Delivery::Dropped => None,
        };
        let status = match &delivery {
            Delivery::Whole(answer) | Delivery::CutOff(answer) => Some(answer.status),
            Delivery::Dropped => None,
        };
        let understood = whole.is_some_and(answering::is_understood);
        if let Some(index) = account {
            if let (Template::Entitlements, Some(customer), Some(answer)) =
                (visit.route.template, visit.route.customer, whole)
                && matches!(answer.status, 200 | 403)
            {
                let code = (answer.status == 403).then(|| answering::code_of(answer));
                self.accounts[index].entitlements.answered(customer, code);
            }
            if visit.call.is_write() {
                self.settle(index, visit, understood);
            } else if understood && !visit.effect.as_ref().is_some_and(Effect::spoils_reading) {
                self.note_reading(index, visit, status, produced.complete_since);
            }
            let closes = produced.closes.filter(|_| status == Some(429));
            if let Some(wait) = closes {
                let answered = visit.now + visit.delay;
                self.accounts[index].throttle.close(answered, answered + wait);
            }
        }
        self.journal.throttled += u64::from(status == Some(429));
        let path = match &visit.call.query {
            Some(query) => format!("{}?{query}", visit.call.path),
            None => visit.call.path.clone(),
        };
        self.journal.entries.push(Entry {
            number: visit.number,
            at: visit.wall,
            method: visit.call.method.clone(),
            path,
            template: visit.route.template,
            request_id: visit.request_id.clone(),
            correlation_id: visit.call.header("MS-CorrelationId").map(str::to_ascii_lowercase),
            partner: account.map(|index| self.accounts[index].partner_tenant),
            tenant: visit.route.customer,
            status,
            applied: produced.applied,
            replayed: produced.replayed,
            delivered: whole.is_some(),
            fault: visit.fault,
            account,
        });
        Reply { call: visit.number, delay: visit.delay, delivery }
    }

    fn settle(&mut self, index: usize, visit: &Visit<'_>, understood: bool) {
        let context = visit.context(&self.options, self.start);
        let account = &mut self.accounts[index];
        let aim = target::of_write(account, &visit.call.method, visit.route, &context);
        let (Some((_, life)), Some(id)) = (aim, &visit.request_id) else { return };
        life.unsettled = (!understood).then(|| id.clone());
        let until = visit.now + visit.delay;
        life.in_flight = Some(InFlight { id: id.clone(), call: visit.number, until });
    }

    /// Notes the time that a read takes, or a token that it needs.
    fn note_wait(&mut self, visit: &Visit<'_>) {
        let is_token = matches!(visit.route.template, Template::TokenV1 | Template::TokenV2);
        let account = self.account_of(visit.route, visit.call);
        if let Some(index) = account.filter(|_| is_token || !visit.call.is_write()) {
            let (customer, answered) = (visit.route.customer, visit.now + visit.delay);
            self.accounts[index].read_times.note(customer, visit.now, answered);
        }
    }

    fn note_reading(
        &mut self,
        index: usize,
        visit: &Visit<'_>,
        status: Option<u16>,
        complete_since: Option<Moment>,
    ) {
        let template = visit.route.template;
        // Refused entitlements are as good as read: there is nothing more to be had.
        let refused = template == Template::Entitlements && status == Some(403);
        let complete_since = if refused { Some(visit.now) } else { complete_since };
        if status == Some(200) || refused || template == Template::Customer {
            let context = visit.context(&self.options, self.start);
            let account = &mut self.accounts[index];
            target::note_reading(account, visit.route, complete_since, &context);
        }
    }

    /// The client was gone before the answer: what it asked for is unsettled, and no longer on its
    /// way. Only writes are corrected; a list that was not received still counts as read.
    pub(crate) fn undelivered(&mut self, number: u64, wall: Timestamp) {
        let now = self.moment(wall);
        let Some(entry) = self.journal.entries.get_mut(number as usize) else { return };
        entry.delivered = false;
        let (Some(index), Some(id)) = (entry.account, entry.request_id.clone()) else { return };
        let route = Route::of(entry.path.split('?').next().unwrap_or_default());
        let context = Context {
            now,
            start: self.start,
            options: &self.options,
            user: false,
            in_vain: false,
            repeat_page: false,
            lag: self.options.list_lag,
        };
        let account = &mut self.accounts[index];
        if let Some((_, life)) = target::of_write(account, &entry.method, &route, &context)
            && life.in_flight.as_ref().is_some_and(|write| write.call == number)
        {
            life.in_flight = None;
            life.unsettled = Some(id);
        }
    }

    fn breach(&mut self, visit: &Visit<'_>, (kind, text): Finding) {
        self.journal.breaches.push(Breach { at: visit.wall, call: visit.number, kind, text });
    }
}
