//! A progress bar on standard error, hidden when that is not a terminal.

use std::borrow::Cow;

use indicatif::{ProgressBar, ProgressStyle};
use windvane::dataset::{Position, Progress};

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// Bytes of a file.
    Bytes,
    /// Things that the bar's text names.
    Things,
}

/// A bar that goes away when it is dropped.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// A bar without a length yet.
    pub(super) fn new(what: impl Into<Cow<'static, str>>, unit: Unit) -> Self {
        let template = match unit {
            Unit::Bytes => {
                "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {msg} {eta_precise} left"
            }
            Unit::Things => "{prefix} {wide_bar} {human_pos}/{human_len} {per_sec}, {msg} {eta_precise} left",
        };
        let style = ProgressStyle::with_template(template).expect("the templates are fixed and tested");
        Self(ProgressBar::no_length().with_style(style).with_prefix(what))
    }

    /// Another text before the bar.
    pub(super) fn rename(&self, what: &str) {
        self.0.set_prefix(what.to_owned());
    }

    /// This far.
    pub(super) fn reach(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Progress for Bar {
    fn at(&self, position: Position) {
        self.0.set_message(format!("{} rows,", position.rows));
        self.reach(position.done, position.total);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_parse() {
        for unit in [Unit::Bytes, Unit::Things] {
            Bar::new("testing", unit).at(Position { rows: 1, done: 2, total: 3 });
        }
    }
}
