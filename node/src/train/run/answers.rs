//! What one provider answered, step by step, as it came: a file that only grows.
//!
//! An answer is `length(4) ‖ complement of the length(4) ‖ record`, durable before the next step is asked, because a
//! provider does not give the answer of a step once it was asked a later one. What a crash cut off at the end is dropped
//! and asked for again; a damaged length is an error.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use windvane_protocols::limits::{MAX_NODE_CELLS, MAX_TRAINING_ROWS};
use windvane_protocols::train::elgamal::CIPHERTEXT_BYTES;
use windvane_protocols::train::partition::Proposal;
use windvane_protocols::train::record::StepHash;
use windvane_protocols::train::step::{MAX_LEVEL_PAIRS, Place, Step, returned_digest};
use windvane_protocols::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

use super::error::{ANEW, TrainError};
use crate::train::appended::append;

/// Ciphertexts of one answer: both statistics of all cells of a level, or a contribution or part for each row.
const MAX_CIPHERTEXTS: usize = MAX_LEVEL_PAIRS * 2 * MAX_NODE_CELLS;

/// Bytes of an answer with its step and its proposals.
const MAX_ANSWER_BYTES: usize = MAX_CIPHERTEXTS * CIPHERTEXT_BYTES + (4 << 20);

/// Bytes of a length and its complement.
const HEADER_BYTES: u64 = 8;

const _: () = assert!(MAX_TRAINING_ROWS <= MAX_CIPHERTEXTS, "contributions fit an answer");

/// A step and what a provider returned for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::train) struct Answer {
    pub(in crate::train) step: Step,
    pub(in crate::train) proposals: Vec<Proposal>,
    pub(in crate::train) ciphertexts: Vec<u8>,
}

impl Answer {
    /// What both sides hash of what was returned.
    pub(in crate::train) fn returned(&self) -> Hash {
        returned_digest(&self.proposals, &self.ciphertexts)
    }
}

/// Proposals stand as those of a step that carries such.
impl Record for Answer {
    const DOMAIN: &'static str = "windvane/train-answer/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let shown = Step::Sum { place: Place::first(0), agreed: self.proposals.clone() };
        t.bytes("step", self.step.encode().as_bytes())
            .bytes("shown", shown.encode().as_bytes())
            .bytes("ciphertexts", &self.ciphertexts)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let step = Step::decode(r.bytes("step")?)?;
        let Step::Sum { agreed: proposals, .. } = Step::decode(r.bytes("shown")?)? else {
            return Err(TranscriptError::Form { label: "shown", expected: "proposals" });
        };
        Ok(Self { step, proposals, ciphertexts: r.bytes("ciphertexts")?.to_vec() })
    }
}

/// The file of one provider's answers.
#[derive(Debug)]
pub(in crate::train) struct Answers {
    path: PathBuf,
    file: File,
    /// Of every whole answer: its step's place in the training, and where it begins and ends.
    index: Vec<(Step, u64, u64)>,
}

impl Answers {
    /// Opens the file in a provider's folder, or makes it.
    pub(in crate::train) fn open(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join("answers");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Self::scanned(path, &options)
    }

    /// Opens the file in a provider's folder to read what is kept; `None` where the bank came to no question.
    pub(in crate::train) fn open_kept(folder: &Path) -> Result<Option<Self>, TrainError> {
        let path = folder.join("answers");
        if !path.exists() {
            return Ok(None);
        }
        Self::scanned(path, OpenOptions::new().read(true)).map(Some)
    }

    fn scanned(path: PathBuf, options: &OpenOptions) -> Result<Self, TrainError> {
        let file = options.open(&path).map_err(TrainError::io(&path))?;
        let mut answers = Self { path, file, index: Vec::new() };
        answers.scan()?;
        Ok(answers)
    }

