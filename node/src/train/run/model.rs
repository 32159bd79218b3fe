//! From trees to a model: one scale for all parties, a calibration, bands.
//!
//! The bank knows its own contributions, of all others the sum, and every tree. A provider's span follows from its
//! trees. A sum of parts is known to the bank exactly where it has one provider; with several it is rounded from the sum
//! of their contributions, within one part of each.

use windvane_protocols::score::calibration::{Band, Bands, ONE};
use windvane_protocols::score::model::ModelCard;
use windvane_protocols::train::scale::{Scale, Span, Values};
use windvane_protocols::train::tree::Tree;
use windvane_protocols::transcript::{Reader, Record, Transcript, TranscriptError};

use super::block::Standing;
use super::error::TrainError;
use super::job::Job;
use super::plan::BandPlan;
use super::unit::JointUnit;
use crate::train::metrics::{Ranking, Scored};
use crate::train::sample::Kind;

/// Parts are 0 to this.
const MOST: i64 = u8::MAX as i64;

/// What all parties' parts are made by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::train) struct Model {
    pub(super) card: ModelCard,
    pub(super) widest: u64,
    pub(super) own: Span,
    pub(super) units: Vec<Span>,
    /// Whether a provider's parts have few values, because it is alone.
    pub(super) coarse: bool,
}

/// How the model's scores fall over rows whose labels are known.
#[derive(Debug)]
pub(super) struct Judged {
    /// By sums of parts.
    pub(super) parts: Ranking,
    /// By contributions as they are.
    pub(super) contributions: Ranking,
    /// Whether the rows were held out, or trained on because none were.
    pub(super) held_out: bool,
}

impl Model {
    pub(super) const NAME: &'static str = "model";

    /// Makes the model of a training that is through.
    pub(super) fn make(
        job: &Job,
        units: &[impl AsRef<JointUnit>],
        standing: &Standing,
    ) -> Result<Self, TrainError> {
        let own_trees = own_trees(standing);
        let own = job.features.apply(&own_trees);
        let elsewhere = job.features.apply_elsewhere(&own_trees, true);
        let wide = |error: windvane_protocols::train::scale::ScaleError| {
            TrainError::given("TRAIN_SCALE", error.to_string())
        };
        let own = Span::of(own.into_iter().chain([elsewhere])).map_err(wide)?;
        let lone = units.iter().map(|unit| unit.as_ref().links.len()).sum::<usize>() == 1;
        let spans = if lone {
            let told = job.listed.kinds().iter().zip(&standing.joint);
            let told = told.filter(|(kind, _)| **kind != Kind::Decoy).map(|(_, value)| *value);
            vec![Span::of(told).map_err(wide)?]
        } else {
            let spans = (0..units.len()).map(|unit| span(&unit_trees(standing, unit)));
            spans.collect::<Result<Vec<_>, _>>().map_err(wide)?
        };
        let all: Vec<_> = spans.iter().copied().chain([own]).collect();
        let widest = Scale::new(&all).map_err(wide)?.widest();
        let members: Vec<_> = units.iter().map(|unit| unit.as_ref().links.len() as i64).collect();
        let sums = Sums { widest, own, spans: &spans, members: &members, lone };
        let judged = judge(job, standing, &sums).ok_or_else(|| {
            TrainError::given("TRAIN_LABELS", "rows of one label only are held out; hold out a larger share")
        })?;
        let card = card(&job.checked.plan.name, &job.checked.plan.bands, &judged.parts)?;
        Ok(Self { card, widest, own, units: spans, coarse: lone })
    }

    /// How the model ranks the rows by which it is judged.
    pub(super) fn judge(
        &self,
        job: &Job,
        units: &[impl AsRef<JointUnit>],
        standing: &Standing,
    ) -> Option<Judged> {
        let members: Vec<_> = units.iter().map(|unit| unit.as_ref().links.len() as i64).collect();
        let sums = Sums {
            widest: self.widest,
            own: self.own,
            spans: &self.units,
            members: &members,
            lone: self.coarse,
        };
        judge(job, standing, &sums)
    }

    /// The common scale.
    pub(super) fn scale(&self) -> Scale {
        let widest = Span::new(0, self.widest as i64).expect("it was made of a span");
        Scale::new(&[widest]).expect("one span is not too many")
    }
}

/// Turns contributions into sums of parts.
struct Sums<'a> {
    widest: u64,
    own: Span,
    spans: &'a [Span],
    members: &'a [i64],
    lone: bool,
}

