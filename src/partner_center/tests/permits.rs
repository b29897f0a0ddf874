//! The gate in front of every request (invariant 9).

use std::time::Duration;

use futures::future::{join, join_all};

use crate::core::budget::{Ask, Bucket, Resource};
use crate::core::clock::Clock;
use crate::partner_center::testing::{Bench, fault, ok, reply, tenant, with_header};
use crate::partner_center::{ApiError, Kind, PermitKind, bucket_of};

const ORDERS: Bucket = Bucket::of_account(Resource::Order);

const EMPTY: &str = r#"{"items":[]}"#;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn limit(bench: &Bench, left: u32, refill: u32, retry_after: Duration) {
    *bench.books.left.lock().unwrap() = Some(left);
    *bench.books.refill.lock().unwrap() = refill;
    *bench.books.retry_after.lock().unwrap() = retry_after;
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_booked_together() {
    let bench = Bench::new([]);
    bench.client.check_credential().await.unwrap();
    *bench.books.latency.lock().unwrap() = Duration::from_millis(100);
    let wanted = (0..30).map(|n| {
        let kind = if n % 3 == 0 { PermitKind::Write } else { PermitKind::Read };
        bench.client.permit(kind, ORDERS)
    });
    assert!(join_all(wanted).await.iter().all(Result::is_ok));
    let asked = bench.books.asked.lock().unwrap();
    let bucket = ORDERS;
    assert_eq!(asked.len(), 2, "one in flight, the rest gathers: {asked:?}");
    assert_eq!(asked[0], [Ask { bucket, writes: 1, reads: 0 }]);
    assert_eq!(asked[1], [Ask { bucket, writes: 9, reads: 20 }]);
}

#[tokio::test(start_paused = true)]
async fn writes_go_before_reads_and_no_more_than_was_granted() {
    let bench = Bench::new([]);
    bench.client.check_credential().await.unwrap();
    limit(&bench, 0, 3, secs(10));
    let done = std::sync::Mutex::new(Vec::new());
    let want = |kind: PermitKind| {
        let (bench, done) = (&bench, &done);
        async move {
            let _permit = bench.client.permit(kind, ORDERS).await.unwrap();
            done.lock().unwrap().push((kind, bench.clock.uptime().as_secs() - 1000));
        }
    };
    let reads = join_all((0..4).map(|_| want(PermitKind::Read)));
    let writes = join_all((0..4).map(|_| want(PermitKind::Write)));
    join(reads, writes).await;
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(kind, at)| (*at, *kind == PermitKind::Read));
    let (write, read) = (PermitKind::Write, PermitKind::Read);
    let expected = [
        (write, 10),
        (write, 10),
        (write, 10),
        (write, 20),
        (read, 20),
        (read, 20),
        (read, 30),
        (read, 30),
    ];
    assert_eq!(done, expected);
}

#[tokio::test(start_paused = true)]
async fn customers_are_served_in_the_order_of_their_coming() {
    let bench = Bench::new([]);
    bench.client.check_credential().await.unwrap();
    limit(&bench, 0, 2, secs(10));
    let done = std::sync::Mutex::new(Vec::new());
    // The later ones have the lower ids.
    let want = |n: u64| {
        let (bench, done) = (&bench, &done);
        let customer = crate::core::ids::TenantId::new(uuid::Uuid::from_u128(u128::from(100 - n)));
        async move {
            bench.clock.sleep(Duration::from_millis(n)).await;
            let bucket = Bucket::of_customer(Resource::Order, customer);
            let _permit = bench.client.permit(PermitKind::Read, bucket).await.unwrap();
            done.lock().unwrap().push((n, bench.clock.uptime().as_secs() - 1000));
        }
    };
    join_all((1..=6).map(want)).await;
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(n, _)| *n);
    assert_eq!(done, [(1, 10), (2, 10), (3, 20), (4, 20), (5, 30), (6, 30)]);
}

