//! The steps of a session, and what they return.

use bytes::Bytes;
use windvane_protocols::limits::{MAX_BINS, MAX_TRAIN_CHUNK_BYTES};
use windvane_protocols::party::SessionId;
use windvane_protocols::train::histogram::{Child, Groups};
use windvane_protocols::train::partition::Proposal;
use windvane_protocols::train::scale::Scaling;
use windvane_protocols::train::step::{Place, Step};
use windvane_protocols::train::tree::{Decision, Split};

use super::{WireError, copied, scaling, session, to_scale, within};
use crate::train::v1 as wire;

/// A step of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainStep {
    /// The session.
    pub session: SessionId,
    /// What is asked.
    pub step: Step,
}

/// A message of what a provider returns for a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrainGrown {
    /// The first one: what the provider can show.
    Proposals(Vec<Proposal>),
    /// The next encrypted sums.
    Sums(Bytes),
}

impl TryFrom<wire::GrowRequest> for TrainStep {
    type Error = WireError;

    fn try_from(message: wire::GrowRequest) -> Result<Self, WireError> {
        let (session, place) = place(message.place)?;
        let decisions = decisions(&message.decisions)?;
        Ok(Self { session, step: Step::Grow { place, decisions } })
    }
}

impl TryFrom<wire::SumRequest> for TrainStep {
    type Error = WireError;

    fn try_from(message: wire::SumRequest) -> Result<Self, WireError> {
        let (session, place) = place(message.place)?;
        Ok(Self { session, step: Step::Sum { place, agreed: proposals(&message.pairs)? } })
    }
}

impl TryFrom<wire::ContributionsRequest> for TrainStep {
    type Error = WireError;

    fn try_from(message: wire::ContributionsRequest) -> Result<Self, WireError> {
        let block = narrow("block", message.block)?;
        let decisions = decisions(&message.decisions)?;
        let session = session(&message.session)?;
        Ok(Self { session, step: Step::Contributions { block, decisions } })
    }
}

impl TryFrom<wire::PartsRequest> for TrainStep {
    type Error = WireError;

    fn try_from(message: wire::PartsRequest) -> Result<Self, WireError> {
        let step = Step::Parts { scaling: scaling(message.scale)? };
        Ok(Self { session: session(&message.session)?, step })
    }
}

/// A level's request.
pub fn grow_request(session: SessionId, place: Place, made: &[Decision]) -> wire::GrowRequest {
    wire::GrowRequest {
        place: Some(to_place(session, place)),
        decisions: made.iter().map(to_decision).collect(),
    }
}

/// A request for a level's sums.
pub fn sum_request(session: SessionId, place: Place, agreed: &[Proposal]) -> wire::SumRequest {
    wire::SumRequest {
        place: Some(to_place(session, place)),
        pairs: agreed.iter().map(to_proposal).collect(),
    }
}

/// A request for contributions.
pub fn contributions_request(
    session: SessionId,
    block: u16,
    made: &[Decision],
) -> wire::ContributionsRequest {
    wire::ContributionsRequest {
        session: copied(session.as_bytes()),
        block: block.into(),
        decisions: made.iter().map(to_decision).collect(),
    }
}

/// A request for parts.
pub fn parts_request(session: SessionId, scaling: Scaling) -> wire::PartsRequest {
    wire::PartsRequest { session: copied(session.as_bytes()), scale: Some(to_scale(scaling)) }
}

impl TryFrom<wire::GrowResponse> for TrainGrown {
    type Error = WireError;

    fn try_from(message: wire::GrowResponse) -> Result<Self, WireError> {
        let form = WireError::Form { field: "level", expected: "proposals or sums" };
        match message.body.ok_or(form)? {
            wire::grow_response::Body::Proposals(sent) => Ok(Self::Proposals(proposals(&sent.pairs)?)),
            wire::grow_response::Body::Sums(sums) => Ok(Self::Sums(bounded("sums", sums)?)),
        }
    }
}

