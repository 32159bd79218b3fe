//! A bank and two providers whose epochs are really set up and whose tables are really added: from one seed.

use std::path::Path;
use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use tempfile::TempDir;
use windvane_keys::files::write_private;
use windvane_keys::store::MemoryStore;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::identity::IDENTITY_VERSION;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::{Epoch, Member};
use windvane_protocols::score::group::{Charter, Fingerprint, GroupTerms, Identity, Sharing};
use windvane_protocols::score::model::ModelCard;
use windvane_protocols::score::shares::announce;
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::score::table::parts::{Coverage, PartTally};
use windvane_protocols::score::table::{TableHasher, sum};
use windvane_protocols::score::universe::{NUMBERS_PER_SEGMENT, Universe};
use windvane_protocols::transcript::{Record as _, Signed};

use super::activation::Lifecycle;
use super::card::{SAMPLE, parse};
use super::folder::{GroupFolder, ScoreFolder};
use super::parts::DenseParts;
use super::plan::{GroupPlan, Pinned};
use super::registry::{Description, Registry};
use super::table::SumRoot;
use super::universe::SignedUniverse;
use crate::clock::Clock;
use crate::identity::Layout;
use crate::snapshot::disk::create_directory;
use crate::store::Store;

const SEED: u64 = 20_261_126;

/// When everything happens, unless a test says otherwise.
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

/// A clock that stands.
#[derive(Debug)]
pub(crate) struct Standing(pub(crate) u64);

impl Clock for Standing {
    fn now_ms(&self) -> u64 {
        self.0
    }
}

/// The first epoch of the world, with the model `fraud-1`; `fraud-2` has the one after it.
pub(crate) const FIRST: u64 = 3;

/// The state file of a world.
const STATE: &str = "state.db";

/// What a fetch leaves at the bank of one epoch.
struct Fetched {
    evidence: Vec<u8>,
    manifests: Vec<(PartyId, Vec<u8>)>,
    table: Vec<u8>,
    root: Vec<u8>,
}

static FETCHED: LazyLock<[Fetched; 2]> = LazyLock::new(|| [fetched(FIRST), fetched(FIRST + 1)]);

/// The group's folder at one party, with both epochs fetched and no model yet.
pub(crate) struct World {
    dir: TempDir,
    pub(crate) folder: GroupFolder,
    pub(crate) store: Store,
    pub(crate) party: PartyId,
    pub(crate) key: StorageKey,
}

impl World {
    /// The bank's.
    pub(crate) fn bank() -> Self {
        Self::of("bank")
    }

    /// One party's.
    pub(crate) fn of(party: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = fetch_into(&Layout::new(dir.path().to_owned()));
        let key = StorageKey::generate(&MemoryStore::new(), 1, &mut rng(9)).unwrap();
        let store = Store::open(&dir.path().join(STATE)).unwrap();
        Self { dir, folder, store, party: party.parse().unwrap(), key }
    }

    pub(crate) fn registry(&self) -> Registry {
        Registry::new(self.folder.clone())
    }

    /// Adds and approves both models.
    pub(crate) fn with_models(self) -> Self {
        for (number, now_ms) in [(1, NOW_MS), (2, NOW_MS + 1)] {
            self.registry().add(&card(number), None, &described("alice"), &self.key, now_ms).unwrap();
            self.registry().approve(card(number).name(), "bob", now_ms).unwrap();
        }
        self
    }

    pub(crate) fn life(&self) -> Lifecycle<'_> {
        Lifecycle { folder: &self.folder, party: &self.party, store: &self.store, clock: &Standing(NOW_MS) }
    }

    /// Takes what waits for the log.
    pub(crate) fn told(&self) -> Vec<Event> {
        let waiting = self.store.outbox().unwrap();
        self.store.clear_outbox(i64::MAX).unwrap();
        waiting.into_iter().map(|(_, entry)| Entry::decode(&entry).unwrap().event).collect()
    }

    /// Runs something while nothing can be queued for the log.
    pub(crate) fn while_nothing_is_told<T>(&self, run: impl FnOnce() -> T) -> T {
        let other = rusqlite::Connection::open(self.dir.path().join(STATE)).unwrap();
        other.execute_batch("ALTER TABLE outbox RENAME TO away").unwrap();
        let ran = run();
        other.execute_batch("ALTER TABLE away RENAME TO outbox").unwrap();
        ran
    }

    /// A file of an epoch.
    pub(crate) fn file(&self, epoch: u64, name: &str) -> std::path::PathBuf {
        self.folder.epoch(epoch).join(name)
    }
}

/// Puts the group's folder with both epochs into a node's files.
pub(crate) fn fetch_into(layout: &Layout) -> GroupFolder {
    let folder = ScoreFolder::new(layout).group(&terms(1).group);
    for (fetched, number) in FETCHED.iter().zip(FIRST..) {
        let epoch = folder.epoch(number);
        create_directory(&epoch.join("manifests")).unwrap();
        write_private(&epoch.join("evidence"), &fetched.evidence).unwrap();
        write_private(&epoch.join("table"), &fetched.table).unwrap();
        write_private(&epoch.join("sum-root"), &fetched.root).unwrap();
        for (party, manifest) in &fetched.manifests {
            write_private(&epoch.join("manifests").join(party.as_str()), manifest).unwrap();
        }
        plan(number, 2).store_for(&folder, number).unwrap();
    }
    folder
}

