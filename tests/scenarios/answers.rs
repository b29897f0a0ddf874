//! Answers that no documentation gives, that are about something else, or that an operator has classified.

use serde_json::Value;
use teardownd::core::fault::Class;
use teardownd::core::settlement::Codes;
use teardownd::core::teardown::Teardown;
use teardownd::store::{Filter, OperatorRequest};

use crate::harness::*;

/// A code that stands in no table.
const UNKNOWN: u32 = 424_242;

fn cancelling(effect: Effect, when: When) -> Rule {
    Rule::new(when, effect).method("PATCH")
}

fn told(status: u16, class: Class) -> Codes {
    Codes::new([((status, UNKNOWN.to_string()), class)])
}

fn text(row: &Teardown) -> &str {
    row.reason_text.as_deref().unwrap_or_default()
}

fn deletes(scene: &Scene) -> usize {
    scene.writes().iter().filter(|entry| is_delete(entry)).count()
}

async fn failed(scene: &Scene, reason: Reason) -> Teardown {
    let row = scene.row(1).await;
    assert_eq!((row.state, row.reason), (State::Failed, Some(reason)), "{}", text(&row));
    assert_eq!(deletes(scene), 0, "nothing is deleted");
    row
}

// ---- what is not there ---------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn invariant_8_after_our_delete_any_404_of_partner_centers_own_reads_as_gone_and_is_told() {
    for code in [3000, UNKNOWN] {
        let scene = given([]).api(|api| api.gone = vec![(404, code)]).running().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        let told = format!("404/{code}");
        let history = scene.history(1).await;
        let shown = history.iter().filter_map(|change| change.text.as_deref());
        assert!(shown.into_iter().any(|text| text.contains(&told)), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_8_a_404_without_partner_centers_headers_never_reads_as_gone() {
    for code in [3000, UNKNOWN] {
        let scene = given([]).running().await;
        scene.until_call("an accepted DELETE", |e| is_delete(e) && e.status == Some(204)).await;
        let until = scene.passed() + mins(3);
        let gateway = Effect::fault(404, code, "Not found.").of_a_gateway();
        let rule = Rule::new(When::Between(scene.passed(), until), gateway);
        scene.rule(rule.method("GET").on(Template::Customer));
        scene.pass(mins(2)).await;
        let row = scene.row(1).await;
        assert_eq!(row.state, State::Deleting, "{code}: {}", text(&row));
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_8_before_our_delete_3000_proves_nothing() {
    let scene = given([buy(Kind::Reservation)]).queued().await;
    let not_there = Effect::fault(404, 3000, "Not found.");
    let rule = Rule::new(When::Between(secs(0), mins(2)), not_there);
    scene.rule(rule.method("GET").on(Template::Customer));
    let mut scene = scene;
    scene.start().await;
    scene.pass(mins(1)).await;
    let row = scene.row(1).await;
    assert_eq!((row.state, row.reason), (State::Queued, Some(Reason::RetryBackoff)));
    assert!(text(&row).contains("404/3000") && scene.writes().is_empty(), "{}", text(&row));
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(deletes(&scene), 1, "it was there all the time");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_404_before_our_delete_fails_the_teardown_and_is_kept_whole() {
    let mut scene = given([]).queued().await;
    let unknown = Effect::fault(404, UNKNOWN, "There is no such thing.");
    scene.rule(Rule::new(When::Always, unknown).method("GET").on(Template::Customer));
    scene.start().await;
    scene.settle().await;
    failed(&scene, Reason::ApiRefused).await;
}

#[tokio::test(start_paused = true)]
async fn purchases_that_are_not_there_are_told_by_3000_too() {
    let given = given([buy(Kind::Reservation), buy(Kind::NewCommerce)]);
    let scene = given.api(|api| api.generic_not_found = true).queued().await;
    let gone = Effect::fault(404, 3000, "Not found.").though_applied();
    scene.rule(cancelling(gone, When::First(2)));
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}

// ---- what is under way ---------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn an_unlisted_409_is_waited_for_without_attempts() {
    let scene = given([buy(Kind::NewCommerce)]).queued().await;
    let busy = Effect::fault(409, UNKNOWN, "Resubmit after two minutes.");
    scene.rule(cancelling(busy, When::Between(secs(0), hours(3))));
    let mut scene = scene;
    scene.start().await;
    scene.pass(hours(2)).await;
    let row = scene.row(1).await;
    assert!(!row.state.is_terminal() && row.attempts == 0, "{}", text(&row));
    let kept = scene.faults(1).await.into_iter().filter_map(|fault| fault.call.body);
    assert!(kept.into_iter().any(|body| body.contains("424242")), "the answer is kept");
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn what_may_never_end_by_itself_is_waited_for_no_longer_than_26_hours() {
    // The second is what an Azure plan is answered while a reservation lives that no list shows.
    let in_use = (Kind::AzurePlan, 403, 900_115);
    for (kind, status, code) in [(Kind::NewCommerce, 409, UNKNOWN), in_use] {
        let scene = given([buy(kind)]).queued().await;
        scene.rule(cancelling(Effect::fault(status, code, "Busy."), When::Always));
        let mut scene = scene;
        scene.start().await;
        scene.pass(hours(25)).await;
        assert!(!scene.row(1).await.state.is_terminal());
        scene.settle_within(hours(6)).await;
        let row = failed(&scene, Reason::ApiRefused).await;
        assert!(text(&row).contains(&format!("{code}: Busy.")), "{}", text(&row));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_a_fresh_reading_may_mend_is_tried_once_more() {
    let scene = given([buy(Kind::NewCommerce)]).queued().await;
    scene.rule(cancelling(Effect::fault(400, 800_090, "Not valid."), When::First(1)));
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;

    let scene = given([buy(Kind::NewCommerce)]).queued().await;
    scene.rule(cancelling(Effect::fault(400, 800_090, "Not valid."), When::Always));
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    failed(&scene, Reason::ApiRefused).await;
    assert_eq!(scene.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_done_already_is_looked_at_and_not_written_again() {
    for code in [800_011, 800_012, 800_021] {
        let scene = given([buy(Kind::AzurePlan)]).queued().await;
        let done = Effect::fault(400, code, "It is not active.").though_applied();
        scene.rule(Rule::new(When::First(1), done).method("POST").on(Template::AzureCancel));
        let mut scene = scene;
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_active_already_is_cancelled() {
    let scene = given([buy(Kind::NewCommerce).needs_activation()]).queued().await;
    let active = Effect::fault(400, 800_041, "It is activated already.").though_applied();
    scene.rule(Rule::new(When::First(1), active).method("POST").on(Template::Activate));
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_2_the_further_codes_of_another_environment_halt_the_account() {
    for (status, code) in [(401, 6002), (403, 6003), (403, 6004)] {
        let scene = given([buy(Kind::NewCommerce)]).queued().await;
        let effect = Effect::fault(status, code, "Not for this environment.");
        scene.rule(cancelling(effect, When::Always));
        let mut scene = scene;
        scene.start().await;
        scene.pass(mins(5)).await;
        assert!(scene.account_row().await.halted.is_some(), "{status}/{code}");
        assert_eq!(scene.writes().len(), 1, "{status}/{code}");
    }
}

// ---- what never ends by itself -------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn an_order_that_waits_for_an_upload_ends_with_a_reason_of_its_own_and_untouched() {
    let old = buy(Kind::PerpetualSoftware).awaits_upload();
    let scene = given([old, buy(Kind::Reservation)]).running().await;
    scene.settle_within(mins(5)).await;
    let row = failed(&scene, Reason::PoUploadRequired).await;
    assert!(text(&row).contains("upload") && scene.writes().is_empty(), "{}", text(&row));

    // Whether the API cancels it all the same, an operator may find out.
    let filter = Filter { tenants: vec![tenant(1)], latest_only: true, ..Filter::default() };
    let retry = OperatorRequest::new(Verb::Retry, filter, "ops");
    let retry = OperatorRequest { try_anyway: true, ..retry };
    scene.store.request(&retry, scene.now()).await.unwrap();
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn a_young_order_is_given_a_day_for_its_upload() {
    let young = Purchase { age: hours(2), ..buy(Kind::PerpetualSoftware).awaits_upload() };
    let scene = given([young]).running().await;
    scene.pass(hours(21)).await;
    let row = scene.row(1).await;
    assert_eq!(row.reason, Some(Reason::PurchasePending), "{}", text(&row));
    scene.settle_within(hours(2)).await;
    failed(&scene, Reason::PoUploadRequired).await;
    assert!(scene.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn software_as_a_service_that_stays_active_ends_with_a_reason_of_its_own() {
    let scene = given([buy(Kind::Marketplace)]).queued().await;
    scene.rule(cancelling(Effect::InVain, When::Always));
    let mut scene = scene;
    scene.start().await;
    scene.pass(hours(25)).await;
    assert!(!scene.row(1).await.state.is_terminal());
    scene.settle_within(hours(4)).await;
    let row = failed(&scene, Reason::SaasStaysActive).await;
    assert!(text(&row).contains("26 hours"), "{}", text(&row));
}

// ---- what changes meanwhile ----------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_of_a_subscription_goes_back_as_it_was_read() {
    let scene = given([buy(Kind::NewCommerce)]).running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let commands = scene.commands(1).await;
    let body: Value = serde_json::from_str(commands[0].intent.body.as_deref().unwrap()).unwrap();
    assert_eq!(body["scheduledActions"][0]["actionType"], "RenewToExtendedServiceTerm");
    assert_eq!(body["scheduledActions"][0]["instructions"]["termDuration"], "P1M");
    assert_eq!(body["status"], "deleted");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_another_one_replaced_is_found_by_the_next_list() {
    let replaced = buy(Kind::NewCommerce).replaced_after(secs(30));
    let given = given([replaced]).safety(|safety| safety.grace = mins(1));
    let scene = given.running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let subscriptions = &scene.simulator.purchases(tenant(1).as_uuid())[0].subscriptions;
    let successor = &subscriptions.last().unwrap().id;
    let written = scene.writes();
    assert!(written[0].path.ends_with(successor), "{written:?}");
    assert_eq!(written.len(), 2, "the one that ended needs nothing: {written:?}");
}

#[tokio::test(start_paused = true)]
async fn an_etag_is_read_again_before_a_second_change() {
    let back = buy(Kind::LegacyLicence).comes_back(ComesBack::AfterLooks(1));
    let scene = given([back]).running().await;
    scene.settle().await;
    assert_deleted(&scene.row(1).await);
    scene.assert_careful();
    assert_eq!(scene.repeated().len(), 1, "cancelled again, as it came back");
    let commands = scene.commands(1).await;
    let etags: Vec<_> = commands.iter().filter_map(|c| c.intent.if_match.clone()).collect();
    assert_eq!(etags.len(), 2, "{commands:?}");
    assert_ne!(etags[0], etags[1], "the answer to a change repeats the former etag");
    assert!(scene.writes().iter().all(|entry| entry.status != Some(412)));
}

// ---- what an operator has classified -------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_code_that_an_operator_calls_done_is_looked_at_and_told_in_the_history() {
    let given = given([buy(Kind::Reservation)]).timing(|t| t.codes = told(400, Class::AlreadyDone));
    let scene = given.queued().await;
    let done = Effect::fault(400, UNKNOWN, "It is so already.").though_applied();
    scene.rule(cancelling(done, When::First(1)));
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let command = &scene.commands(1).await[0];
    assert_eq!(
        command.text.as_deref(),
        Some("It is so already. (done, as [codes] says of 400/424242)")
    );
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_code_that_an_operator_calls_done_is_no_proof() {
    let given = given([buy(Kind::Reservation)]).timing(|t| t.codes = told(400, Class::AlreadyDone));
    let scene = given.queued().await;
    let done = Effect::fault(400, UNKNOWN, "It is so already.");
    scene.rule(cancelling(done, When::First(1)));
    let mut scene = scene;
    scene.start().await;
    scene.pass(mins(10)).await;
    assert_eq!(deletes(&scene), 0, "the order is active");
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_8_a_code_that_an_operator_calls_gone_wants_the_list_as_well() {
    let given = given([]).api(|api| api.gone = vec![(403, UNKNOWN)]);
    let scene = given.timing(|t| t.codes = told(403, Class::CustomerGone)).running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;

    let timing =
        |t: &mut teardownd::core::machine::Policy| t.codes = told(403, Class::CustomerGone);
    let given = crate::harness::given([]).timing(timing);
    let mut scene = given.queued().await;
    let gone = Effect::fault(403, UNKNOWN, "Gone.");
    scene.rule(Rule::new(When::Always, gone).method("GET").on(Template::Customer));
    scene.start().await;
    scene.settle().await;
    let row = failed(&scene, Reason::AttemptsExhausted).await;
    assert!(text(&row).contains("but is listed"), "{}", text(&row));
}

#[tokio::test(start_paused = true)]
async fn an_operator_s_classes_lead_where_the_built_in_ones_do() {
    let wait = given([buy(Kind::NewCommerce)]).timing(|t| t.codes = told(400, Class::Wait));
    let scene = wait.queued().await;
    scene.rule(cancelling(
        Effect::fault(400, UNKNOWN, "Not yet."),
        When::Between(secs(0), hours(1)),
    ));
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;

    let other = given([buy(Kind::NewCommerce)]).timing(|t| t.codes = told(400, Class::OtherRoute));
    let scene = other.queued().await;
    scene.rule(cancelling(Effect::fault(400, UNKNOWN, "Not so."), When::First(1)));
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;

    let stop = given([buy(Kind::NewCommerce)]).timing(|t| t.codes = told(400, Class::SafetyStop));
    let scene = stop.queued().await;
    scene.rule(cancelling(Effect::fault(400, UNKNOWN, "Never."), When::Always));
    let mut scene = scene;
    scene.start().await;
    scene.pass(mins(5)).await;
    assert!(scene.account_row().await.halted.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_teardown_that_failed_goes_on_with_a_retry_once_its_code_is_known() {
    let scene = given([buy(Kind::NewCommerce)]).queued().await;
    scene.rule(cancelling(
        Effect::fault(400, UNKNOWN, "Not yet."),
        When::Between(secs(0), hours(1)),
    ));
    let mut scene = scene;
    scene.start().await;
    scene.settle().await;
    failed(&scene, Reason::ApiRefused).await;
    scene.stop().await;
    scene.given.timing.codes = told(400, Class::Wait);
    scene.start().await;
    scene.ask_about(Verb::Retry, 1).await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}
