//! What is refused in a certificate, and what a node's TLS identity must agree on.

use rcgen::{CertificateParams, CustomExtension, IsCa, SanType};

use super::*;
use crate::store::MemoryStore;
use crate::testing::{self, NOW_MS, Party};

fn read(change: impl FnOnce(&mut CertificateParams)) -> Result<CertificateIdentity, IdentityError> {
    let leaf = testing::leaf(&testing::authority(), &Party::new("bank").request(), change);
    CertificateIdentity::from_der(&leaf)
}

fn refused(change: impl FnOnce(&mut CertificateParams)) -> &'static str {
    read(change).unwrap_err().code()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn extension(content: Vec<u8>) -> CustomExtension {
    CustomExtension::from_oid_content(&KEYS_EXTENSION, content)
}

#[test]
fn a_certificate_says_who_it_is_for_and_which_keys_it_binds() {
    let request = Party::new("bank").request();
    let leaf = testing::leaf(&testing::authority(), &request, |_| ());
    let said = CertificateIdentity::from_der(&leaf).unwrap();
    let expected = CertificateIdentity {
        party: "bank".parse().unwrap(),
        keys_digest: request.digest(),
        fingerprint_sha256: Sha256::digest(&leaf).into(),
        public_key: request.tls_public_key().to_vec(),
        // Random; its length is checked below.
        serial: said.serial.clone(),
        not_before_ms: NOW_MS,
        not_after_ms: NOW_MS + 86_400_000,
    };
    assert_eq!(said, expected);
    assert_eq!(said.serial.len(), 16);
}

#[test]
fn names_other_than_one_party_uri_are_refused() {
    let dns = || SanType::DnsName("bank".try_into().unwrap());
    assert_eq!(refused(|p| p.subject_alt_names.clear()), "CERTIFICATE_NAMES");
    assert_eq!(refused(|p| p.subject_alt_names = vec![dns()]), "CERTIFICATE_NAMES");
    assert_eq!(refused(|p| p.subject_alt_names.push(dns())), "CERTIFICATE_NAMES");
    assert_eq!(refused(|p| p.subject_alt_names.push(uri("windvane://party/bank"))), "CERTIFICATE_NAMES");
    for name in ["https://party/bank", "windvane://party/Bank", "windvane://party/", "windvane://party/a/b"] {
        assert_eq!(refused(|p| p.subject_alt_names = vec![uri(name)]), "CERTIFICATE_PARTY", "{name}");
    }
}

#[test]
fn a_certificate_without_exactly_one_keys_extension_of_64_bytes_is_refused() {
    let octets = |len: u8| [vec![4, len], vec![0; usize::from(len)]].concat();
    assert_eq!(refused(|p| p.custom_extensions.clear()), "CERTIFICATE_KEYS_EXTENSION");
    for content in [octets(63), octets(65), vec![0; 64], [octets(64), vec![0]].concat(), vec![]] {
        let code = refused(|p| p.custom_extensions = vec![extension(content)]);
        assert_eq!(code, "CERTIFICATE_KEYS_EXTENSION");
    }
    assert_eq!(refused(|p| p.custom_extensions.push(extension(octets(64)))), "CERTIFICATE_MALFORMED");
}

#[test]
fn an_authority_is_no_party_and_a_party_no_authority() {
    let authority = testing::authority().certificate().der.clone();
    assert_eq!(CertificateIdentity::from_der(&authority).unwrap_err().code(), "CERTIFICATE_IS_AUTHORITY");
    let ca = |p: &mut CertificateParams| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert_eq!(refused(ca), "CERTIFICATE_IS_AUTHORITY");
    let leaf = testing::leaf(&testing::authority(), &Party::new("bank").request(), |_| ());
    assert_eq!(AuthorityCertificate::from_der(&leaf).unwrap_err().code(), "CERTIFICATE_NOT_AUTHORITY");
    let no_usage = testing::leaf(&testing::authority(), &Party::new("bank").request(), ca);
    assert_eq!(AuthorityCertificate::from_der(&no_usage).unwrap_err().code(), "CERTIFICATE_NOT_AUTHORITY");
}

#[test]
fn truncated_and_trailing_bytes_are_refused() {
    let leaf = testing::leaf(&testing::authority(), &Party::new("bank").request(), |_| ());
    assert!((0..leaf.len()).all(|end| CertificateIdentity::from_der(&leaf[..end]).is_err()));
    let longer = [leaf.as_slice(), &[0]].concat();
    assert_eq!(CertificateIdentity::from_der(&longer).unwrap_err().code(), "CERTIFICATE_MALFORMED");
}

