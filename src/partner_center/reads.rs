//! The reads of one customer. `Seen::at` is when the first request was sent: what was read may be
//! that old.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::calls::{
    self, AUDIT_RECORDS, AZURE_ENTITLEMENT, AZURE_ENTITLEMENTS, CUSTOMER, Call, ENTITLEMENTS,
    LEGAL_BUSINESS, ORDER, ORDERS, SUBSCRIPTION, SUBSCRIPTIONS,
};
use super::client::{Answered, Client};
use super::decode::{self, Damaged, LegalBusinessProfile};
use super::entitled::Entitled;
use super::error::ApiError;
use crate::core::budget::{Bucket, Resource};
use crate::core::fault::{Class, Fault};
use crate::core::ids::TenantId;
use crate::core::inventory::{AzureEntitlement, Entitlement, Order, Subscription};
use crate::core::observation::{CustomerSeen, Seen};
use crate::core::settlement;

/// "No app-only here" (kvamseek/partner-center, `error-codes.md`).
const NO_APP_ONLY: &str = "900329";
/// An app that may not ask for entitlements asks again after this long.
const ENTITLEMENTS_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// Partner Center keeps its audit log for 90 days
/// (kvamseek/partner-center, `get-a-record-of-partner-center-activity-by-user.md`).
const AUDIT_LOG_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

impl Client {
    /// The customer by id. A fault of Partner Center's own that says there is none, or no
    /// relationship with it, is [`CustomerSeen::Gone`], and so is any other 404 of its own.
    ///
    /// # Errors
    /// Anything else, also the bare 404 of a gateway (invariant 8).
    pub async fn customer(&self, tenant: TenantId) -> Result<Seen<CustomerSeen>, ApiError> {
        let bucket = Bucket::of_customer(Resource::Customer, tenant);
        let path = ["customers", &tenant.to_string()];
        let Read { answered, result } = self.resource(CUSTOMER, bucket, &path).await?;
        let fact = match result {
            Ok(value) => {
                CustomerSeen::Present(decoded(&answered, &value, decode::listed_customer)?)
            }
            Err(fault) if settlement::is_gone(&fault) => CustomerSeen::gone(fault, true),
            Err(fault) if settlement::may_be_gone(&fault) => CustomerSeen::gone(fault, false),
            Err(fault) => return Err(ApiError::fault(answered.exchange, fault)),
        };
        Ok(answered.seen(fact))
    }

    /// Every order of a customer. New orders may take 15 minutes to appear.
    ///
    /// # Errors
    /// When the list could not be read whole.
    pub async fn orders(&self, tenant: TenantId) -> Result<Seen<Vec<Order>>, ApiError> {
        let path = ["customers", &tenant.to_string(), "orders"];
        let bucket = Bucket::of_customer(Resource::Order, tenant);
        self.items(ORDERS, bucket, &path, decode::order).await
    }

    /// One order; `None` when there is none of that id (404 with code 20000 or 3000).
    ///
    /// # Errors
    /// When it could not be read.
    pub async fn order(&self, tenant: TenantId, id: &str) -> Result<Seen<Option<Order>>, ApiError> {
        let path = ["customers", &tenant.to_string(), "orders", id];
        let same = |order: &Order| {
            let alternate = order.alternate_id.as_deref().unwrap_or_default();
            order.id.eq_ignore_ascii_case(id) || alternate.eq_ignore_ascii_case(id)
        };
        let bucket = Bucket::of_customer(Resource::Order, tenant);
        self.optional(ORDER, bucket, &path, ("order", "20000"), decode::order, same).await
    }

    /// Every subscription of a customer.
    ///
    /// # Errors
    /// When the list could not be read whole.
    pub async fn subscriptions(
        &self,
        tenant: TenantId,
    ) -> Result<Seen<Vec<Subscription>>, ApiError> {
        let path = ["customers", &tenant.to_string(), "subscriptions"];
        let bucket = Bucket::of_customer(Resource::Subscription, tenant);
        self.items(SUBSCRIPTIONS, bucket, &path, decode::subscription).await
    }

