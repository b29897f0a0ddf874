//! The survey that the gauges are read from.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use teardownd::core::budget::{Ask, Bucket, Budget, Limit, Resource};
use teardownd::core::ids::AccountName;
use teardownd::core::machine::{Transition, Wake};
use teardownd::core::reason::Reason;
use teardownd::core::teardown::{NewTeardown, State, Status};
use teardownd::store::{
    AuditEntry, AuditRange, Commit, Filter, RefusedEnqueue, Survey, SurveyRequest, Verb,
};

use super::{Backend, Bench, at, default_account, delete, seen, start, step, tenant, wanted};

const REQUEST: SurveyRequest = SurveyRequest {
    stuck_after: Duration::from_secs(100),
    budget_window: Duration::from_secs(60),
    moves_after: None,
};

async fn survey(bench: &Bench, now: Timestamp) -> Survey {
    bench.store.survey(&REQUEST, now).await.unwrap()
}

/// State, status, reason, leased, stuck, superseded, how many, and since when due.
type Row = (State, Status, Option<Reason>, bool, bool, bool, u64, Option<Timestamp>);

fn rows(survey: &Survey) -> Vec<Row> {
    let row = |t: &teardownd::store::Tally| {
        assert_eq!((t.account.clone(), t.acknowledged), (default_account(), false));
        let (reason, due) = (t.reason, t.due_since);
        (t.state, t.status, reason, t.leased, t.stuck, t.superseded, t.teardowns, due)
    };
    let mut rows: Vec<Row> = survey.tallies.iter().map(row).collect();
    rows.sort_by_key(|row| (row.0, row.2, row.3, row.4, row.5));
    rows
}

pub(crate) async fn a_survey_counts_what_stands_alike(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    assert_eq!(survey(&bench, start()).await, Survey::default());
    bench.queue([1, 2, 3, 4], start()).await;
    bench.queue([5], at(50)).await;
    let later = NewTeardown { not_before: Some(at(9000)), ..wanted(6) };
    bench.store.enqueue(&[later], start()).await.unwrap();
    bench.ask(Verb::Hold, 3, at(1)).await;
    bench.ask(Verb::Abort, 4, at(1)).await;
    // One works, one waits, and one has failed before and stands there anew.
    let claimed = bench.claim(2, at(2)).await;
    let facts = seen(claimed[1].teardown.tenant_id, at(2));
    let wait = Commit {
        transition: Transition {
            reason: Some(Reason::CancellationPending),
            wake: Wake::At(at(500)),
            ..Transition::to(State::EntitlementsFetched)
        },
        ..step(&claimed[1], State::EntitlementsFetched, &facts, &bench.policy)
    };
    bench.store.commit(wait, at(2)).await.unwrap();
    bench.queue([7], at(3)).await;
    let again = bench.store.claim(&claim_all(), at(3)).await.unwrap();
    let failed = again.iter().find(|c| c.teardown.tenant_id == super::tenant(7)).unwrap();
    let facts = seen(failed.teardown.tenant_id, at(3));
    let end = Commit {
        transition: Transition {
            reason: Some(Reason::ApiRefused),
            ..Transition::to(State::Failed)
        },
        ..step(failed, State::Failed, &facts, &bench.policy)
    };
    bench.store.commit(end, at(3)).await.unwrap();

    let (queued, fetched) = (State::Queued, State::EntitlementsFetched);
    let (moving, waiting) = (Status::Moving, Status::Waiting);
    let (pending, none) = (Some(Reason::CancellationPending), None);
    let expected = |stuck: bool| {
        let hold = (queued, Status::Held, Some(Reason::Operator), false, stuck, false, 1, none);
        let early = (queued, waiting, Some(Reason::NotBefore), false, stuck, false, 1, none);
        [
            (queued, moving, None, false, false, false, 1, Some(at(50))),
            (queued, moving, None, true, stuck, false, 1, none),
            early,
            hold,
            (fetched, waiting, pending, false, stuck, false, 1, none),
            (State::Aborted, Status::Done, None, false, false, false, 1, none),
            (State::Failed, Status::Failed, Some(Reason::ApiRefused), false, false, false, 1, none),
        ]
    };
    assert_eq!(rows(&survey(&bench, at(60)).await), expected(false));
    assert_eq!(rows(&survey(&bench, at(149)).await), expected(true));

    bench.queue([7, 8], at(150)).await;
    let told = rows(&survey(&bench, at(150)).await);
    assert_eq!((told[0].6, told[0].7), (3, Some(at(50))), "alike, and due since the first was");
    assert!(told.last().unwrap().5, "a failure with a newer teardown is told apart");
    assert_eq!(bench.store.purge(at(999), start()).await.unwrap(), 2);
    let told = rows(&survey(&bench, at(150)).await);
    assert!(told.iter().all(|row| !row.0.is_terminal()), "what retention has removed is gone");
    // While somebody looks at it, it is stuck for the same reason: an alert must not begin anew.
    bench.claim(9, at(500)).await;
    let told = rows(&survey(&bench, at(501)).await);
    assert!(told.contains(&(fetched, moving, pending, true, true, false, 1, none)), "{told:?}");
}

fn claim_all() -> teardownd::store::ClaimRequest {
    teardownd::store::ClaimRequest {
        owner: "host/1".to_owned(),
        ttl: Duration::from_secs(1000),
        slots: vec![teardownd::store::Slots {
            account: default_account(),
            free: 1,
            most: usize::MAX,
            identity: None,
        }],
        working: vec![],
    }
}

