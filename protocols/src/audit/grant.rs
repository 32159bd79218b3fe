//! Grants: what a provider permits a requester, signed. Nothing runs without one.

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRng;

use crate::identity::Family;
use crate::limits::{MAX_GRANT_ITEMS, MAX_PURPOSE_BYTES};
use crate::lookup::DataSet;
use crate::lookup::manifest::read_any_families;
use crate::party::PartyId;
use crate::score::calibration::Bands;
use crate::transcript::{Reader, Record, Transcript, TranscriptError};

/// Names a grant in every use: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId([u8; 16]);

impl GrantId {
    /// A fresh name.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The bytes as received.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to send.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantId({self})")
    }
}

/// An operation that a grant permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Verification by encrypted lookup.
    Verify,
    /// Set intersection.
    Psi,
    /// The joint score.
    Score,
    /// Joint training.
    Train,
}

impl Operation {
    /// The name in grants, configuration and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Psi => "psi",
            Self::Score => "score",
            Self::Train => "train",
        }
    }
}

impl FromStr for Operation {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Verify, Self::Psi, Self::Score, Self::Train]
            .into_iter()
            .find(|operation| operation.name() == text)
            .ok_or(())
    }
}

/// What a provider permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its name.
    pub id: GrantId,
    /// Who permits, and signs.
    pub provider: PartyId,
    /// Who may ask.
    pub requester: PartyId,
    /// In which data sets.
    pub data_sets: Vec<DataSet>,
    /// Which families, ascending.
    pub families: Vec<Family>,
    /// Which operations.
    pub operations: Vec<Operation>,
    /// For which purposes.
    pub purposes: Vec<String>,
    /// Which label fields the requester may use; empty means all of the schema.
    pub columns: Vec<String>,
    /// Smallest set result that may be released, and fewest rows of the requester; 0 means no minimum.
    pub minimum_result: u64,
    /// What set intersections it permits; nothing unless its operations name them.
    pub psi: PsiTerms,
    /// What trainings of a joint model it permits; nothing unless its operations name them.
    pub train: TrainTerms,
    /// What the requester may keep of a joint score: only the band among these, or everything where there are none.
    pub score_bands: Option<Bands>,
    /// How long an epoch that is looked up in may be, in hours: the call opens the person's rows in all of it, deltas from
    /// before the call included.
    pub epoch_hours: u64,
    /// Elements per key and second. A session of more passes when a whole second's is there, and the next one once it is
    /// paid for at this rate.
    pub rate_per_s: u64,
    /// Elements per key and day (UTC).
    pub per_day: u64,
    /// Elements per key in all.
    pub total: u64,
    /// First moment of validity, milliseconds of Unix time.
    pub not_before_ms: u64,
    /// Last moment of validity, milliseconds of Unix time.
    pub not_after_ms: u64,
    /// When it was signed, milliseconds of Unix time.
    pub issued_at_ms: u64,
}

/// What set intersections a grant permits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PsiTerms {
    /// Rows of the requester's file, at most.
    pub max_requester_rows: u64,
    /// Rows of the provider's list, at most.
    pub max_provider_rows: u64,
    /// Jobs in all; a job that is resumed counts once.
    pub runs: u64,
    /// Whether the same file of the requester may come again.
    pub repeated_input: bool,
    /// Columns of the list that may travel with matches; empty means none.
    pub payload_columns: Vec<String>,
}

impl PsiTerms {
    fn write(&self, t: Transcript) -> Transcript {
        t.u64("psi requester rows", self.max_requester_rows)
            .u64("psi provider rows", self.max_provider_rows)
            .u64("psi runs", self.runs)
            .u64("psi repeated input", self.repeated_input.into())
            .list("psi payload column", self.payload_columns.iter())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            max_requester_rows: r.u64("psi requester rows")?,
            max_provider_rows: r.u64("psi provider rows")?,
            runs: r.u64("psi runs")?,
            repeated_input: flag(r, "psi repeated input")?,
            payload_columns: texts(r, "psi payload column")?,
        })
    }
}

/// What trainings of a joint model a grant permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrainTerms {
    /// Rows of the requester's list, decoys among them, at most.
    pub max_rows: u64,
    /// Trainings in all; one that is resumed counts once.
    pub runs: u64,
    /// Decoys for every real row, at least.
    pub decoy_factor: u64,
    /// Listed rows whose sum is shown, at least.
    pub minimum_count: u64,
    /// Blocks of a training, at most.
    pub max_blocks: u64,
    /// Trees of a block, at most.
    pub max_trees: u64,
    /// Depth of a tree, at most.
    pub max_depth: u64,
    /// Whether the requester may learn the features' names; else it learns their numbers.
    pub named_features: bool,
    /// Whether the provider may be the only one: nothing then hides what it contributes to each row.
    pub alone: bool,
}

