//! A simulated world with ground truth: people, three carriers' files, a bank's applicants, and what a
//! verification of each must find.
//!
//! Promised:
//!
//! - It depends on nothing of the product. Check characters, number segments, colours and files are
//!   stated here a second time, so that a mistake of the product does not hide in its own test data.
//! - It is a function of its [`WorldConfig`]: equal configurations give equal files, byte for byte.
//! - It is lazy. A [`World`] holds its applicants only; carriers' rows are made on demand, 256 at a time,
//!   so a file of millions of rows costs little memory.
//! - A number stands at one carrier at most, and there once. A ported one stands at its new carrier only.
//! - All rows are legal, though some are written unusually (country codes, spaces, full-width digits,
//!   other middle dots, a lower-case x), unless [`WorldConfig::bad_rows`] asks for bad ones.
//!
//! Not promised: that shares of classes, tags or names are those of a real operator, that a world stays
//! the same from one version of this crate to the next, or that any name or number is nobody's.
//!
//! The rules of colour are those of [`expected_colour`] and [`colour_with_score`]; README.md describes the files.

mod applicants;
mod bad;
mod block;
mod changes;
mod class;
mod config;
mod date;
mod document;
mod files;
mod layout;
mod name;
mod noise;
mod numbering;
mod people;
mod policy;
mod scoring;
mod screening;
mod seed;
mod subscriber;
mod world;

pub use applicants::{Applicant, Application, Truth};
pub use bad::{BadReason, BadRows};
pub use changes::{DayChange, Days, OPERATION_HEADER};
pub use class::Class;
pub use config::WorldConfig;
pub use date::Date;
pub use document::{Document, DocumentKind, gb11643_number};
pub use files::{APPLICATIONS_HEADER, CARRIER_HEADER, TRUTH_HEADER, TextEncoding};
pub use people::{Person, PersonId, simulated_person};
pub use policy::{Colour, ExpectedResult, colour_with_score, expected_colour};
pub use scoring::{
    AUTHORITY, JointScore, PARTS_HEADER, SCORE_APPLICATIONS_HEADER, SCORE_MODEL, SCORE_TRUTH_HEADER,
    SCORING_PARTIES, SEGMENTS_HEADER, ScoreBand, ScoringFiles,
};
pub use screening::{
    CUSTOMERS_HEADER, Customer, RISK_LIST_HEADER, SCREENING_TRUTH_HEADER, ScreeningFiles, listed_colour,
};
pub use subscriber::{Status, Subscriber, Tag};
pub use world::{Carrier, PARTIES, People, World, WorldFiles, write_carrier_stream};

/// The party id of a carrier.
fn party(carrier: usize) -> String {
    PARTIES[carrier].to_owned()
}
