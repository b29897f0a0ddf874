use std::path::Path;

use super::load::layered;
use super::*;
use crate::partner_center::credentials::{Algorithm, Certificate, CredentialKind, TokenEndpoint};
use crate::runtime::discovery::DiscoverySettings;

const ACCOUNT: &str = r#"
[accounts.Lab]
sandbox = true
partner_tenant = "aaaaaaaa-0000-4000-8000-000000000001"
client_id = "aaaaaaaa-0000-4000-8000-000000000002"
credential = { kind = "client_secret", env = "LAB_SECRET" }
"#;

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    layered(Some(text), "test.toml", Path::new("/base"), &variables)
}

fn read(text: &str) -> Result<Config, ConfigError> {
    read_with(text, &[])
}

fn problems(text: &str) -> Vec<Problem> {
    read(text).unwrap_err().problems
}

fn lab(config: &Config) -> &AccountConfig {
    config.account(&AccountName::new("lab")).unwrap()
}

#[test]
fn further_answers_are_classified_by_status_and_code() {
    let text = "[codes]\n\"409/123456\" = \"wait\"\n\"404/77\" = \"gone\"\n";
    let config = read(text).unwrap();
    let codes: Vec<_> = config
        .engine
        .policy
        .codes
        .iter()
        .map(|(s, c, class)| (s, c.to_owned(), class.word()))
        .collect();
    assert_eq!(codes, [(404, "77".to_owned(), "gone"), (409, "123456".to_owned(), "wait")]);
    for (entry, words) in [
        ("\"409/123456\" = \"perhaps\"", "wait"),
        ("\"409\" = \"wait\"", "status and code"),
        ("\"x/1\" = \"wait\"", "status and code"),
        ("\"409/a b\" = \"wait\"", "status and code"),
        ("\"403/800019\" = \"wait\"", "safety stop"),
        ("\"400/800019\" = \"safety_stop\"", "safety stop"),
        ("\"401/6002\" = \"retry\"", "safety stop"),
        ("\"503/1\" = \"done\"", "4xx"),
        ("\"429/1\" = \"done\"", "4xx"),
    ] {
        let text = format!("[codes]\n{entry}\n");
        let error = read(&text).unwrap_err();
        assert!(error.to_string().contains(words), "{entry}: {error}");
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let text = format!("[engine]\nmax_in_flight = 8\nlease_ttl = \"30s\"\n{ACCOUNT}");
    let config = read_with(
        &text,
        &[
            ("TEARDOWND__ENGINE__MAX_IN_FLIGHT", "32"),
            ("TEARDOWND__SAFETY__ALLOW_DOMAINS", "*.example, lab.test"),
            ("TEARDOWND__ACCOUNTS__LAB__CLIENT_ID", "aaaaaaaa-0000-4000-8000-000000000009"),
            ("TEARDOWND_EXAMPLES_DIR", "left alone"),
        ],
    )
    .unwrap();
    assert_eq!(config.engine.max_in_flight, 32);
    assert_eq!(config.engine.lease_ttl, Duration::from_secs(30));
    assert_eq!(config.engine.drain_timeout, Duration::from_secs(25));
    assert_eq!(config.safety.allow_domains.len(), 2);
    assert!(lab(&config).client_id.to_string().ends_with('9'));
}

#[test]
fn every_unknown_key_is_named_with_its_place_and_its_neighbour() {
    let text = format!(
        "[engin]\nmax_in_flight = 8\n[polling]\ninital = \"2s\"\n{ACCOUNT}secret = \"hush\"\n"
    );
    let error = read_with(&text, &[("TEARDOWND__LOG__FORMATT", "json")]).unwrap_err();
    let found: Vec<_> = error
        .problems
        .iter()
        .map(|p| (p.key.as_str(), p.place.as_str(), p.remedy.rsplit(' ').next().unwrap()))
        .collect();
    assert_eq!(found.len(), 4, "{error}");
    assert_eq!(found[0].0, "accounts.lab.secret");
    assert_eq!(found[1], ("engin.max_in_flight", "test.toml", "engine.max_in_flight"));
    assert_eq!(
        found[2],
        ("log.formatt", "environment variable TEARDOWND__LOG__FORMATT", "log.format")
    );
    assert_eq!(found[3], ("polling.inital", "test.toml", "polling.initial"));
    assert!(!error.to_string().contains("hush"), "invariant_13: {error}");
}

#[test]
fn a_misspelt_account_section_finds_its_neighbour() {
    let found = problems("[account.lab]\nclient_id = \"x\"\n");
    assert_eq!(found[0].key, "account.lab.client_id");
    assert!(found[0].remedy.ends_with("accounts.NAME.client_id"), "{}", found[0]);
}

#[test]
fn every_wrong_value_is_named_with_what_is_expected() {
    let cases = [
        ("database.url", "[database]\nurl = \"postgres://u:hush@h\"", "name of a database"),
        ("database.url", "[database]\nurl = \"sqlite::memory:\"", "sqlite:PATH"),
        ("database.migrate", "[database]\nmigrate = \"maybe\"", "\"auto\" or \"manual\""),
        ("database.min_free", "[database]\nmin_free = 5", "256MB"),
        ("metrics.listen", "[metrics]\nlisten = \"localhost\"", "127.0.0.1:9464"),
        ("log.filter", "[log]\nfilter = \"a=b=c\"", "warn,teardownd=debug"),
        ("scheduler.pickup", "[scheduler]\npickup = \"hourly\"", "cron"),
        ("engine.lease_ttl", "[engine]\nlease_ttl = 60", "90s"),
        ("engine.max_in_flight", "[engine]\nmax_in_flight = 0", "1 to 10000"),
        ("polling.initial", "[polling]\ninitial = \"2m\"", "lower initial"),
        ("retry.max_attempts", "[retry]\nmax_attempts = -1", "0 or more"),
        ("safety.allow_domains", "[safety]\nallow_domains = [\"a*b\"]", "*.onmicrosoft.com"),
        ("safety.windows", "[safety]\nwindows = [5]", "Mon-Fri 19:00-06:00"),
        ("safety.hold_batch_over", "[safety]\nhold_batch_over = 1.5", "from 0 to 1"),
        ("safety.hold_batch_over", "[safety]\nhold_batch_over = \"50%\"", "from 0 to 1"),
        ("log", "log = 5", "keys of its own"),
    ];
    for (key, text, expected) in cases {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].key, key, "{text}");
        assert!(found[0].remedy.contains(expected), "{}", found[0]);
        assert!(!found[0].to_string().contains("hush"), "invariant_13: {}", found[0]);
    }
}

