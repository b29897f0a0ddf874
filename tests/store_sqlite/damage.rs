//! Rows that the program does not understand.

use teardownd::core::ids::AccountName;
use teardownd::core::reason::Reason;
use teardownd::core::teardown::Status;
use teardownd::store::{Filter, OperatorRequest, Verb};

use crate::suite::{at, only, start, tenant};
use crate::{Place, plain, run, value};

#[tokio::test]
async fn a_damaged_row_is_held_and_does_not_stop_the_others() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue(1..=3, start()).await;
    let mut conn = plain(&place.path()).await;
    run(&mut conn, "UPDATE teardowns SET reason = 'nonsense' WHERE id = 1").await.unwrap();

    let listed = bench.store.list(&Filter::default()).await.unwrap();
    assert_eq!(listed.iter().map(|row| row.id.0).collect::<Vec<_>>(), [3, 2, 1]);
    let damaged = bench.store.list(&only(1)).await.unwrap().remove(0);
    assert_eq!(damaged.status(at(0)), Status::Held);
    let hold = damaged.holds.first().unwrap().clone();
    assert_eq!(hold.code, Reason::DamagedRow);
    assert!(hold.text.contains("reason") && hold.text.contains("nonsense"), "{}", hold.text);

    // It stands first in the order of claims; the slots go to the sound rows.
    let claimed = bench.claim(2, at(1)).await;
    let tenants: Vec<_> = claimed.iter().map(|row| row.teardown.tenant_id).collect();
    assert_eq!(tenants, [tenant(2), tenant(3)]);
    let held = value(&mut conn, "SELECT hold_code FROM teardowns WHERE id = 1").await;
    assert_eq!(held, "damaged_row");
    // Whoever asks for something is told, and the others are done.
    let effects = bench.ask(Verb::Release, 1, at(2)).await;
    assert!(!effects.applied && effects.text.contains("nonsense"), "{}", effects.text);

    run(&mut conn, "UPDATE teardowns SET reason = NULL WHERE id = 1").await.unwrap();
    assert!(bench.ask(Verb::Release, 1, at(3)).await.applied);
    let claimed = bench.claim(9, at(700)).await;
    assert!(claimed.iter().any(|row| row.teardown.tenant_id == tenant(1)), "repaired");
}

#[tokio::test]
async fn unknown_states_guids_and_times_are_damage() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue([1], start()).await;
    let mut conn = plain(&place.path()).await;
    run(
        &mut conn,
        "PRAGMA ignore_check_constraints = ON; PRAGMA writable_schema = ON;
        DROP TRIGGER teardowns_update_state; DROP TRIGGER teardowns_update_identity;
        DROP TRIGGER teardowns_update_bounds;",
    )
    .await
    .unwrap();
    for (column, damaged) in [
        ("state", "'running'"),
        ("tenant_id", "'contoso'"),
        ("created_at", "'2026-01-01'"),
        ("updated_at", "'2026-01-01T00:00:00.000+01'"),
        ("attempts", "99999999999"),
        ("fence", "9223372036854775807"),
        ("eligible_used_ms", "9223372036854775807"),
        ("suspects", "'{}'"),
        ("hold_code", "'because'"),
    ] {
        run(&mut conn, "BEGIN").await.unwrap();
        let sound = value(&mut conn, &format!("SELECT quote({column}) FROM teardowns")).await;
        run(&mut conn, &format!("UPDATE teardowns SET {column} = {damaged}")).await.unwrap();
        run(&mut conn, "COMMIT").await.unwrap();
        // Of whom it is and where it stands cannot be guessed; the rest is shown as held.
        let text = match bench.store.list(&Filter::default()).await {
            Ok(rows) => rows[0].holds.first().unwrap().text.clone(),
            Err(error) => {
                assert!(["state", "tenant_id"].contains(&column), "{error}");
                error.to_string()
            }
        };
        assert!(text.contains(column), "{text}");
        // Neither stops what concerns everything.
        bench.store.take_over("host", at(1)).await.unwrap();
        bench.store.request(&pause(), at(1)).await.unwrap();
        bench.store.request(&resume(), at(1)).await.unwrap();
        run(&mut conn, &format!("UPDATE teardowns SET {column} = {sound}")).await.unwrap();
    }
    bench.row(1).await;
}

#[tokio::test]
async fn a_damaged_account_stops_itself_and_no_other() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue([1], start()).await;
    let mut conn = plain(&place.path()).await;
    for sql in [
        "INSERT INTO accounts (name, paused_reason, paused_by, paused_since, throttled_until)
         VALUES ('broken', 'look', 'ann', '2026-01-01T00:00:00.000Z', 'high noon')",
        "INSERT INTO teardowns (tenant_id, account)
         VALUES ('dddd0000-0000-4000-8000-000000000001', 'broken')",
    ] {
        run(&mut conn, sql).await.unwrap();
    }
    let broken = AccountName::new("broken");
    let row = bench.store.account(&broken).await.unwrap();
    let halt = row.halted.unwrap();
    assert!(halt.reason.contains("throttled_until"), "{}", halt.reason);
    assert_eq!(row.paused.unwrap().reason, "look", "what an operator stopped stays stopped");

    let claimed = bench.claim(9, at(1)).await;
    assert_eq!(claimed.len(), 1, "the other account's row: {claimed:?}");
    assert_eq!(claimed[0].teardown.tenant_id, tenant(1));
    let stored = value(&mut conn, "SELECT halted_by FROM accounts WHERE name = 'broken'").await;
    assert_eq!(stored, "damaged_row");

    // A person lifts it, and it is sound again; the pause is still there.
    let filter = Filter { account: Some(broken.clone()), ..Filter::default() };
    let unhalt = OperatorRequest::new(Verb::Unhalt, filter, "ann");
    assert!(bench.store.request(&unhalt, at(2)).await.unwrap()[0].applied);
    let row = bench.store.account(&broken).await.unwrap();
    assert!(row.halted.is_none() && row.paused.is_some());
}

fn pause() -> OperatorRequest {
    OperatorRequest { reason: Some("x".to_owned()), ..about_everything(Verb::Pause) }
}

fn resume() -> OperatorRequest {
    about_everything(Verb::Resume)
}

fn about_everything(verb: Verb) -> OperatorRequest {
    OperatorRequest::new(verb, Filter::default(), "ann")
}
