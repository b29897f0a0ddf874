//! What a restore takes over from the database it replaces, and what it takes back of the backup.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use teardownd::core::account::Identity;
use teardownd::core::approval::Inventory;
use teardownd::core::ids::AccountName;
use teardownd::core::reason::Reason;
use teardownd::core::teardown::State;
use teardownd::store::{
    ApproveRequest, ArmRequest, CustomersRead, Filter, ListedCustomer, OperatorRequest, StoreError,
    Verb,
};
use teardownd::store::{Carried, RestoreReport, restore};
use uuid::Uuid;

use crate::copies::close;
use crate::opening::of_the_first_version;
use crate::suite::{Bench, at, default_account, only, policy, request, start, tenant, wanted};
use crate::{Place, plain, run, value};

/// A backup of what the one has stored, and the database as the other has left it after that; then the
/// backup is put in its place.
async fn restored(
    before: impl AsyncFnOnce(&Bench, &Place),
    since: impl AsyncFnOnce(&Bench, &Place),
) -> (Place, RestoreReport) {
    let place = Place::new();
    let bench = place.bench().await;
    before(&bench, &place).await;
    close(&place, bench).await;
    place.backed_up().await;
    let bench = place.bench().await;
    since(&bench, &place).await;
    close(&place, bench).await;
    let report = place.restored(1000).await.unwrap();
    (place, report)
}

/// What was taken over; it must have been read.
fn carried(report: &RestoreReport) -> Carried {
    report.carried.unwrap()
}

async fn sql(place: &Place, statement: &str) {
    run(&mut plain(&place.path()).await, statement).await.unwrap();
}

async fn arm(bench: &Bench, account: &str, identity: Option<Identity>, seconds: i64) {
    let account = AccountName::new(account);
    let request = ArmRequest { account, identity, actor: "ann".to_owned(), reason: None };
    assert!(bench.store.arm(&request, at(seconds)).await.unwrap().applied);
}

async fn approve(bench: &Bench, number: u32, seconds: i64) {
    let request = ApproveRequest {
        filter: only(number),
        actor: "bob".to_owned(),
        reason: None,
        plan: Some(BTreeMap::from([(tenant(number), Inventory::new())])),
    };
    assert!(bench.store.approve(&request, at(seconds)).await.unwrap()[0].applied);
}

async fn protect(bench: &Bench, verb: Verb, number: u32, seconds: i64) {
    let effects = bench.store.request(&request(verb, only(number)), at(seconds)).await.unwrap();
    assert!(effects[0].applied, "{effects:?}");
}

async fn is_armed(bench: &Bench, account: &str) -> bool {
    bench.store.account(&AccountName::new(account)).await.unwrap().armed.is_some()
}

#[tokio::test]
async fn an_arming_that_was_taken_back_since_stays_taken_back() {
    let seen = policy().identity();
    let other = Identity { client_id: Uuid::from_u128(9), ..seen.clone() };
    let (place, report) = restored(
        async |bench, _| {
            for account in ["default", "moved", "rearmed", "lab"] {
                arm(bench, account, Some(seen.clone()), 1).await;
            }
        },
        async |bench, _| {
            arm(bench, "default", None, 10).await;
            arm(bench, "moved", Some(other), 10).await;
            arm(bench, "rearmed", None, 10).await;
            arm(bench, "rearmed", Some(seen.clone()), 11).await;
            arm(bench, "later", Some(seen.clone()), 11).await;
        },
    )
    .await;
    assert_eq!(carried(&report), Carried { disarmed: 2, ..Carried::default() });
    let bench = place.bench().await;
    for (account, armed) in
        [("default", false), ("moved", false), ("rearmed", true), ("lab", true), ("later", false)]
    {
        assert_eq!(is_armed(&bench, account).await, armed, "{account}");
    }
    let mut conn = plain(&place.path()).await;
    let said = "SELECT answer FROM operator_requests WHERE verb = 'disarm' AND account = 'default'";
    assert_eq!(value(&mut conn, said).await, "account default: disarmed; it was armed by ann");
    // A person arms it again, as ever.
    arm(&bench, "default", Some(seen), 2000).await;
    assert!(is_armed(&bench, "default").await);
}

