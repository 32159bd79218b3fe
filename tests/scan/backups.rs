//! Backups of nodes that are at rest, what is wrong with them, and restores.

use std::path::Path;

use windvane::backup;
use windvane::restore::Restore;

use super::record::Record;
use crate::backup::restored;
use crate::lab::{Lab, Party};

/// Backs a party up, looks at the backup, refuses to restore it, and restores it. It lies beside the nodes' folders.
pub(crate) fn run(record: &Record, lab: &Lab, party: &Party, moment: &str) {
    let at = |what: &str| lab.dir.path().join(format!("{what} of {moment}"));
    let (repository, to) = (at("backups"), at("restored"));
    let made = party.admin.back_up(&repository, None, &|_, _| ()).unwrap();
    assert!(made.files > 0 && made.bytes > 0, "{made:?}");
    record.told("backups", &made);
    record.report("backups", &backup::verify(&made.path).unwrap());
    record.backups(&repository, moment);
    record.error(
        "a backup within",
        party.admin.back_up(&party.config.node.data_dir.join("x"), None, &|_, _| ()),
    );
    refused(record, lab, party, [&made.path, &to]);
    let (report, party) = restored(lab, party, &made.path, &to);
    record.told("restores", &report);
    record.restored(&party.config.node.data_dir, moment);
}

/// No log, a place that is taken, a file that was changed.
fn refused(record: &Record, lab: &Lab, party: &Party, [from, to]: [&Path; 2]) {
    let data_dir = party.config.node.data_dir.as_path();
    let restore = |to: &Path, log: Option<&Path>| {
        let restore = Restore { config: &party.config, from, to, log, log_lost: false, checkpoints: &[] };
        restore.run(&lab.clock, &|_, _| ())
    };
    record.error("a restore without a log", restore(to, None));
    record.error("a restore to a full place", restore(data_dir, Some(data_dir)));
    let state = from.join("state.db");
    let whole = std::fs::read(&state).unwrap();
    std::fs::write(&state, &whole[1..]).unwrap();
    record.report("backups", &backup::verify(from).unwrap());
    record.error("a damaged backup", restore(to, Some(data_dir)));
    std::fs::write(&state, whole).unwrap();
}
