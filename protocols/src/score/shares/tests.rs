//! Setups by honest parties, by a relay that lies, and with a provider that does.

use curve25519_dalek::{RistrettoPoint, Scalar};
use ed25519_dalek::SigningKey;

use super::record::{Announcement, Confirmation, Dealing};
use super::{AwaitConfirmations, Evidence, EvidenceError, PublicSharing, SetupError, announce, seal};
use crate::oprf::Weights;
use crate::score::epoch::{Member, MemberKeys};
use crate::score::group::{Charter, Fingerprint, GroupError, GroupTerms, Sharing};
use crate::score::tests::world::{
    announced, bank, charter, confirmed, dealt, key, members, party, pins, rng, terms,
};
use crate::transcript::{Record, Signed};

/// A message changed and signed anew by its author.
fn resigned<T: Record + Clone>(message: &Signed<T>, author: usize, change: impl FnOnce(&mut T)) -> Signed<T> {
    let mut body = message.body().clone();
    change(&mut body);
    Signed::sign(body, &key(author))
}

/// How a provider meets the dealings of a group of three, threshold two, after somebody changed them.
fn met(change: impl FnOnce(&Charter, &mut Vec<Signed<Dealing>>)) -> Option<SetupError> {
    let charter = charter(3, 2, 1);
    let (mut states, mut messages) = dealt(&charter);
    change(&charter, &mut messages);
    states.remove(0).on_dealings(&messages, &key(0)).err()
}

#[test]
fn all_parties_of_every_group_end_with_one_context_and_shares_of_one_key() {
    for (n, t) in [(1, 1), (2, 2), (3, 2), (4, 4), (16, 9)] {
        let members = members(n, t, 1);
        let epoch = members[0].epoch();
        assert!(members.iter().all(|member| member.epoch() == epoch));
        let places: Vec<_> = (n - t + 1..=n).collect();
        let public = |place: &usize| epoch.share_key(place - 1).unwrap().as_bytes();
        let points: Vec<_> =
            places.iter().map(|place| super::polynomial::decode(public(place)).unwrap()).collect();
        let joint: RistrettoPoint = lagrange(&places).iter().zip(points).map(|(l, point)| l * point).sum();
        assert_eq!(joint.compress().as_bytes(), epoch.joint_key().as_bytes(), "{t} of {n}");
        let shares = members.iter().map(|member| member.share().public());
        assert!(shares.enumerate().all(|(i, public)| Some(public) == epoch.share_key(i)));
    }
    assert_eq!(Weights::at_zero(&[1]), Weights::at_zero(&[2]));
}

fn lagrange(places: &[usize]) -> Vec<Scalar> {
    let scalar = |x: usize| Scalar::from(x as u64);
    let of = |place: &usize| {
        let others = places.iter().filter(|other| *other != place);
        others.map(|x| scalar(*x) * (scalar(*x) - scalar(*place)).invert()).product()
    };
    places.iter().map(of).collect()
}

#[test]
fn contexts_differ_by_terms_and_by_keys() {
    let contexts: Vec<_> = [(2, 2, 1), (2, 2, 2), (3, 2, 1), (3, 3, 1)]
        .map(|(n, t, e)| *members(n, t, e)[0].epoch().context())
        .to_vec();
    assert!((0..4).all(|i| (0..i).all(|j| contexts[i] != contexts[j])));
    let other = Charter::accept(GroupTerms { model: [8; 64], ..terms(2, Sharing::Threshold(2), 1) }, &pins());
    let (states, messages) = confirmed(&other.unwrap());
    let member = states.into_iter().next().unwrap().on_confirmations(&messages).unwrap();
    assert_ne!(member.epoch().context(), &contexts[0]);
}

#[test]
fn the_bank_checks_the_same_setup_and_stores_it() {
    let charter = charter(3, 2, 1);
    let (states, mut confirmations) = confirmed(&charter);
    let member = |state: AwaitConfirmations| state.on_confirmations(&confirmations).unwrap();
    let members: Vec<_> = states.into_iter().map(member).collect();
    let Evidence { announcements, mut dealings, .. } = members[0].epoch().evidence().clone();
    dealings.reverse();
    confirmations.reverse();
    let sharing = PublicSharing::check(charter, &announcements, &dealings).unwrap();
    let epoch = sharing.agree(&confirmations).unwrap();
    assert_eq!(&epoch, members[1].epoch());
    let stored = epoch.evidence().encode().into_bytes();
    assert!(stored.len() < crate::limits::MAX_SETUP_BYTES);
    let evidence = Evidence::decode(&stored).unwrap();
    assert_eq!(evidence.clone().check(&pins()), Ok(epoch));
    let mut others = pins();
    others.insert(party(1), Fingerprint::of(&key(9).verifying_key()));
    let refused = EvidenceError::Group(GroupError::Unpinned { party: party(1) });
    assert_eq!(evidence.check(&others), Err(refused));
}

