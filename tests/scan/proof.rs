//! The scan before it is trusted: marks are planted, one at a time, and each must be found.
//!
//! What is planted is made whole by other means than the needles are: a base64 text with its neighbours, a
//! whole digest, a page of SQLite, a line of the structured log; and some texts come from other programs.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use prost::bytes::Bytes;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rusqlite::Connection;
use windvane::http::Problem;
use windvane::psi::payload::encode_payload;
use windvane_proto::lookup::v1::FetchManifestRequest;

use super::encodings::{Needle, Traces, decimal, escaped};
use super::marks::{SUBSCRIBERS, everybody};
use super::places::{Kind, Place, cells};
use super::searcher::Searcher;

/// Every random place of a plant follows from it.
pub(crate) const SEED: u64 = 0x7363_616E;

/// Bytes of a real place around a plant.
const WINDOW: usize = 64;

/// A mark as it could stand somewhere.
pub(crate) struct Plant {
    pub(crate) label: &'static str,
    pub(crate) form: String,
    pub(crate) bytes: Vec<u8>,
}

/// Every mark in every form, whole: first the texts, then the digests.
pub(crate) fn plants() -> [Vec<Plant>; 2] {
    let planted = |label: &'static str| move |Needle { form, bytes }| Plant { label, form, bytes };
    let [mut texts, mut digests] = [Vec::new(), Vec::new()];
    for marked in everybody() {
        let Traces { clear, escaped, hashed } = Traces::of(marked);
        texts.extend(clear.iter().flat_map(written).chain(escaped).map(planted(marked.label)));
        digests.extend(hashed.iter().flat_map(written).map(planted(marked.label)));
    }
    [texts, digests]
}

/// Bytes as a longer text of each kind holds them.
fn written(needle: &Needle) -> Vec<Needle> {
    let bytes = &needle.bytes;
    let mut all = vec![
        bytes.clone(),
        hex::encode([&[7], &bytes[..], &[9]].concat()).into_bytes(),
        hex::encode_upper([&bytes[..], &[0xff]].concat()).into_bytes(),
        decimal(&[&[7], &bytes[..], &[9]].concat(), ", ").into_bytes(),
        serde_json::to_vec(bytes).unwrap(),
        escaped(bytes).into_bytes(),
        serde_json::to_vec(&escaped(bytes)).unwrap(),
        format!("{:?}", Bytes::copy_from_slice(bytes)).into_bytes(),
    ];
    for before in [&b""[..], b"=", b"id", b"id="] {
        let record = [before, bytes, b"\n"].concat();
        all.push(STANDARD.encode(&record).into_bytes());
        all.push(URL_SAFE_NO_PAD.encode(&record).into_bytes());
    }
    all.push(STANDARD_NO_PAD.encode(bytes).into_bytes());
    all.push(URL_SAFE.encode(bytes).into_bytes());
    all.into_iter().map(|bytes| Needle { form: needle.form.clone(), bytes }).collect()
}

/// Plants marks in a piece of a real place of every kind, one at a time; gives the number of plants. Every
/// text stands in every kind; a digest stands in one kind after another, so that every algorithm in every
/// writing stands in each kind, though not that of every text.
pub(crate) fn prove(searcher: &Searcher, places: &[Place], [texts, digests]: &[Vec<Plant>; 2]) -> usize {
    let mut kinds: BTreeMap<Kind, Vec<&Place>> = BTreeMap::new();
    for place in places.iter().filter(|place| !place.bytes.is_empty()) {
        kinds.entry(place.kind).or_default().push(place);
    }
    let step = kinds.len();
    let kinds: Vec<_> = kinds.into_iter().enumerate().collect();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for part in kinds.chunks(kinds.len().div_ceil(workers)) {
            scope.spawn(move || {
                for (i, (kind, places)) in part {
                    in_kind(
                        searcher,
                        texts.iter().chain(digests.iter().skip(*i).step_by(step)),
                        *kind,
                        places,
                    );
                }
            });
        }
    });
    texts.len() * step + digests.len()
}

