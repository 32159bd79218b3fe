//! Deltas between real nodes: lookups follow a carrier's days, whatever is sent, refused or killed on the way.

use std::collections::BTreeMap;
use std::path::PathBuf;

use windvane::Node;
use windvane::audit::reconcile;
use windvane::bank::{Inquiry, MAX_BATCH};
use windvane::dataset::{DataSetConfig, Quality};
use windvane::snapshot::{Snapshot, installed_dir};
use windvane::verification::{MatchResult, VerificationReport};
use windvane_protocols::audit::entry::Event;
use windvane_protocols::identity::{Document, DocumentKind, Name, Person, Phone};
use windvane_world::{Days, Status, Subscriber, World, WorldConfig};

use crate::lab::{Lab, Party, bank_of, events, terms, zhang};

mod forger;
mod kills;
mod process;
mod refused;

/// A carrier of the simulated world with its days, and a bank that has its snapshot.
pub(crate) struct Trial {
    lab: Lab,
    carrier: Party,
    node: Node,
    bank: (Party, Node),
    days: Days,
    /// Everybody who stood in a change file.
    people: Vec<Subscriber>,
    day: u64,
}

/// The files' dates are fixed; how old data may be is the import's own test.
pub(crate) fn data_set() -> DataSetConfig {
    DataSetConfig::carrier().with_quality(Quality::anything())
}

impl Trial {
    async fn start() -> Self {
        let lab = Lab::new();
        let config = WorldConfig { subscribers_per_carrier: 1_000, applicants: 30, ..WorldConfig::default() };
        let world = World::generate(&config);
        let files = world.write(lab.dir.path()).unwrap();
        let carrier = lab.party("carrier-a", "[grpc]\nlisten = \"127.0.0.1:0\"\n");
        carrier.publish(&files.carriers[0].1);
        let node = lab.start(&carrier).await;
        let bank = lab.bank(&[(&carrier, &node)], &terms()).await;
        let days = world.carriers[0].days();
        Self { lab, carrier, node, bank, days, people: Vec::new(), day: 0 }
    }

    /// The next day's change file.
    fn next_file(&mut self) -> PathBuf {
        self.day += 1;
        let path = self.lab.dir.path().join(format!("day-{}.csv", self.day));
        let changes = self.days.next_day(100, &path).unwrap();
        self.people
            .extend(changes.into_iter().flat_map(|change| change.before.into_iter().chain(change.after)));
        path
    }

    /// Takes the next day's file and publishes its delta.
    async fn next_delta(&mut self) {
        let path = self.next_file();
        self.carrier.admin.change(&data_set(), &path, &()).unwrap();
        self.carrier.admin.publish_delta(&data_set(), &()).unwrap();
        self.carrier.taken_over_by(&self.node).await;
    }

    async fn fetch(&self) -> Result<windvane::admin::Fetched, windvane::error::NodeError> {
        let fetched = self.bank.0.admin.fetch_snapshot("carrier-a", |_, _| ()).await;
        self.bank.0.taken_over_by(&self.bank.1).await;
        fetched
    }

    /// Deltas that the bank's table holds.
    fn applied(&self) -> usize {
        self.installed().chain().deltas().len()
    }

    fn installed(&self) -> Snapshot {
        Snapshot::open(&self.installed_dir()).unwrap()
    }

    fn installed_dir(&self) -> PathBuf {
        let (provider, set) = ("carrier-a".parse().unwrap(), "subscribers".parse().unwrap());
        installed_dir(&self.bank.0.config.node.data_dir, &provider, &set, 1)
    }

    /// Asks about everybody who stood in a change file, as they were and as they are, and some others; gives those
    /// of whom the bank is told something else than `truth` says.
    async fn wrong(&self, truth: &Days) -> Vec<String> {
        let truth: BTreeMap<String, Subscriber> =
            truth.subscribers().map(|subscriber| (subscriber.phone.clone(), subscriber)).collect();
        let others = truth.values().step_by(40).cloned();
        let asked: Vec<Subscriber> = self.people.iter().cloned().chain(others).collect();
        let mut wrong = Vec::new();
        for asked in asked.chunks(MAX_BATCH) {
            let inquiries = asked.iter().map(inquiry).collect();
            let reports = bank_of(&self.bank.1).verify_batch(inquiries).await.unwrap();
            for (report, asked) in reports.iter().zip(asked) {
                if !is_right(report, asked, truth.get(&asked.phone)) {
                    wrong.push(format!("row {}: {:?}", asked.row, report.result));
                }
            }
        }
        wrong
    }

    /// Stops both nodes; their logs must verify and agree, and tell of the same deltas, as many as given.
    async fn conclude(self, deltas: usize) {
        let Self { carrier, node, bank: (bank, bank_node), .. } = self;
        bank_node.stop().await.unwrap();
        node.stop().await.unwrap();
        let report = reconcile(&[bank.log_dir(), carrier.log_dir()]);
        assert!(report.is_ok(), "{report}");
        let told = |party: &Party| -> Vec<_> {
            let digest = |event| match event {
                Event::DeltaPublished(delta) => Some(delta.digest()),
                _ => None,
            };
            events(party).into_iter().filter_map(digest).collect()
        };
        assert_eq!(told(&carrier).len(), deltas);
        assert_eq!(told(&bank), told(&carrier));
    }
}

