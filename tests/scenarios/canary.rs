//! The account's first steps go out alone, and what a sandbox cannot have done stops the account.

use teardownd::simulator::Entry;

use crate::harness::*;

/// A first step takes this long to be answered.
const SLOW: std::time::Duration = secs(7);

fn slow(template: Template, method: &'static str) -> Rule {
    Rule::new(When::Nth(1), Effect::Delay(SLOW)).on(template).method(method)
}

/// The writes that arrived while the first one of a kind was on its way.
fn beside_the_first(scene: &Scene, of_kind: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    let writes = scene.writes();
    let first = writes.iter().find(|entry| of_kind(entry)).expect("such a write").clone();
    let answered = first.at + LATENCY + SLOW;
    let beside = writes.into_iter().filter(|entry| entry.number != first.number);
    beside.filter(|entry| first.at <= entry.at && entry.at < answered).collect()
}

#[tokio::test(start_paused = true)]
async fn invariant_2_the_first_write_of_the_account_is_alone_until_accepted() {
    let scene = given_each(8, &[buy(Kind::NewCommerce), buy(Kind::LegacyLicence)]).queued().await;
    let mut scene = scene;
    scene.rule(slow(Template::Subscription, "PATCH"));
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(beside_the_first(&scene, |entry| entry.method == "PATCH").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn invariant_2_the_first_reservation_cancel_is_alone_until_accepted() {
    let customers = (1..=8).map(|n| {
        // Each odd tenant has a reservation too, and it shows a little later than the licences.
        let late = buy(Kind::Reservation).appears(Appears::After(secs(2)));
        let extra = (n % 2 == 1).then_some(late);
        let licences = [buy(Kind::NewCommerce), buy(Kind::LegacyLicence)];
        customer(n, licences.into_iter().chain(extra))
    });
    let mut scene = Given::new(customers).in_flight(3).queued().await;
    scene.rule(slow(Template::Order, "PATCH"));
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let beside = beside_the_first(&scene, |entry| entry.template == Template::Order);
    assert!(beside.is_empty(), "{beside:#?}");
}

#[tokio::test(start_paused = true)]
async fn invariant_2_the_first_delete_of_the_account_is_alone_until_accepted() {
    // The later tenants are still being cancelled when the first one can be deleted.
    let customers = (1..=8).map(|n| customer(n, [buy(Kind::NewCommerce).takes(secs(n as u64))]));
    let mut scene = Given::new(customers).in_flight(3).queued().await;
    scene.rule(slow(Template::Customer, "DELETE"));
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let beside = beside_the_first(&scene, is_delete);
    assert!(beside.is_empty(), "{beside:#?}");
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_first_step_starts_beside_nothing() {
    // Some reservation cancel or DELETE is always possible while the licences are being answered.
    let others = [buy(Kind::NewCommerce), buy(Kind::NewCommerce)];
    let late = buy(Kind::Reservation).appears(Appears::After(secs(1)));
    let with = |n, more: Option<Purchase>| customer(n, others.clone().into_iter().chain(more));
    let customers = [with(1, None), with(2, None), with(3, Some(late)), with(4, None)];
    let mut scene = Given::new(customers).queued().await;
    let licences = Rule::new(When::Every(2), Effect::Delay(SLOW)).on(Template::Subscription);
    scene.rule(licences.method("PATCH"));
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let writes = scene.writes();
    for first in [
        writes.iter().position(|entry| entry.template == Template::Order).unwrap(),
        writes.iter().position(is_delete).unwrap(),
    ] {
        let slow = |e: &&Entry| e.template == Template::Subscription && e.at < writes[first].at;
        // Each second one of them is answered late.
        for (_, licence) in writes.iter().filter(slow).enumerate().filter(|(n, _)| n % 2 == 1) {
            assert!(licence.at + LATENCY + SLOW <= writes[first].at, "{licence:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_2_first_writes_without_an_answer_go_one_at_a_time_and_keep_nobody_waiting() {
    let mut scene = given_each(6, &[buy(Kind::Reservation)]).queued().await;
    scene.rule(Rule::new(When::First(4), Effect::DropBefore).method("PATCH"));
    scene.start().await;
    scene.settle_within(mins(5)).await;
    scene.assert_all_deleted().await;
    let writes = scene.writes();
    let accepted = writes.iter().position(|entry| entry.status == Some(200)).unwrap();
    assert!(accepted >= 4, "{writes:#?}");
    for pair in writes[..=accepted].windows(2) {
        assert!(pair[0].at < pair[1].at, "{pair:#?}");
    }
    let tenants: std::collections::BTreeSet<_> =
        writes[..4].iter().filter_map(|entry| entry.tenant).collect();
    assert!(tenants.len() > 1, "one tenant's silence is not its account's: {writes:#?}");
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_first_step_without_an_answer_is_not_starved_by_the_others() {
    // One tenant is worked on at a time. The first has nothing that a deadline hangs on, and its
    // DELETE gets lost; the others have reservations, which are more urgent. The answers are so slow
    // that one of them is always due again.
    let others = (2..=10).map(|n| customer(n, [buy(Kind::Reservation)]));
    let given = Given::new([customer(1, [])].into_iter().chain(others)).in_flight(1);
    let mut scene = given.api(|api| api.latency = (secs(1), secs(1))).queued().await;
    scene.rule(Rule::new(When::First(3), Effect::DropBefore).method("DELETE"));
    scene.start().await;
    scene.settle_within(mins(10)).await;
    scene.assert_all_deleted().await;
}

/// Gives one tenant's write no answer until the rule is lifted.
fn no_answer(n: usize, method: &'static str) -> Rule {
    let carried_out = Rule::new(When::Always, Effect::DropAfter);
    carried_out.method(method).customer(tenant(n).as_uuid())
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_first_write_carried_out_unanswered_ends_and_is_taken_up_again() {
    for again in [Verb::Retry, Verb::Abort] {
        let given = given_each(3, &[buy(Kind::Reservation)]);
        let mut scene = given.timing(|timing| timing.max_attempts = 2).set();
        scene.enqueue(&[1]).await;
        scene.rule(no_answer(1, "PATCH"));
        scene.start().await;
        scene.until_call("the first write", is_write).await;
        scene.rule(Rule::new(When::Always, Effect::bad_gateway()).on(Template::Orders));
        if again == Verb::Abort {
            assert!(scene.ask_about(Verb::Abort, 1).await.applied);
        } else {
            let failed = |rows: &[teardownd::core::teardown::Teardown]| {
                rows.iter().all(|row| row.state == State::Failed)
            };
            scene.until_rows("it fails", hours(3), failed).await;
        }
        scene.simulator.clear_rules();
        if again == Verb::Abort {
            scene.enqueue(&[1]).await;
        } else {
            assert!(scene.ask_about(Verb::Retry, 1).await.applied);
        }
        scene.enqueue(&[2, 3]).await;
        scene.settle_within(hours(1)).await;
        for n in 1..=3 {
            assert_eq!(scene.row(n).await.state, State::Deleted, "{again:?} {n}");
        }
        scene.assert_careful();
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_held_first_write_keeps_nobody_waiting() {
    let mut scene = given_each(4, &[buy(Kind::Reservation)]).set();
    scene.enqueue(&[1]).await;
    scene.rule(no_answer(1, "PATCH"));
    scene.start().await;
    scene.until_call("the first write", is_write).await;
    assert!(scene.ask_about(Verb::Hold, 1).await.applied);
    scene.enqueue(&[2, 3, 4]).await;
    scene
        .until_rows("the others are gone", mins(10), |rows| {
            rows.iter().all(|row| row.tenant_id == tenant(1) || row.state == State::Deleted)
        })
        .await;
    scene.simulator.clear_rules();
    assert!(scene.ask_about(Verb::Release, 1).await.applied);
    scene.settle_within(mins(30)).await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_lost_first_delete_and_a_late_purchase_keep_nobody_waiting() {
    let late = buy(Kind::NewCommerce).appears(Appears::After(secs(20))).takes(mins(30));
    let customers = [customer(1, [late])].into_iter();
    let given = Given::new(customers.chain((2..=4).map(|n| customer(n, []))));
    let mut scene = given.set();
    scene.enqueue(&[1]).await;
    scene.rule(Rule::new(When::First(3), Effect::DropBefore).method("DELETE"));
    scene.start().await;
    scene.until_call("the first DELETE", is_delete).await;
    scene.enqueue(&[2, 3, 4]).await;
    scene
        .until_rows("the others are gone", mins(10), |rows| {
            rows.iter().all(|row| row.tenant_id == tenant(1) || row.state == State::Deleted)
        })
        .await;
    scene.settle_within(hours(2)).await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_2_forty_one_that_wait_for_a_refused_canary_leave_the_api_alone() {
    let mut scene = given_each(42, &[buy(Kind::Reservation)]).queued().await;
    scene.rule(Rule::new(When::Always, Effect::fault(503, 0, "busy")).method("PATCH"));
    scene.start().await;
    scene.until_call("the first write", is_write).await;
    let (begun, before) = (scene.passed(), scene.calls().len());
    scene.pass(mins(10)).await;
    let calls = scene.calls().len() - before;
    let seconds = (scene.passed() - begun).as_secs_f64();
    let rate = calls as f64 / seconds;
    assert!(rate <= 2.0, "{calls} requests in {seconds} s");
    assert!(scene.rows().await.iter().all(|row| !row.state.is_terminal()));
    scene.simulator.clear_rules();
    scene.settle_within(hours(1)).await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_2_first_steps_that_were_accepted_stay_proven_across_a_restart() {
    let mut scene = given([]).queued().await;
    scene.start().await;
    scene.settle().await;
    scene.stop().await;
    let proven = scene.account_row().await.proven;
    assert!(proven.write && proven.delete && !proven.reservation);
}

/// The three kinds of writes, by what has to be bought for them to be sent.
const WRITES: [(&str, Kind); 4] = [
    ("PATCH", Kind::Reservation),
    ("PATCH", Kind::NewCommerce),
    ("POST", Kind::AzurePlan),
    ("DELETE", Kind::Reservation),
];

#[tokio::test(start_paused = true)]
async fn invariant_2_800019_and_900127_halt_the_account_until_a_person_lifts_that() {
    for (status, code) in [(403, 800_019), (400, 900_127)] {
        for (method, kind) in WRITES {
            let mut scene = given_each(5, &[buy(kind)]).queued().await;
            let template = match method {
                "DELETE" => vec![Template::Customer],
                "POST" => vec![Template::AzureCancel],
                _ => vec![Template::Order, Template::Subscription],
            };
            let effect = Effect::fault(status, code, "Not in this environment.");
            let rule = Rule::new(When::Always, effect).method(method);
            scene.rule(template.into_iter().fold(rule, Rule::on));
            scene.start().await;
            scene.pass(hours(2)).await;

            let refused: Vec<Entry> =
                scene.writes().into_iter().filter(|e| e.status == Some(status)).collect();
            assert_eq!(refused.len(), 1, "{method} {kind:?} {code}");
            assert!(scene.writes().iter().all(|entry| entry.at <= refused[0].at));
            let halted = scene.account_row().await.halted.expect("halted");
            assert!(halted.reason.contains("Not in this environment."), "{halted:?}");
            for row in scene.rows().await {
                assert!(!row.state.is_terminal() && !row.holds.stand(), "{row:?}");
                assert_eq!(row.eligible_since, None, "its deadline does not run");
            }

            // A restart lifts nothing.
            scene.stop().await;
            let calls = scene.calls().len();
            scene.start().await;
            scene.pass(hours(2)).await;
            assert_eq!(scene.calls().len(), calls, "a halted account is left alone");

            scene.simulator.clear_rules();
            assert!(scene.ask(Verb::Unhalt).await[0].applied);
            scene.settle().await;
            scene.assert_all_deleted().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_2_a_code_that_halts_in_a_read_halts_as_well() {
    let mut scene = given_each(3, &[buy(Kind::Reservation)]).queued().await;
    let effect = Effect::fault(403, 800_019, "Not a sandbox.");
    scene.rule(Rule::new(When::Nth(2), effect).on(Template::Orders));
    scene.start().await;
    scene.pass(hours(1)).await;
    assert!(scene.account_row().await.halted.is_some());
    // Only what goes out in the very instant in which the answer comes cannot know of it.
    let calls = scene.calls();
    let answered = calls.iter().find(|call| call.status == Some(403)).unwrap().at + LATENCY;
    assert!(calls.iter().all(|call| call.at <= answered), "{calls:#?}");
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_foreign_token_halts_the_account_and_nothing_is_ever_written() {
    let foreign = uuid::Uuid::from_u128(0xdddd_0000_0000_4000_8000_0000_0000_0001);
    let scene = given_each(3, &[buy(Kind::Reservation)]).foreign_tokens(foreign).running().await;
    scene.pass(hours(1)).await;
    let halted = scene.account_row().await.halted.expect("halted");
    assert!(halted.reason.contains(&foreign.to_string()), "{halted:?}");
    assert!(scene.calls().iter().all(is_token), "the token was used: {:#?}", scene.calls());
    // Lifting the halt without removing its cause changes nothing.
    scene.ask(Verb::Unhalt).await;
    scene.pass(hours(1)).await;
    assert!(scene.account_row().await.halted.is_some());
    assert!(scene.calls().iter().all(is_token));
    scene.assert_careful();
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_token_that_is_foreign_only_at_its_renewal_is_never_used() {
    let lifetime = mins(10);
    let given = given([buy(Kind::Reservation).takes(hours(1))]);
    let mut scene = given.api(|api| api.token_lifetime = lifetime).queued().await;
    scene.rule(Rule::new(When::Nth(2), Effect::ForeignTid).on(Template::TokenV2));
    scene.start().await;
    scene.pass(hours(2)).await;
    let tokens: Vec<Entry> = scene.calls().into_iter().filter(is_token).collect();
    assert_eq!(tokens.len(), 2);
    assert!(scene.calls().iter().all(|entry| entry.at <= tokens[1].at), "{:#?}", scene.calls());
    assert!(scene.account_row().await.halted.is_some());
    scene.ask(Verb::Unhalt).await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_14_two_first_writes_without_an_answer_do_not_wait_for_each_other_for_ever() {
    // The first tenant's write never gets an answer, and it fails. The second tenant's write is then
    // the first one, and has no answer either when a person lets the first tenant try again.
    let mut scene = given_each(2, &[buy(Kind::Reservation)])
        .timing(|timing| timing.max_attempts = 5)
        .queued()
        .await;
    let silence = |n: usize| {
        Rule::new(When::Always, Effect::DropBefore).method("PATCH").customer(tenant(n).as_uuid())
    };
    scene.rule(silence(1)).rule(silence(2));
    scene.start().await;
    let failed = |rows: &[teardownd::core::teardown::Teardown]| {
        rows.iter().any(|row| row.state == State::Failed)
    };
    scene.until_rows("one fails", hours(1), failed).await;
    let first = if scene.row(1).await.state == State::Failed { 1 } else { 2 };
    let second = 3 - first;
    scene.until_call("the other one's write", |e| is_write(e) && concerns(e, second)).await;
    assert!(scene.ask_about(Verb::Retry, first).await.applied);
    scene.pass(secs(2)).await;
    scene.simulator.clear_rules();
    scene.settle_within(hours(1)).await;
    scene.assert_all_deleted().await;
}
