//! Where the configuration comes from, and every key with its default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{FileFormat, Map, Source, Value, ValueKind};

use super::account::{Safety, read_account, read_safety};
use super::error::ConfigError;
use super::section::{Key, Section};
use super::value::{AnswerClass, Bytes, LogFormat, Migrate, Rejected, Setting, schedule};
use super::{Config, Database, Log, Metrics};
use crate::core::ids::AccountName;
use crate::core::policy::Policy;
use crate::core::settlement::{Codes, may_be_told};
use crate::runtime::settings::EngineSettings;
use crate::store::{InvalidUrl, Place, ServerUrl};

/// The file that is read, if it exists, when none is named.
pub const DEFAULT_FILE: &str = "/etc/teardownd/teardownd.toml";

const PREFIX: &str = "TEARDOWND__";
const DATABASE_URL: &str = "TEARDOWND__DATABASE__URL";
const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// What is laid over the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file to read.
    pub file: Option<PathBuf>,
    /// The environment. Of it `TEARDOWND__…` and `CREDENTIALS_DIRECTORY` are read.
    pub variables: Vec<(OsString, OsString)>,
}

impl Sources {
    /// The file that was named, else the default one if it exists; and this process's environment.
    pub fn of_process(named: Option<&Path>) -> Self {
        let default = Path::new(DEFAULT_FILE);
        let file = named.or_else(|| default.exists().then_some(default)).map(Path::to_owned);
        Self { file, variables: std::env::vars_os().collect() }
    }
}

/// Reads and checks the configuration.
///
/// # Errors
/// Everything that is wrong with it, each with key, place and remedy.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let unusable = |path: &Path, error: std::io::Error| {
        ConfigError::of_file(
            path.display(),
            format!("the configuration file cannot be read: {error}"),
            "name another one with --config or TEARDOWND_CONFIG",
        )
    };
    let Some(path) = &sources.file else {
        let base = std::env::current_dir().map_err(|error| unusable(Path::new("."), error))?;
        return layered(None, "built-in defaults", &base, &sources.variables);
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(path, error))?;
    let full = std::path::absolute(path).map_err(|error| unusable(path, error))?;
    let base = full.parent().unwrap_or(Path::new("/")).to_owned();
    let mut config = layered(Some(&text), &path.display().to_string(), &base, &sources.variables)?;
    let is_in_the_file = sources.variables.iter().all(|(name, _)| name != DATABASE_URL);
    if is_in_the_file && config.database.has_password() && may_be_read_by_others(path) {
        return Err(ConfigError::of_file(
            path.display(),
            "database.url holds a password, and every user of this machine can read the file",
            "`chmod 640` the file, or give the URL in the variable TEARDOWND__DATABASE__URL",
        ));
    }
    config.file = Some(full);
    Ok(config)
}

