//! Draws what goes wrong at the API.

use std::time::Duration;

use super::luck::Luck;
use crate::harness::*;
use teardownd::simulator::RetryAfterForm;

/// Which calls, by method and endpoints.
const CALLS: [(&str, &[Template]); 12] = [
    ("GET", &[Template::Customers]),
    ("GET", &[Template::Customer]),
    ("GET", &[Template::Orders]),
    ("GET", &[Template::Subscriptions]),
    ("GET", &[Template::Entitlements]),
    ("GET", &[Template::AzureEntitlements]),
    ("GET", &[Template::Order, Template::Subscription, Template::AzureEntitlement]),
    ("PATCH", &[Template::Order]),
    ("PATCH", &[Template::Subscription]),
    ("POST", &[Template::AzureCancel, Template::Activate]),
    ("DELETE", &[Template::Customer]),
    ("DELETE", &[Template::Customer]),
];

/// Refusals of writes that ask for patience, for another way or for a person; status and code.
pub(super) const REFUSALS: [(u16, u32); 18] = [
    (409, 900_278),
    (409, 800_014),
    (409, 800_060),
    (403, 800_073),
    (409, 800_082),
    (400, 900_280),
    (403, 900_115),
    (400, 800_061),
    (400, 800_063),
    (400, 800_096),
    (400, 2_055),
    (403, 2_032),
    (403, 900_150),
    (400, 3_000),
    (409, 123_456),
    (417, 800_036),
    (500, 800_003),
    (500, 800_005),
];

const SAFETY_STOPS: [(u16, u32); 2] = [(403, 800_019), (400, 900_127)];

/// Refusals of reads.
const UNREADABLE: [(u16, u32); 7] = [
    (403, 2_032),
    (403, 900_150),
    (403, 900_329),
    (409, 800_060),
    (403, 800_073),
    (400, 3_000),
    (404, 4_242),
];

/// A rule about some of the calls.
pub(super) fn rule(luck: &mut Luck, everybody: &[usize]) -> Rule {
    if luck.chance(0.08) {
        return of_tokens(luck);
    }
    let (method, templates) = match luck.number(1, 10) {
        // The calls that change something matter most.
        1..=4 => luck.one_of(&CALLS[7..]),
        5..=8 => luck.one_of(&CALLS),
        9 => ("GET", &[][..]),
        _ => ("", &[][..]),
    };
    let writes = !matches!(method, "GET" | "");
    let effect = if luck.chance(0.55) {
        lost(luck)
    } else if writes {
        refusal(luck)
    } else {
        spoiled(luck)
    };
    let mut rule = templates.iter().fold(Rule::new(when(luck), effect), |rule, t| rule.on(*t));
    if !method.is_empty() {
        rule = rule.method(method);
    }
    if luck.chance(0.3) {
        rule = rule.customer(tenant(luck.one_of(everybody)).as_uuid());
    }
    rule
}

fn when(luck: &mut Luck) -> When {
    match luck.number(1, 10) {
        1..=3 => When::Nth(luck.number(1, 6)),
        4..=6 => When::First(luck.number(1, 8)),
        7 => When::Every(luck.number(2, 4)),
        8 => When::Chance(luck.number(1, 10) as f64 / 20.0),
        9 => {
            let from = luck.span(secs(1), mins(10));
            When::Between(from, from + luck.span(secs(1), mins(10)))
        }
        _ => When::Always,
    }
}

/// The answer is lost, late, or no answer of the API.
fn lost(luck: &mut Luck) -> Effect {
    let effect = match luck.number(1, 14) {
        1 | 2 => Effect::DropBefore,
        3 | 4 => Effect::DropAfter,
        5 => Effect::Delay(luck.span(secs(1), mins(2))),
        6 | 7 => Effect::bad_gateway(),
        8 => Effect::unavailable(),
        9 => Effect::Answer {
            status: 503,
            headers: vec![("retry-after".to_owned(), luck.number(1, 120).to_string())],
            body: String::new(),
            applied: false,
        },
        10 | 11 => {
            let wait = luck.span(secs(1), mins(10));
            let form = luck.one_of(&[RetryAfterForm::Seconds, RetryAfterForm::Date]);
            Effect::ThrottleIn(Duration::from_secs(wait.as_secs().max(1)), form)
        }
        12 => Effect::fault(401, 800_001, "The access token is not accepted."),
        13 => Effect::CutOff,
        _ => Effect::Answer {
            status: 200,
            headers: vec![("content-type".to_owned(), "text/html".to_owned())],
            body: "<html><body>Please sign in</body></html>".to_owned(),
            applied: false,
        },
    };
    if luck.chance(0.3) && !matches!(&effect, Effect::Answer { status: 401, .. }) {
        effect.though_applied()
    } else {
        effect
    }
}

fn refusal(luck: &mut Luck) -> Effect {
    let (status, code) = match luck.number(1, 12) {
        1 => luck.one_of(&SAFETY_STOPS),
        2 => return Effect::InVain,
        3 => return Effect::CodeInSuccess(400_072),
        _ => luck.one_of(&REFUSALS),
    };
    Effect::fault(status, code, "The request was refused.")
}

/// A read that brings nothing, or too little.
fn spoiled(luck: &mut Luck) -> Effect {
    match luck.number(1, 12) {
        1 | 2 => Effect::TruncatedJson,
        3 => Effect::NullItems,
        4 => Effect::MissingItems,
        5 => Effect::DuplicatePage,
        6 | 7 => Effect::Stale(luck.span(secs(1), secs(60))),
        8 => Effect::CodeInSuccess(400_072),
        9 => Effect::PascalCase,
        10 => Effect::ByteOrderMark,
        _ => {
            let (status, code) = luck.one_of(&UNREADABLE);
            Effect::fault(status, code, "The request was refused.")
        }
    }
}

fn of_tokens(luck: &mut Luck) -> Rule {
    let refused = |code: u32, text: &str| {
        let body = serde_json::json!({
            "error": "invalid_client", "error_description": text, "error_codes": [code],
        });
        let json = ("content-type".to_owned(), "application/json".to_owned());
        Effect::Answer { status: 401, headers: vec![json], body: body.to_string(), applied: false }
    };
    let effect = match luck.number(1, 6) {
        1 => Effect::ForeignTid,
        2 => refused(7_000_222, "AADSTS7000222: The provided client secret keys are expired."),
        3 => refused(700_016, "AADSTS700016: Application was not found in the directory."),
        4 => Effect::unavailable(),
        5 => Effect::DropBefore,
        _ => Effect::bad_gateway(),
    };
    Rule::new(when(luck), effect).on(Template::TokenV1).on(Template::TokenV2)
}

/// Faults by chance.
pub(super) fn profile(luck: &mut Luck) -> Option<FaultProfile> {
    if luck.chance(0.4) {
        return None;
    }
    let name = luck.one_of(&FaultProfile::NAMES);
    FaultProfile::named(name, luck.number(1, 8) as f64 / 20.0)
}
