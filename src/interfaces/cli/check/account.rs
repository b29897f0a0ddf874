//! The checks of one account: reachable, token, reads, customers, clock. One that fails does not keep
//! the others from being tried, as far as they can be.

use std::fmt::Display;

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::finding::{Finding, Level};
use crate::core::account::TroubleKind;
use crate::core::fault::Class;
use crate::core::ids::TenantId;
use crate::interfaces::assemble::Ground;
use crate::interfaces::config::AccountConfig;
use crate::partner_center::{ApiError, Client, Kind};

/// From here on the difference between the clocks is worth a warning. An assertion or a token that
/// seems to begin in the future is refused, at the latest from five minutes on.
const SKEW_WARNING: SignedDuration = SignedDuration::from_secs(60);

const DELETES_AS_A_SANDBOX: &str = "the audit log knows delete_tip_customer: this account has deleted a customer as an integration \
     sandbox does (a hint, and no proof)";
const NO_DELETION_KNOWN: &str = "the audit log of the last 90 days knows no delete_tip_customer, the name that deletions have in an \
     integration sandbox: so far nothing hints at one, nor against it";

const NO_CROSS_CHECK: &str = "entitlements are refused to this app: inventories rest on orders and \
                              subscriptions, and the cross-check is not available";

/// What was found of an account.
#[derive(Debug)]
pub(super) struct AccountCheck {
    pub(super) findings: Vec<Finding>,
    what: String,
    config: AccountConfig,
    /// Whether the API answered anything.
    reachable: Option<bool>,
    /// The tenant of the token.
    tid: Option<TenantId>,
    /// Outcome of each read, by name.
    reads: Map<String, Value>,
    in_use: Option<usize>,
    /// Whether the audit log hints at a sandbox.
    deletes_as_a_sandbox: Option<bool>,
    /// Positive where this machine's clock is ahead.
    skew: Option<SignedDuration>,
}

impl AccountCheck {
    /// Looks at an account.
    pub(super) async fn run(ground: &Ground, config: &AccountConfig) -> Self {
        let mut check = Self {
            findings: Vec::new(),
            what: format!("accounts.{}", config.name),
            config: config.clone(),
            reachable: None,
            tid: None,
            reads: Map::new(),
            in_use: None,
            deletes_as_a_sandbox: None,
            skew: None,
        };
        check.guards();
        // Before the credential is used, which makes a refresh token young again.
        for warning in config.credential.warnings(ground.clock.wall()).await {
            check.note("credential", Level::Warning, warning);
        }
        match ground.account(config) {
            Ok(runtime) => check.connect(&runtime.client).await,
            Err(error) => check.note("address", Level::Bad, error),
        }
        check
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let warnings = self.findings.iter().filter(|finding| finding.level == Level::Warning);
        json!({
            "account": self.config.name,
            "api_base": self.config.api_base.to_string(),
            "authority": self.config.authority.to_string(),
            "reachable": self.reachable,
            "tid": self.tid,
            "reads": self.reads,
            "deletes_as_a_sandbox": self.deletes_as_a_sandbox,
            "customers": {"in_use": self.in_use, "limit": self.config.policy.customers_limit},
            "clock_ahead_seconds": self.skew.map(|skew| skew.as_secs()),
            "warnings": warnings.map(|finding| &finding.text).collect::<Vec<_>>(),
        })
    }

    fn note(&mut self, check: &'static str, level: Level, text: impl Display) {
        self.findings.push(Finding::new(&self.what, check, level, text.to_string()));
    }

    fn note_with(
        &mut self,
        check: &'static str,
        level: Level,
        text: impl Display,
        remedy: impl Into<String>,
    ) {
        let finding = Finding::new(&self.what, check, level, text.to_string());
        self.findings.push(finding.remedy(remedy));
    }

    /// Guards of the configuration that refuse every write.
    fn guards(&mut self) {
        if !self.config.policy.sandbox {
            let remedy = "set sandbox = true, if the account really is an integration sandbox";
            self.note_with(
                "sandbox",
                Level::Bad,
                "sandbox = false: every write is refused",
                remedy,
            );
        }
        if self.config.policy.allow_domains.is_empty() {
            let text = "safety.allow_domains is empty: every write is refused";
            let remedy = "name the domains that may be torn down, such as [\"*.onmicrosoft.com\"]";
            self.note_with("allow_domains", Level::Bad, text, remedy);
        }
    }

