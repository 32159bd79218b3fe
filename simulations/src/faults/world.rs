//! One seed's world: the machines, the desk, and how each operation is carried out and held against the truth.

mod hours;
mod trust;
mod work;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windvane::clock::Clock as _;
use windvane::error::NodeError;
use windvane::peer::transport::Transport;
use windvane::verification::{ProviderAnswer, VerificationReport};
use windvane_protocols::audit::grant::GrantId;

use super::SimulationError;
use super::desk::{Acknowledged, Desk, DeskError};
use super::disk::Mode;
use super::ledger::{Invariant, Ledger, Promise};
use super::machine::{Machine, Place, Up, checkpoint};
use super::net::{Life, Network};
use super::operation::{Operation, REQUESTERS};
use super::people::{Known, Tables};
use super::template::{self, BANK, CARRIERS, DESK, Template};

use trust::Trust;

/// After how long at most a grant's end must be in effect: a node takes changes over four times a second.
const ENDED_WITHIN: Duration = Duration::from_secs(1);

/// After how long at most a revoked peer is refused.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

/// Reports that the bank's caller remembers.
const REMEMBERED: usize = 256;

/// Codes that no fault of the network, of a disk or of a clock may lead to: TLS has kept changed bytes away, and no
/// party lies.
const IMPOSSIBLE: [&str; 26] = [
    "MESSAGE_TOO_LARGE",
    "PUBLICATION_ID_REUSED",
    "DELTA_SIGNATURE",
    "DELTA_FOREIGN",
    "DELTA_ORDER",
    "DELTA_BASE",
    "DELTA_COUNTS",
    "DELTA_TIME",
    "DELTA_ROW",
    "EPOCH_REUSED",
    "SNAPSHOT_PAGE_INVALID",
    "SNAPSHOT_ROOT_MISMATCH",
    "KEY_MISMATCH",
    "PROOF_INVALID",
    "RECEIPT_INVALID",
    "ANSWER_MALFORMED",
    "ROW_CORRUPT",
    "SNAPSHOT_UNREADABLE",
    "LABEL_MALFORMED",
    "ASK_FAILED",
    "REQUEST_SIGNATURE_INVALID",
    "REQUEST_INVALID",
    "PARTIES_MISMATCH",
    "MESSAGE_MALFORMED",
    "COUNTERSIGNATURE_INVALID",
    "PEER_UNKNOWN",
];

/// What a call says that a provider served.
const SERVED: [&str; 5] = ["answered", "done", "match", "mismatch", "no_record"];

/// A grant of the desk with a small quota.
#[derive(Debug, Clone, Copy)]
struct Small {
    id: GrantId,
    /// When the operator was told that it is ended.
    ended: Option<Instant>,
}

/// The world.
#[derive(Debug)]
pub struct World {
    pub(super) ledger: Ledger,
    pub(super) machines: Vec<Arc<Machine>>,
    pub(super) desk: Desk,
    network: Arc<Network>,
    small: [Mutex<Vec<Small>>; CARRIERS.len()],
    reports: Mutex<Vec<VerificationReport>>,
    desk_clock: Arc<super::clock::MachineClock>,
    tables: [Mutex<Tables>; CARRIERS.len()],
    trust: tokio::sync::Mutex<Trust>,
    /// Until when a party may be unknown to another.
    distrusted_until: Mutex<Option<Instant>>,
    /// Since when the bank and the desk are revoked.
    revoked: [Mutex<Option<Instant>>; REQUESTERS],
}

/// How an operation ended, in a word that stands in the trace.
pub type Outcome = String;

