//! Access tokens of an account: client credentials with a secret, against the v2 endpoint
//! (MicrosoftDocs/entra-docs, `v2-oauth2-client-creds-grant-flow.md`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use url::{Url, form_urlencoded};
use uuid::Uuid;

use super::calls::TOKEN;
use super::credential::CredentialSource;
use super::decode::{self, TokenAnswer};
use super::error::{ApiError, Kind};
use super::flight::Flight;
use super::permits::Gate;
use super::throttle;
use super::transport::{Request, Response};
use super::wire::Wire;
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
    pub(super) client_id: String,
    pub(super) credential: CredentialSource,
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
}

impl TokenSource {
    pub(super) fn new(
        settings: TokenSettings,
        wire: Wire,
        entropy: Arc<dyn Entropy>,
        gate: Arc<Gate>,
    ) -> Self {
        let flight = Flight::default();
        Self { settings, wire, entropy, gate, flight, no_renewal_before: Mutex::default() }
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
        let passing = matches!(error.kind(), Kind::Unreachable | Kind::Throttled { .. });
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

    fn no_renewal_before(&self) -> Duration {
        *self.no_renewal_before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn request(&self) -> Result<Token, ApiError> {
        let secret =
            self.settings.credential.read().await.map_err(|error| ApiError::Credential {
                text: error.to_string(),
                codes: Vec::new(),
            })?;
        let correlation = self.entropy.uuid();
        let request = self.compose(&secret, correlation)?;
        let sent_at = self.wire.clock.now();
        let begun = self.wire.clock.uptime();
        let response = self.wire.exchange(TOKEN, request, correlation).await?;
        if response.status != 200 {
            return Err(self.refused(&response, &secret, sent_at).await);
        }
        let answer =
            decode::token(&response.body).map_err(|damage| ApiError::damaged(TOKEN, damage))?;
        self.accept(answer, begun)
    }

    /// Takes a token into use only if it was issued for the configured partner tenant.
    fn accept(&self, answer: TokenAnswer, begun: Duration) -> Result<Token, ApiError> {
        let expected = self.settings.partner_tenant;
        match decode::tenant_of(answer.access_token.expose_secret()) {
            Ok(found) if found == expected => {}
            Ok(found) => return Err(ApiError::ForeignToken { expected, found }),
            Err(decode::Damaged(why)) => return Err(ApiError::UnusableToken { why }),
        }
        let life = answer.expires_in.unwrap_or(UNTOLD_LIFE).min(LONGEST_LIFE);
        let renew_after = (life * 4 / 5).max(life.saturating_sub(RENEW_AHEAD));
        Ok(Token {
            value: answer.access_token,
            renew_at: begun + renew_after,
            expires_at: begun + life,
        })
    }

    fn compose(&self, secret: &SecretString, correlation: Uuid) -> Result<Request, ApiError> {
        let settings = &self.settings;
        let mut url = settings.authority.clone();
        url.path_segments_mut()
            .map_err(|()| ApiError::damaged(TOKEN, decode::Damaged::new("authority has no path")))?
            .pop_if_empty()
            .extend([&settings.partner_tenant.to_string(), "oauth2", "v2.0", "token"]);
        let scope = format!("{}/.default", settings.api_base.as_str().trim_end_matches('/'));
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &settings.client_id)
            .append_pair("client_secret", secret.expose_secret())
            .append_pair("scope", &scope)
            .finish();
        Ok(Request {
            method: TOKEN.method,
            url,
            headers: vec![
                ("Accept", "application/json".to_owned()),
                ("Content-Type", "application/x-www-form-urlencoded".to_owned()),
                ("client-request-id", correlation.to_string()),
            ],
            body: Some(Bytes::from(form)),
            timeout: settings.timeout,
        })
    }

    async fn refused(
        &self,
        response: &Response,
        secret: &SecretString,
        sent_at: jiff::Timestamp,
    ) -> ApiError {
        let now = self.wire.clock.now();
        if response.status == 429
            && let Some(asked) = throttle::retry_after(response, now)
        {
            let until = self.gate.close(Some(asked), sent_at).await;
            return ApiError::held_back(until);
        }
        let body = without_secret(&response.body, secret);
        let passing = response.status >= 500 || matches!(response.status, 408 | 429);
        match decode::token_refusal(body.as_bytes()) {
            Some(refusal) if !passing => ApiError::Credential {
                text: format!("the token endpoint refuses the credential: {}", refusal.text),
                codes: refusal.codes,
            },
            _ => ApiError::fault(TOKEN, decode::fault(response.status, body.as_bytes())),
        }
    }
}

/// A refusal as text, with the secret taken out should anything have echoed it (invariant 13).
fn without_secret(body: &[u8], secret: &SecretString) -> String {
    let text = String::from_utf8_lossy(body).into_owned();
    let secret = secret.expose_secret();
    let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    text.replace(secret, "[redacted]").replace(&encoded, "[redacted]")
}
