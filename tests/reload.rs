//! What an operator changes while nodes run: no call fails, and who is no longer believed is refused.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use windvane::Node;
use windvane::admin::{Admin, GrantTerms};
use windvane::audit::reconcile;
use windvane::clock::{Clock, ShiftedClock};
use windvane::dataset::{DataSetConfig, EpochSummary, published_dir};
use windvane::error::PeerError;
use windvane::functions::Function;
use windvane::identity::Layout;
use windvane::peer::{Ending, Partners, channel, endings};
use windvane::retire::What;
use windvane::snapshot::{installed_dir, installed_epochs};
use windvane::store::Store;
use windvane::verification::MatchResult;
use windvane_keys::rotation::destroy_epoch;
use windvane_proto::common::v1::HelloRequest;
use windvane_proto::common::v1::peer_client::PeerClient;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::lookup::PROTOCOL;

use crate::lab::{
    Lab, Party, SUBSCRIBERS, authority_pem, bank_of, error_of, events, sha256_of, terms, zhang,
};
use crate::observe::page;

const MINUTE_MS: u64 = 60_000;

/// What a peer sees whose handshake is refused: in TLS 1.3 it learns of that when it reads.
const TURNED_AWAY: [&str; 3] = ["PEER_UNAVAILABLE", "PEER_ERROR", "DEADLINE_EXCEEDED"];

/// A revoked peer is refused within this time.
const LIMIT: Duration = Duration::from_secs(5);

/// A carrier and a bank that run and know each other.
struct Running {
    lab: Lab,
    carrier: Party,
    carrier_node: Arc<Node>,
    bank: Party,
    bank_node: Arc<Node>,
}

impl Running {
    async fn start() -> Self {
        let lab = Lab::new();
        let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
        let carrier_node = lab.start(&carrier).await;
        let (bank, bank_node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
        let (carrier_node, bank_node) = (Arc::new(carrier_node), Arc::new(bank_node));
        Self { lab, carrier, carrier_node, bank, bank_node }
    }

    async fn taken_over(&self) {
        self.carrier.taken_over_by(&self.carrier_node).await;
        self.bank.taken_over_by(&self.bank_node).await;
    }

    /// New keys and certificates for both, known to the other side first. Gives the enrolments before.
    async fn renew(&mut self) -> [String; 2] {
        let signed = [&self.carrier, &self.bank].map(|p| self.lab.sign(&p.admin.renewal_request().unwrap()));
        self.bank.admin.import_enrolment(&signed[0]).unwrap();
        self.carrier.admin.import_enrolment(&signed[1]).unwrap();
        self.taken_over().await;
        self.carrier.admin.import_enrolment(&signed[0]).unwrap();
        self.bank.admin.import_enrolment(&signed[1]).unwrap();
        self.taken_over().await;
        let [carrier, bank] = signed;
        [
            std::mem::replace(&mut self.carrier.enrolment, carrier),
            std::mem::replace(&mut self.bank.enrolment, bank),
        ]
    }

    async fn stop(self) {
        for (party, node) in [(&self.bank, self.bank_node), (&self.carrier, self.carrier_node)] {
            let node = Arc::into_inner(node).expect("nobody else has the node");
            node.stop().await.unwrap();
            assert!(party.log_dir().exists());
        }
        let report = reconcile(&[self.bank.log_dir(), self.carrier.log_dir()]);
        assert!(report.is_ok(), "{report}");
    }
}

/// Calls one after another in several tasks until they are told to stop; gives how many there were.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<usize>,
    calls: Arc<AtomicUsize>,
}

impl Load {
    fn on(node: &Arc<Node>) -> Self {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let (stop, node, calls) = (stop.clone(), node.clone(), calls.clone());
            tasks.spawn(async move {
                let mut made = 0;
                while !stop.load(Ordering::Relaxed) {
                    let report = bank_of(&node).verify(zhang()).await.unwrap();
                    assert_eq!(report.providers[0].error, None);
                    assert_eq!(report.result, MatchResult::Match);
                    made += 1;
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                made
            });
        }
        Self { stop, tasks, calls }
    }

