//! `demo`: a simulated integration sandbox and the real daemon on it, over HTTP and an SQLite file.

mod progress;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use self::progress::Progress;
use self::report::Facts;
use super::args::{DemoArgs, Globals};
use super::exit::{Ending, Exit, Failure};
use crate::core::clock::{Clock, Entropy};
use crate::core::domain::DomainPattern;
use crate::core::gates::SafetyPolicy;
use crate::core::ids::{AccountName, TenantId};
use crate::core::settlement::Codes;
use crate::core::teardown::{NewTeardown, Teardown};
use crate::interfaces::assemble::{self, Ground};
use crate::interfaces::config::{AccountConfig, Config, Credential, SecretSource, Sources, load};
use crate::partner_center::clouds::Cloud;
use crate::partner_center::{ReqwestTransport, Timeouts, TransportSettings};
use crate::runtime::clock::{SystemClock, SystemEntropy};
use crate::runtime::daemon::Daemon;
use crate::simulator::server::{ServerHandle, serve};
use crate::simulator::{FaultProfile, Kind, Mix, Options, Sandbox, Simulator};
use crate::store::{Filter, Store};
use crate::store::{MigrateMode, SqliteSettings};

/// The API's latency in the demo.
const LATENCY: Duration = Duration::from_millis(50);
/// With `--faults`: the share of answers that are faulty.
const FAULTY: f64 = 0.1;
/// With `--faults`: how long tokens live.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3);
/// With `--faults`: when an answer comes that nobody waits for any more.
const SILENCE: Duration = Duration::from_secs(6);
/// With `--faults`: the client's patience, so that nobody who watches needs more.
const HASTY: Timeouts = Timeouts {
    read: Duration::from_secs(3),
    write: Duration::from_secs(3),
    token: Duration::from_secs(3),
};
/// A demo that takes longer than this is stuck.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &DemoArgs) -> Ending {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let folder = Folder::create()?;
    let stage = Stage::set(args, &clock, folder.path()).await?;
    let progress = Progress::new(globals.output, args.tenants);
    progress.say(&stage.opening(args));
    let facts = stage.play(args, &clock, &progress).await?;
    stage.store.close().await;
    stage.server.shutdown().await;
    Ok(report::report(&facts))
}

/// A folder of its own for the database, gone with the demo.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self, Failure> {
        let path =
            std::env::temp_dir().join(format!("teardownd-demo-{}", SystemEntropy.uuid().simple()));
        std::fs::create_dir(&path).map_err(|error| {
            Failure::new(Exit::Unfit, format!("cannot create {}: {error}", path.display()))
                .hint("set TMPDIR to a folder that can be written to")
        })?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is a small file among temporary ones.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// The simulator, the database and the account.
struct Stage {
    simulator: Simulator,
    server: ServerHandle,
    store: Arc<Store>,
    account: AccountConfig,
    tenants: Vec<TenantId>,
    bought: BTreeMap<Kind, usize>,
    config: Config,
}

