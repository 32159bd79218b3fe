//! Decoding within bounds: what a peer's message becomes in memory is bounded before `prost` sees it.
//!
//! A message's own bytes are bounded by its length, which is known before they come. What `prost` makes of them is not:
//! two bytes on the wire, an empty message of a list, are a record of 40 bytes, and 120 while the list grows. So a pass
//! over the tags comes first ([`Shape::check`]), which holds each repeated field against the number of items that the
//! protocol gives it, at every depth, and refuses the message at the first item beyond. With that, decoding allocates
//! at most [`Shape::most_bytes`] beside the message's own bytes, a constant of its type, whatever they are; whoever
//! accounts for memory adds it to the length.
//!
//! **Why counts, and not a multiple of the length.** The protocol has a limit for every list anyway, which used to be
//! checked once the list stood in memory; here it is checked at its only place, and [`crate::convert`] takes it for
//! granted. An honest message has no fixed ratio (a proposal's groups are three bytes each on the wire and 32 in
//! memory), so that a multiple which permits it bounds little. Where a list would be long it travels as bytes, which
//! are not copied.
//!
//! **What is counted.** The table is made by the build script of the protos, which refuses a repeated field without a
//! limit, and what is not counted here: maps, groups, repeated numbers. Bytes are parts of the message itself. A text is
//! copied and has at most [`MAX_TEXT_BYTES`]. A message or text that is not repeated may occur once, as every encoder
//! writes it: `prost` would join the lists of two. Numbers and bytes that are not repeated allocate nothing, and are
//! counted together, with the fields that nobody knows: those of a newer version are skipped, as `prost` does, but there
//! may be sixteen of them, so that a message of nothing else costs no time either. Groups, which no field of ours is,
//! are malformed. Tags and lengths are read by the functions with which `prost` reads them, so that both see the same
//! message; what is malformed there is refused here.
//!
//! **What it costs.** No byte is read twice, and what bytes and texts hold not at all: less than `prost` takes for the
//! same message (`examples/decoding.rs` measures both). As every field has a limit, so has the number of tags.
//!
//! Messages do not contain themselves (the table would not compile), so the pass goes no deeper than their types.

use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;
use windvane_protocols::limits::MAX_TEXT_BYTES;

use crate::convert::{WireError, within};

mod table;

pub use table::{MESSAGES, request};

/// A growing list takes up to three times its items, the old and the new one together, and begins with four.
const GROWTH: usize = 4;

/// Fields of one message that a newer version may have more than this one.
const NEWER: usize = 16;

/// The fields of a message.
#[derive(Debug)]
pub struct Shape {
    /// Those for which decoding allocates.
    fields: &'static [Field],
    /// How many there are beside them.
    others: usize,
}

/// One for which decoding allocates.
#[derive(Debug)]
struct Field {
    number: u32,
    name: &'static str,
    /// How often it may occur in one message.
    most: usize,
    /// Bytes of an item in the list; none where the field is a part of its message.
    place: usize,
    content: Content,
}

/// What a field holds.
#[derive(Debug)]
enum Content {
    Bytes,
    Text,
    Message(&'static Shape),
}

/// A message whose shape is known.
pub trait Shaped {
    /// Its shape.
    const SHAPE: &'static Shape;
}

/// A message of the wire, for what goes over all of them.
#[derive(Debug)]
pub struct MessageKind {
    /// The full name.
    pub name: &'static str,
    /// The shape.
    pub shape: &'static Shape,
    /// Decodes a message, and encodes it again.
    pub again: fn(Bytes) -> Result<Vec<u8>, WireError>,
}

const MALFORMED: WireError = WireError::Form { field: "the message", expected: "protobuf of its type" };

impl Shape {
    /// Bytes that decoding such a message allocates at most beside the message's own.
    pub const fn most_bytes(&self) -> usize {
        let (mut bytes, mut at) = (0, 0);
        while at < self.fields.len() {
            let field = &self.fields[at];
            let content = match field.content {
                Content::Bytes => 0,
                Content::Text => MAX_TEXT_BYTES,
                Content::Message(shape) => shape.most_bytes(),
            };
            bytes += field.most * (GROWTH * field.place + content);
            at += 1;
        }
        bytes
    }

    /// Holds an encoded message against its limits.
    ///
    /// # Errors
    /// [`WireError::Size`] when fields occur more often than they may, or a text is too long; [`WireError::Form`] when
    /// this is no such message.
    pub fn check(&self, mut message: &[u8]) -> Result<(), WireError> {
        let (mut found, mut others) = ([0; table::MAX_FIELDS], 0);
        while !message.is_empty() {
            let (number, wire_type) = decode_key(&mut message).map_err(|_| MALFORMED)?;
            let Some(at) = self.fields.iter().position(|field| field.number == number) else {
                others += 1;
                within("other fields", others, self.others + NEWER)?;
                if matches!(wire_type, WireType::StartGroup | WireType::EndGroup) {
                    return Err(MALFORMED);
                }
                skip_field(wire_type, number, &mut message, DecodeContext::default())
                    .map_err(|_| MALFORMED)?;
                continue;
            };
            let field = &self.fields[at];
            found[at] += 1;
            within(field.name, found[at], field.most)?;
            if wire_type != WireType::LengthDelimited {
                return Err(MALFORMED);
            }
            let length = decode_varint(&mut message).map_err(|_| MALFORMED)?;
            let parts = usize::try_from(length).ok().and_then(|length| message.split_at_checked(length));
            let (content, rest) = parts.ok_or(MALFORMED)?;
            match field.content {
                Content::Bytes => {}
                Content::Text => within(field.name, content.len(), MAX_TEXT_BYTES)?,
                Content::Message(shape) => shape.check(content)?,
            }
            message = rest;
        }
        Ok(())
    }
}

/// Decodes a message within its bounds.
///
/// # Errors
/// [`WireError`], as [`Shape::check`].
pub fn decode<M: Message + Default + Shaped>(message: impl Buf) -> Result<M, WireError> {
    if message.chunk().len() != message.remaining() {
        // What came over the wire lies in one piece.
        return Err(MALFORMED);
    }
    M::SHAPE.check(message.chunk())?;
    M::decode(message).map_err(|_| MALFORMED)
}

fn again<M: Message + Default + Shaped>(message: Bytes) -> Result<Vec<u8>, WireError> {
    decode::<M>(message).map(|message| message.encode_to_vec())
}

/// Of every method: encodes as `prost` does, decodes within bounds.
#[derive(Debug, Clone)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

/// The decoding half.
#[derive(Debug, Clone)]
pub struct BoundedDecoder<U>(PhantomData<U>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Shaped + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

impl<U: Message + Default + Shaped> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        Ok(Some(decode(message)?))
    }
}

#[cfg(test)]
mod tests;