/// Whether users who neither own the file nor belong to its group may read it.
fn may_be_read_by_others(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

/// The configuration of which these are the [`values`](Config::values). Paths in it stay as they were given.
///
/// # Errors
/// When another version of the program has written them.
pub fn of_values(values: &BTreeMap<String, String>) -> Result<Config, ConfigError> {
    let text: String = values.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    layered(Some(&text), "the configuration in force", Path::new(""), &[])
}

/// Lays `variables` over the TOML `text` and reads the result.
pub(super) fn layered(
    text: Option<&str>,
    place: &str,
    base: &Path,
    variables: &[(OsString, OsString)],
) -> Result<Config, ConfigError> {
    let failed = |error: config::ConfigError| {
        ConfigError::of_file(place, error.to_string(), "correct the file")
    };
    let merged = config::Config::builder()
        .add_source(Toml(text.unwrap_or_default().to_owned()))
        .add_source(Variables(variables.to_vec()))
        .build()
        .map_err(failed)?;
    let values = match merged.cache.kind {
        ValueKind::Table(table) => table.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    let credentials = variables
        .iter()
        .find(|(name, value)| name == "CREDENTIALS_DIRECTORY" && !value.is_empty())
        .map(|(_, folder)| PathBuf::from(folder));
    let mut root = Section::root(values, place.to_owned()).credentials_in(credentials);
    let config = read(&mut root, base);
    // A misspelt account finds its neighbour also where no account is stated.
    root.learn(account_keys());
    let mut book = root.finish();
    let values = std::mem::take(&mut book.values);
    let problems = book.close();
    match config {
        Some(config) if problems.is_empty() => Ok(Config { values, ..config }),
        _ => Err(ConfigError { problems }),
    }
}

/// The file. Account names are folded, so that a variable can reach each of them.
#[derive(Debug, Clone)]
struct Toml(String);

impl Source for Toml {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let mut tables = config::File::from_str(&self.0, FileFormat::Toml).collect()?;
        if let Some(Value { kind: ValueKind::Table(accounts), .. }) = tables.get_mut("accounts") {
            let mut folded = Map::new();
            for (name, account) in accounts.drain() {
                let lower = name.to_lowercase();
                if folded.insert(lower.clone(), account).is_some() {
                    return Err(config::ConfigError::Message(format!(
                        "accounts.{lower} stands there twice: letter case does not tell accounts apart"
                    )));
                }
            }
            *accounts = folded;
        }
        Ok(tables)
    }
}

/// `TEARDOWND__SECTION__KEY`, each value with the variable it came from.
#[derive(Debug, Clone)]
struct Variables(Vec<(OsString, OsString)>);

impl Source for Variables {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let mut values = Map::new();
        for (name, value) in &self.0 {
            let name = name.to_string_lossy();
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let Some(value) = value.to_str() else {
                return Err(config::ConfigError::Message(format!(
                    "environment variable {name} is not UTF-8"
                )));
            };
            let place = format!("environment variable {name}");
            values.insert(key.to_lowercase().replace("__", "."), Value::new(Some(&place), value));
        }
        Ok(values)
    }
}

/// Every key with its default. `None` only where a default itself cannot be read.
fn read(root: &mut Section, base: &Path) -> Option<Config> {
    let database = root.within("database", |section| read_database(section, base));
    let metrics = root.within("metrics", |section| Metrics {
        listen: section.take("listen", ([127, 0, 0, 1], 9464).into()),
    });
    let log = root.within("log", |section| Log {
        format: section.take("format", LogFormat::Text),
        filter: section.take_if(
            "filter",
            "info".to_owned(),
            |filter: &String| filter.parse::<tracing_subscriber::EnvFilter>().is_ok(),
            "log directives such as \"info\" or \"warn,teardownd=debug\"",
        ),
    });
    let pickup = schedule("*/2 * * * * *")?;
    let maintenance = schedule("0 30 3 * * *")?;
    let (pickup, maintenance) = root.within("scheduler", |section| {
        (section.take("pickup", pickup), section.take("maintenance", maintenance))
    });
    let engine = root.within("engine", read_engine);
    let (polling_initial, polling_max, reissue_after) = root.within("polling", |section| {
        let (initial, max) = read_backoff(section, 2, MINUTE);
        let reissue_after = section.take_if(
            "reissue_after",
            Duration::from_secs(20 * MINUTE),
            |after: &Duration| !after.is_zero(),
            POSITIVE,
        );
        (initial, max, reissue_after)
    });
    let (retry_initial, retry_max, max_attempts) = root.within("retry", |section| {
        let (initial, max) = read_backoff(section, 1, 5 * MINUTE);
        let max_attempts =
            section.take_if("max_attempts", 20, |attempts| *attempts > 0, "a number of 1 or more");
        (initial, max, max_attempts)
    });
    let safety = root.within("safety", |section| read_safety(section, &Safety::builtin()));
    let codes = root.within("codes", read_codes);
    let (keep_finished, keep_history) = root.within("retention", |section| {
        let finished = section.take("finished", Duration::from_secs(90 * DAY));
        (finished, section.take("history", Duration::from_secs(400 * DAY)))
    });
    let mut accounts = root.within("accounts", |section| read_accounts(section, &safety, base));
    for account in accounts.values_mut() {
        account.codes = codes.clone();
    }
    let Engine { replica, max_in_flight, lease_ttl, drain_timeout, deadline, stuck_after } = engine;
    let policy = Policy {
        deadline,
        polling_initial,
        polling_max,
        reissue_after,
        retry_initial,
        retry_max,
        max_attempts,
        codes,
    };
    let engine = EngineSettings {
        max_in_flight,
        lease_ttl,
        drain_timeout,
        policy,
        keep_finished,
        keep_history,
        maintenance,
    };
    Some(Config {
        file: None,
        database,
        metrics,
        log,
        pickup,
        replica,
        stuck_after,
        engine,
        safety,
        accounts,
        values: BTreeMap::new(),
    })
}

