//! A provider's side of a setup: three rounds that a bank relays, and the end.
//!
//! **Promised.** The epoch is noted durably and logged before the announcement leaves; the sealed secrets and all
//! messages so far are on the disk and the confirmation is logged before it leaves; the evidence appears whole. A
//! bank that did not get an answer asks again and gets the same. From the confirmation on a setup survives a restart,
//! until the group's next one begins; before it, secrets are in memory only, and a restart costs the epoch's number.
//!
//! One step at a time, for all groups: setups are rare, and a step takes milliseconds. A step is carried out whole even
//! when its caller hangs up.
//!
//! No grant limits a bank here, so what it can make a provider log and keep is: a group's setups begin at a pace, and none
//! where 64 epochs of the group are not retired; a confirmation is told of once however often it is asked for; and of a setup
//! that is given up nothing stays on the disk but the record of its key, until the group's next one is confirmed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;
use windvane_keys::enrolment::Partner;
use windvane_keys::record::{KeyRecord, Purpose};
use windvane_keys::score::{destroy_member_keys, load_member_keys, store_member_keys};
use windvane_keys::store::KeyStore as _;
use windvane_proto::convert::ScoreRound;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::MemberKeys;
use windvane_protocols::score::group::{Charter, GroupTerms};
use windvane_protocols::score::ledger::LedgerError;
use windvane_protocols::score::shares::record::{Announcement, Confirmation, Dealing};
use windvane_protocols::score::shares::{
    AwaitAnnouncements, AwaitConfirmations, AwaitDealings, Evidence, PublicSharing, SetupError, announce,
};
use windvane_protocols::transcript::{Hash, Record as _, Signed};

use super::Stage;
use super::folder::{FolderError, GroupFolder, ScoreFolder};
use super::plan::GroupPlan;
use super::refusal::ScoreRefusal;
use crate::error::{NodeError, Refusal};
use crate::limits::Pace;
use crate::provider::Provider;

/// The newest epochs of a group among which a setup is looked for after a restart.
const RECENT_EPOCHS: usize = 4;

/// The finished epochs of a group that are not retired, beyond which no setup of it begins: each costs a key, evidence and
/// memory, and a bank needs the one that it scores with and a few to go back to.
const STANDING_EPOCHS: usize = 64;

/// Setups of a group that may begin at once, where none did for long.
const SETUPS_AT_ONCE: u64 = 16;

/// The seconds after which another one may.
const SETUP_S: u64 = 60;

/// The setups of a provider: at most one a group, and of groups that it joined only.
#[derive(Debug)]
pub struct Rounds {
    provider: Arc<Provider>,
    groups: Mutex<Groups>,
}

/// What the process knows of every group's setups.
#[derive(Debug, Default)]
struct Groups {
    running: BTreeMap<DataSet, Running>,
    /// The last setup whose confirmation the log was told of.
    told: BTreeMap<DataSet, Hash>,
    paces: BTreeMap<DataSet, Pace>,
}

/// A setup before its confirmation.
#[derive(Debug)]
struct Running {
    plan: Arc<GroupPlan>,
    charter: Charter,
    announcement: Signed<Announcement>,
    waiting: Waiting,
}

#[derive(Debug)]
enum Waiting {
    Announcements(AwaitAnnouncements),
    Dealings { state: AwaitDealings, heard: Vec<Signed<Announcement>>, dealing: Signed<Dealing> },
}

/// A setup on the disk.
struct Kept {
    folder: GroupFolder,
    epoch: u64,
    plan: GroupPlan,
    messages: Evidence,
    /// Nothing is left to do.
    finished: bool,
}

impl Rounds {
    /// No setups yet.
    pub fn new(provider: Arc<Provider>) -> Self {
        Self { provider, groups: Mutex::default() }
    }

