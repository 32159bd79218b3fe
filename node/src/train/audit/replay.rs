//! An audit under way: everything again, in the order of the training.

use windvane_protocols::limits::MAX_RESIDUAL;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::group::{Fingerprint, Pins};
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::boosting::{Row, TrainingError, Unit, base, bound, subtract};
use windvane_protocols::train::charter::{Charter, list_digest};
use windvane_protocols::train::decode::Decoder;
use windvane_protocols::train::elgamal::{Statistic, TrainingKey};
use windvane_protocols::train::growth::Bound;
use windvane_protocols::train::record::{TrainRequest, announcements_digest};
use windvane_protocols::train::step::Step;
use windvane_protocols::train::tree::Tree;
use windvane_protocols::transcript::Hash;

use super::evidence::{Evidence, Uploads};
use super::member::{Member, Next, is_replaced};
use super::unit::{Replayed, UnitReplay};
use super::{TrainAudit, TrainFinding, TrainRows};
use crate::identity::NodeKeys;
use crate::train::features::Features;
use crate::train::run::block::BlockRecord;
use crate::train::run::cells::decrypt;
use crate::train::run::growing::Decryption;
use crate::train::run::inputs::{self, Inputs};
use crate::train::run::job::{Secrets, decoder, encrypt, held_out, indicator};
use crate::train::run::model::Model;
use crate::train::run::parts::{Scales, of_known};
use crate::train::run::{Document, LISTED, PLAN, TrainError, TrainFolder, TrainPlan};
use crate::train::sample::{Kind, Listed};

/// Threads that encrypt and decrypt.
const THREADS: usize = 2;

/// Holds what a provider signed against the bank's folder of its training; `others` are what other providers of it signed.
pub(super) fn audit(
    keys: &NodeKeys,
    folder: &TrainFolder,
    evidence: &Evidence,
    others: &[Evidence],
) -> Result<TrainAudit, TrainError> {
    let request = evidence.request();
    let charter = &request.charter;
    let plan = needed(folder, folder.read_json::<TrainPlan>(PLAN)?, PLAN)?.check()?;
    let secrets = needed(folder, Secrets::read(folder, &keys.storage)?, Secrets::NAME)?;
    let listed = needed(folder, folder.unseal_record::<Listed>(LISTED, &keys.storage)?, LISTED)?;
    let universe = inputs::universe(keys, &plan)?;
    let features = inputs::features(&plan, &universe, &())?;
    Inputs::of(&universe, &features).check(folder, &plan)?;
    let own = Unit::label_holder(listed.own(&features)?, &charter.hyperparameters);
    let brought: Vec<_> = std::iter::once(evidence).chain(others).cloned().collect();
    let asked = folder.read::<TrainRequest>(&request.provider, Document::Request)?;
    if is_replaced(evidence, asked.as_ref()) {
        return Ok(replaced(&listed, evidence));
    }
    let units = charter.units.iter().map(|unit| {
        let members = unit.members.iter().map(|identity| Member::open(folder, &identity.party, &brought));
        Ok(UnitReplay::new(members.collect::<Result<_, TrainError>>()?))
    });
    let units = units.collect::<Result<_, TrainError>>()?;
    let decoder = decoder(listed.real()).map_err(|error| TrainError::Encryption(error.into()))?;
    let mut auditor = Auditor {
        keys,
        folder,
        charter,
        evidence,
        uploads: evidence.uploads(),
        key: secrets.key(),
        decoder,
        listed,
        units,
        findings: Vec::new(),
    };
    auditor.signatures(request, others);
    auditor.sent();
    auditor.promises(&secrets, request, &universe);
    auditor.pins(&plan.pins((keys.party.clone(), Fingerprint::of(&keys.receipt.verifying_key()))));
    // A bank that cheated may have left what cannot be done again: what was found until there counts.
    if let Err(error) = auditor.replay(&own, &features) {
        auditor.find("TRAIN_REPLAY", None, None, format!("the rest cannot be done again: {error}"));
    }
    Ok(auditor.finish(request))
}

/// What all blocks make.
struct Grown {
    /// The bank's trees.
    own: Vec<Tree>,
    /// By row, what all providers' trees add.
    joint: Vec<i64>,
}

