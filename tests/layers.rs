//! The layers of the crate, arrows downward only, and a core without I/O.
//!
//! The source is read as text: comments and literals are taken out, and every path that is left is
//! resolved against the module it stands in, `use` trees, `super` and inline modules included.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The top-level modules, each with those it may use besides itself; `None`: all.
const LAYERS: [(&str, Option<&[&str]>); 6] = [
    ("core", Some(&[])),
    ("store", Some(&["core"])),
    ("partner_center", Some(&["core"])),
    ("runtime", Some(&["core", "store", "partner_center"])),
    ("simulator", Some(&["core", "partner_center::transport"])),
    ("interfaces", None),
];

/// The parts of the store, each with those it may use besides itself. What stands at the root of the store is
/// everybody's.
const PARTS_OF_THE_STORE: [(&str, &[&str]); 6] = [
    ("model", &[]),
    ("rules", &["model"]),
    ("tables", &["rules", "model"]),
    ("steps", &["tables", "rules", "model"]),
    ("file", &["model"]),
    ("server", &["tables", "model"]),
];

/// Crates that the core may use: plain data and arithmetic. `proptest` is for its tests.
const CORE_CRATES: [&str; 8] =
    ["humantime", "idna", "jiff", "proptest", "serde", "serde_json", "thiserror", "uuid"];

/// Parts of the standard library that reach outside the process or read its clock.
const OUTSIDE: [&str; 9] = [
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Functions that read a clock or a random source, whatever path they are called by.
const SOURCES: [&str; 4] = ["now", "new_v4", "now_v7", "thread_rng"];

const PRINTING: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

#[test]
fn arrows_between_layers_point_downward_only() {
    let wrong = every_file(|file| arrows_upward(&file.layer, &file.paths()));
    assert!(wrong.is_empty(), "a layer uses one that is not below it:\n{}", wrong.join("\n"));
}

#[test]
fn arrows_between_the_parts_of_the_store_point_downward_only() {
    let wrong = every_file(|file| match file.module.as_slice() {
        [layer, part, ..] if layer == "store" => arrows_upward_in_the_store(part, &file.paths()),
        _ => Vec::new(),
    });
    assert!(wrong.is_empty(), "a part uses one that is not below it:\n{}", wrong.join("\n"));
    let sample = Source::of("store", "store/rules/a.rs", "use crate::store::steps::x;");
    assert_eq!(arrows_upward_in_the_store("rules", &sample.paths()), ["crate::store::steps::x"]);
    let sample = Source::of("store", "store/steps/a.rs", "use crate::store::{Store, rules};");
    assert_eq!(arrows_upward_in_the_store("steps", &sample.paths()), Vec::<String>::new());
}

#[test]
fn only_the_tables_and_the_places_of_a_database_speak_sql() {
    let wrong = every_file(|file| match file.module.as_slice() {
        [layer, part, ..]
            if layer == "store"
                && !matches!(part.as_str(), "tables" | "file" | "server" | "sql") =>
        {
            let is_query = |path: &Vec<String>| path.join("::").starts_with("sqlx::query");
            let queries = file.paths().into_iter().filter(is_query);
            queries.map(|path| path.join("::")).collect()
        }
        _ => Vec::new(),
    });
    assert!(wrong.is_empty(), "a statement stands outside the tables:\n{}", wrong.join("\n"));
}

#[test]
fn no_two_files_use_each_other_in_a_circle() {
    assert_eq!(circles(&sources()), Vec::<Vec<String>>::new());
    let made = |name: &str, text: &str| Source::of("core", name, text);
    let files = [
        made("core/a.rs", "use super::b::B;"),
        made("core/b.rs", "fn f() { super::c::g() }"),
        made("core/c.rs", "use crate::core::{a::A, d};"),
        made("core/d.rs", "fn d() {}"),
        // What a folder holds is part of it.
        made("core/mod.rs", "pub use self::a::A;"),
    ];
    assert_eq!(circles(&files), [["core::a", "core::b", "core::c"]]);
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    let wrong = every_file(|file| if file.layer == "core" { io_of(file) } else { Vec::new() });
    assert!(wrong.is_empty(), "the core must stay pure:\n{}", wrong.join("\n"));
}

#[test]
fn every_top_level_module_has_its_place_among_the_layers() {
    let folders: BTreeSet<String> = sources().into_iter().map(|file| file.layer).collect();
    let known: BTreeSet<String> = LAYERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, known);
}

