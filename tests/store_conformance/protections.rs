//! Lasting deny entries.

use teardownd::core::command::Outcome;
use teardownd::core::domain::DomainPattern;
use teardownd::core::gates::Verdict;
use teardownd::core::ids::AccountName;
use teardownd::core::reason::Reason;
use teardownd::core::teardown::{NewTeardown, State};
use teardownd::store::{Commit, Filter, OperatorRequest, RequestEffect, StoreError, Verb};

use super::{
    Backend, Bench, at, cancel, command_id, default_account, delete, only, request, seen, start,
    step, tenant, wanted,
};

fn domain(verb: Verb, pattern: &str) -> OperatorRequest {
    let domains = vec![DomainPattern::parse(pattern).unwrap()];
    OperatorRequest { domains, ..request(verb, Filter::default()) }
}

async fn ask(bench: &Bench, asked: &OperatorRequest, seconds: i64) -> Vec<RequestEffect> {
    bench.store.request(asked, at(seconds)).await.unwrap()
}

/// The tenants that an enqueue is refused for, each with its guard.
async fn refused(bench: &Bench, rows: &[NewTeardown]) -> Vec<(u32, Reason)> {
    match bench.store.enqueue(rows, at(50)).await {
        Err(StoreError::Protected(refused)) => {
            let number = |id| (1..100).find(|number| tenant(*number) == id).unwrap();
            refused.into_iter().map(|(id, guard, _)| (number(id), guard)).collect()
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn invariant_1_a_protected_tenant_is_refused_at_enqueue(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    ask(&bench, &request(Verb::Protect, only(1)), 1).await;
    ask(&bench, &domain(Verb::Protect, "*.prod.example"), 2).await;
    let of = |number, domain: &str| NewTeardown {
        expected_domain: Some(domain.to_owned()),
        ..wanted(number)
    };
    let rows = [wanted(1), wanted(2), of(3, "A.Prod.Example."), of(4, "a.nonprod.example")];
    let guards = [(1, Reason::ProtectedTenant), (3, Reason::ProtectedDomain)];
    assert_eq!(refused(&bench, &rows).await, guards);
    assert_eq!(bench.store.list(&Filter::default()).await.unwrap(), [], "all or nothing");
    bench.store.enqueue(&[wanted(2), of(4, "a.nonprod.example")], at(51)).await.unwrap();

    // One account alone.
    let lab = AccountName::new("lab");
    let there = Filter { account: Some(lab.clone()), ..only(5) };
    ask(&bench, &request(Verb::Protect, there), 3).await;
    bench.queue([5], at(52)).await;
    let in_lab = NewTeardown { account: lab, ..wanted(5) };
    assert_eq!(refused(&bench, &[in_lab]).await, [(5, Reason::ProtectedTenant)]);
}

pub(crate) async fn invariant_3_a_protection_stops_a_write_in_its_own_transaction(
    backend: &dyn Backend,
) {
    let bench = Bench::new(backend).await;
    bench.prove(start()).await;
    bench.queue([1, 2], start()).await;
    let rows = bench.claim(2, start()).await;
    for row in &rows {
        bench.walk(row, &[State::EntitlementsFetched], start()).await;
    }
    // The domain is known from the API alone: nothing is aborted, and no write goes out.
    let effects = ask(&bench, &domain(Verb::Protect, "t.onmicrosoft.com"), 1).await;
    assert_eq!(effects.len(), 1, "{effects:?}");
    let done = bench.command(&rows[0], State::OrdersCancelling, vec![cancel(1, "a")], at(2)).await;
    assert_eq!(done.admitted, []);
    let Some(Verdict::Hold { guard, text }) = done.verdict else { panic!("{:?}", done.verdict) };
    assert_eq!(guard, Reason::ProtectedDomain);
    assert!(text.contains("protected by bob: as agreed"), "{text}");
    assert_eq!(done.teardown.holds.first().map(|hold| hold.code), Some(Reason::ProtectedDomain));

    // Set between the commit and the send, it withdraws what was not sent.
    ask(&bench, &domain(Verb::Unprotect, "t.onmicrosoft.com"), 3).await;
    let done = bench.command(&rows[1], State::OrdersCancelling, vec![cancel(2, "b")], at(4)).await;
    assert_eq!(done.admitted.len(), 1);
    ask(&bench, &domain(Verb::Protect, "*.onmicrosoft.com"), 5).await;
    let verdict = bench.send(&rows[1], 2, at(6)).await;
    assert!(matches!(verdict, Verdict::Hold { guard: Reason::ProtectedDomain, .. }), "{verdict:?}");
    let stored = bench.stored(rows[1].teardown.tenant_id, 2).await;
    assert_eq!((stored.outcome, stored.sends), (Some(Outcome::Withdrawn), 0));
}

pub(crate) async fn lifting_a_protection_ends_the_guards_hold_and_no_other(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1, 2], start()).await;
    let rows = bench.claim(2, start()).await;
    ask(&bench, &domain(Verb::Protect, "t.onmicrosoft.com"), 1).await;
    for row in &rows {
        bench.walk(row, &[State::EntitlementsFetched], start()).await;
        let facts = seen(row.teardown.tenant_id, at(2));
        let commit = Commit {
            domain: Some("t.onmicrosoft.com".to_owned()),
            commands: vec![cancel(1, "a")],
            ..step(row, State::OrdersCancelling, &facts, &bench.policy)
        };
        assert_eq!(bench.store.commit(commit, at(2)).await.unwrap().admitted, []);
    }
    bench.ask(Verb::Hold, 2, at(3)).await;
    ask(&bench, &domain(Verb::Unprotect, "other.example"), 4).await;
    assert!(bench.row(1).await.holds.stand(), "that was another entry");
    ask(&bench, &domain(Verb::Unprotect, "t.onmicrosoft.com"), 5).await;
    assert!(!bench.row(1).await.holds.stand());
    let codes: Vec<_> = bench.row(2).await.holds.iter().map(|hold| hold.code).collect();
    assert_eq!(codes, [Reason::Operator]);
    assert_eq!(bench.claim_one(at(6)).await.teardown.tenant_id, tenant(1));
}

pub(crate) async fn invariant_7_a_protection_stands_although_a_delete_is_out(
    backend: &dyn Backend,
) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let claimed = bench.claim_one(start()).await;
    bench.walk(&claimed, &[State::EntitlementsFetched], start()).await;
    bench.command(&claimed, State::Deleting, vec![delete(1)], start()).await;
    assert_eq!(bench.send(&claimed, 1, at(1)).await, Verdict::Allow);
    let effects = ask(&bench, &request(Verb::Protect, only(1)), 2).await;
    let applied: Vec<_> = effects.iter().map(|e| (e.id.is_some(), e.applied)).collect();
    assert_eq!(applied, [(false, true), (true, false)], "{effects:?}");
    assert!(effects[1].text.contains("not answered"), "{effects:?}");
    assert_eq!(bench.row(1).await.state, State::Deleting);
    assert_eq!(bench.store.protections().await.unwrap().len(), 1);
    // It does not go out again, and what became of the first one stays open.
    let verdict = bench.send(&claimed, 1, at(3)).await;
    assert!(matches!(verdict, Verdict::Hold { guard: Reason::ProtectedTenant, .. }), "{verdict:?}");
    let stored = bench.stored(tenant(1), 1).await;
    assert_eq!((stored.outcome, stored.sends), (None, 1));
}

