//! A unit's trees, decided again from the answers that the bank keeps.

use windvane_protocols::train::charter::Charter;
use windvane_protocols::train::growth::Bound;
use windvane_protocols::train::step::{Place, Step};
use windvane_protocols::train::tree::Tree;

use super::member::{Member, Next};
use crate::train::run::TrainError;
use crate::train::run::answers::Answer;
use crate::train::run::cells::RootCounts;
use crate::train::run::growing::{Decryption, Growing, Trees};

/// A unit whose trees are decided again.
pub(super) struct UnitReplay {
    pub(super) members: Vec<Member>,
    counts: Option<RootCounts>,
    pub(super) trees: Vec<Tree>,
    /// Whether everything so far was asked, and as it is decided.
    goes_on: bool,
}

/// What became of a block.
#[derive(Debug)]
pub(super) enum Replayed {
    /// It was asked to its end as it is decided.
    Whole,
    /// It was so as far as it was asked: the training was given up within.
    GivenUp,
    /// It was asked something else, which this says in words.
    Otherwise(String),
}

/// What all members answered where a step is due.
enum Asked {
    Answered(Vec<Answer>),
    Ended(Replayed),
}

impl UnitReplay {
    pub(super) const fn new(members: Vec<Member>) -> Self {
        Self { members, counts: None, trees: Vec::new(), goes_on: true }
    }

    /// Whether there is more to be decided.
    pub(super) const fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Decides a block again.
    pub(super) fn block(
        &mut self,
        charter: &Charter,
        block: u16,
        limit: Bound,
        with: Decryption<'_>,
    ) -> Result<Replayed, TrainError> {
        let replayed = self.replay(charter, block, limit, with)?;
        self.goes_on = matches!(replayed, Replayed::Whole);
        Ok(replayed)
    }

    fn replay(
        &mut self,
        charter: &Charter,
        block: u16,
        limit: Bound,
        with: Decryption<'_>,
    ) -> Result<Replayed, TrainError> {
        let numbers = &charter.hyperparameters;
        // Nobody is asked anything before all have accepted.
        let Some(bins) = self.members[0].bins().map(<[u8]>::to_vec) else { return Ok(Replayed::GivenUp) };
        let Ok(mut growing) = Growing::new(numbers, &bins, block, limit, self.counts.take()) else {
            return Ok(Replayed::Otherwise("its residuals are beyond what a training has".to_owned()));
        };
        while let Some(step) = growing.step() {
            let answers = match self.answers(&step)? {
                Asked::Answered(answers) => answers,
                Asked::Ended(replayed) => return Ok(replayed),
            };
            if let Err(fault) = growing.on_answers(with, answers) {
                let members: Vec<_> = self.members.iter().map(|member| member.party.as_str()).collect();
                let members = members.join(", ");
                return Ok(Replayed::Otherwise(format!("the answers of {members} do not hold: {fault}")));
            }
        }
        let Trees { last, counts, trees } = growing.finish();
        self.counts = counts;
        self.trees.extend(trees);
        match self.answers(&Step::Contributions { block, decisions: last })? {
            Asked::Answered(_) => Ok(Replayed::Whole),
            Asked::Ended(replayed) => Ok(replayed),
        }
    }

    /// The kept answers of all members to a step. Members are asked at a time, so that where a training was given up some
    /// may have answered and others not; then nobody was asked anything further.
    fn answers(&mut self, step: &Step) -> Result<Asked, TrainError> {
        let (mut answers, mut ahead) = (Vec::with_capacity(self.members.len()), None);
        for member in &mut self.members {
            match member.next(step)? {
                Next::Answered(answer) => {
                    answers.push(answer);
                    ahead = ahead.or_else(|| member.was_asked_more().then(|| member.party.clone()));
                }
                Next::Nothing => {}
                Next::Otherwise => return Ok(Asked::Ended(Replayed::Otherwise(otherwise(member, step)))),
            }
        }
        if answers.len() == self.members.len() {
            return Ok(Asked::Answered(answers));
        }
        let replayed = ahead.map_or(Replayed::GivenUp, |party| {
            Replayed::Otherwise(format!("{party} was asked more than the answers of its unit decide"))
        });
        Ok(Asked::Ended(replayed))
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
