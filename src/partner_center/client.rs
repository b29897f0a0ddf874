//! The client of one account: what its calls have in common.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::calls::{Call, LEGAL_BUSINESS, address};
use super::clouds::{self, InvalidEndpoint};
use super::credentials::Credential;
use super::decode::{self, Damaged};
use super::entitled::Entitled;
use super::error::ApiError;
use super::exchange::{Exchange, SentAs};
use super::flight::Flight;
use super::ledger::Ledger;
use super::permits::{Gate, Permit, PermitKind};
use super::throttle;
use super::token::{TokenSettings, TokenSource};
use super::transport::{Request, Response, Transport};
use super::wire::Wire;
use crate::core::budget::{Bucket, Resource};
use crate::core::clock::{Clock, Entropy};
use crate::core::fault::Fault;
use crate::core::ids::{AccountName, TenantId};
use crate::core::observation::{CustomerList, Seen};
use crate::core::settlement::{self, Codes};

/// How often a read asks for a permit anew when each came too late to be used.
const PERMIT_TRIES: usize = 10;

/// Limits on time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Of a read.
    pub read: Duration,
    /// Of a write. Its outcome is unknown when this passes.
    pub write: Duration,
    /// Of a token request.
    pub token: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            read: Duration::from_secs(30),
            write: Duration::from_secs(60),
            token: Duration::from_secs(30),
        }
    }
}

/// One configured account.
#[derive(Debug, Clone)]
pub struct AccountSettings {
    /// Its name.
    pub name: AccountName,
    /// The tenant every token must have been issued for (invariant 1).
    pub partner_tenant: TenantId,
    /// The app registration's id.
    pub client_id: String,
    /// How it proves who it is.
    pub credential: Credential,
    /// Base of the REST API, without `/v1`; also the token's scope.
    pub api_base: Url,
    /// Token authority.
    pub authority: Url,
    /// Limits on time.
    pub timeouts: Timeouts,
}

/// The client of one account. All tenants of the account share it: its token, its budget, and its
/// customer list.
#[derive(Debug)]
pub struct Client {
    pub(super) base: Url,
    pub(super) timeouts: Timeouts,
    pub(super) wire: Wire,
    pub(super) tokens: TokenSource,
    pub(super) gate: Arc<Gate>,
    pub(super) census: Flight<Arc<Seen<CustomerList>>>,
    pub(super) entitled: Mutex<Entitled>,
    pub(super) ledger: Arc<dyn Ledger>,
    /// Further answers that an operator has classified.
    codes: RwLock<Codes>,
    entropy: Arc<dyn Entropy>,
}

/// An answer with the time its request was sent.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) at: Timestamp,
    /// How long it was on its way.
    pub(super) took: Duration,
    pub(super) response: Response,
    pub(super) exchange: Exchange,
    codes: Codes,
}

impl Answered {
    /// A fact that it shows.
    pub(super) const fn seen<T>(&self, fact: T) -> Seen<T> {
        Seen { fact, at: self.at, took: self.took }
    }

    /// The answer read as a fault.
    pub(super) fn fault(&self) -> Fault {
        self.judged(decode::fault_in(&self.response))
    }

    /// The fault in the body of a success.
    pub(super) fn fault_in_success(&self, body: &Value) -> Fault {
        let whole = decode::fault_in(&self.response);
        self.judged(Fault { own: whole.own, kept: whole.kept, ..decode::fault_of(200, body) })
    }

    /// The answer as one that cannot be used.
    pub(super) fn damaged(&self, Damaged(what): Damaged) -> ApiError {
        let kept = Box::new(decode::kept(&self.response));
        ApiError::Damaged { exchange: Box::new(self.exchange), what, kept }
    }

    /// The entry of `[codes]` that decides about the answer, in words; nothing where none does.
    pub(super) fn note(&self, fault: &Fault) -> String {
        self.codes.note(fault.status, fault.code.as_deref())
    }

    fn judged(&self, fault: Fault) -> Fault {
        Fault { told: self.codes.class_of(fault.status, fault.code.as_deref()), ..fault }
    }
}

