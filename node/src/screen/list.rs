//! The risk list: one row a customer on a list, sorted by outlet, the worst first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::hits::CustomerHits;
use super::{Hits, ScreenError};
use crate::risk::{Facts, LISTED, Rules, decide};
use crate::verification::{Colour, Decision, MatchResult, Merged, Reason, ScoreReport};

/// The header of `risk-list.csv`.
pub const RISK_LIST_HEADER: [&str; 10] =
    ["网点", "客户号", "颜色", "来源", "标签", "原因", "建议", "reasons", "advice", "评分分档"];

/// The file that the next day's changes are applied to.
pub(super) const HITS: &str = "hits.csv";

const OUTLETS_HEADER: [&str; 4] = ["网点", "red", "yellow", "customers"];

/// What a screening found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreenSummary {
    /// Customers on at least one list.
    pub listed: u64,
    /// Of those, red ones.
    pub red: u64,
    /// Of those, yellow ones.
    pub yellow: u64,
    /// Outlets with at least one.
    pub outlets: u64,
}

/// What the rules say of a set of tags and a score's band, in the cells' form: there are far fewer of them than customers.
struct Verdict {
    colour: Colour,
    tags: String,
    reasons: [String; 2],
    advice: [String; 2],
    band: String,
}

/// What a verdict depends on: tags, the score's band, and why there is no score, by code and providers.
type Key<'a> = (BTreeSet<&'a str>, Option<&'a str>, Option<&'a str>, Vec<&'a str>);

struct Row<'a> {
    customer: &'a str,
    hits: &'a CustomerHits,
    verdict: Rc<Verdict>,
}

/// Writes `risk-list.csv`, `outlets.csv` and `hits.csv` into `dir`, which exists: each completely or not at all.
///
/// # Errors
/// [`ScreenError::Io`].
pub fn write_lists(
    hits: &Hits,
    scores: &BTreeMap<String, ScoreReport>,
    rules: &Rules,
    dir: &Path,
) -> Result<ScreenSummary, ScreenError> {
    let mut verdicts = BTreeMap::new();
    let customers = hits.0.iter().map(|(customer, hits)| (customer, hits, scores.get(customer)));
    let mut rows: Vec<_> =
        customers.map(|(customer, hits, score)| row(rules, customer, hits, score, &mut verdicts)).collect();
    rows.sort_by(|a, b| order(a).cmp(&order(b)));
    let outlets = count(&rows);
    write(&dir.join("risk-list.csv"), |csv| {
        csv.write_record(RISK_LIST_HEADER)?;
        rows.iter().try_for_each(|row| {
            let providers = joined("|", row.hits.tags.keys().map(String::as_str));
            csv.write_record(cells(row, &providers))
        })
    })?;
    write(&dir.join("outlets.csv"), |csv| {
        csv.write_record(OUTLETS_HEADER)?;
        outlets.iter().try_for_each(|(outlet, (red, yellow))| {
            csv.write_record([*outlet, &red.to_string(), &yellow.to_string(), &(red + yellow).to_string()])
        })
    })?;
    write(&dir.join(HITS), |csv| hits.write(csv))?;
    let (red, yellow) = outlets.values().fold((0, 0), |(r, y), (red, yellow)| (r + red, y + yellow));
    Ok(ScreenSummary { listed: red + yellow, red, yellow, outlets: outlets.len() as u64 })
}

fn order<'a>(row: &'a Row<'_>) -> (&'a str, std::cmp::Reverse<Colour>, &'a str) {
    (&row.hits.outlet, std::cmp::Reverse(row.verdict.colour), row.customer)
}

