//! Joining scoring groups and setting their epochs up.

use windvane_protocols::audit::entry::Event;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::score::group::{Fingerprint, Identity};
use windvane_protocols::score::universe::{Segment, Universe};

use super::super::Admin;
use crate::error::NodeError;
use crate::functions::{Function, check_job};
use crate::peer::channel;
use crate::score::folder::ScoreFolder;
use crate::score::plan::{GroupPlan, Pinned};
use crate::score::setup::{Reached, Relay, SetupFailure, SetupProgress, SetupReport};
use crate::score::status::{GroupStatus, status};
use crate::score::universe::{SegmentsError, SignedUniverse};

impl Admin {
    /// The identity that other members of a group pin.
    pub fn score_identity(&self) -> Identity {
        Identity { party: self.keys.party.clone(), key: self.keys.receipt.verifying_key() }
    }

    /// Signs a list of segments, ascending, in this node's name; gives the document to hand over.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn score_universe(&self, segments: Vec<Segment>, version: u64) -> Result<String, NodeError> {
        let universe = Universe::new(self.keys.party.clone(), version, segments);
        let universe = universe.map_err(SegmentsError::from)?;
        Ok(SignedUniverse::sign(universe, self.keys.signing_key()).to_pem())
    }

    /// Joins a group as one of its providers: its setups are answered from now on. A plan that was joined before
    /// under the same name is replaced; finished epochs stay as they are.
    ///
    /// # Errors
    /// [`NodeError`]; nothing is joined.
    pub fn score_join(&self, plan: &GroupPlan) -> Result<(), NodeError> {
        self.check_member(&plan.providers, "a provider")?;
        self.pinned_partner(&plan.requester)?;
        let folder = ScoreFolder::new(&self.layout).group(&plan.group);
        let _held = folder.lock()?;
        plan.store(&folder)?;
        let (group, state) = (plan.group.clone(), "joined".into());
        self.tell([Event::ScoreEpoch { group, epoch: 0, state, digest: plan.digest() }])
    }

    /// Sets up the next epoch of a group as its bank, or the given one; goes on with one that is not finished.
    ///
    /// # Errors
    /// [`NodeError`]; call again to go on, unless the error says otherwise.
    pub async fn score_setup(
        &self,
        plan: &GroupPlan,
        epoch: Option<u64>,
        progress: &dyn SetupProgress,
    ) -> Result<SetupReport, NodeError> {
        self.check_member(std::slice::from_ref(&plan.requester), "the bank")?;
        let reach = |pinned| self.reach(pinned);
        let providers = plan.providers.iter().map(reach).collect::<Result<_, _>>()?;
        let score = ScoreFolder::new(&self.layout);
        let folder = score.group(&plan.group);
        let _held = folder.lock()?;
        if GroupPlan::kept_digest(&folder)? != Some(plan.digest()) {
            plan.store(&folder)?;
        }
        let record = |event| self.tell([event]);
        let relay = Relay {
            plan,
            score: &score,
            folder: &folder,
            keys: &self.keys,
            providers,
            record: &record,
            progress,
        };
        relay.run(epoch).await
    }

    /// The groups that this node knows, or one of them.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn score_status(&self, group: Option<&DataSet>) -> Result<Vec<GroupStatus>, NodeError> {
        status(&ScoreFolder::new(&self.layout), &self.keys.party, group)
    }

    fn check_member(&self, members: &[Pinned], role: &'static str) -> Result<(), NodeError> {
        let (party, found) = (self.keys.party.clone(), self.score_identity().fingerprint());
        if members.iter().any(|member| member.party == party && member.fingerprint == found) {
            Ok(())
        } else {
            Err(SetupFailure::NotMember { party, found, role }.into())
        }
    }

    /// A partner that is enrolled here with the pinned key.
    fn pinned_partner(&self, pinned: &Pinned) -> Result<Identity, NodeError> {
        let partner = self.partner(pinned.party.as_str())?;
        let (party, found) = (partner.party, Fingerprint::of(&partner.receipt_key));
        if found == pinned.fingerprint {
            Ok(Identity { party, key: partner.receipt_key })
        } else {
            let (found, pinned) = (Box::new(found), Box::new(pinned.fingerprint));
            Err(SetupFailure::Fingerprint { party, found, pinned }.into())
        }
    }

    fn reach(&self, pinned: &Pinned) -> Result<Reached, NodeError> {
        let identity = self.pinned_partner(pinned)?;
        let party = &identity.party;
        check_job(&self.config, &self.store, Function::Scoring, party)?;
        let configured = self.config.providers.iter().find(|p| p.party == party.as_str());
        let configured = configured.ok_or_else(|| SetupFailure::NoAddress { party: party.clone() })?;
        let channel = channel(&self.certificate()?, party, &configured.address)?;
        Ok(Reached { identity, channel })
    }
}