impl Client {
    /// A client for an account. Sends nothing yet.
    ///
    /// # Errors
    /// When one of the addresses is not https and not a loopback address; the error names its key.
    pub fn new(
        settings: AccountSettings,
        transport: Arc<dyn Transport>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, InvalidEndpoint> {
        let AccountSettings { name, partner_tenant, client_id, credential, .. } = settings;
        clouds::check(&format!("accounts.{name}.api_base"), &settings.api_base)?;
        clouds::check(&format!("accounts.{name}.authority"), &settings.authority)?;
        let gate = Arc::new(Gate::new(name.clone(), Arc::clone(&ledger), Arc::clone(&clock)));
        let wire = Wire { account: name, transport, clock, skew: Arc::default() };
        let token_settings = TokenSettings {
            partner_tenant,
            issuer: Some(partner_tenant),
            client_id,
            credential,
            authority: settings.authority,
            api_base: settings.api_base.clone(),
            timeout: settings.timeouts.token,
        };
        let tokens =
            TokenSource::new(token_settings, wire.clone(), Arc::clone(&entropy), Arc::clone(&gate));
        Ok(Self {
            base: settings.api_base,
            timeouts: settings.timeouts,
            wire,
            tokens,
            gate,
            census: Flight::default(),
            entitled: Mutex::default(),
            ledger,
            codes: RwLock::default(),
            entropy,
        })
    }

    /// The further answers that an operator has classified.
    pub fn codes(&self) -> Codes {
        self.codes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these answers are classified so.
    pub fn set_codes(&self, codes: Codes) {
        *self.codes.write().unwrap_or_else(PoisonError::into_inner) = codes;
    }

    /// The account's name.
    pub fn account(&self) -> &AccountName {
        &self.wire.account
    }

    /// How the account proves who it is.
    pub fn credential(&self) -> &Credential {
        self.tokens.credential()
    }

    /// Whether a file of the credential has changed since a token was last asked for with it; also
    /// before the first time.
    pub async fn credential_has_changed(&self) -> bool {
        self.tokens.credential_has_changed().await
    }

    /// How many of `slots` tenants may be worked on at once: more would read for so long under the
    /// request budget that what they have read grows stale.
    pub fn capacity(&self, slots: usize) -> usize {
        self.gate.capacity(slots)
    }

    /// Makes sure that a token can be had, and that it is one of the partner tenant. Sends nothing
    /// to the API.
    ///
    /// # Errors
    /// As reads.
    pub async fn check_credential(&self) -> Result<(), ApiError> {
        self.tokens.get().await.map(|_| ())
    }

    /// How far the wall clock is ahead of database time, by which answers are dated.
    pub fn wall_ahead(&self) -> SignedDuration {
        self.wire.clock.wall().duration_since(self.wire.clock.now())
    }

    /// How far this machine's clock is ahead of the servers' (behind, if negative), as far as the
    /// `Date` of the latest answer tells; `None` before there was one. Zero where latency explains it.
    pub fn clock_skew(&self) -> Option<SignedDuration> {
        self.wire.skew.get()
    }

    /// Whether the API can be reached at all: one GET without a token, for when none can be had. Any
    /// answer will do, also the refusal that is to be expected.
    ///
    /// # Errors
    /// When no answer came, or nothing may be sent now.
    pub async fn reach(&self) -> Result<(), ApiError> {
        let url = address(&self.base, &["profiles", "legalbusiness"])
            .map_err(|damage| ApiError::damaged(LEGAL_BUSINESS, damage))?;
        let bucket = Bucket::of_account(Resource::Customer);
        let permit = self.gate.acquire(PermitKind::Read, bucket).await?;
        drop(self.gate.refresh(permit, bucket).await?);
        let headers = vec![("Accept", "application/json".to_owned())];
        let (method, timeout) = (LEGAL_BUSINESS.method, self.timeouts.read);
        let request = Request { method, url, headers, body: None, timeout, fresh: true };
        self.wire.exchange(LEGAL_BUSINESS.into(), request).await.map(|_| ())
    }

    /// Waits for the right to send one request, in a fair queue that serves writes first. A token
    /// is made sure of before, so that a permit is not lost to waiting for one.
    ///
    /// # Errors
    /// When no token can be had, the account is closed or the wait would be a long one
    /// ([`ApiError::Throttled`]), or the books cannot be written.
    pub async fn permit(&self, kind: PermitKind, bucket: Bucket) -> Result<Permit, ApiError> {
        self.tokens.get().await?;
        self.gate.acquire(kind, bucket).await
    }

    /// A GET, repeated once with a new token after 401, and once on a new connection where the one that
    /// was kept turned out closed. Statuses other than 401 and 429 are the
    /// caller's to judge. `at` is when the first request was sent.
    pub(super) async fn get(
        &self,
        call: Call,
        bucket: Bucket,
        url: &Url,
        continuation: Option<&str>,
    ) -> Result<Answered, ApiError> {
        let first = match self.get_once(call, bucket, url, continuation, false).await {
            Err(error) if error.connection_was_closed() => {
                self.get_once(call, bucket, url, continuation, true).await?
            }
            answered => answered?,
        };
        if first.response.status != 401 {
            return Ok(first);
        }
        let second = self.get_once(call, bucket, url, continuation, false).await?;
        if second.response.status == 401 {
            return Err(ApiError::refused_token(second.exchange, second.fault()));
        }
        Ok(Answered { at: first.at, took: first.took + second.took, ..second })
    }

    async fn get_once(
        &self,
        call: Call,
        bucket: Bucket,
        url: &Url,
        continuation: Option<&str>,
        fresh: bool,
    ) -> Result<Answered, ApiError> {
        let token = self.cleared_to_read(bucket).await?;
        let (correlation, request_id) = (self.entropy.uuid(), self.entropy.uuid());
        let mut headers = headers(&token, request_id, correlation);
        if let Some(continuation) = continuation {
            headers.push(("MS-ContinuationToken", continuation.to_owned()));
        }
        let request = Request {
            method: call.method,
            url: url.clone(),
            headers,
            body: None,
            timeout: self.timeouts.read,
            fresh,
        };
        self.exchange(call, request, (request_id, correlation), &token).await
    }

    /// Waits for the right to send one read, and returns the token to send it with. The wait may
    /// outlast a token, so that one is taken when it is over; a new one may take longer than the
    /// permit is good for.
    async fn cleared_to_read(&self, bucket: Bucket) -> Result<SecretString, ApiError> {
        for _ in 0..PERMIT_TRIES {
            let permit = self.permit(PermitKind::Read, bucket).await?;
            let token = self.tokens.get().await?;
            if self.gate.is_usable(&permit)? {
                return Ok(token);
            }
        }
        Err(ApiError::Ledger("each reservation took longer than it is good for".to_owned()))
    }

    /// One exchange with the API, under a request id and a correlation id: closes the account after a 429 and drops the token after a 401.
    pub(super) async fn exchange(
        &self,
        call: Call,
        request: Request,
        (request_id, correlation_id): (Uuid, Uuid),
        token: &SecretString,
    ) -> Result<Answered, ApiError> {
        let at = self.wire.clock.now();
        let sent = SentAs { request_id: Some(request_id), correlation_id, at };
        let exchange = Exchange::sent(call, sent);
        let sent_at = self.wire.clock.uptime();
        let response = self.wire.exchange(exchange, request).await?;
        let took = self.wire.clock.uptime().saturating_sub(sent_at);
        let exchange = exchange.answered(&response, self.wire.clock.wall());
        let answered = Answered { at, took, response, exchange, codes: self.codes() };
        if answered.response.status == 429 {
            let asked = throttle::retry_after(&answered.response, self.wire.clock.wall());
            let until = self.gate.close(asked, at).await;
            let fault = Some(Box::new(answered.fault()));
            return Err(ApiError::Throttled { until, fault, exchange: Some(Box::new(exchange)) });
        }
        self.gate.let_through(at);
        let refused = match answered.response.status {
            401 => true,
            403 => settlement::blames_the_token(&answered.fault()),
            _ => false,
        };
        if refused {
            self.tokens.invalidate(token).await;
        }
        Ok(answered)
    }
}

/// The headers of every call (MicrosoftDocs/partner-center-sdk, `headers.md`). `X-Locale` keeps
/// Microsoft's texts English.
pub(super) fn headers(
    token: &SecretString,
    request_id: Uuid,
    correlation: Uuid,
) -> Vec<(&'static str, String)> {
    vec![
        ("Authorization", format!("Bearer {}", token.expose_secret())),
        ("Accept", "application/json".to_owned()),
        ("MS-RequestId", request_id.to_string()),
        ("MS-CorrelationId", correlation.to_string()),
        ("MS-Contract-Version", "v1".to_owned()),
        ("X-Locale", "en-US".to_owned()),
    ]
}