    /// The provider.
    pub const fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    /// First round: holds the terms against what was joined, and begins the epoch.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn announce(
        self: &Arc<Self>,
        partner: &Partner,
        terms: GroupTerms,
    ) -> Result<Signed<Announcement>, Refusal> {
        let plan = self.provider.members().group(&terms.group);
        let plan = plan.filter(|plan| plan.requester.party == partner.party);
        let plan = plan.ok_or(ScoreRefusal::GroupUnknown)?;
        plan.matches(&terms).map_err(|field| ScoreRefusal::TermsDiffer { field })?;
        let charter = Charter::accept(terms, &plan.pins()).map_err(ScoreRefusal::from)?;
        let this = self.clone();
        whole(async move { this.begin(plan, charter).await }).await
    }

    /// Second round: deals to everybody's sealing keys.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn deal(
        self: &Arc<Self>,
        partner: &Partner,
        round: ScoreRound<Announcement>,
    ) -> Result<Signed<Dealing>, Refusal> {
        let (this, bank) = (self.clone(), partner.party.clone());
        whole(async move { this.dealt(&bank, round).await }).await
    }

    /// Third round: opens the shares, seals the secrets, and confirms.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn confirm(
        self: &Arc<Self>,
        partner: &Partner,
        round: ScoreRound<Dealing>,
    ) -> Result<Signed<Confirmation>, Refusal> {
        let (this, bank) = (self.clone(), partner.party.clone());
        whole(async move { this.confirmed(bank, round).await }).await
    }

    /// The end: the epoch counts from here on.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn finish(
        self: &Arc<Self>,
        partner: &Partner,
        round: ScoreRound<Confirmation>,
    ) -> Result<(), Refusal> {
        let (this, bank) = (self.clone(), partner.party.clone());
        whole(async move { this.finished(bank, round).await }).await
    }

    async fn begin(&self, plan: Arc<GroupPlan>, charter: Charter) -> Result<Signed<Announcement>, Refusal> {
        let mut groups = self.groups.lock().await;
        Stage::Announce.reached();
        let terms = charter.terms();
        if let Some(known) = groups.running.get(&terms.group).filter(|known| known.charter == charter) {
            return Ok(known.announcement.clone());
        }
        if self.provider.is_stopping() {
            return Err(Refusal::Stopping);
        }
        groups.admit(&terms.group)?;
        self.check_room(&terms.group).await?;
        let shared = self.provider.shared();
        let (party, key) = (&shared.keys.party, shared.keys.signing_key());
        let step = announce(charter.clone(), party, key, &mut rand::rng()).map_err(ScoreRefusal::from)?;
        let (score, group, epoch) = (ScoreFolder::new(&shared.layout), terms.group.clone(), terms.epoch);
        let noted = blocking(move || score.ledger()?.begin(&group, epoch)).await?;
        noted.map_err(folder_refusal)?;
        self.give_up_before(terms).await?;
        self.tell(terms, "begun", charter.digest()).await?;
        Stage::Begun.reached();
        let (announcement, waiting) = (step.message, Waiting::Announcements(step.state));
        let group = terms.group.clone();
        // An earlier setup of the group ends here: its secrets go with it.
        let begun = Running { plan, charter, announcement: announcement.clone(), waiting };
        groups.running.insert(group, begun);
        Ok(announcement)
    }

    /// Whether another epoch of a group may stand here.
    async fn check_room(&self, group: &DataSet) -> Result<(), Refusal> {
        let folder = ScoreFolder::new(&self.provider.shared().layout).group(group);
        let standing = blocking(move || folder.standing_epochs()).await?.map_err(folder_refusal)?.len();
        if standing >= STANDING_EPOCHS {
            return Err(ScoreRefusal::EpochsStand { standing }.into());
        }
        Ok(())
    }

    async fn dealt(
        &self,
        bank: &PartyId,
        round: ScoreRound<Announcement>,
    ) -> Result<Signed<Dealing>, Refusal> {
        let stage = "announcements";
        let running = &mut self.groups.lock().await.running;
        let group = find(running, bank, &round.charter).ok_or(ScoreRefusal::SetupUnknown { stage })?;
        match running.get(&group).map(|known| &known.waiting) {
            Some(Waiting::Dealings { heard, dealing, .. }) if *heard == round.messages => {
                return Ok(dealing.clone());
            }
            Some(Waiting::Dealings { .. }) => return Err(ScoreRefusal::RoundRepeated { stage }.into()),
            _ => {}
        }
        let Some(Running { plan, charter, announcement, waiting: Waiting::Announcements(state) }) =
            running.remove(&group)
        else {
            return Err(Refusal::Internal);
        };
        let key = self.provider.shared().keys.signing_key();
        // Not in the match itself: the generator must not live across an await.
        let step = state.on_announcements(&round.messages, key, &mut rand::rng());
        match step {
            Ok(step) => {
                let dealing = step.message;
                let waiting =
                    Waiting::Dealings { state: step.state, heard: round.messages, dealing: dealing.clone() };
                running.insert(group, Running { plan, charter, announcement, waiting });
                Stage::Dealt.reached();
                Ok(dealing)
            }
            Err(error) => Err(self.failed(&charter, error).await),
        }
    }

    async fn confirmed(
        &self,
        bank: PartyId,
        round: ScoreRound<Dealing>,
    ) -> Result<Signed<Confirmation>, Refusal> {
        let stage = "dealings";
        let mut groups = self.groups.lock().await;
        let Groups { running, told, .. } = &mut *groups;
        let Some(group) = find(running, &bank, &round.charter) else {
            return self.confirmed_again(told, bank, round).await;
        };
        let (plan, charter, state, heard) = match running.remove(&group) {
            Some(Running { plan, charter, waiting: Waiting::Dealings { state, heard, .. }, .. }) => {
                (plan, charter, state, heard)
            }
            // Dealings before announcements: what waits goes on waiting.
            Some(early) => {
                running.insert(group, early);
                return Err(ScoreRefusal::SetupUnknown { stage }.into());
            }
            None => return Err(Refusal::Internal),
        };
        let step = match state.on_dealings(&round.messages, self.provider.shared().keys.signing_key()) {
            Ok(step) => step,
            Err(error) => return Err(self.failed(&charter, error).await),
        };
        let terms = charter.terms().clone();
        let messages =
            Evidence { terms, announcements: heard, dealings: round.messages, confirmations: vec![] };
        let record = self.keep(plan, messages, step.state.keys().clone()).await?;
        Stage::KeysStored.reached();
        self.tell_key(record, "active").await?;
        self.tell(charter.terms(), "confirmed", step.state.sharing().transcript()).await?;
        told.insert(group, *charter.digest());
        Stage::Confirmed.reached();
        Ok(step.message)
    }

    /// The same confirmation for the same dealings, from what is on the disk.
    async fn confirmed_again(
        &self,
        told: &mut BTreeMap<DataSet, Hash>,
        bank: PartyId,
        round: ScoreRound<Dealing>,
    ) -> Result<Signed<Confirmation>, Refusal> {
        let stage = "dealings";
        let charter = round.charter;
        let kept = self.kept(bank, charter).await?.ok_or(ScoreRefusal::SetupUnknown { stage })?;
        if kept.messages.dealings != round.messages {
            return Err(ScoreRefusal::RoundRepeated { stage }.into());
        }
        let keys = &self.provider.shared().keys;
        if kept.finished {
            let own = kept.messages.confirmations.into_iter().find(|it| it.body().party == keys.party);
            return own.ok_or_else(|| ScoreRefusal::SetupUnknown { stage }.into());
        }
        let terms = kept.messages.terms.clone();
        let state = self.resume(kept, stage).await?;
        let confirmation = state.sharing().confirm(keys.party.clone(), keys.signing_key());
        if told.get(&terms.group) == Some(&charter) {
            return Ok(confirmation);
        }
        // A kill may have come before either was told.
        let purpose = Purpose::Score { group: terms.group.clone(), epoch: terms.epoch };
        let shared = self.provider.shared().clone();
        let records = blocking(move || shared.keys.store.find(&purpose)).await?;
        for record in records.map_err(|error| internal(&error.into()))? {
            self.tell_key(record, "active").await?;
        }
        self.tell(&terms, "confirmed", state.sharing().transcript()).await?;
        told.insert(terms.group, charter);
        Ok(confirmation)
    }

    async fn finished(&self, bank: PartyId, round: ScoreRound<Confirmation>) -> Result<(), Refusal> {
        let stage = "confirmations";
        let _one = self.groups.lock().await;
        let kept = self.kept(bank, round.charter).await?.ok_or(ScoreRefusal::SetupUnknown { stage })?;
        if kept.finished {
            return Ok(());
        }
        let (folder, terms) = (kept.folder.epoch(kept.epoch), kept.messages.terms.clone());
        let state = self.resume(kept, stage).await?;
        let member = state.on_confirmations(&round.messages).map_err(ScoreRefusal::from)?;
        Stage::Agreed.reached();
        let (evidence, place) = (member.epoch().evidence().clone(), folder.clone());
        blocking(move || place.keep_evidence(&evidence)).await?.map_err(folder_refusal)?;
        self.tell(&terms, "finished", member.epoch().context()).await?;
        let provider = self.provider.clone();
        let reloaded = blocking(move || provider.members().reload(provider.shared())).await?;
        reloaded.map_err(|error| internal(&error))?;
        // Who says that it has finished must answer from now on; why it cannot is logged by the reload.
        self.provider.members().by_context(member.epoch().context()).ok_or(Refusal::Internal)?;
        // Last: as long as it is there, any of the above may be missing.
        blocking(move || folder.remove_setup()).await?.map_err(folder_refusal)?;
        Stage::Finished.reached();
        Ok(())
    }

    /// Gives up the setups before one that begins that were confirmed and never finished, with their secrets and files.
    /// The bank has given them up itself, or it would not have sent the new one.
    async fn give_up_before(&self, next: &GroupTerms) -> Result<(), Refusal> {
        let layout = &self.provider.shared().layout;
        let (folder, epoch) = (ScoreFolder::new(layout).group(&next.group), next.epoch);
        let found = blocking(move || Ok::<_, NodeError>((unfinished_before(&folder, epoch)?, folder)));
        let (unfinished, folder) = found.await?.map_err(|error| internal(&error))?;
        for (epoch, terms) in unfinished {
            let dir = folder.epoch(epoch);
            if let Some(terms) = terms {
                self.end(&terms).await?;
            }
            // Last: as long as the messages are there, any of the above may be missing.
            blocking(move || dir.give_up()).await?.map_err(folder_refusal)?;
        }
        Ok(())
    }

    /// Destroys the secrets of a setup that is given up, and tells of that.
    async fn end(&self, terms: &GroupTerms) -> Result<(), Refusal> {
        let (store, group, epoch) = (self.provider.shared().clone(), terms.group.clone(), terms.epoch);
        let destroyed = blocking(move || destroy_member_keys(&store.keys.store, &group, epoch)).await?;
        for record in destroyed.map_err(|error| internal(&error.into()))? {
            self.tell_key(record, "destroyed").await?;
        }
        self.tell(terms, "failed", &terms.encode().digest()).await
    }

    /// Keeps the plan, the messages so far and the secrets.
    async fn keep(
        &self,
        plan: Arc<GroupPlan>,
        messages: Evidence,
        keys: MemberKeys,
    ) -> Result<KeyRecord, Refusal> {
        let (shared, now_ms) = (self.provider.shared().clone(), self.provider.now_ms());
        let kept = blocking(move || {
            let (group, epoch) = (&messages.terms.group, messages.terms.epoch);
            let folder = ScoreFolder::new(&shared.layout).group(group);
            plan.store_for(&folder, epoch)?;
            folder.epoch(epoch).keep_setup(&messages)?;
            Ok::<_, NodeError>(store_member_keys(&shared.keys.store, group, epoch, &keys, now_ms)?)
        });
        kept.await?.map_err(|error| internal(&error))
    }

    /// The setup under some terms among the newest of the groups of a bank.
    async fn kept(&self, bank: PartyId, charter: Hash) -> Result<Option<Kept>, Refusal> {
        let (groups, layout) = (self.provider.members().groups(), self.provider.shared().layout.clone());
        let find = move || {
            let score = ScoreFolder::new(&layout);
            for plan in groups.iter().filter(|plan| plan.requester.party == bank) {
                let folder = score.group(&plan.group);
                if let Some(kept) = Kept::find(&folder, &charter)? {
                    return Ok(Some(kept));
                }
            }
            Ok::<_, NodeError>(None)
        };
        blocking(find).await?.map_err(|error| internal(&error))
    }

    /// Takes a setup up again with the secrets that were sealed.
    async fn resume(&self, kept: Kept, stage: &'static str) -> Result<AwaitConfirmations, Refusal> {
        let keys = self.provider.shared().keys.clone();
        let resumed = blocking(move || {
            let Evidence { terms, announcements, dealings, .. } = kept.messages;
            let secrets = load_member_keys(&keys.store, &terms.group, terms.epoch).ok()?;
            let charter = Charter::accept(terms, &kept.plan.pins()).ok()?;
            let sharing = PublicSharing::check(charter, &announcements, &dealings).ok()?;
            AwaitConfirmations::resume(sharing, &keys.party, secrets).ok()
        });
        // What does not fit was left by a crash between the messages and the secrets, or the secrets were destroyed.
        Ok(resumed.await?.ok_or(ScoreRefusal::SetupUnknown { stage })?)
    }

    /// Logs that a setup is over, by whose fault, and gives the refusal.
    async fn failed(&self, charter: &Charter, error: SetupError) -> Refusal {
        match self.tell(charter.terms(), "failed", charter.digest()).await {
            Ok(()) => ScoreRefusal::from(error).into(),
            Err(refusal) => refusal,
        }
    }

    async fn tell_key(&self, record: KeyRecord, state: &str) -> Result<(), Refusal> {
        let (purpose, public) = (record.purpose.to_string(), record.public);
        self.provider.log(Event::Key { purpose, public, state: state.to_owned() }).await
    }

    async fn tell(&self, terms: &GroupTerms, state: &str, digest: &Hash) -> Result<(), Refusal> {
        let (group, state) = (terms.group.clone(), state.to_owned());
        self.provider.log(Event::ScoreEpoch { group, epoch: terms.epoch, state, digest: *digest }).await
    }
}

