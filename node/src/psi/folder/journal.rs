//! The journal of a job: a fact a line, and what all of them say.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};

use serde::{Deserialize, Serialize};

/// A line of the journal is short.
const MAX_LINE_BYTES: u64 = 4 << 10;

/// A fact of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::psi) enum Fact {
    /// A connection began.
    Attempt { number: u64, at_ms: u64 },
    /// At the requester: the request is not asked with again; the next one has a session of its own.
    Withdrawn { at_ms: u64 },
    /// At the provider: a bucket's last message is about to leave.
    Sent { bucket: u32, hash: String },
    /// A bucket's result is kept, here or at the requester.
    Finished { bucket: u32, hash: String },
    /// The job ended early.
    Ended { code: String, at_ms: u64 },
    /// Everything is done.
    Completed { matches: Option<u64>, at_ms: u64 },
    /// The job was given up long ago; what it had found is gone.
    Expired { at_ms: u64 },
}

/// What the journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobState {
    /// Connections with the present request so far.
    pub attempts: u64,
    /// Buckets whose last message left, at a provider, with their hashes.
    pub sent: BTreeMap<u32, [u8; 32]>,
    /// Finished buckets with their hashes.
    pub finished: BTreeMap<u32, [u8; 32]>,
    /// The code of the last early end, unless a connection began after it.
    pub ended: Option<String>,
    /// Whether everything is done, and since when.
    pub completed_at_ms: Option<u64>,
    /// Matches, where the result tells them.
    pub matches: Option<u64>,
    /// Whether what the job had found is gone, so that it cannot go on, and since when.
    pub expired_at_ms: Option<u64>,
    /// When the journal last said a time.
    pub last_ms: u64,
}

/// The journal's state, and where its last whole line ends.
pub(super) fn read_journal(file: &File) -> std::io::Result<(JobState, u64)> {
    let (mut state, mut end) = (JobState::default(), 0);
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0))?;
    loop {
        let mut line = Vec::new();
        std::io::Read::take(&mut reader, MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        let fact = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
        let Some(fact) = fact else { return Ok((state, end)) };
        state.take(&fact);
        end += line.len() as u64;
    }
}

impl JobState {
    pub(super) fn take(&mut self, fact: &Fact) {
        let hash = |text: &str| {
            let mut hash = [0; 32];
            // A hash that does not parse agrees with nothing, which the end of the job finds.
            let _ = hex::decode_to_slice(text, &mut hash);
            hash
        };
        match fact {
            Fact::Attempt { number, at_ms } => {
                self.last_ms = *at_ms;
                self.attempts = self.attempts.max(*number);
                self.ended = None;
            }
            Fact::Withdrawn { at_ms } => {
                self.last_ms = *at_ms;
                self.attempts = 0;
            }
            Fact::Sent { bucket, hash: text } => drop(self.sent.insert(*bucket, hash(text))),
            Fact::Finished { bucket, hash: text } => drop(self.finished.insert(*bucket, hash(text))),
            Fact::Ended { code, at_ms } => {
                self.last_ms = *at_ms;
                self.ended = Some(code.clone());
            }
            Fact::Completed { matches, at_ms } => {
                self.last_ms = *at_ms;
                self.completed_at_ms = Some(*at_ms);
                self.matches = *matches;
            }
            Fact::Expired { at_ms } => self.expired_at_ms = Some(*at_ms),
        }
    }
}
