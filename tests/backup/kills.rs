//! A backup or a restore that is killed at any named stage, or finds the disk full, leaves nothing that looks whole.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use windvane::admin::Admin;
use windvane::audit::{self, VerifyOptions};
use windvane::backup;
use windvane::clock::SystemClock;
use windvane::restore::{self, Restore};
use windvane::telemetry;

use crate::lab::{Lab, Party, SUBSCRIBERS};
use crate::psi::process::{CONFIG, Process, config};

const REPOSITORY: &str = "WINDVANE_TEST_REPOSITORY";
const TO: &str = "WINDVANE_TEST_TO";
const CODE: &str = "WINDVANE_TEST_CODE";

const SIGKILL: i32 = 9;

fn killed(test: &str, variables: &[(&str, &Path)], stage: &str) {
    let name = format!("backup::kills::{test}");
    let status = Process::start(&name, variables, Some(stage)).ended();
    assert_eq!(status.signal(), Some(SIGKILL), "{stage}: {status}");
}

fn config_of(lab: &Lab) -> PathBuf {
    lab.dir.path().join("carrier-a/windvane.toml")
}

fn restore(lab: &Lab, party: &Party, to: &Path) -> restore::Restored {
    let restore = Restore {
        config: &party.config,
        from: &lab.dir.path().join("backups"),
        to,
        log: Some(&party.config.node.data_dir),
        log_lost: false,
        checkpoints: &[],
    };
    restore.run(&lab.clock, &|_, _| ()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_killed_at_any_stage_is_none_and_the_next_one_is_whole() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let (config, repository) = (config_of(&lab), lab.dir.path().join("backups"));
    let mut whole = 0;
    for stage in backup::Stage::ALL {
        killed("backup_process", &[(CONFIG, &config), (REPOSITORY, &repository)], stage.name());
        whole += usize::from(stage == backup::Stage::Placed);
        let found = backup::resolve(&repository);
        match whole {
            0 => assert_eq!(found.unwrap_err().code(), "BACKUP_MISSING", "{stage}"),
            _ => assert!(backup::verify(&found.unwrap()).unwrap().is_ok(), "{stage}"),
        }
        let report = audit::verify(&carrier.log_dir(), &VerifyOptions::default());
        assert!(report.is_ok(), "{report}");
    }
    carrier.admin.back_up(&repository, None, &|_, _| ()).unwrap();
    let names: Vec<_> =
        std::fs::read_dir(&repository).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(backup::verify(&backup::resolve(&repository).unwrap()).unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_at_any_stage_is_none_or_whole_and_can_be_done_again() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let (config, repository) = (config_of(&lab), lab.dir.path().join("backups"));
    let made = carrier.admin.back_up(&repository, None, &|_, _| ()).unwrap();
    for stage in restore::Stage::ALL {
        let to = lab.dir.path().join(stage.name());
        killed("restore_process", &[(CONFIG, &config), (REPOSITORY, &repository), (TO, &to)], stage.name());
        assert_eq!(to.exists(), stage == restore::Stage::Placed, "{stage}");
        if !to.exists() {
            restore(&lab, &carrier, &to);
        }
        assert!(!lab.dir.path().join(format!(".restoring-{stage}")).exists());
        let mut config = carrier.config.clone();
        config.node.data_dir.clone_from(&to);
        let admin = Admin::open(&config, Arc::new(lab.clock.clone())).unwrap();
        let party = Party { admin, config, enrolment: carrier.enrolment.clone() };
        super::is_sound(&party, &made.path);
        lab.start(&party).await.stop().await.unwrap();
        super::is_sound(&party, &made.path);
        // The backup itself and the log that it was brought up to are as they were.
        assert!(backup::verify(&made.path).unwrap().is_ok());
        let report = audit::verify(&carrier.log_dir(), &VerifyOptions::default());
        assert!(report.is_ok(), "{report}");
    }
}

/// A limit on the size of files makes writes fail as a full disk does, at the first large file.
fn with_small_disk(test: &str, variables: &[(&str, &Path)]) -> std::process::ExitStatus {
    let program = std::env::current_exe().unwrap();
    let script = format!(
        "trap '' XFSZ; ulimit -f 2048; exec '{}' --exact backup::kills::{test} --ignored --nocapture",
        program.display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]).envs(variables.iter().copied());
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_stated_error_and_leaves_nothing() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    // Larger than the limit, which the journal is not.
    let large = carrier.config.node.data_dir.join("list-rejects");
    std::fs::create_dir(&large).unwrap();
    std::fs::write(large.join("list.csv"), vec![b'0'; 4 << 20]).unwrap();
    let (config, repository) = (config_of(&lab), lab.dir.path().join("backups"));
    let code = lab.dir.path().join("code");
    let status = with_small_disk(
        "failing_backup_process",
        &[(CONFIG, &config), (REPOSITORY, &repository), (CODE, &code)],
    );
    assert!(status.success(), "{status}");
    let said = std::fs::read_to_string(&code).unwrap();
    assert!(said.starts_with("BACKUP_TARGET") && said.contains("Make room"), "{said}");
    assert_eq!(std::fs::read_dir(&repository).unwrap().count(), 0);

    carrier.admin.back_up(&repository, None, &|_, _| ()).unwrap();
    let to = lab.dir.path().join("restored");
    let variables = [
        (CONFIG, config.as_path()),
        (REPOSITORY, repository.as_path()),
        (TO, to.as_path()),
        (CODE, code.as_path()),
    ];
    assert!(with_small_disk("failing_restore_process", &variables).success());
    let said = std::fs::read_to_string(&code).unwrap();
    assert!(said.starts_with("BACKUP_TARGET"), "{said}");
    assert!(!to.exists() && !lab.dir.path().join(".restoring-restored").exists());
    restore(&lab, &carrier, &to);
    assert!(to.exists());
}

fn path(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(variable).expect("run by a neighbour"))
}

fn back_up() -> Result<(), windvane::error::NodeError> {
    telemetry::start("warn");
    let admin = Admin::open(&config(), Arc::new(SystemClock))?;
    admin.back_up(&path(REPOSITORY), None, &|_, _| ()).map(drop)
}

fn restored() -> Result<(), windvane::error::NodeError> {
    telemetry::start("warn");
    let config = config();
    let (from, to) = (path(REPOSITORY), path(TO));
    let log = Some(config.node.data_dir.as_path());
    let restore = Restore { config: &config, from: &from, to: &to, log, log_lost: false, checkpoints: &[] };
    restore.run(&SystemClock, &|_, _| ()).map(drop)
}

fn note(result: Result<(), windvane::error::NodeError>) {
    let error = result.unwrap_err();
    std::fs::write(path(CODE), format!("{}: {error}", error.code())).unwrap();
}

#[test]
#[ignore = "a process of other tests"]
fn backup_process() {
    back_up().unwrap();
}

#[test]
#[ignore = "a process of other tests"]
fn failing_backup_process() {
    note(back_up());
}

#[test]
#[ignore = "a process of other tests"]
fn restore_process() {
    restored().unwrap();
}

#[test]
#[ignore = "a process of other tests"]
fn failing_restore_process() {
    note(restored());
}
