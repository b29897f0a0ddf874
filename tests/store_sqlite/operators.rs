//! What operators set, typed in by SQL, and how the file itself protects it.

use teardownd::core::domain::DomainPattern;
use teardownd::core::protection::Subject;
use teardownd::core::teardown::State;

use crate::suite::{at, start, tenant};
use crate::{Place, plain, run, value};

#[tokio::test]
async fn settings_and_protections_are_typed_in() {
    let place = Place::new();
    let bench = place.bench().await;
    bench.queue([1, 2, 3], start()).await;
    let mut conn = plain(&place.path()).await;
    for row in [
        format!(
            "(verb, tenant_id, priority, not_before) VALUES
             ('set', '{}', 7, '2026-01-02T00:00:00.000Z')",
            tenant(1)
        ),
        format!("(verb, tenant_id, domain) VALUES ('protect', '{}', '*.Prod.example')", tenant(2)),
        format!("(verb, tenant_id) VALUES ('ack', '{}')", tenant(3)),
        format!("(verb, tenant_id) VALUES ('unprotect', '{}')", tenant(2)),
        "(verb) VALUES ('protect')".to_owned(),
        "(verb, batch) VALUES ('protect', 'b')".to_owned(),
        "(verb, domain) VALUES ('protect', 'prod')".to_owned(),
        "(verb, domain) VALUES ('hold', 'prod.example')".to_owned(),
        "(verb) VALUES ('ack')".to_owned(),
        "(verb, batch) VALUES ('set', 'nobody')".to_owned(),
    ] {
        run(&mut conn, &format!("INSERT INTO operator_requests {row}")).await.unwrap();
    }
    assert_eq!(bench.store.apply_requests(at(10)).await.unwrap(), 10);
    let row = bench.row(1).await;
    assert_eq!((row.priority, row.not_before), (7, Some(at(86_400))));
    assert_eq!(bench.row(2).await.state, State::Aborted);
    assert_eq!(bench.store.acks().await.unwrap().len(), 1);
    let left = bench.store.protections().await.unwrap();
    let pattern = DomainPattern::parse("*.prod.example").unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!((&left[0].subject, left[0].actor.as_str()), (&Subject::Domain(pattern), "sql"));
    let refusals = "SELECT group_concat(answer, '; ') FROM
                    (SELECT answer FROM operator_requests WHERE id > 4 ORDER BY id)";
    let refusals = value(&mut conn, refusals).await;
    for text in [
        "protect needs a tenant_id or a domain",
        "protect takes a tenant_id or a domain",
        "domain \"prod\" is none",
        "hold takes no domain",
        "ack needs a tenant_id",
        "nothing matched",
    ] {
        assert!(refusals.contains(text), "{text}: {refusals}");
    }
}

#[tokio::test]
async fn invariant_1_the_table_refuses_what_the_program_would_refuse() {
    let place = Place::new();
    drop(place.bench().await);
    let mut conn = plain(&place.path()).await;
    let protect = |subject: &str| {
        format!("INSERT INTO protections (kind, subject) VALUES ('domain', '{subject}')")
    };
    for wrong in
        ["prod", "*", "*prod.example", "a.*.example", "Prod.example", "a..b", ".a.b", "a.b."]
    {
        let error = run(&mut conn, &protect(wrong)).await.unwrap_err();
        assert!(error.contains("subject must be"), "{wrong}: {error}");
    }
    for pattern in ["*.prod.example", "one.example"] {
        run(&mut conn, &protect(pattern)).await.unwrap();
    }
    let patterns =
        ["*.prod.example", "one.example"].map(|text| DomainPattern::parse(text).unwrap());
    for (number, domain) in (1..).zip([
        "a.prod.example",
        " A.B.Prod.Example. ",
        "prod.example",
        "a.nonprod.example",
        ".prod.example",
        "one.example",
        "ONE.example.",
        "two.one.example",
        "*.prod.example",
        "a.prod.example.org",
    ]) {
        let insert = format!(
            "INSERT INTO teardowns (tenant_id, expected_domain) VALUES ('{}', '{domain}')",
            tenant(number)
        );
        let refused = match run(&mut conn, &insert).await {
            Ok(()) => false,
            Err(error) => error.contains("this tenant is protected"),
        };
        let matches = patterns.iter().any(|pattern| pattern.protects(domain));
        assert_eq!(refused, matches, "{domain:?}");
    }
}

#[tokio::test]
async fn answered_requests_are_history() {
    let place = Place::new();
    let bench = place.bench().await;
    let mut conn = plain(&place.path()).await;
    run(&mut conn, "INSERT INTO operator_requests (verb) VALUES ('pause')").await.unwrap();
    let change = "UPDATE operator_requests SET reason = 'lunch'";
    run(&mut conn, change).await.unwrap();
    bench.store.apply_requests(at(1)).await.unwrap();
    for statement in [change, "DELETE FROM operator_requests"] {
        let error = run(&mut conn, statement).await.unwrap_err();
        assert!(error.contains("history"), "{statement}: {error}");
    }
}
