//! Holds: what stops one teardown until somebody lets it go.

use jiff::Timestamp;
use serde::Serialize;

use super::reason::Reason;

/// A hold: a person or a guard stopped the teardown until it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Stable code: `operator`, or the guard's code.
    pub code: Reason,
    /// Why, in words.
    pub text: String,
    /// The person or the guard that set it.
    pub actor: String,
    /// Since when.
    pub since: Timestamp,
}

/// The holds on a teardown. A person's and a guard's stand side by side, and it is held while one of them
/// stands: what lets a guard's go leaves a person's alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Holds {
    operator: Option<Hold>,
    guard: Option<Hold>,
}

impl Holds {
    /// The holds as they were stored. A hold under an operator's code is an operator's, wherever it stood.
    pub fn stored(operator: Option<Hold>, guard: Option<Hold>) -> Self {
        match guard {
            Some(hold) if hold.code == Reason::Operator => {
                Self { operator: operator.or(Some(hold)), guard: None }
            }
            guard => Self { operator, guard },
        }
    }

    /// Whether one of them stands.
    pub fn stand(&self) -> bool {
        self.operator.is_some() || self.guard.is_some()
    }

    /// Every hold that stands, the operator's first.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        [self.operator.as_ref(), self.guard.as_ref()].into_iter().flatten()
    }

    /// The one that is told where only one can be: the operator's, else the guard's.
    pub fn first(&self) -> Option<&Hold> {
        self.iter().next()
    }

    /// The operator's.
    pub fn operator(&self) -> Option<&Hold> {
        self.operator.as_ref()
    }

    /// The guard's.
    pub fn guard(&self) -> Option<&Hold> {
        self.guard.as_ref()
    }

    /// Adds a hold to those of its kind, of which the first one stays. Returns whether it was added.
    pub fn add(&mut self, hold: Hold) -> bool {
        let place =
            if hold.code == Reason::Operator { &mut self.operator } else { &mut self.guard };
        let free = place.is_none();
        place.get_or_insert(hold);
        free
    }

    /// Ends the guard's, if it stands under one of these codes, and returns it.
    pub fn end_guard(&mut self, codes: &[Reason]) -> Option<Hold> {
        self.guard.take_if(|hold| codes.contains(&hold.code))
    }

    /// Ends both, and returns what stood.
    pub fn end(&mut self) -> Self {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(code: Reason, text: &str) -> Hold {
        let since = "2027-01-31T08:00:00Z".parse().unwrap();
        Hold { code, text: text.to_owned(), actor: code.as_str().to_owned(), since }
    }

    #[test]
    fn a_guards_hold_and_a_persons_stand_side_by_side() {
        let mut holds = Holds::default();
        assert!(!holds.stand() && holds.first().is_none());
        assert!(holds.add(hold(Reason::Arming, "not armed")));
        assert!(!holds.add(hold(Reason::Approval, "nobody")), "the first guard's stays");
        assert!(holds.add(hold(Reason::Operator, "look first")));
        assert!(!holds.add(hold(Reason::Operator, "me too")));
        assert_eq!(holds.first().map(|hold| hold.text.as_str()), Some("look first"));
        assert_eq!(holds.end_guard(&[Reason::Approval]), None);
        assert_eq!(holds.end_guard(&[Reason::Arming]).map(|hold| hold.code), Some(Reason::Arming));
        assert!(holds.stand(), "the person's stands on");
        assert_eq!(holds.end().iter().count(), 1);
        assert!(!holds.stand());
    }

    #[test]
    fn a_hold_under_an_operators_code_is_an_operators() {
        let holds = Holds::stored(None, Some(hold(Reason::Operator, "typed in")));
        assert!(holds.operator().is_some() && holds.guard().is_none());
    }
}
