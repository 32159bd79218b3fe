//! Entries that wait in a state file for the log: each encoded, in hex, with the time of the change.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};
use windvane_protocols::audit::entry::Entry;
use windvane_protocols::transcript::Record as _;

pub(super) fn serialize<S: Serializer>(entries: &[Entry], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(entries.iter().map(|entry| hex::encode(entry.encode().as_bytes())))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    let entry = |text: &String| Entry::decode(&hex::decode(text).ok()?).ok();
    let entries = Vec::<String>::deserialize(deserializer)?.iter().map(entry).collect::<Option<_>>();
    entries.ok_or_else(|| D::Error::custom("pending is not a list of entries of the log, in hex"))
}
