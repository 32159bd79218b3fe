//! The end of a session: the provider's part of the model, and its receipt.

use std::sync::Arc;

use windvane_keys::enrolment::Partner;
use windvane_proto::convert::TrainFinish;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::train::PROTOCOL;
use windvane_protocols::train::record::TrainReceipt;
use windvane_protocols::train::step::Step;
use windvane_protocols::transcript::{Hash, Record as _, Signed, Transcript, commit};

use super::session::Session;
use super::{Claim, Desk, TrainProvider, internal};
use crate::error::{NodeError, Refusal};
use crate::score::card::is_model_name;
use crate::score::folder::{FolderError, ScoreFolder};
use crate::score::registry::{Description, Registry, RegistryError};
use crate::train::finished::{ADDED_BY, Finished};
use crate::train::folder::{Document, Ended, Fact, SessionFolder, SessionState, Upload};
use crate::train::{Stage, TrainRefusal};

impl TrainProvider {
    /// Ends a session; gives the receipt, which is logged by then. The same again gets the same.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn finish(
        self: &Arc<Self>,
        partner: &Partner,
        finish: TrainFinish,
    ) -> Result<Signed<TrainReceipt>, Refusal> {
        let (this, partner) = (self.clone(), partner.clone());
        let done = tokio::spawn(async move { this.finished(&partner, finish).await });
        done.await.map_err(|_| Refusal::Internal)?
    }

    async fn finished(
        &self,
        partner: &Partner,
        finish: TrainFinish,
    ) -> Result<Signed<TrainReceipt>, Refusal> {
        let mut claim = self.claim(finish.session, partner)?;
        if let Some(receipt) = self.receipt_of(partner, &finish).await? {
            return Ok(receipt);
        }
        let (mut folder, finished) = match self.left_to_log(&claim, partner, &finish).await? {
            Some(left) => left,
            None => {
                let asked = asked(&finish);
                let had_all = move |state: &SessionState| state.finishing == Some(asked);
                let work = move |session: &mut Session, desk: &Desk| session.finish(desk, &finish);
                let (held, finished) = self.run_with(claim, partner, had_all, work).await?;
                claim = held;
                // What fails from here on is read from the disk again, and done again.
                (claim.take().ok_or(Refusal::Internal)?.into_folder(), finished)
            }
        };
        self.log_finished(&finished).await?;
        Stage::Completed.reached();
        folder.complete(self.desk.provider.now_ms()).map_err(|error| internal(&error))?;
        drop(claim);
        Ok(finished.receipt)
    }

    /// What a kill, or a log that failed, left of a session that was asked for just this end: its receipt, and its model in
    /// the registry. Only the log is missing, whatever became of the table and the grant.
    async fn left_to_log(
        &self,
        claim: &Claim,
        partner: &Partner,
        finish: &TrainFinish,
    ) -> Result<Option<(SessionFolder, Finished)>, Refusal> {
        // What is in memory has the folder, and has come no further than the receipt.
        if claim.is_some() {
            return Ok(None);
        }
        let (desk, party, id, asked) =
            (self.desk.clone(), partner.party.clone(), finish.session, asked(finish));
        let find = move || {
            let layout = &desk.provider.shared().layout;
            let folder = SessionFolder::open(layout.root(), id)?;
            let state = folder.state();
            if state.finishing != Some(asked) || state.expired_at_ms.is_some() {
                return Ok(None);
            }
            let receipt = folder.read::<TrainReceipt>(Document::Receipt)?;
            let theirs = receipt.filter(|receipt| receipt.body().request().charter.requester == party);
            let Some(receipt) = theirs else { return Ok(None) };
            Ok(Finished::find(layout, receipt)?.map(|finished| (folder, finished)))
        };
        self.compute(move || find().map_err(|error: NodeError| internal(&error))).await
    }

    /// Has the log hear of a session that is through.
    pub(super) async fn log_finished(&self, finished: &Finished) -> Result<(), Refusal> {
        let provider = &self.desk.provider;
        provider.log(finished.added()).await?;
        provider.train_completed(&finished.receipt).await?;
        let session = finished.receipt.body().request().session;
        provider.shared().observer.metrics.job_ended("train", true);
        tracing::info!(code = "TRAIN_COMPLETED", %session, "a training is through");
        Ok(())
    }

    /// The receipt of a session that is through: nothing else of it can be read again.
    async fn receipt_of(
        &self,
        partner: &Partner,
        finish: &TrainFinish,
    ) -> Result<Option<Signed<TrainReceipt>>, Refusal> {
        let (desk, party, id, asked) =
            (self.desk.clone(), partner.party.clone(), finish.session, asked(finish));
        self.compute(move || {
            let root = desk.provider.shared().layout.root().to_owned();
            let ended = SessionFolder::ended(&root, id).map_err(|error| internal(&error))?;
            let Some(Ended { state, receipt }) = ended else { return Ok(None) };
            if receipt.body().request().charter.requester != party {
                return Err(TrainRefusal::SessionUnknown.into());
            }
            if state.finishing != Some(asked) {
                return Err(TrainRefusal::FinishDiffers.into());
            }
            Ok(Some(receipt))
        })
        .await
    }
}

