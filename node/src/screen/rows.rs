//! New customers against providers' lookup rows, through the bank's running node.
//!
//! Nothing but the telephone number is asked about, and of every provider that the node has a contract with. The
//! node logs every call and keeps every answer, as for an account opening; here only tags matter, and only those of
//! providers that are met by lookups. The finished answers are kept in the work folder, so that nobody is
//! asked twice; a run that is interrupted before asks again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use super::hits::split;
use super::{Hit, ScreenError, ScreenPlan, ScreenProgress, register};
use crate::batch::answers;
use crate::http::{BatchBody, BatchItem, BatchResult, BatchResults, Client, ConsentBody};
use crate::table::{TableOptions, TableReader, TableWriter};
use crate::verification::{MatchResult, ProviderAnswer};

/// Customers in one call: a few, so that the parties work beside each other.
pub(super) const CHUNK: usize = 1_024;

/// Calls under way.
pub(super) const IN_FLIGHT: usize = 3;

const HEADER: [&str; 4] = ["customer", "outlet", "provider", "tags"];

const REJECTS: [&str; 2] = ["line", "rule"];

/// The code of a row of another length than the header, as intersections report it.
const ROW_LENGTH: &str = "ROW_LENGTH";

/// Lines and the codes of the rules that they break.
pub(super) type Rejects = Vec<(u64, String)>;

/// What the lookups gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) hits: Vec<Hit>,
    /// Lines whose number is none, with the rule's code.
    pub(super) rejects: Rejects,
}

/// A customer who is asked about.
#[derive(Debug)]
struct Asked {
    line: u64,
    customer: String,
    outlet: String,
}

/// Looks new customers up.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) client: Client,
    pub(super) plan: ScreenPlan,
    /// The providers whose answers count.
    pub(super) providers: Vec<String>,
}

type Flights = JoinSet<Result<(Vec<Asked>, BatchResults), ScreenError>>;

impl Lookup {
    /// Asks about every new customer, a few calls at a time.
    ///
    /// # Errors
    /// [`ScreenError`].
    pub(super) async fn run(&self, total: u64, progress: &dyn ScreenProgress) -> Result<Found, ScreenError> {
        let path = self.plan.new_customers().unwrap_or(Path::new(""));
        let mut reader = register::open(&self.plan, path)?;
        let (mut found, mut flights, mut done) = (Found::default(), Flights::new(), 0);
        loop {
            while flights.len() < IN_FLIGHT {
                let (asked, items) = self.chunk(&mut reader, &mut found.rejects)?;
                if asked.is_empty() {
                    break;
                }
                flights.spawn(ask(self.client.clone(), self.body(items), asked));
            }
            let Some(landed) = flights.join_next().await else { break };
            let (asked, answers) = landed.map_err(|_| ScreenError::Stopped)??;
            done += asked.len() as u64;
            progress.lookups(done, total);
            for (asked, answer) in asked.into_iter().zip(answers.results) {
                self.take(&asked, answer, &mut found)?;
            }
        }
        found.hits.sort_by(|a, b| (&a.customer, &a.provider).cmp(&(&b.customer, &b.provider)));
        found.rejects.sort_unstable();
        Ok(found)
    }

    /// The next customers and the questions about them.
    fn chunk(
        &self,
        reader: &mut TableReader,
        rejects: &mut Rejects,
    ) -> Result<(Vec<Asked>, Vec<BatchItem>), ScreenError> {
        let (mut asked, mut items) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
        while asked.len() < CHUNK && reader.advance()? {
            let row = reader.row();
            // A ragged row has no customer to speak of.
            if row.width() == 0 {
                rejects.push((row.line(), ROW_LENGTH.to_owned()));
                continue;
            }
            let (customer, outlet) = (row.text(0).to_owned(), row.text(1).to_owned());
            items.push(self.item(&customer, row.text(2)));
            asked.push(Asked { line: row.line(), customer, outlet });
        }
        Ok((asked, items))
    }

    fn item(&self, customer: &str, phone: &str) -> BatchItem {
        let consent = self.plan.daily.as_ref().map(|daily| daily.consent.as_str()).unwrap_or_default();
        by_number(customer, phone, consent)
    }