    /// Waits until some calls more were made.
    async fn goes_on(&mut self) {
        let (from, begun) = (self.calls.load(Ordering::Relaxed), Instant::now());
        while self.calls.load(Ordering::Relaxed) < from + 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(self.tasks.try_join_next().is_none(), "a call failed");
            assert!(begun.elapsed() < Duration::from_secs(60), "no call comes through");
        }
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.into_iter().sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_revocation_lists_epochs_and_snapshots_change_under_load_and_no_call_fails() {
    let mut running = Running::start().await;
    let mut load = Load::on(&running.bank_node);
    let mut list = None;
    for round in 1..=2 {
        let before = running.renew().await;
        load.goes_on().await;
        let next = running.lab.revoke(list.as_ref(), &[&before[0], &before[1]]);
        for party in [&running.carrier, &running.bank] {
            assert!(!party.admin.import_revocations(next.to_pem().as_bytes()).unwrap().known);
        }
        list = Some(next);
        running.taken_over().await;
        load.goes_on().await;
        running.carrier.admin.build(&DataSetConfig::carrier(), &()).unwrap();
        let published = running.carrier.admin.publish(&DataSetConfig::carrier()).unwrap();
        assert_eq!(published.retiring, (1..=round).collect::<Vec<_>>());
        assert!(published.ended.is_empty());
        running.taken_over().await;
        load.goes_on().await;
        running.bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
        running.taken_over().await;
        load.goes_on().await;
    }
    // Longer than the grace of connections that were refused.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        load.goes_on().await;
    }
    assert!(load.end().await > 100);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retiring_epoch_answers_for_its_time_and_under_the_same_quota_and_then_its_keys_are_gone() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    // Nine match elements in all: three calls of three, over both epochs.
    let narrow = GrantTerms { total: 9, ..terms() };
    let (bank, node) = lab.bank(&[(&carrier, &carrier_node)], &narrow).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    carrier.admin.build(&DataSetConfig::carrier(), &()).unwrap();
    let published = carrier.admin.publish(&DataSetConfig::carrier()).unwrap();
    assert_eq!((published.retiring.as_slice(), published.ended.as_slice()), ([1].as_slice(), [].as_slice()));
    carrier.taken_over_by(&carrier_node).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
    bank.taken_over_by(&node).await;
    assert_eq!(error_of(&node, zhang()).await, None);
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("GRANT_EXHAUSTED"));
    assert_eq!(
        carrier.admin.end_epoch(&"subscribers".parse().unwrap(), 2).unwrap_err().code(),
        "EPOCH_CURRENT"
    );

    lab.clock.advance_ms(61 * MINUTE_MS);
    carrier_node.provider().unwrap().end_due().unwrap();
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
    let state = |event| match event {
        Event::Key { purpose, state, .. } if purpose == "oprf/subscribers/1/match" => Some(state),
        _ => None,
    };
    carrier.admin.flush().unwrap();
    let life: Vec<_> = events(&carrier).into_iter().filter_map(state).collect();
    assert_eq!(life, ["pending", "active", "retiring", "destroyed"]);
    let status = carrier.admin.data_set_status(&"subscribers".parse().unwrap()).unwrap();
    assert_eq!(status.published.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_another_epoch_overtook_is_gone_and_is_not_published_if_it_comes_late() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let build = || carrier.admin.build(&DataSetConfig::carrier(), &()).unwrap().epoch;
    let publish = || carrier.admin.publish(&DataSetConfig::carrier());
    assert_eq!((build(), build()), (2, 3));
    let built = carrier.config.node.data_dir.join("datasets/subscribers/built");
    // As a build that took longer than the next one and its publication.
    let late = lab.dir.path().join("late");
    std::fs::rename(built.join("2"), &late).unwrap();
    assert_eq!(publish().unwrap().manifest.body().epoch, 3);
    std::fs::rename(&late, built.join("2")).unwrap();
    let error = publish().unwrap_err();
    assert_eq!(error.code(), "EPOCH_SUPERSEDED", "{error}");
    assert_eq!((build(), build()), (4, 5));
    assert_eq!(publish().unwrap().manifest.body().epoch, 5);
    // What waited behind it, with keys or without, is gone.
    let status = carrier.admin.data_set_status(&"subscribers".parse().unwrap()).unwrap();
    assert_eq!(status.published.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 3, 5]);
    assert!(status.built.is_empty());
    assert_eq!(publish().unwrap_err().code(), "NOTHING_BUILT");
}