#[tokio::test]
async fn an_approval_counts_only_where_nothing_has_stopped_the_teardown_since() {
    let (place, report) = restored(
        async |bench, _| {
            bench.queue(1..=6, start()).await;
            bench.ask(Verb::Hold, 6, at(1)).await;
            for number in 1..=6 {
                approve(bench, number, 2).await;
            }
        },
        async |bench, _| {
            bench.ask(Verb::Abort, 1, at(10)).await;
            bench.ask(Verb::Hold, 2, at(10)).await;
            bench.ask(Verb::Hold, 5, at(10)).await;
            bench.ask(Verb::Release, 5, at(11)).await;
            // The third fails, and the fourth is retried after it has: its approval is of an older run.
            let claimed = bench.claim(9, at(12)).await;
            for failed in claimed.iter().filter(|claimed| claimed.teardown.id.0 == 3) {
                bench.walk(failed, &[State::Failed], at(12)).await;
            }
            for failed in claimed.iter().filter(|claimed| claimed.teardown.id.0 == 4) {
                bench.walk(failed, &[State::Failed], at(12)).await;
            }
            assert!(bench.ask(Verb::Retry, 4, at(13)).await.applied);
        },
    )
    .await;
    assert_eq!(carried(&report), Carried { held: 3, unapproved: 4, ..Carried::default() });
    let bench = place.bench().await;
    for (number, approved) in [(1, false), (2, false), (3, false), (4, false), (5, true), (6, true)]
    {
        assert_eq!(bench.row(number).await.approval.is_some(), approved, "{number}");
    }
    let history = bench.store.history(None, tenant(4)).await.unwrap();
    let said = history.last().unwrap().text.clone().unwrap();
    assert!(said.contains("the approval by bob does not count any more"), "{said}");
    assert_eq!(bench.row(4).await.holds.first(), None, "the backup knows no failure");
    approve(&bench, 4, 2000).await;
}

#[tokio::test]
async fn nothing_is_permitted_where_the_replaced_database_cannot_be_read() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue([1], start()).await;
    arm(&bench, "default", Some(policy().identity()), 1).await;
    approve(&bench, 1, 1).await;
    close(&place, bench).await;
    place.backed_up().await;
    std::fs::write(place.path(), "SQLite format 3\0 and then nothing of it").unwrap();
    let report = place.restored(1000).await.unwrap();
    assert_eq!((report.carried, report.protections), (None, None));
    let bench = place.bench().await;
    assert!(!is_armed(&bench, "default").await);
    assert_eq!(bench.row(1).await.approval, None);
}

#[tokio::test]
async fn a_deny_entry_is_never_forgotten() {
    let (place, report) = restored(
        async |bench, _| {
            bench.queue([2], start()).await;
            protect(bench, Verb::Protect, 1, 1).await;
        },
        async |bench, _| {
            protect(bench, Verb::Unprotect, 1, 10).await;
            protect(bench, Verb::Protect, 2, 10).await;
            protect(bench, Verb::Protect, 3, 10).await;
        },
    )
    .await;
    assert_eq!(report.protections, Some(2));
    let bench = place.bench().await;
    for number in 1..=3 {
        let refused = bench.store.enqueue(&[wanted(number)], at(2000)).await;
        assert!(matches!(refused, Err(StoreError::Protected(_))), "{number}: {refused:?}");
    }
    assert_eq!(
        bench.row(2).await.holds.first().cloned().unwrap().code,
        Reason::Operator,
        "aborted by the protect"
    );
}

#[tokio::test]
async fn damage_elsewhere_loses_no_deny_entry() {
    let place = Place::new();
    place.store().await.close().await;
    place.backed_up().await;
    let bench = place.bench().await;
    protect(&bench, Verb::Protect, 1, 1).await;
    close(&place, bench).await;
    sql(&place, "DROP TABLE sends").await;
    let report = place.restored(1000).await.unwrap();
    assert_eq!((report.carried, report.protections), (None, Some(1)));
    assert_eq!(place.store().await.protections().await.unwrap().len(), 1);
}

/// The hold of a guard would else end by itself, although the teardown was aborted.
#[tokio::test]
async fn a_guards_hold_in_the_backup_does_not_stand_for_an_abort() {
    let (place, report) = restored(
        async |bench, place| {
            bench.queue([1], start()).await;
            let held = "UPDATE teardowns SET hold_code = 'arming', hold_text = 'not armed',
                            hold_by = 'guard', hold_since = created_at";
            sql(place, held).await;
        },
        async |bench, _| {
            bench.ask(Verb::Abort, 1, at(10)).await;
        },
    )
    .await;
    assert_eq!(carried(&report).held, 1);
    let bench = place.bench().await;
    arm(&bench, "default", Some(policy().identity()), 2000).await;
    let hold = bench.row(1).await.holds.first().cloned().unwrap();
    assert_eq!(hold.code, Reason::Operator);
    assert!(hold.text.contains("it was aborted"), "{}", hold.text);
}

