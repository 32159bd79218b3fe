//! What is true of a training: computed from everybody's tables by the engine in the clear, and from the bank's seed.

use std::collections::BTreeMap;

use windvane::train::run::{TrainPlan, TrainReport, TrainedTrees, training_seed};
use windvane::train::sample::Kind;
use windvane_proto::train::v1::Scale;
use windvane_protocols::audit::grant::GrantId;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::score::group::Identity;
use windvane_protocols::train::binning::Binned;
use windvane_protocols::train::boosting::{Unit, base, subtract};
use windvane_protocols::train::charter::{self, Charter, list_digest};
use windvane_protocols::train::decode::Decoder;
use windvane_protocols::train::elgamal::{Encryptor, Statistic, TrainingKey, TrainingSeed};
use windvane_protocols::train::tree::{Decision, Tree};
use windvane_protocols::transcript::Hash;

use super::scaled::{self, Span};
use crate::train::{SAMPLE, UNITS, World, label, sampled};

/// Sums are looked for up to this, which is beyond what any rows of these trainings have.
const REACH: u64 = 1 << 22;

/// A provider.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) unit: usize,
    pub(super) binned: Binned,
    /// Its features' names, where its grant permits to tell them.
    pub(super) names: Vec<String>,
    pub(super) grant: GrantId,
    pub(super) identity: Identity,
    /// By block and listed row, what its trees add.
    pub(super) values: Vec<Vec<i32>>,
    /// By listed row, its part of the joint score.
    pub(super) parts: Vec<u8>,
}

/// What all providers answer about every listed row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// What the trees of a block add.
    Block(u16),
    /// Parts.
    Parts,
}

/// What nobody but the bank, or nobody but a provider, may know, and what all of them agree on.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) seed: TrainingSeed,
    pub(super) key: TrainingKey,
    pub(super) decoder: Decoder,
    pub(super) charter: Charter,
    pub(super) card: String,
    pub(super) now_ms: u64,
    pub(super) positions: Vec<u64>,
    pub(super) kinds: Vec<Kind>,
    pub(super) members: Vec<Member>,
    /// By unit and block.
    pub(super) trees: Vec<Vec<Vec<Tree>>>,
    /// By unit, what its members are told of how contributions become parts.
    pub(super) scales: Vec<Scale>,
    /// By block and listed row, as a block begins.
    pub(super) residuals: Vec<Vec<i32>>,
    /// What is uploaded, encrypted again from the seed.
    pub(super) uploads: Vec<(Statistic, Vec<u8>, Hash)>,
}

impl Truth {
    pub(super) fn of(world: &World, training: SessionId, plan: &TrainPlan, report: &TrainReport) -> Self {
        let listed = world.trees(training).listed;
        let seed = training_seed(&world.bank.config, training).unwrap();
        let (kinds, positions) = (listed.kinds().to_vec(), listed.positions().to_vec());
        let key = TrainingKey::derive(&seed);
        let mut truth = Self {
            charter: charter(world, training, plan, &positions, &key),
            decoder: Decoder::new(REACH).unwrap(),
            card: report.card.clone(),
            now_ms: windvane::clock::Clock::now_ms(&world.lab.clock),
            members: members(world, &positions),
            trees: vec![Vec::new(); UNITS.len()],
            scales: Vec::new(),
            residuals: Vec::new(),
            uploads: Vec::new(),
            seed,
            key,
            positions,
            kinds,
        };
        truth.check_sample();
        truth.train(world, plan, &listed.labels());
        truth.encrypt();
        truth.equals(&world.trees(training));
        truth
    }

    /// The list holds the sample that was written, with its labels, and as many decoys as were planned.
    fn check_sample(&self) {
        let known: BTreeMap<_, _> = self.positions.iter().zip(&self.kinds).collect();
        for position in (0..SAMPLE).map(sampled) {
            let found = known[&position];
            let (Kind::Training(found) | Kind::HeldOut(found)) = found else {
                panic!("a row became a decoy")
            };
            assert_eq!(*found, label(position));
        }
        let decoys = self.kinds.iter().filter(|kind| **kind == Kind::Decoy).count();
        assert_eq!((self.positions.len(), decoys), (3 * SAMPLE as usize, 2 * SAMPLE as usize));
    }

