//! Requests typed into `operator_requests`.

use teardownd::core::ids::AccountName;
use teardownd::core::reason::Reason;
use teardownd::core::teardown::{NewTeardown, State};
use teardownd::store::Verb;

use crate::suite::{Bench, at, default_account, only, request, start, tenant, wanted};
use crate::{Place, plain, run, value};

async fn answer(place: &Place, id: u32) -> String {
    let mut conn = plain(&place.path()).await;
    value(&mut conn, &format!("SELECT answer FROM operator_requests WHERE id = {id}")).await
}

async fn type_in(place: &Place, columns: &str, values: &str) {
    let sql = format!("INSERT INTO operator_requests ({columns}) VALUES ({values})");
    run(&mut plain(&place.path()).await, &sql).await.unwrap();
}

async fn apply(bench: &Bench, expected: u64) {
    assert_eq!(bench.store.apply_requests(at(10)).await.unwrap(), expected);
    assert_eq!(bench.store.apply_requests(at(11)).await.unwrap(), 0, "each once");
}

#[tokio::test]
async fn typed_requests_are_applied_and_answered() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue([1, 2, 3], start()).await;
    let both = format!("'hold', '{}, {}', 'wait for Ann'", tenant(1), tenant(2));
    type_in(&place, "verb, tenant_id, reason", &both).await;
    type_in(&place, "verb, account, until", "'pause', 'Default', '2026-01-02T00:00:00Z'").await;
    type_in(&place, "verb, teardown_id", "'abort', 3").await;
    apply(&bench, 3).await;
    let hold = bench.row(1).await.holds.first().cloned().unwrap();
    assert_eq!(
        (hold.code, hold.text.as_str(), hold.actor.as_str()),
        (Reason::Operator, "wait for Ann", "sql")
    );
    assert!(bench.row(2).await.holds.stand());
    assert_eq!(bench.row(3).await.state, State::Aborted);
    let paused = bench.store.account(&default_account()).await.unwrap().paused.unwrap();
    assert_eq!(paused.until, Some(at(86400)));
    assert_eq!(answer(&place, 1).await, "teardown 2: held\nteardown 1: held");
    type_in(&place, "verb, state", "'release', 'queued, polling'").await;
    type_in(&place, "verb", "'resume'").await;
    type_in(&place, "verb, account", "'resume', 'default'").await;
    apply(&bench, 3).await;
    assert!(!bench.row(1).await.holds.stand());
    assert_eq!(answer(&place, 5).await, "it is not paused");
    assert_eq!(answer(&place, 6).await, "account default: resumed");
}

#[tokio::test]
async fn typed_requests_that_cannot_be_understood_are_answered_with_the_reason() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue([1], start()).await;
    let cases = [
        ("verb", "'erase'", "verb \"erase\" is none of pause"),
        ("verb", "'abort'", "it would change every teardown"),
        ("verb, latest_only", "'abort', 1", "it would change every teardown"),
        ("verb, tenant_id", "'hold', 'contoso'", "\"contoso\" is not a tenant id"),
        ("verb, teardown_id", "'hold', 'one'", "\"one\" is no number"),
        ("verb, state", "'hold', 'running'", "\"running\" is not known"),
        ("verb, until", "'pause', 'tomorrow'", "\"tomorrow\" is no time"),
        ("verb, batch", "'pause', 'may'", "is about an account"),
        ("verb, batch", "'hold', 'may'", "nothing matched"),
    ];
    for (columns, values, _) in cases {
        type_in(&place, columns, values).await;
    }
    apply(&bench, cases.len() as u64).await;
    for (id, (_, values, part)) in (1..).zip(cases) {
        let answer = answer(&place, id).await;
        assert!(answer.contains(part) || answer.contains("would"), "{values}: {answer}");
    }
    let row = bench.row(1).await;
    assert_eq!((row.holds.first(), row.state), (None, State::Queued));
    let every = bench.store.account(&AccountName::every()).await.unwrap();
    assert_eq!(every.paused, None);
}

#[tokio::test]
async fn requests_of_the_program_are_kept_with_their_answers() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue([1], start()).await;
    bench.store.request(&request(Verb::Hold, only(1)), at(1)).await.unwrap();
    assert_eq!(answer(&place, 1).await, "teardown 1: held");
    let mut conn = plain(&place.path()).await;
    let kept = value(
        &mut conn,
        "SELECT verb || ' ' || tenant_id || ' ' || actor || ' ' || reason || ' ' || answered_at
         FROM operator_requests",
    );
    let expected = format!("hold {} bob as agreed 2026-01-01T00:00:01.000Z", tenant(1));
    assert_eq!(kept.await, expected);
    assert_eq!(bench.store.apply_requests(at(2)).await.unwrap(), 0);
}

/// SQLite's `'now'` is one moment within a statement, so the row and the trigger see the same millisecond.
#[tokio::test]
async fn a_request_with_its_answer_is_kept_in_the_very_millisecond_of_the_wall_clock() {
    let place = Place::new();
    let _bench = place.bench().await;
    let mut conn = plain(&place.path()).await;
    let now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
    let insert = format!(
        "INSERT INTO operator_requests (verb, actor, created_at, answered_at, answer)
         VALUES ('enqueue', 'anna', {now}, {now}, 'refused')"
    );
    run(&mut conn, &insert).await.unwrap();
    let kept = value(&mut conn, "SELECT answer FROM operator_requests").await;
    assert_eq!(kept, "refused");
}

#[tokio::test]
async fn a_typed_request_that_fails_on_the_way_changes_nothing() {
    let place = Place::new();
    let bench = place.bench().await;
    let other = NewTeardown { account: AccountName::new("other"), ..wanted(1) };
    bench.store.enqueue(&[other, wanted(2)], start()).await.unwrap();
    let fails = "CREATE TRIGGER fails BEFORE UPDATE ON teardowns WHEN NEW.id = 1
        BEGIN SELECT RAISE(ABORT, 'the first row cannot be held'); END";
    run(&mut plain(&place.path()).await, fails).await.unwrap();
    type_in(&place, "verb, state", "'hold', 'queued'").await;
    type_in(&place, "verb, account", "'hold', 'default'").await;
    apply(&bench, 2).await;
    let said = answer(&place, 1).await;
    assert!(said.contains("not done") && said.contains("the first row"), "{said}");
    assert_eq!(answer(&place, 2).await, "teardown 2: held", "it was not held before");
}
