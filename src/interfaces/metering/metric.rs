//! What a metric is: its name, type, unit and the closed set of its series.

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics::{gauge, histogram};

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only ever counts up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts into buckets with these upper bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word of the exposition format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What a series shows before anything is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing has happened, or there is none.
    Zero,
    /// Not known, or no such time: `NaN`, which is neither more nor less than anything.
    Unknown,
    /// No series: only some accounts have one.
    Absent,
}

/// One or several labels whose values go together, with all values they can take.
#[derive(Debug, Clone, Copy)]
pub struct Dimension {
    /// The labels.
    pub names: &'static [&'static str],
    /// What the values are, in words.
    pub about: &'static str,
    /// The values of the labels, in order, for these accounts.
    pub values: fn(&Scope) -> Vec<Vec<String>>,
}

/// What the closed sets depend on.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The configured accounts.
    pub accounts: Vec<String>,
}

/// A metric of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// Its labels.
    pub dimensions: &'static [&'static Dimension],
    /// What its series begin with.
    pub start: Start,
    /// What it tells, in one line.
    pub help: &'static str,
}

impl Metric {
    /// The labels, in order.
    pub fn label_names(&self) -> Vec<&'static str> {
        self.dimensions.iter().flat_map(|dimension| dimension.names).copied().collect()
    }

    /// The label values of every series that can exist.
    pub fn series(&self, scope: &Scope) -> Vec<Vec<String>> {
        self.dimensions.iter().fold(vec![Vec::new()], |series, dimension| {
            let values = (dimension.values)(scope);
            let extended = |begun: &Vec<String>| {
                values.iter().map(|more| [begun.as_slice(), more].concat()).collect::<Vec<_>>()
            };
            series.iter().flat_map(extended).collect()
        })
    }

    /// Tells the recorder of the metric, and of every series it will ever have.
    pub fn register(&self, scope: &Scope) {
        match self.kind {
            Kind::Counter => describe_counter!(self.name, self.unit, self.help),
            Kind::Gauge => describe_gauge!(self.name, self.unit, self.help),
            Kind::Histogram(_) => describe_histogram!(self.name, self.unit, self.help),
        }
        if self.start == Start::Absent {
            return;
        }
        for values in self.series(scope) {
            let labels = self.labels(values.iter().map(String::as_str));
            match (self.kind, self.start) {
                (Kind::Counter, _) => counter!(self.name, labels).absolute(0),
                (Kind::Gauge, Start::Unknown) => gauge!(self.name, labels).set(f64::NAN),
                (Kind::Gauge, _) => gauge!(self.name, labels).set(0.0),
                // A histogram that is asked for stands there without a sample.
                (Kind::Histogram(_), _) => drop(histogram!(self.name, labels)),
            }
        }
    }

    /// Sets the series of a gauge.
    pub fn set(&self, values: &[&str], to: f64) {
        gauge!(self.name, self.labels(values.iter().copied())).set(to);
    }

    /// Counts one in the series of a counter.
    pub fn count(&self, values: &[&str]) {
        counter!(self.name, self.labels(values.iter().copied())).increment(1);
    }

    /// Records a sample in the series of a histogram.
    pub fn record(&self, values: &[&str], sample: f64) {
        histogram!(self.name, self.labels(values.iter().copied())).record(sample);
    }

    fn labels<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> Vec<Label> {
        let pair = |(name, value): (&'static str, &str)| Label::new(name, value.to_owned());
        self.label_names().into_iter().zip(values).map(pair).collect()
    }
}
