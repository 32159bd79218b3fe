//! `windvane bench screen`: a bank's full screening, and the daily one after it.
//!
//! Both nodes run as processes; the screenings are the command `screen run`, each timed from its start to its end.
//! The hits of both are compared with the truth, customer by customer, with their tags. One carrier; every 20th
//! number stands on its list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::command::{self, Measured};
use super::psi::{number, scattered};
use super::{filesystem, in_place, process};
use crate::demo::{DemoError, note, rounded};
use crate::fleet::PURPOSE;
use crate::fleet::screening::{CARRIER, CHANGES, LIST, Lists, PHONE, Screened, TAGS};
use crate::screen::{NewBy, ScreenReport};

/// One number in so many stands on the list.
const LISTED_ONE_IN: u64 = 20;

/// One number in so many changes, from the first on, until there are enough.
const CHANGED_ONE_IN: u64 = 997;

/// New customers have every seventh number behind the old ones.
const NEW_ONE_IN: u64 = 7;

/// Words and codes of the tags.
const WORDS: [(&str, &str); 6] = [
    ("疑似涉诈", "fraud_suspected"),
    ("高频呼叫", "bulk_calling"),
    ("群发短信", "bulk_sms"),
    ("一机多卡", "shared_device"),
    ("跑分", "money_mule"),
    ("涉诈确认", "fraud_confirmed"),
];

/// How to measure.
#[derive(Debug, Clone)]
pub struct ScreenBench {
    /// Customers of the bank.
    pub customers: u64,
    /// Rows of the carrier's list.
    pub list: u64,
    /// Changes of the list.
    pub changes: u64,
    /// New customers.
    pub new: u64,
    /// How they meet the list: `auto`, `rows` or `psi`.
    pub new_by: String,
    /// Where everything is written and stays; without it a temporary directory below `/var/tmp`.
    pub dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScreenFigures {
    /// Customers of the bank.
    pub customers: u64,
    /// Rows of the carrier's list.
    pub list: u64,
    /// Changes of the list.
    pub changes: u64,
    /// New customers.
    pub new: u64,
    /// How they met the list.
    pub new_by: Option<NewBy>,
    /// Seconds of the full screening, from the command's start to its end.
    pub full_s: f64,
    /// Seconds of the daily one.
    pub daily_s: f64,
    /// The second over the first.
    pub ratio: f64,
    /// User and system time of all processes in the full screening, seconds.
    pub full_cpu_s: f64,
    /// And in the daily one.
    pub daily_cpu_s: f64,
    /// Bytes over the loopback device in the full screening, with all headers.
    pub full_bytes: u64,
    /// And in the daily one, the calls of the command to the bank's node included.
    pub daily_bytes: u64,
    /// Bytes of the lookup rows that the bank fetched beforehand, which neither time includes.
    pub rows_bytes: u64,
    /// The peak of the full command's resident memory, MiB.
    pub full_peak_rss_mb: f64,
    /// The peak of the daily command's.
    pub daily_peak_rss_mb: f64,
    /// The peak of the bank's node.
    pub bank_peak_rss_mb: f64,
    /// The peak of the carrier's node.
    pub carrier_peak_rss_mb: f64,
    /// Customers listed by the full screening: all that must be, and with the right tags.
    pub listed: u64,
    /// And by the daily one.
    pub listed_after: u64,
    /// The type of the file system.
    pub filesystem: String,
}

/// What the command prints.
#[derive(Debug, Deserialize)]
struct Printed {
    #[serde(flatten)]
    report: ScreenReport,
    peak_rss_mb: f64,
}

impl ScreenBench {
    /// Measures and prints; progress goes to standard error. Needs a runtime of several threads.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn run(&self) -> Result<ScreenFigures, DemoError> {
        in_place(self.dir.as_deref(), self.json, async |dir| self.measure(dir).await).await
    }

