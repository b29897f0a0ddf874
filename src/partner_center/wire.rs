//! One exchange, watched: what every call has in common, to the API and to the token endpoint.

use std::sync::Arc;

use super::error::ApiError;
use super::exchange::Exchange;
use super::skew::Skew;
use super::transport::{Request, Response, Transport, TransportError};
use crate::core::clock::Clock;
use crate::core::ids::AccountName;

/// The transport of an account with the eyes of metrics and logs on it.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) account: AccountName,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) skew: Arc<Skew>,
}

impl Wire {
    /// One exchange. Labels and log fields hold the route, never an address: the set of routes is
    /// closed, that of tenants is not.
    pub(super) async fn exchange(
        &self,
        exchange: Exchange,
        request: Request,
    ) -> Result<Response, ApiError> {
        let call = exchange.call;
        let correlation = exchange.sent.map(|sent| tracing::field::display(sent.correlation_id));
        let (begun, sent_at) = (self.clock.uptime(), self.clock.wall());
        let result = self.transport.exchange(request).await;
        let took = self.clock.uptime().saturating_sub(begun);
        let status = result.as_ref().map_or(0, |response| response.status);
        let (status_class, outcome) = answer(&result);
        let account = self.account.to_string();
        metrics::counter!(
            "teardownd_api_requests_total",
            "account" => account.clone(),
            "route" => call.route,
            "method" => call.method,
            "status_class" => status_class,
            "outcome" => outcome,
        )
        .increment(1);
        metrics::histogram!(
            "teardownd_api_request_duration_seconds",
            "account" => account,
            "route" => call.route,
            "method" => call.method,
        )
        .record(took.as_secs_f64());
        match result {
            Ok(response) => {
                self.skew.learn(&response, sent_at, self.clock.wall());
                tracing::debug!(
                    account = %self.account, method = call.method, route = call.route, status,
                    latency_ms = took.as_millis(), correlation_id = correlation, "answered",
                );
                Ok(response)
            }
            Err(error) => {
                tracing::debug!(
                    account = %self.account, method = call.method, route = call.route, %error,
                    latency_ms = took.as_millis(), correlation_id = correlation, "no answer",
                );
                Err(ApiError::Transport { exchange: Box::new(exchange), error })
            }
        }
    }
}

/// How exchanges end, as they are counted: the class of the status, and what came of it.
pub const ANSWERS: [(&str, &str); 10] = [
    ("1xx", "failed"),
    ("2xx", "ok"),
    ("3xx", "failed"),
    ("4xx", "unauthorized"),
    ("4xx", "throttled"),
    ("4xx", "refused"),
    ("5xx", "failed"),
    ("none", "timeout"),
    ("none", "unreachable"),
    ("none", "broken"),
];

/// One of [`ANSWERS`].
fn answer(result: &Result<Response, TransportError>) -> (&'static str, &'static str) {
    match result {
        Ok(response) => match response.status {
            100..=199 => ("1xx", "failed"),
            200..=299 => ("2xx", "ok"),
            300..=399 => ("3xx", "failed"),
            401 => ("4xx", "unauthorized"),
            429 => ("4xx", "throttled"),
            400..=499 => ("4xx", "refused"),
            _ => ("5xx", "failed"),
        },
        Err(TransportError::Timeout(_)) => ("none", "timeout"),
        Err(TransportError::Connect(_)) => ("none", "unreachable"),
        Err(TransportError::Closed(_) | TransportError::Broken(_)) => ("none", "broken"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn every_answer_is_counted_as_one_of_the_closed_set() {
        let answered = |status| {
            let (headers, body) = (Vec::new(), Bytes::new());
            answer(&Ok(Response { status, headers, body }))
        };
        for status in 100..=599 {
            assert!(ANSWERS.contains(&answered(status)), "{status}");
        }
        assert_eq!(answered(204), ("2xx", "ok"));
        assert_eq!(answered(429), ("4xx", "throttled"));
        for error in [
            TransportError::Timeout(Duration::from_secs(1)),
            TransportError::Connect("refused".to_owned()),
            TransportError::Broken("reset".to_owned()),
            TransportError::Closed("reset".to_owned()),
        ] {
            let labels = answer(&Err(error));
            assert!(labels.0 == "none" && ANSWERS.contains(&labels), "{labels:?}");
        }
    }
}
