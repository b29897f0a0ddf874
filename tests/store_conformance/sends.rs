//! Sends and answers (invariants 3 and 4).

use teardownd::core::command::{Answer, Outcome};
use teardownd::core::gates::Verdict;
use teardownd::core::machine::Transition;
use teardownd::core::reason::Reason;
use teardownd::core::teardown::State;
use teardownd::store::{Claimed, Commit, Filter, StoreError, Verb};
use uuid::Uuid;

use super::{
    Backend, Bench, accepted, at, cancel, command_id, default_account, delete, request, seen,
    start, step, tenant,
};

/// A claimed row with one committed, unsent command.
pub(crate) async fn committed(bench: &Bench, number: u32) -> Claimed {
    bench.queue([number], start()).await;
    let claimed = bench.claim_one(start()).await;
    bench.walk(&claimed, &[State::EntitlementsFetched], start()).await;
    let commands = vec![cancel(number, "a")];
    let done = bench.command(&claimed, State::OrdersCancelling, commands, start()).await;
    assert_eq!(done.admitted.len(), 1);
    claimed
}

pub(crate) async fn invariant_3_a_send_asks_the_gates_again(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let claimed = committed(&bench, 1).await;
    let pause = request(Verb::Pause, Filter::default());
    bench.store.request(&pause, at(1)).await.unwrap();
    let verdict = bench.send(&claimed, 1, at(1)).await;
    assert!(matches!(verdict, Verdict::Wait { reason: Reason::Paused, .. }), "{verdict:?}");
    let resume = request(Verb::Resume, Filter::default());
    bench.store.request(&resume, at(2)).await.unwrap();
    let old = seen(tenant(1), start());
    let id = claimed.teardown.id;
    let stale = bench.store.begin_send(
        command_id(1),
        id,
        claimed.fence,
        Uuid::nil(),
        &old,
        &bench.policy,
        at(61),
    );
    assert_eq!(stale.await.unwrap(), Verdict::Stale);
    let command = bench.stored(tenant(1), 1).await;
    assert_eq!((command.sends, command.outcome), (0, None), "it stays for a later send");
    assert_eq!(bench.send(&claimed, 1, at(61)).await, Verdict::Allow);
}

pub(crate) async fn invariant_4_a_send_is_counted_first(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let claimed = committed(&bench, 1).await;
    assert_eq!(bench.send(&claimed, 1, at(1)).await, Verdict::Allow);
    assert_eq!(bench.send(&claimed, 1, at(5)).await, Verdict::Allow, "the same id again");
    let command = bench.stored(tenant(1), 1).await;
    assert_eq!(command.sends, 2);
    assert_eq!((command.first_sent_at, command.last_sent_at), (Some(at(1)), Some(at(5))));
    assert_eq!(command.correlation_id, Some(Uuid::from_u128(7)));
    assert_eq!(command.intent, cancel(1, "a").intent, "repeated unchanged");
}

pub(crate) async fn a_guard_at_the_send_withdraws_only_what_was_not_sent(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    let claimed = committed(&bench, 1).await;
    assert_eq!(bench.send(&claimed, 1, at(1)).await, Verdict::Allow);
    bench.policy.protected_tenants.push(tenant(1));
    assert!(matches!(bench.send(&claimed, 1, at(2)).await, Verdict::Hold { .. }));
    assert_eq!(bench.stored(tenant(1), 1).await.outcome, None, "it may have arrived");
    let row = bench.row(1).await;
    assert_eq!(row.holds.first().map(|hold| hold.code), Some(Reason::ProtectedTenant));
    assert!(row.lease.is_some(), "the reconciler gives it back itself");
    let last = bench.store.history(None, tenant(1)).await.unwrap().pop().unwrap();
    assert_eq!(last.reason, Some(Reason::ProtectedTenant));
    bench.store.record_answer(command_id(1), &accepted(), at(2)).await.unwrap();

    bench.policy.protected_tenants.clear();
    let claimed = committed(&bench, 2).await;
    bench.ask(Verb::Hold, 2, at(3)).await;
    let held = bench.row(2).await.holds;
    assert!(matches!(bench.send(&claimed, 2, at(3)).await, Verdict::Hold { .. }));
    assert_eq!(bench.stored(tenant(2), 2).await.outcome, Some(Outcome::Withdrawn));
    assert_eq!(bench.row(2).await.holds, held, "the operator's hold stays the operator's");

    let claimed = committed(&bench, 3).await;
    bench.policy.customers_limit = 2;
    assert!(matches!(bench.send(&claimed, 3, at(4)).await, Verdict::Halt { .. }));
    assert_eq!(bench.stored(tenant(3), 3).await.outcome, Some(Outcome::Withdrawn));
    assert!(bench.store.account(&default_account()).await.unwrap().halted.is_some());
}

