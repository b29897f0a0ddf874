//! What follows when the best way to cancel something is refused, or is held to be impossible.

use serde_json::Value;
use teardownd::core::command::Action;
use teardownd::store::{Filter, OperatorRequest, RequestEffect};

use crate::harness::*;

/// Every write in order: where it went, and the answer.
fn answers(scene: &Scene) -> Vec<(Template, u16)> {
    scene.writes().iter().map(|entry| (entry.template, entry.status.unwrap())).collect()
}

/// Every command of the tenant in order: what it does, the status its body asks for, and the code
/// it was refused with.
async fn commands(scene: &Scene) -> Vec<(Action, Option<String>, Option<String>)> {
    let status = |body: String| {
        let body: Value = serde_json::from_str(&body).unwrap();
        body["status"].as_str().unwrap().to_owned()
    };
    let commands = scene.commands(1).await.into_iter();
    commands.map(|c| (c.intent.action, c.intent.body.map(status), c.ms_code)).collect()
}

/// A purchase of a sandbox order that is past the 60 days.
fn too_old(kind: Kind) -> Purchase {
    Purchase { age: hours(61 * 24), ..buy(kind) }
}

/// `retry --try-anyway`.
async fn retry_anyway(scene: &Scene) -> RequestEffect {
    let filter = Filter { tenants: vec![tenant(1)], latest_only: true, ..Filter::default() };
    let retry = OperatorRequest::new(Verb::Retry, filter, "ops");
    let retry = OperatorRequest { try_anyway: true, ..retry };
    scene.store.request(&retry, scene.now()).await.unwrap().remove(0)
}

// ---- another route -------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_software_order_that_is_refused_is_cancelled_once_through_its_subscription() {
    for (status, code) in [(400, 800_061), (400, 800_063), (403, 800_077)] {
        let scene = given([buy(Kind::SoftwareSubscription)]).queued().await;
        // A second PATCH of the order would be accepted, and show.
        let refusal = Effect::fault(status, code, "The order cannot be cancelled.");
        scene.rule(Rule::new(When::Nth(1), refusal).on(Template::Order).method("PATCH"));
        let mut scene = scene;
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        let expected =
            [(Template::Order, status), (Template::Subscription, 200), (Template::Customer, 204)];
        assert_eq!(answers(&scene), expected, "{code}");
        let subscription = &scene.simulator.purchases(tenant(1).as_uuid())[0].subscriptions[0];
        assert!(scene.writes()[1].path.ends_with(&subscription.id), "{:?}", scene.writes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_licence_that_cannot_be_deleted_any_more_is_suspended_once() {
    for code in [900_117, 900_213] {
        // Its day is still ahead, as far as can be read: only the refusal tells.
        let scene = given([buy(Kind::NewCommerce)]).queued().await;
        let refusal = Effect::fault(400, code, "The cancellation window has passed.");
        scene.rule(Rule::new(When::Nth(1), refusal).on(Template::Subscription).method("PATCH"));
        let mut scene = scene;
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        let asked = |status: &str| Some(status.to_owned());
        let expected = [
            (Action::DeleteSubscription, asked("deleted"), Some(code.to_string())),
            (Action::SuspendSubscription, asked("suspended"), None),
            (Action::DeleteCustomer, None, None),
        ];
        assert_eq!(commands(&scene).await, expected);
        let expected = [
            (Template::Subscription, 400),
            (Template::Subscription, 200),
            (Template::Customer, 204),
        ];
        assert_eq!(answers(&scene), expected, "{code}");
        assert_eq!(scene.purchases(1).await[0].record.status, "suspended");
    }
}

#[tokio::test(start_paused = true)]
async fn the_cancellation_follows_an_accepted_activation_after_the_longest_polling_interval() {
    let scene = given([buy(Kind::Marketplace).needs_activation()]).running().await;
    // Nothing was cancelled yet: what `reissue_after` is there for is not waited for.
    scene.settle_within(mins(2)).await;
    scene.assert_all_deleted().await;
    let expected = [
        (Template::Subscription, 400),
        (Template::Activate, 200),
        (Template::Subscription, 200),
        (Template::Customer, 204),
    ];
    assert_eq!(answers(&scene), expected);
    let writes = scene.writes();
    assert!(writes[2].at >= writes[1].at + scene.given.timing.polling_max, "{writes:?}");
}

// ---- held to be impossible -----------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn an_order_of_more_than_60_days_keeps_its_tenant_untouched_until_a_person_tries_anyway() {
    let scene = given([too_old(Kind::Reservation), buy(Kind::NewCommerce)]).running().await;
    scene.settle().await;
    let text = scene.assert_failed(1, Reason::BlockedUncancellable).await;
    assert!(text.contains("60 days"), "{text}");
    assert_eq!(answers(&scene), []);
    // A plain retry looks again, and no more.
    assert!(scene.ask_about(Verb::Retry, 1).await.applied);
    scene.settle().await;
    scene.assert_failed(1, Reason::BlockedUncancellable).await;
    assert_eq!(answers(&scene), []);

    assert!(retry_anyway(&scene).await.applied);
    scene.settle().await;
    scene.assert_all_deleted().await;
    let order = scene.simulator.purchases(tenant(1).as_uuid())[0].order_id.clone();
    assert!(scene.writes()[0].path.ends_with(&order), "{:?}", scene.writes());
    let expected =
        [(Template::Order, 200), (Template::Subscription, 200), (Template::Customer, 204)];
    assert_eq!(answers(&scene), expected);
}

#[tokio::test(start_paused = true)]
async fn an_order_of_more_than_60_days_that_is_refused_all_the_same_ends_with_what_the_api_says() {
    let scene = given([too_old(Kind::PerpetualSoftware)]).running().await;
    let refusal = Effect::fault(400, 800_061, "The order cannot be cancelled.");
    scene.rule(Rule::new(When::Always, refusal).on(Template::Order).method("PATCH"));
    scene.settle().await;
    scene.assert_failed(1, Reason::BlockedUncancellable).await;
    assert!(retry_anyway(&scene).await.applied);
    scene.settle().await;
    let text = scene.assert_failed(1, Reason::ApiRefused).await;
    assert!(text.contains("800061"), "{text}");
    // Once, and no DELETE after it.
    assert_eq!(answers(&scene), [(Template::Order, 400)]);
    scene.assert_careful();
}

#[tokio::test(start_paused = true)]
async fn a_savings_plan_tried_anyway_ends_with_the_refusal_and_without_a_delete() {
    let scene = given([buy(Kind::SavingsPlan)]).running().await;
    scene.settle().await;
    scene.assert_failed(1, Reason::BlockedUncancellable).await;
    assert_eq!(answers(&scene), []);

    assert!(retry_anyway(&scene).await.applied);
    scene.settle().await;
    let text = scene.assert_failed(1, Reason::ApiRefused).await;
    assert!(text.contains("900321"), "{text}");
    // The refusal is for good: asked once, whatever time passes.
    scene.pass(hours(5)).await;
    assert_eq!(answers(&scene), [(Template::Subscription, 403)]);
    // The word of the operator was for that run alone.
    assert!(scene.ask_about(Verb::Retry, 1).await.applied);
    scene.settle().await;
    scene.assert_failed(1, Reason::BlockedUncancellable).await;
    assert_eq!(answers(&scene), [(Template::Subscription, 403)]);
    scene.assert_careful();
}
