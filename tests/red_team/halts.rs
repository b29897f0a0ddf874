//! Answers that should stop an account, and what is tried to have them forgotten: a store that cannot
//! be written, a kill, another name, another partner.

use teardownd::core::ids::AccountName;

use super::harness::*;
use super::{attempts, buyer, let_loose, written, written_since};

attempts! {
    red_team_a_write_while_the_halt_cannot_be_stored => |_: Option<super::Guard>| async {
        let mut scene = halting().await;
        scene.start().await;
        scene.until_call("the refusal", refused).await;
        scene.lock_store(mins(5));
        let sent = written(&scene).len();
        // Those that were on the wire beside it.
        scene.pass(LATENCY).await;
        let sent = sent.max(written(&scene).len());
        scene.pass(hours(3)).await;
        written_since(&scene, sent)
    };
    red_team_a_kill_right_after_the_answer_that_halts => |_: Option<super::Guard>| async {
        let mut scene = halting().await;
        scene.start().await;
        scene.until_call("the refusal", refused).await;
        scene.pass(LATENCY * 2).await;
        scene.kill();
        let sent = written(&scene).len();
        let_loose(&mut scene).await;
        written_since(&scene, sent)
    };
    red_team_a_halted_account_under_another_name => |_: Option<super::Guard>| async {
        let mut scene = halted().await;
        scene.account = AccountName::new("innocent");
        scene.enqueue(&[1, 2, 3]).await;
        let sent = written(&scene).len();
        let_loose(&mut scene).await;
        written_since(&scene, sent)
    };
    red_team_a_halted_account_there_and_back => |_: Option<super::Guard>| async {
        let mut scene = halted().await;
        let was = scene.given.safety.clone();
        scene.given.safety.cloud = "usgov".to_owned();
        // Nothing of it is lifted there.
        scene.given.safety.dry_run = true;
        scene.start().await;
        scene.pass(mins(1)).await;
        scene.stop().await;
        scene.given.safety = was;
        let sent = written(&scene).len();
        let_loose(&mut scene).await;
        written_since(&scene, sent)
    };
    red_team_a_halt_in_a_read_beside_reads_that_fail => |_: Option<super::Guard>| async {
        let mut scene = Given::new((1..=3).map(buyer)).queued().await;
        let halts = Effect::fault(403, 800_019, "Not a sandbox.");
        scene.rule(Rule::new(When::First(3), halts).on(Template::Subscriptions));
        scene.rule(Rule::new(When::First(3), Effect::unavailable()).on(Template::Orders));
        let_loose(&mut scene).await
    };
    red_team_a_second_write_after_a_foreign_token => |_: Option<super::Guard>| async {
        let mut scene = Given::new((1..=3).map(buyer)).queued().await;
        scene.rule(Rule::new(When::Always, Effect::ForeignTid).on(Template::TokenV2));
        scene.rule(Rule::new(When::Always, Effect::fault(401, 800_001, "Revoked.")).method("PATCH"));
        let_loose(&mut scene).await
    };
    red_team_more_deletions_than_the_cap_under_another_name => |_: Option<super::Guard>| async {
        let given = Given::new((1..=4).map(|n| customer(n, [])));
        let scene = given.safety(|safety| safety.max_deletions_per_day = 1).set();
        scene.enqueue(&[1]).await;
        let mut scene = scene;
        scene.start().await;
        scene.settle().await;
        scene.stop().await;
        scene.account = AccountName::new("second");
        scene.enqueue(&[2, 3, 4]).await;
        let sent = written(&scene).len();
        let_loose(&mut scene).await;
        written_since(&scene, sent)
    };
}

fn refused(entry: &teardownd::simulator::Entry) -> bool {
    is_write(entry) && entry.status == Some(403)
}

/// An account whose second PATCH is answered with 800019.
async fn halting() -> Scene {
    let scene = Given::new((1..=5).map(buyer)).queued().await;
    let halts = Effect::fault(403, 800_019, "Not a sandbox.");
    scene.rule(Rule::new(When::Nth(2), halts).method("PATCH"));
    scene
}

/// The same, halted, and its daemon stopped.
async fn halted() -> Scene {
    let mut scene = halting().await;
    scene.start().await;
    scene.pass(mins(2)).await;
    assert!(scene.account_row().await.halted.is_some());
    scene.stop().await;
    scene
}
