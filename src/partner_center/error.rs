//! Why a call brought no fact.

use std::time::Duration;

use jiff::Timestamp;

use super::calls::{CUSTOMERS, Call, ENTITLEMENTS};
use super::decode::Damaged;
use super::exchange::Exchange;
use super::transport::TransportError;
use crate::core::account::TroubleKind;
use crate::core::fault::{Class, FailedCall, Fault, Kept};
use crate::core::ids::TenantId;
use crate::core::settlement;

/// Why a call brought no fact. None of the texts holds a token, a secret or an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No whole answer came.
    #[error("{exchange}: {error}")]
    Transport {
        /// The request.
        exchange: Box<Exchange>,
        /// What happened.
        error: TransportError,
    },
    /// An answer came that cannot be used: cut off, foreign, or not what was asked for (invariant 6).
    #[error("{exchange}: the answer cannot be used: {what}")]
    Damaged {
        /// The request.
        exchange: Box<Exchange>,
        /// What is wrong with it.
        what: String,
        /// The answer, where it is at hand.
        kept: Box<Kept>,
    },
    /// Partner Center, or something before it, answered with a fault.
    #[error("{exchange}: {fault}")]
    Fault {
        /// The request.
        exchange: Box<Exchange>,
        /// The fault.
        fault: Fault,
        /// What is to be done about it.
        class: Class,
    },
    /// 401, for a read also with a new token.
    #[error("{exchange}: the token was refused: {fault}{}", advice(fault))]
    Unauthorized {
        /// The request.
        exchange: Box<Exchange>,
        /// The fault.
        fault: Fault,
    },
    /// No token can be had: the secret cannot be read, or Entra refuses it.
    #[error("{text}")]
    Credential {
        /// What is wrong and what to do, or Entra's text.
        text: String,
        /// Entra's `error_codes`.
        codes: Vec<i64>,
        /// The request that Entra refused; `None` where none was sent.
        exchange: Option<Box<Exchange>>,
    },
    /// The token endpoint issued a token of another tenant. It was thrown away (invariant 1).
    #[error(
        "the token endpoint issued a token for tenant {found} instead of partner_tenant {expected}; it was not used: check authority and partner_tenant"
    )]
    ForeignToken {
        /// The configured partner tenant.
        expected: TenantId,
        /// The token's tenant.
        found: TenantId,
        /// The request that brought it.
        exchange: Box<Exchange>,
    },
    /// The token endpoint issued something whose tenant cannot be told. It was thrown away
    /// (invariant 1).
    #[error("the token endpoint issued a token that cannot be used: {why}; check authority")]
    UnusableToken {
        /// What is wrong with it.
        why: String,
        /// The request that brought it.
        exchange: Box<Exchange>,
    },
    /// Nothing may be sent before then: a 429 closed the account, or its request budget is used up.
    #[error("nothing may be sent before {until}, by a 429 or by the request budget")]
    Throttled {
        /// When it is worth another try.
        until: Timestamp,
        /// The 429, if this call was answered with it; without one, nothing was sent.
        fault: Option<Box<Fault>>,
        /// The request that was answered with it.
        exchange: Option<Box<Exchange>>,
    },
    /// What another call of the account failed with, while this one waited for what it would bring: a
    /// token or the customer list.
    #[error(transparent)]
    Shared(Box<Self>),
    /// The books of the request budget cannot be written, so nothing may be sent.
    #[error("the request budget cannot be booked: {0}")]
    Ledger(String),
    /// The caller took back the right to send at the last moment: nothing was sent.
    #[error("nothing was sent: the right to send it had ended")]
    Withheld,
}

/// The remedy for a refused token, for the codes whose cause is known (kvamseek/partner-center,
/// `error-codes.md`; for 900421 cloudcockpit.com and tagydes.com on the enforcement of MFA).
fn advice(fault: &Fault) -> &'static str {
    match fault.code.as_deref() {
        Some("900420") => {
            "; the token is meant for another API or was had in a way that is no longer taken: sign in \
             again with multifactor authentication and put the new refresh token in place; check \
             api_base and cloud where the app has no user"
        }
        Some("900421") => {
            "; Partner Center wants multifactor authentication: sign in again with it and put the new \
             refresh token in place of the old one"
        }
        _ => "",
    }
}

