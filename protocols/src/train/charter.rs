//! What all parties of one training agree on, and which positions it lists.
//!
//! A request goes to one provider under a session of its own; the charter is the same for all. It is what providers
//! hold their pins and each other's announcements against, so that a bank cannot bring strangers of its own making
//! among those whose masks must cancel.

use sha2::{Digest as _, Sha512};

use super::parameters::Hyperparameters;
use super::record::short;
use crate::limits::{MAX_HELD_OUT, MAX_PURPOSE_BYTES, MAX_SCORE_PROVIDERS, MAX_TRAINING_ROWS};
use crate::oprf::ELEMENT_BYTES;
use crate::party::{PartyId, SessionId};
use crate::score::group::{Identity, Pins};
use crate::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

/// Providers that grow trees as one: one provider, or several carriers of one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its members, ascending by name, with the keys that others pin.
    pub members: Vec<Identity>,
}

/// What all parties of a training agree on before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charter {
    /// The training, for all its parties; a provider's session is another name.
    pub training: SessionId,
    /// The bank that trains.
    pub requester: PartyId,
    /// All providers, by units.
    pub units: Vec<Unit>,
    /// The agreed numbers; the minimum count of a sum is among them.
    pub hyperparameters: Hyperparameters,
    /// Decoys for every row that the bank knows.
    pub decoy_factor: u64,
    /// Hundredths of the rows that the bank knows, about, which it holds out.
    pub held_out: u64,
    /// [`crate::score::universe::Universe::digest`].
    pub universe: Hash,
    /// Listed rows, decoys among them.
    pub rows: u64,
    /// [`list_digest`] of the listed positions.
    pub list: Hash,
    /// The bank's key: a ristretto255 element.
    pub public_key: [u8; ELEMENT_BYTES],
    /// What the model will be called in everybody's registry: at most [`MAX_PURPOSE_BYTES`].
    pub model: String,
}

/// Why a charter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CharterError {
    /// No provider, too many, or a unit without members.
    #[error("a training has 1 to {MAX_SCORE_PROVIDERS} providers in units of at least one, found {found}")]
    Providers {
        /// How many there are.
        found: usize,
    },
    /// A unit's members are not in ascending order, or a party or key stands twice.
    #[error("{party} stands twice in the training, has another party's key, or is out of order")]
    Member {
        /// The party.
        party: PartyId,
    },
    /// No row, or too many.
    #[error("a training lists 1 to {MAX_TRAINING_ROWS} rows, found {found}")]
    Rows {
        /// How many it lists.
        found: u64,
    },
    /// No name of a model, or a long one.
    #[error("a training names its model in 1 to {MAX_PURPOSE_BYTES} bytes")]
    Model,
    /// No decoys, or more rows held out than trained on.
    #[error("a training has decoys and holds out at most {MAX_HELD_OUT} hundredths, found {found}")]
    List {
        /// Hundredths that are held out.
        found: u64,
    },
    /// No fingerprint is pinned for the party, or another one.
    #[error("the identity key of {party} is not the pinned one; compare fingerprints with it")]
    Unpinned {
        /// The party.
        party: PartyId,
    },
}

impl Charter {
    /// Whether units and rows are within their rules.
    ///
    /// # Errors
    /// [`CharterError`].
    pub fn check(&self) -> Result<(), CharterError> {
        let found = self.providers().count();
        if !(1..=MAX_SCORE_PROVIDERS).contains(&found) || self.units.iter().any(|u| u.members.is_empty()) {
            return Err(CharterError::Providers { found });
        }
        let order = |unit: &Unit| unit.members.windows(2).position(|pair| pair[0].party >= pair[1].party);
        if let Some((unit, at)) = self.units.iter().find_map(|unit| Some((unit, order(unit)?))) {
            return Err(CharterError::Member { party: unit.members[at + 1].party.clone() });
        }
        let all: Vec<_> = self.providers().collect();
        let repeated = |i: &usize| {
            let (one, earlier) = (all[*i], &all[..*i]);
            one.party == self.requester || earlier.iter().any(|e| e.party == one.party || e.key == one.key)
        };
        if let Some(i) = (0..all.len()).find(repeated) {
            return Err(CharterError::Member { party: all[i].party.clone() });
        }
        if !(1..=MAX_TRAINING_ROWS as u64).contains(&self.rows) {
            return Err(CharterError::Rows { found: self.rows });
        }
        if !(1..=MAX_PURPOSE_BYTES).contains(&self.model.len()) {
            return Err(CharterError::Model);
        }
        if self.decoy_factor == 0 || self.held_out > MAX_HELD_OUT {
            return Err(CharterError::List { found: self.held_out });
        }
        Ok(())
    }

