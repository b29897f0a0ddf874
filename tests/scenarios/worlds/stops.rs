//! What was stopped, by whom and for how long: nothing may be written then (invariant 3).

use std::time::Duration;

use jiff::Timestamp;
use teardownd::core::ids::{AccountName, TenantId};
use teardownd::simulator::Entry;
use teardownd::store::RequestEffect;

use super::verdict::Finding;
use crate::harness::*;

/// A stop is heeded within this, and what had gone out before it has arrived.
const HEEDED: Duration = Duration::from_millis(2_500);

/// Whom a stop concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    Everything,
    Account(AccountName),
    Tenant(TenantId),
}

#[derive(Debug)]
struct Stop {
    who: Who,
    what: &'static str,
    from: Duration,
    to: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Stops(Vec<Stop>);

impl Stops {
    /// Takes up what came of a request. A pause with an end that cannot be told is left out.
    pub(super) fn note(
        &mut self,
        verb: Verb,
        effects: &[RequestEffect],
        lasting: Option<Duration>,
        now: Duration,
    ) {
        for effect in effects.iter().filter(|effect| effect.applied) {
            let who = match (effect.tenant_id, &effect.account) {
                (Some(tenant), _) => Who::Tenant(tenant),
                (None, Some(account)) => Who::Account(account.clone()),
                (None, None) => Who::Everything,
            };
            match verb {
                Verb::Pause => {
                    self.set(who.clone(), "pause", false, now);
                    // The text tells whether it ends by itself.
                    match lasting {
                        Some(lasting) => self.0.push(Stop {
                            who,
                            what: "pause",
                            from: now,
                            to: Some(now + lasting),
                        }),
                        None if effect.text.contains("until somebody") => {
                            self.set(who, "pause", true, now);
                        }
                        None => {}
                    }
                }
                Verb::Resume => self.set(who, "pause", false, now),
                Verb::Hold => self.set(who, "hold", true, now),
                Verb::Release => self.set(who, "hold", false, now),
                Verb::Abort => self.set(who, "abort", true, now),
                Verb::Retry
                | Verb::Unhalt
                | Verb::Ack
                | Verb::Set
                | Verb::Protect
                | Verb::Unprotect => {}
            }
        }
    }

    /// A stop begins or ends.
    pub(super) fn set(&mut self, who: Who, what: &'static str, on: bool, now: Duration) {
        let mut open = self.0.iter_mut().filter(|stop| {
            stop.who == who && stop.what == what && stop.to.is_none_or(|to| now < to)
        });
        if on {
            if open.next().is_none() {
                self.0.push(Stop { who, what, from: now, to: None });
            }
        } else {
            open.for_each(|stop| stop.to = Some(now));
        }
        // Whatever stopped a run of a tenant ends with it.
        if what == "abort" {
            let tenant = self.0.iter_mut().filter(|stop| {
                matches!(stop.who, Who::Tenant(_)) && stop.what == "hold" && stop.to.is_none()
            });
            tenant.for_each(|stop| stop.to = Some(now));
        }
    }

    /// The settings that let nothing out are over.
    pub(super) fn set_everything_free(&mut self, now: Duration) {
        let settings = self.0.iter_mut().filter(|stop| {
            stop.to.is_none() && matches!(stop.what, "dry_run" | "allow_domains" | "sandbox")
        });
        settings.for_each(|stop| stop.to = Some(now));
    }

    /// The writes that were sent all the same.
    pub(super) fn broken(&self, entries: &[Entry], begun: Timestamp) -> Vec<Finding> {
        let neighbours = |entry: &Entry| entry.partner == Some(NEIGHBOUR_PARTNER);
        let mut found = Vec::new();
        for entry in entries.iter().filter(|entry| is_write(entry)) {
            let at = Duration::try_from(entry.at.duration_since(begun)).unwrap_or_default();
            let stops = self.0.iter().filter(|stop| {
                let concerned = match &stop.who {
                    Who::Everything => true,
                    Who::Account(name) => neighbours(entry) == (name.as_str() == NEIGHBOUR),
                    Who::Tenant(tenant) => entry.tenant == Some(tenant.as_uuid()),
                };
                concerned && stop.from + HEEDED <= at && stop.to.is_none_or(|to| at < to)
            });
            found.extend(stops.map(|stop| {
                let text = format!("{} {} at {at:?}, stopped {:?}", entry.method, entry.path, stop);
                Finding::new(&format!("written during {}", stop.what), text)
            }));
        }
        found
    }
}
