//! The key-encryption key: derived from a passphrase with Argon2id, used with AES-256-GCM.
//!
//! A store's `kek` file holds salt and parameters in the [`Transcript`] encoding, an AES-GCM tag over them
//! that tells a wrong passphrase, and a digest that tells a damaged file from a wrong passphrase.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use rand::TryRng as _;
use rand::rngs::SysRng;
use windvane_protocols::secret::Secret;
use windvane_protocols::transcript::{Reader, Transcript, TranscriptError, digest};
use zeroize::Zeroizing;

use crate::passphrase::Passphrase;

const DOMAIN: &str = "windvane/key-encryption/v1";
const KDF: &str = "argon2id-19";

/// Argon2id as OWASP's password storage cheat sheet gives it: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Most memory that a `kek` file can ask us to use: 1 GiB.
const MAX_MEMORY_KIB: u32 = 1 << 20;
/// Most passes and lanes that a `kek` file can ask for.
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 16;

/// Why a `kek` file gives no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KekError {
    /// The passphrase is another.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The file is not as it was written.
    #[error("damaged")]
    Damaged,
    /// The operating system has no randomness, or the memory is short.
    #[error("no randomness or no memory")]
    Resources,
}

impl From<TranscriptError> for KekError {
    fn from(_: TranscriptError) -> Self {
        Self::Damaged
    }
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], KekError> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|_| KekError::Resources)?;
    Ok(bytes)
}

/// A sealed secret: AES-256-GCM under a random 96-bit nonce. A store seals far fewer than the 2^32 messages
/// that random nonces allow (NIST SP 800-38D, section 8.3).
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) nonce: [u8; 12],
    pub(crate) ciphertext: Vec<u8>,
}

/// The key-encryption key.
pub(crate) struct Kek(Secret<[u8; 32]>);

impl Kek {
    /// A key under a fresh salt, and the `kek` file from which the passphrase gives it again.
    pub(crate) fn create(passphrase: &Passphrase) -> Result<(Self, Vec<u8>), KekError> {
        let salt = random::<16>()?;
        let parameters = Transcript::new(DOMAIN)
            .text("kdf", KDF)
            .u64("memory_kib", MEMORY_KIB.into())
            .u64("passes", PASSES.into())
            .u64("lanes", LANES.into())
            .bytes("salt", &salt);
        let kek = Self::derive(passphrase, &salt, MEMORY_KIB, PASSES, LANES)?;
        let check = kek.seal(parameters.as_bytes(), &[])?;
        let file = parameters.bytes("nonce", &check.nonce).bytes("check", &check.ciphertext);
        let digest = file.digest();
        Ok((kek, file.bytes("digest", &digest).into_bytes()))
    }

    /// The key that a `kek` file and its passphrase give.
    pub(crate) fn open(file: &[u8], passphrase: &Passphrase) -> Result<Self, KekError> {
        let mut reader = Reader::new(file, DOMAIN)?;
        if reader.text("kdf")? != KDF {
            return Err(KekError::Damaged);
        }
        let memory_kib = bounded(&mut reader, "memory_kib", MAX_MEMORY_KIB)?;
        let passes = bounded(&mut reader, "passes", MAX_PASSES)?;
        let lanes = bounded(&mut reader, "lanes", MAX_LANES)?;
        let salt = reader.array::<16>("salt")?;
        let (nonce, check) = (reader.array::<12>("nonce")?, reader.array::<16>("check")?);
        let expected = reader.array::<64>("digest")?;
        reader.finish()?;
        let (covered, _) = file.split_at(file.len() - item_len("digest", 64));
        if digest(covered) != expected {
            return Err(KekError::Damaged);
        }
        let (parameters, _) = covered.split_at(covered.len() - item_len("nonce", 12) - item_len("check", 16));
        let kek = Self::derive(passphrase, &salt, memory_kib, passes, lanes)?;
        let sealed = Sealed { nonce, ciphertext: check.to_vec() };
        kek.unseal(parameters, &sealed).ok_or(KekError::WrongPassphrase)?;
        Ok(kek)
    }

