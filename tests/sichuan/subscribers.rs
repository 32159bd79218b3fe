//! The published rows as a carrier's subscribers: whose number it is, what the rule finds, and the truth.

use std::collections::HashMap;

use csv::{Reader, StringRecord};
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sha2::{Digest as _, Sha256};
use windvane_world::{Date, simulated_person};

use super::rule::{Features, Findings};

/// Seven digits each; 10,000 numbers begin with them.
const SEGMENTS: [u64; 2] = [1_388_064, 1_398_270];

#[derive(Debug, Clone)]
pub(super) struct Subscriber {
    pub phone: String,
    pub name: String,
    pub id_number: String,
    pub findings: Findings,
    /// The fold of the data's fold rule, 0 to 4.
    pub fold: u8,
    /// The truth, which no row of the carrier's file depends on.
    pub fraud: bool,
}

/// The feature file's subscribers, in its order.
pub(super) fn read(text: &str, seed: u64) -> Vec<Subscriber> {
    let mut reader = Reader::from_reader(text.as_bytes());
    let columns: HashMap<_, _> =
        reader.headers().unwrap().iter().enumerate().map(|(at, name)| (name.to_owned(), at)).collect();
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    let published: Vec<_> = records.iter().map(|record| &record[columns["phone_no_m"]]).collect();
    let phones = phones(&published, seed);
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let subscriber = |record: &StringRecord| {
        let published = &record[columns["phone_no_m"]];
        let (name, id_number) = simulated_person(&mut rng);
        Subscriber {
            phone: phones[published].clone(),
            name,
            id_number,
            findings: Findings::of(&features(&columns, record)),
            fold: Sha256::digest(published)[0] % 5,
            fraud: &record[columns["label"]] == "1",
        }
    };
    records.iter().map(subscriber).collect()
}

/// A number for each published hash: its rank among them, in a shuffle of all numbers that `seed` is the key
/// of. No two get the same, and without the key a hash tells nothing about its number.
fn phones<'a>(published: &[&'a str], seed: u64) -> HashMap<&'a str, String> {
    let numbers = |segment: u64| (0..10_000).map(move |line| (segment * 10_000 + line).to_string());
    let mut pool: Vec<_> = SEGMENTS.into_iter().flat_map(numbers).collect();
    pool.shuffle(&mut ChaCha20Rng::seed_from_u64(seed));
    let mut ranked = published.to_vec();
    ranked.sort_unstable();
    assert!(ranked.len() <= pool.len());
    ranked.into_iter().zip(pool).collect()
}

fn features(columns: &HashMap<String, usize>, record: &StringRecord) -> Features {
    let number = |column: &str| match &record[columns[column]] {
        "" => None,
        cell => Some(cell.parse::<f64>().unwrap()),
    };
    Features {
        people: number("opposite_unique"),
        calls_a_person: number("phone2opposite_mean"),
        outgoing: number("voc_calltype1"),
        devices: number("imeis"),
        texts: number("sms_count"),
        texts_received: number("calltype_2"),
        text_days: number("day_nunique"),
        data: number("flow_sum"),
        data_months: number("month_ids"),
        bill_mean: number("arpu_mean"),
        bill_sum: number("arpu_sum"),
        bill_error: number("arpu_sem"),
    }
}

/// The carrier's file below its header, as of `date`.
pub(super) fn rows(subscribers: &[Subscriber], date: Date) -> String {
    subscribers.iter().map(|subscriber| row(subscriber, date)).collect()
}

fn row(subscriber: &Subscriber, date: Date) -> String {
    let Subscriber { phone, name, id_number, findings, .. } = subscriber;
    let status = if findings.suspended { "停机" } else { "正常" };
    let since = date.days_before(findings.tenure_days);
    let tags: Vec<_> = findings.tags.iter().map(|tag| tag.word()).collect();
    format!("{phone},{name},居民身份证,{id_number},{status},{since},,否,1,{},{date}\n", tags.join("|"))
}
