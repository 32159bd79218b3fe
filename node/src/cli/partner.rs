//! `windvane partner`: enrolment.

use std::path::PathBuf;

use serde::Serialize;
use windvane::admin::read_text;
use windvane::clock::rfc3339;
use windvane_keys::enrolment::Partner;
use windvane_protocols::party::PartyId;

use super::Answer;
use super::authority::SignArgs;
use super::failure::Failure;
use super::place::{Place, hand_over};
use super::terminal::table;

/// What to do with enrolments.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PartnerCommand {
    /// Export this node's public keys and certificate request, for the authority to sign
    Request {
        /// Where to write the request; printed when not given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Sign a party's request as the authority; gives the enrolment that every party imports
    Sign(SignArgs),
    /// Import an enrolment: this node's own first, then its partners'
    Import {
        /// The enrolment
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Refuse every call of a partner's, and ask it nothing, until it is resumed
    Suspend {
        /// The partner's name
        party: PartyId,
        #[command(flatten)]
        place: Place,
    },
    /// End a partner's suspension
    Resume {
        /// The partner's name
        party: PartyId,
        #[command(flatten)]
        place: Place,
    },
    /// List the enrolled partners
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl PartnerCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Request { out, place } => {
                hand_over(out.as_deref(), place.admin()?.enrolment_request()?, "request")
            }
            Self::Sign(args) => args.run(),
            Self::Import { file, place } => import(&place, &file),
            Self::Suspend { party, place } => {
                place.admin()?.suspend(&party)?;
                Ok(Answer::text(format!(
                    "{party} is suspended; its calls are refused with PARTNER_SUSPENDED"
                )))
            }
            Self::Resume { party, place } => {
                place.admin()?.resume(&party)?;
                Ok(Answer::text(format!("{party} is no longer suspended")))
            }
            Self::List { place, json } => list(&place, json),
        }
    }
}

fn import(place: &Place, file: &std::path::Path) -> Result<Answer, Failure> {
    let admin = place.admin()?;
    let party = admin.import_enrolment(&read_text(file)?)?;
    let whose = if party == admin.keys().party { "this node" } else { "a partner" };
    Ok(Answer::text(format!("{party} ({whose}) is enrolled")))
}

/// A partner in a listing.
#[derive(Debug, Serialize)]
struct PartnerView {
    party: String,
    valid_until: String,
    receipt_key: String,
    log_key: String,
    certificate_sha256: String,
}

impl PartnerView {
    fn of(partner: &Partner) -> Self {
        Self {
            valid_until: rfc3339(partner.valid_until_ms),
            receipt_key: hex::encode(partner.receipt_key.as_bytes()),
            log_key: hex::encode(partner.log_key.as_bytes()),
            certificate_sha256: hex::encode(partner.certificate_fingerprint_sha256),
            party: partner.party.to_string(),
        }
    }
}

fn list(place: &Place, json: bool) -> Result<Answer, Failure> {
    let views: Vec<_> = place.admin()?.partners()?.iter().map(PartnerView::of).collect();
    Ok(Answer::either(json, &views, |views| {
        let row = |v: &PartnerView| [v.party.clone(), v.valid_until.clone(), v.certificate_sha256.clone()];
        table(["PARTY", "VALID UNTIL", "CERTIFICATE SHA-256"], views.iter().map(row))
    }))
}