    async fn connect(&mut self, client: &Client) {
        let token = match self.config.credential.check().await {
            Err(error) => {
                self.note("token", Level::Bad, error);
                false
            }
            Ok(()) => self.token(client).await,
        };
        if token {
            self.read_all(client).await;
        } else {
            self.without_token(client).await;
        }
        self.clock(client);
    }

    async fn token(&mut self, client: &Client) -> bool {
        match client.check_credential().await {
            Ok(()) => {
                let tid = self.config.policy.partner_tenant;
                self.tid = Some(tid);
                let text = format!("a token was issued; its tid is partner_tenant, {tid}");
                self.note("token", Level::Good, text);
                true
            }
            Err(error) => {
                if let ApiError::ForeignToken { found, .. } = &error {
                    self.tid = Some(*found);
                }
                let authority = self.config.authority.clone();
                self.failed("token", &error, &authority);
                false
            }
        }
    }

    /// Without a token nothing can be read, but the API can still be knocked at.
    async fn without_token(&mut self, client: &Client) {
        let base = self.config.api_base.clone();
        match client.reach().await {
            Ok(()) => self.reached(),
            Err(error) => {
                self.reachable = Some(false);
                self.failed("endpoint", &error, &base);
            }
        }
        for read in ["profile", "customers", "entitlements", "orders", "subscriptions"] {
            self.skip(read, "there is no token to read with");
        }
    }

    /// No field tells a sandbox from production; how customers were deleted hints at it.
    async fn audit_log(&mut self, client: &Client) {
        match client.has_deleted_as_a_sandbox().await {
            Ok(known) => {
                self.deletes_as_a_sandbox = Some(known);
                let text = if known { DELETES_AS_A_SANDBOX } else { NO_DELETION_KNOWN };
                self.note("audit_log", Level::Good, text);
            }
            Err(error) => {
                let text =
                    format!("the audit log, which only hints at a sandbox, was not read: {error}");
                self.note("audit_log", Level::Skipped, text);
            }
        }
    }

    async fn read_all(&mut self, client: &Client) {
        let profile = client.legal_business_profile().await;
        let customers = client.customer_list().await;
        let errors = [profile.as_ref().err(), customers.as_ref().err()];
        if errors.into_iter().all(|error| error.is_none_or(was_answered)) {
            self.reached();
        } else {
            self.reachable = Some(false);
        }
        match profile {
            Ok(profile) => {
                let company = profile.fact.company_name;
                let company = company.unwrap_or_else(|| "no name".to_owned());
                self.allowed("profile", format!("the partner's legal name is {company}"));
            }
            // Nothing but this check reads it.
            Err(error) => self.read_failed("profile", &error, Level::Warning),
        }
        match customers {
            Ok(list) => {
                let ids = list.fact.customers.iter().filter_map(|customer| customer.id.as_deref());
                let customer = ids.filter_map(|id| id.parse().ok()).min();
                self.customers(list.fact.count);
                self.of_customer(client, customer).await;
            }
            Err(error) => {
                self.read_failed("customers", &error, Level::Bad);
                self.of_customer(client, None).await;
            }
        }
        self.audit_log(client).await;
    }

    fn customers(&mut self, in_use: usize) {
        let limit = self.config.policy.customers_limit;
        self.in_use = Some(in_use);
        self.reads.insert("customers".to_owned(), json!("allowed"));
        if in_use <= limit {
            let text = format!("{in_use} of at most {limit} customers are in use");
            return self.note("customers", Level::Good, text);
        }
        let text = format!(
            "{in_use} customers, more than customers_limit = {limit}: this is no sandbox, and the \
             first write would halt the account"
        );
        let remedy = "check partner_tenant before anything else";
        self.note_with("customers", Level::Bad, text, remedy);
    }