/// There is nothing to hold against a session in which nothing was handed over or answered, and that another one replaced.
fn replaced(listed: &Listed, evidence: &Evidence) -> TrainAudit {
    let TrainRequest { charter, provider, .. } = evidence.request();
    let signer = charter.providers().find(|identity| identity.party == *provider);
    let invalid = (!signer.is_some_and(|signer| evidence.verify(&signer.key))).then(|| invalid(provider));
    TrainAudit {
        training: charter.training.to_string(),
        provider: provider.to_string(),
        replaced: true,
        answered: Some(0),
        blocks: 0,
        rows: rows(listed),
        findings: invalid.into_iter().map(|(code, what)| found(code, None, None, what)).collect(),
    }
}

fn found(
    code: &'static str,
    block: Option<u16>,
    row: Option<usize>,
    what: impl Into<String>,
) -> TrainFinding {
    TrainFinding { code, block, row, what: what.into() }
}

fn invalid(party: &PartyId) -> (&'static str, String) {
    ("RECEIPT_INVALID", format!("the receipt of {party} is not signed by it, or is of another training"))
}

fn rows(listed: &Listed) -> TrainRows {
    let (training, held_out) = (listed.real(), listed.held_out());
    TrainRows { training, held_out, decoys: listed.rows() - training - held_out }
}

fn needed<T>(folder: &TrainFolder, found: Option<T>, name: &str) -> Result<T, TrainError> {
    let path = folder.path().join(name);
    found.ok_or(TrainError::Folder { path, what: "it is not there".to_owned() })
}

struct Auditor<'a> {
    keys: &'a NodeKeys,
    folder: &'a TrainFolder,
    charter: &'a Charter,
    evidence: &'a Evidence,
    /// What the evidence's provider got, and beyond it what others got.
    uploads: Uploads,
    key: TrainingKey,
    decoder: Decoder,
    listed: Listed,
    units: Vec<UnitReplay>,
    findings: Vec<TrainFinding>,
}