    /// Notes where every whole answer stands. A crash cuts off a last answer, and nothing else: one that is whole and
    /// does not decode is an error, and stays.
    fn scan(&mut self) -> Result<(), TrainError> {
        let mut end = 0;
        let mut reader = BufReader::new(&self.file);
        let mut read = || -> std::io::Result<Option<Vec<u8>>> {
            let mut header = [0; HEADER_BYTES as usize];
            match reader.read_exact(&mut header) {
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read?,
            }
            let length = length_of(header).ok_or_else(|| {
                let text =
                    format!("the length of an answer is damaged; put the file back as it was, or {ANEW}");
                std::io::Error::new(std::io::ErrorKind::InvalidData, text)
            })?;
            let mut bytes = Vec::new();
            (&mut reader).take(length as u64).read_to_end(&mut bytes)?;
            Ok((bytes.len() == length).then_some(bytes))
        };
        while let Some(bytes) = read().map_err(TrainError::io(&self.path))? {
            let answer = Answer::decode(&bytes).map_err(|error| TrainError::Folder {
                path: self.path.clone(),
                what: format!("an answer is damaged: {error}; put the file back as it was, or {ANEW}"),
            })?;
            let begin = end + HEADER_BYTES;
            end = begin + bytes.len() as u64;
            self.index.push((answer.step, begin, end));
        }
        Ok(())
    }

    /// Where the last whole answer ends.
    fn end(&self) -> u64 {
        self.index.last().map_or(0, |(_, _, end)| *end)
    }

    /// The steps that are answered, in their order.
    pub(in crate::train) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.index.iter().map(|(step, ..)| step)
    }

    /// The answer of a step, if it is here; one for another question at the same place is none.
    pub(in crate::train) fn find(&mut self, step: &Step) -> Result<Option<Answer>, TrainError> {
        let found = self.index.iter().find(|(known, ..)| known == step).map(|(_, begin, end)| (*begin, *end));
        found.map(|(begin, end)| self.read(begin, end)).transpose()
    }

    /// Keeps an answer; it is durable when this returns.
    pub(in crate::train) fn keep(&mut self, answer: &Answer) -> Result<(), TrainError> {
        let body = answer.encode().into_bytes();
        let length = u32::try_from(body.len()).expect("answers are within their limit");
        let last = self.end();
        let begin = last + HEADER_BYTES;
        let bytes = [&length.to_be_bytes(), &(!length).to_be_bytes(), body.as_slice()].concat();
        append(&mut self.file, last, &bytes).map_err(TrainError::io(&self.path))?;
        self.index.push((answer.step.clone(), begin, begin + body.len() as u64));
        Ok(())
    }

    /// The hash over all steps, from one of no step, and the digests of contributions by block.
    pub(in crate::train) fn hashes(&mut self, begun: StepHash) -> Result<(Hash, Vec<Hash>), TrainError> {
        let (mut hash, mut contributions) = (begun, Vec::new());
        for (_, begin, end) in self.index.clone() {
            let answer = self.read(begin, end)?;
            let returned = answer.returned();
            hash.step(&answer.step.digest(), &returned);
            if matches!(answer.step, Step::Contributions { .. }) {
                contributions.push(returned);
            }
        }
        Ok((hash.finish(), contributions))
    }

    /// A block's contributions as they came, if they are here.
    pub(in crate::train) fn contributions(&mut self, block: u16) -> Result<Option<Answer>, TrainError> {
        let is = |step: &Step| matches!(step, Step::Contributions { block: found, .. } if *found == block);
        let found = self.index.iter().find(|(step, ..)| is(step)).map(|(_, begin, end)| (*begin, *end));
        found.map(|(begin, end)| self.read(begin, end)).transpose()
    }

    fn read(&mut self, begin: u64, end: u64) -> Result<Answer, TrainError> {
        let mut bytes = vec![0; (end - begin) as usize];
        let read = self.file.seek(SeekFrom::Start(begin)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(TrainError::io(&self.path))?;
        let damaged =
            |error: TranscriptError| TrainError::Folder { path: self.path.clone(), what: error.to_string() };
        Answer::decode(&bytes).map_err(damaged)
    }
}

