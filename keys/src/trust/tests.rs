//! An authority speaks for its own parties and for nobody else's, and what it revoked stays revoked.

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
};

use super::*;
use crate::authority::CertificateAuthority;
use crate::enrolment::EnrolmentRequest;
use crate::store::MemoryStore;
use crate::testing::{self, NOW_MS, Party};

const DAY_MS: u64 = 86_400_000;

fn authority(name: &str) -> CertificateAuthority {
    let rng = &mut testing::rng();
    CertificateAuthority::create(&MemoryStore::new(), name, 30, NOW_MS, rng).unwrap()
}

fn enrol(authority: &CertificateAuthority, request: &EnrolmentRequest) -> Enrolment {
    authority.sign(request, 7, NOW_MS, &mut testing::rng()).unwrap()
}

fn anchor(authority: &CertificateAuthority, parties: &[&str]) -> Anchor {
    let parties = parties.iter().map(|party| party.parse().unwrap()).collect();
    Anchor { certificate: authority.certificate().clone(), parties }
}

/// What the trust says of an enrolment: as a partner's, and of the same certificates in TLS.
fn codes(trust: &Trust, enrolment: &Enrolment, now_ms: u64) -> [&'static str; 2] {
    let partner = trust.partner(enrolment, now_ms).err().map_or("", |error| error.code());
    let checked = trust.check(&enrolment.chain(), End::Client, now_ms);
    [partner, checked.err().map_or("", |error| error.code())]
}

fn with_list(trust: Trust, authority: &CertificateAuthority, serials: &[&[u8]]) -> Trust {
    let list = authority.revoke(None, serials, 1, NOW_MS).unwrap();
    let id = Trust::issuer_id(&authority.certificate().public_key);
    trust.with_lists([(id, list)].into())
}

#[test]
fn without_anchors_the_nodes_own_authority_speaks_for_everybody() {
    let (ours, theirs) = (authority("Ours"), authority("Theirs"));
    let trust = Trust::new(ours.certificate().clone());
    let request = Party::new("carrier").request();
    assert_eq!(codes(&trust, &enrol(&ours, &request), NOW_MS), ["", ""]);
    let foreign = enrol(&theirs, &request);
    assert_eq!(codes(&trust, &foreign, NOW_MS), ["FOREIGN_AUTHORITY", "CERTIFICATE_PATH"]);
}

#[test]
fn one_organisations_authority_never_issues_for_anothers_party() {
    let (ours, one, other) = (authority("Ours"), authority("One"), authority("Other"));
    let anchors = vec![anchor(&one, &["one", "one-b"]), anchor(&other, &["other"])];
    let trust = Trust::new(ours.certificate().clone()).with_anchors(anchors);
    let refused = ["FOREIGN_AUTHORITY", "CERTIFICATE_PATH"];
    let issuers = [(&ours, ["free", ""]), (&one, ["one", "one-b"]), (&other, ["other", ""])];
    for party in ["one", "one-b", "other", "free"] {
        let request = Party::new(party).request();
        for (issuer, parties) in &issuers {
            let expected = if parties.contains(&party) { ["", ""] } else { refused };
            assert_eq!(codes(&trust, &enrol(issuer, &request), NOW_MS), expected, "{party}");
        }
    }
}

#[test]
fn the_nodes_own_authority_can_be_bound_like_any_other() {
    let ours = authority("Ours");
    let trust = Trust::new(ours.certificate().clone()).with_anchors(vec![anchor(&ours, &["bank"])]);
    assert_eq!(codes(&trust, &enrol(&ours, &Party::new("bank").request()), NOW_MS), ["", ""]);
    let other = enrol(&ours, &Party::new("carrier").request());
    assert_eq!(codes(&trust, &other, NOW_MS), ["FOREIGN_AUTHORITY", "CERTIFICATE_PATH"]);
}

#[test]
fn a_revoked_certificate_is_refused_and_another_of_the_same_party_is_not() {
    let ours = authority("Ours");
    let request = Party::new("carrier").request();
    let revoked = enrol(&ours, &request);
    let renewed = ours.sign(&request, 8, NOW_MS, &mut rand::rng()).unwrap();
    let serial = revoked.certificate().serial.as_slice();
    let trust = with_list(Trust::new(ours.certificate().clone()), &ours, &[serial]);
    assert_eq!(codes(&trust, &revoked, NOW_MS), ["CERTIFICATE_REVOKED"; 2]);
    assert_eq!(codes(&trust, &renewed, NOW_MS), ["", ""]);
}

#[test]
fn a_node_learns_that_its_own_certificate_was_revoked_whomever_its_authority_is_bound_to() {
    let ours = authority("Ours");
    let request = Party::new("bank").request();
    let revoked = enrol(&ours, &request);
    let renewed = ours.sign(&request, 8, NOW_MS, &mut rand::rng()).unwrap();
    let serial = revoked.certificate().serial.as_slice();
    let free = with_list(Trust::new(ours.certificate().clone()), &ours, &[serial]);
    let bound = free.clone().with_anchors(vec![anchor(&ours, &["carrier"])]);
    for trust in [&free, &bound] {
        assert!(trust.own_is_revoked(&revoked.chain(), NOW_MS));
        assert!(!trust.own_is_revoked(&renewed.chain(), NOW_MS));
    }
}

