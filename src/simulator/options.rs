//! The knobs of the simulator.

use std::time::Duration;

use super::profile::FaultProfile;
use super::retry_after::RetryAfterForm;

/// What the journal lets pass before it calls something a breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowances {
    /// Requests that arrive this soon after a 429 was answered were on the wire already.
    pub on_the_wire: Duration,
    /// How much earlier than its end a `Retry-After` window may be entered: two clocks that measure
    /// the same wait differ by this little.
    pub clock_slack: Duration,
    /// How old the inventory behind a DELETE may be, apart from the time that its reads took.
    pub inventory_age: Duration,
    /// How old it may be with that time.
    pub longest_reading: Duration,
    /// Comes on top of both: a read is dated by its arrival and so is the DELETE, with what lies
    /// between them in the client.
    pub inventory_latency: Duration,
    /// An accepted write whose goal is still not reached after this may be repeated as a new one.
    pub reissue_after: Duration,
}

impl Default for Allowances {
    fn default() -> Self {
        Self {
            on_the_wire: Duration::from_secs(1),
            clock_slack: Duration::from_millis(50),
            inventory_age: Duration::from_secs(10),
            longest_reading: Duration::from_mins(1),
            inventory_latency: Duration::from_secs(2),
            reissue_after: Duration::from_mins(20),
        }
    }
}

/// How the simulated API behaves. Pairs of durations are the least and the most of a uniform draw.
#[derive(Debug, Clone)]
pub struct Options {
    /// From arrival of a request to its answer.
    pub latency: (Duration, Duration),
    /// From an accepted cancellation to its goal, for purchases that do not say.
    pub cancellation: (Duration, Duration),
    /// From an accepted DELETE to the customer being gone.
    pub removal: (Duration, Duration),
    /// Status and code of the faults that say a customer is gone; each customer gets one of them.
    /// The real API's answer is not known; 404/3000 is likely (fact sheet, section 12).
    pub gone: Vec<(u16, u32)>,
    /// Whether a purchase that is not there is answered with 404/3000, which names it, as was recorded of a
    /// subscription; else with the code of its kind.
    pub generic_not_found: bool,
    /// How long lists lag behind; reads by id do not.
    pub list_lag: Duration,
    /// The most items on a page of any list; `None`: only `size` of the customer list counts.
    pub page_size: Option<usize>,
    /// Requests a minute and resource class before 429; `None`: never.
    pub limit_per_minute: Option<usize>,
    /// Requests a minute and resource class before the journal notes a breach; `None`: the limit.
    pub budget_per_minute: Option<usize>,
    /// How `Retry-After` is written.
    pub retry_after: RetryAfterForm,
    /// `expires_in` of tokens.
    pub token_lifetime: Duration,
    /// How long a refresh token still works after it was replaced; `None`: as long as any, because
    /// Entra does not revoke the old one (MicrosoftDocs/entra-docs, `refresh-tokens.md`).
    pub refresh_token_grace: Option<Duration>,
    /// The `aud` a token must have; `None`: any.
    pub audience: Option<String>,
    /// Whether entitlements may be read app-only (the pages conflict): otherwise 403 900329.
    pub entitlements_app_only: bool,
    /// Whether a parent is refused (400 800096) while an add-on of it is active.
    pub add_ons_first: bool,
    /// Status and, where there is one, code of a DELETE refused because something is active.
    pub blocked_delete: (u16, Option<u32>),
    /// 200 or 202: the pages about the cancellation of Azure subscriptions conflict.
    pub azure_cancel_status: u16,
    /// PATCH of a subscription answers 202 with a `Location` instead of 200 with the resource.
    pub subscription_patch_is_deferred: bool,
    /// Faults by chance; `None`: only those of rules.
    pub faults: Option<FaultProfile>,
    /// What the journal lets pass.
    pub allowances: Allowances,
}

impl Default for Options {
    /// Immediate answers, cancellations of 1 to 10 seconds, 500 requests a minute and class.
    fn default() -> Self {
        let seconds = |least, most| (Duration::from_secs(least), Duration::from_secs(most));
        Self {
            latency: seconds(0, 0),
            cancellation: seconds(1, 10),
            removal: seconds(1, 3),
            gone: vec![(404, 60003), (404, 1000), (403, 20002), (404, 3000)],
            generic_not_found: false,
            list_lag: Duration::ZERO,
            page_size: None,
            limit_per_minute: Some(500),
            budget_per_minute: None,
            retry_after: RetryAfterForm::Seconds,
            token_lifetime: Duration::from_secs(3599),
            refresh_token_grace: None,
            audience: None,
            entitlements_app_only: true,
            add_ons_first: true,
            blocked_delete: (400, None),
            azure_cancel_status: 200,
            subscription_patch_is_deferred: false,
            faults: None,
            allowances: Allowances::default(),
        }
    }
}
