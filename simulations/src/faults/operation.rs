//! What may happen next: calls of every kind, operators' work, and accidents.

use std::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::disk::Mode;
use super::people::{Fit, Known, SUBSCRIBERS, State};
use super::template::{CARRIERS, PARTIES};

/// Machines: the bank, then the carriers.
pub const MACHINES: usize = 1 + CARRIERS.len();

/// Who asks: the bank, then the desk.
pub const REQUESTERS: usize = PARTIES.len() - CARRIERS.len();

/// Questions of one burst at most.
const MAX_BURST: u32 = 6;

/// One operation, drawn before it begins: nothing of it depends on how others end.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the variants' texts say what their fields are")]
pub enum Operation {
    /// The bank verifies a customer, at both carriers.
    Verify(Known),
    /// The bank's caller asks again for a report that it had.
    Recall(u32),
    /// The desk asks one carrier for one number.
    Ask { carrier: usize, known: Known },
    /// The desk asks many times at once under a grant that permits few.
    Burst { carrier: usize, known: Known, questions: u32 },
    /// The desk sends an earlier question once more.
    Replay { carrier: usize, back: usize },
    /// The desk sends another question under an earlier session, as old as that or of now.
    Reuse { carrier: usize, back: usize, known: Known, redated: bool },
    /// The desk sends a question with another's elements.
    Tamper { carrier: usize, back: usize, known: Known },
    /// The desk countersigns.
    Countersign { carrier: usize },
    /// The bank countersigns now.
    Settle,
    /// The desk fetches the manifest.
    Manifest { carrier: usize },
    /// An auditor reads what a log has published.
    Tail { machine: usize, again: u32 },
    /// A carrier issues a grant with a small quota to the desk.
    Issue { carrier: usize, total: u64, per_day: u64 },
    /// A carrier ends the desk's newest small grant.
    End { carrier: usize },
    /// A carrier publishes its data under fresh keys, and the bank fetches them.
    Rotate { carrier: usize },
    /// One subscriber of a carrier changes: a change file, a delta, and the bank that applies it.
    Change { carrier: usize, subscriber: usize, state: State },
    /// A party gets a new key and certificate.
    Renew { party: usize },
    /// A requester's certificate is revoked; it comes back with another after a while.
    Revoke { requester: usize, lasting: Duration },
    /// A machine is restarted in order.
    Restart { machine: usize, rest: Duration },
    /// A machine falls now.
    Fall { machine: usize },
    /// A machine falls when it has sent so many segments more.
    Fuse { machine: usize, segments: u32 },
    /// A machine's disk fails at its next write.
    Disk { machine: usize, mode: Mode, lasting: Duration },
    /// A requester does not reach a carrier.
    Cut { desk: bool, carrier: usize, lasting: Duration },
    /// One machine's clock jumps, and back after a while.
    Skew { machine: usize, by_ms: i64, lasting: Duration },
    /// Hours pass, for everybody; the bank has stopped meanwhile.
    Pass { hours: u32 },
}

