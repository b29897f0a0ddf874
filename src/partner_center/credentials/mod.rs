//! How an account proves to Entra who it is.
//!
//! Nothing of a credential is kept in memory: its files are read for every token request, so a
//! renewed secret, certificate or token needs no restart.

mod advice;
mod certificate;
mod error;
mod files;
mod refresh;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::{Serializer, byte_serialize};
use uuid::Uuid;

pub use certificate::{Algorithm, Certificate};
pub use error::{CredentialError, SecretKind};
pub use files::{CREDENTIALS_DIRECTORY, Stamp};
pub use refresh::STALE as REFRESH_TOKEN_STALE;

/// A secret or certificate that lapses in fewer days than these is worth a warning.
const LAPSES_SOON: i64 = 30;
/// The `client_assertion_type` of every assertion (RFC 7523).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How an account proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// What it proves with.
    pub kind: CredentialKind,
    /// Which token endpoint it is shown to.
    pub endpoint: TokenEndpoint,
    /// The day its secret or certificate lapses, as the operator says.
    pub expires: Option<Date>,
}

/// What an account proves with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialKind {
    /// A client secret of the app registration.
    ClientSecret(SecretSource),
    /// A certificate of the app registration.
    Certificate(Certificate),
    /// A token of another identity provider that the app registration trusts.
    WorkloadIdentity {
        /// The file it is in; whoever issues it renews it there.
        token_file: PathBuf,
    },
    /// A user who signed in to the app, which then acts for them.
    RefreshToken {
        /// The file with the refresh token; renewed tokens replace it.
        refresh_token_file: PathBuf,
        /// The app's own secret.
        client_secret: SecretSource,
    },
}

/// Where a client secret stands.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// In a file that not everybody may read.
    File(PathBuf),
    /// In this environment variable.
    Variable(String),
    /// Nowhere but in memory, for who has no configuration.
    Value(SecretString),
}

impl PartialEq for SecretSource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Variable(one), Self::Variable(other)) => one == other,
            (Self::Value(one), Self::Value(other)) => one.expose_secret() == other.expose_secret(),
            _ => false,
        }
    }
}

impl Eq for SecretSource {}

impl SecretSource {
    fn read(&self) -> Result<SecretString, CredentialError> {
        match self {
            Self::File(path) => files::line(path, SecretKind::ClientSecret),
            Self::Variable(name) => {
                let value = SecretString::from(std::env::var(name).unwrap_or_default());
                match value.expose_secret().trim() {
                    "" => Err(CredentialError::NoVariable { name: name.clone() }),
                    secret => Ok(secret.into()),
                }
            }
            Self::Value(secret) => Ok(secret.clone()),
        }
    }

    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Variable(_) | Self::Value(_) => None,
        }
    }
}

/// The token endpoints of an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenEndpoint {
    /// `/oauth2/v2.0/token`, which takes a `scope`.
    #[default]
    V2,
    /// `/oauth2/token`, which takes a `resource`.
    V1,
}

impl TokenEndpoint {
    /// The name used in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V1 => "v1",
        }
    }

    /// The endpoint of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::V2, Self::V1].into_iter().find(|own| own.as_str().eq_ignore_ascii_case(name))
    }
}

/// What a proof is made for.
#[derive(Debug, Clone)]
pub(super) struct Occasion {
    /// Id of the app registration.
    pub(super) client_id: String,
    /// Address of the token endpoint.
    pub(super) audience: String,
    /// Of a client assertion.
    pub(super) id: Uuid,
    pub(super) now: Timestamp,
}

impl Credential {
    /// A client secret, shown to the v2 endpoint.
    pub fn client_secret(source: SecretSource) -> Self {
        let kind = CredentialKind::ClientSecret(source);
        Self { kind, endpoint: TokenEndpoint::default(), expires: None }
    }

