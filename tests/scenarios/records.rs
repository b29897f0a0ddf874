//! What stands in the record when Microsoft's answers are not those hoped for.

use teardownd::simulator::Entry;

use crate::harness::*;

/// The one request that was answered with this status, by its ids.
fn answered(scene: &Scene, status: u16) -> Entry {
    let found = scene.calls().into_iter().rfind(|entry| entry.status == Some(status));
    found.unwrap_or_else(|| panic!("nothing was answered with {status}"))
}

#[tokio::test(start_paused = true)]
async fn entitlements_refused_to_the_app_are_no_obstacle_but_stand_in_the_record() {
    let bought = [buy(Kind::Reservation), buy(Kind::NewCommerce), buy(Kind::AzurePlan)];
    let scene = given_each(2, &bought).api(|api| api.entitlements_app_only = false).running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert!(scene.rows().await.iter().all(|row| row.cross_checked == Some(false)));
    for to in [State::EntitlementsFetched, State::Deleting] {
        let history = scene.history(1).await;
        let record = history.iter().find(|record| record.to == to).unwrap();
        let text = record.text.as_deref().unwrap_or_default();
        assert!(text.contains("without the cross-check"), "{to:?}: {text}");
    }
    // Once refused, they are left alone for a day: at most each tenant's first look asks.
    let asked = scene.calls().into_iter().filter(|e| e.template == Template::Entitlements);
    assert!(asked.count() <= 2);

    let scene = given([buy(Kind::Reservation)]).running().await;
    scene.settle().await;
    assert_eq!(scene.row(1).await.cross_checked, Some(true));
    let history = scene.history(1).await;
    let text =
        |record: &teardownd::store::TransitionRecord| record.text.clone().unwrap_or_default();
    assert!(history.iter().all(|record| !text(record).contains("cross-check")));
}

#[tokio::test(start_paused = true)]
async fn a_passing_failure_of_a_read_is_stored_with_its_request() {
    let mut scene = given([buy(Kind::Reservation)]).queued().await;
    let down = Effect::fault(503, 900_192, "Down for a moment.");
    scene.rule(Rule::new(When::Nth(1), down).on(Template::Orders));
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let faults = scene.faults(1).await;
    assert_eq!(faults.len(), 1, "{faults:?}");
    let (fault, entry) = (&faults[0], answered(&scene, 503));
    assert_eq!(fault.reason, Some(Reason::RetryBackoff));
    assert_eq!(fault.call.route, "/v1/customers/{customer}/orders");
    assert_eq!(fault.call.ms_code.as_deref(), Some("900192"));
    assert_eq!(fault.call.text, "Down for a moment.");
    let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string());
    assert_eq!(id(fault.call.request_id), entry.request_id);
    assert_eq!(id(fault.call.correlation_id), entry.correlation_id);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_4xx_to_a_read_stops_that_tenant_alone_with_the_body_in_the_record() {
    let mut scene = given_each(2, &[buy(Kind::Reservation)]).queued().await;
    let odd = Effect::Answer {
        status: 422,
        headers: Vec::new(),
        body: r#"{"code":424242,"description":"Odd.","parameters":{"phase":"full moon"}}"#
            .to_owned(),
        applied: false,
    };
    let rule = Rule::new(When::Always, odd).on(Template::Subscriptions);
    scene.rule(rule.customer(tenant(1).as_uuid()));
    scene.start().await;
    scene.settle().await;
    let text = scene.assert_failed(1, Reason::ApiRefused).await;
    assert!(text.contains("424242: Odd."), "{text}");
    assert!(scene.writes_of(1).is_empty(), "nothing of it was touched");
    let faults = scene.faults(1).await;
    let last = faults.last().unwrap();
    assert_eq!(last.reason, Some(Reason::ApiRefused));
    assert_eq!(last.call.http_status, Some(422));
    assert!(last.call.body.as_deref().unwrap().contains("full moon"), "{last:?}");
    assert_deleted(&scene.row(2).await);
    assert_eq!(scene.faults(2).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_4xx_to_a_write_stops_that_tenant_with_the_body_in_the_record() {
    let mut scene = given_each(2, &[buy(Kind::Reservation)]).queued().await;
    let odd = Effect::fault(400, 424_242, "Odd.");
    let rule = Rule::new(When::Always, odd).on(Template::Order).method("PATCH");
    scene.rule(rule.customer(tenant(1).as_uuid()));
    scene.start().await;
    scene.settle().await;
    scene.assert_failed(1, Reason::ApiRefused).await;
    let (faults, commands) = (scene.faults(1).await, scene.commands(1).await);
    let last = faults.last().unwrap();
    assert_eq!(last.reason, Some(Reason::ApiRefused));
    assert_eq!(last.call.request_id, Some(commands[0].id.0), "the command's own id");
    assert_eq!(last.call.correlation_id, commands[0].correlation_id);
    assert!(last.call.body.as_deref().unwrap().contains("PartnerFD"), "{last:?}");
    assert_deleted(&scene.row(2).await);
}

#[tokio::test(start_paused = true)]
async fn each_answer_to_a_repeated_write_is_kept_and_the_last_one_does_not_hide_the_first() {
    let mut scene = given([buy(Kind::Reservation)]).queued().await;
    let rule = Rule::new(When::Nth(1), Effect::unavailable().though_applied());
    scene.rule(rule.on(Template::Order).method("PATCH"));
    let rule = Rule::new(When::Nth(1), Effect::fault(403, 800_019, "Not a sandbox."));
    scene.rule(rule.on(Template::Customer).method("DELETE"));
    scene.start().await;
    scene.until_rows("the halt", mins(10), |rows| rows[0].reason == Some(Reason::Halted)).await;
    let faults = scene.faults(1).await;
    let told: Vec<_> =
        faults.iter().map(|f| (f.call.method.as_str(), f.call.http_status, f.reason)).collect();
    assert_eq!(
        told,
        [
            ("PATCH", Some(503), Some(Reason::RetryBackoff)),
            ("DELETE", Some(403), Some(Reason::Halted))
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_is_stored_with_entras_code() {
    let mut scene = given([buy(Kind::Reservation)]).queued().await;
    let body = serde_json::json!({
        "error": "invalid_client", "error_codes": [7_000_222],
        "error_description": "AADSTS7000222: The provided client secret keys are expired.",
    });
    let refusal =
        Effect::Answer { status: 401, headers: Vec::new(), body: body.to_string(), applied: false };
    scene.rule(Rule::new(When::First(1), refusal).on(Template::TokenV2));
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let faults = scene.faults(1).await;
    let first = &faults[0];
    assert_eq!(first.reason, Some(Reason::CredentialRefused));
    assert_eq!(first.call.ms_code.as_deref(), Some("AADSTS7000222"));
    assert_eq!((first.call.http_status, first.call.request_id), (Some(401), None));
    assert!(first.call.correlation_id.is_some() && first.call.route.ends_with("/token"));
}
