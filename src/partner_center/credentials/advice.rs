//! What an operator can do about a refusal of Entra, by its AADSTS code (MicrosoftDocs/entra-docs,
//! `reference-error-codes.md`, and the texts themselves).

use super::CredentialKind;

/// One sentence on what to do, for the codes whose cause is known.
pub(super) fn advice(codes: &[i64], kind: &CredentialKind) -> Option<&'static str> {
    codes.iter().find_map(|code| for_code(*code, kind))
}

fn for_code(code: i64, kind: &CredentialKind) -> Option<&'static str> {
    Some(match code {
        7_000_222 => {
            "make a new client secret in the app registration and put it where the old one stands"
        }
        7_000_215 => "put the value of the client secret there, not its id",
        7_000_112 => "the app registration is disabled: enable it in Entra",
        700_016 => "check client_id, and that the app registration is in partner_tenant",
        90_002 => "check partner_tenant, and that cloud or authority is the one it lives in",
        700_027 => "add the certificate to the app registration, or name the one that is there",
        700_023 => "check that cloud or authority is the one partner_tenant lives in",
        700_024 if matches!(kind, CredentialKind::WorkloadIdentity { .. }) => {
            "the token in token_file has expired: see that its provider renews it"
        }
        700_024 => "set this machine's clock",
        70_021 | 700_211..=700_213 | 7_002_131..=7_002_139 => {
            "compare issuer, subject and audience of the token with the federated credential of the app registration, letter case included"
        }
        70_000 | 70_008 | 70_043 | 50_173 | 54_005 | 700_082 | 9_002_313 => {
            "sign in again as the user and put the new refresh token into refresh_token_file"
        }
        50_074 | 50_076 | 50_079 | 50_158 => {
            "sign in again with multifactor authentication and put the new refresh token into refresh_token_file"
        }
        53_000..=53_004 | 530_003 => {
            "ask the administrator of partner_tenant which conditional access policy refuses the app"
        }
        65_001 => {
            "have an administrator of partner_tenant consent to the app's permission for Partner Center"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partner_center::credentials::SecretSource;

    #[test]
    fn known_codes_have_a_next_step_and_the_first_one_known_counts() {
        let secret = CredentialKind::ClientSecret(SecretSource::Variable("S".to_owned()));
        let federated = CredentialKind::WorkloadIdentity { token_file: "t".into() };
        for (codes, kind, words) in [
            (&[7_000_222][..], &secret, "make a new client secret"),
            (&[7_000_112], &secret, "enable it in Entra"),
            (&[700_016], &secret, "check client_id"),
            (&[90_002], &secret, "check partner_tenant"),
            (&[700_024], &secret, "set this machine's clock"),
            (&[700_024], &federated, "see that its provider renews it"),
            (&[700_212], &federated, "letter case included"),
            (&[50_076], &secret, "multifactor"),
            (&[53_003], &secret, "conditional access"),
            (&[65_001], &secret, "consent"),
            (&[1, 700_082], &secret, "sign in again"),
        ] {
            let advice = advice(codes, kind).unwrap();
            assert!(advice.contains(words), "{codes:?}: {advice}");
        }
        assert_eq!(advice(&[1], &secret), None);
        assert_eq!(advice(&[], &secret), None);
    }
}
