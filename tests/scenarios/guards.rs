//! Who is written to: each guard holds its tenant, or halts the account, before the first write.

use teardownd::core::gates::SafetyPolicy;
use teardownd::core::ids::TenantId;
use teardownd::core::teardown::NewTeardown;
use teardownd::simulator::Customer;

use crate::harness::*;

/// A customer with something to cancel, and one with nothing: whose first write is the DELETE.
fn both() -> [Vec<Purchase>; 2] {
    [vec![buy(Kind::Reservation), buy(Kind::NewCommerce)], Vec::new()]
}

/// Runs one customer under these guards: nothing is written, and it is held by this guard.
async fn assert_guarded(
    guard: Reason,
    change_customer: impl Fn(Customer) -> Customer,
    change_safety: impl Fn(&mut SafetyPolicy),
    change_row: impl Fn(NewTeardown) -> NewTeardown,
) {
    for purchases in both() {
        let given = Given::new([change_customer(customer(1, purchases))]).safety(&change_safety);
        let mut scene = given.set();
        scene.simulator.protect(scene.given.customers[0].id);
        let row = NewTeardown {
            tenant_id: TenantId::new(scene.given.customers[0].id),
            ..scene.new_teardown(1)
        };
        scene.enqueue_rows(&[change_row(row)]).await;
        scene.start().await;
        scene.settle().await;
        scene.pass(hours(2)).await;
        assert_eq!(scene.writes().len(), 0, "{guard}");
        let rows = scene.rows().await;
        let hold = rows[0].holds.first().expect("held");
        assert_eq!((hold.code, hold.actor.as_str()), (guard, guard.as_str()), "{}", hold.text);
        assert!(!hold.text.is_empty() && !rows[0].state.is_terminal());
        scene.assert_careful();
    }
}

fn same(customer: Customer) -> Customer {
    customer
}

fn as_queued(row: NewTeardown) -> NewTeardown {
    row
}

