//! People who say stop while a tenant is being read: what was decided before must not go out after.

use teardownd::core::gates::Guard;

use super::harness::*;
use super::{Written, attempts, buyer, written_since};

attempts! {
    red_team_a_hold_while_it_is_read, guard_mutation_hold = Hold => |without| {
        interrupted(without, async |scene: &Scene| {
            assert!(scene.ask_about(Verb::Hold, 1).await.applied);
        })
    };
    red_team_a_pause_while_it_is_read, guard_mutation_pause = Pause => |without| {
        interrupted(without, async |scene: &Scene| {
            scene.ask(Verb::Pause).await;
        })
    };
    red_team_a_pause_of_everything_while_it_is_read => |without| {
        interrupted(without, async |scene: &Scene| {
            scene.ask_everything(Verb::Pause).await;
        })
    };
    red_team_a_halt_while_it_is_read, guard_mutation_halt = Halt => |without| {
        interrupted(without, async |scene: &Scene| {
            scene.store.halt(&scene.account, "not_sandbox", "said so", scene.now()).await.unwrap();
        })
    };
    red_team_an_abort_while_it_is_read => |without| {
        interrupted(without, async |scene: &Scene| {
            assert!(scene.ask_about(Verb::Abort, 1).await.applied);
        })
    };
    red_team_a_protection_while_it_is_read => |without| {
        interrupted(without, async |scene: &Scene| {
            assert!(scene.ask_about(Verb::Protect, 1).await.applied);
        })
    };
    red_team_a_halt_is_not_lifted_by_resume => |without| {
        interrupted(without, async |scene: &Scene| {
            scene.store.halt(&scene.account, "not_sandbox", "said so", scene.now()).await.unwrap();
            scene.ask(Verb::Resume).await;
            scene.ask_everything(Verb::Resume).await;
        })
    };
}

/// Lets the daemon read what the tenant has bought, has somebody act before it can decide, and tells
/// what was written after that.
async fn interrupted(without: Option<Guard>, act: impl AsyncFnOnce(&Scene)) -> Written {
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
