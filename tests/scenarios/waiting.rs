//! Answers that are no end: writes that were carried out unseen, refusals of what somebody else has
//! done, and those that say "later".

use teardownd::core::command::Outcome;
use teardownd::simulator::ComesBack;
use teardownd::store::EnqueueOutcome;

use crate::harness::*;

/// A write and what has to be bought for it to be sent.
const WRITES: [(&str, Template, Kind); 4] = [
    ("PATCH", Template::Order, Kind::Reservation),
    ("PATCH", Template::Subscription, Kind::NewCommerce),
    ("PATCH", Template::Subscription, Kind::LegacyLicence),
    ("POST", Template::AzureCancel, Kind::AzurePlan),
];

fn sent(scene: &Scene, method: &str, template: Template) -> usize {
    let writes = scene.writes().into_iter();
    writes.filter(|write| write.method == method && write.template == template).count()
}

fn wait(code: u32) -> Effect {
    Effect::fault(409, code, "Not yet.")
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_write_carried_out_unseen_is_settled_by_the_next_run() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Ended {
        ByAttempts,
        ByAbort,
    }
    for (method, template, kind) in WRITES {
        for ended in [Ended::ByAttempts, Ended::ByAbort] {
            for again in [Verb::Retry, Verb::Abort] {
                for takes in [secs(0), secs(90)] {
                    if (ended, again) == (Ended::ByAbort, Verb::Retry) {
                        continue;
                    }
                    let what = format!("{method} {kind:?} {ended:?} {again:?} {takes:?}");
                    // Another tenant waits for the first step of this one.
                    let mut scene = Given::new([
                        customer(1, [buy(kind).takes(takes)]),
                        customer(2, [buy(Kind::Reservation)]),
                    ])
                    .timing(|timing| {
                        timing.max_attempts = if ended == Ended::ByAttempts { 1 } else { 20 };
                    })
                    .queued()
                    .await;
                    let silent = Rule::new(When::First(1), Effect::DropAfter);
                    let silent = silent.method(method).on(template).customer(tenant(1).as_uuid());
                    scene.rule(silent);
                    scene.start().await;
                    if ended == Ended::ByAttempts {
                        let failed = |rows: &[teardownd::core::teardown::Teardown]| {
                            rows[0].state == State::Failed
                        };
                        scene.until_rows("it fails", mins(10), failed).await;
                    } else {
                        scene
                            .until_call("the write", |call| {
                                call.method == method && concerns(call, 1)
                            })
                            .await;
                        assert!(scene.ask_about(Verb::Abort, 1).await.applied, "{what}");
                    }
                    scene.pass(secs(20)).await;
                    if again == Verb::Retry {
                        assert!(scene.ask_about(Verb::Retry, 1).await.applied, "{what}");
                    } else {
                        assert_eq!(scene.enqueue(&[1]).await, [EnqueueOutcome::Queued], "{what}");
                    }
                    scene.settle_within(hours(1)).await;
                    scene.assert_once_each();
                    assert_deleted(&scene.row(1).await);
                    assert_deleted(&scene.row(2).await);
                    let commands = scene.commands(1).await;
                    assert!(commands.iter().all(|c| !c.is_unsettled()), "{what}: {commands:#?}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_what_somebody_else_has_done_is_no_end() {
    let refusals = [
        (400, 800_061),
        (400, 800_012),
        (400, 800_096),
        (403, 2032),
        (400, 987_654),
        (404, 987_654),
        (400, 900_117),
    ];
    for (method, template, kind) in WRITES {
        for (status, code) in refusals {
            let what = format!("{method} {kind:?} {status} {code}");
            let mut scene = given([buy(kind).takes(secs(0))]).queued().await;
            let effect = Effect::fault(status, code, "Somebody was here first.").though_applied();
            scene.rule(Rule::new(When::First(1), effect).method(method).on(template));
            scene.start().await;
            scene.settle().await;
            scene.assert_careful();
            let row = scene.row(1).await;
            assert_eq!(row.state, State::Deleted, "{what}: {:?} {:?}", row.reason, row.reason_text);
            assert_eq!(row.attempts, 0, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_before_a_purchase_came_back_rules_out_no_route() {
    // Somebody else cancels it first, and it comes back while another one is still being cancelled.
    let first = buy(Kind::Reservation).takes(secs(0)).comes_back(ComesBack::After(secs(30)));
    let mut scene = given([first, buy(Kind::NewCommerce).takes(mins(2))]).queued().await;
    let refused = Effect::fault(400, 800_061, "Somebody was here first.").though_applied();
    scene.rule(Rule::new(When::First(1), refused).method("PATCH").on(Template::Order));
    scene.start().await;
    scene.settle().await;
    scene.assert_careful();
    assert_deleted(&scene.row(1).await);
    assert_eq!(sent(&scene, "PATCH", Template::Order), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_what_is_still_active_ends_after_a_look_at_it() {
    for (method, template, kind) in WRITES {
        let mut scene = given([buy(kind)]).queued().await;
        let effect = Effect::fault(400, 987_654, "This cannot be cancelled.");
        scene.rule(Rule::new(When::Always, effect).method(method).on(template));
        scene.start().await;
        scene.settle().await;
        let text = scene.assert_failed(1, Reason::ApiRefused).await;
        assert!(text.contains("987654"), "{text}");
        assert_eq!(scene.writes().len(), 1, "{method} {kind:?}");
        let refused = scene.writes()[0].number;
        let by_id = match template {
            Template::AzureCancel => Template::AzureEntitlement,
            other => other,
        };
        let looked = |call: &teardownd::simulator::Entry| {
            call.number > refused && call.method == "GET" && call.template == by_id
        };
        assert!(scene.calls().iter().any(looked), "{method} {kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_after_an_accepted_write_a_refusal_that_says_wait_is_no_reason_to_write() {
    for ((method, template, kind), code) in
        WRITES.into_iter().zip([800_060, 800_073, 900_278, 800_082])
    {
        let what = format!("{method} {kind:?} {code}");
        let mut scene = given([buy(kind)]).queued().await;
        // The first one is accepted and lost; what follows is "in progress" for two hours.
        scene.rule(Rule::new(When::Nth(1), Effect::InVain).method(method).on(template));
        let busy = When::Between(mins(1), hours(2));
        scene.rule(Rule::new(busy, wait(code)).method(method).on(template));
        scene.start().await;
        scene.pass(hours(2)).await;
        let row = scene.row(1).await;
        assert_eq!((row.state, row.attempts), (State::Polling, 0), "{what}");
        let sent = sent(&scene, method, template);
        // At most one for each twenty minutes.
        assert!((2..=6).contains(&sent), "{what}: {sent} writes");
        scene.settle().await;
        scene.assert_careful();
        assert_deleted(&scene.row(1).await);
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_after_an_accepted_delete_a_refusal_that_says_wait_is_no_reason_to_write() {
    for code in [800_060, 800_082, 900_278] {
        let given = given([]).api(|api| api.removal = (hours(3), hours(3)));
        let mut scene = given.queued().await;
        let busy = When::Between(mins(1), hours(2));
        scene.rule(Rule::new(busy, wait(code)).method("DELETE"));
        scene.start().await;
        scene.pass(hours(2)).await;
        let row = scene.row(1).await;
        assert_eq!((row.state, row.attempts), (State::Deleting, 0), "{code}: {row:?}");
        let sent = sent(&scene, "DELETE", Template::Customer);
        assert!((2..=6).contains(&sent), "{code}: {sent} DELETEs");
        scene.settle().await;
        scene.assert_careful();
        assert_deleted(&scene.row(1).await);
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_refusal_that_says_wait_has_a_backoff_of_its_own() {
    let delete = ("DELETE", Template::Customer, Kind::Reservation);
    let [order, licence, legacy, azure] = WRITES;
    // In two hours: minutes between them for what takes minutes, hours for what takes hours.
    let (minutes, long) = (16, 3);
    for ((method, template, kind), code, most) in [
        (order, 800_060, minutes),
        (licence, 900_278, long),
        (legacy, 800_082, minutes),
        (azure, 800_073, long),
        (delete, 800_060, minutes),
        (delete, 900_278, long),
    ] {
        let what = format!("{method} {kind:?} {code}");
        let mut scene = given([buy(kind)]).queued().await;
        let busy = When::Between(secs(0), hours(2));
        scene.rule(Rule::new(busy, wait(code)).method(method).on(template));
        scene.start().await;
        scene.pass(hours(2)).await;
        let row = scene.row(1).await;
        assert!(!row.state.is_terminal() && row.attempts == 0, "{what}: {row:?}");
        let sent = sent(&scene, method, template);
        assert!((2..=most).contains(&sent), "{what}: {sent} writes");
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_read_that_is_told_to_wait_spends_no_attempts() {
    for (template, code) in [
        (Template::Orders, 800_073),
        (Template::Subscriptions, 800_060),
        (Template::Entitlements, 800_014),
        (Template::Customer, 900_278),
    ] {
        let mut scene = given([buy(Kind::Reservation)]).queued().await;
        let busy = When::Between(secs(0), hours(1));
        let rule = Rule::new(busy, Effect::fault(403, code, "Under review."));
        scene.rule(rule.method("GET").on(template));
        scene.start().await;
        scene.pass(mins(59)).await;
        let row = scene.row(1).await;
        assert_eq!((row.state, row.attempts), (State::Queued, 0), "{template} {code}: {row:?}");
        assert_eq!(row.reason, Some(Reason::PurchasePending));
        let reads = scene.calls().iter().filter(|call| call.template == template).count();
        assert!(reads <= 130, "{template} {code}: {reads} reads in an hour");
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_delete_repeated_after_silence_and_answered_gone_is_ours() {
    for (status, code) in [(404, 60_003), (404, 1000), (403, 20_002), (400, 2011)] {
        let mut scene = given([]).api(|api| api.removal = (secs(5), secs(5))).queued().await;
        scene.rule(Rule::new(When::Nth(1), Effect::DropAfter).method("DELETE"));
        scene.rule(Rule::new(When::Always, Effect::fault(status, code, "Gone.")).method("DELETE"));
        scene.start().await;
        scene.settle().await;
        scene.assert_careful();
        assert_deleted(&scene.row(1).await);
        let commands = scene.commands(1).await;
        assert_eq!(commands.len(), 1, "{commands:#?}");
        assert_eq!(commands[0].outcome, Some(Outcome::Refused));
    }
}

#[tokio::test(start_paused = true)]
async fn a_customer_that_the_first_list_lacks_is_looked_for_once_more() {
    // Created and queued a moment ago: the list that others have read does not know it yet.
    let mut scene = Given::new([customer(1, []), customer(2, [])]).queued().await;
    let known = serde_json::json!({"totalCount": 1, "items": [{
        "id": tenant(1).to_string(), "relationshipToPartner": "reseller",
        "companyProfile": {"tenantId": tenant(1).to_string(), "domain": domain(1)},
    }]});
    let early = Effect::Answer {
        status: 200,
        headers: Vec::new(),
        body: known.to_string(),
        applied: false,
    };
    scene.rule(Rule::new(When::First(1), early).on(Template::Customers));
    scene.start().await;
    scene.settle().await;
    assert_deleted(&scene.row(1).await);
    assert_deleted(&scene.row(2).await);
}