    async fn measure(&self, dir: &Path) -> Result<ScreenFigures, DemoError> {
        let filesystem = filesystem::durable(dir)?;
        note("writing customers, the list and its changes");
        let lists = self.write(dir)?;
        let program = std::env::current_exe().map_err(DemoError::io("finding this program"))?;
        note("building and fetching the lookup rows");
        let mut nodes = Screened::start(dir, &lists, &program, &note).await?;
        note("screening in full");
        let full = screen(&program, &nodes, &dir.join("full.toml"), false).await?;
        compare(&dir.join("screening/hits.csv"), &self.truth(0..self.customers, false))?;
        note("screening the day's changes");
        let daily = screen(&program, &nodes, &dir.join("daily.toml"), true).await?;
        let everybody = (0..self.customers).chain((0..self.new).map(|nth| self.new_customer(nth)));
        compare(&dir.join("screening/hits.csv"), &self.truth(everybody, true))?;
        let [bank, carrier] = nodes.pids().map(process::peak_mib_of);
        let rows_bytes = bytes_below(&nodes.snapshots());
        nodes.stop()?;
        let report = &daily.printed.report;
        Ok(ScreenFigures {
            customers: self.customers,
            list: self.list,
            changes: self.changes,
            new: self.new,
            new_by: report.providers.first().and_then(|provider| provider.new_by),
            full_s: rounded(full.wall_s),
            daily_s: rounded(daily.wall_s),
            ratio: rounded(daily.wall_s / full.wall_s),
            full_cpu_s: rounded(full.cpu_s),
            daily_cpu_s: rounded(daily.cpu_s),
            full_bytes: full.bytes,
            daily_bytes: daily.bytes,
            rows_bytes,
            full_peak_rss_mb: full.printed.peak_rss_mb.round(),
            daily_peak_rss_mb: daily.printed.peak_rss_mb.round(),
            bank_peak_rss_mb: bank?.round(),
            carrier_peak_rss_mb: carrier?.round(),
            listed: full.printed.report.summary.listed,
            listed_after: report.summary.listed,
            filesystem,
        })
    }

    /// Writes all files; the carrier's are told.
    fn write(&self, dir: &Path) -> Result<Lists, DemoError> {
        let lists = Lists { list: dir.join("list.csv"), changes: dir.join("changes.csv") };
        let header = format!("{PHONE},{TAGS}");
        let listed = order(self.list).map(|nth| nth * LISTED_ONE_IN);
        let row = |index| format!("{},{}", number(index), self.before(index).map_or("", |tag| WORDS[tag].0));
        write_rows(&lists.list, &header, listed.map(row))?;
        let changed = order(self.changes).map(|nth| nth * CHANGED_ONE_IN);
        let row = |index| format!("{},{}", number(index), self.after(index).map_or("", |tag| WORDS[tag].0));
        write_rows(&lists.changes, &header, changed.map(row))?;
        let header = format!("客户号,网点,{PHONE}");
        let row = |index| format!("{},{},{}", customer(index), outlet(index), number(index));
        let old = || order(self.customers).map(row);
        let new = || (0..self.new).map(|nth| row(self.new_customer(nth)));
        write_rows(&dir.join("customers.csv"), &header, old())?;
        write_rows(&dir.join("new_customers.csv"), &header, new())?;
        write_rows(&dir.join("everybody.csv"), &header, old().chain(new()))?;
        write_rows(&dir.join("full.toml"), &self.plan("customers.csv"), std::iter::empty())?;
        write_rows(&dir.join("daily.toml"), &self.plan("everybody.csv"), std::iter::empty())?;
        Ok(lists)
    }

    fn plan(&self, customers: &str) -> String {
        let new = if self.new > 0 { "new_customers = \"new_customers.csv\"\n" } else { "" };
        format!(
            "purpose = \"{PURPOSE}\"\ncustomers = \"{customers}\"\ncustomer_column = \"客户号\"\n\
             outlet_column = \"网点\"\nkey_columns = [\"{PHONE}\"]\noutput = \"screening\"\n\
             [daily]\n{new}operator = \"bench\"\nconsent = \"bench\"\n\
             [[provider]]\nparty = \"{CARRIER}\"\nlist = \"{LIST}\"\ntag_columns = [\"{TAGS}\"]\n\
             changes = \"{CHANGES}\"\nnew_customers = \"{}\"",
            self.new_by
        )
    }

    const fn new_customer(&self, nth: u64) -> u64 {
        self.customers + nth * NEW_ONE_IN
    }

    /// The tag of a number before the changes, as a place in [`WORDS`].
    fn before(&self, index: u64) -> Option<usize> {
        let place = index / LISTED_ONE_IN;
        let is_listed = index.is_multiple_of(LISTED_ONE_IN) && place < self.list;
        is_listed.then_some((place % 4) as usize)
    }

    /// The tag of a number after the changes: some leave the list, some get worse, some come onto it.
    fn after(&self, index: u64) -> Option<usize> {
        let place = index / CHANGED_ONE_IN;
        let before = self.before(index);
        match before {
            _ if !index.is_multiple_of(CHANGED_ONE_IN) || place >= self.changes => before,
            Some(_) if (place / LISTED_ONE_IN).is_multiple_of(2) => None,
            Some(_) => Some(5),
            None => Some(4),
        }
    }

