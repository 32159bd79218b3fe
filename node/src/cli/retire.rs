//! `windvane retire`: the end of what leaves service.

use std::path::PathBuf;

use windvane::retire::node::finish;
use windvane::retire::{Retired, What};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;

use super::Answer;
use super::failure::Failure;
use super::place::Place;

/// What leaves service.
#[derive(Debug, clap::Subcommand)]
pub(super) enum RetireCommand {
    /// Destroy an epoch of a data set: its table and its keys
    Epoch {
        /// The data set
        data_set: DataSet,
        /// The epoch
        epoch: u64,
        #[command(flatten)]
        options: Options,
    },
    /// Destroy a data set with all its epochs, and end the grants for it alone
    DataSet {
        /// The data set
        data_set: DataSet,
        #[command(flatten)]
        options: Options,
    },
    /// Part from a partner: end its grants, remove its enrolment and its snapshots
    Partner {
        /// The partner
        party: PartyId,
        #[command(flatten)]
        options: Options,
    },
    /// End this node: archive log, grants and public keys, destroy everything else; the node must be stopped. The dry
    /// run also tells what an auditor will find in the log
    Node {
        /// Where the archive goes, outside of the data directory
        #[arg(long, value_name = "DIR")]
        archive: PathBuf,
        #[command(flatten)]
        options: Options,
    },
}

/// Options of all of them.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// This node's own name, as a word that this is meant: there is no way back
    #[arg(long, value_name = "PARTY", required_unless_present = "dry_run")]
    yes_destroy: Option<PartyId>,
    /// Show what would go; nothing is touched
    #[arg(long, conflicts_with = "yes_destroy")]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl RetireCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Epoch { data_set, epoch, options } => options.run(&What::Epoch(data_set, epoch)),
            Self::DataSet { data_set, options } => options.run(&What::DataSet(data_set)),
            Self::Partner { party, options } => options.run(&What::Partner(party)),
            Self::Node { archive, options } => options.node(&archive),
        }
    }
}

impl Options {
    fn run(&self, what: &What) -> Result<Answer, Failure> {
        self.check()?;
        let retired = self.place.admin()?.retire(what, self.dry_run)?;
        Ok(self.answer(&retired))
    }

    fn node(&self, archive: &std::path::Path) -> Result<Answer, Failure> {
        let config = self.check()?;
        let admin = match self.place.admin() {
            Ok(admin) => admin,
            // Its keys may be gone already, in part or all.
            Err(failure) if !self.dry_run => {
                return match finish(&config, archive) {
                    Ok(path) => {
                        Ok(Answer::text(format!("the rest is gone; the archive is {}", path.display())))
                    }
                    // No retirement got that far, so it matters why the node does not open.
                    Err(error) if error.code() == "NOTHING_TO_RETIRE" => Err(failure),
                    Err(error) => Err(error.into()),
                };
            }
            Err(failure) => return Err(failure),
        };
        let retired = admin.retire_node(archive, self.dry_run)?;
        Ok(self.answer(&retired))
    }

    /// Whether the word is the node's own name.
    fn check(&self) -> Result<windvane::config::Config, Failure> {
        let config = self.place.load()?;
        match &self.yes_destroy {
            Some(word) if *word != config.party() => {
                let message = format!("--yes-destroy names {word}, this node is {}", config.party());
                Err(Failure::given("NOT_CONFIRMED", message))
            }
            _ => Ok(config),
        }
    }

    fn answer(&self, retired: &Retired) -> Answer {
        Answer::either(self.json, retired, |retired| {
            let Retired { class, subject, items, bytes, digest, .. } = retired;
            let verb = if retired.dry_run { "would destroy" } else { "destroyed" };
            let head = format!("{verb} {class} {subject}: {items} items, {bytes} bytes\ndigest {digest}");
            let archive = retired.archive.iter().map(|path| format!("\narchive {}", path.display()));
            let notes = retired.notes.iter().map(|note| format!("\n  {note}"));
            std::iter::once(head).chain(archive).chain(notes).collect()
        })
    }
}