#[tokio::test]
async fn an_operators_hold_is_taken_over_beside_a_guards_and_a_pause_with_its_later_end() {
    let pause = |until| OperatorRequest {
        until,
        ..request(Verb::Pause, Filter { account: Some(default_account()), ..Filter::default() })
    };
    let (place, report) = restored(
        async |bench, place| {
            bench.queue([1], start()).await;
            let held = "UPDATE teardowns SET hold_code = 'arming', hold_text = 'not armed',
                            hold_by = 'arming', hold_since = created_at";
            sql(place, held).await;
            bench.store.request(&pause(Some(at(2000))), at(1)).await.unwrap();
        },
        async |bench, _| {
            assert!(bench.ask(Verb::Hold, 1, at(10)).await.applied);
            assert!(bench.store.request(&pause(None), at(11)).await.unwrap()[0].applied);
        },
    )
    .await;
    assert_eq!(carried(&report), Carried { held: 1, stops: 1, ..Carried::default() });
    let bench = place.bench().await;
    let codes: Vec<_> = bench.row(1).await.holds.iter().map(|hold| hold.code).collect();
    assert_eq!(codes, [Reason::Operator, Reason::Arming]);
    let account = bench.store.account(&default_account()).await.unwrap();
    assert_eq!(account.paused.unwrap().until, None);
    arm(&bench, "default", Some(policy().identity()), 2000).await;
    let hold = bench.row(1).await.holds.first().cloned().unwrap();
    assert_eq!((hold.code, hold.actor.as_str()), (Reason::Operator, "bob"));
}

#[tokio::test]
async fn what_an_operator_put_off_or_acknowledged_since_holds() {
    let set = |number, priority, seconds| OperatorRequest {
        priority: Some(priority),
        not_before: Some(at(seconds)),
        ..request(Verb::Set, only(number))
    };
    let (place, _) = restored(
        async |bench, _| {
            bench.queue([1, 2, 3, 4, 5], start()).await;
            bench.ask(Verb::Hold, 3, at(1)).await;
            bench.ask(Verb::Ack, 3, at(2)).await;
            bench.ask(Verb::Ack, 4, at(2)).await;
            bench.store.request(&set(2, 0, 9000), at(3)).await.unwrap();
        },
        async |bench, _| {
            bench.store.request(&set(1, -5, 5000), at(10)).await.unwrap();
            bench.store.request(&set(2, 7, 4000), at(10)).await.unwrap();
            bench.ask(Verb::Hold, 4, at(11)).await;
            bench.ask(Verb::Hold, 2, at(11)).await;
            bench.ask(Verb::Ack, 2, at(12)).await;
            let claimed = bench.claim(9, at(13)).await;
            let fifth = claimed.iter().find(|claimed| claimed.teardown.id.0 == 5).unwrap();
            bench.walk(fifth, &[State::EntitlementsFetched], at(13)).await;
            bench.ask(Verb::Ack, 5, at(14)).await;
        },
    )
    .await;
    let bench = place.bench().await;
    let (first, second) = (bench.row(1).await, bench.row(2).await);
    assert_eq!((first.priority, first.not_before), (-5, Some(at(5000))));
    assert_eq!((second.priority, second.not_before), (7, Some(at(9000))), "the later time");
    let acked: Vec<i64> =
        bench.store.acks().await.unwrap().into_iter().map(|ack| ack.id.0).collect();
    assert_eq!(acked, [2, 3], "the fourth was held since, the fifth is not there yet");
}

#[tokio::test]
async fn invariant_9_the_budget_of_each_customer_counts_as_spent() {
    let (place, report) = restored(
        async |_, _| {},
        async |bench, place| {
            bench.store.throttle(&default_account(), at(5000), at(900)).await.unwrap();
            sql(
                place,
                "INSERT INTO sends (account, resource, at, customer, reads, writes)
                     VALUES ('default', 'order', '2026-01-01T00:15:00.000Z', 'a', 3, 1),
                            ('default', 'order', '2026-01-01T00:15:00.000Z', 'b', 5, 0)",
            )
            .await;
        },
    )
    .await;
    carried(&report);
    let mut conn = plain(&place.path()).await;
    let sends = "SELECT group_concat(customer || ':' || (reads + writes)) FROM sends";
    assert_eq!(value(&mut conn, sends).await, "a:4,b:5");
    let account = place.store().await.account(&default_account()).await.unwrap();
    let closed = (account.throttled_since, account.throttled_until);
    assert_eq!(closed, (Some(at(900)), Some(at(5000))));
}

