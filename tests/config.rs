//! The configuration files that are shipped hold what the program compiles in.

use std::collections::BTreeSet;
use std::path::PathBuf;

use config::{FileFormat, Map, Source, Value, ValueKind};
use teardownd::core::ids::AccountName;
use teardownd::interfaces::config::{Config, Sources, known_keys, load};

fn shipped(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// The shipped file, its example of an account included.
fn with_example() -> String {
    let text = std::fs::read_to_string(shipped("default.toml")).unwrap();
    let (settings, example) = text.split_once("# [accounts.default]").expect("an example account");
    let example: Vec<_> = example.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    // What is still a comment then explains a key.
    format!("{settings}[accounts.default]\n{}\n", example.join("\n"))
}

/// The other credentials that the example offers, each as a line of its own.
fn other_credentials() -> Vec<String> {
    let text = std::fs::read_to_string(shipped("default.toml")).unwrap();
    let offered = text.lines().filter_map(|line| line.strip_prefix("# # credential = "));
    offered.map(|table| format!("credential = {table}")).collect()
}

fn load_text(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teardownd.toml");
    std::fs::write(&path, text).unwrap();
    let loaded = load(&Sources { file: Some(path), variables: Vec::new() });
    let mut config = loaded.unwrap_or_else(|error| panic!("{error}"));
    config.database.path = config.database.path.strip_prefix(folder.path()).unwrap().to_owned();
    config.file = None;
    config
}

fn leaves(prefix: &str, table: &Map<String, Value>, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match &value.kind {
            ValueKind::Table(table) => leaves(&path, table, found),
            _ => {
                found.insert(path);
            }
        }
    }
}

#[test]
fn every_value_of_default_toml_is_the_compiled_default() {
    let shown = std::fs::read_to_string(shipped("default.toml")).unwrap();
    assert_eq!(load_text(&shown), load_text(""));
}

#[test]
fn every_key_that_exists_stands_in_default_toml_and_no_other() {
    let text = with_example();
    let mut shown = BTreeSet::new();
    let table = config::File::from_str(&text, FileFormat::Toml).collect().unwrap();
    leaves("", &table, &mut shown);
    for other in other_credentials() {
        let table = config::File::from_str(&other, FileFormat::Toml).collect().unwrap();
        leaves("accounts.default", &table, &mut shown);
    }
    let exempt = |key: &&String| key.contains(".NAME.safety.");
    let known: BTreeSet<_> = known_keys().into_iter().filter(|key| !exempt(&key)).collect();
    let shown: BTreeSet<_> =
        shown.into_iter().map(|key| key.replace("accounts.default", "accounts.NAME")).collect();
    assert_eq!(shown, known);
}

#[test]
fn the_example_of_an_account_holds_its_defaults() {
    let spelt_out = load_text(&with_example());
    let only_what_is_needed = load_text(
        r#"
        [accounts.default]
        sandbox = true
        partner_tenant = "00000000-0000-0000-0000-000000000000"
        client_id = "00000000-0000-0000-0000-000000000000"
        credential = { kind = "client_secret", file = "/run/secrets/teardownd", expires = "2027-01-31" }
        "#,
    );
    assert_eq!(spelt_out, only_what_is_needed);
}

#[test]
fn every_credential_that_is_offered_can_be_used() {
    let example = with_example();
    let own = example.lines().find(|line| line.starts_with("credential = ")).unwrap();
    let kinds: BTreeSet<_> = other_credentials()
        .into_iter()
        .map(|other| {
            let config = load_text(&example.replace(own, &other));
            let account = config.account(&AccountName::new("default")).unwrap();
            std::mem::discriminant(&account.credential.kind)
        })
        .map(|kind| format!("{kind:?}"))
        .collect();
    assert_eq!(kinds.len(), 4, "every kind is offered: {kinds:?}");
}

#[test]
fn the_packaged_file_is_careful() {
    let loaded = load(&Sources { file: Some(shipped("packaged.toml")), variables: Vec::new() });
    let config = loaded.unwrap_or_else(|error| panic!("{error}"));
    assert!(config.safety.require_domain && config.safety.require_arming);
    assert!(!config.safety.grace.is_zero());
    assert!(config.safety.allow_domains.is_empty(), "nothing is written before somebody says so");
    assert!(config.account(&AccountName::new("default")).is_none());
}
