//! What README.md and docs/ show is true: configuration loads, command lines parse, SQL runs, the
//! tables are complete, and the tests and files they name exist.

mod blocks;
mod foreign;
mod page;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::{ConnectOptions as _, Connection as _};
use teardownd::core::ids::AccountName;
use teardownd::core::reason::Reason;
use teardownd::core::teardown::{State, Status};
use teardownd::interfaces::config::{Config, Sources, load};
use tempfile::TempDir;

use self::page::{Page, files, pages, root, words};

const TENANT: &str = "1f2e3d4c-5b6a-4788-9900-aabbccddeeff";

// ---- configuration ----------------------------------------------------------------------------------

#[test]
fn every_shown_configuration_loads() {
    let mut shown = 0;
    for page in pages() {
        for block in page.blocks("toml") {
            shown += 1;
            load_text(&block).unwrap_or_else(|error| panic!("{}:\n{block}\n{error}", page.name));
        }
    }
    assert!(shown >= 2, "only {shown} blocks were found");
}

#[test]
fn the_first_configuration_of_the_readme_is_complete_and_writes_nothing_yet() {
    let first = Page::named("README.md").blocks("toml").remove(0);
    let config = load_text(&first).unwrap();
    let account = config.account(&AccountName::new("default")).expect("an account");
    assert!(account.policy.sandbox && account.policy.dry_run);
    assert!(!account.policy.allow_domains.is_empty(), "every write would be refused");
}

fn load_text(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teardownd.toml");
    std::fs::write(&path, text).unwrap();
    load(&Sources { file: Some(path), variables: Vec::new() }).map_err(|error| error.to_string())
}

// ---- command lines ----------------------------------------------------------------------------------

