//! Rows typed into the database by whoever has it open, while the daemon works. Each attempt begins with
//! the inventory on record and everything still to be written; from then on nothing may go out that was
//! typed in. Most take the triggers away first, which refuse them otherwise.

use futures::executor::block_on;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, SqliteConnection};
use teardownd::core::gates::Guard;
use teardownd::core::reason::Reason;
use teardownd::core::teardown::Teardown;

use super::harness::*;
use super::{Written, attempts, buyer, written_since};

/// A customer that nobody has queued.
const OTHER: &str = "/v1/customers/cccc0000-0000-4000-8000-000000000002";
/// The one that is queued.
const OWN: &str = "/v1/customers/cccc0000-0000-4000-8000-000000000001";
const UNGUARDED: &str = "DROP TRIGGER commands_insert_request; DROP TRIGGER commands_update;
    DROP TRIGGER teardowns_update_bounds; DROP TRIGGER teardowns_insert_own;";

attempts! {
    red_team_typed_a_delete_of_another_customer => |_: Option<Guard>| {
        forged("delete_customer", "customer", "DELETE", OTHER, "NULL", 0)
    };
    red_team_typed_a_delete_of_another_customer_that_looks_sent => |_: Option<Guard>| {
        forged("delete_customer", "customer", "DELETE", OTHER, "NULL", 1)
    };
    red_team_typed_an_end_of_the_relationship => |_: Option<Guard>| {
        forged("suspend_subscription", "subscription:s", "PATCH", OWN,
            "'{\"relationshipToPartner\":\"none\"}'", 0)
    };
    red_team_typed_a_new_order => |_: Option<Guard>| {
        forged("cancel_order", "order:o", "POST", format!("{OWN}/orders"), "'{}'", 0)
    };
    red_team_typed_an_order_id_that_leads_to_the_customer => |_: Option<Guard>| {
        forged("cancel_order", "order:..", "PATCH", format!("{OWN}/orders/.."),
            "'{\"id\":\"..\",\"status\":\"cancelled\"}'", 0)
    };
    red_team_typed_an_action_that_is_none => |_: Option<Guard>| {
        forged("explode", "order:o", "PATCH", format!("{OWN}/orders/o"), "NULL", 0)
    };
    red_team_typed_a_path_on_the_very_order_that_is_next => |_: Option<Guard>| {
        changed(&["UPDATE commands SET path = replace(path, '0001/', '0002/')"])
    };
    red_team_typed_a_body_on_the_very_command_that_is_next => |_: Option<Guard>| {
        changed(&["UPDATE commands SET body = '{\"relationshipToPartner\":\"none\"}'"])
    };
    red_team_typed_a_method_on_the_very_command_that_is_next => |_: Option<Guard>| {
        changed(&["UPDATE commands SET method = 'DELETE'"])
    };
    red_team_typed_an_account_that_cannot_be_read => |_: Option<Guard>| {
        changed(&["INSERT OR REPLACE INTO accounts (name, throttled_until) VALUES ('sandbox', 'soon')"])
    };
    red_team_typed_a_row_of_everything_that_cannot_be_read => |_: Option<Guard>| {
        changed(&["INSERT OR REPLACE INTO accounts (name, paused_reason, paused_since)
            VALUES ('*', 'look', 'yesterday')"])
    };
    red_team_typed_a_reason_that_is_none => |_: Option<Guard>| changed(&["UPDATE teardowns SET reason = 'fun'"]);
    red_team_typed_a_hold_that_is_none => |_: Option<Guard>| {
        changed(&["UPDATE teardowns SET hold_code = 'fun', hold_text = '', hold_by = '', hold_since = ''"])
    };
    red_team_typed_a_fence_beyond_all => |_: Option<Guard>| {
        changed(&["UPDATE teardowns SET fence = 9223372036854775807"])
    };
    red_team_typed_an_age_beyond_all => |_: Option<Guard>| {
        changed(&["UPDATE teardowns SET eligible_used_ms = 9223372036854775807"])
    };
    red_team_typed_columns_that_are_the_daemons_own => |_: Option<Guard>| carried_out(&[
        "INSERT INTO teardowns (tenant_id, fence) VALUES ('ID', 9223372036854775807)",
        "INSERT INTO teardowns (tenant_id, eligible_used_ms) VALUES ('ID', 1)",
        "INSERT INTO teardowns (tenant_id, eligible_since) VALUES ('ID', '2020-01-01T00:00:00.000Z')",
        "INSERT INTO teardowns (tenant_id, attempts) VALUES ('ID', 1)",
        "INSERT INTO teardowns (tenant_id, polls) VALUES ('ID', 1)",
        "INSERT INTO teardowns (tenant_id, rounds) VALUES ('ID', 1)",
        "INSERT INTO teardowns (tenant_id, moves) VALUES ('ID', 1)",
        "INSERT INTO teardowns (tenant_id, domain) VALUES ('ID', 'tenant2.onmicrosoft.com')",
        "INSERT INTO teardowns (tenant_id, reason) VALUES ('ID', 'paused')",
        "INSERT INTO teardowns (tenant_id, reason_text) VALUES ('ID', 'x')",
        "INSERT INTO teardowns (tenant_id, hold_code, hold_text, hold_by, hold_since)
         VALUES ('ID', 'operator', 'x', 'ann', '2020-01-01T00:00:00.000Z')",
        "INSERT INTO teardowns (tenant_id, next_attempt_at) VALUES ('ID', '2020-01-01T00:00:00.000Z')",
        "INSERT INTO teardowns (tenant_id, lease_owner, lease_until) VALUES ('ID', 'x', 'x')",
        "INSERT INTO teardowns (tenant_id, run_since) VALUES ('ID', '2020-01-01T00:00:00.000Z')",
        "INSERT INTO teardowns (tenant_id, state_since) VALUES ('ID', '2020-01-01T00:00:00.000Z')",
        "INSERT INTO teardowns (tenant_id, finished_at) VALUES ('ID', '2020-01-01T00:00:00.000Z')",
        "INSERT INTO teardowns (tenant_id, cross_checked) VALUES ('ID', 1)",
        "INSERT INTO teardowns (tenant_id, suspects) VALUES ('ID', '[\"..\"]')",
        "INSERT INTO teardowns (tenant_id, uncancellable_at) VALUES ('ID', '2020-01-01T00:00:00.000Z')",
    ]);
    red_team_typed_numbers_the_daemon_counts_in => |_: Option<Guard>| carried_out(&[
        "UPDATE teardowns SET fence = 9223372036854775807",
        "UPDATE teardowns SET fence = fence - 1",
        "UPDATE teardowns SET fence = fence + 2",
        "UPDATE teardowns SET eligible_used_ms = 9223372036854775807",
        "UPDATE teardowns SET attempts = 9223372036854775807",
        "UPDATE teardowns SET polls = 9223372036854775807",
        "UPDATE teardowns SET moves = moves + 2",
    ]);
    red_team_typed_an_end_without_a_delete => |_: Option<Guard>| carried_out(&[
        "UPDATE teardowns SET state = 'deleted'",
        "UPDATE teardowns SET state = 'deleting'; UPDATE teardowns SET state = 'deleted'",
    ]);
    red_team_typed_removals => |_: Option<Guard>| carried_out(&[
        "DELETE FROM teardowns",
        "INSERT OR REPLACE INTO accounts (name, paused_reason, paused_by, paused_since)
         VALUES ('sandbox', 'x', 'ann', '2020-01-01T00:00:00.000Z'); DELETE FROM accounts",
        "DELETE FROM transitions",
    ]);
}

/// A command typed in beside the triggers. It holds the teardown, and is as good as never there once a
/// person has released that.
async fn forged(
    action: &str,
    resource: &str,
    method: &str,
    path: impl AsRef<str>,
    body: &str,
    sends: u32,
) -> Written {
    let path = path.as_ref();
    let mut stage = Stage::new().await;
    let refused = stage.command(action, resource, method, path, body, 0);
    assert!(refused.is_err(), "the table takes {action} of {resource} as {method} {path}");
    stage.sql(UNGUARDED).unwrap();
    stage.command(action, resource, method, path, body, sends).unwrap();
    let written = stage.since().await;
    let text = stage.scene.assert_held(1, Reason::ForgedCommand).await;
    assert!(text.contains("dddddddd"), "{text}");
    if written.is_empty() {
        assert!(stage.scene.ask_about(Verb::Release, 1).await.applied);
        stage.scene.settle().await;
        stage.scene.assert_all_deleted().await;
    }
    written
}

/// Statements on what stands there, once a command is on record.
async fn changed(sql: &[&str]) -> Written {
    let mut stage = Stage::new().await;
    stage.sql(UNGUARDED).unwrap();
    stage.unsent();
    for sql in sql {
        stage.sql(sql).unwrap();
    }
    let written = stage.since().await;
    // Others go on: the row is shown, whatever is wrong with it, and no operation fails.
    assert_eq!(stage.scene.rows().await.len(), 1);
    stage.scene.ask_everything(Verb::Pause).await;
    written
}

/// Statements that the tables refuse, each by itself. Answers those that they do not.
async fn carried_out(sql: &[&str]) -> Written {
    let mut stage = Stage::new().await;
    let mut done = Written::new();
    for sql in sql {
        let sql = sql.replace("ID", "cccc0000-0000-4000-8000-000000000003");
        match stage.sql(&sql) {
            Ok(()) => done.push(sql),
            Err(error) => assert!(error.contains(':'), "{error}: it says what to do instead"),
        }
    }
    done
}

/// A daemon that is about to write for the first time, and a shell on its database.
struct Stage {
    scene: Scene,
    shell: SqliteConnection,
    before: usize,
}

impl Stage {
    async fn new() -> Self {
        let given = Given::new([buyer(1), buyer(2)]).safety(|safety| safety.dry_run = true);
        let mut scene = given.set();
        scene.enqueue(&[1]).await;
        scene.start().await;
        let is_next = |rows: &[Teardown]| rows[0].reason == Some(Reason::DryRun);
        scene.until_rows("a write is next", mins(1), is_next).await;
        let path = scene.store.file().unwrap().to_owned();
        let shell = block_on(SqliteConnectOptions::new().filename(path).connect()).unwrap();
        let before = scene.writes().len();
        assert_eq!(before, 0);
        Self { scene, shell, before }
    }

    fn sql(&mut self, sql: &str) -> Result<(), String> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.shell);
        block_on(done).map(|_| ()).map_err(|error| error.to_string())
    }

    fn command(
        &mut self,
        action: &str,
        resource: &str,
        method: &str,
        path: &str,
        body: &str,
        sends: u32,
    ) -> Result<(), String> {
        self.sql(&format!(
            "INSERT INTO commands (id, account, tenant_id, teardown_id, action, reservation, resource,
                 method, path, body, created_at)
             SELECT 'dddddddd-0000-4000-8000-000000000001', account, tenant_id, id, '{action}', 0,
                 '{resource}', '{method}', '{path}', {body}, created_at
             FROM teardowns WHERE id = 1;
             UPDATE commands SET sends = {sends}"
        ))
    }

    /// A command on record that is what would be derived, and was never sent.
    fn unsent(&mut self) {
        let order = "SELECT order_id FROM purchases WHERE key GLOB 'order:*'";
        let order = block_on(sqlx::query(order).fetch_one(&mut self.shell)).unwrap();
        let order: String = order.get(0);
        let (resource, path) = (format!("order:{order}"), format!("{OWN}/orders/{order}"));
        let body = format!("json_object('id', '{order}', 'status', 'cancelled')");
        self.command("cancel_order", &resource, "PATCH", &path, &body, 0).unwrap();
    }

    /// What goes out as soon as it may.
    async fn since(&mut self) -> Written {
        self.scene.reload(|safety| safety.dry_run = false);
        self.scene.pass(hours(3)).await;
        written_since(&self.scene, self.before)
    }
}
