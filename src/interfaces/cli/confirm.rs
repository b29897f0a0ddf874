//! What a person types before something that is hard to take back.

use std::io::{IsTerminal, Write};

use crate::core::ids::AccountName;

/// Whether the account's name was given by option or is typed now. `purpose` completes "type the
/// account's name to …".
pub(super) fn is_named(account: &AccountName, given: Option<&AccountName>, purpose: &str) -> bool {
    let typed = || {
        ask(&format!("type the account's name ({account}) to {purpose}: "))
            .map(|line| AccountName::new(&line))
    };
    given.cloned().or_else(typed).as_ref() == Some(account)
}

/// The line that is typed on the terminal; `None` where there is none.
pub(super) fn ask(question: &str) -> Option<String> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let mut terminal = std::io::stderr();
    write!(terminal, "{question}").and_then(|()| terminal.flush()).ok()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).ok()?;
    Some(line.trim().to_owned())
}
