//! `teardownd check` against a simulated sandbox: what works, what is refused, and what to do.
#![cfg(feature = "simulator")]

use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use teardownd::core::clock::{BoxFuture, Clock};
use teardownd::runtime::clock::SystemClock;
use teardownd::simulator::server::{ServerHandle, serve};
use teardownd::simulator::{
    Customer, Effect, Kind, Options, Purchase, Rule, Sandbox, Simulator, Template, When,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use uuid::Uuid;

const PARTNER: Uuid = Uuid::from_u128(0xbbbbbbbb_0000_4000_8000_000000000001);
const CLIENT: Uuid = Uuid::from_u128(0xbbbbbbbb_0000_4000_8000_000000000002);
const SECRET: &str = "kept~between.you-and_me";

/// A clock that is as far from the machine's as a test wants.
#[derive(Debug)]
struct Shifted(SystemClock, SignedDuration);

impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        self.0.now() + self.1
    }

    fn uptime(&self) -> Duration {
        self.0.uptime()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }
}

struct Place {
    folder: TempDir,
    simulator: Simulator,
    server: ServerHandle,
}

/// How a check ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    /// A sandbox with so many customers, on a clock this far from the machine's.
    async fn new(customers: u128, shift: SignedDuration) -> Self {
        let mut sandbox = Sandbox::new(PARTNER, CLIENT, SECRET);
        sandbox.limit(1000);
        for n in 1..=customers {
            let customer = Customer::new(Uuid::from_u128(n), format!("c{n}.onmicrosoft.com"));
            let customer = customer.with(Purchase::new(Kind::Reservation));
            sandbox.add(customer.with(Purchase::new(Kind::NewCommerce))).unwrap();
        }
        let clock = Arc::new(Shifted(SystemClock::start(), shift));
        let simulator = Simulator::new(clock, 1, Options::default(), [sandbox]);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = serve(simulator.clone(), listener).unwrap();
        let place = Self { folder: tempfile::tempdir().unwrap(), simulator, server };
        place.write_secret(SECRET);
        place.configure(&place.server.url(), "");
        assert_eq!(place.run(&["migrate"]).await.code, 0);
        place
    }

    fn write_secret(&self, secret: &str) {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(self.folder.path().join("secret")).unwrap();
        std::io::Write::write_all(&mut file, secret.as_bytes()).unwrap();
    }

    fn configure(&self, api_base: &str, more: &str) {
        let authority = self.server.url();
        let text = format!(
            r#"
[database]
url = "sqlite:t.db"
[safety]
allow_domains = ["*.onmicrosoft.com"]
[accounts.lab]
sandbox = true
partner_tenant = "{PARTNER}"
client_id = "{CLIENT}"
credential = {{ kind = "client_secret", file = "secret" }}
api_base = "{api_base}"
authority = "{authority}"
{more}
"#
        );
        std::fs::write(self.folder.path().join("teardownd.toml"), text).unwrap();
    }

    fn rule(&self, template: Template, effect: Effect) {
        self.simulator.add_rule(Rule::new(When::Always, effect).on(template));
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_teardownd"));
        let command = command.args(arguments).current_dir(self.folder.path()).env_clear();
        let command = command.env("TEARDOWND_CONFIG", "teardownd.toml").stdin(Stdio::null());
        let output = command.kill_on_drop(true).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert!(!format!("{out}{err}").contains(SECRET), "invariant 13: {out}{err}");
        Ended { code: output.status.code().unwrap(), out, err }
    }

    /// Checks, which must end with this code. Nothing but token requests and GETs went out, and
    /// nothing was written.
    async fn check(&self, code: i32) -> (Value, String) {
        let before = self.files();
        let text = self.run(&["check"]).await;
        assert_eq!(text.code, code, "{text:?}");
        assert_eq!(text.err.contains("checks failed"), code != 0, "{text:?}");
        let ended = self.run(&["check", "--output", "json"]).await;
        assert_eq!(ended.code, code, "{ended:?}");
        assert_eq!(self.files(), before, "a check writes nowhere");
        let journal = self.simulator.journal();
        let tokens = [Template::TokenV1, Template::TokenV2];
        for entry in journal.entries() {
            assert!(entry.method == "GET" || tokens.contains(&entry.template), "{entry:?}");
        }
        (serde_json::from_str(&ended.out).unwrap(), text.out)
    }

    /// Names and contents of the files, the database's shared memory aside: readers note themselves
    /// there.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> = entries
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
            .filter(|(name, _)| !name.ends_with("-shm") && !name.ends_with("-wal"))
            .map(|(name, path)| (name, std::fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }
}