impl Groups {
    /// Counts a setup that begins.
    fn admit(&mut self, group: &DataSet) -> Result<(), Refusal> {
        let new = || Pace::new(1, SETUPS_AT_ONCE * SETUP_S);
        let pace = self.paces.entry(group.clone()).or_insert_with(new);
        let too_many =
            |retry_after_ms| Refusal::Overloaded { what: "setups of a scoring group", retry_after_ms };
        pace.take_worth(SETUP_S, Instant::now()).map_or(Ok(()), |wait| Err(too_many(wait)))
    }
}

impl Kept {
    fn find(folder: &GroupFolder, charter: &Hash) -> Result<Option<Self>, NodeError> {
        for epoch in folder.epochs()?.into_iter().rev().take(RECENT_EPOCHS) {
            let dir = folder.epoch(epoch);
            let (setup, evidence) = (dir.read_setup()?, dir.read_evidence()?);
            let finished = setup.is_none();
            let found = setup.or(evidence).filter(|m| m.terms.encode().digest() == *charter);
            if let Some(messages) = found {
                let plan = GroupPlan::open_for(folder, epoch)?;
                return Ok(Some(Self { folder: folder.clone(), epoch, plan, messages, finished }));
            }
        }
        Ok(None)
    }
}

/// A group's setups before an epoch that are not finished, with their terms; without, where a kill left nothing but a
/// folder. A file that cannot be read must not keep later ones from beginning.
fn unfinished_before(folder: &GroupFolder, epoch: u64) -> Result<Vec<(u64, Option<GroupTerms>)>, NodeError> {
    let mut found = Vec::new();
    for earlier in folder.epochs()?.into_iter().filter(|earlier| *earlier < epoch) {
        let dir = folder.epoch(earlier);
        match dir.read_setup() {
            Ok(messages) if !dir.is_finished() => {
                found.push((earlier, messages.map(|messages| messages.terms)));
            }
            Ok(_) => {}
            Err(error) => {
                let group = folder.group();
                tracing::error!(code = error.code(), %group, earlier, %error, "an unfinished setup stays");
            }
        }
    }
    Ok(found)
}

/// The group whose setup under these terms the bank relays.
fn find(running: &BTreeMap<DataSet, Running>, bank: &PartyId, charter: &Hash) -> Option<DataSet> {
    let of = |known: &Running| known.charter.digest() == charter && known.plan.requester.party == *bank;
    running.iter().find(|(_, known)| of(known)).map(|(group, _)| group.clone())
}

/// Carries a step out whole, whether its caller waits for it or not.
async fn whole<T: Send + 'static>(
    step: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(step).await.map_err(|_| Refusal::Internal)?
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::Internal)
}

fn folder_refusal(error: FolderError) -> Refusal {
    match error {
        FolderError::Ledger(LedgerError::Rollback { last, .. }) => ScoreRefusal::EpochUsed { last }.into(),
        FolderError::Ledger(LedgerError::TooFar { largest, .. }) => {
            ScoreRefusal::EpochTooLarge { largest }.into()
        }
        FolderError::Busy { .. } => ScoreRefusal::Busy.into(),
        other => internal(&other.into()),
    }
}

fn internal(error: &NodeError) -> Refusal {
    tracing::error!(code = error.code(), %error, "a setup could not be kept");
    Refusal::Internal
}
