//! Why the daemon is not Microsoft's sample: its waiting loop has a flag that can only fall.

use serde_json::json;
use teardownd::simulator::{Kind, Options, Purchase};

use crate::support::*;

/// The sample's loop in our own words (fact sheet, section 11). One flag says whether to go on to
/// DELETE. It is raised once, before the first round; any order that does not read as cancelled
/// lowers it; nothing raises it again. After each look at all orders the loop sleeps 5 seconds and
/// then asks the flag whether to look again.
///
/// Returns the number of rounds, or `None` if it was still looking after `rounds` of them.
fn sample_loop(bench: &mut Bench, orders: &[String], rounds: usize) -> Option<usize> {
    let mut all_cancelled = true;
    for round in 1..=rounds {
        for path in orders {
            let (status, order) = bench.get(path);
            assert_eq!(status, 200);
            if order["status"] != json!("cancelled") {
                all_cancelled = false;
            }
        }
        bench.pass(5);
        if all_cancelled {
            return Some(round);
        }
    }
    None
}

/// Two cancelled orders, the second of which takes this long.
fn cancelling(slowest: u64) -> (Bench, Vec<String>) {
    let bought = [
        Purchase::new(Kind::Reservation).takes(seconds(0)),
        Purchase::new(Kind::PerpetualSoftware).takes(seconds(slowest)),
    ];
    // A token that outlasts the test: what it shows is not an expired one.
    let options = Options { token_lifetime: seconds(24 * 3600), ..plain() };
    let mut bench = Bench::new(options, [customer(bought)]);
    for index in 0..2 {
        assert_eq!(bench.cancel_order(index).0, 200);
    }
    let paths = (0..2).map(|index| bench.cancellation(index).0).collect();
    (bench, paths)
}

#[test]
fn microsofts_sample_loop_never_ends_when_an_order_is_pending_at_first_look() {
    const ROUNDS: usize = 1_000;
    let (mut bench, orders) = cancelling(3);
    assert_eq!(bench.get(&orders[1]).1["status"], json!("pending"));
    assert_eq!(sample_loop(&mut bench, &orders, ROUNDS), None);
    for path in &orders {
        assert_eq!(bench.get(path).1["status"], json!("cancelled"), "long since");
    }

    let (mut bench, orders) = cancelling(0);
    assert_eq!(sample_loop(&mut bench, &orders, ROUNDS), Some(1), "nothing pending: it ends");
}
