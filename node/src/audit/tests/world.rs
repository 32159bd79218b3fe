//! A bank and two carriers that really ask, answer, sign and log; tests then change what they logged.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tempfile::TempDir;
use windvane_keys::authority::CertificateAuthority;
use windvane_keys::enrolment::EnrolmentRequest;
use windvane_keys::identity::TlsKey;
use windvane_keys::signing::{LogKey, ReceiptKey, log_origin};
use windvane_keys::store::MemoryStore;
use windvane_protocols::audit::checkpoint::{Checkpoint, LogVerifier};
use windvane_protocols::audit::entry::{Asked, Decided, Entry, Event, Keys};
use windvane_protocols::audit::grant::{Grant, GrantId, Operation};
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::identity::{Family, IDENTITY_VERSION, Person, Phone};
use windvane_protocols::lookup::KeyGroup;
use windvane_protocols::lookup::client::{Customer, LookupTerms, Terms, ask};
use windvane_protocols::lookup::manifest::{Manifest, Publication};
use windvane_protocols::lookup::provider::{Circumstances, EpochKeys};
use windvane_protocols::lookup::schema::Schema;
use windvane_protocols::oprf::PrivateKey;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::score::table::parts::{Coverage, PartTerms};
use windvane_protocols::secret::Secret;
use windvane_protocols::transcript::{Record as _, Signed};

use crate::evidence::{EvidenceLog, LogConfig};

pub(super) const BANK: usize = 0;
pub(super) const A: usize = 1;
pub(super) const B: usize = 2;

/// 2026-03-01T00:00:00Z.
pub(super) const NOW_MS: u64 = 1_772_323_200_000;

const SEED: u64 = 0x000a_0d17;
const FAMILIES: [Family; 2] = [Family::Phone, Family::PhoneId];

/// A party with its keys and what it logged.
pub(super) struct Party {
    pub(super) id: PartyId,
    pub(super) receipt: ReceiptKey,
    log: LogKey,
    tls: TlsKey,
    pub(super) entries: Vec<Entry>,
}

impl Party {
    fn new(name: &str, rng: &mut ChaCha20Rng) -> Self {
        let store = MemoryStore::new();
        Self {
            id: name.parse().unwrap(),
            receipt: ReceiptKey::generate(&store, NOW_MS, rng).unwrap(),
            log: LogKey::generate(&store, NOW_MS, rng).unwrap(),
            tls: TlsKey::generate(&store, NOW_MS).unwrap(),
            entries: Vec::new(),
        }
    }

    pub(super) fn key(&self) -> &SigningKey {
        self.receipt.signing_key()
    }

    pub(super) fn keys(&self) -> Keys {
        Keys {
            party: self.id.clone(),
            receipt: self.receipt.verifying_key().to_bytes(),
            log: self.log.verifying_key().to_bytes(),
            subject_tag: Vec::new(),
        }
    }

    pub(super) fn verifier(&self) -> LogVerifier {
        LogVerifier::new(&log_origin(&self.id), self.log.verifying_key()).unwrap()
    }

    /// Indices of the entries of a kind.
    pub(super) fn all(&self, kind: &str) -> Vec<usize> {
        (0..self.entries.len()).filter(|i| self.entries[*i].event.kind() == kind).collect()
    }

    /// Index of the first entry of a kind.
    pub(super) fn first(&self, kind: &str) -> usize {
        self.all(kind)[0]
    }
}

/// The parties and what stands between them. `grants` and `manifests` are by the carrier's index less one.
pub(super) struct World {
    temp: TempDir,
    logs: AtomicUsize,
    authority: CertificateAuthority,
    pub(super) rng: ChaCha20Rng,
    pub(super) now_ms: u64,
    pub(super) parties: Vec<Party>,
    pub(super) grants: Vec<Grant>,
    manifests: Vec<Manifest>,
    epochs: Vec<EpochKeys>,
}

impl World {
    /// Enrolled, granted and published; nothing asked yet.
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    /// With grants that differ in what `change` does.
    #[expect(clippy::print_stderr, reason = "a failing test must show its seed")]
    pub(super) fn with(change: impl Fn(&mut Grant)) -> Self {
        eprintln!("seed {SEED:#x}");
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let authority =
            CertificateAuthority::create(&MemoryStore::new(), "Trial", 30, NOW_MS, &mut rng).unwrap();
        let parties = ["bank", "carrier-a", "carrier-b"].map(|name| Party::new(name, &mut rng)).into();
        let mut world = Self {
            temp: TempDir::new().unwrap(),
            logs: AtomicUsize::new(0),
            authority,
            rng,
            now_ms: NOW_MS,
            parties,
            grants: Vec::new(),
            manifests: Vec::new(),
            epochs: Vec::new(),
        };
        (0..3).for_each(|i| world.open(i));
        [(A, BANK), (BANK, A), (B, BANK), (BANK, B)].into_iter().for_each(|(at, of)| world.enrol(at, of));
        for carrier in [A, B] {
            world.grant(carrier, &change);
            world.publish(carrier);
        }
        world
    }

