//! Rows to values and back. Reading is strict: what the program does not understand is damage that
//! is named, never guessed at.

use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;

use crate::core::account::{Account, Arming, Canary, Identity, Proven, Stop, Trouble, TroubleKind};
use crate::core::approval::Approval;
use crate::core::command::{Action, Command, Intent, Outcome};
use crate::core::fault::FailedCall;
use crate::core::hold::{Hold, Holds};
use crate::core::ids::{AccountName, CommandId, Fence, TeardownId};
use crate::core::key::ResourceKey;
use crate::core::reason::Reason;
use crate::core::routes::{Kind, Route, Standing};
use crate::core::teardown::{Lease, State, Teardown};
pub(in crate::store) use crate::store::model::time::time_text;
use crate::store::sql::{Row, Stored};
use crate::store::{
    PurchaseRecord, Result, StoreError, StoredFault, StoredPurchase, TransitionRecord,
};

/// Reads the columns of one row, and names table and row when one of them is damaged.
pub(in crate::store) struct Fields<'r> {
    row: &'r Row,
    table: &'static str,
    key: &'static str,
}

impl<'r> Fields<'r> {
    /// `key` is the column that names the row.
    pub(in crate::store) fn new(row: &'r Row, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key }
    }

    fn damaged(&self, column: &str, text: impl Display) -> StoreError {
        // Looked up only here: a key that is no number costs an error of SQLite's, and every row is read so.
        let number = self.row.try_get::<i64>(self.key).map(|id| id.to_string());
        let key = number.or_else(|_| self.row.try_get::<String>(self.key));
        StoreError::Damaged {
            table: self.table,
            row: key.unwrap_or_else(|_| "?".to_owned()),
            text: format!("{column}: {text}"),
        }
    }

    pub(in crate::store) fn get<T: Stored<'r>>(&self, column: &str) -> Result<T> {
        self.row.try_get(column).map_err(|error| self.damaged(column, error))
    }

    pub(in crate::store) fn number<T: TryFrom<i64>>(&self, column: &str) -> Result<T> {
        let number: i64 = self.get(column)?;
        T::try_from(number).map_err(|_| self.damaged(column, format!("{number} is out of range")))
    }

    pub(in crate::store) fn at_most<T>(&self, column: &str, most: T) -> Result<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let number: T = self.number(column)?;
        if number <= most {
            return Ok(number);
        }
        Err(self.damaged(column, format!("{number} is more than {most}")))
    }

    /// A text that `parse` must understand, unless it is NULL.
    pub(in crate::store) fn parse_opt<T>(
        &self,
        column: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let text: Option<&str> = self.get(column)?;
        text.map(|text| parse(text).ok_or_else(|| self.damaged(column, format!("{text:?}"))))
            .transpose()
    }

    /// A text that `parse` must understand.
    pub(in crate::store) fn parse<T>(
        &self,
        column: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T> {
        self.parse_opt(column, parse)?.ok_or_else(|| self.damaged(column, "is NULL"))
    }

    pub(in crate::store) fn time_opt(&self, column: &str) -> Result<Option<Timestamp>> {
        self.row.time(column).map_err(|what| self.damaged(column, what))
    }

    pub(in crate::store) fn time(&self, column: &str) -> Result<Timestamp> {
        self.time_opt(column)?.ok_or_else(|| self.damaged(column, "is NULL"))
    }

    pub(in crate::store) fn flag(&self, column: &str) -> Result<bool> {
        self.flag_opt(column)?.ok_or_else(|| self.damaged(column, "is NULL"))
    }

    pub(in crate::store) fn flag_opt(&self, column: &str) -> Result<Option<bool>> {
        self.row.flag(column).map_err(|error| self.damaged(column, error))
    }

    pub(in crate::store) fn account(&self) -> Result<AccountName> {
        self.get::<&str>("account").map(AccountName::new)
    }
}

fn canary(f: &Fields<'_>) -> Result<Option<Canary>> {
    let uuid = |text: &str| text.parse().ok().map(CommandId);
    let Some(command) = f.parse_opt("canary", uuid)? else { return Ok(None) };
    let tenant_id = f.parse("canary_tenant", |text| text.parse().ok())?;
    Ok(Some(Canary { command, tenant_id }))
}