pub(crate) async fn a_survey_counts_commands_deletions_and_requests(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.prove(start()).await;
    let full = Limit { requests: 10, reads: 8 };
    let asks = [Ask { bucket: Bucket::of_account(Resource::Order), writes: 2, reads: 3 }];
    let budget = Budget { window: REQUEST.budget_window, account: full, customer: full };
    bench.store.reserve(&default_account(), &asks, &budget, at(5)).await.unwrap();
    bench.queue([1], at(5)).await;
    let claimed = bench.claim_one(at(5)).await;
    bench.walk(&claimed, &[State::EntitlementsFetched], at(5)).await;
    bench.command(&claimed, State::Deleting, vec![delete(1)], at(6)).await;

    let counted = survey(&bench, at(8)).await.accounts.remove(&default_account()).unwrap();
    assert_eq!((counted.unsettled, counted.unsettled_since), (1, Some(at(6))));
    assert_eq!(counted.deletions, [start(), at(6)], "accepted and unsettled ones");
    assert_eq!(counted.requests, BTreeMap::from([(Resource::Order, 5)]));

    bench.ask(Verb::Ack, 1, at(8)).await;
    let counted = survey(&bench, at(8)).await.accounts.remove(&default_account()).unwrap();
    assert_eq!((counted.unsettled, counted.unsettled_since), (1, None), "acknowledged");

    let day = 24 * 3600;
    let counted = survey(&bench, at(day + 3)).await.accounts.remove(&default_account()).unwrap();
    assert_eq!(counted.deletions, [at(6)], "those of the last day");
    assert_eq!(counted.requests, BTreeMap::new(), "those of the window");
    // What a teardown that has ended leaves unsettled waits for its retry and not for the API.
    bench.walk(&claimed, &[State::Failed], at(9)).await;
    let counted = survey(&bench, at(10)).await.accounts.remove(&default_account()).unwrap();
    assert_eq!((counted.unsettled, counted.unsettled_since), (0, None));
}

pub(crate) async fn what_guards_keep_out_of_the_queue_is_kept_and_counted(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let refuse = |n: u32, guard| RefusedEnqueue {
        account: default_account(),
        tenant_id: tenant(n),
        guard,
        text: "it is protected".to_owned(),
        actor: "anna".to_owned(),
    };
    let (protected, domain) = (Reason::ProtectedTenant, Reason::DomainMismatch);
    let refused = [refuse(1, protected), refuse(2, protected), refuse(3, domain)];
    bench.store.note_refused(&refused, at(5)).await.unwrap();
    let counted = survey(&bench, at(6)).await.accounts.remove(&default_account()).unwrap();
    assert_eq!(counted.refused, BTreeMap::from([(protected, 2), (domain, 1)]));

    let range = AuditRange { since: start(), until: at(60), account: None };
    let kept = bench.store.audit(&range).await.unwrap();
    let AuditEntry::Request(first) = &kept[0] else { panic!("{kept:?}") };
    assert_eq!(kept.len(), 3);
    assert_eq!((first.verb.as_str(), first.actor.as_str()), ("enqueue", "anna"));
    assert_eq!(first.tenant_id, Some(tenant(1).to_string()));
    assert_eq!(first.reason.as_deref(), Some("protected_tenant"));
    assert_eq!(first.answer.as_deref(), Some("refused: it is protected"));
    // It asks for nothing: no row stands, and nothing waits to be applied.
    assert_eq!(bench.store.apply_requests(at(7)).await.unwrap(), 0);
    assert_eq!(bench.store.list(&Filter::default()).await.unwrap(), []);
}

pub(crate) async fn a_survey_tells_every_move_once(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let from = survey(&bench, at(1)).await;
    assert_eq!(from.moves, [], "what happened before is not told");
    let told = async |after| {
        let request = SurveyRequest { moves_after: Some(after), ..REQUEST };
        bench.store.survey(&request, at(999)).await.unwrap()
    };
    assert_eq!(told(from.last_move).await.last_move, from.last_move);

    let claimed = bench.claim_one(at(10)).await;
    bench.walk(&claimed, &[State::EntitlementsFetched], at(10)).await;
    bench.ask(Verb::Hold, 1, at(12)).await;
    bench.walk(&claimed, &[State::Failed], at(70)).await;
    bench.ask(Verb::Retry, 1, at(100)).await;
    bench.ask(Verb::Abort, 1, at(130)).await;
    let survey = told(from.last_move).await;
    let secs = |time: Option<Duration>| time.map(|time| time.as_secs());
    let moves: Vec<_> =
        survey.moves.iter().map(|m| (m.from, m.to, secs(m.in_state), secs(m.in_run))).collect();
    let (queued, fetched) = (State::Queued, State::EntitlementsFetched);
    assert_eq!(
        moves,
        [
            (Some(queued), fetched, Some(10), Some(10)),
            (Some(fetched), State::Failed, Some(60), Some(70)),
            (Some(State::Failed), queued, Some(30), Some(100)),
            (Some(queued), State::Aborted, Some(30), Some(30)),
        ],
        "holds are no moves, and a retry begins a run of its own"
    );
    assert!(survey.moves.iter().all(|m| m.account == AccountName::new("default")));
    assert_eq!(told(survey.last_move).await.moves, []);
    bench.queue([2], at(200)).await;
    let survey = told(survey.last_move).await;
    assert_eq!(survey.moves.len(), 1);
    assert_eq!((survey.moves[0].from, survey.moves[0].in_state), (None, None));
}
