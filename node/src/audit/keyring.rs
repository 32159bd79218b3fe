//! The keys that a log itself names, as far as it has been read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha256};
use windvane_keys::enrolment::{Enrolment, EnrolmentRequest};
use windvane_protocols::audit::entry::Keys;
use windvane_protocols::party::PartyId;

use super::code;
use super::report::Fault;

/// Receipt keys of a party, oldest first.
pub(super) type Signers = Arc<[VerifyingKey]>;

/// The history of keys up to a place in the log. Keys only come: a record may have been signed under an
/// earlier key of its signer, as a grant from before a renewal is.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    own: Option<Keys>,
    signers: BTreeMap<PartyId, Signers>,
    /// The enrolled keys of each party, with their entries.
    enrolled: BTreeMap<PartyId, Vec<(u64, Keys)>>,
    /// Parties under the SHA-256 of their authority's certificate.
    authorities: BTreeMap<String, BTreeSet<PartyId>>,
}

impl Keyring {
    /// Whose log it is.
    pub(super) fn party(&self) -> Option<&PartyId> {
        self.own.as_ref().map(|keys| &keys.party)
    }

    /// The keys that the log opened with.
    pub(super) fn own(&self) -> Option<&Keys> {
        self.own.as_ref()
    }

    /// The receipt keys that a party has had so far.
    pub(super) fn signers(&self, party: &PartyId) -> Option<&Signers> {
        self.signers.get(party)
    }

    /// The keys under which a party is enrolled here, with their entries.
    pub(super) fn enrolled(&self, party: &PartyId) -> &[(u64, Keys)] {
        self.enrolled.get(party).map(Vec::as_slice).unwrap_or_default()
    }

    /// One line for every authority and the parties that it vouches for.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.authorities.iter().map(|(fingerprint, parties)| {
            let parties: Vec<_> = parties.iter().map(PartyId::as_str).collect();
            format!("enrolled by the authority with SHA-256 {fingerprint}: {}", parties.join(", "))
        })
    }

    /// Takes the keys with which the log opens.
    pub(super) fn open(&mut self, keys: &Keys) -> Result<(), Fault> {
        self.own = Some(keys.clone());
        self.add(keys)
    }

    /// Takes an enrolment: the document must hold at the time of its entry, and its request must name exactly
    /// these keys.
    pub(super) fn enrol(
        &mut self,
        entry: u64,
        at_ms: u64,
        keys: &Keys,
        document: &[u8],
    ) -> Result<(), Fault> {
        let invalid = |error: &dyn std::fmt::Display| Fault::new(code::ENROLMENT_INVALID, error);
        let text = std::str::from_utf8(document).map_err(|error| invalid(&error))?;
        let enrolment = Enrolment::from_pem(text).map_err(|error| invalid(&error))?;
        let authority = &enrolment.authority().der;
        enrolment.verify(authority, at_ms).map_err(|error| invalid(&error))?;
        if keys_of(enrolment.request()) != *keys {
            let text = format!("the entry names other keys of {} than the enrolment in it", keys.party);
            return Err(Fault::new(code::ENROLMENT_KEYS, text));
        }
        if self.own.as_ref().is_some_and(|own| own.party == keys.party && own.log != keys.log) {
            let text = "the party was enrolled with another log key than the one that the log opened with";
            return Err(Fault::new(code::LOG_KEY_DIFFERS, text));
        }
        let fingerprint = hex::encode(Sha256::digest(authority));
        self.authorities.entry(fingerprint).or_default().insert(keys.party.clone());
        self.enrolled.entry(keys.party.clone()).or_default().push((entry, keys.clone()));
        self.add(keys)
    }

    fn add(&mut self, keys: &Keys) -> Result<(), Fault> {
        let key = usable(&keys.receipt)?;
        let known = self.signers.get(&keys.party).map(|signers| signers.to_vec()).unwrap_or_default();
        if !known.contains(&key) {
            self.signers.insert(keys.party.clone(), known.into_iter().chain([key]).collect());
        }
        Ok(())
    }
}

/// A public key that can verify.
pub(super) fn usable(bytes: &[u8; 32]) -> Result<VerifyingKey, Fault> {
    let key = VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak());
    key.ok_or_else(|| Fault::new(code::KEY_INVALID, "a public key in this entry is not a usable key"))
}

fn keys_of(request: &EnrolmentRequest) -> Keys {
    Keys {
        party: request.party().clone(),
        receipt: request.receipt_key().to_bytes(),
        log: request.log_key().to_bytes(),
        subject_tag: request.subject_tag_key().map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
    }
}
