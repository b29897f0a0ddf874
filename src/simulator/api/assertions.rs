//! Judging client assertions: those an app signs with its certificate, and those of another identity
//! provider (fact sheet, section 2).

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use serde_json::Value;
use webpki::EndEntityCert;
use webpki::aws_lc_rs::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256_LEGACY_KEY};

use super::super::app::App;

/// The longest life an assertion may have, in seconds.
const LONGEST_LIFE: i64 = 600;
/// How far the clocks of an app and of Entra may differ, in seconds.
const SKEW: i64 = 300;

/// Why an assertion is not accepted: the AADSTS code and its text.
pub(crate) type Flaw = (u32, String);

/// What an assertion is held against.
pub(crate) struct Judge<'a> {
    pub(crate) app: &'a App,
    /// Path of the endpoint it was shown to.
    pub(crate) path: &'a str,
    /// Host of the endpoint, where the request names it.
    pub(crate) host: Option<&'a str>,
    /// Seconds since the epoch.
    pub(crate) now: i64,
}

impl Judge<'_> {
    pub(crate) fn examine(&self, assertion: &str) -> Result<(), Flaw> {
        let malformed = || (50027, "JWT token is invalid or malformed.".to_owned());
        let parts: Vec<&str> = assertion.split('.').collect();
        let &[header, claims, signature] = parts.as_slice() else { return Err(malformed()) };
        let read = |part: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice::<Value>(&bytes).ok()
        };
        let (Some(header), Some(claims)) = (read(header), read(claims)) else {
            return Err(malformed());
        };
        let own = self.app.client_id.to_string();
        if !text(&claims, "iss").eq_ignore_ascii_case(&own) {
            return self.federated(assertion, &claims);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
        let signed = assertion.rsplit_once('.').map_or("", |(signed, _)| signed);
        self.signed_by_the_app(&header, signed.as_bytes(), &signature)?;
        if !text(&claims, "sub").eq_ignore_ascii_case(&own) {
            let text =
                "Client assertion application identifier doesn't match 'client_id' parameter.";
            return Err((700021, text.to_owned()));
        }
        if text(&claims, "jti").is_empty() {
            return Err(malformed());
        }
        self.aimed_here(text(&claims, "aud"))?;
        self.timely(&claims)
    }

    /// A token of another provider: the very text that was registered, while it lasts.
    fn federated(&self, assertion: &str, claims: &Value) -> Result<(), Flaw> {
        if !self.app.trusts(assertion) {
            let subject = text(claims, "sub");
            return Err((
                700213,
                format!(
                    "No matching federated identity record found for presented assertion subject \
                     '{subject}'. Check your federated identity credential Subject, Audience and \
                     Issuer against the presented assertion."
                ),
            ));
        }
        match claims.get("exp").and_then(Value::as_i64) {
            Some(exp) if exp + SKEW < self.now => Err(untimely(exp, self.now)),
            _ => Ok(()),
        }
    }

    fn signed_by_the_app(
        &self,
        header: &Value,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), Flaw> {
        let (name, hash, algorithm): (_, _, &dyn SignatureVerificationAlgorithm) =
            match text(header, "alg") {
                "PS256" => ("x5t#S256", &digest::SHA256, RSA_PSS_2048_8192_SHA256_LEGACY_KEY),
                "RS256" => ("x5t", &digest::SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256),
                _ => {
                    return Err((
                        5002738,
                        "The JWT signature algorithm is not allowed.".to_owned(),
                    ));
                }
            };
        let thumbprint = text(header, name);
        if thumbprint.is_empty() || text(header, "typ") != "JWT" {
            let text = "Invalid JWT token. No certificate thumbprint specified in token header.";
            return Err((50027, text.to_owned()));
        }
        let named = |der: &&[u8]| URL_SAFE_NO_PAD.encode(digest::digest(hash, der)) == thumbprint;
        let invalid = |reason: &str| {
            (700027, format!("Client assertion contains an invalid signature. [Reason - {reason}]"))
        };
        let der = self.app.certificates().find(named);
        let der = CertificateDer::from(der.ok_or_else(|| invalid("The key was not found."))?);
        EndEntityCert::try_from(&der)
            .and_then(|certificate| certificate.verify_signature(algorithm, signed, signature))
            .map_err(|_| invalid("The key was found, but use of it failed."))
    }

    fn aimed_here(&self, audience: &str) -> Result<(), Flaw> {
        let url = url::Url::parse(audience).ok();
        let here = url.is_some_and(|url| {
            let authority = url.authority();
            url.path().eq_ignore_ascii_case(self.path)
                && self.host.is_none_or(|host| host.eq_ignore_ascii_case(authority))
        });
        if here {
            return Ok(());
        }
        let text = "Client assertion audience claim does not match Realm issuer.";
        Err((700023, text.to_owned()))
    }

    fn timely(&self, claims: &Value) -> Result<(), Flaw> {
        let claim = |name: &str| claims.get(name).and_then(Value::as_i64);
        let exp = claim("exp").unwrap_or_default();
        let from = claim("nbf").or_else(|| claim("iat")).unwrap_or_default();
        // Entra sets no limit; Microsoft's pages ask for ten minutes at most.
        let short = exp - from <= LONGEST_LIFE;
        if short && from - SKEW <= self.now && self.now <= exp + SKEW {
            return Ok(());
        }
        Err(untimely(exp, self.now))
    }
}

fn untimely(exp: i64, now: i64) -> Flaw {
    let text = format!(
        "Client assertion is not within its valid time range. Current time: {now}, expiry time of \
         assertion {exp}."
    );
    (700024, text)
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}
