//! Logs on standard error, and the recorder behind `/metrics`.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use super::config::{Log, LogFormat};
use super::metering::{Kind, catalogue};

/// Why logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The directives of `log.filter` cannot be read.
    #[error("log.filter = {0:?} cannot be read; write directives such as \"warn,teardownd=debug\"")]
    Filter(String),
    /// The process has a logger or a recorder already.
    #[error("{0} cannot be set up twice in one process")]
    Twice(&'static str),
    /// The buckets of the histograms were refused.
    #[error("the histograms of the metrics cannot be set up: {0}")]
    Buckets(#[from] metrics_exporter_prometheus::BuildError),
}

/// Decides which log lines are written, and can be changed while the process runs.
#[derive(Debug, Clone)]
pub struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    /// From now on these directives hold.
    ///
    /// # Errors
    /// When they cannot be read; the former ones then stay.
    pub fn set(&self, directives: &str) -> Result<(), TelemetryError> {
        // A logger that is gone has nothing left to filter.
        self.0.reload(filter(directives)?).ok();
        Ok(())
    }
}

fn filter(directives: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(directives).map_err(|_| TelemetryError::Filter(directives.to_owned()))
}

/// Sends the log lines of this process to standard error, in the form the configuration asks for.
/// Lines carry the fields of the span they are written in. docs/logs.md says what they hold.
///
/// # Errors
/// When the filter cannot be read, or the process logs already.
pub fn init_logs(log: &Log) -> Result<LogFilter, TelemetryError> {
    let (filter, handle) = reload::Layer::new(filter(&log.filter)?);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|_| TelemetryError::Twice("the logger"))?;
    Ok(LogFilter(handle))
}

/// Installs the recorder of this process's metrics. Its owner calls
/// [`run_upkeep`](PrometheusHandle::run_upkeep) every few seconds, or histograms grow without end.
///
/// # Errors
/// When the process has a recorder already.
pub fn install_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Twice("the recorder"))?;
    Ok(handle)
}

/// A recorder that knows the buckets of every histogram.
fn recorder() -> Result<PrometheusRecorder, TelemetryError> {
    let mut builder = PrometheusBuilder::new();
    for metric in catalogue::ALL {
        if let Kind::Histogram(buckets) = metric.kind {
            builder =
                builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    Ok(builder.build_recorder())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::metering::Scope;

    #[test]
    fn every_histogram_stands_there_with_its_buckets_before_the_first_sample() {
        let recorder = recorder().unwrap();
        let scope = Scope { accounts: vec!["default".to_owned()] };
        metrics::with_local_recorder(&recorder, || {
            catalogue::ALL.iter().for_each(|metric| metric.register(&scope));
            catalogue::LAG_SECONDS.record(&[], 0.3);
        });
        let text = recorder.handle().render();
        for (bound, count) in [("0.1", 0), ("0.5", 1), ("1800", 1), ("+Inf", 1)] {
            let line = format!("teardownd_scheduler_lag_seconds_bucket{{le=\"{bound}\"}} {count}");
            assert!(text.contains(&line), "{line}\n{text}");
        }
        for metric in catalogue::ALL.iter().filter(|m| matches!(m.kind, Kind::Histogram(_))) {
            assert!(text.contains(&format!("{}_bucket{{", metric.name)), "{}", metric.name);
        }
    }

    #[test]
    fn a_wrong_filter_is_named() {
        let log = Log { format: LogFormat::Text, filter: "a=b=c".to_owned() };
        assert!(init_logs(&log).unwrap_err().to_string().contains("\"a=b=c\""));
    }
}
