//! The bank's own record of a verification: sealed, found through a keyed index, committed to in the log.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use serde::{Deserialize, Serialize};
use windvane_protocols::audit::entry::Decided;
use windvane_protocols::identity::{Family, Person};
use windvane_protocols::oprf::{Context, PrivateKey};
use windvane_protocols::secret::Secret;
use windvane_protocols::transcript::commit;

use super::ask::Run;
use super::{BankError, Inquiry};
use crate::identity::NodeKeys;
use crate::store::VerificationRow;
use crate::verification::VerificationReport;

const NONCE_BYTES: usize = 12;

/// Seals and opens records.
pub(super) struct Sealer {
    cipher: Aes256Gcm,
    index: Secret<[u8; 32]>,
    subject: PrivateKey,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

/// What is sealed: everything that an opening before the auditor needs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    report: VerificationReport,
    /// Opens the commitment to the report in the log.
    result_salt: String,
    /// Session and seed of every provider that was asked.
    sessions: Vec<(String, String)>,
    /// The customer's place in those sessions.
    index: usize,
    phone: Option<String>,
    document: Option<(u8, String)>,
    name: Option<String>,
    customer_type: Option<String>,
    purpose: String,
    ticket: String,
    consent: String,
    operator: String,
    outlet: Option<String>,
    branch: Option<String>,
}

impl Sealer {
    pub(super) fn new(keys: &NodeKeys) -> Self {
        Self {
            cipher: Aes256Gcm::new(keys.storage.secret().expose().into()),
            index: keys.lookup.secret().clone(),
            subject: keys.subject_tag.clone(),
        }
    }

    /// What stands for the persons of all inquiries, with the tags that group their entries in the log.
    pub(super) fn subjects(&self, inquiries: &[Inquiry]) -> Vec<Subject> {
        let subjects: Vec<_> = inquiries.iter().map(|inquiry| subject(&inquiry.person)).collect();
        let tags = self.subject.tags(&Context::SUBJECT, &subjects);
        subjects.into_iter().zip(tags).map(|(encoded, tag)| Subject { encoded, tag }).collect()
    }

    /// What the log and the state file keep of customer `index` of the runs.
    pub(super) fn seal(
        &self,
        now_ms: u64,
        index: usize,
        inquiry: &Inquiry,
        subject: &Subject,
        report: &VerificationReport,
        runs: &[Run],
    ) -> Result<(Decided, VerificationRow), BankError> {
        let id = parse_id(&report.id)?;
        let result_salt: [u8; 32] = rand::random();
        let json = serde_json::to_vec(report).map_err(|_| BankError::internal())?;
        let decided = Decided {
            verification: id,
            subject_tag: subject.tag,
            result: commit(&result_salt, &json),
            asked: runs.iter().filter_map(|run| run.asked(index)).collect(),
        };
        let record = record(index, inquiry, report, runs, &result_salt);
        let plain = serde_json::to_vec(&record).map_err(|_| BankError::internal())?;
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: &plain, aad: &id })
            .map_err(|_| BankError::internal())?;
        let person = commit(self.index.expose(), &subject.encoded);
        let row = VerificationRow { id, person, at_ms: now_ms, sealed: [nonce.as_slice(), &sealed].concat() };
        Ok((decided, row))
    }

    /// Opens a stored report.
    pub(super) fn open(&self, row: &VerificationRow) -> Result<VerificationReport, BankError> {
        let damaged = || BankError::unavailable("RECORD_DAMAGED", "the stored record does not open");
        let (nonce, sealed) = row.sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
        let plain = self
            .cipher
            .decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: &row.id })
            .map_err(|_| damaged())?;
        let record: Record = serde_json::from_slice(&plain).map_err(|_| damaged())?;
        Ok(record.report)
    }
}

fn record(
    index: usize,
    inquiry: &Inquiry,
    report: &VerificationReport,
    runs: &[Run],
    result_salt: &[u8; 32],
) -> Record {
    let person = &inquiry.person;
    Record {
        report: report.clone(),
        result_salt: hex::encode(result_salt),
        sessions: runs.iter().map(|r| (r.session().to_string(), hex::encode(r.seed.expose()))).collect(),
        index,
        phone: person.phone.as_ref().map(|phone| phone.as_str().to_owned()),
        document: person.document.as_ref().map(|d| (d.kind().code(), d.number().to_owned())),
        name: person.name.as_ref().map(|name| name.as_str().to_owned()),
        customer_type: inquiry.customer_type.clone(),
        purpose: inquiry.purpose.clone(),
        ticket: inquiry.ticket.clone(),
        consent: inquiry.consent.clone(),
        operator: inquiry.operator.clone(),
        outlet: inquiry.outlet.clone(),
        branch: inquiry.branch.clone(),
    }
}

/// What stands for a person in the bank's own log and index, and its tag.
pub(super) struct Subject {
    encoded: Vec<u8>,
    tag: [u8; 32],
}

/// What stands for the person in the bank's own log and index: the document, or the number where there is no
/// document. Like set intersection, it names no data set.
fn subject(person: &Person) -> Vec<u8> {
    let encoded = Family::Id.encode("", person).or_else(|| Family::Phone.encode("", person));
    encoded.map(|encoded| encoded.as_bytes().to_vec()).unwrap_or_default()
}

fn parse_id(id: &str) -> Result<[u8; 16], BankError> {
    let bytes = hex::decode(id).map_err(|_| BankError::internal())?;
    bytes.try_into().map_err(|_| BankError::internal())
}
