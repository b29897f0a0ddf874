//! `status`: the first look. Who works on the database, how the accounts and the teardowns are, and what
//! needs a person.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::args::Globals;
use super::context::Context;
use super::exit::{Ending, Report};
use super::list::conditions;
use super::view::account::{condition_json, condition_text};
use super::view::standing::Standing;
use super::view::table::Table;
use super::view::{Look, counted, json_time};
use crate::core::teardown::{Status, Teardown};
use crate::interfaces::reload::Differences;
use crate::store::{Filter, Presence, Replica};

/// The text names this many of the teardowns that need a person.
const NAMED: usize = 10;

/// Runs the command.
pub(crate) async fn execute(globals: &Globals) -> Ending {
    let context = Context::with(globals, globals.configuration()?).await?;
    let look = context.look();
    let (replicas, replicas_json) = daemons(&context, &look).await?;

    let stops = context.stops().await?;
    let accounts = conditions(&context, &stops, None, look.now);
    let mut text = format!("{replicas}database {}\n", context.config.database.place);
    for (name, condition) in &accounts {
        text.push_str(&condition_text(&format!("account {name}"), condition, &look));
        text.push('\n');
    }
    let accounts: Vec<Value> =
        accounts.iter().map(|(name, condition)| condition_json(name, condition)).collect();

    let rows = context.store.list(&Filter { latest_only: true, ..Filter::default() }).await?;
    let standing = |row: &Teardown| Standing::of(row, &stops, look.now);
    let counts: BTreeMap<&str, usize> = Status::ALL
        .into_iter()
        .map(|status| {
            let alike = rows.iter().filter(|row| standing(row).status == status).count();
            (status.as_str(), alike)
        })
        .collect();
    let told: Vec<String> = Status::ALL
        .into_iter()
        .map(|status| format!("{} {}", counts[status.as_str()], status.as_str()))
        .collect();
    text.push_str(&format!("teardowns: {}\n", told.join(", ")));

    let acks = context.store.acks().await?;
    let stuck_after = context.config.stuck_after;
    let needs_a_person = |row: &&Teardown| {
        row.rings(stuck_after, look.now) && !acks.iter().any(|ack| ack.id == row.id)
    };
    let in_need: Vec<&Teardown> = rows.iter().filter(needs_a_person).collect();
    let mut table = Table::new(&["", "", "", ""]);
    for row in in_need.iter().take(NAMED) {
        let Standing { status, blocked_by } = standing(row);
        let why = blocked_by.map_or(status.as_str(), |reason| reason.as_str());
        let next = format!("teardownd why {}", row.tenant_id);
        table.row([format!("  #{}", row.id), row.account.to_string(), why.to_owned(), next]);
    }
    if !in_need.is_empty() {
        text.push_str(&format!("{} in need of a person:\n", counted(in_need.len(), "teardown")));
        text.push_str(&table.draw());
    }
    if in_need.len() > NAMED {
        text.push_str("  the others: teardownd list --ringing\n");
    }
    let in_need: Vec<Value> = in_need
        .iter()
        .map(|row| {
            let Standing { status, blocked_by } = standing(row);
            json!({
                "id": row.id,
                "account": row.account,
                "tenant_id": row.tenant_id,
                "status": status,
                "blocked_by": blocked_by,
                "next": format!("teardownd why {}", row.tenant_id),
            })
        })
        .collect();
    let json = json!({
        "database": context.config.database.place.to_string(),
        "replicas": replicas_json,
        "accounts": accounts,
        "teardowns": counts,
        "needs_a_person": in_need,
    });
    Ok(Report::done(text, json))
}

/// The daemons of the database, in lines and for JSON.
async fn daemons(
    context: &Context,
    look: &Look,
) -> Result<(String, Vec<Value>), super::exit::Failure> {
    let (mut text, mut all) = (String::new(), Vec::new());
    for replica in context.store.replicas().await? {
        // A file says by its lock whether its daemon is gone.
        let presence = match replica.presence(look.now) {
            Presence::Working if !context.is_worked_on => Presence::Silent,
            presence => presence,
        };
        let values = context.store.in_force(&replica.name).await?;
        let differs = presence == Presence::Working
            && !values.is_empty()
            && Differences::of(&values, &context.config.values) != Differences::default();
        text.push_str(&line(&replica, presence, differs, look));
        all.push(json!({
            "name": replica.name,
            "state": presence,
            "version": replica.version,
            "owner": replica.owner,
            "started_at": json_time(Some(replica.started_at)),
            "ticked_at": json_time(Some(replica.ticked_at)),
            "stopped_at": json_time(replica.stopped_at),
            "configuration_differs": differs,
        }));
    }
    if all.is_empty() {
        text.push_str("no daemon has ever run on this database; start one with `teardownd run`\n");
    }
    Ok((text, all))
}

fn line(replica: &Replica, presence: Presence, differs: bool, look: &Look) -> String {
    let Replica { name, version, started_at, ticked_at, stopped_at, .. } = replica;
    let told = match presence {
        Presence::Working => {
            format!("works since {}, for {}", look.local(*started_at), look.since(*started_at))
        }
        Presence::Stopped => {
            let at = stopped_at.unwrap_or(*ticked_at);
            format!("was stopped {}, at {}", look.distance(at), look.local(at))
        }
        Presence::Silent => {
            let last = look.local(*ticked_at);
            format!(
                "does not work: its last heartbeat was {}, at {last}",
                look.distance(*ticked_at)
            )
        }
    };
    let differs = match differs {
        true => "; its configuration differs from the one read here: `teardownd reload`",
        false => "",
    };
    format!("daemon {name}, version {version}, {told}{differs}\n")
}
