//! An enrolment is accepted whole, or refused with the error of what is wrong.

use ed25519_dalek::SigningKey;
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyPair};

use windvane_protocols::transcript::{Transcript, sign};

use super::request::{DOMAIN, certificate_request};
use super::*;
use crate::authority::CertificateAuthority;
use crate::identity::{KEYS_EXTENSION, keys_extension_value};
use crate::store::MemoryStore;
use crate::testing::{self, NOW_MS, Party};

const DAY_MS: u64 = 86_400_000;

/// The parts of a request, to be put together wrongly.
struct Parts<'a> {
    party: &'a str,
    receipt_key: [u8; 32],
    log_key: [u8; 32],
    subject_tag_key: Vec<u8>,
    csr: Vec<u8>,
    signers: [&'a SigningKey; 2],
}

impl<'a> Parts<'a> {
    fn of(party: &'a Party) -> Self {
        Self {
            party: party.name,
            receipt_key: party.receipt.verifying_key().to_bytes(),
            log_key: party.log.verifying_key().to_bytes(),
            subject_tag_key: party.subject_tag.public().as_bytes().to_vec(),
            csr: certificate_request(&party.name.parse().unwrap(), &party.tls).unwrap(),
            signers: [party.receipt.signing_key(), party.log.signing_key()],
        }
    }

    fn read(&self) -> Result<EnrolmentRequest, EnrolmentError> {
        let encoding = Transcript::new(DOMAIN)
            .text("party", self.party)
            .bytes("receipt_key", &self.receipt_key)
            .bytes("log_key", &self.log_key)
            .bytes("subject_tag_key", &self.subject_tag_key)
            .bytes("certificate_request", &self.csr)
            .u64("created_at_ms", NOW_MS)
            .into_bytes();
        let signatures = self.signers.map(|signer| sign(signer, &encoding));
        EnrolmentRequest::from_document([encoding.as_slice(), signatures.as_flattened()].concat())
    }

    fn refused(&self) -> &'static str {
        self.read().unwrap_err().code()
    }
}

fn enrol(authority: &CertificateAuthority, party: &Party) -> Enrolment {
    authority.sign(&party.request(), 7, NOW_MS, &mut testing::rng()).unwrap()
}

fn refused(request: EnrolmentRequest, certificate: &[u8], authority: &CertificateAuthority) -> &'static str {
    let enrolment = Enrolment::new(request, certificate.to_vec(), &authority.certificate().der);
    enrolment.unwrap_err().code()
}

#[test]
fn a_request_survives_its_text() {
    let party = Party::new("bank");
    let request = EnrolmentRequest::from_pem(&party.request().to_pem()).unwrap();
    assert_eq!(request.party().as_str(), "bank");
    assert_eq!(*request.receipt_key(), party.receipt.verifying_key());
    assert_eq!(*request.log_key(), party.log.verifying_key());
    assert_eq!(request.subject_tag_key(), Some(party.subject_tag.public()));
    assert_eq!(request.tls_public_key(), party.tls.public_key());
    assert_eq!(request.created_at_ms(), NOW_MS);
    let without_tag = Parts { subject_tag_key: vec![], ..Parts::of(&party) };
    assert_eq!(without_tag.read().unwrap().subject_tag_key(), None);
}

#[test]
fn an_enrolment_survives_its_text_and_gives_a_partner() {
    let (authority, party) = (testing::authority(), Party::new("bank"));
    let enrolment = Enrolment::from_pem(&enrol(&authority, &party).to_pem()).unwrap();
    let partner = enrolment.verify(&authority.certificate().der, NOW_MS).unwrap();
    assert_eq!(partner.party.as_str(), "bank");
    assert_eq!(partner.receipt_key, party.receipt.verifying_key());
    assert_eq!(partner.log_key, party.log.verifying_key());
    assert_eq!(partner.subject_tag_key.as_ref(), Some(party.subject_tag.public()));
    assert_eq!(partner.keys_digest, enrolment.request().digest());
    assert_eq!(partner.certificate_fingerprint_sha256, enrolment.certificate().fingerprint_sha256);
    assert_eq!(partner.authority_der, authority.certificate().der);
    assert_eq!(partner.valid_until_ms, NOW_MS + 7 * DAY_MS);
}

