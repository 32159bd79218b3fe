//! A disk that is full: a small `tmpfs` in a mount namespace of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::{ROOT, Template, Told};
use super::recovery::recover_at;
use super::scenario::Scenario;
use crate::say::say;

const PLACE: &str = "WINDVANE_TEST_PLACE";

/// Bytes that are left when a scenario begins.
const ROOM: [u64; 6] = [0, 8 << 10, 64 << 10, 512 << 10, 1 << 20, 3 << 20];

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_stated_error_and_work_goes_on_when_there_is_room() {
    let template = Template::new().await;
    let files = template.copy();
    let place = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=48m tmpfs \"$WINDVANE_TEST_PLACE\" || exit 99; exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "crash::full::full_disk_process", "--ignored", "--nocapture"])
        .env(ROOT, &files.root)
        .env(PLACE, place.path())
        .stdout(Stdio::null());
    let done = tokio::task::block_in_place(|| command.output());
    let done = done.unwrap();
    let errors = String::from_utf8_lossy(&done.stderr);
    if done.status.code() == Some(99) || errors.contains("unshare:") {
        say("NOT RUN: a full disk needs root and mount namespaces");
        return;
    }
    assert!(done.status.success(), "{errors}");
    for line in errors.lines().filter(|line| line.starts_with("full disk: ")) {
        eprintln!("{line}");
    }
}

fn path(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(variable).expect("run by a neighbour"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of other tests"]
async fn full_disk_process() {
    windvane::telemetry::start("error");
    let (files, place) = (path(ROOT), path(PLACE));
    for scenario in [Scenario::Publish, Scenario::Delta, Scenario::Verify, Scenario::Fetch, Scenario::Backup]
    {
        for room in ROOM {
            let root = place.join("run");
            let copied = Command::new("cp").arg("-a").arg(&files).arg(&root).status().unwrap();
            assert!(copied.success());
            let filler = fill(&place, room);
            let told = tokio::task::block_in_place(|| run(&root, scenario));
            std::fs::remove_file(filler).unwrap();
            let codes: Vec<_> = told.steps.iter().filter_map(|(_, code)| code.clone()).collect();
            eprintln!("full disk: {scenario:?} with {room} bytes left: {codes:?}");
            assert!(room > 0 || !codes.is_empty(), "{scenario:?} needs no room");
            recover_at(&root, scenario, told.answered(), &format!("{scenario:?} with {room} bytes")).await;
            std::fs::remove_dir_all(&root).unwrap();
        }
    }
}

fn run(root: &Path, scenario: Scenario) -> Told {
    std::thread::scope(|scope| {
        let run = || {
            let mut told = Told::default();
            scenario.run(root, &mut told);
            told
        };
        scope.spawn(run).join().unwrap()
    })
}

/// A file that leaves so many bytes.
fn fill(place: &Path, room: u64) -> PathBuf {
    let path = place.join("filler");
    let file = File::create(&path).unwrap();
    let free = rustix::fs::statvfs(place).unwrap();
    let bytes = (free.f_bavail * free.f_frsize).checked_sub(room).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).unwrap();
    path
}
