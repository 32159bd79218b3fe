//! Returns from backups, and protocols of destruction.

use windvane_protocols::audit::destruction::Destruction;
use windvane_protocols::transcript::Signed;

use super::{Check, Content, Signature, own_time};
use crate::audit::code;
use crate::audit::report::Fault;
use crate::clock::rfc3339;

impl Content {
    /// A backup cannot hold more of the log than there was.
    pub(super) fn restored(&mut self, index: u64, at_ms: u64, size: u64, log: &str) -> Result<(), Fault> {
        let lost = if log == "lost" {
            "; what the log had after that may be missing, and the node ended everything that counts"
        } else {
            ""
        };
        self.life.push(format!(
            "entry {index}: restored at {} from a backup with {size} entries{lost}",
            rfc3339(at_ms)
        ));
        if size <= index {
            return Ok(());
        }
        let text = format!("the node was restored from a backup with {size} entries, more than the log has");
        Err(Fault::new(code::RESTORED_AHEAD, text))
    }

    /// Only the log's own party destroys, and signs for it.
    pub(super) fn destroyed<'a>(
        &mut self,
        index: u64,
        at_ms: u64,
        signed: &'a Signed<Destruction>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let body = signed.body();
        let mut faults = self.signed(index, Signature::Destruction(signed), checks);
        if self.keyring.party().is_some_and(|own| *own != body.party) {
            let text = format!("the protocol of destruction is by {}, not by the log's party", body.party);
            faults.push(Fault::new(code::FOREIGN_RECORD, text));
        }
        faults.extend(own_time("protocol of destruction", at_ms, body.destroyed_at_ms));
        if body.cause == "retired" {
            let subject = if body.subject.is_empty() { String::new() } else { format!(" {}", body.subject) };
            let (class, items) = (&body.class, body.items);
            self.life.push(format!("entry {index}: destroyed {class}{subject}, {items} in all"));
        }
        faults
    }
}
