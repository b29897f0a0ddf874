//! The steps of `docs/install.md`.

use crate::support::text;

/// The fenced blocks of a language below a heading of the second level, in order, without the indent
/// of the list they stand in.
pub fn blocks(heading: &str, language: &str) -> Vec<String> {
    let page = text("docs/install.md");
    let section = page
        .split("\n## ")
        .find(|section| section.lines().next() == Some(heading))
        .unwrap_or_else(|| panic!("docs/install.md has no section {heading:?}"));
    let (mut found, mut open) = (Vec::<String>::new(), None::<(bool, usize)>);
    for line in section.lines() {
        let bare = line.trim_start();
        match (bare.strip_prefix("```"), open) {
            (Some(name), None) => {
                let wanted = name == language;
                open = Some((wanted, line.len() - bare.len()));
                found.extend(wanted.then(String::new));
            }
            (Some(_), Some(_)) => open = None,
            (None, Some((true, indent))) => {
                let block = found.last_mut().unwrap();
                block.push_str(line.get(indent..).unwrap_or_default());
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    found
}

/// Writes `key = value` lines under their `[table]` into a configuration: over the line of that key
/// where there is one, else below the header of the table, which is made if need be.
pub fn edited(config: &str, changes: &str) -> String {
    let mut lines: Vec<String> = config.lines().map(str::to_owned).collect();
    let mut header = String::new();
    for change in changes.lines().filter(|line| !line.is_empty()) {
        if change.starts_with('[') {
            change.clone_into(&mut header);
            continue;
        }
        let start = lines.iter().position(|line| *line == header).unwrap_or_else(|| {
            lines.push(header.clone());
            lines.len() - 1
        });
        let rest = &lines[start + 1..];
        let end = rest.iter().position(|line| line.starts_with('[')).unwrap_or(rest.len());
        let key = format!("{} =", change.split(" =").next().unwrap());
        match rest[..end].iter().position(|line| line.starts_with(&key)) {
            Some(at) => change.clone_into(&mut lines[start + 1 + at]),
            None => lines.insert(start + 1, change.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn a_configuration_is_edited_where_its_keys_stand() {
    let config = "[a]\nx = 1\ny = 2\n\n[b]\nx = 3\n";
    let edited = edited(config, "[b]\nx = 4\n[c]\nz = 5\n[a]\ny = 6\nw = 7\n");
    assert_eq!(edited, "[a]\nw = 7\nx = 1\ny = 6\n\n[b]\nx = 4\n[c]\nz = 5\n");
}
