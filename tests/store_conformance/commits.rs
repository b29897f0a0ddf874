//! Commits: what they store, what they refuse, and what each verdict does.

use teardownd::core::command::{Action, Outcome};
use teardownd::core::gates::Verdict;
use teardownd::core::key::ResourceKey;
use teardownd::core::machine::{Transition, Wake};
use teardownd::core::reason::Reason;
use teardownd::core::routes::{Kind, Route, Standing};
use teardownd::core::teardown::{State, Status};
use teardownd::store::{Claimed, Commit, Filter, PurchaseRecord, PurchasesRead, StoreError, Verb};

use super::{
    Backend, Bench, at, cancel, command_id, default_account, delete, request, seen, start, step,
    tenant,
};

use State::{
    Aborted, Deleted, Deleting, EntitlementsFetched, Failed, OrdersCancelling, Polling, Queued,
};

pub(crate) async fn a_commit_stores_what_it_says(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let claimed = bench.claim_one(start()).await;
    let facts = seen(tenant(1), at(1));
    let commit = Commit {
        domain: Some("t.onmicrosoft.com".to_owned()),
        transition: Transition {
            reason: Some(Reason::CancellationPending),
            text: Some("2 orders".to_owned()),
            attempts: 2,
            polls: 3,
            rounds: 1,
            suspects: vec!["a'\"b".to_owned()],
            wake: Wake::At(at(9)),
            ..Transition::to(EntitlementsFetched)
        },
        ..step(&claimed, EntitlementsFetched, &facts, &bench.policy)
    };
    let done = bench.store.commit(commit, at(1)).await.unwrap();
    assert_eq!((done.admitted.len(), &done.verdict), (0, &None));
    let row = bench.row(1).await;
    assert_eq!(row, done.teardown);
    assert_eq!((row.state, row.state_since), (EntitlementsFetched, at(1)));
    assert_eq!(
        (row.reason, row.reason_text.as_deref()),
        (Some(Reason::CancellationPending), Some("2 orders"))
    );
    assert_eq!((row.attempts, row.polls, row.rounds), (2, 3, 1));
    assert_eq!(row.suspects, ["a'\"b"]);
    assert_eq!(row.domain.as_deref(), Some("t.onmicrosoft.com"));
    assert_eq!((row.next_attempt_at, &row.lease, row.updated_at), (Some(at(9)), &None, at(1)));
    assert_eq!(row.status(at(2)), Status::Waiting);
    // Staying in a state writes no history.
    let claimed = bench.claim_one(at(9)).await;
    bench.walk(&claimed, &[EntitlementsFetched], at(10)).await;
    let row = bench.row(1).await;
    assert_eq!(row.state_since, at(1));
    assert_eq!(row.domain.as_deref(), Some("t.onmicrosoft.com"), "kept");
    assert!(row.lease.is_some(), "the reconciler goes on");
    let history = bench.store.history(None, tenant(1)).await.unwrap();
    let moves: Vec<_> = history.iter().map(|h| (h.from, h.to, h.at, h.actor.as_str())).collect();
    assert_eq!(
        moves,
        [(None, Queued, start(), "ann"), (Some(Queued), EntitlementsFetched, at(1), "teardownd")]
    );
    assert_eq!(history[1].reason, Some(Reason::CancellationPending));
    assert_eq!(history[1].text.as_deref(), Some("2 orders"));
}

/// The moves of the design, besides the one to `failed` from anywhere before the end.
const EDGES: [(State, State); 8] = [
    (Queued, EntitlementsFetched),
    (EntitlementsFetched, OrdersCancelling),
    (EntitlementsFetched, Deleting),
    (OrdersCancelling, Polling),
    (Polling, OrdersCancelling),
    (Polling, Deleting),
    (Deleting, OrdersCancelling),
    (Deleting, Deleted),
];

fn path_to(state: State) -> &'static [State] {
    match state {
        Queued => &[],
        EntitlementsFetched => &[EntitlementsFetched],
        OrdersCancelling => &[EntitlementsFetched, OrdersCancelling],
        Polling => &[EntitlementsFetched, OrdersCancelling, Polling],
        Deleting => &[EntitlementsFetched, Deleting],
        Deleted => &[EntitlementsFetched, Deleting, Deleted],
        Failed | Aborted => &[Failed],
    }
}

