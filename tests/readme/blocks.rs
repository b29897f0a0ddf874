//! The blocks that are neither typed nor read by the program: settings of Prometheus, systemd and
//! Litestream.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::page::{Page, pages, root};

/// Languages whose blocks some test runs or parses, and text that is only looked at.
const HANDLED: [&str; 9] = ["console", "csv", "ini", "json", "sh", "sql", "text", "toml", "yaml"];

#[test]
fn every_language_of_a_block_is_one_that_is_tested() {
    let mut languages = BTreeSet::new();
    for page in pages() {
        let fences = page.text.lines().filter_map(|line| line.trim_start().strip_prefix("```"));
        languages.extend(fences.step_by(2).map(str::to_owned));
    }
    languages.retain(|language| !HANDLED.contains(&language.as_str()));
    assert_eq!(languages, BTreeSet::new());
}

fn only_block(page: &str, language: &str) -> String {
    let mut blocks = Page::named(page).blocks(language);
    assert_eq!(blocks.len(), 1, "{page}: {blocks:?}");
    blocks.remove(0)
}

/// Whether Prometheus takes a configuration, with the alert rules beside it.
fn check_config(folder: &Path, text: &str) {
    std::fs::copy(
        root().join("deploy/prometheus/teardownd.rules.yml"),
        folder.join("teardownd.rules.yml"),
    )
    .unwrap();
    std::fs::write(folder.join("prometheus.yml"), text).unwrap();
    let run = Command::new("promtool")
        .args(["check", "config", "prometheus.yml"])
        .current_dir(folder)
        .output();
    let Ok(run) = run else {
        eprintln!("SKIPPED: promtool is not installed (Debian's package prometheus)");
        return;
    };
    assert!(run.status.success(), "{text}\n{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn prometheus_takes_the_scrape_configuration() {
    let folder = tempfile::tempdir().unwrap();
    check_config(folder.path(), &only_block("docs/metrics.md", "yaml"));
}

#[test]
fn prometheus_takes_the_relabelling() {
    let folder = tempfile::tempdir().unwrap();
    let block = only_block("docs/install.md", "yaml");
    let indented: String = block.lines().map(|line| format!("    {line}\n")).collect();
    check_config(folder.path(), &format!("scrape_configs:\n  - job_name: pods\n{indented}"));
}

#[test]
fn litestream_is_told_of_the_database_of_the_package() {
    let block = only_block("docs/operations.md", "yaml");
    let path = block.lines().find_map(|line| line.trim().strip_prefix("- path: ")).unwrap();
    let packaged = std::fs::read_to_string(root().join("config/packaged.toml")).unwrap();
    assert!(packaged.contains(&format!("url = \"sqlite:{path}\"")), "{path}");
}

#[test]
fn the_drop_in_holds_settings_that_the_unit_has_too() {
    let block = only_block("docs/install.md", "ini");
    let unit = root().join("deploy/systemd/teardownd.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let mut lines = block.lines();
    assert_eq!(lines.next(), Some("[Service]"));
    for line in lines {
        let (key, value) = line.split_once('=').expect("a setting");
        assert!(unit.contains(&format!("\n{key}=")) && !value.is_empty(), "{line}");
    }
}
