//! `windvane.score.v1`.

mod tables;

pub use tables::*;

use bytes::Bytes;
use windvane_protocols::limits::{MAX_DOCUMENT_BYTES, MAX_SETUP_BYTES};
use windvane_protocols::score::group::GroupTerms;
use windvane_protocols::score::shares::record::{Announcement, Confirmation, Dealing};
use windvane_protocols::transcript::{Hash, Record, Signed};

use super::{WireError, array, signed, within};
use crate::score::v1 as wire;

/// Everybody's messages of one round of a setup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreRound<T> {
    /// Digest of the terms.
    pub charter: Hash,
    /// One of every party that speaks in the round; their signatures are not checked yet.
    pub messages: Vec<Signed<T>>,
}

impl TryFrom<wire::AnnounceRequest> for GroupTerms {
    type Error = WireError;

    fn try_from(message: wire::AnnounceRequest) -> Result<Self, WireError> {
        within("terms", message.terms.len(), MAX_DOCUMENT_BYTES)?;
        let form = WireError::Form { field: "terms", expected: "a scoring group's terms" };
        Self::decode(&message.terms).map_err(|_| form)
    }
}

impl From<&GroupTerms> for wire::AnnounceRequest {
    fn from(terms: &GroupTerms) -> Self {
        Self { terms: terms.encode().into_bytes().into() }
    }
}

impl TryFrom<wire::AnnounceResponse> for Signed<Announcement> {
    type Error = WireError;

    fn try_from(message: wire::AnnounceResponse) -> Result<Self, WireError> {
        signed("announcement", &message.announcement)
    }
}

impl From<&Signed<Announcement>> for wire::AnnounceResponse {
    fn from(announcement: &Signed<Announcement>) -> Self {
        Self { announcement: bytes(announcement) }
    }
}

impl TryFrom<wire::DealRequest> for ScoreRound<Announcement> {
    type Error = WireError;

    fn try_from(message: wire::DealRequest) -> Result<Self, WireError> {
        let messages = messages("announcements", &message.announcements)?;
        Ok(Self { charter: array("charter", &message.charter)?, messages })
    }
}

impl From<&ScoreRound<Announcement>> for wire::DealRequest {
    fn from(round: &ScoreRound<Announcement>) -> Self {
        Self { charter: charter(round), announcements: round.messages.iter().map(bytes).collect() }
    }
}

impl TryFrom<wire::DealResponse> for Signed<Dealing> {
    type Error = WireError;

    fn try_from(message: wire::DealResponse) -> Result<Self, WireError> {
        signed("dealing", &message.dealing)
    }
}

impl From<&Signed<Dealing>> for wire::DealResponse {
    fn from(dealing: &Signed<Dealing>) -> Self {
        Self { dealing: bytes(dealing) }
    }
}

impl TryFrom<wire::ConfirmRequest> for ScoreRound<Dealing> {
    type Error = WireError;

    fn try_from(message: wire::ConfirmRequest) -> Result<Self, WireError> {
        let messages = messages("dealings", &message.dealings)?;
        Ok(Self { charter: array("charter", &message.charter)?, messages })
    }
}

impl From<&ScoreRound<Dealing>> for wire::ConfirmRequest {
    fn from(round: &ScoreRound<Dealing>) -> Self {
        Self { charter: charter(round), dealings: round.messages.iter().map(bytes).collect() }
    }
}

impl TryFrom<wire::ConfirmResponse> for Signed<Confirmation> {
    type Error = WireError;

    fn try_from(message: wire::ConfirmResponse) -> Result<Self, WireError> {
        signed("confirmation", &message.confirmation)
    }
}

impl From<&Signed<Confirmation>> for wire::ConfirmResponse {
    fn from(confirmation: &Signed<Confirmation>) -> Self {
        Self { confirmation: bytes(confirmation) }
    }
}

impl TryFrom<wire::FinishRequest> for ScoreRound<Confirmation> {
    type Error = WireError;

    fn try_from(message: wire::FinishRequest) -> Result<Self, WireError> {
        let messages = messages("confirmations", &message.confirmations)?;
        Ok(Self { charter: array("charter", &message.charter)?, messages })
    }
}

impl From<&ScoreRound<Confirmation>> for wire::FinishRequest {
    fn from(round: &ScoreRound<Confirmation>) -> Self {
        Self { charter: charter(round), confirmations: round.messages.iter().map(bytes).collect() }
    }
}

fn messages<T: Record>(field: &'static str, messages: &[Bytes]) -> Result<Vec<Signed<T>>, WireError> {
    within(field, messages.iter().map(Bytes::len).sum(), MAX_SETUP_BYTES)?;
    messages.iter().map(|message| signed(field, message)).collect()
}

fn bytes<T>(signed: &Signed<T>) -> Bytes {
    Bytes::copy_from_slice(signed.as_bytes())
}

fn charter<T>(round: &ScoreRound<T>) -> Bytes {
    Bytes::copy_from_slice(&round.charter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T>(message: Result<T, WireError>) -> (&'static str, Option<usize>) {
        match message.map(|_| ()).unwrap_err() {
            WireError::Size { field, limit, .. } => (field, Some(limit)),
            WireError::Form { field, .. } => (field, None),
        }
    }

    #[test]
    fn a_round_survives_the_wire() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
        let body = Confirmation { charter: [1; 64], party: "bank".parse().unwrap(), transcript: [2; 64] };
        let round = ScoreRound { charter: [1; 64], messages: vec![Signed::sign(body, &key); 17] };
        assert_eq!(ScoreRound::try_from(wire::FinishRequest::from(&round)), Ok(round));
    }

    #[test]
    fn messages_that_are_too_long_alone_or_together_are_refused_before_they_are_read() {
        let dealings = |count, len| wire::ConfirmRequest {
            charter: vec![0; 64].into(),
            dealings: vec![vec![0; len].into(); count],
        };
        let read = |message| refused(ScoreRound::<Dealing>::try_from(message));
        assert_eq!(read(dealings(1, MAX_DOCUMENT_BYTES + 1)), ("dealings", Some(MAX_DOCUMENT_BYTES)));
        assert_eq!(read(dealings(16, MAX_SETUP_BYTES / 16 + 1)), ("dealings", Some(MAX_SETUP_BYTES)));
        assert_eq!(read(dealings(1, 100)), ("dealings", None));
        let terms = wire::AnnounceRequest { terms: vec![0; MAX_DOCUMENT_BYTES + 1].into() };
        assert_eq!(refused(GroupTerms::try_from(terms)), ("terms", Some(MAX_DOCUMENT_BYTES)));
    }

    #[test]
    fn a_short_charter_is_refused() {
        let deal = wire::DealRequest { charter: vec![0; 63].into(), announcements: vec![] };
        assert_eq!(refused(ScoreRound::<Announcement>::try_from(deal)), ("charter", None));
    }
}