const POSITIVE: &str = "a duration above zero, such as \"90s\"";

fn read_database(section: &mut Section, base: &Path) -> Database {
    let default = DatabaseUrl(Place::File("teardownd.db".into()));
    let DatabaseUrl(place) = section.take("url", default);
    let place = match place {
        Place::File(path) => Place::File(base.join(path)),
        server => server,
    };
    Database {
        place,
        migrate: section.take("migrate", Migrate::Auto),
        min_free: section.take("min_free", Bytes(256_000_000)),
    }
}

/// The keys of `[engine]`.
struct Engine {
    replica: String,
    max_in_flight: usize,
    lease_ttl: Duration,
    drain_timeout: Duration,
    deadline: Duration,
    stuck_after: Duration,
}

fn read_engine(section: &mut Section) -> Engine {
    let mut above_zero = |key, seconds| {
        let default = Duration::from_secs(seconds);
        section.take_if(key, default, |value: &Duration| !value.is_zero(), POSITIVE)
    };
    let drain_timeout = above_zero("drain_timeout", 25);
    let deadline = above_zero("deadline", 14 * DAY);
    let stuck_after = above_zero("stuck_after", DAY);
    let is_name = |name: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        name.len() <= 63 && name.chars().all(plain)
    };
    Engine {
        replica: section.take_if(
            "replica",
            String::new(),
            is_name,
            "at most 63 letters, digits, dots, dashes and underscores, or \"\" for the host's name",
        ),
        max_in_flight: section.take_if(
            "max_in_flight",
            64,
            |limit| (1..=10_000).contains(limit),
            "a number from 1 to 10000",
        ),
        lease_ttl: section.take_if(
            "lease_ttl",
            Duration::from_secs(MINUTE),
            |ttl: &Duration| (Duration::from_secs(1)..=Duration::from_secs(DAY)).contains(ttl),
            "a duration from \"1s\" to \"1d\"",
        ),
        drain_timeout,
        deadline,
        stuck_after,
    }
}

/// Each key is an answer, and its value the class of it.
fn read_codes(section: &mut Section) -> Codes {
    let mut entries = Vec::new();
    for name in section.names() {
        let class: Option<AnswerClass> = section.optional(&name);
        let answer = name.split_once('/').and_then(|(status, code)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            let is_code = !code.is_empty() && code.chars().all(plain);
            Some((status.parse::<u16>().ok()?, code.to_owned())).filter(|_| is_code)
        });
        match (answer, class) {
            (None, _) => {
                let remedy = "write status and code, such as \"409/123456\"";
                section.problem(&name, "names no answer", remedy);
            }
            (Some((status, code)), _) if !may_be_told(status, &code) => {
                let remedy = "leave it out: a safety stop stays one, and 401, 408, 429 and whatever is \
                              no 4xx settle no request";
                section.problem(&name, "cannot be classified", remedy);
            }
            (Some(answer), Some(AnswerClass(class))) => entries.push((answer, class)),
            (Some(_), None) => {}
        }
    }
    Codes::new(entries)
}

