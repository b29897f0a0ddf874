//! Delays that grow, are capped and carry jitter.

use std::time::Duration;

/// The delay before step `n` (0 is the first): `initial` doubled `n` times, at most `max`, of which
/// between half and all is taken. `dice` lies in 0.0..1.0 and comes from outside.
pub fn delay(initial: Duration, max: Duration, n: u32, dice: f64) -> Duration {
    let doubled = initial.saturating_mul(1_u32.checked_shl(n.min(30)).unwrap_or(u32::MAX));
    doubled.min(max).mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stays_within_half_and_all_of_the_capped_step(
            initial in 1_u64..10_000, extra in 0_u64..1_000_000, n in 0_u32..100, dice in 0.0..1.0,
        ) {
            let (initial, max) =
                (Duration::from_millis(initial), Duration::from_millis(initial + extra));
            let full = (0..n.min(40)).fold(initial, |d, _| d.saturating_mul(2)).min(max);
            let got = delay(initial, max, n, dice);
            prop_assert!(got <= full && got >= full.mul_f64(0.499));
        }
    }
}