pub(crate) async fn invariant_4_answers_settle_once(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let claimed = committed(&bench, 1).await;
    assert_eq!(bench.send(&claimed, 1, at(1)).await, Verdict::Allow);
    let id = command_id(1);
    let silence =
        Answer { http_status: Some(503), text: Some("try later".to_owned()), ..Answer::default() };
    bench.store.record_answer(id, &silence, at(2)).await.unwrap();
    let command = bench.stored(tenant(1), 1).await;
    assert_eq!((command.outcome, command.settled_at), (None, None));
    assert_eq!((command.http_status, command.text.as_deref()), (Some(503), Some("try later")));
    let refused = Answer {
        outcome: Some(Outcome::Refused),
        http_status: Some(400),
        ms_code: Some("800063".to_owned()),
        ..Answer::default()
    };
    bench.store.record_answer(id, &refused, at(3)).await.unwrap();
    // A late answer is a fact as well, but what is settled stays settled.
    bench.store.record_answer(id, &accepted(), at(4)).await.unwrap();
    let command = bench.stored(tenant(1), 1).await;
    assert_eq!((command.outcome, command.settled_at), (Some(Outcome::Refused), Some(at(3))));
    assert_eq!(command.http_status, Some(200));
    assert!(bench.store.account(&default_account()).await.unwrap().proven.write);
    let unknown = bench.store.record_answer(command_id(9), &accepted(), at(4)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
}

pub(crate) async fn invariant_4_reading_settles(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let claimed = committed(&bench, 1).await;
    let facts = seen(tenant(1), at(2));
    let settle = async |outcome, text: &str, now| {
        let commit = Commit {
            transition: Transition {
                settled: vec![(command_id(1), outcome, text.to_owned())],
                ..Transition::to(State::OrdersCancelling)
            },
            ..step(&claimed, State::OrdersCancelling, &facts, &bench.policy)
        };
        bench.store.commit(commit, now).await
    };
    assert_eq!(bench.send(&claimed, 1, at(1)).await, Verdict::Allow);
    let refused = settle(Outcome::Withdrawn, "never sent?", at(2)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "it was sent");
    settle(Outcome::GoalReached, "read as cancelled", at(3)).await.unwrap();
    settle(Outcome::Refused, "too late", at(4)).await.unwrap();
    let command = bench.stored(tenant(1), 1).await;
    assert_eq!((command.outcome, command.settled_at), (Some(Outcome::GoalReached), Some(at(3))));
    assert_eq!(command.text.as_deref(), Some("read as cancelled"));
    let proven = bench.store.account(&default_account()).await.unwrap().proven;
    assert!(!proven.write, "somebody else may have cancelled it");
}

pub(crate) async fn a_send_needs_its_own_unsettled_command(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let first = committed(&bench, 1).await;
    bench.send_accepted(&first, 1, at(1)).await;
    let second = committed(&bench, 2).await;
    for (claimed, number) in [(&first, 1), (&second, 1)] {
        let facts = seen(claimed.teardown.tenant_id, at(2));
        let send = bench.store.begin_send(
            command_id(number),
            claimed.teardown.id,
            claimed.fence,
            Uuid::nil(),
            &facts,
            &bench.policy,
            at(2),
        );
        assert!(matches!(send.await, Err(StoreError::Refused(_))));
    }
    assert_eq!(bench.stored(tenant(1), 1).await.sends, 1);
}

fn silence() -> Answer {
    Answer { text: Some("no answer".to_owned()), ..Answer::default() }
}

fn waits_for_the_canary(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Wait { reason: Reason::Canary, .. })
}

