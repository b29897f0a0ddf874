//! One exchange, watched: what every call has in common, to the API and to the token endpoint.

use std::sync::Arc;

use super::error::ApiError;
use super::exchange::Exchange;
use super::skew::Skew;
use super::transport::{Request, Response, Transport};
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
        let (begun, sent_at) = (self.clock.uptime(), self.clock.now());
        let result = self.transport.exchange(request).await;
        let took = self.clock.uptime().saturating_sub(begun);
        let (status, status_class) = match &result {
            Ok(response) => (response.status, status_class(response.status)),
            Err(_) => (0, "none"),
        };
        let account = self.account.to_string();
        metrics::counter!(
            "teardownd_api_requests_total",
            "account" => account.clone(),
            "route" => call.route,
            "method" => call.method,
            "status_class" => status_class,
        )
        .increment(1);
        metrics::histogram!(
            "teardownd_api_request_seconds",
            "account" => account,
            "route" => call.route,
            "method" => call.method,
        )
        .record(took.as_secs_f64());
        match result {
            Ok(response) => {
                self.skew.learn(&response, sent_at, self.clock.now());
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

/// The label of a status.
fn status_class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