/// The largest fence and the longest eligible time, in milliseconds, that are no damage: a trigger of the
/// table refuses larger ones, and no sum of what is within them is too large.
const MAX_FENCE: i64 = 1_000_000_000_000_000;
const MAX_ELIGIBLE_MS: u64 = 3_153_600_000_000;

/// A row of `teardowns`.
pub(in crate::store) fn teardown(row: &Row) -> Result<Teardown> {
    let f = Fields::new(row, "teardowns", "id");
    Ok(Teardown {
        id: TeardownId(f.get("id")?),
        account: f.account()?,
        tenant_id: f.parse("tenant_id", |text| text.parse().ok())?,
        expected_domain: f.get("expected_domain")?,
        domain: f.get("domain")?,
        batch: f.get("batch")?,
        priority: f.get("priority")?,
        note: f.get("note")?,
        requested_by: f.get("requested_by")?,
        created_at: f.time("created_at")?,
        run_since: f.time("run_since")?,
        try_anyway: f.flag("try_anyway")?,
        not_before: f.time_opt("not_before")?,
        state: f.parse("state", State::parse)?,
        state_since: f.time("state_since")?,
        reason: f.parse_opt("reason", Reason::parse)?,
        reason_text: f.get("reason_text")?,
        holds: holds(&f)?,
        attempts: f.number("attempts")?,
        polls: f.number("polls")?,
        rounds: f.number("rounds")?,
        next_attempt_at: f.time_opt("next_attempt_at")?,
        eligible_since: f.time_opt("eligible_since")?,
        eligible_used: Duration::from_millis(f.at_most("eligible_used_ms", MAX_ELIGIBLE_MS)?),
        suspects: f.parse("suspects", |text| serde_json::from_str(text).ok())?,
        cross_checked: f.flag_opt("cross_checked")?,
        uncancellable_at: f.time_opt("uncancellable_at")?,
        approval: approval(&f)?,
        lease: lease(&f)?,
        fence: Fence(f.at_most("fence", MAX_FENCE)?),
        updated_at: f.time("updated_at")?,
        finished_at: f.time_opt("finished_at")?,
    })
}

/// A row of `teardowns` as it is shown. A damaged one stands there as held by the guard `damaged_row`,
/// with what is wrong; it is never stored like that.
///
/// # Errors
/// When not even its id, its tenant, its account and its state can be read.
pub(in crate::store) fn shown(row: &Row) -> Result<Teardown> {
    let damage = match teardown(row) {
        Ok(sound) => return Ok(sound),
        Err(damage) => damage,
    };
    let f = Fields::new(row, "teardowns", "id");
    let (Ok(tenant), Ok(state)) =
        (f.parse("tenant_id", |text| text.parse().ok()), f.parse("state", State::parse))
    else {
        return Err(damage);
    };
    let at = |column: &str| f.time(column).unwrap_or_default();
    let text = |column: &str| f.get::<Option<String>>(column).unwrap_or_default();
    Ok(Teardown {
        state,
        state_since: at("state_since"),
        expected_domain: text("expected_domain"),
        domain: text("domain"),
        batch: text("batch"),
        note: text("note"),
        requested_by: text("requested_by"),
        holds: Holds::stored(
            None,
            Some(Hold {
                code: Reason::DamagedRow,
                text: damage.to_string(),
                actor: Reason::DamagedRow.as_str().to_owned(),
                since: at("updated_at"),
            }),
        ),
        updated_at: at("updated_at"),
        finished_at: f.time_opt("finished_at").unwrap_or_default(),
        ..Teardown::fresh(TeardownId(f.get("id")?), f.account()?, tenant, at("created_at"))
    })
}

fn holds(f: &Fields<'_>) -> Result<Holds> {
    let operator = f.time_opt("operator_hold_since")?.map(|since| {
        Ok::<_, StoreError>(Hold {
            code: Reason::Operator,
            text: f.get("operator_hold_text")?,
            actor: f.get("operator_hold_by")?,
            since,
        })
    });
    let guard = f.parse_opt("hold_code", Reason::parse)?.map(|code| {
        Ok::<_, StoreError>(Hold {
            code,
            text: f.get("hold_text")?,
            actor: f.get("hold_by")?,
            since: f.time("hold_since")?,
        })
    });
    Ok(Holds::stored(operator.transpose()?, guard.transpose()?))
}

