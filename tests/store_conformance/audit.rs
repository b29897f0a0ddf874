//! The record of everything that was asked for and done.

use jiff::Timestamp;
use teardownd::core::ids::AccountName;
use teardownd::core::teardown::State;
use teardownd::store::{AuditEntry, AuditRange, Filter, OperatorRequest, Verb};

use super::{Backend, Bench, at, cancel, default_account, only, request, start};

fn everything() -> AuditRange {
    AuditRange { since: start(), until: Timestamp::MAX, account: None }
}

fn named(entries: &[AuditEntry]) -> Vec<String> {
    let name = |entry: &AuditEntry| match entry {
        AuditEntry::Transition(change) => format!("to {}", change.to.as_str()),
        AuditEntry::Command(command) => format!("command {}", command.intent.resource),
        AuditEntry::Request(request) => format!("{} by {}", request.verb, request.actor),
    };
    entries.iter().map(name).collect()
}

pub(crate) async fn the_audit_holds_everything_in_time_order(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    assert_eq!(bench.store.audit_begins().await.unwrap(), None);
    bench.queue([1], at(1)).await;
    let pause = request(Verb::Pause, Filter::default());
    bench.store.request(&pause, at(2)).await.unwrap();
    bench.store.request(&request(Verb::Resume, Filter::default()), at(3)).await.unwrap();
    let claimed = bench.claim_one(at(4)).await;
    bench.walk(&claimed, &[State::EntitlementsFetched], at(4)).await;
    bench.command(&claimed, State::OrdersCancelling, vec![cancel(1, "o")], at(5)).await;
    bench.ask(Verb::Hold, 1, at(6)).await;
    let entries = bench.store.audit(&everything()).await.unwrap();
    assert_eq!(
        named(&entries),
        [
            "to queued",
            "pause by bob",
            "resume by bob",
            "to entitlements_fetched",
            "to orders_cancelling",
            "command order:o",
            "hold by bob",
            "to orders_cancelling",
        ]
    );
    let AuditEntry::Request(hold) = &entries[6] else { panic!("{entries:?}") };
    assert_eq!((hold.reason.as_deref(), hold.answered_at), (Some("as agreed"), Some(at(6))));
    assert_eq!(hold.answer.as_deref(), Some("teardown 1: held"));
    assert_eq!(bench.store.audit_begins().await.unwrap(), Some(at(1)));

    let part = AuditRange { since: at(2), until: at(4), account: None };
    assert_eq!(named(&bench.store.audit(&part).await.unwrap()), ["pause by bob", "resume by bob"]);
    let of = |name: &AccountName| AuditRange { account: Some(name.clone()), ..everything() };
    let own = bench.store.audit(&of(&default_account())).await.unwrap();
    assert_eq!(own.len(), entries.len(), "what names no account may be about each");
    let other = bench.store.audit(&of(&AccountName::new("other"))).await.unwrap();
    assert!(other.iter().all(|entry| matches!(entry, AuditEntry::Request(_))), "{other:?}");
}

pub(crate) async fn the_audit_says_what_exactly_was_asked_for(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], at(1)).await;
    let pause = request(Verb::Pause, Filter::default());
    bench.store.request(&OperatorRequest { until: Some(at(60)), ..pause }, at(2)).await.unwrap();
    let set = request(Verb::Set, only(1));
    let set = OperatorRequest { priority: Some(7), not_before: Some(at(90)), ..set };
    bench.store.request(&set, at(3)).await.unwrap();
    let retry = request(Verb::Retry, only(1));
    bench.store.request(&OperatorRequest { try_anyway: true, ..retry }, at(4)).await.unwrap();
    let entries = bench.store.audit(&everything()).await.unwrap();
    let asked: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| match entry {
            AuditEntry::Request(r) => Some((r.until, r.priority, r.not_before, r.try_anyway)),
            AuditEntry::Transition(_) | AuditEntry::Command(_) => None,
        })
        .collect();
    let written = |seconds| Some(at(seconds).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
    let expected = [
        (written(60), None, None, false),
        (None, Some(7), written(90), false),
        (None, None, None, true),
    ];
    assert_eq!(asked, expected);
}

pub(crate) async fn the_audit_is_kept_beyond_the_rows(backend: &dyn Backend) {
    let bench = Bench::new(backend).await;
    bench.queue([1], at(1)).await;
    let claimed = bench.claim_one(at(2)).await;
    bench.walk(&claimed, &[State::EntitlementsFetched], at(2)).await;
    bench.command(&claimed, State::OrdersCancelling, vec![cancel(1, "o")], at(3)).await;
    bench.send_accepted(&claimed, 1, at(4)).await;
    bench.ask(Verb::Abort, 1, at(5)).await;
    let whole = bench.store.audit(&everything()).await.unwrap();
    assert_eq!(whole.len(), 6, "{whole:?}");
    // The row goes; its history is younger than what is kept.
    assert_eq!(bench.store.purge(at(100), start()).await.unwrap(), 1);
    assert_eq!(bench.store.list(&Filter::default()).await.unwrap(), []);
    assert_eq!(bench.store.audit(&everything()).await.unwrap(), whole);
    // And then it goes as well, the requests with it.
    bench.store.purge(at(100), at(100)).await.unwrap();
    assert_eq!(bench.store.audit(&everything()).await.unwrap(), []);
}
