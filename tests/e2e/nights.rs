//! The bad nights of `docs/runbook.md`, each provoked and then followed word by word: what is promised
//! there is what happens, and it ends well.
//!
//! Here stand the nights of the accounts and the tenants; those of the machine are in [`machine`].

mod machine;

use std::time::Duration;

use teardownd::simulator::{Customer, Effect, Kind, Purchase, Rule, Sandbox, Template, When};
use uuid::Uuid;

use crate::gate::{HELD, until};
use crate::runbook::{Night, PARTS, nights, page};
use crate::stage::{PARTNER, Stage, brisk};

/// Another secret than the one that expires.
const RENEWED: &str = "the~next_secret-between.us";
/// How often a stage's daemon looks at what it waits for.
const BRISK_POLLING: &str = "initial = \"100ms\"\nmax = \"500ms\"\n[retry]";
/// How `list` begins to tell of an account that something stops.
const TROUBLE: &str = "account default ";

/// Customers with one licence each.
fn licensed(customers: u128) -> Sandbox {
    let mut sandbox = Stage::sandbox();
    for number in 1..=customers {
        let id = Uuid::from_u128(0xaaaaaaaa_0000_4000_8000_000000000000 + number);
        let customer = Customer::new(id, format!("c{number}.onmicrosoft.com"));
        sandbox.add(customer.with(Purchase::new(Kind::NewCommerce))).unwrap();
    }
    sandbox
}

/// So many teardowns wait for this.
async fn until_wait_for(stage: &Stage, reason: &str, tenants: usize) {
    until(&format!("{tenants} wait for {reason}"), async || {
        let listed = stage.done(&["list", "--status", "waiting"]).await;
        let rows = listed["teardowns"].as_array().unwrap();
        let waits = rows.iter().filter(|row| row["blocked_by"] == reason).count();
        (waits == tenants).then_some(())
    })
    .await;
}