fn in_kind<'a>(searcher: &Searcher, plants: impl Iterator<Item = &'a Plant>, kind: Kind, places: &[&Place]) {
    let mut rng = ChaCha12Rng::seed_from_u64(SEED);
    for plant in plants {
        let place = places[rng.random_range(0..places.len())];
        let from = rng.random_range(0..=place.bytes.len().saturating_sub(WINDOW));
        let mut window = place.bytes[from..place.bytes.len().min(from + WINDOW)].to_vec();
        let at = rng.random_range(0..=window.len());
        window.splice(at..at, plant.bytes.iter().copied());
        let found = searcher.finds(plant.label, &window);
        assert!(found, "{} of {} is not found in {kind} (seed {SEED:#x})", plant.form, plant.label);
    }
}

/// Plants one mark in each single place as a whole, at a random offset.
pub(crate) fn prove_whole(searcher: &Searcher, places: &[Place], plants: &[Vec<Plant>; 2]) {
    let mut rng = ChaCha12Rng::seed_from_u64(SEED);
    for place in places {
        let kind = &plants[rng.random_range(0..2)];
        let plant = &kind[rng.random_range(0..kind.len())];
        let at = rng.random_range(0..=place.bytes.len());
        let planted = [&place.bytes[..at], &plant.bytes, &place.bytes[at..]].concat();
        let found = searcher.finds(plant.label, &planted);
        assert!(found, "{} is not found in {} (seed {SEED:#x})", plant.form, place.name);
    }
}

/// Marks in the structures in which a node would leave them.
pub(crate) fn prove_structures(searcher: &Searcher, places: &[Place]) {
    for marked in &SUBSCRIBERS {
        for text in [marked.names[0], marked.documents[0], marked.phones[0]] {
            let lines = log_lines(text);
            assert_eq!(lines.len(), 4);
            let problem = Problem { field: Some("phone".into()), ..problem(text) };
            let message = FetchManifestRequest { data_set: text.into() };
            let mut structures = vec![
                serde_json::to_vec(&problem).unwrap(),
                problem.to_string().into_bytes(),
                prost::Message::encode_to_vec(&message),
                csv_line(text),
                payload(text),
            ];
            structures.extend(lines);
            structures.extend((0..64).map(|before| wrapped(text, before)));
            for structure in structures {
                let found = searcher.finds(marked.label, &structure);
                assert!(found, "{} in {}", marked.label, String::from_utf8_lossy(&structure));
            }
        }
    }
    let state = places.iter().filter(|place| place.kind == Kind::State).max_by_key(|place| place.bytes.len());
    in_sqlite(searcher, &state.expect("a node has a state file").bytes);
}

fn problem(text: &str) -> Problem {
    let body = serde_json::json!({ "status": 422, "code": "PHONE_LENGTH", "message": text, "advice": "" });
    serde_json::from_value(body).unwrap()
}

fn csv_line(text: &str) -> Vec<u8> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["7", text, "PHONE_LENGTH"]).unwrap();
    csv.into_inner().unwrap()
}

/// What comes with a match of a set intersection.
fn payload(text: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    encode_payload(["疑似涉诈", text].map(str::as_bytes), &mut payload).unwrap();
    payload
}

/// A PEM document in which the mark begins behind `before` bytes, so that lines end at every place of it.
fn wrapped(text: &str, before: usize) -> Vec<u8> {
    let record = [&vec![0x5a; before], text.as_bytes(), &[0x5a; 9]].concat();
    pem::encode(&pem::Pem::new("WINDVANE GRANT", record)).into_bytes()
}

/// A writer into memory, for a subscriber.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lines of the structured log that hold a text as a field, by `Debug`, as bytes, and in a span.
fn log_lines(text: &str) -> Vec<Vec<u8>> {
    let memory = Memory::default();
    let writer = memory.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(phone = text, "a field");
        tracing::info!("a message with {text:?}");
        tracing::info!(bytes = ?text.as_bytes(), "bytes");
        tracing::info_span!("call", who = %text).in_scope(|| tracing::warn!("in a span"));
    });
    let bytes = memory.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

