//! Seeded randomness: the same seed gives the same sandbox, delays and faults, whatever machine it
//! runs on.

use std::ops::Range;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};
use uuid::Uuid;

/// The simulator's own source of chance.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Xoshiro256PlusPlus);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// From 0.0 (inclusive) to 1.0 (exclusive).
    pub(crate) fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// A number of `range`, or its start where it is empty.
    pub(crate) fn pick(&mut self, range: Range<usize>) -> usize {
        if range.is_empty() { range.start } else { self.0.random_range(range) }
    }

    /// A duration from the first to the second.
    pub(crate) fn between(&mut self, (least, most): (Duration, Duration)) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.unit())
    }

    /// A version 4 UUID.
    pub(crate) fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.0.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// The long form of an order id: 33 characters of base64url, the last of which is `1` in every
    /// documented example.
    pub(crate) fn long_order_id(&mut self) -> String {
        format!("{}1", self.base64url(24))
    }

    /// The short form of an order id, which is also the long form's `alternateId`.
    pub(crate) fn short_order_id(&mut self) -> String {
        let mut bytes = [0; 6];
        self.0.fill_bytes(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// `bytes` random bytes as base64url without padding.
    pub(crate) fn base64url(&mut self, bytes: usize) -> String {
        let mut buffer = vec![0; bytes];
        self.0.fill_bytes(&mut buffer);
        URL_SAFE_NO_PAD.encode(buffer)
    }
}