#[test]
fn every_guard_reaches_the_policy_of_its_account() {
    let keys = "windows = [\"Mon-Fri 19:00-06:00 Europe/Amsterdam\", \"Sat 00:00-24:00 UTC\"]
        require_arming = true
        require_approval = true
        approve_by_other = true
        hold_batch_over = 0.5
        dry_run = true\n";
    for text in
        [format!("[safety]\n{keys}{ACCOUNT}"), format!("{ACCOUNT}[accounts.Lab.safety]\n{keys}")]
    {
        let config = read(&text).unwrap();
        let policy = &lab(&config).policy;
        let shown: Vec<_> = policy.windows.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["Mon-Fri 19:00-06:00 Europe/Amsterdam", "Sat 00:00-24:00 UTC"]);
        assert!(policy.require_arming && policy.require_approval && policy.approve_by_other);
        assert!(policy.dry_run && policy.hold_batch_over.to_string() == "0.5");
        assert_eq!(policy.cloud, "global");
        assert!(policy.client_id.to_string().ends_with("0002"));
    }
    // dry_run can be on for one account alone, and off for one alone.
    let text =
        format!("[safety]\ndry_run = true\n{ACCOUNT}[accounts.Lab.safety]\ndry_run = false\n");
    assert!(!lab(&read(&text).unwrap()).policy.dry_run);
}

