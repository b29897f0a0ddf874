//! A reader over one table of the layered configuration. It notes every key it is asked for, so the
//! keys that exist are exactly those that are read, and gathers every problem instead of stopping at
//! the first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Value, ValueKind};

use super::error::Problem;
use super::value::{Rejected, Setting};
use crate::partner_center::credentials::CREDENTIALS_DIRECTORY;

/// A key that exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its name with its dots; an account's has `NAME` in place of the account.
    pub name: String,
    /// What it takes: completes the sentence "expected …".
    pub expected: &'static str,
}

/// What the readers of all sections share.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Where values without a place of their own come from: the file.
    pub(super) file: String,
    /// Every key that was asked for.
    pub(super) known: Vec<Key>,
    /// What was wrong so far.
    pub(super) problems: Vec<Problem>,
    /// Where the service manager has put the credentials of this unit, if it has.
    pub(super) credentials: Option<PathBuf>,
    /// Every value that was read, defaults among them, as JSON.
    pub(super) values: BTreeMap<String, String>,
    /// Keys that nobody asked for, with their places.
    unknown: Vec<(String, String)>,
}

impl Book {
    /// Every problem, by key, once the whole configuration was read.
    pub(super) fn close(mut self) -> Vec<Problem> {
        for (key, place) in &self.unknown {
            let nearest = self
                .known
                .iter()
                .min_by_key(|known| strsim::damerau_levenshtein(&known.name, key))
                .map(|known| format!("the nearest known key is {}", known.name));
            self.problems.push(Problem {
                key: key.clone(),
                place: place.clone(),
                text: "unknown key".to_owned(),
                remedy: nearest.unwrap_or_default(),
            });
        }
        self.problems.sort();
        self.problems
    }
}

/// One table.
#[derive(Debug)]
pub(super) struct Section {
    path: String,
    values: BTreeMap<String, Value>,
    book: Book,
}

impl Section {
    /// The table at the top.
    pub(super) fn root(values: BTreeMap<String, Value>, file: String) -> Self {
        Self { path: String::new(), values, book: Book { file, ..Book::default() } }
    }

    /// Says where the service manager has put the credentials of this unit.
    pub(super) fn credentials_in(mut self, folder: Option<PathBuf>) -> Self {
        self.book.credentials = folder;
        self
    }

    /// Ends the reading: what is left was asked for by nobody.
    pub(super) fn finish(mut self) -> Book {
        for (key, value) in std::mem::take(&mut self.values) {
            let path = self.key(&key);
            leaves(&path, &value, &self.book.file, &mut self.book.unknown);
        }
        self.book
    }

    /// The value of a key, or its default.
    pub(super) fn take<T: Setting>(&mut self, key: &str, default: T) -> T {
        self.value(key).unwrap_or_else(|| {
            self.note(key, &default);
            default
        })
    }

    fn note<T: Setting>(&mut self, key: &str, value: &T) {
        let key = self.key(key);
        self.book.values.insert(key, value.json().to_string());
    }

    /// As [`take`](Self::take), where not every value of the type is fit.
    pub(super) fn take_if<T: Setting>(
        &mut self,
        key: &str,
        default: T,
        fit: impl FnOnce(&T) -> bool,
        expected: &'static str,
    ) -> T {
        let given = self.values.get(key).cloned();
        let value = self.take(key, default);
        if let Some(known) = self.book.known.last_mut() {
            known.expected = expected;
        }
        if let Some(given) = given
            && !fit(&value)
        {
            self.reject(key, &given, super::value::reject(&given, expected));
        }
        value
    }

    /// The value of a key that has no default. An empty text counts as none, so that a variable can
    /// take back what the file says.
    pub(super) fn optional<T: Setting>(&mut self, key: &str) -> Option<T> {
        let empty =
            |value: &Value| matches!(&value.kind, ValueKind::String(text) if text.is_empty());
        if self.values.get(key).is_some_and(empty) {
            self.values.remove(key);
        }
        self.value(key)
    }

