//! App and user: refresh tokens that replace each other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use teardownd::core::account::TroubleKind;
use teardownd::core::ids::TenantId;
use teardownd::partner_center::Kind;
use teardownd::partner_center::credentials::{Credential, CredentialKind, TokenEndpoint};
use teardownd::simulator::{Effect, Matching, Options, Rule, Template, When};

use crate::support::*;

const DAY: Duration = Duration::from_hours(24);

fn signed_in(files: &Files) -> Credential {
    v2(CredentialKind::RefreshToken {
        refresh_token_file: files.put("refresh", "first"),
        client_secret: files.secret(),
    })
}

/// An account whose user has signed in; a refresh token that was replaced is refused at once.
fn bench() -> Bench {
    of(Options { refresh_token_grace: Some(Duration::ZERO), ..Options::default() })
}

fn of(options: Options) -> Bench {
    let bench = Bench::with(options, signed_in);
    bench.simulator.change_app(PARTNER, |app| {
        app.sign_in("first");
    });
    bench
}

#[tokio::test(start_paused = true)]
async fn each_token_replaces_the_one_before_it() {
    let bench = bench();
    let mut seen = vec!["first".to_owned()];
    for _ in 0..3 {
        bench.read().await.unwrap();
        assert_eq!(bench.sent("refresh_token"), *seen.last().unwrap());
        seen.push(bench.files.read("refresh"));
        bench.outlive().await;
    }
    seen.dedup();
    assert_eq!(seen.len(), 4, "{seen:?}");
    let mode = fs::metadata(bench.files.path("refresh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let age = bench.client.credential().refresh_token_age(bench.now()).await;
    assert_eq!(age, Some(LIFE));

    bench.files.put("refresh", "first");
    let refusal = bench.refusal().await;
    assert!(refusal.contains("AADSTS50173: The provided grant has expired"), "{refusal}");
    assert!(refusal.ends_with("put the new refresh token into refresh_token_file"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_new_process_goes_on_with_the_token_of_the_old_one() {
    let mut bench = bench();
    bench.read().await.unwrap();
    let second = bench.files.read("refresh");
    bench.restart(bench.client.credential().clone());
    bench.read().await.unwrap();
    assert_eq!(bench.sent("refresh_token"), second);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_leaves_the_old_token_which_entra_still_takes() {
    for effect in [Effect::DropAfter, Effect::CutOff, Effect::TruncatedJson] {
        let bench = of(Options::default());
        let matching = Matching { templates: vec![Template::TokenV2], ..Matching::default() };
        bench.simulator.add_rule(Rule { matching, when: When::Nth(1), effect });
        let error = bench.read().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Outage(TroubleKind::Unreachable), "{error}");
        assert_eq!(bench.files.read("refresh"), "first");
        bench.read().await.unwrap();
        assert_ne!(bench.files.read("refresh"), "first");
    }
}

#[tokio::test(start_paused = true)]
async fn the_v1_endpoint_renews_as_well() {
    let bench = Bench::new(|files| Credential { endpoint: TokenEndpoint::V1, ..signed_in(files) });
    bench.simulator.change_app(PARTNER, |app| {
        app.sign_in("first");
    });
    bench.read().await.unwrap();
    assert_eq!(bench.sent("resource"), "https://api.example");
    assert_ne!(bench.files.read("refresh"), "first");
}

#[tokio::test(start_paused = true)]
async fn a_user_may_read_entitlements_where_an_app_alone_may_not() {
    let options = Options { entitlements_app_only: false, ..Options::default() };
    let app = Bench::with(options.clone(), |files| Credential::client_secret(files.secret()));
    let tenant = TenantId::new(CUSTOMER);
    assert_eq!(app.client.entitlements(tenant).await.unwrap().fact, None);
    let user = of(options);
    assert!(user.client.entitlements(tenant).await.unwrap().fact.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_nobody_used_for_long_is_warned_of_and_then_refused() {
    let bench = bench();
    bench.read().await.unwrap();
    bench.pass(75 * DAY).await;
    let warnings = bench.client.credential().warnings(bench.now()).await;
    assert!(warnings[0].contains("not been used for 75 days"), "{warnings:?}");
    bench.pass(15 * DAY + Duration::from_secs(1)).await;
    let refusal = bench.refusal().await;
    assert!(refusal.contains("AADSTS700082: "), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_revoked_is_refused_until_the_user_signs_in_again() {
    let bench = bench();
    bench.simulator.change_app(PARTNER, |app| {
        app.revoke_sign_ins();
    });
    let before = bench.client.credential().stamp().await;
    let refusal = bench.refusal().await;
    assert!(refusal.contains("AADSTS70000: "), "{refusal}");
    bench.simulator.change_app(PARTNER, |app| {
        app.sign_in("again");
    });
    bench.files.put("refresh", "again");
    assert_ne!(bench.client.credential().stamp().await, before);
    bench.read().await.unwrap();
}