#[test]
fn the_largest_setup_stays_within_its_limit() {
    let stored = members(16, 16, 1)[0].epoch().evidence().encode().into_bytes();
    assert!(stored.len() < crate::limits::MAX_SETUP_BYTES, "{}", stored.len());
}

#[test]
fn a_provider_resumes_with_its_stored_keys_and_with_no_others() {
    let (mut states, confirmations) = confirmed(&charter(3, 2, 1));
    let (second, first) = (states.remove(1), states.remove(0));
    let stored = first.keys().to_bytes();
    let keys = || MemberKeys::from_bytes(&stored).unwrap();
    let resumed = AwaitConfirmations::resume(second.sharing().clone(), &party(0), keys()).unwrap();
    let member = resumed.on_confirmations(&confirmations).unwrap();
    let refused = AwaitConfirmations::resume(second.sharing().clone(), &party(1), keys()).err();
    assert_eq!(refused, Some(SetupError::ForeignKeys));
    let mut keys = keys();
    keys.forget_table_key();
    assert_eq!(keys.to_bytes().expose().len(), 32);
    let restored = Member::restore(member.epoch().clone(), &party(0), keys.clone()).unwrap();
    assert!(restored.sealer().is_none() && member.sealer().is_some());
    let other = members(3, 2, 2)[0].epoch().clone();
    assert_eq!(Member::restore(other, &party(0), keys).err(), Some(SetupError::ForeignKeys));
}

#[test]
fn groups_of_a_threshold_below_two_undeclared_loners_and_doubles_are_refused() {
    let accept = |n, sharing| Charter::accept(terms(n, sharing, 1), &pins()).err();
    let threshold = |found, providers| Some(GroupError::Threshold { found, providers });
    assert_eq!(accept(3, Sharing::Threshold(1)), threshold(1, 3));
    assert_eq!(accept(3, Sharing::Threshold(0)), threshold(0, 3));
    assert_eq!(accept(3, Sharing::Threshold(4)), threshold(4, 3));
    assert_eq!(accept(1, Sharing::Threshold(1)), Some(GroupError::SingleProvider));
    assert_eq!(accept(2, Sharing::SingleProvider), Some(GroupError::SingleProvider));
    assert_eq!(accept(1, Sharing::SingleProvider), None);
    assert_eq!(accept(0, Sharing::Threshold(2)), Some(GroupError::Providers { found: 0 }));
    assert_eq!(accept(17, Sharing::Threshold(2)), Some(GroupError::Providers { found: 17 }));
    let changed = |change: fn(&mut GroupTerms)| {
        let mut terms = terms(3, Sharing::Threshold(2), 1);
        change(&mut terms);
        Charter::accept(terms, &pins()).err()
    };
    assert_eq!(changed(|t| t.providers.swap(0, 1)), Some(GroupError::Order));
    assert_eq!(changed(|t| t.requester = t.providers[1].clone()), Some(GroupError::Order));
    assert_eq!(changed(|t| t.identity_version.push('x')), Some(GroupError::IdentityVersion));
    let repeated = changed(|t| t.providers[2].key = t.providers[0].key);
    assert_eq!(repeated, Some(GroupError::RepeatedKey { party: party(2) }));
}

#[test]
fn a_fake_provider_is_refused_by_its_pin_whoever_vouches_for_it() {
    let mut fake = terms(3, Sharing::Threshold(2), 1);
    fake.providers[1].key = SigningKey::from_bytes(&[0xfa; 32]).verifying_key();
    let unpinned = |party| Some(GroupError::Unpinned { party });
    assert_eq!(Charter::accept(fake, &pins()).err(), unpinned(party(1)));
    let mut unknown = pins();
    unknown.remove(&party(2));
    let terms = terms(3, Sharing::Threshold(2), 1);
    assert_eq!(Charter::accept(terms, &unknown).err(), unpinned(party(2)));
    let charter = charter(3, 2, 1);
    let begun = |p, k: &SigningKey| announce(charter.clone(), &p, k, &mut rng(1)).err();
    assert_eq!(begun(party(1), &key(0)), Some(SetupError::NotMember { party: party(1) }));
    assert_eq!(begun(bank().0, &bank().1), Some(SetupError::NotMember { party: bank().0 }));
}

