//! Writes: one exchange each, never repeated here (invariant 4).

use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use super::calls::{self, Call, bucket_of, call_of};
use super::client::{Client, headers};
use super::decode;
use super::error::ApiError;
use super::permits::Permit;
use super::transport::{Request, Response};
use crate::core::command::{Answer, Command, Outcome};
use crate::core::fault::{Class, Fault};
use crate::core::settlement;

/// What one send taught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What is to be stored. Without an outcome the command stays unsettled.
    pub answer: Answer,
    /// The fault, where the answer was one.
    pub fault: Option<Fault>,
    /// What is to be done about the fault.
    pub class: Option<Class>,
    /// Why the command is unsettled. Always there when it is.
    pub trouble: Option<ApiError>,
}

impl Sent {
    fn accepted(status: u16) -> Self {
        let answer = Answer {
            outcome: Some(Outcome::Accepted),
            http_status: Some(status),
            ..Answer::default()
        };
        Self { answer, fault: None, class: None, trouble: None }
    }

    fn refused(fault: Fault) -> Self {
        let class = settlement::classify(&fault);
        let mut answer = answer_of(&fault);
        answer.outcome = Some(Outcome::Refused);
        Self { answer, fault: Some(fault), class: Some(class), trouble: None }
    }

    /// Nothing is known of the effect, or nothing was sent.
    fn unsettled(status: Option<u16>, trouble: ApiError) -> Self {
        let fault = trouble.as_fault().cloned();
        let answer = match &fault {
            Some(fault) => answer_of(fault),
            None => Answer {
                http_status: status,
                text: Some(decode::tidy(&trouble.to_string())),
                ..Answer::default()
            },
        };
        Self { answer, fault, class: trouble.class(), trouble: Some(trouble) }
    }
}

fn answer_of(fault: &Fault) -> Answer {
    Answer {
        outcome: None,
        http_status: Some(fault.status),
        ms_code: fault.code.clone(),
        text: Some(fault.text.clone()),
    }
}

impl Client {
    /// Sends a committed command: at most one exchange, under the command's own id, body and
    /// `If-Match`. A permit that has grown old is replaced if that takes no waiting; otherwise
    /// nothing is sent, and `trouble` is [`ApiError::Throttled`].
    pub async fn send(&self, command: &Command, correlation: Uuid, permit: Permit) -> Sent {
        let call = call_of(command.intent.action);
        match self.deliver(call, command, correlation, permit).await {
            Ok(response) => judge(call, &response),
            Err(trouble) => Sent::unsettled(None, trouble),
        }
    }

    async fn deliver(
        &self,
        call: Call,
        command: &Command,
        correlation: Uuid,
        permit: Permit,
    ) -> Result<Response, ApiError> {
        let intent = &command.intent;
        let url = calls::address_of(&self.base, command)
            .map_err(|damage| ApiError::damaged(call, damage))?;
        let token = self.tokens.get().await?;
        let mut headers = headers(&token, command.id.0, correlation);
        if let Some(etag) = &intent.if_match {
            headers.push(("If-Match", etag.clone()));
        }
        if intent.body.is_some() {
            headers.push(("Content-Type", "application/json".to_owned()));
        }
        let request = Request {
            method: intent.method.as_str(),
            url,
            headers,
            body: intent.body.clone().map(Bytes::from),
            timeout: self.timeouts.write,
        };
        let permit = self.gate.refresh(permit, bucket_of(command)).await?;
        drop(permit);
        let answered = self.exchange(call, request, correlation, &token).await?;
        Ok(answered.response)
    }
}

/// What an answer means for the command.
fn judge(call: Call, response: &Response) -> Sent {
    let status = response.status;
    if (200..=299).contains(&status) {
        return judge_success(call, status, &response.body);
    }
    let fault = decode::fault(status, &response.body);
    match settlement::outcome_of(status, fault.structured) {
        Some(Outcome::Refused) => Sent::refused(fault),
        _ if status == 401 => Sent::unsettled(None, ApiError::Unauthorized { call, fault }),
        _ => Sent::unsettled(None, ApiError::fault(call, fault)),
    }
}

/// A 2xx settles unless its body is damaged or is an error in disguise. An empty body is whole: 204
/// and 202 have none.
fn judge_success(call: Call, status: u16, body: &Bytes) -> Sent {
    if decode::without_bom(body).trim_ascii().is_empty() {
        return Sent::accepted(status);
    }
    let value = match decode::json(body) {
        Ok(value) => value,
        Err(damage) => return Sent::unsettled(Some(status), ApiError::damaged(call, damage)),
    };
    match &value {
        Value::Object(_) if decode::has_id(&value) || !decode::carries_error(&value) => {
            Sent::accepted(status)
        }
        Value::Object(_) => {
            Sent::unsettled(None, ApiError::fault(call, decode::fault_of(status, &value)))
        }
        Value::Null => Sent::accepted(status),
        _ => {
            let what = "the answer is no JSON object".to_owned();
            Sent::unsettled(Some(status), ApiError::Damaged { call, what })
        }
    }
}
