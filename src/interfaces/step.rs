//! The note for people about a step of the system's clock.

use std::time::Duration;

use crate::core::clock::Clock;

/// For so long a step is told of.
const NEWS: Duration = Duration::from_secs(24 * 3600);

/// The note about the latest step, if that was within a day.
pub(crate) fn note(clock: &dyn Clock) -> Option<String> {
    let step = clock.last_step()?;
    let ago = Duration::try_from(clock.now().duration_since(step.at)).unwrap_or_default();
    let direction = if step.by.is_negative() { "back" } else { "forward" };
    (ago < NEWS).then(|| {
        format!(
            "the system's clock was set {direction} by {}, {} ago: waits, caps and deadlines go on as \
             they were, and windows, not-before times and ends of pauses go by the clock as it is now",
            told(step.by.unsigned_abs()),
            told(ago)
        )
    })
}

/// To the second.
fn told(length: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(length.as_secs()))
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::core::clock::BoxFuture;
    use crate::core::database_time::Step;

    /// A clock on which so much has passed since a step back by an hour.
    #[derive(Debug)]
    struct Since(SignedDuration);

    impl Clock for Since {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH + self.0
        }

        fn uptime(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }

        fn last_step(&self) -> Option<Step> {
            Some(Step { at: Timestamp::UNIX_EPOCH, by: SignedDuration::from_hours(-1) })
        }
    }

    #[test]
    fn a_step_is_told_of_for_a_day() {
        let told = note(&Since(SignedDuration::from_secs(90))).unwrap();
        let begins = "the system's clock was set back by 1h, 1m 30s ago: waits";
        assert!(told.starts_with(begins), "{told}");
        assert!(note(&Since(SignedDuration::from_hours(23))).is_some());
        assert_eq!(note(&Since(SignedDuration::from_hours(24))), None);
    }
}
