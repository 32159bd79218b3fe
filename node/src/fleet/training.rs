//! Providers whose nodes serve tables for a joint training, and a bank's folder beside them: the bank's trainings are
//! commands, so its own node need not run.
//!
//! ```text
//! <dir>/universe.pem       the signed list of number segments
//! <dir>/<party>/           as in every fleet; a provider of several in its unit has schema.pem too
//! <dir>/bank/train.toml    the training's plan
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tokio::task::block_in_place;
use windvane_keys::files::write_public;
use windvane_protocols::score::universe::Segment;

use super::authority::Authority;
use super::party::{Party, config_path};
use super::process::Process;
use super::scoring::GROUP;
use super::{BANK, FleetError, PURPOSE};
use crate::train::run::{MemberPlan, TrainPlan, UnitPlan};

/// The name of every provider's table.
pub const TABLE: &str = "features";

/// The column of numbers in all files.
pub const NUMBER: &str = "number";

/// Providers that grow trees as one, by party ids and the files of their features.
pub type UnitFiles = Vec<(String, PathBuf)>;

/// Running providers, and a bank that may train with them.
#[derive(Debug)]
pub struct Training {
    dir: PathBuf,
    providers: Vec<Process>,
    pids: Vec<u32>,
    units: Vec<UnitPlan>,
}

impl Training {
    /// Makes keys, enrolments, grants and the list of segments in `dir`, and starts the providers' nodes. Needs a
    /// runtime of several threads.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn start(
        dir: &Path,
        program: &Path,
        segments: Vec<Segment>,
        units: &[UnitFiles],
    ) -> Result<Self, FleetError> {
        let (mut bank, parties) = block_in_place(|| found(dir, segments, units))?;
        let plans = units.iter().map(|unit| {
            let member = |(party, _): &(String, PathBuf)| {
                let provider = parties.iter().find(|provider| provider.name() == party);
                let identity = provider.expect("every member was founded").admin().score_identity();
                MemberPlan {
                    party: party.clone(),
                    data_set: TABLE.to_owned(),
                    identity: identity.fingerprint().to_string(),
                }
            };
            UnitPlan { members: unit.iter().map(member).collect() }
        });
        let plans = plans.collect();
        let (mut providers, mut pids, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for party in parties {
            let (name, folder) = party.close();
            let mut process = Process::spawn(program, &name, &folder)?;
            let ready = process.ready(&folder).await?;
            let address = ready.grpc.ok_or_else(|| FleetError::NotReady { party: name.clone() })?;
            addresses.push((name, address));
            pids.push(ready.pid);
            providers.push(process);
        }
        block_in_place(|| bank.know_all(&[], &addresses))?;
        bank.close();
        Ok(Self { dir: dir.to_owned(), providers, pids, units: plans })
    }

    /// The bank's configuration file.
    pub fn bank_config(&self) -> PathBuf {
        config_path(&self.dir.join(BANK))
    }

    /// The providers' processes.
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// Completes a plan with names, pins and paths of this fleet, and writes it; gives the file.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn write_plan(&self, plan: &TrainPlan) -> Result<PathBuf, FleetError> {
        let plan = TrainPlan {
            group: GROUP.to_owned(),
            purpose: PURPOSE.to_owned(),
            node: Some(self.bank_config()),
            universe: self.dir.join("universe.pem"),
            units: self.units.clone(),
            ..plan.clone()
        };
        let path = self.dir.join(BANK).join("train.toml");
        let text = toml::to_string(&plan).expect("a plan is plain data");
        write_public(&path, text.as_bytes()).map_err(FleetError::party(BANK))?;
        Ok(path)
    }

    /// Stops the providers.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn stop(&mut self) -> Result<(), FleetError> {
        self.providers.iter_mut().try_for_each(Process::stop)
    }
}

fn found(dir: &Path, segments: Vec<Segment>, units: &[UnitFiles]) -> Result<(Party, Vec<Party>), FleetError> {
    let authority = Authority::create(&dir.join("authority"))?;
    let bank = Party::bank(&dir.join(BANK), BANK)?;
    let ours = bank.enrol(&authority)?;
    let mut parties = Vec::new();
    for (name, _) in units.iter().flatten() {
        let party = Party::scorer(&dir.join(name), name)?;
        let theirs = party.enrol(&authority)?;
        party.import_enrolment(&ours)?;
        bank.import_enrolment(&theirs)?;
        bank.accept(&party.grant_training(BANK, TABLE)?)?;
        parties.push(party);
    }
    let universe = bank.admin().score_universe(segments, 1).map_err(FleetError::party(BANK))?;
    let path = dir.join("universe.pem");
    write_public(&path, universe.as_bytes()).map_err(FleetError::party(BANK))?;
    let pins: String = std::iter::once(&bank).chain(&parties).map(pin).collect();
    let mut rest = parties.as_mut_slice();
    for unit in units {
        let (members, others) = rest.split_at_mut(unit.len());
        let schema = (unit.len() > 1).then(|| schema(&members[0], dir, &unit[0].1)).transpose()?;
        for (party, (_, file)) in members.iter_mut().zip(unit) {
            party.extend_config(&(section(file, &path, schema.as_deref()) + &pins))?;
        }
        rest = others;
    }
    Ok((bank, parties))
}

/// A schema that the first member of a unit fits and signs.
fn schema(party: &Party, dir: &Path, file: &Path) -> Result<PathBuf, FleetError> {
    let text = party.admin().sign_train_schema(file, NUMBER, &[]).map_err(FleetError::party(party.name()))?;
    let path = dir.join(format!("{}-schema.pem", party.name()));
    write_public(&path, text.as_bytes()).map_err(FleetError::party(party.name()))?;
    Ok(path)
}

fn section(file: &Path, universe: &Path, schema: Option<&Path>) -> String {
    let quoted = |path: &Path| toml::Value::String(path.display().to_string());
    let mut text = format!(
        "\n[[train]]\nname = \"{TABLE}\"\nfile = {}\nnumber = \"{NUMBER}\"\nuniverse = {}\ngroup = \"{GROUP}\"\n",
        quoted(file),
        quoted(universe)
    );
    if let Some(schema) = schema {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "schema = {}", quoted(schema));
    }
    text
}

fn pin(party: &Party) -> String {
    let identity = party.admin().score_identity();
    format!("[[train.peers]]\nparty = \"{}\"\nidentity = \"{}\"\n", party.name(), identity.fingerprint())
}
