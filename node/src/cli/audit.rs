//! `windvane audit`: an auditor's offline checks. No key and no configuration is needed, but for trainings.

use std::path::{Path, PathBuf};

use serde::Serialize;
use windvane::audit::{self, AuditReport, ReconcileReport, VerifyOptions};
use windvane::retire::node::{ArchiveReport, verify_archive};
use windvane::train::audit::audit_training;
use windvane_keys::files::read_public;
use windvane_protocols::audit::checkpoint::{
    Checkpoint, LogVerifier, MAX_CHECKPOINT_BYTES, SignedCheckpoint,
};

use super::Answer;
use super::failure::Failure;
use super::place::Place;
use super::train::training_id;

/// What to check.
#[derive(Debug, clap::Subcommand)]
pub(super) enum AuditCommand {
    /// Check logs one by one: files, checkpoint, and what the entries say
    Verify(VerifyArgs),
    /// Encrypt again what the bank uploaded in a training, and hold it against a provider's receipt, or its lapse of a
    /// training that the bank did not end; needs the bank's keys and its folder of the training
    Training {
        /// The provider's receipt, as it stands in the bank's folder, or its lapse, as it stands in
        /// train-sessions/<session> in the provider's data directory; or the provider's log, its data directory or
        /// its archive, from which what it signed of --training is taken
        #[arg(value_name = "RECEIPT")]
        signed: PathBuf,
        /// Lapses, or receipts that the bank does not have, of the training's other providers; or their logs
        #[arg(value_name = "OTHER")]
        others: Vec<PathBuf>,
        /// Which training, where RECEIPT is a log
        #[arg(long, value_name = "ID")]
        training: Option<String>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the archive of a node that left service: files, seal, log, and the protocol of its destruction
    Archive {
        /// The archive, or the directory that it is in
        dir: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the logs of both sides of every call, and hold them against each other
    Reconcile {
        /// The logs' directories; a node's data directory stands for the log in it
        #[arg(required = true, num_args = 2.., value_name = "DIR")]
        dirs: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Options of `audit verify`.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The logs' directories; a node's data directory stands for the log in it
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// A log's verifier key as its party published it (`keys log-verifier`); may be repeated for several logs.
    /// Without it the key is taken from the log itself
    #[arg(long, value_name = "KEY")]
    vkey: Vec<LogVerifier>,
    /// An earlier checkpoint of the log, which the log must continue; may be repeated for several logs
    #[arg(long, value_name = "FILE")]
    since: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// All logs that were checked.
#[derive(Debug, Serialize)]
struct Verified {
    ok: bool,
    logs: Vec<AuditReport>,
}

/// A comparison with its verdict.
#[derive(Debug, Serialize)]
struct Reconciled {
    ok: bool,
    #[serde(flatten)]
    report: ReconcileReport,
}

impl AuditCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Verify(args) => args.run(),
            Self::Training { signed, others, training, place, json } => {
                let (config, training) = (place.load()?, training.as_deref().map(training_id).transpose()?);
                let audit =
                    audit_training(&config, &signed, training, &others).map_err(Failure::train(None))?;
                Ok(Answer::either(json, &audit, ToString::to_string).sound(audit.is_ok()))
            }
            Self::Archive { dir, json } => {
                let report = verify_archive(&dir)?;
                let text = |report: &ArchiveReport| {
                    let ArchiveReport { path, files, log, protocol, .. } = report;
                    format!("{}\n{files}\n{log}\n{protocol}", path.display())
                };
                Ok(Answer::either(json, &report, text).sound(report.ok))
            }
            Self::Reconcile { dirs, json } => {
                let dirs: Vec<_> = dirs.iter().map(|dir| audit::log_dir(dir)).collect();
                let report = audit::reconcile(&dirs);
                let view = Reconciled { ok: report.is_ok(), report };
                Ok(Answer::either(json, &view, |view| view.report.to_string()).sound(view.ok))
            }
        }
    }
}

impl VerifyArgs {
    fn run(self) -> Result<Answer, Failure> {
        let since = self.since.iter().map(|path| checkpoint(path)).collect::<Result<_, _>>()?;
        let mut known = Known { alone: self.dirs.len() == 1, vkeys: self.vkey, since };
        let mut logs = Vec::new();
        for dir in self.dirs.iter().map(|dir| audit::log_dir(dir)) {
            let options = known.options(&dir);
            logs.push(audit::verify(&dir, &options));
        }
        known.check_all_used()?;
        let view = Verified { ok: logs.iter().all(AuditReport::is_ok), logs };
        let text = |view: &Verified| view.logs.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        Ok(Answer::either(self.json, &view, text).sound(view.ok))
    }
}

/// What the auditor brought along and no log has taken yet.
struct Known {
    alone: bool,
    vkeys: Vec<LogVerifier>,
    since: Vec<Checkpoint>,
}

impl Known {
    /// Takes what belongs to one log: of several, by the name in its checkpoint; alone, whatever was given,
    /// so that a log under another name is found out.
    fn options(&mut self, dir: &Path) -> VerifyOptions {
        let origin = checkpoint(&dir.join("checkpoint")).ok().map(|checkpoint| checkpoint.origin);
        let alone = self.alone;
        let ours = |name: &str| alone || origin.as_deref() == Some(name);
        VerifyOptions {
            vkey: take(&mut self.vkeys, |key| ours(key.origin())),
            since: take(&mut self.since, |earlier| ours(&earlier.origin)),
        }
    }

    /// A key that no log took would otherwise look as if it had been used.
    fn check_all_used(&self) -> Result<(), Failure> {
        let unused = |what: &str, name: &str| {
            let message =
                format!("{what} of {name} fits none of the logs; give it with that log's directory");
            Failure::given("OPTION_UNUSED", message)
        };
        match (self.vkeys.first(), self.since.first()) {
            (Some(key), _) => Err(unused("the key", key.origin())),
            (None, Some(earlier)) => Err(unused("the earlier checkpoint", &earlier.origin)),
            (None, None) => Ok(()),
        }
    }
}

fn take<T>(from: &mut Vec<T>, fits: impl Fn(&T) -> bool) -> Option<T> {
    from.iter().position(fits).map(|at| from.remove(at))
}

/// A checkpoint that the caller vouches for, or whose signature is checked elsewhere.
fn checkpoint(path: &Path) -> Result<Checkpoint, Failure> {
    let note = read_public(path, MAX_CHECKPOINT_BYTES)?;
    let invalid = |error| Failure::given("CHECKPOINT_INVALID", format!("{}: {error}", path.display()));
    Ok(SignedCheckpoint::parse(&note).map_err(invalid)?.unverified().clone())
}
