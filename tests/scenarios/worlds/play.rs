//! Plays a world: its script, and then the fair hour.

use std::collections::BTreeSet;
use std::time::Duration;

use teardownd::core::ids::{AccountName, TeardownId};
use teardownd::core::teardown::{NewTeardown, Teardown};
use teardownd::store::{ApproveRequest, ArmRequest, Filter, OperatorRequest, RequestEffect};

use super::stops::{Stops, Who};
use super::verdict::{Finding, Verdict};
use super::world::{About, Deed, Domain, NOBODY, Setting, World, open};
use crate::harness::*;

/// What is on its way when the faults end arrives within this: the longest time limit of a call.
const QUIET: Duration = mins(3);
/// How often a person looks at the fair hour.
const LOOK: Duration = secs(5);
/// A daemon that has died is started again after this.
const SUPERVISED: Duration = secs(1);

/// The daemon has gone wrong beyond what a look at its rows can tell.
struct Broken(Finding);

struct Play<'a> {
    world: &'a World,
    scene: Scene,
    /// When a daemon is started again, and the step at which that one dies.
    next: Option<(Duration, Option<u64>)>,
    stops: Stops,
    /// Rows that failed in the fair hour because of what came before, and were retried.
    retried: BTreeSet<TeardownId>,
}

/// Plays a world to its end, and judges it.
pub(super) async fn play(world: &World) -> Verdict {
    let scene = world.given.clone().set();
    let retried = BTreeSet::new();
    let mut play = Play { world, scene, next: None, stops: Stops::default(), retried };
    let begun = play.run().await;
    let mut findings = Vec::new();
    if let Err(Broken(finding)) = begun {
        findings.push(finding);
    } else {
        findings.extend(play.left().await);
    }
    findings.extend(play.journal());
    let outstanding =
        if findings.is_empty() { String::new() } else { play.scene.outstanding().await };
    Verdict::new(findings, outstanding)
}

