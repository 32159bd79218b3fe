//! Whom a restored node believes: what its log says, and not what the older backup does.

use windvane::identity::Layout;
use windvane::restore::Restore;
use windvane::store::Store;
use windvane_keys::enrolment::Enrolment;

use super::{party_at, restored};
use crate::lab::{Lab, Party, authority_pem, sha256_of};

/// Whether a restored node shows the certificate of this enrolment.
fn shows(party: &Party, enrolment: &str) -> bool {
    let certificate = party.admin.certificate().unwrap();
    certificate.tls.certificate() == Enrolment::from_pem(enrolment).unwrap().certificate()
}

#[test]
fn a_node_that_is_restored_over_its_renewal_shows_the_new_certificate() {
    let lab = Lab::new();
    let carrier = lab.party("carrier-a", "");
    let signed = lab.sign(&carrier.admin.renewal_request().unwrap());
    let repository = lab.dir.path().join("backups");
    carrier.admin.back_up(&repository, None, &|_, _| ()).unwrap();
    carrier.admin.import_enrolment(&signed).unwrap();
    let (restored, carrier) = restored(&lab, &carrier, &repository, &lab.dir.path().join("restored"));
    assert!(!restored.notes.iter().any(|note| note.contains("enrolled anew")), "{restored:?}");
    assert!(shows(&carrier, &signed));
    carrier.admin.enrolment_request().unwrap();
}

#[test]
fn a_node_whose_renewed_key_is_not_in_the_backup_is_told_how_it_comes_to_another() {
    let lab = Lab::new();
    let carrier = lab.party("carrier-a", "");
    let repository = lab.dir.path().join("backups");
    carrier.admin.back_up(&repository, None, &|_, _| ()).unwrap();
    let signed = lab.sign(&carrier.admin.renewal_request().unwrap());
    carrier.admin.import_enrolment(&signed).unwrap();
    let (restored, carrier) = restored(&lab, &carrier, &repository, &lab.dir.path().join("restored"));
    assert!(restored.notes.iter().any(|note| note.contains("windvane keys renew")), "{restored:?}");
    let signed = lab.sign(&carrier.admin.renewal_request().unwrap());
    carrier.admin.import_enrolment(&signed).unwrap();
    assert!(shows(&carrier, &signed));
}

#[test]
fn a_restored_node_believes_whom_its_log_says_and_tells_of_a_list_that_it_lacks() {
    let (lab, elsewhere) = (Lab::new(), Lab::new());
    let carrier = lab.party("carrier-a", "");
    let [ended, revoked, stays] = ["ended", "revoked", "stays"].map(|name| lab.party(name, ""));
    for peer in [&ended, &revoked, &stays] {
        carrier.admin.import_enrolment(&peer.enrolment).unwrap();
    }
    let [released, bound] = ["released", "bound"].map(|name| elsewhere.party(name, ""));
    let released_pem = authority_pem(&released);
    carrier.admin.bind_authority(&released_pem, &[released.config.party()]).unwrap();
    let list = lab.revoke(None, &[]);
    carrier.admin.import_revocations(list.der()).unwrap();
    let repository = lab.dir.path().join("backups");
    carrier.admin.back_up(&repository, None, &|_, _| ()).unwrap();

    carrier.admin.end_partner(&ended.config.party()).unwrap();
    carrier.admin.release_authority(&sha256_of(&released_pem)).unwrap();
    let bound_pem = authority_pem(&Lab::new().party("bound", ""));
    carrier.admin.bind_authority(&bound_pem, &[bound.config.party()]).unwrap();
    let next = lab.revoke(Some(&list), &[&revoked.enrolment]);
    carrier.admin.import_revocations(next.der()).unwrap();

    let to = lab.dir.path().join("restored");
    let (restored, carrier) = restored(&lab, &carrier, &repository, &to);
    let told: Vec<_> = restored.notes.iter().filter(|note| note.contains("revocation list")).collect();
    assert!(matches!(told[..], [note] if note.contains("revocation list 02")), "{restored:?}");
    let admin = &carrier.admin;
    let mut partners: Vec<_> = admin.partners().unwrap().iter().map(|one| one.party.to_string()).collect();
    partners.sort_unstable();
    assert_eq!(partners, ["revoked", "stays"]);
    let trust = admin.certificate().unwrap().trust;
    let anchors: Vec<_> = trust.anchors().iter().map(|anchor| anchor.certificate.der.as_slice()).collect();
    assert_eq!(anchors, [pem::parse(&bound_pem).unwrap().contents()]);
    assert!(!admin.import_revocations(next.der()).unwrap().known);
}

