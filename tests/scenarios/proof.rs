//! What counts as deleted, and what does not.

use teardownd::core::teardown::Teardown;
use teardownd::store::EnqueueOutcome;

use crate::harness::*;

fn gateway_404() -> Effect {
    Effect::Answer {
        status: 404,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: r#"{"statusCode":404,"message":"Resource not found"}"#.to_owned(),
        applied: false,
    }
}

fn deletes(scene: &Scene) -> usize {
    scene.writes().iter().filter(|entry| is_delete(entry)).count()
}

#[tokio::test(start_paused = true)]
async fn invariant_8_a_204_alone_is_not_deleted() {
    let given = given([]).api(|api| api.removal = (mins(15), mins(15)));
    let scene = given.running().await;
    scene.until_call("an accepted DELETE", |e| is_delete(e) && e.status == Some(204)).await;
    scene.pass(mins(14)).await;
    let row = scene.row(1).await;
    assert_eq!((row.state, row.reason), (State::Deleting, Some(Reason::ProofPending)));
    assert_eq!(row.attempts, 0, "waiting is not failing");
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(deletes(&scene), 1);
}

#[tokio::test(start_paused = true)]
async fn invariant_8_each_documented_fault_that_says_gone_is_taken_as_that() {
    for gone in
        [(404, 60_003), (404, 1000), (404, 3000), (403, 20_002), (403, 900_159), (404, 900_159)]
    {
        let scene = given([]).api(|api| api.gone = vec![gone]).running().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_8_a_gateways_404_after_the_delete_is_not_gone() {
    let mut scene = given([]).queued().await;
    scene.rule(Rule::new(When::Between(secs(0), mins(1)), Effect::Delay(secs(0))).method("DELETE"));
    scene.start().await;
    scene.until_call("an accepted DELETE", is_delete).await;
    let until = scene.passed() + mins(5);
    let rule = Rule::new(When::Between(scene.passed(), until), gateway_404());
    scene.rule(rule.method("GET").on(Template::Customer));
    scene.pass(mins(4)).await;
    assert_eq!(scene.row(1).await.state, State::Deleting);
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_8_a_gateways_404_at_the_start_is_no_missing_customer() {
    let mut scene = given([]).queued().await;
    let rule = Rule::new(When::Between(secs(0), mins(5)), gateway_404());
    scene.rule(rule.method("GET").on(Template::Customer));
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_8_a_customer_that_was_never_seen_is_a_failure() {
    let scene = given([]).set();
    scene.enqueue(&[9]).await;
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    let text = scene.assert_failed(9, Reason::CustomerNotFound).await;
    assert!(text.contains(&tenant(9).to_string()), "{text}");
    assert_eq!(scene.writes().len(), 0);
    assert_eq!(scene.path(9).await, ["queued", "failed"]);
}

#[tokio::test(start_paused = true)]
async fn invariant_8_a_customer_that_went_without_our_delete_has_vanished() {
    // Somebody else deletes it while a cancellation is awaited, or while it is only looked at.
    for (state, dry) in [(State::Polling, false), (State::Deleting, true)] {
        let slow = (!dry).then(|| buy(Kind::Reservation).takes(mins(10)));
        let mut scene = given(slow).safety(|safety| safety.dry_run = dry).running().await;
        let there = move |rows: &[Teardown]| rows[0].state == state;
        scene.until_rows("the state", mins(1), there).await;
        scene.pass(secs(30)).await;
        let begun = scene.passed();
        // Read by id it is gone, and the list has lost it too.
        let gone = Effect::fault(404, 60_003, "The tenant was not found.");
        scene.rule(Rule::new(When::Always, gone).path_contains(tenant(1).to_string()));
        let empty = Effect::Answer {
            status: 200,
            headers: Vec::new(),
            body: r#"{"totalCount":0,"items":[]}"#.to_owned(),
            applied: false,
        };
        scene.rule(Rule::new(When::Always, empty).on(Template::Customers));
        if dry {
            // Nothing is read while the dry run keeps it from being deleted.
            scene.stop().await;
            scene.given.safety.dry_run = false;
            scene.start().await;
        }
        scene.settle().await;
        scene.assert_failed(1, Reason::CustomerVanished).await;
        assert!(scene.passed() < begun + mins(30), "it does not poll on for hours");
        assert_eq!(deletes(&scene), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_8_gone_by_id_but_still_listed_is_not_gone() {
    let given = given([]).api(|api| api.list_lag = mins(5));
    let scene = given.running().await;
    scene
        .until_call("a gone customer", |entry| {
            entry.method == "GET"
                && entry.template == Template::Customer
                && entry.status != Some(200)
        })
        .await;
    scene.pass(mins(4)).await;
    let row = scene.row(1).await;
    assert_eq!((row.state, row.reason), (State::Deleting, Some(Reason::ProofPending)));
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(deletes(&scene), 1);
}

#[tokio::test(start_paused = true)]
async fn invariant_8_a_customer_list_in_pages_that_shift_proves_nothing_until_two_agree() {
    // All of them are deleted at once, so that each list is cut while others go.
    let scene = given_each(12, &[]).api(|api| api.page_size = Some(3)).running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_8_a_delete_whose_answer_was_lost_is_proven_all_the_same() {
    for effect in [Effect::DropAfter, Effect::bad_gateway().though_applied()] {
        let mut scene = given([]).api(|api| api.removal = (secs(0), secs(0))).queued().await;
        scene.rule(Rule::new(When::Nth(1), effect).method("DELETE"));
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        assert_eq!(deletes(&scene), 1, "reading it shows that it worked");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_an_accepted_delete_is_remembered_across_deadline_retry_and_re_enqueue() {
    for again in [false, true] {
        let scene = given([])
            .api(|api| api.removal = (mins(15), mins(15)))
            .timing(|timing| timing.deadline = mins(10))
            .running()
            .await;
        scene.settle().await;
        scene.assert_failed(1, Reason::DeadlineExceeded).await;
        if again {
            assert_eq!(scene.enqueue(&[1]).await, [EnqueueOutcome::Queued]);
        } else {
            assert!(scene.ask_about(Verb::Retry, 1).await.applied);
        }
        scene.settle().await;
        scene.assert_once_each();
        assert_deleted(&scene.row(1).await);
        assert_eq!(deletes(&scene), 1, "what follows is the proof");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_an_unsettled_delete_is_remembered_across_a_failure() {
    for effect in [Effect::DropBefore, Effect::DropAfter] {
        let mut scene = given([])
            .api(|api| api.removal = (hours(2), hours(2)))
            .timing(|timing| timing.max_attempts = 4)
            .queued()
            .await;
        scene.rule(Rule::new(When::First(4), effect).method("DELETE"));
        scene.start().await;
        scene.settle().await;
        scene.assert_failed(1, Reason::AttemptsExhausted).await;
        assert_eq!(scene.enqueue(&[1]).await, [EnqueueOutcome::Queued]);
        scene.settle().await;
        scene.assert_careful();
        assert_deleted(&scene.row(1).await);
        let ids: std::collections::BTreeSet<_> =
            scene.writes()[..5].iter().map(|entry| entry.request_id.clone()).collect();
        assert_eq!(ids.len(), 1, "adopted under its own id");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_8_one_read_that_says_gone_settles_no_delete_without_an_answer() {
    let mut scene = given([]).queued().await;
    scene.rule(Rule::new(When::First(1), Effect::unavailable()).method("DELETE"));
    scene.start().await;
    scene.until_call("the DELETE", is_delete).await;
    let odd = Effect::fault(404, 4242, "Odd.");
    scene.rule(Rule::new(When::First(1), odd).method("GET").on(Template::Customer));
    scene.settle_within(mins(10)).await;
    scene.assert_careful();
    assert_deleted(&scene.row(1).await);
    let sent: Vec<_> = scene.writes().into_iter().map(|entry| entry.request_id).collect();
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(sent[0], sent[1], "the customer list had it: the same id goes out again");
}
