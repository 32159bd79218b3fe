//! How good a score is, from scores and labels that the bank holds, and the calibration that follows from them.

use serde::{Deserialize, Serialize};
use windvane_protocols::limits::MAX_CALIBRATION_KNOTS;
use windvane_protocols::score::calibration::{Calibration, Knot, ONE};

/// Rows that share a probability, or a point of a curve, at least: fewer would tell of single ones.
pub const LEAST_ROWS: u64 = 20;

/// A row that was held out: its sum and its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scored {
    /// The sum of all parts, or any other integer that ranks.
    pub score: i64,
    /// Whether it is of the class that the score looks for.
    pub label: bool,
}

/// Rows of one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tie {
    /// The score.
    pub score: i64,
    /// Rows of the class that is looked for.
    pub positive: u64,
    /// All others.
    pub negative: u64,
}

/// Rows by score, ascending: what every figure here is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    ties: Vec<Tie>,
    positive: u64,
    negative: u64,
}

/// A point of the receiver operating characteristic: shares of either class above a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Operating {
    /// Share of the other class.
    pub false_positive: f64,
    /// Share of the class that is looked for.
    pub true_positive: f64,
}

/// Neighbouring scores and their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreClass {
    /// The lowest of them.
    pub from: i64,
    /// The first above them.
    pub to: i64,
    /// Rows of the class that is looked for.
    pub positive: u64,
    /// All others.
    pub negative: u64,
}

/// Neighbouring scores, what was promised of them and what was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Mean probability by the calibration.
    pub predicted: f64,
    /// Share of the class that is looked for.
    pub observed: f64,
    /// Rows.
    pub rows: u64,
}

impl Ranking {
    /// The rows by score; `None` unless both classes are there.
    pub fn new(rows: &[Scored]) -> Option<Self> {
        let mut sorted = rows.to_vec();
        sorted.sort_unstable_by_key(|row| row.score);
        let tie = |rows: &[Scored]| {
            let positive = rows.iter().filter(|row| row.label).count() as u64;
            Tie { score: rows[0].score, positive, negative: rows.len() as u64 - positive }
        };
        let ties: Vec<_> = sorted.chunk_by(|a, b| a.score == b.score).map(tie).collect();
        let positive = ties.iter().map(|tie| tie.positive).sum();
        let negative = ties.iter().map(|tie| tie.negative).sum();
        (positive > 0 && negative > 0).then_some(Self { ties, positive, negative })
    }

    /// Rows by score, ascending.
    pub fn ties(&self) -> &[Tie] {
        &self.ties
    }

    /// All rows.
    pub const fn rows(&self) -> u64 {
        self.positive + self.negative
    }

    /// The area under the receiver operating characteristic: how often a row of the class that is looked for stands
    /// above one of the other, ties counting half (Mann and Whitney 1947).
    pub fn auc(&self) -> f64 {
        let (mut below, mut twice) = (0, 0_u128);
        for tie in &self.ties {
            twice += u128::from(tie.positive) * u128::from(2 * below + tie.negative);
            below += tie.negative;
        }
        twice as f64 / (2.0 * self.positive as f64 * self.negative as f64)
    }

    /// The largest distance of the two classes' distributions (Kolmogorov and Smirnov).
    pub fn ks(&self) -> f64 {
        let distance = |point: Operating| (point.true_positive - point.false_positive).abs();
        self.curve().into_iter().map(distance).fold(0.0, f64::max)
    }

    /// The receiver operating characteristic, from the highest threshold to the lowest.
    pub fn curve(&self) -> Vec<Operating> {
        let (mut positive, mut negative) = (0, 0);
        let mut curve = vec![Operating { false_positive: 0.0, true_positive: 0.0 }];
        curve.extend(self.ties.iter().rev().map(|tie| {
            (positive, negative) = (positive + tie.positive, negative + tie.negative);
            Operating {
                false_positive: negative as f64 / self.negative as f64,
                true_positive: positive as f64 / self.positive as f64,
            }
        }));
        curve
    }

    /// The rows in at most `classes` classes of scores of one width.
    pub fn distribution(&self, classes: u32) -> Vec<ScoreClass> {
        let (first, last) = (self.ties[0].score, self.ties[self.ties.len() - 1].score);
        let width = (last - first) / i64::from(classes.max(1)) + 1;
        let mut found: Vec<ScoreClass> = Vec::new();
        for tie in &self.ties {
            let from = first + (tie.score - first) / width * width;
            if found.last().is_none_or(|class| class.from != from) {
                found.push(ScoreClass { from, to: from + width, positive: 0, negative: 0 });
            }
            let class = found.last_mut().expect("one was pushed");
            class.positive += tie.positive;
            class.negative += tie.negative;
        }
        found
    }

