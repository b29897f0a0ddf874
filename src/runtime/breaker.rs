//! The breaker of an account: tells failures that are the account's from those of one tenant
//! (invariant 14).
//!
//! Failures of every kind are told apart only for the words. They are the account's where several
//! tenants have met the same kind, or where a call that names no tenant has failed: a token, or the
//! customer list. One tenant alone spends its own attempts; before it has spent many, the customer list
//! is asked whether it is alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::core::account::TroubleKind;
use crate::core::ids::TenantId;
use crate::partner_center::Call;

/// So many failures are the account's, where no call of theirs was answered in between. Fewer may be
/// chance while a tenth of all answers is faulty.
const OUT_AFTER: usize = 10;
/// No tenant counts for more than so many of them. So many of a call that names no tenant are enough.
const OF_ONE: usize = OUT_AFTER / 2;
/// An older failure says nothing of now.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);
/// More are not kept: every tenant of a full sandbox can have its say.
const MOST: usize = 1000;
/// The first of the pauses that double with each failure of a call that names no tenant.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A call that failed in a way that may be the account's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    /// In which way.
    pub(super) kind: TroubleKind,
    /// Which call; `None` for a token, and where nothing was sent.
    pub(super) call: Option<Call>,
    /// Whom it was about; `None` where it names no tenant.
    pub(super) tenant: Option<TenantId>,
    /// There is nothing to be told by a repetition.
    pub(super) decisive: bool,
    /// It is another pass's, which this one waited for. Many share one.
    pub(super) shared: bool,
}

/// Whose a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The tenant's own: it spends an attempt.
    Tenant,
    /// The tenant's own, unless the customer list cannot be read either.
    Ask,
    /// The account's, and perhaps over in a moment: the pass waits so long and spends no attempt.
    Soon(Duration),
    /// The account's: it is out.
    Account,
}

/// The stored outage, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stored {
    /// An earlier process may have left one.
    #[default]
    Unknown,
    None,
    Of(TroubleKind),
}

/// The failures of an account that no answer to the same call has followed yet.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: VecDeque<(Duration, Failure)>,
    stored: Stored,
}

impl State {
    fn of(&self, kind: TroubleKind) -> impl Iterator<Item = &Failure> {
        self.failures.iter().map(|(_, failure)| failure).filter(move |met| met.kind == kind)
    }

    fn forget_before(&mut self, now: Duration) {
        self.failures.retain(|(at, _)| now.saturating_sub(*at) <= REMEMBERED);
        let surplus = self.failures.len().saturating_sub(MOST);
        self.failures.drain(..surplus);
    }

    fn may_be_out(&self, kind: TroubleKind) -> bool {
        match self.stored {
            Stored::Unknown => true,
            Stored::Of(stored) => stored == kind,
            Stored::None => false,
        }
    }

    fn judge(&self, failure: Failure) -> Verdict {
        let wide = self.of(failure.kind).filter(|met| met.tenant.is_none()).count();
        let mut tenants: BTreeMap<TenantId, usize> = BTreeMap::new();
        for tenant in self.of(failure.kind).filter_map(|met| met.tenant) {
            *tenants.entry(tenant).or_default() += 1;
        }
        let met: usize = tenants.values().map(|failures| (*failures).min(OF_ONE)).sum();
        let is_out = self.stored == Stored::Of(failure.kind);
        let lasts = is_out && (wide > 0 || tenants.len() > 1);
        if failure.decisive || wide >= OF_ONE || met >= OUT_AFTER || lasts {
            return Verdict::Account;
        }
        let Some(tenant) = failure.tenant else {
            let doublings = u32::try_from(wide.saturating_sub(1)).unwrap_or(u32::MAX);
            return Verdict::Soon(FIRST_PAUSE.saturating_mul(2u32.saturating_pow(doublings)));
        };
        let own = tenants.get(&tenant).copied().unwrap_or_default();
        let alone = own > 0 && own.is_multiple_of(OF_ONE);
        if alone || self.may_be_out(failure.kind) { Verdict::Ask } else { Verdict::Tenant }
    }

    /// Whether answers to these calls end the outage of that kind: one of them was out, or comes only
    /// after everything that was.
    fn ends(&self, kind: TroubleKind, calls: &[Call]) -> bool {
        let deepest = self.of(kind).filter_map(|met| met.call).map(Call::depth).max();
        let was_out = |call: &Call| {
            self.of(kind).any(|met| met.call.is_none_or(|out| out == *call))
                || deepest.is_none_or(|deepest| call.depth() > deepest)
        };
        calls.iter().any(was_out)
    }
}

