//! `backup` and `restore`.

use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use serde_json::json;

use super::args::{FileArgs, Globals};
use super::exit::{Ending, Exit, Failure, Report};
use super::open;
use crate::interfaces::assemble;
use crate::interfaces::config::Config;
use crate::runtime::clock::SystemEntropy;
use crate::store::{Carried, RestoreReport, backup as copy_to, restore as copy_from};

/// `backup FILE`
pub(crate) async fn backup(globals: &Globals, args: &FileArgs) -> Ending {
    let config = globals.configuration()?;
    if args.file.symlink_metadata().is_ok() {
        let text = format!("{} exists already and is not overwritten", args.file.display());
        return Err(Failure::new(Exit::Usage, text).hint("name another file, or move it away"));
    }
    let clock = open::clock();
    let (taken_at, start) = (clock.now(), clock.uptime());
    let database =
        file(&config, "`pg_dump --format=custom` writes a copy as it stands at one instant")?;
    let report = copy_to(database, &args.file).await?;
    let took = clock.uptime().saturating_sub(start);
    let text = format!(
        "{} written and verified: {}, {} teardowns, schema {}, in {}\n",
        report.file.display(),
        ByteSize(report.bytes),
        report.teardowns,
        report.schema,
        humantime::format_duration(Duration::from_millis(rounded(took))),
    );
    let json = json!({"backup": {
        "file": report.file,
        "database": database,
        "bytes": report.bytes,
        "schema": report.schema,
        "teardowns": report.teardowns,
        "taken_at": taken_at,
        "duration_ms": rounded(took),
        "verified": true,
    }});
    Ok(Report::done(text, json))
}

/// The file of the database; on a server its own programs make the copies.
fn file<'a>(config: &'a Config, instead: &str) -> Result<&'a Path, Failure> {
    config.database.place.file().ok_or_else(|| {
        let text = format!("{} is on a server, whose own programs copy it", config.database.place);
        Failure::new(Exit::Usage, text).hint(instead)
    })
}

fn rounded(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// `restore FILE`
pub(crate) async fn restore(globals: &Globals, args: &FileArgs) -> Ending {
    let config = globals.configuration()?;
    let clock = open::clock();
    let owner = assemble::replica(&config, clock.as_ref(), &SystemEntropy).owner;
    let owner = format!("{owner} (restore)");
    let actor = globals.actor();
    let database = file(
        &config,
        "stop the daemon, fill an empty database with `pg_restore`, type `teardownd pause` on it, and \
         only then start the daemon: docs/postgresql.md tells why",
    )?;
    let report = copy_from(database, &args.file, &owner, &actor, clock.now()).await?;
    Ok(Report::done(told(&report), json!({"restore": report, "paused": true})))
}

fn told(report: &RestoreReport) -> String {
    let RestoreReport { database, from, schema, teardowns, kept, carried, protections } = report;
    let mut text = format!(
        "{} is restored from {}: {teardowns} teardowns, schema {schema}\n",
        database.display(),
        from.display()
    );
    if let Some(kept) = kept {
        text.push_str(&format!("the database it replaces is kept as {}\n", kept.display()));
        text.push_str(&taken_over(*carried, *protections));
    } else {
        text.push_str(
            "there was no database to replace: nothing is known of what came after the backup; no \
             account is armed and nothing is approved\n",
        );
    }
    text.push_str(
        "everything is paused: start the daemon, look at `teardownd list`, abort what must not go on, \
         then type `teardownd resume`\n",
    );
    text
}

fn taken_over(carried: Option<Carried>, protections: Option<u64>) -> String {
    let mut text = match carried {
        Some(Carried { stops, held, disarmed, unapproved, missing }) => format!(
            "taken over from that one: {stops} halts and pauses of accounts, {held} holds; \
             {missing} teardowns of it are not in the backup\n\
             no longer armed: {disarmed} accounts; no longer approved: {unapproved} teardowns\n"
        ),
        None => {
            "that one cannot be read: what was aborted, held or halted since the backup is not \
                 known any more; no account is armed and nothing is approved\n"
                .to_owned()
        }
    };
    text.push_str(&match protections {
        Some(added) => format!("{added} deny entries of it are not in the backup and hold on\n"),
        None => "its deny entries cannot be read: look at `teardownd protect --list` before you \
                 resume\n"
            .to_owned(),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_says_that_it_starts_paused_and_what_is_not_known() {
        let report = RestoreReport {
            database: "/var/lib/t.db".into(),
            from: "/backup/t.db".into(),
            schema: 6,
            teardowns: 12,
            kept: Some("/var/lib/t.db.before-restore-1".into()),
            carried: None,
            protections: None,
        };
        let text = told(&report);
        for part in [
            "everything is paused",
            "teardownd resume",
            "that one cannot be read",
            "no account is armed",
            "before-restore-1",
            "teardownd protect --list",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let carried = Some(Carried { stops: 1, held: 2, disarmed: 4, unapproved: 5, missing: 3 });
        let text = told(&RestoreReport { carried, protections: Some(6), ..report });
        for part in
            ["2 holds; 3 teardowns", "armed: 4 accounts", "approved: 5 teardowns", "6 deny entries"]
        {
            assert!(text.contains(part), "{text}");
        }
    }
}
