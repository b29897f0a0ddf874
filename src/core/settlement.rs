//! What an answer to a command means: does it settle the command (invariant 4), and what is to be
//! done about a fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::command::Outcome;
use super::fault::{Class, Fault};

/// Whether an answer settles a command, and how. `None`: the command stays unsettled and is sent
/// again under the same id, after the remote state was read.
///
/// A 2xx settles. Any structured 4xx other than 401, 408 and 429 settles. 5xx, answers of gateways
/// and damaged bodies never do.
pub fn outcome_of(status: u16, structured: bool) -> Option<Outcome> {
    match status {
        200..=299 => Some(Outcome::Accepted),
        401 | 408 | 429 => None,
        400..=499 if structured => Some(Outcome::Refused),
        _ => None,
    }
}

/// Codes of six digits. They are Microsoft's newer kind and mean one thing wherever they occur, so
/// the status is ignored: 800082 moved from 400 to 409 between 2021 and 2023.
const LONG_CODES: &[(&str, Class)] = &[
    // R
    ("800003", Class::Retry),
    ("800005", Class::Retry),
    ("800036", Class::Retry),
    ("800094", Class::Retry),
    ("900192", Class::Retry),
    ("900225", Class::Retry),
    // R once, then P
    ("800038", Class::Retry),
    ("800090", Class::Retry),
    ("800092", Class::Retry),
    ("800095", Class::Retry),
    ("800098", Class::Retry),
    ("900214", Class::Retry),
    ("900257", Class::Retry),
    // W
    ("800014", Class::Wait),
    ("800060", Class::Wait),
    ("800073", Class::Wait),
    ("800074", Class::Wait),
    ("800082", Class::Wait),
    (PLAN_IN_USE, Class::Wait),
    ("900278", Class::Wait),
    ("900280", Class::Wait),
    // O
    ("800040", Class::OtherRoute),
    ("800042", Class::OtherRoute),
    ("800061", Class::OtherRoute),
    ("800063", Class::OtherRoute),
    ("800077", Class::OtherRoute),
    ("800081", Class::OtherRoute),
    ("800096", Class::OtherRoute),
    ("900117", Class::OtherRoute),
    ("900141", Class::OtherRoute),
    ("900213", Class::OtherRoute),
    ("900263", Class::OtherRoute),
    ("900329", Class::OtherRoute),
    // D
    ("800011", Class::AlreadyDone),
    ("800012", Class::AlreadyDone),
    ("800021", Class::AlreadyDone),
    (NOT_FOUND, Class::AlreadyDone),
    ("800041", Class::AlreadyDone),
    ("800091", Class::AlreadyDone),
    ("800111", Class::AlreadyDone),
    // P
    ("600006", Class::Permanent),
    ("800002", Class::Permanent),
    ("800075", Class::Permanent),
    ("900118", Class::Permanent),
    ("900277", Class::Permanent),
    ("900279", Class::Permanent),
    ("900307", Class::Permanent),
    ("900311", Class::Permanent),
    ("900316", Class::Permanent),
    ("900321", Class::Permanent),
    ("900416", Class::Permanent),
    // A
    ("800039", Class::Access),
    ("900124", Class::Access),
    ("900149", Class::Access),
    ("900150", Class::Access),
    ("900308", Class::Access),
    ("900309", Class::Access),
    // One new token, then P
    ("800001", Class::Unauthorized),
    ("900420", Class::Unauthorized),
    ("900421", Class::Unauthorized),
    // S
    ("800019", Class::SafetyStop),
    ("900127", Class::SafetyStop),
];

/// Shorter codes. They repeat across Microsoft's back ends with other meanings (2006 stands with 400
/// and with 403), so a code counts only together with the status it is documented with.
const SHORT_CODES: &[(u16, &str, Class)] = &[
    (400, "2055", Class::Retry),
    // R once and with a new token, then P
    (403, NOT_AUTHENTICATED, Class::Retry),
    (400, "2001", Class::Wait),
    (400, "2012", Class::Wait),
    (400, "2006", Class::OtherRoute),
    (400, "2011", Class::AlreadyDone),
    (404, "20000", Class::AlreadyDone),
    (404, "20003", Class::AlreadyDone),
    (404, NOT_THERE, Class::AlreadyDone),
    (400, "3000", Class::Permanent),
    (403, "1002", Class::Permanent),
    (403, "2032", Class::Access),
    (401, "400", Class::Unauthorized),
    (401, "6002", Class::SafetyStop),
    (403, "6003", Class::SafetyStop),
    (403, "6004", Class::SafetyStop),
];

/// With 404: the thing that was asked for is not there (recorded of a subscription, with
/// `data: ["property_name: Subscription"]`, in PartnerCenterSamples/training-course).
const NOT_THERE: &str = "3000";

