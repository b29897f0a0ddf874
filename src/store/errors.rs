//! Errors of the engines as errors of the store. Their own words are kept: triggers write them for people.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use super::StoreError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(refused) = error.as_database_error() {
            return match refused.try_downcast_ref::<PgDatabaseError>() {
                Some(refused) => of_server(refused.code(), refused.message()),
                None => of_sqlite(refused),
            };
        }
        match error {
            // The protocol is broken off in the middle of a message, too.
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => Self::Lost(error.to_string()),
            other => Self::Engine(other.to_string()),
        }
    }
}

fn of_sqlite(refused: &dyn DatabaseError) -> StoreError {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const CONSTRAINT: i32 = 19;
    const NOT_A_DATABASE: i32 = 26;
    let text = refused.message().to_owned();
    let code = refused.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
    match code & 0xff {
        BUSY | LOCKED => StoreError::Busy(text),
        CONSTRAINT => StoreError::Refused(text),
        NOT_A_DATABASE => StoreError::Unfit(format!("not an SQLite database: {text}")),
        _ => StoreError::Engine(text),
    }
}

/// By the codes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn of_server(code: &str, message: &str) -> StoreError {
    let text = message.to_owned();
    match code {
        // serialization_failure, deadlock_detected, lock_not_available
        "40001" | "40P01" | "55P03" => StoreError::Conflict(text),
        // The server shuts down, has crashed, or is starting; it has no room for another connection; it has
        // become a standby, which its successor is not; it has ended a transaction that stood still.
        "57P01" | "57P02" | "57P03" | "53300" | "25006" | "25P03" => StoreError::Lost(text),
        // insufficient_privilege
        "42501" => StoreError::Unfit(format!(
            "the role of database.url lacks a right ({text}): let it own the tables, as it does when it \
             runs `teardownd migrate`"
        )),
        _ => match code.get(..2) {
            Some("08") => StoreError::Lost(text),
            Some("23") => StoreError::Refused(text),
            _ => StoreError::Engine(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_server_say_whether_a_step_is_made_again() {
        let kind = |code| of_server(code, "text");
        assert_eq!(kind("40001"), StoreError::Conflict("text".to_owned()));
        assert_eq!(kind("57P01"), StoreError::Lost("text".to_owned()));
        assert_eq!(kind("08006"), StoreError::Lost("text".to_owned()));
        assert_eq!(kind("23514"), StoreError::Refused("text".to_owned()));
        assert_eq!(kind("53100"), StoreError::Engine("text".to_owned()));
        assert!(matches!(kind("42501"), StoreError::Unfit(_)));
        assert!(kind("40001").is_out_of_reach() && kind("57P01").is_out_of_reach());
    }
}
