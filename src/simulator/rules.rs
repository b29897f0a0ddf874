//! Faults by script: which calls go wrong, when, and how.

use std::time::Duration;

use uuid::Uuid;

use super::call::Call;
use super::dice::Dice;
use super::life::Moment;
use super::retry_after::RetryAfterForm;
use super::route::{Route, Template};

/// Which calls a rule is about. What is `None` or empty matches everything.
#[derive(Debug, Clone, Default)]
pub struct Matching {
    /// HTTP method, in upper case.
    pub method: Option<&'static str>,
    /// Endpoints.
    pub templates: Vec<Template>,
    /// A part of the path.
    pub path_contains: Option<String>,
    /// The customer.
    pub customer: Option<Uuid>,
    /// The partner tenant of the account, its token requests included.
    pub partner: Option<Uuid>,
}

/// Which of the matching calls a rule strikes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// Each.
    Always,
    /// The n-th alone, counted from 1.
    Nth(u64),
    /// The first n.
    First(u64),
    /// Each n-th.
    Every(u64),
    /// Each with this probability.
    Chance(f64),
    /// Each that arrives in this span, counted from the start of the simulator.
    Between(Duration, Duration),
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The connection closes before anything is applied.
    DropBefore,
    /// The call is applied, then the connection closes.
    DropAfter,
    /// The answer comes this much later.
    Delay(Duration),
    /// Another answer than the right one.
    Answer {
        /// HTTP status.
        status: u16,
        /// Headers beside `Date`.
        headers: Vec<(String, String)>,
        /// The body as it stands.
        body: String,
        /// Whether the call is applied nonetheless.
        applied: bool,
    },
    /// 429 with this `Retry-After`, in the form of the options; nothing is applied.
    Throttle(Duration),
    /// 429 with this `Retry-After`, in this form; nothing is applied.
    ThrottleIn(Duration, RetryAfterForm),
    /// A list as it was so long ago.
    Stale(Duration),
    /// The answer is whole, but its JSON ends half-way.
    TruncatedJson,
    /// The connection breaks in the middle of the body.
    CutOff,
    /// `items` of a list is `null`.
    NullItems,
    /// A list has no `items`.
    MissingItems,
    /// 200 with this error code; nothing is applied.
    CodeInSuccess(u32),
    /// Names in `PascalCase`.
    PascalCase,
    /// A byte order mark where there is none as a rule, and none where there is one.
    ByteOrderMark,
    /// A list leads back to a page that was served before.
    DuplicatePage,
    /// A token whose `tid` names another tenant.
    ForeignTid,
    /// A write is accepted and lost: its goal is never reached.
    InVain,
}

impl Effect {
    /// A proxy's answer, in HTML.
    pub fn bad_gateway() -> Self {
        Self::Answer {
            status: 502,
            headers: vec![("content-type".to_owned(), "text/html".to_owned())],
            body: "<html><body><h1>502 Bad Gateway</h1></body></html>".to_owned(),
            applied: false,
        }
    }

    /// A fault of shape 1.
    pub fn fault(status: u16, code: u32, description: &str) -> Self {
        let body = serde_json::json!({
            "code": code, "description": description, "data": [], "source": "PartnerFD",
        });
        let mut headers = json_header();
        headers.push(("ms-cv".to_owned(), "sim.scripted".to_owned()));
        headers.push(("ms-serverid".to_owned(), "102030".to_owned()));
        Self::Answer { status, headers, body: body.to_string(), applied: false }
    }

    /// The same answer from a gateway, which has none of the headers that Partner Center sets.
    pub fn of_a_gateway(self) -> Self {
        match self {
            Self::Answer { status, mut headers, body, applied } => {
                headers.retain(|(name, _)| !name.starts_with("ms-"));
                Self::Answer { status, headers, body, applied }
            }
            other => other,
        }
    }

