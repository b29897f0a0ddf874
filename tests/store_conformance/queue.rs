//! Enqueue, list and history.

use teardownd::core::ids::AccountName;
use teardownd::core::reason::Reason;
use teardownd::core::teardown::{NewTeardown, State, Teardown};
use teardownd::store::{EnqueueOutcome, Filter, StoreError, Verb};

use super::{Backend, Bench, at, default_account, delete, only, start, tenant, wanted};

pub(crate) async fn an_enqueue_answers_each_row(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let rows = [wanted(1), wanted(2), wanted(1)];
    let first = bench.store.enqueue(&rows, start()).await.unwrap();
    assert_eq!(
        first.iter().map(|(_, outcome)| *outcome).collect::<Vec<_>>(),
        [EnqueueOutcome::Queued, EnqueueOutcome::Queued, EnqueueOutcome::AlreadyActive]
    );
    assert_eq!(first[0].0, first[2].0, "the active row is named");
    assert!(first[0].0 < first[1].0, "ids follow the input");

    // Another account's customer is another teardown.
    let elsewhere = NewTeardown { account: AccountName::new("Other"), ..wanted(1) };
    let second = bench.store.enqueue(&[elsewhere, wanted(2)], at(1)).await.unwrap();
    assert_eq!(second[0].1, EnqueueOutcome::Queued);
    assert_eq!(second[1], (first[1].0, EnqueueOutcome::AlreadyActive));

    // Deleted before: only `again` queues it anew.
    let claimed = bench.claim(2, at(2)).await.remove(0);
    bench.walk(&claimed, &[State::EntitlementsFetched], at(2)).await;
    bench.command(&claimed, State::Deleting, vec![delete(1)], at(2)).await;
    bench.send_accepted(&claimed, 1, at(2)).await;
    bench.walk(&claimed, &[State::Deleted], at(2)).await;
    let third = bench.store.enqueue(&[wanted(1)], at(3)).await.unwrap();
    assert_eq!(third, [(first[0].0, EnqueueOutcome::AlreadyDeleted)]);
    let again = NewTeardown { again: true, ..wanted(1) };
    let fourth = bench.store.enqueue(&[wanted(1), again, wanted(1)], at(4)).await.unwrap();
    assert_eq!(
        fourth.iter().map(|(_, outcome)| *outcome).collect::<Vec<_>>(),
        [EnqueueOutcome::AlreadyDeleted, EnqueueOutcome::Queued, EnqueueOutcome::AlreadyActive]
    );
}

pub(crate) async fn an_enqueue_is_all_or_nothing(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    for name in ["no such name", "*", "", "é"] {
        let bad = NewTeardown { account: AccountName::new(name), ..wanted(2) };
        let refused = bench.store.enqueue(&[wanted(1), bad], start()).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    }
    assert_eq!(bench.store.list(&Filter::default()).await.unwrap(), []);
    assert_eq!(bench.store.history(None, tenant(1)).await.unwrap(), []);
}

