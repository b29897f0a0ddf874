//! The catalogue of metrics, and whatever is written in its terms: the documentation, the rules, the
//! runbook and the dashboard. That the running daemon exports exactly the catalogue stands in
//! `tests/e2e/metrics.rs`.

mod dashboard;
mod documentation;
mod rules;

use std::collections::BTreeSet;
use std::path::PathBuf;

use teardownd::interfaces::metering::{Kind, catalogue};

/// A file of the repository.
fn text(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names under which series are exported: of a histogram, those of its parts.
fn exported() -> BTreeSet<String> {
    let names = catalogue::ALL.iter().flat_map(|metric| match metric.kind {
        Kind::Histogram(_) => {
            ["_bucket", "_sum", "_count"].map(|p| metric.name.to_owned() + p).to_vec()
        }
        Kind::Counter | Kind::Gauge => vec![metric.name.to_owned()],
    });
    names.collect()
}

/// The names of metrics in an expression: those of recording rules have colons.
fn names_in(expression: &str) -> BTreeSet<String> {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !part_of_name(c));
    words.filter(|word| word.contains("teardownd_")).map(str::to_owned).collect()
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    for metric in catalogue::ALL {
        let name = metric.name;
        assert!(name.starts_with("teardownd_"), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
        assert_eq!(name.ends_with("_seconds"), metric.unit == metrics::Unit::Seconds, "{name}");
        assert_eq!(name.ends_with("_bytes"), metric.unit == metrics::Unit::Bytes, "{name}");
        assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}");
        let labels = metric.label_names();
        let distinct: BTreeSet<_> = labels.iter().collect();
        assert_eq!(distinct.len(), labels.len(), "{name}");
        assert!(!labels.iter().any(|l| ["tenant", "domain", "batch"].contains(l)), "{name}");
        if let Kind::Histogram(buckets) = metric.kind {
            assert!(buckets.is_sorted_by(|one, next| one < next), "{name}");
        }
    }
    let names: BTreeSet<_> = catalogue::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), catalogue::ALL.len(), "a name stands there twice");
}

#[test]
fn histograms_of_teardowns_reach_from_seconds_to_the_deadline() {
    for metric in [&catalogue::STATE_DURATION, &catalogue::TEARDOWN_DURATION] {
        let Kind::Histogram(buckets) = metric.kind else { panic!("{}", metric.name) };
        let (minute, hour, day) = (60.0, 3600.0, 86_400.0);
        assert!([minute, hour, day, 14.0 * day].iter().all(|bound| buckets.contains(bound)));
    }
}

#[test]
fn what_the_layers_below_count_stands_in_the_catalogue() {
    let known: BTreeSet<_> = catalogue::ALL.iter().map(|metric| metric.name).collect();
    let mut counted = BTreeSet::new();
    for folder in ["src/runtime", "src/partner_center", "src/store"] {
        sources(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder), &mut |source| {
            let literals = source.split('"').filter(|part| part.starts_with("teardownd_"));
            counted.extend(literals.map(str::to_owned));
        });
    }
    assert!(counted.len() >= 8, "{counted:?}");
    let unknown: Vec<_> = counted.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

fn sources(folder: &std::path::Path, read: &mut impl FnMut(&str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, read);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read(&std::fs::read_to_string(path).unwrap());
        }
    }
}
