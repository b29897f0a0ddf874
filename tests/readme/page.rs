//! The pages of the documentation, and what they show.

use std::path::{Path, PathBuf};

pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn named(name: &str) -> Self {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        Self { name: name.to_owned(), text }
    }

    /// The fenced blocks of a language, without the indent of the list they stand in.
    pub(crate) fn blocks(&self, language: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut open: Option<(String, usize)> = None;
        let mut block = String::new();
        for line in self.text.lines() {
            let bare = line.trim_start();
            match (bare.strip_prefix("```"), &open) {
                (Some(name), None) => open = Some((name.to_owned(), line.len() - bare.len())),
                (Some(_), Some((name, _))) => {
                    if name == language {
                        found.push(std::mem::take(&mut block));
                    }
                    block.clear();
                    open = None;
                }
                (None, Some((_, indent))) => {
                    block.push_str(line.get(*indent..).unwrap_or_default());
                    block.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.name);
        found
    }

    /// What stands between single backticks, outside blocks.
    pub(crate) fn spans(&self) -> impl Iterator<Item = String> {
        let mut inside = false;
        let prose: Vec<&str> = self
            .text
            .lines()
            .filter(|line| {
                let fence = line.trim_start().starts_with("```");
                inside ^= fence;
                !inside && !fence
            })
            .collect();
        let spans: Vec<String> =
            prose.join("\n").split('`').skip(1).step_by(2).map(str::to_owned).collect();
        spans.into_iter()
    }

    /// What is shown to be typed into a shell, a line each.
    pub(crate) fn shell_lines(&self) -> Vec<String> {
        let blocks = self.blocks("sh").into_iter().chain(self.blocks("console"));
        let joined: Vec<String> = blocks.map(|block| block.replace("\\\n", " ")).collect();
        let lines = joined.iter().flat_map(|block| block.lines());
        let bare = lines.map(|line| line.trim().trim_start_matches("$ ").to_owned());
        bare.filter(|line| !line.is_empty()).collect()
    }

    /// The arguments of every call of the program that is shown. In running text a command without
    /// arguments is a mention of it: it needs only to exist.
    pub(crate) fn command_lines(&self) -> Vec<String> {
        let lines = self.shell_lines();
        let mut found: Vec<String> = lines.iter().filter_map(|line| arguments(line)).collect();
        for span in self.spans() {
            let arguments = arguments(&span.replace('\n', " "));
            let whole = |line: String| if line.contains(' ') { line } else { line + " --help" };
            found.extend(arguments.map(whole));
        }
        found
    }
}

/// The arguments, if the line calls the program, be it as another user, with variables of its own or
/// inside a container.
pub(crate) fn arguments(line: &str) -> Option<String> {
    let starts = ["teardownd ", "cargo run --release -- ", "cargo run -- "];
    let image = concat!("teardownd:", env!("CARGO_PKG_VERSION"), " ");
    if ["kubectl ", "docker exec ", "docker run "].iter().any(|start| line.starts_with(start)) {
        let inside = ["/usr/bin/teardownd ", image];
        return inside.iter().find_map(|start| Some(line.split_once(start)?.1.to_owned()));
    }
    let mut rest = line;
    for other_user in ["sudo -u teardownd ", "runuser -u teardownd -- "] {
        rest = rest.strip_prefix(other_user).unwrap_or(rest);
    }
    while let Some((first, later)) = rest.split_once(' ')
        && first.contains('=')
    {
        rest = later;
    }
    starts.iter().find_map(|start| rest.strip_prefix(start)).map(str::to_owned)
}

pub(crate) fn pages() -> Vec<Page> {
    let mut names = vec!["README.md".to_owned(), "deploy/README.md".to_owned()];
    for path in files(&root().join("docs"), "md") {
        names.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
    }
    names.iter().map(|name| Page::named(name)).collect()
}

/// The words of a shell line, as far as documentation needs it: quotes, and nothing behind a pipe, a
/// redirection or a comment.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut found, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (_, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('|' | '>' | '#' | '&' | ';', None) => break,
            (' ', None) => found.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word);
    found
}

pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
