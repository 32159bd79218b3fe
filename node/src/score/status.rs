//! What stands in `score/`, for people.

use serde::Serialize;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::group::{Charter, Sharing};
use windvane_protocols::score::shares::{Evidence, PublicSharing};

use super::activation::ActiveState;
use super::folder::{EpochFolder, GroupFolder, ScoreFolder};
use super::plan::GroupPlan;
use super::table::read_manifest;
use crate::error::NodeError;

/// A group as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupStatus {
    /// The group.
    pub group: String,
    /// `bank`, `provider`, or `none`.
    pub role: &'static str,
    /// Digest of the plan, in hex: equal at all members, unless their files differ.
    pub plan: String,
    /// Answers that a call needs.
    pub threshold: usize,
    /// Who publishes the universe, its version, and how many segments it has.
    pub universe: String,
    /// The model's name.
    pub model: String,
    /// The bank and then the providers.
    pub members: Vec<MemberStatus>,
    /// The epochs, ascending.
    pub epochs: Vec<EpochStatus>,
    /// The active epoch, where there is one.
    pub active_epoch: Option<u64>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// The party.
    pub party: String,
    /// The pinned fingerprint.
    pub fingerprint: String,
    /// Whether it is this node.
    pub own: bool,
}

/// An epoch of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EpochStatus {
    /// The epoch.
    pub epoch: u64,
    /// `begun`, `confirmed`, `finished`, `retired`, `given up` (what a kill left of it), or `damaged`, of which the log of
    /// the node says more.
    pub state: &'static str,
    /// ctx, in hex, once it is finished.
    pub context: Option<String>,
    /// Digest of the setup's messages, in hex, once it is confirmed: what people may compare.
    pub transcript: Option<String>,
    /// Root of this node's own table, in hex, once it is published.
    pub table_root: Option<String>,
}

/// The groups that this node knows, or one of them.
///
/// # Errors
/// [`NodeError`]; `SCORE_GROUP_UNKNOWN` for one that is not there.
pub fn status(
    score: &ScoreFolder,
    own: &PartyId,
    group: Option<&DataSet>,
) -> Result<Vec<GroupStatus>, NodeError> {
    if let Some(group) = group {
        return Ok(vec![of_group(&score.group(group), own)?]);
    }
    let mut known = Vec::new();
    for folder in score.groups()?.iter().map(|group| score.group(group)) {
        // A folder alone is left by a command that did not get as far as a plan.
        if GroupPlan::kept_digest(&folder)?.is_some() {
            known.push(of_group(&folder, own)?);
        }
    }
    Ok(known)
}

fn of_group(folder: &GroupFolder, own: &PartyId) -> Result<GroupStatus, NodeError> {
    let plan = GroupPlan::open(folder)?;
    let role = match plan.pinned(own) {
        None => "none",
        Some(_) if plan.requester.party == *own => "bank",
        Some(_) => "provider",
    };
    let members = plan.members().map(|member| MemberStatus {
        party: member.party.to_string(),
        fingerprint: member.fingerprint.to_string(),
        own: member.party == *own,
    });
    let universe = &plan.universe;
    let (publisher, version, segments) =
        (universe.publisher(), universe.version(), universe.segments().len());
    let epochs = folder
        .epochs()?
        .into_iter()
        .map(|epoch| of_epoch(folder, epoch, own).unwrap_or_else(|error| damaged(folder, epoch, &error)));
    Ok(GroupStatus {
        group: plan.group.to_string(),
        role,
        plan: hex::encode(plan.digest()),
        threshold: match plan.sharing {
            Sharing::Threshold(threshold) => threshold,
            Sharing::SingleProvider => 1,
        },
        universe: format!("{publisher} version {version}, {segments} segments"),
        model: plan.model.name().to_owned(),
        members: members.collect(),
        epochs: epochs.collect(),
        active_epoch: ActiveState::load(folder)?.active.map(|choice| choice.epoch),
    })
}

/// One damaged epoch does not hide the others.
fn damaged(folder: &GroupFolder, epoch: u64, error: &NodeError) -> EpochStatus {
    tracing::warn!(code = error.code(), group = %folder.group(), epoch, %error, "an epoch is damaged");
    EpochStatus { epoch, state: "damaged", context: None, transcript: None, table_root: None }
}

fn of_epoch(folder: &GroupFolder, epoch: u64, own: &PartyId) -> Result<EpochStatus, NodeError> {
    let dir = folder.epoch(epoch);
    let table_root = table_root(&dir, own)?;
    let setup = dir.read_setup()?;
    let confirmed = setup.as_ref().filter(|messages| !messages.dealings.is_empty());
    if dir.is_finished() {
        let plan = GroupPlan::open_for(folder, epoch)?;
        let evidence = dir.evidence(&plan.pins())?;
        let confirmation = evidence.evidence().confirmations.first();
        return Ok(EpochStatus {
            epoch,
            state: if dir.is_retired() { "retired" } else { "finished" },
            context: Some(hex::encode(evidence.context())),
            transcript: confirmation.map(|confirmation| hex::encode(confirmation.body().transcript)),
            table_root,
        });
    }
    let transcript = match confirmed {
        Some(messages) => transcript(folder, messages)?,
        None => None,
    };
    let state = match (&setup, &transcript) {
        (Some(_), Some(_)) => "confirmed",
        (Some(_), None) => "begun",
        (None, _) => "given up",
    };
    Ok(EpochStatus { epoch, state, context: None, transcript, table_root })
}

/// Digest of the messages of a setup that is under way; `None` where they do not hold.
fn transcript(folder: &GroupFolder, messages: &Evidence) -> Result<Option<String>, NodeError> {
    let plan = GroupPlan::open_for(folder, messages.terms.epoch)?;
    let charter = Charter::accept(messages.terms.clone(), &plan.pins()).ok();
    let sharing = charter
        .and_then(|charter| PublicSharing::check(charter, &messages.announcements, &messages.dealings).ok());
    Ok(sharing.map(|sharing| hex::encode(sharing.transcript())))
}

fn table_root(dir: &EpochFolder, own: &PartyId) -> Result<Option<String>, NodeError> {
    let manifest = read_manifest(dir, own)?;
    Ok(manifest.map(|manifest| hex::encode(manifest.body().root)))
}
