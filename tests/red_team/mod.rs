//! Attempts to get a tenant written to that must not be, or when it must not be.
//!
//! Each attempt is made twice: as it is (`red_team_…`), where not one write may reach Partner Center;
//! and without the guard that stands against it (`guard_mutation_…`), where a write must be seen to get
//! through, so that neither the guard nor the attempt is for show. The suite is compiled into the
//! tests of the crate itself, because only there can a guard be left out.

#[allow(dead_code, unused_imports)] // shared with the scenarios, which use the rest
#[path = "../scenarios/harness/mod.rs"]
mod harness;

mod accounts;
mod consent;
mod database;
mod domains;
mod engine;
mod halts;
mod lists;
mod operators;
mod people;
mod tenants;
mod timing;
mod typed;

use std::collections::BTreeSet;

use harness::*;
use teardownd::core::gates::{Guard, SafetyPolicy};
use teardownd::core::ids::TenantId;
use teardownd::core::teardown::NewTeardown;
use teardownd::simulator::Customer;

/// What an attempt got through: method and path of each write.
type Written = Vec<String>;

/// Declares attempts. `$attempt` takes the guard to leave out, if any, and answers what was written.
macro_rules! attempts {
    ($($name:ident $(, $mutation:ident = $guard:ident)? => $attempt:expr;)*) => {
        pub(super) const ATTEMPTS: &[&str] = &[$(stringify!($name)),*];
        pub(super) const GUARDS: &[super::Guard] = &[$($(super::Guard::$guard,)?)*];

        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                let written: super::Written = ($attempt)(None).await;
                assert_eq!(written, super::Written::new(), "written, though it must not be");
            }

            $(
                #[tokio::test(start_paused = true)]
                async fn $mutation() {
                    let written: super::Written = ($attempt)(Some(super::Guard::$guard)).await;
                    assert!(!written.is_empty(), "nothing got through: another guard hides this one");
                }
            )?
        )*
    };
}
pub(crate) use attempts;

/// Every write that reached the simulator, token requests aside.
fn written(scene: &Scene) -> Written {
    scene.writes().iter().map(|entry| format!("{} {}", entry.method, entry.path)).collect()
}

/// The writes that reached the simulator after the first `before`.
fn written_since(scene: &Scene, before: usize) -> Written {
    written(scene).split_off(before)
}

/// Lets the daemon work for long enough to tear everything down that it is allowed to.
async fn let_loose(scene: &mut Scene) -> Written {
    scene.start().await;
    scene.pass(hours(3)).await;
    written(scene)
}

/// A customer with something to cancel, whose first write is no DELETE.
fn buyer(n: usize) -> Customer {
    customer(n, [buy(Kind::Reservation), buy(Kind::NewCommerce)])
}

/// One customer, queued, under these guards.
async fn one(
    without: Option<Guard>,
    change_customer: impl FnOnce(Customer) -> Customer,
    change_safety: impl FnOnce(&mut SafetyPolicy),
    change_row: impl FnOnce(NewTeardown) -> NewTeardown,
) -> Written {
    let given = Given::new([change_customer(buyer(1))]).safety(|safety| {
        change_safety(safety);
        safety.skip = without;
    });
    let mut scene = given.set();
    let id = TenantId::new(scene.given.customers[0].id);
    let row = NewTeardown { tenant_id: id, ..scene.new_teardown(1) };
    scene.enqueue_rows(&[change_row(row)]).await;
    let_loose(&mut scene).await
}

fn as_it_is<T>(thing: T) -> T {
    thing
}

/// A customer with this domain, where this is allowed.
async fn with_domain(without: Option<Guard>, allowed: &str, domain: &str) -> Written {
    let look_alike = |customer| Customer { domain: domain.to_owned(), ..customer };
    let allow = |safety: &mut SafetyPolicy| safety.allow_domains = vec![pattern(allowed)];
    one(without, look_alike, allow, as_it_is).await
}

#[test]
fn guard_mutations_cover_every_guard() {
    let tried: BTreeSet<&str> = [
        accounts::GUARDS,
        consent::GUARDS,
        domains::GUARDS,
        engine::GUARDS,
        halts::GUARDS,
        lists::GUARDS,
        operators::GUARDS,
        people::GUARDS,
        tenants::GUARDS,
        timing::GUARDS,
        typed::GUARDS,
    ]
    .concat()
    .into_iter()
    .map(Guard::as_str)
    .collect();
    let all: BTreeSet<&str> = Guard::ALL.iter().map(|guard| guard.as_str()).collect();
    assert_eq!(tried, all);
}

#[test]
fn the_suite_holds_at_least_forty_attempts() {
    let attempts = [
        accounts::ATTEMPTS,
        consent::ATTEMPTS,
        domains::ATTEMPTS,
        engine::ATTEMPTS,
        halts::ATTEMPTS,
        lists::ATTEMPTS,
        operators::ATTEMPTS,
        people::ATTEMPTS,
        tenants::ATTEMPTS,
        timing::ATTEMPTS,
        typed::ATTEMPTS,
    ]
    .concat();
    assert!(attempts.iter().all(|name| name.starts_with("red_team_")));
    assert!(attempts.len() + database::ATTEMPTS >= 40, "{}", attempts.len());
}
