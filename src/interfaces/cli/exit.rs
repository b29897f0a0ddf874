//! How a command ends: exit codes, and errors in words.

use std::fmt;

use serde_json::{Value, json};

use crate::interfaces::config::ConfigError;
use crate::interfaces::http::BindError;
use crate::interfaces::telemetry::TelemetryError;
use crate::store::StoreError;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// The command line or its input is wrong.
    Usage = 2,
    /// Refused by a safety guard.
    Refused = 3,
    /// There is no such thing.
    NotFound = 4,
    /// Configuration or database are not fit.
    Unfit = 5,
    /// Timed out while still moving.
    TimedOut = 6,
    /// Held and in need of a person.
    Held = 7,
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How to exit.
    pub(crate) exit: Exit,
    /// What was wrong.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// Adds what to do next.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The JSON form.
    pub(crate) fn json(&self) -> Value {
        let Self { exit, message, hint } = self;
        json!({"error": {"message": message, "hint": hint, "code": exit.code()}})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Unfit, error.to_string())
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Self::new(Exit::Unfit, error.to_string())
    }
}

impl From<TelemetryError> for Failure {
    fn from(error: TelemetryError) -> Self {
        Self::new(Exit::Unfit, error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::NotFound(_) => Exit::NotFound,
            StoreError::Protected(_) | StoreError::OtherDomain(_) => Exit::Refused,
            StoreError::LeaseLost(_)
            | StoreError::Refused(_)
            | StoreError::Busy(_)
            | StoreError::Conflict(_)
            | StoreError::Lost(_)
            | StoreError::Gone(_) => Exit::Failed,
            StoreError::Damaged { .. } | StoreError::Unfit(_) | StoreError::Engine(_) => {
                Exit::Unfit
            }
        };
        Self::new(exit, error.to_string())
    }
}

/// What a command has to say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    /// For people; may have several lines.
    pub(crate) text: String,
    /// For machines; `null` prints nothing.
    pub(crate) json: Value,
    /// How to exit, unless `failure` says so.
    pub(crate) exit: Exit,
    /// What went wrong although there are results to print.
    pub(crate) failure: Option<Failure>,
}

impl Report {
    /// A command that did what was asked.
    pub(crate) fn done(text: String, json: Value) -> Self {
        Self { text, json, exit: Exit::Done, failure: None }
    }

    /// A command that has printed its results itself.
    pub(crate) fn printed() -> Self {
        Self::done(String::new(), Value::Null)
    }

    /// Results that come with a failure.
    pub(crate) fn failed(text: String, json: Value, failure: Failure) -> Self {
        Self { text, json, exit: failure.exit, failure: Some(failure) }
    }
}

/// How a command ends.
pub(crate) type Ending = Result<Report, Failure>;
