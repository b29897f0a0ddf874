//! Access tokens of an account: `client_credentials` and `refresh_token` grants, against the v2 and
//! the v1 endpoint (MicrosoftDocs/entra-docs, `v2-oauth2-client-creds-grant-flow.md`,
//! `v2-oauth2-auth-code-flow.md`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use url::{Url, form_urlencoded};
use uuid::Uuid;

use super::calls::{Call, TOKEN, TOKEN_V1};
use super::credentials::{
    Credential, CredentialError, CredentialKind, Occasion, Proof, Stamp, TokenEndpoint,
};
use super::decode::{self, TokenAnswer};
use super::error::{ApiError, Kind};
use super::exchange::{Exchange, SentAs};
use super::flight::Flight;
use super::permits::Gate;
use super::throttle;
use super::transport::{Request, Response};
use super::wire::Wire;
use crate::core::account::TroubleKind;
use crate::core::clock::Entropy;
use crate::core::ids::TenantId;

/// Assumed where an answer does not say how long its token lives; the shortest policy Entra allows
/// is ten minutes (`configurable-token-lifetimes.md`).
const UNTOLD_LIFE: Duration = Duration::from_secs(300);
/// A token is renewed this long before it expires, unless a fifth of its life is less.
const RENEW_AHEAD: Duration = Duration::from_secs(300);
/// No longer life is believed; the longest policy is a day.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a failed renewal is not repeated while the old token still works.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// A token with its times, in the clock's uptime.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) value: SecretString,
    renew_at: Duration,
    expires_at: Duration,
}

/// What the token endpoint is asked for.
#[derive(Debug)]
pub(super) struct TokenSettings {
    pub(super) partner_tenant: TenantId,
    /// Who must have issued a token; `None` trusts any, which only a test of the crate asks for.
    pub(super) issuer: Option<TenantId>,
    pub(super) client_id: String,
    pub(super) credential: Credential,
    pub(super) authority: Url,
    pub(super) api_base: Url,
    pub(super) timeout: Duration,
}

/// Keeps the token of an account. One request at a time asks for a new one.
#[derive(Debug)]
pub(super) struct TokenSource {
    settings: TokenSettings,
    wire: Wire,
    entropy: Arc<dyn Entropy>,
    gate: Arc<Gate>,
    flight: Flight<Token>,
    no_renewal_before: Mutex<Duration>,
    /// The credential's files as they were when they were last shown; `None` before the first time.
    shown: Mutex<Option<Stamp>>,
}

impl TokenSource {
    pub(super) fn new(
        settings: TokenSettings,
        wire: Wire,
        entropy: Arc<dyn Entropy>,
        gate: Arc<Gate>,
    ) -> Self {
        Self {
            settings,
            wire,
            entropy,
            gate,
            flight: Flight::default(),
            no_renewal_before: Mutex::default(),
            shown: Mutex::default(),
        }
    }

    /// Leaves the check of the issuer out, to show what it holds back.
    #[cfg(test)]
    pub(super) fn trust_any_issuer(&mut self) {
        self.settings.issuer = None;
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.settings.credential
    }

    /// A token that has not expired, renewed ahead of its expiry. While a renewal fails for a
    /// passing reason, the old token is used until it expires.
    pub(super) async fn get(&self) -> Result<SecretString, ApiError> {
        let fresh = |token: &Token| {
            let now = self.wire.clock.uptime();
            now < token.renew_at || (now < token.expires_at && now < self.no_renewal_before())
        };
        let error = match self.flight.get(fresh, self.request()).await {
            Ok(token) => return Ok(token.value),
            Err(error) => error,
        };
        let now = self.wire.clock.uptime();
        let passing =
            matches!(error.kind(), Kind::Outage(TroubleKind::Unreachable) | Kind::Throttled { .. });
        match self.flight.peek(|token| passing && now < token.expires_at).await {
            Some(token) => {
                *self.no_renewal_before.lock().unwrap_or_else(PoisonError::into_inner) =
                    now + RENEWAL_PAUSE;
                Ok(token.value)
            }
            None => Err(error),
        }
    }

    /// Never uses this token again: the API answered 401 to it.
    pub(super) async fn invalidate(&self, refused: &SecretString) {
        self.flight.forget(|token| token.value.expose_secret() == refused.expose_secret()).await;
    }