impl Sums<'_> {
    fn of(&self, own: i64, joint: i64) -> i64 {
        let widest = Span::new(0, self.widest as i64).expect("it was made of a span");
        let scale = Scale::new(&[widest]).expect("one span is not too many");
        let own = i64::from(scale.part(self.own, Values::Fine, own));
        if self.lone {
            return own + i64::from(scale.part(self.spans[0], Values::Coarse, joint));
        }
        let least: i64 =
            self.spans.iter().zip(self.members).map(|(span, members)| span.minimum() * members).sum();
        let widest = self.widest as i64;
        own + (2 * (joint - least) * MOST + widest).div_euclid(2 * widest)
    }
}

fn judge(job: &Job, standing: &Standing, sums: &Sums<'_>) -> Option<Judged> {
    let held_out = job.listed.held_out() > 0;
    let rows = job.listed.kinds().iter().zip(standing.own.iter().zip(&standing.joint));
    let rows: Vec<_> = rows
        .filter_map(|(kind, (own, joint))| match kind {
            Kind::HeldOut(label) => Some((*own, *joint, *label)),
            Kind::Training(label) if !held_out => Some((*own, *joint, *label)),
            _ => None,
        })
        .collect();
    let ranking = |score: &dyn Fn(i64, i64) -> i64| {
        let scored =
            rows.iter().map(|(own, joint, label)| Scored { score: score(*own, *joint), label: *label });
        Ranking::new(&scored.collect::<Vec<_>>())
    };
    let parts = ranking(&|own, joint| sums.of(own, joint))?;
    Some(Judged { parts, contributions: ranking(&|own, joint| own + joint)?, held_out })
}

/// The card of a model whose scores fall so.
fn card(name: &str, plan: &[BandPlan], ranking: &Ranking) -> Result<ModelCard, TrainError> {
    let rows = ranking.rows();
    let (mut from, mut below, mut reached) = (vec![0_u16], 0_u64, 0_u64);
    let mut ties = ranking.ties().iter().peekable();
    for band in &plan[..plan.len() - 1] {
        reached += rows * u64::from(band.share);
        while ties.peek().is_some() && 100 * below < reached {
            let tie = ties.next().expect("it was just seen");
            below += tie.positive + tie.negative;
        }
        let next = ties.peek().map_or(i64::from(u16::MAX), |tie| tie.score);
        let last = *from.last().expect("the first band begins at 0");
        from.push(u16::try_from(next).unwrap_or(u16::MAX).max(last.saturating_add(1)));
    }
    let bands = plan.iter().zip(&from).map(|(band, from)| Band { name: band.name.clone(), from: *from });
    let unfit = |error: &dyn std::fmt::Display| TrainError::given("TRAIN_CARD", error.to_string());
    let bands = Bands::new(bands.collect()).map_err(|error| unfit(&error))?;
    let reference = reference(&from, ranking);
    ModelCard::new(name.to_owned(), ranking.calibration(), bands, reference).map_err(|error| unfit(&error))
}

/// The share of rows in each band, in millionths; what rounding leaves goes to the largest.
fn reference(from: &[u16], ranking: &Ranking) -> Vec<u32> {
    let mut rows = vec![0_u64; from.len()];
    for tie in ranking.ties() {
        let band = from.iter().rposition(|from| i64::from(*from) <= tie.score).unwrap_or(0);
        rows[band] += tie.positive + tie.negative;
    }
    let share = |rows: &u64| (rows * u64::from(ONE) / ranking.rows()) as u32;
    let mut shares: Vec<_> = rows.iter().map(share).collect();
    let left = ONE - shares.iter().sum::<u32>();
    let largest = (0..shares.len()).max_by_key(|band| rows[*band]).expect("there is a band");
    shares[largest] += left;
    shares
}

pub(super) fn own_trees(standing: &Standing) -> Vec<Tree> {
    standing.blocks.iter().flat_map(|block| block.own.clone()).collect()
}

pub(super) fn unit_trees(standing: &Standing, unit: usize) -> Vec<Tree> {
    standing.blocks.iter().flat_map(|block| block.units[unit].clone()).collect()
}

/// Between which values the contributions of some trees lie: trees that ask for one and the same feature are added up by
/// its bins, which is exact where trees have one split; of all others the extremes are.
fn span(trees: &[Tree]) -> Result<Span, windvane_protocols::train::scale::ScaleError> {
    use windvane_protocols::train::tree::Decision;
    let mut by_feature = std::collections::BTreeMap::<u16, Vec<&Tree>>::new();
    let (mut minimum, mut maximum) = (0, 0);
    for tree in trees {
        match tree.nodes() {
            [Decision::Split(split), ..] if tree.nodes().len() == 3 => {
                by_feature.entry(split.feature).or_default().push(tree);
            }
            _ => {
                minimum += tree.leaves().map(i64::from).min().unwrap_or(0);
                maximum += tree.leaves().map(i64::from).max().unwrap_or(0);
            }
        }
    }
    for trees in by_feature.values() {
        let at = |bin| trees.iter().map(|tree| i64::from(tree.apply(|_| Some(bin)))).sum::<i64>();
        let sums: Vec<_> = (0..windvane_protocols::limits::MAX_BINS as u8).map(at).collect();
        minimum += sums.iter().min().copied().unwrap_or(0);
        maximum += sums.iter().max().copied().unwrap_or(0);
    }
    Span::new(minimum.min(0), maximum.max(0))
}

