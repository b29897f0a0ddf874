//! `docs/metrics.md` lists exactly the catalogue.

use metrics::Unit;
use teardownd::core::reason::{Reason, ReasonKind};
use teardownd::interfaces::metering::{Dimension, Metric, Scope, catalogue};

use super::text;

#[test]
fn the_documentation_lists_every_metric() {
    let mut expected = vec![
        "| metric | type | unit | labels | what it tells |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    expected.extend(catalogue::ALL.iter().map(row));
    assert_table("metrics", &expected);
}

#[test]
fn the_documentation_lists_every_value_of_every_label() {
    let mut dimensions: Vec<&Dimension> = Vec::new();
    for dimension in catalogue::ALL.iter().flat_map(|metric| metric.dimensions) {
        if !dimensions.iter().any(|d| d.about == dimension.about) {
            dimensions.push(dimension);
        }
    }
    let mut expected =
        vec!["| labels | what they tell | values |".to_owned(), "|---|---|---|".to_owned()];
    expected.extend(dimensions.into_iter().map(label_row));
    assert_table("labels", &expected);
}

#[test]
fn the_kinds_of_reasons_are_the_groups_of_the_readme() {
    let readme = text("README.md");
    let groups = [
        ("waiting", ReasonKind::Waiting),
        ("held", ReasonKind::Held),
        ("failed", ReasonKind::Failed),
        ("history", ReasonKind::Moved),
    ];
    for (group, kind) in groups {
        let (_, table) = readme.split_once(&format!("<!-- reasons: {group} -->\n")).unwrap();
        let rows = table.lines().take_while(|line| line.starts_with('|')).skip(2);
        let listed: Vec<_> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
        let of_kind = Reason::ALL.iter().filter(|reason| reason.kind() == kind);
        assert_eq!(listed, of_kind.map(|reason| reason.as_str()).collect::<Vec<_>>(), "{group}");
    }
}

fn row(metric: &Metric) -> String {
    let unit = match metric.unit {
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
        _ => "1",
    };
    let labels: Vec<_> = metric.label_names().iter().map(|name| format!("`{name}`")).collect();
    let (name, kind, labels) = (metric.name, metric.kind.as_str(), labels.join(", "));
    format!("| `{name}` | {kind} | {unit} | {labels} | {} |", metric.help)
}

fn label_row(dimension: &Dimension) -> String {
    let marker = "the accounts";
    let is_reason = matches!(dimension.names, ["reason" | "guard"]);
    let scope = Scope { accounts: vec![marker.to_owned()] };
    let mut values: Vec<String> = (dimension.values)(&scope)
        .iter()
        .map(|values| match values.join("` `") {
            only if only == marker => "each account".to_owned(),
            only if only == env!("CARGO_PKG_VERSION") => "the version".to_owned(),
            // Their groups are compared with the README in a test of its own.
            code if is_reason && Reason::parse(&code).is_some() => "codes of the README".to_owned(),
            values => format!("`{values}`"),
        })
        .collect();
    values.dedup();
    let names: Vec<_> = dimension.names.iter().map(|name| format!("`{name}`")).collect();
    format!("| {} | {} | {} |", names.join(", "), dimension.about, values.join(", "))
}

fn assert_table(name: &str, expected: &[String]) {
    let page = text("docs/metrics.md");
    let (_, rest) = page.split_once(&format!("<!-- {name} -->\n")).expect("the table's mark");
    let (table, _) = rest.split_once("<!-- end -->").expect("the table's end");
    let shown: Vec<_> = table.lines().collect();
    let all = expected.join("\n");
    assert_eq!(shown, expected, "docs/metrics.md should hold, after <!-- {name} -->:\n{all}\n");
}
