//! How a request that was typed in by SQL is read.

use jiff::{SignedDuration, Timestamp};

use crate::core::domain::DomainPattern;
use crate::core::ids::{AccountName, TeardownId};
use crate::core::protection::Subject;
use crate::core::teardown::State;
use crate::store::{Filter, OperatorRequest, Verb};

/// A row of `operator_requests` as it was typed in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store) struct TypedRequest {
    pub(in crate::store) verb: String,
    pub(in crate::store) account: Option<String>,
    pub(in crate::store) tenant_id: Option<String>,
    pub(in crate::store) teardown_id: Option<String>,
    pub(in crate::store) batch: Option<String>,
    pub(in crate::store) state: Option<String>,
    pub(in crate::store) latest_only: bool,
    pub(in crate::store) actor: String,
    pub(in crate::store) reason: Option<String>,
    pub(in crate::store) until: Option<String>,
    pub(in crate::store) try_anyway: bool,
    pub(in crate::store) domain: Option<String>,
    pub(in crate::store) priority: Option<i64>,
    pub(in crate::store) not_before: Option<String>,
}

impl TypedRequest {
    /// Reads the row, whose times are those of the wall clock; the error is the answer for whoever typed
    /// it.
    pub(in crate::store) fn read(self, ahead: SignedDuration) -> Result<OperatorRequest, String> {
        let verb = Verb::parse(self.verb.trim()).ok_or_else(|| {
            let known: Vec<_> = Verb::ALL.iter().map(|verb| verb.as_str()).collect();
            format!("verb {:?} is none of {}", self.verb, known.join(", "))
        })?;
        let filter = Filter {
            ids: list(self.teardown_id.as_deref(), |text| {
                text.parse()
                    .map(TeardownId)
                    .map_err(|_| format!("teardown_id {text:?} is no number"))
            })?,
            account: self.account.map(AccountName::new),
            tenants: list(self.tenant_id.as_deref(), |text| {
                text.parse().map_err(|error| format!("tenant_id {error}"))
            })?,
            batch: self.batch,
            states: list(self.state.as_deref(), |text| {
                State::parse(text).ok_or_else(|| format!("state {text:?} is not known"))
            })?,
            latest_only: self.latest_only,
        };
        let domains = list(self.domain.as_deref(), |text| match Subject::parse(text) {
            Ok(Subject::Domain(pattern)) => Ok(pattern),
            Ok(Subject::Tenant(_)) | Err(_) => Err(format!("domain {text:?} is none")),
        })?;
        check_conditions(verb, &filter, &domains)?;
        let until = self.until.as_deref().map(|text| time("until", text, ahead)).transpose()?;
        let not_before =
            self.not_before.as_deref().map(|text| time("not_before", text, ahead)).transpose()?;
        Ok(OperatorRequest {
            reason: self.reason,
            until,
            try_anyway: self.try_anyway,
            domains,
            priority: self.priority,
            not_before,
            ..OperatorRequest::new(verb, filter, self.actor)
        })
    }
}

fn time(column: &str, text: &str, ahead: SignedDuration) -> Result<Timestamp, String> {
    text.parse()
        .map(|wall: Timestamp| wall.checked_sub(ahead).unwrap_or(wall))
        .map_err(|_| format!("{column} {text:?} is no time such as 2027-01-31T08:00:00.000Z"))
}

/// Refuses conditions that a verb has no use for, and their absence where that would mean everything.
fn check_conditions(verb: Verb, filter: &Filter, domains: &[DomainPattern]) -> Result<(), String> {
    let conditions = Filter { latest_only: false, ..filter.clone() };
    let beside_account = Filter { account: None, ..conditions.clone() };
    let name = verb.as_str();
    if !domains.is_empty() && !matches!(verb, Verb::Protect | Verb::Unprotect) {
        return Err(format!("{name} takes no domain: only protect and unprotect do"));
    }
    match verb {
        Verb::Pause | Verb::Resume | Verb::Unhalt => {
            if beside_account != Filter::default() {
                return Err(format!(
                    "{name} is about an account or about everything: for single teardowns use hold \
                     or release"
                ));
            }
        }
        Verb::Protect | Verb::Unprotect => {
            if (Filter { tenants: Vec::new(), ..beside_account }) != Filter::default() {
                return Err(format!("{name} takes a tenant_id or a domain, and an account"));
            }
            if filter.tenants.is_empty() && domains.is_empty() {
                return Err(format!("{name} needs a tenant_id or a domain"));
            }
        }
        Verb::Hold | Verb::Release | Verb::Abort | Verb::Retry | Verb::Ack | Verb::Set => {
            if conditions == Filter::default() {
                return Err(format!(
                    "{name} needs a tenant_id, teardown_id, batch, state or account: without one it \
                     would change every teardown"
                ));
            }
        }
    }
    Ok(())
}

/// One value or several, separated by commas.
fn list<T>(
    text: Option<&str>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    text.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(parse)
        .collect()
}
