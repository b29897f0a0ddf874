//! Every fault in every position of a command's life: one answer of a whole teardown goes wrong, each
//! in turn, and nothing is written twice.

use std::collections::BTreeSet;

use teardownd::simulator::{Entry, RetryAfterForm};

use crate::harness::*;
use crate::unsettled::{assert_one_command_each, assert_one_id_each};

/// What can go wrong with an answer.
fn faults() -> Vec<(&'static str, Effect)> {
    let refused = || Effect::fault(401, 800_001, "The access token is not accepted.");
    let throttled = |form| Effect::ThrottleIn(secs(7), form);
    vec![
        ("reset before", Effect::DropBefore),
        ("reset after", Effect::DropAfter),
        // Longer than any answer is waited for.
        ("silence", Effect::Delay(secs(90))),
        ("502", Effect::bad_gateway()),
        ("502, applied", Effect::bad_gateway().though_applied()),
        ("503", Effect::unavailable()),
        ("503, applied", Effect::unavailable().though_applied()),
        ("401", refused()),
        ("401, applied", refused().though_applied()),
        ("429 in seconds", throttled(RetryAfterForm::Seconds)),
        ("429 as a date", throttled(RetryAfterForm::Date)),
        ("half of the JSON", Effect::TruncatedJson),
        ("cut off", Effect::CutOff),
        ("null list", Effect::NullItems),
        ("no list", Effect::MissingItems),
        ("an error in a 200", Effect::CodeInSuccess(400_072)),
        ("stale list", Effect::Stale(secs(30))),
        ("PascalCase", Effect::PascalCase),
        ("byte order mark", Effect::ByteOrderMark),
    ]
}

/// Where in the life of a command an answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Position {
    Token,
    FirstLook,
    Write,
    RepeatedWrite,
    Poll,
    FreshInventory,
    Delete,
    RepeatedDelete,
    Proof,
}

const EVERYWHERE: [Position; 9] = [
    Position::Token,
    Position::FirstLook,
    Position::Write,
    Position::RepeatedWrite,
    Position::Poll,
    Position::FreshInventory,
    Position::Delete,
    Position::RepeatedDelete,
    Position::Proof,
];

/// The position of each call.
fn positions(calls: &[Entry]) -> Vec<Position> {
    let first_of = |method: &str| calls.iter().position(|e| e.method == method && !is_token(e));
    let written = calls.iter().position(is_write).unwrap();
    let deleted = first_of("DELETE").unwrap();
    // Calls of one look lie close together, and only a fresh inventory reads the entitlements.
    let is_of_inventory = |call: &Entry| {
        let near =
            |other: &&Entry| (other.at.duration_since(call.at)).abs() < secs(1).try_into().unwrap();
        let look = calls[written..deleted].iter().filter(near);
        look.into_iter().any(|other| other.template == Template::Entitlements)
    };
    let place = |(index, call): (usize, &Entry)| {
        let again = calls[..index].iter().any(|e| e.request_id == call.request_id);
        match call {
            _ if is_token(call) => Position::Token,
            _ if is_delete(call) && again => Position::RepeatedDelete,
            _ if is_delete(call) => Position::Delete,
            _ if is_write(call) && again => Position::RepeatedWrite,
            _ if is_write(call) => Position::Write,
            _ if index < written => Position::FirstLook,
            _ if index > deleted => Position::Proof,
            _ if is_of_inventory(call) => Position::FreshInventory,
            _ => Position::Poll,
        }
    };
    calls.iter().enumerate().map(place).collect()
}

/// A teardown in which these rules hold.
async fn torn_down(kind: Kind, rules: &[Rule], what: &str) -> Scene {
    let mut scene = given([buy(kind).takes(secs(3))]).queued().await;
    for rule in rules {
        scene.rule(rule.clone());
    }
    scene.start().await;
    scene.settle().await;
    println!("{what}");
    scene.assert_all_deleted().await;
    assert_one_id_each(&scene, what);
    assert_one_command_each(&scene, what).await;
    scene
}

#[tokio::test(start_paused = true)]
async fn invariant_4_any_fault_in_any_position_of_a_commands_life_leads_to_no_redundant_write() {
    let mut covered = BTreeSet::new();
    for kind in [Kind::Reservation, Kind::AzurePlan] {
        let lost = |method| Rule::new(When::Nth(1), Effect::DropBefore).method(method);
        let first_writes = ["PATCH", "POST", "DELETE"].map(|method| match method {
            "POST" => lost(method).on(Template::AzureCancel),
            _ => lost(method),
        });
        for before in [&[][..], &first_writes[..]] {
            let calls = torn_down(kind, before, "as it is").await.calls();
            let repeats = [Position::RepeatedWrite, Position::RepeatedDelete];
            for (index, position) in positions(&calls).into_iter().enumerate() {
                covered.insert(position);
                // What is no repetition has its turn where nothing was lost before.
                if !before.is_empty() && !repeats.contains(&position) {
                    continue;
                }
                for (name, effect) in faults() {
                    let call = &calls[index];
                    let what =
                        format!("{kind:?}: {name} at {position:?} {} {}", call.method, call.path);
                    let nth = Rule::new(When::Nth(index as u64 + 1), effect);
                    torn_down(kind, &[&[nth], before].concat(), &what).await;
                }
            }
        }
    }
    assert_eq!(covered, EVERYWHERE.into());
}
