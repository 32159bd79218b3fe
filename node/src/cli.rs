//! The command line: parses, draws progress, prints, and turns errors into `error CODE: message` with exit
//! code 1.
//!
//! **Promised**: results go to standard output and nothing else does, so that `--json` is one object; errors
//! and progress go to standard error; the exit code is 0 for a good end, 1 for an error or a check that found
//! something, 2 for a command line that does not parse. **Not here**: what commands do, which is
//! [`windvane::admin`] and its neighbours.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};
use windvane::telemetry;

mod audit;
mod authority;
mod backup;
mod batch;
mod bench;
mod check;
mod dataset;
mod demo;
mod failure;
mod function;
mod grant;
mod keys;
mod node;
mod partner;
mod place;
mod progress;
mod psi;
mod retain;
mod retire;
mod score;
mod screen;
mod snapshot;
mod terminal;
mod train;
mod verify;

pub(crate) use terminal::Terminal;

use failure::Failure;
use terminal::Answer;

/// Exit code of a command line that does not parse.
const USAGE: u8 = 2;

/// Private verification between a bank and its data providers.
#[derive(Debug, Parser)]
#[command(name = "windvane", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 good, 1 error or findings, 2 usage. Logs: set WINDVANE_LOG, such as \
    `windvane=debug`.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until SIGTERM or SIGINT
    Node(node::NodeArgs),
    /// Make and list a node's keys, admit callers, run a trial authority
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Switch what the node does at all
    #[command(subcommand)]
    Function(function::FunctionCommand),
    /// Enrol this node and its partners
    #[command(subcommand)]
    Partner(partner::PartnerCommand),
    /// Issue, accept, list and end grants
    #[command(subcommand)]
    Grant(grant::GrantCommand),
    /// Import, build and publish a provider's data sets
    #[command(subcommand)]
    Dataset(dataset::DatasetCommand),
    /// Download providers' encrypted tables
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
    /// Verify one customer through the running node
    Verify(verify::VerifyArgs),
    /// Verify a file of customers through the running node
    VerifyBatch(batch::BatchArgs),
    /// Intersect a file with a provider's list
    #[command(subcommand)]
    Psi(psi::PsiCommand),
    /// Score jointly with other providers
    #[command(subcommand)]
    Score(score::ScoreCommand),
    /// Train a joint model with other providers
    Train(Box<train::TrainArgs>),
    /// Screen existing customers against providers' risk lists
    #[command(subcommand)]
    Screen(screen::ScreenCommand),
    /// Check logs offline, as an auditor does
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Back up the node, which may be running, or check a backup
    Backup(backup::BackupArgs),
    /// Make a new data directory from a backup, without going back behind the newest log
    Restore(backup::RestoreArgs),
    /// Destroy what was kept as long as its class is, and show what is due
    #[command(subcommand)]
    Retain(retain::RetainCommand),
    /// Destroy what leaves service, with a signed protocol: an epoch, a data set, a partner, or this node
    #[command(subcommand)]
    Retire(retire::RetireCommand),
    /// Check a configuration, and what it names, without the network
    CheckConfig(check::CheckArgs),
    /// Print the REST interface's OpenAPI 3.1 document
    Openapi,
    /// Run a bank and three carriers on this machine against a simulated truth
    Demo(demo::DemoArgs),
    /// Measure this machine with real nodes
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

/// Runs one command line, the program's name first; gives the process's exit code.
pub(crate) fn run<I, T>(arguments: I, terminal: &mut Terminal<'_>) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let about_customer = arguments.get(1).is_some_and(|command| command == "verify");
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let error = if about_customer { without_values(error) } else { error };
            terminal.error(&error.render());
            return ExitCode::from(USAGE);
        }
        Err(help) => return terminal.answer(&Answer::text(help.render().to_string())),
    };
    telemetry::start(cli.command.log_level());
    match cli.command.run() {
        Ok(answer) => terminal.answer(&answer),
        Err(failure) => terminal.failure(&failure),
    }
}

/// The same error without anything that was typed: it may be a customer's name or number, and errors end in
/// the logs of whatever called this program.
fn without_values(mut error: clap::Error) -> clap::Error {
    let hidden = || ContextValue::String("…".to_owned());
    if error.kind() == ErrorKind::UnknownArgument {
        error.insert(ContextKind::InvalidArg, hidden());
        error.remove(ContextKind::Suggested);
        error.remove(ContextKind::TrailingArg);
    }
    if error.get(ContextKind::InvalidValue).is_some() {
        error.insert(ContextKind::InvalidValue, hidden());
    }
    error
}

impl Command {
    /// What is logged unless `WINDVANE_LOG` says otherwise.
    const fn log_level(&self) -> &'static str {
        match self {
            Self::Node(_) => "info",
            _ => "warn",
        }
    }

    fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Node(args) => node::run(&args),
            Self::Keys(command) => command.run(),
            Self::Partner(command) => command.run(),
            Self::Grant(command) => command.run(),
            Self::Dataset(command) => command.run(),
            Self::Snapshot(command) => command.run(),
            Self::Verify(args) => args.run(),
            Self::VerifyBatch(args) => args.run(),
            Self::Psi(command) => command.run(),
            Self::Score(command) => command.run(),
            Self::Function(command) => command.run(),
            Self::Train(args) => args.run(),
            Self::Screen(command) => command.run(),
            Self::Audit(command) => command.run(),
            Self::Backup(args) => args.run(),
            Self::Restore(args) => args.run(),
            Self::Retain(command) => command.run(),
            Self::Retire(command) => command.run(),
            Self::CheckConfig(args) => Ok(args.run()),
            Self::Openapi => Ok(Answer::json(&windvane::http::openapi())),
            Self::Demo(args) => args.run(),
            Self::Bench(command) => command.run(),
        }
    }
}

/// A runtime for a command that waits for the network.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|source| Failure::io("starting the runtime", source))
}

#[cfg(test)]
mod tests;
