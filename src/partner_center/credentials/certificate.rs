//! Proof by certificate: a JSON Web Token that the app signs for itself (MicrosoftDocs/entra-docs,
//! `certificate-credentials.md`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use aws_lc_rs::{digest, error::KeyRejected};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::{CredentialError, SecretKind};
use super::files;

/// How long an assertion may be used. Microsoft wants 5 to 10 minutes at most.
const LIFETIME: Duration = Duration::from_secs(300);

/// How an assertion is signed, and how it names its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// RSA with PSS padding; the SHA-256 thumbprint in `x5t#S256`.
    #[default]
    Ps256,
    /// RSA with PKCS#1 padding; the SHA-1 thumbprint in `x5t`, as older pages have it.
    Rs256,
}

impl Algorithm {
    /// The name it has in the configuration and in assertions (RFC 7518).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Ps256, Self::Rs256].into_iter().find(|own| own.as_str().eq_ignore_ascii_case(name))
    }

    fn encoding(self) -> &'static dyn RsaEncoding {
        match self {
            Self::Ps256 => &RSA_PSS_SHA256,
            Self::Rs256 => &RSA_PKCS1_SHA256,
        }
    }

    /// Header parameter and hash of the certificate's thumbprint.
    fn thumbprint(self, certificate: &CertificateDer<'_>) -> (&'static str, String) {
        let (name, hash) = match self {
            Self::Ps256 => ("x5t#S256", &digest::SHA256),
            Self::Rs256 => ("x5t", &digest::SHA1_FOR_LEGACY_USE_ONLY),
        };
        (name, URL_SAFE_NO_PAD.encode(digest::digest(hash, certificate)))
    }
}

/// The certificate of an app registration with its private key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate; the first one counts where there are several.
    pub certificate_file: PathBuf,
    /// Its RSA key, in PKCS#8 or PKCS#1 form. May be the same file.
    pub key_file: PathBuf,
    /// How assertions are signed.
    pub algorithm: Algorithm,
}

/// What stands in an assertion.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement<'a> {
    /// Id of the app registration.
    pub(super) client_id: &'a str,
    /// The token endpoint that it is made for.
    pub(super) audience: &'a str,
    /// Unlike that of any other assertion.
    pub(super) id: Uuid,
    pub(super) now: Timestamp,
}

