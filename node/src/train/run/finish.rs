//! The end of a training: the model, receipts and their countersignatures, and the bank's registry.

use std::sync::Arc;

use windvane_proto::convert::TrainFinish;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::PartyId;
use windvane_protocols::train::PROTOCOL;
use windvane_protocols::train::record::{StepHash, TrainReceipt};
use windvane_protocols::transcript::{Hash, Record as _, Signed, Transcript, commit};

use super::block::Standing;
use super::connect::Joint;
use super::error::{Fault, TrainError};
use super::folder::Document;
use super::job::{Job, blocking};
use super::journal::Fact;
use super::link::Link;
use super::model::{Judged, Model, own_trees, unit_trees};
use super::parts::{self, Scales};
use super::unit::each;
use super::{BankStage, TrainRunner};
use crate::bank::Round;
use crate::error::NodeError;
use crate::psi::evidence::JobLog;
use crate::score::folder::ScoreFolder;
use crate::score::parts::DenseParts;
use crate::score::registry::{Description, Metrics, Registry};
use crate::train::parts::TableParts;

/// What the end of a training gave.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) model: Model,
    pub(super) judged: Judged,
    pub(super) metrics: Metrics,
    pub(super) receipts: Vec<Signed<TrainReceipt>>,
    /// Digest of the receipts, as the registry names it.
    pub(super) digest: Hash,
}

impl TrainRunner {
    /// Makes the model, ends all sessions, and adds the bank's own version to its registry.
    pub(super) async fn finish(
        &self,
        job: &Arc<Job>,
        joint: &Joint,
        standing: &Standing,
    ) -> Result<Finished, TrainError> {
        let (model, judged) = self.model(job, joint, standing).await?;
        BankStage::Model.reached();
        let ends = self.receipts(job, joint, standing, &model).await?;
        BankStage::Receipts.reached();
        let came =
            joint.links().zip(&ends).filter_map(|(link, end)| Some((link.party(), end.as_ref().ok()?)));
        self.log_receipts(job, &model, &came.collect::<Vec<_>>()).await?;
        BankStage::Logged.reached();
        let receipts = ends.into_iter().collect::<Result<Vec<_>, _>>()?;
        let digest = match &receipts[..] {
            [alone] => alone.digest(),
            several => {
                let all = several.iter().map(|receipt| receipt.digest());
                Transcript::new("windvane/train-receipts/v1").list("receipt", all).digest()
            }
        };
        let metrics = metrics(&model, &judged);
        let (own, group) = (own_parts(job, &model, standing), Self::group_of(job).clone());
        let folder = ScoreFolder::new(&self.layout).group(&group);
        let description = Description {
            by: job.checked.plan.by.clone(),
            features: job.features.names().map(str::to_owned).collect(),
            metrics,
            training_receipt: Some(digest),
        };
        let add = || {
            let _held = folder.lock()?;
            let (key, now_ms) = (&self.keys.storage, self.clock.now_ms());
            Registry::new(folder.clone()).add(&model.card, Some(&own), &description, key, now_ms)
        };
        let version = tokio::task::block_in_place(add).map_err(NodeError::from)?;
        let (action, by) = ("added".to_owned(), version.record().added_by.clone());
        let event = Event::ScoreModel { group, model: version.digest(), action, by };
        self.log.append(self.clock.now_ms(), vec![event]).await?;
        BankStage::Registered.reached();
        Ok(Finished { model, judged, metrics, receipts, digest })
    }

    /// The model of the training: the one that is kept, or a new one that is kept now.
    async fn model(
        &self,
        job: &Arc<Job>,
        joint: &Joint,
        standing: &Standing,
    ) -> Result<(Model, Judged), TrainError> {
        let known = job.folder().unseal_record::<Model>(Model::NAME, job.storage())?;
        let model = match known {
            Some(model) => model,
            None => {
                let scales = tokio::task::block_in_place(|| scales(job, joint, standing))?;
                #[cfg(feature = "faults")]
                let scales = job.crafted_scales(scales);
                let sums = parts::sums(job, &joint.units, &scales).await?;
                BankStage::Parts.reached();
                let make = || Model::make(job, standing, scales, sums);
                let fresh = tokio::task::block_in_place(make)?;
                job.folder().seal_record(Model::NAME, &fresh, job.storage())?;
                fresh
            }
        };
        let judged = tokio::task::block_in_place(|| model.judge(job, standing))?;
        Ok((model, judged))
    }

    /// Asks all providers for their receipts, checks them and keeps those that hold, whatever becomes of the others.
    async fn receipts(
        &self,
        job: &Arc<Job>,
        joint: &Joint,
        standing: &Standing,
        model: &Model,
    ) -> Result<Vec<Result<Signed<TrainReceipt>, TrainError>>, TrainError> {
        let mut asked = Vec::new();
        let mut acceptances = joint.acceptances.iter();
        let announcements = joint.announcements();
        for (unit, scaling) in joint.units.iter().zip(model.scales.units()) {
            for link in &unit.links {
                let acceptance = acceptances.next().expect("everybody has accepted").digest();
                let known = job.folder().read::<TrainReceipt>(link.party(), Document::Receipt)?;
                let (steps, contributions) =
                    hashes(job, link, StepHash::new(&acceptance, &announcements)).await?;
                let finish =
                    TrainFinish { session: link.session, scaling: *scaling, card: model.card.clone(), steps };
                asked.push((link.clone(), known, finish, contributions));
            }
        }
        let expected: Vec<_> = asked.iter().map(|(.., finish, told)| (finish.steps, told.clone())).collect();
        let ends = each(asked.into_iter().map(|(link, known, finish, _)| async move {
            Ok(match known {
                Some(receipt) => Ok(receipt),
                None => link.finish(&finish).await,
            })
        }));
        let mut ends = ends.await?;
        for (i, (link, end)) in joint.links().zip(&mut ends).enumerate() {
            let (steps, contributions) = &expected[i];
            let Ok(receipt) = end else { continue };
            match self.fault(link, joint, i, standing, model, receipt, steps, contributions) {
                None => job.folder().keep(link.party(), Document::Receipt, receipt)?,
                Some(what) => *end = Err(TrainError::of(link.party(), "finishing")(Fault::Receipt { what })),
            }
        }
        Ok(ends)
    }

