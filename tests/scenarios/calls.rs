//! How many requests a teardown takes when nothing goes wrong. `docs/api-facts.md` gives the figures.

use std::time::Duration;

use teardownd::simulator::Entry;

use crate::harness::*;

/// Between the requests of one look there is only the latency.
const WAIT: Duration = Duration::from_millis(900);

fn three_orders() -> [Kind; 3] {
    [Kind::Reservation, Kind::PerpetualSoftware, Kind::MixedOrder]
}

/// What the table of the documentation is about.
fn customers() -> Vec<(&'static str, Vec<Purchase>)> {
    let alone = |kind: Kind| (kind.as_str(), vec![buy(kind)]);
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::SavingsPlan);
    let plan = buy(Kind::AzurePlan).azure_subscriptions(3);
    let mut customers = vec![("nothing", Vec::new())];
    customers.extend(kinds.map(alone));
    customers.extend([
        ("new_commerce with 2 add-ons", vec![buy(Kind::NewCommerce).add_ons(2)]),
        ("azure_plan with 3 Azure subscriptions", vec![plan]),
        ("reservation, perpetual_software and mixed_order", three_orders().map(buy).into()),
    ]);
    customers
}

/// Everything that was asked of the API. Tokens are the account's: one serves all for an hour.
fn requests(scene: &Scene) -> Vec<Entry> {
    scene.calls().into_iter().filter(|call| !is_token(call)).collect()
}

/// How often the daemon looked again after it had waited.
fn polls(calls: &[Entry]) -> usize {
    let waited = |pair: &&[Entry]| pair[1].at >= pair[0].at + WAIT;
    calls.windows(2).filter(waited).count()
}

async fn torn_down(bought: Vec<Purchase>, takes: Duration, removal: Duration) -> Vec<Entry> {
    let given = given(bought).api(|api| {
        api.cancellation = (takes, takes);
        api.removal = (removal, removal);
    });
    let scene = given.running().await;
    scene.settle().await;
    scene.assert_all_deleted().await;
    requests(&scene)
}

fn row(bought: &str, calls: &[Entry]) -> String {
    let writes = calls.iter().filter(|call| is_write(call)).count();
    let of_account = calls.iter().filter(|call| call.template == Template::Customers).count();
    let own = calls.len() - writes - of_account;
    format!(
        "| {bought} | {writes} | {own} | {of_account} | **{}** | {} |",
        calls.len(),
        polls(calls)
    )
}

#[tokio::test(start_paused = true)]
async fn the_documentation_gives_the_requests_of_each_kind_of_purchase() {
    let mut rows = Vec::new();
    for (bought, purchases) in customers() {
        rows.push(row(bought, &torn_down(purchases, secs(5), secs(2)).await));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api-facts.md");
    let page = std::fs::read_to_string(path).unwrap();
    let table = page.split("<!-- requests -->").nth(1).expect("the table is marked");
    let shown: Vec<&str> = table
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(shown, rows, "docs/api-facts.md should hold:\n{}", rows.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn three_orders_take_at_most_12_requests_and_2_for_each_poll() {
    let mut quickest = usize::MAX;
    for takes in [0, 1, 2, 3, 5, 8, 15, 40, 90, 300].map(secs) {
        for removal in [0, 1, 2, 5, 20, 120].map(secs) {
            let calls = torn_down(three_orders().map(buy).into(), takes, removal).await;
            let (count, polls) = (calls.len(), polls(&calls));
            quickest = quickest.min(count);
            assert!(
                count <= 12 + 2 * polls,
                "{takes:?}, {removal:?}: {count} requests with {polls} polls: {calls:#?}"
            );
        }
    }
    // Three writes and the DELETE, two looks at everything, and the proof.
    assert!(quickest <= 14, "{quickest}");
}
