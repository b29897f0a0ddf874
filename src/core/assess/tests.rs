//! What the fields of a purchase say, by the tables of `docs/api-facts.md`.

use serde_json::Value;

use super::*;
use crate::core::observation::{Entitlements, Seen};

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + day * 86_400).unwrap()
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A subscription of this product type, offer and status.
fn subscription(product: &str, offer: &str, status: &str) -> Subscription {
    Subscription {
        id: "s".to_owned(),
        offer_id: text(offer),
        name: None,
        status: text(status),
        order_id: None,
        product_type: text(product),
        unit_type: None,
        billing_type: None,
        is_microsoft_product: None,
        parent_subscription_id: None,
        cancellation_allowed_until: None,
        created_at: None,
        etag: None,
        raw: Value::Null,
    }
}

/// An order with a line for each of these quantities.
fn order(status: &str, quantities: &[i64]) -> Order {
    let line = |quantity: &i64| OrderLine { quantity: Some(*quantity), ..OrderLine::default() };
    Order {
        id: "o".to_owned(),
        alternate_id: None,
        status: text(status),
        billing_cycle: None,
        transaction_type: None,
        created_at: Some(at(0)),
        lines: quantities.iter().map(line).collect(),
        etag: None,
        raw: Value::Null,
    }
}

/// What a customer with one order, or one subscription, has bought, read on a day.
fn bought(orders: Vec<Order>, subscriptions: Vec<Subscription>, day: i64) -> Vec<Purchase> {
    judge(&Observation {
        orders: Some(Seen::at_once(orders, at(day))),
        subscriptions: Some(Seen::at_once(subscriptions, at(day))),
        ..Observation::default()
    })
}

#[test]
fn invariant_6_what_carries_no_id_that_leads_to_it_is_unknown_and_active() {
    for id in ["..", ".", "a/b", "a\\b", "a\tb", "%2e%2e"] {
        let order = Order { id: id.to_owned(), ..order("completed", &[1]) };
        let software =
            Subscription { id: id.to_owned(), ..subscription("software", "X", "active") };
        let plan =
            Subscription { id: id.to_owned(), ..subscription("azure", "DZH318Z0BPS6:1", "active") };
        for purchase in bought(vec![order], vec![software, plan], 1) {
            assert_eq!((purchase.kind, purchase.standing), (Kind::Unknown, Standing::Active));
            assert_eq!((purchase.actions().count(), purchase.blocked().is_some()), (0, true));
        }
    }
    // Software in an order whose id leads nowhere has its own route left.
    let order = Order { id: "..".to_owned(), ..order("completed", &[1]) };
    let software =
        Subscription { order_id: Some("..".to_owned()), ..subscription("software", "X", "active") };
    let purchase = bought(vec![order], vec![software], 1).remove(0);
    assert_eq!(purchase.actions().collect::<Vec<_>>(), [Action::DeleteSubscription]);
    let entitlement = |id: &str| AzureEntitlement { id: id.to_owned(), name: None, status: None };
    assert_eq!(azure_purchase("p", &entitlement("..")).kind, Kind::Unknown);
    assert_eq!(azure_purchase("p", &entitlement("e")).kind, Kind::AzureSubscription);
}

#[test]
fn subscriptions_are_recognised_by_offer_and_product_type() {
    let kind = |product, offer| subscription_kind(&subscription(product, offer, "active"));
    assert_eq!(kind("onlineservicesnce", "CFQ7TTC0LH18:0001:CFQ7"), Kind::NewCommerceLicence);
    assert_eq!(kind("software", "DG7GMGF0FKZV:0003:DG7G"), Kind::SoftwareSubscription);
    assert_eq!(kind("azure", "DZH318Z0BPS6:0001:DZH3"), Kind::AzurePlan);
    assert_eq!(kind("", "dzh318z0bps6:0001:dzh3"), Kind::AzurePlan);
    assert_eq!(kind("azure", "MS-AZR-0145P"), Kind::LegacySubscription);
    assert_eq!(kind("", "195416C1-3447-423A-B37B-EE59A99A19C4"), Kind::LegacySubscription);
    assert_eq!(kind("something new", "X"), Kind::Unknown);
    let marketplace =
        Subscription { is_microsoft_product: Some(false), ..subscription("", "X", "active") };
    assert_eq!(subscription_kind(&marketplace), Kind::MarketplaceSaas);
    let benefit = || Some("benefit".to_owned());
    let plan = subscription("azure", "DZH318Z0BPS6:0001:DZH3", "active");
    for savings in [
        Subscription { unit_type: benefit(), ..plan.clone() },
        Subscription { billing_type: benefit(), ..plan },
    ] {
        assert_eq!(subscription_kind(&savings), Kind::SavingsPlan);
    }
}

#[test]
fn subscriptions_are_inactive_by_their_status() {
    let standing = |product, status| {
        bought(Vec::new(), vec![subscription(product, "X", status)], 1)[0].standing
    };
    for over in ["deleted", "suspended", "expired", "disabled"] {
        assert_eq!(standing("onlineservicesnce", over), Standing::Inactive, "{over}");
    }
    assert_eq!(standing("onlineservicesnce", "pending"), Standing::Pending);
    for unclear in ["active", "none", "something new", ""] {
        assert_eq!(standing("onlineservicesnce", unclear), Standing::Active, "{unclear:?}");
    }
    // The documented goal of a marketplace purchase is `deleted`, and software has `cancelled` too.
    assert_eq!(standing("software", "suspended"), Standing::Active);
    assert_eq!(standing("software", "cancelled"), Standing::Inactive);
    let marketplace =
        Subscription { is_microsoft_product: Some(false), ..subscription("", "X", "suspended") };
    assert_eq!(bought(Vec::new(), vec![marketplace], 1)[0].standing, Standing::Active);
}