    fn open(&mut self, party: usize) {
        let keys = self.parties[party].keys();
        self.log(party, Event::Opened(keys));
        self.log(party, Event::Started { software: [1; 64], configuration: [2; 64] });
    }

    pub(super) fn log(&mut self, party: usize, event: Event) {
        self.parties[party].entries.push(Entry::new(self.now_ms, event));
    }

    /// The enrolment of a party's present keys, signed now.
    pub(super) fn enrolment(&mut self, of: usize) -> Event {
        let party = &self.parties[of];
        let request =
            EnrolmentRequest::create(&party.id, &party.receipt, &party.log, None, &party.tls, self.now_ms);
        let enrolment = self.authority.sign(&request.unwrap(), 10, self.now_ms, &mut self.rng).unwrap();
        Event::Enrolled { keys: party.keys(), enrolment: enrolment.to_pem().into_bytes() }
    }

    pub(super) fn enrol(&mut self, at: usize, of: usize) {
        let event = self.enrolment(of);
        self.log(at, event);
    }

    /// An enrolment of a party under another log key than the one that its log is made with.
    pub(super) fn enrolment_of_another_log(&mut self, of: usize) -> Event {
        let other = LogKey::generate(&MemoryStore::new(), self.now_ms, &mut self.rng).unwrap();
        let own = std::mem::replace(&mut self.parties[of].log, other);
        let event = self.enrolment(of);
        self.parties[of].log = own;
        event
    }

    /// Gives a party a new receipt key.
    pub(super) fn renew(&mut self, party: usize) {
        let receipt = ReceiptKey::generate(&MemoryStore::new(), self.now_ms, &mut self.rng);
        self.parties[party].receipt = receipt.unwrap();
    }

    fn grant(&mut self, carrier: usize, change: impl Fn(&mut Grant)) {
        let mut grant = Grant {
            id: GrantId::random(&mut self.rng),
            provider: self.parties[carrier].id.clone(),
            requester: self.parties[BANK].id.clone(),
            data_sets: vec!["subscribers".parse().unwrap()],
            families: FAMILIES.to_vec(),
            operations: vec![Operation::Verify],
            purposes: vec!["account_opening".into()],
            columns: vec![],
            minimum_result: 0,
            score_bands: None,
            psi: Default::default(),
            train: Default::default(),
            epoch_hours: 24,
            rate_per_s: 1_000,
            per_day: 1_000,
            total: 10_000,
            not_before_ms: NOW_MS,
            not_after_ms: NOW_MS + 86_400_000,
            issued_at_ms: NOW_MS,
        };
        change(&mut grant);
        let signed = Signed::sign(grant.clone(), self.parties[carrier].key());
        self.log(carrier, Event::Granted(signed.clone()));
        self.log(BANK, Event::Granted(signed));
        self.grants.push(grant);
    }

    fn publish(&mut self, carrier: usize) {
        let keys: EpochKeys = [KeyGroup::Attribute, KeyGroup::Match]
            .map(|group| (group, PrivateKey::random(&mut self.rng)))
            .into_iter()
            .collect();
        let schema =
            "name = 's'\nversion = 1\nlabel_bytes = 14\n[[field]]\nname = 'a'\nkind = 'code'\nbits = 8";
        let manifest = Manifest {
            provider: self.parties[carrier].id.clone(),
            data_set: "subscribers".parse().unwrap(),
            epoch: 1,
            identity_version: IDENTITY_VERSION.into(),
            schema: Schema::parse(schema).unwrap(),
            families: FAMILIES.to_vec(),
            keys: keys.iter().map(|(group, key)| (*group, key.public().clone())).collect(),
            publications: vec![Publication { id: [4 + carrier as u8; 16], rows: 0, pages: 0, root: [0; 32] }],
            rejected: 0,
            built_at_ms: self.now_ms,
            published_at_ms: self.now_ms,
            not_after_ms: self.now_ms + 86_400_000,
        };
        let signed = Signed::sign(manifest.clone(), self.parties[carrier].key());
        self.log(carrier, Event::Published(signed.clone()));
        self.log(BANK, Event::Published(signed));
        self.manifests.push(manifest);
        self.epochs.push(keys);
    }

    /// A carrier's table of a joint score, of which its root alone matters here.
    pub(super) fn table(&self, carrier: usize, root: u8) -> Event {
        let manifest = TableManifest {
            provider: self.parties[carrier].id.clone(),
            group: "risk".parse().unwrap(),
            epoch: 1,
            context: [7; 64],
            segments: 1,
            root: [root; 32],
            parts: PartTerms { default: 0, distinct: 1, coverage: Coverage::Alone, overlap_permille: 1_000 },
            built_at_ms: self.now_ms,
        };
        Event::ScorePublished(Signed::sign(manifest, self.parties[carrier].key()))
    }

    /// Both carriers are asked about some customers, and the bank decides.
    pub(super) fn run(&mut self, customers: usize) -> Vec<SessionId> {
        self.run_for(customers, "account_opening")
    }