#[test]
fn a_configuration_is_read_again_from_its_values() {
    let account = format!(
        "{ACCOUNT}discovery = {{ schedule = \"0 0 3 * * *\", allow_domains = [\"*.lab.example\"], \
         exclude = [\"1f2e3d4c-5b6a-4788-9900-aabbccddeeff\"] }}\n"
    );
    for text in [
        String::new(),
        ACCOUNT.to_owned(),
        format!(
            "[database]\nurl = \"sqlite:a 'b' \\\"c\\\".db\"\nmin_free = \"1500MB\"\n\
             [engine]\ndeadline = \"1d 3h 7s\"\n[retention]\nfinished = \"90d\"\n\
             [safety]\nprotected_tenants = [\"1f2e3d4c-5b6a-4788-9900-aabbccddeeff\"]\n\
             hold_batch_over = 0.333\nallow_domains = [\"*.lab.example\"]\ngrace = \"90s\"\n\
             windows = [\"Mon-Fri 19:00-06:00 Europe/Amsterdam\"]\n{account}\
             [accounts.Lab.safety]\ndry_run = true\nprotected_domains = [\"prod.example\"]\n"
        ),
    ] {
        let config = read(&text).unwrap();
        let again = of_values(&config.values).unwrap();
        assert_eq!(again.values, config.values);
        let policies = |config: &Config| {
            let accounts = config.accounts.values();
            accounts.map(|account| account.policy.clone()).collect::<Vec<_>>()
        };
        assert_eq!(policies(&again), policies(&config));
        assert_eq!((again.engine, again.safety), (config.engine, config.safety));
    }
}

#[test]
fn the_part_of_a_window_that_is_wrong_is_named() {
    for (window, named, expected) in [
        ("Mon-Fry 19:00-06:00 UTC", "\"Mon-Fry\" in \"Mon-Fry 19:00-06:00 UTC\"", "Mon-Fri"),
        ("Mon 19-06 UTC", "\"19-06\" in", "19:00-06:00"),
        ("Mon 19:00-06:00 Europe/Atlantis", "\"Europe/Atlantis\" in", "IANA"),
        ("always", "\"always\" does not fit", "Mon-Fri 19:00-06:00 Europe/Amsterdam"),
    ] {
        let found = problems(&format!("[safety]\nwindows = [{window:?}]\n"));
        assert_eq!((found.len(), found[0].key.as_str()), (1, "safety.windows"));
        assert!(found[0].text.contains(named), "{}", found[0]);
        assert!(found[0].remedy.contains(expected), "{}", found[0]);
    }
}

#[test]
fn discovery_is_off_without_a_schedule_and_needs_domains_with_one() {
    let with = |keys: &str| format!("{ACCOUNT}discovery = {{ {keys} }}\n");
    let off = with("allow_domains = [\"*.lab.example\"], exclude = [\"keep.lab.example\"]");
    assert_eq!(lab(&read(&off).unwrap()).discovery, None);
    assert_eq!(lab(&read(&off).unwrap()).discovery_exclude.len(), 1, "for `discover`");
    let found = problems(&with("schedule = \"0 0 3 * * *\""));
    assert_eq!(found[0].key, "accounts.lab.discovery.allow_domains");
    for (key, value) in [("schedule", "\"often\""), ("max_per_run", "0"), ("exclude", "[\"prod\"]")]
    {
        let found = problems(&with(&format!("{key} = {value}")));
        assert_eq!(found[0].key, format!("accounts.lab.discovery.{key}"));
    }
    let on = with(
        "schedule = \"0 0 3 * * *\", allow_domains = [\"*.lab.example\"], \
         exclude = [\"*.keep.lab.example\", \"1f2e3d4c-5b6a-4788-9900-aabbccddeeff\"]",
    );
    let config = read(&on).unwrap();
    let discovery = lab(&config).discovery.as_ref().unwrap();
    assert_eq!(discovery.schedule.to_string(), "0 0 3 * * *");
    let DiscoverySettings { rules, max_per_run } = &discovery.settings;
    assert_eq!((rules.exclude.len(), *max_per_run), (2, 10));
    assert_eq!(rules.min_age, Some(Duration::from_secs(7 * 24 * 3600)));
}