pub(crate) async fn invariant_11_illegal_moves_are_refused(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let mut number = 0;
    for from in State::ALL.into_iter().filter(|state| !state.is_terminal()) {
        for to in State::ALL {
            number += 1;
            bench.queue([number], start()).await;
            let claimed = bench.claim_one(start()).await;
            bench.walk(&claimed, path_to(from), start()).await;
            if (from, to) == (Deleting, Deleted) {
                bench.delete_accepted(&claimed, start()).await;
            }
            let facts = seen(tenant(number), start());
            let result =
                bench.store.commit(step(&claimed, to, &facts, &bench.policy), start()).await;
            let legal = from == to || to == Failed || EDGES.contains(&(from, to));
            match result {
                Ok(_) => assert!(legal, "{from:?} to {to:?} went through"),
                Err(StoreError::Refused(_)) => assert!(!legal, "{from:?} to {to:?} was refused"),
                Err(other) => panic!("{other}"),
            }
            assert_eq!(bench.row(number).await.state, if legal { to } else { from });
        }
    }
}

pub(crate) async fn invariant_12_terminal_rows_stay(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    for (number, end) in [(1, Deleted), (2, Failed), (3, Aborted)] {
        bench.queue([number], start()).await;
        let claimed = bench.claim_one(start()).await;
        bench.walk(&claimed, path_to(end), at(1)).await;
        if end == Aborted {
            assert!(bench.ask(Verb::Retry, number, at(1)).await.applied);
            assert!(bench.ask(Verb::Abort, number, at(1)).await.applied);
        }
        let row = bench.row(number).await;
        assert_eq!((row.state, row.finished_at, &row.lease), (end, Some(at(1)), &None));
        assert_eq!(row.next_attempt_at, None);
        let facts = seen(tenant(number), at(2));
        for state in State::ALL {
            let commit = step(&claimed, state, &facts, &bench.policy);
            assert!(bench.store.commit(commit, at(2)).await.is_err(), "{end:?} to {state:?}");
        }
        for verb in [Verb::Hold, Verb::Release, Verb::Abort] {
            assert!(!bench.ask(verb, number, at(2)).await.applied);
        }
        assert_eq!(bench.ask(Verb::Retry, number, at(2)).await.applied, end == Failed);
        if end != Failed {
            assert_eq!(bench.row(number).await, row);
        } else {
            assert!(bench.ask(Verb::Hold, number, at(2)).await.applied);
        }
        assert_eq!(bench.claim(1, at(3)).await, []);
    }
}

/// A row claimed and ready for cancellations.
async fn ready(bench: &Bench, number: u32) -> Claimed {
    bench.queue([number], start()).await;
    let claimed = bench.claim_one(start()).await;
    bench.walk(&claimed, &[EntitlementsFetched], start()).await;
    claimed
}

pub(crate) async fn a_wait_parks_the_row_with_its_reason(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.policy.dry_run = true;
    let claimed = ready(&bench, 1).await;
    let done = bench.command(&claimed, OrdersCancelling, vec![cancel(1, "a")], at(1)).await;
    let Some(Verdict::Wait { reason, until, text }) = done.verdict else { panic!("{done:?}") };
    assert_eq!((reason, done.admitted.len()), (Reason::DryRun, 0));
    let row = bench.row(1).await;
    assert_eq!(row.state, OrdersCancelling);
    assert_eq!((row.reason, row.reason_text.as_deref()), (Some(reason), Some(text.as_str())));
    assert_eq!((row.next_attempt_at, row.lease), (Some(until), None));
    assert_eq!(bench.store.commands(&default_account(), tenant(1)).await.unwrap(), []);
}

