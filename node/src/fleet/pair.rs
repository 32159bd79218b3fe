//! A carrier's node that serves a list for set intersection, and a bank's folder beside it: the bank's jobs are
//! commands, so its own node need not run.

use std::path::{Path, PathBuf};

use tokio::task::block_in_place;

use super::authority::Authority;
use super::party::{List, Party, config_path};
use super::process::Process;
use super::{BANK, FleetError};

/// The carrier's party id.
pub const CARRIER: &str = "carrier-a";

/// The name of its list.
pub const LIST: &str = "risk";

/// A running carrier, and a bank that may intersect with its list.
#[derive(Debug)]
pub struct Pair {
    dir: PathBuf,
    carrier: Process,
    pid: u32,
}

impl Pair {
    /// Makes keys, enrolments and the grant in `dir`, and starts the carrier's node with `list`, a file with the
    /// column `phone`. Needs a runtime of several threads.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn start(dir: &Path, list: &Path, program: &Path) -> Result<Self, FleetError> {
        let (mut bank, carrier) = block_in_place(|| found(dir, list))?;
        let (name, folder) = carrier.close();
        let mut process = Process::spawn(program, &name, &folder)?;
        let ready = process.ready(&folder).await?;
        let address = ready.grpc.ok_or_else(|| FleetError::NotReady { party: name.clone() })?;
        block_in_place(|| bank.know(&[(name, address)]))?;
        bank.close();
        Ok(Self { dir: dir.to_owned(), carrier: process, pid: ready.pid })
    }

    /// The bank's configuration file.
    pub fn bank_config(&self) -> PathBuf {
        config_path(&self.dir.join(BANK))
    }

    /// The carrier's process.
    pub const fn carrier_pid(&self) -> u32 {
        self.pid
    }

    /// Stops the carrier.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn stop(&mut self) -> Result<(), FleetError> {
        self.carrier.stop()
    }
}

fn found(dir: &Path, list: &Path) -> Result<(Party, Party), FleetError> {
    let authority = Authority::create(&dir.join("authority"))?;
    let bank = Party::bank(&dir.join(BANK), BANK)?;
    let list = List { name: LIST, file: list, key_column: "phone", payload_column: None };
    let carrier = Party::carrier_with_lists(&dir.join(CARRIER), CARRIER, &[list])?;
    let (ours, theirs) = (bank.enrol(&authority)?, carrier.enrol(&authority)?);
    carrier.import_enrolment(&ours)?;
    bank.import_enrolment(&theirs)?;
    bank.accept(&carrier.grant_intersection(BANK, &[LIST], &[])?)?;
    Ok((bank, carrier))
}
