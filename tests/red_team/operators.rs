//! What an operator stopped stays stopped, whatever others ask for or type in beside it.

use futures::executor::block_on;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use teardownd::core::gates::{Guard, SafetyPolicy};
use teardownd::store::{ApproveRequest, ArmRequest, Filter, OperatorRequest};

use super::harness::*;
use super::{Written, attempts, buyer, written_since};

attempts! {
    red_team_an_arming_beside_a_hold => |without| {
        beside_a_hold(without, Reason::Arming, async |scene: &Scene| arm(scene).await)
    };
    red_team_an_approval_beside_a_hold => |without| {
        beside_a_hold(without, Reason::Approval, async |scene: &Scene| approve(scene).await)
    };
    red_team_sql_that_ends_a_guards_hold_beside_a_persons => |without| {
        beside_a_hold(without, Reason::Arming, async |scene: &Scene| {
            arm(scene).await;
            let sql = "UPDATE teardowns SET hold_code = NULL, hold_text = NULL, hold_by = NULL,
                           hold_since = NULL, next_attempt_at = NULL, reason = NULL";
            assert!(type_in(scene, sql).await.is_ok());
        })
    };
    red_team_a_typed_unprotect_and_an_arming_beside_a_hold => |without| {
        beside_a_hold(without, Reason::Arming, async |scene: &Scene| {
            arm(scene).await;
            let sql = "INSERT INTO operator_requests (verb, tenant_id)
                       SELECT 'unprotect', tenant_id FROM teardowns";
            assert!(type_in(scene, sql).await.is_ok());
        })
    };
    red_team_a_shorter_pause_over_an_endless_one => |without| {
        paused(without, async |scene: &Scene| {
            let pause = OperatorRequest {
                until: Some(scene.now() + mins(1)),
                ..OperatorRequest::new(Verb::Pause, account(scene), "somebody else")
            };
            assert!(!scene.store.request(&pause, scene.now()).await.unwrap()[0].applied);
        })
    };
    red_team_a_shorter_pause_typed_in_over_an_endless_one => |without| {
        paused(without, async |scene: &Scene| {
            let sql = "INSERT INTO operator_requests (verb, account, until)
                       VALUES ('pause', 'sandbox', '2026-11-22T10:30:00.000Z')";
            assert!(type_in(scene, sql).await.is_ok());
        })
    };
    red_team_a_resume_of_everything_over_a_pause_of_the_account => |without| {
        paused(without, async |scene: &Scene| {
            assert!(!scene.ask_everything(Verb::Resume).await[0].applied);
        })
    };
    red_team_sql_that_removes_the_entry_of_what_was_protected => |without| {
        stopped(without, async |scene: &Scene| {
            assert!(scene.ask_about(Verb::Protect, 1).await.applied);
            assert!(type_in(scene, "DELETE FROM protections").await.is_ok());
        })
    };
    red_team_sql_that_turns_an_answered_hold_into_a_release => |without| {
        stopped(without, async |scene: &Scene| {
            assert!(scene.ask_about(Verb::Hold, 1).await.applied);
            let sql = "UPDATE operator_requests SET verb = 'release', answered_at = NULL";
            assert!(type_in(scene, sql).await.is_err());
            assert!(type_in(scene, "DELETE FROM operator_requests").await.is_err());
        })
    };
}

/// Somebody says so beside the daemon that has begun.
async fn stopped(without: Option<Guard>, act: impl AsyncFnOnce(&Scene)) -> Written {
    let given = Given::new([buyer(1)]).safety(|safety| safety.skip = without);
    let scene = given.running().await;
    scene
        .until_call("the purchases are read", |call| call.template == Template::Subscriptions)
        .await;
    let before = scene.writes().len();
    act(&scene).await;
    scene.pass(hours(3)).await;
    written_since(&scene, before)
}

/// The account is paused without an end, and then somebody else acts.
async fn paused(without: Option<Guard>, act: impl AsyncFnOnce(&Scene)) -> Written {
    stopped(without, async |scene: &Scene| {
        assert!(scene.ask(Verb::Pause).await[0].applied);
        scene.pass(mins(10)).await;
        act(scene).await;
    })
    .await
}

/// A guard holds the tenant, an operator does so as well, and then somebody ends what the guard wants.
async fn beside_a_hold(
    without: Option<Guard>,
    guard: Reason,
    act: impl AsyncFnOnce(&Scene),
) -> Written {
    let given = Given::new([buyer(1)]).safety(|safety: &mut SafetyPolicy| {
        safety.require_arming = guard == Reason::Arming;
        safety.require_approval = guard == Reason::Approval;
        safety.skip = without;
    });
    let scene = given.running().await;
    scene.until_rows("the guard holds it", hours(1), |rows| rows[0].holds.stand()).await;
    scene.assert_held(1, guard).await;
    assert!(scene.ask_about(Verb::Hold, 1).await.applied);
    act(&scene).await;
    scene.pass(hours(3)).await;
    scene.assert_held(1, Reason::Operator).await;
    written_since(&scene, 0)
}

fn account(scene: &Scene) -> Filter {
    Filter { account: Some(scene.account.clone()), ..Filter::default() }
}

async fn arm(scene: &Scene) {
    let request = ArmRequest {
        account: scene.account.clone(),
        identity: Some(scene.given.safety.identity()),
        actor: "ann".to_owned(),
        reason: None,
    };
    assert!(scene.store.arm(&request, scene.now()).await.unwrap().applied);
}

async fn approve(scene: &Scene) {
    let request = ApproveRequest {
        filter: Filter { tenants: vec![tenant(1)], ..Filter::default() },
        actor: "ann".to_owned(),
        reason: None,
        plan: None,
    };
    assert!(scene.store.approve(&request, scene.now()).await.unwrap()[0].applied);
}

/// What somebody types into the database.
async fn type_in(scene: &Scene, sql: &'static str) -> Result<u64, String> {
    let path = scene.store.file().unwrap().to_owned();
    // At once, as every step of the store in a scenario.
    let done = block_on(async {
        let mut shell = SqliteConnectOptions::new().filename(path).connect().await?;
        sqlx::query(sql).execute(&mut shell).await
    });
    done.map(|done| done.rows_affected()).map_err(|error| error.to_string())
}
