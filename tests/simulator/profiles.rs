//! Faults by chance.

use std::collections::BTreeMap;

use serde_json::Value;
use teardownd::simulator::{
    Customer, Delivery, FaultKind, FaultProfile, Kind, Options, Purchase, Reply, Template,
};

use crate::support::*;

/// A bench whose every answer has this fault.
fn bench(kind: FaultKind) -> Bench {
    let bench = Bench::new(
        Options { token_lifetime: seconds(3600), ..plain() },
        [customer([Purchase::new(Kind::Reservation)]), Customer::new(OTHER, "two.example")],
    );
    bench.pass(100);
    let profile = FaultProfile::of(vec![kind], 1.0);
    bench.simulator.set_options(|options| options.faults = Some(profile));
    bench
}

fn send(bench: &mut Bench, method: &str, path: &str) -> Reply {
    let id = bench.fresh_id();
    bench.send(method, path, id, None)
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let headers = &reply.answer()?.headers;
    headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
}

fn is_marked(reply: &Reply) -> bool {
    reply.answer().unwrap().body.starts_with(b"\xef\xbb\xbf")
}

#[test]
fn every_kind_of_fault_is_what_it_says() {
    for kind in FaultKind::ALL {
        let mut bench = bench(kind);
        let reply = send(&mut bench, "GET", "customers");
        let status = reply.answer().map(|answer| answer.status);
        match kind {
            FaultKind::ResetBefore | FaultKind::ResetAfter => {
                assert_eq!(reply.delivery, Delivery::Dropped);
            }
            FaultKind::Silence => assert!(reply.delay >= seconds(90)),
            FaultKind::BadGateway => {
                assert_eq!(status, Some(502));
                assert_eq!(header(&reply, "content-type"), Some("text/html"));
            }
            FaultKind::Unavailable => assert_eq!(status, Some(503)),
            FaultKind::TruncatedJson => {
                let body = reply.answer().unwrap().body.slice(3..);
                assert!(serde_json::from_slice::<Value>(&body).is_err());
            }
            FaultKind::Unauthorized => assert_eq!(status, Some(401)),
            FaultKind::ThrottledSeconds => {
                let after: u64 = header(&reply, "retry-after").unwrap().parse().unwrap();
                assert!((1..=5).contains(&after));
            }
            FaultKind::ThrottledDate => {
                assert!(header(&reply, "retry-after").unwrap().ends_with(" GMT"));
            }
            FaultKind::StaleList => {
                assert_eq!(read(&reply).1["items"].as_array().unwrap().len(), 2)
            }
            FaultKind::PascalCase => assert!(read(&reply).1["Items"].is_array()),
            FaultKind::ByteOrderMark => assert!(!is_marked(&reply)),
            FaultKind::NullItems => assert_eq!(read(&reply).1["items"], Value::Null),
        }
        let journal = bench.simulator.journal();
        assert_eq!(journal.faults(), BTreeMap::from([(kind, 1)]));
        assert_eq!(journal.entries().last().unwrap().fault, Some(kind));
    }
}

#[test]
fn a_fault_befalls_only_what_it_can_befall() {
    // A DELETE has no body, a resource is no list, and Entra is another service.
    for kind in FaultKind::ALL {
        let mut bench = bench(kind);
        let path = bench.own("");
        let mut struck = |method: &str| {
            send(&mut bench, method, &path);
            bench.simulator.journal().entries().last().unwrap().fault.is_some()
        };
        let of_lists = matches!(kind, FaultKind::StaleList | FaultKind::NullItems);
        let of_bodies = matches!(
            kind,
            FaultKind::TruncatedJson | FaultKind::PascalCase | FaultKind::ByteOrderMark
        );
        assert_eq!(struck("GET"), !of_lists, "{kind:?}");
        assert_eq!(struck("DELETE"), !of_lists && !of_bodies, "{kind:?}");
        if of_lists || kind == FaultKind::Unauthorized || kind == FaultKind::PascalCase {
            bench.sign_in();
            let entry = bench.simulator.journal().entries().last().unwrap().clone();
            assert_eq!((entry.template, entry.fault), (Template::TokenV1, None), "{kind:?}");
        }
    }
}

#[test]
fn a_reset_after_applies_the_call_and_a_reset_before_does_not() {
    for (kind, active) in [
        (FaultKind::ResetBefore, true),
        (FaultKind::ResetAfter, false),
        (FaultKind::Silence, false),
    ] {
        let mut bench = bench(kind);
        let (path, body) = bench.cancellation(0);
        let id = bench.fresh_id();
        bench.send("PATCH", &path, id, Some(&body));
        bench.pass(5);
        assert_eq!(bench.purchases()[0].active, active, "{kind:?}");
    }
}

#[test]
fn a_stale_list_shows_what_was_and_a_mark_is_put_where_there_is_none() {
    let mut stale = bench(FaultKind::StaleList);
    stale.simulator.set_options(|options| options.faults = None);
    stale.cancel_order(0);
    stale.pass(6);
    let path = stale.own("/orders");
    assert_eq!(stale.items(&path)[0]["status"], "cancelled");
    let profile = FaultProfile {
        staleness: (seconds(30), seconds(30)),
        ..FaultProfile::of(vec![FaultKind::StaleList], 1.0)
    };
    stale.simulator.set_options(|options| options.faults = Some(profile));
    assert_eq!(stale.items(&path)[0]["status"], "completed");

    let mut marked = bench(FaultKind::ByteOrderMark);
    let fault = send(&mut marked, "GET", "customers/no-guid");
    assert_eq!(fault.answer().unwrap().status, 400);
    assert!(is_marked(&fault));
}

/// Which of many readings of the customer list are faulty.
fn struck(rate: f64, seed_like_this: bool) -> Vec<bool> {
    let mut bench = Bench::new(plain(), [customer([])]);
    if !seed_like_this {
        send(&mut bench, "GET", "customers");
    }
    let profile = FaultProfile::named("gateway", rate);
    bench.simulator.set_options(|options| options.faults = profile);
    let answered = |bench: &mut Bench| send(bench, "GET", "customers").answer().unwrap().status;
    (0..1000).map(|_| answered(&mut bench) != 200).collect()
}

#[test]
fn a_profile_strikes_its_share_from_a_seed() {
    let faulty = struck(0.1, true);
    let count = faulty.iter().filter(|struck| **struck).count();
    assert!((70..=130).contains(&count), "{count}");
    assert_eq!(faulty, struck(0.1, true));
    // Calls without a profile draw nothing.
    assert_eq!(faulty, struck(0.1, false));
    assert!(struck(0.0, true).iter().all(|struck| !struck));
}

#[test]
fn profiles_have_names_and_everything_is_all_of_them() {
    assert_eq!(FaultProfile::named("nothing such", 0.5), None);
    let mut all = Vec::new();
    for name in FaultProfile::NAMES {
        let profile = FaultProfile::named(name, 0.5).unwrap();
        assert_eq!((profile.name, profile.rate), (name, 0.5));
        if name == "everything" {
            assert_eq!(profile, FaultProfile::everything(0.5));
        } else {
            all.extend(profile.kinds);
        }
    }
    all.sort();
    assert_eq!(all, FaultKind::ALL);
}
