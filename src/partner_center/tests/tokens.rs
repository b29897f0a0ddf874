//! Tokens: asked for once, renewed ahead, checked before use, refused in words.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use url::form_urlencoded;

use super::send::{delete, send_on};
use crate::core::account::TroubleKind;
use crate::core::clock::Clock;
use crate::partner_center::credentials::{Credential, CredentialKind, SecretSource, TokenEndpoint};
use crate::partner_center::testing::{
    Bench, PARTNER, Reply, SECRET, fault, ok, put, reply, tenant, token_body, with_header,
};
use crate::partner_center::transport::TransportError;
use crate::partner_center::{ApiError, Kind};

const OTHER: &str = "3c4d5e6f-7081-4293-a4b5-c6d7e8f90a1b";

fn queue(bench: &Bench, replies: impl IntoIterator<Item = Reply>) {
    bench.script.tokens.lock().unwrap().extend(replies);
}

async fn pass(bench: &Bench, seconds: u64) {
    bench.clock.sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_foreign_or_undecodable_token_is_never_used() {
    let bench = Bench::new([]);
    let opaque = r#"{"expires_in":3600,"access_token":"opaque"}"#;
    queue(&bench, [Ok(ok(&token_body(OTHER, 1))), Ok(ok(opaque))]);
    let error = bench.client.orders(tenant()).await.unwrap_err();
    assert!(matches!(error, ApiError::ForeignToken { .. }), "{error}");
    assert_eq!(error.kind(), Kind::SafetyStop);
    let error = bench.client.customer(tenant()).await.unwrap_err();
    assert!(matches!(error, ApiError::UnusableToken { .. }), "{error}");
    assert!(bench.calls().is_empty(), "nothing reached the API");
    // The tid is a GUID: letter case does not count.
    queue(&bench, [Ok(ok(&token_body(&PARTNER.to_uppercase(), 3)))]);
    bench.client.check_credential().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn guard_mutation_token_issuer() {
    let mut bench = Bench::new([Ok(reply(204, ""))]);
    Arc::get_mut(&mut bench.client).unwrap().tokens.trust_any_issuer();
    queue(&bench, [Ok(ok(&token_body(OTHER, 1)))]);
    send_on(&bench, &delete()).await;
    assert!(bench.calls()[0].starts_with("DELETE "), "nothing got through: another guard hides it");
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
    assert!(
        results
            .iter()
            .all(|r| r.as_ref().is_err_and(|e| e.kind() == Kind::Outage(TroubleKind::Unreachable)))
    );
    let shared = results.iter().filter(|r| r.as_ref().is_err_and(ApiError::is_shared));
    assert_eq!(shared.count(), 7, "one of them failed by itself");
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
    assert_eq!(
        error.kind(),
        Kind::Outage(TroubleKind::Unreachable),
        "an expired token is not used"
    );
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

/// Path and form of a token request.
fn asked(bench: &Bench, index: usize) -> (String, BTreeMap<String, String>) {
    let requests = bench.script.token_requests.lock().unwrap();
    let request = &requests[index];
    let form = form_urlencoded::parse(request.body.as_ref().unwrap());
    assert_eq!((request.method, request.url.host_str()), ("POST", Some("login.example")));
    (request.url.path().to_owned(), form.into_owned().collect())
}

fn form<const N: usize>(fields: [(&str, &str); N]) -> BTreeMap<String, String> {
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[tokio::test(start_paused = true)]
async fn the_request_is_a_v2_client_credentials_grant() {
    let bench = Bench::new([]);
    bench.client.check_credential().await.unwrap();
    let wanted = form([
        ("grant_type", "client_credentials"),
        ("client_id", "app"),
        ("client_secret", SECRET),
        ("scope", "https://api.example/.default"),
    ]);
    assert_eq!(asked(&bench, 0), (format!("/{PARTNER}/oauth2/v2.0/token"), wanted));
}

#[tokio::test(start_paused = true)]
async fn the_v1_endpoint_is_asked_for_a_resource() {
    let bench = Bench::with([], |folder| Credential {
        endpoint: TokenEndpoint::V1,
        ..Credential::client_secret(SecretSource::File(put(folder, "secret", SECRET)))
    });
    let v1 = token_body(PARTNER, 1).replace("3600", "\"100\"");
    queue(&bench, [Ok(ok(&v1)), Ok(reply(503, ""))]);
    bench.client.check_credential().await.unwrap();
    let wanted = form([
        ("grant_type", "client_credentials"),
        ("client_id", "app"),
        ("client_secret", SECRET),
        ("resource", "https://api.example"),
    ]);
    assert_eq!(asked(&bench, 0), (format!("/{PARTNER}/oauth2/token"), wanted));
    pass(&bench, 101).await;
    let error = bench.client.check_credential().await.unwrap_err();
    assert_eq!(
        error.kind(),
        Kind::Outage(TroubleKind::Unreachable),
        "the life of a hundred seconds was understood"
    );
    assert!(error.to_string().starts_with("POST /{tenant}/oauth2/token: "), "{error}");
}

/// A credential of a user whose refresh token is `first`.
fn signed_in(folder: &Path) -> Credential {
    let kind = CredentialKind::RefreshToken {
        refresh_token_file: put(folder, "refresh", "first"),
        client_secret: SecretSource::File(put(folder, "secret", SECRET)),
    };
    Credential { kind, endpoint: TokenEndpoint::V2, expires: None }
}

fn with_refresh_token(token: &str) -> Reply {
    let body = token_body(PARTNER, 1);
    Ok(ok(&body.replacen('{', &format!(r#"{{"refresh_token":"{token}","#), 1)))
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_is_used_and_replaced() {
    let bench = Bench::with([], signed_in);
    queue(&bench, [with_refresh_token("second")]);
    bench.client.check_credential().await.unwrap();
    let wanted = form([
        ("grant_type", "refresh_token"),
        ("client_id", "app"),
        ("client_secret", SECRET),
        ("refresh_token", "first"),
        ("scope", "https://api.example/.default offline_access"),
    ]);
    assert_eq!(asked(&bench, 0).1, wanted);
    assert_eq!(fs::read_to_string(bench.folder.path().join("refresh")).unwrap(), "second");
    pass(&bench, 3600).await;
    bench.client.check_credential().await.unwrap();
    assert_eq!(asked(&bench, 1).1["refresh_token"], "second");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_is_not_replaced_is_used_again_and_counts_as_used() {
    let bench = Bench::with([], signed_in);
    let age = async || bench.client.credential().refresh_token_age(bench.clock.now()).await;
    bench.client.check_credential().await.unwrap();
    assert_eq!(fs::read_to_string(bench.folder.path().join("refresh")).unwrap(), "first");
    assert_eq!(age().await, Some(Duration::ZERO));
    let days = |days: u64| Duration::from_secs(days * 86_400);
    pass(&bench, days(75).as_secs() - 1).await;
    assert_eq!(bench.client.credential().warnings(bench.clock.now()).await, [""; 0]);
    pass(&bench, 1).await;
    assert_eq!(age().await, Some(days(75)));
    let warnings = bench.client.credential().warnings(bench.clock.now()).await;
    assert!(warnings[0].contains("not been used for 75 days and lapses after 90"), "{warnings:?}");
    bench.client.check_credential().await.unwrap();
    assert_eq!(age().await, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_a_person_put_there_meanwhile_stays() {
    let bench = Bench::with([], signed_in);
    *bench.script.latency.lock().unwrap() = Duration::from_secs(2);
    queue(&bench, [with_refresh_token("second")]);
    let replaced = async {
        pass(&bench, 1).await;
        put(bench.folder.path(), "refresh", "theirs");
    };
    let (obtained, ()) = futures::join!(bench.client.check_credential(), replaced);
    obtained.unwrap();
    assert_eq!(fs::read_to_string(bench.folder.path().join("refresh")).unwrap(), "theirs");
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_refresh_token_beside_a_foreign_token_is_not_kept() {
    let bench = Bench::with([], signed_in);
    let foreign = token_body(OTHER, 1).replacen('{', r#"{"refresh_token":"second","#, 1);
    queue(&bench, [Ok(ok(&foreign))]);
    let error = bench.client.check_credential().await.unwrap_err();
    assert_eq!(error.kind(), Kind::SafetyStop);
    assert_eq!(fs::read_to_string(bench.folder.path().join("refresh")).unwrap(), "first");
}

#[tokio::test(start_paused = true)]
async fn no_token_is_used_whose_refresh_token_cannot_be_stored() {
    // There is no room for the name of the file that the new token is written to first.
    let name = "n".repeat(250);
    let bench = Bench::with([], |folder| {
        let CredentialKind::RefreshToken { client_secret, .. } = signed_in(folder).kind else {
            unreachable!("signed_in makes this kind")
        };
        let refresh_token_file = put(folder, &name, "first");
        let kind = CredentialKind::RefreshToken { refresh_token_file, client_secret };
        Credential { kind, endpoint: TokenEndpoint::V2, expires: None }
    });
    queue(&bench, [with_refresh_token("second")]);
    let error = bench.client.orders(tenant()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Outage(TroubleKind::CredentialRefused));
    let text = error.to_string();
    assert!(text.contains("the renewed refresh token cannot be stored in /"), "{text}");
    assert!(text.contains("must be writable for the user teardownd runs as"), "{text}");
    assert!(bench.calls().is_empty(), "nothing reached the API");
    assert_eq!(fs::read_to_string(bench.folder.path().join(&name)).unwrap(), "first");
}

#[tokio::test(start_paused = true)]
async fn an_authority_in_trouble_is_an_outage_and_no_refusal() {
    let bench = Bench::new([]);
    let body = r#"{"error":"temporarily_unavailable","error_codes":[90033]}"#;
    queue(&bench, [Ok(reply(400, body)), Ok(reply(302, "")), Ok(reply(403, "<html>"))]);
    for _ in 0..3 {
        let error = bench.client.check_credential().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Outage(TroubleKind::Unreachable), "{error}");
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
    let ApiError::Credential { text, codes, .. } = &error else { panic!("{error}") };
    assert_eq!(codes, &[7_000_222]);
    assert_eq!(
        text,
        "the token endpoint refuses the credential: AADSTS7000222: [redacted] or [redacted] is \
         expired; make a new client secret in the app registration and put it where the old one \
         stands"
    );
    assert_eq!(error.kind(), Kind::Outage(TroubleKind::CredentialRefused));
    for secret in [SECRET, &encoded] {
        assert!(!format!("{error:?} {error}").contains(secret), "invariant 13");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_9_a_429_of_the_token_endpoint_closes_the_account() {
    let bench = Bench::new([]);
    queue(&bench, [Ok(with_header(reply(429, "{}"), "retry-after", "20")), Ok(reply(429, "{}"))]);
    let error = bench.client.check_credential().await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Throttled { .. }), "{error}");
    assert_eq!(bench.books.closed.lock().unwrap().len(), 1);
    let error = bench.client.check_credential().await.unwrap_err();
    assert_eq!(
        error.kind(),
        Kind::Outage(TroubleKind::Unreachable),
        "without a Retry-After it is an outage"
    );
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

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_noticed_and_the_rotation_of_a_refresh_token_is_none() {
    let bench = Bench::with([], |folder| Credential {
        kind: CredentialKind::RefreshToken {
            refresh_token_file: put(folder, "refresh", "first"),
            client_secret: SecretSource::File(put(folder, "secret", SECRET)),
        },
        ..Credential::client_secret(SecretSource::Value(SECRET.into()))
    });
    assert!(bench.client.credential_has_changed().await, "it was never shown");
    let renewed = token_body(PARTNER, 1).replacen('{', r#"{"refresh_token":"second","#, 1);
    bench.script.tokens.lock().unwrap().push_back(Ok(ok(&renewed)));
    bench.client.check_credential().await.unwrap();
    assert_eq!(
        std::fs::read_to_string(bench.folder.path().join("refresh")).unwrap().trim(),
        "second"
    );
    assert!(!bench.client.credential_has_changed().await, "we replaced it ourselves");
    put(bench.folder.path(), "secret", "a longer secret than before");
    assert!(bench.client.credential_has_changed().await);
}