/// What an epoch was set up under, if the key of `carrier-b` is that of an index: 2 in truth.
pub(crate) fn plan(epoch: u64, key_of_b: u8) -> GroupPlan {
    let pinned = |(party, index): (&str, u8)| Pinned {
        party: party.parse().unwrap(),
        fingerprint: Fingerprint::of(&key(index).verifying_key()),
    };
    let providers = [("carrier-a", 1), ("carrier-b", key_of_b)].map(pinned).to_vec();
    let document = SignedUniverse::sign(universe(), &key(0));
    GroupPlan::of(&terms(epoch).group, pinned(("bank", 0)), providers, document, card_of(epoch))
}

/// `fraud-1` or `fraud-2`.
pub(crate) fn card(number: u64) -> ModelCard {
    parse(&SAMPLE.replace("fraud-2026-11", &format!("fraud-{number}"))).unwrap()
}

fn card_of(epoch: u64) -> ModelCard {
    card(epoch.saturating_sub(FIRST - 1))
}

pub(crate) fn described(by: &str) -> Description {
    Description { by: by.to_owned(), features: vec!["calls by night".to_owned()], ..Description::default() }
}

/// Parts of the world's universe.
pub(crate) fn parts(default: u8) -> DenseParts {
    DenseParts::uniform(&universe(), default)
}

pub(crate) fn universe() -> Universe {
    Universe::new("bank".parse().unwrap(), 1, vec!["1380013".parse().unwrap()]).unwrap()
}

/// Changes one byte of a file.
pub(crate) fn alter(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    write_private(path, &bytes).unwrap();
}

fn rng(stream: u64) -> ChaCha20Rng {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    rng.set_stream(stream);
    rng
}

/// Of the bank and the two providers.
pub(crate) fn key(index: u8) -> SigningKey {
    SigningKey::from_bytes(&[index + 1; 32])
}

fn terms(epoch: u64) -> GroupTerms {
    let identity =
        |(party, i): (&str, u8)| Identity { party: party.parse().unwrap(), key: key(i).verifying_key() };
    GroupTerms {
        group: "joint-risk".parse().unwrap(),
        requester: identity(("bank", 0)),
        providers: [("carrier-a", 1), ("carrier-b", 2)].map(identity).to_vec(),
        sharing: Sharing::Threshold(2),
        universe: *universe().digest(),
        identity_version: IDENTITY_VERSION.to_owned(),
        model: card_of(epoch).digest(),
        epoch,
    }
}

fn members(epoch: u64) -> Vec<Member> {
    let terms = terms(epoch);
    let pins = terms.identities().map(|it| (it.party.clone(), it.fingerprint())).collect();
    let charter = Charter::accept(terms, &pins).unwrap();
    let mut rng = rng(epoch);
    let party = |i: u8| charter.providers()[usize::from(i) - 1].party.clone();
    let steps = [1, 2].map(|i| announce(charter.clone(), &party(i), &key(i), &mut rng).unwrap());
    let announcements = steps.each_ref().map(|step| step.message.clone());
    let mut i = 0;
    let steps = steps.map(|step| {
        i += 1;
        step.state.on_announcements(&announcements, &key(i), &mut rng).unwrap()
    });
    let dealings = steps.each_ref().map(|step| step.message.clone());
    let mut i = 0;
    let steps = steps.map(|step| {
        i += 1;
        step.state.on_dealings(&dealings, &key(i)).unwrap()
    });
    let mut confirmations = steps.each_ref().map(|step| step.message.clone()).to_vec();
    confirmations.push(steps[0].state.sharing().confirm("bank".parse().unwrap(), &key(0)));
    steps.map(|step| step.state.on_confirmations(&confirmations).unwrap()).into()
}

fn fetched(number: u64) -> Fetched {
    let members = members(number);
    let epoch = members[0].epoch().clone();
    let tables = [0_u8, 1].map(|i| {
        let parts: Vec<_> = (0..NUMBERS_PER_SEGMENT).map(|u| (u % 5) as u8 * (i + 1)).collect();
        (members[usize::from(i)].sealer().unwrap().rows(0, &parts), parts)
    });
    let rows = tables.each_ref().map(|(rows, _)| rows.as_flattened());
    let table = sum::add(&epoch, &rows).unwrap().as_flattened().to_vec();
    let manifest = |i: usize| {
        let manifest = manifest(&epoch, members[i].party(), root(rows[i]), &tables[i].1);
        Signed::sign(manifest, &key(i as u8 + 1))
    };
    let manifests = [0, 1].map(manifest);
    Fetched {
        evidence: epoch.evidence().encode().into_bytes(),
        root: SumRoot::of(&epoch, &manifests, root(&table)).encode().into_bytes(),
        manifests: manifests.map(|it| (it.body().provider.clone(), it.as_bytes().to_vec())).to_vec(),
        table,
    }
}

fn manifest(epoch: &Epoch, provider: &PartyId, root: [u8; 32], parts: &[u8]) -> TableManifest {
    let mut tally = PartTally::new(0);
    tally.observe(parts);
    TableManifest {
        provider: provider.clone(),
        group: epoch.charter().terms().group.clone(),
        epoch: epoch.number(),
        context: *epoch.context(),
        segments: 1,
        root,
        parts: tally.declare(Coverage::Overlapped, 1_000).unwrap(),
        built_at_ms: NOW_MS,
    }
}

fn root(table: &[u8]) -> [u8; 32] {
    let mut hasher = TableHasher::new();
    hasher.push(table.try_into().unwrap());
    hasher.root()
}
