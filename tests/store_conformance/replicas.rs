//! Several processes on one database.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use teardownd::core::account::Identity;
use teardownd::core::database_time::Reading;
use teardownd::core::ids::AccountName;
use teardownd::core::teardown::State;
use teardownd::store::{ClaimRequest, Claimed, ReloadAnswer, Replica, Slots, Store, StoreError};
use uuid::Uuid;

use super::{Backend, Bench, at, default_account, seen, start, step};

fn replica(name: &str, accounts: &[AccountName]) -> Replica {
    let accounts = accounts.to_vec();
    Replica { accounts, ..Replica::starting(name, format!("{name}/1/ab"), start()) }
}

async fn tick(store: &Store, replica: &Replica, seconds: u64) {
    let wall = start() + Duration::from_secs(seconds);
    let reading = Reading { boot: "a".to_owned(), uptime: Duration::from_secs(seconds), wall };
    store.tick(&reading, replica).await.unwrap();
}

async fn claim(store: &Store, owner: &str, slots: Slots, now: Timestamp) -> Vec<Claimed> {
    let ttl = Duration::from_secs(60);
    let request =
        ClaimRequest { owner: owner.to_owned(), ttl, slots: vec![slots], working: vec![] };
    store.claim(&request, now).await.unwrap()
}

fn slots(free: usize, most: usize, identity: Option<Identity>) -> Slots {
    Slots { account: default_account(), free, most, identity }
}

fn app(number: u128) -> Identity {
    Identity {
        partner_tenant: super::tenant(900),
        cloud: "global".to_owned(),
        client_id: Uuid::from_u128(number),
    }
}

pub(crate) async fn an_account_has_its_limit_over_all_processes(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue(1..=9, start()).await;
    let one = claim(&bench.store, "one/1", slots(4, 6, None), start()).await;
    let other = claim(&bench.store, "other/1", slots(4, 6, None), start()).await;
    assert_eq!((one.len(), other.len()), (4, 2));
    let none = claim(&bench.store, "third/1", slots(4, 6, None), start()).await;
    assert_eq!(none.len(), 0);
    // What one gives back another may have; what lapses counts no more.
    bench.store.release(one[0].teardown.id, one[0].fence, at(1)).await.unwrap();
    assert_eq!(claim(&bench.store, "third/1", slots(4, 6, None), at(1)).await.len(), 1);
    assert_eq!(claim(&bench.store, "third/1", slots(9, 6, None), at(70)).await.len(), 6);
}

pub(crate) async fn invariant_1_an_account_that_became_another_partner_is_nobodys_of_before(
    backend: &dyn Backend,
) {
    let bench = Bench::new(backend).await;
    bench.queue(1..=2, start()).await;
    bench.store.adopt(&[(default_account(), app(1))], start()).await.unwrap();
    let old = claim(&bench.store, "old/1", slots(1, 9, Some(app(1))), start()).await;
    assert_eq!(old.len(), 1);
    // A replica of the same configuration starts: nothing changes.
    bench.store.adopt(&[(default_account(), app(1))], at(1)).await.unwrap();
    bench
        .store
        .renew("old/1", &[(old[0].teardown.id, old[0].fence)], Duration::from_secs(60), at(1))
        .await
        .unwrap();
    // One with another app starts.
    bench.store.adopt(&[(default_account(), app(2))], at(2)).await.unwrap();
    let facts = seen(old[0].teardown.tenant_id, at(2));
    let commit = step(&old[0], State::EntitlementsFetched, &facts, &bench.policy);
    let lost = bench.store.commit(commit, at(2)).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost(_))), "{lost:?}");
    let own = [(default_account(), app(1))];
    assert_eq!(bench.store.other_partners(&own).await.unwrap(), [default_account()]);
    let none = claim(&bench.store, "old/1", slots(9, 9, Some(app(1))), at(2)).await;
    assert_eq!(none.len(), 0);
    let new = claim(&bench.store, "new/1", slots(9, 9, Some(app(2))), at(2)).await;
    assert_eq!(new.len(), 2);
}