pub(crate) async fn stale_facts_leave_the_row_as_it_is(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let claimed = ready(&bench, 1).await;
    let before = bench.row(1).await;
    let old = seen(tenant(1), start());
    let commit = Commit {
        commands: vec![cancel(1, "a")],
        transition: Transition {
            reason: Some(Reason::PurchaseActive),
            attempts: 7,
            ..Transition::to(OrdersCancelling)
        },
        ..step(&claimed, OrdersCancelling, &old, &bench.policy)
    };
    let done = bench.store.commit(commit, at(61)).await.unwrap();
    assert_eq!((done.verdict, done.admitted.len()), (Some(Verdict::Stale), 0));
    let row = bench.row(1).await;
    assert_eq!((row.state, row.reason, row.attempts), (before.state, before.reason, 0));
    assert_eq!(row.lease, before.lease, "the reconciler reads again");
}

pub(crate) async fn a_hold_by_a_guard_is_stored(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.policy.protected_tenants.push(tenant(1));
    let claimed = ready(&bench, 1).await;
    let commands = vec![cancel(1, "a"), cancel(2, "b")];
    let done = bench.command(&claimed, OrdersCancelling, commands, at(1)).await;
    assert!(matches!(done.verdict, Some(Verdict::Hold { .. })));
    let row = bench.row(1).await;
    let hold = row.holds.first().cloned().unwrap();
    assert_eq!((hold.code, hold.since), (Reason::ProtectedTenant, at(1)));
    assert_eq!(hold.actor, "protected_tenant");
    assert_eq!((&row.lease, row.eligible_since), (&None, None));
    assert_eq!(row.status(at(2)), Status::Held);
    assert_eq!(bench.claim(1, at(999)).await, []);
    let last = bench.store.history(None, tenant(1)).await.unwrap().pop().unwrap();
    assert_eq!((last.from, last.to), (Some(OrdersCancelling), OrdersCancelling));
    assert_eq!(last.reason, Some(Reason::ProtectedTenant));
}

pub(crate) async fn a_halt_by_a_guard_stops_the_account(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.policy.customers_limit = 2;
    let claimed = ready(&bench, 1).await;
    bench.queue([2], start()).await;
    let done = bench.command(&claimed, OrdersCancelling, vec![cancel(1, "a")], at(1)).await;
    assert!(matches!(done.verdict, Some(Verdict::Halt { .. })));
    let halted = bench.store.account(&default_account()).await.unwrap().halted.unwrap();
    assert_eq!(halted.actor, "too_many_customers");
    let row = bench.row(1).await;
    assert_eq!(row, done.teardown);
    assert_eq!((row.reason, row.holds.first(), &row.lease), (Some(Reason::Halted), None, &None));
    assert_eq!(row.eligible_since, None);
    assert_eq!(bench.row(2).await.eligible_since, None);
    assert_eq!(bench.claim(9, at(999)).await, []);
    let unhalt = request(Verb::Unhalt, Filter::default());
    assert!(bench.store.request(&unhalt, at(1000)).await.unwrap()[0].applied);
    assert_eq!(bench.claim(9, at(1000)).await.len(), 2, "due at once");
}

pub(crate) async fn invariant_4_one_unsettled_command_per_resource(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.prove(start()).await;
    let claimed = ready(&bench, 1).await;
    let commands = vec![cancel(1, "a"), cancel(2, "a"), cancel(3, "b")];
    let done = bench.command(&claimed, OrdersCancelling, commands, at(1)).await;
    let ids: Vec<_> = done.admitted.iter().map(|command| command.id).collect();
    assert_eq!(ids, [command_id(1), command_id(3)], "one in the same commit");
    assert!(matches!(done.verdict, Some(Verdict::Wait { reason: Reason::ResourceBusy, .. })));
    assert!(done.teardown.lease.is_some(), "what was admitted goes out");
    let done = bench.command(&claimed, OrdersCancelling, vec![cancel(4, "a")], at(2)).await;
    assert_eq!(done.admitted, [], "one in a later commit");
    let claimed = bench.claim_one(at(10)).await;
    bench.send_accepted(&claimed, 1, at(10)).await;
    let done = bench.command(&claimed, OrdersCancelling, vec![cancel(5, "a")], at(11)).await;
    assert_eq!(done.admitted.len(), 1, "settled: a new attempt is a new command");
    let stored = bench.store.commands(&default_account(), tenant(1)).await.unwrap();
    let ids: Vec<_> = stored.iter().map(|command| command.id).collect();
    assert_eq!(ids, [command_id(1), command_id(3), command_id(5)], "oldest first");
    assert_eq!(stored[2], done.admitted[0]);
}