pub(crate) async fn invariant_1_no_named_domain_is_dropped_for_an_active_row(
    backend: &dyn Backend,
) {
    let bench = Bench::new(backend).await;
    let of = |number, domain: &str| NewTeardown {
        expected_domain: Some(domain.to_owned()),
        ..wanted(number)
    };
    bench.store.enqueue(&[of(1, "a.lab.example"), wanted(2)], start()).await.unwrap();
    for (number, stands) in [(1, "the domain a.lab.example"), (2, "no domain")] {
        let call = [wanted(3), of(number, "b.lab.example")];
        match bench.store.enqueue(&call, at(1)).await {
            Err(StoreError::OtherDomain(refused)) => {
                let [(id, guard, text)] = &refused[..] else { panic!("{refused:?}") };
                assert_eq!((*id, *guard), (tenant(number), Reason::DomainMismatch));
                assert!(text.contains(stands) && text.contains("abort it"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.store.list(&only(3)).await.unwrap(), [], "all or nothing");
    // The same name, and none, ask for nothing that the row does not do.
    let same = [of(1, "A.Lab.Example."), wanted(1), wanted(2)];
    for (_, outcome) in bench.store.enqueue(&same, at(2)).await.unwrap() {
        assert_eq!(outcome, EnqueueOutcome::AlreadyActive);
    }
    // What has ended stands in nobody's way.
    assert!(bench.ask(Verb::Abort, 1, at(3)).await.applied);
    let anew = bench.store.enqueue(&[of(1, "b.lab.example")], at(4)).await.unwrap();
    assert_eq!(anew[0].1, EnqueueOutcome::Queued);
}

pub(crate) async fn an_enqueue_starts_the_history(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let row = NewTeardown {
        note: Some("end of course".to_owned()),
        batch: Some("may".to_owned()),
        priority: 3,
        expected_domain: Some("t.onmicrosoft.com".to_owned()),
        not_before: Some(at(60)),
        ..wanted(1)
    };
    let (id, _) = bench.store.enqueue(&[row], start()).await.unwrap()[0];
    let stored = bench.row(1).await;
    assert_eq!((stored.id, stored.state, stored.priority), (id, State::Queued, 3));
    assert_eq!(stored.batch.as_deref(), Some("may"));
    assert_eq!(stored.note.as_deref(), Some("end of course"));
    assert_eq!(stored.expected_domain.as_deref(), Some("t.onmicrosoft.com"));
    assert_eq!((stored.created_at, stored.not_before), (start(), Some(at(60))));
    assert_eq!(stored.eligible_since, Some(start()));
    let history = bench.store.history(Some(&default_account()), tenant(1)).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].from, history[0].to), (None, State::Queued));
    assert_eq!((history[0].actor.as_str(), history[0].at), ("ann", start()));
    assert_eq!(history[0].text.as_deref(), Some("end of course"));
    let elsewhere = AccountName::new("other");
    assert_eq!(bench.store.history(Some(&elsewhere), tenant(1)).await.unwrap(), []);
}

pub(crate) async fn lists_are_filtered(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1, 2], start()).await;
    let batch = NewTeardown { batch: Some("may".to_owned()), ..wanted(3) };
    let other = NewTeardown { account: AccountName::new("other"), ..wanted(1) };
    bench.store.enqueue(&[batch, other], at(1)).await.unwrap();
    assert!(bench.ask(Verb::Abort, 2, at(2)).await.applied);
    bench.queue([2], at(3)).await;

    let base = Filter::default;
    // Numbered in the order in which they were queued: ids may have gaps.
    let mut all: Vec<_> =
        bench.store.list(&base()).await.unwrap().iter().map(|row| row.id).collect();
    all.sort_unstable();
    let numbers = async |filter: Filter| {
        let rows = bench.store.list(&filter).await.unwrap();
        let number = |row: &Teardown| all.iter().position(|id| *id == row.id).unwrap() + 1;
        rows.iter().map(number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(base()).await, [5, 4, 3, 2, 1], "newest first");
    assert_eq!(numbers(Filter { latest_only: true, ..base() }).await, [5, 4, 3, 1]);
    assert_eq!(numbers(only(2)).await, [5, 2]);
    let newest_aborted = Filter { latest_only: true, states: vec![State::Aborted], ..base() };
    assert!(numbers(newest_aborted).await.is_empty());
    assert_eq!(numbers(Filter { states: vec![State::Aborted], ..base() }).await, [2]);
    assert_eq!(numbers(Filter { account: Some(default_account()), ..only(1) }).await, [1]);
    assert_eq!(numbers(Filter { batch: Some("may".to_owned()), ..base() }).await, [3]);
    let ids = bench.store.list(&only(1)).await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(numbers(Filter { ids, ..base() }).await, [4, 1]);
}
