//! What `check` found, in words and as JSON.

use serde_json::{Value, json};

use crate::interfaces::cli::view::plain;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// As it should be.
    Good,
    /// Could not be looked at, because of another finding.
    Skipped,
    /// Works, but somebody should know.
    Warning,
    /// The daemon cannot do its work with this.
    Bad,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Bad => "failed",
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::Good => "ok  ",
            Self::Skipped => "--  ",
            Self::Warning => "WARN",
            Self::Bad => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    /// `database`, `accounts`, or the key of an account.
    pub(super) what: String,
    /// Which check: stable, for scripts.
    pub(super) check: &'static str,
    pub(super) level: Level,
    pub(super) text: String,
    /// What to do about it.
    pub(super) remedy: Option<String>,
}

impl Finding {
    /// A finding that asks for nothing.
    pub(super) fn new(
        what: &str,
        check: &'static str,
        level: Level,
        text: impl Into<String>,
    ) -> Self {
        Self { what: what.to_owned(), check, level, text: text.into(), remedy: None }
    }

    /// Adds what to do.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// For people: a line, and one more for what to do.
    pub(super) fn lines(&self) -> String {
        let mut text = format!("{} {}: {}\n", self.level.mark(), self.what, plain(&self.text));
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("       -> {}\n", plain(remedy)));
        }
        text
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        json!({
            "what": self.what,
            "check": self.check,
            "ok": self.level != Level::Bad,
            "level": self.level.as_str(),
            "text": self.text,
            "remedy": self.remedy,
        })
    }
}