    fn body(&self, items: Vec<BatchItem>) -> BatchBody {
        let operator = self.plan.daily.as_ref().map(|daily| daily.operator.clone()).unwrap_or_default();
        BatchBody { purpose: self.plan.purpose.clone(), operator, score_only: false, items }
    }

    fn take(&self, asked: &Asked, answer: BatchResult, found: &mut Found) -> Result<(), ScreenError> {
        let report = match answer {
            BatchResult::Report(report) => report,
            // The customer's number is the ticket: where that does not do, nobody's telephone number is at fault.
            BatchResult::Error(problem) if problem.field.as_deref() != Some("phone") => {
                return Err(ScreenError::Lookup(Box::new(problem)));
            }
            BatchResult::Error(problem) => {
                found.rejects.push((asked.line, problem.code));
                return Ok(());
            }
        };
        let words = self.plan.words();
        for provider in &self.providers {
            let tags = words.codes(provider, &tags(&report.providers, provider)?.join("|"))?;
            if !tags.is_empty() {
                let (customer, outlet) = (asked.customer.clone(), asked.outlet.clone());
                found.hits.push(Hit { customer, outlet, provider: provider.clone(), tags });
            }
        }
        Ok(())
    }
}

/// A question about a customer's telephone number alone.
pub(super) fn by_number(customer: &str, phone: &str, consent: &str) -> BatchItem {
    BatchItem {
        name: None,
        id_number: None,
        document_type: Default::default(),
        phone: phone.into(),
        customer_type: None,
        ticket: customer.to_owned(),
        consent: ConsentBody { id: consent.to_owned(), digest: None },
        outlet: None,
        branch: None,
    }
}

async fn ask(
    client: Client,
    body: BatchBody,
    asked: Vec<Asked>,
) -> Result<(Vec<Asked>, BatchResults), ScreenError> {
    let results = answers(&client, &body).await.map_err(|problem| ScreenError::Lookup(Box::new(problem)))?;
    Ok((asked, BatchResults { results }))
}

/// The tags that a provider's rows have for the number, those of all its data sets together. A data set without a
/// verdict, for want of a grant perhaps, does not matter where another one has given its own.
fn tags<'a>(answers: &'a [ProviderAnswer], provider: &str) -> Result<Vec<&'a str>, ScreenError> {
    let none = |code: &str| ScreenError::NoVerdict { provider: provider.to_owned(), code: code.to_owned() };
    let answers = answers.iter().filter(|answer| answer.provider == provider);
    let (missing, given): (Vec<_>, Vec<_>) =
        answers.partition(|answer| answer.result == MatchResult::Unavailable);
    if given.is_empty() {
        let error = missing.first().map(|answer| answer.error.as_deref().unwrap_or("UNAVAILABLE"));
        return Err(none(error.unwrap_or("NO_CONTRACT")));
    }
    let tags: BTreeSet<_> = given.iter().flat_map(|answer| &answer.tags).map(String::as_str).collect();
    Ok(tags.into_iter().collect())
}

/// The step's name for lookups at these providers: of one length for any number of them, as file names end at
/// 255 bytes.
pub(super) fn step_of(providers: &[String]) -> String {
    // No party's id has a `+`, so that different providers never join to the same text.
    let digest = Sha256::digest(providers.join("+"));
    format!("{}.rows", hex::encode(digest))
}

impl Found {
    /// Keeps what finished lookups gave.
    pub(super) fn keep(&self, path: &Path) -> Result<(), ScreenError> {
        write_rejects(self.rejects.iter().map(|(line, rule)| (line, rule)), &rejects_of(path))?;
        let mut writer = TableWriter::create(path, &HEADER)?;
        for hit in &self.hits {
            let tags: Vec<_> = hit.tags.iter().map(String::as_str).collect();
            let tags = tags.join("|");
            writer.row([&hit.customer, &hit.outlet, &hit.provider, &tags].map(|cell| cell.as_bytes()))?;
        }
        Ok(writer.finish().map(drop)?)
    }