impl From<TrainGrown> for wire::GrowResponse {
    fn from(grown: TrainGrown) -> Self {
        let body = match grown {
            TrainGrown::Proposals(pairs) => {
                let pairs = pairs.iter().map(to_proposal).collect();
                wire::grow_response::Body::Proposals(wire::Proposals { pairs })
            }
            TrainGrown::Sums(sums) => wire::grow_response::Body::Sums(sums),
        };
        Self { body: Some(body) }
    }
}

/// A message of a level's sums.
///
/// # Errors
/// [`WireError::Size`].
pub fn train_sums(message: wire::SumResponse) -> Result<Bytes, WireError> {
    bounded("sums", message.sums)
}

/// A message of contributions.
///
/// # Errors
/// [`WireError::Size`].
pub fn train_rows(message: wire::ContributionsResponse) -> Result<Bytes, WireError> {
    bounded("rows", message.rows)
}

/// A message of parts.
///
/// # Errors
/// [`WireError::Size`].
pub fn train_parts(message: wire::PartsResponse) -> Result<Bytes, WireError> {
    bounded("rows", message.rows)
}

fn bounded(field: &'static str, bytes: Bytes) -> Result<Bytes, WireError> {
    within(field, bytes.len(), MAX_TRAIN_CHUNK_BYTES)?;
    Ok(bytes)
}

fn place(place: Option<wire::Place>) -> Result<(SessionId, Place), WireError> {
    let form = WireError::Form { field: "place", expected: "a level of a tree within its limits" };
    let wire = place.ok_or(form.clone())?;
    let place = Place {
        block: narrow("block", wire.block)?,
        tree: narrow("tree", wire.tree)?,
        level: narrow("level", wire.level)?,
    };
    if place.is_sound() { Ok((session(&wire.session)?, place)) } else { Err(form) }
}

fn to_place(session: SessionId, place: Place) -> wire::Place {
    wire::Place {
        session: copied(session.as_bytes()),
        block: place.block.into(),
        tree: place.tree.into(),
        level: place.level.into(),
    }
}

fn decisions(made: &[wire::Decision]) -> Result<Vec<Decision>, WireError> {
    let form = WireError::Form { field: "decision", expected: "a split or a leaf" };
    made.iter()
        .map(|decision| match decision.decision.ok_or(form.clone())? {
            wire::decision::Decision::Leaf(value) => Ok(Decision::Leaf(value)),
            wire::decision::Decision::Split(split) => Ok(Decision::Split(Split {
                feature: narrow("feature", split.feature)?,
                bin: narrow("bin", split.bin)?,
            })),
        })
        .collect()
}

fn to_decision(decision: &Decision) -> wire::Decision {
    let decision = match decision {
        Decision::Leaf(value) => wire::decision::Decision::Leaf(*value),
        Decision::Split(split) => wire::decision::Decision::Split(wire::Split {
            feature: split.feature.into(),
            bin: split.bin.into(),
        }),
    };
    wire::Decision { decision: Some(decision) }
}

fn proposals(pairs: &[wire::Proposal]) -> Result<Vec<Proposal>, WireError> {
    let form = WireError::Form { field: "groups", expected: "last bins that ascend, for 1 to 1024 features" };
    pairs
        .iter()
        .map(|pair| {
            let child = if pair.right { Child::Right } else { Child::Left };
            let groups = pair.groups.iter().map(|lasts| {
                within("groups", lasts.len(), MAX_BINS)?;
                Groups::new(lasts.to_vec()).map_err(|_| form.clone())
            });
            let groups: Vec<_> = groups.collect::<Result<_, _>>()?;
            if groups.is_empty() { Err(form.clone()) } else { Ok(Proposal { child, groups }) }
        })
        .collect()
}

fn to_proposal(proposal: &Proposal) -> wire::Proposal {
    let groups = proposal.groups.iter().map(|groups| copied(groups.lasts()));
    wire::Proposal { right: proposal.child == Child::Right, groups: groups.collect() }
}

