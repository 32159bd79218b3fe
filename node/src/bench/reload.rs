//! `windvane bench reload`: everything that an operator changes, changed under load, twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::{JoinHandle, block_in_place};
use windvane_proto::common::v1::HelloRequest;
use windvane_proto::common::v1::peer_client::PeerClient;
use windvane_protocols::lookup::PROTOCOL;

use super::in_place;
use super::load::Load;
use crate::demo::{DemoError, note, percentile, read_cases, rounded, simulate};
use crate::fleet::operators::{Operators, Peer};
use crate::fleet::{Fleet, Plan};
use crate::http::Client;
use crate::peer::channel;

/// Different applicants that are asked about.
const APPLICANTS: usize = 2_000;

/// How often everything is changed.
const ROUNDS: u32 = 2;

/// Changes of a round: certificates, revocation list, epoch, snapshot.
const CHANGES: u32 = 4;

/// What a node has read from its state it has in effect after this time with room to spare.
const IN_EFFECT: Duration = Duration::from_millis(750);

/// Pause between calls of the peer on its open connection, and between its new connections.
const PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// The peer is given up as not refused after this time.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// A revoked peer must be refused within this time.
const LIMIT_MS: f64 = 5_000.0;

/// How to measure.
#[derive(Debug, Clone)]
pub struct ReloadBench {
    /// How long the load lasts.
    pub seconds: u64,
    /// Verifications a second.
    pub rate: u32,
    /// Subscribers of each carrier.
    pub subscribers: usize,
    /// Where everything is written and stays; without it a temporary directory below `/var/tmp`.
    pub dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    pub json: bool,
}

/// What was measured. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReloadFigures {
    /// Verifications that were asked for.
    pub calls: usize,
    /// Those that failed, or whose answer was not the truth.
    pub failures: usize,
    /// What was wrong with the first of them.
    pub first_failure: Option<String>,
    /// Verifications a second.
    pub per_second: f64,
    /// The median, from when a call was due.
    pub p50_ms: f64,
    /// 99 of 100 are no longer.
    pub p99_ms: f64,
    /// The longest.
    pub longest_ms: f64,
    /// How often all nodes' certificates with their keys, the revocation list, all epochs and all snapshots changed.
    pub rounds: u32,
    /// From the beginning of the command that revokes a peer to its first refusal on a connection that was open.
    pub refused_open_ms: f64,
    /// The same on a new connection.
    pub refused_new_ms: f64,
    /// Whether no call failed and the peer was refused in time.
    pub good: bool,
}

impl ReloadBench {
    /// Measures and prints; progress goes to standard error. Needs a runtime of several threads.
    ///
    /// # Errors
    /// [`DemoError`]; nodes that run are stopped, and a temporary directory stays for a look at it.
    pub async fn run(&self) -> Result<ReloadFigures, DemoError> {
        in_place(self.dir.as_deref(), self.json, async |dir| self.measure(dir).await).await
    }

    async fn measure(&self, dir: &Path) -> Result<ReloadFigures, DemoError> {
        let files = block_in_place(|| simulate(&dir.join("world"), self.subscribers, APPLICANTS))?;
        let cases = read_cases(&files.applications, &files.truth)?;
        let mut fleet = Fleet::start(&Plan::new(dir.to_owned(), files.carriers)?, &note).await?;
        let load = Load::new(Client::new(fleet.bank_url(), fleet.token())?, cases);
        note("warming up");
        load.closed(4, Duration::from_secs(1)).await?;
        let mut operators = block_in_place(|| Operators::of(&fleet))?;
        let peer = block_in_place(|| operators.acquaint_peer(&fleet))?;
        settled(&operators).await?;
        let time = Duration::from_secs(self.seconds.max(1));
        note(&format!("{} calls a second for {} s, while everything changes", self.rate, time.as_secs()));
        let paced = tokio::spawn({
            let (load, rate) = (load.clone(), f64::from(self.rate));
            async move { load.paced_counting(rate, time).await }
        });
        let refused = change_everything(&mut operators, &peer, time).await?;
        let (run, failures) = paced.await.map_err(|_| DemoError::Unfit("the load broke off".into()))?;
        block_in_place(|| fleet.stop())?;
        let [refused_open_ms, refused_new_ms] = refused.map(|time| rounded(time.as_secs_f64() * 1_000.0));
        let in_time = refused_open_ms <= LIMIT_MS && refused_new_ms <= LIMIT_MS;
        Ok(ReloadFigures {
            calls: run.latencies.len() + failures.len(),
            failures: failures.len(),
            good: failures.is_empty() && in_time,
            first_failure: failures.into_iter().next(),
            per_second: rounded(run.per_second()),
            p50_ms: percentile(&run.latencies, 0.5),
            p99_ms: percentile(&run.latencies, 0.99),
            longest_ms: percentile(&run.latencies, 1.0),
            rounds: ROUNDS,
            refused_open_ms,
            refused_new_ms,
        })
    }
}

