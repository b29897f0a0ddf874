//! The command lines of other programs. They do not run here, but what they name must be there.

use crate::page::{arguments, pages, root, words};

/// Programs whose arguments name nothing of this repository.
const PLAIN: [&str; 24] = [
    ".",
    "${EDITOR:-nano}",
    "apt-get",
    "cargo",
    "chmod",
    "chown",
    "df",
    "dmesg",
    "export",
    "fuser",
    "litestream",
    "ls",
    "mkdir",
    "openssl",
    "pg_isready",
    "rm",
    "scripts/test",
    "sed",
    "set",
    "sha256sum",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "timedatectl",
    "usermod",
];
/// The package puts what stands there among its examples.
const REPLICAS: &str = "deploy/systemd/replicas";
const VERBS: [&str; 9] =
    ["daemon-reload", "disable", "edit", "enable", "reload", "restart", "start", "status", "stop"];

#[test]
fn what_other_programs_are_told_about_exists() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for page in pages() {
        let spans = page.spans().filter(|span| span.contains(' ') && is_strict(span));
        for line in page.shell_lines().into_iter().chain(spans) {
            checked += usize::from(is_strict(&line));
            if let Err(why) = check(&line) {
                wrong.push(format!("{}: {line}: {why}", page.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked >= 30, "only {checked} were found");
}

#[test]
fn a_line_that_names_what_does_not_exist_is_seen() {
    for line in [
        "systemctl start teardown",
        "systemctl begin teardownd",
        "journalctl -u teardown",
        "kubectl -n default get pods",
        "kubectl -n teardownd exec teardownd-3 -- /usr/bin/teardownd list",
        "kubectl -n teardownd delete statefulset teardown",
        "kubectl apply -k deploy/kubernetes/examples",
        "kubectl -n teardownd rollout status deployment/teardownd",
        "docker build -f deploy/Containerfile -t teardownd:0.1.0 .",
        "docker run --rm teardownd:9.9.9 demo",
        "install -D -m 0644 config/package.toml /etc/teardownd/teardownd.toml",
        "install -m 0600 /usr/share/doc/teardownd/examples/replicas/database.toml /etc/teardownd/database.env",
        "curl -s http://127.0.0.1:9464/ready",
        "nobody knows this",
    ] {
        assert!(check(line).is_err(), "{line}");
    }
}

fn is_strict(line: &str) -> bool {
    let strict = ["systemctl ", "journalctl ", "kubectl ", "docker ", "install ", "curl "];
    strict.iter().any(|program| line.starts_with(program))
}

fn check(line: &str) -> Result<(), String> {
    let words = words(line);
    let all: Vec<&str> = words.iter().map(String::as_str).collect();
    match all[..] {
        ["systemctl", verb, ref units @ ..] => {
            one_of(verb, &VERBS)?;
            units.iter().try_for_each(|unit| one_of(unit, &["teardownd", "litestream"]))
        }
        ["journalctl", "-u", unit, ..] => one_of(unit, &["teardownd"]),
        ["kubectl", "-n", namespace, ref rest @ ..] => {
            one_of(namespace, &["teardownd"])?;
            kubectl(rest)
        }
        ["kubectl", ref rest @ ..] => kubectl(rest),
        ["docker", "build", "-f", file, "-t", tag, "."] => {
            exists(file)?;
            image(tag)
        }
        ["docker", "exec", "teardownd", "/usr/bin/teardownd", ..] => Ok(()),
        ["docker", "run", ref rest @ ..] => {
            let is_volume = |word: &str| word.contains('/');
            let named = rest.iter().find(|w| w.starts_with("teardownd:") && !is_volume(w));
            image(named.ok_or("no image")?)
        }
        // Makes folders, and copies nothing.
        ["install", "-d", ..] => Ok(()),
        ["install", .., source, _] => one_of(source, &["/dev/null"]).or_else(|_| {
            let packaged = source.strip_prefix("/usr/share/doc/teardownd/examples/replicas/");
            exists(&packaged.map_or(source.to_owned(), |file| format!("{REPLICAS}/{file}")))
        }),
        ["curl", .., url] => {
            let served = ["healthz", "readyz", "metrics"];
            one_of(url.strip_prefix("http://127.0.0.1:9464/").unwrap_or(url), &served)
        }
        // These are parsed as a whole elsewhere.
        [_, ..] if arguments(line).is_some() => Ok(()),
        [program, ..] => one_of(program, &PLAIN),
        [] => Ok(()),
    }
}

fn kubectl(words: &[&str]) -> Result<(), String> {
    match words {
        ["kustomize", folder] | ["apply" | "delete", "-k", folder] => {
            exists(&format!("{folder}/kustomization.yaml"))
        }
        ["delete", "-k"] => Ok(()),
        ["rollout", "status" | "restart", set] => one_of(set, &["statefulset/teardownd"]),
        ["exec", pod, "--", "/usr/bin/teardownd", ..] | ["describe", "pod", pod] => {
            one_of(pod, &["teardownd-0", "teardownd-1", "teardownd-2"])
        }
        ["delete", "statefulset", set] => one_of(set, &["teardownd"]),
        ["get", "pods", ..] | ["taint", "nodes", "NODE", ..] => Ok(()),
        _ => Err("no such command is known here".to_owned()),
    }
}

fn image(tag: &str) -> Result<(), String> {
    one_of(tag, &[concat!("teardownd:", env!("CARGO_PKG_VERSION"))])
}

fn one_of(word: &str, known: &[&str]) -> Result<(), String> {
    known.contains(&word).then_some(()).ok_or(format!("{word} is none of {known:?}"))
}

fn exists(path: &str) -> Result<(), String> {
    root().join(path).exists().then_some(()).ok_or(format!("there is no {path}"))
}

#[test]
fn the_names_are_those_of_the_files() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let set = read("deploy/kubernetes/base/stateful-set.yaml");
    assert!(set.contains("kind: StatefulSet\n") && set.contains("\n  name: teardownd\n"));
    assert!(read("deploy/kubernetes/base/namespace.yaml").contains("\n  name: teardownd\n"));
    assert!(root().join("deploy/systemd/teardownd.service").exists());
    assert!(
        read("deploy/kubernetes/replicas/kustomization.yaml").contains("\n        replicas: 3\n")
    );
    assert!(
        read("Cargo.toml").contains(&format!(
            "[\"{REPLICAS}/*\", \"usr/share/doc/teardownd/examples/replicas/\""
        ))
    );
}
