//! The end of a node, killed at any stage: run again, it goes on, and one whole archive is left.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use windvane::admin::Admin;
use windvane::clock::SystemClock;
use windvane::error::NodeError;
use windvane::retire::Retired;
use windvane::retire::node::{finish, verify_archive};
use windvane::retire::stage::Stage;

use super::process::{ROOT, Template};
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

#[test]
#[ignore = "a process of other tests"]
fn retire_process() {
    let root = PathBuf::from(std::env::var_os(ROOT).expect("run by a neighbour"));
    retire(&root, false).unwrap();
}
