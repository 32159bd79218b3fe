//! What a provider received, held against what it may: the list, ciphertexts, decisions of its own unit's trees, what
//! its unit agreed on, and behind the last block its own unit's scale, and the card.

use std::collections::{HashMap, HashSet};

use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::oprf::ELEMENT_BYTES;
use windvane_protocols::train::charter::encode_list;
use windvane_protocols::train::elgamal::{CIPHERTEXT_BYTES, Ciphertexts, Statistic};
use windvane_protocols::train::histogram::{Child, Groups};
use windvane_protocols::train::partition::Proposal;
use windvane_protocols::train::record::{StepHash, TrainAnnouncement, TrainRequest};
use windvane_protocols::train::step::{Place, Step, returned_digest};
use windvane_protocols::train::tree::Decision;
use windvane_protocols::transcript::Signed;

use super::scaled;
use super::seen::{Answered, Asked, Seen};
use super::truth::{Member, Truth, levels};

/// Records are not older than this.
pub(super) const HOUR_MS: u64 = 3_600_000;

/// Everything that a member may be asked, in its order, up to the end.
#[derive(Debug, PartialEq)]
enum Due {
    Open,
    Begin,
    List,
    Statistic(Statistic),
    Grow(Place, Vec<Decision>),
    Sum(Place),
    Contributions(u16, Vec<Decision>),
    Parts,
    Finish,
    Countersign,
}

impl Due {
    fn of(asked: &Asked) -> Self {
        match asked {
            Asked::Open(_) => Self::Open,
            Asked::Begin(_) => Self::Begin,
            Asked::List(_) => Self::List,
            Asked::Statistic(statistic, _) => Self::Statistic(*statistic),
            Asked::Grow(place, decisions) => Self::Grow(*place, decisions.clone()),
            Asked::Sum(place, _) => Self::Sum(*place),
            Asked::Contributions(block, decisions) => Self::Contributions(*block, decisions.clone()),
            Asked::Parts(_) => Self::Parts,
            Asked::Finish(..) => Self::Finish,
            Asked::Countersign(_) => Self::Countersign,
        }
    }

    /// What follows from the trees of the member's own unit, and from nothing else.
    fn all(truth: &Truth, member: &Member) -> Vec<Self> {
        let numbers = truth.charter.hyperparameters;
        let several = truth.unit(member.unit).count() > 1;
        let mut due = vec![Self::Open, Self::Begin, Self::List];
        due.extend([Statistic::Indicator, Statistic::HeldOut].map(Self::Statistic));
        for (block, trees) in (0..).zip(&truth.trees[member.unit]) {
            due.push(Self::Statistic(Statistic::Residual { block }));
            let mut last = Vec::new();
            for (tree, grown) in (0..).zip(trees) {
                for (level, decisions) in (0..).zip(levels(grown, numbers.depth)) {
                    let place = Place { block, tree, level };
                    due.push(Self::Grow(place, std::mem::replace(&mut last, decisions)));
                    due.extend(several.then_some(Self::Sum(place)));
                }
            }
            due.push(Self::Contributions(block, last));
        }
        due.extend([Self::Parts, Self::Finish, Self::Countersign]);
        due
    }
}

/// What is wrong with what a member received; `others` are all members of all units, itself among them.
pub(super) fn received(truth: &Truth, member: &Member, others: &HashMap<&str, &[Seen]>) -> Vec<String> {
    let seen = others[member.name];
    let mut findings = Vec::new();
    let due = Due::all(truth, member);
    let found: Vec<_> = seen.iter().map(|seen| Due::of(&seen.asked)).collect();
    if let Some(at) = (0..due.len().max(found.len())).find(|at| due.get(*at) != found.get(*at)) {
        findings.push(format!("asked {:?} where {:?} is due", found.get(at), due.get(at)));
    }
    let session = seen.iter().find_map(|seen| match &seen.asked {
        Asked::Open(request) => Some(request.body().session),
        _ => None,
    });
    for seen in seen {
        let named = seen.session.as_deref();
        if named.is_some_and(|named| session.is_none_or(|session| session.as_bytes() != named)) {
            findings.push("a message of another session".to_owned());
        }
        findings.extend(content(truth, member, others, &seen.asked).map(|what| {
            format!("{what} is not what it must be, in {:?}", std::mem::discriminant(&seen.asked))
        }));
    }
    findings.extend(ciphertexts(seen, others));
    findings
}

