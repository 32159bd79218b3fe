//! What is to be heard of a test that passes: the harness keeps what `eprintln!` prints.

use std::fmt::Display;
use std::io::Write as _;

/// Says something on standard error whatever becomes of the test: above all why it was not run.
#[expect(clippy::explicit_write, reason = "the harness does not keep it")]
pub(crate) fn say(text: impl Display) {
    writeln!(std::io::stderr(), "{text}").unwrap();
}

mod tests {
    use std::process::Command;

    use super::say;

    #[test]
    fn what_a_passing_test_says_is_heard() {
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "say::tests::passing_process", "--ignored"])
            .output()
            .unwrap();
        assert!(ended.status.success());
        assert!(String::from_utf8_lossy(&ended.stderr).contains("NOT RUN: nothing is missing"));
    }

    #[test]
    #[ignore = "a process of its neighbour"]
    fn passing_process() {
        say("NOT RUN: nothing is missing");
    }
}