    /// The curve at thresholds with at least [`LEAST_ROWS`] rows between them, for a report.
    pub fn coarse_curve(&self) -> Vec<Operating> {
        let (mut coarse, mut rows) = (Vec::new(), LEAST_ROWS);
        let curve = self.curve();
        for (point, tie) in curve.iter().zip(self.ties.iter().rev()) {
            if rows >= LEAST_ROWS {
                coarse.push(*point);
                rows = 0;
            }
            rows += tie.positive + tie.negative;
        }
        if rows < LEAST_ROWS && coarse.len() > 1 {
            coarse.pop();
        }
        coarse.extend(curve.last());
        coarse
    }

    /// The share of the class that is looked for.
    pub fn prevalence(&self) -> f64 {
        self.positive as f64 / self.rows() as f64
    }

    /// The ascending probabilities that fit the rows best: isotonic regression by pooling adjacent violators (Ayer
    /// and others 1955). Scores outside of the calibration's range are left out, and steps of fewer than [`LEAST_ROWS`]
    /// rows, or than one in half of [`MAX_CALIBRATION_KNOTS`], are pooled further: everybody in a group has the card.
    ///
    /// A step's probability is drawn half a row towards one half of either class (Laplace), so that no probability
    /// is zero or one.
    pub fn calibration(&self) -> Calibration {
        let least = self.rows().div_ceil(MAX_CALIBRATION_KNOTS as u64 / 2).max(LEAST_ROWS);
        let mut steps: Vec<Step> = Vec::new();
        for tie in self.ties.iter().filter(|tie| u16::try_from(tie.score).is_ok()) {
            let mut step = Step::of(tie);
            while let Some(last) = steps.last().filter(|last| !last.is_below(&step) || last.rows() < least) {
                step = last.with(&step);
                steps.pop();
            }
            steps.push(step);
        }
        // The last one has nothing behind it to be pooled with, and pooled with those before it it may violate their order.
        while let [.., before, last] = &steps[..]
            && (last.rows() < least || !before.is_below(last))
        {
            let pooled = before.with(last);
            steps.truncate(steps.len() - 2);
            steps.push(pooled);
        }
        let knots: Vec<_> = steps.iter().flat_map(Step::knots).collect();
        if knots.is_empty() {
            return self.flat();
        }
        Calibration::new(knots).expect("pooled steps ascend, and there are no more than there may be")
    }

    /// Where no score is in the calibration's range.
    fn flat(&self) -> Calibration {
        let probability = (self.prevalence() * f64::from(ONE)) as u32;
        Calibration::new(vec![Knot { sum: 0, probability }]).expect("one knot with a probability")
    }

    /// Promised and observed probabilities, over `groups` groups of about as many rows.
    pub fn reliability(&self, calibration: &Calibration, groups: u64) -> Vec<Reliability> {
        let size = self.rows().div_ceil(groups.max(1));
        let (mut found, mut open) = (Vec::new(), (0.0, 0, 0));
        for tie in &self.ties {
            let rows = tie.positive + tie.negative;
            let sum = tie.score.clamp(0, i64::from(u16::MAX)) as u16;
            let predicted = f64::from(calibration.probability(sum)) / f64::from(ONE);
            open = (open.0 + predicted * rows as f64, open.1 + tie.positive, open.2 + rows);
            if open.2 >= size {
                found.push(reliability(open));
                open = (0.0, 0, 0);
            }
        }
        found.extend((open.2 > 0).then(|| reliability(open)));
        found
    }

    /// The mean distance of promised from observed probabilities, over ten groups.
    pub fn calibration_error(&self, calibration: &Calibration) -> f64 {
        let groups = self.reliability(calibration, 10);
        let weighted = |group: &Reliability| (group.predicted - group.observed).abs() * group.rows as f64;
        groups.iter().map(weighted).sum::<f64>() / self.rows() as f64
    }

