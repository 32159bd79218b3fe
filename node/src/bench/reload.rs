//! `windvane bench reload`: everything that an operator changes, changed under load, twice.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::timeout;
use windvane_proto::common::v1::HelloRequest;
use windvane_proto::common::v1::peer_client::PeerClient;
use windvane_protocols::lookup::PROTOCOL;

use super::load::Load;
use super::{filesystem, judged_in_place};
use crate::demo::{DemoError, note, percentile, read_cases, rounded, simulate};
use crate::error::PeerError;
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

/// What is waited for is given up after this time: the peer's first answer, its refusal, a node's reading of its state.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// What a revoked peer is told on a connection that is not closed yet.
const REFUSED: [&str; 2] = ["PEER_REVOKED", "PEER_UNKNOWN"];

/// What it finds where its connection was closed, or is turned away before a call. So does everybody whose connection
/// breaks: only another call tells.
const CLOSED: [&str; 3] = ["PEER_UNAVAILABLE", "PEER_ERROR", "DEADLINE_EXCEEDED"];

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
    /// How often all nodes' certificates with their keys, the revocation list, all epochs and all snapshots changed
    /// before the load ended.
    pub rounds: u32,
    /// Whether the peer, who comes after all of them, was revoked and refused before the load ended.
    pub under_load: bool,
    /// From the beginning of the command that revokes a peer to its first refusal on a connection that was open.
    pub refused_open_ms: f64,
    /// The same on a new connection.
    pub refused_new_ms: f64,
    /// The type of the file system.
    pub filesystem: String,
    /// Whether no call failed, all changes came under load, and the peer was refused in time.
    pub good: bool,
}

