//! The journal of a session: a fact a line, and what all of them say.

use std::collections::BTreeMap;
use std::fs::File;

use serde::{Deserialize, Serialize};
use windvane_protocols::train::lapse::Answered;
use windvane_protocols::train::record::{StepHash, TrainAnnouncement};
use windvane_protocols::train::step::Step;
use windvane_protocols::transcript::{Hash, Record as _, Signed};

use crate::train::appended::read_lines;

/// A line of the journal: what carriers agreed on for eight splits of a thousand features, in hexadecimal.
const MAX_LINE_BYTES: u64 = 2 << 20;

/// What is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upload {
    /// The listed positions.
    List,
    /// The encrypted indicator.
    Indicator,
    /// The encrypted held-out rows.
    HeldOut,
    /// The encrypted residuals of a block.
    Residuals(u16),
}

impl Upload {
    pub(super) fn file(self) -> String {
        match self {
            Self::List => "list".to_owned(),
            Self::Indicator => "indicator".to_owned(),
            Self::HeldOut => "held-out".to_owned(),
            Self::Residuals(block) => format!("residuals-{block}"),
        }
    }
}

/// A fact of the journal. Bytes stand in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::train) enum Fact {
    /// The session was opened.
    Opened { number: u64, at_ms: u64 },
    /// All providers announced these.
    Begun { announcements: Vec<String> },
    /// An upload is kept.
    Uploaded { upload: Upload, digest: String },
    /// A step was asked, for the first time.
    Asked { step: String },
    /// The step that was asked last is about to be answered with what has this digest.
    Answered { returned: String },
    /// The end was asked, with what has this digest.
    Finishing { asked: String },
    /// Everything is done.
    Completed { at_ms: u64 },
    /// The session was given up: nothing is answered from here on.
    Expired { at_ms: u64 },
    /// The log has what was answered until then.
    Lapsed { at_ms: u64 },
}

impl Fact {
    pub(in crate::train) const fn opened(number: u64, at_ms: u64) -> Self {
        Self::Opened { number, at_ms }
    }

    pub(in crate::train) fn begun(announcements: &[Signed<TrainAnnouncement>]) -> Self {
        let announcements = announcements.iter().map(|announced| hex::encode(announced.as_bytes()));
        Self::Begun { announcements: announcements.collect() }
    }

    pub(in crate::train) fn uploaded(upload: Upload, digest: &Hash) -> Self {
        Self::Uploaded { upload, digest: hex::encode(digest) }
    }

    pub(in crate::train) fn asked(step: &Step) -> Self {
        Self::Asked { step: hex::encode(step.encode().as_bytes()) }
    }

    pub(in crate::train) fn answered(returned: &Hash) -> Self {
        Self::Answered { returned: hex::encode(returned) }
    }

    pub(in crate::train) fn finishing(asked: &Hash) -> Self {
        Self::Finishing { asked: hex::encode(asked) }
    }
}

/// A step with the digest of its last answer, if there was one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptStep {
    /// What was asked.
    pub step: Step,
    /// What was returned last.
    pub returned: Option<Hash>,
    /// How often something was.
    pub answers: u64,
}

/// What the journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionState {
    /// How often the session was opened.
    pub opened: u64,
    /// When it was opened for the first time.
    pub begun_at_ms: Option<u64>,
    /// What all providers announced.
    pub announcements: Option<Vec<Signed<TrainAnnouncement>>>,
    /// Digests of what was uploaded.
    pub uploads: BTreeMap<Upload, Hash>,
    /// All steps, in order.
    pub steps: Vec<KeptStep>,
    /// Digest of what the end was asked with.
    pub finishing: Option<Hash>,
    /// Whether everything is done, and since when.
    pub completed_at_ms: Option<u64>,
    /// Whether the session was given up, and since when.
    pub expired_at_ms: Option<u64>,
    /// Whether the log has what was answered until then, and since when.
    pub lapsed_at_ms: Option<u64>,
}

/// The journal's state, and where its last whole line ends.
pub(super) fn read_journal(file: &File) -> std::io::Result<(SessionState, u64)> {
    let mut state = SessionState::default();
    let end = read_lines(file, MAX_LINE_BYTES, |line| state.take(&serde_json::from_slice(line).ok()?))?;
    Ok((state, end))
}

impl SessionState {
    /// Takes a fact in; `None` for one that no node writes.
    pub(super) fn take(&mut self, fact: &Fact) -> Option<()> {
        match fact {
            Fact::Opened { number, at_ms } => {
                self.opened = self.opened.max(*number);
                self.begun_at_ms.get_or_insert(*at_ms);
            }
            Fact::Begun { announcements } => {
                let read = |text: &String| Signed::from_bytes_unverified(hex::decode(text).ok()?).ok();
                self.announcements = Some(announcements.iter().map(read).collect::<Option<_>>()?);
            }
            Fact::Uploaded { upload, digest } => {
                self.uploads.insert(*upload, hash(digest)?);
            }
            Fact::Asked { step } => {
                let step = Step::decode(&hex::decode(step).ok()?).ok()?;
                self.steps.push(KeptStep { step, returned: None, answers: 0 });
            }
            Fact::Answered { returned } => {
                let last = self.steps.last_mut()?;
                last.returned = Some(hash(returned)?);
                last.answers += 1;
            }
            Fact::Finishing { asked } => self.finishing = Some(hash(asked)?),
            Fact::Completed { at_ms } => self.completed_at_ms = Some(*at_ms),
            Fact::Expired { at_ms } => self.expired_at_ms = Some(*at_ms),
            Fact::Lapsed { at_ms } => self.lapsed_at_ms = Some(*at_ms),
        }
        Some(())
    }

    /// What was answered under an acceptance.
    pub fn answered(&self, acceptance: &Hash) -> Answered {
        let announcements = self.announcements.as_deref().unwrap_or_default();
        let answered = self.steps.iter().filter_map(|kept| Some((&kept.step, kept.returned.as_ref()?)));
        Answered::over(StepHash::new(acceptance, announcements), answered)
    }

    /// The digest of an upload; zero where it did not come.
    pub fn upload(&self, upload: Upload) -> Hash {
        self.uploads.get(&upload).copied().unwrap_or([0; 64])
    }

    /// Whether nothing is left to be done for the session.
    pub const fn is_over(&self) -> bool {
        self.completed_at_ms.is_some() || self.lapsed_at_ms.is_some()
    }

    /// The newest block whose residuals are here.
    pub fn block(&self) -> Option<u16> {
        self.uploads.keys().rev().find_map(|upload| match upload {
            Upload::Residuals(block) => Some(*block),
            _ => None,
        })
    }
}

fn hash(text: &str) -> Option<Hash> {
    let mut hash = [0; 64];
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}
