//! One session in memory, on the way from its folder to its receipt.

use std::sync::Arc;

use windvane_protocols::limits::MAX_TRAIN_ATTEMPTS;
use windvane_protocols::oprf::ELEMENT_BYTES;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::charter::{Charter, POSITION_BYTES};
use windvane_protocols::train::context::Context;
use windvane_protocols::train::elgamal::{CIPHERTEXT_BYTES, Ciphertexts, PublicKey, Statistic};
use windvane_protocols::train::mask::MaskingKey;
use windvane_protocols::train::partition::Root;
use windvane_protocols::train::record::{TrainAcceptance, TrainAnnouncement, TrainRequest};
use windvane_protocols::train::step::Step;
use windvane_protocols::train::sums::Statistics;
use windvane_protocols::transcript::{Hash, Signed};

use super::table::{Contents, unusable};
use super::{Desk, internal};
use crate::error::{NodeError, Refusal};
use crate::train::features::Features;
use crate::train::folder::{Document, Fact, KeptStep, Secret, SessionFolder, SessionState, Upload};
use crate::train::work::{Returned, SessionMasks, TreeLog, Work};
use crate::train::{Stage, TrainRefusal};

/// A session in memory. Everything of it follows from its folder and the table.
#[derive(Debug)]
pub(super) struct Session {
    folder: SessionFolder,
    acceptance: Signed<TrainAcceptance>,
    universe: Universe,
    features: Features,
    mask: MaskingKey,
    threads: usize,
    /// Once announcements, list and indicator are here.
    work: Option<Work>,
    trees: TreeLog,
    failed: bool,
}

impl Session {
    pub(super) fn new(
        folder: SessionFolder,
        acceptance: Signed<TrainAcceptance>,
        contents: Contents,
        mask: MaskingKey,
        threads: usize,
    ) -> Self {
        let Contents { universe, features, .. } = contents;
        let trees = TreeLog::default();
        Self { folder, acceptance, universe, features, mask, threads, work: None, trees, failed: false }
    }

    /// Reads a session from its folder, and takes its steps again. The table, which may take long, is read last, and only
    /// for one that `may_go_on`.
    pub(super) fn load(
        desk: &Desk,
        id: SessionId,
        may_go_on: impl FnOnce(&Signed<TrainAcceptance>, &SessionState) -> Result<(), Refusal>,
    ) -> Result<Self, Refusal> {
        let shared = desk.provider.shared();
        let read = || {
            let folder = SessionFolder::open(shared.layout.root(), id)?;
            let acceptance = folder.read::<TrainAcceptance>(Document::Acceptance)?;
            let mask = folder.unseal(Secret::Mask, &shared.keys.storage)?;
            Ok::<_, NodeError>((folder, acceptance, mask))
        };
        let (folder, acceptance, mask) = read().map_err(|error| internal(&error))?;
        let acceptance = acceptance.ok_or(TrainRefusal::SessionUnknown)?;
        may_go_on(&acceptance, folder.state())?;
        let request = acceptance.body().request.body();
        let table = desk.table(&request.data_set)?;
        let unit = request.charter.unit_of(&request.provider);
        let contents = table.read(unit.is_some_and(|(_, unit)| unit.members.len() == 1));
        let contents = contents.map_err(|error| unusable(&error))?;
        let announced = acceptance.body().announcement.body();
        let changed = table.commitment(&request.grant, &contents.features) != acceptance.body().input
            || *contents.universe.digest() != request.charter.universe
            || contents.schema_digest() != announced.schema;
        if changed {
            return Err(TrainRefusal::TableChanged.into());
        }
        let mask = mask.and_then(|bytes| MaskingKey::from_bytes(bytes.as_slice().try_into().ok()?));
        let mask = mask.ok_or(Refusal::Internal)?;
        let mut session = Self::new(folder, acceptance, contents, mask, desk.threads);
        session.restore(desk)?;
        Ok(session)
    }