    /// Whether a file of the credential has changed since it was last shown; also before it is shown
    /// for the first time.
    pub(super) async fn credential_has_changed(&self) -> bool {
        let now = self.settings.credential.stamp().await;
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).as_ref() != Some(&now)
    }

    /// Notes what the files look like: before they are read, so that whatever changes from then on
    /// is seen, and after a renewed refresh token was written to one of them.
    async fn note_files(&self) {
        let stamp = self.settings.credential.stamp().await;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(stamp);
    }

    fn no_renewal_before(&self) -> Duration {
        *self.no_renewal_before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn request(&self) -> Result<Token, ApiError> {
        let settings = &self.settings;
        let url = settings.url()?;
        let occasion = Occasion {
            client_id: settings.client_id.clone(),
            audience: url.to_string(),
            id: self.entropy.uuid(),
            now: self.wire.clock.wall(),
        };
        self.note_files().await;
        let proof = settings.credential.prove(occasion).await.map_err(unusable)?;
        let correlation = self.entropy.uuid();
        let request = self.compose(url, &proof, correlation);
        let call = settings.call();
        let sent_at = self.wire.clock.now();
        let begun = self.wire.clock.uptime();
        let sent = SentAs { request_id: None, correlation_id: correlation, at: sent_at };
        let exchange = Exchange::sent(call, sent);
        let response = self.wire.exchange(exchange, request).await?;
        let exchange = exchange.answered(&response, self.wire.clock.wall());
        if response.status != 200 {
            return Err(self.refused(&response, &proof, exchange, sent_at).await);
        }
        let mut answer =
            decode::token(&response.body).map_err(|damage| ApiError::damaged(exchange, damage))?;
        let renewed = answer.refresh_token.take();
        let token = self.accept(answer, exchange, begun)?;
        let left = token.expires_at.saturating_sub(self.wire.clock.uptime());
        let expires_at = self.wire.clock.wall().as_second() as f64 + left.as_secs_f64();
        let account = self.wire.account.to_string();
        metrics::gauge!("teardownd_token_expiry_timestamp_seconds", "account" => account)
            .set(expires_at);
        let now = self.wire.clock.wall();
        settings
            .credential
            .accepted(&proof, renewed, now, self.entropy.uuid())
            .await
            .map_err(unusable)?;
        self.note_files().await;
        Ok(token)
    }

    /// Takes a token into use only if it was issued for the configured partner tenant.
    fn accept(
        &self,
        answer: TokenAnswer,
        exchange: Exchange,
        begun: Duration,
    ) -> Result<Token, ApiError> {
        if let Some(expected) = self.settings.issuer {
            let exchange = Box::new(exchange);
            match decode::tenant_of(answer.access_token.expose_secret()) {
                Ok(found) if found == expected => {}
                Ok(found) => return Err(ApiError::ForeignToken { expected, found, exchange }),
                Err(decode::Damaged(why)) => {
                    return Err(ApiError::UnusableToken { why, exchange });
                }
            }
        }
        let life = answer.expires_in.unwrap_or(UNTOLD_LIFE).min(LONGEST_LIFE);
        let renew_after = (life * 4 / 5).max(life.saturating_sub(RENEW_AHEAD));
        Ok(Token {
            value: answer.access_token,
            renew_at: begun + renew_after,
            expires_at: begun + life,
        })
    }

    fn compose(&self, url: Url, proof: &Proof, correlation: Uuid) -> Request {
        let settings = &self.settings;
        let (name, value) = settings.aim();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", settings.credential.kind.grant_type())
            .append_pair("client_id", &settings.client_id)
            .append_pair(name, &value);
        proof.append_to(&mut form);
        Request {
            method: settings.call().method,
            url,
            headers: vec![
                ("Accept", "application/json".to_owned()),
                ("Content-Type", "application/x-www-form-urlencoded".to_owned()),
                ("client-request-id", correlation.to_string()),
            ],
            body: Some(Bytes::from(form.finish())),
            timeout: settings.timeout,
            // Hours may lie between two of them, and a refresh token is not to be shown twice.
            fresh: true,
        }
    }

    async fn refused(
        &self,
        response: &Response,
        proof: &Proof,
        exchange: Exchange,
        sent_at: jiff::Timestamp,
    ) -> ApiError {
        let now = self.wire.clock.wall();
        if response.status == 429
            && let Some(asked) = throttle::retry_after(response, now)
        {
            let until = self.gate.close(Some(asked), sent_at).await;
            return ApiError::held_back(until);
        }
        let body = proof.redact(&String::from_utf8_lossy(&response.body));
        let passing = response.status >= 500 || matches!(response.status, 408 | 429);
        match decode::token_refusal(body.as_bytes()) {
            Some(refusal) if !passing && !refusal.is_passing() => {
                let said = format!("the token endpoint refuses the credential: {}", refusal.text);
                let text = match self.settings.credential.advice(&refusal.codes) {
                    Some(advice) => format!("{}; {advice}", said.trim_end_matches('.')),
                    None => said,
                };
                ApiError::Credential {
                    text,
                    codes: refusal.codes,
                    exchange: Some(Box::new(exchange)),
                }
            }
            _ => {
                let fault = decode::fault(response.status, body.as_bytes());
                ApiError::fault(exchange, fault)
            }
        }
    }
}

impl TokenSettings {
    fn call(&self) -> Call {
        match self.credential.endpoint {
            TokenEndpoint::V2 => TOKEN,
            TokenEndpoint::V1 => TOKEN_V1,
        }
    }

    fn url(&self) -> Result<Url, ApiError> {
        let tenant = self.partner_tenant.to_string();
        let path: &[&str] = match self.credential.endpoint {
            TokenEndpoint::V2 => &[&tenant, "oauth2", "v2.0", "token"],
            TokenEndpoint::V1 => &[&tenant, "oauth2", "token"],
        };
        let mut url = self.authority.clone();
        url.path_segments_mut()
            .map_err(|()| {
                ApiError::damaged(self.call(), decode::Damaged::new("authority has no path"))
            })?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    /// The form field that says what the token is for. Only a grant that asks for `offline_access`
    /// is answered with a renewed refresh token by the v2 endpoint.
    fn aim(&self) -> (&'static str, String) {
        let base = self.api_base.as_str().trim_end_matches('/');
        let renews = matches!(self.credential.kind, CredentialKind::RefreshToken { .. });
        match self.credential.endpoint {
            TokenEndpoint::V1 => ("resource", base.to_owned()),
            TokenEndpoint::V2 if renews => ("scope", format!("{base}/.default offline_access")),
            TokenEndpoint::V2 => ("scope", format!("{base}/.default")),
        }
    }
}

fn unusable(error: CredentialError) -> ApiError {
    ApiError::Credential { text: error.to_string(), codes: Vec::new(), exchange: None }
}
