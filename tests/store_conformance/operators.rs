//! What operators ask for.

use std::time::Duration;

use teardownd::core::command::{Answer, Outcome};
use teardownd::core::gates::Verdict;
use teardownd::core::machine::Transition;
use teardownd::core::reason::Reason;
use teardownd::core::teardown::{NewTeardown, State, Status};
use teardownd::store::{Claimed, Commit, Filter, OperatorRequest, StoreError, Verb};

use super::{
    Backend, Bench, at, cancel, command_id, default_account, delete, only, request, seen, start,
    step, tenant, wanted,
};

pub(crate) async fn holds_and_releases(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1, 2], start()).await;
    let both = Filter { tenants: vec![tenant(1), tenant(2)], ..Filter::default() };
    let effects = bench.store.request(&request(Verb::Hold, both), at(10)).await.unwrap();
    assert_eq!(effects.len(), 2);
    assert!(effects.iter().all(|effect| effect.applied));
    let row = bench.row(1).await;
    let hold = row.holds.first().cloned().unwrap();
    assert_eq!(
        (hold.code, hold.text.as_str(), hold.actor.as_str()),
        (Reason::Operator, "as agreed", "bob")
    );
    assert_eq!((row.eligible_since, row.eligible_used), (None, Duration::from_secs(10)));
    assert_eq!(row.status(at(11)), Status::Held);
    assert_eq!(bench.claim(9, at(11)).await, []);
    let again = bench.ask(Verb::Hold, 1, at(12)).await;
    assert!(!again.applied, "{again:?}");
    assert!(bench.ask(Verb::Release, 1, at(20)).await.applied);
    assert!(!bench.ask(Verb::Release, 1, at(21)).await.applied);
    let row = bench.row(1).await;
    assert_eq!((row.holds.first(), row.eligible_since), (None, Some(at(20))));
    assert_eq!(bench.claim_one(at(20)).await.teardown.tenant_id, tenant(1));
    let history = bench.store.history(None, tenant(1)).await.unwrap();
    let tail: Vec<_> =
        history[1..].iter().map(|h| (h.from, h.to, h.reason, h.actor.as_str())).collect();
    assert_eq!(
        tail,
        [
            (Some(State::Queued), State::Queued, Some(Reason::Operator), "bob"),
            (Some(State::Queued), State::Queued, None, "bob"),
        ]
    );
    let nothing = bench.store.request(&request(Verb::Hold, only(77)), at(30)).await.unwrap();
    assert_eq!(nothing, []);
}

/// A claimed row in `deleting` with a committed DELETE.
async fn deleting(bench: &Bench, number: u32) -> Claimed {
    bench.queue([number], start()).await;
    let claimed = bench.claim_one(start()).await;
    bench.walk(&claimed, &[State::EntitlementsFetched], start()).await;
    let done = bench.command(&claimed, State::Deleting, vec![delete(number)], start()).await;
    assert_eq!(done.admitted.len(), 1);
    claimed
}

pub(crate) async fn invariant_7_aborts_stop_at_a_delete(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    // Never sent: withdrawn.
    let claimed = deleting(&bench, 1).await;
    assert!(bench.ask(Verb::Abort, 1, at(1)).await.applied);
    assert_eq!(bench.stored(tenant(1), 1).await.outcome, Some(Outcome::Withdrawn));
    let row = bench.row(1).await;
    assert_eq!((row.state, row.finished_at, row.lease), (State::Aborted, Some(at(1)), None));
    let facts = seen(tenant(1), at(1));
    let lost = bench.store.commit(step(&claimed, State::Deleting, &facts, &bench.policy), at(1));
    assert!(matches!(lost.await, Err(StoreError::LeaseLost(_))), "the reconciler stops");
    // Sent and not answered: refused.
    let claimed = deleting(&bench, 2).await;
    assert_eq!(bench.send(&claimed, 2, at(2)).await, Verdict::Allow);
    assert!(!bench.ask(Verb::Abort, 2, at(3)).await.applied);
    // Accepted: refused, also after a failure and a retry.
    let answer = super::accepted();
    bench.store.record_answer(command_id(2), &answer, at(4)).await.unwrap();
    let refused = bench.ask(Verb::Abort, 2, at(5)).await;
    assert!(!refused.applied && refused.text.contains("DELETE"), "{refused:?}");
    bench.walk(&claimed, &[State::Failed], at(6)).await;
    assert!(bench.ask(Verb::Retry, 2, at(7)).await.applied);
    assert!(!bench.ask(Verb::Abort, 2, at(8)).await.applied);
    assert_eq!(bench.row(2).await.state, State::Queued);
    // Refused by Microsoft: nothing was deleted.
    let claimed = deleting(&bench, 3).await;
    assert_eq!(bench.send(&claimed, 3, at(9)).await, Verdict::Allow);
    let answer = Answer { outcome: Some(Outcome::Refused), ..Answer::default() };
    bench.store.record_answer(command_id(3), &answer, at(9)).await.unwrap();
    assert!(bench.ask(Verb::Abort, 3, at(10)).await.applied);
}

