//! An account of the simulator, a client of it, and an ear on the wire.

#[path = "../common/at_once.rs"]
mod at_once;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use teardownd::core::account::TroubleKind;
use teardownd::core::clock::{BoxFuture, Clock};
use teardownd::core::ids::{AccountName, TenantId};
use teardownd::partner_center::credentials::{
    Credential, CredentialKind, SecretSource, TokenEndpoint,
};
use teardownd::partner_center::transport::{Request, Response, Transport, TransportError};
use teardownd::partner_center::{AccountSettings, ApiError, Client, Kind, Timeouts};
use teardownd::runtime::clock::{SystemEntropy, TokioClock};
use teardownd::runtime::ledger::StoreLedger;
use teardownd::runtime::live::Live;
use teardownd::simulator::{
    Call, Customer, Options, Purchase, Sandbox, Simulator, SimulatorTransport, Template,
};
use teardownd::store::{Door, Store};
use tempfile::TempDir;
use uuid::Uuid;

use self::at_once::AtOnce;

pub const PARTNER: Uuid = Uuid::from_u128(0x1f2e_3d4c_5b6a_4788_9900_aabb_ccdd_ee01);
pub const CLIENT: Uuid = Uuid::from_u128(0x1f2e_3d4c_5b6a_4788_9900_aabb_ccdd_ee02);
pub const CUSTOMER: Uuid = Uuid::from_u128(0x1f2e_3d4c_5b6a_4788_9900_aabb_ccdd_ee03);
const AUTHORITY: &str = "https://login.example";
pub const SECRET: &str = "s3cret of the app";
/// How long the simulator's tokens live.
pub const LIFE: Duration = Duration::from_secs(600);

/// The folder of a credential's files.
pub struct Files(TempDir);

impl Files {
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that only its owner may read.
    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        self.mode(name, 0o600);
        path
    }

    pub fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The app's secret in a file.
    pub fn secret(&self) -> SecretSource {
        SecretSource::File(self.put("secret", SECRET))
    }
}

/// The network, with every token request kept.
#[derive(Debug)]
struct Tap {
    inner: SimulatorTransport,
    tokens: Mutex<Vec<Request>>,
}

impl Transport for Tap {
    fn exchange(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        if request.url.path().ends_with("/token") {
            self.tokens.lock().unwrap().push(request.clone());
        }
        self.inner.exchange(request)
    }
}

pub struct Bench {
    pub client: Client,
    pub simulator: Simulator,
    pub files: Files,
    pub clock: Arc<TokioClock>,
    tap: Arc<Tap>,
}

pub fn v2(kind: CredentialKind) -> Credential {
    Credential { kind, endpoint: TokenEndpoint::V2, expires: None }
}

impl Bench {
    pub fn new(credential: impl FnOnce(&Files) -> Credential) -> Self {
        Self::with(Options::default(), credential)
    }

    pub fn with(options: Options, credential: impl FnOnce(&Files) -> Credential) -> Self {
        let clock = Arc::new(TokioClock::start("2026-11-22T12:00:00Z".parse().unwrap()));
        let mut sandbox = Sandbox::new(PARTNER, CLIENT, SECRET);
        let customer = Customer::new(CUSTOMER, "one.onmicrosoft.com");
        let customer = customer.with(Purchase::new(teardownd::simulator::Kind::Reservation));
        sandbox.add(customer).unwrap();
        let options = Options { token_lifetime: LIFE, ..options };
        let simulator = Simulator::new(clock.clone(), 1, options, [sandbox]);
        let inner = SimulatorTransport::new(simulator.clone());
        let tap = Arc::new(Tap { inner, tokens: Mutex::default() });
        let files = Files(tempfile::tempdir().unwrap());
        let client = client(AUTHORITY, credential(&files), tap.clone(), clock.clone());
        Self { client, simulator, files, clock, tap }
    }

    /// A new process with another credential, or the same again.
    pub fn restart(&mut self, credential: Credential) {
        self.client = client(AUTHORITY, credential, self.tap.clone(), self.clock.clone());
    }

    /// Reads something of the API.
    pub async fn read(&self) -> Result<(), ApiError> {
        self.client.orders(TenantId::new(CUSTOMER)).await.map(|_| ())
    }