#[test]
fn where_the_log_is_lost_every_partner_is_suspended_and_the_operator_is_told_what_to_repeat() {
    let lab = Lab::new();
    let carrier = lab.party("carrier-a", "");
    let [before, since, ended] = ["before", "since", "ended"].map(|name| lab.party(name, ""));
    for peer in [&before, &since, &ended] {
        carrier.admin.import_enrolment(&peer.enrolment).unwrap();
    }
    let name = |party: &Party| party.config.party();
    carrier.admin.suspend(&name(&before)).unwrap();
    let repository = lab.dir.path().join("backups");
    carrier.admin.back_up(&repository, None, &|_, _| ()).unwrap();
    carrier.admin.suspend(&name(&since)).unwrap();
    carrier.admin.end_partner(&name(&ended)).unwrap();
    carrier.admin.import_revocations(lab.revoke(None, &[&since.enrolment]).der()).unwrap();

    let to = lab.dir.path().join("restored");
    let (config, from, checkpoints) = (&carrier.config, repository.as_path(), &[]);
    let restore = Restore { config, from, to: &to, log: None, log_lost: true, checkpoints };
    let notes = restore.run(&lab.clock, &|_, _| ()).unwrap().notes;
    let told = |words: &[&str]| notes.iter().any(|note| words.iter().all(|word| note.contains(word)));
    assert!(told(&["revocation list", "`partner distrust`", "`partner end`", "`function off`"]), "{notes:?}");
    assert!(told(&["since is suspended", "windvane partner resume since"]), "{notes:?}");
    assert!(told(&["before was suspended"]), "{notes:?}");

    let admin = party_at(&lab, &carrier, &to).admin;
    assert_eq!(admin.functions().unwrap().off_now().1, ["before", "ended", "since"]);
    admin.resume(&name(&since)).unwrap();
    assert_eq!(admin.functions().unwrap().off_now().1, ["before", "ended"]);
}

#[test]
fn a_restored_node_believes_no_keys_that_a_partner_replaced_and_the_enrolment_before_a_renewal_still() {
    let lab = Lab::new();
    let carrier = lab.party("carrier-a", "");
    let [renewed, replaced] = ["renewed", "replaced"].map(|name| lab.party(name, ""));
    for peer in [&renewed, &replaced] {
        carrier.admin.import_enrolment(&peer.enrolment).unwrap();
        carrier.admin.import_enrolment(&lab.sign(&peer.admin.renewal_request().unwrap())).unwrap();
    }
    let kept = |party: &Party| {
        let store = Store::open(&Layout::new(party.config.node.data_dir.clone()).state()).unwrap();
        (store.partners().unwrap(), store.partners_before().unwrap())
    };
    assert_eq!(kept(&carrier).1.len(), 2);
    let repository = lab.dir.path().join("backups");
    carrier.admin.back_up(&repository, None, &|_, _| ()).unwrap();
    // Another node of the same name has other keys.
    let elsewhere = Lab::new();
    let other = elsewhere.party("replaced", "");
    let anew = lab.sign(&other.admin.enrolment_request().unwrap());
    carrier.admin.import_enrolment(&anew).unwrap();
    carrier.admin.import_enrolment(&lab.sign(&renewed.admin.renewal_request().unwrap())).unwrap();
    let lost = kept(&carrier);
    assert_eq!(lost.1.len(), 1);
    let (_, carrier) = restored(&lab, &carrier, &repository, &lab.dir.path().join("restored"));
    assert_eq!(kept(&carrier), lost);
}
