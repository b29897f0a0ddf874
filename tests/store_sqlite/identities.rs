//! Which account stands for which partner, as the database keeps it.

use teardownd::core::account::Identity;
use teardownd::core::ids::AccountName;

use crate::suite::{Bench, at, default_account, policy};
use crate::{Place, plain, run, value};

fn identity() -> Identity {
    policy().identity()
}

async fn adopt(bench: &Bench, second: i64) {
    bench.store.adopt(&[(default_account(), identity())], at(second)).await.unwrap();
}

/// A command with this answer, as an older version left it when it was killed.
async fn answered(place: &Place, id: u32, second: i64, code: &str) {
    let at = at(second);
    let sql = format!(
        "INSERT INTO commands (id, account, tenant_id, teardown_id, action, reservation, resource,
             method, path, created_at, sends, first_sent_at, last_sent_at, outcome, settled_at,
             http_status, ms_code, text)
         VALUES ('00000000-0000-4000-8000-{id:012}', 'default', 'x', 1, 'cancel_order', 0, 'order:{id}',
             'PATCH', '/v1/x', '{at:.3}', 1, '{at:.3}', '{at:.3}', 'refused', '{at:.3}', 403, '{code}', 'No.')"
    );
    let mut conn = plain(&place.path()).await;
    // What the triggers refuse to whoever types it in, an older version has stored.
    for name in triggers_on_commands(&mut conn).await {
        run(&mut conn, &format!("DROP TRIGGER {name}")).await.unwrap();
    }
    run(&mut conn, &sql).await.unwrap();
}

async fn triggers_on_commands(conn: &mut sqlx::SqliteConnection) -> Vec<String> {
    let found = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'commands'",
    );
    found.fetch_all(conn).await.unwrap()
}

#[tokio::test]
async fn invariant_2_a_recorded_answer_that_halts_counts_as_a_halt_at_start() {
    for code in ["800019", "900127"] {
        let place = Place::new();
        let bench = place.bench().await;
        answered(&place, 1, 5, code).await;
        adopt(&bench, 10).await;
        let halted = bench.store.account(&default_account()).await.unwrap().halted.unwrap();
        assert!(halted.reason.contains(code), "{halted:?}");

        // Once a person has lifted it, it is lifted, also after the next start.
        let unhalt = teardownd::store::OperatorRequest::new(
            teardownd::store::Verb::Unhalt,
            teardownd::store::Filter { account: Some(default_account()), ..Default::default() },
            "ann",
        );
        assert!(bench.store.request(&unhalt, at(20)).await.unwrap()[0].applied);
        adopt(&bench, 30).await;
        assert_eq!(bench.store.account(&default_account()).await.unwrap().halted, None);
        answered(&place, 2, 40, code).await;
        adopt(&bench, 50).await;
        assert!(bench.store.account(&default_account()).await.unwrap().halted.is_some());
    }
}

#[tokio::test]
async fn other_answers_halt_nothing_at_start() {
    let place = Place::new();
    let bench = place.bench().await;
    for (id, code) in ["2032", "800061", "60003", "odd"].iter().enumerate() {
        answered(&place, u32::try_from(id).unwrap(), 5, code).await;
    }
    adopt(&bench, 10).await;
    assert_eq!(bench.store.account(&default_account()).await.unwrap().halted, None);
}

#[tokio::test]
async fn invariant_2_what_an_account_has_stood_for_cannot_be_rewritten() {
    let place = Place::new();
    let bench = place.bench().await;
    adopt(&bench, 1).await;
    let mut conn = plain(&place.path()).await;
    for sql in [
        "DELETE FROM identities",
        "UPDATE identities SET account = 'other'",
        "UPDATE identities SET partner_tenant = '2a3b4c5d-6e7f-4081-9293-a4b5c6d7e8f9'",
        "UPDATE identities SET cloud = 'china'",
        "UPDATE identities SET client_id = '2a3b4c5d-6e7f-4081-9293-a4b5c6d7e8f9'",
        "UPDATE identities SET proven_write = 1, proven_reservation = 1, proven_delete = 1",
        "INSERT INTO identities (account, cloud, partner_tenant, client_id, since, left_at, proven_write)
         VALUES ('other', 'global', '2a3b4c5d-6e7f-4081-9293-a4b5c6d7e8f9', 'x', 'y', 'z', 1)",
        "INSERT INTO identities (account, cloud, partner_tenant, client_id, since)
         VALUES ('default', 'global', '2a3b4c5d-6e7f-4081-9293-a4b5c6d7e8f9', 'x', 'y')",
    ] {
        let refused = run(&mut conn, sql).await.unwrap_err().to_string();
        assert!(refused.contains("identit") || refused.contains("stood for"), "{sql}: {refused}");
    }
    let kept =
        value(&mut conn, "SELECT count(*) || ' ' || max(proven_write) FROM identities").await;
    assert_eq!(kept, "1 0");
}

#[tokio::test]
async fn what_is_known_of_entitlements_belongs_to_the_app() {
    let place = Place::new();
    let bench = place.bench().await;
    adopt(&bench, 1).await;
    let name = default_account();
    let known = async || bench.store.no_entitlements_at(&name).await.unwrap();
    assert_eq!(known().await, None);
    bench.store.note_entitlements(&name, Some(at(5))).await.unwrap();
    adopt(&bench, 10).await;
    assert_eq!(known().await, Some(at(5)));
    let renamed = AccountName::new("renamed");
    bench.store.adopt(&[(renamed.clone(), identity())], at(20)).await.unwrap();
    assert_eq!(bench.store.no_entitlements_at(&renamed).await.unwrap(), Some(at(5)));
    let mut other = identity();
    other.client_id = uuid::Uuid::from_u128(9);
    bench.store.adopt(&[(renamed.clone(), other)], at(30)).await.unwrap();
    assert_eq!(bench.store.no_entitlements_at(&renamed).await.unwrap(), None);
}