    /// The value of a key that names a file of a credential. `${CREDENTIALS_DIRECTORY}` at its
    /// beginning is the folder in which the service manager hands credentials to its unit. Where there
    /// is none it stays as it is, so that commands that need no credential work outside the unit.
    pub(super) fn credential_file(&mut self, key: &str, base: &Path) -> Option<PathBuf> {
        let given: PathBuf = self.optional(key)?;
        let Ok(rest) = given.strip_prefix(CREDENTIALS_DIRECTORY) else {
            if given.to_string_lossy().contains("${") {
                let text = format!("{:?} holds a variable that is not understood", given.display());
                let remedy = format!("only {CREDENTIALS_DIRECTORY}/ at the beginning is");
                self.problem(key, &text, &remedy);
            }
            return Some(base.join(given));
        };
        Some(
            self.book
                .credentials
                .as_ref()
                .map_or_else(|| given.clone(), |folder| folder.join(rest)),
        )
    }

    /// Whether a file lies among the credentials that the service manager hands over.
    pub(super) fn is_handed_over(&self, file: Option<&Path>) -> bool {
        let given = self.book.credentials.as_deref().unwrap_or(Path::new(CREDENTIALS_DIRECTORY));
        file.is_some_and(|file| file.starts_with(given))
    }

    fn value<T: Setting>(&mut self, key: &str) -> Option<T> {
        let given = self.remove(key, T::EXPECTED)?;
        match T::read(&given) {
            Ok(value) => {
                self.note(key, &value);
                Some(value)
            }
            Err(rejected) => {
                self.reject(key, &given, rejected);
                None
            }
        }
    }

    /// The value of a key that must be stated.
    pub(super) fn required<T: Setting>(&mut self, key: &str, remedy: &str) -> Option<T> {
        let stated = self.values.contains_key(key);
        let value = self.value(key);
        if !stated {
            self.problem(key, "must be stated", remedy);
        }
        value
    }

    /// Reads a table within this one.
    pub(super) fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let values = match self.values.remove(key) {
            None => BTreeMap::new(),
            Some(Value { kind: ValueKind::Table(table), .. }) => table.into_iter().collect(),
            Some(other) => {
                // The value is not shown: a secret may stand where its table belongs.
                let place = self.place_of(&other);
                self.push(
                    key,
                    place,
                    "is not a table".to_owned(),
                    "give it keys of its own".to_owned(),
                );
                BTreeMap::new()
            }
        };
        let book = std::mem::take(&mut self.book);
        let mut section = Self { path: self.key(key), values, book };
        let result = read(&mut section);
        self.book = section.finish();
        result
    }

    /// The names of the keys that were stated and not yet read.
    pub(super) fn names(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    /// Adds keys that exist although nobody asked for them this time.
    pub(super) fn learn(&mut self, keys: Vec<Key>) {
        self.book.known.extend(keys);
    }

    /// Notes a problem with a key that has no usable value.
    pub(super) fn problem(&mut self, key: &str, text: &str, remedy: &str) {
        let file = self.book.file.clone();
        self.push(key, file, text.to_owned(), remedy.to_owned());
    }

    fn reject(&mut self, key: &str, given: &Value, rejected: Rejected) {
        let place = self.place_of(given);
        let text = format!("{} does not fit", rejected.value);
        self.push(key, place, text, format!("expected {}", rejected.expected));
    }

    fn push(&mut self, key: &str, place: String, text: String, remedy: String) {
        let key = self.key(key);
        self.book.problems.push(Problem { key, place, text, remedy });
    }

    fn remove(&mut self, key: &str, expected: &'static str) -> Option<Value> {
        let name = self.key(key);
        self.book.known.push(Key { name, expected });
        self.values.remove(key).filter(|value| !matches!(value.kind, ValueKind::Nil))
    }

    fn place_of(&self, value: &Value) -> String {
        value.origin().unwrap_or(&self.book.file).to_owned()
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// The keys below a value; the value's own where it is no table, or an empty one.
fn leaves(path: &str, value: &Value, file: &str, found: &mut Vec<(String, String)>) {
    match &value.kind {
        ValueKind::Table(table) if !table.is_empty() => {
            for (key, value) in table {
                leaves(&format!("{path}.{key}"), value, file, found);
            }
        }
        _ => found.push((path.to_owned(), value.origin().unwrap_or(file).to_owned())),
    }
}
