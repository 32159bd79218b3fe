//! Protobuf messages of peers, through the border where they become trusted types.

use bytes::Bytes;
use prost::Message;
use windvane_proto::convert::{
    Pages, PagesWanted, PsiFrame, ScoreRound, SegmentRows, TableManifestWanted, TableWanted, TrainBegin,
    TrainFinish, TrainGrown, TrainStep, TrainUpload, train_parts, train_rows, train_sums,
};
use windvane_proto::decode::{Shaped, decode};
use windvane_proto::{audit, common, lookup, psi, score, train};
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::client::{Answer, Question};
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::score::group::GroupTerms;
use windvane_protocols::score::shares::record::{Announcement, Confirmation, Dealing};
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::train::record::{TrainAcceptance, TrainReceipt, TrainRequest};
use windvane_protocols::transcript::Signed;

use super::choose;

/// A message that becomes a trusted type by value.
fn owned<M: Message + Default + Shaped, T: TryFrom<M>>(input: &[u8]) {
    if let Ok(message) = decode::<M>(Bytes::copy_from_slice(input)) {
        let _ = T::try_from(message);
    }
}

/// A message that is read where it lies.
fn borrowed<M: Message + Default + Shaped, T>(input: &[u8])
where
    T: for<'a> TryFrom<&'a M>,
{
    if let Ok(message) = decode::<M>(Bytes::copy_from_slice(input)) {
        let _ = T::try_from(&message);
    }
}

/// A message that a function takes apart.
fn with<M: Message + Default + Shaped>(input: &[u8], take: impl FnOnce(M)) {
    if let Ok(message) = decode::<M>(Bytes::copy_from_slice(input)) {
        take(message);
    }
}

pub(super) fn lookup(input: &[u8]) {
    choose(
        input,
        &[
            owned::<lookup::v1::EvaluateRequest, Question>,
            owned::<lookup::v1::EvaluateResponse, Answer>,
            owned::<lookup::v1::FetchManifestResponse, Signed<Manifest>>,
            borrowed::<lookup::v1::FetchManifestRequest, DataSet>,
            borrowed::<lookup::v1::FetchPagesRequest, PagesWanted>,
            owned::<lookup::v1::FetchPagesResponse, Pages>,
        ],
    );
}

pub(super) fn audit(input: &[u8]) {
    choose(
        input,
        &[owned::<audit::v1::CountersignRequest, Signed<Countersignature>>, |input| {
            with(input, |hello: common::v1::HelloRequest| drop(hello.common_with(&["lookup/v1"])));
        }],
    );
}

pub(super) fn psi(input: &[u8]) {
    owned::<psi::v1::Frame, PsiFrame>(input);
}

pub(super) fn score(input: &[u8]) {
    choose(
        input,
        &[
            owned::<score::v1::AnnounceRequest, GroupTerms>,
            owned::<score::v1::AnnounceResponse, Signed<Announcement>>,
            owned::<score::v1::DealRequest, ScoreRound<Announcement>>,
            owned::<score::v1::DealResponse, Signed<Dealing>>,
            owned::<score::v1::ConfirmRequest, ScoreRound<Dealing>>,
            owned::<score::v1::ConfirmResponse, Signed<Confirmation>>,
            owned::<score::v1::FinishRequest, ScoreRound<Confirmation>>,
            borrowed::<score::v1::FetchTableManifestRequest, TableManifestWanted>,
            borrowed::<score::v1::FetchTableRequest, TableWanted>,
            owned::<score::v1::FetchTableManifestResponse, Signed<TableManifest>>,
            owned::<score::v1::FetchTableResponse, SegmentRows>,
        ],
    );
}

pub(super) fn train(input: &[u8]) {
    choose(
        input,
        &[
            owned::<train::v1::OpenRequest, Signed<TrainRequest>>,
            owned::<train::v1::OpenResponse, Signed<TrainAcceptance>>,
            owned::<train::v1::BeginRequest, TrainBegin>,
            owned::<train::v1::UploadRequest, TrainUpload>,
            owned::<train::v1::FinishRequest, TrainFinish>,
            owned::<train::v1::FinishResponse, Signed<TrainReceipt>>,
            owned::<train::v1::GrowRequest, TrainStep>,
            owned::<train::v1::SumRequest, TrainStep>,
            owned::<train::v1::ContributionsRequest, TrainStep>,
            owned::<train::v1::PartsRequest, TrainStep>,
            owned::<train::v1::GrowResponse, TrainGrown>,
            |input| with(input, |message| drop(train_sums(message))),
            |input| with(input, |message| drop(train_rows(message))),
            |input| with(input, |message| drop(train_parts(message))),
        ],
    );
}