    /// Who must be listed among these, with the codes of the tags.
    fn truth(&self, customers: impl IntoIterator<Item = u64>, after: bool) -> BTreeMap<String, &'static str> {
        let tag = |index| if after { self.after(index) } else { self.before(index) };
        let listed = |index| Some((customer(index), WORDS[tag(index)?].1));
        customers.into_iter().filter_map(listed).collect()
    }
}

fn customer(index: u64) -> String {
    format!("KH{index:09}")
}

fn outlet(index: u64) -> String {
    format!("W{:03}", index % 400)
}

fn write_rows(path: &Path, header: &str, rows: impl Iterator<Item = String>) -> Result<(), DemoError> {
    let write = || {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        writeln!(file, "{header}")?;
        for row in rows {
            writeln!(file, "{row}")?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    };
    write().map_err(DemoError::io(path.display().to_string()))
}

/// Runs a screening as its operator does, beside the bank's node.
async fn screen(
    program: &Path,
    nodes: &Screened,
    plan: &Path,
    daily: bool,
) -> Result<Measured<Printed>, DemoError> {
    let mut command = Command::new(program);
    command.args(["screen", "run", "--json", "--config"]).arg(nodes.bank_config());
    command.arg("--plan-file").arg(plan);
    if daily {
        command.args(["--daily", "--url", &nodes.bank_url(), "--token-file"]).arg(nodes.token_file());
    }
    command::measure("the screening", &mut command, &nodes.pids()).await
}

/// Holds hits against the truth.
fn compare(path: &Path, expected: &BTreeMap<String, &'static str>) -> Result<(), DemoError> {
    let wrong = |what: String| DemoError::Wrong(format!("{}: {what}", path.display()));
    let mut reader = csv::Reader::from_path(path).map_err(|error| wrong(error.to_string()))?;
    let mut found = BTreeSet::new();
    for record in reader.records() {
        let record = record.map_err(|error| wrong(error.to_string()))?;
        if record.get(3) != expected.get(&record[0]).copied() {
            return Err(wrong(format!("{} is not listed so", &record[0])));
        }
        if !found.insert(record[0].to_owned()) {
            return Err(wrong(format!("{} is listed twice", &record[0])));
        }
    }
    // Every hit is one that must be, and none comes twice.
    if found.len() == expected.len() {
        Ok(())
    } else {
        Err(wrong(format!("{} hits, {} expected", found.len(), expected.len())))
    }
}

/// Every number below `count` once, in an order of its own.
fn order(count: u64) -> impl Iterator<Item = u64> {
    scattered(count, 0, count / 3 * 2 + 1)
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::ScreenPlan;

    fn bench() -> ScreenBench {
        let new_by = "auto".to_owned();
        ScreenBench { customers: 40_000, list: 1_500, changes: 35, new: 70, new_by, dir: None, json: true }
    }

    #[test]
    fn the_plans_hold_and_the_truth_has_every_kind_of_change() {
        let bench = bench();
        assert!(ScreenPlan::parse(&bench.plan("customers.csv")).is_ok());
        let (before, after) = (bench.truth(0..40_000, false), bench.truth(0..40_000, true));
        assert_eq!(before.len(), 1_500);
        assert!(before.keys().any(|customer| !after.contains_key(customer)));
        assert!(after.values().any(|tag| *tag == "fraud_confirmed"));
        assert!(after.values().any(|tag| *tag == "money_mule"));
    }

    #[test]
    fn hits_that_miss_somebody_or_say_something_else_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hits.csv");
        std::fs::write(&path, "客户号,网点,来源,标签\nKH1,W1,a,bulk_sms\nKH2,W1,a,bulk_sms\n").unwrap();
        let truth = |all: &[(&str, &'static str)]| all.iter().map(|(c, t)| ((*c).to_owned(), *t)).collect();
        let right = [("KH1", "bulk_sms"), ("KH2", "bulk_sms")];
        assert!(compare(&path, &truth(&right)).is_ok());
        for wrong in
            [&right[..1], &[right[0], ("KH2", "money_mule")], &[right[0], right[1], ("KH3", "bulk_sms")]]
        {
            assert!(compare(&path, &truth(wrong)).is_err());
        }
        // As many rows as there are hits.
        std::fs::write(&path, "客户号,网点,来源,标签\nKH1,W1,a,bulk_sms\nKH1,W1,a,bulk_sms\n").unwrap();
        assert!(compare(&path, &truth(&right)).is_err());
    }
}