impl Play<'_> {
    async fn run(&mut self) -> Result<(), Broken> {
        self.scene.start().await;
        for step in &self.world.script {
            self.until(step.at).await?;
            self.act(&step.deed).await;
        }
        self.until(self.world.fair_at).await?;
        self.fair_hour().await
    }

    /// Lets time pass, and the supervisor of the daemon do its work.
    async fn until(&mut self, at: Duration) -> Result<(), Broken> {
        loop {
            if self.scene.is_livelock() {
                return Err(Broken(Finding::new("livelock", String::new())));
            }
            if self.scene.is_dead() {
                self.scene.kill();
                self.next = Some((self.scene.passed() + SUPERVISED, None));
            }
            let now = self.scene.passed();
            if let Some((due, dies_at)) = self.next
                && due <= now
            {
                self.next = None;
                self.scene.start_until(dies_at).await;
            }
            if now >= at {
                return Ok(());
            }
            let mut wait = (at - now).min(secs(5));
            if let Some((due, _)) = self.next {
                wait = wait.min(due.saturating_sub(now));
            }
            self.scene.pass(wait.max(Duration::from_millis(1))).await;
        }
    }

    async fn act(&mut self, deed: &Deed) {
        let now = self.scene.passed();
        match deed {
            Deed::Enqueue { tenants, domain, again, later, priority } => {
                let rows = tenants.iter().map(|n| NewTeardown {
                    expected_domain: match domain {
                        Domain::None => None,
                        Domain::Right => Some(crate::harness::domain(*n)),
                        Domain::Wrong => Some("other.onmicrosoft.com".to_owned()),
                    },
                    again: *again,
                    not_before: later.map(|later| self.scene.now() + later),
                    priority: *priority,
                    ..self.row_of(*n)
                });
                self.enqueue(rows.collect()).await;
            }
            Deed::Ask { verb, about, lasting, priority, try_anyway } => {
                let until = lasting.map(|lasting| self.scene.now() + lasting);
                let request = OperatorRequest {
                    reason: Some("the world wants it".to_owned()),
                    until: until.filter(|_| *verb == Verb::Pause),
                    not_before: until.filter(|_| *verb == Verb::Set),
                    priority: *priority,
                    try_anyway: *try_anyway,
                    ..OperatorRequest::new(*verb, filter(*about), "ops")
                };
                let effects = self.ask(&request).await;
                let stepped = self.steps_the_clock();
                self.stops.note(*verb, &effects, lasting.filter(|_| !stepped), now);
            }
            Deed::Approve(about) => self.approve(filter(*about)).await,
            Deed::Arm(on) => self.arm(*on).await,
            Deed::Reload(setting) => {
                self.scene.reload(|safety| setting.apply(safety));
                self.note_setting(*setting, now);
            }
            Deed::GoWrong(rule) => {
                self.scene.rule(rule.clone());
            }
            Deed::GoWrongByChance(profile) => {
                self.scene.simulator.set_options(|api| api.faults = profile.clone());
            }
            Deed::Mend => self.scene.simulator.clear_rules(),
            Deed::End { gracefully, down, dies_at } => {
                if self.next.is_none() {
                    let dead = self.scene.is_dead();
                    self.scene.end(*gracefully && !dead).await;
                    self.next = Some((self.scene.passed() + *down, *dies_at));
                }
            }
            Deed::StepClock(by) => self.scene.step_clock(*by),
        }
    }

    fn steps_the_clock(&self) -> bool {
        self.world.script.iter().any(|step| matches!(step.deed, Deed::StepClock(_)))
    }

    fn note_setting(&mut self, setting: Setting, now: Duration) {
        match setting {
            Setting::DryRun(on) => self.stops.set(Who::Everything, "dry_run", on, now),
            Setting::NoDomainAllowed(on) => {
                self.stops.set(Who::Everything, "allow_domains", on, now)
            }
            Setting::Undeclared(on) => self.stops.set(Who::Everything, "sandbox", on, now),
            _ => {}
        }
    }

    // ---- people --------------------------------------------------------------------------------------

    fn row_of(&self, n: usize) -> NewTeardown {
        let neighbours = self.world.given.neighbour.as_ref();
        let account = match neighbours.is_some_and(|neighbour| neighbour.numbers().contains(&n)) {
            true => AccountName::new(NEIGHBOUR),
            false => self.scene.account.clone(),
        };
        NewTeardown { account, ..self.scene.new_teardown(n) }
    }

    async fn enqueue(&mut self, rows: Vec<NewTeardown>) {
        let now = self.scene.passed();
        // Protected tenants and other domains refuse the whole call, so each is asked for by itself.
        for row in rows {
            let queued =
                self.scene.store.enqueue(std::slice::from_ref(&row), self.scene.now()).await;
            if let Ok(outcomes) = queued
                && outcomes[0].1 == teardownd::store::EnqueueOutcome::Queued
            {
                self.stops.set(Who::Tenant(row.tenant_id), "abort", false, now);
            }
        }
    }

    async fn ask(&self, request: &OperatorRequest) -> Vec<RequestEffect> {
        self.scene.store.request(request, self.scene.now()).await.unwrap()
    }

    async fn ask_all(&mut self, verb: Verb, filter: Filter) {
        let request = OperatorRequest {
            reason: Some("the fair hour".to_owned()),
            // Long ago by any clock.
            not_before: (verb == Verb::Set).then(|| self.scene.now() - hours(100)),
            ..OperatorRequest::new(verb, filter, "ops")
        };
        let effects = self.ask(&request).await;
        self.stops.note(verb, &effects, None, self.scene.passed());
    }

    async fn approve(&self, filter: Filter) {
        let (actor, reason) = ("ann".to_owned(), None);
        let request = ApproveRequest { filter, actor, reason, plan: None };
        self.scene.store.approve(&request, self.scene.now()).await.unwrap();
    }

    async fn arm(&self, on: bool) {
        for account in self.accounts() {
            let mut safety = self.scene.given.safety.clone();
            if account.as_str() == NEIGHBOUR {
                safety.partner_tenant = teardownd::core::ids::TenantId::new(NEIGHBOUR_PARTNER);
            }
            let identity = on.then(|| safety.identity());
            let request = ArmRequest { account, identity, actor: "ann".to_owned(), reason: None };
            self.scene.store.arm(&request, self.scene.now()).await.unwrap();
        }
    }

    fn accounts(&self) -> Vec<AccountName> {
        let neighbour = self.world.given.neighbour.as_ref().map(|_| AccountName::new(NEIGHBOUR));
        [self.scene.account.clone()].into_iter().chain(neighbour).collect()
    }

    // ---- the fair hour -------------------------------------------------------------------------------

    /// The API is well, and a person has let go of everything.
    async fn fair_hour(&mut self) -> Result<(), Broken> {
        self.scene.simulator.clear_rules();
        self.scene.simulator.set_options(|api| api.faults = None);
        if self.next.is_none() && self.scene.ends_by_itself() {
            self.scene.kill();
            self.next = Some((self.scene.passed(), None));
        }
        if let Some((_, dies_at)) = &mut self.next {
            *dies_at = None;
        }
        self.until(self.scene.passed() + QUIET).await?;
        if let Some((due, _)) = &mut self.next {
            *due = self.scene.passed();
        }
        let wants_consent = self.world.wants_consent;
        self.scene.reload(|safety| open(safety, wants_consent));
        self.stops.set_everything_free(self.scene.passed());
        self.let_go().await;
        let end = self.scene.passed() + self.world.patience();
        while self.scene.passed() < end && !self.is_over().await {
            self.until(self.scene.passed() + LOOK).await?;
            self.attend().await;
        }
        Ok(())
    }

    async fn let_go(&mut self) {
        let everybody: Vec<_> = self.world.tenants().into_iter().map(tenant).collect();
        let protected = Filter { tenants: everybody, ..Filter::default() };
        for account in self.accounts().into_iter().map(Some).chain([None]) {
            let of = |account| Filter { account, ..Filter::default() };
            self.ask_all(Verb::Unprotect, Filter { account: account.clone(), ..protected.clone() })
                .await;
            self.ask_all(Verb::Resume, of(account.clone())).await;
            self.ask_all(Verb::Unhalt, of(account)).await;
        }
        self.arm(true).await;
        self.ask_all(Verb::Set, Filter::active()).await;
        self.ask_all(Verb::Release, Filter::active()).await;
        let failed = Filter { latest_only: true, states: vec![State::Failed], ..Filter::default() };
        self.ask_all(Verb::Retry, failed).await;
        // Nobody meant these.
        for row in
            self.scene.rows().await.into_iter().filter(|row| named_wrongly(row) || is_nobody(row))
        {
            self.ask_all(Verb::Abort, Filter { ids: vec![row.id], ..Filter::default() }).await;
        }
        if self.world.queued_again {
            let rows = self.world.tenants().into_iter().map(|n| self.row_of(n)).collect();
            self.enqueue(rows).await;
        }
    }

    /// A person approves what waits for that, and retries once what fails by what came before.
    async fn attend(&mut self) {
        let rows = self.scene.rows().await;
        let asks = [Reason::Approval, Reason::PlanDrift, Reason::LargeBatch];
        for row in rows {
            let ids = vec![row.id];
            if row.holds.first().is_some_and(|hold| asks.contains(&hold.code)) {
                self.approve(Filter { ids, ..Filter::default() }).await;
            } else if row.state == State::Failed
                && !super::verdict::is_excused(&row, self.world)
                && self.retried.insert(row.id)
            {
                self.ask_all(Verb::Retry, Filter { ids, ..Filter::default() }).await;
            }
        }
    }

    async fn is_over(&self) -> bool {
        let over = |row: &Teardown| {
            row.state.is_terminal()
                && (row.state != State::Failed
                    || self.retried.contains(&row.id)
                    || super::verdict::is_excused(row, self.world))
        };
        self.scene.rows().await.iter().all(over)
    }

    // ---- the end -------------------------------------------------------------------------------------

    /// What stands still, or has ended as it should not.
    async fn left(&self) -> Vec<Finding> {
        let rows = self.scene.rows().await;
        let newest = |row: &Teardown| {
            !rows.iter().any(|o| {
                (&o.account, o.tenant_id) == (&row.account, row.tenant_id) && o.id > row.id
            })
        };
        rows.iter()
            .filter(|row| !row.state.is_terminal() || newest(row))
            .filter_map(|row| super::verdict::judge(row, self.world, &self.scene))
            .collect()
    }

    fn journal(&self) -> Vec<Finding> {
        let journal = self.scene.simulator.journal();
        let breaches = journal
            .breaches()
            .iter()
            .map(|breach| Finding::new(&format!("breach {:?}", breach.kind), breach.to_string()));
        let begun = self.scene.begun();
        breaches.chain(self.stops.broken(journal.entries(), begun)).collect()
    }
}

pub(super) fn named_wrongly(row: &Teardown) -> bool {
    row.expected_domain.as_deref() == Some("other.onmicrosoft.com") && !row.state.is_terminal()
}

pub(super) fn is_nobody(row: &Teardown) -> bool {
    row.tenant_id == tenant(NOBODY)
}

fn filter(about: About) -> Filter {
    match about {
        About::Everything => Filter::default(),
        About::Account => {
            Filter { account: Some(AccountName::new("sandbox")), ..Filter::default() }
        }
        About::Neighbour => {
            Filter { account: Some(AccountName::new(NEIGHBOUR)), ..Filter::default() }
        }
        About::Tenant(n) => {
            Filter { tenants: vec![tenant(n)], latest_only: true, ..Filter::default() }
        }
    }
}
