//! Running other programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program as it was built for the tests.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_teardownd");
/// Seconds after which a program hangs.
const HANG: &str = "900";

/// Says that a test could not do its work here, and why.
pub fn skipped(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

/// Says something that the closing lines of `scripts/test` repeat.
pub fn shown(what: &str) {
    eprintln!("SHOWN: {what}");
}

/// The first of these programs that is not there.
pub fn missing<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let is_there = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
    programs.iter().copied().find(|program| !is_there(program))
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program that does not hang for ever, and gets nothing from standard input.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", HANG]).arg(program).stdin(Stdio::null());
    command
}

/// How a program ended, and what it said on either output.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub text: String,
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Ended {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ended { code: output.status.code(), text }
}

/// Runs a program that must succeed, and returns what it said.
pub fn done(command: &mut Command) -> String {
    let ended = run(command);
    assert_eq!(ended.code, Some(0), "{command:?}:\n{}", ended.text);
    ended.text
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the repository.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Where `scripts/test` puts what the tests need, and where a root is kept for the next run.
pub fn tools() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools")
}