/// The finding of a check.
fn finding<'a>(report: &'a Value, check: &str) -> &'a Value {
    let found = report["findings"].as_array().unwrap().iter().find(|f| f["check"] == check);
    found.unwrap_or_else(|| panic!("no finding {check}: {report}"))
}

fn level<'a>(report: &'a Value, check: &str) -> &'a str {
    finding(report, check)["level"].as_str().unwrap()
}

fn contains(value: &Value, part: &str) -> bool {
    value.as_str().is_some_and(|text| text.contains(part))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fit_account_is_told_with_its_tid_its_reads_and_its_customers() {
    let place = Place::new(3, SignedDuration::ZERO).await;
    let (report, text) = place.check(0).await;
    let account = &report["accounts"][0];
    assert_eq!(account["account"], "lab");
    assert_eq!(account["reachable"], true);
    assert_eq!(account["tid"], PARTNER.to_string());
    assert_eq!(account["customers"], json!({"in_use": 3, "limit": 75}));
    assert_eq!(account["warnings"], json!([]));
    for read in ["profile", "customers", "entitlements", "orders", "subscriptions"] {
        assert_eq!(account["reads"][read], "allowed", "{report}");
        assert_eq!(level(&report, read), "ok");
    }
    assert_eq!(level(&report, "clock"), "ok");
    assert!(!text.contains("FAIL") && !text.contains("WARN"), "{text}");
    assert!(text.contains(&format!("its tid is partner_tenant, {PARTNER}")), "{text}");
    assert!(text.contains("3 of at most 75 customers are in use"), "{text}");
}

/// The audit log, with one record of this operation.
fn audited(operation: &str) -> Effect {
    Effect::Answer {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: json!({"items": [{"id": "1", "operationType": operation}]}).to_string(),
        applied: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_hints_at_a_sandbox_and_is_no_condition() {
    let place = Place::new(1, SignedDuration::ZERO).await;
    let (report, _) = place.check(0).await;
    assert_eq!(report["accounts"][0]["deletes_as_a_sandbox"], false);
    assert!(contains(&finding(&report, "audit_log")["text"], "nor against it"), "{report}");
    for (effect, known, level_of) in [
        (audited("delete_tip_customer"), json!(true), "ok"),
        (audited("delete_customer"), json!(false), "ok"),
        (Effect::fault(403, 2032, "The role does not allow that."), Value::Null, "skipped"),
    ] {
        let place = Place::new(1, SignedDuration::ZERO).await;
        place.rule(Template::AuditRecords, effect);
        let (report, text) = place.check(0).await;
        assert_eq!(report["accounts"][0]["deletes_as_a_sandbox"], known, "{report}");
        assert_eq!(level(&report, "audit_log"), level_of);
        assert!(!text.contains("FAIL") && !text.contains("WARN"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_an_operator_has_classified_are_listed() {
    let place = Place::new(1, SignedDuration::ZERO).await;
    place.configure(&place.server.url(), "[codes]\n\"409/123456\" = \"wait\"");
    let (report, text) = place.check(0).await;
    assert_eq!(finding(&report, "codes")["text"], "an answer 409/123456 is taken as wait");
    assert!(text.contains("codes: an answer 409/123456 is taken as wait"), "{text}");
    place.configure(&place.server.url(), "[codes]\n\"403/800019\" = \"wait\"");
    let refused = place.run(&["check"]).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains("a safety stop stays one"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entitlements_refused_to_an_app_are_a_warning_and_no_failure() {
    let place = Place::new(1, SignedDuration::ZERO).await;
    place.simulator.set_options(|options| options.entitlements_app_only = false);
    let (report, text) = place.check(0).await;
    assert_eq!(report["accounts"][0]["reads"]["entitlements"], "refused");
    assert_eq!(level(&report, "entitlements"), "warning");
    let warning = &report["accounts"][0]["warnings"][0];
    assert!(contains(warning, "the cross-check is not available"), "{report}");
    assert!(text.contains("WARN accounts.lab: entitlements are refused to this app"), "{text}");
    assert_eq!(level(&report, "orders"), "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refused_read_is_listed_with_what_to_do() {
    let place = Place::new(1, SignedDuration::ZERO).await;
    place.rule(Template::Orders, Effect::fault(403, 2032, "The role does not allow that."));
    place.rule(Template::Subscriptions, Effect::bad_gateway());
    place.rule(Template::LegalBusiness, Effect::fault(403, 900_124, "No."));
    let (report, text) = place.check(5).await;
    for (read, outcome, level_of) in [
        ("orders", "refused", "failed"),
        ("subscriptions", "failed", "failed"),
        ("profile", "refused", "warning"),
        ("customers", "allowed", "ok"),
    ] {
        assert_eq!(report["accounts"][0]["reads"][read], outcome, "{report}");
        assert_eq!(level(&report, read), level_of, "{report}");
    }
    let orders = finding(&report, "orders");
    assert!(contains(&orders["text"], "HTTP 403, code 2032: The role does not"), "{orders}");
    assert!(contains(&orders["remedy"], "register the app"), "{orders}");
    assert!(contains(&finding(&report, "subscriptions")["remedy"], "try again"), "{report}");
    assert!(text.contains("       -> register the app"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skewed_clock_is_told_with_distance_and_direction() {
    for (shift, words) in [(-125, "ahead of Microsoft's"), (125, "behind Microsoft's")] {
        let place = Place::new(1, SignedDuration::from_secs(shift)).await;
        let (report, text) = place.check(0).await;
        assert_eq!(level(&report, "clock"), "warning", "{report}");
        // What the exchange took may hide a little of it, and on a busy machine more.
        let told = report["accounts"][0]["clock_ahead_seconds"].as_i64().unwrap();
        assert_eq!(told.signum(), -shift.signum(), "{told}");
        assert!(told.abs() <= 125 && told.abs() >= 60, "{told}");
        assert!(text.contains("this machine's clock is") && text.contains(words), "{text}");
    }
    let place = Place::new(1, SignedDuration::from_secs(30)).await;
    assert_eq!(level(&place.check(0).await.0, "clock"), "ok", "30 s are no reason to warn");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_credential_does_not_hide_what_else_is_wrong() {
    let place = Place::new(1, SignedDuration::ZERO).await;
    place.write_secret("another~one.entirely");
    place.configure("http://127.0.0.1:9", "[accounts.lab.safety]\nallow_domains = []");
    let (report, text) = place.check(5).await;
    assert_eq!(level(&report, "token"), "failed");
    assert!(contains(&finding(&report, "token")["text"], "AADSTS7000215"), "{report}");
    assert_eq!(level(&report, "endpoint"), "failed");
    assert_eq!(report["accounts"][0]["reachable"], false);
    assert!(contains(&finding(&report, "endpoint")["remedy"], "DNS and firewall"), "{report}");
    assert_eq!(level(&report, "allow_domains"), "failed");
    for read in ["profile", "customers", "entitlements", "orders", "subscriptions"] {
        assert_eq!(report["accounts"][0]["reads"][read], "not_tried");
        assert_eq!(level(&report, read), "skipped");
    }
    assert_eq!(text.matches("FAIL").count(), 3, "{text}");
    assert!(!text.contains("another~one"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_the_endpoint_is_still_knocked_at() {
    let place = Place::new(1, SignedDuration::ZERO).await;
    place.write_secret("another~one.entirely");
    let (report, _) = place.check(5).await;
    assert_eq!(level(&report, "token"), "failed");
    assert_eq!(level(&report, "endpoint"), "ok");
    assert_eq!(report["accounts"][0]["reachable"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_1_a_foreign_token_and_too_many_customers_are_told_before_anything_runs() {
    let place = Place::new(80, SignedDuration::ZERO).await;
    let (report, _) = place.check(5).await;
    assert_eq!(report["accounts"][0]["customers"], json!({"in_use": 80, "limit": 75}));
    assert!(contains(&finding(&report, "customers")["text"], "this is no sandbox"), "{report}");
    assert_eq!(level(&report, "orders"), "ok", "the rest is looked at all the same");

    place.rule(Template::TokenV2, Effect::ForeignTid);
    let (report, _) = place.check(5).await;
    assert_eq!(level(&report, "token"), "failed");
    assert_ne!(report["accounts"][0]["tid"], PARTNER.to_string());
    assert!(report["accounts"][0]["tid"].is_string(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_sandbox_and_a_missing_database_are_no_riddle() {
    let place = Place::new(0, SignedDuration::ZERO).await;
    std::fs::remove_file(place.folder.path().join("t.db")).unwrap();
    let (report, _) = place.check(5).await;
    assert_eq!(level(&report, "database"), "failed");
    assert!(contains(&finding(&report, "database")["text"], "teardownd migrate"), "{report}");
    assert_eq!(report["accounts"][0]["customers"]["in_use"], 0);
    assert_eq!(level(&report, "orders"), "skipped");
    assert!(contains(&finding(&report, "orders")["text"], "no customer"), "{report}");
}
