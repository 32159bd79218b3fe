//! What the bank received of trees: proposals and encrypted sums, with the bank's key, and with everybody's tables, which
//! it does not have.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use windvane_protocols::train::elgamal::{Answers, CIPHERTEXT_BYTES, EncodedCiphertext};
use windvane_protocols::train::histogram::{Child, Groups};
use windvane_protocols::train::partition::Proposal;
use windvane_protocols::train::step::Place;
use windvane_protocols::train::tree::{Decision, Split, Tree};

use super::seen::{Answered, Asked, Seen};
use super::truth::{Member, Truth, levels};

/// What one member answered about a level.
#[derive(Debug, Clone, Copy)]
struct Level<'a> {
    proposals: &'a [Proposal],
    sums: &'a [u8],
    /// What the unit agreed on; nothing where the member is alone.
    agreed: Option<&'a [Proposal]>,
}

/// Listed rows of a node, by member, and how its features' bins are merged.
#[derive(Debug)]
struct Node {
    rows: Vec<Vec<usize>>,
    groups: Vec<Groups>,
}

/// The children of a split, or the root alone.
#[derive(Debug)]
struct Pair {
    split: Option<(Split, Groups)>,
    children: Vec<Vec<Vec<usize>>>,
}

/// One unit's trees, as its members' tables and the recorded answers tell them.
pub(super) struct Shown<'a> {
    truth: &'a Truth,
    members: Vec<&'a Member>,
    levels: Vec<HashMap<Place, Level<'a>>>,
    findings: Vec<String>,
}

/// What is wrong with what a unit showed.
pub(super) fn shown(truth: &Truth, unit: usize, all: &HashMap<&str, &[Seen]>) -> Vec<String> {
    let members: Vec<_> = truth.unit(unit).collect();
    let levels = members.iter().map(|member| by_place(all[member.name])).collect();
    let mut shown = Shown { truth, members, levels, findings: Vec::new() };
    for (block, trees) in (0..).zip(&truth.trees[unit]) {
        let mut residuals = truth.residuals[usize::from(block)].clone();
        for (tree, grown) in (0..).zip(trees) {
            shown.tree(Place { block, tree, level: 0 }, grown, &residuals);
            for member in &shown.members {
                for row in (0..residuals.len()).filter(|row| member.binned.holds(*row)) {
                    let leaf = grown.apply(|feature| member.binned.bin(row, feature));
                    residuals[row] -= leaf * truth.indicator(row) as i32;
                }
            }
        }
    }
    shown.findings
}

fn by_place(seen: &[Seen]) -> HashMap<Place, Level<'_>> {
    let mut levels = HashMap::new();
    for seen in seen {
        match (&seen.asked, &seen.answered) {
            (Asked::Grow(place, _), Answered::Level(proposals, sums)) => {
                levels.insert(*place, Level { proposals, sums, agreed: None });
            }
            (Asked::Sum(place, agreed), Answered::Ciphertexts(sums)) => {
                if let Some(level) = levels.get_mut(place) {
                    (level.agreed, level.sums) = (Some(agreed.as_slice()), sums.as_slice());
                }
            }
            _ => {}
        }
    }
    levels
}

impl<'a> Shown<'a> {
    fn tree(&mut self, mut place: Place, tree: &Tree, residuals: &[i32]) {
        let held = |member: &&Member| {
            (0..self.truth.positions.len()).filter(|row| member.binned.holds(*row)).collect()
        };
        let mut pairs = vec![Pair { split: None, children: vec![self.members.iter().map(held).collect()] }];
        for decisions in levels(tree, self.truth.charter.hyperparameters.depth) {
            let answers: Option<Vec<_>> =
                self.levels.iter().map(|levels| levels.get(&place).copied()).collect();
            let Some(answers) = answers else {
                return self.findings.push(format!("{place:?} was not answered"));
            };
            let Some(shown) = self.level(place, &pairs, &answers, residuals) else { return };
            let nodes = pairs.into_iter().zip(&shown).flat_map(|(pair, shown)| pair.nodes(&shown.groups));
            let split = |(node, decision): (Node, &Decision)| match decision {
                Decision::Split(split) => Some(self.split(&node, *split)),
                Decision::Leaf(_) => None,
            };
            pairs = nodes.zip(&decisions).filter_map(split).collect();
            place.level += 1;
        }
    }