    /// The information value over `groups` groups of about as many rows: Σ (p − n)·ln(p/n) over their shares of
    /// either class (Siddiqi, "Credit Risk Scorecards", 2006), half a row added to each.
    pub fn information_value(&self, groups: u64) -> f64 {
        let size = self.rows().div_ceil(groups.max(1));
        let (mut counts, mut open) = (Vec::new(), (0, 0));
        for tie in &self.ties {
            open = (open.0 + tie.positive, open.1 + tie.negative);
            if open.0 + open.1 >= size {
                counts.push(open);
                open = (0, 0);
            }
        }
        counts.extend((open != (0, 0)).then_some(open));
        information_value(&counts)
    }
}

/// The information value of classes, each with its rows of the class that is looked for and of the other; half a row
/// is added to each, so that an empty one counts.
pub fn information_value(counts: &[(u64, u64)]) -> f64 {
    let all = counts.len() as f64 / 2.0;
    let positive = counts.iter().map(|c| c.0).sum::<u64>() as f64 + all;
    let negative = counts.iter().map(|c| c.1).sum::<u64>() as f64 + all;
    let term = |&(p, n): &(u64, u64)| {
        let (p, n) = ((p as f64 + 0.5) / positive, (n as f64 + 0.5) / negative);
        (p - n) * (p / n).ln()
    };
    counts.iter().map(term).sum()
}

fn reliability((predicted, positive, rows): (f64, u64, u64)) -> Reliability {
    let of = rows as f64;
    Reliability { predicted: predicted / of, observed: positive as f64 / of, rows }
}

/// Scores that are given one probability.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: u16,
    to: u16,
    positive: u64,
    negative: u64,
}

impl Step {
    fn of(tie: &Tie) -> Self {
        // The caller left out what is not.
        let score = tie.score as u16;
        Self { from: score, to: score, positive: tie.positive, negative: tie.negative }
    }

    const fn rows(&self) -> u64 {
        self.positive + self.negative
    }

    const fn with(&self, after: &Self) -> Self {
        Self {
            from: self.from,
            to: after.to,
            positive: self.positive + after.positive,
            negative: self.negative + after.negative,
        }
    }

    fn is_below(&self, after: &Self) -> bool {
        self.probability() < after.probability()
    }

    fn probability(&self) -> u32 {
        let (positive, rows) = (2 * u128::from(self.positive) + 1, 2 * u128::from(self.rows()) + 2);
        (positive * u128::from(ONE) / rows) as u32
    }

