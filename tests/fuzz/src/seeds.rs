//! Seeds: valid inputs, from which mutations begin.

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};

use curve25519_dalek::Scalar;
use ed25519_dalek::SigningKey;
use windvane::config::SAMPLES;
use windvane::dataset::{CARRIER_DATASET, CARRIER_SCHEMA};
use windvane::document::Document;
use windvane::evidence::LogReader;
use windvane::risk::Rules;
use windvane::score::card;
use windvane::screen;
use windvane::table::TableWriter;
use windvane_kernels::ristretto::Points;
use windvane_proto::decode::MESSAGES;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::lookup::delta::Delta;
use windvane_protocols::lookup::manifest::Publication;
use windvane_protocols::score::universe::Universe;
use windvane_protocols::transcript::{Record as _, Signed};

/// Longer seeds are cut: what matters stands in front.
const MAX_SEED: usize = 8 << 10;

/// Where the seeds of this crate lie.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

/// A target's seeds, in the order of their names: those of its folder, and the shipped samples that it reads.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder().join(target))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    let mut seeds: Vec<Vec<u8>> = files.iter().filter_map(|file| fs::read(file).ok()).collect();
    seeds.extend(samples(target));
    seeds
}

/// Samples that are shipped, and texts that are too short for a file.
fn samples(target: &str) -> Vec<Vec<u8>> {
    let texts: &[&str] = match target {
        "identity" => &[
            "+86 138-0013-8000",
            "欧阳·娜娜",
            "11010519491231002X",
            "91350211M000100Y43",
            "6222 0212 3456 7890 12",
        ],
        "party_names" => &["carrier-a", "1380013"],
        "configuration" => &[SAMPLES[0].1, SAMPLES[1].1],
        "data_set" => &[CARRIER_DATASET],
        "schema" => &[CARRIER_SCHEMA],
        "rules" => &[Rules::SHIPPED],
        "plans" => &[screen::SAMPLE],
        "model_card" => &[card::SAMPLE],
        "tile_path" => &["tile/0/x001/067.p/5", "tile/entries/000"],
        "token" => &["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"],
        "csv" => &["\0a,b\n1,\"2\n3\"\n", "\u{1}姓名,号码\r\n张三,1\r\n"],
        _ => &[],
    };
    let texts = texts.iter().map(|text| text.as_bytes().to_vec());
    texts.chain(made(target)).collect()
}

/// Inputs that are made from others.
fn made(target: &str) -> Vec<Vec<u8>> {
    match target {
        "points" | "oprf" => {
            let scalars: Vec<Scalar> = (1_u64..5).map(Scalar::from).collect();
            vec![Points::mul_base(&scalars).encode().concat()]
        }
        "payload" => vec![vec![2, 0, 1, b'a', 0, 2, b'b', b'c']],
        "lookup_wire" => framed(6, &["manifest", "lookup_records", "receipt"]),
        "decoding" => framed(MESSAGES.len() as u8, &["receipt"]),
        "audit_wire" => framed(2, &["receipt"]),
        "psi_wire" => of("psi_records").iter().map(|record| field(1, &field(1, &record[1..]))).collect(),
        "score_wire" => framed(11, &["score_records"]),
        // None of the demonstrations trains: records of another kind have the same shape.
        "train_records" => of("psi_records").iter().map(|record| [&[6][..], &record[1..]].concat()).collect(),
        "train_wire" => framed(14, &["train_records"]),
        "certificate" => certificates(),
        "delta" => vec![delta()],
        "documents" => vec![universe()],
        "parquet" => vec![parquet()],
        _ => Vec::new(),
    }
}

/// For each message that a first byte chooses: the records in its first field, in every field, and behind a number.
fn framed(messages: u8, records: &[&str]) -> Vec<Vec<u8>> {
    let records: Vec<Vec<u8>> = records.iter().flat_map(|target| of(target)).collect();
    let with = |message: u8| {
        records
            .iter()
            .map(move |record| [&[message][..], &field(1, record), &field(2, record), &[0x18, 1]].concat())
    };
    (0..messages).flat_map(with).collect()
}

/// A protobuf field of bytes.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    prost::encoding::bytes::encode(number, &bytes.to_vec(), &mut message);
    message
}

/// The certificates of enrolments, DER.
fn certificates() -> Vec<Vec<u8>> {
    let texts = of("enrolment");
    let blocks = texts.iter().filter_map(|text| pem::parse_many(text).ok()).flatten();
    blocks.filter(|block| block.tag() == "CERTIFICATE").map(pem::Pem::into_contents).collect()
}

/// A document with two blocks of PEM.
fn universe() -> Vec<u8> {
    let segments = ["1380013", "1391234"].map(|digits| digits.parse().expect("seven digits")).to_vec();
    let universe = Universe::new("bank".parse().expect("a party"), 3, segments).expect("two segments");
    Document::sign(universe, &SigningKey::from_bytes(&[1; 32])).to_pem().into_bytes()
}

