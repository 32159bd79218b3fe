//! What a session leaves that is through: its receipt, and a version in the registry.

use windvane_protocols::audit::entry::Event;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::train::record::TrainReceipt;
use windvane_protocols::transcript::{Hash, Signed};

use crate::error::NodeError;
use crate::identity::Layout;
use crate::score::folder::ScoreFolder;
use crate::score::registry::Registry;

/// In whose name a trained model stands in the registry; a person approves it.
pub(super) const ADDED_BY: &str = "training";

/// A session that is through, for the log to hear of.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub(crate) receipt: Signed<TrainReceipt>,
    /// Whose registry has the model.
    pub(crate) group: DataSet,
    /// Digest of the version's card.
    pub(crate) model: Hash,
}

impl Finished {
    /// A receipt's version, where a registry has it; one that does not hold is none.
    ///
    /// # Errors
    /// Errors of the system.
    pub(crate) fn find(layout: &Layout, receipt: Signed<TrainReceipt>) -> Result<Option<Self>, NodeError> {
        let (folder, trained) = (ScoreFolder::new(layout), Some(hex::encode(receipt.digest())));
        for group in folder.groups()? {
            let registry = Registry::new(folder.group(&group));
            for name in registry.names()? {
                match registry.open(&name) {
                    Ok(version) if version.record().training_receipt == trained => {
                        let model = version.digest();
                        return Ok(Some(Self { receipt, group, model }));
                    }
                    Ok(_) => {}
                    Err(error) if error.is_of_version() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(None)
    }

    /// The registry has a version more.
    pub(crate) fn added(&self) -> Event {
        let (group, by) = (self.group.clone(), ADDED_BY.to_owned());
        Event::ScoreModel { group, model: self.model, action: "added".to_owned(), by }
    }

    /// The training is through.
    pub(crate) fn completed(&self) -> Event {
        Event::TrainCompleted(Box::new(self.receipt.clone()))
    }
}
