//! Set intersection over files: the job between two tables, from the grant to the result file.
//!
//! A job is one signed request and one signed acceptance, and any number of connections up to a limit. A request that
//! no provider accepted, because it was down or because it refused it for its age or its grant, may be followed by
//! another, under a session of its own (`job/request.rs`). Both parties partition their tables under a salt of both
//! nonces and walk the buckets in order, a few at a time; every bucket is a short conversation whose result the
//! receiver keeps before it says so. When the last bucket is done, both compare the hash over all of them, the provider
//! signs its receipt, and the requester countersigns.
//!
//! **Promised.** Nothing of either table moves before the provider has held the request against its grant.
//! Memory is bounded on both sides whatever the peer sends: a bucket's messages have lengths that follow from
//! the parameters, and few buckets are under way at a time. A job that was killed anywhere goes on where it was;
//! finished buckets are never run again, unfinished ones begin anew under fresh randomness ([`folder`] says
//! why). The result file appears whole or not at all, and is cut from the very file that the request was signed for.
//!
//! **Not promised.** What the protocols do not: see `windvane_protocols::psi`. A requester that lies can bring
//! other items for an unfinished bucket on every connection of a job; their number is limited, and each is an
//! entry in both logs. A provider's payload columns are held in memory while a job runs.
//!
//! **What stays.** A job's folder keeps what the log's evidence needs to be opened or explained (signed records,
//! salts, the journal, the report: some KiB, and 100 bytes a bucket) for as long as the data directory, and at a bank the
//! reports of refused and repeated rows, by their numbers. Rows that matched, and what came with them, are sealed under
//! the node's storage key; they go when the result is written, or a month after a job was given up.
//!
//! **Where the time goes**, with `vole`, 15 million rows each, CSV to CSV, 2 cores for both parties (8.9 s, 14.8 s of
//! CPU): 3.9 s pass before the first bucket, in which either party reads its file twice on one thread (rows and digest
//! for the signed request; then, once the salt is known, the partition), and 5.0 s are the buckets, on both cores. Of
//! the CPU time a sixth is the kernel's zeroing of fresh pages (half at 2^20 rows, where the machine has given free
//! memory back to its host), an eighth SHA-256 over files and items, and about a tenth each CSV with the partition, the
//! key-value store, and the vector OLE; sorting and matching take a twentieth, TLS less. Nothing outside of the
//! processor is near its limit: 454 MB cross a channel that carries 1.5 GB a second, and both files are 180 MB, read
//! from the page cache. What remains to be gained is the first 3.9 s: the two passes on two threads, or one of them.

use crate::dataset::Progress;

mod ecdh;
mod engine;
mod error;
pub(crate) mod evidence;
mod flight;
pub mod folder;
pub(crate) mod grant;
mod input;
mod job;
pub mod key;
mod link;
pub mod output;
pub mod partition;
pub mod payload;
mod plan;
mod receive;
mod result;
mod scans;
mod send;
pub mod serve;
mod side;
mod stage;
mod vole;

pub use engine::Patience;
pub use error::{PsiError, PsiRefusal};
pub use job::JobRunner;
pub use plan::{JobPlan, check_key, check_list};
pub use result::{JobReport, JobResult};
pub use stage::Stage;

/// How far a job is, for whoever watches.
pub trait JobProgress: Send + Sync {
    /// A stage was reached.
    fn stage(&self, stage: Stage);

    /// So many buckets of so many are finished.
    fn buckets(&self, finished: u64, total: u64);

    /// Where a table's reading is.
    fn reading(&self) -> &dyn Progress;
}

impl JobProgress for () {
    fn stage(&self, _stage: Stage) {}

    fn buckets(&self, _finished: u64, _total: u64) {}

    fn reading(&self) -> &dyn Progress {
        &()
    }
}