    fn knots(&self) -> impl Iterator<Item = Knot> {
        let probability = self.probability();
        let ends = [Some(self.from), (self.to > self.from).then_some(self.to)];
        ends.into_iter().flatten().map(move |sum| Knot { sum, probability })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(rows: &[(i64, bool)]) -> Ranking {
        let rows: Vec<_> = rows.iter().map(|&(score, label)| Scored { score, label }).collect();
        Ranking::new(&rows).unwrap()
    }

    #[test]
    fn one_class_alone_has_no_ranking() {
        assert_eq!(Ranking::new(&[]), None);
        assert_eq!(Ranking::new(&[Scored { score: 1, label: true }]), None);
    }

    #[test]
    fn auc_is_the_share_of_pairs_in_order_with_ties_as_half() {
        let mixed = ranking(&[(1, false), (2, true), (2, false), (3, true), (0, true)]);
        // Of the 6 pairs: (2,1) and (3,1) and (3,2) in order, (2,2) a tie, (0,1) and (0,2) not.
        assert!((mixed.auc() - 3.5 / 6.0).abs() < 1e-12);
        assert!((ranking(&[(1, false), (2, true)]).auc() - 1.0).abs() < 1e-12);
        assert!((ranking(&[(5, false), (5, true)]).auc() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn ks_is_the_largest_gap_of_the_curve() {
        let found = ranking(&[(1, false), (2, false), (3, true), (4, false), (5, true)]);
        // Above 2: both positives and one of three negatives.
        assert!((found.ks() - 2.0 / 3.0).abs() < 1e-12);
        let curve = found.curve();
        assert_eq!(curve.last(), Some(&Operating { false_positive: 1.0, true_positive: 1.0 }));
        assert!(curve.is_sorted_by(|a, b| a.false_positive <= b.false_positive));
    }

    #[test]
    fn a_distribution_has_every_row_in_one_class() {
        let rows: Vec<_> = (0..100_i64).map(|i| (3 * i, i % 4 == 0)).collect();
        let found = ranking(&rows).distribution(7);
        assert_eq!(found.len(), 7);
        assert_eq!(found.iter().map(|class| class.positive + class.negative).sum::<u64>(), 100);
        assert_eq!(found.iter().map(|class| class.positive).sum::<u64>(), 25);
        assert!(found.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert_eq!(ranking(&[(5, true), (5, false)]).distribution(7).len(), 1);
    }

    #[test]
    fn calibration_pools_violators_and_promises_what_was_observed() {
        let mut rows = Vec::new();
        for (score, positive, negative) in [(10, 1, 9), (20, 4, 6), (30, 3, 7), (40, 9, 1)] {
            rows.extend(std::iter::repeat_n((score, true), 10 * positive));
            rows.extend(std::iter::repeat_n((score, false), 10 * negative));
        }
        let found = ranking(&rows);
        let calibration = found.calibration();
        let near = |sum, expected: f64| {
            let probability = f64::from(calibration.probability(sum)) / f64::from(ONE);
            assert!((probability - expected).abs() < 0.05, "{sum}: {probability}");
        };
        near(10, 0.1);
        near(20, 0.35);
        near(30, 0.35);
        near(40, 0.9);
        assert!(found.calibration_error(&calibration) < 0.05);
        let rows: u64 = found.reliability(&calibration, 10).iter().map(|group| group.rows).sum();
        assert_eq!(rows, found.rows());
    }

    #[test]
    fn a_last_step_that_is_pooled_into_a_violator_is_pooled_further_and_keeps_the_other_steps() {
        let rows = |ties: &[(i64, usize, usize)]| -> Vec<_> {
            let of = |&(score, positive, negative): &(i64, usize, usize)| {
                let labels = [(true, positive), (false, negative)];
                labels.map(|(label, count)| std::iter::repeat_n((score, label), count))
            };
            ties.iter().flat_map(of).flatten().collect()
        };
        // 1/19 and 0/2 together are below 68/932.
        let found = ranking(&rows(&[(0, 0, 1_000), (1, 68, 932), (2, 1, 19), (3, 0, 2)])).calibration();
        let knot = |sum, probability| Knot { sum, probability };
        assert_eq!(found.knots(), [knot(0, 499), knot(1, 67_937), knot(3, 67_937)]);
        // Few of one class, wherever they fall.
        for draw in 0..500_i64 {
            let mixed =
                |row: i64| (row + 1_000 * draw + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) >> 33;
            let drawn: Vec<_> = (0..1_000).map(|row| (mixed(row).rem_euclid(200), row < 10)).collect();
            let found = ranking(&drawn).calibration();
            assert!(found.knots().is_sorted_by(|a, b| a.sum < b.sum && a.probability <= b.probability));
        }
    }

    #[test]
    fn neither_a_card_nor_a_report_tells_of_single_rows() {
        let rows: Vec<_> = (0..500_i64).map(|i| (i, i % 5 == 0 || i == 499)).collect();
        let found = ranking(&rows);
        let knots = found.calibration().knots().to_vec();
        let steps = knots.chunk_by(|a, b| a.probability == b.probability);
        assert!(
            steps.into_iter().all(|step| step[step.len() - 1].sum - step[0].sum + 1 >= LEAST_ROWS as u16)
        );
        let curve = found.coarse_curve();
        let rows = |point: &Operating| {
            (point.true_positive * found.positive as f64 + point.false_positive * found.negative as f64)
                .round()
        };
        assert!(curve.windows(2).all(|pair| rows(&pair[1]) - rows(&pair[0]) >= LEAST_ROWS as f64));
        assert_eq!((curve.first(), curve.last()), (found.curve().first(), found.curve().last()));
    }

    #[test]
    fn many_scores_fit_into_the_knots_there_may_be() {
        let rows: Vec<_> = (0..60_000_i64).map(|i| (i, i % 7 < 1 + i / 12_000)).collect();
        let calibration = ranking(&rows).calibration();
        assert!((2..=MAX_CALIBRATION_KNOTS).contains(&calibration.knots().len()));
        assert!(calibration.probability(60_000) > calibration.probability(0));
        assert_eq!(ranking(&[(-1, true), (70_000, false)]).calibration().knots().len(), 1);
    }

    #[test]
    fn information_value_is_none_for_equal_shares_and_grows_with_their_distance() {
        assert!(information_value(&[(10, 10), (20, 20)]).abs() < 1e-9);
        let weak = information_value(&[(12, 8), (8, 12)]);
        let strong = information_value(&[(19, 1), (1, 19)]);
        assert!(0.0 < weak && weak < strong);
        let rows: Vec<_> = (0..400_i64).map(|i| (i, i >= 200)).collect();
        assert!(ranking(&rows).information_value(10) > 2.0);
    }
}