impl Record for Model {
    const DOMAIN: &'static str = "windvane/train-model/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let span = |span: &Span| [span.minimum().to_be_bytes(), span.maximum().to_be_bytes()].concat();
        t.bytes("card", self.card.encode().as_bytes())
            .u64("widest", self.widest)
            .bytes("own", &span(&self.own))
            .list("unit", self.units.iter().map(span))
            .u64("coarse", self.coarse.into())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = |label| TranscriptError::Form { label, expected: "a span, or 0 or 1" };
        let span = |label, bytes: &[u8]| {
            let ([minimum, maximum], []) = bytes.as_chunks::<8>() else { return Err(form(label)) };
            Span::new(i64::from_be_bytes(*minimum), i64::from_be_bytes(*maximum)).map_err(|_| form(label))
        };
        let card = ModelCard::decode(r.bytes("card")?)?;
        let widest = r.u64("widest")?;
        let own = span("own", r.bytes("own")?)?;
        let units = r.list("unit", windvane_protocols::limits::MAX_SCORE_PROVIDERS)?.into_iter();
        let units = units.map(|bytes| span("unit", bytes)).collect::<Result<_, _>>()?;
        let coarse = match r.u64("coarse")? {
            0 => false,
            1 => true,
            _ => return Err(form("coarse")),
        };
        Ok(Self { card, widest, own, units, coarse })
    }
}

#[cfg(test)]
mod tests {
    use windvane_protocols::train::tree::{Decision, Split};

    use super::*;

    fn stump(feature: u16, bin: u8, left: i32, right: i32) -> Tree {
        let split = Decision::Split(Split { feature, bin });
        Tree::new(vec![split, Decision::Leaf(left), Decision::Leaf(right)]).unwrap()
    }

    #[test]
    fn a_scorecards_span_is_exact_and_of_other_trees_the_extremes_count() {
        // Of feature 0: bins 0 to 2 have -5 + 1, bins 3 and 4 have 7 + 1, bins above 7 - 4.
        let trees = [stump(0, 2, -5, 7), stump(0, 4, 1, -4), stump(3, 1, -2, 10)];
        assert_eq!(span(&trees).unwrap(), Span::new(-4 - 2, 8 + 10).unwrap());
        let leaf = Tree::new(vec![Decision::Leaf(9)]).unwrap();
        assert_eq!(span(&[leaf]).unwrap(), Span::new(0, 9).unwrap());
        assert_eq!(span(&[]).unwrap(), Span::new(0, 0).unwrap());
    }

    fn ranking(scores: impl IntoIterator<Item = i64>) -> Ranking {
        let rows = scores.into_iter().map(|score| Scored { score, label: score % 3 == 0 });
        Ranking::new(&rows.collect::<Vec<_>>()).unwrap()
    }

    fn bands(shares: &[(&str, u32)]) -> Vec<BandPlan> {
        shares.iter().map(|(name, share)| BandPlan { name: (*name).to_owned(), share: *share }).collect()
    }

    #[test]
    fn bands_have_the_shares_that_were_planned_and_the_card_says_what_came_of_it() {
        let plan = bands(&[("low", 50), ("middle", 30), ("high", 20)]);
        let card = card("m", &plan, &ranking(0..100)).unwrap();
        let from: Vec<_> = card.bands().as_slice().iter().map(|band| band.from).collect();
        assert_eq!(from, [0, 50, 80]);
        assert_eq!(card.reference(), [500_000, 300_000, 200_000]);
        assert_eq!(card.name(), "m");
    }

    #[test]
    fn bands_ascend_where_most_rows_have_one_score() {
        let plan = bands(&[("low", 50), ("middle", 30), ("high", 20)]);
        let scores = std::iter::repeat_n(10, 97).chain([3, 4, 11]);
        let card = card("m", &plan, &ranking(scores)).unwrap();
        assert!(card.bands().as_slice().is_sorted_by(|a, b| a.from < b.from));
        assert_eq!(card.reference().iter().sum::<u32>(), ONE);
    }

    #[test]
    fn a_model_survives_its_encoding() {
        let card = card("m", &bands(&[("all", 100)]), &ranking(0..9)).unwrap();
        let span = Span::new(-7, 90).unwrap();
        let model =
            Model { card, widest: 97, own: span, units: vec![span, Span::new(0, 3).unwrap()], coarse: false };
        assert_eq!(Model::decode(model.encode().as_bytes()), Ok(model));
    }
}
