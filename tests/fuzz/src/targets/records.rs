//! Canonical records: what parses has exactly the encoding that it came from.

use windvane_protocols::audit::entry::Entry;
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::audit::receipt::{Countersignature, Receipt};
use windvane_protocols::lookup::delta::Delta;
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::lookup::request::Request;
use windvane_protocols::psi::{PsiAcceptance, PsiReceipt, PsiRelease, PsiRequest};
use windvane_protocols::score::group::{GroupTerms, Identity};
use windvane_protocols::score::ledger::Ledger;
use windvane_protocols::score::model::ModelCard;
use windvane_protocols::score::shares::Evidence;
use windvane_protocols::score::shares::record::{Announcement, Confirmation, Dealing};
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::binning::Edges;
use windvane_protocols::train::charter::Charter;
use windvane_protocols::train::lapse::TrainLapse;
use windvane_protocols::train::parameters::Hyperparameters;
use windvane_protocols::train::record::{TrainAcceptance, TrainAnnouncement, TrainReceipt, TrainRequest};
use windvane_protocols::train::schema::TrainSchema;
use windvane_protocols::train::step::Step;
use windvane_protocols::train::tree::Tree;
use windvane_protocols::transcript::{Record, Signed};

use super::choose;

fn record<T: Record>(input: &[u8]) {
    if let Ok(record) = T::decode(input) {
        assert_eq!(record.encode().into_bytes(), input, "two encodings of one record");
    }
}

fn signed<T: Record>(input: &[u8]) {
    if let Ok(signed) = Signed::<T>::from_bytes_unverified(input.to_vec()) {
        assert_eq!(signed.as_bytes(), input);
        record::<T>(&input[..input.len() - 64]);
    }
}

pub(super) fn manifest(input: &[u8]) {
    signed::<Manifest>(input);
}

pub(super) fn delta(input: &[u8]) {
    signed::<Delta>(input);
}

pub(super) fn grant(input: &[u8]) {
    signed::<Grant>(input);
}

pub(super) fn entry(input: &[u8]) {
    record::<Entry>(input);
}

pub(super) fn receipt(input: &[u8]) {
    choose(input, &[signed::<Receipt>, signed::<Countersignature>]);
}

pub(super) fn lookup(input: &[u8]) {
    choose(input, &[signed::<Request>]);
}

pub(super) fn psi(input: &[u8]) {
    choose(
        input,
        &[signed::<PsiRequest>, signed::<PsiAcceptance>, signed::<PsiReceipt>, signed::<PsiRelease>],
    );
}

pub(super) fn score(input: &[u8]) {
    choose(
        input,
        &[
            record::<Ledger>,
            record::<Universe>,
            record::<ModelCard>,
            record::<GroupTerms>,
            record::<Identity>,
            record::<Evidence>,
            signed::<TableManifest>,
            signed::<Announcement>,
            signed::<Dealing>,
            signed::<Confirmation>,
        ],
    );
}

pub(super) fn train(input: &[u8]) {
    choose(
        input,
        &[
            record::<Charter>,
            record::<TrainSchema>,
            record::<Edges>,
            record::<Step>,
            record::<Tree>,
            record::<Hyperparameters>,
            signed::<TrainRequest>,
            signed::<TrainAnnouncement>,
            signed::<TrainAcceptance>,
            signed::<TrainReceipt>,
            signed::<TrainLapse>,
        ],
    );
}