    /// Holds a level against the minimum and the truth; gives what was shown of it.
    fn level(
        &mut self,
        place: Place,
        pairs: &[Pair],
        answers: &[Level<'a>],
        residuals: &[i32],
    ) -> Option<Vec<Proposal>> {
        let several = answers.len() > 1;
        let shown = if several { answers[0].agreed } else { Some(answers[0].proposals) };
        let (Some(shown), true) = (shown, shown.is_some_and(|shown| shown.len() == pairs.len())) else {
            self.findings.push(format!("{place:?} shows other nodes than there are"));
            return None;
        };
        let share =
            u64::from(self.truth.charter.hyperparameters.minimum_count).div_ceil(answers.len() as u64);
        for (member, answer) in answers.iter().enumerate() {
            for (pair, proposal) in pairs.iter().zip(answer.proposals) {
                self.merged(place, pair, proposal, &[member], share);
            }
        }
        let all: Vec<_> = (0..answers.len()).collect();
        for (pair, proposal) in pairs.iter().zip(shown) {
            self.merged(place, pair, proposal, &all, self.truth.charter.hyperparameters.minimum_count.into());
        }
        self.sums(place, pairs, shown, answers, residuals);
        Some(shown.to_vec())
    }

    /// Every group that is shown, in both children, is of so many listed rows of these members together.
    fn merged(&mut self, place: Place, pair: &Pair, proposal: &Proposal, members: &[usize], minimum: u64) {
        for (feature, groups) in proposal.groups.iter().enumerate().filter(|(_, groups)| !groups.is_whole()) {
            for rows in &pair.children {
                for bins in ranges(groups) {
                    let count = |member: &usize| {
                        let column = self.members[*member].binned.column(feature);
                        rows[*member].iter().filter(|row| bins.contains(&column[**row])).count() as u64
                    };
                    let count: u64 = members.iter().map(count).sum();
                    if count < minimum {
                        self.findings.push(format!(
                            "{place:?}, feature {feature}: a group of {count} listed rows, fewer than {minimum}"
                        ));
                    }
                }
            }
        }
    }

    /// What the bank decrypts is of real rows alone, and one member's answer of several tells nothing.
    fn sums(
        &mut self,
        place: Place,
        pairs: &[Pair],
        shown: &[Proposal],
        answers: &[Level<'_>],
        residuals: &[i32],
    ) {
        let mut expected = Vec::new();
        for (pair, proposal) in pairs.iter().zip(shown) {
            let sent = usize::from(proposal.child == Child::Right && pair.children.len() > 1);
            let rows = &pair.children[sent];
            expected.extend(self.total(rows, proposal, &|row| residuals[row].into()));
            if place.level > 0 || place.block == 0 && place.tree == 0 {
                expected.extend(self.total(rows, proposal, &|row| self.truth.indicator(row)));
            }
        }
        let sent: Vec<_> = answers.iter().map(|answer| answer.sums).collect();
        match total(self.truth, &sent) {
            Ok(values) if values == expected => {}
            Ok(_) => self.findings.push(format!("{place:?} decrypts to other sums than the tables'")),
            Err(what) => self.findings.push(format!("{place:?}: {what}")),
        }
        if answers.len() > 1 {
            let tells = |answer: &&Level<'_>| tells(self.truth, answer.sums).is_some();
            if answers.iter().any(|answer| tells(&answer)) {
                self.findings.push(format!("{place:?}: a member's sums decrypt alone"));
            }
        }
    }

    /// Sums over a node's rows of all members, feature by feature and group by group.
    fn total(&self, rows: &[Vec<usize>], proposal: &Proposal, value: &dyn Fn(usize) -> i64) -> Vec<i64> {
        let shown = proposal.groups.iter().enumerate().filter(|(_, groups)| !groups.is_whole());
        let cells = shown.flat_map(|(feature, groups)| ranges(groups).map(move |bins| (feature, bins)));
        let cell = |(feature, bins): (usize, RangeInclusive<u8>)| {
            let of = |(member, rows): (&&Member, &Vec<usize>)| {
                let column = member.binned.column(feature);
                rows.iter().filter(|row| bins.contains(&column[**row])).map(|row| value(*row)).sum::<i64>()
            };
            self.members.iter().zip(rows).map(of).sum()
        };
        cells.map(cell).collect()
    }

    fn split(&self, node: &Node, split: Split) -> Pair {
        let had = node.groups[usize::from(split.feature)].clone();
        let side = |left: bool| {
            let of = |(member, rows): (&&Member, &Vec<usize>)| {
                let column = member.binned.column(split.feature.into());
                rows.iter().copied().filter(|row| (column[*row] <= split.bin) == left).collect()
            };
            self.members.iter().zip(&node.rows).map(of).collect()
        };
        Pair { split: Some((split, had)), children: vec![side(true), side(false)] }
    }
}

impl Pair {
    /// The feature of the split keeps in either child the groups that it had there.
    fn nodes(self, shown: &[Groups]) -> Vec<Node> {
        let Self { split, children } = self;
        let children = children.into_iter().enumerate().map(|(right, rows)| {
            let mut groups = shown.to_vec();
            if let Some((split, had)) = &split {
                let goes = |last: &&u8| (**last > split.bin) == (right == 1);
                let lasts = had.lasts().iter().filter(goes).copied().collect();
                groups[usize::from(split.feature)] = Groups::new(lasts).unwrap();
            }
            Node { rows, groups }
        });
        children.collect()
    }
}

/// The bins of each group.
fn ranges(groups: &Groups) -> impl Iterator<Item = RangeInclusive<u8>> {
    let mut first = 0;
    groups.lasts().iter().map(move |last| std::mem::replace(&mut first, last + 1)..=*last)
}

/// What several answers add up to.
pub(super) fn total(truth: &Truth, sent: &[&[u8]]) -> Result<Vec<i64>, String> {
    let expected = sent[0].len() / CIPHERTEXT_BYTES;
    let mut total: Option<Answers> = None;
    for bytes in sent {
        let answers = Answers::decode(bytes, expected, 2).map_err(|error| error.to_string())?;
        match &mut total {
            Some(total) => total.add_assign(&answers),
            None => total = Some(answers),
        }
    }
    let total = total.ok_or("no answer")?;
    truth.key.decrypt(&total, &truth.decoder, 2).map_err(|error| error.to_string())
}

/// The place of a ciphertext that decrypts by itself, if there is one.
pub(super) fn tells(truth: &Truth, bytes: &[u8]) -> Option<usize> {
    let ciphertexts: &[EncodedCiphertext] = bytes.as_chunks().0;
    ciphertexts.iter().position(|ciphertext| total(truth, &[ciphertext]).is_ok())
}
