//! Operators' requests: those made by the program, and those typed into `operator_requests`.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::time;
use crate::core::ids::AccountName;
use crate::core::protection::Protection;
use crate::core::reason::Reason;
use crate::core::teardown::Teardown;
use crate::store::model::time::{before, millis};
use crate::store::rules::requests::Surroundings;
use crate::store::rules::typed::TypedRequest;
use crate::store::rules::{protect, stops};
use crate::store::tables::{
    accounts, acks, clock, commands, protections, replicas, requests, teardowns, transitions,
};
use crate::store::{
    About, AccountVerb, Filter, OperatorRequest, ProtectionVerb, RequestEffect, RequestRecord,
    Result, Store, StoreError, TeardownVerb, Tx, Verb, rules,
};

impl Store {
    /// Stores, applies and answers a request.
    pub async fn request(
        &self,
        request: &OperatorRequest,
        now: Timestamp,
    ) -> Result<Vec<RequestEffect>> {
        self.write("request", || {
            async move |tx: &mut Tx| apply_and_keep(tx, request, millis(now)).await
        })
        .await
    }

    /// Applies the requests that were typed in by SQL and returns how many there were. One that
    /// cannot be understood is answered with the reason in its row. A verb of a newer program that works on
    /// the database, too, is left to that one.
    pub async fn apply_requests(&self, now: Timestamp) -> Result<u64> {
        // Most ticks find nothing: a look beside the writer is enough then.
        let is_any_open = || async move |tx: &mut Tx| requests::is_any_open(tx).await;
        if !self.read("apply_requests", is_any_open).await? {
            return Ok(0);
        }
        self.write("apply_requests", || async move |tx: &mut Tx| apply_typed(tx, millis(now)).await)
            .await
    }

    /// Holds rows (before their end) whose account is known neither here nor to another replica that works,
    /// and lets go of those whose account has become known.
    pub async fn check_accounts(&self, known: &[AccountName], now: Timestamp) -> Result<()> {
        // Most looks find nothing: a look beside the writer is enough then.
        let is_needed = || {
            async move |tx: &mut Tx| {
                let known = known_to_any(tx, known, now).await?;
                teardowns::is_any_account_unknown(tx, &known).await
            }
        };
        if !self.read("check_accounts", is_needed).await? {
            return Ok(());
        }
        self.write("check_accounts", || {
            async move |tx: &mut Tx| check_accounts(tx, known, millis(now)).await
        })
        .await
    }
}

/// The guards whose holds the lifting of a protection ends.
const FOR_PROTECTION: [Reason; 2] = [Reason::ProtectedTenant, Reason::ProtectedDomain];

