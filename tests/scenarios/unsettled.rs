//! Writes whose answer does not come or cannot be used: the same id again after a read, never a new
//! one while the effect is unknown, and never a second application.

use std::collections::BTreeMap;

use teardownd::core::command::Outcome;
use teardownd::simulator::{Entry, RetryAfterForm};

use crate::harness::*;

/// A write and what has to be bought for it to be sent.
const POSITIONS: [(&str, Template, Kind); 5] = [
    ("PATCH", Template::Order, Kind::Reservation),
    ("PATCH", Template::Subscription, Kind::NewCommerce),
    ("PATCH", Template::Subscription, Kind::LegacyLicence),
    ("POST", Template::AzureCancel, Kind::AzurePlan),
    ("DELETE", Template::Customer, Kind::Reservation),
];

/// Everything that leaves a write unsettled.
fn silences() -> Vec<Effect> {
    let refused = || Effect::fault(401, 800_001, "No access token was sent.");
    let timed_out = || Effect::fault(408, 800_005, "The request has timed out.");
    let failed = || Effect::fault(500, 800_003, "Something went wrong.");
    vec![
        Effect::DropBefore,
        Effect::DropAfter,
        Effect::unavailable(),
        Effect::unavailable().though_applied(),
        Effect::bad_gateway(),
        Effect::bad_gateway().though_applied(),
        failed(),
        failed().though_applied(),
        refused(),
        refused().though_applied(),
        timed_out(),
        Effect::Throttle(secs(7)),
        Effect::TruncatedJson,
        Effect::CutOff,
        // Longer than the client waits for the answer of a write.
        Effect::Delay(secs(90)),
        Effect::CodeInSuccess(400_072),
    ]
}

/// The writes on each resource, in the order of arrival.
fn by_resource(scene: &Scene) -> BTreeMap<String, Vec<Entry>> {
    let mut writes: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for write in scene.writes() {
        writes.entry(format!("{} {}", write.method, write.path)).or_default().push(write);
    }
    writes
}

/// Each resource was written under one id alone, and before each repetition something of the tenant
/// was read.
pub(crate) fn assert_one_id_each(scene: &Scene, what: &str) {
    let calls = scene.calls();
    for (resource, writes) in by_resource(scene) {
        for pair in writes.windows(2) {
            assert_eq!(pair[0].request_id, pair[1].request_id, "{what}: {resource}");
            let between = &calls[pair[0].number as usize + 1..pair[1].number as usize];
            let read = between.iter().any(|call| call.method == "GET" && concerns(call, 1));
            assert!(read, "{what}: {resource} was repeated without a look");
        }
    }
}

