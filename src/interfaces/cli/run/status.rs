//! The daemon in one line, as `systemctl status` shows it.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::core::account::{Account, AccountState};
use crate::core::ids::AccountName;
use crate::core::teardown::{State, Status, Teardown};
use crate::interfaces::cli::view::shown;
use crate::interfaces::cli::view::standing::{Standing, Stops};
use crate::store::{Filter, Result, Store};

/// Reads what there is to say.
pub(super) async fn read(store: &Store, now: Timestamp, zone: &TimeZone) -> Result<String> {
    let states = State::ALL.into_iter().filter(|state| !state.is_terminal()).collect();
    let rows = store.list(&Filter { states, ..Filter::default() }).await?;
    Ok(line(&rows, &Stops(store.accounts().await?), now, zone))
}

/// Counts, and what stops accounts.
fn line(rows: &[Teardown], stops: &Stops, now: Timestamp, zone: &TimeZone) -> String {
    let standings: Vec<Status> =
        rows.iter().map(|row| Standing::of(row, stops, now).status).collect();
    let counts = [Status::Moving, Status::Waiting, Status::Held].map(|status| {
        let rows = standings.iter().filter(|standing| **standing == status).count();
        format!("{rows} {}", status.as_str())
    });
    let mut line = counts.join(", ");
    for stopped in stops.0.iter().filter_map(|account| told(account, now, zone)) {
        line.push_str("; ");
        line.push_str(&stopped);
    }
    line
}

/// What stops an account, if anything does.
fn told(account: &Account, now: Timestamp, zone: &TimeZone) -> Option<String> {
    let condition = account.condition(now);
    let what = match condition.state {
        AccountState::Ok => return None,
        AccountState::Halted => "halted",
        AccountState::Paused => "paused",
        AccountState::CredentialRefused => "without a valid credential",
        AccountState::AccessRefused => "refused by Microsoft",
        AccountState::Unreachable => "unreachable",
        AccountState::CustomersUnreadable => "without a readable customer list",
        AccountState::Throttled => "throttled",
    };
    let whose = if account.name == AccountName::every() {
        "everything".to_owned()
    } else {
        format!("account {}", account.name)
    };
    let ends = matches!(condition.state, AccountState::Paused | AccountState::Throttled);
    let until = condition.next_check.filter(|_| ends).map_or_else(String::new, |until| {
        format!(" until {}", shown(until).to_zoned(zone.clone()).strftime("%H:%M"))
    });
    Some(format!("{whose} {what}{until}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::account::Stop;
    use crate::interfaces::cli::testing::{held, now, row};

    #[test]
    fn a_line_says_how_many_do_what_and_which_accounts_are_stopped() {
        let rows = [row(1, State::Queued), row(2, State::Polling), held(row(3, State::Polling))];
        let line = |accounts| line(&rows, &Stops(accounts), now(), &TimeZone::UTC);
        assert!(line(Vec::new()).ends_with("1 held"), "{}", line(Vec::new()));

        let mut emea = Account::fresh(AccountName::new("emea"));
        emea.throttled_until = now().checked_add(std::time::Duration::from_secs(3600)).ok();
        let mut every = Account::fresh(AccountName::every());
        let (reason, actor) = ("quota talk".to_owned(), "anna".to_owned());
        every.paused = Some(Stop { reason, actor, since: now(), until: None });
        let told = line(vec![every, emea]);
        let hour = emea_hour();
        assert!(
            told.ends_with(&format!("; everything paused; account emea throttled until {hour}")),
            "{told}"
        );
        assert!(told.starts_with("0 moving, 2 waiting, 1 held"), "{told}");
    }

    fn emea_hour() -> String {
        let until = now().checked_add(std::time::Duration::from_secs(3600)).unwrap();
        until.to_zoned(TimeZone::UTC).strftime("%H:%M").to_string()
    }
}