    /// The engine in the clear, block by block.
    fn train(&mut self, world: &World, plan: &TrainPlan, labels: &[Option<bool>]) {
        let numbers = World::numbers(plan);
        let listed = self.positions.clone();
        let (own, units) = world.binned_units(&listed, &self.kinds);
        let holder = Unit::label_holder(own.clone(), &numbers);
        let units: Vec<_> = units.into_iter().map(|unit| Unit::providers(unit, &numbers).unwrap()).collect();
        let base = base(labels).unwrap();
        let mut rows: Vec<_> =
            labels.iter().map(|label| windvane_protocols::train::boosting::Row::new(*label, base)).collect();
        let mut own_trees = Vec::new();
        for _ in 0..numbers.blocks {
            own_trees.extend(holder.block(&numbers, &mut rows).unwrap().0);
            self.residuals.push(rows.iter().map(|row| row.residual).collect());
            let mut sum = vec![0; rows.len()];
            for (trees, unit) in self.trees.iter_mut().zip(&units) {
                let (grown, added) = unit.block(&numbers, &mut rows.clone()).unwrap();
                trees.push(grown);
                sum.iter_mut().zip(added).for_each(|(sum, value)| *sum += value);
            }
            for member in &mut self.members {
                let trees = self.trees[member.unit].last().unwrap();
                member.values.push((0..rows.len()).map(|row| member.value(trees, row)).collect());
            }
            subtract(&mut rows, &sum).unwrap();
        }
        self.scale(scaled::of_rows(&own_trees, &own));
    }

    /// Parts, once it is known between which values the bank's own trees lie.
    fn scale(&mut self, own: Span) {
        let all = self.trees.iter().map(|blocks| scaled::of_trees(&blocks.concat())).collect::<Vec<_>>();
        let widest = all.iter().chain([&own]).map(Span::width).max().unwrap().max(1);
        let scale = |span: &Span| Scale { widest, minimum: span.least, maximum: span.most, coarse: false };
        self.scales = all.iter().map(scale).collect();
        for member in &mut self.members {
            let added = |row| member.values.iter().map(|values| i64::from(values[row])).sum();
            let part = |row| scaled::part(&self.scales[member.unit], added(row));
            member.parts = (0..self.positions.len()).map(part).collect();
        }
    }

    fn encrypt(&mut self) {
        let flag = |is: fn(&Kind) -> bool| self.kinds.iter().map(|kind| i64::from(is(kind))).collect();
        let mut all: Vec<(Statistic, Vec<i64>)> = vec![
            (Statistic::Indicator, flag(|kind| matches!(kind, Kind::Training(_)))),
            (Statistic::HeldOut, flag(|kind| matches!(kind, Kind::HeldOut(_)))),
        ];
        for (block, residuals) in (0..).zip(&self.residuals) {
            all.push((Statistic::Residual { block }, residuals.iter().map(|r| i64::from(*r)).collect()));
        }
        for (statistic, values) in all {
            let mut encryptor = Encryptor::new(&self.key, statistic, values.len()).unwrap();
            let bytes = encryptor.chunk(&values, 2).unwrap().into_flattened();
            self.uploads.push((statistic, bytes, encryptor.finish().unwrap()));
        }
    }

    fn equals(&self, trained: &TrainedTrees) {
        let trees: Vec<_> = self.trees.iter().map(|blocks| blocks.concat()).collect();
        assert_eq!(trained.units, trees);
        let sums = (0..self.positions.len()).map(|row| self.told(Told::Parts, row));
        assert!(trained.sums.iter().flatten().map(|sum| i64::from(*sum)).eq(sums));
    }

