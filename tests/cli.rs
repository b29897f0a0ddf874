//! The real program, from its command line to its exit code.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const ACCOUNTS: &str = r#"
[database]
url = "sqlite:t.db"
[safety]
allow_domains = ["*.example"]
protected_tenants = ["aaaaaaaa-0000-4000-8000-000000000099"]
[accounts.lab]
sandbox = true
partner_tenant = "bbbbbbbb-0000-4000-8000-000000000001"
client_id = "bbbbbbbb-0000-4000-8000-000000000002"
credential = { kind = "client_secret", env = "LAB_SECRET" }
"#;
const A: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const B: &str = "AAAAAAAA-0000-4000-8000-000000000002";

/// A folder with a configuration of one account.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("teardownd.toml"), config).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn with_database() -> Self {
        let place = Self::new(ACCOUNTS);
        let done = place.run(&["migrate"]);
        assert_eq!(done.code, 0, "{done:?}");
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_teardownd"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("TEARDOWND_CONFIG", self.path().join("teardownd.toml"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.command(arguments).output().unwrap())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    }
}

#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }
}

// ---- what needs no database ----------------------------------------------------------------------

#[test]
fn usage_errors_exit_2_in_the_form_that_was_asked_for() {
    let place = Place::new(ACCOUNTS);
    let ended = place.run(&["lsit"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("list"), "{ended:?}");
    let ended = place.run(&["--output", "json", "why", "abc"]);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    let error: Value = serde_json::from_str(&ended.err).unwrap();
    assert_eq!(error["error"]["code"], 2);
    assert!(error["error"]["message"].as_str().unwrap().contains("\"abc\" is not a tenant id"));
    assert_eq!(place.run(&["--version"]).code, 0);
    assert!(place.run(&["completions", "bash"]).out.contains("enqueue"));
}

#[test]
fn unknown_keys_of_file_and_environment_are_all_named() {
    let place = Place::new(&format!("[engine]\nmax_inflight = 3\n{ACCOUNTS}"));
    let mut command = place.command(&["list"]);
    let ended = Ended::of(&command.env("TEARDOWND__LOG__LEVEL", "debug").output().unwrap());
    assert_eq!(ended.code, 5, "{ended:?}");
    for part in [
        "engine.max_inflight: unknown key; the nearest known key is engine.max_in_flight",
        "teardownd.toml",
        "log.level: unknown key",
        "TEARDOWND__LOG__LEVEL",
    ] {
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let ended = Place::new("").run(&["--config", "/nowhere/t.toml", "list"]);
    assert_eq!(ended.code, 5);
    assert!(ended.err.contains("/nowhere/t.toml"), "{ended:?}");
}

#[test]
fn a_missing_database_is_named_with_the_way_to_make_one() {
    let place = Place::new(ACCOUNTS);
    for command in [&["list"][..], &["why", A], &["enqueue", A], &["abort", "--all"]] {
        let ended = place.run(command);
        assert_eq!(ended.code, 5, "{command:?}: {ended:?}");
        assert!(ended.err.contains("t.db") && ended.err.contains("migrate"), "{ended:?}");
        assert!(!place.path().join("t.db").exists(), "{command:?} created it");
    }
}

#[test]
fn malformed_ids_are_all_named_and_nothing_is_queued() {
    let place = Place::new(ACCOUNTS);
    let ended = place.run(&["enqueue", "abc", A, "1234", "--output", "json"]);
    assert_eq!(ended.code, 2);
    let results: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(results["results"].as_array().unwrap().len(), 2, "{results}");
    assert_eq!(results["results"][0]["outcome"], "invalid");
    assert_eq!(results["results"][1]["tenant_id"], "1234");
    let error: Value = serde_json::from_str(&ended.err).unwrap();
    assert!(error["error"]["message"].as_str().unwrap().contains("nothing was queued"));
}

#[test]
fn every_bad_row_of_a_file_is_named_with_file_line_and_column() {
    let place = Place::new(ACCOUNTS);
    let file = place.path().join("tenants.csv");
    std::fs::write(&file, format!("\u{feff}tenant_id;priority\n{A};1\n\nabc;2\n{B};high\n"))
        .unwrap();
    let ended = place.run(&["enqueue", "--file", "tenants.csv"]);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{ended:?}");
    assert!(ended.err.contains("tenants.csv, line 4, column 1 (tenant_id): \"abc\""), "{ended:?}");
    assert!(ended.err.contains("tenants.csv, line 5, column 2 (priority): \"high\""), "{ended:?}");
}

#[test]
fn a_tenant_named_with_two_domains_is_not_guessed_at() {
    let place = Place::new(ACCOUNTS);
    let text = format!("tenant,domain\n{A},a.example\n{B},b.example\n{A},c.example\n");
    std::fs::write(place.path().join("t.csv"), text).unwrap();
    let ended = place.run(&["enqueue", "--file", "t.csv"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("line 2 and line 4 name") && ended.err.contains(A), "{ended:?}");
}

#[test]
fn an_empty_variable_names_no_configuration() {
    let place = Place::new(ACCOUNTS);
    let mut command = place.command(&["enqueue", A]);
    let ended = Ended::of(&command.env("TEARDOWND_CONFIG", "").output().unwrap());
    assert!(!ended.err.contains("cannot be read"), "{ended:?}");
}

#[test]
fn invariant_1_a_protected_tenant_is_refused_and_the_whole_call_with_it() {
    let place = Place::new(ACCOUNTS);
    let protected = "aaaaaaaa-0000-4000-8000-000000000099";
    let ended = place.run(&["enqueue", A, protected, "--output", "json"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    let results: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(results["results"].as_array().unwrap().len(), 1);
    assert_eq!(results["results"][0]["outcome"], "refused");
    assert_eq!(results["results"][0]["guard"], "protected_tenant");
    assert_eq!(results["results"][0]["id"], Value::Null);
}

#[test]
fn what_a_guard_keeps_out_of_the_queue_is_in_the_audit() {
    let place = Place::new(ACCOUNTS);
    let protected = "aaaaaaaa-0000-4000-8000-000000000099";
    assert_eq!(place.run(&["migrate"]).code, 0);
    let refused = place.run(&["enqueue", A, protected]);
    assert_eq!(refused.code, 3);
    assert!(!refused.err.contains("warning"), "{refused:?}");
    let kept = place.run(&["audit", "export"]);
    assert_eq!(kept.code, 0, "{kept:?}");
    let lines: Vec<Value> = kept.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{kept:?}");
    assert!(kept.out.contains(protected) && kept.out.contains("protected_tenant"), "{kept:?}");
}

#[test]
fn accounts_must_be_known_and_named_where_there_are_several() {
    let place = Place::new(ACCOUNTS);
    let ended = place.run(&["enqueue", A, "--account", "prod"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("no account prod") && ended.err.contains("lab"), "{ended:?}");
    let two = ACCOUNTS.split("[accounts.lab]").nth(1).unwrap();
    let two = two.replace("bbbbbbbb-0000-4000-8000-000000000001", A);
    let place = Place::new(&format!("{ACCOUNTS}[accounts.other]{two}"));
    let ended = place.run(&["enqueue", A]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("--account") && ended.err.contains("lab, other"), "{ended:?}");
}

#[test]
fn nothing_is_done_to_everything_by_accident() {
    let place = Place::new(ACCOUNTS);
    for command in ["abort", "retry", "hold", "release", "wait"] {
        let ended = place.run(&[command]);
        assert_eq!(ended.code, 2, "{command}: {ended:?}");
        assert!(ended.err.contains("--all"), "{ended:?}");
    }
}

// ---- what needs the SQLite store -----------------------------------------------------------------

#[test]
fn enqueue_queues_once_and_names_the_database() {
    let place = Place::with_database();
    let ended = place.run(&["enqueue", A, B, "--batch", "b1", "--actor", "anna"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.ends_with("2 tenants: 2 queued\n"), "{ended:?}");
    assert!(ended.err.contains("t.db") && ended.err.contains("teardownd run"), "{ended:?}");
    let again = place.json(&["enqueue", A, B, A]);
    assert_eq!(again["results"][2]["outcome"], "already_active");
    assert_eq!(again["results"][1]["tenant_id"], B.to_lowercase());

    let listed = place.json(&["list"]);
    let rows = listed["teardowns"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{listed}");
    assert_eq!(rows[0]["state"], "queued");
    assert_eq!(rows[0]["batch"], "b1");
    let by = rows[0]["requested_by"].as_str().unwrap();
    assert!(by.starts_with("anna (claimed by "), "{by}");
    assert_eq!(place.json(&["list", "--batch", "none"])["teardowns"], Value::Array(Vec::new()));
}

#[test]
fn a_domain_named_for_an_active_tenant_is_not_dropped() {
    let place = Place::with_database();
    place.json(&["enqueue", A, "--domain", "a.lab.example"]);
    let other = place.run(&["enqueue", A, B, "--domain", "b.lab.example"]);
    assert_eq!(other.code, 3, "{other:?}");
    let told = "active with the domain a.lab.example, not with b.lab.example: abort it";
    assert!(other.out.contains(told), "{other:?}");
    let json = ["enqueue", A, B, "--domain", "b.lab.example", "--output", "json"];
    let ended = place.run(&json);
    assert_eq!(ended.code, 3, "{ended:?}");
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(told["results"][0]["guard"], "domain_mismatch", "{told}");
    assert_eq!(place.json(&["list"])["teardowns"].as_array().unwrap().len(), 1);
    let same = place.json(&["enqueue", A, "--domain", "A.LAB.example"]);
    assert_eq!(same["results"][0]["outcome"], "already_active");
}

#[test]
fn duplicates_of_a_file_are_named_as_such() {
    let place = Place::with_database();
    let text = format!("{A}\n# again\n{A}\n");
    std::fs::write(place.path().join("t.csv"), text).unwrap();
    let ended = place.run(&["enqueue", "--file", "t.csv"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("line 3  repeats line 1"), "{ended:?}");
    assert!(ended.out.ends_with("2 tenants: 1 queued, 1 already active\n"), "{ended:?}");
}

#[test]
fn holds_stop_a_wait_and_are_explained() {
    let place = Place::with_database();
    place.json(&["enqueue", A]);
    let held = place.run(&["hold", A, "--reason", "look first"]);
    assert_eq!(held.code, 0, "{held:?}");
    assert!(held.out.contains("1 teardown matched, 1 changed"), "{held:?}");
    assert_eq!(place.run(&["wait", A, "--timeout", "1h"]).code, 7);
    let why = place.run(&["why", A]);
    assert!(why.out.contains("look first"), "{why:?}");
    assert!(why.out.ends_with(&format!("next: teardownd release {A}\n")), "{why:?}");
    assert_eq!(place.run(&["release", A]).code, 0);
    assert_eq!(place.run(&["wait", A, "--timeout", "0s"]).code, 6);
    assert_eq!(place.run(&["abort", A]).code, 0);
    assert_eq!(place.run(&["wait", A]).code, 1);
    let history = place.json(&["history", A]);
    assert_eq!(history["history"][0]["transitions"][0]["to"], "queued", "{history}");
}

#[test]
fn pauses_name_who_set_them_and_when_they_end() {
    let place = Place::with_database();
    place.json(&["enqueue", A]);
    let paused = place.run(&["pause", "--account", "lab", "--until", "2h", "--reason", "lunch"]);
    assert_eq!(paused.code, 0, "{paused:?}");
    let listed = place.json(&["list"]);
    assert_eq!(listed["teardowns"][0]["blocked_by"], "paused");
    let told = &listed["accounts"][0];
    assert_eq!((&told["account"], &told["state"]), (&"lab".into(), &"paused".into()), "{told}");
    assert_eq!(told["reason"], "lunch");
    assert!(told["since"].is_string() && told["next_check"].is_string(), "{told}");
    let text = place.run(&["list"]).out;
    assert!(
        text.contains("account lab is paused by ") && text.contains(": lunch; goes on in "),
        "{text}"
    );
    assert!(place.run(&["why", A]).out.contains("lunch"));
    assert_eq!(place.json(&["why", A])["why"][0]["account_condition"]["state"], "paused");
    assert_eq!(place.run(&["pause", "--account", "nope"]).code, 2);
    assert_eq!(place.run(&["resume", "--account", "lab"]).code, 0);
    let listed = place.json(&["list"]);
    assert_eq!(listed["teardowns"][0]["blocked_by"], Value::Null);
    assert_eq!(listed["accounts"][0]["state"], "ok");
    assert!(!place.run(&["list"]).out.contains("account lab"), "what is ok is not told of");
}

#[test]
fn tenants_that_were_never_queued_exit_4() {
    let place = Place::with_database();
    for command in ["show", "history", "why", "support", "abort", "wait"] {
        let ended = place.run(&[command, A]);
        assert_eq!(ended.code, 4, "{command}: {ended:?}");
    }
}

#[test]
fn a_ticket_names_account_customer_and_timeline_and_keeps_the_team_s_own_matters() {
    let place = Place::with_database();
    place.json(&["enqueue", A, "--reason", "old project", "--batch", "b1", "--actor", "anna"]);
    place.json(&["hold", A, "--reason", "ask Bo first"]);
    let ticket = &place.json(&["support", A])["support"][0];
    assert_eq!(ticket["teardownd"], env!("CARGO_PKG_VERSION"));
    assert_eq!(ticket["partner_tenant"], "bbbbbbbb-0000-4000-8000-000000000001");
    assert_eq!(ticket["client_id"], "bbbbbbbb-0000-4000-8000-000000000002");
    assert_eq!((&ticket["cloud"], &ticket["customer_tenant"]), (&"global".into(), &A.into()));
    assert_eq!(ticket["teardown"]["state"], "queued");
    assert_eq!(ticket["teardown"]["held_by"], "operator");
    assert_eq!(ticket["timeline"].as_array().unwrap().len(), 2, "{ticket}");
    assert!(ticket["timeline"][0]["at"].as_str().unwrap().ends_with('Z'));
    for list in ["calls", "failures"] {
        assert_eq!(ticket[list], Value::Array(Vec::new()));
    }
    assert_eq!(ticket["last_fault"], Value::Null);
    let text = place.run(&["support", A]).out;
    for part in [A, "bbbbbbbb-0000-4000-8000-000000000001", "global", "queued", "Timeline (UTC)"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for own in ["old project", "ask Bo", "anna", "b1"] {
        assert!(!text.contains(own) && !ticket.to_string().contains(own), "{own}: {text}");
    }
}

#[test]
fn json_lines_come_from_standard_input() {
    use std::io::Write;
    let place = Place::with_database();
    let mut child = place
        .command(&["enqueue", "--file", "-", "--output", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let row = format!("{{\"tenant_id\":\"{A}\",\"domain\":\"Lab.Example\",\"reason\":\"old\"}}\n");
    child.stdin.take().unwrap().write_all(row.as_bytes()).unwrap();
    let ended = Ended::of(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    let shown = place.json(&["show", A]);
    assert_eq!(shown["teardowns"][0]["expected_domain"], "lab.example");
    assert_eq!(shown["teardowns"][0]["note"], "old");
}

/// Runs a statement in the database, or asks for one text.
fn sql(place: &Place, statement: &'static str) -> Option<String> {
    use sqlx::ConnectOptions as _;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let file = sqlx::sqlite::SqliteConnectOptions::new().filename(place.path().join("t.db"));
        let mut conn = file.connect().await.unwrap();
        sqlx::query_scalar(statement).fetch_optional(&mut conn).await.unwrap()
    })
}

#[test]
fn invariant_14_times_are_typed_and_told_by_the_clock_on_the_wall() {
    let place = Place::with_database();
    // The first command places the clock of the database. It is then five hours ahead of the wall.
    assert_eq!(place.run(&["list"]).code, 0);
    sql(
        &place,
        "UPDATE clock SET at = strftime('%Y-%m-%dT%H:%M:%fZ', at, '+5 hours'),
             ahead_ms = ahead_ms - 18000000",
    );
    let meant = "2030-01-01T00:00:00.000Z";
    assert_eq!(place.run(&["enqueue", A, "--not-before", meant]).code, 0);
    let json = place.json(&["show", A]);
    let shown = &json["teardowns"][0];
    assert_eq!(shown["not_before"], meant, "{shown}");
    let stored = sql(&place, "SELECT not_before FROM teardowns");
    assert_eq!(stored.as_deref(), Some("2030-01-01T05:00:00.000Z"));
    let stored =
        sql(&place, "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', created_at, '-5 hours') FROM teardowns");
    assert_eq!(shown["created_at"].as_str(), stored.as_deref(), "{shown}");
}