pub(crate) async fn aborts_say_what_was_accepted_and_what_may_have_been(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let claimed = bench.claim_one(start()).await;
    bench.walk(&claimed, &[State::EntitlementsFetched], start()).await;
    bench.command(&claimed, State::OrdersCancelling, vec![cancel(1, "o-17")], start()).await;
    bench.send_accepted(&claimed, 1, start()).await;
    bench.command(&claimed, State::OrdersCancelling, vec![cancel(2, "o-18")], at(1)).await;
    assert_eq!(bench.send(&claimed, 2, at(1)).await, Verdict::Allow);
    bench.command(&claimed, State::OrdersCancelling, vec![cancel(3, "o-19")], at(1)).await;
    let effect = bench.ask(Verb::Abort, 1, at(2)).await;
    assert!(effect.applied, "{effect:?}");
    let writes = effect.writes.clone().unwrap();
    assert_eq!(writes.accepted, ["cancel_order order:o-17"]);
    assert_eq!(writes.unanswered, ["cancel_order order:o-18"], "the third was never sent");
    assert_eq!(
        effect.text,
        "aborted; accepted before that: cancel_order order:o-17; sent and not answered, and may have \
         been carried out: cancel_order order:o-18"
    );
    assert_eq!(effect.account, Some(default_account()));
    assert_eq!(bench.stored(tenant(1), 2).await.outcome, None, "adopted by the next teardown");
    let last = bench.store.history(None, tenant(1)).await.unwrap().pop().unwrap();
    assert_eq!(
        (last.to, last.reason, last.actor.as_str()),
        (State::Aborted, Some(Reason::Aborted), "bob")
    );
}

pub(crate) async fn retries_start_over_and_keep_history(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    bench.ask(Verb::Hold, 1, at(20)).await;
    bench.ask(Verb::Release, 1, at(30)).await;
    let claimed = bench.claim_one(at(30)).await;
    assert_eq!(claimed.teardown.eligible_used, Duration::from_secs(20));
    let facts = seen(tenant(1), at(50));
    let commit = Commit {
        transition: Transition {
            reason: Some(Reason::ApiRefused),
            text: Some("no".to_owned()),
            attempts: 20,
            polls: 4,
            rounds: 5,
            ..Transition::to(State::Failed)
        },
        ..step(&claimed, State::Failed, &facts, &bench.policy)
    };
    bench.store.commit(commit, at(50)).await.unwrap();
    assert_eq!(bench.row(1).await.status(at(51)), Status::Failed);
    let id = bench.row(1).await.id;
    assert!(bench.ask(Verb::Retry, 1, at(100)).await.applied);
    let row = bench.row(1).await;
    assert_eq!((row.id, row.state, row.state_since), (id, State::Queued, at(100)));
    assert_eq!((row.attempts, row.polls, row.rounds), (0, 0, 0));
    assert_eq!((row.reason, row.finished_at, row.next_attempt_at), (None, None, None));
    assert_eq!((row.eligible_since, row.eligible_used), (Some(at(100)), Duration::ZERO));
    let history = bench.store.history(None, tenant(1)).await.unwrap();
    let states: Vec<_> = history.iter().map(|h| h.to).collect();
    use State::{Failed, Queued};
    assert_eq!(states, [Queued, Queued, Queued, Failed, Queued]);
    assert_eq!(history[4].reason, Some(Reason::Retry));
    assert!(!bench.ask(Verb::Retry, 1, at(101)).await.applied, "only failed ones");

    // Two failed rows of one tenant: only one can become active.
    let claimed = bench.claim_one(at(101)).await;
    bench.walk(&claimed, &[State::Failed], at(101)).await;
    bench.store.enqueue(&[NewTeardown { again: true, ..wanted(1) }], at(102)).await.unwrap();
    let claimed = bench.claim_one(at(102)).await;
    bench.walk(&claimed, &[State::Failed], at(102)).await;
    let effects = bench.store.request(&request(Verb::Retry, only(1)), at(103)).await.unwrap();
    let applied: Vec<_> = effects.iter().map(|effect| effect.applied).collect();
    assert_eq!(applied, [true, false], "{effects:?}");
}

