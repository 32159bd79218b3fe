//! Backup, restore, retention and the end of a node, as an operator types them.

use std::process::Command;

use super::{bad, good, node_of, usage};

/// A command line with more at its end.
fn line<'a>(head: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [head, rest].concat()
}

#[test]
fn a_node_is_backed_up_restored_and_retired_by_commands() {
    let (dir, config) = node_of("carrier.toml");
    let config = config.as_str();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (data, repository, to, archive) = (path("data"), path("backups"), path("restored"), path("archive"));
    good(&["keys", "init", "--config", config]);

    assert!(bad(&["backup", "--config", config]).starts_with("error BACKUP_TO_MISSING: "));
    assert!(bad(&["backup", "verify", &repository]).starts_with("error BACKUP_MISSING: "));
    let made = good(&["backup", "--to", &repository, "--keep", "3", "--config", config]);
    assert!(made.starts_with("backup ") && made.contains("log entries"), "{made}");
    let checked = good(&["backup", "verify", &repository]);
    assert!(checked.contains("backup of carrier-a") && checked.ends_with("whole\n"), "{checked}");

    let restore = ["restore", "--config", config, "--from", &repository, "--to"];
    assert!(bad(&line(&restore, &[&to])).starts_with("error RESTORE_LOG_NOT_NAMED: "));
    assert!(bad(&line(&restore, &[&data, "--log", &data])).starts_with("error RESTORE_NOT_EMPTY: "));
    let restored = good(&line(&restore, &[&to, "--log", &data]));
    assert!(restored.starts_with("restored ") && restored.contains("Never start"), "{restored}");
    assert!(good(&["audit", "verify", &to]).contains("restored at"));

    assert!(good(&["retain", "plan", "--config", config]).contains("verifications"));
    assert!(good(&["retain", "run", "--json", "--config", config]).contains("\"working data\""));
    assert!(good(&["retain", "status", "--config", config]).contains("snapshots"));

    let retire = ["retire", "node", "--config", config, "--archive", &archive];
    assert!(usage(&line(&retire, &[])).contains("--yes-destroy"));
    assert!(bad(&line(&retire, &["--yes-destroy", "bank"])).starts_with("error NOT_CONFIRMED: "));
    assert!(good(&line(&retire, &["--dry-run"])).starts_with("would destroy node"));
    assert!(std::path::Path::new(&data).exists());
    assert!(good(&line(&retire, &["--yes-destroy", "carrier-a"])).contains("\narchive "));
    assert!(!std::path::Path::new(&data).exists());
    let archived = good(&["audit", "archive", &archive]);
    assert!(archived.contains("keys overwritten"), "{archived}");
}

/// Says that a test runs in the working directory of a node.
const VICTIM: &str = "WINDVANE_TEST_RELATIVE";

#[test]
fn a_node_in_the_working_directory_is_restored_and_retired() {
    let (dir, _) = node_of("carrier.toml");
    // A process has one working directory for all tests, so that this one has a process of its own.
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cli::tests::life::in_the_working_directory", "--ignored"])
        .env(VICTIM, "1")
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    assert!(!dir.path().join("data").exists() && dir.path().join("archive").exists(), "{run:?}");
}

#[test]
#[ignore = "the victim of another test"]
fn in_the_working_directory() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let config = ["--config", "windvane.toml"];
    good(&line(&["keys", "init"], &config));
    good(&line(&["backup", "--to", "backups"], &config));
    std::fs::rename("data", "lost").unwrap();
    let restored = good(&line(&["restore", "--from", "backups", "--log", "lost"], &config));
    assert!(restored.starts_with("restored data") && restored.contains("Never start"), "{restored}");
    let retire = ["retire", "node", "--archive", "archive", "--yes-destroy", "carrier-a"];
    assert!(good(&line(&retire, &config)).contains("\narchive archive/"));
}