#[test]
fn invariant_2_one_partner_is_one_account() {
    let other = ACCOUNT.replace("[accounts.Lab]", "[accounts.alab]");
    let found = problems(&format!("{ACCOUNT}{other}"));
    let [problem] = &found[..] else { panic!("{found:?}") };
    assert_eq!(problem.key, "accounts.lab.partner_tenant");
    assert!(problem.text.contains("accounts.alab"), "{problem:?}");
    assert!(problem.remedy.contains("keep one of the two"), "{problem:?}");
    // The same id in another cloud is another partner.
    let elsewhere = format!("{other}cloud = \"china\"\n");
    assert_eq!(read(&format!("{ACCOUNT}{elsewhere}")).unwrap().accounts.len(), 2);
}

#[test]
fn an_account_must_state_what_has_no_default() {
    let found = problems("[accounts.lab]\ncloud = \"global\"\n");
    let keys: Vec<_> = found.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "accounts.lab.client_id",
            "accounts.lab.credential.kind",
            "accounts.lab.partner_tenant",
            "accounts.lab.sandbox",
        ]
    );
}

/// An account with this table as its credential.
fn with_credential(table: &str) -> String {
    ACCOUNT.replace("{ kind = \"client_secret\", env = \"LAB_SECRET\" }", table)
}

fn credential(table: &str) -> Credential {
    lab(&read(&with_credential(table)).unwrap()).credential.clone()
}

#[test]
fn every_kind_of_credential_is_read_with_its_files_beside_the_configuration() {
    let table = r#"{ kind = "certificate", certificate_file = "c.pem", key_file = "/k.pem" }"#;
    let pair = Certificate {
        certificate_file: "/base/c.pem".into(),
        key_file: "/k.pem".into(),
        algorithm: Algorithm::Ps256,
    };
    assert_eq!(credential(table).kind, CredentialKind::Certificate(pair.clone()));
    let table = table.replace(" }", ", algorithm = \"rs256\", expires = \"2027-01-31\" }");
    let rs256 = Certificate { algorithm: Algorithm::Rs256, ..pair };
    assert_eq!(credential(&table).kind, CredentialKind::Certificate(rs256));
    assert_eq!(credential(&table).expires.unwrap().to_string(), "2027-01-31");

    let table = r#"{ kind = "workload_identity", token_file = "t", endpoint = "v1" }"#;
    assert_eq!(
        credential(table),
        Credential {
            kind: CredentialKind::WorkloadIdentity { token_file: "/base/t".into() },
            endpoint: TokenEndpoint::V1,
            expires: None,
        }
    );
    let table = r#"{ kind = "refresh_token", refresh_token_file = "r", env = "LAB_SECRET" }"#;
    let expected = CredentialKind::RefreshToken {
        refresh_token_file: "/base/r".into(),
        client_secret: SecretSource::Variable("LAB_SECRET".to_owned()),
    };
    assert_eq!(credential(table).kind, expected);
    assert_eq!(credential(table).endpoint, TokenEndpoint::V2);
}