#[test]
fn orders_are_inactive_by_their_status_or_when_every_line_is_emptied() {
    let standing = |status, quantities: &[i64]| {
        bought(vec![order(status, quantities)], Vec::new(), 1)[0].standing
    };
    assert_eq!(standing("cancelled", &[1]), Standing::Inactive);
    assert_eq!(standing("completed", &[0, 0]), Standing::Inactive);
    assert_eq!(standing("completed", &[0, 1]), Standing::Active);
    assert_eq!(standing("completed", &[]), Standing::Active);
    // Each is spelt with blanks, with underlines or in one word.
    for pending in [
        "pending",
        "unknown",
        "pending review",
        "pending_review",
        "pendingreview",
        "po upload complete",
        "po_upload_complete",
    ] {
        assert_eq!(standing(pending, &[1]), Standing::Pending, "{pending}");
    }
    for over in ["canceled", "rejected", "po review rejected", "po_review_rejected", "error"] {
        assert_eq!(standing(over, &[1]), Standing::Inactive, "{over}");
    }
    for unclear in ["suspended", "partial success", "partial_success", "something new", ""] {
        assert_eq!(standing(unclear, &[1]), Standing::Active, "{unclear:?}");
    }
}

#[test]
fn what_was_read_by_id_is_read_again_with_its_list() {
    let plan = subscription("azure", "DZH318Z0BPS6:0001", "active");
    let ids = ["e", "of another plan"].map(|id| {
        let plan = if id == "e" { "s" } else { "gone" };
        (plan.to_owned(), id.to_owned())
    });
    let seen = Observation {
        subscriptions: Some(Seen::at_once(vec![plan], at(1))),
        named_azure: ids.map(|id| (id, Seen::at_once(None, at(1)))).into(),
        named_orders: [("o".to_owned(), Seen::at_once(None, at(1)))].into(),
        ..Observation::default()
    };
    let azure = Read::AzureEntitlement("s".to_owned(), "e".to_owned());
    let lists = Read::AzureEntitlements("s".to_owned());
    assert_eq!(follow_up_reads(&seen), [lists, azure, Read::Order("o".to_owned())]);
}

#[test]
fn an_order_that_waits_for_an_upload_is_given_a_day_and_then_needs_a_person() {
    let read = |status: &str, created_at, seconds: i64| {
        let order = Order { created_at, ..order(status, &[1]) };
        let at = Timestamp::from_second(at(0).as_second() + seconds).unwrap();
        let purchases = judge(&Observation {
            orders: Some(Seen::at_once(vec![order], at)),
            ..Observation::default()
        });
        (purchases[0].standing, purchases[0].blocked())
    };
    for status in ["pending_po_upload", "pending po upload"] {
        assert_eq!(read(status, Some(at(0)), 86_399), (Standing::Pending, None), "{status}");
        for (created_at, seconds) in [(Some(at(0)), 86_400), (None, 0)] {
            let (standing, blocked) = read(status, created_at, seconds);
            assert_eq!(standing, Standing::Active);
            assert!(blocked.unwrap().contains("upload"), "{status}");
        }
    }
}

#[test]
fn an_order_with_a_reservation_in_it_goes_first_whatever_else_it_holds() {
    let entitlement = |kind: &str| Entitlement {
        order_id: text("o"),
        entitlement_type: text(kind),
        ..Entitlement::default()
    };
    for (held, kind) in [
        (vec!["software"], Kind::PerpetualSoftware),
        (vec!["software", "reservedinstance"], Kind::Reservation),
        (vec!["virtual_machine_reserved_instance"], Kind::Reservation),
    ] {
        let listed = held.into_iter().map(entitlement).collect();
        let purchases = judge(&Observation {
            orders: Some(Seen::at_once(vec![order("completed", &[1])], at(1))),
            entitlements: Some(Seen::at_once(Entitlements::Listed(listed), at(1))),
            ..Observation::default()
        });
        assert_eq!(purchases[0].kind, kind);
    }
}

#[test]
fn an_order_of_more_than_60_days_needs_a_person() {
    let blocked = |day| bought(vec![order("completed", &[1])], Vec::new(), day)[0].blocked();
    assert_eq!(blocked(60), None);
    assert!(blocked(61).unwrap().contains("60 days"));
}

#[test]
fn invariant_14_no_step_of_the_clock_makes_an_order_older_than_it_is() {
    let order = order("completed", &[1]);
    let is_too_old = |day, ahead_days: i64| {
        let seen = Observation {
            orders: Some(Seen::at_once(vec![order.clone()], at(day))),
            subscriptions: Some(Seen::at_once(Vec::new(), at(day))),
            ahead: SignedDuration::from_hours(ahead_days * 24),
            ..Observation::default()
        };
        judge(&seen)[0].too_old
    };
    assert!(!is_too_old(30, 0) && is_too_old(61, 0));
    assert!(!is_too_old(30, 40), "a clock that is ahead spends nothing");
    assert!(!is_too_old(61, -2), "nor does a database that began with one");
}

#[test]
fn a_licence_past_its_day_can_only_be_suspended() {
    let licence = |until| Subscription {
        cancellation_allowed_until: until,
        ..subscription("onlineservicesnce", "X", "active")
    };
    let actions = |until| -> Vec<Action> {
        bought(Vec::new(), vec![licence(until)], 5)[0].actions().collect()
    };
    let (delete, suspend) = (Action::DeleteSubscription, Action::SuspendSubscription);
    assert_eq!(actions(Some(at(6))), [delete, suspend]);
    assert_eq!(actions(None), [delete, suspend]);
    assert_eq!(actions(Some(at(4))), [suspend]);
}
