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
    ("900115", Class::Wait),
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

/// How long a 409 without a known code is waited for. While a renewal is queued, up to 24 hours from
/// midnight UTC of the new term's day, a cancellation is answered so
/// (kvamseek/partner-center, `create-a-new-subscription.md`); two hours more let it be carried out.
pub const CONFLICT_PATIENCE: Duration = Duration::from_secs(26 * 3600);

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

    /// What the table says of an answer.
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

/// What bounds the patience with an answer: beyond it, the answer is permanent.
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
    } else if fault.status == 409 && built_in(409, code).is_none() {
        Patience::For(CONFLICT_PATIENCE)
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
mod tests {
    use super::*;

    /// One of Partner Center's own.
    fn fault(status: u16, code: &str) -> Fault {
        let code = Some(code.to_owned());
        Fault { status, code, structured: true, own: true, ..Fault::default() }
    }

    fn bare(status: u16) -> Fault {
        Fault { status, ..Fault::default() }
    }

    /// Each of these stands for one row of the table of error codes in `docs/api-facts.md`.
    macro_rules! rows {
        ($($name:ident: $class:ident <- [$(($status:literal, $code:literal)),* $(,)?];)*) => {$(
            #[test]
            fn $name() {
                for (status, code) in [$(($status, $code)),*] {
                    let fault = fault(status, code);
                    assert_eq!(classify(&fault), Class::$class, "{status} {code}");
                }
            }
        )*};
    }

    rows! {
        server_faults: Retry <- [
            (500, "800003"), (500, "800005"), (500, "800094"), (503, "900192"), (500, "4242"),
            (408, "4242"),
        ];
        throttled: Throttled <- [(429, "800002"), (429, "1")];
        a_timeout_of_the_server: Retry <- [(408, "900225")];
        fresh_reading_once: Retry <- [
            (400, "800090"), (400, "800092"), (400, "800095"), (400, "800098"), (400, "900214"),
            (400, "900257"), (404, "800038"), (403, "90000"),
        ];
        subscription_being_changed: Wait <- [(400, "2001"), (400, "2012")];
        unlisted_conflict: Wait <- [(409, "4242"), (409, "1"), (409, "987654")];
        another_route_or_none: OtherRoute <- [
            (400, "2006"), (400, "800042"), (400, "900141"), (403, "900263"),
        ];
        activated_already: AlreadyDone <- [(400, "800041")];
        inactive_already: AlreadyDone <- [(400, "800011"), (400, "800012"), (400, "800021")];
        not_there: AlreadyDone <- [(404, "3000"), (404, "800037")];
        not_allowed_here: Permanent <- [
            (403, "800075"), (403, "900416"), (400, "900316"), (403, "600006"), (403, "1002"),
        ];
        not_the_right_environment: SafetyStop <- [(401, "6002"), (403, "6003"), (403, "6004")];
        stale_etag_or_precondition: Retry <- [(400, "2055"), (412, "4242"), (417, "800036")];
        order_in_progress: Wait <- [(409, "800060"), (409, "800014")];
        subscription_not_ready_under_either_status: Wait <- [(400, "800082"), (409, "800082")];
        operation_pending: Wait <- [(409, "900278")];
        updates_not_allowed_now: Wait <- [(400, "900280")];
        plan_still_has_azure_subscriptions: Wait <- [(403, "900115")];
        customer_under_review: Wait <- [(403, "800073"), (403, "800074")];
        order_not_cancellable: OtherRoute <- [(400, "800063")];
        seat_saas_not_via_order: OtherRoute <- [(403, "800077")];
        not_activated_yet: OtherRoute <- [(400, "800081")];
        order_cannot_be_cancelled: OtherRoute <- [(400, "800061")];
        status_change_refused: OtherRoute <- [(400, "800096"), (400, "800040")];
        no_app_only_here: OtherRoute <- [(403, "900329")];
        subscription_already_deleted: AlreadyDone <- [(400, "2011")];
        subscription_suspended: AlreadyDone <- [(400, "800091")];
        purchase_gone: AlreadyDone <- [(404, "800111"), (404, "20000"), (404, "20003")];
        cancellation_window_passed: OtherRoute <- [(400, "900117"), (400, "900213")];
        expiring_frozen_or_too_many_updates: Permanent <- [
            (400, "900277"), (400, "900279"), (400, "900311"),
        ];
        bad_reason_id_input_or_property: Permanent <- [
            (400, "900307"), (400, "900118"), (400, "800002"), (400, "3000"),
        ];
        savings_plan_not_manageable: Permanent <- [(403, "900321")];
        role_conditional_access_programme_agreement: Access <- [
            (403, "2032"), (403, "900150"), (403, "900308"), (403, "900309"), (403, "800039"),
            (403, "900149"), (403, "900124"),
        ];
        denied_no_token_audience_mfa: Unauthorized <- [
            (401, "400"), (401, "800001"), (401, "900420"), (401, "900421"), (401, "4242"),
        ];
        not_a_sandbox_tenant: SafetyStop <- [(403, "800019"), (400, "800019")];
        not_supported_in_this_environment: SafetyStop <- [(400, "900127")];
        no_commerce_relationship: CustomerGone <- [(403, "20002"), (403, "900159")];
        tenant_or_resource_not_found: CustomerGone <- [(404, "60003"), (404, "1000")];
        unknown_codes_stop_the_customer: Unknown <- [
            (400, "4242"), (403, "987654"), (404, "4242"), (422, "2"),
        ];
    }

    #[test]
    fn short_codes_count_only_with_their_status() {
        for (_, code, _) in SHORT_CODES {
            assert_eq!(classify(&fault(422, code)), Class::Unknown, "{code}");
        }
        assert_eq!(classify(&fault(400, "1000")), Class::Unknown);
        let base = fault(400, "20000");
        assert_eq!(classify(&base), Class::Unknown, "an add-on without its base in the order");
        assert_eq!(classify(&fault(403, "60003")), Class::Unknown);
    }

    #[test]
    fn no_code_stands_in_two_rows() {
        for (index, (code, _)) in LONG_CODES.iter().enumerate() {
            assert_eq!(code.len(), 6, "{code}");
            assert!(LONG_CODES[index + 1..].iter().all(|(other, _)| other != code), "{code}");
            assert_ne!(*code, GONE_LONG_CODE);
        }
    }

    #[test]
    fn what_is_not_there_is_the_customer_only_where_partner_center_says_so_of_nothing_else() {
        let own = |property: Option<&str>| Fault {
            own: true,
            property: property.map(str::to_owned),
            ..fault(404, "3000")
        };
        assert!(is_gone(&own(None)) && is_gone(&own(Some("customer"))));
        assert!(!is_gone(&own(Some("subscription"))), "another thing is not there");
        let gateway = Fault { own: false, ..fault(404, "3000") };
        assert!(!is_gone(&gateway), "a gateway's answer has none of the headers");
        let gateway = Fault { own: false, ..fault(404, "4242") };
        assert_eq!(classify(&gateway), Class::Retry);
        assert!(!is_gone(&Fault { structured: false, ..own(None) }));

        let unknown = Fault { own: true, ..fault(404, "4242") };
        assert!(!is_gone(&unknown) && may_be_gone(&unknown));
        for other in [
            Fault { own: false, ..unknown.clone() },
            Fault { structured: false, ..unknown.clone() },
            Fault { status: 410, ..unknown.clone() },
            Fault { property: Some("order".to_owned()), ..unknown },
        ] {
            assert!(!may_be_gone(&other), "{other:?}");
        }
    }

    #[test]
    fn one_thing_that_is_not_there_is_told_by_its_own_code_or_its_name() {
        let named = |code: &str, property: Option<&str>| Fault {
            property: property.map(str::to_owned),
            ..fault(404, code)
        };
        for (code, property, expected) in [
            ("20000", None, true),
            ("3000", None, true),
            ("800037", None, true),
            ("3000", Some("order"), true),
            ("3000", Some("subscription"), false),
            ("20003", None, false),
            ("4242", None, false),
        ] {
            let fault = named(code, property);
            assert_eq!(is_no_such(&fault, "order", "20000"), expected, "{fault:?}");
        }
        let told = |class| Fault { told: Some(class), ..fault(404, "4242") };
        assert!(is_no_such(&told(Class::CustomerGone), "order", "20000"));
        assert!(!is_no_such(&told(Class::AlreadyDone), "order", "20000"));
        assert!(!is_no_such(&Fault { structured: false, ..fault(404, "20000") }, "order", "20000"));
    }

    #[test]
    fn patience_with_what_nobody_knows_is_bounded() {
        for (status, code, expected) in [
            (409, "4242", Patience::For(CONFLICT_PATIENCE)),
            (409, "900278", Patience::Usual),
            (400, "2012", Patience::For(SHORT_PATIENCE)),
            (400, "2001", Patience::Usual),
            (400, "800090", Patience::Once),
            (404, "800038", Patience::Once),
            (403, "90000", Patience::Once),
            (400, "2055", Patience::Usual),
        ] {
            assert_eq!(patience(&fault(status, code)), expected, "{status} {code}");
        }
        assert_eq!(patience(&bare(409)), Patience::For(CONFLICT_PATIENCE), "without a code");
        let told = Fault { told: Some(Class::Wait), ..fault(409, "4242") };
        assert_eq!(patience(&told), Patience::Usual, "an operator knows it");
        assert!(blames_the_token(&fault(403, "90000")) && !blames_the_token(&fault(403, "2032")));
    }

    #[test]
    fn an_operator_s_codes_classify_what_settles_a_command_and_no_safety_stop() {
        let own = |status: u16, code: &str, class| ((status, code.to_owned()), class);
        let codes = Codes::new([
            own(409, "123456", Class::AlreadyDone),
            own(400, "2012", Class::Permanent),
            own(403, "800019", Class::Wait),
            own(401, "6002", Class::Wait),
            own(503, "4242", Class::AlreadyDone),
        ]);
        let class = |status, code: &str| {
            let told = codes.class_of(status, Some(code));
            classify(&Fault { told, ..fault(status, code) })
        };
        assert_eq!(class(409, "123456"), Class::AlreadyDone);
        assert_eq!(class(409, "123457"), Class::Wait);
        assert_eq!(class(400, "2012"), Class::Permanent, "it stands above the table here");
        assert_eq!(class(403, "800019"), Class::SafetyStop, "but not above a safety stop");
        assert_eq!((class(401, "6002"), class(503, "4242")), (Class::SafetyStop, Class::Retry));
        assert!(may_be_told(404, "3000") && !may_be_told(429, "1") && !may_be_told(400, "800019"));
        let forged = Fault { told: Some(Class::AlreadyDone), ..fault(400, "900127") };
        assert_eq!(classify(&forged), Class::SafetyStop);
        assert_eq!(codes.note(409, Some("123456")), " (done, as [codes] says of 409/123456)");
        assert_eq!(
            (codes.note(409, Some("1")), codes.note(403, Some("800019"))),
            (String::new(), String::new())
        );
    }

    #[test]
    fn what_no_table_knows_is_not_understood() {
        assert!(is_understood(&fault(400, "2011")) && is_understood(&bare(503)));
        assert!(is_understood(&Fault { told: Some(Class::Wait), ..fault(400, "4242") }));
        for unknown in [fault(400, "4242"), fault(409, "4242"), bare(404), fault(200, "400072")] {
            assert!(!is_understood(&unknown), "{unknown:?}");
        }
    }

    #[test]
    fn invariant_8_only_a_structured_fault_says_gone() {
        for (status, code) in GONE_CODES.iter().copied().chain([(403, GONE_LONG_CODE)]) {
            let mut fault = fault(status, code);
            assert!(is_gone(&fault), "{status} {code}");
            fault.structured = false;
            assert!(!is_gone(&fault), "a gateway's {status} {code}");
            assert_ne!(classify(&fault), Class::CustomerGone);
        }
        assert!(!is_gone(&bare(404)));
        assert_eq!(classify(&bare(404)), Class::Retry);
        for status in [200, 401, 408, 429, 500, 503] {
            assert!(!is_gone(&fault(status, GONE_LONG_CODE)), "{status}");
        }
        assert!(!is_gone(&fault(404, "20000")), "an order that is gone is not a customer");
    }

    #[test]
    fn answers_without_a_code_go_by_their_status() {
        for status in [400, 403, 404, 408, 409, 412, 500, 502, 503, 302, 200] {
            assert_eq!(classify(&bare(status)), Class::Retry, "{status}");
        }
        assert_eq!(classify(&bare(401)), Class::Unauthorized);
        assert_eq!(classify(&bare(429)), Class::Throttled);
    }

    #[test]
    fn an_error_code_inside_a_200_settles_nothing() {
        assert_eq!(classify(&fault(200, "400072")), Class::Retry);
        assert_eq!(classify(&fault(200, "800019")), Class::SafetyStop);
    }

    #[test]
    fn invariant_4_what_settles_a_command() {
        for status in [200, 201, 202, 204] {
            assert_eq!(outcome_of(status, false), Some(Outcome::Accepted), "{status}");
        }
        for status in [400, 403, 404, 409, 412, 417, 422] {
            assert_eq!(outcome_of(status, true), Some(Outcome::Refused), "{status}");
            assert_eq!(outcome_of(status, false), None, "a gateway's {status}");
        }
        for status in [401, 408, 429, 500, 502, 503, 504, 302] {
            assert_eq!(outcome_of(status, true), None, "{status}");
        }
    }
}
