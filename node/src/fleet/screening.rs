//! A carrier that offers a risk list, its changes and its lookup rows, and a bank that screens its customers: both
//! nodes run, and the bank's screenings are commands beside its node.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::task::block_in_place;
use windvane_keys::files::write_private;

use super::authority::Authority;
use super::party::{List, Party, config_path};
use super::process::Process;
use super::{BANK, CALLER, FleetError};

/// The carrier's party id.
pub const CARRIER: &str = "carrier-a";

/// The name of its list.
pub const LIST: &str = "risk-list";

/// The name of its list of changes.
pub const CHANGES: &str = "risk-changes";

/// The column of numbers in both lists.
pub const PHONE: &str = "手机号";

/// The column of tags in both lists.
pub const TAGS: &str = "风险标签";

const RISK_DATASET: &str = include_str!("../../samples/risk-dataset.toml");

const RISK_SCHEMA: &str = include_str!("../../samples/risk-schema.toml");

/// The carrier's files, with the columns [`PHONE`] and [`TAGS`].
#[derive(Debug, Clone)]
pub struct Lists {
    /// The whole list.
    pub list: PathBuf,
    /// A day's changes; the file may come, or change, while the node runs.
    pub changes: PathBuf,
}

/// The two nodes, the bank's first: it must stop first.
#[derive(Debug)]
pub struct Screened {
    dir: PathBuf,
    bank: Process,
    carrier: Process,
    pids: [u32; 2],
    bank_http: SocketAddr,
}

impl Screened {
    /// Makes keys, enrolments, grants and lookup rows in `dir`, and starts both nodes. Needs a runtime of several
    /// threads. `note` hears what is being done.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn start(
        dir: &Path,
        lists: &Lists,
        program: &Path,
        note: &(dyn Fn(&str) + Sync),
    ) -> Result<Self, FleetError> {
        let (mut bank, carrier) = block_in_place(|| found(dir, lists, note))?;
        let (name, folder) = carrier.close();
        let mut carrier = Process::spawn(program, &name, &folder)?;
        let ready = carrier.ready(&folder).await?;
        let address = ready.grpc.ok_or_else(|| FleetError::NotReady { party: name.clone() })?;
        block_in_place(|| bank.know(&[(name.clone(), address)]))?;
        note("fetching the lookup rows");
        bank.fetch(&name).await?;
        let token = block_in_place(|| bank.admit(CALLER))?;
        write_private(&dir.join("token"), token.expose().as_bytes()).map_err(FleetError::party(BANK))?;
        let (name, folder) = bank.close();
        let mut bank = Process::spawn(program, &name, &folder)?;
        let served = bank.ready(&folder).await?;
        let bank_http = served.http.ok_or(FleetError::NotReady { party: name })?;
        Ok(Self { dir: dir.to_owned(), bank, carrier, pids: [served.pid, ready.pid], bank_http })
    }

    /// The bank's configuration file.
    pub fn bank_config(&self) -> PathBuf {
        config_path(&self.dir.join(BANK))
    }

    /// Where the bank's REST interface is.
    pub fn bank_url(&self) -> String {
        format!("http://{}", self.bank_http)
    }

    /// A file with the token of that interface.
    pub fn token_file(&self) -> PathBuf {
        self.dir.join("token")
    }

    /// The processes of the bank and the carrier.
    pub const fn pids(&self) -> [u32; 2] {
        self.pids
    }

    /// Where the bank keeps the fetched rows.
    pub fn snapshots(&self) -> PathBuf {
        self.dir.join(BANK).join("data/snapshots")
    }

    /// Stops both nodes.
    ///
    /// # Errors
    /// [`FleetError`] of the first that did not end well.
    pub fn stop(&mut self) -> Result<(), FleetError> {
        let stopped = self.bank.stop();
        self.carrier.stop().and(stopped)
    }
}

fn found(dir: &Path, lists: &Lists, note: &dyn Fn(&str)) -> Result<(Party, Party), FleetError> {
    let authority = Authority::create(&dir.join("authority"))?;
    let bank = Party::bank(&dir.join(BANK), BANK)?;
    let list = |name, file| List { name, file, key_column: PHONE, payload_column: Some(TAGS) };
    let offered = [list(LIST, &lists.list), list(CHANGES, &lists.changes)];
    let carrier = Party::carrier_with_lists(&dir.join(CARRIER), CARRIER, &offered)?;
    carrier.describe(RISK_DATASET, ("risk-schema.toml", RISK_SCHEMA))?;
    let (ours, theirs) = (bank.enrol(&authority)?, carrier.enrol(&authority)?);
    carrier.import_enrolment(&ours)?;
    bank.import_enrolment(&theirs)?;
    carrier.publish(&lists.list, note)?;
    bank.accept(&carrier.grant_intersection(BANK, &[LIST, CHANGES], &[TAGS])?)?;
    bank.accept(&carrier.grant_numbers(BANK)?)?;
    Ok((bank, carrier))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::DataSetConfig;

    #[test]
    fn the_shipped_risk_list_is_a_data_set_of_numbers_with_tags() {
        let config = DataSetConfig::parse(RISK_DATASET, RISK_SCHEMA).unwrap();
        assert_eq!(config.families(), [windvane_protocols::identity::Family::Phone]);
        assert!(config.schema().fields().iter().any(|field| field.name == "tags"));
    }
}
