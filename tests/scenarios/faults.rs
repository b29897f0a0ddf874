//! A share of all answers is faulty: everything ends deleted all the same, without a breach, and what
//! befalls one account is not felt by another.

use std::time::Duration;

use teardownd::partner_center::clouds::Cloud;
use teardownd::partner_center::credentials::TokenEndpoint;
use teardownd::simulator::Options;

use crate::harness::*;

/// Three accounts on two clouds, with both shapes of the token endpoint.
const FLEET: [Member; 3] = [
    Member { name: "americas", cloud: Cloud::Global, endpoint: TokenEndpoint::V2, customers: 75 },
    Member { name: "europe", cloud: Cloud::Global, endpoint: TokenEndpoint::V1, customers: 75 },
    Member { name: "china", cloud: Cloud::China, endpoint: TokenEndpoint::V1, customers: 75 },
];

/// One in ten answers is faulty, and tokens live three seconds.
fn harsh() -> Options {
    Options {
        latency: (LATENCY, LATENCY),
        token_lifetime: secs(3),
        faults: Some(FaultProfile::everything(0.1)),
        ..Options::default()
    }
}

async fn assert_all_deleted(fleet: &Fleet, member: &Member) {
    let rows = fleet.rows(member).await;
    assert_eq!(rows.len(), member.customers);
    rows.iter().for_each(assert_deleted);
}

fn assert_careful(fleet: &Fleet) {
    for cloud in fleet.clouds() {
        let journal = cloud.journal();
        let breaches: Vec<String> = journal.breaches().iter().map(ToString::to_string).collect();
        assert!(breaches.is_empty(), "breaches:\n{}", breaches.join("\n"));
        let twice: Vec<_> = journal.applied().iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "took effect more than once: {twice:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invariants_4_to_9_with_a_tenth_of_all_answers_faulty_everything_ends_deleted() {
    let fleet = Fleet::queued(&FLEET, &harsh()).await;
    fleet.start().await;
    for member in &FLEET {
        fleet.settle(member, hours(12)).await;
        assert_all_deleted(&fleet, member).await;
        println!("{} took {:?}", member.name, fleet.duration(member).await);
    }
    for cloud in fleet.clouds() {
        let journal = cloud.journal();
        let (faults, calls) = (journal.faults(), journal.entries().len());
        println!("{calls} calls, {faults:?}");
        // It was as harsh as it says.
        assert_eq!(faults.len(), FaultKind::ALL.len(), "{faults:?}");
        let share = faults.values().sum::<u64>() as f64 / calls as f64;
        assert!((0.08..0.12).contains(&share), "{share}");
    }
    assert_careful(&fleet);
}
