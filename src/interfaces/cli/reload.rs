//! `reload`: lets the running daemon, or every replica, read its configuration anew, and tells the answer.

use std::time::Duration;

use serde_json::json;

use super::args::{Globals, ReloadArgs};
use super::context::Context;
use super::exit::{Ending, Exit, Failure, Report};
use crate::store::ReloadAnswer;

/// Between two looks for the answer.
const PACE: Duration = Duration::from_millis(100);

/// Runs the command.
pub(crate) async fn execute(globals: &Globals, args: &ReloadArgs) -> Ending {
    // Without a configuration there is no way to the daemon's database.
    let config = globals
        .configuration()
        .map_err(|broken| broken.hint("the daemon was not asked and runs on with what it had"))?;
    let context = Context::with(globals, config).await?;
    if let Some(silence) = context.silence().await? {
        return Err(Failure::new(Exit::Failed, silence)
            .hint("a daemon reads its configuration when it starts: `teardownd run`"));
    }
    let id = context.store.ask_reload(&context.actor, context.clock.now()).await?;
    let start = context.clock.uptime();
    loop {
        if let Some(answer) = context.store.reload_answer(id, context.clock.now()).await? {
            return Ok(report(&answer));
        }
        if context.clock.uptime().saturating_sub(start) >= args.timeout {
            let waited = humantime::format_duration(args.timeout);
            return Err(Failure::new(
                Exit::TimedOut,
                format!("the daemon has not answered within {waited}"),
            )
            .hint("/readyz on its metrics.listen says what is the matter with it"));
        }
        context.clock.sleep(PACE).await;
    }
}

fn report(answer: &ReloadAnswer) -> Report {
    let json = json!({"reload": answer});
    if answer.taken_up {
        return Report::done(format!("{}\n", answer.text), json);
    }
    let failure = Failure::new(Exit::Unfit, answer.text.clone())
        .hint("correct the configuration and run `teardownd reload` again");
    Report::failed(String::new(), json, failure)
}
