//! The text format of Prometheus, read as far as the daemon writes it.

use std::collections::{BTreeMap, BTreeSet};

/// Names and values of a series' labels, in alphabetical order.
pub type Labels = BTreeMap<String, String>;

/// What one scrape has brought.
#[derive(Debug, Default)]
pub struct Exposition {
    /// The type of each metric, by name.
    pub types: BTreeMap<String, String>,
    /// The help of each metric, by name.
    pub help: BTreeMap<String, String>,
    /// Values by name and labels. The parts of a histogram have names of their own.
    pub values: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Reads what was scraped.
    pub fn read(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
            {
                assert_eq!(read.types.insert(name.to_owned(), kind.to_owned()), None, "{line}");
            } else if let Some((name, help)) =
                line.strip_prefix("# HELP ").and_then(|l| l.split_once(' '))
            {
                read.help.insert(name.to_owned(), help.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let known = read.values.insert(series_of(series), value.parse().unwrap());
                assert_eq!(known, None, "{line}");
            }
        }
        read
    }

    /// The value of a series.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let key = (name.to_owned(), labels.collect::<Labels>());
        *self.values.get(&key).unwrap_or_else(|| panic!("no {key:?}"))
    }

    /// The sum of all series of a name.
    pub fn sum(&self, name: &str) -> f64 {
        self.values.iter().filter(|((own, _), _)| own == name).map(|(_, value)| value).sum()
    }

    /// The labels of all series of a metric; those of a histogram's buckets without their bound.
    pub fn series(&self, name: &str) -> BTreeSet<Labels> {
        let bucket = format!("{name}_bucket");
        let own = self.values.keys().filter(|(found, _)| found == name || *found == bucket);
        own.map(|(_, labels)| {
            let mut labels = labels.clone();
            labels.remove("le");
            labels
        })
        .collect()
    }
}

/// No value of a label holds a quote or a comma.
fn series_of(text: &str) -> (String, Labels) {
    let Some((name, labels)) = text.split_once('{') else {
        return (text.to_owned(), Labels::new());
    };
    let pairs = labels.trim_end_matches('}').split("\",");
    let pair = |pair: &str| {
        let (name, value) = pair.split_once("=\"").unwrap();
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    };
    (name.to_owned(), pairs.map(pair).collect())
}