impl Auditor<'_> {
    fn finish(self, request: &TrainRequest) -> TrainAudit {
        TrainAudit {
            training: self.charter.training.to_string(),
            provider: request.provider.to_string(),
            replaced: false,
            blocks: self.uploads.residuals.len(),
            answered: self.evidence.lapse().map(|lapse| lapse.answered.count),
            rows: rows(&self.listed),
            findings: self.findings,
        }
    }

    fn find(&mut self, code: &'static str, block: Option<u16>, row: Option<usize>, what: impl Into<String>) {
        self.findings.push(found(code, block, row, what));
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        self.units.iter().flat_map(|unit| &unit.members)
    }

    /// What all of them signed, as far as the auditor has it.
    fn signed(&self) -> impl Iterator<Item = &Evidence> {
        self.members().filter_map(|member| member.evidence.as_ref())
    }

    /// Whether receipts and lapses are their providers', all of one training, and the request in this one is the bank's.
    fn signatures(&mut self, request: &TrainRequest, others: &[Evidence]) {
        let identities = self.charter.providers().zip(self.members());
        let wrong = identities.filter_map(|(identity, member)| {
            let (evidence, party) = (member.evidence.as_ref(), &member.party);
            let bad = |evidence: &Evidence| {
                !evidence.verify(&identity.key) || evidence.request().charter != *self.charter
            };
            if evidence.is_some_and(bad) {
                Some(invalid(party))
            } else if member.contradicts_itself {
                let what = format!("{party} signed two different receipts or lapses of the training");
                Some(("RECEIPT_REPEATED", what))
            } else if member.is_of_another_session() {
                let what = format!("{party} was asked in another session than the bank keeps the request of");
                Some(("REQUEST_DIFFERS", what))
            } else if evidence.is_none() && member.bins().is_some() {
                let what = format!(
                    "{party} accepted the training, and its receipt is not there: its answers are held against nothing; \
                     give its receipt or lapse too"
                );
                Some(("RECEIPT_MISSING", what))
            } else {
                None
            }
        });
        let strangers = others.iter().map(|other| &other.request().provider);
        let strangers = strangers.filter(|party| self.charter.unit_of(party).is_none());
        let stranger = |party| ("RECEIPT_INVALID", format!("{party} is no provider of this training"));
        let found: Vec<_> = wrong.chain(strangers.map(stranger)).collect();
        found.into_iter().for_each(|(code, what)| self.find(code, None, None, what));
        if !self.evidence.acceptance().body().request.verify(&self.keys.receipt.verifying_key()) {
            let what = format!("the request to {} is not signed by this bank", request.provider);
            self.find("REQUEST_INVALID", None, None, what);
        }
    }

    /// Goes beyond what the evidence's provider got, to what any other one signed that it got.
    fn sent(&mut self) {
        let others: Vec<_> = self.signed().map(Evidence::uploads).collect();
        others.into_iter().for_each(|other| self.uploads.extend(other));
    }

    /// Whether the providers are those that the plan pins, and no strangers with keys of the bank's making.
    fn pins(&mut self, pins: &Pins) {
        if let Err(error) = self.charter.hold_against(pins) {
            self.find("RECEIPT_INVALID", None, None, error.to_string());
        }
    }

    /// Everything again, in the order of the training.
    fn replay(&mut self, own: &Unit, features: &Features) -> Result<(), TrainError> {
        self.transcripts()?;
        self.statistics()?;
        self.model()?;
        match self.blocks(own)? {
            Some(grown) => self.end(features, &grown),
            None => Ok(()),
        }
    }

    /// Whether seed, key and list are those that the request names, and the list is the one that the seed draws.
    fn promises(&mut self, secrets: &Secrets, request: &TrainRequest, universe: &Universe) {
        if secrets.commitment(request.provider.as_str()) != request.seed {
            self.find("TRAIN_SEED", None, None, "the seed is not the committed one");
        }
        if self.key.public().as_bytes() != &self.charter.public_key {
            self.find("TRAIN_KEY", None, None, "the public key does not follow from the seed");
        }
        if list_digest(universe.digest(), self.listed.positions()) != self.charter.list {
            self.find("TRAIN_LIST", None, None, "the list is not the one that the request names");
        }
        let Charter { decoy_factor, held_out, .. } = *self.charter;
        let sample = self.listed.sample();
        let drawn = Listed::draw(&sample, universe.rows(), decoy_factor, held_out, secrets.lists());
        if drawn.ok().as_ref() != Some(&self.listed) {
            let what = "decoys and held-out rows are not those that the seed draws around the sample";
            self.find("TRAIN_LIST", None, None, what);
        }
    }

    /// Whether answers are kept as the providers signed, and all were told the same.
    fn transcripts(&mut self) -> Result<(), TrainError> {
        let all: Option<Vec<_>> = self.members().map(|member| member.announcement().cloned()).collect();
        let hold = all.as_ref().is_some_and(|all| self.charter.check_announcements(all).is_ok());
        if self.signed().any(Evidence::is_begun) && !hold {
            self.find("TRAIN_ANNOUNCEMENTS", None, None, "the providers' announcements do not hold");
        }
        let (announcements, mut found) = (all.unwrap_or_default(), Vec::new());
        let digest = announcements_digest(&announcements);
        let uploads = &self.uploads;
        for member in self.units.iter_mut().flat_map(|unit| &mut unit.members) {
            let lapse = member.evidence.as_ref().and_then(Evidence::lapse);
            let told = lapse.filter(|lapse| lapse.is_begun());
            if told.is_some_and(|lapse| lapse.announcements != digest) {
                let what = format!("{} was handed other announcements than the others made", member.party);
                found.push(("TRAIN_ANNOUNCEMENTS", what));
            }
            if !member.is_as_signed(&announcements)? {
                let what = format!("what was asked of {} and returned is not what it signed", member.party);
                found.push(("TRAIN_STEPS", what));
            }
            if member.evidence.as_ref().is_some_and(|evidence| !evidence.uploads().agree(uploads)) {
                let what = format!("{} was sent other ciphertexts than the receipt has", member.party);
                found.push(("TRAIN_UPLOADS", what));
            }
        }
        found.into_iter().for_each(|(code, what)| self.find(code, None, None, what));
        Ok(())
    }

    /// Whether the model that was delivered is the one that the receipt has, under the name that the request has.
    fn model(&mut self) -> Result<(), TrainError> {
        let Some(receipt) = self.evidence.receipt() else { return Ok(()) };
        let kept = self.folder.unseal_record::<Model>(Model::NAME, &self.keys.storage)?;
        let what = match kept.map(|model| model.card) {
            None => "the receipt has a model's card, and the bank keeps none",
            Some(card) if card.digest() != receipt.card => {
                "the receipt has another model's card than the bank keeps"
            }
            Some(card) if card.name() != self.charter.model => "the model has another name than the request",
            Some(_) => return Ok(()),
        };
        self.find("TRAIN_MODEL", None, None, what);
        Ok(())
    }

    /// Whether the indicator and the held-out rows are those of the list.
    fn statistics(&mut self) -> Result<(), TrainError> {
        let Uploads { indicator: counted, held_out: held, .. } = self.uploads;
        for (statistic, values, digest, code) in [
            (Statistic::Indicator, indicator(&self.listed), counted, "TRAIN_INDICATOR"),
            (Statistic::HeldOut, held_out(&self.listed), held, "TRAIN_HELD_OUT"),
        ] {
            let Some(digest) = digest else { continue };
            if encrypted(&self.key, statistic, &values)? != digest {
                self.find(code, None, None, "another statistic was uploaded than the list's");
            }
        }
        Ok(())
    }

    /// Whether every block's residuals and decisions are what labels, own trees and answers make of them. Gives the
    /// trees; nothing where the training was given up before the last block's end.
    fn blocks(&mut self, own: &Unit) -> Result<Option<Grown>, TrainError> {
        let numbers = self.charter.hyperparameters;
        let (mut own_trees, mut joint) = (Vec::new(), vec![0; self.listed.rows()]);
        let mut rows = self.listed.begin(base(&self.listed.labels())?);
        for block in 0..numbers.blocks {
            if self.uploads.residuals.len() <= block.into() {
                return Ok(None);
            }
            let record = self.record(block)?;
            let (trees, _) = own.block(&numbers, &mut rows)?;
            if record.as_ref().is_some_and(|record| trees != record.own) {
                let what = "the own trees are not those that labels grow";
                self.find("TRAIN_OWN_TREES", Some(block), None, what);
            }
            self.residuals(block, record.as_ref(), &rows)?;
            let limit = self.limit(&rows)?;
            for unit in 0..self.units.len() {
                self.decisions(block, unit, limit)?;
            }
            let Some(record) = record else { return Ok(None) };
            let contributions = self.contributions(block, &record)?;
            if contributions != record.contributions {
                let row = differs(&contributions, &record.contributions);
                self.find("TRAIN_CONTRIBUTIONS", Some(block), row, "the answers decrypt to something else");
            }
            subtract(&mut rows, &contributions).map_err(TrainingError::from)?;
            joint.iter_mut().zip(&contributions).for_each(|(sum, value)| *sum += i64::from(*value));
            own_trees.extend(trees);
        }
        Ok(Some(Grown { own: own_trees, joint }))
    }

    /// What a block left at the bank. There is nothing of one that was under way when the training was given up, which is
    /// the last that a provider got residuals of.
    fn record(&self, block: u16) -> Result<Option<BlockRecord>, TrainError> {
        let name = BlockRecord::name(block);
        let record = self.folder.unseal_record::<BlockRecord>(&name, &self.keys.storage)?;
        let is_last = self.uploads.residuals.len() == usize::from(block) + 1;
        if is_last && self.signed().all(|evidence| evidence.receipt().is_none()) {
            return Ok(record);
        }
        needed(self.folder, record, &name).map(Some)
    }

    /// Whether parts were asked for under the scale that all trees make, and nothing else was asked.
    fn end(&mut self, features: &Features, Grown { own, joint }: &Grown) -> Result<(), TrainError> {
        if !self.units.iter().all(UnitReplay::goes_on) {
            // What follows from a question that was not decided, or not asked, was not looked at.
            return Ok(());
        }
        let lone = (self.members().count() == 1).then(|| of_known(&self.listed, joint));
        let trees: Vec<_> = self.units.iter().map(|unit| unit.trees.clone()).collect();
        let Ok(scales) = Scales::of(features, own, &trees, lone.as_deref()) else {
            self.find("TRAIN_DECISIONS", None, None, "the trees make no scale");
            return Ok(());
        };
        let mut found = Vec::new();
        for (unit, scaling) in self.units.iter_mut().zip(scales.units()) {
            let step = Step::Parts { scaling: *scaling };
            for member in &mut unit.members {
                match member.next(&step)? {
                    Next::Otherwise => found.push(format!(
                        "{} was asked for parts on another scale than all trees make",
                        member.party
                    )),
                    Next::Answered(_) if member.was_asked_more() => {
                        found.push(format!("{} was asked more than a training asks", member.party));
                    }
                    Next::Answered(_) | Next::Nothing => {}
                }
            }
        }
        found.into_iter().for_each(|what| self.find("TRAIN_DECISIONS", None, None, what));
        Ok(())
    }

    /// Whether a block's residuals are honest, and those that were uploaded.
    fn residuals(
        &mut self,
        block: u16,
        record: Option<&BlockRecord>,
        rows: &[Row],
    ) -> Result<(), TrainError> {
        let honest: Vec<_> = rows.iter().map(|row| row.residual).collect();
        let statistic = Statistic::Residual { block };
        let digest = self.uploads.residuals.get(usize::from(block)).copied();
        if Some(encrypted(&self.key, statistic, &wide(&honest))?) == digest {
            return Ok(());
        }
        let sent = record.map(|record| &record.sent[..]).unwrap_or_default();
        if record.is_none() || Some(encrypted(&self.key, statistic, &wide(sent))?) != digest {
            let what = "neither honest residuals nor those that the bank kept were uploaded";
            self.find("TRAIN_RESIDUAL", Some(block), None, what);
            return Ok(());
        }
        let wrong = (0..honest.len()).filter(|row| sent.get(*row) != Some(&honest[*row]));
        for row in wrong.collect::<Vec<_>>() {
            self.find("TRAIN_RESIDUAL", Some(block), Some(row), "the residual is crafted");
        }
        Ok(())
    }

    /// What the residuals of some rows bound. Where they are not those that were uploaded, half of what a training may
    /// have, the other half being for the trees to come: providers answered about the others.
    fn limit(&self, rows: &[Row]) -> Result<Bound, TrainError> {
        let crafted = |finding: &TrainFinding| matches!(finding.code, "TRAIN_RESIDUAL" | "TRAIN_INDICATOR");
        let limit = if self.findings.iter().any(crafted) {
            Bound::new(self.listed.real(), u64::from(MAX_RESIDUAL / 2))
        } else {
            bound(rows)
        };
        Ok(limit.map_err(TrainingError::from)?)
    }

    /// Whether a unit was asked in a block what the answers before decide.
    fn decisions(&mut self, block: u16, unit: usize, limit: Bound) -> Result<(), TrainError> {
        let with = Decryption { key: &self.key, decoder: &self.decoder, threads: THREADS };
        let replay = &mut self.units[unit];
        if replay.goes_on()
            && let Replayed::Otherwise(what) = replay.block(self.charter, block, limit, with)?
        {
            self.find("TRAIN_DECISIONS", Some(block), None, what);
        }
        Ok(())
    }

    /// What all providers' answers add up to, decrypted again; what the bank kept where they do not decrypt.
    fn contributions(&mut self, block: u16, record: &BlockRecord) -> Result<Vec<i32>, TrainError> {
        let mut sent = Vec::new();
        for member in self.units.iter_mut().flat_map(|unit| &mut unit.members) {
            let answer = member.contributions(block)?;
            sent.push(needed(self.folder, answer, member.party.as_str())?.ciphertexts);
        }
        let values = match decrypt(&self.key, &self.decoder, &sent, self.listed.rows(), THREADS) {
            Ok(values) => values,
            Err(error) => {
                self.find("TRAIN_ANSWER", Some(block), None, format!("the answers do not decrypt: {error}"));
                return Ok(record.contributions.clone());
            }
        };
        let mut decoys = values.iter().zip(self.listed.kinds());
        if let Some(row) = decoys.position(|(value, kind)| *kind == Kind::Decoy && *value != 0) {
            self.find("TRAIN_CONTRIBUTIONS", Some(block), Some(row), "a decoy has a contribution");
        }
        // One that does not fit differs from all that are kept.
        Ok(values.into_iter().map(|value| i32::try_from(value).unwrap_or(i32::MAX)).collect())
    }
}

/// The digest of a statistic as it should have been uploaded.
fn encrypted(key: &TrainingKey, statistic: Statistic, values: &[i64]) -> Result<Hash, TrainError> {
    encrypt(key, statistic, values, THREADS).map(|(_, digest)| digest).map_err(TrainError::Encryption)
}

fn wide(values: &[i32]) -> Vec<i64> {
    values.iter().map(|value| i64::from(*value)).collect()
}

/// The first row that differs.
fn differs(one: &[i32], other: &[i32]) -> Option<usize> {
    (0..one.len().max(other.len())).find(|row| one.get(*row) != other.get(*row))
}
