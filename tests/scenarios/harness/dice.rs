//! Seeded randomness for the daemon.

use std::sync::Mutex;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};
use teardownd::core::clock::Entropy;
use uuid::Uuid;

/// The same seed gives the same ids and the same jitter.
#[derive(Debug)]
pub(crate) struct SeededEntropy(Mutex<Xoshiro256PlusPlus>);

impl SeededEntropy {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(Xoshiro256PlusPlus::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.0.lock().unwrap().fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    fn unit(&self) -> f64 {
        self.0.lock().unwrap().random()
    }
}