/// Whom an error concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A passing failure of this tenant's call.
    Transient,
    /// Perhaps the whole account's outage; certainly, where the call names no tenant.
    Outage(TroubleKind),
    /// The whole account waits until then; spends no attempt.
    Throttled {
        /// When it is worth another try.
        until: Timestamp,
    },
    /// Our own books failed: nothing was sent.
    Store,
    /// The customer, or the relationship with it, is gone: read it by id.
    CustomerGone,
    /// The API refuses the call, for now or for good: the machine says what that means.
    Refused(Fault),
    /// The whole account must be halted (invariants 1 and 2).
    SafetyStop,
}

impl ApiError {
    /// Nothing was sent, and nothing may be before then.
    pub(super) fn held_back(until: Timestamp) -> Self {
        Self::Throttled { until, fault: None, exchange: None }
    }

    pub(super) fn damaged(exchange: impl Into<Exchange>, Damaged(what): Damaged) -> Self {
        Self::Damaged { exchange: Box::new(exchange.into()), what, kept: Box::default() }
    }

    /// Whether the connection was closed before anything of an answer came.
    pub(super) fn connection_was_closed(&self) -> bool {
        matches!(self, Self::Transport { error: TransportError::Closed(_), .. })
    }

    /// The same failure, for those who only waited for what the call would bring.
    pub(super) fn shared(self) -> Self {
        if self.is_shared() { self } else { Self::Shared(Box::new(self)) }
    }

