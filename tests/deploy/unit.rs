//! The systemd unit.

use std::collections::BTreeMap;

use crate::support::{PROGRAM, command, done, missing, run, shown, skipped, text};

const UNIT: &str = "deploy/systemd/teardownd.service";
const REPLICA: &str = "deploy/systemd/replicas/replica.conf";
/// The highest exposure that is accepted.
const EXPOSURE: f64 = 1.5;

/// The settings of a unit; of those that stand there several times, the last one.
pub fn settings(unit: &str) -> BTreeMap<&str, &str> {
    unit.lines().filter(|line| !line.starts_with('#')).filter_map(|l| l.split_once('=')).collect()
}

#[test]
fn the_unit_is_flawless_and_strict() {
    if let Some(program) = missing(&["systemd-analyze"]) {
        return skipped(&format!("{program} is not there; install systemd"));
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("teardownd.service");
    // The program must be where the unit says, for the check to be clean.
    std::fs::write(&unit, text(UNIT).replace("/usr/bin/teardownd", PROGRAM)).unwrap();

    let verified = run(command("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert_eq!((verified.code, verified.text.as_str()), (Some(0), ""));

    let security = run(command("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager"])
        .arg(&unit));
    if security.text.contains("--offline") {
        return skipped("this systemd is older than 250 and measures no unit that is not loaded");
    }
    let level: f64 = security
        .text
        .split("Overall exposure level for teardownd.service: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{}", security.text));
    assert!(level <= EXPOSURE, "{}", security.text);
    let version = done(command("systemd-analyze").arg("--version"));
    let version = version.lines().next().unwrap_or_default();
    shown(&format!("exposure of teardownd.service {level} (at most {EXPOSURE}), by {version}"));
}

#[test]
fn the_unit_gives_the_daemon_time_to_drain() {
    let unit = text(UNIT);
    let stop = settings(&unit)["TimeoutStopSec"].trim_end_matches('s').parse::<u64>().unwrap();
    assert!(stop > drain_seconds() + 5, "{stop}");
}

/// `engine.drain_timeout` by default.
pub fn drain_seconds() -> u64 {
    let defaults = text("config/default.toml");
    let line = defaults.lines().find_map(|line| line.strip_prefix("drain_timeout = ")).unwrap();
    line.trim_matches('"').trim_end_matches('s').parse().unwrap()
}

#[test]
fn the_folders_made_at_installation_are_those_of_the_unit() {
    let unit = text(UNIT);
    let unit = settings(&unit);
    let (state, mode) = (unit["StateDirectory"], unit["StateDirectoryMode"]);
    let (user, group) = (unit["User"], unit["Group"]);
    let folder = format!("d /var/lib/{state} {mode} {user} {group} -");
    let folders = text("deploy/systemd/tmpfiles.d/teardownd.conf");
    assert!(folders.lines().any(|line| line == folder), "{folder}");
    let users = text("deploy/systemd/sysusers.d/teardownd.conf");
    assert!(users.lines().any(|line| line.starts_with(&format!("u {user} "))), "{user}");
    let packaged = text("config/packaged.toml");
    assert!(packaged.contains(&format!("sqlite:/var/lib/{state}/")));
    assert!(packaged.contains(&format!("${{CREDENTIALS_DIRECTORY}}/{}", unit["LoadCredential"])));
}

// ---- replicas on hosts of their own -----------------------------------------------------------------

#[test]
fn the_unit_is_flawless_with_the_drop_in_of_a_replica() {
    if let Some(program) = missing(&["systemd-analyze"]) {
        return skipped(&format!("{program} is not there; install systemd"));
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("teardownd.service");
    std::fs::write(&unit, text(UNIT).replace("/usr/bin/teardownd", PROGRAM)).unwrap();
    let drop_ins = folder.path().join("teardownd.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(drop_ins.join("replica.conf"), text(REPLICA)).unwrap();
    let verified = run(command("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert_eq!((verified.code, verified.text.as_str()), (Some(0), ""));
}

#[test]
fn the_replicas_have_the_packaged_guards_and_one_database() {
    let rest = |path: &str| text(path).split_once("\n[log]\n").unwrap().1.to_owned();
    let replicas = "deploy/systemd/replicas/teardownd.toml";
    assert_eq!(rest(replicas), rest("config/packaged.toml"));

    // The variable holds the URL of the file, and the password beside it.
    let file = text(replicas);
    let url = file.lines().find_map(|line| line.strip_prefix("url = ")).unwrap();
    let variables = text("deploy/systemd/replicas/database.env");
    let variables = settings(&variables);
    assert_eq!(variables.len(), 1, "{variables:?}");
    let secret = variables["TEARDOWND__DATABASE__URL"].trim_matches('\'');
    assert_eq!(secret.replace(":PASSWORD@", "@"), url.trim_matches('"'));
    assert!(secret.contains(":PASSWORD@") && secret.contains("?sslmode=verify-full&"), "{secret}");
    assert_eq!(settings(&text(REPLICA))["EnvironmentFile"], "/etc/teardownd/database.env");
}
