//! Draws a world from a seed.

use std::time::Duration;

use jiff::SignedDuration;
use teardownd::simulator::{Customer, Options, RetryAfterForm};

use super::luck::Luck;
use super::world::{About, Deed, Domain, NOBODY, Setting, Step, World};
use super::{course, faults};
use crate::harness::*;

impl World {
    /// The world of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut luck = Luck::new(seed);
        let luck = &mut luck;
        let mut given = Given::new(customers(luck, 1)).seed(seed + 1);
        if luck.chance(0.25) {
            let customers = customers(luck, FIRST_NEIGHBOUR);
            given = given.beside(Neighbour { customers, cut: cut(luck) });
        }
        api(luck, &mut given.api);
        timing(luck, &mut given);
        let fair_at = match luck.number(1, 10) {
            1 => luck.length(hours(1), hours(2)),
            2..=5 => luck.length(mins(10), mins(40)),
            _ => luck.length(mins(1), mins(10)),
        };
        let mut world = Self {
            seed,
            given,
            script: Vec::new(),
            fair_at,
            wants_consent: luck.chance(0.3),
            queued_again: luck.chance(0.6),
        };
        if luck.chance(0.2) {
            setting(luck, &world).apply(&mut world.given.safety);
        }
        world.script = script(luck, &world);
        world
    }
}

// ---- what there is -----------------------------------------------------------------------------------

fn customers(luck: &mut Luck, first: usize) -> Vec<Customer> {
    let most = if first == 1 { 6 } else { 3 };
    let count = luck.number(1, most) as usize;
    (first..first + count)
        .map(|n| {
            let purchases = luck.weighed(&[(2, 0), (4, 1), (4, 2), (2, 3), (1, 5)]);
            let customer = customer(n, (0..purchases).map(|_| purchase(luck)));
            if luck.chance(0.01) { customer.cannot_be_deleted() } else { customer }
        })
        .collect()
}

fn purchase(luck: &mut Luck) -> Purchase {
    let kind = luck.weighed(&[
        (4, Kind::Reservation),
        (2, Kind::PerpetualSoftware),
        (2, Kind::MixedOrder),
        (2, Kind::SoftwareSubscription),
        (4, Kind::NewCommerce),
        (2, Kind::Marketplace),
        (4, Kind::AzurePlan),
        (2, Kind::LegacyLicence),
        (1, Kind::LegacyAzure),
    ]);
    let kind = if luck.chance(0.01) { Kind::SavingsPlan } else { kind };
    let mut purchase = buy(kind);
    if luck.chance(0.4) {
        purchase = purchase.takes(luck.span(secs(1), mins(5)));
    }
    if luck.chance(0.1) {
        purchase.appears = match luck.number(1, 2) {
            1 => Appears::After(luck.span(secs(1), mins(10))),
            _ => Appears::AfterPolls(luck.number(1, 4) as u32),
        };
    }
    let comes_back = |luck: &mut Luck| match luck.number(1, 2) {
        1 => ComesBack::After(luck.span(secs(1), mins(5))),
        _ => ComesBack::AfterLooks(luck.number(1, 3) as u32),
    };
    if luck.chance(0.06) {
        purchase = purchase.comes_back(comes_back(luck));
    }
    if luck.chance(0.05) {
        purchase = purchase.pending_for(luck.span(secs(5), mins(10)));
    }
    match kind {
        Kind::NewCommerce | Kind::LegacyLicence => {
            purchase = purchase.add_ons(luck.weighed(&[(3, 0), (1, 1), (1, 2)]));
            if luck.chance(0.1) {
                purchase = purchase.needs_activation();
            }
        }
        Kind::AzurePlan => {
            purchase = purchase.azure_subscriptions(luck.number(0, 3) as usize);
            if luck.chance(0.1) {
                purchase = purchase.azure_comes_back(comes_back(luck));
            }
        }
        _ => {}
    }
    if luck.chance(0.02) {
        purchase = purchase.window_passed();
    }
    if luck.chance(0.03) && matches!(kind, Kind::Reservation | Kind::PerpetualSoftware) {
        purchase = purchase.hidden();
    }
    purchase
}