    /// One subscription; `None` when there is none of that id (404 with code 20003 or 3000).
    ///
    /// # Errors
    /// When it could not be read.
    pub async fn subscription(
        &self,
        tenant: TenantId,
        id: &str,
    ) -> Result<Seen<Option<Subscription>>, ApiError> {
        let path = ["customers", &tenant.to_string(), "subscriptions", id];
        let bucket = Bucket::of_customer(Resource::Subscription, tenant);
        let same = |read: &Subscription| read.id.eq_ignore_ascii_case(id);
        let none = ("subscription", "20003");
        self.optional(SUBSCRIPTION, bucket, &path, none, decode::subscription, same).await
    }

    /// The Azure subscriptions under an Azure plan, named by the id of the plan's subscription.
    ///
    /// # Errors
    /// When the list could not be read whole.
    pub async fn azure_entitlements(
        &self,
        tenant: TenantId,
        subscription: &str,
    ) -> Result<Seen<Vec<AzureEntitlement>>, ApiError> {
        let bucket = Bucket::of_customer(Resource::Subscription, tenant);
        let tenant = tenant.to_string();
        let path = ["customers", &tenant, "subscriptions", subscription, "azureEntitlements"];
        let decode = decode::azure_entitlement;
        self.items(AZURE_ENTITLEMENTS, bucket, &path, decode).await
    }

    /// One Azure subscription under an Azure plan; `None` when it cannot be read by itself. The page
    /// of this read prints another method than GET, so that 404 and 405 say nothing of the Azure
    /// subscription.
    ///
    /// # Errors
    /// When it could not be read for any other reason.
    pub async fn azure_entitlement(
        &self,
        tenant: TenantId,
        subscription: &str,
        id: &str,
    ) -> Result<Seen<Option<AzureEntitlement>>, ApiError> {
        let path = [
            "customers",
            &tenant.to_string(),
            "subscriptions",
            subscription,
            "azureEntitlements",
            id,
        ];
        let bucket = Bucket::of_customer(Resource::Subscription, tenant);
        let Read { answered, result } = self.resource(AZURE_ENTITLEMENT, bucket, &path).await?;
        let is_customer = |fault: &Fault| settlement::classify(fault) == Class::CustomerGone;
        let fact = match result {
            Ok(value) => Some(decoded(&answered, &value, decode::azure_entitlement)?),
            Err(fault) if matches!(fault.status, 404 | 405) && !is_customer(&fault) => None,
            Err(fault) => return Err(ApiError::fault(answered.exchange, fault)),
        };
        demand_same(&answered, fact, |read| read.id.eq_ignore_ascii_case(id))
    }

    /// Every entitlement of a customer, included ones beside those that include them. `None` when
    /// the API does not give them to an app without a user: its pages conflict on that. They are
    /// then not asked for again for a day, and the inventory rests on orders and subscriptions.
    ///
    /// # Errors
    /// When the list could not be read whole for any other reason.
    pub async fn entitlements(
        &self,
        tenant: TenantId,
    ) -> Result<Seen<Option<Vec<Entitlement>>>, ApiError> {
        let asked_at = self.wire.clock.now();
        if self.may_not_ask(asked_at).await? {
            return Ok(Seen::at_once(None, asked_at));
        }
        let path = ["customers", &tenant.to_string(), "entitlements"];
        let bucket = Bucket::of_customer(Resource::Customer, tenant);
        match self.items(ENTITLEMENTS, bucket, &path, decode::entitlement).await {
            Ok(Seen { fact, at, took }) => {
                let given = Entitled { known: true, given_at: Some(at), ..Entitled::default() };
                if self.entitled(|held| std::mem::replace(held, given)).refused_at.is_some() {
                    self.note_entitlements(None).await;
                }
                Ok(Seen { fact: Some(fact.into_iter().flatten().collect()), at, took })
            }
            Err(error) if self.is_refusal_of_app(tenant, &error) => {
                tracing::warn!(
                    account = %self.wire.account, %error,
                    "entitlements are refused to this credential: going by orders and subscriptions",
                );
                self.entitled(|entitled| entitled.refused_at = Some(asked_at));
                self.note_entitlements(Some(asked_at)).await;
                Ok(Seen::at_once(None, asked_at))
            }
            Err(error) => Err(error),
        }
    }