#[test]
fn a_request_with_another_partys_key_is_refused() {
    let (mallory, bank) = (Party::new("mallory"), Party::new("bank"));
    let receipt = Parts { receipt_key: bank.receipt.verifying_key().to_bytes(), ..Parts::of(&mallory) };
    assert_eq!(receipt.refused(), "ENROLMENT_RECEIPT_SIGNATURE");
    let log = Parts { log_key: bank.log.verifying_key().to_bytes(), ..Parts::of(&mallory) };
    assert_eq!(log.refused(), "ENROLMENT_LOG_SIGNATURE");
    let tls = Parts { csr: Parts::of(&bank).csr, ..Parts::of(&mallory) };
    assert_eq!(tls.refused(), "ENROLMENT_CERTIFICATE_REQUEST");
    let mut parts = Parts::of(&mallory);
    let last = parts.csr.len() - 1;
    parts.csr[last] ^= 1;
    assert_eq!(parts.refused(), "ENROLMENT_CERTIFICATE_REQUEST_SIGNATURE");
}

#[test]
fn unusable_public_keys_are_refused() {
    let party = Party::new("bank");
    // The Edwards identity has order one: every message verifies under it.
    let mut weak = [0; 32];
    weak[0] = 1;
    assert_eq!(Parts { receipt_key: weak, ..Parts::of(&party) }.refused(), "ENROLMENT_PUBLIC_KEY");
    assert_eq!(Parts { log_key: weak, ..Parts::of(&party) }.refused(), "ENROLMENT_PUBLIC_KEY");
    for tag in [vec![0; 32], vec![0xff; 32], vec![1; 31]] {
        let parts = Parts { subject_tag_key: tag, ..Parts::of(&party) };
        assert_eq!(parts.refused(), "ENROLMENT_PUBLIC_KEY");
    }
    let same = Parts {
        log_key: party.receipt.verifying_key().to_bytes(),
        signers: [party.receipt.signing_key(); 2],
        ..Parts::of(&party)
    };
    assert_eq!(same.refused(), "ENROLMENT_SAME_KEY");
}

#[test]
fn a_certificate_request_for_another_kind_of_key_is_refused() {
    let party = Party::new("bank");
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let csr = CertificateParams::default().serialize_request(&pair).unwrap().der().to_vec();
        assert_eq!(Parts { csr, ..Parts::of(&party) }.refused(), "ENROLMENT_CERTIFICATE_REQUEST");
    }
    let mut parts = Parts::of(&party);
    parts.csr.push(0);
    assert_eq!(parts.refused(), "ENROLMENT_CERTIFICATE_REQUEST");
}

#[test]
fn every_flipped_byte_and_every_truncation_of_a_request_is_refused() {
    let document = Party::new("bank").request().document;
    for i in 0..document.len() {
        let mut other = document.clone();
        other[i] ^= 1;
        assert!(EnrolmentRequest::from_document(other).is_err(), "byte {i}");
        assert!(EnrolmentRequest::from_document(document[..i].to_vec()).is_err(), "length {i}");
    }
}

#[test]
fn a_request_beside_another_certificate_is_refused() {
    let (authority, bank) = (testing::authority(), Party::new("bank"));
    let enrolment = enrol(&authority, &bank);
    let carrier = Party::new("carrier-a").request();
    assert_eq!(refused(carrier, enrolment.certificate_der(), &authority), "ENROLMENT_PARTY");
    // Somebody else's keys under the same name, with the genuine certificate beside them.
    let imposter = Party { name: "bank", ..Party::new("mallory") }.request();
    assert_eq!(refused(imposter, enrolment.certificate_der(), &authority), "ENROLMENT_KEYS_DIGEST");
}

