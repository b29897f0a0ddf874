//! What may stand on the command line.

mod operators;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use self::operators::{
    AuditCommand, DiscoverArgs, ExportArgs, ProtectArgs, QuotaArgs, SetArgs, UnprotectArgs,
};
use super::when::When;
use crate::core::ids::{AccountName, TenantId};
use crate::core::teardown::{State, Status};

/// Tears down the customer tenants of a Microsoft Partner Center integration sandbox.
#[derive(Debug, Parser)]
#[command(name = "teardownd", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The configuration file [default: /etc/teardownd/teardownd.toml, if it exists]
    // An empty variable stands for none, as container tools set it.
    #[arg(
        long,
        global = true,
        env = "TEARDOWND_CONFIG",
        value_name = "FILE",
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    pub(crate) config: Option<PathBuf>,
    /// How results are printed; errors take the same form on standard error
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Who asks, for the record [default: the name of the operating system's user]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) actor: Option<String>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[cfg(feature = "simulator")]
    /// Tear down a simulated sandbox and report how it went
    Demo(DemoArgs),
    /// Run the daemon
    Run,
    /// Let the running daemon read its configuration anew, and tell its answer
    Reload(ReloadArgs),
    /// Check configuration, database and credentials; writes nothing anywhere
    Check,
    /// Create the database, or bring it to this version's schema
    Migrate,
    /// Copy the database into a new file, also while the daemon runs
    Backup(FileArgs),
    /// Put a backup in the place of the database; starts paused
    Restore(FileArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder, which must exist
        #[arg(value_name = "DIR", value_parser = OsStringValueParser::new().map(PathBuf::from))]
        folder: PathBuf,
    },
    /// Queue tenants to be torn down; calls no API
    Enqueue(EnqueueArgs),
    /// Wait until teardowns have ended
    Wait(WaitArgs),
    /// Show who works on the database, the accounts, and what needs a person
    Status,
    /// List teardowns
    List(ListArgs),
    /// Show teardowns with their purchases and commands
    Show(TenantArgs),
    /// Show every state change and every write of tenants
    History(TenantArgs),
    /// Explain why a tenant does not move, gate by gate
    Why(TenantArgs),
    /// Print all that a ticket to Microsoft needs, without secrets
    Support(TenantArgs),
    /// Read what would be cancelled, by which route, and what would block; writes nothing
    Plan(PlanArgs),
    /// Approve teardowns for what their tenants have bought by now, or by a saved plan
    Approve(ApproveArgs),
    /// End teardowns for good, unless a DELETE is out
    Abort(OperateArgs),
    /// Queue failed teardowns again
    Retry(RetryArgs),
    /// Stop teardowns until they are released
    Hold(OperateArgs),
    /// Let held teardowns go on
    Release(OperateArgs),
    /// Start no new write, for an account or for everything
    Pause(PauseArgs),
    /// End a pause
    Resume(ResumeArgs),
    /// Lift the halt that a safety stop put on an account
    Unhalt(UnhaltArgs),
    /// Show whose an account is and let the daemon write to it
    Arm(ArmArgs),
    /// Take back that an account is armed
    Disarm(DisarmArgs),
    /// Acknowledge what is stuck, held or failed: it rings no more until that changes
    Ack(OperateArgs),
    /// Set priority or earliest time of teardowns
    Set(SetArgs),
    /// Never touch these tenants or domains: abort their teardowns and queue no other
    Protect(ProtectArgs),
    /// Lift a protection
    Unprotect(UnprotectArgs),
    /// Show how much room each account has, what is being freed and what blocks the rest
    Quota(QuotaArgs),
    /// Look for customers that could be torn down, and queue them if that is asked for
    Discover(DiscoverArgs),
    /// Watch what moves until all has ended
    Watch(WatchArgs),
    /// The record of what was asked for and done
    #[command(subcommand)]
    Audit(AuditCommand),
}

#[cfg(feature = "simulator")]
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many customers the simulated sandbox has
    #[arg(long, value_name = "N", default_value_t = 75)]
    pub(crate) tenants: u32,
    /// Let one answer in ten be faulty, in every way the simulator knows, with tokens of 3 seconds
    #[arg(long)]
    pub(crate) faults: bool,
    /// Requests a minute that the simulator allows for each resource
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) budget: u32,
    /// Customers with a savings plan, which the API cannot cancel
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) savings_plans: u32,
    /// Seed of the simulated customers
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// The file of the backup
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// Wait no longer than this for the daemon's answer
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct EnqueueArgs {
    /// Tenant ids
    #[arg(value_name = "TENANT", required_unless_present = "file")]
    pub(crate) tenants: Vec<String>,
    /// CSV or JSON lines with a tenant each; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "tenants")]
    pub(crate) file: Option<PathBuf>,
    /// The account the tenants are customers of; may be left out where there is only one
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: Option<AccountName>,
    /// The domain the tenant must turn out to have
    #[arg(long)]
    pub(crate) domain: Option<String>,
    /// A name to find these teardowns by
    #[arg(long)]
    pub(crate) batch: Option<String>,
    /// Start no earlier: a time such as 2027-01-31T18:00:00Z, or a duration from now such as 2h
    #[arg(long, value_name = "TIME")]
    pub(crate) not_before: Option<When>,
    /// Higher goes first
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) priority: i64,
    /// Why, for the record
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Also what was deleted before
    #[arg(long)]
    pub(crate) again: bool,
    /// Wait until all have ended
    #[arg(long)]
    pub(crate) wait: bool,
    /// Wait no longer than this, such as 30m
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

