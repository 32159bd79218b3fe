//! Forged, stale, reordered and truncated deltas: each is refused with its code, and what is installed stays.

use std::sync::Arc;

use windvane::admin::{Admin, Fetched};
use windvane::clock::Clock as _;
use windvane::dataset::published_dir;
use windvane::error::NodeError;
use windvane::snapshot::Snapshot;
use windvane_protocols::limits::{MAX_DELTAS, PAGE_BYTES};
use windvane_protocols::lookup::delta::Delta;
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::transcript::Signed;

use super::Trial;
use super::forger::Forger;
use crate::lab::failures;

/// A trial in which the bank has the first of two deltas, and asks a forger for the second.
struct Forgery {
    trial: Trial,
    forger: Forger,
    /// The bank's commands, which reach the forger.
    bank: Admin,
    deltas: Vec<Signed<Delta>>,
}

impl Forgery {
    async fn begin() -> Self {
        let mut trial = Trial::start().await;
        trial.next_delta().await;
        trial.fetch().await.unwrap();
        trial.next_delta().await;
        let data_set = "subscribers".parse().unwrap();
        let dir = published_dir(&trial.carrier.config.node.data_dir, &data_set, 1);
        let published = Snapshot::open(&dir).unwrap();
        let (forger, address) = Forger::serve(&trial.carrier, &published).await;
        let mut config = trial.bank.0.config.clone();
        config.providers[0].address = address.to_string();
        let bank = Admin::open(&config, Arc::new(trial.lab.clock.clone())).unwrap();
        Self { trial, forger, bank, deltas: published.chain().deltas().to_vec() }
    }

    /// The second delta, changed and signed again by the carrier.
    fn resigned(&self, change: impl FnOnce(&mut Delta)) -> Signed<Delta> {
        let mut delta = self.deltas[1].body().clone();
        change(&mut delta);
        Signed::sign(delta, self.trial.carrier.admin.keys().signing_key())
    }

    async fn fetch(&self) -> Result<Fetched, NodeError> {
        self.bank.fetch_snapshot("carrier-a", |_, _| ()).await
    }

    /// Offers deltas; the fetch must end with this code and change nothing.
    async fn refused(&self, deltas: &[&Signed<Delta>], code: &str) {
        self.forger.offer(deltas.iter().copied());
        let error = self.fetch().await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(self.trial.applied(), 1, "{code}");
    }

