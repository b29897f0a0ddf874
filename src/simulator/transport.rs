//! The simulator as the transport of a client in the same process.

use super::Simulator;
use super::call::{Answer, Call, Delivery};
use crate::core::clock::BoxFuture;
use crate::partner_center::transport::{Request, Response, Transport, TransportError};

/// Hands requests to a simulator, whatever their host: API and token authority are told apart by
/// their paths. Latency passes on the simulator's clock.
#[derive(Debug, Clone)]
pub struct SimulatorTransport {
    simulator: Simulator,
}

impl SimulatorTransport {
    /// A transport to this simulator.
    pub fn new(simulator: Simulator) -> Self {
        Self { simulator }
    }
}

impl Transport for SimulatorTransport {
    fn exchange(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let call = call_of(&request);
            let reply = self.simulator.handle(&call);
            let awaited = Awaited::new(&self.simulator, reply.call);
            let clock = self.simulator.clock();
            if reply.delay > request.timeout {
                clock.sleep(request.timeout).await;
                return Err(TransportError::Timeout(request.timeout));
            }
            if !reply.delay.is_zero() {
                clock.sleep(reply.delay).await;
            }
            match reply.delivery {
                Delivery::Whole(answer) => {
                    awaited.arrived();
                    Ok(response_of(answer))
                }
                Delivery::CutOff(_) => {
                    Err(TransportError::Broken("the answer ended before its length".to_owned()))
                }
                Delivery::Dropped => {
                    Err(TransportError::Broken("the connection was closed".to_owned()))
                }
            }
        })
    }
}

/// A call whose answer has not arrived. Dropped in that state, it tells the simulator.
pub(crate) struct Awaited {
    simulator: Simulator,
    call: Option<u64>,
}

impl Awaited {
    pub(crate) fn new(simulator: &Simulator, call: u64) -> Self {
        Self { simulator: simulator.clone(), call: Some(call) }
    }

    pub(crate) fn arrived(mut self) {
        self.call = None;
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.simulator.undelivered(call);
        }
    }
}

fn call_of(request: &Request) -> Call {
    let headers = request.headers.iter();
    Call {
        method: request.method.to_owned(),
        path: request.url.path().to_owned(),
        query: request.url.query().map(str::to_owned),
        headers: headers.map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        body: request.body.clone().unwrap_or_default(),
    }
}

fn response_of(answer: Answer) -> Response {
    Response { status: answer.status, headers: answer.headers, body: answer.body }
}
