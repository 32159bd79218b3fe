//! `windvane backup` and `windvane restore`.

use std::path::PathBuf;

use serde::Serialize;
use windvane::backup;
use windvane::clock::SystemClock;
use windvane::restore::Restore;

use super::Answer;
use super::failure::Failure;
use super::place::Place;
use super::progress::{Bar, Unit};

/// Options of `backup`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// The repository: a directory with one folder for each backup, outside of the data directory
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// How many backups the repository keeps, this one included; all when not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What else to do with backups.
#[derive(Debug, clap::Subcommand)]
enum BackupCommand {
    /// Check a backup: every file, the seal, and the log; needs no key
    Verify {
        /// The backup, or a repository, of which the newest is checked
        dir: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Options of `restore`.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The backup, or a repository, of which the newest is taken
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The data directory to make; it must not be there, or be empty. Without it the configuration's
    #[arg(long, value_name = "DATA_DIR")]
    to: Option<PathBuf>,
    /// Where the newest log is: the data directory that was lost, or its log
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Entries after the backup, or after --log, are lost: end grants, epochs and callers, skip ahead with epochs, and
    /// suspend every partner until `partner resume`, because whom the node distrusted since is lost too
    #[arg(long)]
    log_lost: bool,
    /// A checkpoint of the log that others have seen, which the restored log must reach; may be repeated
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A check with its verdict.
#[derive(Debug, Serialize)]
struct Verified {
    ok: bool,
    path: PathBuf,
    #[serde(flatten)]
    report: backup::BackupReport,
}

impl BackupArgs {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self.command {
            Some(BackupCommand::Verify { dir, json }) => verify(&dir, json),
            None => self.make(),
        }
    }

    fn make(self) -> Result<Answer, Failure> {
        let missing = || Failure::given("BACKUP_TO_MISSING", "name the repository with --to DIR");
        let to = self.to.ok_or_else(missing)?;
        let admin = self.place.admin()?;
        let bar = Bar::new("backing up", Unit::Bytes);
        let keep = self.keep.map(|keep| keep as usize);
        let made = admin.back_up(&to, keep, &|done, total| bar.reach(done, total))?;
        drop(bar);
        Ok(Answer::either(self.json, &made, |made| {
            let backup::Made { path, files, bytes, linked_bytes, log_size, removed } = made;
            let removed = match removed.len() {
                0 => String::new(),
                gone => format!("\nolder backups removed: {gone}"),
            };
            format!(
                "backup {}\n{files} files, {bytes} bytes, {linked_bytes} of them unchanged; {log_size} log entries{removed}",
                path.display()
            )
        }))
    }
}

fn verify(dir: &std::path::Path, json: bool) -> Result<Answer, Failure> {
    let path = backup::resolve(dir)?;
    let report = backup::verify(&path)?;
    let view = Verified { ok: report.is_ok(), path, report };
    let ok = view.ok;
    Ok(Answer::either(json, &view, |view| format!("{}\n{}", view.path.display(), view.report)).sound(ok))
}

impl RestoreArgs {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        let config = self.place.load()?;
        let to = self.to.unwrap_or_else(|| config.node.data_dir.clone());
        let bar = Bar::new("restoring, files", Unit::Things);
        let restore = Restore {
            config: &config,
            from: &self.from,
            to: &to,
            log: self.log.as_deref(),
            log_lost: self.log_lost,
            checkpoints: &self.checkpoint,
        };
        let restored = restore.run(&SystemClock, &|done, total| bar.reach(done, total))?;
        drop(bar);
        Ok(Answer::either(self.json, &restored, |restored| {
            let (path, backup) = (restored.path.display(), restored.backup.display());
            let (from, size) = (restored.backup_size, restored.log_size);
            let head = format!("restored {path} from {backup}: {from} log entries in it, {size} now");
            let notes = restored.notes.iter().map(|note| format!("\n  {note}"));
            let end =
                "\nNever start the node that was lost again: two nodes of one identity break its quotas.";
            std::iter::once(head).chain(notes).chain([end.to_owned()]).collect()
        }))
    }
}
