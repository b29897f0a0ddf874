//! Workload identity: the token of another provider, as it stands in its file right now.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use teardownd::partner_center::credentials::CredentialKind;

use crate::support::*;

/// A token as a cluster issues it, good until `exp`.
fn token(serial: u32, exp: i64) -> String {
    let claims = json!({
        "iss": "https://cluster.example",
        "sub": "system:serviceaccount:ops:teardownd",
        "aud": ["api://AzureADTokenExchange"],
        "exp": exp,
        "n": serial,
    });
    format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn bench() -> Bench {
    Bench::new(|files| v2(CredentialKind::WorkloadIdentity { token_file: files.path("token") }))
}

#[tokio::test(start_paused = true)]
async fn the_file_is_read_anew_for_every_token_request() {
    let bench = bench();
    let far = bench.now().as_second() + 86_400;
    for serial in 1..4 {
        let token = token(serial, far);
        bench.files.put("token", &token);
        // As Kubernetes mounts it.
        bench.files.mode("token", 0o644);
        bench.simulator.change_app(PARTNER, |app| {
            app.expire_secrets().trust(&*token);
        });
        bench.read().await.unwrap();
        assert_eq!(bench.sent("client_assertion"), token);
        let form = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!(bench.sent("client_assertion_type"), form);
        bench.outlive().await;
    }
    assert_eq!(bench.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_trusted_is_refused_in_words() {
    let bench = bench();
    bench.files.put("token", &token(1, bench.now().as_second() + 86_400));
    let refusal = bench.refusal().await;
    let subject = "presented assertion subject 'system:serviceaccount:ops:teardownd'";
    assert!(refusal.contains("AADSTS700213: ") && refusal.contains(subject), "{refusal}");
    assert!(refusal.ends_with("letter case included"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_its_provider_does_not_renew_is_refused_in_words() {
    let bench = bench();
    let token = token(1, bench.now().as_second() + 3600);
    bench.files.put("token", &token);
    bench.simulator.change_app(PARTNER, |app| {
        app.trust(&*token);
    });
    bench.read().await.unwrap();
    bench.pass(Duration::from_secs(3600 + 301)).await;
    let refusal = bench.refusal().await;
    assert!(refusal.contains("AADSTS700024: "), "{refusal}");
    assert!(refusal.ends_with("see that its provider renews it"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_file_are_named() {
    let bench = bench();
    let refusal = bench.refusal().await;
    assert!(refusal.starts_with("cannot read the federated token file /"), "{refusal}");
    bench.files.put("token", "a token\nand more");
    let refusal = bench.refusal().await;
    assert!(refusal.contains("does not hold a federated token (one line of text)"), "{refusal}");
    bench.files.put("token", "text");
    bench.files.mode("token", 0o666);
    let refusal = bench.refusal().await;
    assert!(refusal.contains("run: chmod o-w /"), "{refusal}");
    assert_eq!(bench.requests(), 0);
}
