//! The protocol of a destruction: what a party destroyed for good, how, when and how much of it.
//!
//! It is in the log of the party that signed it, so that an auditor who misses something finds why. No identity is in
//! it: a subject is a data set, an epoch or a party, and counts stand for the rest.

use crate::party::PartyId;
use crate::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

/// One class of data that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destruction {
    /// Who destroyed it.
    pub party: PartyId,
    /// The class of data, for example `verifications` or `epochs`.
    pub class: String,
    /// Which one of the class, for example `subscribers/3`; empty where it is a class by age.
    pub subject: String,
    /// `retention`, or `retired`.
    pub cause: String,
    /// How it was destroyed and how that was checked, in words.
    pub method: String,
    /// Everything of the class from before this time, milliseconds of Unix time; 0 where age did not matter.
    pub before_ms: u64,
    /// How many: rows, folders, files or keys, as the class says.
    pub items: u64,
    /// Bytes that they took on the disk.
    pub bytes: u64,
    /// Digest over names and lengths of all that was destroyed.
    pub digest: Hash,
    /// When it was found to be gone, milliseconds of Unix time.
    pub destroyed_at_ms: u64,
}

impl Record for Destruction {
    const DOMAIN: &'static str = "windvane/destruction/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.text("party", self.party.as_str())
            .text("class", &self.class)
            .text("subject", &self.subject)
            .text("cause", &self.cause)
            .text("method", &self.method)
            .u64("before", self.before_ms)
            .u64("items", self.items)
            .u64("bytes", self.bytes)
            .bytes("digest", &self.digest)
            .u64("destroyed at", self.destroyed_at_ms)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            party: r.parse("party")?,
            class: r.parse("class")?,
            subject: r.parse("subject")?,
            cause: r.parse("cause")?,
            method: r.parse("method")?,
            before_ms: r.u64("before")?,
            items: r.u64("items")?,
            bytes: r.u64("bytes")?,
            digest: r.array("digest")?,
            destroyed_at_ms: r.u64("destroyed at")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_survives_its_encoding_and_refuses_every_truncation() {
        let record = Destruction {
            party: "bank".parse().unwrap(),
            class: "verifications".into(),
            subject: String::new(),
            cause: "retention".into(),
            method: "overwritten".into(),
            before_ms: 1,
            items: 2,
            bytes: 3,
            digest: [4; 64],
            destroyed_at_ms: 5,
        };
        let bytes = record.encode().into_bytes();
        assert!((0..bytes.len()).all(|end| Destruction::decode(&bytes[..end]).is_err()));
        assert_eq!(Destruction::decode(&bytes), Ok(record));
    }
}
