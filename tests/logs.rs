//! docs/logs.md holds every line that the source can log, with its level and its fields.

mod log_page;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use log_page::{Line, documented};

#[test]
fn every_line_is_documented_with_its_level_and_fields() {
    let mut logged: BTreeMap<String, Line> = BTreeMap::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for (message, line) in lines_of(&text) {
            let known = logged.entry(message.clone()).or_insert_with(|| line.clone());
            assert_eq!(*known, line, "{message:?} is logged in two forms");
        }
    }
    assert!(logged.len() > 25, "only {} lines were found", logged.len());
    let documented = documented();
    let missing: Vec<_> =
        logged.iter().filter(|(m, line)| documented.get(*m) != Some(line)).collect();
    assert!(missing.is_empty(), "docs/logs.md lacks, or tells otherwise:\n{missing:#?}");
    let gone: Vec<_> = documented.keys().filter(|message| !logged.contains_key(*message)).collect();
    assert!(gone.is_empty(), "docs/logs.md holds lines that nothing logs: {gone:#?}");
}

#[test]
fn lines_are_found_however_they_are_written() {
    let source = r#"
        tracing::info!(rows = taken, %error, kind = kind.of("a, b", 3), text, "done (all)");
        Err(error) => tracing::warn!(
            account = %self.account, ?until,
            "closed",
        ),
        tracing::debug!("bare");
    "#;
    let found: Vec<_> = lines_of(source)
        .into_iter()
        .map(|(message, line)| (message, line.level, Vec::from_iter(line.fields).join(" ")))
        .collect();
    let expected = [
        ("done (all)", "INFO", "error kind rows text"),
        ("closed", "WARN", "account until"),
        ("bare", "DEBUG", ""),
    ];
    let expected = expected.map(|(m, l, f)| (m.to_owned(), l.to_owned(), f.to_owned()));
    assert_eq!(found, expected);
}

/// The source but for the simulator, which has no daemon around it.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("simulator") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The lines that a source logs.
fn lines_of(text: &str) -> Vec<(String, Line)> {
    let mut found = Vec::new();
    for part in text.split("tracing::").skip(1) {
        let Some((level, rest)) = part.split_once("!(") else { continue };
        if !["error", "warn", "info", "debug", "trace"].contains(&level) {
            continue;
        }
        let arguments = arguments(rest);
        let (message, fields) = arguments.split_last().unwrap();
        let message = message.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let message = message.unwrap_or_else(|| panic!("{level}!({arguments:?}) has no message"));
        let fields: BTreeSet<String> = fields
            .iter()
            .map(|field| field.split('=').next().unwrap().trim().trim_start_matches(['%', '?']))
            .map(str::to_owned)
            .collect();
        found.push((message.to_owned(), Line { level: level.to_uppercase(), fields }));
    }
    found
}

/// The arguments of a call, up to its closing parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut found, mut argument, mut depth, mut quoted) = (Vec::new(), String::new(), 0, false);
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '"' if before != '\\' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 && !quoted {
            found.push(std::mem::take(&mut argument));
        } else {
            argument.push(c);
        }
        before = c;
    }
    found.push(argument);
    found.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}