    /// Whether every file is there, is protected, and holds what it should. Sends nothing.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub async fn check(&self) -> Result<(), CredentialError> {
        let occasion = Occasion {
            client_id: String::new(),
            audience: String::new(),
            id: Uuid::nil(),
            now: Timestamp::UNIX_EPOCH,
        };
        self.prove(occasion).await.map(|_| ())
    }

    /// What the files look like now. Another stamp later says that one of them was changed.
    pub async fn stamp(&self) -> Stamp {
        let files = self.files();
        if files.is_empty() {
            return Stamp::of(&files);
        }
        in_background(move || Ok(Stamp::of(&files))).await.unwrap_or_default()
    }

    /// How long ago the refresh token was issued or last used. `None` without one, or when its file
    /// cannot be seen.
    pub async fn refresh_token_age(&self, now: Timestamp) -> Option<Duration> {
        let CredentialKind::RefreshToken { refresh_token_file, .. } = &self.kind else {
            return None;
        };
        let path = refresh_token_file.clone();
        in_background(move || Ok(refresh::age(&path, now).ok())).await.ok().flatten()
    }

    /// When it lapses: at the end of that day, UTC.
    pub fn lapses_at(&self) -> Option<Timestamp> {
        let end = self.expires?.tomorrow().ok()?;
        end.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    }

    /// Whole days until it lapses; negative afterwards.
    pub fn days_left(&self, now: Timestamp) -> Option<i64> {
        self.lapses_at().map(|at| at.duration_since(now).as_secs().div_euclid(86_400))
    }

    /// What a person should see to before it becomes an outage, in words.
    pub async fn warnings(&self, now: Timestamp) -> Vec<String> {
        let idle = self.refresh_token_age(now).await.filter(|age| *age >= REFRESH_TOKEN_STALE);
        let idle = idle.map(|age| {
            let days = age.as_secs() / 86_400;
            format!(
                "the refresh token has not been used for {days} days and lapses after 90: let the \
                 daemon run, or sign in again and replace the file"
            )
        });
        idle.into_iter().chain(self.lapse_warning(now)).collect()
    }

    fn lapse_warning(&self, now: Timestamp) -> Option<String> {
        let day = self.expires?;
        match self.days_left(now)? {
            ..0 => Some(format!("the credential lapsed on {day}, as expires says: renew it")),
            left @ 0..LAPSES_SOON => {
                Some(format!("the credential lapses on {day}, in {left} days: renew it"))
            }
            _ => None,
        }
    }

    /// Reads the files and makes what a token request proves with.
    pub(super) async fn prove(&self, occasion: Occasion) -> Result<Proof, CredentialError> {
        if self.files().is_empty() {
            return self.kind.prove(&occasion).map(Proof);
        }
        let kind = self.kind.clone();
        in_background(move || kind.prove(&occasion).map(Proof)).await
    }

    /// Takes note that a proof was accepted, and of the refresh token that came with the answer. The
    /// answer may be used only when this has returned: the old refresh token is spent then, and the
    /// new one must be safe.
    pub(super) async fn accepted(
        &self,
        proof: &Proof,
        renewed: Option<SecretString>,
        now: Timestamp,
        id: Uuid,
    ) -> Result<(), CredentialError> {
        let CredentialKind::RefreshToken { refresh_token_file, .. } = &self.kind else {
            return Ok(());
        };
        let path = refresh_token_file.clone();
        let used = proof.value(REFRESH_TOKEN).cloned().unwrap_or_default();
        in_background(move || keep(&path, &used, renewed, now, id)).await
    }

    /// What to do about a refusal with these codes.
    pub(super) fn advice(&self, codes: &[i64]) -> Option<&'static str> {
        advice::advice(codes, &self.kind)
    }

    fn files(&self) -> Vec<PathBuf> {
        match &self.kind {
            CredentialKind::ClientSecret(source) => source.file().into_iter().collect(),
            CredentialKind::Certificate(pair) => {
                vec![pair.certificate_file.clone(), pair.key_file.clone()]
            }
            CredentialKind::WorkloadIdentity { token_file } => vec![token_file.clone()],
            CredentialKind::RefreshToken { refresh_token_file, client_secret } => {
                let secret = client_secret.file();
                std::iter::once(refresh_token_file.clone()).chain(secret).collect()
            }
        }
    }
}

