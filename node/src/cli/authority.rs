//! A certificate authority for a trial: `keys ca init`, `keys ca revoke` and `partner sign`.
//!
//! Its folder holds a key store, the passphrase of that store, the certificate, its newest revocation list, and in
//! `signed/` every enrolment that it signed, so that a certificate can be revoked when its party has none of its files
//! any more. Who can read the folder can enrol parties; a deployment keeps it apart from every node.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use windvane::admin::read_text;
use windvane::clock::{Clock as _, SystemClock, rfc3339};
use windvane_keys::authority::{AuthorityError, CertificateAuthority};
use windvane_keys::enrolment::{Enrolment, EnrolmentRequest};
use windvane_keys::files::{read_public, write_private, write_public};
use windvane_keys::passphrase::Passphrase;
use windvane_keys::revocation::{MAX_LIST_BYTES, RevocationList};
use windvane_keys::store::FileStore;

use super::Answer;
use super::failure::Failure;
use super::place::hand_over;

/// Random bytes of a generated passphrase.
const PASSPHRASE_BYTES: usize = 32;

/// Where in its folder an authority keeps what it signed.
const SIGNED: &str = "signed";

/// Options of `keys ca init`.
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// The authority's folder; made when missing
    #[arg(long)]
    dir: PathBuf,
    /// The authority's name in its certificate
    #[arg(long)]
    name: String,
    /// Days that its certificate is valid
    #[arg(long, default_value_t = 1_825, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
}

/// Options of `partner sign`.
#[derive(Debug, clap::Args)]
pub(super) struct SignArgs {
    /// The enrolment request
    request: PathBuf,
    /// The authority's folder
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// Days that the certificate is valid; it ends with the authority's at the latest
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// Where to write the enrolment; printed when not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Options of `keys ca revoke`.
#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// Enrolments whose certificates are revoked, for example from signed/ of the authority's folder; none issues the
    /// list again under a later date
    enrolments: Vec<PathBuf>,
    /// The authority's folder
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// Days until the next list is due
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// Where to write the list; printed when not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl RevokeArgs {
    pub(super) fn run(&self) -> Result<Answer, Failure> {
        let authority = open(&self.ca)?;
        let path = self.ca.join("revoked.pem");
        let before = match path.exists() {
            true => Some(RevocationList::read(&read_public(&path, 2 * MAX_LIST_BYTES)?)?),
            false => None,
        };
        let read = |path: &PathBuf| Ok::<_, Failure>(Enrolment::from_pem(&read_text(path)?)?);
        let enrolments = self.enrolments.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if let Some(foreign) = enrolments.iter().find(|e| e.authority() != authority.certificate()) {
            return Err(
                AuthorityError::ForeignCertificate { party: foreign.request().party().clone() }.into()
            );
        }
        let serials: Vec<_> = enrolments.iter().map(|e| e.certificate().serial.as_slice()).collect();
        let list = authority.revoke(before.as_ref(), &serials, self.days, SystemClock.now_ms())?;
        // The list is the authority's only memory of what it revoked.
        write_public(&path, list.to_pem().as_bytes())?;
        hand_over(self.out.as_deref(), list.to_pem(), &format!("revocation list {}", list.number()))
    }
}

fn open(dir: &Path) -> Result<CertificateAuthority, Failure> {
    let store = FileStore::open(&store_of(dir), &Passphrase::from_file(&passphrase_of(dir))?)?;
    Ok(CertificateAuthority::open(&store)?)
}

impl InitArgs {
    pub(super) fn run(&self) -> Result<Answer, Failure> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|source| Failure::io(self.dir.display().to_string(), source))?;
        let passphrase = passphrase_of(&self.dir);
        if !passphrase.exists() {
            write_private(&passphrase, hex::encode(rand::random::<[u8; PASSPHRASE_BYTES]>()).as_bytes())?;
        }
        let store = FileStore::create(&store_of(&self.dir), &Passphrase::from_file(&passphrase)?)?;
        let (now_ms, rng) = (SystemClock.now_ms(), &mut rand::rng());
        let authority = CertificateAuthority::create(&store, &self.name, self.days, now_ms, rng)?;
        let certificate = self.dir.join("authority.pem");
        write_public(&certificate, authority.certificate_pem().as_bytes())?;
        Ok(Answer::text(format!(
            "The authority {name} is ready until {end}.\n\
             certificate  {certificate}\n\
             keys         {keys}\n\
             passphrase   {passphrase}\n\
             \n\
             Next: windvane partner sign --ca {dir} REQUEST for every party. Keep the folder to yourself.",
            name = self.name,
            end = rfc3339(authority.certificate().not_after_ms),
            certificate = certificate.display(),
            keys = store_of(&self.dir).display(),
            passphrase = passphrase.display(),
            dir = self.dir.display(),
        )))
    }
}

impl SignArgs {
    pub(super) fn run(&self) -> Result<Answer, Failure> {
        let authority = open(&self.ca)?;
        let request = EnrolmentRequest::from_pem(&read_text(&self.request)?)?;
        let now_ms = SystemClock.now_ms();
        let signed = authority.sign(&request, self.days, now_ms, &mut rand::rng())?;
        keep(&self.ca, &signed, now_ms)?;
        let what = format!("enrolment of {}", request.party());
        hand_over(self.out.as_deref(), signed.to_pem(), &what)
    }
}

/// Keeps what was signed, under party, day and serial number, before anybody has it.
fn keep(dir: &Path, signed: &Enrolment, now_ms: u64) -> Result<(), Failure> {
    let folder = dir.join(SIGNED);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|source| Failure::io(folder.display().to_string(), source))?;
    let (party, serial) = (signed.request().party(), hex::encode(&signed.certificate().serial));
    let day: String = rfc3339(now_ms).chars().take(10).collect();
    Ok(write_public(&folder.join(format!("{party}-{day}-{serial}.enrolment")), signed.to_pem().as_bytes())?)
}

fn store_of(dir: &Path) -> PathBuf {
    dir.join("keys")
}

fn passphrase_of(dir: &Path) -> PathBuf {
    dir.join("passphrase")
}