    /// The real second delta is taken after all, and the lookups are right.
    async fn recovered(self) -> Trial {
        self.trial.fetch().await.unwrap();
        assert_eq!(self.trial.applied(), 2);
        assert_eq!(self.trial.wrong(&self.trial.days).await, [""; 0]);
        self.trial
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_larger_than_the_bank_permits_is_not_fetched() {
    let mut trial = Trial::start().await;
    trial.next_delta().await;
    let mut config = trial.bank.0.config.clone();
    config.providers[0].max_snapshot_mb = 0;
    let bank = Admin::open(&config, Arc::new(trial.lab.clock.clone())).unwrap();
    let error = bank.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap_err();
    assert_eq!(error.code(), "SNAPSHOT_TOO_LARGE", "{error}");
    assert_eq!(trial.applied(), 0);
    trial.fetch().await.unwrap();
    assert_eq!(trial.applied(), 1);
    trial.conclude(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_breaks_a_rule_is_refused_with_its_code() {
    let forgery = Forgery::begin().await;
    let [first, second] = [&forgery.deltas[0], &forgery.deltas[1]];
    let bank_key = forgery.trial.bank.0.admin.keys().signing_key();
    let forged = Signed::sign(second.body().clone(), bank_key);
    forgery.refused(&[first, &forged], "DELTA_SIGNATURE").await;
    forgery.refused(&[first, first], "DELTA_ORDER").await;
    forgery.refused(&[second, first], "DELTA_ORDER").await;
    forgery.refused(&[second], "DELTA_ORDER").await;
    forgery.refused(&[first, &forgery.resigned(|d| d.base[0] ^= 1)], "DELTA_BASE").await;
    forgery.refused(&[first, &forgery.resigned(|d| d.epoch = 2)], "DELTA_FOREIGN").await;
    let snapshot = forgery.trial.installed().chain().publication(0).unwrap();
    let reused = [first.body().publication.id, snapshot];
    for id in reused {
        let reuse = forgery.resigned(|d| d.publication.id = id);
        forgery.refused(&[first, &reuse], "PUBLICATION_ID_REUSED").await;
    }
    forgery.refused(&[first, &forgery.resigned(|d| d.deleted = 1 << 40)], "DELTA_COUNTS").await;
    forgery.refused(&[first, &forgery.resigned(|d| d.sealed_at_ms = 1)], "DELTA_TIME").await;
    let rows = forgery.resigned(|d| (d.publication.rows, d.publication.pages) = (100_000, 1_000));
    forgery.refused(&[first, &rows], "DELTA_SIZE_LIMIT").await;
    forgery.refused(&vec![first; MAX_DELTAS + 1], "MESSAGE_TOO_LARGE").await;
    // All of it is in the bank's log but what was no message.
    forgery.trial.bank.0.taken_over_by(&forgery.trial.bank.1).await;
    let noted = failures(&forgery.trial.bank.0, &forgery.trial.bank.1).await;
    let codes = ["DELTA_SIGNATURE", "DELTA_ORDER", "DELTA_BASE", "PUBLICATION_ID_REUSED", "DELTA_SIZE_LIMIT"];
    assert!(codes.iter().all(|code| noted.iter().any(|noted| noted == code)), "{noted:?}");
    forgery.recovered().await.conclude(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_from_the_future_is_refused_beyond_the_clocks_tolerance_and_noted() {
    let forgery = Forgery::begin().await;
    let (carrier, now_ms) = (&forgery.trial.carrier, forgery.trial.lab.clock.now_ms());
    let tolerance_ms = forgery.trial.bank.0.config.service.clock_tolerance_ms;
    let installed = forgery.trial.installed().manifest().body().clone();
    let published = |ahead_ms: u64| {
        let published_at_ms = now_ms + ahead_ms;
        let manifest = Manifest { epoch: 9, published_at_ms, ..installed.clone() };
        Signed::sign(manifest, carrier.admin.keys().signing_key())
    };
    forgery.forger.offer_manifest(&published(tolerance_ms + 60_000));
    assert_eq!(forgery.fetch().await.unwrap_err().code(), "MANIFEST_TIME");
    // One within the tolerance is held by the next rule: its publication is another manifest's.
    forgery.forger.offer_manifest(&published(tolerance_ms));
    assert_eq!(forgery.fetch().await.unwrap_err().code(), "PUBLICATION_ID_REUSED");
    let (bank, node) = &forgery.trial.bank;
    bank.taken_over_by(node).await;
    let noted = failures(bank, node).await;
    assert!(noted.iter().any(|code| code == "MANIFEST_TIME"), "{noted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_epoch_is_refused() {
    let mut trial = Trial::start().await;
    let old = trial.installed().chain().publication(0).unwrap();
    trial.carrier.admin.build(&super::data_set(), &()).unwrap();
    trial.carrier.admin.publish(&super::data_set()).unwrap();
    trial.carrier.taken_over_by(&trial.node).await;
    trial.fetch().await.unwrap();
    trial.next_delta().await;
    let data_set = "subscribers".parse().unwrap();
    let published =
        Snapshot::open(&published_dir(&trial.carrier.config.node.data_dir, &data_set, 2)).unwrap();
    let (forger, address) = Forger::serve(&trial.carrier, &published).await;
    let mut delta = published.chain().deltas()[0].body().clone();
    delta.publication.id = old;
    let reuse = Signed::sign(delta, trial.carrier.admin.keys().signing_key());
    forger.offer([&reuse]);
    let mut config = trial.bank.0.config.clone();
    config.providers[0].address = address.to_string();
    let bank = Admin::open(&config, Arc::new(trial.lab.clock.clone())).unwrap();
    let error = bank.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap_err();
    assert_eq!(error.code(), "PUBLICATION_ID_REUSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_not_the_deltas_are_refused_and_missing_ones_are_fetched_later() {
    let forgery = Forgery::begin().await;
    let id = forgery.deltas[1].body().publication.id;
    let whole = forgery.forger.0.lock().unwrap().pages[&id].clone();
    assert!(whole.len() >= 2 * PAGE_BYTES);
    let all = [&forgery.deltas[0], &forgery.deltas[1]];
    let serve = |pages: Vec<u8>| drop(forgery.forger.0.lock().unwrap().pages.insert(id, pages));
    let mut changed = whole.clone();
    changed[20] ^= 1;
    serve(changed);
    forgery.refused(&all, "SNAPSHOT_ROOT_MISMATCH").await;
    let mut unsorted = whole.clone();
    unsorted[..80].rotate_left(40);
    serve(unsorted);
    forgery.refused(&all, "SNAPSHOT_PAGE_INVALID").await;
    serve(whole[..PAGE_BYTES].to_vec());
    forgery.refused(&all, "SNAPSHOT_TRUNCATED").await;
    let mut first = None;
    let fetched = forgery.trial.bank.0.admin.fetch_snapshot("carrier-a", |done, _| {
        first.get_or_insert(done);
    });
    fetched.await.unwrap();
    assert!(first.unwrap() > 1, "the first page was not fetched again");
    forgery.trial.bank.0.taken_over_by(&forgery.trial.bank.1).await;
    assert_eq!(forgery.trial.applied(), 2);
    assert_eq!(forgery.trial.wrong(&forgery.trial.days).await, [""; 0]);
    forgery.trial.conclude(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_no_publications_are_refused() {
    let forgery = Forgery::begin().await;
    let id = forgery.deltas[1].body().publication.id;
    let mut pages = forgery.forger.0.lock().unwrap().pages[&id].clone();
    // A row under the index of a delta that is not there, and the root to fit.
    pages[8..10].copy_from_slice(&7_u16.to_be_bytes());
    let root = windvane_protocols::audit::merkle::root_of(
        &pages.chunks(PAGE_BYTES).map(windvane_protocols::audit::merkle::leaf_hash).collect::<Vec<_>>(),
    );
    forgery.forger.0.lock().unwrap().pages.insert(id, pages);
    let forged = forgery.resigned(|d| d.publication.root = root);
    forgery.refused(&[&forgery.deltas[0], &forged], "DELTA_ROW").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_lost_a_delta_keeps_nobody_from_it_and_one_with_another_is_followed() {
    let forgery = Forgery::begin().await;
    forgery.trial.fetch().await.unwrap();
    forgery.forger.offer([&forgery.deltas[0]]);
    let fetched = forgery.fetch().await.unwrap();
    assert_eq!((fetched.unknown, fetched.dropped, forgery.trial.applied()), (1, 0, 2));
    // Restored from before its second delta, the carrier publishes another one: the same rows under another id.
    let id = [0xf0; 16];
    let pages = forgery.forger.0.lock().unwrap().pages[&forgery.deltas[1].body().publication.id].clone();
    forgery.forger.0.lock().unwrap().pages.insert(id, pages);
    let other = forgery.resigned(|d| d.publication.id = id);
    forgery.forger.offer([&forgery.deltas[0], &other]);
    let fetched = forgery.fetch().await.unwrap();
    assert_eq!((fetched.unknown, fetched.dropped, fetched.applied), (0, 1, vec![other.clone()]));
    assert_eq!(forgery.trial.installed().chain().deltas()[1], other);
    forgery.trial.bank.0.taken_over_by(&forgery.trial.bank.1).await;
    let noted = failures(&forgery.trial.bank.0, &forgery.trial.bank.1).await;
    assert!(noted.iter().any(|code| code == "DELTA_FORKED"), "{noted:?}");
}