impl Certificate {
    /// A signed assertion. Both files are read anew, so that a renewed certificate needs no restart.
    ///
    /// # Errors
    /// When the files cannot be read or do not hold a certificate and its RSA key.
    pub(super) fn assertion(
        &self,
        statement: Statement<'_>,
    ) -> Result<SecretString, CredentialError> {
        let (certificate, key) = self.load()?;
        let (thumbprint_name, thumbprint) = self.algorithm.thumbprint(&certificate);
        let header =
            json!({"alg": self.algorithm.as_str(), "typ": "JWT", thumbprint_name: thumbprint});
        let issued = statement.now.as_second();
        let claims = json!({
            "aud": statement.audience,
            "iss": statement.client_id,
            "sub": statement.client_id,
            "jti": statement.id,
            "nbf": issued,
            "iat": issued,
            "exp": issued + LIFETIME.as_secs() as i64,
        });
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(
            self.algorithm.encoding(),
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .map_err(|error| self.unusable(&error))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }

    /// Both files, checked to belong together.
    pub(super) fn load(&self) -> Result<(CertificateDer<'static>, RsaKeyPair), CredentialError> {
        let certificate = read_certificate(&self.certificate_file)?;
        let key = self.read_key()?;
        // A certificate holds its public key as the key pair writes it, and no second one.
        let public = key.public_key().as_ref();
        if !certificate.windows(public.len()).any(|part| part == public) {
            return Err(CredentialError::NotAPair {
                certificate: self.certificate_file.clone(),
                key: self.key_file.clone(),
            });
        }
        Ok((certificate, key))
    }

    fn read_key(&self) -> Result<RsaKeyPair, CredentialError> {
        let path = &self.key_file;
        let pem = files::bytes(path, SecretKind::PrivateKey)?;
        let pem = pem.expose_secret();
        let key = match PrivateKeyDer::from_pem_slice(pem) {
            Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            Ok(_) => return Err(self.unusable(&"it is not an RSA key")),
            Err(_) if is_encrypted(pem) => {
                return Err(CredentialError::Encrypted { path: path.clone() });
            }
            Err(_) => return Err(not_pem(path, SecretKind::PrivateKey, "PRIVATE KEY")),
        };
        key.map_err(|error: KeyRejected| self.unusable(&error))
    }

    fn unusable(&self, why: &dyn std::fmt::Display) -> CredentialError {
        CredentialError::UnusableKey { path: self.key_file.clone(), why: why.to_string() }
    }
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, CredentialError> {
    let pem = files::bytes(path, SecretKind::Certificate)?;
    CertificateDer::from_pem_slice(pem.expose_secret())
        .map_err(|_| not_pem(path, SecretKind::Certificate, "CERTIFICATE"))
}

fn not_pem(path: &Path, kind: SecretKind, label: &'static str) -> CredentialError {
    CredentialError::NotPem { kind, path: path.to_owned(), label }
}

/// `BEGIN ENCRYPTED PRIVATE KEY`, or the older header `Proc-Type: 4,ENCRYPTED`.
fn is_encrypted(pem: &[u8]) -> bool {
    pem.windows(9).any(|word| word == b"ENCRYPTED")
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use aws_lc_rs::signature::{
        RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    };

    use super::*;

    macro_rules! data {
        ($name:literal) => {
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/credentials/", $name))
        };
    }

    const CERTIFICATE: &str = data!("test-certificate-1.pem");
    const KEY: &str = data!("test-key-1.pem");
    const OTHER_CERTIFICATE: &str = data!("test-certificate-2.pem");
    const OTHER_KEY: &str = data!("test-key-2.pem");

    fn statement() -> Statement<'static> {
        Statement {
            client_id: "app",
            audience: "https://login.example/token",
            id: Uuid::from_u128(7),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
        }
    }

    fn pair(folder: &Path, certificate: &str, key: &str) -> Certificate {
        let put = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        Certificate {
            certificate_file: put("certificate.pem", certificate),
            key_file: put("key.pem", key),
            algorithm: Algorithm::default(),
        }
    }

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn an_assertion_says_what_entra_wants_and_is_signed_with_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let pair = pair(folder.path(), CERTIFICATE, KEY);
        // The thumbprints are those that `openssl x509 -fingerprint` shows, in base64url.
        for (algorithm, name, thumbprint, verification) in [
            (
                Algorithm::Ps256,
                "x5t#S256",
                "H5hew06BOCvWf4lzwb7nG409J7wuxjhPr_4zcoovgz4",
                &RSA_PSS_2048_8192_SHA256,
            ),
            (Algorithm::Rs256, "x5t", "d7VJOAjXmAVSN4Q1DTXcHoKR0hI", &RSA_PKCS1_2048_8192_SHA256),
        ] {
            let pair = Certificate { algorithm, ..pair.clone() };
            let assertion = pair.assertion(statement()).unwrap();
            let parts: Vec<_> = assertion.expose_secret().split('.').collect();
            let [header, claims, signature] = parts[..] else { panic!("{parts:?}") };
            let alg = algorithm.as_str();
            assert_eq!(decoded(header), json!({"alg": alg, "typ": "JWT", name: thumbprint}));
            assert_eq!(
                decoded(claims),
                json!({
                    "aud": "https://login.example/token",
                    "iss": "app",
                    "sub": "app",
                    "jti": "00000000-0000-0000-0000-000000000007",
                    "nbf": 1_800_000_000,
                    "iat": 1_800_000_000,
                    "exp": 1_800_000_300,
                })
            );
            let (_, key) = pair.load().unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let signed = format!("{header}.{claims}");
            UnparsedPublicKey::new(verification, key.public_key().as_ref())
                .verify(signed.as_bytes(), &signature)
                .unwrap();
        }
    }

    #[test]
    fn both_forms_of_a_key_and_both_in_one_file_are_read() {
        let folder = tempfile::tempdir().unwrap();
        pair(folder.path(), OTHER_CERTIFICATE, OTHER_KEY).load().unwrap();
        let both = format!("{KEY}\n{CERTIFICATE}\n{OTHER_CERTIFICATE}");
        pair(folder.path(), &both, &both).load().unwrap();
    }

    #[test]
    fn invariant_13_faults_of_both_files_are_named_without_their_content() {
        let folder = tempfile::tempdir().unwrap();
        for (certificate, key, words) in [
            ("none", KEY, "needs a part that begins with -----BEGIN CERTIFICATE-----"),
            (KEY, KEY, "the certificate file"),
            (CERTIFICATE, "none", "needs a part that begins with -----BEGIN PRIVATE KEY-----"),
            (CERTIFICATE, CERTIFICATE, "holds no private key in PEM form"),
            (CERTIFICATE, data!("test-key-encrypted.pem"), "is protected by a passphrase"),
            (CERTIFICATE, data!("test-key-elliptic.pem"), "Entra takes RSA keys of 2048 bits"),
            (CERTIFICATE, data!("test-key-1024-bits.pem"), "Entra takes RSA keys of 2048 bits"),
            (CERTIFICATE, OTHER_KEY, "does not belong to the certificate in"),
            (OTHER_CERTIFICATE, KEY, "name the two files of one pair"),
        ] {
            let error = pair(folder.path(), certificate, key).load().unwrap_err();
            let text = error.to_string();
            assert!(text.contains(words), "{text}");
            assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
            assert!(!text.contains("MII"), "invariant 13: {text}");
        }
        let pair = pair(folder.path(), CERTIFICATE, KEY);
        fs::set_permissions(&pair.key_file, fs::Permissions::from_mode(0o644)).unwrap();
        let text = pair.load().unwrap_err().to_string();
        assert!(text.contains("the private key file") && text.contains("chmod 640"), "{text}");
    }
}
