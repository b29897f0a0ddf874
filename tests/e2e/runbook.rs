//! `docs/runbook.md` as somebody follows it at night: the commands of a section, typed one after the
//! other, and its words, held against what is seen.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::daemon::Daemon;
use crate::stage::{Ended, Stage};

/// What each bad night tells, in this order.
pub const PARTS: [&str; 5] = [
    "**You see.**",
    "**It does by itself.**",
    "**You do.**",
    "**You do not.**",
    "**It is over when**",
];

/// The whole page.
pub fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbook.md")).unwrap()
}

/// The headings of the bad nights.
pub fn nights() -> Vec<String> {
    let page = page();
    let (_, nights) = page.split_once("\n# Bad nights\n").expect("the bad nights");
    let nights = nights.split("\n# ").next().unwrap_or_default();
    nights.lines().filter_map(|line| line.strip_prefix("## ").map(str::to_owned)).collect()
}

/// A section that is being followed.
pub struct Night {
    text: String,
    /// What is still to be typed, in order.
    lines: RefCell<VecDeque<String>>,
}

impl Night {
    /// Opens the page at a heading.
    pub fn of(heading: &str) -> Self {
        let page = page();
        let (_, rest) = page
            .split_once(&format!("\n## {heading}\n"))
            .unwrap_or_else(|| panic!("docs/runbook.md has no section {heading}"));
        let text = rest.split("\n## ").next().unwrap_or_default();
        let text = text.split("\n# ").next().unwrap_or_default().to_owned();
        let lines = RefCell::new(typed(&text));
        Self { text, lines }
    }

    /// The whole section, with line ends as spaces.
    pub fn prose(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What the section quotes is what is seen.
    pub fn promises(&self, quoted: &str, seen: &str) {
        assert!(self.prose().contains(quoted), "the section does not say: {quoted}");
        assert!(seen.contains(quoted), "promised, and not seen: {quoted}\n{seen}");
    }

    /// The next line to type, which must be this one. For what a test does in another way than by
    /// typing it: edit a file, restart a service, look at a disk.
    pub fn by_hand(&self, line: &str) {
        let next = self.lines.borrow_mut().pop_front();
        assert_eq!(next.as_deref(), Some(line), "the section goes on differently");
    }

    /// Types the next line, which must call this command of the program, with the tenant filled in.
    /// It must end with this code.
    pub async fn types(&self, stage: &Stage, tenant: &str, code: i32, command: &str) -> Ended {
        let next = self.lines.borrow_mut().pop_front();
        let line = next.unwrap_or_else(|| panic!("nothing is left to type: {command} is expected"));
        let Some(arguments) = arguments(&line) else { panic!("{line}: {command} is expected") };
        let filled: Vec<String> = words(&arguments)
            .into_iter()
            .map(|word| match word.as_str() {
                "TENANT" => tenant.to_owned(),
                "NAME" => "default".to_owned(),
                _ => word,
            })
            .collect();
        assert_eq!(filled.first().map(String::as_str), Some(command), "{line}");
        let filled: Vec<&str> = filled.iter().map(String::as_str).collect();
        let ended = stage.run(&filled).await;
        assert_eq!(ended.code, code, "{line}: {ended:?}");
        ended
    }

    /// Asks how ready it is, as the next line says. Returns what `curl` would print.
    pub async fn asks_readyz(&self, daemon: &Daemon) -> String {
        self.by_hand("curl -s http://127.0.0.1:9464/readyz");
        daemon.get("/readyz").await.expect("the daemon answers").1
    }

    /// Everything that the section says to type was typed.
    pub fn over(&self) {
        let left = self.lines.borrow();
        assert!(left.is_empty(), "never typed: {left:?}");
    }
}

/// The lines of the blocks to type.
fn typed(section: &str) -> VecDeque<String> {
    let mut inside = false;
    let lines = section.lines().filter(|line| {
        let fence = line.starts_with("```");
        inside = if fence { *line == "```sh" } else { inside };
        inside && !fence && !line.trim().is_empty()
    });
    lines.map(str::to_owned).collect()
}

/// The arguments of a line that calls the program: here, in its pod, or with credentials at hand.
fn arguments(line: &str) -> Option<String> {
    let starts = [
        "teardownd ",
        "CREDENTIALS_DIRECTORY=/etc/credstore teardownd ",
        "kubectl -n teardownd exec teardownd-0 -- /usr/bin/teardownd ",
    ];
    starts.iter().find_map(|start| line.strip_prefix(start)).map(str::to_owned)
}

/// The words of a line, of which some stand in quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split(['"', '\'']).enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split(' ').filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }
    words
}