impl Operation {
    /// Draws one.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        let drawn = rng.random_range(0..10_000_u32);
        let carrier = rng.random_range(0..CARRIERS.len());
        let machine = rng.random_range(0..MACHINES);
        let known = draw_known(rng);
        let back = rng.random_range(0..16);
        match drawn {
            0..2_400 => Self::Verify(known),
            2_400..3_000 => Self::Recall(rng.random()),
            3_000..6_600 => Self::Ask { carrier, known },
            6_600..6_900 => Self::Burst { carrier, known, questions: rng.random_range(2..=MAX_BURST) },
            6_900..8_400 => Self::Replay { carrier, back },
            8_400..8_700 => Self::Reuse { carrier, back, known, redated: rng.random() },
            8_700..8_900 => Self::Tamper { carrier, back, known },
            8_900..9_200 => Self::Countersign { carrier },
            9_200..9_300 => Self::Settle,
            9_300..9_600 => Self::Manifest { carrier },
            9_600..9_720 => Self::Tail { machine, again: rng.random() },
            9_720..9_745 => {
                let states = [State::Clear, State::Suspected, State::Gone];
                let subscriber = rng.random_range(0..SUBSCRIBERS);
                Self::Change { carrier, subscriber, state: states[rng.random_range(0..states.len())] }
            }
            9_745..9_752 => Self::Renew { party: rng.random_range(0..PARTIES.len()) },
            9_752 => {
                let lasting = Duration::from_millis(rng.random_range(500..3_000));
                Self::Revoke { requester: rng.random_range(0..REQUESTERS), lasting }
            }
            9_760..9_840 => {
                let total = rng.random_range(2..=12);
                Self::Issue { carrier, total, per_day: rng.random_range(1..=total) }
            }
            9_840..9_870 => Self::End { carrier },
            9_753..9_760 | 9_870..9_876 => Self::Rotate { carrier },
            _ => Self::accident(rng, drawn, machine, carrier),
        }
    }

    fn accident(rng: &mut ChaCha8Rng, drawn: u32, machine: usize, carrier: usize) -> Self {
        let mut up_to = |longest_ms: u64| Duration::from_millis(rng.random_range(1..=longest_ms));
        match drawn {
            9_876..9_886 => Self::Restart { machine, rest: up_to(1_500) },
            9_886..9_896 => Self::Fall { machine },
            9_896..9_911 => Self::Fuse { machine, segments: rng.random_range(1..60) },
            9_911..9_926 => {
                let modes =
                    [Mode::Full, Mode::Unsyncable, Mode::FallsTorn, Mode::FallsBefore, Mode::FallsAfter];
                let lasting = up_to(1_500);
                Self::Disk { machine, mode: modes[rng.random_range(0..modes.len())], lasting }
            }
            9_926..9_956 => {
                let lasting = up_to(4_000);
                Self::Cut { desk: rng.random(), carrier, lasting }
            }
            9_956..9_986 => {
                let lasting = up_to(4_000);
                // Half of them within what providers tolerate; all within what auditors do.
                let most = if rng.random() { 25_000 } else { 90_000 };
                Self::Skew { machine, by_ms: rng.random_range(-most..=most), lasting }
            }
            _ => Self::Pass { hours: rng.random_range(1..=26) },
        }
    }

    /// How many operations it is.
    pub const fn weight(&self) -> u64 {
        match self {
            Self::Burst { questions, .. } => *questions as u64,
            _ => 1,
        }
    }

    /// Which requester asks, if one does.
    pub const fn requester(&self) -> Option<usize> {
        match self {
            Self::Verify(_) => Some(0),
            Self::Ask { .. }
            | Self::Burst { .. }
            | Self::Replay { .. }
            | Self::Reuse { .. }
            | Self::Tamper { .. }
            | Self::Countersign { .. }
            | Self::Manifest { .. } => Some(1),
            _ => None,
        }
    }

    /// What it is called in tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Verify(_) => "verify",
            Self::Recall(_) => "recall",
            Self::Ask { .. } => "ask",
            Self::Burst { .. } => "burst",
            Self::Replay { .. } => "replay",
            Self::Reuse { .. } => "reuse",
            Self::Tamper { .. } => "tamper",
            Self::Countersign { .. } => "countersign",
            Self::Settle => "settle",
            Self::Manifest { .. } => "manifest",
            Self::Tail { .. } => "tail",
            Self::Issue { .. } => "issue",
            Self::End { .. } => "end",
            Self::Rotate { .. } => "rotate",
            Self::Change { .. } => "change",
            Self::Renew { .. } => "renew",
            Self::Revoke { .. } => "revoke",
            Self::Restart { .. } => "restart",
            Self::Fall { .. } => "fall",
            Self::Fuse { .. } => "fuse",
            Self::Disk { .. } => "disk",
            Self::Cut { .. } => "cut",
            Self::Skew { .. } => "skew",
            Self::Pass { .. } => "pass",
        }
    }

    /// Whether it is an accident, and no call or work.
    pub const fn is_accident(&self) -> bool {
        matches!(
            self,
            Self::Restart { .. }
                | Self::Fall { .. }
                | Self::Fuse { .. }
                | Self::Disk { .. }
                | Self::Cut { .. }
                | Self::Skew { .. }
                | Self::Pass { .. }
        )
    }
}

fn draw_known(rng: &mut ChaCha8Rng) -> Known {
    let fit = match rng.random_range(0..8) {
        0 => Fit::WrongName,
        1 => Fit::WrongDocument,
        2 => Fit::Stranger,
        _ => Fit::Right,
    };
    Known { carrier: rng.random_range(0..CARRIERS.len()), subscriber: rng.random_range(0..SUBSCRIBERS), fit }
}