pub(crate) async fn a_pause_of_everything(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let pause = request(Verb::Pause, Filter::default());
    let effects = bench.store.request(&pause, at(10)).await.unwrap();
    assert_eq!(effects.len(), 1);
    assert_eq!((&effects[0].account, effects[0].applied), (&None, true));
    assert_eq!(bench.claim(1, at(11)).await, []);
    assert_eq!(bench.row(1).await.eligible_since, None);
    let names: Vec<_> = bench.store.accounts().await.unwrap().into_iter().map(|a| a.name).collect();
    assert_eq!(names, [teardownd::core::ids::AccountName::every()]);
    let resume = OperatorRequest { verb: Verb::Resume, ..pause };
    assert!(bench.store.request(&resume, at(20)).await.unwrap()[0].applied);
    assert!(!bench.store.request(&resume, at(21)).await.unwrap()[0].applied);
    assert_eq!(bench.claim_one(at(20)).await.teardown.eligible_since, Some(at(20)));
}

pub(crate) async fn a_second_pause_never_shortens_the_first(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let everything = teardownd::core::ids::AccountName::every();
    let pause = |actor: &str, until| OperatorRequest {
        until,
        actor: actor.to_owned(),
        ..request(Verb::Pause, Filter::default())
    };
    let ask = async |actor, until, now| {
        let effects = bench.store.request(&pause(actor, until), now).await.unwrap();
        (effects[0].applied, effects[0].text.clone())
    };
    let stands = async || bench.store.account(&everything).await.unwrap().paused.unwrap();
    assert!(ask("bob", Some(at(100)), at(1)).await.0);
    // An earlier end is refused, with what stands.
    let (applied, text) = ask("ann", Some(at(50)), at(2)).await;
    assert!(!applied && text.contains("paused by bob until 2026-01-01T00:01:40Z"), "{text}");
    assert_eq!((stands().await.actor, stands().await.until), ("bob".to_owned(), Some(at(100))));
    // A later one, and none at all, count; since when it is paused stays, and what stood is said.
    let (applied, text) = ask("ann", Some(at(200)), at(3)).await;
    assert!(applied && text.contains("it was paused by bob until"), "{text}");
    assert_eq!((stands().await.since, stands().await.until), (at(1), Some(at(200))));
    assert!(ask("bob", None, at(4)).await.0);
    // An end over a pause without one would end it.
    let (applied, text) = ask("ann", Some(at(900)), at(5)).await;
    assert!(!applied && text.contains("by bob until somebody resumes it: as agreed"), "{text}");
    assert_eq!((stands().await.actor, stands().await.until), ("bob".to_owned(), None));
    // One whose time has come stands in nobody's way.
    bench.store.request(&request(Verb::Resume, Filter::default()), at(6)).await.unwrap();
    assert!(ask("bob", Some(at(100)), at(7)).await.0);
    assert!(ask("ann", Some(at(130)), at(101)).await.0);
    assert_eq!(stands().await.since, at(101));
}

