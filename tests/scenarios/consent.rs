//! What people must have said yes to, and when writes may go out at all.

use std::time::Duration;

use jiff::tz::TimeZone;
use teardownd::core::gates::Share;
use teardownd::core::teardown::Status;
use teardownd::core::window::Window;
use teardownd::store::{ApproveRequest, ArmRequest, Filter, RequestEffect};

use crate::harness::*;

/// The scenarios begin on a Sunday at 10:00 UTC.
fn window(text: &str) -> Window {
    Window::parse(text, |_| Some(TimeZone::UTC)).unwrap()
}

async fn arm(scene: &Scene) -> RequestEffect {
    let request = ArmRequest {
        account: scene.account.clone(),
        identity: Some(scene.given.safety.identity()),
        actor: "ann".to_owned(),
        reason: None,
    };
    scene.store.arm(&request, scene.now()).await.unwrap()
}

async fn approve(scene: &Scene, numbers: &[usize], actor: &str) -> Vec<RequestEffect> {
    let tenants = numbers.iter().map(|n| tenant(*n)).collect();
    let request = ApproveRequest {
        filter: Filter { tenants, latest_only: true, ..Filter::default() },
        actor: actor.to_owned(),
        reason: None,
        plan: None,
    };
    scene.store.approve(&request, scene.now()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn invariant_3_outside_its_windows_an_account_is_only_read() {
    let mut given = given_each(3, &[buy(Kind::Reservation), buy(Kind::NewCommerce)]);
    given.safety.windows = vec![window("Sun 12:00-13:00 UTC")];
    let mut scene = given.queued().await;
    scene.start().await;
    scene.pass(mins(119)).await;
    assert_eq!(scene.writes().len(), 0);
    assert!(!scene.calls().is_empty(), "reads go on");
    for row in scene.rows().await {
        assert_eq!((row.reason, row.status(scene.now())), (Some(Reason::Window), Status::Waiting));
        assert!(!row.holds.stand() && row.eligible_since.is_none(), "{row:?}");
    }
    scene.settle().await;
    scene.assert_all_deleted().await;
    let opens: jiff::Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let closes: jiff::Timestamp = "2026-11-22T13:00:00Z".parse().unwrap();
    assert!(scene.writes().iter().all(|write| opens <= write.at && write.at < closes));
}

#[tokio::test(start_paused = true)]
async fn invariant_3_no_write_starts_after_a_window_has_closed() {
    // It closes so many seconds into a run of about ten.
    for closes in [1, 3, 4, 5, 7] {
        let mut given = given_mix(10, 5);
        given.safety.windows = vec![window("Sun 09:00-10:01 UTC")];
        let mut scene = given.queued().await;
        scene.pass(Duration::from_secs(60 - closes)).await;
        scene.start().await;
        scene.pass(hours(1)).await;
        let end: jiff::Timestamp = "2026-11-22T10:01:00Z".parse().unwrap();
        let late: Vec<_> = scene.writes().into_iter().filter(|w| w.at > end + LATENCY).collect();
        assert!(late.is_empty(), "{late:#?}");
        let open = scene.rows().await.into_iter().filter(|row| !row.state.is_terminal());
        assert!(open.clone().count() > 0, "the run is longer than the window");
        assert!(open.clone().all(|row| row.reason != Some(Reason::DeadlineExceeded)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_does_not_run_outside_the_windows() {
    let mut given = given([buy(Kind::Reservation)]).timing(|timing| timing.deadline = hours(1));
    given.safety.windows = vec![window("Mon 12:00-13:00 UTC")];
    let scene = given.running().await;
    scene.settle_within(hours(48)).await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_to_an_account_that_is_not_armed() {
    let mut given = given_each(3, &[buy(Kind::Reservation)]);
    given.safety.require_arming = true;
    let mut scene = given.queued().await;
    scene.start().await;
    scene.pass(mins(10)).await;
    assert_eq!(scene.writes().len(), 0);
    for n in 1..=3 {
        scene.assert_held(n, Reason::Arming).await;
    }
    // A person lets them go without arming: held again.
    assert!(scene.ask_about(Verb::Release, 1).await.applied);
    scene.pass(mins(10)).await;
    scene.assert_held(1, Reason::Arming).await;
    assert_eq!(scene.writes().len(), 0);
    assert!(arm(&scene).await.applied);
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_3_an_operators_hold_beside_a_guards_survives_what_ends_the_guards() {
    let mut given = given([buy(Kind::Reservation)]);
    given.safety.require_arming = true;
    given.safety.require_approval = true;
    let mut scene = given.queued().await;
    scene.start().await;
    scene.pass(mins(10)).await;
    scene.assert_held(1, Reason::Arming).await;
    assert!(scene.ask_about(Verb::Hold, 1).await.applied, "a guard's hold is no operator's");
    let again = scene.ask_about(Verb::Hold, 1).await;
    assert!(!again.applied && again.text.contains("held already by"), "{again:?}");
    // Somebody else arms the account and approves the teardown.
    assert!(arm(&scene).await.applied);
    approve(&scene, &[1], "ann").await;
    scene.pass(hours(3)).await;
    assert_eq!(scene.writes().len(), 0);
    scene.assert_held(1, Reason::Operator).await;
    assert!(scene.ask_about(Verb::Release, 1).await.applied);
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn another_partner_tenant_cloud_or_client_id_is_not_armed() {
    for change in 0..2 {
        let mut given = given([buy(Kind::Reservation)]);
        given.safety.require_arming = true;
        let mut scene = given.queued().await;
        arm(&scene).await;
        match change {
            0 => scene.given.safety.cloud = "china".to_owned(),
            _ => scene.given.safety.client_id = uuid::Uuid::from_u128(77),
        }
        scene.start().await;
        scene.pass(hours(1)).await;
        scene.assert_held(1, Reason::Arming).await;
        assert_eq!(scene.writes().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_before_somebody_else_approves() {
    let mut given = given_each(2, &[buy(Kind::Reservation), buy(Kind::Marketplace)]);
    given.safety.require_approval = true;
    given.safety.approve_by_other = true;
    let mut scene = given.queued().await;
    scene.start().await;
    scene.pass(hours(1)).await;
    for own in ["ops", "eve (claimed by ops)"] {
        approve(&scene, &[1, 2], own).await;
        scene.pass(mins(10)).await;
        assert_eq!(scene.writes().len(), 0, "{own}");
        scene.assert_held(1, Reason::Approval).await;
    }
    assert!(approve(&scene, &[1], "ann").await[0].applied);
    scene.pass(hours(1)).await;
    assert_deleted(&scene.row(1).await);
    scene.assert_held(2, Reason::Approval).await;
    assert_eq!(scene.writes_of(2).len(), 0);
    assert!(approve(&scene, &[2], "ann").await[0].applied);
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn what_appears_after_an_approval_is_not_cancelled_before_another() {
    for kind in [Kind::Reservation, Kind::NewCommerce, Kind::AzurePlan] {
        let late = buy(kind).appears(Appears::After(hours(2)));
        let mut given = given([buy(Kind::PerpetualSoftware), late]);
        given.safety.require_approval = true;
        given.safety.windows = vec![window("Sun 14:00-20:00 UTC")];
        let mut scene = given.queued().await;
        scene.start().await;
        scene.pass(hours(1)).await;
        assert!(approve(&scene, &[1], "ann").await[0].applied);
        scene.pass(hours(5)).await;
        let text = scene.assert_held(1, Reason::PlanDrift).await;
        assert!(text.contains("not in what ann approved"), "{text}");
        assert_eq!(scene.writes().len(), 0, "{kind:?}");
        assert!(approve(&scene, &[1], "ann").await[0].applied);
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_a_share_waits_whole() {
    let customers = (1..=10).map(|n| customer(n, [buy(Kind::Reservation)]));
    let mut given = Given::new(customers);
    given.safety.hold_batch_over = Share::new(0.5).unwrap();
    let mut scene = given.set();
    scene.enqueue(&[1, 2, 3, 4, 5, 6]).await;
    scene.start().await;
    scene.pass(hours(1)).await;
    assert_eq!(scene.writes().len(), 0, "six of ten are more than half");
    for n in 1..=6 {
        scene.assert_held(n, Reason::LargeBatch).await;
    }
    assert!(approve(&scene, &[1, 2, 3, 4, 5, 6], "ann").await.iter().all(|e| e.applied));
    scene.settle().await;
    scene.assert_all_deleted().await;
    // Half of them is not more than half.
    let customers = (1..=10).map(|n| customer(n, [buy(Kind::Reservation)]));
    let mut given = Given::new(customers);
    given.safety.hold_batch_over = Share::new(0.5).unwrap();
    let mut scene = given.set();
    scene.enqueue(&[1, 2, 3, 4]).await;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_holds_back_what_was_committed_before_it_too() {
    let mut scene = given_each(2, &[buy(Kind::Reservation)]).queued().await;
    // Killed somewhere between the commit of the first command and its send.
    let mut committed = false;
    for steps in 10..200 {
        scene.start_until(Some(steps)).await;
        scene.pass(mins(1)).await;
        scene.kill();
        committed = scene.commands(1).await.iter().any(|c| !c.was_sent() && c.is_unsettled());
        if committed || !scene.writes().is_empty() {
            break;
        }
    }
    assert!(committed && scene.writes().is_empty(), "no step is between commit and send");
    scene.given.safety.dry_run = true;
    scene.start().await;
    scene.pass(hours(1)).await;
    assert_eq!(scene.writes().len(), 0);
    scene.stop().await;
    scene.given.safety.dry_run = false;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}