impl Breaker {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes a failure and says whose it is. `now` is uptime.
    pub(super) fn failed(&self, failure: Failure, now: Duration) -> Verdict {
        self.with(|state| {
            state.forget_before(now);
            if !failure.shared {
                state.failures.push_back((now, failure));
            }
            state.judge(failure)
        })
    }

    /// Notes that these calls were answered. Returns whether a stored outage may have to be cleared.
    pub(super) fn answered(&self, calls: &[Call], now: Duration) -> bool {
        if calls.is_empty() {
            return false;
        }
        self.with(|state| {
            state.forget_before(now);
            let ends = match state.stored {
                Stored::None => false,
                Stored::Unknown => true,
                Stored::Of(kind) => state.ends(kind, calls),
            };
            let followed = |met: &Failure| met.call.is_none_or(|call| calls.contains(&call));
            state.failures.retain(|(_, met)| !followed(met));
            if ends {
                state.stored = Stored::None;
            }
            ends
        })
    }

    /// The customer list is read while one tenant fails: what is stored of an outage is over. Returns
    /// whether there may be something to clear.
    pub(super) fn is_alone(&self) -> bool {
        self.with(|state| std::mem::replace(&mut state.stored, Stored::None) != Stored::None)
    }

    /// Whether an outage of this kind is stored, or may be.
    pub(super) fn may_be_out(&self, kind: TroubleKind) -> bool {
        self.with(|state| state.may_be_out(kind))
    }

    /// Marks an outage as stored; returns whether it is news.
    pub(super) fn marks(&self, kind: TroubleKind) -> bool {
        self.with(|state| {
            std::mem::replace(&mut state.stored, Stored::Of(kind)) != Stored::Of(kind)
        })
    }

