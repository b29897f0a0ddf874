//! Answers of the token endpoint (Entra), and what a token says about its tenant.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD_INDIFFERENT;
use secrecy::SecretString;
use serde_json::Value;

use super::fields::Fields;
use super::{Damaged, json, tidy};
use crate::core::ids::TenantId;

/// A token as it was issued.
#[derive(Debug, Clone)]
pub struct TokenAnswer {
    /// `access_token`.
    pub access_token: SecretString,
    /// `expires_in`: how long it lives, where the answer says so.
    pub expires_in: Option<Duration>,
    /// `refresh_token`: the one to use next time, where a new one was issued.
    pub refresh_token: Option<SecretString>,
}

/// Entra's refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRefusal {
    /// `error`, such as `invalid_client`.
    pub error: String,
    /// `error_description`, tidied, without the ids and the time that follow the sentence.
    pub text: String,
    /// `error_codes`, such as 7000222 for an expired secret.
    pub codes: Vec<i64>,
}

/// Reads a token answer. The v1 endpoint writes its numbers as text, the v2 endpoint as numbers
/// (MicrosoftDocs/partner-center-sdk, `partner-center-authentication.md`; MicrosoftDocs/entra-docs).
///
/// # Errors
/// When it is not an object with an `access_token`. The text holds nothing of the body.
pub fn token(body: &[u8]) -> Result<TokenAnswer, Damaged> {
    let value = json(body)?;
    let fields = Fields::demand(&value, "the token answer")?;
    let access_token = fields
        .text("access_token")
        .ok_or_else(|| Damaged::new("there is no access_token in it"))?;
    let expires_in = fields.integer("expires_in").and_then(|s| u64::try_from(s).ok());
    // It has to be found again in its file, where it stands on a line of its own.
    let refresh_token =
        fields.text("refresh_token").filter(|token| !token.contains(char::is_control));
    Ok(TokenAnswer {
        access_token: access_token.into(),
        expires_in: expires_in.map(Duration::from_secs),
        refresh_token: refresh_token.map(SecretString::from),
    })
}

/// Reads a refusal, if the body is one in Entra's shape.
pub fn token_refusal(body: &[u8]) -> Option<TokenRefusal> {
    let value = json(body).ok()?;
    let fields = Fields::of(&value)?;
    let error = fields.text("error")?;
    let codes = fields.list("error_codes").unwrap_or_default();
    let description = fields.text("error_description").unwrap_or_else(|| error.clone());
    let sentence = description.split("Trace ID:").next().unwrap_or_default();
    Some(TokenRefusal {
        text: tidy(sentence),
        error: tidy(&error),
        codes: codes.iter().filter_map(whole_number).collect(),
    })
}

impl TokenRefusal {
    /// Whether it says that the authority, and not the credential, is in trouble (RFC 6749).
    pub fn is_passing(&self) -> bool {
        matches!(self.error.as_str(), "temporarily_unavailable" | "server_error")
    }
}

fn whole_number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// The tenant a token was issued for: the `tid` of its payload. The signature is not checked; the
/// token came over TLS from the authority, and Partner Center checks it.
///
/// # Errors
/// When the token is no JSON Web Token with a GUID as its `tid`. The text holds nothing of it.
pub fn tenant_of(token: &str) -> Result<TenantId, Damaged> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Damaged::new("it is not a JSON Web Token of three parts"));
    };
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Damaged::new("it holds characters that no token has"));
    }
    let payload = URL_SAFE_NO_PAD_INDIFFERENT
        .decode(payload)
        .map_err(|_| Damaged::new("its payload is not base64url"))?;
    let claims = json(&payload).map_err(|_| Damaged::new("its payload is not JSON"))?;
    let tid = claims.get("tid").and_then(Value::as_str);
    let tid = tid.ok_or_else(|| Damaged::new("it has no tid"))?;
    tid.parse().map_err(|_| Damaged::new("its tid is not a GUID"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const TENANT: &str = "1F2E3D4C-5B6A-4788-9900-AABBCCDDEEFF";

    fn jwt(payload: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD_INDIFFERENT.encode(payload))
    }

    #[test]
    fn token_answers_of_both_endpoints_are_read() {
        for body in [
            &br#"{"token_type":"Bearer","expires_in":3599,"access_token":"abc"}"#[..],
            br#"{"expires_in":"3599","access_token":"abc","not_before":"1"}"#,
        ] {
            let answer = token(body).unwrap();
            assert_eq!(answer.access_token.expose_secret(), "abc");
            assert_eq!(answer.expires_in, Some(Duration::from_secs(3599)));
            assert!(!format!("{answer:?}").contains("abc"), "invariant 13");
        }
        assert_eq!(token(br#"{"access_token":"abc"}"#).unwrap().expires_in, None);
        let renewed = |body: &[u8]| token(body).unwrap().refresh_token;
        let new = renewed(br#"{"access_token":"abc","refresh_token":"new"}"#).unwrap();
        assert_eq!(new.expose_secret(), "new");
        assert!(renewed(br#"{"access_token":"abc"}"#).is_none());
        assert!(renewed(br#"{"access_token":"abc","refresh_token":"two\nlines"}"#).is_none());
        for body in [&b"{}"[..], b"", b"[]", br#"{"access_token":""}"#, br#"{"access_token":"a"#] {
            assert!(token(body).is_err());
        }
    }

    #[test]
    fn a_passing_refusal_is_told_from_one_of_the_credential() {
        let read = |body: &[u8]| token_refusal(body).unwrap().is_passing();
        assert!(read(br#"{"error":"temporarily_unavailable"}"#));
        assert!(!read(br#"{"error":"invalid_grant"}"#));
    }

    #[test]
    fn refusals_are_read() {
        let refusal = token_refusal(
            br#"{"error":"invalid_client","error_description":"AADSTS7000222: expired.\r\nTrace ID: 1\r\nTimestamp: 2","error_codes":[7000222,"7"]}"#,
        )
        .unwrap();
        assert_eq!(refusal.error, "invalid_client");
        assert_eq!(refusal.text, "AADSTS7000222: expired.");
        assert_eq!(refusal.codes, [7_000_222, 7]);
        assert_eq!(token_refusal(b"<html>"), None);
        assert_eq!(token_refusal(b"{}"), None);
    }

    #[test]
    fn invariant_1_the_tenant_is_read_from_the_token_alone() {
        let tenant: TenantId = TENANT.parse().unwrap();
        let token = jwt(&format!(r#"{{"aud":"x","tid":"{TENANT}"}}"#));
        assert_eq!(tenant_of(&token), Ok(tenant));
        for undecodable in [
            String::new(),
            "opaque".to_owned(),
            "a.b".to_owned(),
            "a.!!!.c".to_owned(),
            format!("{token}.d"),
            format!("{token}\r\nX-Evil: 1"),
            jwt("not json"),
            jwt(r#"{"aud":"x"}"#),
            jwt(r#"{"tid":7}"#),
            jwt(r#"{"tid":"contoso.onmicrosoft.com"}"#),
        ] {
            assert!(tenant_of(&undecodable).is_err(), "{undecodable:?}");
        }
    }
}