/// A signed delta.
fn delta() -> Vec<u8> {
    let publication = Publication { id: [3; 16], rows: 5, pages: 1, root: [4; 32] };
    let delta = Delta {
        provider: "carrier-a".parse().expect("a party"),
        data_set: "subscribers".parse().expect("a data set"),
        epoch: 1,
        index: 1,
        base: [2; 64],
        publication,
        carried: 1,
        inserted: 2,
        changed: 1,
        deleted: 1,
        sealed_at_ms: 1_767_225_600_000,
    };
    Signed::sign(delta, &SigningKey::from_bytes(&[1; 32])).as_bytes().to_vec()
}

/// A small file as this program writes it.
fn parquet() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("table.parquet");
    let mut writer = TableWriter::create(&path, &["a", "b"]).expect("a file can be created");
    for row in [["1", "x"], ["2", ""], ["3", "张"]] {
        writer.row(row.map(str::as_bytes)).expect("a row can be written");
    }
    writer.finish().expect("a file can be finished");
    fs::read(path).expect("it is there")
}

/// Takes seeds from the directories that a demonstration or a benchmark left (`--dir`); tells how many.
///
/// # Errors
/// When a file cannot be read or written, or a log is malformed.
pub fn collect(from: &Path, into: &Path) -> Result<usize, Box<dyn Error>> {
    let mut seeds = Seeds { into: into.to_owned(), count: 0, kinds: HashSet::new() };
    let mut parties: Vec<PathBuf> = fs::read_dir(from)?.flatten().map(|entry| entry.path()).collect();
    parties.sort();
    for party in parties.iter().filter(|party| party.join("data/log/checkpoint").exists()) {
        seeds.party(party)?;
    }
    Ok(seeds.count)
}

/// Files that other parsers read, as `target, first bytes, path`.
const FILES: &[(&str, &[u8], &str)] = &[
    ("checkpoint", &[], "data/log/checkpoint"),
    ("pages", &[], "data/datasets/subscribers/epochs/1/pages"),
    ("rows", &[], "data/datasets/subscribers/epochs/1/pages"),
    ("enrolment", &[], "data/enrolment.pem"),
    ("tiles", &[1, 0], "data/log/tile/0/000"),
    ("tiles", &[1, 0], "data/log/tile/entries/000"),
    ("score_records", &[0], "data/score/ledger"),
    ("score_records", &[2], "data/score/joint-risk/models/world-fraud-1/card"),
    ("score_records", &[5], "data/score/joint-risk/epochs/1/evidence"),
];

struct Seeds {
    into: PathBuf,
    count: usize,
    /// Of one kind of event, one is enough.
    kinds: HashSet<Discriminant<Event>>,
}

impl Seeds {
    fn party(&mut self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let party = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let data = folder.join("data");
        for entry in LogReader::open(&data.join("log"))?.entries(0) {
            let (_, bytes) = entry?;
            let entry = Entry::decode(&bytes)?;
            if self.kinds.insert(discriminant(&entry.event)) {
                let debug = format!("{:?}", entry.event);
                let name: String = debug.chars().take_while(char::is_ascii_alphanumeric).collect();
                self.put("entry", &name, &bytes)?;
                self.records(&name, &entry.event)?;
            }
        }
        FILES.iter().try_for_each(|(target, choice, file)| match fs::read(folder.join(file)) {
            Ok(bytes) => self.put(target, &party, &[choice, &bytes[..]].concat()),
            Err(_) => Ok(()),
        })
    }

    fn put(&mut self, target: &str, name: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let folder = self.into.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), &bytes[..bytes.len().min(MAX_SEED)])?;
        self.count += 1;
        Ok(())
    }

    /// The signed record that an entry carries, for the target of its kind: a first byte chooses there.
    fn records(&mut self, name: &str, event: &Event) -> Result<(), Box<dyn Error>> {
        let (target, choice, bytes) = match event {
            Event::Granted(grant) => ("grant", None, grant.as_bytes()),
            Event::Published(manifest) => ("manifest", None, manifest.as_bytes()),
            Event::DeltaPublished(delta) => ("delta", None, delta.as_bytes()),
            Event::Answered(receipt) => ("receipt", Some(0), receipt.as_bytes()),
            Event::Countersigned(record) => ("receipt", Some(1), record.as_bytes()),
            Event::Requested(request) => ("lookup_records", Some(0), request.as_bytes()),
            Event::PsiRequested(request) => ("psi_records", Some(0), request.as_bytes()),
            Event::PsiAccepted(acceptance) => ("psi_records", Some(1), acceptance.as_bytes()),
            Event::PsiCompleted(receipt) => ("psi_records", Some(2), receipt.as_bytes()),
            Event::ScorePublished(manifest) => ("score_records", Some(6), manifest.as_bytes()),
            Event::TrainRequested(request) => ("train_records", Some(6), request.as_bytes()),
            Event::TrainAccepted(acceptance) => ("train_records", Some(8), acceptance.as_bytes()),
            Event::TrainCompleted(receipt) => ("train_records", Some(9), receipt.as_bytes()),
            Event::TrainLapsed(lapse) => ("train_records", Some(10), lapse.as_bytes()),
            Event::Enrolled { enrolment, .. } => ("enrolment", None, enrolment.as_slice()),
            _ => return Ok(()),
        };
        let bytes: Vec<u8> = choice.into_iter().chain(bytes.iter().copied()).collect();
        self.put(target, name, &bytes)
    }
}