/// Which teardowns a command is about; conditions are joined by "and".
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Filters {
    /// Tenant ids
    #[arg(value_name = "TENANT")]
    pub(crate) tenants: Vec<TenantId>,
    /// Only this account
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: Option<AccountName>,
    /// Only this batch
    #[arg(long)]
    pub(crate) batch: Option<String>,
    /// Only these states
    #[arg(long, value_parser = state, value_delimiter = ',')]
    pub(crate) state: Vec<State>,
}

/// [`Filters`] of a command that must not mean everything by accident.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// Everything there is
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Wait no longer than this, such as 30m
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// Only these: moving, waiting, held, failed, done
    #[arg(long, value_parser = status, value_delimiter = ',')]
    pub(crate) status: Vec<Status>,
    /// Only what has stood in one state for longer than engine.stuck_after
    #[arg(long)]
    pub(crate) stuck: bool,
    /// Only what is stuck, held or failed and not acknowledged; of each tenant the newest
    #[arg(long)]
    pub(crate) ringing: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) filters: Filters,
}

#[derive(Debug, Args)]
pub(crate) struct TenantArgs {
    /// Tenant ids
    #[arg(value_name = "TENANT", required = true)]
    pub(crate) tenants: Vec<TenantId>,
    /// Only this account
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: Option<AccountName>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) tenants: TenantArgs,
    /// Write the plan to a file too, for `approve --plan`
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Approve the tenants of a plan, for what it says of them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tenants", "account", "batch", "state", "all"])]
    pub(crate) plan: Option<PathBuf>,
    /// How many teardowns are meant; asked for on a terminal where none is named
    #[arg(long, value_name = "N")]
    pub(crate) expect: Option<usize>,
    /// Why, for the record
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OperateArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Why, for the record
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    pub(crate) operate: OperateArgs,
    /// Send what is held to be impossible (old orders, savings plans), to find out what the API says
    #[arg(long)]
    pub(crate) try_anyway: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Only this account [default: everything]
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: Option<AccountName>,
    /// When it ends by itself: a time such as 2027-01-31T18:00:00Z, or a duration such as 2h
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<When>,
    /// Why, for the record
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Only this account [default: everything]
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: Option<AccountName>,
    /// Why, for the record
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct UnhaltArgs {
    /// The halted account
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: AccountName,
    /// The account's name once more; asked for on a terminal
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) confirm: Option<AccountName>,
    /// Why it is safe to go on, for the record
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ArmArgs {
    /// The account
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: AccountName,
    /// The account's name once more; asked for on a terminal
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) confirm: Option<AccountName>,
    /// Why, for the record
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DisarmArgs {
    /// The account
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: AccountName,
    /// Why, for the record
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

fn account(text: &str) -> Result<AccountName, String> {
    match text.trim() {
        "" | AccountName::EVERY => Err("expected the name of an account".to_owned()),
        name => Ok(AccountName::new(name)),
    }
}

fn state(text: &str) -> Result<State, String> {
    State::parse(text).ok_or_else(|| format!("expected {}", listed(State::ALL.map(State::as_str))))
}

fn status(text: &str) -> Result<Status, String> {
    Status::parse(text)
        .ok_or_else(|| format!("expected {}", listed(Status::ALL.map(Status::as_str))))
}

fn listed<const N: usize>(names: [&str; N]) -> String {
    format!("one of {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in [
            ["teardownd", "--output", "json", "--actor", "anna", "list"],
            ["teardownd", "list", "--output", "json", "--actor", "anna"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.globals.output, Output::Json);
            assert_eq!(cli.globals.actor.as_deref(), Some("anna"));
        }
    }

    #[test]
    fn wrong_states_and_tenants_are_named_with_what_is_expected() {
        let error = Cli::try_parse_from(["teardownd", "list", "--state", "gone"]).unwrap_err();
        assert!(error.to_string().contains("one of queued, entitlements_fetched"), "{error}");
        let error = Cli::try_parse_from(["teardownd", "why", "abc"]).unwrap_err();
        assert!(error.to_string().contains("\"abc\" is not a tenant id"), "{error}");
    }
}