fn approval(f: &Fields<'_>) -> Result<Option<Approval>> {
    let Some(actor) = f.get("approved_by")? else { return Ok(None) };
    Ok(Some(Approval {
        actor,
        at: f.time("approved_at")?,
        run: f.time("approved_run")?,
        inventory: f.parse("approved", |text| serde_json::from_str(text).ok())?,
    }))
}

fn lease(f: &Fields<'_>) -> Result<Option<Lease>> {
    let Some(owner) = f.get("lease_owner")? else { return Ok(None) };
    Ok(Some(Lease { owner, until: f.time("lease_until")? }))
}

/// A row of `commands`.
pub(in crate::store) fn command(row: &Row) -> Result<Command> {
    let f = Fields::new(row, "commands", "id");
    Ok(Command {
        id: CommandId(f.parse("id", |text| text.parse().ok())?),
        account: f.account()?,
        tenant_id: f.parse("tenant_id", |text| text.parse().ok())?,
        teardown_id: TeardownId(f.get("teardown_id")?),
        intent: Intent {
            action: f.parse("action", Action::parse)?,
            reservation: f.flag("reservation")?,
            resource: f.parse("resource", ResourceKey::parse)?,
            body: f.get("body")?,
            if_match: f.get("if_match")?,
        },
        method: f.get("method")?,
        path: f.get("path")?,
        created_at: f.time("created_at")?,
        sends: f.number("sends")?,
        first_sent_at: f.time_opt("first_sent_at")?,
        last_sent_at: f.time_opt("last_sent_at")?,
        correlation_id: f.parse_opt("correlation_id", |text| text.parse().ok())?,
        outcome: f.parse_opt("outcome", Outcome::parse)?,
        settled_at: f.time_opt("settled_at")?,
        http_status: http_status(&f)?,
        ms_code: f.get("ms_code")?,
        text: f.get("text")?,
    })
}

fn http_status(f: &Fields<'_>) -> Result<Option<u16>> {
    f.get::<Option<i64>>("http_status")?.map(|_| f.number("http_status")).transpose()
}

/// A row of `faults`.
pub(in crate::store) fn fault(row: &Row) -> Result<StoredFault> {
    let f = Fields::new(row, "faults", "id");
    Ok(StoredFault {
        id: f.get("id")?,
        teardown_id: TeardownId(f.get("teardown_id")?),
        reason: f.parse_opt("reason", Reason::parse)?,
        call: FailedCall {
            at: f.time("at")?,
            method: f.get("method")?,
            route: f.get("route")?,
            request_id: f.parse_opt("request_id", |text| text.parse().ok())?,
            correlation_id: f.parse_opt("correlation_id", |text| text.parse().ok())?,
            http_status: http_status(&f)?,
            ms_code: f.get("ms_code")?,
            text: f.get("text")?,
            answer_ids: f.get("answer_ids")?,
            body: f.get("body")?,
        },
    })
}

/// A row of `transitions`.
pub(in crate::store) fn transition(row: &Row) -> Result<TransitionRecord> {
    let f = Fields::new(row, "transitions", "id");
    Ok(TransitionRecord {
        id: f.get("id")?,
        teardown_id: TeardownId(f.get("teardown_id")?),
        account: f.account()?,
        tenant_id: f.parse("tenant_id", |text| text.parse().ok())?,
        at: f.time("at")?,
        from: f.parse_opt("from_state", State::parse)?,
        to: f.parse("to_state", State::parse)?,
        reason: f.parse_opt("reason", Reason::parse)?,
        text: f.get("text")?,
        actor: f.get("actor")?,
    })
}

/// A row of `purchases`.
pub(in crate::store) fn purchase(row: &Row) -> Result<StoredPurchase> {
    let f = Fields::new(row, "purchases", "key");
    Ok(StoredPurchase {
        record: PurchaseRecord {
            key: f.parse("key", ResourceKey::parse)?,
            kind: f.parse("kind", Kind::parse)?,
            name: f.get("name")?,
            route: f.parse("route", Route::parse)?,
            status: f.get("status")?,
            standing: f.parse("standing", Standing::parse)?,
            order_id: f.get("order_id")?,
            blocked: f.get("blocked")?,
            cancellable_until: f.time_opt("cancellable_until")?,
        },
        first_seen_at: f.time("first_seen_at")?,
        last_seen_at: f.time("last_seen_at")?,
        inactive_at: f.time_opt("inactive_at")?,
    })
}

