//! Halts, and to whom they belong: in force before the store is touched, stored with the answer that
//! caused them, and kept by the partner whatever its account is called.

use std::time::Duration;

use teardownd::core::account::Proven;
use teardownd::core::command::Command;
use teardownd::core::fault::Class;
use teardownd::core::ids::AccountName;
use teardownd::core::settlement::Codes;
use teardownd::simulator::Entry;

use crate::harness::*;

/// An answer that only an operator has called a safety stop.
const TOLD: (u16, u32) = (400, 424_242);

/// The codes that halt an account, with the status they come with.
const SAFETY_STOPS: [(u16, u32); 3] = [(403, 800_019), (400, 900_127), TOLD];

fn refusal(status: u16, code: u32) -> Effect {
    Effect::fault(status, code, "Not in this environment.")
}

/// Tenants with two purchases each, the third PATCH of which halts the account.
async fn about_to_halt(status: u16, code: u32) -> Scene {
    let bought = [buy(Kind::Reservation), buy(Kind::NewCommerce)];
    let told = Codes::new([((TOLD.0, TOLD.1.to_string()), Class::SafetyStop)]);
    let scene = given_each(8, &bought).timing(|timing| timing.codes = told).queued().await;
    let halting = Rule::new(When::Nth(3), refusal(status, code)).method("PATCH");
    scene.rule(halting.on(Template::Order).on(Template::Subscription));
    scene
}

fn refused(entry: &Entry) -> bool {
    is_write(entry) && matches!(entry.status, Some(400 | 403))
}

