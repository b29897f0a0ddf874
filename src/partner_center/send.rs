//! Writes: one exchange each, never repeated here (invariant 4).

use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use super::calls::{self, bucket_of, call_of};
use super::client::{Answered, Client, headers};
use super::decode::{self, Damaged};
use super::error::ApiError;
use super::exchange::Exchange;
use super::permits::Permit;
use super::transport::Request;
use crate::core::command::{Answer, Command, Outcome};
use crate::core::fault::{Class, FailedCall, Fault};
use crate::core::settlement;

/// What one send taught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What is to be stored. Without an outcome the command stays unsettled.
    pub answer: Answer,
    /// What is to be done about the fault.
    pub class: Option<Class>,
    /// Why the command is unsettled, always there when it is; or why a refusal may be the account's.
    pub trouble: Option<ApiError>,
    /// What is to be stored of a failure; `None` where the command was accepted or nothing was sent.
    pub failed: Option<FailedCall>,
}

impl Sent {
    fn accepted(status: u16) -> Self {
        let answer = Answer {
            outcome: Some(Outcome::Accepted),
            http_status: Some(status),
            ..Answer::default()
        };
        Self { answer, class: None, trouble: None, failed: None }
    }

    /// `note` names the entry of `[codes]` that decides, if one does: it stands in the history.
    fn refused(exchange: Exchange, fault: Fault, note: &str) -> Self {
        let class = settlement::classify(&fault);
        let mut answer = answer_of(&fault);
        answer.outcome = Some(Outcome::Refused);
        answer.text = answer.text.map(|text| text + note);
        answer.halts = (class == Class::SafetyStop).then(|| format!("{fault}{note}"));
        let error = ApiError::fault(exchange, fault);
        let failed = error.failed_call();
        let trouble = (class == Class::Access).then_some(error);
        Self { answer, class: Some(class), trouble, failed }
    }

    /// Nothing is known of the effect, or nothing was sent.
    fn unsettled(status: Option<u16>, trouble: ApiError) -> Self {
        let (fault, class) = (trouble.as_fault(), trouble.class());
        let text = || fault.map_or_else(|| trouble.to_string(), Fault::to_string);
        let halts = (class == Some(Class::SafetyStop)).then(text);
        let answer = match fault {
            Some(fault) => Answer { halts, ..answer_of(fault) },
            None => Answer {
                http_status: status,
                text: Some(decode::tidy(&trouble.to_string())),
                halts,
                ..Answer::default()
            },
        };
        let failed = trouble.failed_call();
        Self { answer, class, trouble: Some(trouble), failed }
    }
}

fn answer_of(fault: &Fault) -> Answer {
    Answer {
        http_status: Some(fault.status),
        ms_code: fault.code.clone(),
        text: Some(fault.text.clone()),
        ..Answer::default()
    }
}

impl Client {
    /// Sends a committed command: at most one exchange, under the command's own id, body and
    /// `If-Match`. A permit that has grown old is replaced if that takes no waiting; otherwise
    /// nothing is sent, and `trouble` is [`ApiError::Throttled`]. `may_go` is asked right before the
    /// request leaves; if it says no, `trouble` is [`ApiError::Withheld`].
    pub async fn send(
        &self,
        command: &Command,
        correlation: Uuid,
        permit: Permit,
        may_go: &(dyn Fn() -> bool + Sync),
    ) -> Sent {
        match self.deliver(command, correlation, permit, may_go).await {
            Ok(answered) => judge(&answered),
            Err(trouble) => Sent::unsettled(None, trouble),
        }
    }

    async fn deliver(
        &self,
        command: &Command,
        correlation: Uuid,
        permit: Permit,
        may_go: &(dyn Fn() -> bool + Sync),
    ) -> Result<Answered, ApiError> {
        let intent = &command.intent;
        let call = call_of(intent.action);
        // The request is derived here once more, whoever has looked at the command before.
        let derived = command.request().map_err(|forged| Damaged(forged.to_string()));
        let addressed = derived.and_then(|request| {
            let url = calls::address_of(&self.base, &request.path)?;
            Ok((request, url))
        });
        let (write, url) = addressed.map_err(|damage| ApiError::damaged(call, damage))?;
        let token = self.tokens.get().await?;
        let mut headers = headers(&token, command.id.0, correlation);
        if let Some(etag) = &intent.if_match {
            headers.push(("If-Match", etag.clone()));
        }
        if write.body.is_some() {
            headers.push(("Content-Type", "application/json".to_owned()));
        }
        let request = Request {
            method: write.method.as_str(),
            url,
            headers,
            body: write.body.map(Bytes::from),
            timeout: self.timeouts.write,
            fresh: false,
        };
        let permit = self.gate.refresh(permit, bucket_of(command)).await?;
        drop(permit);
        if !may_go() {
            return Err(ApiError::Withheld);
        }
        self.exchange(call, request, (command.id.0, correlation), &token).await
    }
}

/// What an answer means for the command.
fn judge(answered: &Answered) -> Sent {
    let (exchange, status) = (answered.exchange, answered.response.status);
    if (200..=299).contains(&status) {
        return judge_success(answered, status);
    }
    let fault = answered.fault();
    let settles = fault.structured && !settlement::is_of_a_gateway(&fault);
    match settlement::outcome_of(status, settles) {
        Some(Outcome::Refused) => {
            let note = answered.note(&fault);
            Sent::refused(exchange, fault, &note)
        }
        _ if status == 401 => Sent::unsettled(None, ApiError::refused_token(exchange, fault)),
        _ => Sent::unsettled(None, ApiError::fault(exchange, fault)),
    }
}

/// A 2xx settles unless its body is damaged or is an error in disguise. An empty body is whole: 204
/// and 202 have none.
fn judge_success(answered: &Answered, status: u16) -> Sent {
    let body = &answered.response.body;
    if decode::without_bom(body).trim_ascii().is_empty() {
        return Sent::accepted(status);
    }
    let damaged = |damage| Sent::unsettled(Some(status), answered.damaged(damage));
    let value = match decode::json(body) {
        Ok(value) => value,
        Err(damage) => return damaged(damage),
    };
    match &value {
        Value::Object(_) if decode::has_id(&value) || !decode::carries_error(&value) => {
            Sent::accepted(status)
        }
        Value::Object(_) => {
            let fault = Fault { status, ..answered.fault_in_success(&value) };
            Sent::unsettled(None, ApiError::fault(answered.exchange, fault))
        }
        Value::Null => Sent::accepted(status),
        _ => damaged(Damaged::new("the answer is no JSON object")),
    }
}