impl TrainTerms {
    fn write(&self, t: Transcript) -> Transcript {
        t.u64("train rows", self.max_rows)
            .u64("train runs", self.runs)
            .u64("train decoy factor", self.decoy_factor)
            .u64("train minimum count", self.minimum_count)
            .u64("train blocks", self.max_blocks)
            .u64("train trees", self.max_trees)
            .u64("train depth", self.max_depth)
            .u64("train named features", self.named_features.into())
            .u64("train alone", self.alone.into())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            max_rows: r.u64("train rows")?,
            runs: r.u64("train runs")?,
            decoy_factor: r.u64("train decoy factor")?,
            minimum_count: r.u64("train minimum count")?,
            max_blocks: r.u64("train blocks")?,
            max_trees: r.u64("train trees")?,
            max_depth: r.u64("train depth")?,
            named_features: flag(r, "train named features")?,
            alone: flag(r, "train alone")?,
        })
    }
}

fn flag(r: &mut Reader<'_>, label: &'static str) -> Result<bool, TranscriptError> {
    match r.u64(label)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(TranscriptError::Form { label, expected: "0 or 1" }),
    }
}

impl Record for Grant {
    const DOMAIN: &'static str = "windvane/grant/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let families: Vec<u8> = self.families.iter().map(|f| *f as u8).collect();
        let t = t
            .bytes("id", &self.id.0)
            .text("provider", self.provider.as_str())
            .text("requester", self.requester.as_str())
            .list("data set", self.data_sets.iter().map(DataSet::as_str))
            .bytes("families", &families)
            .list("operation", self.operations.iter().map(|o| o.name()))
            .list("purpose", self.purposes.iter())
            .list("column", self.columns.iter())
            .u64("minimum result", self.minimum_result);
        self.train
            .write(self.psi.write(t))
            .list("score bands", self.score_bands.iter().map(|bands| bands.encode().into_bytes()))
            .u64("epoch hours", self.epoch_hours)
            .u64("rate per second", self.rate_per_s)
            .u64("per day", self.per_day)
            .u64("total", self.total)
            .u64("not before", self.not_before_ms)
            .u64("not after", self.not_after_ms)
            .u64("issued at", self.issued_at_ms)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            id: GrantId(r.array("id")?),
            provider: r.parse("provider")?,
            requester: r.parse("requester")?,
            data_sets: texts(r, "data set")?,
            families: read_any_families(r)?,
            operations: texts(r, "operation")?,
            purposes: texts(r, "purpose")?,
            columns: texts(r, "column")?,
            minimum_result: r.u64("minimum result")?,
            psi: PsiTerms::read(r)?,
            train: TrainTerms::read(r)?,
            score_bands: r.list("score bands", 1)?.first().map(|bands| Bands::decode(bands)).transpose()?,
            epoch_hours: r.u64("epoch hours")?,
            rate_per_s: r.u64("rate per second")?,
            per_day: r.u64("per day")?,
            total: r.u64("total")?,
            not_before_ms: r.u64("not before")?,
            not_after_ms: r.u64("not after")?,
            issued_at_ms: r.u64("issued at")?,
        })
    }
}

/// A list of short texts.
pub(crate) fn texts<T: FromStr>(r: &mut Reader<'_>, label: &'static str) -> Result<Vec<T>, TranscriptError> {
    let form = || TranscriptError::Form { label, expected: "short, well-formed texts" };
    r.list(label, MAX_GRANT_ITEMS)?
        .into_iter()
        .map(|item| {
            let text = std::str::from_utf8(item).ok().filter(|text| text.len() <= MAX_PURPOSE_BYTES);
            text.and_then(|text| text.parse().ok()).ok_or_else(form)
        })
        .collect()
}

/// Why a grant does not permit a use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// It was given to someone else, or by someone else.
    #[error("the grant is between other parties")]
    Parties,
    /// It begins later.
    #[error("the grant is not valid before {not_before_ms} ms")]
    NotYetValid {
        /// Its first moment.
        not_before_ms: u64,
    },
    /// It has ended.
    #[error("the grant expired at {not_after_ms} ms")]
    Expired {
        /// Its last moment.
        not_after_ms: u64,
    },
    /// It does not name this.
    #[error("the grant does not permit this {what}")]
    Scope {
        /// Data set, family, operation, purpose, or what terms of an operation leave out.
        what: &'static str,
    },
    /// A lookup would open rows for longer than it allows.
    #[error(
        "the epoch goes on for {hours} hours in all and the grant permits lookups in epochs of {permitted}; publish \
         shorter epochs (epoch_hours of the data set), or issue a grant for more (--epoch-hours)"
    )]
    Epoch {
        /// Hours from the epoch's publication to its end.
        hours: u64,
        /// What the grant permits.
        permitted: u64,
    },
}

/// A use to be held against a grant.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    /// Who asks.
    pub requester: &'a PartyId,
    /// Who is asked.
    pub provider: &'a PartyId,
    /// For which operation.
    pub operation: Operation,
    /// In which data set.
    pub data_set: &'a DataSet,
    /// With which families.
    pub families: &'a [Family],
    /// For which purpose.
    pub purpose: &'a str,
    /// How long the epoch goes on in which is looked up ([`Manifest::hours`]); none where nothing is looked up, or nobody
    /// knows it.
    ///
    /// [`Manifest::hours`]: crate::lookup::manifest::Manifest::hours
    pub epoch_hours: Option<u64>,
    /// Now, milliseconds of Unix time.
    pub now_ms: u64,
}