pub(crate) async fn an_account_that_another_replica_knows_holds_no_row(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], start()).await;
    let other = AccountName::new("other");
    tick(&bench.store, &replica("a", &[default_account()]), 1).await;
    tick(&bench.store, &replica("b", std::slice::from_ref(&other)), 1).await;
    let is_held = async || bench.row(1).await.holds.stand();
    bench.store.check_accounts(std::slice::from_ref(&other), at(2)).await.unwrap();
    assert!(!is_held().await, "replica a knows the account");
    // It falls silent, and nobody else can work on the account.
    bench.store.check_accounts(std::slice::from_ref(&other), at(40)).await.unwrap();
    assert!(is_held().await);
    tick(&bench.store, &replica("a", &[default_account()]), 41).await;
    bench.store.check_accounts(&[other], at(42)).await.unwrap();
    assert!(!is_held().await);
}

pub(crate) async fn a_job_is_done_by_one_replica_at_a_time(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let store = &bench.store;
    let hour = SignedDuration::from_hours(1);
    let begin = async |owner: &str, now| {
        store.begin_run("sweep", owner, |ran_at| ran_at + hour <= now, now, now).await.unwrap()
    };
    assert!(!begin("a/1", start()).await, "one that is new counts as done");
    assert!(!begin("a/1", at(3599)).await);
    assert!(begin("a/1", at(3600)).await);
    assert!(!begin("b/1", at(3601)).await, "somebody does it");
    store.end_run("sweep", "b/1", Some(at(3601))).await.unwrap();
    assert!(!begin("b/1", at(3602)).await, "only who has begun it ends it");
    store.end_run("sweep", "a/1", Some(at(3600))).await.unwrap();
    assert!(!begin("b/1", at(3603)).await, "it is done");
    // One that failed is not done, and neither is one whose process is gone.
    assert!(begin("b/1", at(7200)).await);
    store.end_run("sweep", "b/1", None).await.unwrap();
    assert!(begin("a/1", at(7201)).await);
    assert!(!begin("b/1", at(7800)).await);
    assert!(begin("b/1", at(7801)).await, "ten minutes later nobody does it any more");
    store.take_over("b", at(7802)).await.unwrap();
    assert!(begin("b/2", at(7802)).await, "a new process of the name begins at once");
    // The clock is set back by a day.
    store.end_run("sweep", "b/2", Some(at(86_400))).await.unwrap();
    assert!(begin("b/2", at(7900)).await);
}

pub(crate) async fn a_reload_is_answered_by_every_replica_that_works(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let store = &bench.store;
    let answer = |taken_up, text: &str, changed: &str| ReloadAnswer {
        taken_up,
        text: text.to_owned(),
        changed: vec![changed.to_owned()],
        restart: Vec::new(),
    };
    for name in ["a", "b", "c"] {
        tick(store, &replica(name, &[]), 1).await;
    }
    store.stop("c", at(2)).await.unwrap();
    let id = store.ask_reload("anna", at(3)).await.unwrap();
    store.answer_reloads("a", &[id], &answer(true, "taken up", "log.filter"), at(3)).await.unwrap();
    assert_eq!(store.reload_answer(id, at(4)).await.unwrap(), None, "b has not answered");
    assert_eq!(store.open_reloads("a").await.unwrap(), Vec::<i64>::new());
    assert_eq!(store.open_reloads("b").await.unwrap(), [id]);
    store.answer_reloads("b", &[id], &answer(false, "refused", "codes"), at(4)).await.unwrap();
    let all = store.reload_answer(id, at(5)).await.unwrap().unwrap();
    assert!(!all.taken_up);
    assert_eq!(all.text, "a: taken up\nb: refused");
    assert_eq!(all.changed, ["codes", "log.filter"]);
    // Nobody waits for one that is silent; one that has started since reads its file in any case.
    let id = store.ask_reload("anna", at(20)).await.unwrap();
    tick(store, &replica("a", &[]), 40).await;
    store.answer_reloads("a", &[id], &answer(true, "taken up", "x"), at(40)).await.unwrap();
    assert_eq!(store.reload_answer(id, at(40)).await.unwrap().unwrap().text, "taken up");
    let late = Replica { started_at: at(41), ..replica("d", &[]) };
    tick(store, &late, 41).await;
    assert_eq!(store.open_reloads("d").await.unwrap(), Vec::<i64>::new());
}