/// Spreads the changes over most of the time; gives how long the revoked peer was still answered, on an open and on a
/// new connection.
async fn change_everything(
    operators: &mut Operators,
    peer: &Peer,
    time: Duration,
) -> Result<[Duration; 2], DemoError> {
    let begun = Instant::now();
    // Something is left for the revocation, and for calls after it.
    let share = time.mul_f64(0.8) / (ROUNDS * CHANGES + 1);
    let mut due = 0;
    let mut turn = async || {
        due += 1;
        tokio::time::sleep_until((begun + share * due).into()).await;
    };
    for round in 1..=ROUNDS {
        turn().await;
        note(&format!("round {round}: certificates and keys of all nodes"));
        let signed = block_in_place(|| operators.prepare_renewals())?;
        settled(operators).await?;
        block_in_place(|| operators.renew(&signed))?;
        settled(operators).await?;
        turn().await;
        note(&format!("round {round}: the revocation list, with the certificates from before"));
        block_in_place(|| operators.revoke_superseded())?;
        turn().await;
        note(&format!("round {round}: the epochs"));
        block_in_place(|| operators.publish_epochs())?;
        settled(operators).await?;
        turn().await;
        note(&format!("round {round}: the snapshots"));
        operators.fetch_snapshots().await?;
    }
    turn().await;
    note("revoking a peer");
    revoke(operators, peer).await
}

/// Waits until every node has in effect what commands changed.
async fn settled(operators: &Operators) -> Result<(), DemoError> {
    while !block_in_place(|| operators.all_read())? {
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
    tokio::time::sleep(IN_EFFECT).await;
    Ok(())
}

async fn revoke(operators: &mut Operators, peer: &Peer) -> Result<[Duration; 2], DemoError> {
    let open = probe(peer, false)?;
    let new = probe(peer, true)?;
    for probe in [&open, &new] {
        probe.answered.notified().await;
    }
    let begun = Instant::now();
    block_in_place(|| operators.revoke_peer(peer))?;
    let mut refused = [Duration::ZERO; 2];
    for (refused, probe) in refused.iter_mut().zip([open, new]) {
        let late = || DemoError::Wrong("the revoked peer is still answered after 30 s".into());
        let at = tokio::time::timeout(GIVEN_UP, probe.refused).await.map_err(|_| late())?;
        let at = at.map_err(|_| DemoError::Unfit("the peer's calls broke off".into()))?;
        *refused = at.saturating_duration_since(begun);
    }
    Ok(refused)
}

/// Calls of the peer until one is refused.
struct Probe {
    /// Told when the first call was answered.
    answered: Arc<tokio::sync::Notify>,
    /// When a call was refused.
    refused: JoinHandle<Instant>,
}

fn probe(peer: &Peer, anew: bool) -> Result<Probe, DemoError> {
    let party = peer.carrier.parse().map_err(|_| DemoError::Unfit("a carrier without a name".into()))?;
    let (certificate, address) = (peer.certificate.clone(), peer.address.to_string());
    let connect = move || channel(&certificate, &party, &address);
    let (mut open, answered) = (connect()?, Arc::new(tokio::sync::Notify::new()));
    let tell = answered.clone();
    let refused = tokio::spawn(async move {
        loop {
            if anew && let Ok(new) = connect() {
                open = new;
            }
            let request = HelloRequest { protocols: vec![PROTOCOL.to_owned()], now_ms: 0 };
            if PeerClient::new(open.clone()).hello(request).await.is_err() {
                return Instant::now();
            }
            tell.notify_one();
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    });
    Ok(Probe { answered, refused })
}
