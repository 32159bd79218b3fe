//! What a bucket gave, as a file.

use crate::psi::side::Outcome;

/// Kind, number, then rows with their payloads: integers big-endian.
pub(super) fn encode(outcome: &Outcome) -> Vec<u8> {
    let head = |kind: u8, count: u64| [[kind].as_slice(), &count.to_be_bytes()].concat();
    match outcome {
        Outcome::Count(count) => head(1, *count),
        Outcome::Below(count) => head(2, *count),
        Outcome::Matches(rows) => {
            let mut bytes = head(0, rows.len() as u64);
            for (row, payload) in rows {
                bytes.extend_from_slice(&row.to_be_bytes());
                bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
                bytes.extend_from_slice(payload);
            }
            bytes
        }
    }
}

pub(super) fn decode(bytes: &[u8]) -> Option<Outcome> {
    let (kind, rest) = bytes.split_first()?;
    let (count, mut rest) = rest.split_first_chunk()?;
    let count = u64::from_be_bytes(*count);
    match kind {
        1 => rest.is_empty().then_some(Outcome::Count(count)),
        2 => rest.is_empty().then_some(Outcome::Below(count)),
        0 => {
            let mut rows = Vec::new();
            for _ in 0..count {
                let (row, after) = rest.split_first_chunk()?;
                let (length, after) = after.split_first_chunk()?;
                let (payload, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                rows.push((u64::from_be_bytes(*row), payload.to_vec()));
                rest = after;
            }
            rest.is_empty().then_some(Outcome::Matches(rows))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_and_damaged_ones_are_refused() {
        for outcome in [
            Outcome::Count(7),
            Outcome::Below(1),
            Outcome::Matches(vec![]),
            Outcome::Matches(vec![(1, vec![1, 2]), (2, vec![])]),
        ] {
            let bytes = encode(&outcome);
            assert_eq!(decode(&bytes), Some(outcome));
            assert!((0..bytes.len()).all(|end| decode(&bytes[..end]).is_none()));
        }
    }
}