/// With 404: the same, in the newer kind of codes.
const NOT_FOUND: &str = "800037";

/// With 403: the caller was not authenticated, which a new token may mend.
const NOT_AUTHENTICATED: &str = "90000";

/// Faults that say there is no such customer, or no relationship with it any more.
const GONE_CODES: &[(u16, &str)] = &[(403, "20002"), (404, "20002"), (404, "60003"), (404, "1000")];

/// The same among the codes of six digits.
const GONE_LONG_CODE: &str = "900159";

/// Whether an answer on record halts its account (invariant 2), and why, in words.
pub fn halts(status: Option<u16>, code: Option<String>, text: Option<String>) -> Option<String> {
    let (status, text) = (status.unwrap_or_default(), text.unwrap_or_default());
    let fault = Fault { status, code, text, structured: true, ..Fault::default() };
    (classify(&fault) == Class::SafetyStop).then(|| fault.to_string())
}

/// Refusals that a fresh reading mends, if anything does.
const ONCE: &[&str] =
    &[NOT_AUTHENTICATED, "800038", "800090", "800092", "800095", "800098", "900214", "900257"];

/// With 400: the subscription is being changed, for a short while.
const SHORT_WAIT: &str = "2012";

/// How long a change that is under way for [`SHORT_WAIT`] is waited for. Cancellations take minutes.
const SHORT_PATIENCE: Duration = Duration::from_secs(3600);

/// With 403: an Azure plan has active Azure subscriptions or reservations. As soon as none is listed any
/// more, that ends by itself or something stands in no list, which only a person can find.
const PLAN_IN_USE: &str = "900115";

/// How long a 409 without a known code is waited for, and the refusal of an Azure plan that is in use.
/// While a renewal is queued, up to 24 hours from midnight UTC of the new term's day, a cancellation is
/// answered with such a 409
/// (kvamseek/partner-center, `create-a-new-subscription.md`); two hours more let it be carried out.
pub const LONG_PATIENCE: Duration = Duration::from_secs(26 * 3600);

/// Further answers that an operator has classified, with `[codes]` of the configuration: status and
/// code, and the class. They never weaken a guard: what they call done or gone is looked at as
/// anything else that is, and a built-in safety stop stays one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Codes(Arc<BTreeMap<(u16, String), Class>>);

impl Codes {
    /// The table of these. Which answers may stand in it is for [`may_be_told`] to say.
    pub fn new(entries: impl IntoIterator<Item = ((u16, String), Class)>) -> Self {
        Self(Arc::new(entries.into_iter().collect()))
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &str, Class)> {
        self.0.iter().map(|((status, code), class)| (*status, code.as_str(), *class))
    }

    /// The class that the table gives an answer.
    pub fn class_of(&self, status: u16, code: Option<&str>) -> Option<Class> {
        let key = (status, code?.to_owned());
        self.0.get(&key).copied().filter(|_| may_be_told(status, &key.1))
    }

    /// How an entry that decides is named in a text; nothing where the table knows no such answer.
    pub fn note(&self, status: u16, code: Option<&str>) -> String {
        let class = self.class_of(status, code);
        let named = class.zip(code).map(|(class, code)| {
            format!(" ({}, as [codes] says of {status}/{code})", class.word())
        });
        named.unwrap_or_default()
    }
}

/// Whether an operator may classify an answer: one that settles a command, since of no other can it be
/// said what it means, and none that is a built-in safety stop.
pub fn may_be_told(status: u16, code: &str) -> bool {
    settles(status) && built_in(status, code) != Some(Class::SafetyStop)
}

const fn settles(status: u16) -> bool {
    matches!(status, 400..=499) && !matches!(status, 401 | 408 | 429)
}

/// The class of a fault: what is to be done about it.
pub fn classify(fault: &Fault) -> Class {
    if fault.status == 429 {
        return Class::Throttled;
    }
    let known = fault.code.as_deref().filter(|_| fault.structured);
    let known = known.and_then(|code| built_in(fault.status, code));
    if known == Some(Class::SafetyStop) {
        return Class::SafetyStop;
    }
    if let Some(class) = fault.told.or(known) {
        return class;
    }
    match fault.status {
        401 => Class::Unauthorized,
        404 if is_of_a_gateway(fault) => Class::Retry,
        // Partner Center is busy with something of the same thing: what, it does not say.
        409 if fault.structured => Class::Wait,
        400..=499 if fault.structured && !matches!(fault.status, 408 | 412) => Class::Unknown,
        // 408, a failed precondition, 5xx, gateways, and errors inside a 2xx: nothing was settled,
        // so the state is read again.
        _ => Class::Retry,
    }
}

