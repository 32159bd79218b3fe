//! Texts: what people type, what operators write, and the log's own spellings.

use std::str::from_utf8;

use windvane::config::Config;
use windvane::dataset::{CARRIER_SCHEMA, DataSetConfig};
use windvane::http::Token;
use windvane::risk::{Rules, Vocabulary};
use windvane::score::card;
use windvane::screen::ScreenPlan;
use windvane_protocols::audit::checkpoint::{LogVerifier, SignedCheckpoint};
use windvane_protocols::audit::tiles::Tile;
use windvane_protocols::identity::{Document, DocumentKind, Name, Other, Phone};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::schema::Schema;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::universe::Segment;

/// Runs on texts; other bytes never reach these parsers.
fn text(input: &[u8], run: impl FnOnce(&str)) {
    if let Ok(text) = from_utf8(input) {
        run(text);
    }
}

/// What is canonical stays as it is when it is read again.
pub(super) fn identity(input: &[u8]) {
    text(input, |text| {
        if let Ok(phone) = Phone::parse(text) {
            assert_eq!(Phone::parse(phone.as_str()).as_ref().map(Phone::as_str), Ok(phone.as_str()));
        }
        if let Ok(name) = Name::parse(text) {
            assert_eq!(Name::parse(name.as_str()).as_ref().map(Name::as_str), Ok(name.as_str()));
        }
        for kind in [DocumentKind::ResidentId, DocumentKind::Passport, DocumentKind::SocialCredit] {
            let _ = Document::parse(kind, text);
        }
        let _ = (Other::account(text), Other::device(text));
    });
}

pub(super) fn party_names(input: &[u8]) {
    text(input, |text| {
        if let Ok(party) = text.parse::<PartyId>() {
            assert_eq!(party.as_str(), text);
        }
        if let Ok(name) = text.parse::<DataSet>() {
            assert_eq!(name.as_str(), text);
        }
        let _ = text.parse::<Segment>();
    });
}

pub(super) fn configuration(input: &[u8]) {
    text(input, |text| {
        let _ = Config::parse(text);
    });
}

pub(super) fn data_set(input: &[u8]) {
    text(input, |text| {
        let _ = DataSetConfig::parse(text, CARRIER_SCHEMA);
    });
}

pub(super) fn schema(input: &[u8]) {
    text(input, |text| {
        let Ok(schema) = Schema::parse(text) else { return };
        let bytes = vec![0; schema.label_bytes()];
        let label = schema.unpack(&bytes).expect("zeros are a label of every schema");
        assert_eq!(schema.pack(&label).expect("and pack again"), bytes);
        let _ = schema.decode(&label);
    });
}

pub(super) fn rules(input: &[u8]) {
    text(input, |text| {
        let _ = Rules::parse(text, &Vocabulary::carrier());
    });
}

pub(super) fn plans(input: &[u8]) {
    text(input, |text| {
        let _ = ScreenPlan::parse(text);
    });
}

pub(super) fn model_card(input: &[u8]) {
    text(input, |text| {
        let _ = card::parse(text);
    });
}

/// A note is its own only spelling.
pub(super) fn checkpoint(input: &[u8]) {
    if let Ok(note) = SignedCheckpoint::parse(input) {
        assert_eq!(note.to_string().as_bytes(), input);
    }
    text(input, |text| {
        let _ = text.parse::<LogVerifier>();
    });
}

pub(super) fn tile_path(input: &[u8]) {
    text(input, |text| {
        if let Ok(tile) = text.parse::<Tile>() {
            assert_eq!(tile.to_string(), text);
        }
    });
}

pub(super) fn token(input: &[u8]) {
    text(input, |text| {
        let _ = Token::parse(text);
    });
}
