//! What an auditor takes from the bank's folder of a training: trees, list, what parts add up to, and seed.

use windvane_protocols::party::SessionId;
use windvane_protocols::train::elgamal::TrainingSeed;
use windvane_protocols::train::tree::Tree;

use super::LISTED;
use super::block::BlockRecord;
use super::error::TrainError;
use super::folder::TrainFolder;
use super::job::Secrets;
use super::model::Model;
use crate::config::Config;
use crate::identity::NodeKeys;
use crate::train::sample::Listed;

/// The trees of all parties, in the order in which they grew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainedTrees {
    /// The bank's.
    pub own: Vec<Tree>,
    /// Those of every unit, in the plan's order.
    pub units: Vec<Vec<Tree>>,
    /// What the training lists, with the bank's labels.
    pub listed: Listed,
    /// What all providers' parts add up to, by listed row, 0 for decoys; once there is a model.
    pub sums: Option<Vec<u16>>,
}

impl TrainedTrees {
    /// Reads the trees of a training in a bank's data directory. Blocks on files.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn read(config: &Config, training: SessionId) -> Result<Self, TrainError> {
        let keys = NodeKeys::open(config)?;
        let folder = TrainFolder::open_kept(&config.node.data_dir, training)?;
        let listed = folder.unseal_record::<Listed>(LISTED, &keys.storage)?;
        let path = folder.path().join(LISTED);
        let listed = listed.ok_or(TrainError::Folder { path, what: "it is not there".to_owned() })?;
        let sums = folder.unseal_record::<Model>(Model::NAME, &keys.storage)?.map(|model| model.sums);
        let mut trees = Self { own: Vec::new(), units: Vec::new(), listed, sums };
        for block in 0..folder.state().blocks.len() as u16 {
            let name = BlockRecord::name(block);
            let record = folder.unseal_record::<BlockRecord>(&name, &keys.storage)?;
            let path = folder.path().join(&name);
            let record = record.ok_or(TrainError::Folder { path, what: "it is not there".to_owned() })?;
            trees.own.extend(record.own);
            trees.units.resize(record.units.len(), Vec::new());
            trees.units.iter_mut().zip(record.units).for_each(|(all, more)| all.extend(more));
        }
        Ok(trees)
    }
}

/// The seed of a training, from which its key and all that it encrypted follow, from a bank's data directory. Whoever
/// has it decrypts what providers answered: it is for the bank's own tools and its auditors. Blocks on files.
///
/// # Errors
/// [`TrainError`].
pub fn training_seed(config: &Config, training: SessionId) -> Result<TrainingSeed, TrainError> {
    let keys = NodeKeys::open(config)?;
    let folder = TrainFolder::open_kept(&config.node.data_dir, training)?;
    let path = folder.path().join(Secrets::NAME);
    let secrets = Secrets::read(&folder, &keys.storage)?;
    let secrets = secrets.ok_or(TrainError::Folder { path, what: "it is not there".to_owned() })?;
    Ok(secrets.seed().clone())
}
