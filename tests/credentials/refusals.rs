//! Refusals of Entra: the account's trouble, in Entra's words and with a next step.

use jiff::civil::date;
use teardownd::partner_center::ApiError;
use teardownd::partner_center::credentials::{Credential, SecretSource};
use teardownd::simulator::{Effect, Matching, Rule, Template, When};

use crate::support::*;

fn bench() -> Bench {
    Bench::new(|files| Credential::client_secret(files.secret()))
}

#[tokio::test(start_paused = true)]
async fn an_expired_secret_ends_with_the_new_one_in_its_file() {
    let bench = bench();
    bench.read().await.unwrap();
    bench.simulator.change_app(PARTNER, |app| {
        app.expire_secrets();
    });
    bench.outlive().await;
    assert_eq!(
        bench.refusal().await,
        format!(
            "the token endpoint refuses the credential: AADSTS7000222: The provided client secret \
             keys for app '{CLIENT}' are expired; make a new client secret in the app \
             registration and put it where the old one stands"
        )
    );
    bench.simulator.change_app(PARTNER, |app| {
        app.add_secret("a new one");
    });
    bench.files.put("secret", "a new one");
    bench.read().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_is_refused_with_its_codes() {
    let bench = bench();
    bench.files.put("secret", "wrong");
    let error = bench.read().await.unwrap_err();
    let ApiError::Credential { text, codes, .. } = error else { panic!("{error}") };
    assert_eq!(codes, [7_000_215]);
    assert!(text.ends_with("put the value of the client secret there, not its id"), "{text}");
    assert!(!text.contains("Trace ID"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_401_gets_one_new_token_and_then_the_refusal_is_entra_s() {
    let bench = bench();
    bench.read().await.unwrap();
    bench.simulator.change_app(PARTNER, |app| {
        app.expire_secrets();
    });
    let matching = Matching { templates: vec![Template::Orders], ..Matching::default() };
    let effect = Effect::fault(401, 800001, "No access token was sent.");
    bench.simulator.add_rule(Rule { matching, when: When::Always, effect });
    let calls = bench.api_calls();
    let refusal = bench.refusal().await;
    assert!(refusal.contains("AADSTS7000222: "), "{refusal}");
    assert_eq!((bench.requests(), bench.api_calls() - calls), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_variable_that_is_not_set_is_named() {
    let bench = Bench::new(|_| {
        Credential::client_secret(SecretSource::Variable("TEARDOWND_TEST_UNSET".to_owned()))
    });
    let refusal = bench.refusal().await;
    assert!(refusal.contains("TEARDOWND_TEST_UNSET") && refusal.contains("set it, or name a file"));
}

#[tokio::test(start_paused = true)]
async fn what_lapses_soon_is_warned_of() {
    let bench = bench();
    let warnings = async |expires| {
        let credential = bench.client.credential().clone();
        Credential { expires: Some(expires), ..credential }.warnings(bench.now()).await
    };
    assert!(warnings(date(2026, 12, 22)).await.is_empty());
    let soon = warnings(date(2026, 12, 21)).await;
    assert_eq!(soon, ["the credential lapses on 2026-12-21, in 29 days: renew it"]);
    let today = warnings(date(2026, 11, 22)).await;
    assert_eq!(today, ["the credential lapses on 2026-11-22, in 0 days: renew it"]);
    let over = warnings(date(2026, 11, 21)).await;
    assert!(over[0].contains("lapsed on 2026-11-21"), "{over:?}");
}