fn api(luck: &mut Luck, api: &mut Options) {
    let latency = luck.span(Duration::from_millis(5), secs(2));
    api.latency = (latency / 2, latency);
    let cancellation = luck.span(Duration::from_millis(200), mins(2));
    api.cancellation = (cancellation / 4, cancellation);
    let removal = luck.span(Duration::from_millis(200), mins(1));
    api.removal = (removal / 4, removal);
    if luck.chance(0.1) {
        api.list_lag = luck.span(secs(1), secs(30));
    }
    if luck.chance(0.2) {
        api.page_size = Some(luck.number(1, 3) as usize);
    }
    if luck.chance(0.2) {
        api.retry_after = RetryAfterForm::Date;
    }
    if luck.chance(0.2) {
        api.token_lifetime = luck.span(mins(6), mins(60));
    }
    api.entitlements_app_only = !luck.chance(0.2);
    api.blocked_delete = luck.one_of(&[(400, None), (403, None), (409, Some(600_019))]);
    api.azure_cancel_status = luck.one_of(&[200, 202]);
    api.subscription_patch_is_deferred = luck.chance(0.2);
}

fn timing(luck: &mut Luck, given: &mut Given) {
    let timing = &mut given.timing;
    if luck.chance(0.3) {
        timing.deadline = luck.span(mins(10), hours(6));
    }
    if luck.chance(0.3) {
        timing.reissue_after = luck.span(mins(2), mins(20));
        given.api.allowances.reissue_after = timing.reissue_after;
    }
    // What comes back unnoticed is cancelled anew after that time, and not before.
    timing.deadline = timing.deadline.max(timing.reissue_after + mins(10));
    if luck.chance(0.3) {
        timing.max_attempts = luck.number(3, 20) as u32;
    }
    if luck.chance(0.2) {
        timing.retry_max = luck.span(secs(10), mins(5));
    }
    if luck.chance(0.2) {
        timing.polling_max = luck.span(secs(5), secs(60));
    }
    given.budget = luck.weighed(&[(6, 300), (1, 120), (1, 60)]);
    given.in_flight = luck.weighed(&[(4, 64), (1, 3), (1, 2), (1, 1)]);
}

fn cut(luck: &mut Luck) -> std::ops::Range<Duration> {
    let from = luck.span(secs(1), mins(5));
    if luck.chance(0.3) { from..from + luck.span(secs(5), mins(5)) } else { from..from }
}

// ---- what happens ------------------------------------------------------------------------------------

fn script(luck: &mut Luck, world: &World) -> Vec<Step> {
    let everybody = world.tenants();
    let first: Vec<usize> = everybody.iter().copied().filter(|_| luck.chance(0.8)).collect();
    let mut script = vec![Step { at: Duration::ZERO, deed: queued(first) }];
    // Faults that are in force from the beginning hit the first steps of an account.
    for _ in 0..luck.weighed(&[(3, 0), (3, 1), (2, 2), (1, 4)]) {
        let at = luck.one_of(&[Duration::ZERO, secs(1)]);
        script.push(Step { at, deed: Deed::GoWrong(faults::rule(luck, &everybody)) });
    }
    for _ in 0..luck.weighed(&[(2, 0), (4, 1), (2, 2)]) {
        script.extend(course::course(luck, &everybody));
    }
    script.retain(|step| step.at <= world.fair_at);
    let deeds = luck.weighed(&[(2, 0), (3, 3), (3, 6), (2, 12), (1, 25)]);
    for _ in 0..deeds {
        let at = match luck.number(1, 3) {
            1 => luck.length(Duration::ZERO, world.fair_at),
            _ => luck.span(Duration::from_millis(100), world.fair_at),
        };
        let deed = deed(luck, world, &everybody);
        script.push(Step { at, deed });
    }
    script.sort_by_key(|step| step.at);
    script
}

fn queued(tenants: Vec<usize>) -> Deed {
    Deed::Enqueue { tenants, domain: Domain::None, again: false, later: None, priority: 0 }
}

