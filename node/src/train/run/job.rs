//! A training under way: what it lists, what it knows, and with whom it talks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::limits::{MAX_CIPHERTEXTS_PER_CHUNK, MAX_TRAINING_SUM};
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::boosting::Unit;
use windvane_protocols::train::decode::{DecodeError, Decoder};
use windvane_protocols::train::elgamal::{ElGamalError, Encryptor, Statistic, TrainingKey, TrainingSeed};
use windvane_protocols::train::parameters::LABEL;
use windvane_protocols::transcript::{Hash, Transcript};
use zeroize::Zeroizing;

use super::error::{ANEW, TrainError};
use super::folder::TrainFolder;
use super::growing::Decryption;
use super::journal::Fact;
use super::plan::Checked;
use crate::identity::NodeKeys;
use crate::train::features::Features;
use crate::train::sample::{Kind, Listed};

/// How many times a label's distance a residual may come to before sums are no longer found; it stays far below.
const RESIDUAL_REACH: u64 = 4;

/// The secrets of a training: the seed of key and encryption, and what salts and lists follow from.
#[derive(Debug, Clone)]
pub(in crate::train) struct Secrets {
    seed: TrainingSeed,
    root: Zeroizing<[u8; 32]>,
}

impl Secrets {
    pub(in crate::train) const NAME: &'static str = "secrets";

    pub(super) fn fresh() -> Self {
        Self { seed: TrainingSeed::random(&mut rand::rng()), root: Zeroizing::new(rand::random()) }
    }

    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.seed.expose().as_slice(), self.root.as_slice()].concat())
    }

    /// Reads the secrets of a training's folder.
    pub(in crate::train) fn read(folder: &TrainFolder, key: &StorageKey) -> Result<Option<Self>, TrainError> {
        let Some(bytes) = folder.unseal(Self::NAME, key)? else { return Ok(None) };
        let path = folder.path().join(Self::NAME);
        let halves = bytes.split_first_chunk::<32>().and_then(|(a, b)| Some((a, b.first_chunk::<32>()?)));
        let (seed, root) = halves.ok_or(TrainError::Folder { path, what: "it is too short".into() })?;
        Ok(Some(Self { seed: TrainingSeed::from_bytes(*seed), root: Zeroizing::new(*root) }))
    }

    /// Whoever has it decrypts everything.
    pub(super) const fn seed(&self) -> &TrainingSeed {
        &self.seed
    }

    pub(in crate::train) fn key(&self) -> TrainingKey {
        TrainingKey::derive(&self.seed)
    }

    /// What lists and held-out rows follow from.
    pub(in crate::train) fn lists(&self) -> &[u8; 32] {
        &self.root
    }

    /// The salt of a commitment: another one for each purpose.
    fn salt(&self, purpose: &str) -> [u8; 32] {
        let t = Transcript::new("windvane/train-salt/v1").bytes("root", self.root.as_slice());
        *t.text("purpose", purpose).digest().first_chunk().expect("a hash has 64 bytes")
    }

    /// What a request to this provider commits to.
    pub(in crate::train) fn commitment(&self, provider: &str) -> [u8; 32] {
        self.seed.commitment(&self.salt(provider))
    }

    /// The salt of the commitment to the result in the bank's own log.
    pub(super) fn result_salt(&self) -> [u8; 32] {
        // No party's name has a space.
        self.salt("the result")
    }
}

/// A training under way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) checked: Checked,
    pub(super) universe: Universe,
    pub(super) listed: Listed,
    pub(super) features: Features,
    /// The bank's own rows.
    pub(super) own: Unit,
    pub(super) secrets: Secrets,
    pub(super) key: TrainingKey,
    pub(super) decoder: Decoder,
    keys: Arc<NodeKeys>,
    folder: Mutex<TrainFolder>,
    /// How this bank cheats.
    #[cfg(feature = "faults")]
    pub(super) craft: Option<super::Craft>,
}

impl Job {
    #[expect(clippy::too_many_arguments, reason = "each is another part of a training")]
    pub(super) fn new(
        checked: Checked,
        universe: Universe,
        listed: Listed,
        features: Features,
        own: Unit,
        secrets: Secrets,
        keys: Arc<NodeKeys>,
        folder: TrainFolder,
    ) -> Result<Self, TrainError> {
        let decoder = decoder(listed.real()).map_err(|error| TrainError::Encryption(error.into()))?;
        let (key, folder) = (secrets.key(), Mutex::new(folder));
        Ok(Self {
            checked,
            universe,
            listed,
            features,
            own,
            secrets,
            key,
            decoder,
            keys,
            folder,
            #[cfg(feature = "faults")]
            craft: None,
        })
    }

