//! Hours that pass for everybody.

use std::time::Duration;

use tokio::time::sleep;
use windvane::error::NodeError;

use super::super::clock::Held;
use super::super::ledger::Invariant;
use super::{ENDED_WITHIN, Outcome, World};

/// How long until the clocks are looked at again: timers are no finer.
const A_MOMENT: Duration = Duration::from_millis(1);

/// How often they are looked at: a log that fails leaves its machine's entries queued until that is started again.
const LOOKS: u32 = 60_000;

impl World {
    /// A night: the bank stops in order, and its carriers go on.
    pub(super) async fn pass(&self, hours: u32, number: u64) -> Outcome {
        let mut operators = Vec::new();
        for machine in &self.machines {
            operators.push(machine.operator.lock().await);
        }
        // Hours are longer than it takes a node to take over what its operator did.
        sleep(ENDED_WITHIN).await;
        let bank = &self.machines[0];
        let stops = bank.up().is_some() && !bank.is_ailing();
        if stops {
            self.hold_recovery(bank, "does not stop", bank.stop().await, number);
        }
        let moved = self.move_clocks(i64::from(hours) * 3_600_000).await.unwrap_or_else(|error| {
            self.ledger.violate(Invariant::Recovery, number, format!("a state cannot be read: {error}"));
            false
        });
        if stops {
            self.hold_recovery(bank, "does not start", bank.start().await, number);
        }
        if moved { "done".into() } else { "put off".into() }
    }

    /// Moves all clocks together, at an instant at which no machine is about to log what it dated before: hours are
    /// longer than that takes, too. A node that ends an epoch, say, queues entries and takes them over a quarter of a
    /// second later; after a jump in between they would lie hours before their neighbours in the log. Whether there was
    /// such an instant.
    async fn move_clocks(&self, by_ms: i64) -> Result<bool, NodeError> {
        for _ in 0..LOOKS {
            // Whatever is queued after this look was dated at this very instant, and its clock was read.
            if !self.is_telling()? && self.have_moved(by_ms) {
                return Ok(true);
            }
            sleep(A_MOMENT).await;
        }
        Ok(false)
    }

    /// Whether a running machine's log lacks what its state has queued. One that is down logs that first when it starts.
    fn is_telling(&self) -> Result<bool, NodeError> {
        for machine in self.machines.iter().filter(|machine| machine.up().is_some()) {
            if !machine.admin()?.is_flushed()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves all clocks, unless somebody has read one at this instant.
    fn have_moved(&self, by_ms: i64) -> bool {
        let mut clocks: Vec<_> = self.machines.iter().map(|machine| machine.clock().hold()).collect();
        let unread = clocks.iter().all(Held::is_unread);
        if unread {
            clocks.iter_mut().for_each(|clock| clock.jump_ms(by_ms));
            self.desk_clock.jump_ms(by_ms);
        }
        unread
    }
}
