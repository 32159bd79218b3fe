//! The end of a session that its bank does not bring to one: what was answered is signed and logged.
//!
//! A bank could otherwise craft residuals, take the answers and stay away: there would be no receipt, and nothing that an
//! auditor could hold its folder against. A session lapses when it is older than `service.train_keep_ms`, whatever its
//! bank does, and when its provider leaves service.
//!
//! The journal first says that the session is given up, from where on nothing is answered; then the record is made of the
//! journal alone and kept, positions, ciphertexts and the mask's secret go, the log gets the record, and the journal says
//! so. A kill in between leaves a session that is due again: the kept record is logged, once more if need be.
//!
//! A session whose receipt is in the log is through, and lapses never; nor does one whose model is in the registry, which
//! only the log has not heard of: it hears of the receipt and the model instead.

use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::SessionId;
use windvane_protocols::train::PROTOCOL;
use windvane_protocols::train::lapse::TrainLapse;
use windvane_protocols::train::record::{TrainAcceptance, TrainReceipt, announcements_digest};
use windvane_protocols::transcript::{Hash, Signed};

use super::finished::Finished;
use super::folder::{Document, Due, Fact, SessionFolder, Upload};
use crate::error::NodeError;
use crate::identity::{Layout, NodeKeys};

/// Who gives sessions up, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Giving<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) keys: &'a NodeKeys,
    pub(crate) software: Hash,
    pub(crate) configuration: Hash,
    pub(crate) now_ms: u64,
}

/// A session that nobody goes on with, until the log has its end.
#[derive(Debug)]
pub(crate) struct GivenUp {
    folder: SessionFolder,
    end: End,
}

/// How a session ended, as the log has to hear it.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// Its bank did not end it.
    Lapsed(Box<Signed<TrainLapse>>),
    /// It was through but for the log.
    Through(Box<Finished>),
}

impl Giving<'_> {
    /// The sessions that are to be given up: those from before `before_ms`, and what a kill left half-way.
    ///
    /// # Errors
    /// Errors of the system.
    pub(crate) fn due(&self, before_ms: u64) -> Result<Due, NodeError> {
        SessionFolder::due(self.layout.root(), before_ms)
    }

    /// Gives a session up, or finds it through; `None` for one that is over, or has a receipt that `is_logged`.
    ///
    /// # Errors
    /// [`NodeError`]; `TRAIN_FOLDER` while somebody works on it.
    pub(crate) fn give_up(
        &self,
        session: SessionId,
        is_logged: impl FnOnce(&Signed<TrainReceipt>) -> Result<bool, NodeError>,
    ) -> Result<Option<GivenUp>, NodeError> {
        let mut folder = SessionFolder::open(self.layout.root(), session)?;
        let acceptance = folder.read::<TrainAcceptance>(Document::Acceptance)?;
        let Some(acceptance) = acceptance.filter(|_| !folder.state().is_over()) else { return Ok(None) };
        if let Some(receipt) = folder.read::<TrainReceipt>(Document::Receipt)? {
            if is_logged(&receipt)? {
                folder.complete(self.now_ms)?;
                return Ok(None);
            }
            if let Some(finished) = Finished::find(self.layout, receipt)? {
                return Ok(Some(GivenUp { folder, end: End::Through(Box::new(finished)) }));
            }
        }
        if folder.state().expired_at_ms.is_none() {
            folder.note(&Fact::Expired { at_ms: self.now_ms })?;
        }
        let lapse = match folder.read::<TrainLapse>(Document::Lapse)? {
            Some(known) => known,
            None => {
                let fresh = Signed::sign(self.lapse(&folder, acceptance), self.keys.signing_key());
                folder.keep(Document::Lapse, &fresh)?;
                fresh
            }
        };
        folder.forget()?;
        Ok(Some(GivenUp { folder, end: End::Lapsed(Box::new(lapse)) }))
    }

    fn lapse(&self, folder: &SessionFolder, acceptance: Signed<TrainAcceptance>) -> TrainLapse {
        let state = folder.state();
        let (answered, blocks) =
            (state.answered(&acceptance.digest()), state.block().map_or(0, |last| last + 1));
        TrainLapse {
            acceptance,
            protocol: PROTOCOL.to_owned(),
            software: self.software,
            configuration: self.configuration,
            attempts: state.opened,
            announcements: state.announcements.as_deref().map_or([0; 64], announcements_digest),
            indicator: state.upload(Upload::Indicator),
            held_out: state.upload(Upload::HeldOut),
            residuals: (0..blocks).map(|block| state.upload(Upload::Residuals(block))).collect(),
            answered,
            lapsed_at_ms: self.now_ms,
        }
    }
}

impl GivenUp {
    /// What the log has to hear.
    pub(crate) const fn end(&self) -> &End {
        &self.end
    }

    /// The log has it.
    ///
    /// # Errors
    /// Errors of the system.
    pub(crate) fn logged(mut self, now_ms: u64) -> Result<(), NodeError> {
        match self.end {
            End::Lapsed(_) => self.folder.note(&Fact::Lapsed { at_ms: now_ms }),
            End::Through(_) => self.folder.complete(now_ms),
        }
    }
}

impl End {
    /// What the log has to hear, in its order.
    pub(crate) fn events(&self) -> Vec<Event> {
        match self {
            Self::Lapsed(lapse) => vec![Event::TrainLapsed(lapse.clone())],
            Self::Through(finished) => vec![finished.added(), finished.completed()],
        }
    }
}