impl ReloadFigures {
    /// What was wrong, if anything.
    fn wrong(&self) -> Option<String> {
        let Self { calls, failures, rounds, refused_open_ms, refused_new_ms, .. } = self;
        let mut wrong = Vec::new();
        if let Some(first) = &self.first_failure {
            wrong.push(format!("{failures} of {calls} calls failed, the first: {first}"));
        }
        if !self.under_load {
            wrong.push(format!(
                "the load ended after {rounds} of {ROUNDS} rounds of changes, so that the others say nothing; measure for \
                 longer with --seconds"
            ));
        }
        if refused_open_ms.max(*refused_new_ms) > LIMIT_MS {
            wrong.push(format!(
                "the revoked peer was refused after {refused_open_ms} ms on an open and {refused_new_ms} ms on a new \
                 connection; the limit is {LIMIT_MS} ms"
            ));
        }
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

impl ReloadBench {
    /// Measures and prints; progress goes to standard error. Needs a runtime of several threads.
    ///
    /// # Errors
    /// [`DemoError`]; nodes that run are stopped, and a temporary directory stays for a look at it. [`DemoError::Wrong`]
    /// after figures that are not good.
    pub async fn run(&self) -> Result<ReloadFigures, DemoError> {
        let measure = async |dir: &Path| self.measure(dir).await;
        judged_in_place(self.dir.as_deref(), self.json, measure, ReloadFigures::wrong).await
    }

    async fn measure(&self, dir: &Path) -> Result<ReloadFigures, DemoError> {
        let filesystem = filesystem::durable(dir)?;
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
        let changed = change_everything(&mut operators, &peer, time, || !paced.is_finished()).await?;
        let Changed { rounds, refused, under_load } = changed;
        let (run, failures) = paced.await.map_err(|_| DemoError::Unfit("the load broke off".into()))?;
        block_in_place(|| fleet.stop())?;
        let [refused_open_ms, refused_new_ms] = refused.map(|time| rounded(time.as_secs_f64() * 1_000.0));
        let mut figures = ReloadFigures {
            calls: run.latencies.len() + failures.len(),
            failures: failures.len(),
            first_failure: failures.into_iter().next(),
            per_second: rounded(run.per_second()),
            p50_ms: percentile(&run.latencies, 0.5),
            p99_ms: percentile(&run.latencies, 0.99),
            longest_ms: percentile(&run.latencies, 1.0),
            rounds,
            under_load,
            refused_open_ms,
            refused_new_ms,
            filesystem,
            good: false,
        };
        figures.good = figures.wrong().is_none();
        Ok(figures)
    }
}

/// What was changed.
struct Changed {
    /// Rounds that were over before the load was.
    rounds: u32,
    /// How long the revoked peer was still answered, on an open and on a new connection.
    refused: [Duration; 2],
    /// Whether all of it was over before the load was.
    under_load: bool,
}

/// Spreads the changes over most of the time of a load, of which `runs` tells whether it still does.
async fn change_everything(
    operators: &mut Operators,
    peer: &Peer,
    time: Duration,
    runs: impl Fn() -> bool,
) -> Result<Changed, DemoError> {
    let begun = Instant::now();
    // Something is left for the revocation, and for calls after it.
    let share = time.mul_f64(0.8) / (ROUNDS * CHANGES + 1);
    // Behind the last call that was due, calls that are late may still run: they are no load.
    let under_load = || runs() && begun.elapsed() < time;
    let (mut due, mut rounds) = (0, 0);
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
        rounds += u32::from(under_load());
    }
    turn().await;
    note("revoking a peer");
    let refused = revoke(operators, peer).await?;
    Ok(Changed { rounds, refused, under_load: under_load() })
}

/// Waits until every node has in effect what commands changed.
async fn settled(operators: &Operators) -> Result<(), DemoError> {
    let begun = Instant::now();
    while !block_in_place(|| operators.all_read())? {
        if begun.elapsed() > GIVEN_UP {
            let text = "a node has not read after 30 s what was changed in its state; its log may say why";
            return Err(DemoError::Wrong(text.into()));
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
    tokio::time::sleep(IN_EFFECT).await;
    Ok(())
}

async fn revoke(operators: &mut Operators, peer: &Peer) -> Result<[Duration; 2], DemoError> {
    let mut probes = [probe(peer, false)?, probe(peer, true)?];
    for probe in &mut probes {
        probe.answered().await?;
    }
    let begun = Instant::now();
    block_in_place(|| operators.revoke_peer(peer))?;
    let mut refused = [Duration::ZERO; 2];
    for (refused, probe) in refused.iter_mut().zip(probes) {
        let late = || DemoError::Wrong("the revoked peer is still answered after 30 s".into());
        let at = timeout(GIVEN_UP, probe.ended()).await.map_err(|_| late())??;
        let early = || DemoError::Wrong("the peer was refused before it was revoked".into());
        *refused = at.checked_duration_since(begun).ok_or_else(early)?;
    }
    Ok(refused)
}

/// Calls of the peer until one is refused.
struct Probe {
    /// Told when the first call was answered.
    first: oneshot::Receiver<()>,
    /// When a call was refused.
    refused: JoinHandle<Result<Instant, DemoError>>,
}

impl Probe {
    /// Waits for the first answer.
    async fn answered(&mut self) -> Result<(), DemoError> {
        match timeout(GIVEN_UP, &mut self.first).await {
            Ok(Ok(())) => Ok(()),
            // The calls have ended without one.
            Ok(Err(_)) => match (&mut self.refused).await {
                Ok(Err(error)) => Err(error),
                _ => Err(broke_off()),
            },
            Err(_) => Err(DemoError::Wrong("the peer that is to be revoked has no answer after 30 s".into())),
        }
    }

    /// When a call was refused.
    async fn ended(self) -> Result<Instant, DemoError> {
        self.refused.await.unwrap_or_else(|_| Err(broke_off()))
    }
}

fn broke_off() -> DemoError {
    DemoError::Unfit("the peer's calls broke off".into())
}

fn probe(peer: &Peer, anew: bool) -> Result<Probe, DemoError> {
    let party = peer.carrier.parse().map_err(|_| DemoError::Unfit("a carrier without a name".into()))?;
    let (certificate, address) = (peer.certificate.clone(), peer.address.to_string());
    let connect = move || channel(&certificate, &party, &address);
    let mut open = connect()?;
    let call = async move || {
        if anew && let Ok(new) = connect() {
            open = new;
        }
        let request = HelloRequest { protocols: vec![PROTOCOL.to_owned()], now_ms: 0 };
        let answer = PeerClient::new(open.clone()).hello(request).await;
        answer.map(drop).map_err(|status| PeerError::from(&status).code)
    };
    let (tell, first) = oneshot::channel();
    Ok(Probe { first, refused: tokio::spawn(until_refused(call, tell)) })
}

/// Calls until a call is refused; gives when it was. Whatever else a call ends with is an error, and so is a refusal of the
/// first.
async fn until_refused(
    mut call: impl AsyncFnMut() -> Result<(), String>,
    tell: oneshot::Sender<()>,
) -> Result<Instant, DemoError> {
    let failed =
        |code: &str| DemoError::Wrong(format!("a call of the peer that is revoked ended with {code}"));
    call().await.map_err(|code| failed(&code))?;
    // Nobody waits for it where the benchmark has ended.
    let _ = tell.send(());
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        let Err(code) = call().await else { continue };
        let at = Instant::now();
        if REFUSED.contains(&code.as_str()) {
            return Ok(at);
        }
        if !CLOSED.contains(&code.as_str()) {
            return Err(failed(&code));
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
        return match call().await {
            Err(again) if REFUSED.iter().chain(&CLOSED).any(|known| *known == again) => Ok(at),
            Err(again) => Err(failed(&again)),
            Ok(()) => Err(failed(&format!("{code}, and the next was answered"))),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn figures() -> ReloadFigures {
        ReloadFigures {
            calls: 12_000,
            failures: 0,
            first_failure: None,
            per_second: 200.0,
            p50_ms: 3.0,
            p99_ms: 20.0,
            longest_ms: 80.0,
            rounds: ROUNDS,
            under_load: true,
            refused_open_ms: 200.0,
            refused_new_ms: 190.0,
            filesystem: "ext4".into(),
            good: true,
        }
    }

    #[test]
    fn figures_are_not_good_where_a_call_failed_the_load_had_ended_or_the_peer_was_late() {
        assert_eq!(figures().wrong(), None);
        let failed = ReloadFigures { failures: 1, first_failure: Some("UNREACHABLE".into()), ..figures() };
        let unloaded = ReloadFigures { rounds: 1, under_load: false, ..figures() };
        let late = ReloadFigures { refused_new_ms: 5_001.0, ..figures() };
        for (figures, said) in [(failed, "UNREACHABLE"), (unloaded, "1 of 2 rounds"), (late, "5001 ms")] {
            assert!(figures.wrong().is_some_and(|text| text.contains(said)), "{figures:?}");
        }
    }

    #[tokio::test]
    async fn only_a_refusal_after_an_answer_is_one() {
        let ended = async |codes: &[&'static str]| {
            let mut codes: VecDeque<_> = codes.iter().copied().collect();
            let call = async || match codes.pop_front() {
                Some("") => Ok(()),
                Some(code) => Err(code.to_owned()),
                None => std::future::pending().await,
            };
            let (tell, first) = oneshot::channel();
            let refused = until_refused(call, tell).await.is_ok();
            (first.await.is_ok(), refused)
        };
        for refused in [
            &["", "PEER_REVOKED"][..],
            &["", "", "PEER_UNKNOWN"],
            &["", "PEER_UNAVAILABLE", "PEER_UNAVAILABLE"],
            &["", "PEER_ERROR", "PEER_REVOKED"],
        ] {
            assert_eq!(ended(refused).await, (true, true), "{refused:?}");
        }
        for failed in
            [&["", "INTERNAL"][..], &["", "PEER_UNAVAILABLE", ""], &["", "PEER_UNAVAILABLE", "INTERNAL"]]
        {
            assert_eq!(ended(failed).await, (true, false), "{failed:?}");
        }
        for failed in [&["PEER_REVOKED"][..], &["PEER_UNAVAILABLE"]] {
            assert_eq!(ended(failed).await, (false, false), "{failed:?}");
        }
    }
}
