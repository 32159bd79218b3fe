use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::super::scale::{Span, Values};
use super::*;
use crate::train::elgamal::Statistic;
use crate::train::step::{Place, Step};

const SEED: u64 = 20_261_127;
const SESSION: SessionId = SessionId::from_bytes([3; 16]);
const NODE: Node = Node { block: 2, tree: 3, level: 1, place: 1 };

fn scale(widest: i64) -> Scale {
    Scale::new(&[Span::new(0, widest).unwrap()]).unwrap()
}

/// Masks of one kind.
type Kinds = fn(&Masks) -> Zeroizing<Vec<Scalar>>;

struct Party {
    name: PartyId,
    key: MaskingKey,
}

fn parties(count: usize) -> Vec<Party> {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    // Not in the order of names.
    let name = |i: usize| format!("carrier-{}", (i * 5) % 7).parse().unwrap();
    (0..count).map(|i| Party { name: name(i), key: MaskingKey::random(&mut rng) }).collect()
}

fn announced<'a>(parties: impl Iterator<Item = &'a Party>) -> Vec<(PartyId, [u8; ELEMENT_BYTES])> {
    parties.map(|party| (party.name.clone(), *party.key.public())).collect()
}

fn agree(parties: &[Party]) -> Vec<Masks> {
    let agree = |own: &Party| {
        let peers = announced(parties.iter().filter(|party| party.name != own.name));
        own.key.agree(&SESSION, &own.name, &peers).unwrap()
    };
    parties.iter().map(agree).collect()
}

fn context() -> Context {
    Context::new(&[7; 64], &[])
}

fn sum(masks: &[Zeroizing<Vec<Scalar>>]) -> Vec<Scalar> {
    (0..masks[0].len()).map(|at| masks.iter().map(|masks| masks[at]).sum()).collect()
}

#[test]
fn masks_cancel_over_all_parties_and_over_no_fewer() {
    for count in 2..=5 {
        let all = agree(&parties(count));
        let kinds: [Kinds; 3] = [
            |masks| masks.contributions(&context(), 4, 10..60),
            |masks| masks.cells(&context(), NODE, Kind::Residual, &[3, 0, 33]),
            |masks| masks.parts(&context(), scale(900), Values::Fine, 10..60),
        ];
        for masks_of in kinds {
            let masks: Vec<_> = all.iter().map(masks_of).collect();
            assert!(sum(&masks).iter().all(|sum| *sum == Scalar::ZERO), "{count} parties");
            for missing in 0..count {
                let mut fewer = masks.clone();
                fewer.remove(missing);
                assert!(sum(&fewer).iter().all(|sum| *sum != Scalar::ZERO), "{count} parties");
            }
        }
    }
}

#[test]
fn a_single_party_has_nothing_to_mask_with() {
    let alone = &agree(&parties(1))[0];
    assert!(alone.is_alone());
    assert_eq!(*alone.contributions(&context(), 0, 0..3), [Scalar::ZERO; 3]);
}

