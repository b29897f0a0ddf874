//! The command line. Each command is a function from its arguments to a `Report`
//! or a `Failure`; printing and exit codes are here.

mod actor;
mod approve;
mod args;
mod arm;
mod audit;
mod beside;
mod check;
mod confirm;
mod context;
mod copies;
#[cfg(feature = "simulator")]
mod demo;
mod discover;
mod enqueue;
mod exit;
mod history;
mod list;
mod man;
mod open;
mod operate;
mod plan;
mod protect;
mod quota;
mod reload;
mod run;
mod select;
mod show;
mod status;
mod support;
mod tenants;
#[cfg(test)]
mod testing;
pub(super) mod view;
mod wait;
mod watch;
mod when;
mod why;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use serde_json::json;

use self::args::{AuditCommand, Cli, Command, Globals, Output};
use self::context::complain;
use self::exit::{Ending, Exit, Failure, Report};
use crate::store::Verb;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new(Exit::Failed, format!("cannot start: {error}"));
            return conclude(Err(failure), cli.globals.output);
        }
    };
    let ending = runtime.block_on(dispatch(&cli.globals, &cli.command));
    let code = conclude(ending, cli.globals.output);
    // What is still under way, such as a look-up of a name, must not keep the process.
    runtime.shutdown_background();
    code
}

async fn dispatch(globals: &Globals, command: &Command) -> Ending {
    match command {
        #[cfg(feature = "simulator")]
        Command::Demo(args) => demo::execute(globals, args).await,
        Command::Run => run::execute(globals).await,
        Command::Reload(args) => reload::execute(globals, args).await,
        Command::Check => check::execute(globals).await,
        Command::Migrate => migrate(globals).await,
        Command::Backup(args) => copies::backup(globals, args).await,
        Command::Restore(args) => copies::restore(globals, args).await,
        Command::Completions { shell } => Ok(completions(*shell)),
        Command::Man { folder } => man::execute(folder),
        Command::Enqueue(args) => enqueue::execute(globals, args).await,
        Command::Wait(args) => wait::execute(globals, args).await,
        Command::Status => status::execute(globals).await,
        Command::List(args) => list::execute(globals, args).await,
        Command::Show(args) => show::execute(globals, args).await,
        Command::History(args) => history::execute(globals, args).await,
        Command::Why(args) => why::execute(globals, args).await,
        Command::Support(args) => support::execute(globals, args).await,
        Command::Plan(args) => plan::execute(globals, args).await,
        Command::Approve(args) => approve::execute(globals, args).await,
        Command::Abort(args) => operate::teardowns(globals, Verb::Abort, args).await,
        Command::Retry(args) => operate::retry(globals, args).await,
        Command::Hold(args) => operate::teardowns(globals, Verb::Hold, args).await,
        Command::Release(args) => operate::teardowns(globals, Verb::Release, args).await,
        Command::Pause(args) => operate::pause(globals, args).await,
        Command::Resume(args) => operate::resume(globals, args).await,
        Command::Unhalt(args) => operate::unhalt(globals, args).await,
        Command::Arm(args) => arm::execute(globals, args).await,
        Command::Disarm(args) => arm::disarm(globals, args).await,
        Command::Ack(args) => operate::teardowns(globals, Verb::Ack, args).await,
        Command::Set(args) => operate::set(globals, args).await,
        Command::Protect(args) => protect::protect(globals, args).await,
        Command::Unprotect(args) => protect::unprotect(globals, args).await,
        Command::Quota(args) => quota::execute(globals, args).await,
        Command::Discover(args) => discover::execute(globals, args).await,
        Command::Watch(args) => watch::execute(globals, args).await,
        Command::Audit(AuditCommand::Export(args)) => audit::export(globals, args).await,
    }
}

async fn migrate(globals: &Globals) -> Ending {
    let config = globals.configuration()?;
    let (text, json) = open::migrate(&config, &open::clock()).await?;
    Ok(Report::done(format!("{}: {text}\n", config.database.place), json))
}

fn completions(shell: Shell) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "teardownd", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let json = json!({"shell": shell.to_string(), "script": script});
    Report::done(script, json)
}

/// Prints what the parser has to say: help and version on standard output, errors as errors.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if error.use_stderr() && wants_json(arguments) {
        let text = error.render().to_string();
        let message = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
        let failure =
            Failure::new(Exit::Usage, message).hint("`teardownd help` shows the commands");
        return conclude(Err(failure), Output::Json);
    }
    // Standard output may be closed already; there is nobody left to tell.
    error.print().ok();
    ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Done.code() })
}

/// Whether a command line that cannot be parsed asks for JSON.
fn wants_json(arguments: &[OsString]) -> bool {
    arguments.iter().any(|argument| argument == "--output=json")
        || arguments.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json")
}

/// Prints how a command ended, and turns it into an exit code.
fn conclude(ending: Ending, output: Output) -> ExitCode {
    let (report, failure) = match ending {
        Ok(mut report) => {
            let failure = report.failure.take();
            (Some(report), failure)
        }
        Err(failure) => (None, Some(failure)),
    };
    let mut exit = failure.as_ref().map_or(Exit::Done, |failure| failure.exit);
    if let Some(report) = report {
        exit = report.exit;
        let text = match output {
            Output::Text => report.text,
            Output::Json if report.json.is_null() => String::new(),
            Output::Json => format!("{}\n", report.json),
        };
        if let Err(error) = print(&text) {
            complain(format_args!("error: the result cannot be printed: {error}"));
            exit = Exit::Failed;
        }
    }
    if let Some(failure) = failure {
        match output {
            Output::Text => complain(&failure),
            Output::Json => complain(failure.json()),
        }
    }
    ExitCode::from(exit.code())
}

/// Writes to standard output. A reader that has seen enough is no error.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
