//! The configuration files that are shipped hold what the program compiles in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use config::{FileFormat, Map, Source, Value, ValueKind};
use teardownd::core::ids::AccountName;
use teardownd::interfaces::config::{Config, Key, Sources, known_keys, load};
use teardownd::store::Place;

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
    let path = config.database.place.file().unwrap().strip_prefix(folder.path()).unwrap();
    config.database.place = Place::File(path.to_owned());
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
    let names = known_keys().into_iter().map(|key| key.name);
    let known: BTreeSet<_> = names.filter(|name| !name.contains(".NAME.safety.")).collect();
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

const REFERENCE_HEAD: &str = "\
# Configuration reference

Every key of the configuration file: what it takes as the program reads it, and the default and the meaning as
[config/default.toml](../config/default.toml) shows them. A test generates this page and compares it.

Every key can be set by a variable too: `TEARDOWND__ENGINE__MAX_IN_FLIGHT` is `engine.max_in_flight`. `NAME` stands for the
name of an account. Every key of `[safety]` may also stand under `[accounts.NAME.safety]`. Each key of
`[codes]` is an answer of the API, such as `\"409/123456\" = \"wait\"`, and cannot be set by a variable.
";

/// What default.toml says of one key, or of one table.
#[derive(Debug, Clone, Default)]
struct Shown {
    values: Vec<String>,
    meaning: String,
}

/// Reads the comments before each key and each table. A key without comments of its own directly below
/// another shares that one's; a comment that offers another credential is a value of that key.
fn shown_in_default_toml() -> BTreeMap<String, Shown> {
    let text = with_example().replace("accounts.default", "accounts.NAME");
    let (mut found, mut table) = (BTreeMap::<String, Shown>::new(), String::new());
    let (mut comments, mut meaning) = (Vec::new(), String::new());
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            let comment = comment.trim();
            match comment.strip_prefix("credential = ") {
                Some(other) => {
                    comments.clear();
                    let credential = found.get_mut("accounts.NAME.credential").unwrap();
                    credential.values.push(other.to_owned());
                }
                None => comments.push(comment),
            }
            continue;
        }
        if line.is_empty() {
            comments.clear();
            meaning.clear();
            continue;
        }
        if !comments.is_empty() {
            meaning = std::mem::take(&mut comments).join(" ").trim().to_owned();
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = name.to_owned();
            let about = std::mem::take(&mut meaning);
            found.insert(table.clone(), Shown { values: Vec::new(), meaning: about });
        } else if let Some((key, value)) = line.split_once(" = ") {
            let shown = Shown { values: vec![value.to_owned()], meaning: meaning.clone() };
            found.insert(format!("{table}.{key}"), shown);
        }
    }
    found
}

/// The page docs/configuration.md as it should be.
fn reference() -> String {
    let shown = shown_in_default_toml();
    let shown = |name: &str| shown.get(name).cloned().unwrap_or_default();
    let cell = |text: &str| text.replace('|', "\\|");
    let mut tables = Vec::<(String, String)>::new();
    let mut names = BTreeSet::new();
    for Key { name, expected } in known_keys() {
        if name.contains(".NAME.safety.") || !names.insert(name.clone()) {
            continue;
        }
        let (table, key) = name.rsplit_once('.').unwrap();
        let place = tables.iter().position(|(known, _)| known == table).unwrap_or_else(|| {
            tables.push((table.to_owned(), String::new()));
            tables.len() - 1
        });
        let Shown { values, meaning } = shown(&name);
        let default = values.first().map(|value| format!("`{}`", cell(value))).unwrap_or_default();
        let row = format!("| `{key}` | {} | {default} | {} |\n", cell(expected), cell(&meaning));
        tables[place].1 += &row;
    }
    let mut page = REFERENCE_HEAD.to_owned();
    for (table, rows) in tables {
        let Shown { values, meaning } = shown(&table);
        page += &format!("\n## `{table}`\n\n");
        if !meaning.is_empty() {
            page += &format!("{meaning}\n\n");
        }
        if !values.is_empty() {
            page.extend(values.iter().map(|value| format!("- `{value}`\n")));
            page += "\n";
        }
        page += "| key | takes | default | meaning |\n|---|---|---|---|\n";
        page += &rows;
    }
    page
}

#[test]
fn the_reference_is_what_the_program_reads() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let (page, expected) = (std::fs::read_to_string(&path).unwrap_or_default(), reference());
    if std::env::var_os("TEARDOWND_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, &expected).unwrap();
        return;
    }
    assert!(
        page == expected,
        "docs/configuration.md is not what the program reads; TEARDOWND_WRITE_REFERENCE=1 cargo \
         test --test config writes it anew:\n{expected}"
    );
}
