//! Several processes on one database.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use teardownd::core::account::{Identity, Proven};
use teardownd::core::command::{Answer, Outcome};
use teardownd::core::database_time::Reading;
use teardownd::core::gates::Verdict;
use teardownd::core::ids::AccountName;
use teardownd::core::teardown::State;
use teardownd::store::{
    Begun, ClaimRequest, Claimed, ReloadAnswer, Replica, Slots, Store, StoreError, Verb,
};
use uuid::Uuid;

use super::sends::committed;
use super::{Backend, Bench, accepted, at, cancel, command_id, default_account, seen, start, step};

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
    // Another one may have a row that was given back. A lease that has lapsed does not count.
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
    // It is restarted. When it does not come back, nobody else can work on the account.
    bench.store.stop(&replica("a", &[]), at(3)).await.unwrap();
    bench.store.check_accounts(std::slice::from_ref(&other), at(40)).await.unwrap();
    assert!(!is_held().await, "it may be on its way");
    bench.store.check_accounts(std::slice::from_ref(&other), at(302)).await.unwrap();
    assert!(is_held().await);
    tick(&bench.store, &replica("a", &[default_account()]), 310).await;
    bench.store.check_accounts(&[other], at(311)).await.unwrap();
    assert!(!is_held().await);
}

pub(crate) async fn a_job_is_done_by_one_replica_at_a_time(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    let store = &bench.store;
    let hour = SignedDuration::from_hours(1);
    let begin = async |owner: &str, now| {
        store.begin_run("sweep", owner, |ran_at| ran_at + hour <= now, now, now).await.unwrap()
    };
    use Begun::{Elsewhere, Here, NotDue};
    assert_eq!(begin("a/1", start()).await, NotDue, "one that is new counts as done");
    assert_eq!(begin("a/1", at(3599)).await, NotDue);
    assert_eq!(begin("a/1", at(3600)).await, Here);
    assert_eq!(begin("b/1", at(3601)).await, Elsewhere);
    store.end_run("sweep", "b/1", Some(at(3601))).await.unwrap();
    assert_eq!(begin("b/1", at(3602)).await, Elsewhere, "only who has begun it ends it");
    store.end_run("sweep", "a/1", Some(at(3610))).await.unwrap();
    assert_eq!(begin("b/1", at(3603)).await, NotDue, "it is done, also by a clock that is behind");
    // One that failed is not done, and neither is one whose process is gone.
    assert_eq!(begin("b/1", at(7210)).await, Here);
    store.end_run("sweep", "b/1", None).await.unwrap();
    assert_eq!(begin("a/1", at(7211)).await, Here);
    assert_eq!(begin("b/1", at(7810)).await, Elsewhere);
    assert_eq!(begin("b/1", at(7811)).await, Here, "ten minutes later nobody does it any more");
    store.take_over("b", at(7812)).await.unwrap();
    assert_eq!(begin("b/2", at(7812)).await, Here, "a new process of the name begins at once");
    // The clock is set back by a day.
    store.end_run("sweep", "b/2", Some(at(86_400))).await.unwrap();
    assert_eq!(begin("b/2", at(7900)).await, Here);
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
    store.stop(&replica("c", &[]), at(2)).await.unwrap();
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
    assert!(store.reload_answer(id, at(41)).await.unwrap().is_some());
}

pub(crate) async fn invariant_2_what_a_former_partner_answers_is_not_the_new_ones(
    backend: &dyn Backend,
) {
    let bench = Bench::new(backend).await;
    let other = Identity { partner_tenant: super::tenant(901), ..app(2) };
    bench.store.adopt(&[(default_account(), app(1))], start()).await.unwrap();
    let old = committed(&bench, 1).await;
    assert_eq!(bench.send(&old, 1, at(1)).await, Verdict::Allow);
    // Another partner is configured while the first write is out, and then that is accepted.
    bench.store.adopt(&[(default_account(), other)], at(2)).await.unwrap();
    bench.store.record_answer(command_id(1), &accepted(), at(3)).await.unwrap();
    let account = async || bench.store.account(&default_account()).await.unwrap();
    assert_eq!(account().await.proven, Proven::default(), "nothing was proven of the new one");
    let halts = Answer { halts: Some("800019".to_owned()), ..Answer::default() };
    bench.store.record_answer(command_id(1), &halts, at(4)).await.unwrap();
    assert_eq!(account().await.halted, None);
    // The former one comes back, and is halted.
    bench.store.adopt(&[(default_account(), app(1))], at(5)).await.unwrap();
    assert!(account().await.halted.is_some());
    // The same partner with another app is the same partner.
    bench.store.adopt(&[(default_account(), app(2))], at(6)).await.unwrap();
    assert!(account().await.halted.is_some());
}

pub(crate) async fn invariant_4_an_answer_to_an_earlier_send_overwrites_nothing(
    backend: &dyn Backend,
) {
    let bench = Bench::new(backend).await;
    let frozen = committed(&bench, 1).await;
    let send = async |claimed: &Claimed, correlation: Uuid, now: Timestamp| {
        let facts = seen(claimed.teardown.tenant_id, now);
        let (id, fence) = (claimed.teardown.id, claimed.fence);
        let sent = bench.store.begin_send(
            command_id(1),
            id,
            fence,
            correlation,
            &facts,
            &bench.policy,
            now,
        );
        assert_eq!(sent.await.unwrap(), Verdict::Allow);
    };
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    send(&frozen, first, at(1)).await;
    // Its lease lapses, and another replica sends the command again under its own id.
    let other = bench.claim_one(at(70)).await;
    send(&other, second, at(71)).await;
    let refused = Answer {
        outcome: Some(Outcome::Refused),
        http_status: Some(400),
        sent_as: Some(second),
        ..Answer::default()
    };
    bench.store.record_answer(command_id(1), &refused, at(72)).await.unwrap();
    // The frozen one goes on: its call has timed out.
    let text = Some("timed out".to_owned());
    let late = Answer { text, sent_as: Some(first), ..Answer::default() };
    bench.store.record_answer(command_id(1), &late, at(73)).await.unwrap();
    let tenant = other.teardown.tenant_id;
    let commands = bench.store.commands(&default_account(), tenant).await.unwrap();
    assert_eq!((commands[0].http_status, commands[0].text.clone()), (Some(400), None));
}

pub(crate) async fn invariant_2_the_canary_of_a_replica_that_is_gone_stops_nobody_for_ever(
    backend: &dyn Backend,
) {
    let bench = Bench::new(backend).await;
    let gone = committed(&bench, 1).await;
    assert_eq!(bench.send(&gone, 1, at(1)).await, Verdict::Allow);
    // An operator holds its tenant, and the process is gone for good.
    bench.ask(Verb::Hold, 1, at(2)).await;
    bench.queue([2], at(200)).await;
    let other = bench.claim_one(at(200)).await;
    bench.walk(&other, &[State::EntitlementsFetched], at(200)).await;
    let done = bench.command(&other, State::OrdersCancelling, vec![cancel(2, "a")], at(201)).await;
    assert_eq!(done.admitted.len(), 1, "{:?}", done.verdict);
    assert_eq!(bench.send(&other, 2, at(201)).await, Verdict::Allow);
}