#[test]
fn the_tls_key_is_loaded_as_it_was_generated_and_prints_its_id_only() {
    let store = MemoryStore::new();
    let key = TlsKey::generate(&store, NOW_MS).unwrap();
    let loaded = TlsKey::load(&store).unwrap();
    assert_eq!((loaded.id(), loaded.public_key()), (key.id(), key.public_key()));
    assert_eq!(loaded.private_key().secret_der(), key.private_key().secret_der());
    assert_eq!(format!("{key:?}"), format!("TlsKey {{ id: {:?}, .. }}", key.id()));
}

#[test]
fn a_secret_that_is_no_p256_key_or_another_is_refused() {
    let (good, wrong) = (MemoryStore::new(), MemoryStore::new());
    let pkcs8 = TlsKey::generate(&good, NOW_MS).unwrap().pkcs8;
    let record = KeyRecord::with_public(Purpose::Tls, vec![1], NOW_MS);
    wrong.insert(&record, &pkcs8).unwrap();
    assert_eq!(TlsKey::load(&wrong).unwrap_err().code(), "KEY_FORM");
    let garbage = MemoryStore::new();
    garbage.insert(&record, &Secret::new(vec![1; 32])).unwrap();
    assert_eq!(TlsKey::load(&garbage).unwrap_err().code(), "TLS_KEY");
}

#[test]
fn key_and_certificate_must_belong_together() {
    let party = Party::new("bank");
    let leaf = testing::leaf(&testing::authority(), &party.request(), |_| ());
    let chain = || vec![CertificateDer::from(leaf.clone())];
    let identity = TlsIdentity::new(party.tls.clone(), chain()).unwrap();
    assert_eq!(identity.certificate().party.as_str(), "bank");
    let other = TlsIdentity::new(Party::new("carrier").tls, chain());
    assert_eq!(other.unwrap_err().code(), "CERTIFICATE_OTHER_KEY");
    assert_eq!(TlsIdentity::new(party.tls, vec![]).unwrap_err().code(), "CERTIFICATE_CHAIN_FILE");
}

#[test]
fn a_chain_file_holds_one_to_four_certificates_and_nothing_else() {
    let one = testing::authority().certificate_pem();
    let count = |text: &str| certificates_from_pem(text.as_bytes()).map(|chain| chain.len()).ok();
    assert_eq!(count(&one), Some(1));
    assert_eq!(count(&one.repeat(4)), Some(4));
    assert_eq!(count(&one.repeat(5)), None);
    assert_eq!(count(""), None);
    assert_eq!(count(&one.replace("CERTIFICATE", "PRIVATE KEY")), None);
    assert_eq!(count(&format!("{one}{}", " ".repeat(MAX_DOCUMENT_BYTES))), None);
}

#[test]
fn a_node_loads_its_identity_from_store_and_chain_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, path) = (MemoryStore::new(), dir.path().join("chain.pem"));
    let tls = TlsKey::generate(&store, NOW_MS).unwrap();
    let party = Party { tls, ..Party::new("bank") };
    let leaf = testing::leaf(&testing::authority(), &party.request(), |_| ());
    files::write_public(&path, certificate_to_pem(&leaf).as_bytes()).unwrap();
    let identity = TlsIdentity::load(&store, &path).unwrap();
    assert_eq!(identity.chain(), [CertificateDer::from(leaf)]);
    assert_eq!(identity.key().id(), party.tls.id());
}

#[test]
fn a_tls_key_is_renewed_without_a_moment_in_which_the_certificate_has_none() {
    let store = MemoryStore::new();
    let old = TlsKey::generate(&store, NOW_MS).unwrap();
    let next = TlsKey::next(&store, NOW_MS + 1).unwrap();
    assert_eq!(TlsKey::next(&store, NOW_MS + 2).unwrap().id(), next.id());
    assert_eq!(TlsKey::load(&store).unwrap().id(), old.id());
    for key in [&old, &next] {
        assert_eq!(TlsKey::load_for(&store, key.public_key()).unwrap().id(), key.id());
    }
    let changed = next.activate(&store).unwrap();
    let states: Vec<_> = changed.iter().map(|record| (record.id, record.state)).collect();
    assert_eq!(states, [(old.id(), State::Destroyed), (next.id(), State::Active)]);
    assert_eq!(next.activate(&store).unwrap(), []);
    assert_eq!(TlsKey::load(&store).unwrap().id(), next.id());
    assert_eq!(TlsKey::load_for(&store, old.public_key()).unwrap_err().code(), "CERTIFICATE_OTHER_KEY");
    // A certificate for the key in use leaves one that waits for a later one alone.
    let later = TlsKey::next(&store, NOW_MS + 3).unwrap();
    assert_eq!(next.activate(&store).unwrap(), []);
    assert_eq!(TlsKey::next(&store, NOW_MS + 4).unwrap().id(), later.id());
}