/// The length that a header says, if it holds.
fn length_of(header: [u8; HEADER_BYTES as usize]) -> Option<usize> {
    let [length, complement] = [0, 4].map(|at| header[at..].first_chunk().copied().map(u32::from_be_bytes));
    let length = length.filter(|length| complement == Some(!length))? as usize;
    (length <= MAX_ANSWER_BYTES).then_some(length)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use windvane_protocols::train::histogram::{Child, Groups};
    use windvane_protocols::train::tree::Decision;

    use super::*;

    fn grow(tree: u16) -> Answer {
        let place = Place { block: 1, tree, level: 0 };
        let step = Step::Grow { place, decisions: vec![Decision::Leaf(3)] };
        let groups = vec![Groups::new(vec![2, 9]).unwrap(), Groups::new(vec![4]).unwrap()];
        Answer {
            step,
            proposals: vec![Proposal { child: Child::Right, groups }],
            ciphertexts: vec![tree as u8; 128],
        }
    }

    fn contributions() -> Answer {
        let step = Step::Contributions { block: 1, decisions: vec![Decision::Leaf(3)] };
        Answer { step, proposals: Vec::new(), ciphertexts: vec![9; 640] }
    }

    #[test]
    fn answers_are_found_by_their_step_after_reopening_and_a_cut_one_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut answers = Answers::open(dir.path()).unwrap();
        [grow(0), grow(1), contributions()].iter().for_each(|answer| answers.keep(answer).unwrap());
        let hashes = answers.hashes(StepHash::new(&[1; 64], &[])).unwrap();
        assert_eq!(hashes.1, [contributions().returned()]);
        let length = std::fs::metadata(dir.path().join("answers")).unwrap().len();
        drop(answers);
        OpenOptions::new()
            .append(true)
            .open(dir.path().join("answers"))
            .unwrap()
            .write_all(&[0, 0, 1, 0, 255, 255, 254, 255, 5, 6])
            .unwrap();
        let mut answers = Answers::open(dir.path()).unwrap();
        assert_eq!(answers.end(), length);
        assert_eq!(answers.find(&grow(1).step).unwrap(), Some(grow(1)));
        assert_eq!(answers.find(&grow(2).step).unwrap(), None);
        assert_eq!(answers.contributions(1).unwrap(), Some(contributions()));
        assert_eq!(answers.contributions(0).unwrap(), None);
        assert_eq!(answers.hashes(StepHash::new(&[1; 64], &[])).unwrap(), hashes);
        answers.keep(&grow(2)).unwrap();
        assert_eq!(answers.find(&grow(2).step).unwrap(), Some(grow(2)));
        assert_eq!(answers.find(&grow(0).step).unwrap(), Some(grow(0)));
        let end = answers.end();
        assert_eq!(std::fs::metadata(dir.path().join("answers")).unwrap().len(), end);
        assert_eq!(Answers::open_kept(dir.path()).unwrap().unwrap().end(), end);
        assert!(Answers::open_kept(&dir.path().join("nobody")).unwrap().is_none());
    }

    #[test]
    fn a_damaged_length_is_no_cut_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut answers = Answers::open(dir.path()).unwrap();
        [grow(0), grow(1)].iter().for_each(|answer| answers.keep(answer).unwrap());
        drop(answers);
        let path = dir.path().join("answers");
        let kept = std::fs::read(&path).unwrap();
        // Longer than anything, longer than what is left, and shorter than it was.
        for (at, bit) in [(0, 0x80), (2, 0x01), (3, 0x01), (7, 0x01)] {
            let mut damaged = kept.clone();
            damaged[at] ^= bit;
            std::fs::write(&path, &damaged).unwrap();
            let error = Answers::open(dir.path()).unwrap_err();
            assert!(error.to_string().contains("the length of an answer is damaged"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), damaged);
        }
    }
}
