//! Tenants that are not the one that was meant.

use teardownd::core::gates::{Guard, SafetyPolicy};
use teardownd::simulator::Customer;

use super::harness::*;
use super::{Written, as_it_is, attempts, buyer, let_loose, one, written};

attempts! {
    red_team_the_partners_own_tenant, guard_mutation_own_tenant = OwnTenant => |without| {
        one(without, |customer| Customer { id: PARTNER, ..customer }, |_| {}, as_it_is)
    };
    red_team_a_protected_tenant, guard_mutation_protected_tenant = ProtectedTenant => |without| {
        let protect = |safety: &mut SafetyPolicy| safety.protected_tenants = vec![tenant(1)];
        one(without, as_it_is, protect, as_it_is)
    };
    red_team_a_protected_tenant_in_capitals => |without| {
        let id = tenant(1).to_string().to_uppercase().parse().unwrap();
        let protect = move |safety: &mut SafetyPolicy| safety.protected_tenants = vec![id];
        one(without, as_it_is, protect, as_it_is)
    };
    red_team_a_list_that_is_protected_after_the_enqueue => protected_mid_run;
    red_team_a_customer_without_a_relationship, guard_mutation_relationship = Relationship => |without| {
        one(without, |customer: Customer| customer.relationship("none"), |_| {}, as_it_is)
    };
    red_team_a_customer_of_an_adviser => |without| {
        one(without, |customer: Customer| customer.relationship("advisor"), |_| {}, as_it_is)
    };
    red_team_an_answer_about_another_customer, guard_mutation_customer_id = CustomerId => |without| {
        answered_about(without, as_listed(2, "reseller"))
    };
    red_team_a_profile_of_another_tenant => |without| {
        let other = as_listed(1, "reseller").replacen(
            &format!(r#""tenantId":"{}""#, tenant(1)),
            &format!(r#""tenantId":"{}""#, tenant(2)),
            1,
        );
        answered_about(without, other)
    };
    red_team_a_customer_whose_domain_changed_since => |without| {
        let renamed = as_listed(1, "reseller").replace(&domain(1), "prod.example.com");
        answered_about(without, renamed)
    };
    red_team_a_customer_that_was_never_queued => |without| async move {
        // Its neighbour is queued and torn down; not one write may name this one.
        let given = Given::new([buyer(1), buyer(2)]).safety(|safety| safety.skip = without);
        let mut scene = given.set();
        scene.enqueue(&[1]).await;
        let_loose(&mut scene).await;
        scene.writes_of(2).iter().map(|entry| entry.path.clone()).collect::<Written>()
    };
}

/// The customer as the account's list and the customer itself show it.
pub(super) fn as_listed(n: usize, relationship: &str) -> String {
    format!(
        r#"{{"id":"{id}","companyProfile":{{"tenantId":"{id}","domain":"{domain}"}},"relationshipToPartner":"{relationship}"}}"#,
        id = tenant(n),
        domain = domain(n)
    )
}

/// Answers a read with something else.
pub(super) fn answer(body: String) -> Effect {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Effect::Answer { status: 200, headers, body, applied: false }
}

/// Reading the customer by id brings this.
async fn answered_about(without: Option<Guard>, body: String) -> Written {
    let given = Given::new([buyer(1), buyer(2)]).safety(|safety| safety.skip = without);
    let mut scene = given.set();
    scene.enqueue(&[1]).await;
    let rule = Rule::new(When::Always, answer(body)).method("GET");
    scene.rule(rule.on(Template::Customer).customer(tenant(1).as_uuid()));
    let_loose(&mut scene).await
}

/// The tenant is put on the protected list while it waits out its grace, and the daemon is started
/// anew on the edited configuration.
async fn protected_mid_run(without: Option<Guard>) -> Written {
    let given = Given::new([buyer(1)]).safety(|safety| {
        safety.skip = without;
        safety.grace = mins(30);
    });
    let mut scene = given.running().await;
    scene.pass(mins(10)).await;
    scene.stop().await;
    scene.given.safety.protected_tenants = vec![tenant(1)];
    let_loose(&mut scene).await;
    written(&scene)
}