    fn derive(
        passphrase: &Passphrase,
        salt: &[u8],
        memory_kib: u32,
        passes: u32,
        lanes: u32,
    ) -> Result<Self, KekError> {
        let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(|_| KekError::Damaged)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.expose(), salt, key.as_mut())
            .map_err(|_| KekError::Resources)?;
        Ok(Self(Secret::new(*key)))
    }

    /// Seals a secret together with what stands beside it in clear.
    pub(crate) fn seal(&self, clear: &[u8], secret: &[u8]) -> Result<Sealed, KekError> {
        let nonce = random::<12>()?;
        let ciphertext = self
            .cipher()
            .encrypt(&Nonce::from(nonce), Payload { msg: secret, aad: clear })
            .map_err(|_| KekError::Resources)?;
        Ok(Sealed { nonce, ciphertext })
    }

    /// Opens what [`Self::seal`] made; nothing when a bit of either part differs.
    pub(crate) fn unseal(&self, clear: &[u8], sealed: &Sealed) -> Option<Secret<Vec<u8>>> {
        let payload = Payload { msg: &sealed.ciphertext, aad: clear };
        self.cipher().decrypt(&Nonce::from(sealed.nonce), payload).ok().map(Secret::new)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(self.0.expose().into())
    }
}

/// Bytes of one transcript item.
const fn item_len(label: &str, len: usize) -> usize {
    2 + label.len() + 4 + len
}

fn bounded(reader: &mut Reader<'_>, label: &'static str, max: u32) -> Result<u32, KekError> {
    let value = reader.number::<u32>(label)?;
    if value <= max { Ok(value) } else { Err(KekError::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_same_passphrase_gives_the_same_key_and_another_is_told_apart() {
        let (kek, file) = Kek::create(&passphrase("correct horse")).unwrap();
        let again = Kek::open(&file, &passphrase("correct horse")).unwrap();
        let sealed = kek.seal(b"clear", b"secret").unwrap();
        assert_eq!(again.unseal(b"clear", &sealed).unwrap().expose(), b"secret");
        let wrong = Kek::open(&file, &passphrase("correct horse ")).err().unwrap();
        assert!(matches!(wrong, KekError::WrongPassphrase));
    }

    #[test]
    fn every_flipped_byte_of_the_file_is_damage_and_costs_no_derivation() {
        let (_, file) = Kek::create(&passphrase("correct horse")).unwrap();
        for i in 0..file.len() {
            let mut other = file.clone();
            other[i] ^= 0x80;
            let error = Kek::open(&other, &passphrase("correct horse")).err().unwrap();
            assert!(matches!(error, KekError::Damaged), "byte {i}");
        }
    }

    #[test]
    fn parameters_beyond_their_limits_are_refused_before_memory_is_taken() {
        let parameters = Transcript::new(DOMAIN).text("kdf", KDF).u64("memory_kib", u64::from(u32::MAX));
        let error = Kek::open(parameters.as_bytes(), &passphrase("correct horse")).err().unwrap();
        assert!(matches!(error, KekError::Damaged));
    }

    #[test]
    fn another_nonce_text_or_tag_does_not_open() {
        let (kek, _) = Kek::create(&passphrase("correct horse")).unwrap();
        let sealed = kek.seal(b"clear", b"secret").unwrap();
        assert!(kek.unseal(b"other", &sealed).is_none());
        let nonce = Sealed { nonce: [0; 12], ciphertext: sealed.ciphertext.clone() };
        assert!(kek.unseal(b"clear", &nonce).is_none());
        assert!((0..sealed.ciphertext.len()).all(|i| {
            let mut ciphertext = sealed.ciphertext.clone();
            ciphertext[i] ^= 1;
            kek.unseal(b"clear", &Sealed { nonce: sealed.nonce, ciphertext }).is_none()
        }));
    }
}
