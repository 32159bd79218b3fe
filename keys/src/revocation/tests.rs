//! A list is read whole or refused, and the later of two is known.

use super::*;
use crate::authority::CertificateAuthority;
use crate::testing::{self, NOW_MS};

const HOUR_MS: u64 = 3_600_000;

fn list(
    authority: &CertificateAuthority,
    before: Option<&RevocationList>,
    serials: &[&[u8]],
) -> RevocationList {
    authority.revoke(before, serials, 7, NOW_MS).unwrap()
}

#[test]
fn a_list_says_what_was_revoked_and_survives_its_text() {
    let authority = testing::authority();
    let first = list(&authority, None, &[&[0x41, 2, 3], &[0, 0x80, 1]]);
    assert_eq!((first.number().as_str(), first.len(), first.is_empty()), ("01", 2, false));
    assert!(first.revokes(&[0x41, 2, 3]) && first.revokes(&[0x80, 1]) && first.revokes(&[0, 0x80, 1]));
    assert!(!first.revokes(&[0x41, 2]) && !first.revokes(&[]));
    assert_eq!((first.this_update_ms(), first.next_update_ms()), (NOW_MS, NOW_MS + 7 * 24 * HOUR_MS));
    assert!(first.is_signed_by(authority.certificate()));
    assert_eq!(RevocationList::read(first.to_pem().as_bytes()).unwrap(), first);
    assert_eq!(RevocationList::read(first.der()).unwrap(), first);
    let next = list(&authority, Some(&first), &[&[7]]);
    assert_eq!((next.number().as_str(), next.len()), ("02", 3));
    assert!(next.revokes(&[0x41, 2, 3]) && next.revokes(&[7]));
    assert!(list(&authority, None, &[]).is_empty());
}

#[test]
fn the_later_list_follows_and_an_older_or_contradicting_one_does_not() {
    let authority = testing::authority();
    let first = list(&authority, None, &[&[1]]);
    let second = list(&authority, Some(&first), &[&[2]]);
    assert!(second.follows(&first).unwrap());
    assert!(!second.follows(&second).unwrap());
    assert_eq!(first.follows(&second).unwrap_err().code(), "REVOCATION_LIST_OLDER");
    let other = list(&authority, None, &[&[3]]);
    assert_eq!(other.follows(&first).unwrap_err().code(), "REVOCATION_LIST_CONTRADICTION");
    // A higher number under an earlier date: the authority's clock, or somebody else.
    let early = authority.revoke(None, &[], 7, NOW_MS - HOUR_MS).unwrap();
    let backwards = RevocationList { number: [9; 20], ..early };
    assert_eq!(backwards.follows(&first).unwrap_err().code(), "REVOCATION_LIST_CONTRADICTION");
}

#[test]
fn another_authoritys_list_is_neither_believed_nor_followed() {
    let authority = testing::authority();
    let store = crate::store::MemoryStore::new();
    let mut rng = testing::rng();
    let namesake = CertificateAuthority::create(&store, "Trial", 30, NOW_MS, &mut rng).unwrap();
    let list = list(&namesake, None, &[&[1]]);
    assert!(list.is_signed_by(namesake.certificate()));
    assert!(!list.is_signed_by(authority.certificate()));
    assert_eq!(authority.revoke(Some(&list), &[], 7, NOW_MS).unwrap_err().code(), "REVOCATION_LIST_FOREIGN");
    let no_signer = AuthorityCertificate { may_revoke: false, ..namesake.certificate().clone() };
    assert!(!list.is_signed_by(&no_signer));
}

#[test]
fn a_list_that_was_altered_cut_or_made_longer_is_refused_or_not_believed() {
    let authority = testing::authority();
    let der = list(&authority, None, &[&[1, 2, 3]]).der().to_vec();
    for i in 0..der.len() {
        let mut altered = der.clone();
        altered[i] ^= 1;
        let believed =
            RevocationList::from_der(&altered).is_ok_and(|l| l.is_signed_by(authority.certificate()));
        assert!(!believed, "byte {i}");
        assert!(RevocationList::from_der(&der[..i]).is_err(), "length {i}");
    }
    let longer = [der.as_slice(), &[0]].concat();
    assert!(RevocationList::from_der(&longer).is_err());
    let large = vec![0x30; MAX_LIST_BYTES + 1];
    assert_eq!(RevocationList::from_der(&large).unwrap_err().code(), "REVOCATION_LIST_TOO_LARGE");
    let other = pem::encode(&pem::Pem::new("CERTIFICATE", der));
    assert_eq!(RevocationList::read(other.as_bytes()).unwrap_err().code(), "REVOCATION_LIST_MALFORMED");
}

#[test]
fn numbers_go_on_over_the_edge_of_a_byte() {
    let mut number = [0; NUMBER_BYTES];
    number[19] = 0xff;
    let next = next_number(&number);
    assert_eq!((next[18], next[19]), (1, 0));
    assert!(next > number);
}