    /// The reads of a customer, on whichever is there.
    async fn of_customer(&mut self, client: &Client, customer: Option<TenantId>) {
        let Some(customer) = customer else {
            for read in ["entitlements", "orders", "subscriptions"] {
                self.skip(read, "there is no customer to read them of");
            }
            return;
        };
        let (entitlements, orders, subscriptions) = futures::join!(
            client.entitlements(customer),
            client.orders(customer),
            client.subscriptions(customer),
        );
        match entitlements.map(|read| read.fact) {
            Ok(Some(list)) => self.allowed("entitlements", count(list.len(), customer)),
            Ok(None) => {
                self.reads.insert("entitlements".to_owned(), json!("refused"));
                let remedy = "nothing, if orders and subscriptions are enough; a credential of kind \
                              refresh_token may read them";
                self.note_with("entitlements", Level::Warning, NO_CROSS_CHECK, remedy);
            }
            Err(error) => self.read_failed("entitlements", &error, Level::Bad),
        }
        match orders {
            Ok(read) => self.allowed("orders", count(read.fact.len(), customer)),
            Err(error) => self.read_failed("orders", &error, Level::Bad),
        }
        match subscriptions {
            Ok(read) => self.allowed("subscriptions", count(read.fact.len(), customer)),
            Err(error) => self.read_failed("subscriptions", &error, Level::Bad),
        }
    }

    fn clock(&mut self, client: &Client) {
        self.skew = client.clock_skew();
        let Some(skew) = self.skew else { return };
        if skew.abs() < SKEW_WARNING {
            return self.note("clock", Level::Good, "the clock agrees with Microsoft's");
        }
        let direction = if skew.is_positive() { "ahead of" } else { "behind" };
        let length = std::time::Duration::from_secs(skew.as_secs().unsigned_abs());
        let text = format!(
            "this machine's clock is {} {direction} Microsoft's",
            humantime::format_duration(length)
        );
        let remedy = "set the clock, and see that NTP keeps it: tokens may be refused otherwise";
        self.note_with("clock", Level::Warning, text, remedy);
    }

    // ---- how it is said --------------------------------------------------------------------------

    fn reached(&mut self) {
        self.reachable = Some(true);
        self.note("endpoint", Level::Good, format!("{} answers", self.config.api_base));
    }

    fn allowed(&mut self, read: &'static str, text: String) {
        self.reads.insert(read.to_owned(), json!("allowed"));
        self.note(read, Level::Good, format!("{read} may be read: {text}"));
    }

    fn skip(&mut self, read: &'static str, why: &str) {
        self.reads.insert(read.to_owned(), json!("not_tried"));
        self.note(read, Level::Skipped, format!("{read} were not read: {why}"));
    }

    fn read_failed(&mut self, read: &'static str, error: &ApiError, level: Level) {
        if error.class() == Some(Class::CustomerGone) {
            return self.skip(read, "the customer went while it was looked at");
        }
        use TroubleKind::{AccessRefused, CredentialRefused};
        let refused = matches!(
            error.kind(),
            Kind::Outage(CredentialRefused | AccessRefused) | Kind::SafetyStop | Kind::Refused(_)
        );
        let outcome = if refused { "refused" } else { "failed" };
        self.reads.insert(read.to_owned(), json!(outcome));
        let remedy = remedy(error, &self.config.api_base);
        self.note_with(read, level, format!("{read} cannot be read: {error}"), remedy);
    }

    fn failed(&mut self, check: &'static str, error: &ApiError, address: &url::Url) {
        self.note_with(check, Level::Bad, error, remedy(error, address));
    }
}

fn count(items: usize, customer: TenantId) -> String {
    format!("{items} of customer {customer}")
}

/// Whether an answer came, whatever it said.
fn was_answered(error: &ApiError) -> bool {
    error.exchange().is_some_and(|exchange| exchange.status.is_some())
}

/// What to do about a call that failed.
fn remedy(error: &ApiError, address: &url::Url) -> String {
    match error.kind() {
        Kind::Outage(TroubleKind::Unreachable) if !was_answered(error) => format!(
            "check the network, DNS and firewall between this machine and {address}, and that cloud, \
             api_base and authority are right"
        ),
        Kind::Outage(TroubleKind::Unreachable | TroubleKind::CustomersUnreadable)
        | Kind::Transient
        | Kind::Store => {
            "try again in a few minutes; see Microsoft's service health if it stays".to_owned()
        }
        Kind::Throttled { until } => format!("try again after {until:.0}"),
        Kind::Outage(TroubleKind::CredentialRefused) => {
            "check client_id, partner_tenant and credential against the app registration; renew what \
             has expired"
                .to_owned()
        }
        Kind::SafetyStop => {
            "do not go on: check that partner_tenant is the one of the integration sandbox".to_owned()
        }
        Kind::CustomerGone
        | Kind::Refused(_)
        | Kind::Outage(TroubleKind::AccessRefused) => {
            "register the app in the app management of the sandbox account's Partner Center, and read \
             Microsoft's text for the role or agreement that is missing"
                .to_owned()
        }
    }
}
