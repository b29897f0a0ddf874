//! Nothing goes wrong: what is stored, in which order the work is done, and how many calls it takes.

use teardownd::core::routes::Standing;

use crate::harness::*;

/// Every kind that the API can cancel, and what the daemon calls what it holds.
const KINDS: [(Kind, &[&str]); 9] = [
    (Kind::Reservation, &["reservation"]),
    (Kind::PerpetualSoftware, &["perpetual_software"]),
    (Kind::MixedOrder, &["reservation"]),
    (Kind::SoftwareSubscription, &["software_subscription"]),
    (Kind::NewCommerce, &["new_commerce_licence"]),
    (Kind::Marketplace, &["marketplace_saas"]),
    (Kind::AzurePlan, &["azure_plan", "azure_subscription"]),
    (Kind::LegacyLicence, &["legacy_subscription"]),
    (Kind::LegacyAzure, &["legacy_subscription"]),
];

async fn stored_kinds(scene: &Scene, n: usize) -> Vec<String> {
    let purchases = scene.purchases(n).await;
    for purchase in &purchases {
        assert_eq!(purchase.record.standing, Standing::Inactive, "{purchase:?}");
        assert!(purchase.inactive_at.is_some(), "{purchase:?}");
    }
    let mut kinds: Vec<String> =
        purchases.into_iter().map(|p| p.record.kind.as_str().to_owned()).collect();
    kinds.sort();
    kinds
}

#[tokio::test(start_paused = true)]
async fn invariant_8_each_kind_of_purchase_alone_ends_in_proven_deletion() {
    for (kind, stored) in KINDS {
        let scene = given([buy(kind)]).running().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        assert_eq!(stored_kinds(&scene, 1).await, stored, "{kind:?}");
        // One cancellation for each thing that is stored, and the DELETE.
        assert_eq!(scene.writes().len(), stored.len() + 1, "{kind:?}");
        let path = scene.path(1).await;
        let start = ["queued", "entitlements_fetched", "orders_cancelling", "polling"];
        assert_eq!(path[..4], start, "{kind:?}");
        assert_eq!(path[path.len() - 3..], ["polling", "deleting", "deleted"], "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_8_every_kind_in_one_tenant_ends_in_proven_deletion() {
    let scene = given(KINDS.map(|(kind, _)| buy(kind))).running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let mut all: Vec<String> =
        KINDS.iter().flat_map(|(_, stored)| *stored).map(ToString::to_string).collect();
    all.sort();
    assert_eq!(stored_kinds(&scene, 1).await, all);
    let history = scene.history(1).await;
    let (first, last) = (history.first().unwrap(), history.last().unwrap());
    assert_eq!((first.from, first.actor.as_str()), (None, "ops"));
    assert_eq!((last.to, last.actor.as_str()), (State::Deleted, "teardownd"));
    assert_eq!(last.reason, Some(Reason::ProvenGone));
    assert!(history.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_tenant_without_purchases_goes_straight_to_deleting() {
    let scene = given([]).running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(scene.path(1).await, ["queued", "entitlements_fetched", "deleting", "deleted"]);
    assert_eq!(scene.applied(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_sandbox_is_torn_down() {
    let scene = given_mix(75, 7).running().await;
    scene.settle_within(hours(1)).await;
    scene.assert_all_deleted().await;
    assert_eq!(scene.simulator.snapshot().customers_left, 0);
    assert_eq!(scene.simulator.journal().throttled(), 0);
}

/// The journal of a run with faults in it, as text.
fn journal_of_a_run() -> String {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let scene = given_mix(12, 3).api(|api| api.latency = (secs(0), secs(1))).queued().await;
        for effect in [Effect::DropAfter, Effect::unavailable(), Effect::TruncatedJson] {
            scene.rule(Rule::new(When::Chance(0.02), effect));
        }
        let mut scene = scene;
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        format!("{:#?}", scene.calls())
    })
}

#[test]
fn the_same_run_twice_has_the_same_journal() {
    let first = journal_of_a_run();
    let second = journal_of_a_run();
    let different = first.lines().zip(second.lines()).find(|(one, other)| one != other);
    assert_eq!(different, None);
    assert_eq!(first.len(), second.len());
}

/// Where the n-th write of a kind stands among all writes.
fn positions(scene: &Scene, wanted: impl Fn(&teardownd::simulator::Entry) -> bool) -> Vec<usize> {
    let writes = scene.writes();
    let found = writes.iter().enumerate().filter(|(_, entry)| wanted(entry));
    found.map(|(position, _)| position).collect()
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_tenants_reservation_is_cancelled_before_anything_else() {
    let kinds =
        [Kind::NewCommerce, Kind::LegacyLicence, Kind::PerpetualSoftware, Kind::Reservation];
    let scene = given(kinds.map(buy)).running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let reservation = &scene.simulator.purchases(tenant(1).as_uuid())[3];
    assert!(scene.writes()[0].path.ends_with(&reservation.order_id), "{:?}", scene.writes());
}

#[tokio::test(start_paused = true)]
async fn azure_subscriptions_are_inactive_before_their_plan_is_suspended() {
    let plan = buy(Kind::AzurePlan).azure_subscriptions(3).takes(secs(30));
    let scene = given([plan, buy(Kind::Reservation).takes(mins(3))]).running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let azure = positions(&scene, |entry| entry.template == Template::AzureCancel);
    let plan = positions(&scene, |entry| entry.template == Template::Subscription);
    assert_eq!((azure.len(), plan.len()), (3, 1));
    assert!(azure.iter().all(|position| *position < plan[0]));
    // A reservation keeps a plan from being suspended (create-azure-plan), and so is waited for.
    let writes = scene.writes();
    assert!(writes[plan[0]].at >= writes[0].at + mins(3));
    assert!(writes.iter().all(|entry| entry.status.is_some_and(|status| status < 300)));
}

#[tokio::test(start_paused = true)]
async fn add_ons_are_cancelled_before_their_parents() {
    for kind in [Kind::NewCommerce, Kind::LegacyLicence] {
        let scene = given([buy(kind).add_ons(3)]).running().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        let bought = scene.simulator.purchases(tenant(1).as_uuid());
        let parent = bought[0].subscriptions[0].id.to_lowercase();
        let own = positions(&scene, |entry| entry.path.to_lowercase().ends_with(&parent));
        // Three add-ons, their parent, the customer; none was refused on the way.
        assert_eq!(own, [3], "{kind:?}");
        assert!(scene.writes().iter().all(|entry| entry.status.is_some_and(|s| s < 300)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_licence_whose_window_has_passed_is_suspended() {
    let scene = given([buy(Kind::NewCommerce).window_passed()]).running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(scene.purchases(1).await[0].record.status, "suspended");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_was_never_activated_is_activated_first() {
    let scene = given([buy(Kind::Marketplace).needs_activation()]).running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let statuses: Vec<_> = scene.writes().iter().map(|e| (e.template, e.status.unwrap())).collect();
    assert_eq!(
        statuses,
        [
            (Template::Subscription, 400),
            (Template::Activate, 200),
            (Template::Subscription, 200),
            (Template::Customer, 204),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pending_order_is_waited_for_and_then_cancelled_once() {
    let scene = given([buy(Kind::Reservation).pending_for(mins(30))]).running().await;
    scene.pass(mins(29)).await;
    let row = scene.row(1).await;
    assert_eq!((row.reason, row.attempts), (Some(Reason::PurchasePending), 0));
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(scene.writes().len(), 2);
}