pub(crate) async fn invariant_2_the_first_write_goes_out_alone(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let (first, second) = (ready(&bench, 1).await, ready(&bench, 2).await);
    let commands = vec![cancel(1, "a"), cancel(2, "b")];
    let done = bench.command(&first, OrdersCancelling, commands, at(1)).await;
    assert_eq!(done.admitted.len(), 1, "alone in its own commit");
    let waits = bench.command(&second, OrdersCancelling, vec![cancel(3, "c")], at(1)).await;
    assert_eq!(waits.admitted, [], "alone account-wide");
    let Some(Verdict::Wait { reason: Reason::Canary, text, .. }) = waits.verdict else {
        panic!("{:?}", waits.verdict);
    };
    assert!(text.contains(&tenant(1).to_string()), "{text}");
    assert!(bench.row(2).await.lease.is_some(), "it waits with what it has read");
    bench.send_accepted(&first, 1, at(2)).await;
    let proven = bench.store.account(&default_account()).await.unwrap().proven;
    assert_eq!((proven.write, proven.reservation, proven.delete), (true, false, false));
    // The step is never alone again.
    let commands = vec![cancel(4, "c"), cancel(5, "d")];
    let done = bench.command(&second, OrdersCancelling, commands, at(3)).await;
    assert_eq!(done.admitted.len(), 2);
}

pub(crate) async fn invariant_3_deletion_caps_hold_with_a_clock_set_back(backend: &dyn Backend) {
    let mut bench = Bench::new(backend).await;
    bench.prove(at(7200)).await;
    bench.policy.max_deletions_per_hour = 2;
    bench.queue([1, 2], start()).await;
    let rows = bench.claim(2, start()).await;
    for row in &rows {
        bench.walk(row, &[EntitlementsFetched], start()).await;
    }
    // One deletion was counted at 7200. The clock now stands two hours earlier.
    let done = bench.command(&rows[0], Deleting, vec![delete(1)], at(10)).await;
    assert_eq!(done.admitted.len(), 1);
    bench.send_accepted(&rows[0], 1, at(10)).await;
    let done = bench.command(&rows[1], Deleting, vec![delete(2)], at(11)).await;
    assert_eq!(done.admitted, []);
    assert!(matches!(done.verdict, Some(Verdict::Wait { reason: Reason::CapHour, .. })));
    assert_eq!(bench.row(2).await.holds.first(), None, "a full cap means waiting");
    // It opens once the oldest has aged out.
    let row = bench.claim_one(at(7200 + 3601)).await;
    let done = bench.command(&row, Deleting, vec![delete(3)], at(7200 + 3601)).await;
    assert_eq!(done.admitted.len(), 1);
}

fn purchase(key: &str, standing: Standing) -> PurchaseRecord {
    PurchaseRecord {
        key: ResourceKey::order(key),
        kind: Kind::Reservation,
        name: "VM".to_owned(),
        route: Route::By(Action::CancelOrder),
        status: "completed".to_owned(),
        standing,
        order_id: Some("o".to_owned()),
        blocked: Some("why".to_owned()),
        cancellable_until: None,
    }
}

