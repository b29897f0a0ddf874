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
    Credential, CredentialError, CredentialKind, Occasion, Proof, TokenEndpoint,
};
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
        let settings = &self.settings;
        let url = settings.url()?;
        let occasion = Occasion {
            client_id: settings.client_id.clone(),
            audience: url.to_string(),
            id: self.entropy.uuid(),
            now: self.wire.clock.now(),
        };
        let proof = settings.credential.prove(occasion).await.map_err(unusable)?;
        let correlation = self.entropy.uuid();
        let request = self.compose(url, &proof, correlation);
        let call = settings.call();
        let sent_at = self.wire.clock.now();
        let begun = self.wire.clock.uptime();
        let response = self.wire.exchange(call, request, correlation).await?;
        if response.status != 200 {
            return Err(self.refused(&response, &proof, sent_at).await);
        }
        let mut answer =
            decode::token(&response.body).map_err(|damage| ApiError::damaged(call, damage))?;
        let renewed = answer.refresh_token.take();
        let token = self.accept(answer, begun)?;
        let now = self.wire.clock.now();
        settings
            .credential
            .accepted(&proof, renewed, now, self.entropy.uuid())
            .await
            .map_err(unusable)?;
        Ok(token)
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
        }
    }

    async fn refused(
        &self,
        response: &Response,
        proof: &Proof,
        sent_at: jiff::Timestamp,
    ) -> ApiError {
        let now = self.wire.clock.now();
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
                let advice = self.settings.credential.advice(&refusal.codes);
                let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
                ApiError::Credential {
                    text: format!(
                        "the token endpoint refuses the credential: {}{advice}",
                        refusal.text
                    ),
                    codes: refusal.codes,
                }
            }
            _ => {
                let fault = decode::fault(response.status, body.as_bytes());
                ApiError::fault(self.settings.call(), fault)
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
    ApiError::Credential { text: error.to_string(), codes: Vec::new() }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::super::testing::{
        Bench, PARTNER, SECRET, fault, ok, reply, token_body, with_header,
    };
    use super::super::transport::TransportError;
    use super::*;

    const OTHER: &str = "3c4d5e6f-7081-4293-a4b5-c6d7e8f90a1b";

    fn queue(bench: &Bench, replies: impl IntoIterator<Item = Result<Response, TransportError>>) {
        bench.script.tokens.lock().unwrap().extend(replies);
    }

    async fn pass(bench: &Bench, seconds: u64) {
        crate::core::clock::Clock::sleep(&*bench.clock, Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn invariant_1_a_foreign_or_undecodable_token_is_never_used() {
        let bench = Bench::new([]);
        let opaque = r#"{"expires_in":3600,"access_token":"opaque"}"#;
        queue(&bench, [Ok(ok(&token_body(OTHER, 1))), Ok(ok(opaque))]);
        let error = bench.client.orders(super::super::testing::tenant()).await.unwrap_err();
        assert!(matches!(error, ApiError::ForeignToken { .. }), "{error}");
        assert_eq!(error.kind(), Kind::SafetyStop);
        let error = bench.client.customer(super::super::testing::tenant()).await.unwrap_err();
        assert!(matches!(error, ApiError::UnusableToken { .. }), "{error}");
        assert!(bench.calls().is_empty(), "nothing reached the API");
        // The tid is a GUID: letter case does not count.
        queue(&bench, [Ok(ok(&token_body(&PARTNER.to_uppercase(), 3)))]);
        bench.client.check_credential().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn invariant_1_a_foreign_token_at_renewal_stops_although_the_old_one_lives() {
        let bench = Bench::new([]);
        bench.client.check_credential().await.unwrap();
        pass(&bench, 3400).await;
        queue(&bench, [Ok(ok(&token_body(OTHER, 2)))]);
        let error = bench.client.check_credential().await.unwrap_err();
        assert_eq!(error.kind(), Kind::SafetyStop);
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_serves_everybody_who_waits_also_when_it_fails() {
        let bench = Bench::new([]);
        *bench.script.latency.lock().unwrap() = Duration::from_secs(2);
        queue(&bench, [Err(TransportError::Connect("refused".to_owned()))]);
        let results = join_all((0..8).map(|_| bench.client.check_credential())).await;
        assert!(results.iter().all(|r| r.as_ref().is_err_and(|e| e.kind() == Kind::Unreachable)));
        assert_eq!(bench.token_requests(), 1);
        let results = join_all((0..8).map(|_| bench.client.check_credential())).await;
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(bench.token_requests(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_five_minutes_ahead_and_kept_while_renewal_fails() {
        let bench = Bench::new([]);
        bench.client.check_credential().await.unwrap();
        pass(&bench, 3299).await;
        bench.client.check_credential().await.unwrap();
        assert_eq!(bench.token_requests(), 1);
        pass(&bench, 1).await;
        let out = || Err(TransportError::Timeout(Duration::from_secs(30)));
        queue(&bench, [out(), Ok(fault(503, 1)), out()]);
        bench.client.check_credential().await.unwrap();
        bench.client.check_credential().await.unwrap();
        assert_eq!(bench.token_requests(), 2, "a failed renewal is not repeated at once");
        pass(&bench, 31).await;
        bench.client.check_credential().await.unwrap();
        assert_eq!(bench.token_requests(), 3);
        pass(&bench, 300).await;
        let error = bench.client.check_credential().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "an expired token is not used");
        bench.client.check_credential().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn short_lives_are_renewed_after_four_fifths() {
        let bench = Bench::new([]);
        let short = |n| Ok(ok(&token_body(PARTNER, n).replace("3600", "\"100\"")));
        queue(&bench, [short(1), short(2)]);
        bench.client.check_credential().await.unwrap();
        pass(&bench, 79).await;
        bench.client.check_credential().await.unwrap();
        assert_eq!(bench.token_requests(), 1);
        pass(&bench, 2).await;
        bench.client.check_credential().await.unwrap();
        assert_eq!(bench.token_requests(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_is_a_v2_client_credentials_grant() {
        let bench = Bench::new([]);
        bench.client.check_credential().await.unwrap();
        let requests = bench.script.token_requests.lock().unwrap();
        let url = format!("https://login.example/{PARTNER}/oauth2/v2.0/token");
        assert_eq!((requests[0].method, requests[0].url.as_str()), ("POST", url.as_str()));
        let body = requests[0].body.clone().unwrap();
        let form: Vec<_> = form_urlencoded::parse(&body).into_owned().collect();
        for (name, value) in [
            ("grant_type", "client_credentials"),
            ("client_id", "app"),
            ("client_secret", SECRET),
            ("scope", "https://api.example/.default"),
        ] {
            assert!(form.contains(&(name.to_owned(), value.to_owned())), "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_credential_carries_entra_s_codes_and_no_secret() {
        let bench = Bench::new([]);
        let encoded: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let body = format!(
            r#"{{"error":"invalid_client","error_description":"AADSTS7000222: {SECRET} or {encoded} is expired","error_codes":[7000222]}}"#
        );
        queue(&bench, [Ok(reply(401, &body))]);
        let error = bench.client.check_credential().await.unwrap_err();
        let ApiError::Credential { text, codes } = &error else { panic!("{error}") };
        assert_eq!(codes, &[7_000_222]);
        assert!(text.contains("AADSTS7000222"), "{text}");
        assert_eq!(error.kind(), Kind::CredentialRefused);
        for secret in [SECRET, &encoded] {
            assert!(!format!("{error:?} {error}").contains(secret), "invariant 13");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn invariant_9_a_429_of_the_token_endpoint_closes_the_account() {
        let bench = Bench::new([]);
        queue(
            &bench,
            [Ok(with_header(reply(429, "{}"), "retry-after", "20")), Ok(reply(429, "{}"))],
        );
        let error = bench.client.check_credential().await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Throttled { .. }), "{error}");
        assert_eq!(bench.books.closed.lock().unwrap().len(), 1);
        let error = bench.client.check_credential().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "without a Retry-After it is an outage");
        assert_eq!(bench.books.closed.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn invariant_13_nothing_shows_the_secret_or_the_token() {
        let bench = Bench::new([]);
        bench.client.check_credential().await.unwrap();
        let request = bench.script.token_requests.lock().unwrap()[0].clone();
        let shown = format!("{:?} {request:?}", bench.client);
        assert!(shown.contains("login.example"));
        for secret in [SECRET, "eyJ"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