/// A clock that is two hours ahead once a path stands.
#[derive(Debug)]
struct AheadOnce {
    clock: ShiftedClock,
    stands: PathBuf,
}

impl Clock for AheadOnce {
    fn now_ms(&self) -> u64 {
        self.clock.now_ms() + if self.stands.exists() { 120 * MINUTE_MS } else { 0 }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_the_epoch_before_begins_when_its_successor_is_in_place() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let root = &carrier.config.node.data_dir;
    let stands = published_dir(root, &"subscribers".parse().unwrap(), 2);
    let clock = AheadOnce { clock: lab.clock.clone(), stands };
    let begun_ms = clock.now_ms();
    let admin = Admin::open(&carrier.config, Arc::new(clock)).unwrap();
    admin.build(&DataSetConfig::carrier(), &()).unwrap();
    let published = admin.publish(&DataSetConfig::carrier()).unwrap();
    assert_eq!(published.retiring, [1]);
    assert!(published.retiring_until_ms >= begun_ms + 180 * MINUTE_MS, "the overlap is an hour");
    let state = Connection::open(root.join("state.db")).unwrap();
    let sql = "SELECT until_ms FROM retiring_epoch WHERE epoch = 1";
    let noted: i64 = state.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(noted as u64, published.retiring_until_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_of_which_the_keys_are_gone_is_not_published_and_the_one_before_stays() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let (admin, config, name) = (&carrier.admin, DataSetConfig::carrier(), "subscribers".parse().unwrap());
    admin.build(&config, &()).unwrap();
    destroy_epoch(&admin.keys().store, &name, 2).unwrap();
    let error = admin.publish(&config).unwrap_err();
    assert_eq!(error.code(), "KEY_DESTROYED", "{error}");
    let numbers = |epochs: Vec<EpochSummary>| epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>();
    let status = admin.data_set_status(&name).unwrap();
    assert_eq!((numbers(status.built), numbers(status.published)), (vec![2], vec![1]));
    // The way out that the error names.
    admin.end_epoch(&name, 2).unwrap();
    assert!(admin.data_set_status(&name).unwrap().built.is_empty());
    admin.build(&config, &()).unwrap();
    assert_eq!(admin.publish(&config).unwrap().retiring, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_published_manifest_is_mended_by_what_its_error_says() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let (admin, config, name) = (&carrier.admin, DataSetConfig::carrier(), "subscribers".parse().unwrap());
    let mut epoch = 1;
    // Bytes that say nothing, and a signature that is not the node's.
    let rots: [fn(&mut Vec<u8>); 2] = [|bytes| bytes.truncate(20), |bytes| *bytes.last_mut().unwrap() ^= 1];
    for rot in rots {
        let manifest = published_dir(&carrier.config.node.data_dir, &name, epoch).join("manifest");
        let mut bytes = std::fs::read(&manifest).unwrap();
        rot(&mut bytes);
        std::fs::write(&manifest, bytes).unwrap();
        admin.build(&config, &()).unwrap();
        let error = admin.publish(&config).unwrap_err();
        assert_eq!(error.code(), "EPOCH_DAMAGED", "{error}");
        assert!(error.to_string().contains(&format!("windvane retire epoch subscribers {epoch}")), "{error}");
        admin.retire(&What::Epoch(name.clone(), epoch), false).unwrap();
        epoch = admin.publish(&config).unwrap().manifest.body().epoch;
    }
    assert_eq!(epoch, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_does_not_wait_for_the_epochs_of_another_data_set() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let root = &carrier.config.node.data_dir;
    let damaged = published_dir(root, &"another".parse().unwrap(), 2);
    std::fs::create_dir_all(&damaged).unwrap();
    std::fs::write(damaged.join("manifest"), "damaged").unwrap();
    let state = Connection::open(root.join("state.db")).unwrap();
    state.execute_batch("INSERT INTO retiring_epoch VALUES ('another', 1, 1)").unwrap();
    carrier.admin.build(&DataSetConfig::carrier(), &()).unwrap();
    let published = carrier.admin.publish(&DataSetConfig::carrier()).unwrap();
    assert_eq!(published.manifest.body().epoch, 2);
    assert!(carrier.admin.is_flushed().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_is_published_while_another_data_set_is_opened_takes_no_answer_from_the_one_before() {
    let running = Running::start().await;
    let (carrier, root) = (&running.carrier, &running.carrier.config.node.data_dir);
    let mut load = Load::on(&running.bank_node);
    // Whoever opens this table waits until somebody writes.
    let (ready, another) = (root.join("another"), root.join("datasets/another/epochs"));
    damaged_copy(&published_dir(root, &"subscribers".parse().unwrap(), 1), &ready);
    std::fs::remove_file(ready.join("pages")).unwrap();
    let pipe = running.lab.dir.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    std::fs::hard_link(&pipe, ready.join("pages")).unwrap();
    std::fs::create_dir_all(&another).unwrap();
    std::fs::rename(&ready, another.join("1")).unwrap();
    carrier.admin.build(&DataSetConfig::carrier(), &()).unwrap();
    while !carrier.admin.is_flushed().unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The node has the log's entries by now, and soon waits for the table.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(carrier.admin.publish(&DataSetConfig::carrier()).unwrap().retiring, [1]);
    std::fs::remove_dir_all(&another).unwrap();
    let writer = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    load.goes_on().await;
    carrier.taken_over_by(&running.carrier_node).await;
    load.goes_on().await;
    drop(writer);
    assert!(load.end().await > 40);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retiring_epoch_that_is_over_is_refused_though_its_keys_are_still_there() {
    let running = Running::start().await;
    running.carrier.admin.build(&DataSetConfig::carrier(), &()).unwrap();
    running.carrier.admin.publish(&DataSetConfig::carrier()).unwrap();
    running.taken_over().await;
    running.lab.clock.advance_ms(59 * MINUTE_MS);
    assert_eq!(error_of(&running.bank_node, zhang()).await, None);
    running.lab.clock.advance_ms(2 * MINUTE_MS);
    assert_eq!(error_of(&running.bank_node, zhang()).await.as_deref(), Some("EPOCH_UNKNOWN"));
    running.carrier.admin.end_epoch(&"subscribers".parse().unwrap(), 1).unwrap();
    running.taken_over().await;
    assert_eq!(error_of(&running.bank_node, zhang()).await.as_deref(), Some("EPOCH_UNKNOWN"));
    running.stop().await;
}

/// What a peer is answered to a greeting: nothing, or the code of the error.
async fn greeted(channel: &Channel) -> Option<String> {
    let request = HelloRequest { protocols: vec![PROTOCOL.to_owned()], now_ms: 0 };
    let answer = PeerClient::new(channel.clone()).hello(request).await;
    answer.err().map(|status| PeerError::from(&status).code)
}

/// Greets until it is refused; gives the code.
async fn refused(channel: impl Fn() -> Channel) -> String {
    let begun = Instant::now();
    loop {
        if let Some(code) = greeted(&channel()).await {
            return code;
        }
        assert!(begun.elapsed() < LIMIT, "still answered after {LIMIT:?}");
    }
}

/// Waits until an open connection is refused, or closed: a slow machine makes the next call after that.
async fn no_longer_served(channel: &Channel) {
    let code = refused(|| channel.clone()).await;
    let known = ["PEER_REVOKED", "PEER_UNKNOWN"].iter().chain(&TURNED_AWAY).any(|known| *known == code);
    assert!(known, "{code}");
}

/// Waits until the node has no connection left but these.
async fn closed(node: &Node, left: usize) {
    let begun = Instant::now();
    while node.connections() > left {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(begun.elapsed() < LIMIT, "still open after {LIMIT:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_or_ended_peer_is_refused_on_open_and_on_new_connections_and_nobody_else_is() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let node = lab.start(&carrier).await;
    let address = node.grpc_address().unwrap().to_string();
    let peers = ["revoked", "ended", "other"].map(|name| lab.party(name, ""));
    for peer in &peers {
        carrier.admin.import_enrolment(&peer.enrolment).unwrap();
    }
    carrier.taken_over_by(&node).await;
    let connect = |peer: &Party| channel(&peer.certificate(), &carrier.config.party(), &address).unwrap();
    let open = [connect(&peers[0]), connect(&peers[1]), connect(&peers[2])];
    for channel in &open {
        assert_eq!(greeted(channel).await, None);
    }
    let list = lab.revoke(None, &[&peers[0].enrolment]);
    carrier.admin.import_revocations(list.der()).unwrap();
    carrier.admin.end_partner(&peers[1].config.party()).unwrap();
    // The node takes it over by itself.
    no_longer_served(&open[0]).await;
    no_longer_served(&open[1]).await;
    let turned_away = refused(|| connect(&peers[0])).await;
    assert!(TURNED_AWAY.contains(&turned_away.as_str()), "{turned_away}");
    assert_eq!(refused(|| connect(&peers[1])).await, "PEER_UNKNOWN");
    assert_eq!(greeted(&open[2]).await, None);
    assert_eq!(greeted(&connect(&peers[2])).await, None);
    assert!(node.connections() >= 1);

    assert!(carrier.admin.import_revocations(list.der()).unwrap().known);
    let next = lab.revoke(Some(&list), &[]);
    carrier.admin.import_revocations(next.der()).unwrap();
    assert_eq!(carrier.admin.import_revocations(list.der()).unwrap_err().code(), "REVOCATION_LIST_OLDER");
    let foreign = Lab::new().revoke(None, &[&peers[2].enrolment]);
    let code = carrier.admin.import_revocations(foreign.der()).unwrap_err().code().to_owned();
    assert_eq!(code, "REVOCATION_LIST_FOREIGN");
    carrier.taken_over_by(&node).await;
    drop(open);
    closed(&node, 0).await;
    node.stop().await.unwrap();
    let trust = |event| match event {
        Event::Trust { action, subject, .. } => Some(format!("{action} {subject}")),
        _ => None,
    };
    let told: Vec<_> = events(&carrier).into_iter().filter_map(trust).collect();
    assert_eq!(told, ["revocation list 01", "partner ended ended", "revocation list 02"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_leaves_a_revoked_provider_and_comes_back_to_its_next_certificate() {
    let mut running = Running::start().await;
    assert_eq!(error_of(&running.bank_node, zhang()).await, None);
    assert_eq!(running.bank_node.connections(), 1);
    let list = running.lab.revoke(None, &[&running.carrier.enrolment]);
    running.bank.admin.import_revocations(list.der()).unwrap();
    running.bank.taken_over_by(&running.bank_node).await;
    assert_eq!(error_of(&running.bank_node, zhang()).await.as_deref(), Some("PARTNER_MISSING"));
    closed(&running.bank_node, 0).await;
    running.renew().await;
    assert_eq!(error_of(&running.bank_node, zhang()).await, None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisations_own_authority_speaks_for_its_party_alone_while_nodes_run() {
    let (ours, theirs) = (Lab::new(), Lab::new());
    let carrier = ours.carrier("carrier-a", SUBSCRIBERS);
    let node = ours.start(&carrier).await;
    let address = node.grpc_address().unwrap().to_string();
    let (own, imposter) = (theirs.party("bank-b", ""), theirs.party("bank-c", ""));
    let connect = |peer: &Party| channel(&peer.certificate(), &carrier.config.party(), &address).unwrap();
    assert_eq!(carrier.admin.import_enrolment(&own.enrolment).unwrap_err().code(), "FOREIGN_AUTHORITY");
    let theirs_pem = authority_pem(&own);
    carrier.admin.bind_authority(&theirs_pem, &[own.config.party()]).unwrap();
    own.admin.bind_authority(&authority_pem(&carrier), &[carrier.config.party()]).unwrap();
    carrier.admin.import_enrolment(&own.enrolment).unwrap();
    assert_eq!(carrier.admin.import_enrolment(&imposter.enrolment).unwrap_err().code(), "FOREIGN_AUTHORITY");
    // Nor does this node's own authority speak for a party that another is bound to.
    let forged = ours.party("bank-b", "");
    let code = carrier.admin.import_enrolment(&forged.enrolment).unwrap_err().code().to_owned();
    assert_eq!(code, "FOREIGN_AUTHORITY");
    carrier.taken_over_by(&node).await;
    let open = connect(&own);
    assert_eq!(greeted(&open).await, None);
    imposter.admin.bind_authority(&authority_pem(&carrier), &[carrier.config.party()]).unwrap();
    assert!(TURNED_AWAY.contains(&greeted(&connect(&imposter)).await.unwrap().as_str()));
    let sha256 = sha256_of(&theirs_pem);
    carrier.admin.release_authority(&sha256).unwrap();
    no_longer_served(&open).await;
    assert_eq!(carrier.admin.release_authority(&sha256).unwrap_err().code(), "NOT_FOUND");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_list_ends_open_connections_where_that_is_wanted() {
    let lab = Lab::new();
    let mut carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    carrier.config.certificates.refuse_overdue_lists = true;
    let peer = lab.party("peer", "");
    carrier.admin.import_enrolment(&peer.enrolment).unwrap();
    carrier.admin.import_revocations(lab.revoke(None, &[]).der()).unwrap();
    let node = lab.start(&carrier).await;
    carrier.taken_over_by(&node).await;
    let address = node.grpc_address().unwrap().to_string();
    let open = channel(&peer.certificate(), &carrier.config.party(), &address).unwrap();
    assert_eq!(greeted(&open).await, None);
    // The list runs for a week, certificates for twenty days; nothing else changes.
    lab.clock.advance_ms(8 * 24 * 60 * MINUTE_MS);
    no_longer_served(&open).await;
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_soon_is_told() {
    let running = Running::start().await;
    let codes = |party: &Party| {
        let mut codes: Vec<_> =
            party.admin.endings().unwrap().into_iter().map(|ending| ending.code).collect();
        codes.dedup();
        codes
    };
    // The trial's certificates run for less than the thirty days that are warned of.
    let soon = ["CERTIFICATE_ENDS", "PARTNER_CERTIFICATE_ENDS"];
    assert_eq!(codes(&running.carrier)[..2], soon);
    let list = running.lab.revoke(None, &[]);
    running.carrier.admin.import_revocations(list.der()).unwrap();
    running.lab.clock.advance_ms(8 * 24 * 60 * MINUTE_MS);
    assert!(codes(&running.carrier).contains(&"REVOCATION_LIST_OVERDUE"));
    running.taken_over().await;
    let error = error_of(&running.bank_node, zhang()).await;
    // The epoch is over by then, and not the list: an overdue list stops nobody.
    assert_eq!(error.as_deref(), Some("EPOCH_EXPIRED"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_whose_certificate_ran_out_is_listed_and_told_of_beside_the_others() {
    let lab = Lab::new();
    let [carrier, short, long] = ["carrier-a", "short", "long"].map(|name| lab.party(name, ""));
    let renewed = lab.enrol(&short.admin, 5);
    for enrolment in [&renewed, &long.enrolment] {
        carrier.admin.import_enrolment(enrolment).unwrap();
    }
    lab.clock.advance_ms(6 * 24 * 60 * MINUTE_MS);
    let (party, now_ms) = (short.config.party(), lab.clock.now_ms());
    let states: Vec<_> = carrier.admin.enrolled().unwrap().into_iter().map(|one| one.partner).collect();
    let [Ok(held), Err(error)] = &states[..] else { panic!("{states:?}") };
    assert_eq!(held.party, long.config.party());
    assert!(error.code() == "CERTIFICATE_EXPIRED" && error.to_string().contains("short"), "{error}");
    let expired = |endings: Vec<Ending>| {
        let mut ended = endings.into_iter().filter(|ending| ending.code == "PARTNER_CERTIFICATE_EXPIRED");
        ended.any(|ending| ending.party == Some(party.to_string()))
    };
    assert!(expired(carrier.admin.endings().unwrap()));

    // As a running node reads them again.
    let (partners, certificate) = (Partners::default(), carrier.admin.certificate().unwrap());
    let store = Store::open(&Layout::new(carrier.config.node.data_dir.clone()).state()).unwrap();
    partners.reload(&store, &certificate.trust, now_ms).unwrap();
    assert!(partners.find(&party).is_none() && partners.find(&held.party).is_some());
    assert!(expired(endings(&certificate, &partners.ends(), now_ms, 30)));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_ask_a_suspended_partner_nothing_and_one_that_is_revoked_can_be_suspended() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let node = lab.start(&carrier).await;
    let (bank, bank_node) = lab.bank(&[(&carrier, &node)], &terms()).await;
    bank_node.stop().await.unwrap();
    let party = carrier.config.party();
    let fetched = async || {
        let error = bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap_err();
        error.code().to_owned()
    };
    assert_eq!(fetched().await, "SNAPSHOT_INSTALLED");
    bank.admin.suspend(&party).unwrap();
    assert_eq!(fetched().await, "PARTNER_SUSPENDED");
    bank.admin.resume(&party).unwrap();
    bank.admin.switch(Function::Verification, false).unwrap();
    assert_eq!(fetched().await, "VERIFICATION_OFF");
    let list = lab.revoke(None, &[&carrier.enrolment]);
    bank.admin.import_revocations(list.der()).unwrap();
    bank.admin.suspend(&party).unwrap();
    node.stop().await.unwrap();
}

/// A table like another one, of which the index is not the recorded one.
fn damaged_copy(of: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(of).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    std::fs::write(to.join("index"), "damaged").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_opened_concerns_its_provider_alone_and_is_tried_again() {
    let lab = Lab::new();
    let (a, b) = (lab.carrier("carrier-a", SUBSCRIBERS), lab.carrier("carrier-b", SUBSCRIBERS));
    let (node_a, node_b) = (lab.start(&a).await, lab.start(&b).await);
    let (bank, node) = lab.bank(&[(&a, &node_a), (&b, &node_b)], &terms()).await;
    let errors = async |node: &Node| -> Vec<Option<String>> {
        let report = bank_of(node).verify(zhang()).await.unwrap();
        report.providers.into_iter().map(|provider| provider.error).collect()
    };
    let (party_a, party_b, data_set) = (a.config.party(), b.config.party(), "subscribers".parse().unwrap());
    let installed = |epoch| installed_dir(&bank.config.node.data_dir, &party_a, &data_set, epoch);
    damaged_copy(&installed(1), &installed(99));
    bank.admin.suspend(&party_b).unwrap();
    bank.taken_over_by(&node).await;
    // The one that is open stays in use.
    assert_eq!(errors(&node).await, [None, Some("PARTNER_SUSPENDED".to_owned())]);
    let told = page(node.http_address().unwrap(), "/readyz").await.1;
    assert!(told.contains("SNAPSHOT_DAMAGED"), "{told}");
    assert!(!told.contains("carrier-a: SNAPSHOT_DAMAGED"), "it can be asked: {told}");

    bank.admin.resume(&party_b).unwrap();
    node.stop().await.unwrap();
    let node = lab.start(&bank).await;
    assert_eq!(errors(&node).await, [Some("SNAPSHOT_DAMAGED".to_owned()), None]);
    let told = page(node.http_address().unwrap(), "/readyz").await.1;
    assert!(told.contains("carrier-a: SNAPSHOT_DAMAGED"), "{told}");
    std::fs::remove_dir_all(installed(99)).unwrap();
    // No command tells the node of that.
    node.reload().await.unwrap();
    assert_eq!(errors(&node).await, [None, None]);
    for node in [node, node_a, node_b] {
        node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_over_is_tried_again_and_keeps_nothing_else_back() {
    let running = Running::start().await;
    let token = running.bank.admin.admit_caller("counter").unwrap();
    running.bank.taken_over_by(&running.bank_node).await;
    let known = async || bank_of(&running.bank_node).user_of_token(token.digest()).await.unwrap().is_some();
    assert!(known().await);
    let state = Connection::open(running.bank.config.node.data_dir.join("state.db")).unwrap();
    state.execute_batch("ALTER TABLE caller RENAME TO away; DELETE FROM away").unwrap();
    running.bank.admin.suspend(&running.carrier.config.party()).unwrap();
    let failed = running.bank_node.reload().await.unwrap_err();
    assert_eq!(failed.code(), "STATE_UNAVAILABLE");
    assert!(running.bank.admin.is_flushed().unwrap(), "the log has it");
    assert_eq!(error_of(&running.bank_node, zhang()).await.as_deref(), Some("PARTNER_SUSPENDED"));
    assert!(known().await, "what cannot be read stays as it was");
    state.execute_batch("ALTER TABLE away RENAME TO caller").unwrap();
    running.bank_node.reload().await.unwrap();
    assert!(!known().await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_table_that_cannot_be_opened_concerns_its_data_set_alone() {
    let running = Running::start().await;
    let data_set = "subscribers".parse().unwrap();
    let (carrier, root) = (&running.carrier, &running.carrier.config.node.data_dir);
    damaged_copy(&published_dir(root, &data_set, 1), &published_dir(root, &"another".parse().unwrap(), 1));
    carrier.admin.build(&DataSetConfig::carrier(), &()).unwrap();
    carrier.admin.publish(&DataSetConfig::carrier()).unwrap();
    assert_eq!(running.carrier_node.reload().await.unwrap_err().code(), "SNAPSHOT_DAMAGED");
    running.bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
    let installed = installed_epochs(&running.bank.config.node.data_dir, &carrier.config.party(), &data_set);
    assert_eq!(installed.unwrap().last(), Some(&2));
    assert_eq!(error_of(&running.bank_node, zhang()).await, None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_ended_is_not_used_once_the_log_says_so_whatever_else_cannot_be_taken_over() {
    let running = Running::start().await;
    let (bank, node) = (&running.bank, &running.bank_node);
    assert_eq!(error_of(node, zhang()).await, None);
    let state = Connection::open(bank.config.node.data_dir.join("state.db")).unwrap();
    let kept = "CREATE TRIGGER kept BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'kept'); END";
    state.execute_batch(kept).unwrap();
    let id = bank.admin.grants().unwrap()[0].0.id.to_string();
    bank.admin.end_grant(&id).unwrap();
    assert_eq!(node.reload().await.unwrap_err().code(), "STATE_UNAVAILABLE");
    assert_eq!(error_of(node, zhang()).await.as_deref(), Some("GRANT_MISSING"));
    state.execute_batch("DROP TRIGGER kept").unwrap();
    node.reload().await.unwrap();
    assert_eq!(error_of(node, zhang()).await.as_deref(), Some("GRANT_MISSING"));
    running.stop().await;
}
