//! A bank, providers and a universe of one segment, from one seed.

use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::identity::{IDENTITY_VERSION, Phone};
use crate::party::PartyId;
use crate::score::epoch::{Epoch, Member};
use crate::score::group::{Charter, GroupTerms, Identity, Pins, Sharing};
use crate::score::query::{Answer, Question};
use crate::score::shares::record::{Announcement, Confirmation, Dealing};
use crate::score::shares::{AwaitAnnouncements, AwaitConfirmations, AwaitDealings, Step, announce};
use crate::score::table::{Row, sum};
use crate::score::universe::Universe;
use crate::transcript::Signed;

const SEED: u64 = 20_260_701;

pub(in crate::score) fn rng(stream: u64) -> ChaCha20Rng {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    rng.set_stream(stream);
    rng
}

pub(in crate::score) fn party(index: usize) -> PartyId {
    format!("carrier-{}", char::from(b'a' + index as u8)).parse().unwrap()
}

pub(in crate::score) fn key(index: usize) -> SigningKey {
    SigningKey::from_bytes(&[index as u8 + 1; 32])
}

pub(in crate::score) fn bank() -> (PartyId, SigningKey) {
    ("bank".parse().unwrap(), SigningKey::from_bytes(&[0xba; 32]))
}

pub(in crate::score) fn universe() -> Universe {
    Universe::new(bank().0, 1, vec!["1380013".parse().unwrap()]).unwrap()
}

pub(in crate::score) fn phone(position: u64) -> Phone {
    Phone::parse(&format!("1380013{position:04}")).unwrap()
}

/// Terms of `n` providers.
pub(in crate::score) fn terms(n: usize, sharing: Sharing, epoch: u64) -> GroupTerms {
    let (requester, bank) = bank();
    let provider = |i| Identity { party: party(i), key: key(i).verifying_key() };
    GroupTerms {
        group: "fraud".parse().unwrap(),
        requester: Identity { party: requester, key: bank.verifying_key() },
        providers: (0..n).map(provider).collect(),
        sharing,
        universe: *universe().digest(),
        identity_version: IDENTITY_VERSION.to_owned(),
        model: [7; 64],
        epoch,
    }
}

/// Pins of the bank and of sixteen providers.
pub(in crate::score) fn pins() -> Pins {
    let terms = terms(16, Sharing::Threshold(2), 1);
    terms.identities().map(|identity| (identity.party.clone(), identity.fingerprint())).collect()
}

pub(in crate::score) fn charter(n: usize, threshold: usize, epoch: u64) -> Charter {
    let sharing = if n == 1 { Sharing::SingleProvider } else { Sharing::Threshold(threshold) };
    Charter::accept(terms(n, sharing, epoch), &pins()).unwrap()
}

pub(in crate::score) fn unzip<S, M>(steps: Vec<Step<S, M>>) -> (Vec<S>, Vec<Signed<M>>) {
    steps.into_iter().map(|step| (step.state, step.message)).unzip()
}

/// Every provider announces.
pub(in crate::score) fn announced(charter: &Charter) -> (Vec<AwaitAnnouncements>, Vec<Signed<Announcement>>) {
    let providers = 0..charter.providers().len();
    let stream = charter.terms().epoch * 1_000;
    unzip(
        providers
            .map(|i| announce(charter.clone(), &party(i), &key(i), &mut rng(stream + i as u64)).unwrap())
            .collect(),
    )
}

/// Every provider deals.
pub(in crate::score) fn dealt(charter: &Charter) -> (Vec<AwaitDealings>, Vec<Signed<Dealing>>) {
    let (states, messages) = announced(charter);
    let stream = charter.terms().epoch * 1_000 + 100;
    let deal = |(i, state): (usize, AwaitAnnouncements)| {
        state.on_announcements(&messages, &key(i), &mut rng(stream + i as u64)).unwrap()
    };
    unzip(states.into_iter().enumerate().map(deal).collect())
}

/// Every provider and the bank confirm.
pub(in crate::score) fn confirmed(charter: &Charter) -> (Vec<AwaitConfirmations>, Vec<Signed<Confirmation>>) {
    let (states, messages) = dealt(charter);
    let confirm = |(i, state): (usize, AwaitDealings)| state.on_dealings(&messages, &key(i)).unwrap();
    let (states, mut messages) = unzip(states.into_iter().enumerate().map(confirm).collect());
    let (requester, bank) = bank();
    messages.push(states[0].sharing().confirm(requester, &bank));
    (states, messages)
}

/// A group whose setup is done.
pub(in crate::score) fn members(n: usize, threshold: usize, epoch: u64) -> Vec<Member> {
    let (states, messages) = confirmed(&charter(n, threshold, epoch));
    states.into_iter().map(|state| state.on_confirmations(&messages).unwrap()).collect()
}

/// A provider's parts: mostly the default, which is not zero.
pub(in crate::score) fn parts(provider: usize, count: usize) -> Vec<u8> {
    let mut rng = rng(500 + provider as u64);
    let part = |_| if rng.next_u32().is_multiple_of(4) { rng.next_u32() as u8 } else { 3 };
    (0..count).map(part).collect()
}

/// A group with its tables of the universe's first rows.
pub(in crate::score) struct World {
    pub(in crate::score) members: Vec<Member>,
    pub(in crate::score) parts: Vec<Vec<u8>>,
    pub(in crate::score) tables: Vec<Vec<Row>>,
    pub(in crate::score) sum: Vec<Row>,
}

impl World {
    pub(in crate::score) fn new(n: usize, threshold: usize, rows: usize) -> Self {
        Self::with_parts(threshold, (0..n).map(|i| parts(i, rows)).collect())
    }

    /// A provider for each of the parts.
    pub(in crate::score) fn with_parts(threshold: usize, parts: Vec<Vec<u8>>) -> Self {
        let members = members(parts.len(), threshold, 1);
        let table = |(member, parts): (&Member, &Vec<u8>)| member.sealer().unwrap().rows(0, parts);
        let tables: Vec<_> = members.iter().zip(&parts).map(table).collect();
        let stretches: Vec<_> = tables.iter().map(|table| table.as_flattened()).collect();
        let sum = sum::add(members[0].epoch(), &stretches).unwrap();
        Self { members, parts, tables, sum }
    }

    pub(in crate::score) fn epoch(&self) -> &Epoch {
        self.members[0].epoch()
    }

    /// What the parts of a position add up to.
    pub(in crate::score) fn truth(&self, position: usize) -> u16 {
        self.parts.iter().map(|parts| u16::from(parts[position])).sum()
    }

    /// The answers of some providers.
    pub(in crate::score) fn answers(&self, question: &Question, providers: &[usize]) -> Vec<Answer> {
        providers
            .iter()
            .map(|i| self.members[*i].answer(question, &mut rng(900 + *i as u64)).unwrap())
            .collect()
    }
}

/// All ways to choose `size` of `n`.
pub(in crate::score) fn quorums(n: usize, size: usize) -> impl Iterator<Item = Vec<usize>> {
    let places = move |mask: u32| (0..n).filter(|i| mask >> i & 1 == 1).collect();
    (0..1_u32 << n).filter(move |mask| mask.count_ones() as usize == size).map(places)
}
