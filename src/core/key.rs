//! The keys of the things that a customer has, as commands, purchases and approvals name them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::ids::is_resource_id;
use super::observation::Read;

/// One thing of one customer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKey {
    /// The customer itself.
    Customer,
    /// An order, by its id.
    Order(String),
    /// A subscription, by its id.
    Subscription(String),
    /// An Azure subscription.
    Azure {
        /// The id of its Azure plan's subscription.
        plan: String,
        /// Its own id.
        id: String,
    },
    /// An entitlement that belongs to no order that can be found, by what is known of it.
    Entitlement(String),
}

impl ResourceKey {
    /// The key of an order.
    pub fn order(id: &str) -> Self {
        Self::Order(id.to_owned())
    }

    /// The key of a subscription.
    pub fn subscription(id: &str) -> Self {
        Self::Subscription(id.to_owned())
    }

    /// The key of an Azure subscription under a plan.
    pub fn azure(plan: &str, id: &str) -> Self {
        Self::Azure { plan: plan.to_owned(), id: id.to_owned() }
    }

    /// The key of a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "customer" {
            return Some(Self::Customer);
        }
        let (kind, id) = text.split_once(':')?;
        match kind {
            "order" => Some(Self::order(id)),
            "subscription" => Some(Self::subscription(id)),
            "azure" => id.split_once('/').map(|(plan, id)| Self::azure(plan, id)),
            "entitlement" => Some(Self::Entitlement(id.to_owned())),
            _ => None,
        }
    }

    /// The read that shows it by itself; `None` for the customer and what has no id that leads to it.
    pub fn read(&self) -> Option<Read> {
        let is_id = |id: &String| is_resource_id(id);
        match self {
            Self::Order(id) if is_id(id) => Some(Read::Order(id.clone())),
            Self::Subscription(id) if is_id(id) => Some(Read::Subscription(id.clone())),
            Self::Azure { plan, id } if is_id(plan) && is_id(id) => {
                Some(Read::AzureEntitlement(plan.clone(), id.clone()))
            }
            Self::Customer
            | Self::Order(_)
            | Self::Subscription(_)
            | Self::Azure { .. }
            | Self::Entitlement(_) => None,
        }
    }
}

/// The stable name used in the database and in JSON.
impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Customer => f.write_str("customer"),
            Self::Order(id) => write!(f, "order:{id}"),
            Self::Subscription(id) => write!(f, "subscription:{id}"),
            Self::Azure { plan, id } => write!(f, "azure:{plan}/{id}"),
            Self::Entitlement(known) => write!(f, "entitlement:{known}"),
        }
    }
}

impl Serialize for ResourceKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResourceKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is no key")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for text in ["customer", "order:o", "subscription:s", "azure:p/e", "entitlement:o/p/-"] {
            assert_eq!(ResourceKey::parse(text).unwrap().to_string(), text);
        }
        for odd in ["", "order", "azure:p", "tenant:x", "Customer"] {
            assert_eq!(ResourceKey::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_is_no_id_leads_to_no_read() {
        for text in
            ["customer", "order:..", "order:", "azure:p/..", "azure:/e", "entitlement:o/p/s"]
        {
            assert_eq!(ResourceKey::parse(text).unwrap().read(), None, "{text}");
        }
        let azure = Read::AzureEntitlement("p".to_owned(), "e".to_owned());
        assert_eq!(ResourceKey::azure("p", "e").read(), Some(azure));
    }
}