async fn refused_commands(scene: &Scene) -> Vec<Command> {
    let mut found = Vec::new();
    for row in scene.rows().await {
        let commands = scene.store.commands(&row.account, row.tenant_id).await.unwrap();
        let halts = |command: &Command| {
            SAFETY_STOPS.iter().any(|(_, code)| command.ms_code == Some(code.to_string()))
        };
        found.extend(commands.into_iter().filter(halts));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_halt_is_in_force_while_the_store_cannot_be_written() {
    for (status, code) in SAFETY_STOPS {
        let mut scene = about_to_halt(status, code).await;
        scene.start().await;
        scene.until_call("the refusal", refused).await;
        // The answer is still on its way.
        scene.lock_store(secs(7));
        let answered = scene.writes().into_iter().find(refused).unwrap().at + LATENCY;
        scene.pass(secs(8)).await;
        assert!(scene.account_row().await.halted.is_some(), "stored as soon as it can be");
        let refused = refused_commands(&scene).await;
        assert_eq!(refused.len(), 1, "with its answer");
        assert!(!refused[0].is_unsettled());
        scene.pass(hours(2)).await;
        let late: Vec<Entry> =
            scene.writes().into_iter().filter(|entry| entry.at > answered).collect();
        assert!(late.is_empty(), "{late:#?}");

        scene.stop().await;
        scene.start().await;
        scene.pass(hours(1)).await;
        assert!(scene.writes().iter().all(|entry| entry.at <= answered));
        assert!(scene.ask(Verb::Unhalt).await[0].applied);
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_2_an_answer_that_halts_and_its_halt_are_stored_together_whenever_it_is_killed() {
    // The way of both is the same, so that one of them may be killed at every fourth step only.
    for ((status, code), stride) in [(SAFETY_STOPS[0], 4), (TOLD, 1)] {
        let mut scene = about_to_halt(status, code).await;
        scene.start().await;
        scene.until_call("the refusal", refused).await;
        let step = scene.steps();
        let (mut kept, mut kills) = (0, 0);
        for kill_at in (step..step + 24).step_by(stride) {
            kills += 1;
            let mut scene = about_to_halt(status, code).await;
            kept += usize::from(is_halted_when_killed(&mut scene, kill_at).await);
        }
        assert!(kept > 0 && kept < kills, "kills on both sides of the answer {code}: {kept}");
    }
}

/// Kills the daemon at this step of its store, and lets another one go on: whether there was a halt.
async fn is_halted_when_killed(scene: &mut Scene, kill_at: u64) -> bool {
    scene.start_until(Some(kill_at)).await;
    scene.until_call("the refusal", refused).await;
    scene.pass(secs(1)).await;
    let is_recorded = !refused_commands(scene).await.is_empty();
    let is_halted = scene.account_row().await.halted.is_some();
    assert_eq!(is_recorded, is_halted, "killed at step {kill_at}");
    scene.kill();
    let before = scene.writes().len();
    scene.start().await;
    scene.pass(hours(1)).await;
    if is_halted {
        assert_eq!(scene.writes().len(), before, "killed at step {kill_at}");
    }
    assert!(scene.ask(Verb::Unhalt).await[0].applied || !is_halted);
    scene.settle().await;
    scene.assert_all_deleted().await;
    is_halted
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_foreign_token_halts_while_the_store_cannot_be_written() {
    let bought = buy(Kind::Reservation).takes(hours(1));
    let given = given_each(4, &[bought]).api(|api| api.token_lifetime = mins(10));
    let mut scene = given.queued().await;
    scene.rule(Rule::new(When::Nth(2), Effect::ForeignTid).on(Template::TokenV2));
    scene.start().await;
    let first_is_past = scene.begun() + mins(1);
    let is_second = |e: &Entry| is_token(e) && e.at > first_is_past;
    scene.until_call("the second token", is_second).await;
    scene.lock_store(secs(7));
    let asked = scene.calls().into_iter().rfind(is_token).unwrap().at;
    scene.pass(mins(1)).await;
    assert!(scene.account_row().await.halted.is_some());
    scene.pass(hours(2)).await;
    assert!(scene.calls().iter().all(|entry| entry.at <= asked), "{:#?}", scene.calls().last());
}

// ---- to whom they belong ---------------------------------------------------------------------------

/// Customers of which the first `done` are gone, so that every first step is proven.
async fn proven(done: usize, count: usize) -> Scene {
    let scene = given_each(count, &[buy(Kind::Reservation)]).set();
    scene.enqueue(&(1..=done).collect::<Vec<_>>()).await;
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    scene.stop().await;
    let all = Proven { write: true, reservation: true, delete: true };
    assert_eq!(scene.account_row().await.proven, all);
    scene
}

/// No write is answered, so that a first step stays alone.
fn silence() -> Rule {
    Rule::new(When::Always, Effect::Delay(hours(1))).method("PATCH")
}

#[tokio::test(start_paused = true)]
async fn invariant_2_an_account_that_stands_for_another_partner_starts_unproven() {
    for change in 0..3 {
        let mut scene = proven(2, 10).await;
        let was = scene.given.safety.clone();
        match change {
            0 => scene.given.safety.cloud = "usgov".to_owned(),
            1 => scene.given.safety.client_id = tenant(77).as_uuid(),
            _ => {}
        }
        scene.enqueue(&(3..=10).collect::<Vec<_>>()).await;
        let before = scene.writes().len();
        scene.rule(silence());
        scene.start().await;
        scene.pass(secs(30)).await;
        let sent = scene.writes().len() - before;
        if change == 2 {
            assert!(sent > 1, "the same partner is as proven as before");
        } else {
            assert_eq!(sent, 1, "a canary, and nothing else");
            assert_eq!(scene.account_row().await.proven, Proven::default());
        }
        // Back again, what was proven counts.
        scene.stop().await;
        scene.given.safety = was;
        scene.start().await;
        scene.pass(secs(1)).await;
        assert!(scene.account_row().await.proven.write, "{change}");
        scene.simulator.clear_rules();
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_halt_stays_with_its_partner_whatever_the_account_is_called() {
    let mut scene = about_to_halt(403, 800_019).await;
    scene.start().await;
    scene.pass(mins(1)).await;
    scene.stop().await;
    assert!(scene.account_row().await.halted.is_some());
    let former = std::mem::replace(&mut scene.account, AccountName::new("renamed"));
    scene.enqueue(&[1, 2, 3]).await;
    let before = scene.calls().len();
    scene.start().await;
    scene.pass(hours(1)).await;
    assert_eq!(scene.calls().len(), before, "a halted account is left alone");
    let halted = scene.account_row().await.halted.expect("the halt has come with the partner");
    assert!(halted.reason.contains("Not in this environment."), "{halted:?}");
    // It is in one place, and lifted there.
    assert!(scene.ask(Verb::Unhalt).await[0].applied);
    scene.stop().await;
    scene.account = former;
    scene.start().await;
    scene.pass(secs(5)).await;
    assert_eq!(scene.account_row().await.halted, None);
    assert!(scene.calls().len() > before);
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_halt_of_one_partner_does_not_follow_the_name_to_another_and_waits_for_its_own()
 {
    let mut scene = about_to_halt(403, 800_019).await;
    scene.start().await;
    scene.pass(mins(1)).await;
    scene.stop().await;
    let was = scene.given.safety.clone();
    scene.given.safety.cloud = "usgov".to_owned();
    scene.start().await;
    scene.pass(secs(5)).await;
    assert_eq!(scene.account_row().await.halted, None, "another partner has done nothing");
    scene.stop().await;
    scene.given.safety = was;
    let before = scene.writes().len();
    scene.start().await;
    scene.pass(mins(10)).await;
    assert!(scene.account_row().await.halted.is_some(), "nobody has lifted it");
    assert_eq!(scene.writes().len(), before);
}

#[tokio::test(start_paused = true)]
async fn invariant_3_deletion_caps_count_every_name_that_the_partner_has_had() {
    let given = given_each(5, &[]).safety(|safety| safety.max_deletions_per_day = 2);
    let scene = given.set();
    scene.enqueue(&[1, 2]).await;
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    for name in ["second", "third"] {
        scene.stop().await;
        scene.account = AccountName::new(name);
        scene.enqueue(&[3, 4, 5]).await;
        scene.start().await;
        scene.pass(hours(10)).await;
        let deleted = scene.writes().iter().filter(|entry| is_delete(entry)).count();
        assert_eq!(deleted, 2, "under the name of {name}");
    }
    scene.pass(hours(5)).await;
    assert!(scene.writes().iter().filter(|entry| is_delete(entry)).count() > 2);
}

// ---- entitlements ----------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn invariant_7_one_customers_403_after_a_start_costs_nobody_the_cross_check() {
    let mut scene = given_each(6, &[buy(Kind::Reservation)]).queued().await;
    let refusal = Effect::fault(403, 424_242, "Not for this customer.");
    let rule = Rule::new(When::First(2), refusal).on(Template::Entitlements);
    scene.rule(rule.customer(tenant(1).as_uuid()));
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    for row in scene.rows().await {
        assert_eq!(row.cross_checked, Some(true), "{}", row.tenant_id);
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_may_not_read_entitlements_asks_again_daily_across_restarts() {
    let given = given_each(4, &[buy(Kind::NewCommerce)]);
    let mut scene = given.api(|api| api.entitlements_app_only = false).set();
    let asked = |scene: &Scene| {
        scene.calls().into_iter().filter(|e| e.template == Template::Entitlements).count()
    };
    for (n, waits, times) in [(1, 0, 1), (2, 10, 1), (3, 10, 1), (4, 10, 2)] {
        scene.pass(hours(waits)).await;
        scene.enqueue(&[n]).await;
        scene.start().await;
        scene.settle().await;
        scene.stop().await;
        assert_eq!(asked(&scene), times, "customer {n}");
    }
    scene.assert_all_deleted().await;
}

// ---- the first write -------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn invariant_14_writes_that_are_out_from_the_very_first_fail_nobody() {
    let out = hours(2);
    for effect in [Effect::unavailable(), Effect::DropBefore, Effect::fault(403, 2032, "The role.")]
    {
        let mut scene = given_each(6, &[buy(Kind::Reservation)]).queued().await;
        scene.rule(Rule::new(When::Between(Duration::ZERO, out), effect.clone()).method("PATCH"));
        scene.start().await;
        scene.pass(out - secs(1)).await;
        let rows = scene.rows().await;
        assert!(rows.iter().all(|row| row.state != State::Failed), "{effect:?}");
        let spent: u32 = rows.iter().map(|row| row.attempts).sum();
        assert!(spent <= 12, "{effect:?}: {spent} attempts");
        assert!(scene.account_row().await.trouble.is_some(), "{effect:?}");
        scene.settle_within(mins(20)).await;
        scene.assert_all_deleted().await;
    }
}