/// Applies a request and keeps it with its answer.
async fn apply_and_keep(
    tx: &mut Tx,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<Vec<RequestEffect>> {
    let effects = apply(tx, request, now).await?;
    let record = RequestRecord::of(request, rules::requests::answer(&effects), now);
    requests::insert(tx, &record, request.filter.latest_only).await?;
    Ok(effects)
}

async fn apply(
    tx: &mut Tx,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<Vec<RequestEffect>> {
    let mut effects = Vec::new();
    match request.verb.about() {
        About::Account(verb) => {
            for name in accounts_of(tx, verb, request).await? {
                effects.push(about_account(tx, &name, verb, request, now).await?);
            }
        }
        About::Protection(ProtectionVerb::Protect) => {
            let entries = set_protections(tx, request, now, &mut effects).await?;
            abort_protected(tx, request, &entries, now, &mut effects).await?;
        }
        About::Protection(ProtectionVerb::Unprotect) => {
            effects = lift_protections(tx, request).await?;
            let_go_protected(tx, request, now).await?;
        }
        About::Teardown(verb) => {
            for row in to_change(tx, &request.filter).await? {
                effects.push(match row {
                    Ok(row) => about_row(tx, row, verb, request, now).await?,
                    Err(damaged) => damaged,
                });
            }
        }
    }
    Ok(effects)
}

/// Aborts what is under way for tenants that are protected from now on. Where a DELETE is out that
/// is refused, and the entry stands all the same.
async fn abort_protected(
    tx: &mut Tx,
    request: &OperatorRequest,
    entries: &[Protection],
    now: Timestamp,
    effects: &mut Vec<RequestEffect>,
) -> Result<()> {
    let active = Filter { account: request.filter.account.clone(), ..Filter::active() };
    let abort = rules::requests::abort_for_protection(request);
    for row in to_change(tx, &active).await?.into_iter().flatten() {
        if protect::concern(entries, &row) {
            effects.push(about_row(tx, row, TeardownVerb::Abort, &abort, now).await?);
        }
    }
    Ok(())
}

/// Lets go of the rows that a guard holds for what is protected no more; the guards are asked again.
async fn let_go_protected(tx: &mut Tx, request: &OperatorRequest, now: Timestamp) -> Result<()> {
    let lifted = protect::wanted(request, now);
    let active = Filter { account: request.filter.account.clone(), ..Filter::active() };
    for mut row in teardowns::list(tx, &active).await? {
        if !protect::concern(&lifted, &row) {
            continue;
        }
        let (account, every) = accounts::load_with_every(tx, &row.account).await?;
        let runs = rules::runs(&account, &every, now);
        if rules::let_go(&mut row, &FOR_PROTECTION, runs, now) {
            let text = "released: its protection was lifted".to_owned();
            let event = rules::unheld(&row, text, &request.actor);
            super::keep(tx, &row, event, now).await?;
        }
    }
    Ok(())
}

/// The accounts that a request is about: to lift a halt, without a name, all that are halted.
async fn accounts_of(
    tx: &mut Tx,
    verb: AccountVerb,
    request: &OperatorRequest,
) -> Result<Vec<AccountName>> {
    if verb != AccountVerb::Unhalt || request.filter.account.is_some() {
        return Ok(vec![stops::scope(request)]);
    }
    let stored = accounts::load_all(tx).await?;
    Ok(stored.into_iter().filter(|row| row.halted.is_some()).map(|row| row.name).collect())
}

async fn about_account(
    tx: &mut Tx,
    name: &AccountName,
    verb: AccountVerb,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<RequestEffect> {
    let mut account = accounts::load(tx, name).await?;
    let ahead = clock::ahead(tx).await?;
    let effect = stops::act(&mut account, verb, request, ahead, now);
    if effect.applied {
        accounts::save(tx, &account).await?;
        accounts::set_clocks(tx, name, now).await?;
    }
    Ok(effect)
}

async fn about_row(
    tx: &mut Tx,
    mut row: Teardown,
    verb: TeardownVerb,
    request: &OperatorRequest,
    now: Timestamp,
) -> Result<RequestEffect> {
    let (account, every) = accounts::load_with_every(tx, &row.account).await?;
    let commands = match verb {
        // Where one is damaged, the table itself still refuses to abort what a DELETE is out for.
        TeardownVerb::Abort => match commands::of_tenant(tx, &row.account, row.tenant_id).await {
            Err(StoreError::Damaged { .. }) => Vec::new(),
            commands => commands?,
        },
        _ => Vec::new(),
    };
    let protections = match verb {
        TeardownVerb::Retry => protections::load_all(tx).await?,
        _ => Vec::new(),
    };
    let active = teardowns::active(tx, &row.account, row.tenant_id).await?;
    let around = Surroundings {
        commands: &commands,
        active: active.filter(|id| *id != row.id),
        account_runs: rules::runs(&account, &every, now),
        protections: &protections,
        ahead: clock::ahead(tx).await?,
    };
    let from = row.state;
    let (effect, event) = rules::requests::act(&mut row, verb, request, &around, now);
    if let Some(event) = event {
        match verb {
            // Its own table: the row may have ended, and then stays as it is.
            TeardownVerb::Ack => acks::save(tx, row.id, request, now).await?,
            TeardownVerb::Set => teardowns::reorder(tx, &row).await?,
            _ => teardowns::save(tx, &row, from).await?,
        }
        transitions::record(tx, &row, &[event], now).await?;
        if row.state.is_terminal() {
            commands::withdraw_unsent(tx, &row, now).await?;
        }
    }
    Ok(effect)
}

/// Sets the entries of a request, and returns them.
async fn set_protections(
    tx: &mut Tx,
    request: &OperatorRequest,
    now: Timestamp,
    effects: &mut Vec<RequestEffect>,
) -> Result<Vec<Protection>> {
    let standing = protections::load_all(tx).await?;
    let entries = protect::wanted(request, now);
    for entry in &entries {
        let same = |p: &&Protection| p.account == entry.account && p.subject == entry.subject;
        effects.push(protect::set(entry, standing.iter().find(same)));
        protections::insert(tx, entry).await?;
    }
    Ok(entries)
}

/// Lifts the entries of a request.
async fn lift_protections(tx: &mut Tx, request: &OperatorRequest) -> Result<Vec<RequestEffect>> {
    let account = protect::scope(request);
    let mut effects = Vec::new();
    for subject in request.subjects() {
        let gone = protections::delete(tx, &account, &subject).await?;
        effects.push(protect::lifted(account.clone(), &subject, gone));
    }
    Ok(effects)
}

/// The rows that a request is about. A damaged one is left as it is; the effect says so.
pub(super) async fn to_change(
    tx: &mut Tx,
    filter: &Filter,
) -> Result<Vec<std::result::Result<Teardown, RequestEffect>>> {
    let found = teardowns::to_change(tx, filter).await?;
    let effect = |(shown, damage): (Teardown, StoreError)| {
        rules::requests::effect(&shown, Err(damage.to_string())).0
    };
    Ok(found.into_iter().map(|row| row.map_err(effect)).collect())
}

// ---- typed in by SQL -------------------------------------------------------------------------------

/// Applies and answers the open requests, each by itself: one that fails changes nothing.
async fn apply_typed(tx: &mut Tx, now: Timestamp) -> Result<u64> {
    time::adopt(tx, now).await?;
    let mut open = requests::open(tx).await?;
    let is_known = |typed: &Result<TypedRequest>| {
        typed.as_ref().is_ok_and(|typed| Verb::parse(typed.verb.trim()).is_some())
    };
    if open.iter().any(|(_, typed)| !is_known(typed))
        && super::is_of_a_newer_program(tx, now).await?
    {
        open.retain(|(_, typed)| is_known(typed));
    }
    let count = open.len() as u64;
    for (id, typed) in open {
        let answer = match tx.attempt(async |tx| apply_one(tx, typed, now).await).await {
            Ok(answer) => answer,
            Err(error) if error.is_out_of_reach() => return Err(error),
            Err(refused) => format!("not done: {refused}"),
        };
        requests::answer(tx, id, &answer, now).await?;
    }
    Ok(count)
}

async fn apply_one(tx: &mut Tx, typed: Result<TypedRequest>, now: Timestamp) -> Result<String> {
    let typed = typed.map_err(|damage| StoreError::Refused(damage.to_string()))?;
    let ahead = clock::ahead(tx).await?;
    let request = typed.read(ahead).map_err(StoreError::Refused)?;
    Ok(rules::requests::answer(&apply(tx, &request, now).await?))
}

// ---- accounts of the configuration -------------------------------------------------------------------

/// A replica that is restarted is back by then.
const RESTART: Duration = Duration::from_secs(300);

/// The accounts that are known to this process, or to a replica that works or did so a moment ago.
async fn known_to_any(
    tx: &mut Tx,
    known: &[AccountName],
    now: Timestamp,
) -> Result<Vec<AccountName>> {
    // One that is stopped may be on its way to start again.
    let lately = before(now, RESTART);
    let others = replicas::load_all(tx).await?;
    let others = others.into_iter().filter(|replica| replica.ticked_at > lately);
    let elsewhere = others.flat_map(|replica| replica.accounts);
    let all: BTreeSet<AccountName> = known.iter().cloned().chain(elsewhere).collect();
    Ok(all.into_iter().collect())
}

async fn check_accounts(tx: &mut Tx, known: &[AccountName], now: Timestamp) -> Result<()> {
    let known = known_to_any(tx, known, now).await?;
    for mut row in teardowns::of_unknown_accounts(tx, &known).await? {
        let (account, every) = accounts::load_with_every(tx, &row.account).await?;
        let runs = rules::runs(&account, &every, now);
        let is_known = known.contains(&row.account);
        if let Some(event) = rules::check_known(&mut row, is_known, runs, now) {
            super::keep(tx, &row, event, now).await?;
        }
    }
    Ok(())
}
