//! The trial's certificate authority.

use std::path::Path;

use windvane_keys::authority::CertificateAuthority;
use windvane_keys::enrolment::EnrolmentRequest;
use windvane_keys::files::write_private;
use windvane_keys::passphrase::Passphrase;
use windvane_keys::revocation::RevocationList;
use windvane_keys::store::FileStore;

use super::FleetError;
use crate::clock::{Clock as _, SystemClock};
use crate::error::NodeError;

/// Days that the trial's certificates are valid.
const DAYS: u32 = 30;

const NAME: &str = "Windvane trial";

/// Signs what the parties ask for.
#[derive(Debug)]
pub(super) struct Authority {
    authority: CertificateAuthority,
    /// The newest revocation list.
    list: Option<RevocationList>,
}

impl Authority {
    /// Makes an authority in a directory of its own.
    pub(super) fn create(dir: &Path) -> Result<Self, FleetError> {
        std::fs::create_dir_all(dir).map_err(FleetError::io(dir.display().to_string()))?;
        create(dir).map(|authority| Self { authority, list: None }).map_err(FleetError::party("authority"))
    }

    /// Opens the authority of a fleet that was made before.
    pub(super) fn open(dir: &Path) -> Result<Self, FleetError> {
        let open = || {
            let passphrase = Passphrase::from_file(&dir.join("passphrase"))?;
            let authority = CertificateAuthority::open(&FileStore::open(&dir.join("keys"), &passphrase)?)?;
            Ok::<_, NodeError>(Self { authority, list: None })
        };
        open().map_err(FleetError::party("authority"))
    }

    /// Issues the next revocation list, as text; it goes on from the one before.
    pub(super) fn revoke_serials(&mut self, serials: &[&[u8]]) -> Result<String, FleetError> {
        let list = self.authority.revoke(self.list.as_ref(), serials, DAYS, SystemClock.now_ms());
        let list = list.map_err(FleetError::party("authority"))?;
        Ok(self.list.insert(list).to_pem())
    }

    /// Signs a request; both are text.
    pub(super) fn sign(&self, request: &str) -> Result<String, NodeError> {
        let request = EnrolmentRequest::from_pem(request)?;
        Ok(self.authority.sign(&request, DAYS, SystemClock.now_ms(), &mut rand::rng())?.to_pem())
    }
}

fn create(dir: &Path) -> Result<CertificateAuthority, NodeError> {
    let path = dir.join("passphrase");
    write_private(&path, hex::encode(rand::random::<[u8; 32]>()).as_bytes())?;
    let store = FileStore::create(&dir.join("keys"), &Passphrase::from_file(&path)?)?;
    Ok(CertificateAuthority::create(&store, NAME, DAYS, SystemClock.now_ms(), &mut rand::rng())?)
}