impl Grant {
    /// Whether the grant permits a use, quotas aside; those are counted where state is kept.
    ///
    /// # Errors
    /// [`GrantError`] with the first rule that forbids it.
    pub fn permits(&self, asked: &Use<'_>) -> Result<(), GrantError> {
        if self.requester != *asked.requester || self.provider != *asked.provider {
            return Err(GrantError::Parties);
        }
        if asked.now_ms < self.not_before_ms {
            return Err(GrantError::NotYetValid { not_before_ms: self.not_before_ms });
        }
        if asked.now_ms > self.not_after_ms {
            return Err(GrantError::Expired { not_after_ms: self.not_after_ms });
        }
        let scope = [
            (self.operations.contains(&asked.operation), "operation"),
            (self.data_sets.contains(asked.data_set), "data set"),
            (asked.families.iter().all(|f| self.families.contains(f)), "family"),
            (self.purposes.iter().any(|p| p == asked.purpose), "purpose"),
        ];
        match scope.into_iter().find(|(within, _)| !within) {
            Some((_, what)) => Err(GrantError::Scope { what }),
            None => asked.epoch_hours.map_or(Ok(()), |hours| self.permits_epoch(hours)),
        }
    }

    /// Whether a moment is within the grant's time; its end by a command is no part of it.
    pub const fn runs_at(&self, now_ms: u64) -> bool {
        self.not_before_ms <= now_ms && now_ms <= self.not_after_ms
    }

    /// Whether the grant permits lookups in an epoch that goes on for so many hours.
    ///
    /// # Errors
    /// [`GrantError::Epoch`].
    pub const fn permits_epoch(&self, hours: u64) -> Result<(), GrantError> {
        let permitted = self.epoch_hours;
        if hours > permitted { Err(GrantError::Epoch { hours, permitted }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::calibration::Band;

    fn grant() -> Grant {
        Grant {
            id: GrantId([7; 16]),
            provider: "carrier-a".parse().unwrap(),
            requester: "bank".parse().unwrap(),
            data_sets: vec!["subscribers".parse().unwrap()],
            families: vec![Family::Phone, Family::PhoneId],
            operations: vec![Operation::Verify],
            purposes: vec!["account_opening".into()],
            columns: vec![],
            minimum_result: 0,
            psi: PsiTerms {
                max_requester_rows: 1,
                max_provider_rows: 2,
                runs: 3,
                repeated_input: true,
                payload_columns: vec!["tag".into()],
            },
            train: TrainTerms {
                max_rows: 1,
                runs: 2,
                decoy_factor: 3,
                minimum_count: 4,
                max_blocks: 5,
                max_trees: 6,
                max_depth: 7,
                named_features: true,
                alone: true,
            },
            score_bands: Some(Bands::new(vec![Band { name: "low".into(), from: 0 }]).unwrap()),
            epoch_hours: 24,
            rate_per_s: 100,
            per_day: 1_000,
            total: 10_000,
            not_before_ms: 100,
            not_after_ms: 200,
            issued_at_ms: 50,
        }
    }

    #[test]
    fn a_grant_survives_its_encoding() {
        let encoding = grant().encode().into_bytes();
        assert_eq!(Grant::decode(&encoding), Ok(grant()));
        assert!((0..encoding.len()).all(|end| Grant::decode(&encoding[..end]).is_err()));
    }

    #[test]
    fn each_rule_that_forbids_is_named() {
        let (bank, carrier) = ("bank".parse().unwrap(), "carrier-a".parse().unwrap());
        let data_set = "subscribers".parse().unwrap();
        let fine = Use {
            requester: &bank,
            provider: &carrier,
            operation: Operation::Verify,
            data_set: &data_set,
            families: &[Family::Phone],
            purpose: "account_opening",
            epoch_hours: None,
            now_ms: 150,
        };
        let check = |asked: Use<'_>| grant().permits(&asked);
        assert_eq!(check(fine), Ok(()));
        assert_eq!(check(Use { requester: &carrier, ..fine }), Err(GrantError::Parties));
        assert_eq!(check(Use { now_ms: 99, ..fine }), Err(GrantError::NotYetValid { not_before_ms: 100 }));
        assert_eq!(check(Use { now_ms: 201, ..fine }), Err(GrantError::Expired { not_after_ms: 200 }));
        let scope = |what| Err(GrantError::Scope { what });
        assert_eq!(check(Use { operation: Operation::Psi, ..fine }), scope("operation"));
        assert_eq!(check(Use { families: &[Family::Id], ..fine }), scope("family"));
        assert_eq!(check(Use { purpose: "marketing", ..fine }), scope("purpose"));
        let other = "payments".parse().unwrap();
        assert_eq!(check(Use { data_set: &other, ..fine }), scope("data set"));
        assert_eq!(check(Use { epoch_hours: Some(24), ..fine }), Ok(()));
        let too_long = GrantError::Epoch { hours: 25, permitted: 24 };
        assert_eq!(check(Use { epoch_hours: Some(25), ..fine }), Err(too_long));
    }
}
