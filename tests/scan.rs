//! The identity scan: whatever a node does, nothing that it leaves behind tells of whom it was asked.
//!
//! A process of its own runs every operation with marked people: imports, publications, verifications, batches, set
//! intersections, screenings, scores, trainings, backups, restores and audits, with what goes wrong in each. Everything
//! that it leaves behind is searched for them: in clear (UTF-8, GB18030, UTF-16), in hex, base64 and URL encoding, as
//! lists and escapes, and hashed without a key, alone and joined. Before that, the scan proves itself on planted marks.
//!
//! **Outside** are the operators' own files: what they give, and what they ask for, which is the result of a set
//! intersection with the columns that its plan names. It may well have numbers and names; the lists of a screening, the
//! results of a batch and of scores, the reports of refused rows, of trainings and of audits must not, and are searched.
//! A training tells its providers numbers, by design: by their positions in the list of segments, which is no form that
//! the scan looks for, so that `train/recorded` holds what each process receives against what it may know; where a
//! provider keeps them, they are sealed. The memory of a process is outside as well.

mod backups;
mod batches;
mod debug;
mod encodings;
mod imports;
mod marks;
mod operations;
mod places;
mod proof;
mod record;
mod rest;
mod scores;
mod screens;
mod searcher;
mod sets;
mod trainings;

pub(crate) use record::append;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use places::{Kind, Place, census, places};
use searcher::Searcher;

use crate::say::say;

/// Everything that the node and its dependencies can say.
const FILTER: &str = "trace";

/// Finds that a message names at most.
const SHOWN: usize = 40;

#[test]
fn nothing_that_a_node_leaves_behind_holds_an_identity() {
    let begun = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    operate(folder.path());
    let operated = begun.elapsed().as_secs_f64();
    let places = places(folder.path());
    let searcher = Searcher::new();
    proof::prove_elsewhere(&searcher);
    let plants = proof::plants();
    let planted = proof::prove(&searcher, &places, &plants);
    proof::prove_whole(&searcher, &places, &plants);
    proof::prove_structures(&searcher, &places);
    every_kind_is_there(&places);

    let found = search(&searcher, &places);
    account(&places);
    let (needles, seconds) = (searcher.len(), begun.elapsed().as_secs_f64());
    let line = format!("{needles} needles, {planted} plants found, {} finds", found.len());
    say(format_args!("{line}, {seconds:.1} s of which {operated:.1} s operations"));
    assert!(
        found.is_empty(),
        "identities were found:\n{}",
        found.into_iter().take(SHOWN).collect::<String>()
    );
}

/// Says what was scanned.
fn account(places: &[Place]) {
    for (kind, (count, bytes)) in census(places) {
        say(format_args!("{kind}: {count} places, {bytes} bytes"));
    }
    let bytes: usize = places.iter().map(|place| place.bytes.len()).sum();
    say(format_args!("in all {} places, {bytes} bytes", places.len()));
}

/// Runs the operations in a process whose output is kept.
fn operate(folder: &Path) {
    let output = |name: &str| File::create(folder.join(name)).unwrap();
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scan::operations::every_operation_with_marked_people", "--ignored", "--nocapture"])
        .env(operations::FOLDER, folder)
        .env(windvane::telemetry::FILTER_VARIABLE, FILTER)
        .env("RUST_BACKTRACE", "1")
        .stdout(output("stdout"))
        .stderr(output("stderr"))
        .status()
        .unwrap();
    let said = std::fs::read_to_string(folder.join("stdout")).unwrap();
    assert!(ended.success() && said.contains("1 passed"), "{ended}: {said}\n{}", complaint(folder));
}

/// What a failed process said outside of the structured log.
fn complaint(folder: &Path) -> String {
    let said = std::fs::read(folder.join("stderr")).unwrap();
    let said = String::from_utf8_lossy(&said);
    let plain: Vec<_> = said.lines().filter(|line| !line.starts_with('{')).collect();
    plain[plain.len().saturating_sub(SHOWN)..].join("\n")
}

/// A find for each form in each place.
fn search(searcher: &Searcher, places: &[Place]) -> BTreeSet<String> {
    let of = |place: &Place| {
        let line = |(at, trace): &(usize, &searcher::Trace)| {
            format!("{}: {}, {} at {at} of {}\n", place.kind, trace.label, trace.form, place.name)
        };
        searcher.search(&place.bytes).iter().map(line).collect::<Vec<_>>()
    };
    places.iter().flat_map(of).collect()
}

/// A scan of nothing finds nothing: the operations must have left something in every kind of place.
fn every_kind_is_there(places: &[Place]) {
    let census = census(places);
    let recorded = record::KINDS.map(Kind::Recorded);
    let files = [
        Kind::Log,
        Kind::Journal,
        Kind::State,
        Kind::StateWriteAhead,
        Kind::StateIndex,
        Kind::StateValues,
        Kind::KeyStore,
        Kind::Enrolment,
        Kind::Configuration,
        Kind::Staging,
        Kind::Rejects,
        Kind::Built,
        Kind::Published,
        Kind::Snapshot,
        Kind::Job,
        Kind::Matches,
        Kind::JobRejects,
        Kind::Score,
        Kind::ScoreTable,
        Kind::ModelParts,
        Kind::Training,
        Kind::TrainingSealed,
        Kind::TrainingAnswers,
        Kind::Session,
        Kind::SessionSealed,
        Kind::SessionUploads,
        Kind::Backup,
        Kind::StandardError,
        Kind::StandardOutput,
    ];
    for kind in files.into_iter().chain(recorded) {
        let bytes = census.get(&kind).map_or(0, |(_, bytes)| *bytes);
        assert!(bytes > 0, "the operations left nothing in {kind}");
    }
}
