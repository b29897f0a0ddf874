//! The log of a real run: each line is as docs/logs.md says, and none holds a secret.

#[path = "../log_page/mod.rs"]
mod log_page;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use teardownd::simulator::{Effect, Rule, Template, When};

use crate::gate::until;
use crate::stage::{SECRET, Settings, Stage, brisk};
use log_page::documented;

/// Fields of every line.
const COMMON: [&str; 5] = ["timestamp", "level", "message", "target", "span"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_a_run_is_as_documented_and_holds_no_secret() {
    let stage = Stage::populated(6, brisk()).await;
    stage.configure(&Settings { log: "info,teardownd=debug", ..Settings::default() });
    // A 429, an answer that gets lost, and one that is damaged.
    let throttle = Effect::Throttle(Duration::from_secs(1));
    stage.simulator.add_rule(Rule::new(When::Nth(3), throttle).method("GET").on(Template::Orders));
    stage.strike_writes(When::Nth(2), &Effect::DropAfter);
    let daemon = stage.ready().await;
    stage.enqueue_all().await;
    stage.until_all_ended().await;
    // And a configuration that is refused.
    stage.reconfigure("[safety]\n", "[safety]\nno_such_key = 1\n");
    daemon.signal(rustix::process::Signal::HUP);
    let refused = "configuration refused; the former one stays in force";
    until("the refusal is logged", async || daemon.line(refused)).await;
    stage.reconfigure("[safety]\nno_such_key = 1\n", "[safety]\n");
    let said = daemon.log().to_owned();
    daemon.stop().await;
    stage.assert_all_torn_down();

    let documented = documented();
    let mut seen = BTreeSet::new();
    let text = std::fs::read_to_string(&said).unwrap();
    for line in text.lines() {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let object = value.as_object().unwrap();
        let message = object["message"].as_str().unwrap();
        assert!(object["target"].as_str().unwrap().starts_with("teardownd"), "{line}");
        let known = documented.get(message).unwrap_or_else(|| panic!("not documented: {line}"));
        assert_eq!(object["level"], *known.level, "{line}");
        let own = object.keys().filter(|key| !COMMON.contains(&key.as_str()));
        let strange: Vec<_> = own.filter(|key| !known.fields.contains(*key)).collect();
        assert!(strange.is_empty(), "{strange:?} in {line}");
        if let Some(span) = object.get("span") {
            let names: BTreeSet<&str> =
                span.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, BTreeSet::from(["account", "name", "teardown", "tenant"]), "{line}");
        }
        seen.insert(message.to_owned());
    }
    for expected in [
        "teardownd is running",
        "transition",
        "command sent",
        "answered",
        "no answer",
        "throttled: the account is closed until then",
        refused,
        "stopping: nothing new is claimed",
        "teardownd has stopped",
    ] {
        assert!(seen.contains(expected), "{expected:?} was not seen among {seen:?}");
    }
    // One line for each step, however often it was looked at.
    let count = |message: &str| text.matches(&format!("\"message\":\"{message}\"")).count();
    let mut database = stage.database().await;
    let moves = "SELECT count(*) FROM transitions WHERE from_state <> to_state";
    assert_eq!(count("transition") as i64, database.number(moves).await);
    let sends = database.number("SELECT sum(sends) FROM commands").await;
    assert_eq!(count("command sent") as i64, sends);
    database.close().await;

    let tokens = stage.simulator.tokens();
    assert!(!tokens.is_empty());
    for secret in tokens.iter().map(String::as_str).chain([SECRET, "Bearer"]) {
        assert!(!text.contains(secret), "the log holds {secret}");
    }
    stage.assert_no_secret();
}