/// A row of `accounts` as it counts, and whether it is damaged. A damaged one is an account that is
/// halted, and paused if anything says so: nothing is sent for it until a person has looked.
///
/// # Errors
/// When not even its name can be read.
pub(in crate::store) fn counted_account(row: &Row) -> Result<(Account, bool)> {
    let damage = match account(row) {
        Ok(sound) => return Ok((sound, false)),
        Err(damage) => damage,
    };
    let f = Fields::new(row, "accounts", "name");
    let stop = |reason: String, actor: &str, since: Timestamp| Stop {
        reason,
        actor: actor.to_owned(),
        since,
        until: None,
    };
    let is_null = |column: &str| matches!(f.get::<Option<String>>(column), Ok(None));
    let mut counted = Account::fresh(AccountName::new(f.get::<&str>("name")?));
    let since = |column: &str| f.time(column).unwrap_or_default();
    counted.halted =
        Some(stop(damage.to_string(), Reason::DamagedRow.as_str(), since("halted_since")));
    if !is_null("paused_reason") {
        let reason = f.get("paused_reason").unwrap_or_else(|_| damage.to_string());
        let actor: String = f.get("paused_by").unwrap_or_default();
        counted.paused = Some(stop(reason, &actor, since("paused_since")));
    }
    Ok((counted, true))
}

/// A row of `accounts`.
fn account(row: &Row) -> Result<Account> {
    let f = Fields::new(row, "accounts", "name");
    let paused = f.get::<Option<String>>("paused_reason")?.map(|reason| {
        Ok::<_, StoreError>(Stop {
            reason,
            actor: f.get("paused_by")?,
            since: f.time("paused_since")?,
            until: f.time_opt("paused_until")?,
        })
    });
    let halted = f.get::<Option<String>>("halted_reason")?.map(|reason| {
        Ok::<_, StoreError>(Stop {
            reason,
            actor: f.get("halted_by")?,
            since: f.time("halted_since")?,
            until: None,
        })
    });
    let trouble = f.parse_opt("trouble_kind", TroubleKind::parse)?.map(|kind| {
        Ok::<_, StoreError>(Trouble {
            kind,
            text: f.get("trouble_text")?,
            since: f.time("trouble_since")?,
            next_probe_at: f.time("trouble_next_probe_at")?,
        })
    });
    let armed = f.get::<Option<String>>("armed_by")?.map(|actor| {
        Ok::<_, StoreError>(Arming {
            identity: Identity {
                partner_tenant: f.parse("armed_partner_tenant", |text| text.parse().ok())?,
                cloud: f.get("armed_cloud")?,
                client_id: f.parse("armed_client_id", |text| text.parse().ok())?,
            },
            actor,
            since: f.time("armed_since")?,
        })
    });
    Ok(Account {
        name: AccountName::new(f.get::<&str>("name")?),
        paused: paused.transpose()?,
        halted: halted.transpose()?,
        throttled_until: f.time_opt("throttled_until")?,
        throttled_since: f.time_opt("throttled_since")?,
        trouble: trouble.transpose()?,
        proven: Proven {
            write: f.flag("proven_write")?,
            reservation: f.flag("proven_reservation")?,
            delete: f.flag("proven_delete")?,
        },
        canary: canary(&f)?,
        armed: armed.transpose()?,
    })
}

/// Reads rows one by one: a damaged one is reported and left out, so that it does not stop the
/// others.
pub(in crate::store) fn sound<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T>) -> Vec<T> {
    let read = |row| {
        read(row).inspect_err(|error| tracing::error!(%error, "a damaged row is left out")).ok()
    };
    rows.iter().filter_map(read).collect()
}

/// As [`sound`], for people: when nothing else is left, the damage is the answer.
pub(in crate::store) fn readable<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T>,
) -> Result<Vec<T>> {
    let values = sound(rows, &read);
    match rows.first() {
        Some(first) if values.is_empty() => read(first).map(|value| vec![value]),
        _ => Ok(values),
    }
}
