//! Pauses, halts, throttling and outages of accounts.

use std::time::Duration;

use teardownd::core::account::TroubleKind;
use teardownd::core::ids::AccountName;
use teardownd::core::machine::{Transition, Wake};
use teardownd::core::reason::Reason;
use teardownd::core::teardown::State;
use teardownd::store::{Commit, Filter, OperatorRequest, Verb};

use super::{Backend, Bench, at, default_account, request, seen, start, step};

fn pause() -> OperatorRequest {
    request(Verb::Pause, Filter { account: Some(default_account()), ..Filter::default() })
}

pub(crate) async fn stopped_accounts_are_not_claimed(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    bench.store.request(&pause(), start()).await.unwrap();
    assert_eq!(bench.claim(1, at(1)).await, []);
    let resume = OperatorRequest { verb: Verb::Resume, ..pause() };
    assert!(bench.store.request(&resume, at(2)).await.unwrap()[0].applied);
    bench.store.halt(&default_account(), "guard", "stop", at(3)).await.unwrap();
    assert_eq!(bench.claim(1, at(3)).await, []);
    let unhalt = OperatorRequest { verb: Verb::Unhalt, ..pause() };
    assert!(bench.store.request(&unhalt, at(4)).await.unwrap()[0].applied);
    bench.claim_one(at(4)).await;
}

pub(crate) async fn trouble_is_probed_by_one_row(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1, 2], start()).await;
    let (account, kind) = (default_account(), TroubleKind::Unreachable);
    bench.store.set_trouble(&account, kind, "no route", at(60), start()).await.unwrap();
    assert_eq!(bench.claim(9, at(59)).await, []);
    assert_eq!(
        bench.store.next_due(std::slice::from_ref(&account), at(1)).await.unwrap(),
        Some(at(60))
    );
    let probe = bench.claim_one(at(60)).await;
    assert_eq!(bench.claim(9, at(61)).await, [], "one at a time");
    let due = bench.store.next_due(std::slice::from_ref(&account), at(61)).await.unwrap();
    assert_eq!(due, Some(at(120)), "nothing to look for while the probe is out");

    // The rows that waited for the account go on as soon as it is back.
    let facts = seen(probe.teardown.tenant_id, at(61));
    let commit = Commit {
        transition: Transition {
            reason: Some(Reason::AccountUnreachable),
            wake: Wake::At(at(999)),
            ..Transition::to(State::Queued)
        },
        ..step(&probe, State::Queued, &facts, &bench.policy)
    };
    bench.store.commit(commit, at(61)).await.unwrap();
    bench.store.clear_trouble(&account).await.unwrap();
    bench.recheck(at(62)).await;
    assert_eq!(bench.store.account(&account).await.unwrap().trouble, None);
    assert_eq!(bench.claim(9, at(62)).await.len(), 2);
}

pub(crate) async fn a_probe_can_be_had_at_once(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let (account, kind) = (default_account(), TroubleKind::CredentialRefused);
    bench.store.probe_now(&account, start()).await.unwrap();
    assert_eq!(bench.store.account(&account).await.unwrap().trouble, None, "there is no outage");
    bench.queue([1, 2], start()).await;
    // Both passes heard the refusal, so that both rows wait for the next probe.
    for claimed in bench.claim(2, start()).await {
        let facts = seen(claimed.teardown.tenant_id, start());
        let commit = Commit {
            transition: Transition {
                reason: Some(Reason::CredentialRefused),
                wake: Wake::At(at(300)),
                ..Transition::to(State::Queued)
            },
            ..step(&claimed, State::Queued, &facts, &bench.policy)
        };
        bench.store.commit(commit, start()).await.unwrap();
    }
    bench.store.set_trouble(&account, kind, "expired", at(300), start()).await.unwrap();
    assert_eq!(bench.claim(9, at(10)).await, []);
    bench.store.probe_now(&account, at(10)).await.unwrap();
    let trouble = bench.store.account(&account).await.unwrap().trouble.unwrap();
    assert_eq!((trouble.since, trouble.next_probe_at), (start(), at(10)));
    bench.recheck(at(10)).await;
    bench.claim_one(at(10)).await;
    assert_eq!(bench.claim(9, at(11)).await, [], "one at a time");
    // A probe that is due already is not put off.
    bench.store.probe_now(&account, at(12)).await.unwrap();
    let trouble = bench.store.account(&account).await.unwrap().trouble.unwrap();
    assert_eq!(trouble.next_probe_at, at(10));
}