    /// Whether every provider has the key that is pinned for it.
    ///
    /// # Errors
    /// [`CharterError::Unpinned`].
    pub fn hold_against(&self, pins: &Pins) -> Result<(), CharterError> {
        let unpinned = |identity: &&Identity| pins.get(&identity.party) != Some(&identity.fingerprint());
        match self.providers().find(unpinned) {
            Some(identity) => Err(CharterError::Unpinned { party: identity.party.clone() }),
            None => Ok(()),
        }
    }

    /// All providers, in the order of units and, within a unit, of names.
    pub fn providers(&self) -> impl Iterator<Item = &Identity> {
        self.units.iter().flat_map(|unit| &unit.members)
    }

    /// The unit of a provider: its index, and the unit.
    pub fn unit_of(&self, party: &PartyId) -> Option<(usize, &Unit)> {
        let member = |unit: &Unit| unit.members.iter().any(|identity| identity.party == *party);
        self.units.iter().enumerate().find(|(_, unit)| member(unit))
    }

    /// What announcements and masks are bound to.
    pub fn digest(&self) -> Hash {
        self.encode().digest()
    }
}

impl Record for Charter {
    const DOMAIN: &'static str = "windvane/train-charter/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("training", self.training.as_bytes())
            .text("requester", self.requester.as_str())
            .list("unit", self.units.iter().map(|unit| unit.encode().into_bytes()))
            .bytes("hyperparameters", self.hyperparameters.encode().as_bytes())
            .u64("decoy factor", self.decoy_factor)
            .u64("held out", self.held_out)
            .bytes("universe", &self.universe)
            .u64("rows", self.rows)
            .bytes("list", &self.list)
            .bytes("public key", &self.public_key)
            .text("model", &self.model)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let charter = Self {
            training: SessionId::from_bytes(r.array("training")?),
            requester: r.parse("requester")?,
            units: r
                .list("unit", MAX_SCORE_PROVIDERS)?
                .into_iter()
                .map(Unit::decode)
                .collect::<Result<_, _>>()?,
            hyperparameters: Hyperparameters::decode(r.bytes("hyperparameters")?)?,
            decoy_factor: r.u64("decoy factor")?,
            held_out: r.u64("held out")?,
            universe: r.array("universe")?,
            rows: r.u64("rows")?,
            list: r.array("list")?,
            public_key: r.array("public key")?,
            model: short(r, "model")?,
        };
        charter.check().map_err(|error| match error {
            CharterError::Model => TranscriptError::Form { label: "model", expected: "a model's name" },
            _ => TranscriptError::Form { label: "unit", expected: "units of different providers in order" },
        })?;
        Ok(charter)
    }
}

impl Record for Unit {
    const DOMAIN: &'static str = "windvane/train-unit/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.list("member", self.members.iter().map(|member| member.encode().into_bytes()))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let members = r.list("member", MAX_SCORE_PROVIDERS)?.into_iter().map(Identity::decode);
        Ok(Self { members: members.collect::<Result<_, _>>()? })
    }
}

/// Bytes of a listed position as it travels: a big-endian integer.
pub const POSITION_BYTES: usize = 8;

