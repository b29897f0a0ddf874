//! What a test does to the sandbox of its stage, and what it demands of it at the end.

use teardownd::simulator::{Effect, Entry, Rule, Template, When};

use crate::gate::{HELD, until};
use crate::stage::Stage;

const METHODS: [&str; 3] = ["PATCH", "POST", "DELETE"];

impl Stage {
    /// Holds back the answers to all writes that arrive from now on. Returns the number of the first
    /// call of which that is certain.
    pub fn hold_answers_to_writes(&self) -> u64 {
        self.strike_writes(When::Always, &Effect::Delay(HELD))
    }

    /// Lets this happen to writes of each method. Returns the number of the next call.
    pub fn strike_writes(&self, when: When, effect: &Effect) -> u64 {
        for method in METHODS {
            let rule = Rule::new(when, effect.clone())
                .method(method)
                .on(Template::Order)
                .on(Template::Subscription)
                .on(Template::Activate)
                .on(Template::AzureCancel)
                .on(Template::Customer);
            self.simulator.add_rule(rule);
        }
        self.calls()
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.simulator.journal().entries().len() as u64
    }

    /// The writes from this call on.
    pub fn writes_since(&self, call: u64) -> Vec<Entry> {
        let tokens = [Template::TokenV1, Template::TokenV2];
        let journal = self.simulator.journal();
        let writes = journal.entries().iter().filter(|entry| {
            entry.number >= call && entry.method != "GET" && !tokens.contains(&entry.template)
        });
        writes.cloned().collect()
    }

    /// Waits for a write that arrives at or after this call.
    pub async fn until_written(&self, call: u64) -> Entry {
        until("a write arrives", async || self.writes_since(call).into_iter().next()).await
    }

    /// Nothing was done that a careful client would not have done, and no write had its effect twice
    /// (invariant 4).
    pub fn assert_careful(&self) {
        let journal = self.simulator.journal();
        let breaches: Vec<_> = journal.breaches().iter().map(ToString::to_string).collect();
        assert_eq!(breaches, Vec::<String>::new());
        let twice: Vec<_> = journal.applied().iter().filter(|(_, times)| **times != 1).collect();
        assert_eq!(twice, vec![]);
    }

    /// Every customer is gone, and every purchase it had was cancelled before, each by writes that
    /// were applied exactly once.
    pub fn assert_all_torn_down(&self) {
        self.assert_careful();
        assert_eq!(self.simulator.snapshot().customers_left, 0);
        let journal = self.simulator.journal();
        let applied = |what: String| journal.applied().contains_key(&what);
        for tenant in &self.tenants {
            let customer = format!("customers/{tenant}");
            assert!(applied(format!("DELETE {customer}")), "{tenant}");
            for bought in self.simulator.purchases(*tenant) {
                let order = applied(format!("PATCH {customer}/orders/{}", bought.order_id));
                let cancelled = |id: &str| applied(format!("PATCH {customer}/subscriptions/{id}"));
                let each = !bought.subscriptions.is_empty()
                    && bought.subscriptions.iter().all(|subscription| cancelled(&subscription.id));
                assert!(order || each, "{tenant}: {bought:?}");
                for subscription in &bought.subscriptions {
                    let path = format!("{customer}/subscriptions/{}", subscription.id);
                    let entitlements = subscription.azure.iter();
                    let left = entitlements
                        .filter(|e| !applied(format!("POST {path}/azureEntitlements/{}", e.id)));
                    assert_eq!(left.count(), 0, "{tenant}: {bought:?}");
                }
            }
        }
    }
}
