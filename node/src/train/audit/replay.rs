//! An audit under way: everything again, in the order of the training.

use windvane_protocols::limits::MAX_RESIDUAL;
use windvane_protocols::score::group::{Fingerprint, Pins};
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::boosting::{Row, TrainingError, Unit, base, bound, subtract};
use windvane_protocols::train::charter::{Charter, list_digest};
use windvane_protocols::train::decode::Decoder;
use windvane_protocols::train::elgamal::{Statistic, TrainingKey};
use windvane_protocols::train::growth::Bound;
use windvane_protocols::train::record::{TrainReceipt, TrainRequest};
use windvane_protocols::train::step::{Place, Step};
use windvane_protocols::train::tree::Tree;
use windvane_protocols::transcript::{Hash, Signed};

use super::member::Member;
use super::{TrainAudit, TrainFinding, TrainRows};
use crate::identity::NodeKeys;
use crate::train::features::Features;
use crate::train::run::block::BlockRecord;
use crate::train::run::cells::{RootCounts, decrypt};
use crate::train::run::growing::{Decryption, Growing, Trees};
use crate::train::run::inputs::{self, Inputs};
use crate::train::run::job::{Secrets, decoder, encrypt, held_out, indicator};
use crate::train::run::parts::{Scales, of_known};
use crate::train::run::{LISTED, PLAN, TrainError, TrainFolder, TrainPlan};
use crate::train::sample::{Kind, Listed};

/// Threads that encrypt and decrypt.
const THREADS: usize = 2;

/// Holds a receipt against the bank's folder of its training.
pub(super) fn audit(
    keys: &NodeKeys,
    folder: &TrainFolder,
    signed: &Signed<TrainReceipt>,
) -> Result<TrainAudit, TrainError> {
    let request = signed.body().request();
    let charter = &request.charter;
    let plan = needed(folder, folder.read_json::<TrainPlan>(PLAN)?, PLAN)?.check()?;
    let secrets = needed(folder, Secrets::read(folder, &keys.storage)?, Secrets::NAME)?;
    let listed = needed(folder, folder.unseal_record::<Listed>(LISTED, &keys.storage)?, LISTED)?;
    let universe = inputs::universe(keys, &plan)?;
    let features = inputs::features(&plan, &universe, &())?;
    Inputs::of(&universe, &features).check(folder, &plan)?;
    let own = Unit::label_holder(listed.own(&features)?, &charter.hyperparameters);
    let units = charter.units.iter().map(|unit| {
        let members = unit.members.iter().map(|identity| Member::open(folder, &identity.party, signed));
        let members = members.collect::<Result<_, TrainError>>()?;
        Ok(UnitReplay { members, counts: None, trees: Vec::new(), follows: true })
    });
    let units = units.collect::<Result<_, TrainError>>()?;
    let decoder = decoder(listed.real()).map_err(|error| TrainError::Encryption(error.into()))?;
    let mut auditor = Auditor {
        keys,
        folder,
        charter,
        receipt: signed.body(),
        key: secrets.key(),
        decoder,
        listed,
        units,
        findings: Vec::new(),
    };
    auditor.signatures(signed, request);
    auditor.promises(&secrets, request, &universe);
    auditor.pins(&plan.pins((keys.party.clone(), Fingerprint::of(&keys.receipt.verifying_key()))));
    // A bank that cheated may have left what cannot be done again: what was found until there counts.
    if let Err(error) = auditor.replay(&own, &features) {
        auditor.find("TRAIN_REPLAY", None, None, format!("the rest cannot be done again: {error}"));
    }
    Ok(auditor.finish(request))
}

fn needed<T>(folder: &TrainFolder, found: Option<T>, name: &str) -> Result<T, TrainError> {
    let path = folder.path().join(name);
    found.ok_or(TrainError::Folder { path, what: "it is not there".to_owned() })
}

/// A unit's trees, decided again.
struct UnitReplay {
    members: Vec<Member>,
    counts: Option<RootCounts>,
    trees: Vec<Tree>,
    /// Whether everything so far was asked as it is decided.
    follows: bool,
}

struct Auditor<'a> {
    keys: &'a NodeKeys,
    folder: &'a TrainFolder,
    charter: &'a Charter,
    receipt: &'a TrainReceipt,
    key: TrainingKey,
    decoder: Decoder,
    listed: Listed,
    units: Vec<UnitReplay>,
    findings: Vec<TrainFinding>,
}

