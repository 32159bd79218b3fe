//! A provider in a finished epoch, from what it keeps.

use windvane_keys::score::load_member_keys;
use windvane_keys::store::StoreError;
use windvane_protocols::score::epoch::Member;
use windvane_protocols::score::shares::SetupError;

use super::evidence::EvidenceFileError;
use super::folder::GroupFolder;
use super::plan::GroupPlan;
use crate::identity::NodeKeys;

/// Why a provider cannot take part in an epoch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The evidence.
    #[error(transparent)]
    Evidence(#[from] EvidenceFileError),
    /// The sealed secrets.
    #[error(transparent)]
    Keys(#[from] StoreError),
    /// The secrets are those of another epoch or party.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

impl MemberError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Evidence(error) => error.code(),
            Self::Keys(error) => error.code(),
            Self::Setup(_) => "SCORE_KEYS_FOREIGN",
        }
    }
}

/// This node as a provider in an epoch: its evidence, checked against the plan's pins, with the sealed secrets.
///
/// # Errors
/// [`MemberError`].
pub fn load_member(
    keys: &NodeKeys,
    folder: &GroupFolder,
    plan: &GroupPlan,
    epoch: u64,
) -> Result<Member, MemberError> {
    let evidence = folder.epoch(epoch).evidence(&plan.pins())?;
    let secrets = load_member_keys(&keys.store, folder.group(), epoch)?;
    Ok(Member::restore(evidence, &keys.party, secrets)?)
}
