//! Certificates: what is signed, for how long it counts, and what happens when they are renewed.

use std::sync::Arc;
use std::time::Duration;

use teardownd::partner_center::credentials::{
    Algorithm, Certificate, Credential, CredentialKind, TokenEndpoint,
};

use teardownd::partner_center::{ReqwestTransport, TransportSettings};
use teardownd::simulator::server;
use tokio::net::TcpListener;

use crate::support::*;

/// Puts a pair of the test data into the two files.
fn put_pair(files: &Files, number: u8) {
    files.put("certificate.pem", &data(&format!("test-certificate-{number}.pem")));
    files.put("key.pem", &data(&format!("test-key-{number}.pem")));
}

fn certificate(files: &Files, algorithm: Algorithm) -> CredentialKind {
    put_pair(files, 1);
    CredentialKind::Certificate(Certificate {
        certificate_file: files.path("certificate.pem"),
        key_file: files.path("key.pem"),
        algorithm,
    })
}

/// An account whose app has the first certificate.
fn bench(algorithm: Algorithm, endpoint: TokenEndpoint) -> Bench {
    let bench = Bench::new(|files| {
        let kind = certificate(files, algorithm);
        Credential { kind, endpoint, expires: None }
    });
    register(&bench, 1);
    bench
}

/// Lets the app have this certificate alone.
fn register(bench: &Bench, number: u8) {
    let der = der(&data(&format!("test-certificate-{number}.pem")));
    bench.simulator.change_app(PARTNER, |app| {
        app.expire_secrets().remove_certificates().add_certificate(der.clone());
    });
}

#[tokio::test(start_paused = true)]
async fn both_algorithms_are_accepted_at_both_endpoints() {
    for algorithm in [Algorithm::Ps256, Algorithm::Rs256] {
        for endpoint in [TokenEndpoint::V2, TokenEndpoint::V1] {
            let bench = bench(algorithm, endpoint);
            bench.read().await.unwrap();
            assert_eq!(bench.api_calls(), 1, "{algorithm:?} {endpoint:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_is_taken_up_without_a_restart() {
    let bench = bench(Algorithm::Ps256, TokenEndpoint::V2);
    bench.read().await.unwrap();
    let before = bench.client.credential().stamp().await;
    register(&bench, 2);
    bench.outlive().await;
    let refusal = bench.refusal().await;
    assert!(refusal.contains("AADSTS700027: Client assertion contains"), "{refusal}");
    assert!(
        refusal.ends_with(
            "add the certificate to the app registration, or name the one that is there"
        ),
        "{refusal}"
    );
    assert_eq!(bench.client.credential().stamp().await, before);

    // Between the two files that are renewed, they are no pair.
    bench.files.put("certificate.pem", &data("test-certificate-2.pem"));
    let refusal = bench.refusal().await;
    assert!(refusal.contains("does not belong to the certificate in"), "{refusal}");
    put_pair(&bench.files, 2);
    assert_ne!(bench.client.credential().stamp().await, before, "worth another try");
    bench.read().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_assertion_counts_for_five_minutes_at_one_endpoint() {
    let bench = bench(Algorithm::Ps256, TokenEndpoint::V2);
    bench.read().await.unwrap();
    assert_eq!(bench.replayed(&v2_path(), |_| {}), 0);
    let v1 = format!("/{PARTNER}/oauth2/token");
    let with_resource = |form: &mut Vec<(String, String)>| {
        form.push(("resource".to_owned(), "https://api.example".to_owned()));
    };
    assert_eq!(bench.replayed(&v1, with_resource), 700023, "made for another endpoint");
    assert_eq!(bench.replayed_at("login.elsewhere.example", &v2_path(), |_| {}), 700023);
    // Five minutes of life and as many for clocks that differ.
    bench.pass(Duration::from_secs(600)).await;
    assert_eq!(bench.replayed(&v2_path(), |_| {}), 0);
    bench.pass(Duration::from_secs(1)).await;
    assert_eq!(bench.replayed(&v2_path(), |_| {}), 700024);
}

#[tokio::test(start_paused = true)]
async fn every_token_request_has_an_assertion_of_its_own() {
    let bench = bench(Algorithm::Ps256, TokenEndpoint::V2);
    bench.read().await.unwrap();
    let first = bench.sent("client_assertion");
    bench.outlive().await;
    bench.read().await.unwrap();
    assert_ne!(bench.sent("client_assertion"), first);
    assert_eq!(bench.sent("client_secret"), "");
}

#[tokio::test(start_paused = true)]
async fn a_changed_assertion_is_refused() {
    let bench = bench(Algorithm::Ps256, TokenEndpoint::V2);
    bench.read().await.unwrap();
    let assertion = bench.sent("client_assertion");
    let parts: Vec<&str> = assertion.split('.').collect();
    let with = |assertion: String| {
        move |form: &mut Vec<(String, String)>| {
            for (name, value) in form {
                if name == "client_assertion" {
                    value.clone_from(&assertion);
                }
            }
        }
    };
    let path = v2_path();
    let first = if parts[2].starts_with('A') { "B" } else { "A" };
    let swapped = format!("{first}{}", &parts[2][1..]);
    for (changed, code) in [
        (format!("{}.{}.{swapped}", parts[0], parts[1]), 700027),
        (format!("{}.{}", parts[0], parts[1]), 50027),
        // {"alg":"none"}
        (format!("eyJhbGciOiJub25lIn0.{}.{}", parts[1], parts[2]), 5002738),
        // {"alg":"RS256","typ":"JWT"}
        (format!("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.{}.{}", parts[1], parts[2]), 50027),
    ] {
        assert_eq!(bench.replayed(&path, with(changed)), code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_others_may_read_is_not_used() {
    let bench = bench(Algorithm::Ps256, TokenEndpoint::V2);
    bench.files.mode("key.pem", 0o644);
    let refusal = bench.refusal().await;
    assert!(refusal.contains("the private key file /") && refusal.contains("run: chmod 640 /"));
    assert_eq!(bench.requests(), 0);
    bench.files.mode("key.pem", 0o640);
    bench.files.mode("certificate.pem", 0o644);
    bench.read().await.unwrap();
}

#[tokio::test]
async fn an_assertion_is_accepted_over_sockets() {
    let bench = bench(Algorithm::Ps256, TokenEndpoint::V2);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = server::serve(bench.simulator.clone(), listener).unwrap();
    let transport = Arc::new(ReqwestTransport::new(&TransportSettings::default()).unwrap());
    let credential = bench.client.credential().clone();
    let client = client(&server.url(), credential, transport, bench.clock.clone());
    client.check_credential().await.unwrap();
    server.shutdown().await;
}