/// What two requests for the end must have in common.
fn asked(finish: &TrainFinish) -> Hash {
    Transcript::new("windvane/train-finish/v1")
        .bytes("scaling", &finish.scaling.to_bytes())
        .bytes("card", &finish.card.digest())
        .bytes("steps", &finish.steps)
        .digest()
}

impl Session {
    fn finish(&mut self, desk: &Desk, finish: &TrainFinish) -> Result<Finished, Refusal> {
        let asked = asked(finish);
        if self.state().finishing.is_some_and(|known| known != asked) {
            return Err(TrainRefusal::FinishDiffers.into());
        }
        if !self.is_through() {
            let expected = "the blocks that are left, or parts";
            return Err(TrainRefusal::Order { found: "the end", expected }.into());
        }
        let answered = self.state().answered(&self.acceptance().digest()).steps;
        if answered != finish.steps {
            return Err(TrainRefusal::Transcript.into());
        }
        if self.scaling() != Some(finish.scaling) {
            return Err(TrainRefusal::ScaleDiffers.into());
        }
        if finish.card.name() != self.charter().model {
            return Err(TrainRefusal::ModelDiffers.into());
        }
        let group = desk.table(&self.request().data_set)?.group();
        if self.state().finishing.is_none() {
            // It was free when the session was accepted. Before anything is kept: under a taken name the session could
            // not end any more.
            check_name(desk, &group, finish.card.name())?;
            self.note(&Fact::finishing(&asked))?;
        }
        let receipt = self.sign(desk, finish).map_err(|error| internal(&error))?;
        Stage::Signed.reached();
        let model = self.add_model(desk, &group, finish, &receipt)?;
        Stage::Kept.reached();
        Ok(Finished { receipt, group, model })
    }

    /// The receipt: the one that was kept, or a new one that is kept now.
    fn sign(&mut self, desk: &Desk, finish: &TrainFinish) -> Result<Signed<TrainReceipt>, NodeError> {
        if let Some(known) = self.folder().read::<TrainReceipt>(Document::Receipt)? {
            return Ok(known);
        }
        let shared = desk.provider.shared();
        let salt = self.folder().salt()?;
        let (state, blocks) = (self.state(), self.charter().hyperparameters.blocks);
        let contributions = state.steps.iter().filter(|kept| matches!(kept.step, Step::Contributions { .. }));
        let receipt = TrainReceipt {
            acceptance: self.acceptance().clone(),
            protocol: PROTOCOL.to_owned(),
            software: shared.software,
            configuration: shared.configuration,
            attempts: state.opened,
            indicator: state.upload(Upload::Indicator),
            held_out: state.upload(Upload::HeldOut),
            residuals: (0..blocks).map(|block| state.upload(Upload::Residuals(block))).collect(),
            steps: state.answered(&self.acceptance().digest()).steps,
            contributions: contributions.filter_map(|kept| kept.returned).collect(),
            card: finish.card.digest(),
            trees: self.commitment(&salt, finish),
            completed_at_ms: desk.provider.now_ms(),
            witnessed_size: 0,
            witnessed_root: Vec::new(),
        };
        let receipt = Signed::sign(receipt, shared.keys.signing_key());
        self.folder().keep(Document::Receipt, &receipt)?;
        Ok(receipt)
    }

    fn commitment(&self, salt: &[u8; 32], finish: &TrainFinish) -> [u8; 32] {
        let trees = self.trees().trees().iter().map(|tree| tree.encode().into_bytes());
        let item = Transcript::new("windvane/train-kept/v1")
            .list("tree", trees)
            .bytes("scaling", &finish.scaling.to_bytes());
        commit(salt, item.as_bytes())
    }

    /// Adds a version to the group's registry; the same again is no change.
    fn add_model(
        &self,
        desk: &Desk,
        group: &DataSet,
        finish: &TrainFinish,
        receipt: &Signed<TrainReceipt>,
    ) -> Result<Hash, Refusal> {
        let shared = desk.provider.shared();
        let folder = ScoreFolder::new(&shared.layout).group(group);
        let _held = folder.lock().map_err(|error| match error {
            FolderError::Busy { .. } => Refusal::Train(TrainRefusal::Busy),
            other => internal(&other.into()),
        })?;
        let description = Description {
            by: ADDED_BY.to_owned(),
            features: self.features().names().map(str::to_owned).collect(),
            training_receipt: Some(receipt.digest()),
            ..Description::default()
        };
        let parts = self.parts(finish.scaling)?.dense(self.universe());
        let now_ms = desk.provider.now_ms();
        let added =
            Registry::new(folder).add(&finish.card, Some(&parts), &description, &shared.keys.storage, now_ms);
        match added {
            Ok(version) => Ok(version.digest()),
            Err(RegistryError::Exists { .. }) => Err(TrainRefusal::ModelExists.into()),
            Err(error) => Err(internal(&error.into())),
        }
    }
}

/// Whether a model can have this name.
pub(super) fn check_name(desk: &Desk, group: &DataSet, name: &str) -> Result<(), Refusal> {
    if !is_model_name(name) {
        return Err(TrainRefusal::ModelName.into());
    }
    let folder = ScoreFolder::new(&desk.provider.shared().layout).group(group);
    let names = Registry::new(folder).names().map_err(|error| internal(&error.into()))?;
    if names.iter().any(|known| known == name) { Err(TrainRefusal::ModelExists.into()) } else { Ok(()) }
}