#[test]
fn a_relay_that_substitutes_a_sealing_key_is_found_before_anything_is_sealed() {
    let charter = charter(3, 2, 1);
    let met = |change: &dyn Fn(&mut Vec<Signed<Announcement>>)| {
        let (mut states, mut messages) = announced(&charter);
        change(&mut messages);
        states.remove(0).on_announcements(&messages, &key(0), &mut rng(1)).err()
    };
    let own = RistrettoPoint::mul_base(&Scalar::from(5_u64)).compress().to_bytes();
    let signature = SetupError::Signature { party: party(1) };
    let swapped = |m: &mut Vec<Signed<Announcement>>| m[1] = resigned(&m[1], 8, |body| body.sealing = own);
    assert_eq!(met(&swapped), Some(signature));
    let (_, older) = announced(&self::charter(3, 2, 7));
    let replayed = |m: &mut Vec<Signed<Announcement>>| m[1] = older[1].clone();
    assert_eq!(met(&replayed), Some(SetupError::Disagreement { party: party(1) }));
    let ours = |m: &mut Vec<Signed<Announcement>>| m[0] = resigned(&m[0], 0, |body| body.sealing = own);
    assert_eq!(met(&ours), Some(SetupError::OwnMessage));
    let identity =
        |m: &mut Vec<Signed<Announcement>>| m[2] = resigned(&m[2], 2, |body| body.sealing = [0; 32]);
    assert_eq!(met(&identity), Some(SetupError::Form { party: party(2) }));
    let lost = |m: &mut Vec<Signed<Announcement>>| drop(m.remove(2));
    assert_eq!(met(&lost), Some(SetupError::Messages { party: party(2), found: 0 }));
    let twice = |m: &mut Vec<Signed<Announcement>>| m.push(m[1].clone());
    assert_eq!(met(&twice), Some(SetupError::Messages { party: party(1), found: 2 }));
    let stranger =
        |m: &mut Vec<Signed<Announcement>>| m.push(resigned(&m[1], 9, |body| body.party = party(9)));
    assert_eq!(met(&stranger), Some(SetupError::Stranger { party: party(9) }));
}

#[test]
fn a_share_that_the_relay_changed_is_not_signed_by_its_dealer() {
    let error = met(|_, messages| {
        let mut bytes = messages[1].as_bytes().to_vec();
        let at = bytes.len() - 64 - 40;
        bytes[at] ^= 1;
        messages[1] = Signed::from_bytes_unverified(bytes).unwrap();
    });
    assert_eq!(error, Some(SetupError::Signature { party: party(1) }));
}

#[test]
fn a_wrong_share_is_pinned_to_its_dealer() {
    let wrong = Some(SetupError::WrongShare { party: party(2) });
    let unopened = |_: &Charter, messages: &mut Vec<Signed<Dealing>>| {
        messages[2] = resigned(&messages[2], 2, |body| body.shares.swap(0, 1));
    };
    assert_eq!(met(unopened), wrong);
    let other_value = |charter: &Charter, messages: &mut Vec<Signed<Dealing>>| {
        let (_, announcements) = announced(charter);
        messages[2] = resigned(&messages[2], 2, |body| {
            let to = announcements[0].body();
            let binding = body.binding(charter, &to.party);
            body.shares[0] = seal::seal(&binding, &to.sealing, &Scalar::from(9_u64), &mut rng(1)).unwrap();
        });
    };
    assert_eq!(met(other_value), wrong);
    // Its own commitments do not save it: the share is bound to them.
    let other_commitments = |_: &Charter, messages: &mut Vec<Signed<Dealing>>| {
        messages[2] = resigned(&messages[2], 2, |body| body.commitments[1] = body.commitments[0]);
    };
    assert_eq!(met(other_commitments), Some(SetupError::Possession { party: party(2) }));
}

