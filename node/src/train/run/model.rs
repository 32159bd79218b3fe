//! From sums of parts to a model: a calibration, bands, figures.
//!
//! The bank knows its own parts, and of all others' the sum, both as they will be served, so calibration, bands and
//! figures are exactly those of the served scores.

use windvane_protocols::limits::MAX_TRAINING_ROWS;
use windvane_protocols::score::calibration::{Band, Bands, ONE};
use windvane_protocols::score::model::ModelCard;
use windvane_protocols::train::tree::Tree;
use windvane_protocols::transcript::{Reader, Record, Transcript, TranscriptError};

use super::block::Standing;
use super::error::TrainError;
use super::job::Job;
use super::parts::Scales;
use super::plan::BandPlan;
use crate::train::metrics::{Ranking, Scored};
use crate::train::parts::TableParts;

/// What a training makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::train) struct Model {
    pub(in crate::train) card: ModelCard,
    pub(super) scales: Scales,
    /// What all providers' parts add up to, by listed row; nothing for decoys.
    pub(super) sums: Vec<u16>,
}

/// How the model's scores fall over rows whose labels are known.
#[derive(Debug)]
pub(super) struct Judged {
    /// By sums of parts, as they are served.
    pub(super) parts: Ranking,
    /// By contributions as they are.
    pub(super) contributions: Ranking,
    /// Whether the rows were held out, or trained on because none were.
    pub(super) held_out: bool,
}

impl Model {
    pub(in crate::train) const NAME: &'static str = "model";

    /// Makes the model of a training that is through.
    pub(super) fn make(
        job: &Job,
        standing: &Standing,
        scales: Scales,
        sums: Vec<u16>,
    ) -> Result<Self, TrainError> {
        let judged = judge(job, standing, &scales, &sums)?;
        let card = card(&job.checked.plan.name, &job.checked.plan.bands, &judged.parts)?;
        Ok(Self { card, scales, sums })
    }

    /// How the model ranks the rows by which it is judged.
    pub(super) fn judge(&self, job: &Job, standing: &Standing) -> Result<Judged, TrainError> {
        judge(job, standing, &self.scales, &self.sums)
    }
}

fn judge(job: &Job, standing: &Standing, scales: &Scales, sums: &[u16]) -> Result<Judged, TrainError> {
    let trees = own_trees(standing);
    let own = TableParts::of(&job.features, &trees, true, scales.own()).listed(job.listed.positions());
    let ranking = |score: &dyn Fn(usize) -> i64| {
        let scored = job.listed.judged().map(|(row, label)| Scored { score: score(row), label });
        let unjudged = || TrainError::given("TRAIN_LABELS", "the list was drawn with one label only");
        Ranking::new(&scored.collect::<Vec<_>>()).ok_or_else(unjudged)
    };
    let parts = ranking(&|row| i64::from(own[row]) + i64::from(sums[row]))?;
    let contributions = ranking(&|row| standing.own[row] + standing.joint[row])?;
    Ok(Judged { parts, contributions, held_out: job.listed.held_out() > 0 })
}

/// The card of a model whose scores fall so.
fn card(name: &str, plan: &[BandPlan], ranking: &Ranking) -> Result<ModelCard, TrainError> {
    let rows = ranking.rows();
    let (mut from, mut below, mut reached) = (vec![0_u16], 0_u64, 0_u64);
    let mut ties = ranking.ties().iter().peekable();
    let bounded = &plan[..plan.len() - 1];
    for (left, band) in (0..bounded.len() as u16).rev().zip(bounded) {
        reached += rows * u64::from(band.share);
        while ties.peek().is_some() && 100 * below < reached {
            let tie = ties.next().expect("it was just seen");
            below += tie.positive + tie.negative;
        }
        let next = ties.peek().and_then(|tie| u16::try_from(tie.score).ok()).unwrap_or(u16::MAX);
        let last = *from.last().expect("the first band begins at 0");
        // The bands behind it, which no score may reach, need room to ascend too.
        from.push(next.clamp(last + 1, u16::MAX - left));
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

impl Record for Model {
    const DOMAIN: &'static str = "windvane/train-model/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let sums: Vec<_> = self.sums.iter().flat_map(|sum| sum.to_be_bytes()).collect();
        t.bytes("card", self.card.encode().as_bytes())
            .bytes("scales", self.scales.encode().as_bytes())
            .bytes("sums", &sums)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let card = ModelCard::decode(r.bytes("card")?)?;
        let scales = Scales::decode(r.bytes("scales")?)?;
        match r.bytes("sums")?.as_chunks() {
            (sums, []) if sums.len() <= MAX_TRAINING_ROWS => {
                let sums = sums.iter().map(|bytes| u16::from_be_bytes(*bytes)).collect();
                Ok(Self { card, scales, sums })
            }
            _ => Err(TranscriptError::Form { label: "sums", expected: "of two bytes for each row" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parts::tests::scales;
    use super::*;

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
    fn bands_ascend_where_the_highest_score_has_more_rows_than_the_last_bands() {
        let plan = bands(&[("low", 50), ("guarded", 30), ("elevated", 15), ("high", 5)]);
        let froms = |ranking: &Ranking| -> Vec<u16> {
            let card = card("m", &plan, ranking).unwrap();
            card.bands().as_slice().iter().map(|band| band.from).collect()
        };
        let tied = ranking(std::iter::repeat_n(0, 60).chain(std::iter::repeat_n(5, 40)));
        assert_eq!(froms(&tied), [0, 5, u16::MAX - 1, u16::MAX]);
        // As where no tree splits.
        let constant = [false, true].map(|label| Scored { score: 0, label });
        assert_eq!(froms(&Ranking::new(&constant).unwrap()), [0, u16::MAX - 2, u16::MAX - 1, u16::MAX]);
    }

    #[test]
    fn a_model_survives_its_encoding() {
        let card = card("m", &bands(&[("all", 100)]), &ranking(0..9)).unwrap();
        let model = Model { card, scales: scales(), sums: vec![0, 510, 3] };
        assert_eq!(Model::decode(model.encode().as_bytes()), Ok(model));
    }
}