pub(crate) async fn purchases_are_merged(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let claimed = ready(&bench, 1).await;
    let id = claimed.teardown.id;
    let read = async |purchases: Option<PurchasesRead>, now| {
        let facts = seen(tenant(1), now);
        let commit =
            Commit { purchases, ..step(&claimed, EntitlementsFetched, &facts, &bench.policy) };
        bench.store.commit(commit, now).await.unwrap();
        bench.store.purchases(id).await.unwrap()
    };
    let all = |purchases| Some(PurchasesRead::All(purchases));
    let some = |purchases| Some(PurchasesRead::Some(purchases));
    let stored =
        read(all(vec![purchase("b", Standing::Active), purchase("a", Standing::Inactive)]), at(1))
            .await;
    assert_eq!(
        stored.iter().map(|p| p.record.key.clone()).collect::<Vec<_>>(),
        ["a", "b"].map(ResourceKey::order)
    );
    assert_eq!(stored[0].inactive_at, Some(at(1)));
    assert_eq!(
        (stored[1].inactive_at, &stored[1].record),
        (None, &purchase("b", Standing::Active))
    );
    assert_eq!(read(None, at(2)).await, stored);
    let stored = read(all(vec![purchase("a", Standing::Inactive)]), at(3)).await;
    assert_eq!((stored[0].first_seen_at, stored[0].last_seen_at), (at(1), at(3)));
    assert_eq!(stored[0].inactive_at, Some(at(3)), "the latest reading counts");
    let gone = &stored[1];
    assert_eq!((gone.record.status.as_str(), gone.record.standing), ("gone", Standing::Inactive));
    assert_eq!((gone.last_seen_at, gone.inactive_at), (at(1), Some(at(3))));
    let stored =
        read(all(vec![purchase("a", Standing::Active), purchase("b", Standing::Active)]), at(4))
            .await;
    assert_eq!(stored[0].inactive_at, Some(at(3)), "kept when it comes back");
    assert_eq!(stored[1].first_seen_at, at(1));
    // A poll of single lists: the others stay as they are, and nothing new is taken in.
    let mut polled = purchase("b", Standing::Inactive);
    polled.kind = Kind::SavingsPlan;
    let stored = read(some(vec![polled, purchase("c", Standing::Active)]), at(5)).await;
    assert_eq!(
        stored.iter().map(|p| p.record.key.clone()).collect::<Vec<_>>(),
        ["a", "b"].map(ResourceKey::order)
    );
    assert_eq!((stored[0].record.standing, stored[0].last_seen_at), (Standing::Active, at(4)));
    assert_eq!((stored[1].record.standing, stored[1].last_seen_at), (Standing::Inactive, at(5)));
    assert_eq!(stored[1].record.kind, purchase("b", Standing::Active).kind, "a poll knows no kind");
    assert_eq!(stored[1].inactive_at, Some(at(5)));
    let stored = read(all(Vec::new()), at(6)).await;
    assert!(stored.iter().all(|p| p.record.standing == Standing::Inactive));
}

pub(crate) async fn a_refused_commit_changes_nothing(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let claimed = ready(&bench, 1).await;
    let done = bench.command(&claimed, OrdersCancelling, vec![cancel(1, "a")], at(1)).await;
    let facts = seen(tenant(1), at(2));
    let bad = [
        Commit {
            purchases: Some(PurchasesRead::All(vec![purchase("a", Standing::Active)])),
            transition: Transition {
                settled: vec![(command_id(1), Outcome::GoalReached, "read".to_owned())],
                ..Transition::to(Deleted)
            },
            ..step(&claimed, Deleted, &facts, &bench.policy)
        },
        Commit {
            transition: Transition {
                settled: vec![(command_id(77), Outcome::GoalReached, "unknown".to_owned())],
                ..Transition::to(Polling)
            },
            ..step(&claimed, Polling, &facts, &bench.policy)
        },
        Commit { commands: vec![cancel(2, "b")], ..step(&claimed, Failed, &facts, &bench.policy) },
    ];
    for commit in bad {
        bench.store.commit(commit, at(2)).await.unwrap_err();
    }
    assert_eq!(bench.row(1).await, done.teardown);
    assert_eq!(bench.stored(tenant(1), 1).await.outcome, None);
    assert_eq!(bench.store.purchases(claimed.teardown.id).await.unwrap(), []);
    assert_eq!(bench.store.history(None, tenant(1)).await.unwrap().len(), 3);
}

pub(crate) async fn an_end_withdraws_what_was_not_sent(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.prove(start()).await;
    let claimed = ready(&bench, 1).await;
    let commands = vec![cancel(1, "a"), cancel(2, "b")];
    bench.command(&claimed, OrdersCancelling, commands, at(1)).await;
    assert_eq!(bench.send(&claimed, 1, at(1)).await, Verdict::Allow);
    bench.walk(&claimed, &[Failed], at(2)).await;
    assert_eq!(bench.stored(tenant(1), 1).await.outcome, None, "its effect is unknown");
    let unsent = bench.stored(tenant(1), 2).await;
    assert_eq!((unsent.outcome, unsent.settled_at), (Some(Outcome::Withdrawn), Some(at(2))));
}