    /// Takes everything again that is kept.
    fn restore(&mut self, desk: &Desk) -> Result<(), Refusal> {
        self.prepare(desk)?;
        let state = self.folder.state().clone();
        let block = state.block();
        let is_past = |step: &Step| step.block().is_some_and(|at| Some(at) < block);
        for KeptStep { step, .. } in state.steps.iter().filter(|kept| is_past(&kept.step)) {
            self.trees.take(step)?;
        }
        let (Some(block), Some(work)) = (block, &mut self.work) else { return Ok(()) };
        let digest = state.uploads.get(&Upload::Residuals(block)).ok_or(Refusal::Internal)?;
        let bytes = self.folder.upload(Upload::Residuals(block)).map_err(|error| internal(&error))?;
        let residuals = Ciphertexts::decode(&bytes, self.threads).map_err(|_| Refusal::Internal)?;
        for before in 0..block {
            let digest = state.uploads.get(&Upload::Residuals(before)).ok_or(Refusal::Internal)?;
            work.told_residuals(before, digest);
        }
        work.residuals(block, residuals, digest)?;
        for KeptStep { step, .. } in state.steps.iter().filter(|kept| !is_past(&kept.step)) {
            self.move_to(desk, step)?;
        }
        Ok(())
    }

    /// Moves to a step, in memory.
    fn move_to(&mut self, desk: &Desk, step: &Step) -> Result<(), Refusal> {
        let order = |expected| TrainRefusal::Order { found: step.name(), expected };
        let work = self.work.as_mut().ok_or(order("announcements, list and indicator"))?;
        let Step::Parts { scaling } = step else {
            work.step(step)?;
            return Ok(self.trees.take(step)?);
        };
        if !work.parts_are_due() {
            return Err(order("the blocks that are left").into());
        }
        let parts = self.listed_parts(desk, *scaling)?;
        let work = self.work.as_mut().ok_or(Refusal::Internal)?;
        Ok(work.part(*scaling, &parts)?)
    }

    pub(super) const fn acceptance(&self) -> &Signed<TrainAcceptance> {
        &self.acceptance
    }

    pub(super) const fn state(&self) -> &SessionState {
        self.folder.state()
    }

    /// The folder, to read what is kept.
    pub(super) const fn kept(&self) -> &SessionFolder {
        &self.folder
    }

    pub(super) const fn folder(&mut self) -> &mut SessionFolder {
        &mut self.folder
    }

    pub(super) fn into_folder(self) -> SessionFolder {
        self.folder
    }

    pub(super) const fn universe(&self) -> &Universe {
        &self.universe
    }

    pub(super) const fn features(&self) -> &Features {
        &self.features
    }

    pub(super) const fn threads(&self) -> usize {
        self.threads
    }

    pub(super) const fn trees(&self) -> &TreeLog {
        &self.trees
    }

    /// Whether something failed half-way, after which only the folder tells where the session is.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether all blocks are through, parts were told and the last answer has left.
    pub(super) fn is_through(&self) -> bool {
        self.work.as_ref().is_some_and(Work::is_through) && self.is_answered()
    }

    pub(super) fn request(&self) -> &TrainRequest {
        self.acceptance.body().request.body()
    }

    pub(super) fn charter(&self) -> &Charter {
        &self.request().charter
    }

    /// Members of the own unit.
    pub(super) fn carriers(&self) -> usize {
        self.charter().unit_of(&self.request().provider).map_or(1, |(_, unit)| unit.members.len())
    }

    /// Takes what all providers announced: the same again is no change.
    pub(super) fn begin(
        &mut self,
        desk: &Desk,
        announcements: &[Signed<TrainAnnouncement>],
    ) -> Result<(), Refusal> {
        if let Some(known) = &self.state().announcements {
            return if known == announcements {
                Ok(())
            } else {
                Err(TrainRefusal::AnnouncementsDiffer.into())
            };
        }
        self.charter().check_announcements(announcements).map_err(TrainRefusal::from)?;
        let own = &self.acceptance.body().announcement;
        if !announcements.iter().any(|announced| announced == own) {
            return Err(TrainRefusal::AnnouncementsDiffer.into());
        }
        self.masks(announcements)?;
        self.note(&Fact::begun(announcements))?;
        Stage::Begun.reached();
        self.follow(|session| session.prepare(desk))
    }

