//! The end of a session that its bank does not bring to one: what was answered is signed and logged.
//!
//! A bank could otherwise craft residuals, take the answers and stay away: there would be no receipt, and nothing that an
//! auditor could hold its folder against. A session lapses when it is older than `service.train_keep_ms`, whatever its
//! bank does, and when its provider leaves service.
//!
//! The journal first says that the session is given up, from where on nothing is answered; then the record is made of the
//! journal alone and kept, positions, ciphertexts and the mask's secret go, the log gets the record, and the journal says
//! so. A kill in between leaves a session that is due again: the kept record is logged, once more if need be. A session
//! whose receipt is in the log is through, and lapses never.

use std::path::Path;

use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::SessionId;
use windvane_protocols::train::PROTOCOL;
use windvane_protocols::train::lapse::TrainLapse;
use windvane_protocols::train::record::{TrainAcceptance, TrainReceipt, announcements_digest};
use windvane_protocols::transcript::{Hash, Signed};

use super::folder::{Document, Due, Fact, SessionFolder, Upload};
use crate::error::NodeError;
use crate::identity::NodeKeys;

/// Who gives sessions up, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Giving<'a> {
    pub(crate) root: &'a Path,
    pub(crate) keys: &'a NodeKeys,
    pub(crate) software: Hash,
    pub(crate) configuration: Hash,
    pub(crate) now_ms: u64,
}

/// A session that is given up, until its record is in the log.
#[derive(Debug)]
pub(crate) struct GivenUp {
    folder: SessionFolder,
    lapse: Signed<TrainLapse>,
}

impl Giving<'_> {
    /// The sessions that are to be given up: those from before `before_ms`, and what a kill left half-way.
    ///
    /// # Errors
    /// Errors of the system.
    pub(crate) fn due(&self, before_ms: u64) -> Result<Due, NodeError> {
        SessionFolder::due(self.root, before_ms)
    }

    /// Gives a session up; `None` for one that is over, or through by a receipt for which `is_logged`.
    ///
    /// # Errors
    /// [`NodeError`]; `TRAIN_FOLDER` while somebody works on it.
    pub(crate) fn give_up(
        &self,
        session: SessionId,
        is_logged: impl FnOnce(&Signed<TrainReceipt>) -> Result<bool, NodeError>,
    ) -> Result<Option<GivenUp>, NodeError> {
        let mut folder = SessionFolder::open(self.root, session)?;
        let acceptance = folder.read::<TrainAcceptance>(Document::Acceptance)?;
        let Some(acceptance) = acceptance.filter(|_| !folder.state().is_over()) else { return Ok(None) };
        let receipt = folder.read::<TrainReceipt>(Document::Receipt)?;
        if receipt.map_or(Ok(false), |receipt| is_logged(&receipt))? {
            folder.note(&Fact::Completed { at_ms: self.now_ms })?;
            folder.forget()?;
            return Ok(None);
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
        Ok(Some(GivenUp { folder, lapse }))
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
    pub(crate) fn event(&self) -> Event {
        Event::TrainLapsed(Box::new(self.lapse.clone()))
    }

    /// The log has it.
    ///
    /// # Errors
    /// Errors of the system.
    pub(crate) fn logged(mut self, now_ms: u64) -> Result<(), NodeError> {
        self.folder.note(&Fact::Lapsed { at_ms: now_ms })
    }
}
