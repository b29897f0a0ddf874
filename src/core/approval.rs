//! A person's yes to tearing one tenant down, bound to what the tenant had bought when it was given.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::key::ResourceKey;
use super::routes::{Purchase, Standing};

/// What an approval names of one purchase.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Item {
    /// Stable within the tenant.
    pub key: ResourceKey,
    /// Kind, such as `reservation`.
    pub kind: String,
    /// How it is cancelled, such as `cancel_order`; `person` where the API cannot.
    pub route: String,
}

impl From<&Purchase> for Item {
    fn from(purchase: &Purchase) -> Self {
        Self {
            key: purchase.key.clone(),
            kind: purchase.kind.as_str().to_owned(),
            route: purchase.route().as_str().to_owned(),
        }
    }
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} by {})", self.key, self.kind, self.route)
    }
}

/// The purchases that are to be cancelled.
pub type Inventory = BTreeSet<Item>;

/// The inventory of a reading: what is not inactive.
pub fn inventory(purchases: &[Purchase]) -> Inventory {
    purchases.iter().filter(|p| p.standing != Standing::Inactive).map(Item::from).collect()
}

/// What an inventory holds, in words.
pub fn in_words(inventory: &Inventory) -> String {
    if inventory.is_empty() {
        return "nothing active".to_owned();
    }
    inventory.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An approval of one teardown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// Who gave it.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// The run it was given for (`Teardown::run_since`): it does not count after a retry.
    pub run: Timestamp,
    /// What may be cancelled.
    pub inventory: Inventory,
}

impl Approval {
    /// What of an inventory was not approved.
    pub fn missing<'a>(&'a self, now: &'a Inventory) -> Vec<&'a Item> {
        now.difference(&self.inventory).collect()
    }
}

/// Whether the one who approves is known to be somebody else than the one who enqueued.
///
/// # Errors
/// Why not.
pub fn check_other(requested_by: Option<&str>, actor: &str) -> Result<(), String> {
    // The default of rows that were typed in, where nobody said who.
    const NOBODY: [&str; 3] = ["", "sql", "unknown"];
    let requester = user_of(requested_by.unwrap_or_default());
    if NOBODY.contains(&requester) {
        return Err("it is not known who enqueued it, and safety.approve_by_other wants somebody \
                    else to approve it"
            .to_owned());
    }
    if requester == user_of(actor) {
        return Err(format!(
            "{requester} enqueued it, and safety.approve_by_other wants somebody else to approve it"
        ));
    }
    Ok(())
}

/// The user behind an actor: a claimed name (`ops (claimed by anna)`) stands for nobody but the one
/// who claims it.
pub fn user_of(actor: &str) -> &str {
    let actor = actor.trim();
    let claimant = actor.rsplit_once("(claimed by ").and_then(|(_, rest)| rest.strip_suffix(')'));
    claimant.unwrap_or(actor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_name_is_the_one_who_claims_it() {
        for (actor, user) in [
            ("anna", "anna"),
            ("ops (claimed by anna)", "anna"),
            ("bo (claimed by x) (claimed by anna)", "anna"),
            ("(claimed by bo", "(claimed by bo"),
        ] {
            assert_eq!(user_of(actor), user);
        }
        assert!(check_other(Some("anna"), "bo").is_ok());
        assert!(check_other(Some("ops (claimed by anna)"), "bo").is_ok());
        for (requester, actor) in [
            (Some("anna"), "anna"),
            (Some("anna"), "bo (claimed by anna)"),
            (Some("bo (claimed by anna)"), "anna"),
            (Some("sql"), "anna"),
            (None, "anna"),
        ] {
            assert!(check_other(requester, actor).is_err(), "{requester:?} {actor}");
        }
    }
}
