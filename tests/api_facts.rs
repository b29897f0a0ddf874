//! The table of error codes in `docs/api-facts.md` against the code that classifies them: every row
//! has its class, and a test of its name that names every code of the row.

use teardownd::core::fault::{Class, Fault};
use teardownd::core::settlement::classify;

/// One row: codes, statuses, class and the name of its test.
struct Row {
    codes: Vec<String>,
    statuses: Vec<u16>,
    class: Class,
    test: String,
}

#[test]
fn every_documented_code_has_its_class() {
    for row in rows() {
        for (status, code) in row.pairs() {
            let fault =
                Fault { status, code: Some(code), structured: true, own: true, ..Fault::default() };
            assert_eq!(classify(&fault), row.class, "{fault} in the row of {}", row.test);
        }
    }
}

#[test]
fn every_row_has_a_test_that_names_its_codes() {
    let source = std::fs::read_to_string(path("src/core/settlement/tests.rs")).unwrap();
    for row in rows() {
        let named = format!("{}: {:?} <- [", row.test, row.class);
        let whole = format!("fn {}()", row.test);
        let Some((_, rest)) = source.split_once(&named) else {
            assert!(source.contains(&whole), "settlement/tests.rs has no test {}", row.test);
            continue;
        };
        let tested = rest.split("];").next().unwrap();
        for code in &row.codes {
            assert!(tested.contains(&format!("\"{code}\"")), "{} does not try {code}", row.test);
        }
    }
}

/// A name with colons in the last column of a table is that of a test: its function exists.
#[test]
fn every_test_that_is_named_exists() {
    let page = std::fs::read_to_string(path("docs/api-facts.md")).unwrap();
    let sources = sources();
    let held_by = page.lines().filter(|line| line.starts_with('|'));
    let cells = held_by.filter_map(|line| line.trim_matches('|').rsplit('|').next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let mut checked = 0;
    for name in names.filter(|name| name.contains("::") && !name.contains(['{', '*'])) {
        let function = name.rsplit("::").next().unwrap();
        // Some are made by macros, from a list of names.
        let defined = [format!("fn {function}("), format!("{function},"), format!("{function}: ")];
        let exists = defined.iter().any(|text| sources.contains(text.as_str()));
        assert!(exists, "docs/api-facts.md names {name}, which does not exist");
        checked += 1;
    }
    assert!(checked > 120, "only {checked} names were found");
}

/// Every source file, one after the other.
fn sources() -> String {
    let mut folders = vec![path("src"), path("tests")];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&std::fs::read_to_string(entry).unwrap());
            }
        }
    }
    all
}

impl Row {
    /// What is to be classified: each code under each status, a short one under the first, with which
    /// it is documented; and where any code counts, one that is in no table.
    fn pairs(&self) -> Vec<(u16, String)> {
        let mut pairs = Vec::new();
        for code in &self.codes {
            let statuses = if code.len() < 6 { &self.statuses[..1] } else { &self.statuses };
            pairs.extend(statuses.iter().map(|status| (*status, code.clone())));
        }
        if pairs.is_empty() {
            pairs.extend(self.statuses.iter().map(|status| (*status, "4242".to_owned())));
        }
        pairs
    }
}

/// The rows of the table, but for the last one: answers without a code have no pair to try.
fn rows() -> Vec<Row> {
    let page = std::fs::read_to_string(path("docs/api-facts.md")).unwrap();
    let table = page.split("### Codes and classes").nth(1).expect("the table is there");
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(2);
    let rows: Vec<Row> = lines.filter(|line| !line.starts_with("| none")).map(Row::of).collect();
    assert!(rows.len() >= 29, "only {} rows were found", rows.len());
    rows
}

impl Row {
    fn of(line: &str) -> Self {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [codes, statuses, _, class, test] = cells[..] else { panic!("five cells: {line}") };
        // "any 412" speaks of a status, whatever the code.
        let codes = codes.split([',', ';']).map(str::trim);
        let codes = codes.filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
        Self {
            codes: codes.map(str::to_owned).collect(),
            statuses: statuses.split([',', ' ']).filter_map(status).collect(),
            class: class_of(class),
            test: test.trim_matches('`').to_owned(),
        }
    }
}

fn status(text: &str) -> Option<u16> {
    match text {
        "5xx" => Some(500),
        "4xx" => Some(422),
        _ => text.parse().ok(),
    }
}

fn class_of(text: &str) -> Class {
    match text.split([' ', ',']).next().unwrap() {
        "R" if text.contains("account closed") => Class::Throttled,
        "R" => Class::Retry,
        "W" => Class::Wait,
        "O" => Class::OtherRoute,
        "D" => Class::AlreadyDone,
        "P" => Class::Permanent,
        "A" => Class::Access,
        "S" => Class::SafetyStop,
        "gone" => Class::CustomerGone,
        "one" => Class::Unauthorized,
        "this" => Class::Unknown,
        other => panic!("no class is called {other}"),
    }
}

fn path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