    /// The members of a unit, in the charter's order.
    pub(super) fn unit(&self, unit: usize) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.unit == unit)
    }

    /// What an upload must be, and its digest.
    pub(super) fn upload(&self, statistic: Statistic) -> Option<&(Statistic, Vec<u8>, Hash)> {
        self.uploads.iter().find(|(known, ..)| *known == statistic)
    }

    /// What all answers about a row add up to: nothing for a decoy.
    pub(super) fn told(&self, told: Told, row: usize) -> i64 {
        match self.kinds[row] {
            Kind::Decoy => 0,
            _ => self.members.iter().map(|member| member.told(told, row)).sum(),
        }
    }

    /// Everything that is told of rows.
    pub(super) fn all_told(&self) -> impl Iterator<Item = Told> + use<> {
        (0..self.charter.hyperparameters.blocks).map(Told::Block).chain([Told::Parts])
    }

    /// 1 for rows that are trained on.
    pub(super) fn indicator(&self, row: usize) -> i64 {
        i64::from(matches!(self.kinds[row], Kind::Training(_)))
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Block(block) => write!(f, "block {block}"),
            Self::Parts => f.write_str("parts"),
        }
    }
}

impl Member {
    /// What its answer about a row hides, where the row is no decoy.
    pub(super) fn told(&self, told: Told, row: usize) -> i64 {
        match told {
            Told::Block(block) => self.values[usize::from(block)][row].into(),
            Told::Parts => self.parts[row].into(),
        }
    }

    fn value(&self, trees: &[Tree], row: usize) -> i32 {
        if !self.binned.holds(row) {
            return 0;
        }
        trees.iter().map(|tree| tree.apply(|feature| self.binned.bin(row, feature))).sum()
    }

    pub(super) fn party(&self) -> PartyId {
        self.name.parse().unwrap()
    }
}

/// The decisions about every level of a tree that is asked for, and behind those of the last one the leaves below.
pub(super) fn levels(tree: &Tree, depth: u8) -> Vec<Vec<Decision>> {
    let (mut levels, mut at, mut width) = (Vec::new(), 0, 1);
    for level in 1..=usize::from(depth) {
        let here = &tree.nodes()[at..at + width];
        let below = 2 * here.iter().filter(|node| matches!(node, Decision::Split(_))).count();
        let last = below == 0 || level == usize::from(depth);
        levels.push(tree.nodes()[at..at + width + if last { below } else { 0 }].to_vec());
        if last {
            break;
        }
        (at, width) = (at + width, below);
    }
    levels
}

fn charter(
    world: &World,
    training: SessionId,
    plan: &TrainPlan,
    positions: &[u64],
    key: &TrainingKey,
) -> Charter {
    let identity = |name: &&str| world.providers[name].0.admin.score_identity();
    let unit = |members: &&[&str]| charter::Unit { members: members.iter().map(identity).collect() };
    Charter {
        training,
        requester: world.bank.config.party(),
        units: UNITS.iter().map(unit).collect(),
        hyperparameters: World::numbers(plan),
        decoy_factor: plan.decoy_factor,
        held_out: plan.held_out,
        universe: *world.universe.digest(),
        rows: positions.len() as u64,
        list: list_digest(world.universe.digest(), positions),
        public_key: *key.public().as_bytes(),
        model: plan.name.clone(),
    }
}

fn members(world: &World, positions: &[u64]) -> Vec<Member> {
    let granted = world.bank.admin.grants().unwrap();
    let mut members = Vec::new();
    for (unit, names) in UNITS.iter().enumerate() {
        for name in *names {
            let features = world.features(name);
            let (grant, _) = granted.iter().find(|(grant, _)| grant.provider.as_str() == *name).unwrap();
            let told = features.names().filter(|_| grant.train.named_features);
            members.push(Member {
                name,
                unit,
                binned: features.listed(positions, names.len() == 1).unwrap(),
                names: told.map(str::to_owned).collect(),
                grant: grant.id,
                identity: world.providers[name].0.admin.score_identity(),
                values: Vec::new(),
                parts: Vec::new(),
            });
        }
    }
    members
}