#[test]
fn every_shown_command_line_parses() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tenants.csv"), TENANT).unwrap();
    let mut lines = BTreeSet::new();
    for page in pages() {
        lines.extend(page.command_lines().into_iter().map(|line| (page.name.clone(), line)));
    }
    assert!(lines.len() >= 15, "only {} lines were found", lines.len());
    let wrong: Vec<String> = lines
        .iter()
        .filter_map(|(page, line)| {
            parses(folder.path(), line).err().map(|e| format!("{page}: {line}: {e}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_line_that_does_not_parse_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    for line in [
        "lsit",
        "list --stat failed",
        "why TENANT --until",
        "hold",
        "abort --reason x",
        "demo -t 3",
    ] {
        assert!(parses(folder.path(), line).is_err(), "{line}");
    }
    for line in ["hold --help", "why TENANT", "completions bash", "demo --tenants 3"] {
        assert_eq!(parses(folder.path(), line), Ok(()), "{line}");
    }
}

/// Runs the arguments with a configuration that does not exist: what can be parsed ends with exit
/// code 5. The demo and the manual pages need none, and are asked for their help instead.
fn parses(folder: &Path, line: &str) -> Result<(), String> {
    let mut arguments: Vec<String> = words(line).into_iter().map(filled_in).collect();
    if arguments.iter().any(|word| word == "demo" || word == "man") {
        arguments.push("--help".to_owned());
    }
    let output = Command::new(env!("CARGO_BIN_EXE_teardownd"))
        .args(&arguments)
        .current_dir(folder)
        .env_clear()
        .env("TEARDOWND_CONFIG", folder.join("none.toml"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    match output.status.code() {
        Some(0 | 5) => Ok(()),
        code => Err(format!("{code:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// A placeholder in capitals gets a value that fits.
fn filled_in(word: String) -> String {
    match word.as_str() {
        "TENANT" => TENANT.to_owned(),
        "NAME" => "default".to_owned(),
        "FILE" => "tenants.csv".to_owned(),
        _ => word,
    }
}

// ---- files and SQL ----------------------------------------------------------------------------------

#[test]
fn every_shown_list_of_tenants_is_queued() {
    for list in Page::named("README.md").blocks("csv") {
        let place = Place::with_database();
        std::fs::write(place.0.path().join("tenants.csv"), &list).unwrap();
        let (code, text) = place.run(&["enqueue", "--file", "tenants.csv"]);
        assert_eq!(code, Some(0), "{list}\n{text}");
    }
}

#[tokio::test]
async fn every_shown_statement_runs() {
    let mut shown = 0;
    for page in pages() {
        let place = Place::with_database();
        for block in page.blocks("sql") {
            shown += 1;
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.database());
            let mut connection = options.connect().await.unwrap();
            let ran =
                sqlx::raw_sql(sqlx::AssertSqlSafe(block.clone())).execute(&mut connection).await;
            ran.unwrap_or_else(|error| panic!("{}:\n{block}\n{error}", page.name));
            connection.close().await.unwrap();
        }
    }
    assert!(shown > 0);
}

/// A folder with a database and an account called `default`.
struct Place(TempDir);

impl Place {
    fn with_database() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let config = Page::named("README.md").blocks("toml").remove(0);
        std::fs::write(place.0.path().join("teardownd.toml"), config).unwrap();
        let (code, text) = place.run(&["migrate"]);
        assert_eq!(code, Some(0), "{text}");
        place
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("teardownd.db")
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_teardownd"))
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            .env("TEARDOWND_CONFIG", "teardownd.toml")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }
}

// ---- tables -----------------------------------------------------------------------------------------

#[test]
fn the_readme_lists_every_reason_with_its_remedy() {
    let shown: Vec<String> = Page::named("README.md")
        .text
        .split("<!-- reasons: ")
        .skip(1)
        .flat_map(|part| part.lines().skip(1).take_while(|line| line.starts_with('|')).skip(2))
        .map(str::to_owned)
        .collect();
    let row = |reason: &Reason| format!("| `{reason}` | {} |", reason.remedy());
    let expected: Vec<String> = Reason::ALL.iter().map(row).collect();
    assert_eq!(shown, expected, "the tables of README.md should hold:\n{}", expected.join("\n"));
}

#[test]
fn the_readme_explains_every_state_and_status() {
    let readme = Page::named("README.md").text;
    let statuses = [Status::Moving, Status::Waiting, Status::Held, Status::Failed, Status::Done];
    let names = State::ALL.map(State::as_str).into_iter().chain(statuses.map(Status::as_str));
    for name in names {
        assert!(readme.contains(&format!("\n| `{name}` |")), "{name} is not explained");
    }
}

#[test]
fn every_night_of_replicas_says_all_that_is_needed() {
    let runbook = Page::named("docs/runbook.md").text;
    let (_, nights) = runbook.split_once("\n# Bad nights of replicas\n").expect("the nights");
    let nights: Vec<&str> = nights.split("\n## ").skip(1).collect();
    assert!(nights.len() >= 6, "only {} were found", nights.len());
    for night in nights {
        let (heading, text) = night.split_once('\n').unwrap();
        let told = ["You see.", "It does by itself.", "You do.", "You do not.", "It is over when"];
        for part in told {
            assert_eq!(text.matches(&format!("**{part}**")).count(), 1, "{heading}: {part}");
        }
    }
}

// ---- names ------------------------------------------------------------------------------------------

#[test]
fn every_test_that_is_named_exists() {
    let functions = functions();
    let mut named = 0;
    let mut missing = Vec::new();
    for page in pages() {
        for span in page.spans().filter(|span| names_a_test(span)) {
            named += 1;
            let name = span.rsplit("::").next().unwrap_or(&span).to_owned();
            if !functions.contains(&name) {
                missing.push(format!("{}: {span}", page.name));
            }
        }
    }
    assert!(named > 50, "only {named} were found");
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}

/// A path whose last part is a sentence in small letters.
fn names_a_test(span: &str) -> bool {
    let name = span.rsplit("::").next().unwrap_or(span);
    let sentence = name.matches('_').count() >= 2
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    sentence && (span.contains("::") || span.starts_with("invariant_"))
}

/// The names of all functions of `src` and `tests`, and of the rows that macros make tests of.
fn functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["src", "tests"] {
        for path in files(&root().join(folder), "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            let functions =
                text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            let rows = text.lines().filter_map(|line| Some(line.trim_start().split_once(": ")?.0));
            names.extend(functions.chain(rows).map(str::to_owned));
        }
    }
    names
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let folder = root().join(&page.name).parent().unwrap().to_owned();
        for target in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !target.contains("://") && !file.is_empty() && !folder.join(file).exists() {
                broken.push(format!("{}: {target}", page.name));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_link_to_a_heading_leads_to_one() {
    let mut broken = Vec::new();
    for page in pages() {
        let folder = root().join(&page.name).parent().unwrap().to_owned();
        for target in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let Some((file, wanted)) = target.split_once('#') else { continue };
            if target.contains("://") {
                continue;
            }
            let path = if file.is_empty() { root().join(&page.name) } else { folder.join(file) };
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let headings = text.lines().filter(|line| line.starts_with('#'));
            if !headings.map(anchor).any(|found| found == wanted) {
                broken.push(format!("{}: {target}", page.name));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The name by which a link finds a heading: without its marks, in small letters, with hyphens.
fn anchor(heading: &str) -> String {
    let bare = heading.trim_start_matches('#').trim_start().to_lowercase();
    let kept = bare.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

// ---- pages ------------------------------------------------------------------------------------------