#[test]
fn a_tampered_extension_is_refused() {
    let (authority, bank) = (testing::authority(), Party::new("bank"));
    let enrolment = enrol(&authority, &bank);
    let mut tampered = enrolment.certificate_der().to_vec();
    let at = tampered.windows(64).position(|window| window == enrolment.request().digest()).unwrap();
    tampered[at] ^= 1;
    assert_eq!(refused(enrolment.request().clone(), &tampered, &authority), "ENROLMENT_KEYS_DIGEST");
    // Signed so by the authority itself: the binding still fails.
    let signed = testing::leaf(&authority, enrolment.request(), |params| {
        let value = keys_extension_value(&[7; 64]);
        params.custom_extensions = vec![CustomExtension::from_oid_content(&KEYS_EXTENSION, value)];
    });
    assert_eq!(refused(enrolment.request().clone(), &signed, &authority), "ENROLMENT_KEYS_DIGEST");
}

#[test]
fn a_certificate_for_another_tls_key_is_refused() {
    let (authority, bank) = (testing::authority(), Party::new("bank"));
    let request = bank.request();
    let validity = (NOW_MS, NOW_MS + DAY_MS);
    let params = crate::authority::leaf_params(&request, validity, &mut testing::rng()).unwrap();
    let certificate = authority.issue(&params, Party::new("mallory").tls.public_key()).unwrap();
    assert_eq!(refused(request, &certificate, &authority), "ENROLMENT_TLS_KEY");
}

#[test]
fn every_flipped_byte_of_both_certificates_is_refused() {
    let (authority, bank) = (testing::authority(), Party::new("bank"));
    let enrolment = enrol(&authority, &bank);
    let trusted = &authority.certificate().der;
    let accepted = |certificate: &[u8], beside: &[u8]| {
        Enrolment::new(enrolment.request().clone(), certificate.to_vec(), beside)
            .and_then(|enrolment| enrolment.verify(trusted, NOW_MS))
            .is_ok()
    };
    let flip = |der: &[u8], i: usize| {
        let mut der = der.to_vec();
        der[i] ^= 1;
        der
    };
    let leaf = enrolment.certificate_der();
    assert!(accepted(leaf, trusted));
    assert!((0..leaf.len()).all(|i| !accepted(&flip(leaf, i), trusted)));
    assert!((0..trusted.len()).all(|i| !accepted(leaf, &flip(trusted, i))));
}

#[test]
fn another_authority_is_refused_even_under_the_same_name() {
    let (trusted, foreign, bank) = (testing::authority(), testing::authority(), Party::new("bank"));
    let enrolment = enrol(&foreign, &bank);
    let error = enrolment.verify(&trusted.certificate().der, NOW_MS).unwrap_err();
    assert_eq!(error.code(), "FOREIGN_AUTHORITY");
    let beside_trusted = refused(enrolment.request().clone(), enrolment.certificate_der(), &trusted);
    assert_eq!(beside_trusted, "ENROLMENT_CHAIN");
}

#[test]
fn an_enrolment_is_accepted_only_within_its_validity() {
    let (authority, bank) = (testing::authority(), Party::new("bank"));
    let enrolment = enrol(&authority, &bank);
    let code_at = |now_ms| enrolment.verify(&authority.certificate().der, now_ms).err().map(|e| e.code());
    let certificate = enrolment.certificate();
    assert_eq!(code_at(certificate.not_before_ms), None);
    assert_eq!(code_at(certificate.not_after_ms), None);
    assert_eq!(code_at(certificate.not_after_ms + 1), Some("CERTIFICATE_EXPIRED"));
    assert_eq!(code_at(authority.certificate().not_after_ms + 1), Some("AUTHORITY_NOT_VALID"));
    assert_eq!(code_at(authority.certificate().not_before_ms - 1), Some("AUTHORITY_NOT_VALID"));
    let later = authority.sign(&bank.request(), 1, NOW_MS + DAY_MS, &mut testing::rng()).unwrap();
    let error = later.verify(&authority.certificate().der, NOW_MS).unwrap_err();
    assert_eq!(error.code(), "CERTIFICATE_NOT_YET_VALID");
}