#[test]
fn a_key_chosen_against_the_others_has_no_proof_of_possession() {
    let error = met(|_, messages| {
        let constant = |message: &Signed<Dealing>| super::polynomial::decode(&message.body().commitments[0]);
        let others = constant(&messages[0]).unwrap() + constant(&messages[1]).unwrap();
        let rogue = RistrettoPoint::mul_base(&Scalar::from(3_u64)) - others;
        let rogue = rogue.compress().to_bytes();
        messages[2] = resigned(&messages[2], 2, |body| body.commitments[0] = rogue);
    });
    assert_eq!(error, Some(SetupError::Possession { party: party(2) }));
}

#[test]
fn malformed_dealings_and_dealings_of_another_setup_are_pinned() {
    let form = Some(SetupError::Form { party: party(1) });
    let changed = |change: fn(&mut Dealing)| met(|_, m| m[1] = resigned(&m[1], 1, change));
    assert_eq!(changed(|d| d.commitments[1] = [0; 32]), form);
    assert_eq!(changed(|d| d.commitments[0] = [0xff; 32]), form);
    assert_eq!(changed(|d| d.commitments.truncate(1)), form);
    assert_eq!(changed(|d| d.commitments.push(d.commitments[0])), form);
    assert_eq!(changed(|d| d.shares.truncate(2)), form);
    assert_eq!(changed(|d| d.possession = [0xff; 64]), form);
    let other = Some(SetupError::Disagreement { party: party(1) });
    assert_eq!(changed(|d| d.announcements = [0; 64]), other);
    assert_eq!(changed(|d| d.charter = [0; 64]), other);
    assert_eq!(met(|_, m| m[1] = dealt(&charter(3, 2, 9)).1[1].clone()), other);
    assert_eq!(
        met(|_, m| m[0] = resigned(&m[0], 0, |d| d.shares[1] = [1; 80])),
        Some(SetupError::OwnMessage)
    );
}

#[test]
fn a_dealer_that_says_different_things_to_different_parties_is_found_by_the_confirmations() {
    let charter = charter(3, 2, 1);
    let (mut states, messages) = dealt(&charter);
    let mut other = messages.clone();
    // A share of party 1 alone differs, so party 0 has nothing to object to.
    other[2] = resigned(&messages[2], 2, |body| body.shares[1] = [1; 80]);
    let first = states.remove(0).on_dealings(&other, &key(0)).unwrap();
    let second = states.remove(0).on_dealings(&messages, &key(1)).unwrap();
    let third = states.remove(0).on_dealings(&messages, &key(2)).unwrap();
    let (requester, bank) = bank();
    let banks = second.state.sharing().confirm(requester, &bank);
    let confirmations = vec![first.message, second.message, third.message, banks];
    let error = second.state.on_confirmations(&confirmations).err();
    assert_eq!(error, Some(SetupError::Disagreement { party: party(0) }));
}

#[test]
fn no_setup_is_active_before_everybody_and_the_bank_have_confirmed_it() {
    let confirm = |change: &dyn Fn(&mut Vec<Signed<Confirmation>>)| {
        let (mut states, mut messages) = confirmed(&charter(2, 2, 1));
        change(&mut messages);
        states.remove(0).on_confirmations(&messages).err()
    };
    assert_eq!(confirm(&|_| ()), None);
    let missing = |party| Some(SetupError::Messages { party, found: 0 });
    assert_eq!(confirm(&|m| drop(m.remove(1))), missing(party(1)));
    assert_eq!(confirm(&|m| drop(m.remove(2))), missing(bank().0));
    let forged = confirm(&|m| m[1] = resigned(&m[0], 0, |body| body.party = party(1)));
    assert_eq!(forged, Some(SetupError::Signature { party: party(1) }));
}

#[test]
fn records_of_a_setup_survive_their_encoding_and_no_truncation_does() {
    let epoch = members(2, 2, 1)[0].epoch().clone();
    let evidence = epoch.evidence().encode().into_bytes();
    assert_eq!(&Evidence::decode(&evidence).unwrap(), epoch.evidence());
    let step = evidence.len() / 200;
    assert!((0..evidence.len()).step_by(step).all(|end| Evidence::decode(&evidence[..end]).is_err()));
    let fingerprint = Fingerprint::of(&key(0).verifying_key());
    assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    assert!(
        "0A".repeat(32).parse::<Fingerprint>().is_err() && "00".repeat(31).parse::<Fingerprint>().is_err()
    );
}