    /// Lets the token expire.
    pub async fn outlive(&self) {
        self.pass(LIFE).await;
    }

    pub async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The words of a refusal, which must be the account's and show nothing secret.
    pub async fn refusal(&self) -> String {
        let error = self.read().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Outage(TroubleKind::CredentialRefused), "{error}");
        self.shows_nothing(&format!("{error} {error:?} {:?}", self.client));
        error.to_string()
    }

    /// Invariant 13, for every field of every token request so far.
    fn shows_nothing(&self, text: &str) {
        let fields = (0..self.requests()).flat_map(|index| self.form(index));
        for (name, value) in fields {
            if matches!(&*name, "client_secret" | "client_assertion" | "refresh_token") {
                assert!(!text.contains(&value), "invariant 13, {name}: {text}");
            }
        }
    }

    pub fn requests(&self) -> usize {
        self.tap.tokens.lock().unwrap().len()
    }

    /// A field of the latest token request.
    pub fn sent(&self, field: &str) -> String {
        let form = self.form(self.requests() - 1);
        form.into_iter().find(|(name, _)| name == field).map(|(_, value)| value).unwrap_or_default()
    }

    fn form(&self, index: usize) -> Vec<(String, String)> {
        let requests = self.tap.tokens.lock().unwrap();
        let body = requests[index].body.clone().unwrap();
        url::form_urlencoded::parse(&body).into_owned().collect()
    }

    /// Sends the latest token request again to a path, with changes to its form. Returns the AADSTS
    /// code of the refusal, 0 for a token.
    pub fn replayed(&self, path: &str, change: impl Fn(&mut Vec<(String, String)>)) -> i64 {
        self.replayed_at("login.example", path, change)
    }

    /// As [`replayed`](Self::replayed), to a host.
    pub fn replayed_at(
        &self,
        host: &str,
        path: &str,
        change: impl Fn(&mut Vec<(String, String)>),
    ) -> i64 {
        let mut form = self.form(self.requests() - 1);
        change(&mut form);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let call = Call {
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers: vec![("Host".to_owned(), host.to_owned())],
            body: body.into(),
            ..Call::default()
        };
        let reply = self.simulator.handle(&call);
        let body: serde_json::Value =
            serde_json::from_slice(&reply.answer().unwrap().body).unwrap();
        body["error_codes"][0].as_i64().unwrap_or_default()
    }

    /// How many calls reached the API itself.
    pub fn api_calls(&self) -> usize {
        let tokens = [Template::TokenV1, Template::TokenV2];
        let journal = self.simulator.journal();
        journal.entries().iter().filter(|entry| !tokens.contains(&entry.template)).count()
    }
}

pub fn v2_path() -> String {
    format!("/{PARTNER}/oauth2/v2.0/token")
}

/// A client with this token authority.
pub fn client(
    authority: &str,
    credential: Credential,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
) -> Client {
    let name = AccountName::new("lab");
    let store = futures::executor::block_on(Store::scratch()).unwrap();
    let store = Arc::new(store.behind(Door::guarded(Arc::new(AtOnce))));
    let ledger = StoreLedger::new(store, Arc::clone(&clock), name.clone(), Live::new(300));
    let settings = AccountSettings {
        name,
        partner_tenant: TenantId::new(PARTNER),
        client_id: CLIENT.to_string(),
        credential,
        api_base: "https://api.example".parse().unwrap(),
        authority: authority.parse().unwrap(),
        timeouts: Timeouts::default(),
    };
    Client::new(settings, transport, Arc::new(ledger), clock, Arc::new(SystemEntropy)).unwrap()
}

/// The DER of the one certificate in a PEM text.
pub fn der(pem: &str) -> Vec<u8> {
    let begin = pem.find("-----BEGIN CERTIFICATE-----\n").unwrap();
    let lines = pem[begin..].lines().skip(1).take_while(|line| !line.starts_with('-'));
    STANDARD.decode(lines.collect::<String>()).unwrap()
}

/// A file among the test data.
pub fn data(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/credentials");
    fs::read_to_string(folder.join(name)).unwrap()
}
