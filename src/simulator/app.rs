//! An app registration as an administrator keeps it in Microsoft Entra, and the users who signed in
//! to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use uuid::Uuid;

use super::life::Moment;

/// What a token may be asked for with.
#[derive(Clone)]
pub struct App {
    pub(crate) client_id: Uuid,
    secrets: BTreeSet<String>,
    expired: BTreeSet<String>,
    certificates: Vec<Vec<u8>>,
    federated: BTreeSet<String>,
    refresh_tokens: BTreeMap<String, RefreshToken>,
}

/// A refresh token that was issued.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RefreshToken {
    /// When it was last used, or else issued.
    pub(crate) used: Moment,
    /// When it was replaced by another one.
    pub(crate) replaced: Option<Moment>,
}

impl fmt::Debug for App {
    /// Leaves out everything secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// What becomes of a client secret that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretState {
    Good,
    Expired,
    Unknown,
}

impl App {
    pub(crate) fn new(client_id: Uuid, secret: String) -> Self {
        Self {
            client_id,
            secrets: BTreeSet::from([secret]),
            expired: BTreeSet::new(),
            certificates: Vec::new(),
            federated: BTreeSet::new(),
            refresh_tokens: BTreeMap::new(),
        }
    }

    /// Adds a client secret.
    pub fn add_secret(&mut self, secret: impl Into<String>) -> &mut Self {
        self.secrets.insert(secret.into());
        self
    }

    /// Lets every client secret of now expire.
    pub fn expire_secrets(&mut self) -> &mut Self {
        self.expired.append(&mut self.secrets);
        self
    }

    /// Adds a certificate, as DER.
    pub fn add_certificate(&mut self, der: impl Into<Vec<u8>>) -> &mut Self {
        self.certificates.push(der.into());
        self
    }

    /// Removes every certificate.
    pub fn remove_certificates(&mut self) -> &mut Self {
        self.certificates.clear();
        self
    }

    /// Trusts a token of another identity provider, as it stands in its file, and no longer the ones
    /// before it.
    pub fn trust(&mut self, federated_token: impl Into<String>) -> &mut Self {
        self.federated = BTreeSet::from([federated_token.into()]);
        self
    }

    /// Has a user sign in, who gets this refresh token.
    pub fn sign_in(&mut self, refresh_token: impl Into<String>) -> &mut Self {
        self.refresh_tokens.insert(refresh_token.into(), RefreshToken::default());
        self
    }

    /// Revokes every refresh token.
    pub fn revoke_sign_ins(&mut self) -> &mut Self {
        self.refresh_tokens.clear();
        self
    }

    pub(crate) fn secret_state(&self, secret: &str) -> SecretState {
        if self.secrets.contains(secret) {
            SecretState::Good
        } else if self.expired.contains(secret) {
            SecretState::Expired
        } else {
            SecretState::Unknown
        }
    }

    pub(crate) fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(Vec::as_slice)
    }

    pub(crate) fn trusts(&self, federated_token: &str) -> bool {
        self.federated.contains(federated_token)
    }

    pub(crate) fn refresh_token(&self, token: &str) -> Option<RefreshToken> {
        self.refresh_tokens.get(token).copied()
    }

    /// Notes the use of a refresh token, and the one that replaces it.
    pub(crate) fn renew(&mut self, token: &str, renewed: Option<String>, now: Moment) {
        if let Some(old) = self.refresh_tokens.get_mut(token) {
            old.used = now;
            if renewed.is_some() {
                old.replaced.get_or_insert(now);
            }
        }
        let new = renewed.map(|token| (token, RefreshToken { used: now, replaced: None }));
        self.refresh_tokens.extend(new);
    }
}