fn narrow<T: TryFrom<u32>>(field: &'static str, value: u32) -> Result<T, WireError> {
    T::try_from(value).map_err(|_| WireError::Form { field, expected: "a number within its range" })
}

#[cfg(test)]
mod tests {
    use windvane_protocols::train::scale::{Span, Values};

    use super::*;

    const SESSION: SessionId = SessionId::from_bytes([7; 16]);
    const PLACE: Place = Place { block: 3, tree: 2, level: 1 };

    fn made() -> Vec<Decision> {
        vec![Decision::Split(Split { feature: 300, bin: 4 }), Decision::Leaf(-5)]
    }

    fn agreed() -> Vec<Proposal> {
        let groups = vec![Groups::new(vec![2, 4]).unwrap(), Groups::new(vec![32]).unwrap()];
        vec![Proposal { child: Child::Right, groups }]
    }

    #[test]
    fn steps_survive_the_wire() {
        let step = |step| Ok(TrainStep { session: SESSION, step });
        let grow = TrainStep::try_from(grow_request(SESSION, PLACE, &made()));
        assert_eq!(grow, step(Step::Grow { place: PLACE, decisions: made() }));
        let sum = TrainStep::try_from(sum_request(SESSION, PLACE, &agreed()));
        assert_eq!(sum, step(Step::Sum { place: PLACE, agreed: agreed() }));
        let end = TrainStep::try_from(contributions_request(SESSION, 3, &made()));
        assert_eq!(end, step(Step::Contributions { block: 3, decisions: made() }));
        let span = Span::new(-7, 20).unwrap();
        for values in [Values::Fine, Values::Coarse] {
            let scaling = Scaling::new(100, span, values).unwrap();
            assert_eq!(TrainStep::try_from(parts_request(SESSION, scaling)), step(Step::Parts { scaling }));
        }
        for grown in [TrainGrown::Proposals(agreed()), TrainGrown::Sums(vec![1; 64].into())] {
            assert_eq!(TrainGrown::try_from(wire::GrowResponse::from(grown.clone())), Ok(grown));
        }
    }

    #[test]
    fn numbers_beyond_their_limits_are_refused() {
        let grow = || grow_request(SESSION, PLACE, &made());
        let wrong = |change: &dyn Fn(&mut wire::GrowRequest)| {
            let mut message = grow();
            change(&mut message);
            assert!(TrainStep::try_from(message).is_err());
        };
        wrong(&|m| m.place = None);
        wrong(&|m| m.place.as_mut().unwrap().level = 256);
        wrong(&|m| m.place.as_mut().unwrap().level = 4);
        wrong(&|m| m.place.as_mut().unwrap().block = 1 << 16);
        wrong(&|m| m.place.as_mut().unwrap().session = copied(b"short"));
        wrong(&|m| m.decisions[0].decision = None);
        let split = |feature, bin| wire::Decision {
            decision: Some(wire::decision::Decision::Split(wire::Split { feature, bin })),
        };
        wrong(&|m| m.decisions[0] = split(1 << 16, 0));
        wrong(&|m| m.decisions[0] = split(0, 256));
    }

    #[test]
    fn groups_that_cannot_be_are_refused() {
        let with = |pairs: Vec<wire::Proposal>| {
            TrainStep::try_from(wire::SumRequest { pairs, ..sum_request(SESSION, PLACE, &[]) })
        };
        let pair = |groups: &[&[u8]]| wire::Proposal {
            right: false,
            groups: groups.iter().map(|lasts| copied(lasts)).collect(),
        };
        assert!(with(vec![pair(&[&[1, 2]])]).is_ok());
        for wrong in [pair(&[]), pair(&[&[]]), pair(&[&[2, 1]]), pair(&[&[33]]), pair(&[&[0; 34]])] {
            assert!(with(vec![wrong]).is_err());
        }
    }
}