    /// The partner's own legal business profile.
    ///
    /// # Errors
    /// When it could not be read.
    pub async fn legal_business_profile(&self) -> Result<Seen<LegalBusinessProfile>, ApiError> {
        let path = ["profiles", "legalbusiness"];
        let bucket = Bucket::of_account(Resource::Customer);
        let Read { answered, result } = self.resource(LEGAL_BUSINESS, bucket, &path).await?;
        let value = result.map_err(|fault| ApiError::fault(answered.exchange, fault))?;
        if decode::carries_error(&value) {
            let fault = answered.fault_in_success(&value);
            return Err(ApiError::fault(answered.exchange, fault));
        }
        let fact = decoded(&answered, &value, decode::legal_business)?;
        Ok(answered.seen(fact))
    }

    /// Whether the account's audit log knows a customer that was deleted as an integration
    /// sandbox deletes them: that operation has a name of its own there (kvamseek/partner-center,
    /// `auditing-resources.md`; records are kept for 90 days). A hint, and no proof.
    ///
    /// # Errors
    /// When the log could not be read.
    pub async fn has_deleted_as_a_sandbox(&self) -> Result<bool, ApiError> {
        let mut url = self.address(AUDIT_RECORDS, &["auditrecords"])?;
        let since = self.wire.clock.wall().checked_sub(AUDIT_LOG_KEPT).unwrap_or_default();
        let day = since.strftime("%Y-%m-%d").to_string();
        url.query_pairs_mut().append_pair("startDate", &day);
        let bucket = Bucket::of_account(Resource::Customer);
        let listing = self.list(AUDIT_RECORDS, bucket, url).await?;
        Ok(listing.items.iter().any(decode::is_deletion_in_a_sandbox))
    }

    /// Whether entitlements were refused to this app within a day.
    async fn may_not_ask(&self, now: Timestamp) -> Result<bool, ApiError> {
        if !self.entitled(|entitled| entitled.known) {
            let refused_at = self.ledger.no_entitlements_at().await.map_err(ApiError::Ledger)?;
            self.entitled(|entitled| {
                entitled.known = true;
                entitled.refused_at = entitled.refused_at.or(refused_at);
            });
        }
        let refused_at = self.entitled(|entitled| entitled.refused_at);
        let since = refused_at.map(|at| Duration::try_from(now.duration_since(at)));
        Ok(since.is_some_and(|since| since.unwrap_or_default() < ENTITLEMENTS_PAUSE))
    }

    async fn note_entitlements(&self, refused_at: Option<Timestamp>) {
        if let Err(text) = self.ledger.note_entitlements(refused_at).await {
            tracing::warn!(account = %self.wire.account, text, "the right to entitlements was not noted");
        }
    }