#[test]
fn a_certificate_that_cannot_be_both_client_and_server_is_refused() {
    let (authority, request) = (testing::authority(), Party::new("bank").request());
    for usage in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        let leaf = testing::leaf(&authority, &request, |params| params.extended_key_usages = vec![usage]);
        let enrolment = Enrolment::new(request.clone(), leaf, &authority.certificate().der).unwrap();
        let error = enrolment.verify(&authority.certificate().der, NOW_MS).unwrap_err();
        assert_eq!(error.code(), "CERTIFICATE_USAGE");
    }
}

#[test]
fn a_node_recognises_its_own_enrolment() {
    let (authority, bank, other) = (testing::authority(), Party::new("bank"), Party::new("carrier-a"));
    let enrolment = enrol(&authority, &bank);
    enrolment.check_ours(&bank.receipt, &bank.log, &bank.tls).unwrap();
    let wrong = [
        enrolment.check_ours(&other.receipt, &bank.log, &bank.tls),
        enrolment.check_ours(&bank.receipt, &other.log, &bank.tls),
        enrolment.check_ours(&bank.receipt, &bank.log, &other.tls),
    ];
    assert!(wrong.into_iter().all(|result| result.unwrap_err().code() == "ENROLMENT_NOT_OURS"));
}

#[test]
fn other_blocks_headers_and_sizes_are_refused() {
    let (authority, bank) = (testing::authority(), Party::new("bank"));
    let enrolment = enrol(&authority, &bank);
    let (request, leaf) = (bank.request().to_pem(), enrolment.certificate_pem());
    let code = |text: &str| Enrolment::from_pem(text).unwrap_err().code();
    for text in ["", &request, &[request.as_str(), &leaf].concat(), &[leaf.as_str(), &leaf, &leaf].concat()] {
        assert_eq!(code(text), "ENROLMENT_ARMOUR");
    }
    let longer = |more: usize| enrolment.to_pem() + &leaf.repeat(more);
    assert_eq!(code(&longer(1)), "CERTIFICATE_NOT_AUTHORITY");
    assert_eq!(code(&longer(MAX_CHAIN_CERTIFICATES)), "ENROLMENT_ARMOUR");
    let headed = request.replacen("REQUEST-----\n", "REQUEST-----\nComment: x\n\n", 1);
    assert_eq!(EnrolmentRequest::from_pem(&headed).unwrap_err().code(), "ENROLMENT_ARMOUR");
    let long = request + &" ".repeat(MAX_DOCUMENT_BYTES);
    assert_eq!(EnrolmentRequest::from_pem(&long).unwrap_err().code(), "ENROLMENT_TOO_LARGE");
}

#[test]
fn an_authority_in_a_sealed_store_signs_after_it_is_opened_again() {
    use crate::passphrase::Passphrase;
    use crate::store::FileStore;
    let (dir, bank) = (tempfile::tempdir().unwrap(), Party::new("bank"));
    let passphrase = Passphrase::new(b"correct horse".to_vec()).unwrap();
    let path = dir.path().join("authority");
    let store = FileStore::create(&path, &passphrase).unwrap();
    let made = CertificateAuthority::create(&store, "试点 CA", 30, NOW_MS, &mut testing::rng()).unwrap();
    let opened = CertificateAuthority::open(&FileStore::open(&path, &passphrase).unwrap()).unwrap();
    enrol(&opened, &bank).verify(&made.certificate().der, NOW_MS).unwrap();
    assert_eq!(CertificateAuthority::open(&MemoryStore::new()).unwrap_err().code(), "KEY_MISSING");
}
