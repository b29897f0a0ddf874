//! Purchases that appear late, come back or hide, and a DELETE that is refused because of them.

use std::time::Duration;

use crate::harness::*;

fn cancelled_kinds() -> [Kind; 5] {
    use Kind::{LegacyLicence, Marketplace, NewCommerce, PerpetualSoftware, Reservation};
    [Reservation, PerpetualSoftware, NewCommerce, Marketplace, LegacyLicence]
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_purchase_that_appears_at_any_moment_is_cancelled_too() {
    // In steps of a quarter second through a run of about ten seconds: after the first inventory,
    // between the cancellations, and around the DELETE.
    for steps in 0..40 {
        for kind in [Kind::Reservation, Kind::NewCommerce, Kind::AzurePlan] {
            let late = buy(kind).appears(Appears::After(Duration::from_millis(250) * steps));
            let scene = given([buy(Kind::PerpetualSoftware), late]).running().await;
            scene.settle().await;
            scene.assert_all_deleted().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_purchase_that_appears_between_two_looks_is_cancelled_too() {
    for looks in 1..8 {
        for kind in cancelled_kinds() {
            let late = buy(kind).appears(Appears::AfterPolls(looks));
            let scene = given([buy(Kind::Reservation), late]).running().await;
            scene.settle().await;
            scene.assert_all_deleted().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_what_appears_after_the_inventory_before_the_delete_leads_back_to_cancelling() {
    // Nothing else was bought: the first complete look is the one before the DELETE.
    for kind in cancelled_kinds() {
        let scene = given([buy(kind).appears(Appears::AfterPolls(1))]).running().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        let path = scene.path(1).await;
        assert!(
            path.ends_with(&["orders_cancelling", "polling", "deleting", "deleted"]),
            "{path:?}"
        );
        assert_eq!(scene.applied(), 2, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_purchases_that_come_back_unnoticed_are_cancelled_once_more() {
    let mut comebacks: Vec<ComesBack> = (1..=4).map(ComesBack::AfterLooks).collect();
    comebacks
        .extend([0, 1, 30, 500, 2000, 6000].map(|ms| ComesBack::After(Duration::from_millis(ms))));
    for comes_back in comebacks {
        for kind in cancelled_kinds() {
            let other = buy(Kind::PerpetualSoftware).takes(secs(9));
            let scene = given([buy(kind).comes_back(comes_back), other]).running().await;
            scene.settle().await;
            // A cancellation for each time it was active, and not one more.
            scene.assert_careful();
            assert_deleted(&scene.row(1).await);
            let repeated = scene.repeated();
            assert!(repeated.len() <= 1, "{kind:?} {comes_back:?}: {repeated:?}");
            assert!(repeated.iter().all(|(_, times)| *times == 2), "{repeated:?}");
            let surely = match comes_back {
                ComesBack::AfterLooks(looks) => looks == 1,
                ComesBack::After(later) => later <= secs(2),
            };
            assert!(!repeated.is_empty() || !surely, "{kind:?} {comes_back:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_an_azure_subscription_that_the_customer_revives_is_cancelled_again() {
    for comes_back in [
        ComesBack::AfterLooks(1),
        ComesBack::AfterLooks(2),
        ComesBack::After(Duration::from_millis(100)),
        ComesBack::After(secs(3)),
    ] {
        let plan = buy(Kind::AzurePlan).azure_subscriptions(2).azure_comes_back(comes_back);
        let scene = given([plan, buy(Kind::Reservation).takes(secs(20))]).running().await;
        scene.settle().await;
        scene.assert_careful();
        assert_deleted(&scene.row(1).await);
        let repeated = scene.repeated();
        assert!(!repeated.is_empty(), "{comes_back:?}");
        for (resource, times) in repeated {
            assert!(resource.contains("azureEntitlements") && times == 2, "{resource} {times}");
        }
    }
}

/// What a refused DELETE may answer; which of them it really does is not known.
const REFUSALS: [(u16, Option<u32>); 4] =
    [(400, None), (400, Some(4242)), (403, Some(987_654)), (409, Some(2016))];

#[tokio::test(start_paused = true)]
async fn invariant_7_a_refused_delete_that_names_a_hidden_order_leads_to_its_cancellation() {
    for refusal in REFUSALS {
        for kind in [Kind::Reservation, Kind::PerpetualSoftware, Kind::MixedOrder] {
            let scene = given([buy(kind).hidden(), buy(Kind::NewCommerce)])
                .api(|api| api.blocked_delete = refusal)
                .running()
                .await;
            scene.settle().await;
            scene.assert_all_deleted().await;
            let path = scene.path(1).await;
            assert!(path.contains(&"deleting"), "{path:?}");
            assert!(path.ends_with(&["orders_cancelling", "polling", "deleting", "deleted"]));
            assert_eq!(scene.row(1).await.rounds, 1);
            let deletes: Vec<_> = scene.writes().into_iter().filter(is_delete).collect();
            assert_eq!(deletes.len(), 2, "the refused one and the one that worked");
            assert_ne!(deletes[0].request_id, deletes[1].request_id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_lists_that_lag_behind_are_overtaken_by_what_the_refusal_names() {
    // The lists are a quarter of an hour behind, as documented for new orders.
    for refusal in REFUSALS {
        let late = buy(Kind::Reservation).appears(Appears::After(secs(30)));
        let scene = given([late])
            .api(|api| {
                api.list_lag = mins(15);
                api.blocked_delete = refusal;
            })
            .set();
        scene.pass(mins(2)).await;
        scene.enqueue(&[1]).await;
        let mut scene = scene;
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

/// A customer with this, while the lists lag behind and polls come often.
fn lagging(bought: Purchase, lag: Duration) -> Given {
    given([bought]).api(|api| api.list_lag = lag).timing(|timing| timing.polling_max = secs(8))
}

async fn assert_torn_down(scene: &Scene) {
    scene.settle().await;
    scene.assert_careful();
    assert_deleted(&scene.row(1).await);
}

async fn torn_down_with_lag(bought: Purchase, lag: Duration) -> Scene {
    let scene = lagging(bought, lag).running().await;
    assert_torn_down(&scene).await;
    scene
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_subscription_that_came_back_is_found_by_the_order_that_a_refusal_names() {
    // The list shows it as suspended, although it is active again by then.
    let plan = buy(Kind::AzurePlan).takes(secs(1)).comes_back(ComesBack::After(secs(15)));
    let scene = torn_down_with_lag(plan, secs(30)).await;
    assert_eq!(scene.writes().iter().filter(|entry| is_delete(entry)).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_add_on_that_came_back_is_found_when_its_subscription_is_refused() {
    let bought = buy(Kind::NewCommerce).add_ons(2).comes_back(ComesBack::AfterLooks(1));
    let scene = torn_down_with_lag(bought.takes(secs(2)), secs(27)).await;
    let refused = scene.calls().into_iter().any(|call| is_write(&call) && call.status == Some(400));
    assert!(refused, "{:#?}", scene.writes());
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_list_that_shows_an_add_on_as_before_it_came_back_is_not_believed() {
    // The list shows as gone what is being cancelled again.
    for (takes, lag) in [(2, 4), (40, 4), (40, 60)] {
        for add_ons in [1, 2] {
            let bought = buy(Kind::NewCommerce).add_ons(add_ons).takes(secs(takes));
            let back = bought.comes_back(ComesBack::AfterLooks(1));
            let calls = torn_down_with_lag(back, secs(lag)).await.calls();
            let looks = calls.iter().filter(|call| call.template == Template::Entitlements).count();
            assert!(looks <= 16, "not every poll reads everything: {looks}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_failed_call_makes_no_list_believed_about_what_came_back() {
    let with_add_ons = buy(Kind::NewCommerce).add_ons(2).comes_back(ComesBack::AfterLooks(1));
    let software = buy(Kind::SoftwareSubscription).comes_back(ComesBack::After(secs(15)));
    let busy = Effect::fault(503, 0, "busy");
    for (bought, method, template, effect) in [
        (&with_add_ons, "GET", Template::Subscription, busy.clone()),
        (&with_add_ons, "PATCH", Template::Subscription, Effect::DropAfter),
        (&software, "GET", Template::Order, busy),
    ] {
        // One of them is the look at what came back, or its cancellation.
        for nth in 3..=6 {
            let mut scene = lagging(bought.clone().takes(secs(40)), secs(30)).queued().await;
            let fails = Rule::new(When::Nth(nth), effect.clone());
            scene.rule(fails.method(method).on(template));
            scene.start().await;
            assert_torn_down(&scene).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_hidden_subscription_that_a_refusal_names_is_not_forgotten() {
    for kind in [Kind::NewCommerce, Kind::SoftwareSubscription, Kind::AzurePlan] {
        let late = buy(kind).appears(Appears::After(secs(30)));
        let scene = given([late]).api(|api| api.list_lag = mins(15)).set();
        scene.pass(mins(2)).await;
        scene.enqueue(&[1]).await;
        let mut scene = scene;
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_delete_refused_with_nothing_active_fails_with_the_text() {
    let customer = customer(1, [buy(Kind::Reservation)]).cannot_be_deleted();
    let scene = Given::new([customer]).running().await;
    scene.settle().await;
    let text = scene.assert_failed(1, Reason::DeleteRefused).await;
    assert!(text.contains("The customer's address is not valid."), "{text}");
    scene.assert_once_each();
    assert_eq!(scene.writes().len(), 2);
    // Nothing more happens until a person has removed the cause.
    scene.pass(hours(5)).await;
    assert_eq!(scene.writes().len(), 2);
    assert!(scene.ask_about(Verb::Retry, 1).await.applied);
    scene.settle().await;
    scene.assert_failed(1, Reason::DeleteRefused).await;
    assert_eq!(scene.writes().len(), 3, "one more DELETE");
}

#[tokio::test(start_paused = true)]
async fn invariant_7_purchases_that_keep_coming_back_end_in_rounds_exhausted() {
    // Another one comes back each time, after so many looks at it. With one of these spacings that
    // is the last look before each DELETE, which is then refused.
    let mut exhausted = 0;
    for (first, spacing) in [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 4)] {
        let restless = (0..8).map(|n| {
            let comes_back = ComesBack::AfterLooks(first + n * spacing);
            buy(Kind::NewCommerce).takes(secs(0)).comes_back(comes_back)
        });
        let scene = given(restless).running().await;
        scene.settle().await;
        scene.assert_careful();
        if scene.row(1).await.state == State::Deleted {
            continue;
        }
        exhausted += 1;
        let text = scene.assert_failed(1, Reason::RoundsExhausted).await;
        assert!(text.contains("5 rounds") && text.contains("subscription:"), "{text}");
        let refused =
            scene.writes().iter().filter(|e| is_delete(e) && e.status == Some(400)).count();
        assert_eq!(refused, 6, "five rounds of cancelling, and the refusal after them");
    }
    assert!(exhausted > 0, "no spacing made DELETE be refused again and again");
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_subscription_that_no_list_shows_is_read_by_id_and_cancelled() {
    let scene = given([buy(Kind::NewCommerce).hidden()]).running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let methods: Vec<_> =
        scene.writes().into_iter().map(|e| (e.method, e.status.unwrap())).collect();
    let expected = [("DELETE", 400), ("PATCH", 200), ("DELETE", 204)];
    assert_eq!(methods, expected.map(|(method, status)| (method.to_owned(), status)));
}

#[tokio::test(start_paused = true)]
async fn a_savings_plan_needs_a_person_and_nothing_of_the_tenant_is_touched() {
    let kinds = [Kind::Reservation, Kind::SavingsPlan, Kind::NewCommerce];
    let scene = Given::new([customer(1, kinds.map(buy)), customer(2, [buy(Kind::Reservation)])])
        .running()
        .await;
    scene.settle().await;
    let text = scene.assert_failed(1, Reason::BlockedUncancellable).await;
    assert!(text.contains("savings plan"), "{text}");
    assert_eq!(scene.writes_of(1).len(), 0);
    assert_deleted(&scene.row(2).await);
    scene.assert_once_each();
}