/// What of a message is not what follows from what its receiver may know.
fn content(
    truth: &Truth,
    member: &Member,
    others: &HashMap<&str, &[Seen]>,
    asked: &Asked,
) -> Option<&'static str> {
    match asked {
        Asked::Open(request) => open(truth, member, request),
        Asked::Begin(announcements) => begin(truth, announcements, others),
        Asked::List(bytes) => (*bytes != encode_list(&truth.positions)).then_some("the list"),
        Asked::Statistic(statistic, bytes) => {
            let honest = truth.upload(*statistic).is_some_and(|(_, honest, _)| honest == bytes);
            (!honest).then_some("an encrypted statistic")
        }
        Asked::Sum(place, pairs) => {
            (shared(truth, member, others, *place).as_ref() != Some(pairs)).then_some("a boundary")
        }
        // Whole in `Due`.
        Asked::Grow(..) | Asked::Contributions(..) => None,
        Asked::Parts(scale) => scaled::strange(truth, member, scale),
        Asked::Finish(scale, card, steps) => {
            let known = hex::encode(card.digest()) == truth.card;
            let all = [
                (scaled::strange(truth, member, scale).is_some(), "the scale of the end"),
                (!known, "the card"),
                (*steps != step_hash(others[member.name]), "the hash over all steps"),
            ];
            all.into_iter().find(|(wrong, _)| *wrong).map(|(_, what)| what)
        }
        Asked::Countersign(signed) => {
            let Countersignature { requester, provider, receipts, signed_at_ms } = signed.body();
            let receipt = others[member.name].iter().find_map(|seen| match &seen.answered {
                Answered::Receipt(receipt) => Some(receipt.digest()),
                _ => None,
            });
            let good = *requester == truth.charter.requester
                && *provider == member.party()
                && receipts.iter().copied().eq(receipt)
                && signed_at_ms.abs_diff(truth.now_ms) < HOUR_MS;
            (!good).then_some("the countersignature")
        }
    }
}

fn open(truth: &Truth, member: &Member, request: &Signed<TrainRequest>) -> Option<&'static str> {
    let TrainRequest {
        session: _,
        charter,
        provider,
        grant,
        purpose,
        data_set,
        seed,
        software: _,
        configuration: _,
        requested_at_ms,
    } = request.body();
    let all = [
        (*charter != truth.charter, "the charter"),
        (*provider != member.party(), "the provider"),
        (*grant != member.grant, "the grant"),
        (purpose != "risk_model" || data_set.as_str() != "telecom-risk", "the purpose"),
        (seed == truth.seed.expose(), "the seed's commitment"),
        (requested_at_ms.abs_diff(truth.now_ms) > HOUR_MS, "the time"),
    ];
    all.into_iter().find(|(wrong, _)| *wrong).map(|(_, what)| what)
}

/// Announcements are everybody's own, as they were given in acceptances.
fn begin(
    truth: &Truth,
    announcements: &[Signed<TrainAnnouncement>],
    others: &HashMap<&str, &[Seen]>,
) -> Option<&'static str> {
    let own = |member: &Member| {
        others[member.name].iter().find_map(|seen| match &seen.answered {
            Answered::Accepted(acceptance) => Some(acceptance.body().announcement.clone()),
            _ => None,
        })
    };
    let expected: Vec<_> = truth.members.iter().map(own).collect();
    let found: Vec<_> = announcements.iter().cloned().map(Some).collect();
    (found != expected).then_some("an announcement")
}