#[test]
fn upward_arrows_are_seen_however_they_are_written() {
    for source in [
        "use crate::store::Store;",
        "use crate::{core::ids, store as s};",
        "use super::super::runtime;",
        "mod inner { use super::super::super::interfaces::cli; }",
        "fn f() -> crate :: partner_center /* here */ ::Client { loop {} }",
        "use crate::*;",
        "use crate as everything;",
        "pub(in crate::store) fn f() {}",
    ] {
        let file = Source::of("core", "core/sample.rs", source);
        assert_eq!(arrows_upward("core", &file.paths()).len(), 1, "{source}");
    }
    for source in [
        "use crate::core::ids; use super::ids; use self::x::store; use std::fmt;",
        "// crate::store\n/* crate::store /* nested */ crate::store */",
        "const A: &str = \"crate::store\"; const B: &str = r#\"\" crate::store\"#;",
        "fn f<'a>(x: &'a str) -> char { '\"' } // \" crate::store",
        "mod tests { use super::super::ids; }",
    ] {
        let file = Source::of("core", "core/sample.rs", source);
        assert_eq!(arrows_upward("core", &file.paths()), Vec::<String>::new(), "{source}");
    }
    let transport = Source::of("simulator", "simulator/a.rs", "use crate::partner_center::Client;");
    assert_eq!(arrows_upward("simulator", &transport.paths()).len(), 1);
}

#[test]
fn io_in_the_core_is_seen_however_it_is_written() {
    for source in [
        "use tokio::sync::Mutex;",
        "use ::sqlx::query;",
        "fn f() { reqwest::get(\"x\"); }",
        "use std::{collections::BTreeMap, fs};",
        "use std::time::{Duration, SystemTime};",
        "fn f() { std::net::TcpStream::connect(\"x\"); }",
        "fn f() { let t = Timestamp::now(); }",
        "fn f() { let t = jiff::Zoned::now(); }",
        "fn f() { Uuid::new_v4(); }",
        "fn f() { println!(\"x\"); }",
        "extern crate axum;",
        "use std::*;",
    ] {
        let found = io_of(&Source::of("core", "core/sample.rs", source));
        assert_eq!(found.len(), 1, "{source}: {found:?}");
    }
    let pure = "use std::time::Duration; use jiff::Timestamp; use serde_json::json;\n\
                fn f(now: Timestamp, s: &S) { s.now(); let x = json!({}); }";
    assert_eq!(io_of(&Source::of("core", "core/sample.rs", pure)), Vec::<String>::new());
}

// ---- rules ------------------------------------------------------------------------------------------

fn arrows_upward(layer: &str, paths: &[Vec<String>]) -> Vec<String> {
    let (_, below) = LAYERS.iter().find(|(name, _)| *name == layer).expect("a known layer");
    let Some(below) = below else { return Vec::new() };
    let allowed = |path: &str| {
        below
            .iter()
            .chain([&layer])
            .any(|may| path == *may || path.starts_with(&format!("{may}::")))
    };
    let inside = paths.iter().filter(|path| path[0] == "crate").map(|path| path[1..].join("::"));
    inside.filter(|path| !allowed(path)).map(|path| format!("crate::{path}")).collect()
}

fn arrows_upward_in_the_store(part: &str, paths: &[Vec<String>]) -> Vec<String> {
    let below = PARTS_OF_THE_STORE.iter().find(|(name, _)| *name == part);
    let Some((_, below)) = below else { return Vec::new() };
    let is_part = |name: &str| PARTS_OF_THE_STORE.iter().any(|(known, _)| *known == name);
    let wrong = |path: &&Vec<String>| match path.as_slice() {
        [root, layer, used, ..] if root == "crate" && layer == "store" => {
            used != part && is_part(used) && !below.contains(&used.as_str())
        }
        _ => false,
    };
    paths.iter().filter(wrong).map(|path| path.join("::")).collect()
}

