//! The end of a node, killed at any stage: run again, it goes on, and one whole archive is left.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use windvane::admin::Admin;
use windvane::clock::SystemClock;
use windvane::error::NodeError;
use windvane::retire::Retired;
use windvane::retire::node::{finish, verify_archive};
use windvane::retire::stage::Stage;

use super::process::{ROOT, Run, Template};
use super::scenario::config;

fn retire(root: &Path, dry_run: bool) -> Result<Retired, NodeError> {
    let admin = Admin::open(&config(root, "bank"), Arc::new(SystemClock))?;
    admin.retire_node(&root.join("archive"), dry_run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_end_is_killed_at_any_stage_ends_with_one_whole_archive() {
    let template = Template::new().await;
    for stage in Stage::ALL {
        let (run, name) = (template.copy(), stage.name());
        let (data, archive) = (run.root.join("bank/data"), run.root.join("archive"));
        let before = tokio::task::block_in_place(|| retire(&run.root, true)).unwrap();
        run.killed_in("crash::retire::retire_process", name);
        assert!(data.exists(), "{name}");

        // As the command does it: what is left of a node without keys is finished.
        let again = tokio::task::block_in_place(|| retire(&run.root, false));
        match (stage, again) {
            (Stage::Wiped, Err(_)) => drop(finish(&config(&run.root, "bank"), &archive).unwrap()),
            (_, again) => {
                let again = again.unwrap_or_else(|error| panic!("{name}: {error}"));
                let counted = |retired: &Retired| (retired.items, retired.bytes, retired.digest.clone());
                assert_eq!(counted(&again), counted(&before), "{name}");
            }
        }
        assert!(!data.exists(), "{name}");
        let report = verify_archive(&archive).unwrap();
        assert!(report.ok, "{name}: {report:?}");
        assert!(
            report.protocol.starts_with(&format!("{} files", before.items)),
            "{name}: {}",
            report.protocol
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_all_its_keys_ends_with_its_own_archive_alone_and_the_others_are_overwritten() {
    let template = Template::new().await;
    let [earlier, told, archived] = [Stage::Wiped, Stage::Told, Stage::Archived].map(|stage| {
        let run = template.copy();
        run.killed_in("crash::retire::retire_process", stage.name());
        run
    });
    let end = |run: &Run, archive: &Run| finish(&config(&run.root, "bank"), &archive.root.join("archive"));
    // The same party's, and whole, but of another log.
    assert_eq!(end(&told, &earlier).unwrap_err().code(), "NOTHING_TO_RETIRE");
    assert_eq!(end(&archived, &earlier).unwrap_err().code(), "ARCHIVE_DAMAGED");
    assert!([&told, &archived].iter().all(|run| run.root.join("bank/data/log/checkpoint").exists()));

    let keys = archived.root.join("bank/data/keys");
    let paths = std::fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path());
    let links: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "key"))
        .map(|path| {
            let link = archived.root.join(path.file_name().unwrap());
            std::fs::hard_link(path, &link).unwrap();
            link
        })
        .collect();
    assert!(links.len() > 4);
    // As a kill among the keys leaves it.
    std::fs::remove_file(keys.join("kek")).unwrap();
    assert!(tokio::task::block_in_place(|| retire(&archived.root, false)).is_err());
    end(&archived, &archived).unwrap();
    assert!(!archived.root.join("bank/data").exists());
    assert!(links.iter().all(|link| std::fs::read(link).unwrap().iter().all(|byte| *byte == 0)));
}

#[test]
#[ignore = "a process of other tests"]
fn retire_process() {
    let root = PathBuf::from(std::env::var_os(ROOT).expect("run by a neighbour"));
    retire(&root, false).unwrap();
}
