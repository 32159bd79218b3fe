//! `windvane partner`: enrolment.

use std::path::PathBuf;

use serde::Serialize;
use windvane::admin::{Enrolled, read_text};
use windvane::clock::rfc3339;
use windvane_keys::trust::TrustError;
use windvane_protocols::party::PartyId;

use super::Answer;
use super::authority::SignArgs;
use super::failure::Failure;
use super::place::{Place, hand_over};
use super::terminal::table;

mod trust;

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
    /// Refuse every call of a partner's, and begin to ask it nothing, until it is resumed; set intersections and
    /// trainings under way end, a download or set-up goes on
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
    /// Put an enrolment together from a request and what an authority other than the trial's issued for it
    Assemble {
        /// The enrolment request
        request: PathBuf,
        /// The party's certificate and those of intermediate authorities, PEM, each signed by the next
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
        /// The authority's own certificate, PEM
        #[arg(long, value_name = "FILE")]
        authority: PathBuf,
        /// Where to write the enrolment; printed when not given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Take the PKCS#10 request out of an enrolment request, for an authority other than the trial's
    Csr {
        /// The enrolment request
        request: PathBuf,
        /// Where to write the PKCS#10 request, PEM
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Where to write the extensions that the certificate must have, as an OpenSSL section file
        #[arg(long, value_name = "FILE")]
        extensions: PathBuf,
    },
    /// Let an authority speak for these parties and for nobody else; they are believed under no other
    Trust {
        /// The authority's certificate, PEM
        authority: PathBuf,
        /// A party; give it once for each
        #[arg(long = "party", value_name = "PARTY", required = true)]
        parties: Vec<PartyId>,
        #[command(flatten)]
        place: Place,
    },
    /// Let an authority that was bound speak for nobody any more
    Distrust {
        /// The SHA-256 of its certificate, hexadecimal, as `partner authorities` prints it
        sha256: String,
        #[command(flatten)]
        place: Place,
    },
    /// List the authorities and revocation lists that count here
    Authorities {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Import an authority's newest revocation list; who stands in it is refused within moments
    Revocations {
        /// The list, PEM or DER
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// End a partner's enrolment; it is refused within moments
    End {
        /// The partner
        party: PartyId,
        #[command(flatten)]
        place: Place,
    },
    /// List the enrolled partners, and whether each one's enrolment holds
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
            Self::Assemble { request, chain, authority, out } => {
                trust::assemble(&request, &chain, &authority, out.as_deref())
            }
            Self::Csr { request, out, extensions } => trust::csr(&request, &out, &extensions),
            Self::Trust { authority, parties, place } => trust::bind(&place, &authority, &parties),
            Self::Distrust { sha256, place } => {
                place.admin()?.release_authority(&sha256)?;
                Ok(Answer::text("the authority speaks for nobody here any more"))
            }
            Self::Authorities { place, json } => trust::list(&place, json),
            Self::Revocations { file, place } => trust::revocations(&place, &file),
            Self::End { party, place } => {
                place.admin()?.end_partner(&party)?;
                Ok(Answer::text(format!("{party} is no partner any more")))
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
    /// `holds`, or the code of why it is believed no longer.
    state: &'static str,
    valid_until: String,
    receipt_key: String,
    log_key: String,
    certificate_sha256: String,
}

impl PartnerView {
    fn of(Enrolled { enrolment, partner }: &Enrolled) -> Self {
        let (request, certificate) = (enrolment.request(), enrolment.certificate());
        Self {
            party: request.party().to_string(),
            state: partner.as_ref().err().map_or("holds", TrustError::code),
            valid_until: rfc3339(certificate.not_after_ms),
            receipt_key: hex::encode(request.receipt_key().as_bytes()),
            log_key: hex::encode(request.log_key().as_bytes()),
            certificate_sha256: hex::encode(certificate.fingerprint_sha256),
        }
    }
}

fn list(place: &Place, json: bool) -> Result<Answer, Failure> {
    let views: Vec<_> = place.admin()?.enrolled()?.iter().map(PartnerView::of).collect();
    Ok(Answer::either(json, &views, |views| {
        let row = |v: &PartnerView| {
            [v.party.clone(), v.state.to_owned(), v.valid_until.clone(), v.certificate_sha256.clone()]
        };
        table(["PARTY", "STATE", "VALID UNTIL", "CERTIFICATE SHA-256"], views.iter().map(row))
    }))
}