    fn masks(&self, announcements: &[Signed<TrainAnnouncement>]) -> Result<SessionMasks, TrainRefusal> {
        let (charter, own) = (self.charter(), &self.request().provider);
        let unit = charter.unit_of(own).map_or(&[][..], |(_, unit)| &unit.members);
        let peers = |among: &dyn Fn(&PartyId) -> bool| -> Vec<(PartyId, [u8; ELEMENT_BYTES])> {
            let others = announcements.iter().map(Signed::body).filter(|body| body.party != *own);
            others.filter(|body| among(&body.party)).map(|body| (body.party.clone(), body.mask_key)).collect()
        };
        let member = |party: &PartyId| unit.iter().any(|identity| identity.party == *party);
        let agree = |peers: &[_]| self.mask.agree(&charter.training, own, peers);
        Ok(SessionMasks { contributions: agree(&peers(&|_| true))?, sums: agree(&peers(&member))? })
    }

    /// Everything for the first block, once announcements, list and indicator are here.
    fn prepare(&mut self, desk: &Desk) -> Result<(), Refusal> {
        let state = self.folder.state();
        let there = |upload| state.uploads.contains_key(&upload);
        let Some(announcements) = &state.announcements else { return Ok(()) };
        if self.work.is_some() || !there(Upload::List) || !there(Upload::Indicator) {
            return Ok(());
        }
        let indicator = self.folder.upload(Upload::Indicator).map_err(|error| internal(&error))?;
        let positions = self.positions(desk)?;
        let (numbers, carriers) = (self.charter().hyperparameters, self.carriers());
        let binned = self.features.listed(&positions, carriers == 1).map_err(|_| Refusal::Internal)?;
        let root = Root::new(Arc::new(binned), &numbers, carriers).map_err(TrainRefusal::from)?;
        let public = PublicKey::from_bytes(self.charter().public_key).map_err(|_| TrainRefusal::PublicKey)?;
        let indicator = Ciphertexts::decode(&indicator, self.threads).map_err(|_| Refusal::Internal)?;
        let masks = self.masks(announcements)?;
        let digest = |upload| state.uploads.get(&upload).ok_or(Refusal::Internal);
        let told = Context::new(&self.charter().digest(), announcements);
        let told = told.uploaded(Statistic::Indicator, digest(Upload::Indicator)?);
        let statistics = Statistics::new(public, indicator);
        let mut work = Work::new(numbers, root, statistics, masks, told, self.threads);
        if there(Upload::HeldOut) {
            let held_out = self.folder.upload(Upload::HeldOut).map_err(|error| internal(&error))?;
            let held_out = Ciphertexts::decode(&held_out, self.threads).map_err(|_| Refusal::Internal)?;
            work.hold_out(&held_out, digest(Upload::HeldOut)?)?;
        }
        self.work = Some(work);
        Ok(())
    }

    /// How many bytes an upload must have, if it is due or came before.
    pub(super) fn expect(&self, upload: Upload) -> Result<usize, Refusal> {
        let order = |expected| TrainRefusal::Order { found: "an upload", expected };
        let rows = self.charter().rows as usize;
        let state = self.state();
        if state.announcements.is_none() {
            return Err(order("all providers' announcements").into());
        }
        let known = state.uploads.contains_key(&upload);
        match upload {
            Upload::List => Ok(rows * POSITION_BYTES),
            Upload::Indicator if state.uploads.contains_key(&Upload::List) => Ok(rows * CIPHERTEXT_BYTES),
            Upload::Indicator => Err(order("the list").into()),
            Upload::HeldOut if known || (self.work.is_some() && state.block().is_none()) => {
                Ok(rows * CIPHERTEXT_BYTES)
            }
            Upload::HeldOut => Err(order("another upload").into()),
            Upload::Residuals(block) => {
                let due = self.work.as_ref().and_then(Work::residuals_due);
                let next = due == Some(block) && self.is_answered();
                if known || next { Ok(rows * CIPHERTEXT_BYTES) } else { Err(order("another step").into()) }
            }
        }
    }

