//! The state of an account, as every command tells it.

use serde_json::{Value, json};

use super::{Look, json_time, plain};
use crate::core::account::{AccountState, Condition};
use crate::core::ids::AccountName;

/// An account's state for JSON.
pub(crate) fn condition_json(name: &AccountName, condition: &Condition) -> Value {
    json!({
        "account": name,
        "state": condition.state,
        "reason": condition.reason,
        "by": condition.by,
        "since": json_time(condition.since),
        "next_check": json_time(condition.next_check),
    })
}

/// An account's state in one line: since when, why, and how it ends. `subject` is what is in it.
pub(crate) fn condition_text(subject: &str, condition: &Condition, look: &Look) -> String {
    let state = match condition.state {
        AccountState::Halted => "is halted",
        AccountState::Paused => "is paused",
        AccountState::CredentialRefused => "has its credential refused",
        AccountState::AccessRefused => "has its access refused",
        AccountState::Unreachable => "is unreachable",
        AccountState::CustomersUnreadable => "has a customer list that cannot be read",
        AccountState::Throttled => "is throttled",
        AccountState::Ok => "is ok",
    };
    // A safety stop without a guard of its own has set itself.
    let by = condition.by.as_ref().filter(|by| *by != condition.state.as_str());
    let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
    let since = condition.since.map_or(String::new(), |since| {
        format!(" for {}, since {}", look.since(since), look.local(since))
    });
    let reason = condition.reason.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
    let end = condition.next_check.map_or(String::new(), |at| {
        let verb = match condition.state {
            AccountState::CredentialRefused
            | AccountState::AccessRefused
            | AccountState::Unreachable
            | AccountState::CustomersUnreadable => "tried again",
            AccountState::Halted
            | AccountState::Paused
            | AccountState::Throttled
            | AccountState::Ok => "goes on",
        };
        format!("; {verb} {}, at {}", look.distance(at), look.local(at))
    });
    plain(&format!("{subject} {state}{by}{since}{reason}{end}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::core::account::{Account, Trouble, TroubleKind};
    use crate::interfaces::cli::testing::{halted, now};

    fn tell(account: &Account) -> String {
        let look = Look { now: now(), zone: TimeZone::UTC };
        condition_text("account emea", &account.condition(look.now), &look)
    }

    #[test]
    fn each_state_tells_since_when_why_and_how_it_ends() {
        let mut account = Account::fresh(AccountName::new("emea"));
        account.throttled_since = Some(now() - Duration::from_secs(75));
        account.throttled_until = Some(now() + Duration::from_secs(45));
        assert_eq!(
            tell(&account),
            "account emea is throttled for 1m 15s, since 2027-01-31 09:58:45: Partner Center answered \
             429; goes on in 45s, at 2027-01-31 10:00:45"
        );
        account.trouble = Some(Trouble {
            kind: TroubleKind::CredentialRefused,
            text: "AADSTS7000222: expired".to_owned(),
            since: now() - Duration::from_secs(60),
            next_probe_at: now() + Duration::from_secs(240),
        });
        assert_eq!(
            tell(&account),
            "account emea has its credential refused for 1m 0s, since 2027-01-31 09:59:00: AADSTS7000222: \
             expired; tried again in 4m 0s, at 2027-01-31 10:04:00"
        );
        let halted = halted(account);
        let text = tell(&halted);
        assert!(text.starts_with("account emea is halted by "), "{text}");
        assert!(!text.contains("goes on"), "nothing but a person ends it: {text}");
        let json = condition_json(&halted.name, &halted.condition(now()));
        assert_eq!((&json["state"], &json["next_check"]), (&json!("halted"), &Value::Null));
    }
}
