//! A partner that attacks a carrier's node, a process of its own, while an honest bank goes on: what the attacker is told,
//! what the node's memory is, and that the bank is answered. `windvane bench hostile` does the same at full size and
//! measures latencies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use windvane::Node;
use windvane::admin::{Admin, GrantTerms};
use windvane::bench::hostile::{Attack, Told, attack};

use crate::lab::{Lab, Party, SUBSCRIBERS, error_of, terms, zhang};
use crate::psi::process::Process;

/// How far the node's memory may be above what it held before.
const GROWTH_BYTES: u64 = 200 << 20;

/// The same where nothing is decoded: a peer's memory, its connections' windows and what answers the bank, 48 MiB in all.
/// Where such messages were decoded it was 326.
const UNDECODED_BYTES: u64 = 80 << 20;

/// Short, and long enough for every limit to be reached.
const TIME: Duration = Duration::from_secs(3);

/// A carrier's process, an honest bank of it, and a partner that is not.
struct Arena {
    lab: Lab,
    rival: Party,
    bank: Node,
    process: Process,
    address: String,
}

impl Arena {
    /// With these limits in place of the usual ones.
    async fn new(limits: &str) -> Self {
        let lab = Lab::new();
        let carrier = lab.party("carrier-a", &format!("[grpc]\nlisten = \"127.0.0.1:0\"\n{limits}"));
        let file = lab.dir.path().join("carrier-a.csv");
        std::fs::write(&file, format!("{}{SUBSCRIBERS}", crate::lab::HEADER)).unwrap();
        carrier.publish(&file);
        let mut bank = lab.bank_files(&[(&carrier, "127.0.0.1:1".to_owned())], &terms());
        let rival = lab.party("rival", "");
        carrier.admin.import_enrolment(&rival.enrolment).unwrap();
        rival.admin.import_enrolment(&carrier.enrolment).unwrap();
        let permitted = GrantTerms { requester: "rival".parse().unwrap(), ..terms() };
        rival.admin.accept_grant(&carrier.admin.issue_grant(&permitted).unwrap()).unwrap();
        let root = lab.dir.path();
        let (process, address) =
            Process::node(&root.join("carrier-a/windvane.toml"), &root.join("ready"), None).await;
        bank.config.providers[0].address.clone_from(&address);
        let admin = Admin::open(&bank.config, Arc::new(lab.clock.clone())).unwrap();
        admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
        drop(admin);
        let node = lab.start(&bank).await;
        assert_eq!(error_of(&node, zhang()).await, None);
        Self { lab, rival, bank: node, process, address }
    }

    async fn attacked(self, attack_with: Attack) -> Told {
        self.attacked_within(attack_with, GROWTH_BYTES).await
    }

    /// Attacks for a time, while the bank asks all the time; what the attacker was told.
    async fn attacked_within(self, attack_with: Attack, growth: u64) -> Told {
        let before = settled(self.process.id());
        let (config, provider) = (self.rival.config.clone(), "carrier-a".parse().unwrap());
        let address = self.address.parse().unwrap();
        let attacking =
            tokio::spawn(
                async move { attack(&config, &provider, address, attack_with, TIME).await.unwrap() },
            );
        let mut answered = 0;
        while !attacking.is_finished() {
            assert_eq!(error_of(&self.bank, zhang()).await, None, "the honest bank is answered");
            answered += 1;
        }
        assert!(answered > 3, "{answered} honest answers");
        let grown = memory(self.process.id(), "VmHWM").saturating_sub(before);
        assert!(grown < growth, "{attack_with:?}: the node grew by {} MiB", grown >> 20);
        let told = attacking.await.unwrap();
        self.bank.stop().await.unwrap();
        drop(self.lab);
        told
    }
}

/// A figure of a process in bytes: `VmRSS` is what it holds, `VmHWM` the most that it held.
fn memory(process: u32, figure: &str) -> u64 {
    let status =
        std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Forgets a process's peak so far; gives what it holds.
fn settled(process: u32) -> u64 {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
    memory(process, "VmRSS")
}

fn has(told: &Told, what: &str) {
    assert!(told.0.get(what).is_some_and(|times| *times > 0), "no {what} in {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_does_not_read_loses_its_connections() {
    let arena = Arena::new("[limits]\nslow_reader_ms = 500\n").await;
    let told = arena.attacked(Attack::SlowReader).await;
    has(&told, "CONNECTION_CLOSED");
    has(&told, "OVERLOADED");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_streams_are_refused_but_for_a_partners_own() {
    let told = Arena::new("").await.attacked(Attack::ManyStreams).await;
    has(&told, "RST_STREAM REFUSED_STREAM");
    // Ten floods are ten connections; then each waits, and without that there were fifty a second.
    let floods = told.0["GOAWAY ENHANCE_YOUR_CALM"];
    assert!((10..40).contains(&floods), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_for_a_short_field_is_refused_by_its_length() {
    let told = Arena::new("").await.attacked(Attack::Gigabyte).await;
    has(&told, "MESSAGE_TOO_LARGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_larger_than_they_look_are_refused_before_they_are_decoded() {
    let arena = Arena::new("[limits]\nfaults_per_s = 1000\n").await;
    let told = arena.attacked_within(Attack::EmptyRecords, UNDECODED_BYTES).await;
    assert!(told.0["MESSAGE_TOO_LARGE"] > 10, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_never_end_take_the_attackers_own_memory_and_end_at_the_deadline() {
    let arena = Arena::new("[limits]\ncall_deadline_ms = 1000\n").await;
    has(&arena.attacked(Attack::PartialMessages).await, "DEADLINE_EXCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_are_told_apart_and_then_cost_the_attacker_all_its_calls() {
    let told = Arena::new("").await.attacked(Attack::Replay).await;
    for what in ["ANSWERED", "SESSION_REPLAYED", "PEER_FAULTS"] {
        has(&told, what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn false_counts_have_their_errors_and_then_cost_the_attacker_all_its_calls() {
    let told = Arena::new("").await.attacked(Attack::FalseCounts).await;
    for what in ["REQUEST_ELEMENTS_MISMATCH", "MESSAGE_TOO_LARGE", "PEER_FAULTS"] {
        has(&told, what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_given_up_at_once_end_their_connection() {
    has(&Arena::new("").await.attacked(Attack::Resets).await, "CLOSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_without_end_ends_its_connection() {
    has(&Arena::new("").await.attacked(Attack::LongHeaders).await, "CLOSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_a_partners_own_are_closed_and_leave_room_for_others() {
    let told = Arena::new("").await.attacked(Attack::Connections).await;
    has(&told, "CONNECTION_KEPT");
    has(&told, "CONNECTION_CLOSED");
    has(&told, "SILENT_CLOSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn good_questions_beyond_a_partners_pace_are_refused_with_a_time_to_wait() {
    let told = Arena::new("[limits]\ncalls_per_s = 20\n").await.attacked(Attack::Questions).await;
    has(&told, "ANSWERED");
    has(&told, "OVERLOADED");
}
