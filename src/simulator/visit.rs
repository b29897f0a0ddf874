//! One request on its way through the simulator.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::api::{Context, Outcome, faults};
use super::call::{Answer, Call};
use super::life::Moment;
use super::options::Options;
use super::profile::FaultKind;
use super::route::Route;
use super::rules::Effect;

/// What must be the same whenever an id is repeated.
pub(crate) type Fingerprint = (String, String, Option<String>, Bytes);

/// A request on its way through.
pub(crate) struct Visit<'a> {
    pub(crate) number: u64,
    pub(crate) call: &'a Call,
    pub(crate) route: &'a Route,
    pub(crate) effect: Option<Effect>,
    pub(crate) fault: Option<FaultKind>,
    pub(crate) now: Moment,
    pub(crate) wall: Timestamp,
    pub(crate) delay: Duration,
    pub(crate) request_id: Option<String>,
}

impl Visit<'_> {
    pub(crate) fn context<'o>(&self, options: &'o Options, start: Timestamp) -> Context<'o> {
        Context {
            now: self.now,
            start,
            options,
            user: false,
            in_vain: self.effect == Some(Effect::InVain),
            repeat_page: self.effect == Some(Effect::DuplicatePage),
            lag: match self.effect {
                Some(Effect::Stale(lag)) => lag.max(options.list_lag),
                _ => options.list_lag,
            },
        }
    }

    /// Headers that Partner Center puts on each of its answers, and no gateway does (fact sheet, section 12).
    pub(crate) fn own_headers(&self) -> Vec<(String, String)> {
        let sent =
            |name| self.call.header(name).map(|id| (name.to_ascii_lowercase(), id.to_owned()));
        let ids = ["MS-RequestId", "MS-CorrelationId"].into_iter().filter_map(sent);
        let own = [("ms-cv", format!("sim.{}", self.number)), ("ms-serverid", "102030".to_owned())];
        ids.chain(own.map(|(name, value)| (name.to_owned(), value))).collect()
    }

    pub(crate) fn answered_at(&self) -> Timestamp {
        self.wall + self.delay
    }
}

/// What is to be answered and what it did.
#[derive(Default)]
pub(crate) struct Produced {
    /// `None`: nothing at all.
    pub(crate) answer: Option<Answer>,
    pub(crate) applied: bool,
    pub(crate) replayed: bool,
    pub(crate) complete_since: Option<Moment>,
    /// The `Retry-After` of a 429.
    pub(crate) closes: Option<Duration>,
}

pub(crate) fn bearer(call: &Call) -> Option<&str> {
    call.header("Authorization")?.strip_prefix("Bearer ")
}

pub(crate) fn fingerprint(call: &Call) -> Fingerprint {
    let if_match = call.header("If-Match").map(str::to_owned);
    (call.method.clone(), call.path.clone(), if_match, call.body.clone())
}

pub(crate) fn unauthorised(code: u32) -> Outcome {
    let text = match code {
        800001 => "No access token was sent.",
        900420 => "The audience of the access token is not valid.",
        _ => "Access is denied: the access token is not valid or has expired.",
    };
    faults::fault(401, code, text)
}