pub(crate) async fn assert_one_command_each(scene: &Scene, what: &str) {
    let mut resources = Vec::new();
    for command in scene.commands(1).await {
        let settled = matches!(command.outcome, Some(Outcome::Accepted | Outcome::GoalReached));
        assert!(settled, "{what}: {command:?}");
        assert!(!resources.contains(&command.intent.resource), "{what}: {command:?}");
        resources.push(command.intent.resource);
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_write_without_a_usable_answer_is_repeated_under_its_own_id() {
    for (method, template, kind) in POSITIONS {
        for effect in silences() {
            // The first answer, and the answer to the repetition as well.
            for times in 1..=2 {
                let what = format!("{method} {kind:?} {effect:?} {times} times");
                let mut scene = given([buy(kind)]).queued().await;
                let rule = Rule::new(When::First(times), effect.clone());
                scene.rule(rule.method(method).on(template));
                scene.start().await;
                scene.settle().await;
                scene.assert_all_deleted().await;
                assert_one_id_each(&scene, &what);
                assert_one_command_each(&scene, &what).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_repetition_that_is_answered_in_a_damaged_way_is_repeated_again() {
    for (method, template, kind) in POSITIONS {
        let mut scene = given([buy(kind).takes(mins(3))])
            .api(|api| api.removal = (mins(3), mins(3)))
            .queued()
            .await;
        for (nth, effect) in [
            (1, Effect::DropAfter),
            (2, Effect::bad_gateway()),
            (3, Effect::CutOff),
            (4, Effect::unavailable()),
        ] {
            let rule = Rule::new(When::Nth(nth), effect);
            scene.rule(rule.method(method).on(template));
        }
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        assert_one_id_each(&scene, method);
        let longest = by_resource(&scene).into_values().map(|writes| writes.len()).max().unwrap();
        assert_eq!(longest, 5, "{method} {kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_read_that_shows_the_goal_reached_settles_a_write() {
    for (method, template, kind) in POSITIONS {
        // The goal is reached before the next look: nothing is repeated.
        let given = given([buy(kind).takes(secs(0))]).api(|api| api.removal = (secs(0), secs(0)));
        let mut scene = given.queued().await;
        scene.rule(Rule::new(When::Nth(1), Effect::DropAfter).method(method).on(template));
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        assert!(by_resource(&scene).values().all(|writes| writes.len() == 1), "{method} {kind:?}");
        let reached =
            |c: &&teardownd::core::command::Command| c.outcome == Some(Outcome::GoalReached);
        assert_eq!(scene.commands(1).await.iter().filter(reached).count(), 1, "{method} {kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_429_to_a_write_leaves_it_unsettled_in_both_forms() {
    for form in [RetryAfterForm::Seconds, RetryAfterForm::Date] {
        for (method, template, kind) in POSITIONS {
            let mut scene = given([buy(kind)]).api(|api| api.retry_after = form).queued().await;
            let rule = Rule::new(When::First(2), Effect::Throttle(secs(30)));
            scene.rule(rule.method(method).on(template));
            scene.start().await;
            scene.settle().await;
            scene.assert_all_deleted().await;
            assert_one_id_each(&scene, method);
            for write in scene.writes().iter().filter(|entry| entry.status == Some(429)) {
                let next = scene.calls().into_iter().find(|call| call.number > write.number);
                assert!(next.unwrap().at >= write.at + secs(29), "{form:?} {method}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_refusal_settles_and_the_next_attempt_is_a_new_command() {
    // 409 "in progress" is no silence: whatever follows has an id of its own.
    let mut scene = given([buy(Kind::Reservation)]).queued().await;
    let rule = Rule::new(When::First(2), Effect::fault(409, 800_060, "In progress."));
    scene.rule(rule.method("PATCH"));
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    let ids: std::collections::BTreeSet<_> =
        scene.writes().into_iter().filter(|e| e.method == "PATCH").map(|e| e.request_id).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_write_accepted_in_vain_is_a_new_command_only_after_reissue_after() {
    for (method, template, kind) in POSITIONS {
        let mut scene = given([buy(kind)]).queued().await;
        scene.rule(Rule::new(When::Nth(1), Effect::InVain).method(method).on(template));
        scene.start().await;
        scene.settle().await;
        scene.assert_careful();
        assert_deleted(&scene.row(1).await);
        let lost: Vec<Vec<Entry>> =
            by_resource(&scene).into_values().filter(|writes| writes.len() > 1).collect();
        assert_eq!(lost.len(), 1, "{method} {kind:?}");
        let [first, second] = lost[0].as_slice() else { panic!("{:#?}", lost[0]) };
        assert_ne!(first.request_id, second.request_id);
        assert!(second.at >= first.at + mins(20), "{method} {kind:?}");
        assert!(second.at < first.at + mins(22), "{method} {kind:?}");
        // Both were accepted; whatever else there was, once.
        assert_eq!(scene.repeated().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_7_a_delete_carried_out_unseen_counts_although_its_repetition_is_told_to_wait() {
    // The repetition comes while the customer can still be read, or when it is gone.
    for removal in [secs(1), mins(1)] {
        let mut scene = given([]).api(|api| api.removal = (removal, removal)).queued().await;
        let unseen = Effect::unavailable().though_applied();
        scene.rule(Rule::new(When::Nth(1), unseen).method("DELETE"));
        let review = Effect::fault(403, 800_073, "The customer is under review.");
        scene.rule(Rule::new(When::Always, review).method("DELETE"));
        scene.start().await;
        scene.settle().await;
        scene.assert_all_deleted().await;
        let deletes: Vec<Entry> = scene.writes().into_iter().filter(is_delete).collect();
        let ids: Vec<_> = deletes.iter().map(|delete| &delete.request_id).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{removal:?}: {deletes:#?}");
    }
}
