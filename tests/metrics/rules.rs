//! The rules of Prometheus, their own tests and their sections in the runbook.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use super::{exported, names_in, text};

const RULES: &str = "deploy/prometheus/teardownd.rules.yml";

/// An alert as it is written.
struct Alert {
    name: String,
    body: String,
}

fn alerts() -> Vec<Alert> {
    let rules = text(RULES);
    let parts = rules.split("- alert: ").skip(1);
    let alerts: Vec<Alert> = parts
        .map(|part| {
            let (name, body) = part.split_once('\n').unwrap();
            Alert { name: name.trim().to_owned(), body: body.to_owned() }
        })
        .collect();
    assert!(alerts.len() >= 15, "only {} alerts were found", alerts.len());
    alerts
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_it_has_seen() {
    for Alert { name, body } in alerts() {
        assert!(
            ["severity: critical\n", "severity: warning\n"].iter().any(|s| body.contains(s)),
            "{name} has no severity"
        );
        for part in ["summary: ", "description: >-"] {
            assert!(body.contains(part), "{name} has no {part}");
        }
        // A process by its instance, and what replicas share by their job.
        let places = ["{{ $labels.instance }}", "{{ $labels.job }}"];
        assert!(places.iter().any(|place| body.contains(place)), "{name} does not say where");
    }
}

#[test]
fn every_alert_leads_to_its_section_of_the_runbook() {
    let runbook = text("docs/runbook.md");
    for Alert { name, body } in alerts() {
        let link = format!("docs/runbook.md#{}\"", name.to_lowercase());
        assert!(body.contains(&link), "{name} does not link to {link}");
        let (_, rest) = runbook
            .split_once(&format!("\n## {name}\n"))
            .unwrap_or_else(|| panic!("docs/runbook.md has no section {name}"));
        let section = rest.split("\n## ").next().unwrap();
        for part in ["**What it means.**", "**How to look.**", "**What to do.**"] {
            assert!(section.contains(part), "{name} does not say: {part}");
        }
    }
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("## Teardownd"));
    assert_eq!(sections.count(), alerts().len(), "a section has no alert");
}

#[test]
fn rules_use_only_metrics_that_exist() {
    let rules = text(RULES);
    let recorded = rules.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
    let known: BTreeSet<String> = recorded.map(str::to_owned).chain(exported()).collect();
    let asked: String = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with('#') && !line.contains("runbook_url:"))
        .collect::<Vec<_>>()
        .join("\n");
    let names = names_in(&asked);
    assert!(names.len() > 10, "{names:?}");
    let missing: Vec<_> = names.difference(&known).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_alert_is_tested_quiet_and_firing() {
    let tests = text("deploy/prometheus/tests.yml");
    for Alert { name, .. } in alerts() {
        let own: Vec<_> = tests.split(&format!("- alertname: {name}\n")).skip(1).collect();
        let quiet = |test: &&&str| {
            test.split("- alertname").next().is_some_and(|own| own.contains("exp_alerts: []"))
        };
        assert!(own.iter().filter(quiet).count() >= 1, "{name} is never quiet");
        assert!(own.iter().any(|test| !quiet(&test)), "{name} never fires");
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    for arguments in [["check", "rules", "teardownd.rules.yml"], ["test", "rules", "tests.yml"]] {
        let run = Command::new("promtool").args(arguments).current_dir(&folder).output();
        let Ok(output) = run else {
            eprintln!("SKIPPED: promtool is not installed (Debian's package prometheus)");
            return;
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() && !said.contains("FAILED"), "{arguments:?}\n{said}");
    }
}
