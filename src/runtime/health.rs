//! When failures are the account's and not a tenant's (invariant 14).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::core::account::TroubleKind;
use crate::core::ids::TenantId;
use crate::partner_center::Call;

/// So many failures in a row, without one answer in between, are the account's and not a tenant's.
const OUTAGE_AFTER: u32 = 5;
/// So many, while other calls are answered: that may be chance for longer.
const PARTLY_OUT_AFTER: u32 = 10;

/// A call that was not answered, or with a fault of the server's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    /// Whose call it was.
    pub(super) tenant: TenantId,
    /// Which; `None` where nothing was sent.
    pub(super) call: Option<Call>,
    /// No answer came at all.
    pub(super) transport: bool,
    /// The failure is another pass's, which this one waited for. Many share one.
    pub(super) shared: bool,
}

/// Failures in a row, over all tenants of the account: of any call, of any write, and of each call by
/// itself, since reads may go on being answered while writes are not.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<State>);

/// What is stored of an outage, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Outage {
    /// An earlier process may have left one.
    #[default]
    Unknown,
    None,
    Of(TroubleKind),
}

#[derive(Debug, Default)]
struct State {
    any: Streak,
    writes: Streak,
    calls: BTreeMap<Call, Streak>,
    outage: Outage,
    out: Out,
}

/// What is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Out {
    /// Whatever is called.
    #[default]
    Everything,
    Writes,
    /// One call alone.
    Call(Call),
}

impl Out {
    /// Whether an answer to this call ends it. Writes go out only when what they rest on was read, and a
    /// DELETE only when every other write was answered.
    fn ends_with(self, call: Call) -> bool {
        match self {
            Self::Everything => true,
            Self::Writes => call.is_write(),
            Self::Call(out) => {
                call == out || call.method == "DELETE" || (call.is_write() && !out.is_write())
            }
        }
    }
}

#[derive(Debug, Default)]
struct Streak {
    failures: u32,
    transport: bool,
    tenants: BTreeSet<TenantId>,
}

impl Streak {
    fn add(&mut self, failure: Failure) {
        self.failures = self.failures.saturating_add(u32::from(!failure.shared));
        self.transport |= failure.transport;
        self.tenants.insert(failure.tenant);
    }

    /// Seen by several tenants.
    fn is_outage(&self) -> bool {
        self.failures >= PARTLY_OUT_AFTER && self.tenants.len() > 1
    }

    /// Of everything: also where only one tenant saw it, if no answer came at all, which no tenant has
    /// for itself.
    fn is_total_outage(&self) -> bool {
        self.failures >= OUTAGE_AFTER && (self.transport || self.tenants.len() > 1)
    }
}

impl Health {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether a stored outage may have to be cleared.
    pub(super) fn answered(&self, calls: &[Call]) -> bool {
        self.with(|state| {
            state.any = Streak::default();
            if calls.iter().any(|call| call.is_write()) {
                state.writes = Streak::default();
            }
            state.calls.retain(|call, _| !calls.contains(call));
            if !calls.iter().any(|call| state.out.ends_with(*call)) {
                return false;
            }
            state.out = Out::Everything;
            std::mem::replace(&mut state.outage, Outage::None) != Outage::None
        })
    }

    /// Returns whether the failures are the account's.
    pub(super) fn failed(&self, failure: Failure) -> bool {
        self.with(|state| {
            state.any.add(failure);
            let mut out = state.any.is_total_outage().then_some(Out::Everything);
            if let Some(call) = failure.call {
                if call.is_write() {
                    state.writes.add(failure);
                    out = out.or(state.writes.is_outage().then_some(Out::Writes));
                }
                let streak = state.calls.entry(call).or_default();
                streak.add(failure);
                out = out.or(streak.is_outage().then_some(Out::Call(call)));
            }
            state.out = out.unwrap_or(state.out);
            out.is_some()
        })
    }

    pub(super) fn outage(&self) -> Outage {
        self.with(|state| state.outage)
    }

    /// Marks an outage; returns whether it is news. A refused credential is over with any answer,
    /// whatever was out before.
    pub(super) fn marks(&self, kind: TroubleKind) -> bool {
        self.with(|state| {
            if kind == TroubleKind::CredentialRefused {
                state.out = Out::Everything;
            }
            std::mem::replace(&mut state.outage, Outage::Of(kind)) != Outage::Of(kind)
        })
    }

