//! Every size that a peer can ask us to hold, in one place, each with its reason.

/// A party's name stands in certificates, logs and file names.
pub const MAX_PARTY_ID_BYTES: usize = 64;

/// A data set's name stands in every oblivious PRF input.
pub const MAX_DATA_SET_BYTES: usize = 64;

/// Purposes are short codes such as `account_opening`.
pub const MAX_PURPOSE_BYTES: usize = 64;

/// A text in a message: one of the names above, a protocol's name, or a code.
pub const MAX_TEXT_BYTES: usize = 64;

const _: () = assert!(
    MAX_PARTY_ID_BYTES <= MAX_TEXT_BYTES
        && MAX_DATA_SET_BYTES <= MAX_TEXT_BYTES
        && MAX_PURPOSE_BYTES <= MAX_TEXT_BYTES
);

/// The identity encoding carries field lengths in 16 bits; no name, number or document comes near this.
pub const MAX_IDENTITY_FIELD_BYTES: usize = 256;

/// RFC 9497 indexes batch proofs with 16 bits; we stop well before.
pub const MAX_ELEMENTS_PER_PROOF: usize = 16_384;

/// Customers in one session: 4,096 × 3 match families stay below [`MAX_ELEMENTS_PER_PROOF`].
pub const MAX_CUSTOMERS_PER_SESSION: usize = 4_096;

/// Families are one byte and ten are defined.
pub const MAX_FAMILIES: usize = 10;

/// RFC 9497, section 7.2.3: Q evaluations cost log2(Q)/2 bits; past this a key must be rotated.
pub const MAX_EVALUATIONS_PER_KEY: u64 = 1 << 30;

/// A page of a snapshot: one positioned read of a file system block.
pub const PAGE_BYTES: usize = 4_096;

/// A label's plain bytes: 14 make rows of 40 bytes; 512 leave at least seven rows a page.
pub const MAX_LABEL_BYTES: usize = 512;

/// Rows that may share one eight-byte locator; pairs are expected at 10^9 rows, five are a fault.
pub const MAX_ROWS_PER_LOCATOR: usize = 4;

/// Pages of one publication: 2^28 pages are 1 TiB.
pub const MAX_PAGES: u64 = 1 << 28;

/// Publications (a snapshot and its deltas) of one epoch: the index has 16 bits.
pub const MAX_PUBLICATIONS: usize = 1 << 16;

/// Deltas of one epoch: every lookup reads a page of each, and all their records fit one message.
pub const MAX_DELTAS: usize = 32;

/// Rows that all deltas of an epoch may hold whatever the snapshot's size, so that small data sets can change too;
/// beyond it half of the snapshot's rows.
pub const MIN_DELTA_ROWS: u64 = 4_096;

/// Pages in one message of a download: 256 KiB, large enough to stream, small enough to hold many.
pub const MAX_PAGES_PER_CHUNK: usize = 64;

/// A label schema is read by people.
pub const MAX_SCHEMA_BYTES: usize = 16 << 10;

/// Fields of a label schema.
pub const MAX_SCHEMA_FIELDS: usize = 64;

/// Data sets, purposes or columns named by one grant.
pub const MAX_GRANT_ITEMS: usize = 64;

/// A grant, a manifest or an enrolment, encoded.
pub const MAX_DOCUMENT_BYTES: usize = 32 << 10;

/// Receipts under one countersignature.
pub const MAX_RECEIPTS_PER_COUNTERSIGNATURE: usize = 256;

/// A log entry's length has 16 bits in `tlog-tiles` entry bundles.
pub const MAX_ENTRY_BYTES: usize = (1 << 16) - 1;

/// A gRPC message: the largest request carries 4,096 customers × 10 families × 32 bytes.
pub const MAX_MESSAGE_BYTES: usize = 2 << 20;

/// Rows of one party in a set intersection: 16,384 buckets of 2^16.
pub const MAX_PSI_ROWS: u64 = 1 << 30;

/// Buckets of a set intersection.
pub const MAX_PSI_BUCKETS: u64 = 1 << 14;

/// Rows that a bucket is meant to hold, at most; so many too in modes that know one bucket only.
pub const MAX_PSI_BUCKET_ROWS: u64 = 1 << 20;

/// A payload's plain bytes: a line of a list, not a document.
pub const MAX_PSI_PAYLOAD_BYTES: usize = 4 << 10;

/// Bytes of a bucket's message in one frame: a few frames fill a connection's window.
pub const MAX_PSI_CHUNK_BYTES: usize = 512 << 10;

/// Bytes of one message of a bucket, whatever its parameters: what a bucket may take of memory.
pub const MAX_PSI_MESSAGE_BYTES: u64 = 1 << 30;

/// Connections of one set intersection job: each costs the bucket under way a fresh start.
pub const MAX_PSI_ATTEMPTS: u64 = 32;

