//! Structured logs: JSON lines on standard error, without identities.
//!
//! Where systemd connected standard error with its journal, each line begins with its priority (`<4>`, sd-daemon(3)): the
//! journal takes it off, and `journalctl --priority warning` finds the line.

use std::io::{self, Write};
use std::os::fd::AsFd;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Environment variable that sets what is logged, for example `info` or `windvane=debug`.
pub const FILTER_VARIABLE: &str = "WINDVANE_LOG";

/// Where systemd names the journal's stream, as device and inode (systemd.exec(5)).
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";

/// Begins to log. A second call changes nothing.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    let journal = std::env::var(JOURNAL_VARIABLE).is_ok_and(|stream| is_stream(&stream, io::stderr()));
    let lines = Lines { out: io::stderr, journal };
    // Fails only when logging has begun already.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(lines).try_init();
}

/// Whether an open file is the one that `stream` names: who inherits the variable may have another standard error.
fn is_stream(stream: &str, file: impl AsFd) -> bool {
    rustix::fs::fstat(file).is_ok_and(|found| stream == format!("{}:{}", found.st_dev, found.st_ino))
}

/// What lines are written to, with their priority before them where it is the journal.
struct Lines<M> {
    out: M,
    journal: bool,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Lines<M> {
    type Writer = Line<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { priority: "", out: self.out.make_writer() }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        let priority = if self.journal { priority(*event.level()) } else { "" };
        Line { priority, out: self.out.make_writer_for(event) }
    }
}

/// A level as syslog(3) counts it.
const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// Takes one line, which the subscriber writes at once.
struct Line<W> {
    priority: &'static str,
    out: W,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.out.write_all(&[self.priority.as_bytes(), line].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn lines_begin_with_their_priority_where_they_go_to_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        for (journal, warning, note) in [(true, "<4>{", "<6>{"), (false, "{", "{")] {
            let lines = Lines { out: File::create(&path).unwrap(), journal };
            let subscriber = tracing_subscriber::fmt().json().with_writer(lines).finish();
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!("first");
                tracing::info!("second");
            });
            let written = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<_> = written.lines().collect();
            assert!(
                lines.len() == 2 && lines[0].starts_with(warning) && lines[1].starts_with(note),
                "{written}"
            );
        }
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let found = file.metadata().unwrap();
        assert!(is_stream(&format!("{}:{}", found.dev(), found.ino()), &file));
        assert!(!is_stream(&format!("{}:{}", found.dev(), found.ino() + 1), &file));
        assert!(!is_stream("", &file));
    }
}
