//! Labels, residuals, decrypted sums and which rows are real, in every encoding in which they might stand in clear in a message.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use windvane::train::sample::Kind;
use windvane_protocols::train::charter::encode_list;

use super::truth::Truth;
use crate::recorder::Call;

/// Values of a needle: fewer would be found by chance.
const WINDOW: usize = 32;

/// Bytes of a needle of packed bits.
const PACKED: usize = 16;

/// Positions of real rows that stand next to each other with their decoys left out.
const POSITIONS: usize = 4;

/// What to look for.
pub(super) struct Clear {
    automaton: AhoCorasick,
    names: Vec<String>,
    /// All secrets in all encodings, whole.
    pub(super) whole: Vec<(String, Vec<u8>)>,
}

impl Clear {
    pub(super) fn of(truth: &Truth) -> Self {
        let mut whole = Vec::new();
        let mut needles = vec![("the seed".to_owned(), truth.seed.expose().to_vec())];
        for (secret, values) in secrets(truth) {
            for (encoding, bytes, unit) in encodings(&values) {
                let name = format!("{secret} as {encoding}");
                let parts: Vec<_> = parts(&values, &bytes, unit).collect();
                assert!(!parts.is_empty(), "{name} has no part that tells");
                needles.extend(parts.into_iter().map(|part| (name.clone(), part)));
                whole.push((name, bytes.concat()));
            }
        }
        // A few real rows at the list's beginning have places that are other rows' positions.
        let list = encode_list(&truth.positions);
        let listed = |needle: &[u8]| list.windows(needle.len()).any(|window| window == needle);
        needles.extend(positions(truth).into_iter().filter(|(_, bytes)| !listed(bytes)));
        let (names, patterns): (Vec<_>, Vec<_>) = needles.into_iter().unzip();
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let automaton = AhoCorasick::builder().kind(kind).build(&patterns).unwrap();
        Self { automaton, names, whole }
    }

    /// What stands in clear in the bytes.
    pub(super) fn search(&self, bytes: &[u8]) -> Option<&str> {
        self.automaton.find(bytes).map(|found| self.names[found.pattern().as_usize()].as_str())
    }

    /// What stands in clear in what a provider received.
    pub(super) fn search_calls(&self, calls: &[Call]) -> Vec<String> {
        let parts = |call: &Call| {
            let headers = call.asked.headers.iter().map(|(_, value)| value.as_bytes().to_vec());
            call.asked.messages.iter().cloned().chain(headers).collect::<Vec<_>>()
        };
        let all = calls.iter().flat_map(parts);
        all.filter_map(|part| self.search(&part).map(|name| format!("{name} stands in clear"))).collect()
    }
}

/// What nobody but the bank may know, of all listed rows or of real ones alone.
fn secrets(truth: &Truth) -> Vec<(String, Vec<i64>)> {
    let column = |value: fn(&Kind) -> i64| truth.kinds.iter().map(value).collect::<Vec<_>>();
    let is_real = |row: &usize| truth.kinds[*row] != Kind::Decoy;
    let real: Vec<_> = (0..truth.kinds.len()).filter(is_real).collect();
    let label = |kind: &Kind| i64::from(matches!(kind, Kind::Training(true) | Kind::HeldOut(true)));
    let mut secrets = vec![
        ("labels of all rows".to_owned(), column(label)),
        ("labels of real rows".to_owned(), real.iter().map(|row| label(&truth.kinds[*row])).collect()),
        ("which rows are real".to_owned(), column(|kind| i64::from(*kind != Kind::Decoy))),
        ("which rows are decoys".to_owned(), column(|kind| i64::from(*kind == Kind::Decoy))),
        ("which rows are trained on".to_owned(), column(|kind| i64::from(matches!(kind, Kind::Training(_))))),
        ("which rows are held out".to_owned(), column(|kind| i64::from(matches!(kind, Kind::HeldOut(_))))),
    ];
    for (block, residuals) in truth.residuals.iter().enumerate() {
        let of = |row: &usize| i64::from(residuals[*row]);
        secrets.push((format!("residuals of block {block}"), (0..residuals.len()).map(|r| of(&r)).collect()));
        secrets.push((format!("residuals of block {block}, real rows"), real.iter().map(of).collect()));
    }
    for told in truth.all_told() {
        let of = |row: &usize| truth.told(told, *row);
        secrets.push((format!("sums of {told}"), (0..truth.kinds.len()).map(|row| of(&row)).collect()));
        secrets.push((format!("sums of {told}, real rows"), real.iter().map(of).collect()));
    }
    secrets
}

