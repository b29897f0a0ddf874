//! Accounts of the configuration, retention, counts and the daemon's sign of life.

use std::time::Duration;

use teardownd::core::command::Action;
use teardownd::core::database_time::Reading;
use teardownd::core::ids::AccountName;
use teardownd::core::key::ResourceKey;
use teardownd::core::machine::{Transition, Wake};
use teardownd::core::reason::Reason;
use teardownd::core::routes::{Kind, Route, Standing};
use teardownd::core::teardown::{NewTeardown, State};
use teardownd::store::{
    Commit, Filter, Presence, PurchaseRecord, ReloadAnswer, Replica, StoreError, Verb,
};

use super::{Backend, Bench, at, default_account, delete, seen, start, step, tenant, wanted};

pub(crate) async fn invariant_11_unknown_accounts_hold_their_rows(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let typo = NewTeardown { account: AccountName::new("defualt"), ..wanted(1) };
    bench.store.enqueue(&[typo, wanted(2)], start()).await.unwrap();
    for time in [at(10), at(11)] {
        bench.store.check_accounts(&[default_account()], time).await.unwrap();
    }
    let row = bench.row(1).await;
    let hold = row.holds.first().cloned().unwrap();
    assert_eq!((hold.code, row.eligible_since), (Reason::UnknownAccount, None));
    assert!(hold.text.contains("defualt"), "{}", hold.text);
    assert_eq!(bench.row(2).await.holds.first(), None);
    let known = [default_account(), AccountName::new("defualt")];
    bench.store.check_accounts(&known, at(20)).await.unwrap();
    let row = bench.row(1).await;
    assert_eq!((row.holds.first(), row.eligible_since), (None, Some(at(20))));
    assert_eq!(bench.store.history(None, tenant(1)).await.unwrap().len(), 3);
    // An operator's hold is not lifted by this.
    bench.ask(Verb::Hold, 2, at(21)).await;
    bench.store.check_accounts(&known, at(22)).await.unwrap();
    assert!(bench.row(2).await.holds.stand());
}

pub(crate) async fn invariant_12_only_terminal_rows_are_purged(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.prove(start()).await;
    bench.queue([1, 2, 3], start()).await;
    let rows = bench.claim(3, at(1)).await;
    let facts = seen(rows[0].teardown.tenant_id, at(10));
    let read = PurchaseRecord {
        key: ResourceKey::order("a"),
        kind: Kind::PerpetualSoftware,
        name: "Windows".to_owned(),
        route: Route::By(Action::CancelOrder),
        status: "completed".to_owned(),
        standing: Standing::Active,
        order_id: None,
        blocked: None,
        cancellable_until: None,
    };
    let commit = Commit {
        purchases: Some(teardownd::store::PurchasesRead::All(vec![read])),
        ..step(&rows[0], State::Failed, &facts, &bench.policy)
    };
    bench.store.commit(commit, at(10)).await.unwrap();
    bench.walk(&rows[1], &[State::Failed], at(100)).await;
    bench.walk(&rows[2], &[State::EntitlementsFetched], at(1)).await;
    assert_eq!(bench.store.purge(at(50), start()).await.unwrap(), 2);
    assert_eq!(bench.store.purchases(rows[0].teardown.id).await.unwrap(), []);
    let left: Vec<_> = bench.store.list(&Filter::default()).await.unwrap();
    let mut left: Vec<_> = left.iter().map(|row| row.tenant_id).collect();
    left.sort_unstable();
    assert_eq!(left, [tenant(2), tenant(3)]);
    assert_eq!(bench.store.history(None, tenant(1)).await.unwrap().len(), 2, "kept longer");
    assert_eq!(bench.store.purge(at(50), at(60)).await.unwrap(), 0);
    assert_eq!(bench.store.history(None, tenant(1)).await.unwrap(), []);
    assert_eq!(bench.store.history(None, tenant(2)).await.unwrap().len(), 2, "its row stands");
    assert_eq!(bench.store.history(None, tenant(3)).await.unwrap().len(), 2);
    // An id is never used twice.
    bench.queue([5], at(70)).await;
    assert!(bench.row(5).await.id > rows[2].teardown.id);
    assert_eq!(bench.store.purge(at(9999), at(9999)).await.unwrap(), 1);
    assert_eq!(bench.store.list(&Filter::default()).await.unwrap().len(), 2);
}

pub(crate) async fn a_delete_is_remembered_while_its_tenant_has_a_row(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let claimed = bench.claim_one(start()).await;
    bench.walk(&claimed, &[State::EntitlementsFetched], start()).await;
    bench.command(&claimed, State::Deleting, vec![delete(1)], start()).await;
    bench.send_accepted(&claimed, 1, start()).await;
    bench.walk(&claimed, &[State::Failed], at(1)).await;
    bench.queue([1], at(2)).await;
    assert_eq!(bench.store.purge(at(9999), at(9999)).await.unwrap(), 1);
    let commands = bench.store.commands(&default_account(), tenant(1)).await.unwrap();
    assert_eq!(commands.len(), 1, "the new row must know of the DELETE");
    let claimed = bench.claim_one(at(3)).await;
    bench.walk(&claimed, &[State::Failed], at(4)).await;
    assert_eq!(bench.store.purge(at(9999), at(9999)).await.unwrap(), 1);
    assert_eq!(bench.store.commands(&default_account(), tenant(1)).await.unwrap(), []);
}