    /// Whether nothing of this call's own failed. Many share one failure, and it counts once.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    pub(super) fn fault(exchange: impl Into<Exchange>, fault: Fault) -> Self {
        let class = settlement::classify(&fault);
        Self::Fault { exchange: Box::new(exchange.into()), fault, class }
    }

    /// The failure of reading a list below a customer. A list has no id of its own that could be
    /// missing: what is not there is the customer, unless the fault names another thing. Reading the
    /// customer itself will tell.
    pub(super) fn of_a_customer_s_list(self) -> Self {
        match self {
            Self::Fault { exchange, fault, .. } if settlement::is_of_a_missing_customer(&fault) => {
                Self::Fault { exchange, fault, class: Class::CustomerGone }
            }
            other => other,
        }
    }

    /// A 401. A safety stop is one under this status too.
    pub(super) fn refused_token(exchange: Exchange, fault: Fault) -> Self {
        if settlement::classify(&fault) == Class::SafetyStop {
            return Self::fault(exchange, fault);
        }
        Self::Unauthorized { exchange: Box::new(exchange), fault }
    }

    /// The request that failed, where one was sent.
    pub fn exchange(&self) -> Option<Exchange> {
        self.meant().filter(|exchange| exchange.sent.is_some())
    }

    /// The request that failed, also where nothing was sent of it.
    fn meant(&self) -> Option<Exchange> {
        match self {
            Self::Transport { exchange, .. }
            | Self::Damaged { exchange, .. }
            | Self::Fault { exchange, .. }
            | Self::Unauthorized { exchange, .. }
            | Self::ForeignToken { exchange, .. }
            | Self::UnusableToken { exchange, .. } => Some(**exchange),
            Self::Credential { exchange, .. } | Self::Throttled { exchange, .. } => {
                exchange.as_deref().copied()
            }
            Self::Shared(error) => error.meant(),
            Self::Ledger(_) | Self::Withheld => None,
        }
    }

    /// The call of the API that failed. A token is part of every call and of none.
    pub fn call(&self) -> Option<Call> {
        self.meant().map(|exchange| exchange.call).filter(|call| !call.is_token())
    }

    /// Whether the call names no tenant, so that its failure is the account's.
    pub fn is_account_wide(&self) -> bool {
        match self {
            Self::Shared(error) => error.is_account_wide(),
            Self::Credential { .. } | Self::ForeignToken { .. } | Self::UnusableToken { .. } => {
                true
            }
            _ => self.meant().is_some_and(|exchange| exchange.call.is_account_wide()),
        }
    }

    /// Whether a repetition can tell nothing new: the credential itself was refused, or is not there.
    pub fn is_decisive(&self) -> bool {
        match self {
            Self::Shared(error) => error.is_decisive(),
            Self::Credential { .. } | Self::UnusableToken { .. } => true,
            _ => false,
        }
    }

    /// For how long a 5xx asked to be left alone.
    pub fn retry_after(&self) -> Duration {
        self.meant().and_then(|exchange| exchange.retry_after).unwrap_or_default()
    }

    /// What is to be stored of the failure; `None` where nothing was sent.
    pub fn failed_call(&self) -> Option<FailedCall> {
        if let Self::Shared(error) = self {
            return error.failed_call();
        }
        let exchange = self.exchange()?;
        let text = match self {
            Self::Transport { error, .. } => error.to_string(),
            Self::Damaged { what, .. } => format!("the answer cannot be used: {what}"),
            Self::Fault { fault, .. } | Self::Unauthorized { fault, .. } => fault.text.clone(),
            Self::Throttled { fault, .. } => {
                fault.as_ref().map_or_else(String::new, |fault| fault.text.clone())
            }
            Self::Credential { .. }
            | Self::ForeignToken { .. }
            | Self::UnusableToken { .. }
            | Self::Shared(_)
            | Self::Withheld
            | Self::Ledger(_) => self.to_string(),
        };
        let code = match self {
            Self::Credential { codes, .. } => codes.first().map(|code| format!("AADSTS{code}")),
            _ => self.as_fault().and_then(|fault| fault.code.clone()),
        };
        exchange.failed(code, &text, self.kept())
    }

    /// The answer, where it is not understood.
    fn kept(&self) -> Kept {
        match self {
            Self::Damaged { kept, .. } => Kept::clone(kept),
            _ => {
                let fault = self.as_fault().filter(|fault| !settlement::is_understood(fault));
                fault.map(|fault| fault.kept.clone()).unwrap_or_default()
            }
        }
    }

    /// The fault, where the error is one.
    pub fn as_fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault { fault, .. } | Self::Unauthorized { fault, .. } => Some(fault),
            Self::Throttled { fault, .. } => fault.as_deref(),
            Self::Shared(error) => error.as_fault(),
            _ => None,
        }
    }

    /// What is to be done about the fault, where the error is one.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Fault { class, .. } => Some(*class),
            Self::Unauthorized { .. } => Some(Class::Unauthorized),
            Self::Throttled { .. } => Some(Class::Throttled),
            Self::ForeignToken { .. } => Some(Class::SafetyStop),
            Self::Shared(error) => error.class(),
            _ => None,
        }
    }

    /// Whom the error concerns.
    pub fn kind(&self) -> Kind {
        use TroubleKind::{AccessRefused, CredentialRefused, Unreachable};
        match self {
            Self::Shared(error) => error.kind(),
            Self::Transport { .. } => Kind::Outage(Unreachable),
            Self::Unauthorized { .. } | Self::Credential { .. } | Self::UnusableToken { .. } => {
                Kind::Outage(CredentialRefused)
            }
            Self::ForeignToken { .. } => Kind::SafetyStop,
            Self::Throttled { until, .. } => Kind::Throttled { until: *until },
            Self::Ledger(_) | Self::Withheld => Kind::Store,
            Self::Damaged { exchange, .. } => of_call(exchange.call, Kind::Transient),
            Self::Fault { exchange, fault, class } => {
                let kind = match class {
                    Class::SafetyStop => Kind::SafetyStop,
                    Class::CustomerGone => Kind::CustomerGone,
                    // It may be the app that is refused, which only another tenant can tell.
                    Class::Permanent | Class::Unknown | Class::OtherRoute
                        if exchange.call == ENTITLEMENTS && fault.status == 403 =>
                    {
                        Kind::Transient
                    }
                    Class::Permanent | Class::Unknown | Class::OtherRoute | Class::Wait => {
                        Kind::Refused(fault.clone())
                    }
                    Class::Unauthorized => Kind::Outage(CredentialRefused),
                    Class::Access => Kind::Outage(AccessRefused),
                    Class::Retry if fault.status >= 500 => Kind::Outage(Unreachable),
                    Class::Retry | Class::AlreadyDone | Class::Throttled => Kind::Transient,
                };
                of_call(exchange.call, kind)
            }
        }
    }
}