pub(crate) async fn a_protection_aborts_what_is_under_way(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let of = |number, domain: &str| NewTeardown {
        expected_domain: Some(domain.to_owned()),
        ..wanted(number)
    };
    let rows = [wanted(1), of(2, "a.prod.example"), of(3, "prod.example"), wanted(4)];
    bench.store.enqueue(&rows, start()).await.unwrap();
    let protect = OperatorRequest {
        filter: only(1),
        reason: None,
        ..domain(Verb::Protect, "*.prod.example")
    };
    let effects = ask(&bench, &protect, 1).await;
    assert_eq!(effects.len(), 4, "{effects:?}");
    assert!(effects.iter().all(|effect| effect.applied));
    let states = [bench.row(1).await, bench.row(2).await, bench.row(3).await, bench.row(4).await];
    assert_eq!(
        states.map(|row| row.state),
        [State::Aborted, State::Aborted, State::Queued, State::Queued]
    );
    let last = bench.store.history(None, tenant(1)).await.unwrap().pop().unwrap();
    assert_eq!((last.to, last.actor.as_str()), (State::Aborted, "bob"));
    assert_eq!(last.text.as_deref(), Some("aborted: protected"));
}

pub(crate) async fn a_protection_holds_until_it_is_lifted(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let claimed = bench.claim_one(start()).await;
    bench.walk(&claimed, &[State::Failed], at(1)).await;
    ask(&bench, &request(Verb::Protect, only(1)), 2).await;
    let again = ask(&bench, &request(Verb::Protect, only(1)), 3).await;
    assert!(again[0].applied && again[0].text.contains("already by bob"), "{again:?}");
    let entries = bench.store.protections().await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].since, entries[0].reason.as_deref()), (at(2), Some("as agreed")));
    assert_eq!(entries[0].account, AccountName::every());
    let retried = bench.ask(Verb::Retry, 1, at(4)).await;
    assert!(!retried.applied && retried.text.contains("protected by bob"), "{retried:?}");
    // Of this account alone there is none to lift.
    let here = Filter { account: Some(default_account()), ..only(1) };
    assert!(!ask(&bench, &request(Verb::Unprotect, here), 5).await[0].applied);
    assert!(ask(&bench, &request(Verb::Unprotect, only(1)), 6).await[0].applied);
    assert!(!ask(&bench, &request(Verb::Unprotect, only(1)), 7).await[0].applied);
    assert!(bench.ask(Verb::Retry, 1, at(8)).await.applied);
    let claimed = bench.claim_one(at(8)).await;
    let facts = seen(tenant(1), at(8));
    assert!(facts.census.is_some());
    bench.walk(&claimed, &[State::EntitlementsFetched], at(8)).await;
    bench.command(&claimed, State::OrdersCancelling, vec![cancel(7, "o")], at(8)).await;
    assert_eq!(bench.send(&claimed, 7, at(9)).await, Verdict::Allow);
    assert_eq!(bench.stored(tenant(1), 7).await.id, command_id(7));
}