pub(crate) async fn the_sign_of_life(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    assert_eq!(bench.store.replicas().await.unwrap(), []);
    let reading = |seconds: u64| Reading {
        boot: "a".to_owned(),
        uptime: Duration::from_secs(seconds),
        wall: start() + Duration::from_secs(seconds),
    };
    let mut host = Replica {
        accounts: vec![default_account()],
        ..Replica::starting("host", "host/1/ab".to_owned(), at(1))
    };
    bench.store.tick(&reading(2), &host).await.unwrap();
    let (kept, step) = bench.store.tick(&reading(3), &host).await.unwrap();
    assert_eq!((kept.anchor.at, step), (at(3), None));
    host.ticked_at = at(3);
    assert_eq!(bench.store.replicas().await.unwrap(), [host.clone()]);
    assert_eq!(bench.store.apply_requests(at(3)).await.unwrap(), 0);

    let presence = async |name: &str, now| {
        let replicas = bench.store.replicas().await.unwrap();
        replicas.iter().find(|replica| replica.name == name).map(|replica| replica.presence(now))
    };
    let other = Replica::starting("other", "other/2/cd".to_owned(), at(20));
    bench.store.tick(&reading(20), &other).await.unwrap();
    assert_eq!(presence("host", at(33)).await, Some(Presence::Working));
    assert_eq!(presence("host", at(34)).await, Some(Presence::Silent));
    assert_eq!(presence("other", at(34)).await, Some(Presence::Working));
    bench.store.stop(&host, at(35)).await.unwrap();
    assert_eq!(presence("host", at(36)).await, Some(Presence::Stopped));
    bench.store.tick(&reading(40), &host).await.unwrap();
    assert_eq!(presence("host", at(41)).await, Some(Presence::Working), "it has started again");
    let week = 7 * 86_400;
    bench.store.tick(&reading(30 + week), &host).await.unwrap();
    assert_eq!(presence("other", at(30 + week as i64)).await, None, "long gone, and forgotten");
}

pub(crate) async fn requests_to_reload_are_answered_once(backend: &dyn Backend) {
    let store = backend.open().await;
    assert_eq!(store.open_reloads("host").await.unwrap(), Vec::<i64>::new());
    let first = store.ask_reload("anna", start()).await.unwrap();
    let second = store.ask_reload("ben", at(1)).await.unwrap();
    assert_eq!(store.open_reloads("host").await.unwrap(), [first, second]);
    assert_eq!(store.reload_answer(first, at(3)).await.unwrap(), None);

    let refused = ReloadAnswer {
        taken_up: false,
        text: "engine.lease_ttl: 3 does not fit".to_owned(),
        changed: Vec::new(),
        restart: Vec::new(),
    };
    store.answer_reloads("host", &[first], &refused, at(2)).await.unwrap();
    assert_eq!(store.open_reloads("host").await.unwrap(), [second]);
    let done = ReloadAnswer {
        taken_up: true,
        text: "taken up".to_owned(),
        changed: vec!["safety.grace".to_owned()],
        restart: vec!["metrics.listen".to_owned()],
    };
    store.answer_reloads("host", &[first, second], &done, at(3)).await.unwrap();
    assert_eq!(
        store.reload_answer(first, at(3)).await.unwrap(),
        Some(refused),
        "the first answer stays"
    );
    assert_eq!(store.reload_answer(second, at(3)).await.unwrap(), Some(done.clone()));

    // Only the latest hundred are kept, and none is lost that waits.
    let waiting = store.ask_reload("anna", at(4)).await.unwrap();
    for _ in 0..100 {
        let id = store.ask_reload("anna", at(5)).await.unwrap();
        store.answer_reloads("host", &[id], &done, at(5)).await.unwrap();
    }
    assert!(matches!(store.reload_answer(first, at(3)).await, Err(StoreError::NotFound(_))));
    assert_eq!(store.open_reloads("host").await.unwrap(), [waiting]);
}

pub(crate) async fn what_waits_because_of_an_answer_is_woken_by_new_codes(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1, 2], start()).await;
    let rows = bench.claim(2, start()).await;
    for (row, reason) in rows.iter().zip([Reason::PurchasePending, Reason::Window]) {
        let facts = seen(row.teardown.tenant_id, at(1));
        let step = step(row, State::Queued, &facts, &bench.policy);
        let commit = Commit {
            transition: Transition {
                reason: Some(reason),
                wake: Wake::At(at(500)),
                ..Transition::to(State::Queued)
            },
            ..step
        };
        bench.store.commit(commit, at(1)).await.unwrap();
    }
    for (changed, woken) in [("safety.grace", false), ("codes.409/123456", true)] {
        let id = bench.store.ask_reload("anna", at(2)).await.unwrap();
        let answer = ReloadAnswer {
            taken_up: true,
            text: "taken up".to_owned(),
            changed: vec![changed.to_owned()],
            restart: Vec::new(),
        };
        bench.store.answer_reloads("host", &[id], &answer, at(2)).await.unwrap();
        assert_eq!(bench.row(1).await.next_attempt_at.is_none(), woken, "{changed}");
    }
    assert!(bench.row(2).await.next_attempt_at.is_some(), "a window is no answer");
}
