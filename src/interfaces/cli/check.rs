//! `check`: whether configuration, database and credentials are fit. Writes nowhere.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::args::Globals;
use super::beside;
use super::exit::{Ending, Exit, Failure, Report};
use crate::core::observation::{Observation, Read};
use crate::interfaces::assemble::Ground;
use crate::interfaces::config::AccountConfig;
use crate::runtime::observe::observe;
use crate::store::memory::MemoryStore;

/// Runs the command.
pub(crate) async fn execute(globals: &Globals) -> Ending {
    let config = globals.configuration()?;
    let (ground, database) = beside::ground(&config).await?;
    // Nothing is written, also not to the request budget: a check sends a handful of reads.
    let ground = Ground { store: Arc::new(MemoryStore::default()), ..ground };
    let mut findings = vec![match database {
        Ok(()) => Finding::good("database", format!("{} is fit", config.database.path.display())),
        Err(error) => Finding::bad("database", Exit::Unfit, error.to_string()),
    }];
    if config.accounts.is_empty() {
        let text = "there is none: add [accounts.NAME]; config/default.toml shows how";
        findings.push(Finding::bad("accounts", Exit::Unfit, text.to_owned()));
    }
    for account in config.accounts.values() {
        findings.extend(check_account(&ground, account).await);
    }
    Ok(report(&findings))
}

struct Finding {
    what: String,
    text: String,
    exit: Exit,
}

impl Finding {
    fn good(what: impl Into<String>, text: String) -> Self {
        Self { what: what.into(), text, exit: Exit::Done }
    }

    fn bad(what: impl Into<String>, exit: Exit, text: String) -> Self {
        Self { what: what.into(), text, exit }
    }
}

async fn check_account(ground: &Ground, account: &AccountConfig) -> Vec<Finding> {
    let name = format!("accounts.{}", account.name);
    if let Err(error) = account.credential.check().await {
        return vec![Finding::bad(name, Exit::Unfit, error.to_string())];
    }
    let runtime = match ground.account(account) {
        Ok(runtime) => runtime,
        Err(error) => return vec![Finding::bad(name, Exit::Unfit, error.to_string())],
    };
    let mut findings = Vec::new();
    if !account.policy.sandbox {
        let text = "sandbox = false: every write is refused".to_owned();
        findings.push(Finding::bad(&name, Exit::Unfit, text));
    }
    if account.policy.allow_domains.is_empty() {
        let text = "safety.allow_domains is empty: every write is refused".to_owned();
        findings.push(Finding::bad(&name, Exit::Unfit, text));
    }
    // Before the credential is used, which makes a refresh token young again.
    let warnings = account.credential.warnings(ground.clock.now()).await;
    findings
        .extend(warnings.into_iter().map(|text| Finding::good(&name, format!("WARNING: {text}"))));
    if let Err(error) = runtime.client.check_credential().await {
        findings.push(Finding::bad(name, Exit::Failed, error.to_string()));
        return findings;
    }
    let text = format!("a token was issued for partner tenant {}", account.policy.partner_tenant);
    findings.push(Finding::good(&name, text));
    findings.push(match runtime.client.legal_business_profile().await {
        Ok(profile) => {
            let company = profile.fact.company_name.unwrap_or_else(|| "no name".to_owned());
            Finding::good(&name, format!("the partner's legal name is {company}"))
        }
        Err(error) => Finding::bad(&name, Exit::Failed, error.to_string()),
    });
    let mut seen = Observation::default();
    let read = vec![Read::Census { not_before: Timestamp::MIN }];
    let answer = observe(&runtime.client, account.policy.partner_tenant, read, &mut seen).await;
    let limit = account.policy.customers_limit;
    findings.push(match (answer, seen.census) {
        (Err(error), _) => Finding::bad(&name, Exit::Failed, error.to_string()),
        (Ok(()), Some(census)) if census.fact.customers > limit => Finding::bad(
            &name,
            Exit::Refused,
            format!(
                "{} customers, more than customers_limit = {limit}: this is no sandbox, and the \
                 first write would halt the account",
                census.fact.customers
            ),
        ),
        (Ok(()), census) => {
            let customers = census.map_or(0, |census| census.fact.customers);
            Finding::good(&name, format!("{customers} of at most {limit} customers"))
        }
    });
    findings
}

fn report(findings: &[Finding]) -> Report {
    let mut text = String::new();
    for finding in findings {
        let mark = if finding.exit == Exit::Done { "ok  " } else { "FAIL" };
        text.push_str(&format!("{mark} {}: {}\n", finding.what, finding.text));
    }
    let list: Vec<Value> = findings
        .iter()
        .map(|f| json!({"what": f.what, "ok": f.exit == Exit::Done, "text": f.text}))
        .collect();
    let json = json!({"findings": list});
    let bad: Vec<&Finding> = findings.iter().filter(|f| f.exit != Exit::Done).collect();
    match bad.first() {
        None => Report::done(text, json),
        Some(first) => {
            let message = format!("{} of {} checks failed", bad.len(), findings.len());
            Report::failed(text, json, Failure::new(first.exit, message))
        }
    }
}
