//! Receipts and countersignatures: the one record of a run that both parties signed.
//!
//! A receipt carries the requester's signed request, so that neither side can invent or deny a call, and only
//! what the provider knew when it answered. It is evidence without the messages' bodies; no identity is in it.

use crate::limits::{MAX_DOCUMENT_BYTES, MAX_FAMILIES, MAX_RECEIPTS_PER_COUNTERSIGNATURE};
use crate::lookup::KeyGroup;
use crate::lookup::request::Request;
use crate::party::PartyId;
use crate::transcript::{Hash, Reader, Record, Signed, Transcript, TranscriptError};

/// One run, as the provider signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The request with the requester's signature.
    pub request: Signed<Request>,
    /// Protocol and version.
    pub protocol: String,
    /// Digest of the provider's software.
    pub software: Hash,
    /// Digest of the provider's configuration.
    pub configuration: Hash,
    /// Elements answered per key group.
    pub elements: Vec<(KeyGroup, u64)>,
    /// Elements answered for a score.
    pub scored: u64,
    /// Digest of everything that was answered.
    pub transcript: Hash,
    /// When the request arrived, milliseconds of Unix time.
    pub received_at_ms: u64,
    /// When the answer was ready, milliseconds of Unix time.
    pub answered_at_ms: u64,
    /// Size of the provider's log that witnesses cosigned last; 0 until witnessing exists.
    pub witnessed_size: u64,
    /// Root of that log; empty until witnessing exists.
    pub witnessed_root: Vec<u8>,
}

impl Record for Receipt {
    const DOMAIN: &'static str = "windvane/lookup-receipt/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let elements = self.elements.iter().map(|(group, count)| {
            let mut item = vec![group.code()];
            item.extend_from_slice(&count.to_be_bytes());
            item
        });
        t.bytes("request", self.request.as_bytes())
            .text("protocol", &self.protocol)
            .bytes("software", &self.software)
            .bytes("configuration", &self.configuration)
            .list("elements", elements)
            .u64("scored", self.scored)
            .bytes("transcript", &self.transcript)
            .u64("received at", self.received_at_ms)
            .u64("answered at", self.answered_at_ms)
            .u64("witnessed size", self.witnessed_size)
            .bytes("witnessed root", &self.witnessed_root)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let receipt = Self {
            request: read_request(r)?,
            protocol: r.text("protocol")?.to_owned(),
            software: r.array("software")?,
            configuration: r.array("configuration")?,
            elements: r
                .list("elements", MAX_FAMILIES)?
                .into_iter()
                .map(read_elements)
                .collect::<Result<_, _>>()?,
            scored: r.u64("scored")?,
            transcript: r.array("transcript")?,
            received_at_ms: r.u64("received at")?,
            answered_at_ms: r.u64("answered at")?,
            witnessed_size: 0,
            witnessed_root: Vec::new(),
        };
        read_unwitnessed(r)?;
        Ok(receipt)
    }
}

/// Reads the end of any receipt: what witnesses cosigned. Until witnessing exists that is nothing, and what else a provider
/// might put there would be in both parties' logs for good.
pub(crate) fn read_unwitnessed(r: &mut Reader<'_>) -> Result<(), TranscriptError> {
    let form = |label, expected| Err(TranscriptError::Form { label, expected });
    if r.u64("witnessed size")? != 0 {
        return form("witnessed size", "0 until witnessing exists");
    }
    if !r.bytes("witnessed root")?.is_empty() {
        return form("witnessed root", "empty until witnessing exists");
    }
    Ok(())
}

fn read_request(r: &mut Reader<'_>) -> Result<Signed<Request>, TranscriptError> {
    let form = TranscriptError::Form { label: "request", expected: "a signed request" };
    let bytes = r.bytes("request")?;
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(form);
    }
    Signed::from_bytes_unverified(bytes.to_vec()).map_err(|_| form)
}

fn read_elements(item: &[u8]) -> Result<(KeyGroup, u64), TranscriptError> {
    let parse = || {
        let (&code, count) = item.split_first()?;
        Some((KeyGroup::from_code(code)?, u64::from_be_bytes(count.try_into().ok()?)))
    };
    parse().ok_or(TranscriptError::Form { label: "elements", expected: "a group's code and a count" })
}

/// The requester's signature over many receipts, made off the hot path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Countersignature {
    /// Who asked, and signs.
    pub requester: PartyId,
    /// Who answered.
    pub provider: PartyId,
    /// [`Signed::digest`] of every receipt.
    pub receipts: Vec<Hash>,
    /// Milliseconds of Unix time.
    pub signed_at_ms: u64,
}

impl Record for Countersignature {
    const DOMAIN: &'static str = "windvane/countersignature/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.text("requester", self.requester.as_str())
            .text("provider", self.provider.as_str())
            .list("receipt", self.receipts.iter())
            .u64("signed at", self.signed_at_ms)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = |expected| TranscriptError::Form { label: "receipt", expected };
        let countersignature = Self {
            requester: r.parse("requester")?,
            provider: r.parse("provider")?,
            receipts: r
                .list("receipt", MAX_RECEIPTS_PER_COUNTERSIGNATURE)?
                .into_iter()
                .map(|item| item.try_into().map_err(|_| form("64 bytes")))
                .collect::<Result<_, _>>()?,
            signed_at_ms: r.u64("signed at")?,
        };
        let mut sorted: Vec<_> = countersignature.receipts.iter().collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(form("named once"));
        }
        Ok(countersignature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_countersignature_names_each_receipt_once() {
        let of = |receipts: Vec<Hash>| Countersignature {
            requester: "bank".parse().unwrap(),
            provider: "carrier-a".parse().unwrap(),
            receipts,
            signed_at_ms: 4,
        };
        let read = |body: &Countersignature| Countersignature::decode(body.encode().as_bytes());
        let (once, twice) = (of(vec![[6; 64], [5; 64]]), of(vec![[6; 64], [5; 64], [6; 64]]));
        assert_eq!(read(&once), Ok(once));
        assert_eq!(read(&twice), Err(TranscriptError::Form { label: "receipt", expected: "named once" }));
    }
}