fn deed(luck: &mut Luck, world: &World, everybody: &[usize]) -> Deed {
    match luck.number(1, 100) {
        1..=25 => Deed::GoWrong(faults::rule(luck, everybody)),
        26..=30 => Deed::GoWrongByChance(faults::profile(luck)),
        31..=36 => Deed::Mend,
        37..=58 => ask(luck, world, everybody),
        59..=66 => enqueue(luck, everybody),
        67..=80 => Deed::End {
            gracefully: luck.chance(0.3),
            down: luck.span(Duration::from_millis(50), mins(10)),
            dies_at: luck.chance(0.4).then(|| luck.number(1, 400)),
        },
        81..=88 => Deed::Reload(setting(luck, world)),
        89..=92 => Deed::StepClock(step(luck)),
        93..=95 => Deed::Approve(about(luck, world, everybody)),
        96..=97 => Deed::Arm(luck.chance(0.7)),
        _ => ask(luck, world, everybody),
    }
}

fn about(luck: &mut Luck, world: &World, everybody: &[usize]) -> About {
    match luck.number(1, 10) {
        1 | 2 => About::Everything,
        3 => About::Account,
        4 if world.given.neighbour.is_some() => About::Neighbour,
        _ => About::Tenant(luck.one_of(everybody)),
    }
}

fn ask(luck: &mut Luck, world: &World, everybody: &[usize]) -> Deed {
    let verb = luck.weighed(&[
        (3, Verb::Pause),
        (3, Verb::Resume),
        (4, Verb::Hold),
        (4, Verb::Release),
        (3, Verb::Abort),
        (4, Verb::Retry),
        (2, Verb::Unhalt),
        (1, Verb::Ack),
        (2, Verb::Set),
        (1, Verb::Protect),
        (1, Verb::Unprotect),
    ]);
    let lasting = match verb {
        Verb::Pause if luck.chance(0.5) => Some(luck.span(secs(10), hours(1))),
        Verb::Set if luck.chance(0.7) => Some(luck.span(secs(10), hours(1))),
        _ => None,
    };
    let about = match verb {
        // Only tenants can be protected.
        Verb::Protect | Verb::Unprotect => About::Tenant(luck.one_of(everybody)),
        _ => about(luck, world, everybody),
    };
    let priority = (verb == Verb::Set && luck.chance(0.5)).then(|| luck.number(0, 3) as i64);
    Deed::Ask { verb, about, lasting, priority, try_anyway: luck.chance(0.2) }
}

fn enqueue(luck: &mut Luck, everybody: &[usize]) -> Deed {
    let chosen: Vec<usize> = everybody.iter().copied().filter(|_| luck.chance(0.6)).collect();
    let tenants = if luck.chance(0.05) { vec![NOBODY] } else { chosen };
    Deed::Enqueue {
        tenants,
        domain: luck.weighed(&[(8, Domain::None), (3, Domain::Right), (1, Domain::Wrong)]),
        again: luck.chance(0.4),
        later: luck.chance(0.2).then(|| luck.span(secs(5), mins(30))),
        priority: luck.weighed(&[(4, 0), (1, 5), (1, -5)]),
    }
}

/// Six hours before the start, and through it; the start is a Sunday at 10:00.
const WINDOWS: [&str; 5] = [
    "Sun 04:00-10:05 UTC",
    "Sun 10:10-11:00 UTC",
    "Mon 03:00-04:00 UTC",
    "Sun 09:00-10:01 UTC",
    "Mon-Sun 00:00-24:00 UTC",
];

fn setting(luck: &mut Luck, world: &World) -> Setting {
    match luck.number(1, 12) {
        1..=3 => Setting::DryRun(luck.chance(0.5)),
        4 | 5 => {
            let window = luck.one_of(&WINDOWS);
            Setting::Windows(luck.chance(0.7).then_some(window))
        }
        6 | 7 => Setting::PerHour(luck.one_of(&[0, 1, 2, 75])),
        8 => Setting::RequireArming(luck.chance(0.6)),
        9 => Setting::RequireApproval(luck.chance(0.6)),
        10 => Setting::Grace(luck.span(secs(1), mins(30))),
        11 => {
            let n = luck.number(1, world.given.customers.len() as u64) as usize;
            Setting::Protected(luck.chance(0.6).then_some(n))
        }
        _ if luck.chance(0.5) => Setting::NoDomainAllowed(luck.chance(0.6)),
        _ => Setting::Undeclared(luck.chance(0.6)),
    }
}

fn step(luck: &mut Luck) -> SignedDuration {
    let by = SignedDuration::try_from(luck.span(secs(1), hours(26))).unwrap();
    if luck.chance(0.5) { by } else { -by }
}