/// Whether a 404 comes from something before Partner Center: it lacks the headers that Partner Center
/// sets, and no table knows its code. It says nothing of what was asked for.
pub fn is_of_a_gateway(fault: &Fault) -> bool {
    let code = fault.code.as_deref().filter(|_| fault.structured);
    let known = code.is_some_and(|code| built_in(fault.status, code).is_some());
    fault.status == 404 && !fault.own && !known && fault.told.is_none()
}

/// Whether an answer speaks for itself, by its status or by a code that is in a table. Of any other
/// all that came is worth keeping.
pub fn is_understood(fault: &Fault) -> bool {
    let by_code = fault.code.as_deref().filter(|_| fault.structured);
    let by_status = matches!(fault.status, 401 | 408 | 412 | 429 | 500..=599);
    by_status
        || fault.told.is_some()
        || by_code.is_some_and(|code| built_in(fault.status, code).is_some())
}

/// The bound of the patience with an answer: beyond it, the answer is permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The classes' own bounds: attempts, or the deadline.
    Usual,
    /// One more try.
    Once,
    /// As long as this, from the first such answer to the last.
    For(Duration),
}

/// How long the class of a fault is believed.
pub fn patience(fault: &Fault) -> Patience {
    let code = fault.code.as_deref().unwrap_or_default();
    if fault.told.is_some() {
        Patience::Usual
    } else if ONCE.contains(&code) {
        Patience::Once
    } else if fault.status == 400 && code == SHORT_WAIT {
        Patience::For(SHORT_PATIENCE)
    } else if fault.status == 409 && built_in(409, code).is_none() || code == PLAN_IN_USE {
        Patience::For(LONG_PATIENCE)
    } else {
        Patience::Usual
    }
}

/// Whether a fault asks for another token, although it is no 401.
pub fn blames_the_token(fault: &Fault) -> bool {
    fault.status == 403 && fault.structured && fault.code.as_deref() == Some(NOT_AUTHENTICATED)
}

/// Whether a fault that answers the reading of a customer proves that it cannot be read any more
/// (invariant 8): one of Partner Center's own faults with a code that says so. A gateway's bare 404 is
/// never this.
pub fn is_gone(fault: &Fault) -> bool {
    if !fault.structured || !settles(fault.status) {
        return false;
    }
    // A code that says of anything that it is not there says so of the customer that was asked for,
    // where it comes from Partner Center and does not name another thing.
    let not_there = fault.status == 404 && fault.code.as_deref() == Some(NOT_THERE);
    classify(fault) == Class::CustomerGone || (not_there && fault.own && !names_a_purchase(fault))
}

/// Whether a fault says that something is not there and can be about a customer: any 404 of Partner
/// Center's own that does not name a purchase. What GET answers after a customer is deleted is not
/// documented, so after a DELETE of ours each of them reads as gone.
pub fn may_be_gone(fault: &Fault) -> bool {
    fault.status == 404 && fault.structured && fault.own && !names_a_purchase(fault)
}

/// Whether a fault that answers the reading of a list below a customer can mean that the customer is
/// not there.
pub fn is_of_a_missing_customer(fault: &Fault) -> bool {
    let says_so = matches!(classify(fault), Class::AlreadyDone | Class::CustomerGone);
    may_be_gone(fault)
        || (fault.status == 404 && fault.structured && says_so && !names_a_purchase(fault))
}

/// Whether a fault that answers the reading of one `thing` by its id says that there is none: 404 with
/// the code of such things or one that says so of anything, unless it names another thing.
pub fn is_no_such(fault: &Fault, thing: &str, its_code: &str) -> bool {
    let code = fault.code.as_deref().unwrap_or_default();
    let says_so = [its_code, NOT_THERE, NOT_FOUND].contains(&code);
    let told = fault.told == Some(Class::CustomerGone);
    let is_it = fault.property.as_deref().is_none_or(|name| name.contains(thing));
    fault.status == 404 && fault.structured && is_it && (told || says_so)
}

fn names_a_purchase(fault: &Fault) -> bool {
    let things = ["subscription", "order", "entitlement", "lineitem", "cart"];
    fault.property.as_deref().is_some_and(|name| things.iter().any(|thing| name.contains(thing)))
}

fn built_in(status: u16, code: &str) -> Option<Class> {
    if settles(status) && (code == GONE_LONG_CODE || GONE_CODES.contains(&(status, code))) {
        return Some(Class::CustomerGone);
    }
    let long = LONG_CODES.iter().find(|(known, _)| *known == code).map(|(_, class)| *class);
    let short = |(known, own, _): &&(u16, &str, Class)| *known == status && *own == code;
    long.or_else(|| SHORT_CODES.iter().find(short).map(|(_, _, class)| *class))
}

#[cfg(test)]
mod tests;
