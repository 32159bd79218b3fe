//! The named stages of a job, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    /// Where a job can be when it is killed. Both parties pass the same stages, but for the first and the last.
    pub enum Stage {
        /// The request is signed, kept and logged; the provider does not pass it.
        Requested => "requested",
        /// The connection has its number; nothing was sent. At the provider: the request has come.
        Open => "open",
        /// The acceptance is logged and kept.
        Accepted => "accepted",
        /// The input is partitioned under the job's salt.
        Partitioned => "partitioned",
        /// A bucket's first step begins.
        BucketStarted => "bucket-started",
        /// A bucket's first message was given to the connection.
        BucketSent => "bucket-sent",
        /// A bucket's result is kept. At the provider: the requester said that it keeps it.
        BucketFinished => "bucket-finished",
        /// The receipt is logged and kept.
        Receipt => "receipt",
        /// The result file is in its place; the provider does not pass it.
        Output => "output",
    }
}
