//! Courses of events that single steps seldom come to: a few steps that belong together.

use std::time::Duration;

use jiff::SignedDuration;
use teardownd::simulator::RetryAfterForm;

use super::faults;
use super::luck::Luck;
use super::world::{About, Deed, Domain, Setting, Step};
use crate::harness::*;

/// Steps that follow each other.
struct Course {
    at: Duration,
    steps: Vec<Step>,
}

impl Course {
    fn now(&mut self, deed: Deed) {
        self.steps.push(Step { at: self.at, deed });
    }

    fn later(&mut self, luck: &mut Luck, least: Duration, most: Duration, deed: Deed) {
        self.at += luck.span(least, most);
        self.now(deed);
    }
}

/// One of the courses. Times count from the start.
pub(super) fn course(luck: &mut Luck, everybody: &[usize]) -> Vec<Step> {
    let at = if luck.chance(0.5) { Duration::ZERO } else { luck.span(secs(1), mins(2)) };
    let mut course = Course { at, steps: Vec::new() };
    match luck.number(1, 9) {
        1 | 2 => unanswered(luck, everybody, &mut course),
        3 => stepped(luck, &mut course),
        4 => closed(luck, &mut course),
        5 => slow(luck, &mut course),
        6 | 7 => out(luck, everybody, &mut course),
        8 => told_to_wait(luck, everybody, &mut course),
        _ => dying(luck, &mut course),
    }
    course.steps
}

fn on_writes(luck: &mut Luck, rule: Rule) -> Rule {
    match luck.number(1, 5) {
        1 => rule.method("PATCH"),
        2 => rule.method("POST").on(Template::AzureCancel).on(Template::Activate),
        3 => rule.method("PATCH").on(Template::Order),
        _ => rule.method("DELETE"),
    }
}

/// A write has no answer, and people turn to its tenant.
fn unanswered(luck: &mut Luck, everybody: &[usize], course: &mut Course) {
    let effect = match luck.number(1, 5) {
        1 | 2 => Effect::DropAfter,
        3 => Effect::unavailable().though_applied(),
        4 => Effect::DropBefore,
        _ => Effect::Delay(luck.span(secs(20), mins(2))),
    };
    let when = luck.one_of(&[When::Nth(1), When::First(3), When::Always]);
    let rule = on_writes(luck, Rule::new(when, effect));
    course.now(Deed::GoWrong(rule));
    let about = match luck.number(1, 3) {
        1 => About::Everything,
        _ => About::Tenant(luck.one_of(everybody)),
    };
    let verb = luck.one_of(&[Verb::Abort, Verb::Abort, Verb::Hold, Verb::Pause, Verb::Set]);
    let lasting = (verb == Verb::Set).then(|| luck.span(mins(1), hours(1)));
    let asked =
        |verb, lasting| Deed::Ask { verb, about, lasting, priority: None, try_anyway: false };
    course.later(luck, secs(2), mins(3), asked(verb, lasting));
    if luck.chance(0.5) {
        course.later(luck, secs(1), mins(5), Deed::Mend);
    }
    let again = Deed::Enqueue {
        tenants: everybody.to_vec(),
        domain: Domain::None,
        again: true,
        later: None,
        priority: 0,
    };
    let next = match verb {
        Verb::Abort => again,
        Verb::Hold => asked(Verb::Release, None),
        _ => asked(Verb::Resume, None),
    };
    if luck.chance(0.7) {
        course.later(luck, secs(1), mins(10), next);
    }
}

/// A process runs under a wrong clock, and the next one under the right one.
fn stepped(luck: &mut Luck, course: &mut Course) {
    let by = SignedDuration::try_from(luck.span(mins(1), hours(25))).unwrap();
    let by = if luck.chance(0.5) { by } else { -by };
    let gracefully = luck.chance(0.5);
    let end = || Deed::End { gracefully, down: secs(1), dies_at: None };
    course.now(Deed::StepClock(by));
    course.now(end());
    let effect = match luck.number(1, 4) {
        1 => Effect::ThrottleIn(luck.span(secs(10), mins(5)), RetryAfterForm::Seconds),
        2 => Effect::unavailable(),
        3 => Effect::DropAfter,
        _ => Effect::DropBefore,
    };
    course.now(Deed::GoWrong(Rule::new(luck.one_of(&[When::Always, When::Every(3)]), effect)));
    course.later(luck, secs(5), mins(5), Deed::StepClock(-by));
    course.now(end());
    course.later(luck, secs(1), mins(2), Deed::Mend);
}

