//! Writes that somebody should have said yes to.

use teardownd::core::account::Identity;
use teardownd::core::gates::{Guard, SafetyPolicy, Share};
use teardownd::core::teardown::NewTeardown;
use teardownd::store::{ApproveRequest, ArmRequest, Filter};
use uuid::Uuid;

use super::harness::*;
use super::{Written, as_it_is, attempts, buyer, let_loose, one, written};

attempts! {
    red_team_an_account_that_nobody_armed, guard_mutation_arming = Arming => |without| {
        one(without, as_it_is, |safety: &mut SafetyPolicy| safety.require_arming = true, as_it_is)
    };
    red_team_an_account_armed_for_another_partner => |without| {
        armed_as(without, |identity| identity.partner_tenant = tenant(9))
    };
    red_team_an_account_armed_for_another_app => |without| {
        armed_as(without, |identity| identity.client_id = Uuid::from_u128(9))
    };
    red_team_an_account_armed_in_another_cloud => |without| {
        armed_as(without, |identity| identity.cloud = "china".to_owned())
    };
    red_team_a_teardown_that_nobody_approved, guard_mutation_approval = Approval => |without| {
        one(without, as_it_is, |safety: &mut SafetyPolicy| safety.require_approval = true, as_it_is)
    };
    red_team_an_approval_by_the_one_who_asked => |without| approved_by(without, "ops");
    red_team_an_approval_under_a_claimed_name => |without| approved_by(without, "boss (claimed by ops)");
    red_team_an_approval_from_before_the_retry => replayed_approval;
    red_team_a_purchase_that_came_after_the_approval, guard_mutation_plan_drift = PlanDrift => plan_drift;
    red_team_too_large_a_share_of_the_account, guard_mutation_large_batch = LargeBatch => |without| async move {
        let given = Given::new((1..=4).map(buyer)).safety(|safety| {
            safety.hold_batch_over = Share::new(0.5).unwrap();
            safety.skip = without;
        });
        let mut scene = given.set();
        scene.enqueue(&[1, 2, 3]).await;
        let_loose(&mut scene).await
    };
}

/// The account was armed, and then configured otherwise.
async fn armed_as(without: Option<Guard>, change: impl FnOnce(&mut Identity)) -> Written {
    let given = Given::new([buyer(1)]).safety(|safety| {
        safety.require_arming = true;
        safety.skip = without;
    });
    let mut scene = given.queued().await;
    let mut identity = scene.given.safety.identity();
    change(&mut identity);
    let request = ArmRequest {
        account: scene.account.clone(),
        identity: Some(identity),
        actor: "ann".to_owned(),
        reason: None,
    };
    assert!(scene.store.arm(&request, scene.now()).await.unwrap().applied);
    let_loose(&mut scene).await
}

/// Approvals are wanted, and the daemon has read the inventory and waits for one.
async fn awaiting_approval(without: Option<Guard>, by_other: bool) -> Scene {
    let given = Given::new([buyer(1)]).safety(|safety| {
        safety.require_approval = true;
        safety.approve_by_other = by_other;
        safety.skip = without;
    });
    let scene = given.running().await;
    scene.until_rows("it is held", hours(1), |rows| rows[0].holds.stand()).await;
    scene
}

async fn approve(scene: &Scene, actor: &str) {
    let request = ApproveRequest {
        filter: Filter { tenants: vec![tenant(1)], ..Filter::default() },
        actor: actor.to_owned(),
        reason: None,
        plan: None,
    };
    scene.store.approve(&request, scene.now()).await.unwrap();
}

async fn approved_by(without: Option<Guard>, actor: &str) -> Written {
    let scene = awaiting_approval(without, true).await;
    approve(&scene, actor).await;
    scene.pass(hours(3)).await;
    written(&scene)
}

/// It is approved, ends by abort before anything is written, and is queued anew.
async fn replayed_approval(without: Option<Guard>) -> Written {
    let mut scene = awaiting_approval(without, false).await;
    scene.stop().await;
    approve(&scene, "ann").await;
    assert!(scene.ask_about(Verb::Abort, 1).await.applied);
    scene.enqueue_rows(&[NewTeardown { again: true, ..scene.new_teardown(1) }]).await;
    let_loose(&mut scene).await
}

/// It is approved while nothing works on it, and then the customer buys something else.
async fn plan_drift(without: Option<Guard>) -> Written {
    let late = buy(Kind::NewCommerce).appears(Appears::After(hours(2)));
    let given = Given::new([customer(1, [buy(Kind::Reservation), late])]).safety(|safety| {
        safety.require_approval = true;
        safety.skip = without;
    });
    let mut scene = given.running().await;
    scene.until_rows("it is held", hours(1), |rows| rows[0].holds.stand()).await;
    scene.stop().await;
    approve(&scene, "ann").await;
    scene.pass(hours(2)).await;
    let_loose(&mut scene).await
}