    #[expect(clippy::too_many_arguments, reason = "each is held against another field")]
    fn fault(
        &self,
        link: &Link,
        joint: &Joint,
        index: usize,
        standing: &Standing,
        model: &Model,
        receipt: &Signed<TrainReceipt>,
        steps: &Hash,
        contributions: &[Hash],
    ) -> Option<&'static str> {
        let body = receipt.body();
        let residuals = standing.blocks.iter().map(|block| &block.residuals);
        let faults = [
            (!receipt.verify(&link.partner.receipt_key), "it is not signed by the provider"),
            (body.acceptance != joint.acceptances[index], "it is about another acceptance"),
            (body.protocol != PROTOCOL, "it is of another protocol"),
            (body.indicator != joint.indicator, "it has another digest of the indicator"),
            (body.held_out != joint.held_out, "it has another digest of the held-out rows"),
            (!body.residuals.iter().eq(residuals), "it has other digests of residuals"),
            (body.steps != *steps, "it has another hash over all steps"),
            (body.contributions != contributions, "it has other digests of contributions"),
            (body.card != model.card.digest(), "it has another model's card"),
        ];
        faults.into_iter().find(|(fault, _)| *fault).map(|(_, what)| what)
    }

    /// Logs the result and receipts once, and countersigns. The result comes first: a log that is read or cut in between has
    /// no receipt without it.
    async fn log_receipts(
        &self,
        job: &Job,
        model: &Model,
        receipts: &[(&PartyId, &Signed<TrainReceipt>)],
    ) -> Result<(), TrainError> {
        let result = commit(&job.secrets.result_salt(), model.encode().as_bytes());
        let mut fresh = receipts.to_vec();
        fresh.retain(|(provider, _)| !job.folder().state().has_receipt(provider.as_str()));
        let events = fresh.iter().flat_map(|(_, receipt)| {
            let session = receipt.body().request().session;
            let completed = Event::TrainCompleted(Box::new((*receipt).clone()));
            [Event::TrainResult { session, result }, completed]
        });
        let events: Vec<_> = events.collect();
        if !events.is_empty() {
            self.log.append(self.clock.now_ms(), events).await?;
        }
        for (provider, receipt) in fresh {
            self.store.queue_receipt(provider.as_str(), &receipt.digest())?;
            job.folder().note(&Fact::Receipt { provider: provider.to_string() })?;
        }
        for (provider, _) in receipts {
            if let Err(error) = self.countersign(provider).await {
                tracing::warn!(code = error.code(), %provider, %error, "receipts wait for a countersignature");
            }
        }
        Ok(())
    }

    /// Countersigns what waits for a provider, unless the bank's node runs, which does so by itself.
    async fn countersign(&self, provider: &PartyId) -> Result<(), TrainError> {
        if matches!(self.log, JobLog::Node(_)) {
            return Ok(());
        }
        let configured = self.config.providers.iter().find(|config| config.party == provider.as_str());
        let Some(configured) = configured else { return Ok(()) };
        let channel = crate::peer::channel(&self.certificate, provider, &configured.address)?;
        let round = Round { store: &self.store, keys: &self.keys, clock: &*self.clock, channel, provider };
        while let Some(batch) = round.send().await.map_err(NodeError::from)? {
            self.log.append(self.clock.now_ms(), vec![batch.event()]).await?;
            round.settle(&batch).map_err(NodeError::from)?;
        }
        Ok(())
    }
}

/// The scale of a training whose blocks are through.
fn scales(job: &Job, joint: &Joint, standing: &Standing) -> Result<Scales, TrainError> {
    let units: Vec<_> = (0..joint.units.len()).map(|unit| unit_trees(standing, unit)).collect();
    #[cfg(feature = "faults")]
    let units = job.crafted_trees(units);
    let lone = (joint.links().count() == 1).then(|| parts::of_known(&job.listed, &standing.joint));
    let scales = Scales::of(&job.features, &own_trees(standing), &units, lone.as_deref());
    scales.map_err(|error| TrainError::given("TRAIN_SCALE", error.to_string()))
}

/// The hash over a session's steps, and the digests of its contributions.
async fn hashes(job: &Arc<Job>, link: &Arc<Link>, begun: StepHash) -> Result<(Hash, Vec<Hash>), TrainError> {
    let link = link.clone();
    blocking(job, move |_| link.answers().hashes(begun)).await
}

fn metrics(model: &Model, judged: &Judged) -> Metrics {
    let calibration = model.card.calibration();
    Metrics {
        auc: Some(judged.parts.auc()),
        ks: Some(judged.parts.ks()),
        calibration_error: Some(judged.parts.calibration_error(calibration)),
        information_value: Some(judged.parts.information_value(10)),
    }
}

/// The bank's own part of every number of the universe.
fn own_parts(job: &Job, model: &Model, standing: &Standing) -> DenseParts {
    let trees = own_trees(standing);
    TableParts::of(&job.features, &trees, true, model.scales.own()).dense(&job.universe)
}