    /// 503 without a body.
    pub fn unavailable() -> Self {
        Self::Answer { status: 503, headers: Vec::new(), body: String::new(), applied: false }
    }

    /// The same answer, with the call applied.
    pub fn though_applied(self) -> Self {
        match self {
            Self::Answer { status, headers, body, .. } => {
                Self::Answer { status, headers, body, applied: true }
            }
            other => other,
        }
    }

    /// Whether the call never reaches its handler.
    pub(crate) fn prevents_handling(&self) -> bool {
        matches!(
            self,
            Self::DropBefore
                | Self::Throttle(_)
                | Self::ThrottleIn(..)
                | Self::CodeInSuccess(_)
                | Self::Answer { applied: false, .. }
        )
    }

    /// Whether what arrives teaches a reader nothing.
    pub(crate) fn spoils_reading(&self) -> bool {
        !matches!(
            self,
            Self::Delay(_)
                | Self::Stale(_)
                | Self::PascalCase
                | Self::ByteOrderMark
                | Self::ForeignTid
                | Self::InVain
        )
    }
}

fn json_header() -> Vec<(String, String)> {
    vec![("content-type".to_owned(), "application/json; charset=utf-8".to_owned())]
}

/// A fault to happen.
#[derive(Debug, Clone)]
pub struct Rule {
    /// To which calls.
    pub matching: Matching,
    /// When among them.
    pub when: When,
    /// What.
    pub effect: Effect,
}

impl Rule {
    /// A rule about every call.
    pub fn new(when: When, effect: Effect) -> Self {
        Self { matching: Matching::default(), when, effect }
    }

    /// Restricts it to a method, in upper case.
    pub fn method(mut self, method: &'static str) -> Self {
        self.matching.method = Some(method);
        self
    }

    /// Restricts it to endpoints; may be called more than once.
    pub fn on(mut self, template: Template) -> Self {
        self.matching.templates.push(template);
        self
    }

    /// Restricts it to paths that contain a text.
    pub fn path_contains(mut self, part: impl Into<String>) -> Self {
        self.matching.path_contains = Some(part.into());
        self
    }

    /// Restricts it to a customer.
    pub fn customer(mut self, customer: Uuid) -> Self {
        self.matching.customer = Some(customer);
        self
    }

    /// Restricts it to the account of a partner tenant.
    pub fn partner(mut self, partner: Uuid) -> Self {
        self.matching.partner = Some(partner);
        self
    }

    fn matches(&self, route: &Route, call: &Call, partner: Option<Uuid>) -> bool {
        let matching = &self.matching;
        matching.method.is_none_or(|method| method == call.method)
            && (matching.templates.is_empty() || matching.templates.contains(&route.template))
            && matching.path_contains.as_ref().is_none_or(|part| call.path.contains(part))
            && matching.customer.is_none_or(|customer| route.customer == Some(customer))
            && matching.partner.is_none_or(|own| partner == Some(own))
    }
}

/// The rules in force. The first one that strikes decides; every matching one counts the call.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<(Rule, u64)>);

impl Rules {
    pub(crate) fn add(&mut self, rule: Rule) {
        self.0.push((rule, 0));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn strike(
        &mut self,
        route: &Route,
        call: &Call,
        partner: Option<Uuid>,
        now: Moment,
        dice: &mut Dice,
    ) -> Option<Effect> {
        let mut struck = None;
        let matching = |(rule, _): &&mut (Rule, u64)| rule.matches(route, call, partner);
        for (rule, count) in self.0.iter_mut().filter(matching) {
            *count += 1;
            let strikes = match rule.when {
                When::Always => true,
                When::Nth(nth) => *count == nth,
                When::First(first) => *count <= first,
                When::Every(nth) => nth > 0 && *count % nth == 0,
                When::Chance(chance) => dice.unit() < chance,
                When::Between(from, to) => from <= now && now < to,
            };
            if strikes && struck.is_none() {
                struck = Some(rule.effect.clone());
            }
        }
        struck
    }
}
