//! `windvane.score.v1`.

use bytes::Bytes;
use windvane_protocols::limits::{MAX_DOCUMENT_BYTES, MAX_SCORE_PROVIDERS, MAX_SEGMENTS, MAX_SETUP_BYTES};
use windvane_protocols::lookup::DataSet;
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

/// Which stretch of a table a peer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableWanted {
    /// The scoring group.
    pub group: DataSet,
    /// The epoch.
    pub epoch: u64,
    /// The context that the table was made under.
    pub context: Hash,
    /// The first segment.
    pub from: u64,
}

/// Whose manifest a peer wants: group and epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableManifestWanted {
    /// The scoring group.
    pub group: DataSet,
    /// The epoch.
    pub epoch: u64,
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
        let messages = messages("announcements", &message.announcements, MAX_SCORE_PROVIDERS)?;
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
        let messages = messages("dealings", &message.dealings, MAX_SCORE_PROVIDERS)?;
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
        // The bank confirms too.
        let messages = messages("confirmations", &message.confirmations, MAX_SCORE_PROVIDERS + 1)?;
        Ok(Self { charter: array("charter", &message.charter)?, messages })
    }
}

impl From<&ScoreRound<Confirmation>> for wire::FinishRequest {
    fn from(round: &ScoreRound<Confirmation>) -> Self {
        Self { charter: charter(round), confirmations: round.messages.iter().map(bytes).collect() }
    }
}

impl TryFrom<&wire::FetchTableManifestRequest> for TableManifestWanted {
    type Error = WireError;

    fn try_from(message: &wire::FetchTableManifestRequest) -> Result<Self, WireError> {
        Ok(Self { group: group(&message.group)?, epoch: message.epoch })
    }
}

impl TryFrom<&wire::FetchTableRequest> for TableWanted {
    type Error = WireError;

    fn try_from(message: &wire::FetchTableRequest) -> Result<Self, WireError> {
        if message.from > MAX_SEGMENTS as u64 {
            return Err(WireError::Form { field: "from", expected: "a segment of a universe" });
        }
        let context = array("context", &message.context)?;
        Ok(Self { group: group(&message.group)?, epoch: message.epoch, context, from: message.from })
    }
}

fn group(text: &str) -> Result<DataSet, WireError> {
    text.parse().map_err(|_| WireError::Form { field: "group", expected: "a scoring group's name" })
}

fn messages<T: Record>(
    field: &'static str,
    messages: &[Bytes],
    limit: usize,
) -> Result<Vec<Signed<T>>, WireError> {
    within(field, messages.len(), limit)?;
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

    fn confirmations(count: usize) -> wire::FinishRequest {
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
        let body = Confirmation { charter: [1; 64], party: "bank".parse().unwrap(), transcript: [2; 64] };
        let round = ScoreRound { charter: [1; 64], messages: vec![Signed::sign(body, &key); count] };
        let wire = wire::FinishRequest::from(&round);
        if count <= MAX_SCORE_PROVIDERS + 1 {
            assert_eq!(ScoreRound::<Confirmation>::try_from(wire.clone()), Ok(round));
        }
        wire
    }

    #[test]
    fn a_round_survives_the_wire_and_one_of_too_many_parties_does_not() {
        confirmations(MAX_SCORE_PROVIDERS + 1);
        let crowd = ScoreRound::<Confirmation>::try_from(confirmations(MAX_SCORE_PROVIDERS + 2));
        assert_eq!(refused(crowd), ("confirmations", Some(MAX_SCORE_PROVIDERS + 1)));
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
        assert_eq!(read(dealings(17, 1)), ("dealings", Some(MAX_SCORE_PROVIDERS)));
        assert_eq!(read(dealings(1, 100)), ("dealings", None));
        let terms = wire::AnnounceRequest { terms: vec![0; MAX_DOCUMENT_BYTES + 1].into() };
        assert_eq!(refused(GroupTerms::try_from(terms)), ("terms", Some(MAX_DOCUMENT_BYTES)));
    }

    #[test]
    fn a_short_charter_and_a_table_of_no_group_or_beyond_any_universe_are_refused() {
        let deal = wire::DealRequest { charter: vec![0; 63].into(), announcements: vec![] };
        assert_eq!(refused(ScoreRound::<Announcement>::try_from(deal)), ("charter", None));
        let wanted = |group: &str, context: usize, from| wire::FetchTableRequest {
            group: group.into(),
            epoch: 1,
            context: vec![0; context].into(),
            from,
        };
        let read = |message| TableWanted::try_from(&message);
        assert!(read(wanted("joint-risk", 64, 3)).is_ok());
        assert_eq!(refused(read(wanted("Joint", 64, 3))), ("group", None));
        assert_eq!(refused(read(wanted("joint-risk", 63, 3))), ("context", None));
        assert_eq!(refused(read(wanted("joint-risk", 64, MAX_SEGMENTS as u64 + 1))), ("from", None));
    }
}
