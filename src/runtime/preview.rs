//! A look at one tenant without touching it: the same reads and judgements as a pass, and nothing
//! committed.

use jiff::Timestamp;

use super::account::AccountRuntime;
use super::observe::observe;
use crate::core::assess::{self, Assessment};
use crate::core::gates;
use crate::core::ids::TenantId;
use crate::core::observation::{CustomerSeen, Observation, Read};
use crate::core::reason::Reason;
use crate::partner_center::ApiError;

/// What would become of a tenant.
#[derive(Debug)]
pub struct Preview {
    /// What was read.
    pub seen: Observation,
    /// The purchases; `None` if the customer is not there.
    pub assessment: Option<Assessment>,
    /// The guard that would refuse every write.
    pub objection: Option<(Reason, String)>,
}

/// Looks. Sends only GET requests.
///
/// # Errors
/// When something could not be read whole.
pub async fn preview(account: &AccountRuntime, tenant: TenantId) -> Result<Preview, ApiError> {
    let mut seen = Observation::default();
    let first = vec![Read::Customer, Read::Census { not_before: Timestamp::MIN }];
    observe(&account.client, tenant, first, &mut seen).await?;
    let gone = seen.customer.as_ref().is_some_and(|c| matches!(c.fact, CustomerSeen::Gone { .. }));
    if !gone {
        let lists = vec![Read::Orders, Read::Subscriptions, Read::Entitlements];
        observe(&account.client, tenant, lists, &mut seen).await?;
        loop {
            let mut rest = assess::follow_up_reads(&seen);
            rest.retain(|read| seen.read_at(read).is_none());
            if rest.is_empty() {
                break;
            }
            observe(&account.client, tenant, rest, &mut seen).await?;
        }
    }
    let safety = account.rules.safety.get();
    let by_form = gates::admit_locally(tenant, None, &safety)
        .err()
        // Which domain is expected is said at the enqueue.
        .filter(|(guard, _)| *guard != Reason::DomainRequired);
    let by_api = seen.census.as_ref().and_then(|census| {
        gates::object(tenant, None, &census.fact, seen.customer.as_ref(), &safety)
    });
    Ok(Preview { assessment: assess::assess(&seen), objection: by_form.or(by_api), seen })
}
