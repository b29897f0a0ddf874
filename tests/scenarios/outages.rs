//! Outages are the account's: probed once a minute, over by themselves, and no tenant pays for them.

use std::time::Duration;

use teardownd::core::account::TroubleKind;
use teardownd::simulator::Entry;

use crate::harness::*;

/// How long the outages last.
const OUT: Duration = hours(2);

fn outages() -> Vec<Effect> {
    vec![
        Effect::DropBefore,
        Effect::unavailable(),
        Effect::bad_gateway(),
        Effect::fault(500, 800_003, "Something went wrong."),
        // Longer than any answer is waited for.
        Effect::Delay(mins(3)),
    ]
}

fn during(scene: &Scene, from: Duration, to: Duration) -> Vec<Entry> {
    let (start, end) = (scene.begun() + from, scene.begun() + to);
    scene.calls().into_iter().filter(|entry| start <= entry.at && entry.at < end).collect()
}

/// Nobody has failed or paid for it, and the account is known to be out.
async fn assert_is_the_accounts(scene: &Scene, what: &str) {
    let rows = scene.rows().await;
    assert!(rows.iter().all(|row| row.state != State::Failed), "{what}");
    let spent: u32 = rows.iter().map(|row| row.attempts).sum();
    assert!(spent <= 12, "{what}: {spent} attempts");
    let trouble = scene.account_row().await.trouble.expect("an outage is stored");
    assert_eq!(trouble.kind, TroubleKind::Unreachable, "{what}");
}

#[tokio::test(start_paused = true)]
async fn invariant_14_an_outage_of_two_hours_fails_nobody_and_ends_by_itself() {
    for effect in outages() {
        // At the start, among the first writes, and around the DELETEs.
        for start in [secs(0), Duration::from_millis(300), secs(6)] {
            let what = format!("{effect:?} from {start:?}");
            let mut scene = given_mix(6, 9).queued().await;
            scene.rule(Rule::new(When::Between(start, start + OUT), effect.clone()));
            scene.start().await;
            scene.pass(start + OUT - secs(1)).await;
            assert_is_the_accounts(&scene, &what).await;

            // One tenant at a time, once a minute. Each probe makes at most a few calls side by side.
            let probes = during(&scene, start + mins(10), start + mins(110));
            assert!(probes.len() >= 50, "{what}: {}", probes.len());
            assert!(probes.len() <= 500, "{what}: {}", probes.len());

            // Nor is the store asked all the time while an answer is awaited.
            assert!(scene.steps() < 40_000, "{what}: {} steps", scene.steps());

            scene.settle_within(mins(10)).await;
            scene.assert_all_deleted().await;
            assert!(scene.account_row().await.trouble.is_none());
        }
    }
}