/// What all members of a unit propose of a level: boundaries that everybody keeps, and the child that most would send.
fn shared(
    truth: &Truth,
    member: &Member,
    others: &HashMap<&str, &[Seen]>,
    place: Place,
) -> Option<Vec<Proposal>> {
    let proposed = |member: &Member| {
        others[member.name].iter().find_map(|seen| match (&seen.asked, &seen.answered) {
            (Asked::Grow(at, _), Answered::Level(proposals, _)) if *at == place => Some(proposals),
            _ => None,
        })
    };
    let all: Vec<_> = truth.unit(member.unit).map(proposed).collect::<Option<_>>()?;
    let pair = |pair: usize| {
        let proposals: Vec<_> = all.iter().map(|proposals| proposals.get(pair)).collect::<Option<_>>()?;
        let groups = |feature: usize| {
            let kept = |last: &u8| proposals.iter().all(|p| p.groups[feature].lasts().contains(last));
            let lasts = proposals[0].groups[feature].lasts().iter().copied().filter(kept);
            Groups::new(lasts.collect()).ok()
        };
        let right = proposals.iter().filter(|proposal| proposal.child == Child::Right).count();
        let child = if 2 * right > proposals.len() { Child::Right } else { Child::Left };
        let groups = (0..proposals[0].groups.len()).map(groups).collect::<Option<_>>()?;
        Some(Proposal { child, groups })
    };
    (0..all[0].len()).map(pair).collect()
}

/// The hash over all steps as they passed.
pub(super) fn step_hash(seen: &[Seen]) -> windvane_protocols::transcript::Hash {
    let acceptance = seen.iter().find_map(|seen| match &seen.answered {
        Answered::Accepted(acceptance) => Some(acceptance.digest()),
        _ => None,
    });
    let announcements = seen.iter().find_map(|seen| match &seen.asked {
        Asked::Begin(announcements) => Some(announcements.as_slice()),
        _ => None,
    });
    let mut hash = StepHash::new(&acceptance.unwrap_or([0; 64]), announcements.unwrap_or_default());
    for seen in seen {
        let step = match &seen.asked {
            Asked::Grow(place, decisions) => Step::Grow { place: *place, decisions: decisions.clone() },
            Asked::Sum(place, agreed) => Step::Sum { place: *place, agreed: agreed.clone() },
            Asked::Contributions(block, decisions) => {
                Step::Contributions { block: *block, decisions: decisions.clone() }
            }
            Asked::Parts(scale) => match scaled::scaling(scale) {
                Some(scaling) => Step::Parts { scaling },
                None => continue,
            },
            _ => continue,
        };
        let returned = match &seen.answered {
            Answered::Level(proposals, sums) => returned_digest(proposals, sums),
            Answered::Ciphertexts(bytes) => returned_digest(&[], bytes),
            _ => continue,
        };
        hash.step(&step.digest(), &returned);
    }
    hash.finish()
}

/// Ciphertexts are pairs of elements, none of them the identity, and no element comes twice, in whatever row, statistic
/// or block, or from what any provider answered.
fn ciphertexts(seen: &[Seen], others: &HashMap<&str, &[Seen]>) -> Vec<String> {
    let answered: HashSet<&[u8; ELEMENT_BYTES]> = others
        .values()
        .flat_map(|seen| seen.iter())
        .filter_map(|seen| match &seen.answered {
            Answered::Level(_, bytes) | Answered::Ciphertexts(bytes) => Some(elements(bytes)),
            _ => None,
        })
        .flatten()
        .collect();
    let (mut findings, mut known) = (Vec::new(), HashSet::new());
    for seen in seen {
        let Asked::Statistic(statistic, bytes) = &seen.asked else { continue };
        if Ciphertexts::decode(bytes, 1).is_err() || bytes.len() % CIPHERTEXT_BYTES != 0 {
            findings.push(format!("{statistic:?} has what is no ciphertext"));
        }
        if !elements(bytes).iter().all(|element| known.insert(element)) {
            findings.push(format!("an element of {statistic:?} repeats another"));
        }
        if elements(bytes).iter().any(|element| answered.contains(element)) {
            findings.push(format!("{statistic:?} has an element that a provider answered"));
        }
    }
    findings
}

fn elements(bytes: &[u8]) -> &[[u8; ELEMENT_BYTES]] {
    bytes.as_chunks().0
}
