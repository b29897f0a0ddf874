//! What docs/logs.md says of each line.

use std::collections::{BTreeMap, BTreeSet};

/// Level and fields of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub level: String,
    pub fields: BTreeSet<String>,
}

/// Every documented line, by its message.
pub fn documented() -> BTreeMap<String, Line> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/logs.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.split('|').map(str::trim).collect();
        let [message, level, fields, _, ..] = cells[..] else { return None };
        let level = level.strip_prefix('`')?.strip_suffix('`')?.to_owned();
        let fields = fields.split(',').map(|field| field.trim().trim_matches('`').to_owned());
        let fields = fields.filter(|field| !field.is_empty()).collect();
        Some((message.to_owned(), Line { level, fields }))
    });
    rows.collect()
}