pub(crate) async fn invariant_2_an_unanswered_first_step_keeps_nobody_waiting(
    backend: &dyn Backend,
) {
    let bench = Bench::new(backend).await;
    let canary = async || bench.store.account(&default_account()).await.unwrap().canary;
    // A first write goes out without an answer, and its teardown ends.
    let first = committed(&bench, 1).await;
    assert_eq!(canary().await.unwrap().command, command_id(1));
    assert_eq!(bench.send(&first, 1, at(1)).await, Verdict::Allow);
    bench.store.record_answer(command_id(1), &silence(), at(1)).await.unwrap();
    bench.walk(&first, &[State::Failed], at(1)).await;
    assert_eq!(canary().await, None);
    let second = committed(&bench, 2).await;
    // The first one is taken up again beside it: one of them goes at a time, and neither for ever.
    assert!(bench.ask(Verb::Retry, 1, at(2)).await.applied);
    let first = bench.claim_one(at(2)).await;
    assert!(waits_for_the_canary(&bench.send(&first, 1, at(2)).await));
    assert_eq!(bench.send(&second, 2, at(2)).await, Verdict::Allow);
    bench.store.record_answer(command_id(2), &silence(), at(3)).await.unwrap();
    assert_eq!(bench.send(&first, 1, at(3)).await, Verdict::Allow);
    assert!(waits_for_the_canary(&bench.send(&second, 2, at(3)).await));
    bench.store.record_answer(command_id(1), &accepted(), at(4)).await.unwrap();
    assert_eq!(bench.send(&second, 2, at(4)).await, Verdict::Allow);
}

pub(crate) async fn invariant_2_a_first_step_starts_beside_no_call_under_way(
    backend: &dyn Backend,
) {
    let bench = Bench::new(backend).await;
    let proof = committed(&bench, 9).await;
    bench.send_accepted(&proof, 9, at(0)).await;
    let other = committed(&bench, 1).await;
    assert_eq!(bench.send(&other, 1, at(1)).await, Verdict::Allow);
    bench.queue([2], at(1)).await;
    let first = bench.claim_one(at(1)).await;
    bench.walk(&first, &[State::EntitlementsFetched], at(1)).await;
    let done = bench.command(&first, State::Deleting, vec![delete(3)], at(1)).await;
    assert_eq!(done.admitted.len(), 1, "from now on nothing else starts");
    assert!(waits_for_the_canary(&bench.send(&first, 3, at(1)).await));
    bench.store.record_answer(command_id(1), &silence(), at(2)).await.unwrap();
    assert_eq!(bench.send(&first, 3, at(2)).await, Verdict::Allow);
}

pub(crate) async fn invariant_2_a_held_first_step_keeps_nobody_waiting(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let canary = async || bench.store.account(&default_account()).await.unwrap().canary;
    let held = committed(&bench, 1).await;
    bench.ask(Verb::Hold, 1, at(1)).await;
    assert!(matches!(bench.send(&held, 1, at(1)).await, Verdict::Hold { .. }));
    assert_eq!(canary().await, None, "it was withdrawn");
    let other = committed(&bench, 2).await;
    assert_eq!(bench.send(&other, 2, at(1)).await, Verdict::Allow);
    // Held while its call is under way, it is alone until that has ended.
    bench.ask(Verb::Hold, 2, at(2)).await;
    assert!(canary().await.is_some());
    bench.store.record_answer(command_id(2), &silence(), at(3)).await.unwrap();
    assert_eq!(canary().await, None);
}