/// The files that use each other in a circle, each circle once. Those of a folder are part of its `mod.rs`,
/// and files of tests do not count.
fn circles(files: &[Source]) -> Vec<Vec<String>> {
    let is_test =
        |file: &&Source| file.module.iter().any(|part| part == "tests" || part == "testing");
    let files: Vec<&Source> = files.iter().filter(|file| !is_test(file)).collect();
    let at = |path: &[String]| files.iter().position(|file| file.module == path);
    let uses = |file: &Source| -> BTreeSet<usize> {
        let inside = file.paths().into_iter().filter(|path| path[0] == "crate");
        let owner = |path: Vec<String>| (1..=path.len()).rev().find_map(|end| at(&path[1..end]));
        let beside = |other: &usize| {
            let other = &files[*other].module;
            !other.starts_with(&file.module) && !file.module.starts_with(other)
        };
        inside.filter_map(owner).filter(beside).collect()
    };
    let direct: Vec<BTreeSet<usize>> = files.iter().map(|file| uses(file)).collect();
    let reached = |from: usize| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(file) = next.pop() {
            next.extend(direct[file].iter().filter(|used| seen.insert(**used)));
        }
        seen
    };
    let reached: Vec<BTreeSet<usize>> = (0..files.len()).map(reached).collect();
    let circle = |file: usize| -> Vec<String> {
        let with = reached[file].iter().filter(|other| reached[**other].contains(&file));
        with.map(|other| files[*other].module.join("::")).collect()
    };
    let found: BTreeSet<Vec<String>> = (0..files.len()).map(circle).collect();
    found.into_iter().filter(|circle| !circle.is_empty()).collect()
}

fn io_of(file: &Source) -> Vec<String> {
    let crates = dependencies();
    let mut found = Vec::new();
    for path in file.paths() {
        let joined = path.join("::");
        let foreign = crates.contains(&path[0]) && !CORE_CRATES.contains(&path[0].as_str());
        let outside = OUTSIDE.iter().any(|std| {
            joined == *std || joined.starts_with(&format!("{std}::")) || is_glob_over(&joined, std)
        });
        let source = path.len() > 1 && SOURCES.contains(&path[path.len() - 1].as_str());
        if foreign || outside || source {
            found.push(joined);
        }
    }
    let macros = file.tokens.windows(2).filter(|pair| pair[1] == "!");
    found.extend(
        macros
            .filter(|pair| PRINTING.contains(&pair[0].as_str()))
            .map(|pair| format!("{}!", pair[0])),
    );
    found
}

/// Whether `path` ends in `*` and so brings in `item`.
fn is_glob_over(path: &str, item: &str) -> bool {
    path.strip_suffix('*').is_some_and(|prefix| item.starts_with(prefix))
}

/// The crates of `Cargo.toml`, as they are called in code.
fn dependencies() -> BTreeSet<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut within = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            within = line.contains("dependencies]");
        } else if within && let Some((name, _)) = line.split_once('=') {
            names.insert(name.trim().replace('-', "_"));
        }
    }
    assert!(names.contains("tokio") && names.contains("sqlx"), "{names:?}");
    names
}

// ---- source files -----------------------------------------------------------------------------------

#[derive(Debug)]
struct Source {
    /// The top-level module it belongs to.
    layer: String,
    /// Path below `src`.
    name: String,
    /// The module of the file itself, from the crate's root.
    module: Vec<String>,
    tokens: Vec<String>,
}

impl Source {
    fn of(layer: &str, name: &str, text: &str) -> Self {
        let stem = name.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = stem.split('/').map(str::to_owned).collect();
        Self { layer: layer.to_owned(), name: name.to_owned(), module, tokens: tokens(text) }
    }

    /// Every path of two or more segments, and every path of a `use`; those into this crate are
    /// written from its root and begin with `crate`.
    fn paths(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        let mut inline: Vec<Option<String>> = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let token = self.tokens[at].as_str();
            let next = self.tokens.get(at + 1).map_or("", String::as_str);
            match token {
                "mod" if self.is(at + 2, "{") => {
                    inline.push(Some(next.to_owned()));
                    at += 3;
                    continue;
                }
                "{" => inline.push(None),
                "}" => {
                    inline.pop();
                }
                _ => {}
            }
            let module: Vec<String> =
                self.module.iter().cloned().chain(inline.iter().flatten().cloned()).collect();
            let mut paths = Vec::new();
            if token == "use" || (token == "extern" && next == "crate") {
                at += if token == "use" { 1 } else { 2 };
                self.tree(&mut at, &[], &mut paths);
            } else if is_word(token) && next == "::" {
                self.tree(&mut at, &[], &mut paths);
            } else {
                at += 1;
            }
            found.extend(paths.into_iter().map(|path| resolved(path, &module)));
        }
        found
    }

    /// Reads the path or `use` tree that begins at `at`, behind `prefix`.
    fn tree(&self, at: &mut usize, prefix: &[String], paths: &mut Vec<Vec<String>>) {
        let mut path = prefix.to_vec();
        if self.is(*at, "::") {
            *at += 1;
        }
        // Behind a word only `::` goes on, so a brace here always opens a group.
        while let Some(token) = self.tokens.get(*at) {
            *at += 1;
            if token == "{" {
                return self.group(at, &path, paths);
            }
            path.push(token.clone());
            if !self.is(*at, "::") {
                break;
            }
            *at += 1;
        }
        paths.push(path);
    }

    /// Reads the group whose brace was just opened, to the brace that closes it.
    fn group(&self, at: &mut usize, prefix: &[String], paths: &mut Vec<Vec<String>>) {
        while *at < self.tokens.len() && !self.is(*at, "}") {
            self.tree(at, prefix, paths);
            // What may be left of the item is `as name`.
            while *at < self.tokens.len() && !self.is(*at, ",") && !self.is(*at, "}") {
                *at += 1;
            }
            if self.is(*at, ",") {
                *at += 1;
            }
        }
        *at += 1;
    }

    fn is(&self, at: usize, token: &str) -> bool {
        self.tokens.get(at).is_some_and(|here| here == token)
    }
}