/// The same, where the call names no tenant: then it is the account's, whatever it is.
fn of_call(call: Call, kind: Kind) -> Kind {
    match kind {
        Kind::SafetyStop => kind,
        _ if call.is_token() => Kind::Outage(TroubleKind::Unreachable),
        Kind::Outage(_) => kind,
        _ if call == CUSTOMERS => Kind::Outage(TroubleKind::CustomersUnreadable),
        _ => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::super::calls::ORDERS;
    use super::*;

    fn fault_of(status: u16, code: Option<&str>) -> Fault {
        let structured = code.is_some();
        Fault { status, code: code.map(str::to_owned), structured, ..Fault::default() }
    }

    fn kind_of(status: u16, code: Option<&str>) -> Kind {
        ApiError::fault(ORDERS, fault_of(status, code)).kind()
    }

    #[test]
    fn errors_say_whom_they_concern() {
        assert_eq!(kind_of(500, None), Kind::Outage(TroubleKind::Unreachable));
        assert_eq!(kind_of(503, Some("900192")), Kind::Outage(TroubleKind::Unreachable));
        assert_eq!(kind_of(404, None), Kind::Transient);
        assert_eq!(kind_of(408, None), Kind::Transient);
        assert!(matches!(kind_of(403, Some("800073")), Kind::Refused(_)));
        assert_eq!(kind_of(403, Some("800019")), Kind::SafetyStop);
        assert_eq!(kind_of(404, Some("60003")), Kind::CustomerGone);
        assert_eq!(kind_of(403, Some("2032")), Kind::Outage(TroubleKind::AccessRefused));
        assert!(matches!(kind_of(400, Some("4242")), Kind::Refused(_)));
    }

    #[test]
    fn a_token_that_lacks_mfa_says_what_to_do() {
        for (code, advised) in [("900420", true), ("900421", true), ("800001", false)] {
            let fault = Fault { status: 401, code: Some(code.to_owned()), ..Fault::default() };
            let text = ApiError::refused_token(ORDERS.into(), fault).to_string();
            let advice = text.contains("sign in again") && text.contains("new refresh token");
            assert_eq!(advice, advised, "{text}");
        }
    }

    #[test]
    fn a_safety_stop_is_one_under_401_too() {
        let fault = |code: &str| Fault {
            status: 401,
            code: Some(code.to_owned()),
            structured: true,
            ..Fault::default()
        };
        let kind = |code| ApiError::refused_token(ORDERS.into(), fault(code)).kind();
        assert_eq!(
            (kind("6002"), kind("400")),
            (Kind::SafetyStop, Kind::Outage(TroubleKind::CredentialRefused))
        );
    }

    #[test]
    fn what_fails_of_the_customer_list_is_the_accounts() {
        for (status, code, kind) in [
            (400, Some("4242"), TroubleKind::CustomersUnreadable),
            (403, Some("4242"), TroubleKind::CustomersUnreadable),
            (404, Some("1000"), TroubleKind::CustomersUnreadable),
            (404, None, TroubleKind::CustomersUnreadable),
            (403, Some("2032"), TroubleKind::AccessRefused),
            (503, None, TroubleKind::Unreachable),
        ] {
            let error = ApiError::fault(CUSTOMERS, fault_of(status, code));
            assert!(error.is_account_wide());
            assert_eq!(error.kind(), Kind::Outage(kind), "{status} {code:?}");
        }
        let html = ApiError::damaged(CUSTOMERS, Damaged::new("HTML"));
        assert_eq!(html.kind(), Kind::Outage(TroubleKind::CustomersUnreadable));
        let halts = ApiError::fault(CUSTOMERS, fault_of(403, Some("800019")));
        assert_eq!(halts.kind(), Kind::SafetyStop);
        assert!(!ApiError::fault(ORDERS, fault_of(503, None)).is_account_wide());
    }

    #[test]
    fn errors_name_the_call_by_its_route() {
        let error = ApiError::Transport {
            exchange: Box::new(ORDERS.into()),
            error: TransportError::Connect("refused".to_owned()),
        };
        assert_eq!(
            error.to_string(),
            "GET /v1/customers/{customer}/orders: cannot connect: refused"
        );
    }
}