pub(crate) async fn halts_are_lifted_by_a_person(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let none = bench.store.request(&request(Verb::Unhalt, Filter::default()), at(1)).await.unwrap();
    assert_eq!(none, []);
    let named = Filter { account: Some(default_account()), ..Filter::default() };
    let effects = bench.store.request(&request(Verb::Unhalt, named), at(1)).await.unwrap();
    assert!(!effects[0].applied, "it is not halted");
    bench.store.halt(&default_account(), "not_sandbox", "800019", at(2)).await.unwrap();
    let resume =
        request(Verb::Resume, Filter { account: Some(default_account()), ..Filter::default() });
    assert!(!bench.store.request(&resume, at(3)).await.unwrap()[0].applied);
    assert!(bench.store.account(&default_account()).await.unwrap().halted.is_some());
    let effects =
        bench.store.request(&request(Verb::Unhalt, Filter::default()), at(4)).await.unwrap();
    assert_eq!(effects.len(), 1);
    assert!(effects[0].applied && effects[0].text.contains("800019"), "{effects:?}");
    assert!(bench.store.account(&default_account()).await.unwrap().halted.is_none());
}

pub(crate) async fn an_acknowledgement_ends_with_what_it_was_about(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1, 2], start()).await;
    let claimed = bench.claim(2, start()).await;
    bench.walk(&claimed[0], &[State::Failed], at(1)).await;
    assert!(bench.ask(Verb::Ack, 1, at(2)).await.applied, "also of a row that has ended");
    bench.ask(Verb::Hold, 2, at(3)).await;
    assert!(bench.ask(Verb::Ack, 2, at(4)).await.applied);
    let acks = bench.store.acks().await.unwrap();
    let told: Vec<_> = acks.iter().map(|a| (a.id, a.at, a.actor.as_str())).collect();
    let (first, second) = (bench.row(1).await.id, bench.row(2).await.id);
    assert_eq!(told, [(first, at(2), "bob"), (second, at(4), "bob")]);
    assert_eq!(acks[0].reason.as_deref(), Some("as agreed"));
    let last = bench.store.history(None, tenant(1)).await.unwrap().pop().unwrap();
    assert_eq!(
        (last.from, last.to, last.actor.as_str()),
        (Some(State::Failed), State::Failed, "bob")
    );
    assert_eq!(last.text.as_deref(), Some("acknowledged: as agreed"));
    // A release, and then a retry: each rings anew.
    bench.ask(Verb::Release, 2, at(5)).await;
    assert_eq!(bench.store.acks().await.unwrap(), acks[..1]);
    assert!(bench.ask(Verb::Retry, 1, at(6)).await.applied);
    assert_eq!(bench.store.acks().await.unwrap(), []);
    bench.ask(Verb::Abort, 1, at(7)).await;
    assert!(!bench.ask(Verb::Ack, 1, at(8)).await.applied, "nothing rings");
}

pub(crate) async fn priority_and_earliest_time_are_set(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue(1..=3, start()).await;
    let set = |number, priority, not_before| OperatorRequest {
        priority,
        not_before,
        ..request(Verb::Set, only(number))
    };
    let urgent = bench.store.request(&set(3, Some(5), None), at(1)).await.unwrap();
    assert_eq!(urgent[0].text, "priority 5");
    assert!(!bench.store.request(&set(2, None, None), at(1)).await.unwrap()[0].applied);
    let claimed = bench.claim_one(at(2)).await;
    assert_eq!((claimed.teardown.tenant_id, claimed.teardown.priority), (tenant(3), 5));
    // Whoever works on it stops, and nobody goes on before that time.
    bench.store.request(&set(3, None, Some(at(60))), at(3)).await.unwrap();
    let facts = seen(tenant(3), at(4));
    let step = step(&claimed, State::EntitlementsFetched, &facts, &bench.policy);
    let lost = bench.store.commit(step, at(4)).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost(_))), "{lost:?}");
    bench.ask(Verb::Abort, 1, at(4)).await;
    bench.ask(Verb::Abort, 2, at(4)).await;
    assert_eq!(bench.claim(9, at(59)).await, []);
    assert_eq!(bench.claim_one(at(60)).await.teardown.tenant_id, tenant(3));
    bench.store.request(&set(3, Some(-1), Some(at(10))), at(61)).await.unwrap();
    let row = bench.row(3).await;
    assert_eq!((row.priority, row.not_before), (-1, Some(at(10))));
    assert!(row.lease.is_some(), "a time that has passed takes nothing away");
    let texts: Vec<_> = bench.store.history(None, tenant(3)).await.unwrap();
    let texts: Vec<_> = texts.into_iter().filter_map(|change| change.text).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].starts_with("priority 5: as agreed"), "{texts:?}");
}
