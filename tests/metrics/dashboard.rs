//! The dashboard.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{exported, names_in, text};

fn dashboard() -> Value {
    serde_json::from_str(&text("deploy/grafana/teardownd.json")).unwrap()
}

#[test]
fn the_dashboard_is_one_page_with_a_row_for_each_account() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<_> = panels.iter().filter(|panel| panel["type"] == "row").collect();
    assert!(rows.iter().any(|row| row["repeat"] == "account"), "{rows:?}");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels share an id");
    for panel in panels {
        let place = &panel["gridPos"];
        let end = place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap();
        assert!(end <= 24, "{} leaves the page", panel["title"]);
        let targets = panel["targets"].as_array().map_or(0, Vec::len);
        assert_eq!(panel["type"] == "row", targets == 0, "{} asks for nothing", panel["title"]);
    }
}

#[test]
fn the_dashboard_uses_only_metrics_that_exist() {
    let mut expressions = Vec::new();
    collect(&dashboard(), &mut expressions);
    assert!(expressions.len() > 20, "only {} expressions were found", expressions.len());
    let exported = exported();
    for expression in &expressions {
        let names = names_in(expression);
        let up_only = expression.starts_with("up{");
        assert!(up_only || !names.is_empty(), "{expression}");
        let missing: Vec<_> = names.difference(&exported).collect();
        assert!(missing.is_empty(), "{expression}: {missing:?}");
    }
}

/// Every query: of panels, and of the variables.
fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "expr" => found.push(text.clone()),
                    Value::String(text) if name == "query" && text.contains('(') => {
                        found.push(text.clone());
                    }
                    _ => collect(field, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}