fn inquiry(subscriber: &Subscriber) -> Inquiry {
    let kind = match subscriber.document.kind {
        windvane_world::DocumentKind::ResidentId => DocumentKind::ResidentId,
        windvane_world::DocumentKind::Passport => DocumentKind::Passport,
    };
    let person = Person {
        phone: Some(Phone::parse(&subscriber.phone).unwrap()),
        document: Some(Document::parse(kind, &subscriber.document.number).unwrap()),
        name: Some(Name::parse(&subscriber.name).unwrap()),
        other: None,
    };
    Inquiry { person, ..zhang() }
}

/// Whether the bank is told what is true of the number, and whether it is this person's.
fn is_right(report: &VerificationReport, asked: &Subscriber, now: Option<&Subscriber>) -> bool {
    let Some(now) = now else { return report.result == MatchResult::NoRecord };
    let name = Name::parse(&now.name).unwrap() != Name::parse(&asked.name).unwrap();
    let id = now.document != asked.document;
    let verdict = if name || id {
        report.result == MatchResult::Mismatch
            && report.mismatch.is_some_and(|m| (m.name, m.id) == (name, id))
    } else {
        report.result == MatchResult::Match
    };
    let status = match now.status {
        Status::Active => "active",
        Status::Suspended => "suspended",
        Status::Closed => "closed",
    };
    let tags: Vec<_> = now.tags.iter().map(|tag| tag.code().to_owned()).collect();
    let same_tags = tags.len() == report.tags.len() && tags.iter().all(|tag| report.tags.contains(tag));
    verdict && same_tags && report.attributes.get("status").is_some_and(|found| found == status)
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_follow_a_carriers_days() {
    let mut trial = Trial::start().await;
    let before = trial.days.clone();
    for day in 1..=3 {
        trial.next_delta().await;
        let fetched = trial.fetch().await.unwrap();
        assert_eq!((fetched.installed, fetched.applied.len(), trial.applied()), (false, 1, day));
        assert_eq!(trial.wrong(&trial.days).await, [""; 0], "day {day}");
    }
    assert!(trial.wrong(&before).await.len() > 100, "the days changed what is true");
    assert_eq!(trial.fetch().await.unwrap_err().code(), "SNAPSHOT_INSTALLED");
    // A bank that begins now comes to the same table.
    std::fs::remove_dir_all(trial.installed_dir()).unwrap();
    let fetched = trial.fetch().await.unwrap();
    assert_eq!((fetched.installed, fetched.applied.len()), (true, 3));
    assert_eq!(trial.wrong(&trial.days).await, [""; 0]);
    // A full publication holds all of it, and deltas go on from there.
    trial.carrier.admin.build(&data_set(), &()).unwrap();
    trial.carrier.admin.publish(&data_set()).unwrap();
    trial.carrier.taken_over_by(&trial.node).await;
    assert!(trial.fetch().await.unwrap().installed);
    assert_eq!(trial.wrong(&trial.days).await, [""; 0]);
    trial.next_delta().await;
    assert_eq!(trial.fetch().await.unwrap().applied[0].body().epoch, 2);
    assert_eq!(trial.wrong(&trial.days).await, [""; 0]);
    trial.conclude(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_the_newest_delta_still_answers_as_it_was() {
    let mut trial = Trial::start().await;
    let before = trial.days.clone();
    trial.next_delta().await;
    assert_eq!(trial.wrong(&before).await, [""; 0]);
    trial.fetch().await.unwrap();
    assert_eq!(trial.wrong(&trial.days).await, [""; 0]);
    trial.conclude(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_built_table_is_published_whatever_became_of_the_change_files() {
    let mut trial = Trial::start().await;
    trial.next_delta().await;
    let (data_set, admin) = (data_set(), &trial.carrier.admin);
    admin.build(&data_set, &()).unwrap();
    let root = &trial.carrier.config.node.data_dir;
    std::fs::write(root.join("datasets/subscribers/changes/1/sealed"), b"cut off").unwrap();
    assert!(admin.data_set_status(data_set.name()).is_err());
    assert_eq!(admin.publish(&data_set).unwrap().manifest.body().epoch, 2);
    let Trial { node, bank: (_, bank_node), .. } = trial;
    bank_node.stop().await.unwrap();
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_is_for_those_who_may_download() {
    let mut trial = Trial::start().await;
    trial.next_delta().await;
    let grants = trial.carrier.admin.grants().unwrap();
    trial.carrier.admin.end_grant(&hex::encode(grants[0].0.id.as_bytes())).unwrap();
    trial.carrier.taken_over_by(&trial.node).await;
    assert_eq!(trial.fetch().await.unwrap_err().code(), "GRANT_UNKNOWN");
    assert_eq!(trial.applied(), 0);
}
