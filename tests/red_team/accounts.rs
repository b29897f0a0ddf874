//! Accounts that are not the sandbox they are taken for.

use teardownd::core::gates::{Guard, SafetyPolicy};
use uuid::Uuid;

use super::harness::*;
use super::tenants::{answer, as_listed};
use super::{as_it_is, attempts, buyer, let_loose, one, written_since};

const FOREIGN: Uuid = Uuid::from_u128(0xbbbb_0000_0000_4000_8000_0000_0000_0001);

attempts! {
    red_team_a_production_account_that_would_cancel, guard_mutation_sandbox = Sandbox => |without| {
        // The simulator cancels as happily as production does.
        one(without, as_it_is, |safety: &mut SafetyPolicy| safety.sandbox = false, as_it_is)
    };
    red_team_more_customers_than_a_sandbox_holds, guard_mutation_customers_limit = CustomersLimit => |without| async move {
        let given = Given::new((1..=76).map(buyer)).safety(|safety| safety.skip = without);
        let mut scene = given.set();
        scene.enqueue(&[1]).await;
        let_loose(&mut scene).await
    };
    red_team_customers_that_grow_too_many_while_it_waits => |without| async move {
        let given = Given::new([buyer(1)]).safety(|safety| {
            safety.skip = without;
            safety.grace = mins(30);
        });
        let scene = given.running().await;
        scene.pass(mins(10)).await;
        let many: Vec<String> = (1..=76).map(|n| as_listed(n, "reseller")).collect();
        let list = format!(r#"{{"totalCount":76,"items":[{}]}}"#, many.join(","));
        scene.rule(Rule::new(When::Always, answer(list)).on(Template::Customers));
        scene.pass(hours(3)).await;
        written_since(&scene, 0)
    };
    red_team_the_credentials_of_another_account => |without| async move {
        let given = Given::new([buyer(1)]).safety(|safety| safety.skip = without);
        let mut scene = given.foreign_tokens(FOREIGN).queued().await;
        let_loose(&mut scene).await
    };
    red_team_a_token_that_cannot_be_read => |without| async move {
        let given = Given::new([buyer(1)]).safety(|safety| safety.skip = without);
        let mut scene = given.queued().await;
        let token = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"opaque"}"#;
        for template in [Template::TokenV1, Template::TokenV2] {
            scene.rule(Rule::new(When::Always, answer(token.to_owned())).on(template));
        }
        let_loose(&mut scene).await
    };
    red_team_a_token_of_another_tenant_at_the_renewal => |without| async move {
        let given = Given::new((1..=5).map(buyer))
            .api(|api| api.token_lifetime = secs(600))
            .safety(|safety| {
                safety.skip = without;
                safety.grace = mins(30);
            });
        let scene = given.running().await;
        scene.pass(mins(10)).await;
        for template in [Template::TokenV1, Template::TokenV2] {
            scene.rule(Rule::new(When::Always, Effect::ForeignTid).on(template));
        }
        scene.pass(hours(3)).await;
        written_since(&scene, 0)
    };
    red_team_an_account_that_answered_no_sandbox_is_not_tried_again => |without: Option<Guard>| async move {
        let given = Given::new((1..=5).map(buyer)).safety(|safety| safety.skip = without);
        let mut scene = given.queued().await;
        let refusal = Effect::fault(403, 800_019, "Account is not a sandbox tenant.");
        scene.rule(Rule::new(When::First(1), refusal).method("PATCH"));
        let_loose(&mut scene).await;
        // The refused one is how it was found out; a restart and a `resume` change nothing.
        scene.stop().await;
        scene.ask(Verb::Resume).await;
        let_loose(&mut scene).await;
        written_since(&scene, 1)
    };
}
