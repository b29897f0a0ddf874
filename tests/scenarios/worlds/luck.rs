//! What a world is drawn with.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Chance from a seed.
#[derive(Debug)]
pub(super) struct Luck(Xoshiro256PlusPlus);

impl Luck {
    pub(super) fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// One of the numbers from `least` to `most`.
    pub(super) fn number(&mut self, least: u64, most: u64) -> u64 {
        self.0.random_range(least..=most)
    }

    /// A length from `least` to `most`, in whole milliseconds.
    pub(super) fn length(&mut self, least: Duration, most: Duration) -> Duration {
        let (least, most) = (least.as_millis() as u64, most.as_millis() as u64);
        Duration::from_millis(self.number(least, most))
    }

    /// The same, but short ones are as likely as long ones.
    pub(super) fn span(&mut self, least: Duration, most: Duration) -> Duration {
        let (least, most) = (least.as_secs_f64().max(0.001).ln(), most.as_secs_f64().ln());
        let drawn = (least + (most - least) * self.0.random::<f64>()).exp();
        Duration::from_millis((drawn * 1000.0) as u64)
    }

    pub(super) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.0.random_range(0..choices.len())].clone()
    }

    /// One of these, as often as its weight says.
    pub(super) fn weighed<T: Clone>(&mut self, choices: &[(u64, T)]) -> T {
        let mut drawn = self.number(1, choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            if drawn <= *weight {
                return choice.clone();
            }
            drawn -= weight;
        }
        choices[0].1.clone()
    }
}
