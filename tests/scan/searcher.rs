//! One pass over bytes for every needle at once.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::encodings::{DIGEST_PREFIX, Needle, Traces, shown};
use super::marks::everybody;

/// Shorter needles would be found by chance.
const SHORTEST: usize = 6;

/// What a needle belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) label: &'static str,
    pub(crate) form: String,
}

/// Looks for everybody in every form.
pub(crate) struct Searcher {
    automaton: AhoCorasick,
    traces: Vec<Trace>,
}

impl Searcher {
    pub(crate) fn new() -> Self {
        let mut unique: HashMap<Vec<u8>, Trace> = HashMap::new();
        for marked in everybody() {
            for needle in needles(&Traces::of(marked)) {
                assert!(needle.bytes.len() >= SHORTEST, "{}: {} is too short", marked.label, needle.form);
                let trace = Trace { label: marked.label, form: needle.form };
                let known = unique.entry(needle.bytes).or_insert(trace);
                assert_eq!(known.label, marked.label, "two people share {}", known.form);
            }
        }
        let (patterns, traces): (Vec<_>, Vec<_>) = unique.into_iter().unzip();
        let automaton =
            AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(&patterns).unwrap();
        Self { automaton, traces }
    }

    /// How many needles there are.
    pub(crate) fn len(&self) -> usize {
        self.traces.len()
    }

    /// Every trace in the bytes, and where it begins; also in text whose lines are joined again where the
    /// bytes are, or hold, a PEM document, whose lines cut base64 at any place.
    pub(crate) fn search(&self, bytes: &[u8]) -> Vec<(usize, &Trace)> {
        let mut found = self.pass(bytes);
        if contains(bytes, b"-----BEGIN ") {
            let joined: Vec<u8> = bytes.iter().copied().filter(|b| !b"\r\n".contains(b)).collect();
            found.extend(self.pass(&joined));
        }
        found
    }

    /// Whether anything of this person is in the bytes.
    pub(crate) fn finds(&self, label: &str, bytes: &[u8]) -> bool {
        self.search(bytes).iter().any(|(_, trace)| trace.label == label)
    }

    fn pass(&self, bytes: &[u8]) -> Vec<(usize, &Trace)> {
        let all = self.automaton.find_overlapping_iter(bytes);
        all.map(|found| (found.start(), &self.traces[found.pattern().as_usize()])).collect()
    }
}

fn needles(traces: &Traces) -> Vec<Needle> {
    let short =
        |needle: &Needle| Needle { form: needle.form.clone(), bytes: needle.bytes[..DIGEST_PREFIX].to_vec() };
    let hashed = traces.hashed.iter().map(short);
    let bytes: Vec<_> = traces.clear.iter().cloned().chain(hashed).collect();
    bytes.iter().flat_map(shown).chain(traces.escaped.iter().cloned()).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