pub(crate) async fn trouble_keeps_its_beginning(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let account = default_account();
    let since = async || bench.store.account(&account).await.unwrap().trouble.unwrap().since;
    let set = async |kind, now| {
        bench.store.set_trouble(&account, kind, "text", at(999), now).await.unwrap();
    };
    set(TroubleKind::Unreachable, at(1)).await;
    set(TroubleKind::Unreachable, at(2)).await;
    assert_eq!(since().await, at(1));
    set(TroubleKind::CredentialRefused, at(3)).await;
    assert_eq!(since().await, at(3), "another kind is another outage");
}

pub(crate) async fn throttling_closes_the_account_until_its_end(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let account = default_account();
    bench.store.throttle(&account, at(30), start()).await.unwrap();
    bench.store.throttle(&account, at(20), at(1)).await.unwrap();
    let stored = bench.store.account(&account).await.unwrap();
    assert_eq!(stored.throttled_until, Some(at(30)), "a later end stays");
    assert_eq!(stored.throttled_since, Some(start()), "one closure");
    assert_eq!(bench.claim(1, at(29)).await, []);
    bench.claim_one(at(30)).await;
    // Never cut short by being stored in milliseconds.
    let odd = at(40) + Duration::from_nanos(1);
    bench.store.throttle(&account, odd, at(31)).await.unwrap();
    let stored = bench.store.account(&account).await.unwrap();
    assert!(stored.throttled_until.unwrap() >= odd);
    assert_eq!(stored.throttled_since, Some(at(31)), "another closure");
}

pub(crate) async fn invariant_2_a_resume_does_not_lift_a_halt(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let account = default_account();
    bench.store.request(&pause(), start()).await.unwrap();
    bench.store.halt(&account, "guard", "800019", at(1)).await.unwrap();
    let everything = request(Verb::Resume, Filter::default());
    for resume in [OperatorRequest { verb: Verb::Resume, ..pause() }, everything] {
        bench.store.request(&resume, at(2)).await.unwrap();
        let stored = bench.store.account(&account).await.unwrap();
        assert!(stored.paused.is_none() && stored.halted.is_some(), "{stored:?}");
        assert_eq!(bench.claim(1, at(3)).await, []);
    }
    let unhalt = OperatorRequest { verb: Verb::Unhalt, ..pause() };
    assert!(bench.store.request(&unhalt, at(4)).await.unwrap()[0].applied);
    assert_eq!(bench.store.account(&account).await.unwrap().halted, None);
    bench.claim_one(at(4)).await;
}

pub(crate) async fn a_second_halt_keeps_the_first_reason(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let account = default_account();
    assert!(bench.store.accounts().await.unwrap().is_empty());
    bench.store.halt(&account, "too_many_customers", "76 customers", at(1)).await.unwrap();
    bench.store.halt(&account, "not_sandbox", "800019", at(2)).await.unwrap();
    let halted = bench.store.account(&account).await.unwrap().halted.unwrap();
    assert_eq!(
        (halted.actor.as_str(), halted.reason.as_str()),
        ("too_many_customers", "76 customers")
    );
    assert_eq!((halted.since, halted.until), (at(1), None));
    assert_eq!(bench.store.accounts().await.unwrap().len(), 1);
}

pub(crate) async fn stops_stop_the_clock_of_deadlines(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    bench.store.request(&pause(), at(10)).await.unwrap();
    let row = bench.row(1).await;
    assert_eq!((row.eligible_since, row.eligible_used), (None, Duration::from_secs(10)));
    assert_eq!(row.deadline_at(Duration::from_secs(60)), None);
    // A halt on top, and then the pause ends: it still stands.
    bench.store.halt(&default_account(), "guard", "stop", at(20)).await.unwrap();
    bench.store.request(&OperatorRequest { verb: Verb::Resume, ..pause() }, at(30)).await.unwrap();
    assert_eq!(bench.row(1).await.eligible_since, None);
    bench.queue([2], at(35)).await;
    assert_eq!(bench.row(2).await.eligible_since, None, "queued while the account is halted");
    bench.store.request(&OperatorRequest { verb: Verb::Unhalt, ..pause() }, at(40)).await.unwrap();
    let row = bench.row(1).await;
    assert_eq!((row.eligible_since, row.eligible_used), (Some(at(40)), Duration::from_secs(10)));
    assert_eq!(row.deadline_at(Duration::from_secs(60)), Some(at(90)));
    assert_eq!(bench.row(2).await.eligible_since, Some(at(40)));
    // A row that is held as well starts again only when both have ended.
    bench.ask(Verb::Hold, 1, at(50)).await;
    bench.store.request(&pause(), at(60)).await.unwrap();
    bench.ask(Verb::Release, 1, at(70)).await;
    assert_eq!(bench.row(1).await.eligible_since, None);
    bench.store.request(&OperatorRequest { verb: Verb::Resume, ..pause() }, at(80)).await.unwrap();
    let row = bench.row(1).await;
    assert_eq!((row.eligible_since, row.eligible_used), (Some(at(80)), Duration::from_secs(20)));
}