/// Every call is answered but those of one kind.
async fn partly_out(what: &str, part: impl Fn(Rule) -> Rule) {
    for effect in [Effect::unavailable(), Effect::DropBefore] {
        let what = format!("{what}: {effect:?}");
        let mut scene = given_mix(12, 9).queued().await;
        scene.start().await;
        // Not among the first steps, which one tenant takes alone.
        scene.until_call("a DELETE is accepted", |e| is_delete(e) && e.status == Some(204)).await;
        let outage = Rule::new(When::Between(Duration::ZERO, OUT), effect);
        scene.rule(part(outage));
        scene.pass(OUT - secs(1)).await;
        assert_is_the_accounts(&scene, &what).await;
        let calls = during(&scene, mins(10), mins(110)).len();
        assert!((50..1000).contains(&calls), "{what}: {calls} calls");
        scene.settle_within(mins(10)).await;
        scene.assert_all_deleted().await;
        assert!(scene.account_row().await.trouble.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_an_outage_of_the_writes_alone_fails_nobody_and_ends_by_itself() {
    let writes =
        [Template::Order, Template::Subscription, Template::AzureCancel, Template::Customer];
    for method in ["PATCH", "DELETE"] {
        partly_out(method, |rule| writes.into_iter().fold(rule.method(method), Rule::on)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_an_outage_of_one_list_alone_fails_nobody_and_ends_by_itself() {
    for list in [Template::Orders, Template::Subscriptions] {
        partly_out(&format!("{list:?}"), |rule| rule.method("GET").on(list)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_what_is_answered_beside_a_failed_read_shows_that_nothing_is_out() {
    let mut scene = given_each(12, &[buy(Kind::NewCommerce)]).queued().await;
    // One list of each tenant fails, and its others are answered at the same time.
    for n in 1..=12 {
        let list = if n <= 6 { Template::Entitlements } else { Template::Orders };
        let failing = Rule::new(When::Nth(1), Effect::unavailable()).on(list);
        scene.rule(failing.customer(tenant(n).as_uuid()));
    }
    scene.start().await;
    // An outage would be looked at once a minute.
    scene.settle_within(secs(50)).await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn a_401_to_a_write_gets_a_new_token_and_one_repetition() {
    for (method, template) in [("PATCH", Template::Order), ("DELETE", Template::Customer)] {
        let mut scene = given([buy(Kind::Reservation)]).queued().await;
        let revoked = Effect::fault(401, 800_001, "The access token is not accepted.");
        scene.rule(Rule::new(When::Nth(1), revoked).on(template).method(method));
        scene.start().await;
        scene.settle_within(mins(1)).await;
        scene.assert_all_deleted().await;
        let writes: Vec<_> =
            scene.writes().into_iter().filter(|entry| entry.method == method).collect();
        assert_eq!(writes.len(), 2, "{writes:#?}");
        assert_eq!(writes[0].request_id, writes[1].request_id);
        assert_eq!(scene.rows().await[0].attempts, 0);
    }
}

/// Waits so long, and asserts all the time that the account is not in trouble.
async fn pass_untroubled(scene: &Scene, duration: Duration) {
    for _ in 0..duration.as_secs() / 5 {
        scene.pass(secs(5)).await;
        let trouble = scene.account_row().await.trouble;
        assert!(trouble.is_none(), "{trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_the_refusals_of_one_tenant_are_never_its_accounts() {
    let refusals = [
        Effect::fault(401, 800_001, "The access token is not accepted."),
        Effect::fault(403, 2032, "The role does not allow that."),
    ];
    for effect in refusals {
        for method in ["GET", "PATCH"] {
            let mut scene = given_each(4, &[buy(Kind::Reservation)]).queued().await;
            scene.start().await;
            // Not the first write, which the others wait for.
            scene.until_call("a PATCH", |e| e.method == "PATCH" && e.status == Some(200)).await;
            let first = scene.writes()[0].tenant;
            let own = (1..=4).rfind(|n| first != Some(tenant(*n).as_uuid())).unwrap();
            let rule = Rule::new(When::Always, effect.clone()).method(method);
            scene.rule(rule.customer(tenant(own).as_uuid()));
            pass_untroubled(&scene, hours(2)).await;
            let what = format!("{effect:?} {method}");
            let row = scene.row(own).await;
            // With its own write accepted before, it has nothing left that could be refused.
            let spent = row.state == State::Failed && row.reason == Some(Reason::AttemptsExhausted);
            assert!(spent || (method == "PATCH" && row.state == State::Deleted), "{what}: {row:?}");
            for n in (1..=4).filter(|n| *n != own) {
                assert_deleted(&scene.row(n).await);
            }
            let ids: std::collections::BTreeSet<_> =
                scene.writes_of(own).into_iter().map(|entry| entry.request_id).collect();
            assert!(ids.len() <= 20, "{what}: {}", ids.len());
        }
    }
}

/// What everybody meets for two hours, in these calls, is the account's.
async fn assert_stops_the_account(effect: &Effect, part: Rule, kind: TroubleKind) {
    let what = format!("{effect:?} {:?}", part.matching);
    let mut scene = given_mix(12, 9).queued().await;
    scene.start().await;
    scene.until_call("a DELETE is accepted", |e| is_delete(e) && e.status == Some(204)).await;
    scene.rule(part);
    scene.pass(OUT - secs(1)).await;
    let rows = scene.rows().await;
    assert!(
        rows.iter().all(|row| row.state != State::Failed && row.holds.first().is_none()),
        "{what}"
    );
    // What was on its way before is answered among the first refusals, and takes back what they told.
    let spent: u32 = rows.iter().map(|row| row.attempts).sum();
    assert!(spent <= 18, "{what}: {spent} attempts");
    let trouble = scene.account_row().await.trouble.expect("an outage is stored");
    assert_eq!(trouble.kind, kind, "{what}: {}", trouble.text);
    let calls = during(&scene, mins(10), mins(110)).len();
    assert!((15..1000).contains(&calls), "{what}: {calls} calls");
    scene.settle_within(mins(20)).await;
    scene.assert_all_deleted().await;
    assert!(scene.account_row().await.trouble.is_none());
}

#[tokio::test(start_paused = true)]
async fn invariant_14_refusals_that_everybody_meets_stop_the_account_and_fail_nobody() {
    let refusals = [
        (Effect::fault(401, 800_001, "Not accepted."), TroubleKind::CredentialRefused),
        (Effect::fault(403, 2032, "The role."), TroubleKind::AccessRefused),
        (Effect::fault(403, 900_150, "Conditional access."), TroubleKind::AccessRefused),
        (Effect::fault(403, 900_308, "The agreement."), TroubleKind::AccessRefused),
    ];
    for (effect, kind) in refusals {
        let rule = || Rule::new(When::Between(Duration::ZERO, OUT), effect.clone());
        for part in [
            rule().method("GET").path_contains("/customers/"),
            rule().method("GET").on(Template::Orders),
            rule().method("PATCH").on(Template::Order).on(Template::Subscription),
        ] {
            assert_stops_the_account(&effect, part, kind).await;
        }
    }
}

/// Ways in which a customer list cannot be read.
fn unreadable() -> Vec<(Effect, TroubleKind)> {
    let answer = |status, body: &str| Effect::Answer {
        status,
        headers: Vec::new(),
        body: body.to_owned(),
        applied: false,
    };
    vec![
        (answer(200, "<html>Sign in</html>"), TroubleKind::CustomersUnreadable),
        (
            answer(200, r#"{"totalCount":1,"items":[{"companyProfile":{"domain":"x.example"}}]}"#),
            TroubleKind::CustomersUnreadable,
        ),
        (Effect::MissingItems, TroubleKind::CustomersUnreadable),
        (Effect::fault(403, 424_242, "Nobody knows."), TroubleKind::CustomersUnreadable),
        (Effect::fault(400, 900_118, "Not valid."), TroubleKind::CustomersUnreadable),
        (Effect::fault(403, 2032, "The role."), TroubleKind::AccessRefused),
        (Effect::bad_gateway(), TroubleKind::Unreachable),
    ]
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_customer_list_that_cannot_be_read_costs_no_tenant_anything() {
    for (effect, kind) in unreadable() {
        for start in [secs(0), secs(3)] {
            let what = format!("{effect:?} from {start:?}");
            let mut scene = given_mix(6, 9).queued().await;
            let unreadable = When::Between(start, start + OUT);
            scene.rule(Rule::new(unreadable, effect.clone()).on(Template::Customers));
            scene.start().await;
            scene.pass(start + OUT - secs(1)).await;
            for row in scene.rows().await {
                assert!(row.attempts == 0 && row.holds.first().is_none(), "{what}: {row:?}");
                assert_ne!(row.state, State::Failed, "{what}: {row:?}");
            }
            let trouble = scene.account_row().await.trouble.expect("an outage is stored");
            assert_eq!(trouble.kind, kind, "{what}");
            scene.settle_within(mins(10)).await;
            scene.assert_all_deleted().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_retry_after_on_a_503_is_waited_for() {
    let busy = |seconds: u64| Effect::Answer {
        status: 503,
        headers: vec![("retry-after".to_owned(), seconds.to_string())],
        body: String::new(),
        applied: false,
    };
    // One tenant's call: it waits, and nobody else.
    let mut scene = given_each(3, &[buy(Kind::Reservation)]).queued().await;
    let rule = Rule::new(When::First(1), busy(600)).on(Template::Orders);
    scene.rule(rule.customer(tenant(2).as_uuid()));
    scene.start().await;
    pass_untroubled(&scene, mins(5)).await;
    for n in [1, 3] {
        assert_deleted(&scene.row(n).await);
    }
    scene.settle().await;
    scene.assert_all_deleted().await;
    let of_orders = |e: &&Entry| e.template == Template::Orders && concerns(e, 2);
    let asked: Vec<_> = scene.calls().iter().filter(of_orders).map(|e| e.at).collect();
    assert!(asked[1] >= asked[0] + mins(10), "{asked:?}");

    // Everybody's: the account waits.
    let mut scene = given_each(6, &[buy(Kind::Reservation)]).queued().await;
    scene.rule(Rule::new(When::Between(secs(0), mins(25)), busy(600)));
    scene.start().await;
    scene.pass(mins(25)).await;
    assert!(scene.calls().len() < 60, "{}", scene.calls().len());
    scene.settle_within(mins(11)).await;
    scene.assert_all_deleted().await;
    assert!(scene.rows().await.iter().all(|row| row.attempts == 0));
}

#[tokio::test(start_paused = true)]
async fn invariant_14_an_outage_is_remembered_and_probed_across_restarts() {
    let mut scene = given_mix(6, 9).queued().await;
    scene.rule(Rule::new(When::Between(secs(1), OUT), Effect::DropBefore));
    scene.start().await;
    scene.pass(mins(5)).await;
    for _ in 0..20 {
        scene.kill();
        scene.start().await;
        scene.pass(secs(30)).await;
    }
    let often = during(&scene, mins(5), mins(15)).len();
    assert!(often <= 60, "{often} calls in ten minutes");
    scene.settle_within(hours(3)).await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_14_an_outage_of_the_transport_shows_with_a_single_tenant_too() {
    let mut scene = given([buy(Kind::Reservation)]).queued().await;
    scene.rule(Rule::new(When::Between(secs(1), OUT), Effect::DropBefore));
    scene.start().await;
    scene.settle_within(hours(3)).await;
    scene.assert_all_deleted().await;
}

/// A secret in a file, as an operator keeps it.
struct SecretFile(tempfile::TempDir);

impl SecretFile {
    fn holding(secret: &str) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        file.write(secret);
        file
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("secret")
    }

    fn write(&self, secret: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(self.path(), secret).unwrap();
        let only_owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.path(), only_owner).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_refused_credential_fails_nobody_until_it_is_replaced() {
    let secret = SecretFile::holding("a secret that has expired");
    let scene = given_mix(4, 2).secret_file(secret.path()).running().await;
    scene.pass(hours(2)).await;
    let trouble = scene.account_row().await.trouble.expect("an outage is stored");
    assert_eq!(trouble.kind, TroubleKind::CredentialRefused);
    assert!(trouble.text.contains("AADSTS7000215"), "{}", trouble.text);
    for row in scene.rows().await {
        assert_eq!((row.state, row.attempts), (State::Queued, 0));
    }
    let asked = scene.calls().len();
    assert!(scene.calls().iter().all(is_token), "nothing but token requests");
    assert!((23..=26).contains(&asked), "once in five minutes: {asked}");
    secret.write(SECRET);
    scene.settle_within(mins(10)).await;
    scene.assert_all_deleted().await;
    assert!(scene.account_row().await.trouble.is_none());
}

#[tokio::test(start_paused = true)]
async fn invariant_14_an_expired_secret_is_noticed_as_soon_as_it_is_replaced() {
    let secret = SecretFile::holding(SECRET);
    // Reservations of several kinds of length, so that the secret expires among them.
    let slow = |n: usize| buy(Kind::Reservation).takes(mins(n as u64 * 5));
    let given = Given::new((1..=6).map(|n| customer(n, [slow(n)])));
    let given = given.secret_file(secret.path()).api(|api| api.token_lifetime = mins(10));
    let scene = given.running().await;
    scene.pass(mins(9)).await;
    scene.simulator.change_app(PARTNER, |app| {
        app.expire_secrets();
    });
    scene.pass(hours(9)).await;
    let trouble = scene.account_row().await.trouble.expect("an outage is stored");
    assert_eq!(trouble.kind, TroubleKind::CredentialRefused);
    assert!(trouble.text.contains("AADSTS7000222"), "{}", trouble.text);

    // One that does not work either is tried at once, and does not count as the end.
    for replaced in ["a wrong one", "another wrong one"] {
        let (before, replaced_at) = (scene.calls().len(), scene.now());
        secret.write(replaced);
        scene.pass(secs(4)).await;
        let tried: Vec<Entry> = scene.calls().split_off(before);
        assert_eq!(tried.len(), 1, "{tried:#?}");
        assert!(is_token(&tried[0]) && tried[0].at <= replaced_at + secs(2), "{tried:#?}");
    }
    scene.simulator.change_app(PARTNER, |app| {
        app.add_secret("the new secret");
    });
    let replaced_at = scene.now();
    secret.write("the new secret");
    // Nobody types a command.
    scene.settle_within(mins(2)).await;
    scene.assert_all_deleted().await;
    assert!(scene.account_row().await.trouble.is_none());
    let calls = scene.calls();
    let first = calls.iter().find(|entry| entry.at >= replaced_at).unwrap();
    assert!(first.at <= replaced_at + secs(2), "{first:#?}");
    assert!(scene.rows().await.iter().all(|row| row.attempts == 0), "no attempt is spent");
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_secret_replaced_while_the_daemon_is_down_is_tried_at_its_start() {
    let secret = SecretFile::holding("a secret that has expired");
    let mut scene = given_mix(4, 2).secret_file(secret.path()).running().await;
    scene.pass(secs(20)).await;
    assert!(scene.account_row().await.trouble.is_some());
    scene.kill();
    secret.write(SECRET);
    let started_at = scene.now();
    scene.start().await;
    scene.settle_within(mins(3)).await;
    scene.assert_all_deleted().await;
    assert!(scene.now() < started_at + mins(3), "without waiting for the next probe");
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_credential_that_lapses_in_the_middle_fails_nobody() {
    let mut scene = given([buy(Kind::AzurePlan).takes(hours(1)), buy(Kind::Reservation)])
        .api(|api| api.token_lifetime = mins(15))
        .queued()
        .await;
    let refused = r#"{"error":"invalid_client","error_description":"AADSTS7000222: expired.","error_codes":[7000222]}"#;
    let effect = Effect::Answer {
        status: 401,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: refused.to_owned(),
        applied: false,
    };
    let lapsed = When::Between(mins(10), hours(3));
    scene.rule(Rule::new(lapsed, effect).on(Template::TokenV2));
    scene.start().await;
    scene.pass(hours(3) - mins(1)).await;
    assert_eq!(scene.row(1).await.attempts, 0);
    let trouble = scene.account_row().await.trouble.expect("an outage is stored");
    assert_eq!(trouble.kind, TroubleKind::CredentialRefused);
    scene.settle_within(hours(3)).await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_14_one_tenants_own_failures_spend_its_attempts_and_no_one_elses() {
    for effect in [Effect::fault(500, 800_003, "Only here."), Effect::NullItems] {
        let mut scene = given_each(4, &[buy(Kind::Reservation)]).queued().await;
        let rule = Rule::new(When::Always, effect.clone()).on(Template::Orders);
        scene.rule(rule.customer(tenant(2).as_uuid()));
        scene.start().await;
        scene.settle().await;
        let text = scene.assert_failed(2, Reason::AttemptsExhausted).await;
        assert!(text.contains("attempt 20"), "{text}");
        for n in [1, 3, 4] {
            assert_deleted(&scene.row(n).await);
        }
        assert!(scene.account_row().await.trouble.is_none());
        assert_eq!(scene.writes_of(2).len(), 0);
        scene.assert_once_each();
        // A person removes the cause and lets it try again.
        scene.simulator.clear_rules();
        assert!(scene.ask_about(Verb::Retry, 2).await.applied);
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_write_that_fails_for_one_tenant_alone_spends_its_attempts() {
    let mut scene = given_each(3, &[buy(Kind::Reservation)]).queued().await;
    let silence = Effect::fault(500, 800_003, "Only here.");
    let rule = Rule::new(When::Always, silence).method("PATCH");
    scene.rule(rule.customer(tenant(2).as_uuid()));
    scene.start().await;
    scene.settle().await;
    scene.assert_failed(2, Reason::AttemptsExhausted).await;
    for n in [1, 3] {
        assert_deleted(&scene.row(n).await);
    }
    let ids: std::collections::BTreeSet<_> =
        scene.writes_of(2).into_iter().map(|entry| entry.request_id).collect();
    assert_eq!(ids.len(), 1, "one id throughout");
    scene.assert_once_each();
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_refusal_for_good_fails_the_tenant_with_its_text() {
    let mut scene = given_each(2, &[buy(Kind::Reservation)]).queued().await;
    let refusal = Effect::fault(403, 900_321, "The agreement was not accepted.");
    scene.rule(Rule::new(When::Always, refusal).method("PATCH").customer(tenant(1).as_uuid()));
    scene.start().await;
    scene.settle().await;
    let text = scene.assert_failed(1, Reason::ApiRefused).await;
    assert!(text.contains("900321") && text.contains("The agreement was not accepted."), "{text}");
    assert_eq!(scene.writes_of(1).len(), 1);
    assert_deleted(&scene.row(2).await);
}

#[tokio::test(start_paused = true)]
async fn invariant_14_a_deadline_bounds_what_is_waited_for() {
    let given = given([buy(Kind::Reservation).takes(hours(4))]);
    let scene = given.timing(|timing| timing.deadline = mins(30)).running().await;
    let begun = scene.passed();
    scene.settle().await;
    scene.assert_failed(1, Reason::DeadlineExceeded).await;
    assert!(scene.passed() >= begun + mins(30));
    assert!(scene.passed() < begun + mins(33));
    // A retry restarts it; the cancellation was accepted and is only waited for.
    scene.pass(hours(4)).await;
    assert!(scene.ask_about(Verb::Retry, 1).await.applied);
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_14_paused_and_held_time_does_not_count_towards_the_deadline() {
    for held in [false, true] {
        let given = given([buy(Kind::Reservation).takes(mins(70))]);
        let scene = given.timing(|timing| timing.deadline = mins(30)).running().await;
        scene.pass(mins(10)).await;
        if held {
            assert!(scene.ask_about(Verb::Hold, 1).await.applied);
        } else {
            assert!(scene.ask(Verb::Pause).await[0].applied);
        }
        scene.pass(mins(60)).await;
        if held {
            assert!(scene.ask_about(Verb::Release, 1).await.applied);
        } else {
            assert!(scene.ask(Verb::Resume).await[0].applied);
        }
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}
