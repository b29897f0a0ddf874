//! Lists that cannot be trusted: never counted as empty, and nothing is deleted on them.

use teardownd::simulator::Entry;

use crate::harness::*;

/// How long the lists are damaged.
const DAMAGED: std::time::Duration = mins(3);

fn damages() -> Vec<Effect> {
    vec![
        Effect::NullItems,
        Effect::MissingItems,
        Effect::CodeInSuccess(400_072),
        Effect::TruncatedJson,
        Effect::CutOff,
        Effect::DuplicatePage,
        Effect::unavailable(),
        Effect::bad_gateway(),
        // The gateway's own 404 says nothing about the list.
        Effect::Answer {
            status: 404,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: r#"{"statusCode":404,"message":"Resource not found"}"#.to_owned(),
            applied: false,
        },
        // An empty answer is no empty list.
        Effect::Answer { status: 200, headers: Vec::new(), body: String::new(), applied: false },
        Effect::Answer { status: 204, headers: Vec::new(), body: String::new(), applied: false },
        // Neither is one of another shape.
        Effect::Answer { status: 200, headers: Vec::new(), body: "[]".to_owned(), applied: false },
        Effect::Answer { status: 200, headers: Vec::new(), body: "{}".to_owned(), applied: false },
        Effect::Answer {
            status: 206,
            headers: Vec::new(),
            body: r#"{"totalCount":0,"items":[]}"#.to_owned(),
            applied: false,
        },
    ]
}

/// Each list, and purchases that stand in it: two, so that it can have two pages.
fn lists() -> Vec<(Template, Vec<Purchase>)> {
    vec![
        (Template::Orders, vec![buy(Kind::Reservation), buy(Kind::PerpetualSoftware)]),
        (Template::Subscriptions, vec![buy(Kind::NewCommerce), buy(Kind::LegacyLicence)]),
        (Template::Entitlements, vec![buy(Kind::Reservation), buy(Kind::PerpetualSoftware)]),
        (Template::AzureEntitlements, vec![buy(Kind::AzurePlan).azure_subscriptions(2)]),
        (Template::Customers, vec![buy(Kind::Reservation)]),
    ]
}

#[tokio::test(start_paused = true)]
async fn invariant_6_a_damaged_list_is_never_counted_as_empty() {
    for (template, purchases) in lists() {
        for effect in damages() {
            let what = format!("{template} {effect:?}");
            let customers = [customer(1, purchases.clone()), customer(2, [])];
            let given = Given::new(customers).api(|api| api.page_size = Some(1));
            let mut scene = given.queued().await;
            let begun = scene.now();
            let rule = Rule::new(When::Between(secs(0), DAMAGED), effect.clone());
            scene.rule(rule.on(template));
            scene.start().await;
            scene.settle().await;
            scene.assert_all_deleted().await;
            // Customer 2 has nothing: of its list, too, nobody knows that it is empty. Only the Azure
            // subscriptions are no list of its own, as it has no Azure plan.
            let of_damaged = |entry: &&Entry| {
                entry.at < begun + DAMAGED
                    && (concerns(entry, 1) || template != Template::AzureEntitlements)
            };
            let early: Vec<Entry> = scene.writes().iter().filter(of_damaged).cloned().collect();
            assert!(early.is_empty(), "{what}: {early:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_6_a_list_that_is_damaged_just_before_the_delete_keeps_it_waiting() {
    // The purchases are cancelled by then; only the list that must prove it is not to be had.
    for (template, purchases) in lists() {
        for effect in damages() {
            let quick: Vec<Purchase> =
                purchases.iter().map(|purchase| purchase.clone().takes(secs(60))).collect();
            let scene = given(quick).api(|api| api.page_size = Some(1)).running().await;
            scene.until_call("a write", is_write).await;
            scene.pass(secs(10)).await;
            let begun = scene.now();
            let passed = scene.passed();
            let rule = Rule::new(When::Between(passed, passed + DAMAGED), effect.clone());
            scene.rule(rule.on(template));
            scene.settle().await;
            scene.assert_all_deleted().await;
            let deleted = scene.writes().into_iter().find(is_delete).unwrap();
            assert!(deleted.at >= begun + DAMAGED, "{template} {effect:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_6_a_list_in_pages_is_read_to_its_end() {
    let kinds = [Kind::Reservation, Kind::PerpetualSoftware, Kind::MixedOrder, Kind::NewCommerce];
    let mut bought: Vec<Purchase> = kinds.map(buy).into();
    bought.push(buy(Kind::AzurePlan).azure_subscriptions(3));
    for page_size in [1, 2, 3] {
        let given = Given::new([customer(1, bought.clone()), customer(2, []), customer(3, [])]);
        let scene = given.api(|api| api.page_size = Some(page_size)).running().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_6_refused_entitlements_leave_orders_and_subscriptions_to_decide() {
    let kinds = [Kind::Reservation, Kind::PerpetualSoftware, Kind::NewCommerce];
    let given = given(kinds.map(buy)).api(|api| api.entitlements_app_only = false);
    let scene = given.running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(scene.writes().len(), 4);
}
