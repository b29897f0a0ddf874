//! `check`: whether configuration, database and credentials are fit, and what each account may read.
//! Sends nothing but token requests and GETs, and writes nowhere.

mod account;
mod finding;

use std::sync::Arc;

use serde_json::{Value, json};

use self::account::AccountCheck;
use self::finding::{Finding, Level};
use super::args::Globals;
use super::beside;
use super::exit::{Ending, Exit, Failure, Report};
use crate::interfaces::assemble::Ground;
use crate::interfaces::step;
use crate::store::Store;

/// Runs the command.
pub(crate) async fn execute(globals: &Globals) -> Ending {
    let config = globals.configuration()?;
    let (ground, database) = beside::ground(&config).await?;
    // Nothing is written, also not to the request budget: a check sends a handful of reads.
    let ground = Ground { store: Arc::new(Store::scratch().await?), ..ground };
    let path = &config.database.place;
    let mut findings = vec![match database {
        Ok(()) => Finding::new("database", "database", Level::Good, format!("{path} is fit")),
        Err(error) => Finding::new("database", "database", Level::Bad, error.to_string()),
    }];
    if let Some(note) = step::note(ground.clock.as_ref()) {
        findings.push(Finding::new("database", "clock_step", Level::Warning, note));
    }
    if config.accounts.is_empty() {
        let finding = Finding::new("accounts", "accounts", Level::Bad, "there is none");
        findings.push(finding.remedy("add [accounts.NAME]; config/default.toml shows how"));
    }
    findings.extend(config.engine.policy.codes.iter().map(|(status, code, class)| {
        let text = format!("an answer {status}/{code} is taken as {}", class.word());
        Finding::new("codes", "codes", Level::Good, text)
    }));
    let checks = config.accounts.values().map(|account| AccountCheck::run(&ground, account));
    let checks: Vec<AccountCheck> = futures::future::join_all(checks).await;
    findings.extend(checks.iter().flat_map(|check| check.findings.iter().cloned()));
    Ok(report(&findings, &checks))
}

fn report(findings: &[Finding], checks: &[AccountCheck]) -> Report {
    let text: String = findings.iter().map(Finding::lines).collect();
    let list: Vec<Value> = findings.iter().map(Finding::json).collect();
    let accounts: Vec<Value> = checks.iter().map(AccountCheck::json).collect();
    let json = json!({"findings": list, "accounts": accounts});
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    match count(Level::Bad) {
        0 => Report::done(text, json),
        bad => {
            let message =
                format!("{bad} of {} checks failed", findings.len() - count(Level::Skipped));
            let hint = "what to do stands below each of them; run `teardownd check` again then";
            Report::failed(text, json, Failure::new(Exit::Unfit, message).hint(hint))
        }
    }
}