#[test]
fn every_night_says_all_that_is_needed_and_stands_in_the_list() {
    let (page, nights) = (page(), nights());
    assert_eq!(nights.len(), 8, "{nights:?}");
    for heading in nights {
        let anchor = heading.to_lowercase().replace(' ', "-");
        assert!(page.contains(&format!("\n- [{heading}](#{anchor})\n")), "{heading} is not listed");
        let prose = Night::of(&heading).prose();
        for part in PARTS {
            assert_eq!(prose.matches(part).count(), 1, "{heading}: {part}");
        }
    }
    let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let listed: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("- [")?.split_once(']').map(|(heading, _)| heading))
        .collect();
    let [mut headings, mut listed] = [headings, listed];
    headings.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, headings, "the list at the top names every section");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_credential_has_expired() {
    let night = Night::of("The credential has expired");
    let stage = Stage::populated(4, brisk()).await;
    let tenant = stage.tenants[0].to_string();
    let daemon = stage.ready().await;
    let [first, second] = [2, 3].map(|index| stage.tenants[index].to_string());
    stage.done(&["enqueue", &first, "--wait"]).await;
    stage.simulator.change_app(PARTNER, |app| {
        app.expire_secrets();
    });
    // It works on with the token it has; a new process has none.
    stage.done(&["enqueue", &second, "--wait"]).await;
    daemon.stop().await;
    stage.enqueue_all().await;
    let daemon = stage.ready().await;
    until_wait_for(&stage, "credential_refused", 2).await;

    let listed = night.types(&stage, &tenant, 0, "list").await;
    night.promises("account default has its credential refused", &listed.out);
    assert!(listed.out.contains("AADSTS7000222"), "Microsoft's text: {listed:?}");
    let why = night.types(&stage, &tenant, 0, "why").await;
    night.promises("credential_refused", &why.out);
    assert!(why.out.contains("teardownd check"), "{why:?}");
    let checked = night.types(&stage, &tenant, 5, "check").await;
    assert!(checked.out.contains("AADSTS7000222"), "{checked:?}");
    assert_eq!(daemon.get("/readyz").await, Some((200, "ready\n".to_owned())));

    // A new secret in the same file. Here nobody has made a copy of it, so that no restart is needed.
    stage.simulator.change_app(PARTNER, |app| {
        app.add_secret(RENEWED);
    });
    stage.write_secret(RENEWED);
    night.by_hand("\"${EDITOR:-nano}\" /etc/credstore/teardownd.client-secret");
    night.by_hand("systemctl restart teardownd");
    stage.until_all_ended().await;

    night.types(&stage, &tenant, 0, "check").await;
    let listed = night.types(&stage, &tenant, 0, "list").await;
    assert!(!listed.out.contains(TROUBLE), "{listed:?}");
    night.over();
    let mut database = stage.database().await;
    assert_eq!(database.number("SELECT sum(attempts) FROM teardowns").await, 0);
    database.close().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
    stage.assert_absent(RENEWED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn microsoft_has_an_outage() {
    let night = Night::of("Microsoft has an outage");
    let stage = Stage::with(licensed(4), brisk()).await;
    let tenant = stage.tenants[0].to_string();
    // It begins in the middle of the work: a write was applied, and its answer never comes.
    stage.strike_writes(When::Nth(1), &Effect::DropAfter);
    let begun = stage.calls();
    stage.enqueue_all().await;
    let daemon = stage.ready().await;
    stage.until_written(begun).await;
    stage.simulator.add_rule(Rule::new(When::Always, Effect::DropBefore));
    until_wait_for(&stage, "account_unreachable", 4).await;

    let listed = night.types(&stage, &tenant, 0, "list").await;
    night.promises("account default is unreachable", &listed.out);
    let why = night.types(&stage, &tenant, 0, "why").await;
    night.promises("account_unreachable", &why.out);
    let checked = night.types(&stage, &tenant, 5, "check").await;
    assert!(checked.out.contains("check the network, DNS and firewall"), "{checked:?}");
    assert_eq!(daemon.get("/readyz").await, Some((200, "ready\n".to_owned())));
    let before = stage.calls();
    stage.looked_twice().await;
    // Four tenants that try again twice a second would be more.
    assert!(stage.calls() < before + 4, "one probe a minute and nothing else");

    // It is over, and the minute to the next probe has passed.
    stage.simulator.clear_rules();
    let mut database = stage.database().await;
    let passed = "UPDATE accounts SET trouble_next_probe_at = '2020-01-01T00:00:00.000Z'
                  WHERE trouble_kind IS NOT NULL";
    database.change(passed).await.unwrap();
    database.close().await;
    until("the account is well again", async || {
        let listed = stage.done(&["list"]).await;
        (listed["accounts"][0]["state"] == "ok").then_some(())
    })
    .await;
    let listed = night.types(&stage, &tenant, 0, "list").await;
    assert!(!listed.out.contains(TROUBLE), "{listed:?}");
    night.types(&stage, &tenant, 0, "wait").await;
    night.over();
    let mut database = stage.database().await;
    let failed = database.number("SELECT count(*) FROM teardowns WHERE state <> 'deleted'").await;
    assert_eq!(failed, 0);
    database.close().await;
    daemon.stop().await;
    stage.assert_all_torn_down();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_stuck_for_days() {
    let night = Night::of("A tenant is stuck for days");
    let stage = Stage::with(licensed(1), brisk()).await;
    let tenant = stage.tenants[0].to_string();
    // A day is a second here, and the next look at the purchase is a long way off.
    stage.reconfigure("[polling]", "stuck_after = \"1s\"\n[polling]");
    stage.reconfigure(BRISK_POLLING, "initial = \"1h\"\nmax = \"1h\"\n[retry]");
    stage.strike_writes(When::Nth(1), &Effect::InVain);
    let daemon = stage.ready().await;
    stage.enqueue_all().await;
    until("it is stuck", async || {
        let listed = stage.done(&["list", "--stuck"]).await;
        let row = &listed["teardowns"][0];
        (row["blocked_by"] == "cancellation_pending").then_some(())
    })
    .await;

    let stuck = night.types(&stage, &tenant, 0, "list").await;
    assert!(stuck.out.contains(&tenant), "{stuck:?}");
    let why = night.types(&stage, &tenant, 0, "why").await;
    night.promises("stuck: in this state for longer than engine.stuck_after", &why.out);
    night.promises("cancellation_pending", &why.out);
    let history = night.types(&stage, &tenant, 0, "history").await;
    assert!(history.out.contains("accepted"), "{history:?}");
    let ticket = night.types(&stage, &tenant, 0, "support").await;
    let write = &stage.writes_since(0)[0];
    for id in [&write.request_id, &write.correlation_id] {
        assert!(ticket.out.contains(id.as_deref().unwrap()), "{ticket:?}");
    }
    night.types(&stage, &tenant, 0, "ack").await;
    let ringing = night.types(&stage, &tenant, 0, "list").await;
    assert!(!ringing.out.contains(&tenant), "{ringing:?}");
    assert_eq!(stage.writes_since(0).len(), 1, "it waits, and repeats nothing");

    // `polling.reissue_after` has passed, and Microsoft has mended what was broken.
    daemon.stop().await;
    stage.simulator.set_options(|options| {
        options.allowances.reissue_after = Duration::ZERO;
    });
    let reissuing = format!("reissue_after = \"2s\"\n{BRISK_POLLING}");
    stage.reconfigure("initial = \"1h\"\nmax = \"1h\"\n[retry]", &reissuing);
    let mut database = stage.database().await;
    let due = "UPDATE teardowns SET next_attempt_at = '2020-01-01T00:00:00.000Z'";
    database.change(due).await.unwrap();
    database.close().await;
    let daemon = stage.ready().await;
    night.types(&stage, &tenant, 0, "wait").await;
    night.over();
    daemon.stop().await;
    let journal = stage.simulator.journal();
    let breaches: Vec<_> = journal.breaches().iter().map(ToString::to_string).collect();
    assert_eq!(breaches, Vec::<String>::new(), "what was in vain may be asked for once more");
    assert_eq!(stage.simulator.snapshot().customers_left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_tenant_was_queued() {
    let night = Night::of("The wrong tenant was queued");
    let stage = Stage::with(licensed(5), brisk()).await;
    let [earlier, wrong, first, second, right] =
        [0, 1, 2, 3, 4].map(|index| stage.tenants[index].to_string());
    let daemon = stage.ready().await;
    // The account's first steps go out alone. They are done, so that nothing else keeps writes back.
    stage.done(&["enqueue", &earlier, "--wait"]).await;
    // Its first write is out, and is applied whatever anybody does.
    let begun = stage.hold_answers_to_writes();
    stage.done(&["enqueue", &wrong]).await;
    let out = stage.until_written(begun).await;

    night.types(&stage, &wrong, 0, "pause").await;
    stage.done(&["enqueue", &first, &second, "--batch", "sprint-12"]).await;
    stage.done(&["enqueue", &right]).await;
    let protected = night.types(&stage, &wrong, 0, "protect").await;
    assert!(protected.out.contains("1 aborted"), "{protected:?}");
    let aborted = night.types(&stage, &wrong, 0, "abort").await;
    assert!(aborted.out.contains("2 teardowns matched"), "{aborted:?}");
    stage.simulator.clear_rules();
    stage.gate.open();
    stage.looked_twice().await;
    let history = night.types(&stage, &wrong, 0, "history").await;
    let sent = out.request_id.as_deref().unwrap();
    assert!(history.out.contains(sent) && history.out.contains("aborted"), "{history:?}");
    assert_eq!(stage.writes_since(begun).len(), 1, "no write begins after the pause");
    night.types(&stage, &wrong, 0, "resume").await;
    stage.until_state(&right, "deleted").await;

    let listed = night.types(&stage, &wrong, 0, "list").await;
    night.promises("aborted", &listed.out);
    let entries = night.types(&stage, &wrong, 0, "protect").await;
    assert!(entries.out.contains(&wrong), "{entries:?}");
    night.over();
    let later = stage.writes_since(out.number + 1);
    let to_wrong = later.iter().filter(|write| write.tenant == out.tenant);
    assert_eq!(to_wrong.count(), 0, "nothing follows the write that was out");
    stage.json(3, &["enqueue", &wrong, "--again"]).await;
    assert_eq!(stage.simulator.snapshot().customers_left, 3);

    // Too late: the DELETE of another one is out.
    stage.gate.shut();
    let delete = Rule::new(When::Always, Effect::Delay(HELD)).method("DELETE");
    stage.simulator.add_rule(delete.on(Template::Customer));
    let begun = stage.calls();
    stage.done(&["enqueue", &first]).await;
    until("its DELETE is out", async || {
        stage.writes_since(begun).iter().any(|write| write.method == "DELETE").then_some(())
    })
    .await;
    let late = stage.run(&["protect", &first, "--reason", "in use"]).await;
    assert_eq!(late.code, 1, "{late:?}");
    night.promises("could not be aborted", &late.err);
    let entries = stage.run(&["protect", "--list"]).await;
    assert!(entries.out.contains(&first), "the entry stands all the same: {entries:?}");
    stage.gate.open();
    stage.until_state(&first, "deleted").await;
    daemon.stop().await;
    stage.assert_careful();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_is_full_and_pipelines_are_blocked() {
    let night = Night::of("The sandbox is full and pipelines are blocked");
    let mut sandbox = licensed(5);
    sandbox.limit(5);
    let stage = Stage::with(sandbox, brisk()).await;
    stage.reconfigure("sandbox = true", "sandbox = true\ncustomers_limit = 5");
    let forgotten = stage.tenants[0].to_string();
    stage.done(&["enqueue", &forgotten]).await;
    stage.done(&["hold", &forgotten, "--reason", "for the demo of last week"]).await;
    let daemon = stage.ready().await;
    // Nothing ends before all is typed.
    stage.hold_answers_to_writes();
    let blocked = stage.run(&["quota", "--need", "3"]).await;
    assert_eq!(blocked.code, 1, "{blocked:?}");

    let quota = night.types(&stage, &forgotten, 0, "quota").await;
    assert!(quota.out.contains("1 operator"), "what blocks it: {quota:?}");
    let ringing = night.types(&stage, &forgotten, 0, "list").await;
    assert!(ringing.out.contains(&forgotten), "{ringing:?}");
    let why = night.types(&stage, &forgotten, 0, "why").await;
    assert!(why.out.contains("teardownd release"), "{why:?}");

    night.types(&stage, &forgotten, 0, "release").await;
    let found = night.types(&stage, &forgotten, 0, "discover").await;
    assert!(found.out.contains("c5.onmicrosoft.com"), "{found:?}");
    // The two that nobody needs.
    let nobodys = format!("{}\n{}\n", stage.tenants[1], stage.tenants[2]);
    std::fs::write(stage.path("tenants.csv"), nobodys).unwrap();
    night.types(&stage, &forgotten, 0, "enqueue").await;
    night.types(&stage, &forgotten, 0, "set").await;
    stage.gate.open();
    night.types(&stage, &forgotten, 0, "quota").await;

    night.types(&stage, &forgotten, 0, "quota").await;
    night.over();
    daemon.stop().await;
    stage.assert_careful();
    assert_eq!(stage.simulator.snapshot().customers_left, 2, "and nobody else");
}
