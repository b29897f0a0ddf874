//! What is wrong with a configuration, all of it at once.

use std::fmt;

/// One thing that is wrong, with its place and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Full dotted key, such as `engine.lease_ttl`; empty where the file as a whole is meant.
    pub key: String,
    /// The file or the environment variable it came from.
    pub place: String,
    /// What is wrong, with the value.
    pub text: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.text)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        if self.place.is_empty() { Ok(()) } else { write!(f, " [{}]", self.place) }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Everything that is wrong, by key. Never empty.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// An error about a file as a whole.
    pub(super) fn of_file(
        place: impl fmt::Display,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (text, remedy) = (text.into(), remedy.into());
        Self {
            problems: vec![Problem { key: String::new(), place: place.to_string(), text, remedy }],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "configuration: {only}"),
            several => {
                write!(f, "configuration: {} problems", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