/// Bytes of one message that sets a protocol up for a whole connection: the noise of a silent VOLE's first batch.
pub const MAX_PSI_SETUP_BYTES: usize = 512 << 10;

/// Keys of an oblivious key-value store: twice the rows that a bucket of an intersection is meant to hold.
pub const MAX_OKVS_ROWS: usize = 1 << 21;

/// Outputs of one batch of the silent VOLE: a bucket's key-value store of 2^20 items with room; the batch
/// then takes 140 MB at the receiver.
pub const MAX_VOLE_OUTPUTS: usize = 1 << 21;

/// A feature's name in a training, where a grant permits to tell it.
pub const MAX_TRAIN_NAME_BYTES: usize = 256;

/// All features' names of one provider together: a receipt with them must fit an entry of the log.
pub const MAX_TRAIN_NAMES_BYTES: usize = 8 << 10;

/// A training's receipt: an acceptance with all names, and digests of 64 blocks; less than an entry of the log.
pub const MAX_TRAIN_RECEIPT_BYTES: usize = 60 << 10;

/// Bytes of an upload or of an answer in one message of a training.
pub const MAX_TRAIN_CHUNK_BYTES: usize = 512 << 10;

/// How often a training's session is opened: after every kill of either side.
pub const MAX_TRAIN_ATTEMPTS: u64 = 64;

/// Providers of one scoring group: sixteen parts of 8 bits add up to less than 2^12, which the bank decodes.
pub const MAX_SCORE_PROVIDERS: usize = 16;

/// Number segments of one universe: the whole country's lists have about 500,000.
pub const MAX_SEGMENTS: usize = 1 << 19;

/// Bands of a score, or of one provider's term: they are named in a grant and read by people.
pub const MAX_SCORE_BANDS: usize = 16;

/// Values of a part where no other provider holds data, so that the sum is the part.
pub const MAX_LONE_PARTS: usize = 16;

/// Knots of a calibration: one for every eighth sum and some room.
pub const MAX_CALIBRATION_KNOTS: usize = 1_024;

/// Scoring groups and epochs that one party remembers.
pub const MAX_LEDGER_ITEMS: usize = 1 << 16;

/// How far above a scoring group's last epoch its bank may choose the next one: epochs are numbered with 64 bits and only
/// grow, so a single number must not use them up.
pub const MAX_EPOCH_STEP: u64 = 1 << 32;

/// Bytes of a scoring group's whole setup: 17 confirmations, 16 announcements, and 16 dealings of 16
/// commitments and 16 sealed shares, each signed.
pub const MAX_SETUP_BYTES: usize = 256 << 10;

/// Hundredths of a training's known rows that may be held out.
pub const MAX_HELD_OUT: u64 = 50;

/// Rows that a training lists, decoys among them; with [`MAX_RESIDUAL`] their sum stays below 2^44.
pub const MAX_TRAIN_ROWS: usize = 1 << 24;

/// Features of one unit in a training.
pub const MAX_TRAIN_FEATURES: usize = 1_024;

/// Bins of a feature: one for missing values and 32 quantiles.
pub const MAX_BINS: usize = 33;

/// Blocks of a training; ten serve.
pub const MAX_TRAIN_BLOCKS: u16 = 64;

/// Trees of a unit in one block; a scorecard has twenty.
pub const MAX_BLOCK_TREES: u16 = 64;

/// Splits on a way from the root of a tree to a leaf: deeper nodes of encrypted sums cost more than they bring.
pub const MAX_TREE_DEPTH: u8 = 4;

/// Nodes of a tree of that depth.
pub const MAX_TREE_NODES: usize = (2 << MAX_TREE_DEPTH) - 1;

/// What is added to counts that divide.
pub const MAX_LAMBDA: u32 = 1_000_000;

/// A row's residual, and a leaf, in units of 1/1024: a thousand times what a label differs by.
pub const MAX_RESIDUAL: u32 = 1 << 20;

/// Listed rows of one training, decoys included: two statistics, ready for sums, then take 150 MB of a provider's memory.
pub const MAX_TRAINING_ROWS: usize = 1 << 17;

/// Ciphertexts in one message of a training: 512 KiB.
pub const MAX_CIPHERTEXTS_PER_CHUNK: usize = 8_192;

/// Magnitude of an integer that a training encrypts or decrypts: 2^17 rows of 2^15 each; the search for one is
/// bounded by it.
pub const MAX_TRAINING_SUM: u64 = 1 << 32;

/// Magnitude of a leaf, and of a contribution of one row: what the small multiples of ciphertexts take.
pub const MAX_CONTRIBUTION: i32 = 1 << 18;

/// Cells, that is sums, of one node: features by bins.
pub const MAX_NODE_CELLS: usize = 1 << 14;