#[test]
fn an_overdue_list_still_revokes_and_refuses_the_rest_only_where_that_is_chosen() {
    let ours = authority("Ours");
    let (revoked, good) = (Party::new("carrier").request(), Party::new("bank").request());
    let (revoked, good) = (enrol(&ours, &revoked), ours.sign(&good, 7, NOW_MS, &mut rand::rng()).unwrap());
    let serial = revoked.certificate().serial.as_slice();
    let trust = with_list(Trust::new(ours.certificate().clone()), &ours, &[serial]);
    let later = NOW_MS + 2 * DAY_MS;
    assert_eq!(codes(&trust, &revoked, later), ["CERTIFICATE_REVOKED"; 2]);
    assert_eq!(codes(&trust, &good, later), ["", ""]);
    let strict = trust.refusing_overdue(true);
    assert_eq!(codes(&strict, &good, NOW_MS), ["", ""]);
    assert_eq!(codes(&strict, &good, later), ["REVOCATION_LIST_OVERDUE"; 2]);
}

#[test]
fn time_and_usage_are_checked_too() {
    let ours = authority("Ours");
    let trust = Trust::new(ours.certificate().clone());
    let request = Party::new("bank").request();
    let enrolment = enrol(&ours, &request);
    assert_eq!(codes(&trust, &enrolment, NOW_MS + 8 * DAY_MS), ["CERTIFICATE_EXPIRED", "CERTIFICATE_PATH"]);
    let server = [rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = testing::leaf(&ours, &request, |params| params.extended_key_usages = server.to_vec());
    let chain = [CertificateDer::from(leaf)];
    assert!(trust.check(&chain, End::Server, NOW_MS).is_ok());
    assert_eq!(trust.check(&chain, End::Client, NOW_MS).unwrap_err().code(), "CERTIFICATE_PATH");
    assert_eq!(trust.check(&[], End::Client, NOW_MS).unwrap_err().code(), "CERTIFICATE_CHAIN_FILE");
    let long = vec![chain[0].clone(); MAX_CHAIN_CERTIFICATES + 1];
    assert_eq!(trust.check(&long, End::Client, NOW_MS).unwrap_err().code(), "CERTIFICATE_CHAIN_FILE");
}

/// An authority with another below it, as organisations have them.
struct Levels {
    root: Vec<u8>,
    root_issuer: Issuer<'static, KeyPair>,
    intermediate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

fn ca(name: &str, depth: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(depth));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params
}

impl Levels {
    fn new() -> Self {
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = ca("Root", 1).self_signed(&root_key).unwrap().der().to_vec();
        let root_issuer = Issuer::new(ca("Root", 1), root_key);
        let mut params = ca("Intermediate", 0);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x55, 1]));
        let intermediate = params.signed_by(&key, &root_issuer).unwrap().der().to_vec();
        Self { root, root_issuer, intermediate, issuer: Issuer::new(ca("Intermediate", 0), key) }
    }

    fn enrol(&self, request: &EnrolmentRequest) -> Enrolment {
        let validity = (NOW_MS, NOW_MS + DAY_MS);
        let params = crate::authority::leaf_params(request, validity, &mut testing::rng()).unwrap();
        let key = rcgen::SubjectPublicKeyInfo::from_der(request.tls_public_key()).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        let chain = vec![leaf, self.intermediate.clone()];
        Enrolment::with_chain(request.clone(), chain, &self.root).unwrap()
    }

    fn trust(&self) -> Trust {
        Trust::new(AuthorityCertificate::from_der(&self.root).unwrap())
    }

    /// A list of one certificate, by the root or by the intermediate.
    fn list(&self, issuer: &Issuer<'static, KeyPair>, serial: &[u8]) -> ([u8; 32], RevocationList) {
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 2, 1),
            next_update: rcgen::date_time_ymd(2026, 12, 1),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![rcgen::RevokedCertParams {
                serial_number: rcgen::SerialNumber::from_slice(serial),
                revocation_time: rcgen::date_time_ymd(2026, 2, 1),
                reason_code: Some(rcgen::RevocationReason::KeyCompromise),
                invalidity_date: None,
            }],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = RevocationList::from_der(list.signed_by(issuer).unwrap().der()).unwrap();
        (Trust::issuer_id(&issuer.key().subject_public_key_info()), list)
    }
}

#[test]
fn chains_with_intermediates_work_and_survive_their_text() {
    let levels = Levels::new();
    let enrolment = levels.enrol(&Party::new("bank").request());
    assert_eq!(Enrolment::from_pem(&enrolment.to_pem()).unwrap(), enrolment);
    assert_eq!(codes(&levels.trust(), &enrolment, NOW_MS), ["", ""]);
    let alone = &enrolment.chain()[..1];
    assert_eq!(levels.trust().check(alone, End::Client, NOW_MS).unwrap_err().code(), "CERTIFICATE_PATH");
    let without = vec![enrolment.certificate_der().to_vec()];
    let refused = Enrolment::with_chain(enrolment.request().clone(), without, &levels.root);
    assert_eq!(refused.unwrap_err().code(), "ENROLMENT_CHAIN");
}

#[test]
fn a_revoked_intermediate_takes_its_certificates_with_it_and_lists_are_told_apart_by_issuer() {
    let levels = Levels::new();
    let enrolment = levels.enrol(&Party::new("bank").request());
    let serial = enrolment.certificate().serial.clone();
    for (issuer, serial, expected) in [
        (&levels.issuer, serial.as_slice(), "CERTIFICATE_REVOKED"),
        (&levels.root_issuer, &[0x55, 1], "CERTIFICATE_REVOKED"),
        // The same numbers under the other issuer are other certificates.
        (&levels.root_issuer, serial.as_slice(), ""),
        (&levels.issuer, &[0x55, 1], ""),
    ] {
        let trust = levels.trust().with_lists([levels.list(issuer, serial)].into());
        assert_eq!(codes(&trust, &enrolment, NOW_MS), [expected; 2]);
    }
}