    fn entitled<T>(&self, change: impl FnOnce(&mut Entitled) -> T) -> T {
        change(&mut self.entitled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the API refuses entitlements to an app without a user: code 900329, or the same refusal
    /// to two tenants with none given in between, nor to a request sent later than they were. Which of
    /// them really comes is not documented. What one tenant meets alone concerns that one: the
    /// cross-check of all others must not be lost by it.
    fn is_refusal_of_app(&self, tenant: TenantId, error: &ApiError) -> bool {
        let (fault, refuses) = match error {
            ApiError::Unauthorized { fault, .. } => (fault, true),
            ApiError::Fault { fault, class, .. } => {
                let refuses = matches!(
                    class,
                    Class::Permanent | Class::OtherRoute | Class::Unknown | Class::Access
                );
                (fault, refuses && fault.status == 403 && fault.structured)
            }
            _ => return false,
        };
        if !refuses {
            return false;
        }
        let (status, code) = (fault.status, &fault.code);
        let sent_at = error.exchange().and_then(|exchange| exchange.sent).map(|sent| sent.at);
        self.entitled(|entitled| {
            if code.as_deref() != Some(NO_APP_ONLY) && sent_at <= entitled.given_at {
                return false;
            }
            let also = entitled.refused.replace((tenant, status, code.clone()));
            code.as_deref() == Some(NO_APP_ONLY)
                || also.is_some_and(|(other, of, with)| {
                    other != tenant && of == status && with == *code
                })
        })
    }

    /// Reads a list whole and decodes each item; one that cannot be decoded damages the list.
    async fn items<T>(
        &self,
        call: Call,
        bucket: Bucket,
        path: &[&str],
        decode: impl Fn(&Value) -> Result<T, Damaged>,
    ) -> Result<Seen<Vec<T>>, ApiError> {
        let url = self.address(call, path)?;
        let listing = self.list(call, bucket, url).await.map_err(ApiError::of_a_customer_s_list)?;
        let fact = listing.items.iter().map(decode).collect::<Result<_, _>>();
        let fact = fact.map_err(|damage| listing.last.damaged(damage))?;
        Ok(Seen { fact, at: listing.at, took: listing.took })
    }

    /// Reads a resource that may not be there, which a 404 with a code of its own says, or one that
    /// names such a thing. An answer about another one than was asked for is refused.
    async fn optional<T>(
        &self,
        call: Call,
        bucket: Bucket,
        path: &[&str],
        (thing, its_code): (&str, &str),
        decode: impl Fn(&Value) -> Result<T, Damaged>,
        same: impl Fn(&T) -> bool,
    ) -> Result<Seen<Option<T>>, ApiError> {
        let Read { answered, result } = self.resource(call, bucket, path).await?;
        let fact = match result {
            Ok(value) => Some(decoded(&answered, &value, decode)?),
            Err(fault) if settlement::is_no_such(&fault, thing, its_code) => None,
            Err(fault) => return Err(ApiError::fault(answered.exchange, fault)),
        };
        demand_same(&answered, fact, same)
    }

    /// Reads one resource: its JSON, or the fault that came instead.
    async fn resource(&self, call: Call, bucket: Bucket, path: &[&str]) -> Result<Read, ApiError> {
        let url = self.address(call, path)?;
        let answered = self.get(call, bucket, &url, None).await?;
        let result = match json_of_200(&answered) {
            Ok(value) => Ok(value),
            Err(ApiError::Fault { fault, .. }) => Err(fault),
            Err(error) => return Err(error),
        };
        Ok(Read { answered, result })
    }

    fn address(&self, call: Call, path: &[&str]) -> Result<Url, ApiError> {
        calls::address(&self.base, path).map_err(|damage| ApiError::damaged(call, damage))
    }
}

/// One resource, as read.
struct Read {
    answered: Answered,
    /// Its JSON, or the fault that came instead.
    result: Result<Value, Fault>,
}

/// The body of a 200. Every other 2xx is no answer to a read, and everything else is a fault.
pub(super) fn json_of_200(answered: &Answered) -> Result<Value, ApiError> {
    match answered.response.status {
        200 => decode::json(&answered.response.body).map_err(|damage| answered.damaged(damage)),
        status @ 201..=299 => {
            Err(answered.damaged(Damaged(format!("HTTP {status} instead of 200"))))
        }
        _ => Err(ApiError::fault(answered.exchange, answered.fault())),
    }
}

/// Refuses an answer about another resource than was asked for.
fn demand_same<T>(
    answered: &Answered,
    fact: Option<T>,
    same: impl Fn(&T) -> bool,
) -> Result<Seen<Option<T>>, ApiError> {
    if fact.as_ref().is_none_or(same) {
        return Ok(answered.seen(fact));
    }
    Err(answered.damaged(Damaged::new("it is about another resource than was asked for")))
}

/// Decodes a resource. A 200 without one that carries an error code is that fault.
fn decoded<T>(
    answered: &Answered,
    value: &Value,
    decode: impl Fn(&Value) -> Result<T, Damaged>,
) -> Result<T, ApiError> {
    decode(value).map_err(|damage| {
        if decode::carries_error(value) {
            ApiError::fault(answered.exchange, answered.fault_in_success(value))
        } else {
            answered.damaged(damage)
        }
    })
}
