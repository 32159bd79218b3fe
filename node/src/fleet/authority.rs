//! The trial's certificate authority.

use std::path::Path;

use windvane_keys::authority::CertificateAuthority;
use windvane_keys::enrolment::EnrolmentRequest;
use windvane_keys::files::write_private;
use windvane_keys::passphrase::Passphrase;
use windvane_keys::store::FileStore;

use super::FleetError;
use crate::clock::{Clock as _, SystemClock};
use crate::error::NodeError;

/// Days that the trial's certificates are valid.
const DAYS: u32 = 30;

const NAME: &str = "Windvane trial";

/// Signs what the parties ask for.
#[derive(Debug)]
pub(super) struct Authority(CertificateAuthority);

impl Authority {
    /// Makes an authority in a directory of its own.
    pub(super) fn create(dir: &Path) -> Result<Self, FleetError> {
        std::fs::create_dir_all(dir).map_err(FleetError::io(dir.display().to_string()))?;
        create(dir).map(Self).map_err(FleetError::party("authority"))
    }

    /// Signs a request; both are text.
    pub(super) fn sign(&self, request: &str) -> Result<String, NodeError> {
        let request = EnrolmentRequest::from_pem(request)?;
        Ok(self.0.sign(&request, DAYS, SystemClock.now_ms(), &mut rand::rng())?.to_pem())
    }
}

fn create(dir: &Path) -> Result<CertificateAuthority, NodeError> {
    let path = dir.join("passphrase");
    write_private(&path, hex::encode(rand::random::<[u8; 32]>()).as_bytes())?;
    let store = FileStore::create(&dir.join("keys"), &Passphrase::from_file(&path)?)?;
    Ok(CertificateAuthority::create(&store, NAME, DAYS, SystemClock.now_ms(), &mut rand::rng())?)
}
