//! The arguments of what operators do beside the plain verbs: settings, protection, quota, discovery
//! and the audit.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{OperateArgs, account};
use crate::core::domain::DomainPattern;
use crate::core::ids::AccountName;
use crate::core::protection::Subject;
use crate::interfaces::cli::when::When;

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    pub(crate) operate: OperateArgs,
    /// Higher goes first
    #[arg(long, allow_negative_numbers = true, required_unless_present = "not_before")]
    pub(crate) priority: Option<i64>,
    /// Start no earlier: a time such as 2027-01-31T18:00:00Z, or a duration from now such as 2h
    /// (0s: at once)
    #[arg(long, value_name = "TIME")]
    pub(crate) not_before: Option<When>,
}

#[derive(Debug, Args)]
pub(crate) struct ProtectArgs {
    /// Tenant ids, or domains such as prod.example or *.prod.example
    #[arg(value_name = "TENANT|DOMAIN", value_parser = Subject::parse,
          required_unless_present = "list")]
    pub(crate) subjects: Vec<Subject>,
    /// Only in this account [default: in every account]
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: Option<AccountName>,
    /// Show what is protected
    #[arg(long, conflicts_with = "subjects")]
    pub(crate) list: bool,
    /// Why, for the record
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct UnprotectArgs {
    /// A tenant id or domain, as `protect --list` shows it
    #[arg(value_name = "TENANT|DOMAIN", value_parser = Subject::parse)]
    pub(crate) subject: Subject,
    /// The entry of this account [default: the one of every account]
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: Option<AccountName>,
    /// The tenant id or domain once more; asked for on a terminal
    #[arg(long, value_name = "TENANT|DOMAIN")]
    pub(crate) confirm: Option<String>,
    /// Why, for the record
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct QuotaArgs {
    /// Only this account
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: Option<AccountName>,
    /// Whether so many customers fit in beside those there are
    #[arg(long, value_name = "N")]
    pub(crate) need: Option<usize>,
    /// Wait until they do
    #[arg(long, requires = "need")]
    pub(crate) wait: bool,
    /// Wait no longer than this, such as 30m
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct DiscoverArgs {
    /// The account; may be left out where there is only one
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: Option<AccountName>,
    /// Only customers of these domains, such as *.onmicrosoft.com
    #[arg(long, value_name = "PATTERN", value_parser = DomainPattern::parse, value_delimiter = ',')]
    pub(crate) domain: Vec<DomainPattern>,
    /// Not these tenants and domains
    #[arg(long, value_name = "TENANT|DOMAIN", value_parser = Subject::parse, value_delimiter = ',')]
    pub(crate) exclude: Vec<Subject>,
    /// Only customers that have been known for so long, such as 7d; an unknown age is none
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) min_age: Option<Duration>,
    /// Do not read what each customer has bought
    #[arg(long)]
    pub(crate) quick: bool,
    /// Queue the customers that qualify, after the account's name is typed
    #[arg(long)]
    pub(crate) enqueue: bool,
    /// Instead of typing the name: how many must qualify, exactly
    #[arg(long, value_name = "N", requires = "enqueue")]
    pub(crate) expect: Option<usize>,
    /// A name to find these teardowns by
    #[arg(long, requires = "enqueue")]
    pub(crate) batch: Option<String>,
    /// Also those that were queued before
    #[arg(long)]
    pub(crate) again: bool,
    /// Why, for the record
    #[arg(long, requires = "enqueue")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print every state change, write and operator's request as JSON lines, oldest first
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// From then on: a time such as 2027-01-31T18:00:00Z [default: everything that is kept]
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<jiff::Timestamp>,
    /// Before then [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<jiff::Timestamp>,
    /// Only this account
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub(crate) account: Option<AccountName>,
}
