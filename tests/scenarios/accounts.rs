//! Several accounts in one daemon: the trouble of one is not the other's. And the stops of one account,
//! which end by themselves or by the person who may end them.

use std::time::Duration;

use teardownd::core::account::AccountState;
use teardownd::core::ids::AccountName;
use teardownd::store::{Filter, OperatorRequest};

use crate::harness::*;

/// How many customers each account has.
const EACH: usize = 24;

fn healthy() -> Given {
    given_mix(EACH, 4).in_flight(2 * EACH)
}

/// How long the scenario's own account needs until all of it is deleted.
async fn time_of_own(scene: &Scene) -> Duration {
    let own = scene.account.clone();
    let begun = scene.passed();
    let ended = |rows: &[teardownd::core::teardown::Teardown]| {
        rows.iter().filter(|row| row.account == own).all(|row| row.state == State::Deleted)
    };
    scene.until_rows("the healthy account is done", PATIENCE, ended).await;
    scene.assert_careful();
    scene.passed() - begun
}

async fn time_beside(neighbour: Neighbour, trouble: impl FnOnce(&Scene)) -> Duration {
    let mut scene = healthy().beside(neighbour).queued().await;
    scene.enqueue_neighbours().await;
    trouble(&scene);
    scene.start().await;
    time_of_own(&scene).await
}

#[tokio::test(start_paused = true)]
async fn invariant_14_the_trouble_of_one_account_never_slows_another() {
    let alone = time_of_own(&healthy().running().await).await;
    let limit = alone.mul_f64(1.2);
    let neighbour = || Neighbour::of(EACH);
    let each = |scene: &Scene, effect: Effect| {
        for n in neighbour().numbers() {
            let rule = Rule::new(When::Always, effect.clone());
            scene.rule(rule.customer(tenant(n).as_uuid()));
        }
    };
    let cases = [
        ("well", time_beside(neighbour(), |_| {}).await),
        ("cut off", time_beside(neighbour().cut(secs(0)..hours(2)), |_| {}).await),
        ("cut off in the middle", time_beside(neighbour().cut(secs(3)..hours(2)), |_| {}).await),
        (
            "refused",
            time_beside(neighbour(), |scene| {
                scene.simulator.change_app(NEIGHBOUR_PARTNER, |app| {
                    app.expire_secrets();
                });
            })
            .await,
        ),
        ("throttled", time_beside(neighbour(), |s| each(s, Effect::Throttle(mins(30)))).await),
        ("slow", time_beside(neighbour(), |s| each(s, Effect::Delay(secs(29)))).await),
        ("silent", time_beside(neighbour(), |s| each(s, Effect::Delay(mins(3)))).await),
        ("failing", time_beside(neighbour(), |s| each(s, Effect::unavailable())).await),
    ];
    for (neighbour, time) in cases {
        assert!(time <= limit, "beside one that is {neighbour}: {time:?}, alone {alone:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_both_accounts_finish_when_the_outage_of_one_is_over() {
    let neighbour = Neighbour::of(6).cut(secs(2)..hours(2));
    let mut scene = given_mix(6, 9).beside(neighbour).queued().await;
    scene.enqueue_neighbours().await;
    scene.start().await;
    scene.pass(hours(1)).await;
    let state = async |name: &AccountName| {
        scene.store.account(name).await.unwrap().condition(scene.now()).state
    };
    assert_eq!(state(&AccountName::new(NEIGHBOUR)).await, AccountState::Unreachable);
    assert_eq!(state(&scene.account).await, AccountState::Ok);
    scene.settle_within(hours(1) + mins(10)).await;
    scene.assert_all_deleted().await;
    assert!(scene.rows().await.iter().all(|row| row.attempts == 0), "no attempt is spent");
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_halt_is_lifted_by_unhalt_alone_and_then_all_goes_on_at_once() {
    let mut scene = given_each(4, &[buy(Kind::Reservation)]).queued().await;
    let refusal = Effect::fault(403, 800_019, "The operation is allowed in a sandbox only.");
    scene.rule(Rule::new(When::Nth(1), refusal).method("PATCH"));
    scene.start().await;
    scene.pass(mins(10)).await;
    let condition = scene.account_row().await.condition(scene.now());
    assert_eq!((condition.state, condition.next_check), (AccountState::Halted, None));
    assert!(condition.since.is_some() && condition.reason.unwrap().contains("800019"));

    // Neither a resume of the account nor one of everything lifts it.
    assert!(!scene.ask(Verb::Resume).await[0].applied);
    scene.ask_everything(Verb::Resume).await;
    let calls = scene.calls().len();
    scene.pass(mins(10)).await;
    assert_eq!(scene.calls().len(), calls, "nothing goes out while it is halted");
    assert_eq!(scene.account_row().await.condition(scene.now()).state, AccountState::Halted);

    assert!(scene.ask(Verb::Unhalt).await[0].applied);
    scene.pass(secs(6)).await;
    let busy: std::collections::BTreeSet<_> =
        scene.calls()[calls..].iter().filter_map(|entry| entry.tenant).collect();
    assert_eq!(busy.len(), 4, "every tenant is looked at within one look of the scheduler");
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_3_a_pause_until_a_time_ends_by_itself() {
    let scene = given_each(2, &[buy(Kind::Reservation)]).queued().await;
    let until = scene.now() + mins(40);
    let filter = Filter { account: Some(scene.account.clone()), ..Filter::default() };
    let request =
        OperatorRequest { until: Some(until), ..OperatorRequest::new(Verb::Pause, filter, "ops") };
    assert!(scene.store.request(&request, scene.now()).await.unwrap()[0].applied);
    let mut scene = scene;
    scene.start().await;
    scene.pass(mins(39)).await;
    let condition = scene.account_row().await.condition(scene.now());
    assert_eq!((condition.state, condition.next_check), (AccountState::Paused, Some(until)));
    scene.settle().await;
    scene.assert_all_deleted().await;
    let calls = scene.calls();
    assert!(calls.iter().all(|entry| entry.at >= until), "{:?}", calls[0]);
    assert!(calls[0].at < until + secs(6), "{:?}", calls[0]);
}
