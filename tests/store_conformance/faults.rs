//! Failed calls: what is kept of them, how many, and for how long.

use teardownd::core::fault::FailedCall;
use teardownd::core::machine::Transition;
use teardownd::core::reason::Reason;
use teardownd::core::teardown::State;
use teardownd::store::{Claimed, Commit, FAULTS_KEPT, Verb};
use uuid::Uuid;

use super::{Backend, Bench, at, cancel, default_account, policy, seen, start, step, tenant};

fn failed(number: u32) -> FailedCall {
    FailedCall {
        at: at(number.into()),
        method: "GET".to_owned(),
        route: "/v1/customers/{customer}/orders".to_owned(),
        request_id: Some(Uuid::from_u128(u128::from(number))),
        correlation_id: Some(Uuid::from_u128(7)),
        http_status: Some(503),
        ms_code: Some("900192".to_owned()),
        text: format!("number {number}, it's \"down\""),
        answer_ids: None,
        body: None,
    }
}

fn lost() -> FailedCall {
    FailedCall {
        request_id: None,
        correlation_id: None,
        http_status: None,
        ms_code: None,
        answer_ids: Some("MS-RequestId r, MS-CV c".to_owned()),
        body: Some("{\"code\":4242}".to_owned()),
        ..failed(3)
    }
}

async fn store(bench: &Bench, claimed: &Claimed, reason: Reason, failures: Vec<FailedCall>) {
    let facts = seen(claimed.teardown.tenant_id, at(1));
    let commit = Commit {
        failures,
        transition: Transition { reason: Some(reason), ..Transition::to(State::Queued) },
        ..step(claimed, State::Queued, &facts, &bench.policy)
    };
    bench.store.commit(commit, at(1)).await.unwrap();
}

pub(crate) async fn failures_are_stored_with_the_reason_they_led_to(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1, 2], start()).await;
    let rows = bench.claim(2, start()).await;
    store(&bench, &rows[0], Reason::RetryBackoff, vec![failed(1), failed(2)]).await;
    store(&bench, &rows[0], Reason::ApiRefused, vec![lost()]).await;
    store(&bench, &rows[0], Reason::ApiRefused, Vec::new()).await;
    let faults = bench.store.faults(&default_account(), tenant(1)).await.unwrap();
    let stored: Vec<_> = faults.iter().map(|f| (f.reason.unwrap(), f.call.clone())).collect();
    let expected = [
        (Reason::RetryBackoff, failed(1)),
        (Reason::RetryBackoff, failed(2)),
        (Reason::ApiRefused, lost()),
    ];
    assert_eq!(stored, expected);
    assert!(faults.iter().all(|fault| fault.teardown_id == rows[0].teardown.id));
    assert_eq!(bench.store.faults(&default_account(), tenant(2)).await.unwrap(), []);

    // A guard that holds the row is the reason then.
    let facts = seen(tenant(2), at(1));
    let mut strict = policy();
    strict.allow_domains.clear();
    bench.walk(&rows[1], &[State::EntitlementsFetched], at(1)).await;
    let commit = Commit {
        failures: vec![failed(4)],
        commands: vec![cancel(1, "a")],
        ..step(&rows[1], State::OrdersCancelling, &facts, &strict)
    };
    bench.store.commit(commit, at(1)).await.unwrap();
    let faults = bench.store.faults(&default_account(), tenant(2)).await.unwrap();
    assert_eq!(faults[0].reason, Some(Reason::DomainNotAllowed));
}

pub(crate) async fn failures_are_bounded_and_go_with_their_teardown(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1, 2], start()).await;
    let rows = bench.claim(2, start()).await;
    store(&bench, &rows[1], Reason::RetryBackoff, vec![failed(1)]).await;
    let many = u32::try_from(FAULTS_KEPT).unwrap() + 5;
    for number in 0..many {
        store(&bench, &rows[0], Reason::RetryBackoff, vec![failed(number)]).await;
    }
    let kept = bench.store.faults(&default_account(), tenant(1)).await.unwrap();
    let ids: Vec<_> = kept.iter().map(|fault| fault.call.request_id.unwrap().as_u128()).collect();
    assert_eq!(ids, (5..u128::from(many)).collect::<Vec<_>>(), "the newest");
    store(&bench, &rows[0], Reason::RetryBackoff, (0..many).map(failed).collect()).await;
    let kept = bench.store.faults(&default_account(), tenant(1)).await.unwrap();
    assert_eq!(kept.len(), FAULTS_KEPT, "also in one commit");

    bench.walk(&rows[0], &[State::Failed], at(10)).await;
    bench.store.purge(at(50), start()).await.unwrap();
    assert_eq!(bench.store.faults(&default_account(), tenant(1)).await.unwrap(), []);
    let other = bench.store.faults(&default_account(), tenant(2)).await.unwrap();
    assert_eq!(other.len(), 1, "another teardown keeps its own");
}

pub(crate) async fn the_cross_check_is_kept_until_a_retry(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let claimed = bench.claim_one(start()).await;
    let facts = seen(tenant(1), at(1));
    for (read, kept) in [(None, None), (Some(false), Some(false)), (None, Some(false))] {
        let commit =
            Commit { cross_checked: read, ..step(&claimed, State::Queued, &facts, &bench.policy) };
        let done = bench.store.commit(commit, at(1)).await.unwrap();
        assert_eq!(done.teardown.cross_checked, kept);
        assert_eq!(bench.row(1).await.cross_checked, kept);
    }
    bench.walk(&claimed, &[State::Failed], at(2)).await;
    bench.ask(Verb::Retry, 1, at(3)).await;
    assert_eq!(bench.row(1).await.cross_checked, None);
}