    /// What was kept.
    pub(super) fn kept(path: &Path) -> Result<Self, ScreenError> {
        let mut found = Self::default();
        let mut reader = TableReader::open(path, TableOptions::default())?.choose(&HEADER)?;
        while reader.advance()? {
            let row = reader.row();
            let [customer, outlet, provider] = [0, 1, 2].map(|cell| row.text(cell).to_owned());
            found.hits.push(Hit { customer, outlet, provider, tags: split(row.text(3)) });
        }
        found.rejects = read_rejects(&rejects_of(path))?;
        Ok(found)
    }
}

/// Whether a file is what finished lookups gave, or their rejects.
pub(super) fn is_kept(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [".rows.csv", ".rows.rejects.csv"].iter().any(|end| name.ends_with(end))
}

/// Where the rejects of kept lookups stand.
fn rejects_of(path: &Path) -> PathBuf {
    path.with_extension("rejects.csv")
}

/// Reads rejects that were kept, or the same columns of a job's report of rows that are no items.
pub(super) fn read_rejects(path: &Path) -> Result<Rejects, ScreenError> {
    let mut reader = TableReader::open(path, TableOptions::default())?.choose(&REJECTS)?;
    let mut rejects = Rejects::new();
    while reader.advance()? {
        let row = reader.row();
        rejects.push((row.text(0).parse().unwrap_or_default(), row.text(1).to_owned()));
    }
    Ok(rejects)
}

/// Writes the lines that are no customers, with the rule that each breaks, never a value.
pub(super) fn write_rejects<'a>(
    rejects: impl IntoIterator<Item = (&'a u64, &'a String)>,
    path: &Path,
) -> Result<(), ScreenError> {
    let mut writer = TableWriter::create(path, &REJECTS)?;
    for (line, rule) in rejects {
        writer.row([line.to_string().as_bytes(), rule.as_bytes()])?;
    }
    Ok(writer.finish().map(drop)?)
}

/// Copies a job's report of rows that are no items; gives how many there are.
pub(super) fn copy_rejects(from: &Path, to: &Path) -> Result<u64, ScreenError> {
    let columns = ["row", "line", "field", "rule"];
    let mut reader = TableReader::open(from, TableOptions::default())?.choose(&columns)?;
    let mut writer = TableWriter::create(to, &columns)?;
    while reader.advance()? {
        writer.row(reader.row().cells())?;
    }
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(provider: &str, result: MatchResult, tags: &[&str]) -> ProviderAnswer {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        ProviderAnswer { tags, ..ProviderAnswer::new(provider, (result, None)) }
    }

    #[test]
    fn one_data_set_answers_for_its_provider_where_another_cannot() {
        let answers = [
            ProviderAnswer::unavailable("a", "GRANT_MISSING"),
            answer("a", MatchResult::Match, &["money_mule", "bulk_sms"]),
            answer("a", MatchResult::NoRecord, &[]),
            ProviderAnswer::unavailable("b", "PEER_TIMEOUT"),
            answer("c", MatchResult::NoRecord, &[]),
        ];
        assert_eq!(tags(&answers, "a").unwrap(), ["bulk_sms", "money_mule"]);
        assert!(tags(&answers, "c").unwrap().is_empty());
        // Nobody answers for another provider.
        assert_eq!(tags(&answers, "b").unwrap_err().code(), "PEER_TIMEOUT");
        assert_eq!(tags(&answers, "d").unwrap_err().code(), "NO_CONTRACT");
    }

    #[test]
    fn what_many_providers_answered_is_kept_under_a_name_of_one_length() {
        let many: Vec<_> = (0..40).map(|nth| format!("carrier-of-a-long-name-{nth}")).collect();
        assert_eq!(step_of(&many).len(), step_of(&many[..1]).len());
        assert_ne!(step_of(&many), step_of(&many[1..]));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("{}.csv", step_of(&many)));
        let tags = [String::from("bulk_sms")].into();
        let hit = Hit { customer: "K1".into(), outlet: "W1".into(), provider: many[0].clone(), tags };
        let found = Found { hits: vec![hit], rejects: vec![(7, "PHONE_LENGTH".into())] };
        found.keep(&path).unwrap();
        assert_eq!(Found::kept(&path).unwrap(), found);
    }
}
