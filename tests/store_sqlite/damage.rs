//! Rows that the program does not understand.

use teardownd::core::ids::TeardownId;
use teardownd::store::{Filter, StoreError};

use crate::suite::{at, only, start, tenant};
use crate::{Place, plain, run, value};

#[tokio::test]
async fn a_damaged_row_is_named_and_does_not_stop_the_others() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue(1..=3, start()).await;
    let mut conn = plain(&place.path()).await;
    run(&mut conn, "UPDATE teardowns SET reason = 'nonsense' WHERE id = 1").await.unwrap();

    let listed = bench.store.list(&Filter::default()).await.unwrap();
    assert_eq!(listed.iter().map(|row| row.id).collect::<Vec<_>>(), [TeardownId(3), TeardownId(2)]);
    let error = bench.store.list(&only(1)).await.unwrap_err();
    let StoreError::Damaged { table, row, text } = error else { panic!("{error}") };
    assert_eq!((table, row.as_str()), ("teardowns", "1"));
    assert!(text.contains("reason") && text.contains("nonsense"), "{text}");

    // It stands first in the order of claims; the slots go to the sound rows.
    let claimed = bench.claim(2, at(1)).await;
    let tenants: Vec<_> = claimed.iter().map(|row| row.teardown.tenant_id).collect();
    assert_eq!(tenants, [tenant(2), tenant(3)]);
    let said = value(&mut conn, "SELECT reason_text FROM teardowns WHERE id = 1").await;
    assert!(said.contains("damaged"), "{said}");

    run(&mut conn, "UPDATE teardowns SET reason = NULL WHERE id = 1").await.unwrap();
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
        DROP TRIGGER teardowns_update_state; DROP TRIGGER teardowns_update_identity;",
    )
    .await
    .unwrap();
    for (column, damaged) in [
        ("state", "'running'"),
        ("tenant_id", "'contoso'"),
        ("created_at", "'2026-01-01'"),
        ("updated_at", "'2026-01-01T00:00:00.000+01'"),
        ("attempts", "99999999999"),
        ("suspects", "'{}'"),
        ("hold_code", "'because'"),
    ] {
        run(&mut conn, "BEGIN").await.unwrap();
        let sound = value(&mut conn, &format!("SELECT quote({column}) FROM teardowns")).await;
        run(&mut conn, &format!("UPDATE teardowns SET {column} = {damaged}")).await.unwrap();
        run(&mut conn, "COMMIT").await.unwrap();
        let error = bench.store.list(&Filter::default()).await.unwrap_err();
        let StoreError::Damaged { text, .. } = error else { panic!("{error}") };
        assert!(text.starts_with(column), "{text}");
        run(&mut conn, &format!("UPDATE teardowns SET {column} = {sound}")).await.unwrap();
    }
    bench.row(1).await;
}