/// Every value in many encodings; the last number says how many values one piece has.
fn encodings(values: &[i64]) -> Vec<(&'static str, Vec<Vec<u8>>, usize)> {
    let each = |encode: &dyn Fn(i64) -> Vec<u8>| values.iter().map(|value| encode(*value)).collect();
    let zigzag = |value: i64| ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut all: Vec<(&'static str, Vec<Vec<u8>>, usize)> = vec![
        ("i16, big-endian", each(&|value| (value as i16).to_be_bytes().to_vec()), 1),
        ("i16, little-endian", each(&|value| (value as i16).to_le_bytes().to_vec()), 1),
        ("i32, big-endian", each(&|value| (value as i32).to_be_bytes().to_vec()), 1),
        ("i32, little-endian", each(&|value| (value as i32).to_le_bytes().to_vec()), 1),
        ("i64, big-endian", each(&|value| value.to_be_bytes().to_vec()), 1),
        ("i64, little-endian", each(&|value| value.to_le_bytes().to_vec()), 1),
        ("f32, big-endian", each(&|value| (value as f32).to_be_bytes().to_vec()), 1),
        ("f32, little-endian", each(&|value| (value as f32).to_le_bytes().to_vec()), 1),
        ("f64, big-endian", each(&|value| (value as f64).to_be_bytes().to_vec()), 1),
        ("f64, little-endian", each(&|value| (value as f64).to_le_bytes().to_vec()), 1),
        ("varints", each(&|value| varint(value.cast_unsigned())), 1),
        ("zigzag varints", each(&|value| varint(zigzag(value))), 1),
        ("a list in text", each(&|value| format!("{value},").into_bytes()), 1),
        ("a spaced list in text", each(&|value| format!("{value}, ").into_bytes()), 1),
    ];
    if values.iter().all(|value| (0..=1).contains(value)) {
        let bits = |last: bool| {
            let byte = |rows: &[i64]| {
                let at = |i: usize| if last { i } else { 7 - i };
                vec![rows.iter().enumerate().fold(0_u8, |byte, (i, value)| byte | (*value as u8) << at(i))]
            };
            values.chunks(8).map(byte).collect()
        };
        all.extend([
            ("bytes", each(&|value| vec![value as u8]), 1),
            ("digits", each(&|value| value.to_string().into_bytes()), 1),
            ("bits, the first highest", bits(false), 8),
            ("bits, the first lowest", bits(true), 8),
        ]);
    }
    all
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Parts of an encoded column that cannot stand anywhere by chance: some of their values are not zero, and they are not
/// all the same.
fn parts(values: &[i64], bytes: &[Vec<u8>], unit: usize) -> impl Iterator<Item = Vec<u8>> {
    let pieces = if unit == 1 { WINDOW } else { PACKED };
    values.chunks(pieces * unit).zip(bytes.chunks(pieces)).filter_map(move |(values, bytes)| {
        let telling = values.iter().filter(|value| **value != 0).count() >= 2
            && values.iter().any(|value| *value != values[0])
            && bytes.len() == pieces;
        telling.then(|| bytes.concat())
    })
}

/// Real rows, by position or by their place in the list, where decoys between them are left out.
fn positions(truth: &Truth) -> Vec<(String, Vec<u8>)> {
    let is_real = |row: &usize| truth.kinds[*row] != Kind::Decoy;
    let real: Vec<_> = (0..truth.kinds.len()).filter(is_real).collect();
    let mut needles = Vec::new();
    for rows in real.windows(POSITIONS).filter(|rows| rows[POSITIONS - 1] - rows[0] >= POSITIONS) {
        for (what, numbers) in [
            ("positions of real rows", rows.iter().map(|row| truth.positions[*row]).collect::<Vec<_>>()),
            ("places of real rows", rows.iter().map(|row| *row as u64).collect()),
        ] {
            let encoded = |encode: &dyn Fn(u64) -> Vec<u8>| numbers.iter().flat_map(|n| encode(*n)).collect();
            let all: [(&str, Vec<u8>); 5] = [
                ("u64, big-endian", encoded(&|number| number.to_be_bytes().to_vec())),
                ("u64, little-endian", encoded(&|number| number.to_le_bytes().to_vec())),
                ("u32, big-endian", encoded(&|number| (number as u32).to_be_bytes().to_vec())),
                ("u32, little-endian", encoded(&|number| (number as u32).to_le_bytes().to_vec())),
                ("u16, big-endian", encoded(&|number| (number as u16).to_be_bytes().to_vec())),
            ];
            needles.extend(all.map(|(encoding, bytes)| (format!("{what} as {encoding}"), bytes)));
        }
    }
    needles
}