    /// Takes up what is stored, unless this process knows better by now.
    pub(super) fn learn(&self, stored: Option<TroubleKind>) {
        self.with(|state| {
            if state.outage == Outage::Unknown {
                state.outage = stored.map_or(Outage::None, Outage::Of);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Call = Call { method: "GET", route: "/v1/customers/{customer}" };
    const LIST: Call = Call { method: "GET", route: "/v1/customers/{customer}/orders" };
    const WRITE: Call = Call { method: "PATCH", route: "/v1/customers/{customer}/orders/{order}" };

    fn tenant(n: u128) -> TenantId {
        TenantId::new(uuid::Uuid::from_u128(n))
    }

    fn fails(health: &Health, call: Call, n: u128) -> bool {
        let failure =
            Failure { tenant: tenant(n), call: Some(call), transport: false, shared: false };
        health.failed(failure)
    }

    #[test]
    fn invariant_14_failures_of_one_tenant_are_not_an_outage_and_of_several_are() {
        let health = Health::default();
        assert!((0..50).all(|_| !fails(&health, READ, 1)));
        assert!(fails(&health, READ, 2));
        health.answered(&[READ]);
        assert!((0..OUTAGE_AFTER - 1).all(|n| !fails(&health, READ, n.into())));
        assert!(fails(&health, READ, 99));
    }

    #[test]
    fn invariant_14_a_broken_transport_is_the_accounts_even_with_one_tenant() {
        let health = Health::default();
        let failure =
            Failure { tenant: tenant(1), call: Some(READ), transport: true, shared: false };
        assert!((0..OUTAGE_AFTER - 1).all(|_| !health.failed(failure)));
        assert!(health.failed(failure));
    }

    #[test]
    fn invariant_14_one_failure_that_many_tenants_share_is_no_outage() {
        let health = Health::default();
        let broken = |n, shared| Failure { tenant: tenant(n), call: None, transport: true, shared };
        assert!(!health.failed(broken(1, false)));
        assert!((2..64).all(|n| !health.failed(broken(n, true))));
        assert!((0..OUTAGE_AFTER - 2).all(|_| !health.failed(broken(1, false))));
        assert!(health.failed(broken(1, false)));
        assert!(health.failed(broken(2, true)), "who shares it waits as well");
    }

    #[test]
    fn invariant_14_a_call_that_is_out_is_an_outage_while_others_are_answered() {
        let health = Health::default();
        for n in 0..PARTLY_OUT_AFTER {
            assert_eq!(fails(&health, WRITE, n.into()), n + 1 == PARTLY_OUT_AFTER);
            health.answered(&[READ, LIST]);
        }
        health.marks(TroubleKind::Unreachable);
        assert!(!health.answered(&[READ, LIST]), "that says nothing of writes");
        assert!(health.answered(&[WRITE]));
        assert!(!fails(&health, WRITE, 1), "a new count begins");
    }

    #[test]
    fn invariant_14_writes_that_are_out_are_one_outage_whatever_they_write() {
        let health = Health::default();
        let calls = [WRITE, Call { method: "POST", ..WRITE }];
        let out = |n: u32| {
            health.answered(&[READ]);
            fails(&health, calls[n as usize % 2], n.into())
        };
        assert!((0..PARTLY_OUT_AFTER).map(out).last().unwrap());
        health.marks(TroubleKind::Unreachable);
        assert!(!health.answered(&[READ]));
        assert!(health.answered(&[calls[1]]));
    }

    #[test]
    fn invariant_14_a_refused_credential_is_over_with_any_answer_whatever_was_out_before() {
        let health = Health::default();
        for n in 0..PARTLY_OUT_AFTER {
            health.answered(&[READ]);
            fails(&health, WRITE, n.into());
        }
        health.marks(TroubleKind::Unreachable);
        assert!(!health.answered(&[READ]));
        health.marks(TroubleKind::CredentialRefused);
        assert!(health.answered(&[READ]));
    }

    #[test]
    fn invariant_14_a_list_that_is_out_is_over_with_its_answer_or_with_any_write() {
        for over in [LIST, WRITE] {
            let health = Health::default();
            assert!((0..PARTLY_OUT_AFTER).any(|n| {
                health.answered(&[READ]);
                fails(&health, LIST, n.into())
            }));
            health.marks(TroubleKind::Unreachable);
            assert!(!health.answered(&[READ]));
            assert!(health.answered(&[over]));
        }
    }
}