/// A setting lets nothing out, and then it does.
fn closed(luck: &mut Luck, course: &mut Course) {
    let (shut, open) = luck.one_of(&[
        (Setting::DryRun(true), Setting::DryRun(false)),
        (Setting::Windows(Some("Mon 03:00-04:00 UTC")), Setting::Windows(None)),
        (Setting::PerHour(0), Setting::PerHour(75)),
        (Setting::PerHour(1), Setting::PerHour(2)),
        (Setting::RequireArming(true), Setting::RequireArming(false)),
        (Setting::RequireApproval(true), Setting::RequireApproval(false)),
        (Setting::Undeclared(true), Setting::Undeclared(false)),
        (Setting::Grace(hours(2)), Setting::Grace(Duration::ZERO)),
    ]);
    course.now(Deed::Reload(shut));
    if luck.chance(0.3) {
        let about = About::Everything;
        let (lasting, priority, try_anyway) = (None, None, false);
        let hold = Deed::Ask { verb: Verb::Hold, about, lasting, priority, try_anyway };
        course.later(luck, secs(1), mins(2), hold);
    }
    if luck.chance(0.5) {
        course.later(luck, secs(1), mins(10), Deed::Reload(open));
    }
    if luck.chance(0.3) {
        course.later(luck, secs(1), mins(2), Deed::Arm(true));
    }
}

/// Every reading is slow for a while.
fn slow(luck: &mut Luck, course: &mut Course) {
    let reads = Rule::new(When::Always, Effect::Delay(luck.span(secs(1), secs(25))));
    course.now(Deed::GoWrong(reads.method("GET")));
    course.later(luck, mins(3), mins(20), Deed::Mend);
}

/// Something is out for a while, for everybody or for one tenant.
fn out(luck: &mut Luck, everybody: &[usize], course: &mut Course) {
    let effect = match luck.number(1, 6) {
        1 => Effect::unavailable(),
        2 => Effect::DropBefore,
        3 => Effect::bad_gateway(),
        4 => Effect::fault(401, 800_001, "The access token is not accepted."),
        5 => Effect::fault(403, 2_032, "The role is missing."),
        _ => Effect::TruncatedJson,
    };
    let rule = Rule::new(luck.one_of(&[When::Always, When::Always, When::Chance(0.5)]), effect);
    let rule = match luck.number(1, 6) {
        1 => rule.method("GET").on(Template::Customers),
        2 => rule.method("GET").on(Template::Orders).on(Template::Subscriptions),
        3 => on_writes(luck, rule),
        4 => rule.on(Template::TokenV1).on(Template::TokenV2),
        5 => rule.customer(tenant(luck.one_of(everybody)).as_uuid()),
        _ => rule,
    };
    course.now(Deed::GoWrong(rule));
    if luck.chance(0.3) {
        let down = luck.span(secs(1), mins(1));
        let end = Deed::End { gracefully: luck.chance(0.3), down, dies_at: None };
        course.later(luck, secs(5), mins(10), end);
    }
    course.later(luck, secs(10), mins(30), Deed::Mend);
}

/// Writes are answered with the request to wait.
fn told_to_wait(luck: &mut Luck, everybody: &[usize], course: &mut Course) {
    let (status, code) = luck.one_of(&faults::REFUSALS[..7]);
    let effect = Effect::fault(status, code, "Wait, and ask again.");
    let when = luck.one_of(&[When::Always, When::First(3), When::Every(2)]);
    let mut rule = on_writes(luck, Rule::new(when, effect));
    if luck.chance(0.3) {
        rule = rule.customer(tenant(luck.one_of(everybody)).as_uuid());
    }
    course.now(Deed::GoWrong(rule));
    course.later(luck, secs(10), mins(20), Deed::Mend);
}

/// One process after the other dies early.
fn dying(luck: &mut Luck, course: &mut Course) {
    for _ in 0..luck.number(2, 6) {
        let down = luck.span(Duration::from_millis(50), secs(30));
        let dies_at = Some(luck.number(1, 150));
        let end = Deed::End { gracefully: false, down, dies_at };
        course.later(luck, secs(1), secs(40), end);
    }
}