    pub(super) fn run_for(&mut self, customers: usize, purpose: &str) -> Vec<SessionId> {
        self.now_ms += 1_000;
        let asked: Vec<_> = [A, B].map(|carrier| self.ask(carrier, customers, purpose)).into();
        for index in 0..customers {
            let asked = asked.iter().map(|(session, leaves)| Asked {
                session: *session,
                index: index as u64,
                leaf: leaves[index],
            });
            let mut verification = [0; 16];
            self.rng.fill_bytes(&mut verification);
            let decided =
                Decided { verification, subject_tag: [2; 32], result: [3; 32], asked: asked.collect() };
            self.log(BANK, Event::Decided(decided));
        }
        asked.into_iter().map(|(session, _)| session).collect()
    }

    fn ask(&mut self, carrier: usize, customers: usize, purpose: &str) -> (SessionId, Vec<[u8; 64]>) {
        let now_ms = self.now_ms;
        let person = Person { phone: Some(Phone::parse("13812345678").unwrap()), ..Person::default() };
        let customers = vec![Customer { person: &person, ticket: b"t-1", consent: b"c-1" }; customers];
        let requester = self.parties[BANK].id.clone();
        let session = SessionId::dated(now_ms, &mut self.rng);
        let terms = Terms {
            requester: &requester,
            grant: self.grants[carrier - 1].id,
            purpose,
            provider: &self.manifests[carrier - 1].provider,
            lookup: Some(LookupTerms { manifest: &self.manifests[carrier - 1], families: &FAMILIES }),
            score: None,
            session,
            seed: &Secret::new([5; 32]),
        };
        let key = self.parties[BANK].key().clone();
        let asked = ask(&[terms], &customers, now_ms, &key, &mut self.rng).pop();
        let (wait, question) = asked.unwrap().unwrap();
        self.log(BANK, Event::Requested(question.request.clone()));
        let checked = question.check(&key.verifying_key(), now_ms, 0).unwrap();
        let evaluated = checked.evaluate(&self.epochs[carrier - 1], Err("NONE"), &mut self.rng).unwrap();
        let circumstances = Circumstances {
            software: [1; 64],
            configuration: [2; 64],
            received_at_ms: now_ms,
            answered_at_ms: now_ms,
        };
        let carrier_key = self.parties[carrier].key().clone();
        let answer = evaluated.sign(circumstances, &carrier_key);
        self.log(carrier, Event::Answered(Box::new(answer.receipt.clone())));
        let opened = wait.on_answer(answer, &carrier_key.verifying_key()).unwrap();
        self.log(BANK, Event::Answered(Box::new(opened.receipt)));
        (session, opened.leaves)
    }

    /// The bank countersigns every receipt of a carrier, in both logs.
    pub(super) fn countersign(&mut self, carrier: usize) {
        let receipts = self.parties[carrier].entries.iter().filter_map(|entry| match &entry.event {
            Event::Answered(receipt) => Some(receipt.digest()),
            _ => None,
        });
        let countersignature = Countersignature {
            requester: self.parties[BANK].id.clone(),
            provider: self.parties[carrier].id.clone(),
            receipts: receipts.collect(),
            signed_at_ms: self.now_ms,
        };
        let signed = Signed::sign(countersignature, self.parties[BANK].key());
        self.log(carrier, Event::Countersigned(signed.clone()));
        self.log(BANK, Event::Countersigned(signed));
    }

    /// Two sessions with each carrier about three customers in all, countersigned.
    pub(super) fn usual() -> Self {
        let mut world = Self::new();
        world.run(2);
        world.run(1);
        [A, B].into_iter().for_each(|carrier| world.countersign(carrier));
        world
    }

    /// Seals a party's entries as they are now into a log of their own.
    pub(super) fn seal(&self, party: usize) -> PathBuf {
        let entries = self.parties[party].entries.iter().map(|entry| entry.encode().into_bytes());
        self.seal_bytes(party, entries.collect()).0
    }

    pub(super) fn seal_bytes(&self, party: usize, entries: Vec<Vec<u8>>) -> (PathBuf, Checkpoint) {
        let party = &self.parties[party];
        self.seal_as(&log_origin(&party.id), party.log.signing_key(), entries)
    }

    pub(super) fn seal_as(
        &self,
        origin: &str,
        key: &SigningKey,
        entries: Vec<Vec<u8>>,
    ) -> (PathBuf, Checkpoint) {
        let dir = self.temp.path().join(self.logs.fetch_add(1, Ordering::Relaxed).to_string());
        let config = LogConfig {
            dir: dir.join("log"),
            journal: dir.join("journal"),
            origin: origin.into(),
            checkpoint_interval: Duration::MAX,
            gather: Duration::ZERO,
        };
        let log = EvidenceLog::open(config, key.clone()).unwrap();
        log.append_blocking(entries).unwrap();
        (dir.join("log"), log.seal_blocking().unwrap())
    }

    pub(super) fn root(&self) -> &Path {
        self.temp.path()
    }
}