    /// Keeps an upload that came whole; the same again is no change.
    pub(super) fn take(&mut self, desk: &Desk, upload: Upload, bytes: &[u8]) -> Result<Hash, Refusal> {
        self.expect(upload)?;
        let (digest, ciphertexts) = super::upload::digest(self, upload, bytes)?;
        if let Some(known) = self.state().uploads.get(&upload) {
            return if *known == digest { Ok(digest) } else { Err(TrainRefusal::UploadDiffers.into()) };
        }
        let kept = match upload {
            Upload::List => self.folder.seal(Secret::List, bytes, &desk.provider.shared().keys.storage),
            _ => self.folder.keep_upload(upload, bytes),
        };
        kept.map_err(|error| internal(&error))?;
        self.note(&Fact::uploaded(upload, &digest))?;
        Stage::Uploaded.reached();
        self.follow(|session| session.taken(desk, upload, ciphertexts, &digest))?;
        Ok(digest)
    }

    /// What an upload that is kept changes in memory.
    fn taken(
        &mut self,
        desk: &Desk,
        upload: Upload,
        ciphertexts: Option<Ciphertexts>,
        digest: &Hash,
    ) -> Result<(), Refusal> {
        match (upload, &mut self.work, ciphertexts) {
            (Upload::Residuals(block), Some(work), Some(residuals)) => {
                work.residuals(block, residuals, digest)?;
                if let Some(before) = block.checked_sub(1) {
                    self.folder.forget_residuals(before).map_err(|error| internal(&error))?;
                }
                Ok(())
            }
            (Upload::HeldOut, Some(work), Some(held_out)) => Ok(work.hold_out(&held_out, digest)?),
            _ => self.prepare(desk),
        }
    }

    /// Answers a step: a new one once it is kept, the last one again, as often as a session is opened. Every answer is
    /// another and stays in the journal.
    pub(super) fn step(&mut self, desk: &Desk, step: &Step) -> Result<Returned, Refusal> {
        let steps = &self.folder.state().steps;
        let again = match steps.iter().rposition(|kept| kept.step.is_at(step)) {
            Some(at) if steps[at].step != *step => return Err(TrainRefusal::StepDiffers.into()),
            Some(at) if at + 1 < steps.len() || !self.is_current(step) => {
                return Err(TrainRefusal::StepPast.into());
            }
            Some(at) if steps[at].answers >= MAX_TRAIN_ATTEMPTS => {
                return Err(TrainRefusal::Attempts.into());
            }
            found => found.is_some(),
        };
        if !again {
            if !self.is_answered() {
                let expected = "the last step again, which has no answer yet";
                return Err(TrainRefusal::Order { found: step.name(), expected }.into());
            }
            self.advance(desk, step)?;
        }
        let work = self.work.as_ref().ok_or(Refusal::Internal)?;
        let returned = work.answer(&mut rand::rng())?;
        self.note(&Fact::answered(&returned.digest()))?;
        Stage::Answered.reached();
        Ok(returned)
    }

    fn advance(&mut self, desk: &Desk, step: &Step) -> Result<(), Refusal> {
        let id = self.folder.session();
        self.follow(|session| session.move_to(desk, step))?;
        self.note(&Fact::asked(step))?;
        Stage::Asked.reached();
        match step {
            Step::Grow { place, .. } if place.level == 0 => {
                let (block, tree) = (place.block, place.tree);
                tracing::info!(code = "TRAIN_PROGRESS", session = %id, block, tree, "a tree begins");
            }
            Step::Contributions { block, .. } => {
                tracing::info!(code = "TRAIN_PROGRESS", session = %id, block, "a block is through");
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a step's block is still under way: the next block's residuals end it. What comes behind all blocks is.
    fn is_current(&self, step: &Step) -> bool {
        step.block().is_none_or(|block| self.state().block() == Some(block))
    }

    fn is_answered(&self) -> bool {
        self.state().steps.last().is_none_or(|last| last.returned.is_some())
    }

    pub(super) fn note(&mut self, fact: &Fact) -> Result<(), Refusal> {
        self.follow(|session| session.folder.note(fact).map_err(|error| internal(&error)))
    }

    /// Does what must be the same in memory and in the folder: once it failed, one may be ahead of the other.
    fn follow(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Refusal>) -> Result<(), Refusal> {
        let done = work(self);
        self.failed |= done.is_err();
        done
    }
}