#[tokio::test(start_paused = true)]
async fn a_write_does_not_wait_for_its_customer_s_own_part() {
    let bench = Bench::new([]);
    bench.client.check_credential().await.unwrap();
    limit(&bench, 0, 9, secs(30));
    *bench.books.own_part_is_full.lock().unwrap() = true;
    let (until, begun) = (bench.clock.now() + secs(30), bench.clock.uptime());
    let write = bench.client.permit(PermitKind::Write, bucket_of(&super::send::delete()));
    assert_eq!(write.await.unwrap_err().kind(), Kind::Throttled { until });
    assert_eq!(bench.clock.uptime(), begun, "it would wait in the turn of the account");
    let read = bench.client.permit(PermitKind::Read, ORDERS).await;
    assert!(read.is_ok() && bench.clock.uptime() == begun + secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_write_does_not_wait_for_the_reads_of_its_class() {
    let bench = Bench::new([]);
    bench.client.check_credential().await.unwrap();
    limit(&bench, 0, 9, secs(30));
    let read = bench.client.permit(PermitKind::Read, ORDERS);
    let write = async {
        bench.clock.sleep(secs(1)).await;
        // What is left to writes alone.
        *bench.books.left.lock().unwrap() = Some(1);
        bench.client.permit(PermitKind::Write, ORDERS).await.map(|_| bench.clock.uptime())
    };
    let begun = bench.clock.uptime();
    let (read, write) = join(read, write).await;
    let _read = read.unwrap();
    assert_eq!(write.unwrap(), begun + secs(1), "asked for at once, although reads must wait");
}

#[tokio::test(start_paused = true)]
async fn invariant_9_a_429_closes_the_account_at_once_and_in_the_books() {
    for (retry_after, date, wait) in [
        (Some("57"), None, 57),
        (Some("Sun, 06 Nov 1994 08:50:07 GMT"), Some("Sun, 06 Nov 1994 08:49:37 GMT"), 30),
        (Some("soon"), None, 60),
        (None, None, 60),
        (Some("7200"), None, 7200),
        (Some("999999"), None, 24 * 3600),
    ] {
        let mut answer = reply(429, r#"{"statusCode":429,"message":"Rate limit is exceeded."}"#);
        if let Some(text) = retry_after {
            answer = with_header(answer, "retry-after", text);
        }
        if let Some(text) = date {
            answer = with_header(answer, "date", text);
        }
        let bench = Bench::new([Ok(answer), Ok(ok(EMPTY))]);
        let until = bench.clock.now() + secs(wait);
        let error = bench.client.orders(tenant()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Throttled { until }, "{retry_after:?}");
        assert_eq!(error.as_fault().unwrap().text, "Rate limit is exceeded.");
        assert_eq!(*bench.books.closed.lock().unwrap(), [until]);

        // Every other class of requests is closed too, and nothing is even asked for.
        let asked = bench.books.asked.lock().unwrap().len();
        for resource in Resource::ALL {
            for kind in [PermitKind::Read, PermitKind::Write] {
                let error =
                    bench.client.permit(kind, Bucket::of_account(resource)).await.unwrap_err();
                assert_eq!(error.kind(), Kind::Throttled { until });
            }
        }
        assert_eq!(bench.books.asked.lock().unwrap().len(), asked);
        bench.clock.sleep(secs(wait)).await;
        bench.client.orders(tenant()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_9_a_429_sends_away_those_who_wait_and_stops_permits_already_given() {
    let bench = Bench::new([Ok(with_header(reply(429, ""), "retry-after", "5"))]);
    *bench.script.latency.lock().unwrap() = secs(1);
    bench.client.check_credential().await.unwrap();
    let permit = {
        let (result, permit) = join(bench.client.orders(tenant()), async {
            bench.clock.sleep(Duration::from_millis(500)).await;
            bench.client.permit(PermitKind::Write, bucket_of(&super::send::delete())).await.unwrap()
        })
        .await;
        result.unwrap_err();
        permit
    };
    let sent = bench.client.send(&super::send::delete(), uuid::Uuid::nil(), permit, &|| true).await;
    assert!(matches!(sent.trouble, Some(ApiError::Throttled { fault: None, .. })), "{sent:?}");
    assert_eq!(bench.calls().len(), 1, "nothing went out after the 429");
}

#[tokio::test(start_paused = true)]
async fn invariant_9_a_429_ends_the_waiting_of_others_at_once() {
    let bench = Bench::new([Ok(with_header(reply(429, ""), "retry-after", "5"))]);
    bench.client.check_credential().await.unwrap();
    *bench.script.latency.lock().unwrap() = secs(1);
    limit(&bench, 1, 9, secs(30));
    let until = bench.clock.now() + secs(6);
    let (first, second) = join(bench.client.orders(tenant()), async {
        bench.clock.sleep(Duration::from_millis(500)).await;
        let result = bench.client.permit(PermitKind::Read, ORDERS).await;
        (result, bench.clock.now())
    })
    .await;
    assert_eq!(first.unwrap_err().kind(), Kind::Throttled { until });
    assert_eq!(second.0.unwrap_err().kind(), Kind::Throttled { until });
    assert_eq!(second.1, until - secs(5), "not when the budget would have had room");
}

#[tokio::test(start_paused = true)]
async fn long_waits_are_not_done_in_the_queue() {
    let bench = Bench::new([]);
    limit(&bench, 0, 0, secs(600));
    let until = bench.clock.now() + secs(600);
    let error = bench.client.permit(PermitKind::Read, ORDERS).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Throttled { until });

    // Short ones that never end are bounded too (invariant 14).
    let bench = Bench::new([]);
    limit(&bench, 0, 0, secs(10));
    let begun = bench.clock.uptime();
    bench.client.permit(PermitKind::Read, ORDERS).await.unwrap_err();
    assert_eq!(bench.clock.uptime() - begun, secs(300));
}

#[tokio::test(start_paused = true)]
async fn without_books_nothing_is_sent() {
    let bench = Bench::new([]);
    *bench.books.broken.lock().unwrap() = Some("disk full".to_owned());
    let error = bench.client.orders(tenant()).await.unwrap_err();
    assert_eq!(error, ApiError::Ledger("disk full".to_owned()));
    assert_eq!(error.kind(), Kind::Store);
    assert!(bench.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_comes_too_late_is_asked_for_again() {
    let bench = Bench::new([Ok(ok(EMPTY))]);
    bench.client.check_credential().await.unwrap();
    *bench.books.latency.lock().unwrap() = Duration::from_millis(1001);
    let (result, ()) = join(bench.client.orders(tenant()), async {
        bench.clock.sleep(Duration::from_millis(1500)).await;
        *bench.books.latency.lock().unwrap() = Duration::ZERO;
    })
    .await;
    result.unwrap();
    assert_eq!(bench.books.asked.lock().unwrap().len(), 3, "two came too late");
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_leaves_the_grant_to_the_next() {
    let bench = Bench::new([]);
    bench.client.check_credential().await.unwrap();
    limit(&bench, 0, 1, secs(10));
    let client = bench.client.clone();
    let first = tokio::spawn(async move { client.permit(PermitKind::Read, ORDERS).await });
    bench.clock.sleep(secs(1)).await;
    let second = bench.client.permit(PermitKind::Read, ORDERS);
    let abort = async {
        bench.clock.sleep(secs(1)).await;
        first.abort();
    };
    let (second, ()) = join(second, abort).await;
    let _second = second.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_first_answer_ends_a_row_of_429s() {
    let bench = Bench::new([
        Ok(reply(429, "")),
        Ok(reply(429, "")),
        Ok(fault(404, 3000)),
        Ok(reply(429, "")),
    ]);
    let mut waits = Vec::new();
    for _ in 0..4 {
        let now = bench.clock.now();
        if let Kind::Throttled { until } = bench.client.orders(tenant()).await.unwrap_err().kind() {
            waits.push(until.duration_since(now).as_secs());
            bench.clock.sleep(secs(120)).await;
        }
    }
    assert_eq!(waits, [60, 120, 60]);
}