/// What a listed position breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// Bytes that are no whole number of positions.
    #[error("a list has whole positions of {POSITION_BYTES} bytes")]
    Length,
    /// Another number of positions than the charter says.
    #[error("the charter lists {expected} rows, found {found}")]
    Rows {
        /// Found.
        found: usize,
        /// What the charter says.
        expected: u64,
    },
    /// Positions that do not ascend, or are beyond the universe.
    #[error("listed positions do not ascend, or are beyond the universe")]
    Order,
    /// Another list than the charter names.
    #[error("the list is not the one that the charter names")]
    Digest,
}

/// The digest by which a charter names its list: SHA-512 over a transcript that names the universe and the number of
/// rows, and then every position as eight big-endian bytes.
pub fn list_digest(universe: &Hash, positions: &[u64]) -> Hash {
    let head = Transcript::new("windvane/train-list/v1")
        .bytes("universe", universe)
        .u64("rows", positions.len() as u64);
    let mut hash = Sha512::new_with_prefix(head.as_bytes());
    positions.iter().for_each(|position| hash.update(position.to_be_bytes()));
    hash.finalize().into()
}

/// A list as it travels.
pub fn encode_list(positions: &[u64]) -> Vec<u8> {
    positions.iter().flat_map(|position| position.to_be_bytes()).collect()
}