    /// Takes up what is stored, unless this process knows better by now. An outage may be another replica's:
    /// the next answer clears it.
    pub(super) fn learn(&self, stored: Option<TroubleKind>) {
        self.with(|state| match (state.stored, stored) {
            (Stored::Unknown | Stored::None, Some(kind)) => state.stored = Stored::Of(kind),
            (Stored::Unknown, None) => state.stored = Stored::None,
            (Stored::Of(_), _) | (Stored::None, None) => {}
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Call = Call { method: "GET", route: "/v1/customers/{customer}" };
    const LIST: Call = Call { method: "GET", route: "/v1/customers/{customer}/orders" };
    const WRITE: Call = Call { method: "PATCH", route: "/v1/customers/{customer}/orders/{order}" };
    const DELETE: Call = Call { method: "DELETE", route: "/v1/customers/{customer}" };
    const KINDS: [TroubleKind; 4] = TroubleKind::ALL;
    const NOW: Duration = Duration::ZERO;

    fn healthy() -> Breaker {
        let breaker = Breaker::default();
        breaker.learn(None);
        breaker
    }

    fn met(kind: TroubleKind, call: Call, n: u128) -> Failure {
        let tenant = Some(TenantId::new(uuid::Uuid::from_u128(n)));
        Failure { kind, call: Some(call), tenant, decisive: false, shared: false }
    }

    fn wide(kind: TroubleKind) -> Failure {
        Failure { kind, call: None, tenant: None, decisive: false, shared: false }
    }

    #[test]
    fn invariant_14_one_tenant_is_never_its_account_however_often_it_fails() {
        for kind in KINDS {
            let breaker = healthy();
            for failure in 1..200_usize {
                let verdict = breaker.failed(met(kind, READ, 1), NOW);
                let asks = failure.is_multiple_of(OF_ONE);
                assert_eq!(verdict, if asks { Verdict::Ask } else { Verdict::Tenant });
            }
            // A single failure of another one beside them is chance.
            assert_eq!(breaker.failed(met(kind, READ, 2), NOW), Verdict::Tenant);
        }
    }

    #[test]
    fn invariant_14_what_two_tenants_meet_is_the_accounts() {
        for kind in KINDS {
            let breaker = healthy();
            let out =
                (1..=10).find(|n| breaker.failed(met(kind, READ, n % 2), NOW) == Verdict::Account);
            assert_eq!(out, Some(10), "{kind:?}");
            // Other kinds are no such evidence.
            let other = KINDS.into_iter().find(|other| *other != kind).unwrap();
            assert_eq!(breaker.failed(met(other, READ, 3), NOW), Verdict::Tenant);
        }
    }

    #[test]
    fn invariant_14_an_answer_to_a_call_takes_back_what_was_told_of_it() {
        let breaker = healthy();
        for n in 0..100 {
            assert_ne!(breaker.failed(met(KINDS[0], LIST, n), NOW), Verdict::Account);
            assert!(!breaker.answered(&[LIST], NOW), "nothing was stored");
        }
        // Writes may be out while reads are answered.
        let out = (1..=10).find(|n| {
            breaker.answered(&[READ, LIST], NOW);
            breaker.failed(met(KINDS[0], WRITE, (*n).into()), NOW) == Verdict::Account
        });
        assert_eq!(out, Some(10_u8));
    }

    #[test]
    fn invariant_14_old_failures_say_nothing() {
        let breaker = healthy();
        for n in 0..100_u32 {
            let at = REMEMBERED / 4 * n;
            assert_ne!(breaker.failed(met(KINDS[0], READ, n.into()), at), Verdict::Account);
        }
    }

    #[test]
    fn invariant_14_a_call_that_names_no_tenant_is_the_accounts_and_waits_before_it_is_out() {
        let breaker = healthy();
        let seconds = |n| Verdict::Soon(Duration::from_secs(n));
        for pause in [1, 2, 4, 8] {
            assert_eq!(breaker.failed(wide(KINDS[1]), NOW), seconds(pause));
            let shared = Failure { shared: true, ..wide(KINDS[1]) };
            assert_eq!(breaker.failed(shared, NOW), seconds(pause), "many share one");
        }
        assert_eq!(breaker.failed(wide(KINDS[1]), NOW), Verdict::Account);
        breaker.answered(&[READ], NOW);
        assert_eq!(breaker.failed(wide(KINDS[1]), NOW), seconds(1), "a token was had");
        let decisive = Failure { decisive: true, ..wide(KINDS[1]) };
        assert_eq!(breaker.failed(decisive, NOW), Verdict::Account);
    }

    /// An account that is out because of this call.
    fn out(call: Call) -> Breaker {
        let breaker = healthy();
        assert!((0..10).any(|n| breaker.failed(met(KINDS[0], call, n), NOW) == Verdict::Account));
        assert!(breaker.marks(KINDS[0]));
        assert!(!breaker.marks(KINDS[0]), "that is no news");
        breaker
    }

    #[test]
    fn invariant_14_an_outage_ends_with_what_was_out_or_what_comes_after_it() {
        for (call, ends) in [
            (READ, vec![READ, WRITE, DELETE]),
            (WRITE, vec![WRITE, DELETE]),
            (DELETE, vec![DELETE]),
        ] {
            for answered in [READ, LIST, WRITE, DELETE] {
                let breaker = out(call);
                let over = breaker.answered(&[answered], NOW);
                assert_eq!(over, ends.contains(&answered), "{call} {answered}");
            }
            // Nobody may make that call any more.
            assert!(out(call).answered(&[LIST], REMEMBERED * 2));
        }
    }

    #[test]
    fn invariant_14_while_it_is_out_a_second_tenant_or_the_customer_list_keeps_it_so() {
        let later = REMEMBERED * 2;
        let breaker = out(WRITE);
        assert_eq!(breaker.failed(met(KINDS[0], WRITE, 1), later), Verdict::Ask);
        assert_eq!(breaker.failed(met(KINDS[0], WRITE, 2), later), Verdict::Account);
        let breaker = out(WRITE);
        assert_eq!(breaker.failed(met(KINDS[0], WRITE, 1), later), Verdict::Ask);
        assert!(breaker.is_alone());
        assert_eq!(breaker.failed(met(KINDS[0], WRITE, 1), later), Verdict::Tenant);
    }

    #[test]
    fn what_an_earlier_process_has_left_ends_with_any_answer() {
        let breaker = Breaker::default();
        assert!(breaker.may_be_out(TroubleKind::CredentialRefused));
        assert!(breaker.answered(&[READ], NOW));
        assert!(!breaker.may_be_out(TroubleKind::CredentialRefused));
    }

    #[test]
    fn an_outage_that_another_replica_has_stored_is_cleared_by_the_next_answer() {
        let breaker = Breaker::default();
        breaker.learn(None);
        assert!(!breaker.answered(&[READ], Duration::ZERO), "nothing is stored, as far as known");
        breaker.learn(Some(TroubleKind::Unreachable));
        assert!(breaker.answered(&[READ], Duration::ZERO));
        assert!(!breaker.answered(&[READ], Duration::ZERO), "it is cleared once");
    }
}