pub(crate) async fn a_pause_ends_by_itself(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let until = OperatorRequest { until: Some(at(100)), ..pause() };
    let effect = bench.store.request(&until, at(10)).await.unwrap().remove(0);
    assert_eq!((effect.id, effect.account, effect.applied), (None, Some(default_account()), true));
    let paused = bench.store.account(&default_account()).await.unwrap().paused.unwrap();
    assert_eq!((paused.actor.as_str(), paused.reason.as_str()), ("bob", "as agreed"));
    assert_eq!(bench.claim(1, at(99)).await, []);
    assert_eq!(bench.store.next_due(&[default_account()], at(20)).await.unwrap(), Some(at(100)));
    let claimed = bench.claim_one(at(101)).await;
    assert_eq!(claimed.teardown.eligible_since, Some(at(101)));
    assert_eq!(claimed.teardown.eligible_used, Duration::from_secs(10));
    assert_eq!(bench.store.account(&default_account()).await.unwrap().paused, None);
    // One that has ended already is refused.
    let late = OperatorRequest { until: Some(at(100)), ..pause() };
    assert!(!bench.store.request(&late, at(102)).await.unwrap()[0].applied);
    let other = AccountName::new("other");
    assert_eq!(bench.store.account(&other).await.unwrap().name, other);
}

pub(crate) async fn an_outage_that_ended_before_the_row_was_parked_does_not_hold_it(
    backend: &dyn Backend,
) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let (account, kind) = (default_account(), TroubleKind::CredentialRefused);
    let claimed = bench.claim_one(start()).await;
    bench.store.set_trouble(&account, kind, "401", at(300), at(1)).await.unwrap();
    // Another tenant's answer comes in between.
    bench.store.clear_trouble(&account).await.unwrap();
    bench.recheck(at(2)).await;
    let facts = seen(claimed.teardown.tenant_id, at(3));
    let commit = Commit {
        transition: Transition {
            reason: Some(Reason::CredentialRefused),
            wake: Wake::At(at(300)),
            ..Transition::to(State::Queued)
        },
        ..step(&claimed, State::Queued, &facts, &bench.policy)
    };
    bench.store.commit(commit, at(3)).await.unwrap();
    assert_eq!(bench.claim(9, at(4)).await, [], "not before the next look");
    bench.recheck(at(4)).await;
    assert_eq!(bench.claim(9, at(4)).await.len(), 1);
}

pub(crate) async fn a_gate_that_opens_lets_its_rows_go(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.queue([1, 2], start()).await;
    let park = async |bench: &Bench, reason, now| {
        for claimed in bench.claim(2, now).await {
            let facts = seen(claimed.teardown.tenant_id, now);
            let commit = Commit {
                transition: Transition {
                    reason: Some(reason),
                    wake: Wake::At(at(3600)),
                    ..Transition::to(State::Queued)
                },
                ..step(&claimed, State::Queued, &facts, &bench.policy)
            };
            bench.store.commit(commit, now).await.unwrap();
        }
    };
    bench.policy.dry_run = true;
    park(&bench, Reason::DryRun, at(1)).await;
    bench.recheck(at(3700)).await;
    assert_eq!(bench.claim(9, at(3700)).await, [], "a closed gate keeps its rows past their time");
    bench.policy.dry_run = false;
    bench.recheck(at(3701)).await;
    park(&bench, Reason::Paused, at(3701)).await;
    bench.store.request(&pause(), at(3702)).await.unwrap();
    bench.recheck(at(3703)).await;
    assert_eq!(bench.claim(9, at(3703)).await, []);
    bench.store.request(&request(Verb::Resume, Filter::default()), at(3704)).await.unwrap();
    let resume = OperatorRequest { verb: Verb::Resume, ..pause() };
    bench.store.request(&resume, at(3704)).await.unwrap();
    bench.recheck(at(3704)).await;
    assert_eq!(bench.claim(9, at(3704)).await.len(), 2);
}
