//! What is printed, and the one place that prints it.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::failure::Failure;

/// Standard output and standard error, or what stands for them in a test.
pub(crate) struct Terminal<'a> {
    out: Box<dyn Write + 'a>,
    err: Box<dyn Write + 'a>,
}

impl<'a> Terminal<'a> {
    /// The process's own.
    pub(crate) fn standard() -> Self {
        Self::new(io::stdout(), io::stderr())
    }

    /// Other writers.
    pub(crate) fn new(out: impl Write + 'a, err: impl Write + 'a) -> Self {
        Self { out: Box::new(out), err: Box::new(err) }
    }

    /// Prints a command's result; a reader that went away (`| head`) is no error.
    pub(super) fn answer(&mut self, answer: &Answer) -> ExitCode {
        let told = answer.failure.as_ref().map_or(ExitCode::SUCCESS, |failure| self.failure(failure));
        let written = self.out.write_all(answer.text.as_bytes()).and_then(|()| self.out.flush());
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
            _ if answer.sound => told,
            _ => ExitCode::FAILURE,
        }
    }

    /// Tells an error by its code.
    pub(super) fn failure(&mut self, failure: &Failure) -> ExitCode {
        self.error(&format_args!("error {}: {}\n", failure.code(), failure.advice()));
        ExitCode::FAILURE
    }

    /// Prints to standard error; when that is gone, there is nobody left to tell.
    pub(super) fn error(&mut self, text: &dyn Display) {
        let _ = write!(self.err, "{text}").and_then(|()| self.err.flush());
    }
}

/// What a command found.
#[derive(Debug)]
pub(super) struct Answer {
    text: String,
    sound: bool,
    failure: Option<Failure>,
}

impl Answer {
    /// Text for people; a newline is added where none stands.
    pub(super) fn text(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Self { text, sound: true, failure: None }
    }

    /// One JSON value.
    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::text(serde_json::to_string_pretty(value).expect("texts, numbers and lists always serialise"))
    }

    /// JSON or text, as the caller asked.
    pub(super) fn either<T: Serialize>(json: bool, value: &T, text: impl FnOnce(&T) -> String) -> Self {
        if json { Self::json(value) } else { Self::text(text(value)) }
    }

    /// The same answer, with exit code 1 unless `sound`.
    #[must_use]
    pub(super) fn sound(self, sound: bool) -> Self {
        Self { sound, ..self }
    }

    /// The same answer, and the error that it explains.
    #[must_use]
    pub(super) fn with_failure(self, failure: Option<Failure>) -> Self {
        Self { failure, ..self }
    }
}

/// Lays rows out in columns of even width, the header first; cells are ASCII.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let lines: Vec<[String; N]> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0));
    let padded = |line: &[String; N]| -> String {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = table(["a", "long"], [["wide".into(), "1".into()], ["x".into(), String::new()]]);
        assert_eq!(text, "a     long\nwide  1\nx\n");
    }

    #[test]
    fn an_answer_with_findings_is_printed_and_ends_in_one() {
        let mut out = Vec::new();
        let code = Terminal::new(&mut out, io::sink()).answer(&Answer::text("found").sound(false));
        assert_eq!((format!("{code:?}"), out), (format!("{:?}", ExitCode::FAILURE), b"found\n".to_vec()));
    }
}
