//! Bytes of the operator's file as valid UTF-8, with bounded memory whatever the file holds.

use std::io::{self, BufRead as _, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{Decoder, DecoderResult, GB18030, UTF_8};

use super::config::Encoding;

/// What `auto` looks at.
const SAMPLE_BYTES: u64 = 1 << 20;

/// The longest row: an open quotation mark must not pull the rest of the file into memory.
const MAX_ROW_BYTES: u64 = 1 << 20;

const INPUT_BYTES: usize = 1 << 18;
const OUTPUT_BYTES: usize = 1 << 16;

/// Why text ends early; it travels inside an [`io::Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TextError {
    /// Bytes that are not of the encoding.
    #[error("line {line} is not {encoding}")]
    Encoding { line: u64, encoding: &'static str },
    /// A row that does not end.
    #[error("the row that ends after line {line} is longer than {MAX_ROW_BYTES} bytes")]
    RowTooLong { line: u64 },
}

/// How far reader and parser are; shared between them.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Bytes of the file that were read.
    pub(super) read: AtomicU64,
    /// Bytes of text up to the end of the last complete row.
    pub(super) row_end: AtomicU64,
}

/// The encoding of a file, decided by its first bytes where the configuration leaves it open, and a reader
/// that gives those bytes again.
pub(super) fn detect<R: Read>(
    encoding: Encoding,
    mut source: R,
) -> io::Result<(&'static encoding_rs::Encoding, impl Read)> {
    let mut sample = Vec::new();
    source.by_ref().take(SAMPLE_BYTES).read_to_end(&mut sample)?;
    let is_utf8 = match encoding {
        Encoding::Utf8 => true,
        Encoding::Gb18030 => false,
        Encoding::Auto => match std::str::from_utf8(&sample) {
            Ok(_) => true,
            // A character that the sample's end cuts in two says nothing.
            Err(error) => error.error_len().is_none() && sample.len() as u64 == SAMPLE_BYTES,
        },
    };
    let encoding = if is_utf8 { UTF_8 } else { GB18030 };
    Ok((encoding, io::Cursor::new(sample).chain(source)))
}

/// The encoding's name in reports.
pub(super) fn name(encoding: &'static encoding_rs::Encoding) -> &'static str {
    if encoding == UTF_8 { "utf-8" } else { "gb18030" }
}

/// Decodes strictly; a byte order mark is dropped.
pub(super) struct Transcoder<R> {
    source: BufReader<R>,
    decoder: Decoder,
    marks: Arc<Marks>,
    output: Box<[u8]>,
    /// What of `output` is not handed out yet.
    ready: Range<usize>,
    /// Bytes of text decoded so far.
    text: u64,
    lines: u64,
    done: bool,
}

impl<R: Read> Transcoder<R> {
    pub(super) fn new(encoding: &'static encoding_rs::Encoding, source: R, marks: Arc<Marks>) -> Self {
        Self {
            source: BufReader::with_capacity(INPUT_BYTES, source),
            decoder: encoding.new_decoder_with_bom_removal(),
            marks,
            output: vec![0; OUTPUT_BYTES].into(),
            ready: 0..0,
            text: 0,
            lines: 0,
            done: false,
        }
    }

    /// Decodes what the source has ready, as far as it fits.
    fn step(&mut self) -> io::Result<()> {
        if self.text.saturating_sub(self.marks.row_end.load(Ordering::Relaxed)) > MAX_ROW_BYTES {
            return Err(io::Error::other(TextError::RowTooLong { line: self.lines }));
        }
        let input = self.source.fill_buf()?;
        let last = input.is_empty();
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(input, &mut self.output, last);
        self.source.consume(read);
        self.marks.read.fetch_add(read as u64, Ordering::Relaxed);
        self.lines += self.output[..written].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.text += written as u64;
        self.ready = 0..written;
        match result {
            DecoderResult::Malformed(..) => Err(io::Error::other(TextError::Encoding {
                line: self.lines + 1,
                encoding: name(self.decoder.encoding()),
            })),
            DecoderResult::InputEmpty => {
                self.done = last;
                Ok(())
            }
            DecoderResult::OutputFull => Ok(()),
        }
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() && !self.done {
            self.step()?;
        }
        let count = out.len().min(self.ready.len());
        out[..count].copy_from_slice(&self.output[self.ready.start..][..count]);
        self.ready.start += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: Encoding, bytes: &[u8]) -> io::Result<String> {
        decoded_behind(u64::MAX, encoding, bytes)
    }

    /// Decodes while the parser says that the last row ended at `row_end`.
    fn decoded_behind(row_end: u64, encoding: Encoding, bytes: &[u8]) -> io::Result<String> {
        let (encoding, source) = detect(encoding, bytes)?;
        let marks = Marks { row_end: row_end.into(), ..Marks::default() };
        let mut text = String::new();
        Transcoder::new(encoding, source, Arc::new(marks)).read_to_string(&mut text).map(|_| text)
    }

    fn error(encoding: Encoding, bytes: &[u8]) -> TextError {
        decoded(encoding, bytes).unwrap_err().downcast().unwrap()
    }

    #[test]
    fn auto_reads_utf8_with_and_without_a_mark_and_gb18030() {
        let text = "姓名\n欧阳伟\n𠮷\n";
        let (gb18030, _, _) = GB18030.encode(text);
        for bytes in [text.as_bytes(), &[b"\xEF\xBB\xBF", text.as_bytes()].concat(), &gb18030] {
            assert_eq!(decoded(Encoding::Auto, bytes).unwrap(), text);
        }
    }

    #[test]
    fn a_character_across_the_end_of_the_sample_does_not_mislead() {
        for shift in 0..3 {
            let text = format!("{}{}", "x".repeat(shift), "号".repeat(400_000));
            assert_eq!(decoded(Encoding::Auto, text.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn invalid_bytes_are_refused_with_their_line() {
        let utf8 = [b"a\nb\nc".as_slice(), &[0xFF], b"d\n"].concat();
        assert_eq!(error(Encoding::Utf8, &utf8), TextError::Encoding { line: 3, encoding: "utf-8" });
        assert_eq!(error(Encoding::Auto, &utf8), TextError::Encoding { line: 3, encoding: "gb18030" });
        let late = ["号\n".repeat(300_000).as_bytes(), &[0xC3]].concat();
        let found = error(Encoding::Auto, &late);
        assert_eq!(found, TextError::Encoding { line: 300_001, encoding: "utf-8" });
    }

    #[test]
    fn a_row_that_does_not_end_is_refused() {
        let text = "x".repeat(3 << 20);
        let error = decoded_behind(1 << 20, Encoding::Auto, text.as_bytes()).unwrap_err();
        assert_eq!(error.downcast::<TextError>().unwrap(), TextError::RowTooLong { line: 0 });
        assert!(decoded_behind(2 << 20, Encoding::Auto, text.as_bytes()).is_ok());
    }
}
