//! Faults by chance: a named set of kinds that together strike a share of all answers.
//!
//! A [`Rule`](super::Rule) says which call goes wrong and how; a profile leaves both to a seeded dice.
//! Each account has a dice of its own, so that what befalls one does not depend on the others.

use std::time::Duration;

use serde::Serialize;

use super::dice::Dice;
use super::retry_after::RetryAfterForm;
use super::route::Template;
use super::rules::Effect;

/// The kinds of faults a profile is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The connection is reset before the call is applied.
    ResetBefore,
    /// The call is applied, then the connection is reset.
    ResetAfter,
    /// The call is applied, and its answer comes later than anybody waits for.
    Silence,
    /// A proxy's 502 in HTML.
    BadGateway,
    /// 503 without a body.
    Unavailable,
    /// JSON that ends half-way.
    TruncatedJson,
    /// 401, although the token is good.
    Unauthorized,
    /// 429 with `Retry-After` in seconds.
    ThrottledSeconds,
    /// 429 with `Retry-After` as an HTTP date.
    ThrottledDate,
    /// A list as it was a while ago.
    StaleList,
    /// Names in `PascalCase`.
    PascalCase,
    /// A byte order mark where there is none as a rule, and none where there is one.
    ByteOrderMark,
    /// A list with `items: null`.
    NullItems,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Silence,
        Self::BadGateway,
        Self::Unavailable,
        Self::TruncatedJson,
        Self::Unauthorized,
        Self::ThrottledSeconds,
        Self::ThrottledDate,
        Self::StaleList,
        Self::PascalCase,
        Self::ByteOrderMark,
        Self::NullItems,
    ];

    /// The stable name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResetBefore => "reset_before",
            Self::ResetAfter => "reset_after",
            Self::Silence => "silence",
            Self::BadGateway => "bad_gateway",
            Self::Unavailable => "unavailable",
            Self::TruncatedJson => "truncated_json",
            Self::Unauthorized => "unauthorized",
            Self::ThrottledSeconds => "throttled_seconds",
            Self::ThrottledDate => "throttled_date",
            Self::StaleList => "stale_list",
            Self::PascalCase => "pascal_case",
            Self::ByteOrderMark => "byte_order_mark",
            Self::NullItems => "null_items",
        }
    }

    /// Whether it can befall a call. A DELETE has no body to be damaged. Entra is another service than
    /// Partner Center: its tokens have neither `PascalCase` nor a byte order mark, and a 401 of it
    /// would be a refused credential.
    fn befalls(self, method: &str, template: Template) -> bool {
        let of_api = !matches!(template, Template::TokenV1 | Template::TokenV2);
        let has_body = method != "DELETE";
        match self {
            Self::ResetBefore
            | Self::ResetAfter
            | Self::Silence
            | Self::BadGateway
            | Self::Unavailable
            | Self::ThrottledSeconds
            | Self::ThrottledDate => true,
            Self::TruncatedJson => has_body,
            Self::Unauthorized => of_api,
            Self::PascalCase | Self::ByteOrderMark => of_api && has_body,
            Self::StaleList | Self::NullItems => method == "GET" && template.is_list(),
        }
    }
}

/// Faults that are in force together.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultProfile {
    /// What it is called.
    pub name: &'static str,
    /// What it is made of. Each fault is drawn from those kinds that can befall the call.
    pub kinds: Vec<FaultKind>,
    /// The share of answers that are faulty, from 0.0 to 1.0.
    pub rate: f64,
    /// How late an answer is that nobody waits for. It must exceed the client's timeouts.
    pub silence: Duration,
    /// The least and the most that a `Retry-After` asks for, in whole seconds.
    pub retry_after: (u64, u64),
    /// The least and the most that a stale list lags behind.
    pub staleness: (Duration, Duration),
}

impl FaultProfile {
    /// The names of the profiles there are.
    pub const NAMES: [&'static str; 7] =
        ["network", "gateway", "damage", "refusals", "stale", "spelling", "everything"];

    /// The profile of a name, at a rate.
    pub fn named(name: &str, rate: f64) -> Option<Self> {
        let name = *Self::NAMES.iter().find(|known| **known == name)?;
        let kinds = match name {
            "network" => vec![FaultKind::ResetBefore, FaultKind::ResetAfter, FaultKind::Silence],
            "gateway" => vec![FaultKind::BadGateway, FaultKind::Unavailable],
            "damage" => vec![FaultKind::TruncatedJson, FaultKind::NullItems],
            "refusals" => {
                vec![FaultKind::Unauthorized, FaultKind::ThrottledSeconds, FaultKind::ThrottledDate]
            }
            "stale" => vec![FaultKind::StaleList],
            "spelling" => vec![FaultKind::PascalCase, FaultKind::ByteOrderMark],
            _ => FaultKind::ALL.to_vec(),
        };
        Some(Self { name, ..Self::of(kinds, rate) })
    }

    /// A profile of every kind, at a rate.
    pub fn everything(rate: f64) -> Self {
        Self { name: "everything", ..Self::of(FaultKind::ALL.to_vec(), rate) }
    }

    /// A profile of these kinds, at a rate.
    pub fn of(kinds: Vec<FaultKind>, rate: f64) -> Self {
        Self {
            name: "custom",
            kinds,
            rate,
            silence: Duration::from_secs(90),
            retry_after: (1, 5),
            staleness: (Duration::from_secs(5), Duration::from_secs(60)),
        }
    }

    /// Draws whether this call's answer is faulty, and how.
    pub(crate) fn draw(
        &self,
        method: &str,
        template: Template,
        dice: &mut Dice,
    ) -> Option<(FaultKind, Effect)> {
        if dice.unit() >= self.rate {
            return None;
        }
        let fitting = self.kinds.iter().copied().filter(|kind| kind.befalls(method, template));
        let kinds: Vec<FaultKind> = fitting.collect();
        let kind = *kinds.get(dice.pick(0..kinds.len()))?;
        Some((kind, self.effect(kind, dice)))
    }

    fn effect(&self, kind: FaultKind, dice: &mut Dice) -> Effect {
        match kind {
            FaultKind::ResetBefore => Effect::DropBefore,
            FaultKind::ResetAfter => Effect::DropAfter,
            FaultKind::Silence => Effect::Delay(self.silence),
            FaultKind::BadGateway => Effect::bad_gateway(),
            FaultKind::Unavailable => Effect::unavailable(),
            FaultKind::TruncatedJson => Effect::TruncatedJson,
            FaultKind::Unauthorized => {
                Effect::fault(401, 800_001, "The access token is not accepted.")
            }
            FaultKind::ThrottledSeconds => self.throttle(RetryAfterForm::Seconds, dice),
            FaultKind::ThrottledDate => self.throttle(RetryAfterForm::Date, dice),
            FaultKind::StaleList => Effect::Stale(dice.between(self.staleness)),
            FaultKind::PascalCase => Effect::PascalCase,
            FaultKind::ByteOrderMark => Effect::ByteOrderMark,
            FaultKind::NullItems => Effect::NullItems,
        }
    }

    fn throttle(&self, form: RetryAfterForm, dice: &mut Dice) -> Effect {
        let (least, most) = self.retry_after;
        let seconds = least + (most.saturating_sub(least) as f64 * dice.unit()).round() as u64;
        Effect::ThrottleIn(Duration::from_secs(seconds), form)
    }
}