    /// The training's folder. Held for a moment only.
    pub(super) fn folder(&self) -> MutexGuard<'_, TrainFolder> {
        // A panic while it was held left the journal at a whole line, or at one that is dropped.
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What sealed files are sealed under.
    pub(super) fn storage(&self) -> &StorageKey {
        &self.keys.storage
    }

    /// By what sums are decrypted.
    pub(super) fn decryption(&self) -> Decryption<'_> {
        Decryption { key: &self.key, decoder: &self.decoder, threads: self.threads() }
    }

    pub(super) fn threads(&self) -> usize {
        self.checked.plan.threads.max(1)
    }

    /// The indicator, encrypted: 1 for rows to train on.
    pub(super) fn indicator(&self) -> Result<(Bytes, Hash), TrainError> {
        let values = indicator(&self.listed);
        #[cfg(feature = "faults")]
        let values = self.crafted_indicator(values);
        self.encrypted(Statistic::Indicator, &values)
    }

    /// The held-out rows, encrypted.
    pub(super) fn held_out(&self) -> Result<(Bytes, Hash), TrainError> {
        let values = held_out(&self.listed);
        self.encrypted(Statistic::HeldOut, &values)
    }

    /// Encrypts a statistic, and notes its digest before it can leave: who resumes with other values, by another build
    /// or on a changed folder, would encrypt both under one seed, and their difference could be read.
    pub(super) fn encrypted(
        &self,
        statistic: Statistic,
        values: &[i64],
    ) -> Result<(Bytes, Hash), TrainError> {
        let (bytes, digest) =
            encrypt(&self.key, statistic, values, self.threads()).map_err(TrainError::Encryption)?;
        let (number, hex) = (statistic.number(), hex::encode(digest));
        let mut folder = self.folder();
        match folder.state().encrypted(number) {
            Some(known) if known == hex => {}
            Some(_) => {
                let what = format!("a statistic is not what was encrypted before; {ANEW}");
                return Err(TrainError::Folder { path: folder.path().to_owned(), what });
            }
            None => folder.note(&Fact::Encrypted { statistic: number, digest: hex })?,
        }
        Ok((bytes, digest))
    }
}

/// Finds sums over so many real rows.
pub(in crate::train) fn decoder(real: usize) -> Result<Decoder, DecodeError> {
    let most = (real as u64).saturating_mul(RESIDUAL_REACH * LABEL.unsigned_abs());
    Decoder::new(most.min(MAX_TRAINING_SUM))
}

/// 1 for rows to train on.
pub(in crate::train) fn indicator(listed: &Listed) -> Vec<i64> {
    listed.kinds().iter().map(|kind| i64::from(matches!(kind, Kind::Training(_)))).collect()
}

/// 1 for rows that are held out.
pub(in crate::train) fn held_out(listed: &Listed) -> Vec<i64> {
    listed.kinds().iter().map(|kind| i64::from(matches!(kind, Kind::HeldOut(_)))).collect()
}

/// A statistic as it is uploaded, and its digest.
pub(in crate::train) fn encrypt(
    key: &TrainingKey,
    statistic: Statistic,
    values: &[i64],
    threads: usize,
) -> Result<(Bytes, Hash), ElGamalError> {
    let mut encryptor = Encryptor::new(key, statistic, values.len())?;
    let mut bytes = Vec::new();
    for chunk in values.chunks(MAX_CIPHERTEXTS_PER_CHUNK) {
        bytes.extend_from_slice(encryptor.chunk(chunk, threads)?.as_flattened());
    }
    Ok((bytes.into(), encryptor.finish()?))
}

/// Works on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    job: &Arc<Job>,
    work: impl FnOnce(&Job) -> Result<T, TrainError> + Send + 'static,
) -> Result<T, TrainError> {
    let job = job.clone();
    let stopped = |_| TrainError::given("INTERNAL", "a worker stopped");
    tokio::task::spawn_blocking(move || work(&job)).await.map_err(stopped)?
}