#[tokio::test(start_paused = true)]
async fn invariant_1_an_account_that_is_not_declared_a_sandbox() {
    assert_guarded(Reason::NotSandbox, same, |safety| safety.sandbox = false, as_queued).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_1_the_partners_own_tenant() {
    let own = |customer| Customer { id: PARTNER, ..customer };
    assert_guarded(Reason::OwnTenant, own, |_| {}, as_queued).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_protected_tenant() {
    let protect = |safety: &mut SafetyPolicy| safety.protected_tenants = vec![tenant(7), tenant(1)];
    assert_guarded(Reason::ProtectedTenant, same, protect, as_queued).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_protected_domain() {
    let protect = |safety: &mut SafetyPolicy| {
        safety.protected_domains = vec![pattern("TENANT1.onmicrosoft.com")];
    };
    assert_guarded(Reason::ProtectedDomain, same, protect, as_queued).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_1_no_allowed_domains_at_all() {
    let none = |safety: &mut SafetyPolicy| safety.allow_domains.clear();
    assert_guarded(Reason::DomainNotAllowed, same, none, as_queued).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_domain_that_is_not_allowed() {
    let other = |safety: &mut SafetyPolicy| safety.allow_domains = vec![pattern("*.example.com")];
    assert_guarded(Reason::DomainNotAllowed, same, other, as_queued).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_domain_with_a_label_that_only_looks_alike() {
    for (allowed, domain) in [
        ("*.onmicrosoft.com", "tenantonmicrosoft.com"),
        ("*.onmicrosoft.com", "onmicrosoft.com"),
        ("*.onmicrosoft.com", "tenant.onmicrosoft.com.example.net"),
        ("*.prod.example", "a.nonprod.example"),
        // A Cyrillic letter in place of a Latin one.
        ("*.onmicrosoft.com", "tenant.onmicr\u{43e}soft.com"),
    ] {
        let look_alike = |customer| Customer { domain: domain.to_owned(), ..customer };
        let allow = |safety: &mut SafetyPolicy| safety.allow_domains = vec![pattern(allowed)];
        assert_guarded(Reason::DomainNotAllowed, look_alike, allow, as_queued).await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_1_another_domain_than_the_operator_named() {
    let named = |row| NewTeardown { expected_domain: Some(domain(2)), ..row };
    assert_guarded(Reason::DomainMismatch, same, |_| {}, named).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_domain_that_must_be_named_and_is_not() {
    let require = |safety: &mut SafetyPolicy| safety.require_domain = true;
    assert_guarded(Reason::DomainRequired, same, require, as_queued).await;
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_customer_without_a_relationship() {
    assert_guarded(Reason::NotReseller, |c| c.relationship("none"), |_| {}, as_queued).await;
}

/// Answers a read with something else.
fn answered(body: String) -> Effect {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Effect::Answer { status: 200, headers, body, applied: false }
}

fn as_listed(n: usize) -> String {
    format!(
        r#"{{"id":"{id}","companyProfile":{{"tenantId":"{id}","domain":"{domain}"}},"relationshipToPartner":"reseller"}}"#,
        id = tenant(n),
        domain = domain(n)
    )
}

#[tokio::test(start_paused = true)]
async fn invariant_1_an_answer_about_another_customer() {
    for purchases in both() {
        let mut scene = Given::new([customer(1, purchases), customer(2, [])]).set();
        scene.enqueue(&[1]).await;
        let rule = Rule::new(When::Always, answered(as_listed(2))).method("GET");
        scene.rule(rule.on(Template::Customer).customer(tenant(1).as_uuid()));
        scene.start().await;
        scene.settle().await;
        scene.assert_held(1, Reason::CustomerMismatch).await;
        assert_eq!(scene.writes().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_1_a_customer_that_the_accounts_list_does_not_hold() {
    for purchases in both() {
        let mut scene = given(purchases).queued().await;
        let list = format!(r#"{{"totalCount":1,"items":[{}]}}"#, as_listed(2));
        scene.rule(Rule::new(When::Always, answered(list)).on(Template::Customers));
        scene.start().await;
        scene.settle().await;
        scene.assert_held(1, Reason::NotInCustomerList).await;
        assert_eq!(scene.writes().len(), 0);
        // A list that is whole again, and a person, let it go on. What was read is shared for seconds.
        scene.simulator.clear_rules();
        scene.pass(secs(5)).await;
        assert!(scene.ask_about(Verb::Release, 1).await.applied);
        scene.settle().await;
        scene.assert_all_deleted().await;
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_1_more_customers_than_a_sandbox_can_hold_halt_the_account() {
    let customers = (1..=76).map(|n| customer(n, [buy(Kind::Reservation)]));
    let scene = Given::new(customers).set();
    scene.enqueue(&[1, 2, 3]).await;
    let mut scene = scene;
    scene.start().await;
    scene.pass(hours(2)).await;
    assert_eq!(scene.writes().len(), 0);
    let halted = scene.account_row().await.halted.expect("halted");
    assert_eq!(halted.actor, Reason::TooManyCustomers.as_str());
    assert!(halted.reason.contains("76") && halted.reason.contains("75"), "{halted:?}");
    assert!(scene.rows().await.iter().all(|row| !row.state.is_terminal()));
    // Exactly as many as the limit are a sandbox.
    let customers = (1..=75).map(|n| customer(n, [buy(Kind::Reservation)]));
    let mut scene = Given::new(customers).set();
    scene.enqueue(&[1, 2, 3]).await;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
}

#[tokio::test(start_paused = true)]
async fn invariant_1_an_account_that_the_configuration_does_not_know_holds_its_rows() {
    let mut scene = given([]).set();
    let unknown = teardownd::core::ids::AccountName::new("elsewhere");
    let row = NewTeardown { account: unknown, ..scene.new_teardown(1) };
    scene.enqueue_rows(&[row]).await;
    scene.start().await;
    scene.pass(mins(10)).await;
    scene.assert_held(1, Reason::UnknownAccount).await;
    assert_eq!(scene.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn invariant_1_only_queued_tenants_are_written_to() {
    let customers = (1..=6).map(|n| customer(n, [buy(Kind::Reservation), buy(Kind::AzurePlan)]));
    let mut scene = Given::new(customers).set();
    for n in [2, 4, 6] {
        scene.simulator.protect(tenant(n).as_uuid());
    }
    scene.enqueue(&[1, 3, 5]).await;
    scene.start().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    assert_eq!(scene.simulator.snapshot().customers_left, 3);
    let calls = scene.calls();
    assert!([2, 4, 6].iter().all(|n| calls.iter().all(|entry| !concerns(entry, *n))));
}
