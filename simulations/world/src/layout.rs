//! What every part of one world shares: the seed, the data date, the sizes, and the makers.

use crate::block::{BLOCK_ROWS, Block, PEOPLE_PER_BLOCK};
use crate::config::WorldConfig;
use crate::date::Date;
use crate::numbering::{CARRIERS, Numbering};
use crate::people::{Person, PersonId, PersonMaker};
use crate::seed::Seed;
use crate::subscriber::Subscriber;

/// Small whatever the size of the world; everything else is made from it on demand.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) seed: Seed,
    pub(crate) as_of: Date,
    pub(crate) subscribers: u64,
    pub(crate) bad_rows: u64,
    pub(crate) applicants: u64,
    pub(crate) numbering: Numbering,
    pub(crate) people: PersonMaker,
}

impl Layout {
    pub(crate) fn new(config: &WorldConfig) -> Self {
        let seed = Seed::new(config.seed);
        let subscribers = config.subscribers_per_carrier as u64;
        let (bad_rows, applicants) = (config.bad_rows as u64, config.applicants as u64);
        let spare = bad_rows / CARRIERS as u64 + applicants / CARRIERS as u64 + 2;
        let segments = config.segments.clamp(CARRIERS, WorldConfig::MAX_SEGMENTS);
        Self {
            as_of: config.as_of,
            subscribers,
            bad_rows,
            applicants,
            numbering: Numbering::new(&seed, subscribers, segments, spare),
            people: PersonMaker::new(&seed, config.as_of),
            seed,
        }
    }

    pub(crate) fn block_count(&self) -> u64 {
        self.subscribers.div_ceil(BLOCK_ROWS)
    }

    pub(crate) fn block(&self, index: u64) -> Block {
        let rows = BLOCK_ROWS.min(self.subscribers - index * BLOCK_ROWS);
        Block::plan(&self.seed, index, rows as usize)
    }

    /// The rows of `carrier` in block `index`, in order.
    pub(crate) fn block_rows(&self, carrier: usize, index: u64) -> Vec<Subscriber> {
        let block = self.block(index);
        (0..block.rows()).map(|row| Subscriber::make(self, &block, carrier, row)).collect()
    }

    /// The subscriber in `row` of `carrier`.
    pub(crate) fn subscriber(&self, carrier: usize, row: u64) -> Subscriber {
        let block = self.block(row / BLOCK_ROWS);
        Subscriber::make(self, &block, carrier, (row % BLOCK_ROWS) as usize)
    }

    /// The `nth` person who holds no number of any carrier and never did.
    pub(crate) fn outsider(&self, nth: u64) -> Person {
        self.people.person(self.outsider_id(nth))
    }

    pub(crate) fn outsider_id(&self, nth: u64) -> PersonId {
        PersonId(self.block_count() * PEOPLE_PER_BLOCK + nth)
    }

    /// Applicants use the outsiders and the unused numbers before these, bad rows those from them on.
    pub(crate) fn first_bad_outsider(&self) -> u64 {
        2 * self.applicants + 1_000
    }

    pub(crate) fn first_bad_number(&self) -> u64 {
        self.applicants / CARRIERS as u64 + 1
    }

    /// One number for a row of a carrier, for its random streams.
    pub(crate) fn row_key(carrier: usize, row: u64) -> u64 {
        row * CARRIERS as u64 + carrier as u64
    }
}
