//! The bytes of a text file as valid UTF-8, with bounded memory whatever the file holds.

use std::io::{self, BufRead as _, BufReader, Chain, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult, GB18030, UTF_8};
use serde::Deserialize;

/// What [`Encoding::Auto`] looks at.
const SAMPLE_BYTES: u64 = 1 << 20;

const INPUT_BYTES: usize = 1 << 18;

/// What only a file in UTF-8 begins with.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How a file's bytes are text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// UTF-8 with a byte order mark, or if the first MiB is valid UTF-8; else GB 18030.
    #[default]
    Auto,
    /// UTF-8 with or without a byte order mark.
    #[serde(rename = "utf-8")]
    Utf8,
    /// GB 18030, of which GBK and GB 2312 are subsets.
    Gb18030,
}

/// Bytes that are not of the encoding; it travels inside an [`io::Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not {encoding}")]
pub(super) struct BadText {
    pub(super) line: u64,
    pub(super) encoding: &'static str,
}

/// Decodes strictly; a byte order mark is dropped.
pub(super) struct Transcoder<R> {
    source: BufReader<Chain<Cursor<Vec<u8>>, R>>,
    decoder: Decoder,
    read: u64,
    lines: Lines,
    done: bool,
}

/// Counts the lines of text that is read piece by piece. A line ends with `\n`, `\r\n` or `\r`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    /// The line in which what follows stands, from 1.
    pub(super) line: u64,
    /// Whether the last byte was a `\r`, to which a `\n` would belong.
    after_return: bool,
}

impl Lines {
    pub(super) const FIRST: Self = Self { line: 1, after_return: false };

    /// Goes on behind a byte that ends a line and does not follow a `\r` of the same end.
    #[inline]
    pub(super) const fn end(&mut self, byte: u8) {
        (self.line, self.after_return) = (self.line + 1, byte == b'\r');
    }

    /// Goes on behind the next byte, which is part of a line's end.
    #[inline]
    pub(super) const fn pass_end(&mut self, byte: u8) {
        if self.after_return && byte == b'\n' {
            self.after_return = false;
        } else {
            self.end(byte);
        }
    }

    /// Goes on behind text.
    pub(super) fn pass(&mut self, text: &[u8]) {
        let mut next = 0;
        for at in memchr::memchr2_iter(b'\n', b'\r', text) {
            self.after_return &= at == next;
            self.pass_end(text[at]);
            next = at + 1;
        }
        self.after_return &= next == text.len();
    }
}

impl<R: Read> Transcoder<R> {
    /// Decides the encoding by the first bytes where `encoding` leaves it open.
    pub(super) fn open(encoding: Encoding, mut source: R) -> io::Result<Self> {
        let mut sample = Vec::new();
        source.by_ref().take(SAMPLE_BYTES).read_to_end(&mut sample)?;
        let is_utf8 = match encoding {
            Encoding::Utf8 => true,
            Encoding::Gb18030 => false,
            Encoding::Auto if sample.starts_with(BYTE_ORDER_MARK) => true,
            Encoding::Auto => match std::str::from_utf8(&sample) {
                Ok(_) => true,
                // A character that the sample's end cuts in two says nothing.
                Err(error) => error.error_len().is_none() && sample.len() as u64 == SAMPLE_BYTES,
            },
        };
        let encoding = if is_utf8 { UTF_8 } else { GB18030 };
        let source = BufReader::with_capacity(INPUT_BYTES, Cursor::new(sample).chain(source));
        let decoder = encoding.new_decoder_with_bom_removal();
        Ok(Self { source, decoder, read: 0, lines: Lines::FIRST, done: false })
    }

    /// The encoding's name in reports.
    pub(super) fn encoding(&self) -> &'static str {
        if self.decoder.encoding() == UTF_8 { "utf-8" } else { "gb18030" }
    }

    /// Bytes of the file that were decoded.
    pub(super) const fn read(&self) -> u64 {
        self.read
    }

    /// What is read from.
    pub(super) fn source(&self) -> &R {
        self.source.get_ref().get_ref().1
    }

    /// Writes text to `out`, which has room for a few characters, and gives its length: 0 behind the
    /// end only.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.done {
            let written = self.step(out)?;
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }

    /// Decodes what the source has ready, as far as it fits.
    fn step(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let input = self.source.fill_buf()?;
        let last = input.is_empty();
        let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(input, out, last);
        self.source.consume(read);
        self.read += read as u64;
        self.lines.pass(&out[..written]);
        match result {
            DecoderResult::Malformed(..) => {
                let bad = BadText { line: self.lines.line, encoding: self.encoding() };
                return Err(io::Error::other(bad));
            }
            DecoderResult::InputEmpty => self.done = last,
            DecoderResult::OutputFull => {}
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: Encoding, bytes: &[u8]) -> io::Result<String> {
        let mut transcoder = Transcoder::open(encoding, bytes)?;
        let (mut text, mut out) = (Vec::new(), [0; 1000]);
        loop {
            match transcoder.fill(&mut out)? {
                0 => break,
                written => text.extend_from_slice(&out[..written]),
            }
        }
        assert_eq!(transcoder.read(), bytes.len() as u64);
        Ok(String::from_utf8(text).unwrap())
    }

    fn error(encoding: Encoding, bytes: &[u8]) -> BadText {
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
    fn a_byte_order_mark_decides_whatever_follows_it() {
        let bytes = [BYTE_ORDER_MARK, "姓名\n欧阳".as_bytes(), &[0xC3], b"\n"].concat();
        assert_eq!(error(Encoding::Auto, &bytes), BadText { line: 2, encoding: "utf-8" });
    }

    #[test]
    fn lines_end_with_either_byte_or_both_however_the_text_is_cut() {
        let text = b"a\rb\r\nc\nd\r\re\n\n\r\n\rf\r";
        let mut whole = Lines::FIRST;
        whole.pass(text);
        assert_eq!(whole.line, 11);
        for cut in 0..=text.len() {
            let mut lines = Lines::FIRST;
            lines.pass(&text[..cut]);
            lines.pass(b"");
            lines.pass(&text[cut..]);
            assert_eq!(lines.line, whole.line, "{cut}");
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
        assert_eq!(error(Encoding::Utf8, &utf8), BadText { line: 3, encoding: "utf-8" });
        assert_eq!(error(Encoding::Auto, &utf8), BadText { line: 3, encoding: "gb18030" });
        let late = ["号\n".repeat(300_000).as_bytes(), &[0xC3]].concat();
        let found = error(Encoding::Auto, &late);
        assert_eq!(found, BadText { line: 300_001, encoding: "utf-8" });
    }
}
