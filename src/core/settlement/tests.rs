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
        (409, "4242", Patience::For(LONG_PATIENCE)),
        (403, "900115", Patience::For(LONG_PATIENCE)),
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
    assert_eq!(patience(&bare(409)), Patience::For(LONG_PATIENCE), "without a code");
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