impl World {
    /// The template's parties on machines of their own, which are off.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn new(template: &Template, place: &Place<'_>) -> Result<Self, SimulationError> {
        let machine = |name| Machine::new(name, template.party(name), place, template.now_ms());
        let machines = [BANK].into_iter().chain(CARRIERS).map(machine).collect::<Result<Vec<_>, _>>()?;
        let transport: Arc<dyn Transport> = place.network.attach(Life { machine: DESK, number: 0 }, None);
        let clock = Arc::new(super::clock::MachineClock::new(template.now_ms()));
        let desk = machine(DESK)?;
        let desk = Desk::new(desk.admin()?, &transport)?;
        Ok(Self {
            ledger: Ledger::default(),
            machines,
            desk,
            network: place.network.clone(),
            small: Default::default(),
            reports: Mutex::default(),
            desk_clock: clock,
            tables: Default::default(),
            trust: tokio::sync::Mutex::new(Trust::new(template)),
            distrusted_until: Mutex::default(),
            revoked: Default::default(),
        })
    }

    /// Carries out an operation, and holds what comes of it against the truth.
    pub async fn perform(&self, operation: Operation, number: u64) -> Outcome {
        let since = self.refused_since(operation.requester());
        let outcome = self.carry_out(operation, number).await;
        if let Some((requester, since)) = since {
            let still = *lock(&self.revoked[requester]) == Some(since);
            let served = outcome.split(' ').any(|word| SERVED.contains(&word));
            self.ledger.hold(Invariant::Revocation, number, !(still && served), || {
                format!("{operation:?} of a revoked peer ended with {outcome}")
            });
        }
        outcome
    }

    /// Whether a requester must be refused by now, and since when it is revoked.
    fn refused_since(&self, requester: Option<usize>) -> Option<(usize, Instant)> {
        let requester = requester?;
        let since = *lock(&self.revoked[requester]);
        since.filter(|since| since.elapsed() > REVOKED_WITHIN).map(|since| (requester, since))
    }

    async fn carry_out(&self, operation: Operation, number: u64) -> Outcome {
        match operation {
            Operation::Verify(known) => self.verify(known, number).await,
            Operation::Recall(which) => self.recall(which, number).await,
            Operation::Ask { carrier, known } => {
                self.ask(carrier, known, self.desk.standing(carrier), None, number).await
            }
            Operation::Burst { carrier, known, questions } => {
                self.burst(carrier, known, questions, number).await
            }
            Operation::Replay { carrier, back } => {
                let watch = Watch::begin(&self.machines[1 + carrier]);
                match self.desk.replay(carrier, back).await {
                    Some(answered) => self.answered(carrier, answered, &watch, number),
                    None => "nothing".into(),
                }
            }
            Operation::Reuse { carrier, back, known, redated } => {
                let now_ms = redated.then(|| self.now_ms());
                self.reuse(carrier, back, known, now_ms, number).await
            }
            Operation::Tamper { carrier, back, known } => self.tamper(carrier, back, known, number).await,
            Operation::Countersign { carrier } => {
                let watch = Watch::begin(&self.machines[1 + carrier]);
                let done = self.desk.countersign(carrier, self.now_ms()).await;
                let told = |receipts| if receipts == 0 { "nothing".into() } else { "done".into() };
                done.map_or_else(|error| self.stated(&error, &watch, number), told)
            }
            Operation::Settle => {
                let Some(bank) = self.bank() else { return "down".into() };
                bank.1.countersign().await;
                "done".into()
            }
            Operation::Manifest { carrier } => {
                let watch = Watch::begin(&self.machines[1 + carrier]);
                let done = self.desk.manifest(carrier).await;
                done.map_or_else(|error| self.stated(&error, &watch, number), |_| "done".into())
            }
            Operation::Tail { machine, again } => self.tail(machine, again, number),
            Operation::Issue { carrier, total, per_day } => self.issue(carrier, total, per_day, number).await,
            Operation::End { carrier } => self.end(carrier, number).await,
            Operation::Rotate { carrier } => self.rotate(carrier, number).await,
            Operation::Change { carrier, subscriber, state } => {
                self.change(carrier, subscriber, state, number).await
            }
            Operation::Renew { party } => self.renew(party, number).await,
            Operation::Revoke { requester, lasting } => self.revoke(requester, lasting, number).await,
            accident => self.suffer(accident, number).await,
        }
    }

    async fn suffer(&self, accident: Operation, number: u64) -> Outcome {
        match accident {
            Operation::Restart { machine, rest } => self.restart(machine, rest, number).await,
            Operation::Fall { machine } => self.fall(machine),
            Operation::Fuse { machine, segments } => {
                self.machines[machine].light(segments);
                "done".into()
            }
            Operation::Disk { machine, mode, lasting } => self.disk(machine, mode, lasting).await,
            Operation::Cut { desk, carrier, lasting } => {
                let from = if desk { DESK } else { BANK };
                let address = template::address(carrier).parse().expect("a constant that is an address");
                self.network.cut(from, address, lasting);
                "done".into()
            }
            Operation::Skew { machine, by_ms, lasting } => {
                let clock = self.machines[machine].clock();
                clock.jump_ms(by_ms);
                sleep(lasting).await;
                clock.jump_ms(-by_ms);
                "done".into()
            }
            Operation::Pass { hours } => self.pass(hours, number).await,
            _ => "nothing".into(),
        }
    }

    async fn verify(&self, known: Known, number: u64) -> Outcome {
        let Some((up, bank)) = self.bank() else { return "down".into() };
        let watches: Vec<_> = self.machines.iter().map(Watch::begin).collect();
        let begun = Instant::now();
        let done = bank.verify(known.inquiry(number)).await;
        if !self.machines[0].is_up(up.life) {
            return "void".into();
        }
        let report = match done {
            Ok(report) => report,
            Err(error) => return self.stated_code(error.code, &watches[0], number),
        };
        let id = hex::decode(&report.id).ok().and_then(|id| id.try_into().ok()).unwrap_or_default();
        self.ledger.promise(BANK, Promise::Decided(id), number);
        let mut outcome = Vec::new();
        for (carrier, name) in CARRIERS.iter().enumerate() {
            let Some(answer) = report.providers.iter().find(|answer| answer.provider == *name) else {
                self.ledger.violate(Invariant::Answers, number, format!("the report says nothing of {name}"));
                continue;
            };
            outcome.push(match &answer.error {
                Some(code) => self.stated_code(code, &watches[1 + carrier], number),
                None => {
                    let truths = lock(&self.tables[carrier]).since(begun);
                    let is_true = truths.iter().any(|facts| known.is_true_of(carrier, facts, answer));
                    self.ledger.hold(Invariant::Answers, number, is_true, || {
                        let ProviderAnswer { result, tags, .. } = answer;
                        format!("{name} is said to have answered {result:?} {tags:?} to {known:?}")
                    });
                    answer.result.to_string()
                }
            });
        }
        let mut reports = lock(&self.reports);
        if reports.len() < REMEMBERED {
            reports.push(report);
        } else {
            reports[number as usize % REMEMBERED] = report;
        }
        outcome.join(" ")
    }

    async fn recall(&self, which: u32, number: u64) -> Outcome {
        let Some((up, bank)) = self.bank() else { return "down".into() };
        let report = {
            let reports = lock(&self.reports);
            if reports.is_empty() {
                return "nothing".into();
            }
            reports[which as usize % reports.len()].clone()
        };
        let watch = Watch::begin(&self.machines[0]);
        let found = bank.report(&report.id).await;
        if !self.machines[0].is_up(up.life) {
            return "void".into();
        }
        match found {
            Ok(found) => {
                let json = |report: &VerificationReport| serde_json::to_string(report).unwrap_or_default();
                let same = found.is_some_and(|found| json(&found) == json(&report));
                self.ledger.hold(Invariant::Acknowledged, number, same, || {
                    format!("the bank does not have report {} as it gave it", report.id)
                });
                "found".into()
            }
            Err(error) => self.stated_code(error.code, &watch, number),
        }
    }

    async fn ask(
        &self,
        carrier: usize,
        known: Known,
        grant: GrantId,
        ended: Option<Instant>,
        number: u64,
    ) -> Outcome {
        let watch = Watch::begin(&self.machines[1 + carrier]);
        let late = ended.is_some_and(|at| at.elapsed() > ENDED_WITHIN);
        let answered = self.desk.ask(carrier, known, grant, self.now_ms()).await;
        self.ledger.hold(Invariant::Grant, number, !(late && answered.is_ok()), || {
            format!("{} answered under a grant that was ended", CARRIERS[carrier])
        });
        let outdated = matches!(&answered, Err(DeskError::Peer(error)) if error.code == "EPOCH_UNKNOWN");
        let outcome = self.answered(carrier, answered, &watch, number);
        if outdated {
            // The next question is under the new epoch; that this fails is a result as well.
            let _ = self.desk.manifest(carrier).await;
        }
        outcome
    }

    async fn burst(&self, carrier: usize, known: Known, questions: u32, number: u64) -> Outcome {
        let Some(small) = lock(&self.small[carrier]).last().copied() else { return "nothing".into() };
        let asks = (0..questions).map(|_| Box::pin(self.ask(carrier, known, small.id, small.ended, number)));
        together(asks.collect()).await.join(" ")
    }

    async fn reuse(
        &self,
        carrier: usize,
        back: usize,
        known: Known,
        now_ms: Option<u64>,
        number: u64,
    ) -> Outcome {
        let watch = Watch::begin(&self.machines[1 + carrier]);
        match self.desk.reuse(carrier, back, known, now_ms).await {
            Some((had_answer, answered)) => {
                self.ledger.hold(Invariant::Receipts, number, !(had_answer && answered.is_ok()), || {
                    format!("{} answered a second question of one session", CARRIERS[carrier])
                });
                self.answered(carrier, answered, &watch, number)
            }
            None => "nothing".into(),
        }
    }

    async fn tamper(&self, carrier: usize, back: usize, known: Known, number: u64) -> Outcome {
        let watch = Watch::begin(&self.machines[1 + carrier]);
        match self.desk.tamper(carrier, back, known, self.now_ms()).await {
            Some(Ok(())) => {
                let text = format!("{} answered elements that nobody signed", CARRIERS[carrier]);
                self.ledger.violate(Invariant::Answers, number, text);
                "answered".into()
            }
            Some(Err(error)) => self.stated(&error, &watch, number),
            None => "nothing".into(),
        }
    }

    fn answered(
        &self,
        carrier: usize,
        answered: Result<Acknowledged, DeskError>,
        watch: &Watch<'_>,
        number: u64,
    ) -> Outcome {
        match answered {
            Ok(Acknowledged { receipt, .. }) => {
                self.ledger.promise(CARRIERS[carrier], Promise::Receipt(receipt), number);
                "answered".into()
            }
            Err(error) => self.stated(&error, watch, number),
        }
    }

    fn stated(&self, error: &DeskError, watch: &Watch<'_>, number: u64) -> Outcome {
        match error {
            DeskError::Peer(error) => self.stated_code(&error.code, watch, number),
            error => {
                self.ledger.violate(Invariant::Answers, number, error.to_string());
                "violation".into()
            }
        }
    }

    /// An error must be one that what happened can lead to.
    fn stated_code(&self, code: &str, watch: &Watch<'_>, number: u64) -> Outcome {
        let internal = ["INTERNAL", "LOG_UNAVAILABLE", "STATE_UNAVAILABLE"].contains(&code);
        // Who is revoked is a stranger to a provider, whose new certificate it has not yet, too.
        let unknown = code == "PEER_UNKNOWN" && self.is_distrusted();
        let possible = (unknown || !IMPOSSIBLE.contains(&code)) && (!internal || watch.disturbed());
        self.ledger.hold(Invariant::Answers, number, possible && !code.is_empty(), || {
            format!("{} said {code}, and nothing that happened explains it", watch.machine.name())
        });
        code.to_owned()
    }

    fn tail(&self, machine: usize, again: u32, number: u64) -> Outcome {
        let machine = &self.machines[machine];
        let Some(up) = machine.up() else { return "down".into() };
        let watch = Watch::begin(machine);
        match checkpoint(&up.log) {
            Ok(_) => {
                self.ledger.read(machine.name(), &machine.data_dir().join("log"), number, again.into());
                self.ledger.settle_replies(machine.name(), number);
                "done".into()
            }
            Err(_) if watch.disturbed() => "failed".into(),
            Err(error) => {
                self.ledger.violate(Invariant::AppendOnly, number, error.to_string());
                "violation".into()
            }
        }
    }

    /// Holds that a machine was started or stopped.
    pub(super) fn hold_recovery(
        &self,
        machine: &Machine,
        what: &str,
        done: Result<(), NodeError>,
        number: u64,
    ) {
        let (name, failed) = (machine.name(), done.err());
        self.ledger.hold(Invariant::Recovery, number, failed.is_none(), || {
            failed.map_or_else(String::new, |error| format!("{name} {what}: {}: {error}", error.code()))
        });
    }

    async fn restart(&self, machine: usize, rest: Duration, number: u64) -> Outcome {
        let machine = &self.machines[machine];
        let _operator = machine.operator.lock().await;
        if machine.is_ailing() || machine.up().is_none() {
            return "down".into();
        }
        self.hold_recovery(machine, "does not stop", machine.stop().await, number);
        sleep(rest).await;
        self.hold_recovery(machine, "does not start", machine.start().await, number);
        "done".into()
    }

    fn fall(&self, machine: usize) -> Outcome {
        let machine = &self.machines[machine];
        let Ok(_operator) = machine.operator.try_lock() else { return "busy".into() };
        machine.fall();
        "done".into()
    }

    async fn disk(&self, machine: usize, mode: Mode, lasting: Duration) -> Outcome {
        let machine = &self.machines[machine];
        let _operator = machine.operator.lock().await;
        if machine.up().is_none() {
            return "down".into();
        }
        machine.ail(mode);
        sleep(lasting).await;
        // Whether or not anything was written meanwhile: the operator makes room and starts the node anew.
        machine.fall();
        "done".into()
    }

    fn bank(&self) -> Option<(Up, Arc<windvane::bank::Bank>)> {
        let up = self.machines[0].up()?;
        let bank = up.bank.clone()?;
        Some((up, bank))
    }

    fn now_ms(&self) -> u64 {
        self.desk_clock.now_ms()
    }
}

/// Whether anything was wrong with a machine's disk, or it was being stopped, while a call ran.
#[derive(Debug)]
struct Watch<'a> {
    machine: &'a Machine,
    disturbances: u32,
}

impl<'a> Watch<'a> {
    fn begin(machine: &'a Arc<Machine>) -> Self {
        Self { machine, disturbances: machine.disturbances() }
    }

    fn disturbed(&self) -> bool {
        self.machine.is_ailing() || self.machine.disturbances() != self.disturbances
    }
}

/// Runs futures beside each other, and gives what they give, in order.
async fn together<F: Future<Output = String> + Unpin>(mut futures: Vec<F>) -> Vec<String> {
    let mut done: Vec<Option<String>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = std::pin::Pin::new(future).poll(cx)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