impl Stage {
    async fn set(args: &DemoArgs, clock: &Arc<dyn Clock>, folder: &Path) -> Result<Self, Failure> {
        let (partner, client, secret) =
            (SystemEntropy.uuid(), SystemEntropy.uuid(), SystemEntropy.uuid().to_string());
        let mut sandbox = Sandbox::new(partner, client, secret.clone());
        let mix = Mix { savings_plans: args.savings_plans as usize, ..Mix::default() };
        let bought = sandbox
            .populate(args.tenants as usize, args.seed, &mix)
            .map_err(|full| Failure::new(Exit::Usage, full.to_string()))?;
        let tenants = sandbox.customers().iter().map(|c| TenantId::new(c.id)).collect();
        let simulator = Simulator::new(Arc::clone(clock), args.seed, options(args), [sandbox]);
        let unfit = |error: std::io::Error| {
            Failure::new(Exit::Unfit, format!("the simulator cannot listen on 127.0.0.1: {error}"))
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(unfit)?;
        let server = serve(simulator.clone(), listener).map_err(unfit)?;
        let settings = SqliteSettings {
            path: folder.join("demo.db"),
            create: true,
            migrate: MigrateMode::Auto,
        };
        let store = Arc::new(Store::open(&settings, clock.now()).await?);
        let secret_file = folder.join("secret");
        write_secret(&secret_file, &secret)?;
        let account = account(partner, client, secret_file, &server.url(), args.budget)?;
        let config = load(&Sources::default())?;
        Ok(Self { simulator, server, store, account, tenants, bought, config })
    }

    fn opening(&self, args: &DemoArgs) -> String {
        let mut text = format!(
            "A simulated integration sandbox of {} customers at {}: {} ms latency, cancellations of 1 \
             to 10 s, {} requests a minute and resource.",
            self.tenants.len(),
            self.server.url(),
            LATENCY.as_millis(),
            args.budget
        );
        if args.faults {
            text.push_str(" One answer in ten is faulty, and tokens live three seconds.");
        }
        text
    }

    async fn enqueue(&self, clock: &dyn Clock) -> Result<(), Failure> {
        let rows: Vec<NewTeardown> = self
            .tenants
            .iter()
            .map(|tenant| NewTeardown {
                account: self.account.name.clone(),
                tenant_id: *tenant,
                expected_domain: None,
                batch: Some("demo".to_owned()),
                priority: 0,
                note: None,
                requested_by: Some("demo".to_owned()),
                not_before: None,
                again: false,
            })
            .collect();
        self.store.enqueue(&rows, clock.now()).await?;
        Ok(())
    }

    async fn play(
        &self,
        args: &DemoArgs,
        clock: &Arc<dyn Clock>,
        progress: &Progress,
    ) -> Result<Facts, Failure> {
        let transport = ReqwestTransport::new(&TransportSettings::default())
            .map_err(|error| Failure::new(Exit::Unfit, error.to_string()))?;
        let ground = Ground {
            store: self.store.clone(),
            transport: Arc::new(transport),
            clock: Arc::clone(clock),
            entropy: Arc::new(SystemEntropy),
        };
        let timeouts = if args.faults { HASTY } else { Timeouts::default() };
        let account = ground
            .account_within(&self.account, timeouts)
            .map_err(|error| Failure::new(Exit::Unfit, error.to_string()))?;
        self.enqueue(clock.as_ref()).await?;
        let daemon = Daemon::start(
            self.config.engine.clone(),
            vec![Arc::new(account)],
            self.store.clone(),
            Arc::clone(clock),
            Arc::new(SystemEntropy),
            assemble::replica(&self.config, clock.as_ref(), &SystemEntropy),
            Arc::new(|| Ok(())),
        )
        .await?;
        let stop = CancellationToken::new();
        let began = clock.uptime();
        let rows = tokio::select! {
            rows = self.watch(clock, progress, began) => rows,
            _ = daemon.run(stop.clone(), |_| {}) => self.rows().await,
            _ = tokio::signal::ctrl_c() => {
                return Err(Failure::new(Exit::Failed, "the demo was interrupted"));
            }
        };
        Ok(Facts {
            rows: rows?,
            bought: self.bought.clone(),
            wall: clock.uptime().saturating_sub(began),
            critical_path: self.simulator.critical_path(),
            budget: args.budget,
            journal: self.simulator.journal(),
        })
    }

    async fn rows(&self) -> Result<Vec<Teardown>, Failure> {
        Ok(self.store.list(&Filter::default()).await?)
    }

    /// Shows progress until every row has ended or is held.
    async fn watch(
        &self,
        clock: &Arc<dyn Clock>,
        progress: &Progress,
        began: Duration,
    ) -> Result<Vec<Teardown>, Failure> {
        loop {
            let rows = self.rows().await?;
            let elapsed = clock.uptime().saturating_sub(began);
            let closed = self.store.account(&self.account.name).await?.throttled_until;
            progress.show(&rows, &self.simulator.snapshot(), closed, clock.now(), elapsed);
            let over = rows.iter().all(|row| row.state.is_terminal() || row.holds.stand());
            if over || elapsed > LONGEST {
                progress.finish();
                return Ok(rows);
            }
            clock.sleep(LOOK).await;
        }
    }
}

/// How the simulated API behaves.
fn options(args: &DemoArgs) -> Options {
    let plain = Options {
        latency: (LATENCY, LATENCY),
        limit_per_minute: Some(args.budget as usize),
        ..Options::default()
    };
    if !args.faults {
        return plain;
    }
    let everything = FaultProfile::everything(FAULTY);
    Options {
        token_lifetime: TOKEN_LIFETIME,
        faults: Some(FaultProfile { silence: SILENCE, retry_after: (1, 3), ..everything }),
        ..plain
    }
}

fn write_secret(path: &Path, secret: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(secret.as_bytes()))
        .map_err(|error| {
            Failure::new(Exit::Unfit, format!("cannot write {}: {error}", path.display()))
        })
}

fn account(
    partner: Uuid,
    client_id: Uuid,
    secret: PathBuf,
    url: &str,
    budget: u32,
) -> Result<AccountConfig, Failure> {
    let unfit = |text: String| Failure::new(Exit::Failed, text);
    let base = Url::parse(url).map_err(|error| unfit(error.to_string()))?;
    let pattern =
        DomainPattern::parse("*.onmicrosoft.com").map_err(|error| unfit(error.to_string()))?;
    Ok(AccountConfig {
        name: AccountName::new("demo"),
        cloud: Cloud::Global,
        client_id,
        credential: Credential::client_secret(SecretSource::File(secret)),
        requests_per_minute: budget,
        api_base: base.clone(),
        authority: base,
        policy: SafetyPolicy {
            sandbox: true,
            client_id,
            allow_domains: vec![pattern],
            ..SafetyPolicy::new(TenantId::new(partner))
        },
        discovery: None,
        discovery_exclude: Vec::new(),
        codes: Codes::default(),
    })
}

/// How long a closure still lasts, for progress.
fn closed_for(until: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let left = until?.duration_since(now);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}
