//! What the operations leave behind, outside of the nodes' folders: answers, errors, copies of the folders.

use std::fmt::{Debug, Display};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::recorder::Recording;

/// Kinds of what is kept; each is a folder.
pub(crate) const RESPONSES: &str = "REST responses";
pub(crate) const ERRORS: &str = "errors";
pub(crate) const DEBUG: &str = "debug output";
pub(crate) const NETWORK: &str = "network messages";
pub(crate) const REPORTS: &str = "reports";
pub(crate) const DOCUMENTS: &str = "documents";
pub(crate) const METRICS: &str = "metrics and health";
pub(crate) const TRACES: &str = "traces";

/// All of them.
pub(crate) const KINDS: [&str; 8] = [RESPONSES, ERRORS, DEBUG, NETWORK, REPORTS, DOCUMENTS, METRICS, TRACES];

/// The folder of copies of the nodes' folders.
pub(crate) const TREES: &str = "trees";

/// The folder of copies of backups.
pub(crate) const BACKUPS: &str = "backups";

/// Where it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    out: PathBuf,
}

impl Record {
    pub(crate) fn new(out: PathBuf) -> Self {
        for kind in KINDS.into_iter().chain([TREES, BACKUPS]) {
            fs::create_dir_all(out.join(kind)).unwrap();
        }
        Self { out }
    }

    /// The file behind which everything of one kind and source is appended.
    pub(crate) fn file(&self, kind: &str, source: &str) -> PathBuf {
        self.out.join(kind).join(source)
    }

    pub(crate) fn keep(&self, kind: &str, source: &str, bytes: &[u8]) {
        append(&self.file(kind, source), bytes);
    }

    /// `Debug`, both plain and spread over lines.
    pub(crate) fn debug(&self, source: &str, value: &dyn Debug) {
        self.keep(DEBUG, source, format!("{value:?}\n{value:#?}\n").as_bytes());
    }

    /// A result that commands print as JSON.
    pub(crate) fn told<T: Debug + Serialize>(&self, source: &str, value: &T) {
        self.debug(source, value);
        self.keep(REPORTS, source, &serde_json::to_vec(value).unwrap());
    }

    /// A result as every command prints it.
    pub(crate) fn report<T: Debug + Display + Serialize>(&self, source: &str, value: &T) {
        self.told(source, value);
        self.keep(REPORTS, source, value.to_string().as_bytes());
    }

    /// Everything that an error says of itself; it must be one.
    pub(crate) fn error<T: Debug, E: std::error::Error>(&self, source: &str, result: Result<T, E>) -> E {
        let error = match result {
            Ok(value) => panic!("{source}: no error but {value:?}"),
            Err(error) => error,
        };
        let mut words = format!("{error}\n{error:?}\n{error:#?}\n");
        let mut cause = error.source();
        while let Some(inner) = cause {
            words.push_str(&format!("{inner}\n{inner:?}\n"));
            cause = inner.source();
        }
        self.keep(ERRORS, source, words.as_bytes());
        error
    }

    /// All that passed between two nodes.
    pub(crate) fn passed(&self, provider: &str, recording: &Recording) {
        for call in recording.calls() {
            for direction in [call.asked, call.answered] {
                let head = format!("{}\n{:?}", call.path, direction.headers);
                self.keep(NETWORK, provider, head.as_bytes());
                direction.messages.iter().for_each(|message| self.keep(NETWORK, provider, message));
            }
        }
    }

    /// Copies the nodes' folders below `from` as they are now; files may come and go meanwhile. What lies beside them
    /// is the operators'.
    pub(crate) fn trees(&self, from: &Path, moment: &str) {
        for entry in fs::read_dir(from).unwrap() {
            let node = entry.unwrap();
            if node.path().join("windvane.toml").exists() {
                copy(&node.path(), &self.out.join(TREES).join(moment).join(node.file_name()));
            }
        }
    }

    /// Copies a data directory that was restored.
    pub(crate) fn restored(&self, from: &Path, moment: &str) {
        copy(from, &self.out.join(TREES).join(moment).join("restored/data"));
    }

    /// Copies a repository of backups.
    pub(crate) fn backups(&self, from: &Path, moment: &str) {
        copy(from, &self.out.join(BACKUPS).join(moment));
    }

    /// Keeps the files that a command wrote into a folder.
    pub(crate) fn files(&self, kind: &str, source: &str, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            self.keep(kind, source, &fs::read(entry.unwrap().path()).unwrap());
        }
    }
}

/// Adds to the end of a file.
pub(crate) fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(&[bytes, b"\n"].concat()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => copy(&entry.path(), &target),
            // A file that was renamed since it was listed is found under its new name, or at the next moment.
            _ => drop(fs::copy(entry.path(), target)),
        }
    }
}
