//! The world as its users see it.

use crate::applicants::{self, Applicant};
use crate::bad::{self, BadRows};
use crate::config::WorldConfig;
use crate::files::{self, TextEncoding};
use crate::layout::Layout;
use crate::numbering::CARRIERS;
use crate::party;
use crate::people::{Person, PersonId};
use crate::subscriber::Subscriber;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The carriers' party ids, in the order of [`World::carriers`].
pub const PARTIES: [&str; CARRIERS] = ["carrier-a", "carrier-b", "carrier-c"];

const ENCODINGS: [TextEncoding; CARRIERS] =
    [TextEncoding::Utf8, TextEncoding::Gb18030, TextEncoding::Utf8WithMark];

/// People, three carriers, a bank's applicants, and the truth.
#[derive(Clone, Debug)]
pub struct World {
    /// Everybody, made on demand.
    pub people: People,
    /// carrier-a, carrier-b, carrier-c.
    pub carriers: Vec<Carrier>,
    /// The bank's applicants, in the order of its file.
    pub applicants: Vec<Applicant>,
    /// How many bad rows each carrier's file has, by reason; empty unless they were asked for.
    pub bad_rows: Vec<BadRows>,
    pub(crate) layout: Arc<Layout>,
}

impl World {
    /// Lays out the world and chooses the applicants.
    pub fn generate(config: &WorldConfig) -> Self {
        let layout = Arc::new(Layout::new(config));
        Self {
            people: People { layout: Arc::clone(&layout) },
            carriers: (0..CARRIERS).map(|index| Carrier::new(index, &layout)).collect(),
            applicants: applicants::make(&layout),
            bad_rows: bad::counts(&layout),
            layout,
        }
    }

    /// Writes all files into `dir`, which exists. The truth comes first.
    ///
    /// # Errors
    /// Those of creating and writing files.
    pub fn write(&self, dir: &Path) -> io::Result<WorldFiles> {
        let files = WorldFiles {
            carriers: PARTIES.map(|party| (party.to_owned(), dir.join(format!("{party}.csv")))).to_vec(),
            applications: dir.join("applications.csv"),
            truth: dir.join("truth.csv"),
            bad_rows: dir.join("bad_rows.csv"),
        };
        files::write_truth(&self.applicants, &files.truth)?;
        files::write_bad_rows(&self.bad_rows, &files.bad_rows)?;
        files::write_applications(&self.applicants, &files.applications)?;
        for (carrier, (_, path)) in files.carriers.iter().enumerate() {
            files::write_carrier(&self.layout, carrier, ENCODINGS[carrier], path)?;
        }
        Ok(files)
    }
}

/// Where a world was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldFiles {
    /// Each carrier's party id and its file.
    pub carriers: Vec<(String, PathBuf)>,
    /// The bank's file.
    pub applications: PathBuf,
    /// The truth about each application.
    pub truth: PathBuf,
    /// How many bad rows each carrier's file has, by reason.
    pub bad_rows: PathBuf,
}

/// Writes the file of carrier `carrier` (0–2) alone, with `subscribers` rows, in a few megabytes of memory.
/// The bytes are those that [`World::write`] gives under `config` with that many subscribers per carrier.
///
/// # Errors
/// Those of creating and writing the file.
///
/// # Panics
/// If there is no such carrier.
pub fn write_carrier_stream(
    config: &WorldConfig,
    carrier: usize,
    subscribers: usize,
    path: &Path,
) -> io::Result<()> {
    let layout = Layout::new(&WorldConfig { subscribers_per_carrier: subscribers, ..config.clone() });
    files::write_carrier(&layout, carrier, ENCODINGS[carrier], path)
}

/// One carrier; its rows are made on demand.
#[derive(Clone, Debug)]
pub struct Carrier {
    /// Its party id.
    pub party: String,
    /// How its file is encoded.
    pub encoding: TextEncoding,
    /// The number segments under its prefixes, seven digits each, ascending.
    pub segments: Vec<u32>,
    pub(crate) index: usize,
    pub(crate) layout: Arc<Layout>,
}

impl Carrier {
    fn new(index: usize, layout: &Arc<Layout>) -> Self {
        Self {
            party: party(index),
            encoding: ENCODINGS[index],
            segments: layout.numbering.segments(index).to_vec(),
            index,
            layout: Arc::clone(layout),
        }
    }

    /// How many subscribers it has.
    pub fn subscriber_count(&self) -> u64 {
        self.layout.subscribers
    }

    /// Its subscribers in the order of its file, without the bad rows.
    pub fn subscribers(&self) -> impl Iterator<Item = Subscriber> + '_ {
        (0..self.layout.block_count()).flat_map(|block| self.layout.block_rows(self.index, block))
    }

    /// The subscriber in `row`, or `None` past the last.
    pub fn subscriber(&self, row: u64) -> Option<Subscriber> {
        (row < self.layout.subscribers).then(|| self.layout.subscriber(self.index, row))
    }
}

/// The people of a world, made on demand.
#[derive(Clone, Debug)]
pub struct People {
    layout: Arc<Layout>,
}

impl People {
    /// The person with this number; numbers of no holder or applicant give people who have no part.
    pub fn person(&self, id: PersonId) -> Person {
        self.layout.people.person(id)
    }

    /// Everybody who holds a number, each once.
    pub fn holders(&self) -> impl Iterator<Item = Person> + '_ {
        let blocks = (0..self.layout.block_count()).map(|index| self.layout.block(index));
        blocks.flat_map(|block| block.holders()).map(|id| self.person(id))
    }
}