#[test]
fn no_two_labels_have_the_same_mask() {
    let masks = &agree(&parties(2))[0];
    let cell = |node, feature, group, kind| Label::Cell { node, feature, group, kind };
    let mut labels = vec![
        cell(NODE, 1, 2, Kind::Residual),
        cell(NODE, 1, 2, Kind::Indicator),
        cell(NODE, 2, 1, Kind::Residual),
        cell(NODE, 1, 3, Kind::Residual),
        cell(NODE, 256, 2, Kind::Residual),
        cell(Node { block: 3, ..NODE }, 1, 2, Kind::Residual),
        cell(Node { tree: 2, ..NODE }, 1, 2, Kind::Residual),
        cell(Node { level: 2, ..NODE }, 1, 2, Kind::Residual),
        cell(Node { place: 0, ..NODE }, 1, 2, Kind::Residual),
    ];
    for (widest, values) in [(900, Values::Fine), (901, Values::Fine), (900, Values::Coarse)] {
        labels.extend((0..300).map(|row| Label::Part { row, scale: scale(widest), values }));
    }
    labels.extend((0..3).flat_map(|block| (0..300).map(move |row| Label::Contribution { block, row })));
    let mut found: Vec<_> = masks.of(&context(), &labels).iter().map(|mask| mask.to_bytes()).collect();
    found.sort_unstable();
    assert!(found.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn masks_of_providers_that_were_told_different_things_do_not_cancel() {
    let all = agree(&parties(2));
    let uploaded = |digest: u8| context().uploaded(Statistic::Indicator, &[digest; 64]);
    let masks = |party: usize, digest: u8| all[party].contributions(&uploaded(digest), 0, 0..20);
    assert!(sum(&[masks(0, 1), masks(1, 1)]).iter().all(|sum| *sum == Scalar::ZERO));
    assert!(sum(&[masks(0, 1), masks(1, 2)]).iter().all(|sum| *sum != Scalar::ZERO));
}

#[test]
fn masks_of_parts_do_not_cancel_where_providers_were_told_different_scales() {
    let all = agree(&parties(2));
    let masks = |i: usize, widest| all[i].parts(&context(), scale(widest), Values::Fine, 0..5);
    assert!(sum(&[masks(0, 900), masks(1, 900)]).iter().all(|sum| *sum == Scalar::ZERO));
    assert!(sum(&[masks(0, 900), masks(1, 901)]).iter().all(|sum| *sum != Scalar::ZERO));
}

#[test]
fn cells_are_labelled_feature_by_feature() {
    let masks = &agree(&parties(3))[1];
    let label = |feature, group| Label::Cell { node: NODE, feature, group, kind: Kind::Indicator };
    let expected = masks.of(&context(), &[label(0, 0), label(0, 1), label(2, 0)]);
    assert_eq!(masks.cells(&context(), NODE, Kind::Indicator, &[2, 0, 1]), expected);
}

#[test]
fn keys_are_bound_to_the_session_and_to_both_names_and_elements() {
    let all = parties(3);
    let masks = |own: usize, session: &SessionId, name: &str, peer: &str, element: usize| {
        let peer = (peer.parse().unwrap(), *all[element].key.public());
        let masks = all[own].key.agree(session, &name.parse().unwrap(), &[peer]).unwrap();
        masks.contributions(&context(), 0, 0..1)[0].to_bytes()
    };
    let other = SessionId::from_bytes([4; 16]);
    let found = [
        masks(0, &SESSION, "a", "b", 1),
        masks(0, &other, "a", "b", 1),
        masks(0, &SESSION, "a", "c", 1),
        masks(0, &SESSION, "c", "b", 1),
        masks(0, &SESSION, "a", "b", 2),
        masks(1, &SESSION, "a", "b", 0),
    ];
    assert!((0..found.len()).all(|i| !found[..i].contains(&found[i])));
}

#[test]
fn announcements_that_are_no_elements_and_parties_named_twice_are_refused() {
    let all = parties(3);
    let agree = |peers: &[(PartyId, _)]| all[0].key.agree(&SESSION, &all[0].name, peers).err();
    let peers = announced(all[1..].iter());
    for wrong in [[0; 32], [0xff; 32]] {
        let found = agree(&[peers[0].clone(), (peers[1].0.clone(), wrong)]);
        assert_eq!(found, Some(MaskError::InvalidElement { party: peers[1].0.clone() }));
    }
    let twice = agree(&[peers[0].clone(), peers[0].clone()]);
    assert_eq!(twice, Some(MaskError::Repeated { party: peers[0].0.clone() }));
    let own = agree(&announced(all.iter()));
    assert_eq!(own, Some(MaskError::Repeated { party: all[0].name.clone() }));
    let many: Vec<_> = (0..16).map(|i| (format!("p{i}").parse().unwrap(), peers[0].1)).collect();
    assert_eq!(agree(&many), Some(MaskError::Parties { found: 17 }));
}

/// Made by another implementation, in plain integers.
#[test]
fn the_published_vectors_hold() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../vectors/train-v1.json")).unwrap();
    let vectors = &vectors["masking"];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let array = |value: &serde_json::Value| <[u8; 32]>::try_from(hex::decode(text(value)).unwrap()).unwrap();
    let [own, peer] = [0, 1].map(|i| {
        let secret = Scalar::from_canonical_bytes(array(&vectors["secrets"][i])).unwrap();
        let public = RistrettoPoint::mul_base(&secret).compress().to_bytes();
        assert_eq!(public, array(&vectors["elements"][i]));
        MaskingKey { secret: Zeroizing::new(secret), public }
    });
    let session = hex::decode(text(&vectors["session"])).unwrap();
    let session = SessionId::from_bytes(session.try_into().unwrap());
    let [a, b] = ["carrier-a", "carrier-b"].map(|name| name.parse::<PartyId>().unwrap());
    let node = Node { block: 2, tree: 3, level: 1, place: 258 };
    let told = context().uploaded(Statistic::Residual { block: 513 }, &[8; 64]);
    let stepped = told.stepped(&Step::Sum { place: Place { block: 2, tree: 3, level: 1 }, agreed: vec![] });
    assert_eq!(
        [hex::encode(told.as_bytes()), hex::encode(stepped.as_bytes())],
        [text(&vectors["context"]), text(&vectors["stepped"])]
    );
    let both =
        [own.agree(&session, &a, &[(b.clone(), peer.public)]), peer.agree(&session, &b, &[(a, own.public)])];
    for (masks, sign) in both.into_iter().zip([Scalar::ONE, -Scalar::ONE]) {
        let masks = masks.unwrap();
        let contributions = masks.contributions(&told, 513, 70_000..70_002);
        let cells = masks.cells(&stepped, node, Kind::Residual, &[2, 1]);
        for (name, found) in [("contributions", contributions), ("cells", cells)] {
            let expected = vectors[name].as_array().unwrap().iter().map(text);
            assert!(expected.eq(found.iter().map(|mask| hex::encode((mask * sign).as_bytes()))), "{name}");
        }
    }
}
