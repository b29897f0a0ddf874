//! Answers that say less than they seem to.

use teardownd::core::gates::Guard;

use super::harness::*;
use super::tenants::{answer, as_listed};
use super::{Written, attempts, buyer, let_loose};

attempts! {
    red_team_a_list_that_omits_the_tenant, guard_mutation_customer_list = CustomerList => |without| {
        customers_answer(without, answer(format!(r#"{{"totalCount":1,"items":[{}]}}"#, as_listed(2, "reseller"))))
    };
    red_team_an_empty_list_of_customers => |without| {
        customers_answer(without, answer(r#"{"totalCount":0,"items":[]}"#.to_owned()))
    };
    red_team_a_list_without_items => |without| customers_answer(without, Effect::MissingItems);
    red_team_a_list_whose_items_are_null => |without| customers_answer(without, Effect::NullItems);
    red_team_a_list_that_ends_half_way => |without| customers_answer(without, Effect::TruncatedJson);
    red_team_an_error_code_in_a_200 => |without| customers_answer(without, Effect::CodeInSuccess(400_072));
    red_team_a_list_in_html => |without| customers_answer(without, Effect::bad_gateway());
    red_team_a_next_page_at_another_host => |without| {
        let next = r#""links":{"next":{"uri":"https://evil.example/v1/customers?page=2","method":"GET","headers":[]}}"#;
        let list = format!(r#"{{"totalCount":2,"items":[{}],{next}}}"#, as_listed(1, "reseller"));
        customers_answer(without, answer(list))
    };
    red_team_a_page_that_comes_again_and_again => |without| async move {
        let given = Given::new((1..=5).map(buyer))
            .api(|api| api.page_size = Some(2))
            .safety(|safety| safety.skip = without);
        let mut scene = given.queued().await;
        scene.rule(Rule::new(When::Always, Effect::DuplicatePage).on(Template::Customers));
        let_loose(&mut scene).await
    };
    red_team_orders_that_are_null => |without| purchases_answer(without, Template::Orders, Effect::NullItems);
    red_team_orders_cut_off => |without| purchases_answer(without, Template::Orders, Effect::CutOff);
    red_team_subscriptions_without_items => |without| {
        purchases_answer(without, Template::Subscriptions, Effect::MissingItems)
    };
}

/// The customer list answers like this.
async fn customers_answer(without: Option<Guard>, effect: Effect) -> Written {
    purchases_answer(without, Template::Customers, effect).await
}

/// This endpoint answers like this.
async fn purchases_answer(without: Option<Guard>, template: Template, effect: Effect) -> Written {
    let given = Given::new([buyer(1), buyer(2)]).safety(|safety| safety.skip = without);
    let mut scene = given.set();
    scene.enqueue(&[1]).await;
    scene.rule(Rule::new(When::Always, effect).on(template));
    let_loose(&mut scene).await
}
