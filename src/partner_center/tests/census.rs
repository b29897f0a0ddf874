//! The shared customer list.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;

use crate::core::account::TroubleKind;
use crate::core::clock::Clock;
use crate::partner_center::testing::{Bench, Reply, TENANT, fault, ok, tenant};
use crate::partner_center::transport::TransportError;
use crate::partner_center::{ApiError, Kind};

const OTHER: &str = "3c4d5e6f-7081-4293-a4b5-c6d7e8f90a1b";

fn page(ids: &[&str], next: Option<&str>) -> Reply {
    let items: Vec<_> = ids.iter().map(|id| serde_json::json!({ "id": id })).collect();
    let links = next.map(|uri| serde_json::json!({"next": {"uri": uri}}));
    Ok(ok(&serde_json::json!({"items": items, "links": links}).to_string()))
}

#[tokio::test(start_paused = true)]
async fn a_list_in_one_page_is_read_once() {
    let upper = TENANT.to_uppercase();
    let bench = Bench::new([page(&[OTHER, &upper], None)]);
    let census = bench.client.census(tenant(), Timestamp::MIN).await.unwrap().fact;
    assert_eq!(census.customers, 2);
    assert_eq!(census.entry.unwrap().id.as_deref(), Some(upper.as_str()));
    let other = bench
        .client
        .census("00000000-0000-4000-8000-000000000000".parse().unwrap(), Timestamp::MIN);
    assert_eq!(other.await.unwrap().fact.entry, None);
    assert_eq!(bench.calls(), ["GET /v1/customers?size=500"]);
}

#[tokio::test(start_paused = true)]
async fn either_id_of_a_customer_makes_it_present() {
    let body = format!(r#"{{"items":[{{"id":"x","companyProfile":{{"tenantId":"{TENANT}"}}}}]}}"#);
    let bench = Bench::new([Ok(ok(&body))]);
    assert!(bench.client.census(tenant(), Timestamp::MIN).await.unwrap().fact.entry.is_some());
}

#[tokio::test(start_paused = true)]
async fn invariant_8_several_pages_are_read_twice_and_must_agree() {
    let two_pages = |first, second| [page(&[first], Some("/customers?p=2")), page(&[second], None)];
    let bench = Bench::new([two_pages("a", "b"), two_pages("B", "A")].into_iter().flatten());
    *bench.script.latency.lock().unwrap() = Duration::from_secs(1);
    let begun = bench.clock.now();
    let seen = bench.client.census(tenant(), Timestamp::MIN).await.unwrap();
    assert_eq!(seen.fact.customers, 2);
    assert_eq!(seen.at, begun + Duration::from_secs(1), "the first of the two that agree");

    let bench = Bench::new([two_pages("a", "b"), two_pages("a", "c")].into_iter().flatten());
    let error = bench.client.census(tenant(), Timestamp::MIN).await.unwrap_err();
    assert!(error.to_string().contains("disagree"), "{error}");
    assert_eq!(error.kind(), Kind::Outage(TroubleKind::CustomersUnreadable));
    assert_eq!(bench.calls().len(), 4);

    // Shrunk to one page in between: that page is enough.
    let bench = Bench::new(two_pages("a", "b").into_iter().chain([page(&["a"], None)]));
    let census = bench.client.census(tenant(), Timestamp::MIN).await.unwrap().fact;
    assert_eq!((census.customers, bench.calls().len()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn one_list_serves_everybody_who_waits() {
    let bench = Bench::new([page(&[OTHER], None), page(&[OTHER, TENANT], None)]);
    *bench.script.latency.lock().unwrap() = Duration::from_secs(1);
    let begun = bench.clock.now();
    let results = join_all((0..20).map(|_| bench.client.census(tenant(), begun))).await;
    assert!(results.iter().all(|r| r.as_ref().is_ok_and(|seen| seen.fact.customers == 1)));
    assert_eq!(bench.calls().len(), 1);

    // A list that was begun before the caller's time does not count for it.
    let later = bench.clock.now();
    assert_eq!(bench.client.census(tenant(), Timestamp::MIN).await.unwrap().fact.customers, 1);
    let seen = bench.client.census(tenant(), later).await.unwrap();
    assert_eq!(seen.fact.customers, 2);
    assert!(seen.at >= later);
}

#[tokio::test(start_paused = true)]
async fn a_list_is_shared_for_five_seconds() {
    let bench = Bench::new([page(&[], None), page(&[OTHER], None)]);
    assert_eq!(bench.client.customer_list().await.unwrap().fact.count, 0);
    bench.clock.sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.client.customer_list().await.unwrap().fact.count, 0);
    bench.clock.sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.client.customer_list().await.unwrap().fact.count, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_by_those_who_waited_and_not_kept() {
    let bench = Bench::new([Ok(fault(500, 800_005)), page(&[OTHER], None)]);
    *bench.script.latency.lock().unwrap() = Duration::from_secs(1);
    let results = join_all((0..20).map(|_| bench.client.census(tenant(), Timestamp::MIN))).await;
    assert!(
        results
            .iter()
            .all(|r| r.as_ref().is_err_and(|e| e.kind() == Kind::Outage(TroubleKind::Unreachable)))
    );
    assert_eq!(bench.calls().len(), 1);
    bench.client.census(tenant(), Timestamp::MIN).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_next_caller_reads_when_the_reading_one_goes_away() {
    let bench = Bench::new([page(&[], None), page(&[OTHER], None)]);
    *bench.script.latency.lock().unwrap() = Duration::from_secs(10);
    let client = bench.client.clone();
    let first = tokio::spawn(async move { client.census(tenant(), Timestamp::MIN).await });
    let client = bench.client.clone();
    let second = tokio::spawn(async move { client.census(tenant(), Timestamp::MIN).await });
    bench.clock.sleep(Duration::from_secs(15)).await;
    first.abort();
    assert_eq!(second.await.unwrap().unwrap().fact.customers, 1);
}

#[tokio::test(start_paused = true)]
async fn invariant_6_a_customer_without_an_id_damages_the_list() {
    let bench = Bench::new([Ok(ok(r#"{"items":[{"id":"a"},{"companyProfile":{}}]}"#))]);
    let error = bench.client.census(tenant(), Timestamp::MIN).await.unwrap_err();
    assert!(matches!(error, ApiError::Damaged { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn complete_lists_are_noted_once_each_and_others_never() {
    let bench = Bench::new([
        page(&[TENANT], None),
        page(&[TENANT], Some("/customers?p=2")),
        Err(TransportError::Timeout(Duration::from_secs(30))),
    ]);
    let begun = bench.clock.now();
    let (one, other) =
        tokio::join!(bench.client.census(tenant(), Timestamp::MIN), bench.client.customer_list());
    assert_eq!((one.unwrap().at, other.unwrap().at), (begun, begun));
    let noted = || bench.books.noted.lock().unwrap().clone();
    assert_eq!(noted().len(), 1, "one reading for both");
    assert_eq!((noted()[0].at, noted()[0].fact.count), (begun, 1));
    bench.clock.sleep(Duration::from_secs(60)).await;
    assert!(bench.client.customer_list().await.is_err());
    assert_eq!(noted().len(), 1, "a list without its second page is none");
}