/// `initial` and `max`, which must stand in that order.
fn read_backoff(section: &mut Section, initial: u64, max: u64) -> (Duration, Duration) {
    let above_zero = |value: &Duration| !value.is_zero();
    let initial = section.take_if("initial", Duration::from_secs(initial), above_zero, POSITIVE);
    let max = section.take_if("max", Duration::from_secs(max), above_zero, POSITIVE);
    if initial > max {
        section.problem(
            "initial",
            &format!(
                "{} is more than max = {}",
                humantime::format_duration(initial),
                humantime::format_duration(max)
            ),
            "lower initial or raise max",
        );
    }
    (initial, max)
}

fn read_accounts(
    section: &mut Section,
    safety: &Safety,
    base: &Path,
) -> BTreeMap<AccountName, super::AccountConfig> {
    let mut accounts = BTreeMap::new();
    for name in section.names() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            let remedy = "use letters, digits, _ and - only";
            section.problem(&name, "is not fit for the name of an account", remedy);
        }
        let key = AccountName::new(&name);
        let account =
            section.within(&name, |section| read_account(section, key.clone(), safety, base));
        accounts.extend(account.map(|account| (key, account)));
    }
    refuse_one_partner_twice(section, &accounts);
    accounts
}

/// Two accounts of one partner would write beside each other, each with a canary and caps of its own.
fn refuse_one_partner_twice(
    section: &mut Section,
    accounts: &BTreeMap<AccountName, super::AccountConfig>,
) {
    let partner = |account: &super::AccountConfig| (account.cloud, account.policy.partner_tenant);
    for (name, account) in accounts {
        let earlier = accounts.range(..name).find(|(_, other)| partner(other) == partner(account));
        let Some((other, _)) = earlier else { continue };
        let (_, tenant) = partner(account);
        section.problem(
            &format!("{name}.partner_tenant"),
            &format!(
                "is {tenant} in the same cloud as accounts.{other}: one partner is one account"
            ),
            "keep one of the two; what is queued under the other, abort and enqueue again",
        );
    }
}

/// Every key that exists, in the order in which they are read.
pub fn known_keys() -> Vec<Key> {
    let mut root = Section::root(BTreeMap::new(), String::new());
    read(&mut root, Path::new(""));
    let mut keys = root.finish().known;
    keys.extend(account_keys());
    keys
}

fn account_keys() -> Vec<Key> {
    let mut root = Section::root(BTreeMap::new(), String::new());
    root.within("accounts", |section| {
        section.within("NAME", |section| {
            read_account(section, AccountName::new("name"), &Safety::builtin(), Path::new(""))
        })
    });
    root.finish().known
}

/// `database.url`
struct DatabaseUrl(Place);

impl DatabaseUrl {
    fn of(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix("sqlite:") else {
            let url = ServerUrl::parse(text).map_err(|InvalidUrl(expected)| expected)?;
            return Ok(Self(Place::Server(url)));
        };
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let usable = !path.is_empty() && path != ":memory:" && !path.contains('?');
        usable
            .then(|| Self(Place::File(path.into())))
            .ok_or("\"sqlite:PATH\"; there are no databases in memory and no parameters")
    }
}

impl Setting for DatabaseUrl {
    const EXPECTED: &'static str = "\"sqlite:PATH\" or \"postgres://USER@HOST:PORT/DATABASE\"";

    /// Shows the scheme alone: the rest may hold a password (invariant 13).
    fn read(value: &Value) -> Result<Self, Rejected> {
        let text = String::parse(value).unwrap_or_default();
        Self::of(&text).map_err(|expected| {
            let value = text
                .split_once(':')
                .map_or("the value".to_owned(), |(scheme, _)| format!("\"{scheme}:…\""));
            Rejected { value, expected }
        })
    }

    fn parse(value: &Value) -> Option<Self> {
        Self::of(&String::parse(value)?).ok()
    }

    fn json(&self) -> serde_json::Value {
        match &self.0 {
            Place::File(path) => serde_json::json!(format!("sqlite:{}", path.display())),
            Place::Server(url) => serde_json::json!(url.to_string()),
        }
    }
}