/// Writes a path from the crate's root, where it begins with `crate`, `self` or `super`.
fn resolved(path: Vec<String>, module: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let relative = path.iter().take_while(|word| *word == "self" || *word == "super").count();
    for word in &path[..relative] {
        if word == "super" {
            base.pop();
        }
    }
    if relative == 0 {
        return path;
    }
    let rest = path[relative..].iter().filter(|word| *word != "self").cloned();
    std::iter::once("crate".to_owned()).chain(base).chain(rest).collect()
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The words and signs of a source text, without comments, literals of text and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let starts = |at: usize, with: &str| {
        with.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c))
    };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        if starts(at, "//") {
            while chars.get(at).is_some_and(|c| *c != '\n') {
                at += 1;
            }
        } else if starts(at, "/*") {
            at = after_comment(&chars, at);
        } else if c == '"' {
            at = after_text(&chars, at);
        } else if c == '\'' {
            at = after_quote(&chars, at);
        } else if c.is_alphanumeric() || c == '_' {
            let from = at;
            while chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
                at += 1;
            }
            let word: String = chars[from..at].iter().collect();
            let raw = ["r", "br", "cr"].contains(&word.as_str());
            if raw && chars.get(at).is_some_and(|c| *c == '"' || *c == '#') {
                at = after_raw(&chars, at);
            } else {
                found.push(word);
            }
        } else if starts(at, "::") {
            found.push("::".to_owned());
            at += 2;
        } else {
            if !c.is_whitespace() {
                found.push(c.to_string());
            }
            at += 1;
        }
    }
    found
}

fn after_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn after_text(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(&c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// Behind a character, or behind the quote of a lifetime.
fn after_quote(chars: &[char], from: usize) -> usize {
    if chars.get(from + 1) == Some(&'\\') {
        let end = chars.iter().skip(from + 3).position(|c| *c == '\'');
        return end.map_or(chars.len(), |end| from + 3 + end + 1);
    }
    if chars.get(from + 2) == Some(&'\'') { from + 3 } else { from + 1 }
}

/// Behind a raw text, or behind the sign of a raw identifier such as `r#type`.
fn after_raw(chars: &[char], from: usize) -> usize {
    let hashes = chars[from..].iter().take_while(|c| **c == '#').count();
    let mut at = from + hashes;
    if chars.get(at) != Some(&'"') {
        return at;
    }
    at += 1;
    while at < chars.len() {
        let closes =
            chars[at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        if closes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    at
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the layers; `lib.rs` and `main.rs` stand above them.
fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    gather(&src, &src, &mut files);
    assert!(files.len() > 100, "only {} files were found", files.len());
    files
}

fn gather(folder: &Path, src: &Path, files: &mut Vec<Source>) {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            gather(&path, src, files);
        } else if name != "lib.rs" && name != "main.rs" {
            let text = std::fs::read_to_string(&path).unwrap();
            let layer = name.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            files.push(Source::of(&layer, &name, &text));
        }
    }
}

fn every_file(wrong: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    let named = |file: Source| {
        let found = wrong(&file);
        found.into_iter().map(move |path| format!("  src/{}: {path}", file.name))
    };
    sources().into_iter().flat_map(named).collect()
}