fn row<'a>(
    rules: &Rules,
    customer: &'a str,
    hits: &'a CustomerHits,
    score: Option<&'a ScoreReport>,
    verdicts: &mut BTreeMap<Key<'a>, Rc<Verdict>>,
) -> Row<'a> {
    let tags = hits.tags.values().flatten().map(String::as_str).collect();
    let band = score.and_then(|score| score.band.as_deref());
    let missing = score.iter().flat_map(|score| &score.missing).map(|source| source.provider.as_str());
    let key = (tags, band, score.and_then(|score| score.error.as_deref()), missing.collect());
    let verdict = match verdicts.get(&key) {
        Some(verdict) => verdict.clone(),
        None => {
            let verdict = Rc::new(verdict(rules, &key.0, score));
            verdicts.insert(key, verdict.clone());
            verdict
        }
    };
    Row { customer, hits, verdict }
}

fn verdict(rules: &Rules, tags: &BTreeSet<&str>, score: Option<&ScoreReport>) -> Verdict {
    let found = Merged {
        result: MatchResult::Match,
        mismatch: None,
        attributes: BTreeMap::new(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        missing_sources: Vec::new(),
    };
    let facts = Facts { found: &found, score, customer_type: None, document_type: None };
    let Decision { colour, reasons, advice, .. } = never_green(decide(rules, &facts));
    Verdict {
        colour,
        tags: joined("|", tags.iter().copied()),
        reasons: [
            joined("；", reasons.iter().map(|reason| reason.zh.as_str())),
            joined("; ", reasons.iter().map(|reason| reason.en.as_str())),
        ],
        advice: [
            joined("；", advice.iter().map(|advice| advice.zh.as_str())),
            joined("; ", advice.iter().map(|advice| advice.en.as_str())),
        ],
        band: score.and_then(|score| score.band.clone().or(score.error.clone())).unwrap_or_default(),
    }
}

/// Standing on a list is itself a reason, where no rule covers its tags.
fn never_green(mut decision: Decision) -> Decision {
    if decision.colour == Colour::Green {
        decision.colour = Colour::Yellow;
        // In the place of the first, which says that nothing speaks against the customer.
        decision.reasons[0] = Reason {
            rule: LISTED.to_owned(),
            zh: "客户手机号在数据源的风险名单中".to_owned(),
            en: "The customer's number stands on a provider's risk list".to_owned(),
        };
    }
    decision
}

fn cells<'a>(row: &'a Row<'_>, providers: &'a str) -> [&'a str; RISK_LIST_HEADER.len()] {
    let Verdict { colour, tags, reasons, advice, band } = &*row.verdict;
    let ([reasons_zh, reasons_en], [advice_zh, advice_en]) = (reasons, advice);
    let colour = colour.as_str();
    let outlet = &row.hits.outlet;
    [outlet, row.customer, colour, providers, tags, reasons_zh, advice_zh, reasons_en, advice_en, band]
}

fn joined<'a>(separator: &str, texts: impl Iterator<Item = &'a str>) -> String {
    texts.collect::<Vec<_>>().join(separator)
}

/// Red and yellow customers by outlet.
fn count<'a>(rows: &[Row<'a>]) -> BTreeMap<&'a str, (u64, u64)> {
    let mut outlets = BTreeMap::new();
    for row in rows {
        let (red, yellow) = outlets.entry(row.hits.outlet.as_str()).or_insert((0, 0));
        *if row.verdict.colour == Colour::Red { red } else { yellow } += 1;
    }
    outlets
}

/// Writes a file beside its place, makes it durable, and puts it there.
fn write(
    path: &Path,
    rows: impl FnOnce(&mut csv::Writer<BufWriter<&File>>) -> csv::Result<()>,
) -> Result<(), ScreenError> {
    let io = || ScreenError::io(path);
    let dir = path.parent().unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(dir).map_err(io())?;
    let mut csv = csv::Writer::from_writer(BufWriter::new(file.as_file()));
    rows(&mut csv).map_err(|error| io()(error.into()))?;
    csv.into_inner().map_err(|error| io()(error.into_error()))?.flush().map_err(io())?;
    file.as_file().sync_all().map_err(io())?;
    file.persist(path).map_err(|error| io()(error.error))?;
    Ok(())
}
