//! A world: a small sandbox, how the daemon is set for it, and a script of what happens to both.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use teardownd::core::gates::SafetyPolicy;
use teardownd::core::window::Window;

use crate::harness::*;

/// A tenant that no account has.
pub(super) const NOBODY: usize = 500;

/// What a run is made of. The same seed draws the same world.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) given: Given,
    pub(super) script: Vec<Step>,
    /// When the fair hour begins.
    pub(super) fair_at: Duration,
    /// Whether arming and approval are asked for in the fair hour too.
    pub(super) wants_consent: bool,
    /// Whether every tenant is queued once more when the fair hour begins.
    pub(super) queued_again: bool,
}

/// Something happens, counted from the start.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) deed: Deed,
}

/// What happens.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// Tenants are queued.
    Enqueue {
        tenants: Vec<usize>,
        domain: Domain,
        again: bool,
        later: Option<Duration>,
        priority: i64,
    },
    /// An operator asks for something.
    Ask {
        verb: Verb,
        about: About,
        lasting: Option<Duration>,
        priority: Option<i64>,
        try_anyway: bool,
    },
    /// A person approves.
    Approve(About),
    /// A person arms the accounts, or disarms them.
    Arm(bool),
    /// The settings of the guards are changed and read anew.
    Reload(Setting),
    /// The API begins to go wrong.
    GoWrong(Rule),
    /// Some of all answers are faulty, or none by chance any more.
    GoWrongByChance(Option<FaultProfile>),
    /// The API goes wrong by no rule any more.
    Mend,
    /// The daemon is ended, and another one started after a while. That one dies at a step of its own,
    /// if it is to.
    End { gracefully: bool, down: Duration, dies_at: Option<u64> },
    /// The wall clock is stepped.
    StepClock(SignedDuration),
}

/// Which domain an operator names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Domain {
    None,
    Right,
    Wrong,
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum About {
    Everything,
    Account,
    Neighbour,
    Tenant(usize),
}

/// One change of the guards.
#[derive(Debug, Clone, Copy)]
pub(super) enum Setting {
    DryRun(bool),
    /// Open from now for so long each day, or, if closed, from later on.
    Windows(Option<&'static str>),
    PerHour(usize),
    RequireArming(bool),
    RequireApproval(bool),
    Grace(Duration),
    Protected(Option<usize>),
    NoDomainAllowed(bool),
    Undeclared(bool),
}

impl Setting {
    pub(super) fn apply(self, safety: &mut SafetyPolicy) {
        match self {
            Self::DryRun(on) => safety.dry_run = on,
            Self::Windows(text) => safety.windows = text.map(window).into_iter().collect(),
            Self::PerHour(cap) => safety.max_deletions_per_hour = cap,
            Self::RequireArming(on) => safety.require_arming = on,
            Self::RequireApproval(on) => safety.require_approval = on,
            Self::Grace(grace) => safety.grace = grace,
            Self::Protected(n) => safety.protected_tenants = n.map(tenant).into_iter().collect(),
            Self::NoDomainAllowed(on) => {
                let all = (!on).then(|| pattern("*.onmicrosoft.com"));
                safety.allow_domains = all.into_iter().collect();
            }
            Self::Undeclared(on) => safety.sandbox = !on,
        }
    }
}

fn window(text: &str) -> Window {
    Window::parse(text, |name| jiff::tz::TimeZone::get(name).ok()).unwrap()
}

/// Guards in which nothing stands in the way, but for what a person's word opens.
pub(super) fn open(safety: &mut SafetyPolicy, wants_consent: bool) {
    for setting in [
        Setting::DryRun(false),
        Setting::Windows(None),
        Setting::PerHour(75),
        Setting::RequireArming(wants_consent),
        Setting::RequireApproval(wants_consent),
        Setting::Grace(Duration::ZERO),
        Setting::Protected(None),
        Setting::NoDomainAllowed(false),
        Setting::Undeclared(false),
    ] {
        setting.apply(safety);
    }
    safety.hold_batch_over = Default::default();
}

impl World {
    /// The numbers of every tenant that some account has.
    pub(super) fn tenants(&self) -> Vec<usize> {
        let own = 1..=self.given.customers.len();
        own.chain(self.given.neighbour.iter().flat_map(Neighbour::numbers)).collect()
    }

    /// The same world in which only these steps are taken.
    pub(super) fn only(&self, kept: &[usize]) -> Self {
        let script = kept.iter().map(|index| self.script[*index].clone()).collect();
        Self { script, ..self.clone() }
    }

    /// Longer than anything in it may keep a row waiting that nobody stops.
    pub(super) fn patience(&self) -> Duration {
        let told_to_wait_long = self.script.iter().any(|step| match &step.deed {
            Deed::GoWrong(rule) => matches!(&rule.effect, Effect::Answer { body, .. }
                if ["900278", "800073", "800074"].iter().any(|code| body.contains(code))),
            _ => false,
        });
        let codes = if told_to_wait_long { hours(26) } else { Duration::ZERO };
        hours(1) + self.given.timing.reissue_after * 3 + codes
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = &self.given;
        writeln!(f, "world {}", self.seed)?;
        let neighbour = given.neighbour.iter().flat_map(|neighbour| &neighbour.customers);
        for (n, customer) in self.tenants().into_iter().zip(given.customers.iter().chain(neighbour))
        {
            writeln!(
                f,
                "  customer {n}{}",
                if customer.cannot_be_deleted { " for good" } else { "" }
            )?;
            for purchase in &customer.purchases {
                writeln!(f, "    {}", changed(&format!("{purchase:?}")))?;
            }
        }
        writeln!(f, "  {:?}", given.timing)?;
        writeln!(f, "  {:?}", given.api)?;
        writeln!(f, "  {:?}", given.safety)?;
        writeln!(f, "  {} requests a minute, {} in flight", given.budget, given.in_flight)?;
        for (index, step) in self.script.iter().enumerate() {
            writeln!(f, "  [{index}] {:>9.3} s {:?}", step.at.as_secs_f64(), step.deed)?;
        }
        writeln!(f, "  {:>13.3} s the fair hour", self.fair_at.as_secs_f64())?;
        write!(f, "  consent {}, queued again {}", self.wants_consent, self.queued_again)
    }
}

/// A purchase without what is as always.
fn changed(purchase: &str) -> String {
    let usual = [
        ", takes: None",
        ", appears: AtOnce",
        ", comes_back: None",
        ", hidden: false",
        ", pending_for: 0ns",
        ", window_passed: false",
        ", needs_activation: false",
        ", add_ons: 0",
        ", azure_subscriptions: 0",
        ", azure_comes_back: None",
        ", age: 172800s",
    ];
    usual.iter().fold(purchase.to_owned(), |text, usual| text.replace(usual, ""))
}