impl Charter {
    /// Reads a list that came whole, and holds it against the charter and the universe's number of rows.
    ///
    /// # Errors
    /// [`ListError`]; it names no position.
    pub fn open_list(&self, bytes: &[u8], universe_rows: u64) -> Result<Vec<u64>, ListError> {
        let (positions, rest) = bytes.as_chunks::<POSITION_BYTES>();
        if !rest.is_empty() {
            return Err(ListError::Length);
        }
        if positions.len() as u64 != self.rows {
            return Err(ListError::Rows { found: positions.len(), expected: self.rows });
        }
        let positions: Vec<_> = positions.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
        let within = positions.last().is_some_and(|last| *last < universe_rows);
        if !within || !positions.is_sorted_by(|a, b| a < b) {
            return Err(ListError::Order);
        }
        if list_digest(&self.universe, &positions) != self.list {
            return Err(ListError::Digest);
        }
        Ok(positions)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use ed25519_dalek::SigningKey;

    use super::super::parameters::Numbers;
    use super::*;
    use crate::score::group::Fingerprint;

    pub(in crate::train) fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn member(party: &str, seed: u8) -> Identity {
        Identity { party: party.parse().unwrap(), key: key(seed).verifying_key() }
    }

    pub(in crate::train) fn charter() -> Charter {
        let numbers = Numbers {
            blocks: 2,
            trees: 3,
            depth: 3,
            rate_micros: 100_000,
            lambda: 1,
            minimum_rows: 20,
            minimum_count: 50,
        };
        Charter {
            training: SessionId::from_bytes([8; 16]),
            requester: "bank".parse().unwrap(),
            units: vec![
                Unit { members: vec![member("carrier-a", 1), member("carrier-b", 2)] },
                Unit { members: vec![member("police", 3)] },
            ],
            hyperparameters: Hyperparameters::new(numbers).unwrap(),
            decoy_factor: 2,
            held_out: 20,
            universe: [4; 64],
            rows: 3,
            list: list_digest(&[4; 64], &[1, 5, 9]),
            public_key: [5; 32],
            model: "fraud-2026-11".into(),
        }
    }

    #[test]
    fn a_charter_survives_its_encoding_and_refuses_every_truncation() {
        let bytes = charter().encode().into_bytes();
        assert_eq!(Charter::decode(&bytes), Ok(charter()));
        assert!((0..bytes.len()).all(|end| Charter::decode(&bytes[..end]).is_err()));
        let (unit, carrier) =
            (charter().unit_of(&"police".parse().unwrap()).unwrap().0, charter().units[0].clone());
        assert_eq!((unit, carrier.members.len()), (1, 2));
        assert_eq!(charter().unit_of(&"bank".parse().unwrap()), None);
    }

    #[test]
    fn units_that_break_a_rule_are_refused_and_the_party_is_named() {
        let with = |units: Vec<Vec<Identity>>| {
            let units = units.into_iter().map(|members| Unit { members }).collect();
            let wrong = Charter { units, ..charter() };
            assert!(Charter::decode(wrong.encode().as_bytes()).is_err());
            wrong.check().unwrap_err()
        };
        let named = |party: &str| CharterError::Member { party: party.parse().unwrap() };
        assert_eq!(with(vec![]), CharterError::Providers { found: 0 });
        assert_eq!(with(vec![vec![member("a", 1)], vec![]]), CharterError::Providers { found: 1 });
        let many = (1..=17).map(|i| vec![member(&format!("p{i}"), i)]).collect();
        assert_eq!(with(many), CharterError::Providers { found: 17 });
        assert_eq!(with(vec![vec![member("b", 1), member("a", 2)]]), named("a"));
        assert_eq!(with(vec![vec![member("a", 1)], vec![member("a", 2)]]), named("a"));
        assert_eq!(with(vec![vec![member("a", 1)], vec![member("b", 1)]]), named("b"));
        assert_eq!(with(vec![vec![member("bank", 1)]]), named("bank"));
    }

    #[test]
    fn rows_are_within_their_limit() {
        for rows in [0, MAX_TRAINING_ROWS as u64 + 1] {
            assert_eq!(Charter { rows, ..charter() }.check(), Err(CharterError::Rows { found: rows }));
        }
    }

    #[test]
    fn a_model_has_a_name_within_its_limit() {
        for model in [String::new(), "m".repeat(MAX_PURPOSE_BYTES + 1)] {
            let wrong = Charter { model, ..charter() };
            assert_eq!(wrong.check(), Err(CharterError::Model));
            assert!(Charter::decode(wrong.encode().as_bytes()).is_err());
        }
        assert_eq!(Charter { model: "m".repeat(MAX_PURPOSE_BYTES), ..charter() }.check(), Ok(()));
    }

    #[test]
    fn decoys_there_are_and_most_rows_are_trained_on() {
        let wrong = [Charter { decoy_factor: 0, ..charter() }, Charter { held_out: 51, ..charter() }];
        assert!(wrong.iter().all(|wrong| matches!(wrong.check(), Err(CharterError::List { .. }))));
        assert_eq!(Charter { held_out: 50, ..charter() }.check(), Ok(()));
    }

    #[test]
    fn a_provider_whose_key_is_not_the_pinned_one_is_named() {
        let pin = |party: &str, seed| (party.parse().unwrap(), Fingerprint::of(&key(seed).verifying_key()));
        let mut pins = Pins::from([pin("carrier-a", 1), pin("carrier-b", 2), pin("police", 3)]);
        assert_eq!(charter().hold_against(&pins), Ok(()));
        pins.extend([pin("police", 4)]);
        let police = CharterError::Unpinned { party: "police".parse().unwrap() };
        assert_eq!(charter().hold_against(&pins), Err(police.clone()));
        pins.remove(&"police".parse().unwrap());
        assert_eq!(charter().hold_against(&pins), Err(police));
    }

    #[test]
    fn only_the_list_that_the_charter_names_is_taken() {
        let charter = charter();
        let open = |positions: &[u64]| charter.open_list(&encode_list(positions), 10);
        assert_eq!(open(&[1, 5, 9]), Ok(vec![1, 5, 9]));
        assert_eq!(open(&[1, 5]), Err(ListError::Rows { found: 2, expected: 3 }));
        assert_eq!(open(&[1, 5, 8]), Err(ListError::Digest));
        assert_eq!(open(&[1, 5, 10]), Err(ListError::Order));
        assert_eq!(open(&[5, 5, 9]), Err(ListError::Order));
        assert_eq!(charter.open_list(&encode_list(&[1, 5, 9])[1..], 10), Err(ListError::Length));
    }
}
