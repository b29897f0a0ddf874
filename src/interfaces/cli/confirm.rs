//! What is typed once more before it is done.

use std::io::{IsTerminal, Write};

use super::exit::{Exit, Failure};

/// Makes sure that `value` was given as `--confirm`, or is typed now where somebody sits at a
/// terminal. `what` completes the sentence "type … to …".
pub(crate) fn confirmed(value: &str, given: Option<&str>, what: &str) -> Result<(), Failure> {
    let typed = given.map(str::to_owned).or_else(|| ask(value, what));
    if typed.is_some_and(|typed| typed.trim().eq_ignore_ascii_case(value)) {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, format!("it was not confirmed to {what}; nothing was changed"))
        .hint(format!("type {value}, or add --confirm {value}")))
}

/// What is typed; `None` if nobody is asked.
pub(crate) fn ask(value: &str, what: &str) -> Option<String> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let mut err = std::io::stderr();
    write!(err, "type {value} to {what}: ").ok()?;
    err.flush().ok()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).ok()?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_itself_confirms() {
        assert!(confirmed("prod.example", Some("Prod.Example"), "unprotect it").is_ok());
        let error = confirmed("prod.example", Some("prod.exampel"), "unprotect it").unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.hint.unwrap().contains("--confirm prod.example"));
    }
}