#[test]
fn what_is_missing_from_a_credential_or_belongs_to_another_kind_is_named() {
    for (table, expected) in [
        (r#"{ kind = "password" }"#, vec![("kind", "is no kind of credential")]),
        (
            r#"{ kind = "certificate", file = "f" }"#,
            vec![
                ("certificate_file", "must be stated"),
                ("file", "does not belong to kind = \"certificate\""),
                ("key_file", "must be stated"),
            ],
        ),
        (
            r#"{ kind = "workload_identity", expires = "2027-01-31" }"#,
            vec![("expires", "does not belong"), ("token_file", "must be stated")],
        ),
        (
            r#"{ kind = "refresh_token" }"#,
            vec![("file", "exactly one place"), ("refresh_token_file", "must be stated")],
        ),
        (
            r#"{ kind = "client_secret", file = "f", token_file = "t" }"#,
            vec![("token_file", "which takes file, env, expires")],
        ),
        (
            r#"{ kind = "client_secret", file = "f", endpoint = "v3" }"#,
            vec![("endpoint", "does not fit")],
        ),
        (
            r#"{ kind = "certificate", certificate_file = "c", key_file = "k", algorithm = "none" }"#,
            vec![("algorithm", "does not fit")],
        ),
    ] {
        let found = problems(&with_credential(table));
        let keys: Vec<_> = found.iter().map(|p| p.key.as_str()).collect();
        let wanted: Vec<_> =
            expected.iter().map(|(key, _)| format!("accounts.lab.credential.{key}")).collect();
        assert_eq!(keys, wanted, "{table}");
        for (problem, (_, words)) in found.iter().zip(expected) {
            assert!(problem.text.contains(words), "{problem}");
            assert!(!problem.remedy.is_empty(), "{problem}");
        }
    }
}

#[test]
fn a_secret_stands_in_exactly_one_place_and_is_never_shown() {
    let both = ACCOUNT.replace("env = ", "file = \"f\", env = ");
    assert!(problems(&both)[0].text.contains("exactly one place"));
    let pasted = problems(&ACCOUNT.replace("LAB_SECRET", "Kx8~hush"));
    assert!(!format!("{pasted:?}").contains("hush"), "invariant_13: {pasted:?}");
    let bare = ACCOUNT.replace("{ kind = \"client_secret\", env = \"LAB_SECRET\" }", "\"hush\"");
    let bare = problems(&bare);
    assert!(!format!("{bare:?}").contains("hush"), "invariant_13: {bare:?}");
}

#[test]
fn plain_http_is_for_loopback_alone() {
    for good in
        ["https://api.example/x", "http://127.0.0.1:8080", "http://[::1]:1/", "http://localhost:1"]
    {
        let config = read(&format!("{ACCOUNT}api_base = \"{good}\"\n")).unwrap();
        assert_eq!(
            lab(&config).api_base.as_str().trim_end_matches('/'),
            good.trim_end_matches('/')
        );
    }
    for bad in
        ["http://api.example", "http://127.0.0.1.example", "ftp://127.0.0.1", "https://u:p@h/"]
    {
        let found = problems(&format!("{ACCOUNT}api_base = \"{bad}\"\n"));
        assert_eq!(found[0].key, "accounts.lab.api_base", "{bad}");
    }
}

#[test]
fn the_budget_of_the_api_holds_but_for_a_simulator() {
    let text = format!("{ACCOUNT}requests_per_minute = 5000\n");
    assert_eq!(problems(&text)[0].key, "accounts.lab.requests_per_minute");
    assert!(read(&format!("{text}api_base = \"http://127.0.0.1:1\"\n")).is_ok());
}

#[test]
fn invariant_1_an_account_adds_to_the_protected_lists_and_overrides_the_rest() {
    let config = read(&format!(
        "{ACCOUNT}[accounts.Lab.safety]\nprotected_domains = [\"own.example\"]\ngrace = \"5m\"\n\
         allow_domains = [\"*.lab.example\"]\n\
         [safety]\nprotected_domains = [\"all.example\"]\nallow_domains = [\"*.example\"]\n\
         dry_run = true\n"
    ))
    .unwrap();
    let policy = &lab(&config).policy;
    assert!(policy.sandbox && policy.dry_run);
    assert_eq!(policy.grace, Duration::from_secs(300));
    assert_eq!(policy.protected_domains.len(), 2);
    assert_eq!(policy.allow_domains.len(), 1);
    assert_eq!(policy.max_deletions_per_hour, 75);
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let text = ACCOUNT.replace("env = \"LAB_SECRET\"", "file = \"secrets/lab\"");
    let config = read(&text).unwrap();
    assert_eq!(config.database.place.file(), Some(Path::new("/base/teardownd.db")));
    let source = SecretSource::File("/base/secrets/lab".into());
    assert_eq!(lab(&config).credential, Credential::client_secret(source));
    let absolute = read("[database]\nurl = \"sqlite:///var/t.db\"\n").unwrap();
    assert_eq!(absolute.database.place.file(), Some(Path::new("/var/t.db")));
}

#[test]
fn a_variable_can_take_back_what_the_file_says() {
    let text = ACCOUNT.replace("env = \"LAB_SECRET\"", "file = \"f\"");
    let config = read_with(
        &text,
        &[
            ("TEARDOWND__ACCOUNTS__LAB__CREDENTIAL__FILE", ""),
            ("TEARDOWND__ACCOUNTS__LAB__CREDENTIAL__ENV", "OTHER"),
        ],
    )
    .unwrap();
    let source = SecretSource::Variable("OTHER".to_owned());
    assert_eq!(lab(&config).credential, Credential::client_secret(source));
}

#[test]
fn broken_toml_names_file_and_line() {
    let error = read("[engine]\nmax_in_flight = = 3\n").unwrap_err().to_string();
    assert!(error.contains("test.toml") && error.contains("line 2"), "{error}");
    let twice = read(&format!("{ACCOUNT}{}", ACCOUNT.replace("Lab", "lab"))).unwrap_err();
    assert!(twice.to_string().contains("accounts.lab stands there twice"), "{twice}");
}

#[test]
fn credentials_are_looked_for_where_the_service_manager_has_put_them() {
    let text = ACCOUNT.replace("env = \"LAB_SECRET\"", "file = \"${CREDENTIALS_DIRECTORY}/lab\"");
    let given = |variables: &[(&str, &str)]| {
        let config = read_with(&text, variables).unwrap();
        lab(&config).credential.clone()
    };
    let source = |path: &str| Credential::client_secret(SecretSource::File(path.into()));
    let inside = given(&[("CREDENTIALS_DIRECTORY", "/run/credentials/teardownd.service")]);
    assert_eq!(inside, source("/run/credentials/teardownd.service/lab"));
    // Commands that need no secret work outside the unit, too.
    assert_eq!(given(&[]), source("${CREDENTIALS_DIRECTORY}/lab"));
    assert_eq!(given(&[("CREDENTIALS_DIRECTORY", "")]), source("${CREDENTIALS_DIRECTORY}/lab"));

    for path in ["${HOME}/lab", "${CREDENTIALS_DIRECTORY}lab", "x/${CREDENTIALS_DIRECTORY}/lab"] {
        let found = problems(&text.replace("${CREDENTIALS_DIRECTORY}/lab", path));
        assert_eq!(found[0].key, "accounts.lab.credential.file", "{path}");
        assert!(found[0].remedy.contains("only ${CREDENTIALS_DIRECTORY}/"), "{found:?}");
    }
}

#[tokio::test]
async fn a_credential_that_is_not_handed_over_is_told_with_the_remedy() {
    let text = ACCOUNT.replace("env = \"LAB_SECRET\"", "file = \"${CREDENTIALS_DIRECTORY}/lab\"");
    let error = read(&text).unwrap().check_secrets().await.unwrap_err().to_string();
    assert!(error.contains("CREDENTIALS_DIRECTORY is not set"), "{error}");
    assert!(error.contains("LoadCredential="), "{error}");
}

#[test]
fn a_renewed_token_is_not_kept_where_nothing_can_be_written() {
    let token = "{ kind = \"refresh_token\", file = \"${CREDENTIALS_DIRECTORY}/s\", \
                 refresh_token_file = \"${CREDENTIALS_DIRECTORY}/r\" }";
    let text = ACCOUNT.replace("{ kind = \"client_secret\", env = \"LAB_SECRET\" }", token);
    let folder = [("CREDENTIALS_DIRECTORY", "/run/credentials/unit")];
    for error in [read(&text).unwrap_err(), read_with(&text, &folder).unwrap_err()] {
        assert_eq!(error.problems.len(), 1, "{error}");
        assert_eq!(error.problems[0].key, "accounts.lab.credential.refresh_token_file");
    }
}
