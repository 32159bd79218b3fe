//! `windvane dataset change` and `windvane dataset delta`.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;
use windvane::dataset::{ChangeReport, ChangesError, DeltaReport, GateFailure, change_rejects};
use windvane::error::NodeError;

use super::{ImportArgs, TableArgs};
use crate::cli::Answer;
use crate::cli::failure::Failure;
use crate::cli::progress::{Bar, Unit};

/// Deltas that an epoch may still have, below which a full publication is advised.
const FEW_DELTAS: usize = 4;

impl ImportArgs {
    pub(super) fn change(&self) -> Result<Answer, Failure> {
        let (config, mut data_set) = (self.table.place.load()?, self.table.data_set()?);
        if let Some(encoding) = self.encoding {
            data_set = data_set.with_encoding(encoding);
        }
        let rejects = change_rejects(&config.node.data_dir, data_set.name());
        let bar = Bar::new("reading changes", Unit::Bytes);
        let (view, failure) = match self.table.place.admin()?.change(&data_set, &self.file, &bar) {
            Ok(report) => (ChangeView { report, failures: Vec::new(), rejects }, None),
            Err(NodeError::Changes(ChangesError::QualityGate { failures, rejects, report })) => {
                let words = failures.iter().map(GateFailure::to_string).collect();
                let view =
                    ChangeView { report: (*report).clone(), failures: words, rejects: rejects.clone() };
                (view, Some(NodeError::from(ChangesError::QualityGate { failures, rejects, report }).into()))
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Answer::either(self.table.json, &view, ChangeView::text).with_failure(failure))
    }
}

impl TableArgs {
    pub(super) fn delta(&self) -> Result<Answer, Failure> {
        let (admin, data_set) = (self.place.admin()?, self.data_set()?);
        let report = admin.publish_delta(&data_set, &Bar::new("sealing the delta", Unit::Things))?;
        Ok(Answer::either(self.json, &DeltaView::of(&report), DeltaView::text))
    }
}

/// A change file's report.
#[derive(Debug, Serialize)]
struct ChangeView {
    #[serde(flatten)]
    report: ChangeReport,
    /// Quality gates that the file fails; then nothing was taken.
    failures: Vec<String>,
    rejects: PathBuf,
}

impl ChangeView {
    fn text(&self) -> String {
        let r = &self.report;
        let mut text = format!(
            "data set      {} ({}, {} bytes)\nchange file   {} since the full file\nrows          {}\n\
             accepted      {}, {} of them overtaken by a later row\nrejected      {}\n",
            r.data_set, r.encoding, r.source_bytes, r.change, r.rows, r.accepted, r.superseded, r.rejected
        );
        for (rule, count) in &r.rejected_by_rule {
            let _ = writeln!(text, "              {rule}: {count}");
        }
        let _ = writeln!(
            text,
            "subjects      {} inserted, {} changed, {} deleted, {} as they were",
            r.inserted, r.changed, r.deleted, r.unchanged
        );
        for (rule, count) in &r.unexpected {
            let _ = writeln!(text, "              {rule}: {count}");
        }
        let _ = writeln!(text, "missing       {}\nout of date   {}", r.missing, r.out_of_date);
        if let (Some(oldest), Some(newest)) = (&r.oldest, &r.newest) {
            let _ = writeln!(text, "data dates    {oldest} to {newest}");
        }
        let _ = writeln!(text, "reject file   {}\n", self.rejects.display());
        if self.failures.is_empty() {
            text.push_str("Taken. Next: windvane dataset delta");
        } else {
            let failures = self.failures.join("\n  ");
            let _ = write!(
                text,
                "NOT taken, the file fails its quality gates:\n  {failures}\nCorrect the file as the reject file \
                 says; if rows do not fit what is there, import the files of all days once and in order, or the \
                 full file."
            );
        }
        text
    }
}

/// A delta's publication.
#[derive(Debug, Serialize)]
struct DeltaView {
    data_set: String,
    epoch: u64,
    delta: u16,
    inserted: u64,
    changed: u64,
    deleted: u64,
    rows: u64,
    bytes: u64,
    deltas_left: usize,
    rows_left: u64,
}

impl DeltaView {
    fn of(report: &DeltaReport) -> Self {
        let body = report.delta.body();
        Self {
            data_set: body.data_set.to_string(),
            epoch: body.epoch,
            delta: body.index,
            inserted: body.inserted,
            changed: body.changed,
            deleted: body.deleted,
            rows: body.publication.rows,
            bytes: report.bytes,
            deltas_left: report.deltas_left,
            rows_left: report.rows_left,
        }
    }

    fn text(&self) -> String {
        let Self { data_set, epoch, delta, inserted, changed, deleted, rows, bytes, .. } = self;
        let mut text = format!(
            "Delta {delta} of epoch {epoch} of {data_set} is published: {inserted} inserted, {changed} changed, \
             {deleted} deleted; {rows} rows, {bytes} bytes. The epoch may have {} more deltas with {} rows.",
            self.deltas_left, self.rows_left
        );
        if self.deltas_left < FEW_DELTAS || self.rows_left < *rows {
            text.push_str("\nPlan a full publication: windvane dataset build, windvane dataset publish");
        }
        text
    }
}
