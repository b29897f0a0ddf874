//! The token endpoints of Microsoft Entra, v1 and v2: `client_credentials` and `refresh_token` grants,
//! with a client secret or a client assertion.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::app::SecretState;
use super::super::call::Call;
use super::super::dice::Dice;
use super::super::life::Moment;
use super::super::options::Options;
use super::super::route::{Route, Template};
use super::super::world::Account;
use super::Outcome;
use super::assertions::Judge;

/// A refresh token that is not used for so long lapses.
const IDLE: Duration = Duration::from_hours(90 * 24);

/// A token that was issued.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    /// Index of its account.
    pub(crate) account: usize,
    pub(crate) audience: String,
    pub(crate) expires: Moment,
    /// Its `tid` is not the account's partner tenant.
    pub(crate) foreign: bool,
    /// It was issued for a user who signed in.
    pub(crate) user: bool,
}

/// What issuing needs beside the request.
pub(crate) struct Issuer<'a> {
    pub(crate) accounts: &'a mut [Account],
    pub(crate) options: &'a Options,
    pub(crate) dice: &'a mut Dice,
    pub(crate) now: Moment,
    pub(crate) wall: Timestamp,
    /// Another tenant to name as `tid`.
    pub(crate) foreign: bool,
}

impl Issuer<'_> {
    /// Answers a token request; a token that was issued is returned beside the answer.
    pub(crate) fn answer(
        &mut self,
        route: &Route,
        call: &Call,
    ) -> (Outcome, Option<(String, Issued)>) {
        match self.grant(route, call) {
            Ok((outcome, token, issued)) => (outcome, Some((token, issued))),
            Err(refusal) => (refusal, None),
        }
    }

    fn grant(&mut self, route: &Route, call: &Call) -> Result<(Outcome, String, Issued), Outcome> {
        let form: HashMap<String, String> =
            url::form_urlencoded::parse(&call.body).into_owned().collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let user = match field("grant_type") {
            "client_credentials" => false,
            "refresh_token" => true,
            _ => {
                let text = "The app requested an unsupported grant type.";
                return Err(self.refuse(400, "unsupported_grant_type", 70003, text));
            }
        };
        let index = self.account(&route.item, field("client_id"))?;
        self.authenticate(index, call, &form)?;
        let v1 = route.template == Template::TokenV1;
        let scopes = || field("scope").split_whitespace();
        let audience = match v1 {
            true => field("resource"),
            false => scopes().find_map(|scope| scope.strip_suffix("/.default")).unwrap_or_default(),
        };
        if audience.is_empty() {
            let text = "The request body must contain the parameter 'resource' (v1) or a 'scope' \
                        that ends in /.default (v2).";
            return Err(self.refuse(400, "invalid_request", 900144, text));
        }
        let renewed = if user {
            let renews = v1 || scopes().any(|scope| scope == "offline_access");
            self.renew(index, field("refresh_token"), renews)?
        } else {
            None
        };
        let mut granted = self.issue(index, audience.trim_end_matches('/'), v1, user);
        if let (Some(renewed), Some(body)) = (renewed, &mut granted.0.body) {
            body["refresh_token"] = json!(renewed);
        }
        Ok(granted)
    }

    /// Whether the app is who it says it is.
    fn authenticate(
        &mut self,
        index: usize,
        call: &Call,
        form: &HashMap<String, String>,
    ) -> Result<(), Outcome> {
        let app = &self.accounts[index].app;
        if let Some(assertion) = form.get("client_assertion") {
            let bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            let host = call.header("Host");
            let now = self.wall.as_second();
            let judge = Judge { app, path: &call.path, host, now };
            let judged = match form.get("client_assertion_type") {
                Some(form) if form == bearer => judge.examine(assertion),
                _ => Err((50027, "The client_assertion_type is not supported.".to_owned())),
            };
            return judged.map_err(|(code, text)| self.refuse(401, "invalid_client", code, &text));
        }
        let (code, text) = match form.get("client_secret").map(|secret| app.secret_state(secret)) {
            Some(SecretState::Good) => return Ok(()),
            Some(SecretState::Expired) => (
                7000222,
                format!("The provided client secret keys for app '{}' are expired.", app.client_id),
            ),
            Some(SecretState::Unknown) => (
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is \
                 the client secret value, not the client secret ID."
                    .to_owned(),
            ),
            None => (
                7000218,
                "The request body must contain the following parameter: 'client_assertion' or \
                 'client_secret'."
                    .to_owned(),
            ),
        };
        Err(self.refuse(401, "invalid_client", code, &text))
    }

    /// Uses a refresh token. Returns the one that replaces it.
    fn renew(
        &mut self,
        index: usize,
        token: &str,
        renews: bool,
    ) -> Result<Option<String>, Outcome> {
        let Some(known) = self.accounts[index].app.refresh_token(token) else {
            let text = "The provided grant is invalid, malformed or was revoked.";
            return Err(self.refuse(400, "invalid_grant", 70000, text));
        };
        let grace = self.options.refresh_token_grace;
        let replaced = known.replaced.zip(grace);
        if replaced.is_some_and(|(replaced, grace)| self.now >= replaced + grace) {
            let text = "The provided grant has expired due to it being revoked, a fresh auth token \
                        is needed.";
            return Err(self.refuse(400, "invalid_grant", 50173, text));
        }
        if self.now > known.used + IDLE {
            let text = "The refresh token has expired due to inactivity. The token was inactive \
                        for 90.00:00:00.";
            return Err(self.refuse(400, "invalid_grant", 700082, text));
        }
        let renewed = renews.then(|| format!("1.{}", self.dice.base64url(64)));
        self.accounts[index].app.renew(token, renewed.clone(), self.now);
        Ok(renewed)
    }

    fn account(&mut self, tenant: &str, client_id: &str) -> Result<usize, Outcome> {
        let tenant = Uuid::try_parse(tenant).ok();
        let of_tenant = |account: &Account| Some(account.partner_tenant) == tenant;
        if !self.accounts.iter().any(of_tenant) {
            let text = "Tenant not found. Check to make sure you have the correct tenant ID.";
            return Err(self.refuse(400, "invalid_request", 90002, text));
        }
        let client = Uuid::try_parse(client_id).ok();
        self.accounts
            .iter()
            .position(|account| of_tenant(account) && Some(account.app.client_id) == client)
            .ok_or_else(|| {
                let text = "Application was not found in the directory.";
                self.refuse(400, "unauthorized_client", 700016, text)
            })
    }

    fn issue(
        &mut self,
        index: usize,
        audience: &str,
        v1: bool,
        user: bool,
    ) -> (Outcome, String, Issued) {
        let lifetime = self.options.token_lifetime;
        let account = &self.accounts[index];
        let tid = if self.foreign { self.dice.uuid() } else { account.token_tenant };
        let issued_at = self.wall.as_second();
        let expires_on = issued_at + lifetime.as_secs() as i64;
        let mut claims = json!({
            "aud": audience,
            "iss": format!("https://sts.windows.net/{tid}/"),
            "iat": issued_at,
            "nbf": issued_at,
            "exp": expires_on,
            "appid": account.app.client_id,
            "tid": tid,
            "ver": if v1 { "1.0" } else { "2.0" },
        });
        if user {
            claims["scp"] = json!("user_impersonation");
        }
        let header = json!({ "typ": "JWT", "alg": "RS256" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.{}", part(&header), part(&claims), self.dice.base64url(32));
        let seconds = lifetime.as_secs();
        let body = if v1 {
            json!({
                "token_type": "Bearer",
                "expires_in": seconds.to_string(),
                "ext_expires_in": seconds.to_string(),
                "expires_on": expires_on.to_string(),
                "not_before": issued_at.to_string(),
                "resource": audience,
                "access_token": token,
            })
        } else {
            json!({ "token_type": "Bearer", "expires_in": seconds, "access_token": token })
        };
        let issued = Issued {
            account: index,
            audience: audience.to_owned(),
            expires: self.now + Duration::from_secs(seconds),
            foreign: tid != account.partner_tenant,
            user,
        };
        (Outcome::ok(body), token, issued)
    }

    /// The error shape of Entra.
    fn refuse(&mut self, status: u16, error: &str, code: u32, text: &str) -> Outcome {
        let (trace, correlation) = (self.dice.uuid(), self.dice.uuid());
        let time = self.wall.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let body = json!({
            "error": error,
            "error_description": format!(
                "AADSTS{code}: {text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\n\
                 Timestamp: {time}"
            ),
            "error_codes": [code],
            "timestamp": time,
            "trace_id": trace,
            "correlation_id": correlation,
        });
        Outcome::with_status(status, Some(body))
    }
}
