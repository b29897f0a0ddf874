//! Stable reason codes: why a teardown waits, is held or failed, each with what to do about it.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $remedy:literal;)*) => {
        /// Why a teardown does not move. Codes are stable: they stand in the database, in JSON, in
        /// metrics and in the docs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $code)] $variant,)*
        }

        impl Reason {
            /// Every reason, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// One sentence on what an operator can do.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }

            /// Whether it is an outage of the account.
            pub const fn is_outage(self) -> bool {
                matches!(
                    self,
                    Self::AccountUnreachable
                        | Self::CredentialRefused
                        | Self::AccessRefused
                        | Self::CustomersUnreadable
                )
            }
        }
    };
}

reasons! {
    // Waiting: nobody is needed.
    /// Cancellations were accepted; their goals are awaited.
    CancellationPending = "cancellation_pending",
        "Nothing to do: the purchases are being cancelled and are read again at next_attempt_at.";
    /// A purchase is still being created or changed by Partner Center.
    PurchasePending = "purchase_pending",
        "Nothing to do: Partner Center is still working on a purchase; it is cancelled as soon as it can be.";
    /// DELETE was accepted; the proof that the customer is gone is awaited.
    ProofPending = "proof_pending",
        "Nothing to do: the customer is read again until it is provably gone.";
    /// The latest step failed and is tried again with backoff.
    RetryBackoff = "retry_backoff",
        "Nothing to do yet: the step is tried again at next_attempt_at; `teardownd history` shows the answers.";
    /// A 429 closed the account for a while.
    Throttled = "throttled",
        "Nothing to do: it goes on when the Retry-After has passed, or the request budget has room.";
    /// Partner Center cannot be reached or answers 5xx across tenants.
    AccountUnreachable = "account_unreachable",
        "Check the network and Microsoft's service health; the account is probed once a minute and goes on by itself.";
    /// The account's credential is refused.
    CredentialRefused = "credential_refused",
        "Renew the account's credential; `teardownd check` shows Microsoft's text. A changed secret file is tried at once, and the account goes on by itself.";
    /// Microsoft refuses the partner itself, whichever customer is asked for.
    AccessRefused = "access_refused",
        "Read Microsoft's text with `teardownd check`: the app lacks a role, or the partner an agreement or a programme. It is tried every five minutes, and the account goes on by itself.";
    /// The account's customer list cannot be read whole.
    CustomersUnreadable = "customers_unreadable",
        "Nothing to do at first: the customer list is read again once a minute. If it stays, keep the text and ask Microsoft.";
    /// The account, or everything, is paused.
    Paused = "paused",
        "Run `teardownd resume` when work may go on.";
    /// The account is halted by a safety stop.
    Halted = "halted",
        "Find out why with `teardownd why TENANT`; only a person may lift a halt.";
    /// Hourly deletion cap reached.
    CapHour = "cap_hour",
        "Nothing to do: the next deletion is allowed when the oldest of the last hour has aged out; see safety.max_deletions_per_hour.";
    /// Daily deletion cap reached.
    CapDay = "cap_day",
        "Nothing to do: the next deletion is allowed when the oldest of the last day has aged out; see safety.max_deletions_per_day.";
    /// The account's first write, reservation cancel or DELETE is out alone.
    Canary = "canary",
        "Nothing to do: the account's first step of its kind goes out alone, and the others follow once it is accepted.";
    /// Another command on the same resource is unsettled.
    ResourceBusy = "resource_busy",
        "Nothing to do: another command on the same resource is being settled first.";
    /// `safety.grace` has not passed since the enqueue.
    Grace = "grace",
        "Nothing to do: the first write waits for safety.grace; use `teardownd abort` if it must not happen.";
    /// No window of `safety.windows` is open.
    Window = "window",
        "Nothing to do: writes go on when the next window of safety.windows opens.";
    /// `--not-before` lies ahead.
    NotBefore = "not_before",
        "Nothing to do: the teardown starts at its --not-before time.";
    /// Facts read from the API grew too old to act on.
    StaleFacts = "stale_facts",
        "Nothing to do: the facts are read again before anything is written.";
    /// `safety.dry_run` keeps every write inside the process.
    DryRun = "dry_run",
        "Set safety.dry_run to false when the plan is what you want.";

    // Held: a person is needed.
    /// An operator's `hold`.
    Operator = "operator",
        "Run `teardownd release TENANT` when work may go on.";
    /// Guard: a stored command is not what is derived from its action, tenant and resource.
    ForgedCommand = "forged_command",
        "Somebody wrote to the table commands: it was not sent and is settled. Find out who; then run `teardownd release TENANT` to go on without it, or `teardownd abort TENANT`.";
    /// Guard: a row of the database cannot be read.
    DamagedRow = "damaged_row",
        "A row cannot be read: put the column named in the text right by SQL, or restore a copy; then run `teardownd release TENANT`.";
    /// Guard: the configuration knows no such account.
    UnknownAccount = "unknown_account",
        "Add the account to the configuration, or abort and enqueue again with --account.";
    /// Guard: the account is not declared a sandbox.
    NotSandbox = "not_sandbox",
        "Only if the account really is an integration sandbox: set accounts.NAME.sandbox = true, then release.";
    /// Guard: the tenant is the partner's own.
    OwnTenant = "own_tenant",
        "Never tear down the partner's own tenant: abort this teardown.";
    /// Guard: the tenant is protected.
    ProtectedTenant = "protected_tenant",
        "The tenant is protected by safety.protected_tenants or `teardownd protect`: abort; or take it off that list, or `teardownd unprotect` it, and release.";
    /// Guard: the domain is protected.
    ProtectedDomain = "protected_domain",
        "The domain is protected by safety.protected_domains or `teardownd protect`: abort; or take it off that list, or `teardownd unprotect` it, and release.";
    /// Guard: the domain does not match `allow_domains`.
    DomainNotAllowed = "domain_not_allowed",
        "Add a pattern for the domain to safety.allow_domains if the tenant is meant, then release; else abort.";
    /// Guard: the domain read differs from the one the operator named.
    DomainMismatch = "domain_mismatch",
        "The tenant has another domain than --domain said: look which tenant was meant, then abort or enqueue again.";
    /// Guard: `require_domain` is on and none was given.
    DomainRequired = "domain_required",
        "Enqueue again with --domain: safety.require_domain is on.";
    /// Guard: the relationship to the partner is not `reseller`.
    NotReseller = "not_reseller",
        "The partner is not the customer's reseller any more: check the customer in Partner Center, then release or abort.";
    /// Guard: the API answered with another customer than was asked for.
    CustomerMismatch = "customer_mismatch",
        "The API answered with another customer: keep the answer shown by `teardownd history` and ask Microsoft.";
    /// Guard: the account's complete customer list does not hold the tenant.
    NotInCustomerList = "not_in_customer_list",
        "The account's customer list lacks the tenant: check the account; release to look again.";
    /// Guard: the account has more customers than a sandbox can hold.
    TooManyCustomers = "too_many_customers",
        "This does not look like a sandbox: check partner_tenant and customers_limit before anything else.";
    /// Guard: the account was not armed, or is another than was armed.
    Arming = "arming",
        "Look at the account with `teardownd arm --account NAME`, which arms it once its name is typed.";
    /// Guard: nobody whose word counts has approved the teardown.
    Approval = "approval",
        "Look at `teardownd plan TENANT`, then run `teardownd approve TENANT`; or abort.";
    /// Guard: something is active that was not there when the teardown was approved.
    PlanDrift = "plan_drift",
        "Look at the purchases named in the text, then run `teardownd approve TENANT` again; or abort.";
    /// Guard: too large a share of the account's customers is queued at once.
    LargeBatch = "large_batch",
        "Make sure that so many are meant, then run `teardownd approve` for them; or abort.";

    // Failed: stopped unless retried.
    /// The customer was never seen.
    CustomerNotFound = "customer_not_found",
        "Check the tenant id and the account: no customer of that id was ever seen there.";
    /// The customer was seen, and then gone without a DELETE of ours.
    CustomerVanished = "customer_vanished",
        "Somebody else removed the customer: nothing is left to do unless `teardownd retry` should look again.";
    /// A purchase cannot be cancelled by the API.
    BlockedUncancellable = "blocked_uncancellable",
        "Cancel the purchases named in the text by hand or with Microsoft's support, then run `teardownd retry`; with --try-anyway it finds out what the API says.";
    /// An order waits for the upload of a purchase order document.
    PoUploadRequired = "po_upload_required",
        "Upload the purchase order document of the orders named in the text in Partner Center, or have Microsoft's support cancel them, then run `teardownd retry`; with --try-anyway it finds out what the API says.";
    /// Software as a service stays active although its cancellation was accepted.
    SaasStaysActive = "saas_stays_active",
        "Past its window such a subscription runs on until its renewal: cancel it in Partner Center or with its publisher, or wait for the renewal; then run `teardownd retry`.";
    /// A purchase of a kind this version knows no route for.
    UnknownProduct = "unknown_product",
        "Cancel the purchases named in the text by hand, then run `teardownd retry`; please report the product.";
    /// The API refused a cancellation for good.
    ApiRefused = "api_refused",
        "Read Microsoft's text, remove its cause (role, agreement, purchase), then run `teardownd retry`.";
    /// DELETE was refused although nothing active can be seen.
    DeleteRefused = "delete_refused",
        "Read Microsoft's text, remove its cause, then run `teardownd retry`.";
    /// DELETE was refused in too many rounds.
    RoundsExhausted = "rounds_exhausted",
        "Purchases keep coming back: find out who or what reactivates them, then run `teardownd retry`.";
    /// Too many consecutive failures of the tenant's own step.
    AttemptsExhausted = "attempts_exhausted",
        "See the latest answers in `teardownd history`, remove the cause, then run `teardownd retry`.";
    /// The deadline of eligible time passed.
    DeadlineExceeded = "deadline_exceeded",
        "See what it waited for in `teardownd why`, then run `teardownd retry` for another deadline.";

    // Moves that carry a reason in the history.
    /// Queued anew by an operator.
    Retry = "retry",
        "Nothing to do.";
    /// Stopped by an operator.
    Aborted = "aborted",
        "Enqueue the tenant again if it is to be torn down after all.";
    /// A purchase appeared or came back while waiting.
    PurchaseActive = "purchase_active",
        "Nothing to do: the purchase is cancelled too.";
    /// Nothing active is left.
    NothingActive = "nothing_active",
        "Nothing to do.";
    /// Proven gone.
    ProvenGone = "proven_gone",
        "Nothing to do.";
}

/// What a reason says of the teardown that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonKind {
    /// It waits; nobody is needed.
    Waiting,
    /// It is held; a person is needed.
    Held,
    /// It has failed.
    Failed,
    /// It has moved: such a reason stands in the history only.
    Moved,
}

impl Reason {
    /// What it says. The list above is in the order of these kinds.
    pub const fn kind(self) -> ReasonKind {
        let place = self as usize;
        if place < Self::Operator as usize {
            ReasonKind::Waiting
        } else if place < Self::CustomerNotFound as usize {
            ReasonKind::Held
        } else if place < Self::Retry as usize {
            ReasonKind::Failed
        } else {
            ReasonKind::Moved
        }
    }

    /// The reason of a stored code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == code)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
