//! The two ways to a simulator: the in-process transport, and a listener on loopback.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use teardownd::partner_center::transport::{Request, Transport, TransportError};
use teardownd::simulator::{
    BreachKind, Effect, Kind, Options, Purchase, Rule, SimulatorTransport, Template, When, server,
};
use tokio::net::TcpListener;

use crate::support::*;

fn request(bench: &mut Bench, method: &'static str, path: &str, body: Option<&Value>) -> Request {
    let id = bench.fresh_id();
    let call = bench.call(method, path, id, body);
    let names = ["Authorization", "Accept", "MS-RequestId", "MS-CorrelationId", "Content-Type"];
    let headers = names.into_iter().filter_map(|name| Some((name, call.header(name)?.to_owned())));
    Request {
        method,
        url: format!("https://api.example/v1/{path}").parse().unwrap(),
        headers: headers.collect(),
        body: body.map(|_| call.body.clone()),
        timeout: seconds(30),
        fresh: false,
    }
}

#[tokio::test]
async fn the_transport_lets_latency_pass_on_the_simulators_clock() {
    let latency = (seconds(2), seconds(2));
    let mut bench = Bench::new(Options { latency, ..plain() }, [customer([])]);
    let transport = SimulatorTransport::new(bench.simulator.clone());
    let before = bench.clock.now_passed();
    let asked = request(&mut bench, "GET", "customers?size=0", None);
    let response = transport.exchange(asked).await.unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(bench.clock.now_passed() - before, seconds(2));
}

#[tokio::test]
async fn the_transport_also_reaches_the_token_authority() {
    let bench = Bench::with([]);
    let transport = SimulatorTransport::new(bench.simulator.clone());
    let form = format!(
        "grant_type=client_credentials&client_id={CLIENT}&client_secret={}&resource=https://a",
        SECRET.replace(' ', "+")
    );
    let url = format!("https://login.example/{PARTNER}/oauth2/token").parse().unwrap();
    let headers = vec![];
    let body = Some(Bytes::from(form));
    let asked = Request { method: "POST", url, headers, body, timeout: seconds(30), fresh: true };
    assert_eq!(transport.exchange(asked).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_gives_up_leaves_its_write_unsettled() {
    let latency = (seconds(40), seconds(40));
    let bought = [Purchase::new(Kind::Reservation)];
    let mut bench = Bench::new(Options { latency, ..plain() }, [customer(bought)]);
    let transport = SimulatorTransport::new(bench.simulator.clone());
    let (path, body) = bench.cancellation(0);
    let asked = request(&mut bench, "PATCH", &path, Some(&body));
    let error = transport.exchange(asked).await.unwrap_err();
    assert_eq!(error, TransportError::Timeout(seconds(30)));
    bench.cancel_order(0);
    assert_eq!(bench.breaches(), [BreachKind::NewIdOnUnsettled], "and nothing is in flight");
}

#[tokio::test]
async fn dropped_and_cut_off_answers_are_broken_exchanges() {
    for effect in [Effect::DropBefore, Effect::DropAfter, Effect::CutOff] {
        let mut bench = Bench::with([]);
        bench.simulator.add_rule(Rule::new(When::Always, effect));
        let transport = SimulatorTransport::new(bench.simulator.clone());
        let asked = request(&mut bench, "GET", "customers", None);
        assert!(matches!(transport.exchange(asked).await, Err(TransportError::Broken(_))));
    }
}

/// One request over the network.
async fn fetch(url: &str, request: &Request) -> Result<(u16, Bytes), reqwest::Error> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let path = request.url.path();
    let mut builder = match request.method {
        "GET" => client.get(format!("{url}{path}")),
        _ => client.patch(format!("{url}{path}")),
    };
    for (name, value) in &request.headers {
        builder = builder.header(*name, value);
    }
    if let Some(body) = &request.body {
        builder = builder.body(body.clone());
    }
    let response = builder.send().await?;
    let status = response.status().as_u16();
    Ok((status, response.bytes().await?))
}

#[tokio::test]
async fn the_server_answers_as_the_simulator_does() {
    let mut bench = Bench::with([Purchase::new(Kind::Reservation)]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handle = server::serve(bench.simulator.clone(), listener).unwrap();
    assert!(handle.address().ip().is_loopback());

    let asked = request(&mut bench, "GET", "customers", None);
    let (status, body) = fetch(&handle.url(), &asked).await.unwrap();
    assert_eq!(status, 200);
    assert!(body.starts_with(b"\xef\xbb\xbf{"));

    let (path, body) = bench.cancellation(0);
    let asked = request(&mut bench, "PATCH", &path, Some(&body));
    assert_eq!(fetch(&handle.url(), &asked).await.unwrap().0, 200);
    bench.pass(5);
    assert!(!bench.purchases()[0].active);
    assert!(bench.breaches().is_empty(), "{:?}", bench.simulator.journal().breaches());
    handle.shutdown().await;
}

#[tokio::test]
async fn the_server_drops_and_cuts_off_connections() {
    let mut bench = Bench::with([Purchase::new(Kind::Reservation)]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handle = server::serve(bench.simulator.clone(), listener).unwrap();
    let (path, body) = bench.cancellation(0);
    let asked = request(&mut bench, "PATCH", &path, Some(&body));
    for (effect, applied) in [(Effect::DropBefore, 0), (Effect::DropAfter, 1), (Effect::CutOff, 1)]
    {
        bench.simulator.clear_rules();
        bench.simulator.add_rule(Rule::new(When::Always, effect.clone()).on(Template::Order));
        let error = fetch(&handle.url(), &asked).await.unwrap_err();
        assert!(error.status().is_none() || effect == Effect::CutOff, "{error:?}");
        let journal = bench.simulator.journal();
        assert_eq!(journal.applied().values().sum::<u32>(), applied, "{effect:?}");
        assert!(!journal.entries().last().unwrap().delivered);
    }
    bench.simulator.clear_rules();
    bench.simulator.add_rule(Rule::new(When::Always, Effect::TruncatedJson));
    let (status, body) = fetch(&handle.url(), &asked).await.unwrap();
    assert_eq!(status, 200);
    assert!(serde_json::from_slice::<Value>(&body[3..]).is_err());
    assert!(bench.breaches().is_empty(), "always the same id: {:?}", bench.breaches());
    handle.shutdown().await;
}

#[tokio::test]
async fn the_server_notices_a_client_that_hangs_up() {
    let latency = (seconds(1), seconds(1));
    let bought = [Purchase::new(Kind::Reservation)];
    let mut bench = Bench::new(Options { latency, ..plain() }, [customer(bought)]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handle = server::serve(bench.simulator.clone(), listener).unwrap();
    let (path, body) = bench.cancellation(0);
    let asked = request(&mut bench, "PATCH", &path, Some(&body));
    bench.clock.stop();
    let url = handle.url();
    let exchange = tokio::spawn(async move { fetch(&url, &asked).await.map(drop) });
    let last = |bench: &Bench| bench.simulator.journal().entries().last().cloned().unwrap();
    while last(&bench).template != Template::Order {
        tokio::task::yield_now().await;
    }
    assert!(last(&bench).applied && last(&bench).delivered);
    exchange.abort();
    while last(&bench).delivered {
        tokio::task::yield_now().await;
    }
    bench.cancel_order(0);
    assert_eq!(bench.breaches(), [BreachKind::NewIdOnUnsettled]);
}

impl ManualClock {
    fn now_passed(&self) -> Duration {
        teardownd::core::clock::Clock::uptime(self)
    }
}
