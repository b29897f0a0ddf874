//! What an answer to a command means: does it settle the command (invariant 4), and what is to be
//! done about a fault.

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
    ("800061", Class::OtherRoute),
    ("800063", Class::OtherRoute),
    ("800077", Class::OtherRoute),
    ("800081", Class::OtherRoute),
    ("800096", Class::OtherRoute),
    ("900117", Class::OtherRoute),
    ("900213", Class::OtherRoute),
    ("900329", Class::OtherRoute),
    // D
    ("800091", Class::AlreadyDone),
    ("800111", Class::AlreadyDone),
    // P
    ("800002", Class::Permanent),
    ("800039", Class::Permanent),
    ("900118", Class::Permanent),
    ("900124", Class::Permanent),
    ("900149", Class::Permanent),
    ("900150", Class::Permanent),
    ("900277", Class::Permanent),
    ("900279", Class::Permanent),
    ("900307", Class::Permanent),
    ("900308", Class::Permanent),
    ("900309", Class::Permanent),
    ("900311", Class::Permanent),
    ("900321", Class::Permanent),
    // One new token, then P
    ("800001", Class::Unauthorized),
    ("900420", Class::Unauthorized),
    ("900421", Class::Unauthorized),
    // S
    ("800019", Class::SafetyStop),
    ("900127", Class::SafetyStop),
];

/// Shorter codes. They repeat across Microsoft's back ends with other meanings (3000 is an invalid
/// property, an unknown partner or a missing relationship), so a code counts only together with the
/// status it is documented with.
const SHORT_CODES: &[(u16, &str, Class)] = &[
    (400, "2055", Class::Retry),
    (400, "2011", Class::AlreadyDone),
    (404, "20000", Class::AlreadyDone),
    (404, "20003", Class::AlreadyDone),
    (400, "3000", Class::Permanent),
    (403, "2032", Class::Permanent),
    (401, "400", Class::Unauthorized),
];

/// Faults that say there is no such customer, or no relationship with it any more.
const GONE_CODES: &[(u16, &str)] = &[(403, "20002"), (404, "20002"), (404, "60003"), (404, "1000")];

/// The same among the codes of six digits.
const GONE_LONG_CODE: &str = "900159";

/// The class of a fault: what is to be done about it.
pub fn classify(fault: &Fault) -> Class {
    if fault.status == 429 {
        return Class::Throttled;
    }
    if is_gone(fault) {
        return Class::CustomerGone;
    }
    if let Some(class) = by_code(fault) {
        return class;
    }
    match fault.status {
        401 => Class::Unauthorized,
        400..=499 if fault.structured && !matches!(fault.status, 408 | 412) => Class::Unknown,
        // 408, a failed precondition, 5xx, gateways, and errors inside a 2xx: nothing was settled,
        // so the state is read again.
        _ => Class::Retry,
    }
}

/// Whether a fault proves that the customer cannot be read any more (invariant 8): one of Partner
/// Center's own faults with a code that says so. A gateway's bare 404 is never this.
pub fn is_gone(fault: &Fault) -> bool {
    let refused = matches!(fault.status, 400..=499) && !matches!(fault.status, 401 | 408 | 429);
    let Some(code) = fault.code.as_deref().filter(|_| fault.structured && refused) else {
        return false;
    };
    code == GONE_LONG_CODE || GONE_CODES.contains(&(fault.status, code))
}

fn by_code(fault: &Fault) -> Option<Class> {
    let code = fault.code.as_deref().filter(|_| fault.structured)?;
    let long = LONG_CODES.iter().find(|(c, _)| *c == code).map(|(_, class)| *class);
    long.or_else(|| {
        SHORT_CODES
            .iter()
            .find(|(status, c, _)| *status == fault.status && *c == code)
            .map(|(_, _, class)| *class)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, code: &str) -> Fault {
        Fault { status, code: Some(code.to_owned()), structured: true, ..Fault::default() }
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
        role_conditional_access_programme_agreement: Permanent <- [
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
            (400, "4242"), (403, "987654"), (404, "4242"), (409, "1"), (422, "2"),
        ];
    }

    #[test]
    fn short_codes_count_only_with_their_status() {
        for (_, code, _) in SHORT_CODES {
            assert_eq!(classify(&fault(422, code)), Class::Unknown, "{code}");
        }
        assert_eq!(
            classify(&fault(404, "3000")),
            Class::Unknown,
            "unknown partner, no relationship"
        );
        assert_eq!(classify(&fault(400, "1000")), Class::Unknown);
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