/// A real state file with a mark in a text, in a blob, as a number, and inside values so long that SQLite
/// cuts them, at every tenth place around a cut.
fn in_sqlite(searcher: &Searcher, state: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let [text, blob, number, long, ..] = &SUBSCRIBERS;
    std::fs::write(&path, state).unwrap();
    let database = Connection::open(&path).unwrap();
    database.execute_batch("PRAGMA journal_mode = DELETE; CREATE TABLE leak (cell)").unwrap();
    let insert = "INSERT INTO leak VALUES (?1)";
    database.execute(insert, [text.names[0]]).unwrap();
    database.execute(insert, [blob.documents[0].as_bytes()]).unwrap();
    database.execute(insert, [number.phones[0].parse::<i64>().unwrap()]).unwrap();
    for before in (3_000..8_000).step_by(10) {
        let value = format!("{}{}{}", "x".repeat(before), long.phones[0], "y".repeat(5_000));
        database.execute(insert, [value]).unwrap();
    }
    drop(database);
    let file = std::fs::read(&path).unwrap();
    for marked in [text, blob, number] {
        assert!(searcher.finds(marked.label, &file), "{} in SQLite", marked.label);
    }
    let values = cells(&path);
    let whole = searcher.search(&values).iter().filter(|(_, trace)| trace.label == long.label).count();
    assert!(whole >= 500, "{whole} of 500 long values");
}

/// Texts that other programs made of marks: Python's `hashlib`, `base64`, `urllib` and codecs, OpenSSL's SM3.
const ELSEWHERE: [(&str, &str); 16] = [
    ("GB18030 in hex", "c5b7d1f4b3ceb9db"),
    ("base64 of name=…;", "bmFtZT3mrKfpmLPmvoTop4I7"),
    ("base64url of ab…", "YWLmrKfpmLPmvoTop4I="),
    ("base64 of UTF-16LE", "J2szloRvwok="),
    ("UTF-16LE in hex", "276B3396846FC289"),
    ("URL-encoded", "%E6%AC%A7%E9%98%B3%E6%BE%84%E8%A7%82"),
    ("GB18030 URL-encoded", "%c5%b7%d1%f4%b3%ce%b9%db"),
    ("JSON escapes", "\\u6b27\\u9633\\u6f84\\u89c2"),
    ("MD5 of the phone number", "3184d057d76d3cde785af94a26b6c60c"),
    ("SHA-1 of the document", "ED7C9390D6541F1708015E4D3168A1D04BE9939B"),
    ("SHA-256 of the document in base64", "114iqltrKbIbCsStq1hcFWURhEA8DXh0rrt4L/becFA="),
    ("SHA-512 of the national number, shortened", "88d440f00cb8f29b58c90a5f84782d06"),
    ("SM3 of the name", "d46b817a122e8096c57af1bafbee617713d50a3fd2491f81d4289759bbe75324"),
    ("MD5 of phone, document and name", "82fe9c6bc6febfd528406001438b6829"),
    ("SHA-256 of identity/v1", "eea733e769c300926d3855bdeaed0a3ffb5fa54aaba08215628fe01298e8c07c"),
    ("in clear", "customer 欧阳澄观 called"),
];

/// Finds what other programs wrote, and nothing in what holds nothing.
pub(crate) fn prove_elsewhere(searcher: &Searcher) {
    for (what, text) in ELSEWHERE {
        assert!(searcher.finds(SUBSCRIBERS[0].label, text.as_bytes()), "{what}");
    }
    let mut noise = vec![0; 1 << 20];
    ChaCha12Rng::seed_from_u64(SEED).fill_bytes(&mut noise);
    assert_eq!(searcher.search(&noise), []);
    assert_eq!(searcher.search(STANDARD.encode(&noise).as_bytes()), []);
}
