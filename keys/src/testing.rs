//! What the tests share: one seed for all randomness, a time, an authority and a party with all its keys.

use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use rcgen::CertificateParams;
use windvane_protocols::oprf::PrivateKey;

use crate::authority::{self, CertificateAuthority};
use crate::enrolment::EnrolmentRequest;
use crate::identity::TlsKey;
use crate::rotation;
use crate::signing::{LogKey, ReceiptKey};
use crate::store::MemoryStore;

/// The seed of every test's randomness.
pub(crate) const SEED: u64 = 0x5749_4e44_5641_4e45;

/// The tests' time, 2026-03-01T00:00:00Z.
pub(crate) const NOW_MS: u64 = 1_772_323_200_000;

/// A generator from the seed, which is logged.
#[expect(clippy::print_stderr, reason = "a failing test must show its seed")]
pub(crate) fn rng() -> ChaCha20Rng {
    eprintln!("seed {SEED:#x}");
    ChaCha20Rng::seed_from_u64(SEED)
}

/// An authority that is valid for 30 days.
pub(crate) fn authority() -> CertificateAuthority {
    CertificateAuthority::create(&MemoryStore::new(), "Trial", 30, NOW_MS, &mut rng()).unwrap()
}

/// A certificate for the request that differs from a good one in what `change` does.
pub(crate) fn leaf(
    authority: &CertificateAuthority,
    request: &EnrolmentRequest,
    change: impl FnOnce(&mut CertificateParams),
) -> Vec<u8> {
    let validity = (NOW_MS, NOW_MS + 24 * 60 * 60 * 1_000);
    let mut params = authority::leaf_params(request, validity, &mut rng()).unwrap();
    change(&mut params);
    authority.issue(&params, request.tls_public_key()).unwrap()
}

/// A party with all its keys, in memory.
pub(crate) struct Party {
    pub(crate) name: &'static str,
    pub(crate) receipt: ReceiptKey,
    pub(crate) log: LogKey,
    pub(crate) subject_tag: PrivateKey,
    pub(crate) tls: TlsKey,
}

impl Party {
    /// Fresh keys; two parties of one test differ because their names do.
    pub(crate) fn new(name: &'static str) -> Self {
        let (store, mut rng) = (MemoryStore::new(), ChaCha20Rng::seed_from_u64(SEED ^ name.len() as u64));
        Self {
            name,
            receipt: ReceiptKey::generate(&store, NOW_MS, &mut rng).unwrap(),
            log: LogKey::generate(&store, NOW_MS, &mut rng).unwrap(),
            subject_tag: rotation::generate_subject_tag(&store, NOW_MS, &mut rng).unwrap(),
            tls: TlsKey::generate(&store, NOW_MS).unwrap(),
        }
    }

    /// The party's request.
    pub(crate) fn request(&self) -> EnrolmentRequest {
        let party = self.name.parse().unwrap();
        let tag = Some(&self.subject_tag);
        EnrolmentRequest::create(&party, &self.receipt, &self.log, tag, &self.tls, NOW_MS).unwrap()
    }
}