/// Keeps what the token endpoint said of the refresh token in `path`.
fn keep(
    path: &Path,
    used: &SecretString,
    renewed: Option<SecretString>,
    now: Timestamp,
    id: Uuid,
) -> Result<(), CredentialError> {
    let same =
        |one: &SecretString, other: &SecretString| one.expose_secret() == other.expose_secret();
    let in_file = files::line(path, SecretKind::RefreshToken);
    if in_file.is_ok_and(|in_file| !same(&in_file, used)) {
        // Somebody has put another one there in the meantime: theirs stays.
        return Ok(());
    }
    let Some(renewed) = renewed.filter(|renewed| !same(renewed, used)) else {
        if let Err(error) = refresh::touch(path, now) {
            tracing::debug!(%error, "the time of the refresh token's last use cannot be noted");
        }
        return Ok(());
    };
    refresh::replace(path, &renewed, now, id).map_err(|error| not_stored(path, &error))
}

fn not_stored(path: &Path, error: &io::Error) -> CredentialError {
    CredentialError::NotStored { path: path.to_owned(), why: error.to_string() }
}

const REFRESH_TOKEN: &str = "refresh_token";
const CLIENT_SECRET: &str = "client_secret";
const CLIENT_ASSERTION: &str = "client_assertion";

impl CredentialKind {
    /// The `grant_type` that is asked for.
    pub(super) const fn grant_type(&self) -> &'static str {
        match self {
            Self::ClientSecret(_) | Self::Certificate(_) | Self::WorkloadIdentity { .. } => {
                "client_credentials"
            }
            Self::RefreshToken { .. } => REFRESH_TOKEN,
        }
    }

    fn prove(&self, occasion: &Occasion) -> Result<Fields, CredentialError> {
        Ok(match self {
            Self::ClientSecret(source) => vec![(CLIENT_SECRET, source.read()?)],
            Self::Certificate(pair) => {
                let statement = certificate::Statement {
                    client_id: &occasion.client_id,
                    audience: &occasion.audience,
                    id: occasion.id,
                    now: occasion.now,
                };
                vec![(CLIENT_ASSERTION, pair.assertion(statement)?)]
            }
            Self::WorkloadIdentity { token_file } => {
                vec![(CLIENT_ASSERTION, files::line(token_file, SecretKind::FederatedToken)?)]
            }
            Self::RefreshToken { refresh_token_file: path, client_secret } => {
                let refresh_token = files::line(path, SecretKind::RefreshToken)?;
                refresh::can_be_replaced(path).map_err(|error| not_stored(path, &error))?;
                vec![(REFRESH_TOKEN, refresh_token), (CLIENT_SECRET, client_secret.read()?)]
            }
        })
    }
}

type Fields = Vec<(&'static str, SecretString)>;

/// What a token request proves with: the fields of its form that are secret.
#[derive(Debug)]
pub(super) struct Proof(Fields);

impl Proof {
    fn value(&self, name: &str) -> Option<&SecretString> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// Adds the fields to a form.
    pub(super) fn append_to(&self, form: &mut Serializer<'_, String>) {
        for (name, value) in &self.0 {
            if *name == CLIENT_ASSERTION {
                form.append_pair("client_assertion_type", JWT_BEARER);
            }
            form.append_pair(name, value.expose_secret());
        }
    }

    /// A text with every secret of the proof taken out, should anything have echoed one
    /// (invariant 13).
    pub(super) fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (_, value)| {
            let value = value.expose_secret();
            let encoded: String = byte_serialize(value.as_bytes()).collect();
            text.replace(value, "[redacted]").replace(&encoded, "[redacted]")
        })
    }
}

/// Runs what waits for the disk, or signs, where it holds up no other task.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CredentialError> + Send + 'static,
) -> Result<T, CredentialError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(CredentialError::BrokenOff))
}
