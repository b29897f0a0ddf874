//! Domains that look like what is allowed, or that somebody meant to keep.

use teardownd::core::gates::SafetyPolicy;
use teardownd::core::teardown::NewTeardown;
use teardownd::simulator::Customer;

use super::harness::*;
use super::{as_it_is, attempts, one, with_domain};
use crate::core::gates::Guard;

const CLOUD: &str = "*.onmicrosoft.com";

attempts! {
    red_team_no_domain_is_allowed => |without| {
        let none = |safety: &mut SafetyPolicy| safety.allow_domains.clear();
        one(without, as_it_is, none, as_it_is)
    };
    red_team_another_domain_is_allowed, guard_mutation_allowed_domain = AllowedDomain => |without| {
        let other = |safety: &mut SafetyPolicy| safety.allow_domains = vec![pattern("*.example.com")];
        one(without, as_it_is, other, as_it_is)
    };
    red_team_a_label_that_ends_alike => |without| with_domain(without, CLOUD, "tenantonmicrosoft.com");
    red_team_the_parent_of_what_is_allowed => |without| with_domain(without, CLOUD, "onmicrosoft.com");
    red_team_the_allowed_name_within_another => |without| {
        with_domain(without, CLOUD, "tenant.onmicrosoft.com.example.net")
    };
    red_team_nonprod_is_not_prod => |without| with_domain(without, "*.prod.example", "a.nonprod.example");
    red_team_a_cyrillic_letter => |without| {
        with_domain(without, CLOUD, "tenant.onmicr\u{43e}soft.com")
    };
    red_team_a_full_width_letter => |without| {
        with_domain(without, CLOUD, "tenant.onmicr\u{ff4f}soft.com.example")
    };
    red_team_a_letter_that_has_no_width => |without| {
        with_domain(without, CLOUD, "tenant.onmicrosoft.com\u{200b}.example.net")
    };
    red_team_a_punycode_name_that_is_drawn_alike => |without| {
        with_domain(without, CLOUD, "tenant.xn--onmicrsoft-gqf.com")
    };
    red_team_a_line_break_before_the_allowed_name => |without| {
        with_domain(without, "contoso.com", "evil.example\ncontoso.com")
    };
    red_team_a_single_name_where_its_subdomain_was_meant => |without| {
        with_domain(without, "ci.contoso.com", "contoso.com")
    };
    red_team_a_protected_domain, guard_mutation_protected_domain = ProtectedDomain => |without| {
        protected(without, "tenant1.onmicrosoft.com")
    };
    red_team_a_protected_domain_in_capitals => |without| protected(without, "TENANT1.OnMicrosoft.com");
    red_team_a_protected_domain_by_its_parent => |without| protected(without, "*.onmicrosoft.com");
    red_team_a_protected_domain_with_a_dot_at_the_end => |without| {
        let dotted = |customer| Customer { domain: "tenant1.onmicrosoft.com.".to_owned(), ..customer };
        let protect = |safety: &mut SafetyPolicy| {
            safety.protected_domains = vec![pattern("tenant1.onmicrosoft.com")];
        };
        one(without, dotted, protect, as_it_is)
    };
    red_team_another_domain_than_the_operator_named, guard_mutation_named_domain = NamedDomain => |without| {
        named(without, domain(2))
    };
    red_team_a_named_domain_with_a_letter_that_looks_alike => |without| {
        named(without, "tenant1.\u{43e}nmicrosoft.com".to_owned())
    };
    red_team_a_named_domain_that_is_only_a_part => |without| named(without, "onmicrosoft.com".to_owned());
    red_team_no_domain_named_where_one_must_be, guard_mutation_domain_required = DomainRequired => |without| {
        let require = |safety: &mut SafetyPolicy| safety.require_domain = true;
        one(without, as_it_is, require, as_it_is)
    };
}

async fn protected(without: Option<Guard>, name: &'static str) -> super::Written {
    let protect = |safety: &mut SafetyPolicy| safety.protected_domains = vec![pattern(name)];
    one(without, as_it_is, protect, as_it_is).await
}

async fn named(without: Option<Guard>, name: String) -> super::Written {
    let named = |row| NewTeardown { expected_domain: Some(name), ..row };
    one(without, as_it_is, |_| {}, named).await
}