/// Whoever was spared since, and is not in the backup, must not be found anew by discovery.
#[tokio::test]
async fn who_was_queued_since_is_known_to_have_been() {
    let listed = |seconds, numbers: &[u32]| CustomersRead {
        at: at(seconds),
        count: numbers.len(),
        customers: numbers
            .iter()
            .map(|number| ListedCustomer { tenant_id: tenant(*number), domain: None })
            .collect(),
    };
    let (place, report) = restored(
        async |bench, _| {
            bench.queue([1], start()).await;
            let list = listed(1, &[1, 2, 3]);
            bench.store.note_customers(&default_account(), &list).await.unwrap();
        },
        async |bench, _| {
            bench.queue([2], at(10)).await;
            bench.ask(Verb::Abort, 2, at(11)).await;
            // The third went and came back.
            for list in [listed(20, &[1, 2]), listed(30, &[1, 2, 3])] {
                bench.store.note_customers(&default_account(), &list).await.unwrap();
            }
        },
    )
    .await;
    assert_eq!(carried(&report).missing, 1);
    let bench = place.bench().await;
    let history = bench.store.history(Some(&default_account()), tenant(2)).await.unwrap();
    assert_eq!(history.last().unwrap().to, State::Aborted);
    let known = bench.store.customers(&default_account()).await.unwrap().unwrap();
    let since: Vec<_> = known.customers.iter().map(|customer| customer.first_seen_at).collect();
    assert_eq!(since, [at(1), at(1), at(30)]);
    // Its number is not given to another one.
    bench.queue([3], at(2000)).await;
    assert_eq!(bench.row(3).await.id.0, 3);
}

#[tokio::test]
async fn typed_requests_that_stop_something_are_done_all_the_same() {
    let typed = |verb: &str, number: u32| {
        let tenant = tenant(number);
        format!("INSERT INTO operator_requests (verb, tenant_id) VALUES ('{verb}', '{tenant}')")
    };
    let (place, _) = restored(
        async |bench, place| {
            bench.queue([1, 2], start()).await;
            bench.ask(Verb::Hold, 2, at(1)).await;
            sql(place, &typed("protect", 5)).await;
            sql(place, &typed("release", 2)).await;
            bench.store.ask_reload("ann", at(1)).await.unwrap();
        },
        async |_, place| {
            sql(place, &typed("hold", 1)).await;
            sql(place, "INSERT INTO operator_requests (verb) VALUES ('resume')").await;
        },
    )
    .await;
    let bench = place.bench().await;
    assert!(bench.store.apply_requests(at(2000)).await.unwrap() > 0);
    assert!(bench.row(1).await.holds.stand() && bench.row(2).await.holds.stand());
    assert_eq!(bench.store.protections().await.unwrap().len(), 1);
    let every = bench.store.account(&AccountName::every()).await.unwrap();
    assert!(every.paused.is_some(), "nobody has resumed");
    assert_eq!(bench.store.open_reloads("host").await.unwrap(), Vec::<i64>::new());
}

#[tokio::test]
async fn databases_of_the_first_schema_are_brought_up_and_asked() {
    let row = format!(
        "INSERT INTO teardowns (tenant_id, created_at) VALUES ('{}', '2026-01-01T00:00:00.000Z')",
        tenant(1)
    );
    let spent = "INSERT INTO sends (account, resource, at, reads, writes)
                 VALUES ('default', 'order', '2026-01-01T00:15:00.000Z', 5, 2)";
    // A backup of it, in the place of a database that is newer.
    let place = Place::new();
    run(&mut of_the_first_version(&place.copy()).await, &row).await.unwrap();
    let bench = place.bench().await;
    protect(&bench, Verb::Protect, 1, 1).await;
    close(&place, bench).await;
    let report = place.restored(1000).await.unwrap();
    assert_eq!((report.protections, carried(&report).missing), (Some(1), 0));
    let kept = report.kept.unwrap();
    assert_eq!(place.store().await.protections().await.unwrap().len(), 1);

    // And the other way round. What is replaced stays as it was.
    let older = Place::new();
    let mut conn = of_the_first_version(&older.path()).await;
    run(&mut conn, &format!("{row}; {spent}; UPDATE teardowns SET state = 'aborted'"))
        .await
        .unwrap();
    drop(conn);
    std::fs::copy(&kept, older.copy()).unwrap();
    let report = older.restored(1000).await.unwrap();
    assert_eq!((report.protections, carried(&report).missing), (Some(0), 1));
    let mut conn = plain(&older.path()).await;
    assert_eq!(value(&mut conn, "SELECT reads + writes FROM sends").await, "7");
    let mut conn = plain(&report.kept.unwrap()).await;
    assert_eq!(value(&mut conn, "SELECT max(version) FROM _sqlx_migrations").await, "1");
    let left = std::fs::read_dir(older.folder.path()).unwrap();
    let left = left.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().contains("partial")
    });
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn in_a_shared_folder_the_group_may_write_to_what_is_restored() {
    let place = Place::new();
    place.store().await.close().await;
    place.backed_up().await;
    let fresh = Place::new();
    let shared = std::fs::Permissions::from_mode(0o2770);
    std::fs::set_permissions(fresh.folder.path(), shared).unwrap();
    restore(&fresh.path(), &place.copy(), "this test", "anna", at(20)).await.unwrap();
    let mode = std::fs::metadata(fresh.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}
