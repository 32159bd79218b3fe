use prost::encoding::{encode_key, encode_varint};
use windvane_protocols::limits::{MAX_FAMILIES, MAX_MESSAGE_BYTES};

use super::*;
use crate::{lookup, train};

/// A field of bytes, a text or a message.
fn delimited(number: u32, content: &[u8], message: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, message);
    encode_varint(content.len() as u64, message);
    message.extend_from_slice(content);
}

/// The content of a field with as much in it as there may be.
fn fullest_content(field: &Field) -> Vec<u8> {
    match field.content {
        Content::Bytes => Vec::new(),
        Content::Text => vec![b'x'; MAX_TEXT_BYTES],
        Content::Message(shape) => fullest(shape),
    }
}

/// A message with as much of everything as there may be.
fn fullest(shape: &Shape) -> Vec<u8> {
    let mut message = Vec::new();
    for field in shape.fields {
        let content = fullest_content(field);
        (0..field.most).for_each(|_| delimited(field.number, &content, &mut message));
    }
    message
}

fn size(result: Result<(), WireError>) -> (&'static str, usize, usize) {
    match result {
        Err(WireError::Size { field, found, limit }) => (field, found, limit),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_fullest_message_of_every_kind_is_decoded_and_one_item_more_is_refused() {
    for MessageKind { name, shape, again } in MESSAGES {
        let full = fullest(shape);
        let encoded = again(full.clone().into()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(shape.check(&encoded), Ok(()), "{name}");
        for field in shape.fields {
            let mut more = full.clone();
            delimited(field.number, &[], &mut more);
            assert_eq!(size(shape.check(&more)), (field.name, field.most + 1, field.most), "{name}");
            if matches!(field.content, Content::Text) {
                let mut long = Vec::new();
                delimited(field.number, &[b'x'; MAX_TEXT_BYTES + 1], &mut long);
                let found = MAX_TEXT_BYTES + 1;
                assert_eq!(size(shape.check(&long)), (field.name, found, MAX_TEXT_BYTES), "{name}");
            }
        }
    }
}

#[test]
fn what_decoding_allocates_is_little_whatever_the_message() {
    let most = |name: &str| {
        let kind = MESSAGES.iter().find(|kind| kind.name == name);
        kind.unwrap_or_else(|| panic!("no {name}")).shape.most_bytes()
    };
    assert!(MESSAGES.iter().all(|kind| kind.shape.most_bytes() < 1_100 << 10));
    assert!(most("windvane.lookup.v1.EvaluateRequest") < 2 << 10);
    assert!(most("windvane.train.v1.SumRequest") > 1 << 20, "groups of 1,024 features, eight times");
    for plain in ["windvane.psi.v1.Frame", "windvane.train.v1.UploadRequest"] {
        assert_eq!(most(plain), 0, "{plain}");
    }
}

#[test]
fn requests_are_known_by_the_path_of_their_calls() {
    let shape = request("/windvane.lookup.v1.Lookup/Evaluate").unwrap();
    assert_eq!(format!("{shape:?}"), format!("{:?}", lookup::v1::EvaluateRequest::SHAPE));
    assert!(request("/grpc.health.v1.Health/Check").is_none());
}

#[test]
fn a_message_of_empty_records_is_refused_at_the_first_one_beyond() {
    let empty = [0x12, 0].repeat(MAX_MESSAGE_BYTES / 2);
    let refused = decode::<lookup::v1::EvaluateRequest>(&empty[..]).map(|_| ());
    assert_eq!(size(refused), ("groups", MAX_FAMILIES + 1, MAX_FAMILIES));
}

#[test]
fn lists_below_are_counted_and_cannot_be_joined_from_two() {
    let pairs = |count: usize| {
        let mut message = Vec::new();
        delimited(1, &[0x0a, 0].repeat(count), &mut message);
        message
    };
    let check = |message: &[u8]| train::v1::GrowResponse::SHAPE.check(message);
    assert_eq!(check(&pairs(8)), Ok(()));
    assert_eq!(size(check(&pairs(9))), ("pairs", 9, 8));
    assert_eq!(size(check(&pairs(8).repeat(2))), ("proposals", 2, 1));
}

#[test]
fn what_is_no_message_is_refused_as_malformed() {
    let wrong: [&[u8]; 8] = [
        &[0x12],
        &[0x12, 1],
        &[0x12, 0x80],
        &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x10, 0],
        &[0x13, 0x14],
        &[0x12, 1, 0x08],
        &[0x00, 0],
    ];
    for message in wrong {
        let refused = decode::<lookup::v1::EvaluateRequest>(message);
        assert_eq!(refused, Err(MALFORMED), "{message:?}");
    }
    // What only `prost` looks at: a number where bytes belong.
    assert_eq!(decode::<lookup::v1::EvaluateRequest>(&[0x08, 0][..]), Err(MALFORMED));
}

#[test]
fn fields_that_nobody_knows_are_skipped_whatever_is_in_them() {
    let mut message = Vec::new();
    delimited(1000, &[0xff; 100], &mut message);
    message.extend([0x98, 0x3f, 1]);
    assert_eq!(decode::<lookup::v1::EvaluateRequest>(&message[..]), Ok(Default::default()));
}

#[test]
fn fields_that_nobody_knows_and_those_that_are_no_list_are_few() {
    let numbers = |tag: &[u8]| [tag, &[1]].concat().repeat(MAX_MESSAGE_BYTES / (tag.len() + 1));
    let limit = lookup::v1::EvaluateRequest::SHAPE.others + NEWER;
    let refused = decode::<lookup::v1::EvaluateRequest>(&numbers(&[0x98, 0x3f])[..]).map(|_| ());
    assert_eq!(size(refused), ("other fields", limit + 1, limit));
    let limit = lookup::v1::FetchDeltasRequest::SHAPE.others + NEWER;
    let known = |tag: &[u8]| decode::<lookup::v1::FetchDeltasRequest>(&numbers(tag)[..limit * 2]);
    assert!(known(&[0x10]).is_ok());
    let refused = lookup::v1::FetchDeltasRequest::SHAPE.check(&numbers(&[0x10]));
    assert_eq!(size(refused), ("other fields", limit + 1, limit));
}

#[test]
fn groups_are_refused_whatever_is_in_them() {
    let closed: &[u8] = &[0x9b, 0x3f, 0x08, 1, 0x9c, 0x3f];
    for groups in [closed, &[0x9b, 0x3f].repeat(1 << 20), &[0x9c, 0x3f]] {
        assert_eq!(decode::<lookup::v1::EvaluateRequest>(groups), Err(MALFORMED));
    }
}

#[test]
fn a_refusal_carries_its_code_and_is_known_as_this_sides_own() {
    let error = WireError::Size { field: "groups", found: 11, limit: 10 };
    let status = Status::from(error.clone());
    assert_eq!(status.metadata().get(crate::convert::CODE_KEY).unwrap(), "MESSAGE_TOO_LARGE");
    assert_eq!(WireError::of(&status), Some(&error));
    assert_eq!(WireError::of(&Status::invalid_argument("a peer's")), None);
}
