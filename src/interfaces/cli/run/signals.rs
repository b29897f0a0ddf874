//! Signals: SIGTERM and SIGINT stop the daemon, SIGHUP lets it read its configuration anew.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::tasks::Tasks;
use crate::interfaces::cli::exit::{Exit, Failure};

/// A token that SIGTERM and SIGINT cancel.
pub(super) fn stop(tasks: &mut Tasks) -> Result<CancellationToken, Failure> {
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    tasks.spawn("the watch for signals", async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping: nothing new is claimed");
        token.cancel();
    });
    Ok(stop)
}

/// SIGHUP, which ends the process no more from here on.
pub(super) fn hangups() -> Result<Signal, Failure> {
    listen(SignalKind::hangup())
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| {
        Failure::new(Exit::Failed, format!("signals cannot be listened to: {error}"))
    })
}