impl Auditor<'_> {
    fn finish(self, request: &TrainRequest) -> TrainAudit {
        let (training, held_out) = (self.listed.real(), self.listed.held_out());
        let decoys = self.listed.rows() - training - held_out;
        TrainAudit {
            training: self.charter.training.to_string(),
            provider: request.provider.to_string(),
            blocks: self.charter.hyperparameters.blocks,
            rows: TrainRows { training, held_out, decoys },
            findings: self.findings,
        }
    }

    fn find(&mut self, code: &'static str, block: Option<u16>, row: Option<usize>, what: impl Into<String>) {
        self.findings.push(TrainFinding { code, block, row, what: what.into() });
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        self.units.iter().flat_map(|unit| &unit.members)
    }

    /// Whether receipts are their providers', all of one training, and the request in this one is the bank's.
    fn signatures(&mut self, signed: &Signed<TrainReceipt>, request: &TrainRequest) {
        let identities = self.charter.providers().zip(self.members());
        let wrong: Vec<_> = identities
            .filter(|(identity, member)| {
                let receipt = &member.receipt;
                !receipt.verify(&identity.key) || receipt.body().request().charter != *self.charter
            })
            .map(|(identity, _)| identity.party.clone())
            .collect();
        for party in wrong {
            let what = format!("the receipt of {party} is not signed by it, or is of another training");
            self.find("RECEIPT_INVALID", None, None, what);
        }
        let asked = &signed.body().acceptance.body().request;
        if !asked.verify(&self.keys.receipt.verifying_key()) {
            let what = format!("the request to {} is not signed by this bank", request.provider);
            self.find("REQUEST_INVALID", None, None, what);
        }
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
        let (own_trees, joint) = self.blocks(own)?;
        self.end(features, &own_trees, &joint)
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

    /// Whether answers are kept as the receipts say, and all providers were told the same.
    fn transcripts(&mut self) -> Result<(), TrainError> {
        let announcements: Vec<_> = self.members().map(|member| member.announcement().clone()).collect();
        if self.charter.check_announcements(&announcements).is_err() {
            self.find("TRAIN_ANNOUNCEMENTS", None, None, "the providers' announcements do not hold");
        }
        let mut found = Vec::new();
        for member in self.units.iter_mut().flat_map(|unit| &mut unit.members) {
            let (steps, contributions) = member.hashes(&announcements)?;
            let receipt = member.receipt.body();
            if (steps, &contributions) != (receipt.steps, &receipt.contributions) {
                let what =
                    format!("what was asked of {} and returned is not what its receipt has", member.party);
                found.push(("TRAIN_STEPS", what));
            }
            let uploads = |of: &TrainReceipt| (of.indicator, of.held_out, of.residuals.clone());
            if uploads(receipt) != uploads(self.receipt) {
                let what = format!("{} was sent other ciphertexts than the receipt has", member.party);
                found.push(("TRAIN_UPLOADS", what));
            }
        }
        found.into_iter().for_each(|(code, what)| self.find(code, None, None, what));
        Ok(())
    }

    /// Whether the indicator and the held-out rows are those of the list.
    fn statistics(&mut self) -> Result<(), TrainError> {
        let (counted, held) = (self.receipt.indicator, self.receipt.held_out);
        for (statistic, values, digest, code) in [
            (Statistic::Indicator, indicator(&self.listed), counted, "TRAIN_INDICATOR"),
            (Statistic::HeldOut, held_out(&self.listed), held, "TRAIN_HELD_OUT"),
        ] {
            if encrypted(&self.key, statistic, &values)? != digest {
                self.find(code, None, None, "another statistic was uploaded than the list's");
            }
        }
        Ok(())
    }

    /// Whether every block's residuals and decisions are what labels, own trees and answers make of them. Gives the
    /// bank's trees, and by row what all providers' add.
    fn blocks(&mut self, own: &Unit) -> Result<(Vec<Tree>, Vec<i64>), TrainError> {
        let numbers = self.charter.hyperparameters;
        let (mut own_trees, mut joint) = (Vec::new(), vec![0; self.listed.rows()]);
        let mut rows = self.listed.begin(base(&self.listed.labels())?);
        for block in 0..numbers.blocks {
            let name = BlockRecord::name(block);
            let record = self.folder.unseal_record::<BlockRecord>(&name, &self.keys.storage)?;
            let record = needed(self.folder, record, &name)?;
            let (trees, _) = own.block(&numbers, &mut rows)?;
            if trees != record.own {
                let what = "the own trees are not those that labels grow";
                self.find("TRAIN_OWN_TREES", Some(block), None, what);
            }
            self.residuals(block, &record, &rows)?;
            let limit = self.limit(&rows)?;
            for unit in 0..self.units.len() {
                self.decisions(block, unit, limit)?;
            }
            let contributions = self.contributions(block, &record)?;
            if contributions != record.contributions {
                let row = differs(&contributions, &record.contributions);
                self.find("TRAIN_CONTRIBUTIONS", Some(block), row, "the answers decrypt to something else");
            }
            subtract(&mut rows, &contributions).map_err(TrainingError::from)?;
            joint.iter_mut().zip(&contributions).for_each(|(sum, value)| *sum += i64::from(*value));
            own_trees.extend(trees);
        }
        Ok((own_trees, joint))
    }

    /// Whether parts were asked for under the scale that all trees make, and nothing else was asked.
    fn end(&mut self, features: &Features, own: &[Tree], joint: &[i64]) -> Result<(), TrainError> {
        if !self.units.iter().all(|unit| unit.follows) {
            // What follows from a question that was not decided was not looked at.
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
                if member.answer(&step)?.is_none() {
                    found.push(format!(
                        "{} was asked for parts on another scale than all trees make",
                        member.party
                    ));
                } else if !member.is_through() {
                    found.push(format!("{} was asked more than a training asks", member.party));
                }
            }
        }
        found.into_iter().for_each(|what| self.find("TRAIN_DECISIONS", None, None, what));
        Ok(())
    }

    /// Whether a block's residuals are honest, and those that were uploaded.
    fn residuals(&mut self, block: u16, record: &BlockRecord, rows: &[Row]) -> Result<(), TrainError> {
        let honest: Vec<_> = rows.iter().map(|row| row.residual).collect();
        let statistic = Statistic::Residual { block };
        let digest = self.receipt.residuals.get(usize::from(block)).copied();
        if Some(encrypted(&self.key, statistic, &wide(&honest))?) == digest {
            return Ok(());
        }
        if Some(encrypted(&self.key, statistic, &wide(&record.sent))?) != digest {
            let what = "neither honest residuals nor those that the bank kept were uploaded";
            self.find("TRAIN_RESIDUAL", Some(block), None, what);
            return Ok(());
        }
        let wrong = (0..honest.len()).filter(|row| record.sent.get(*row) != Some(&honest[*row]));
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
        if !replay.follows {
            return Ok(());
        }
        if let Err(what) = replay.block(self.charter, block, limit, with)? {
            replay.follows = false;
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

impl UnitReplay {
    /// Decides a block again; says in words where the unit was asked something else.
    fn block(
        &mut self,
        charter: &Charter,
        block: u16,
        limit: Bound,
        with: Decryption<'_>,
    ) -> Result<Result<(), String>, TrainError> {
        let numbers = &charter.hyperparameters;
        let bins = self.members[0].receipt.body().acceptance.body().bins.clone();
        let Ok(mut growing) = Growing::new(numbers, &bins, block, limit, self.counts.take()) else {
            return Ok(Err("its residuals are beyond what a training has".to_owned()));
        };
        while let Some(step) = growing.step() {
            let mut answers = Vec::with_capacity(self.members.len());
            for member in &mut self.members {
                match member.answer(&step)? {
                    Some(answer) => answers.push(answer),
                    None => return Ok(Err(otherwise(member, &step))),
                }
            }
            if let Err(fault) = growing.on_answers(with, answers) {
                let members: Vec<_> = self.members.iter().map(|member| member.party.as_str()).collect();
                return Ok(Err(format!("the answers of {} do not hold: {fault}", members.join(", "))));
            }
        }
        let Trees { last, counts, trees } = growing.finish();
        self.counts = counts;
        self.trees.extend(trees);
        let step = Step::Contributions { block, decisions: last };
        for member in &mut self.members {
            if member.answer(&step)?.is_none() {
                return Ok(Err(otherwise(member, &step)));
            }
        }
        Ok(Ok(()))
    }
}

fn otherwise(member: &Member, step: &Step) -> String {
    let of = match step {
        Step::Grow { place, .. } | Step::Sum { place, .. } => {
            let Place { tree, level, .. } = place;
            format!("level {level} of tree {tree}")
        }
        step => step.name().to_owned(),
    };
    format!("{} was asked for {of} with other decisions than its unit's answers make", member.party)
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
