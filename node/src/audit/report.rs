//! What a check of one log, or a comparison of several, found: for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use windvane_protocols::party::SessionId;

use crate::evidence::verify;

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of failure, stable over versions: see [`super::code`] and [`verify::code`].
    pub code: &'static str,
    /// Index of the entry, where it is about one.
    pub entry: Option<u64>,
    /// The session as hexadecimal digits, where it is about one.
    pub session: Option<String>,
    /// Where: an entry, or a path below the log's directory.
    pub location: String,
    /// In words.
    pub text: String,
}

impl From<verify::Finding> for Finding {
    fn from(found: verify::Finding) -> Self {
        let entry = found.location.strip_prefix("entry ").and_then(|index| index.parse().ok());
        let (location, text) = (printable(&found.location), printable(&found.text));
        Self { code: found.code, entry, session: None, location, text }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.code, self.location)?;
        if let Some(session) = &self.session {
            write!(f, ", session {session}")?;
        }
        write!(f, ": {}", self.text)
    }
}

/// A failure before its entry is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) session: Option<SessionId>,
    pub(super) text: String,
}

impl Fault {
    pub(super) fn new(code: &'static str, text: impl fmt::Display) -> Self {
        Self { code, session: None, text: text.to_string() }
    }

    pub(super) fn of(self, session: SessionId) -> Self {
        Self { session: Some(session), ..self }
    }

    pub(super) fn at(self, entry: u64) -> Finding {
        Finding {
            code: self.code,
            entry: Some(entry),
            session: self.session.map(|session| session.to_string()),
            location: format!("entry {entry}"),
            text: self.text,
        }
    }
}

/// How much of a grant was used, as one log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantUse {
    /// The grant.
    pub grant: String,
    /// Who asked.
    pub requester: String,
    /// Who answered.
    pub provider: String,
    /// The key group, or `score`.
    pub group: &'static str,
    /// Elements answered in all.
    pub used: u64,
    /// Elements permitted in all.
    pub total: u64,
    /// Elements answered on the busiest day (UTC).
    pub busiest_day: u64,
    /// Elements permitted in a day.
    pub per_day: u64,
}

/// What a check of one log found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Whose log it is, as its first entry says.
    pub party: Option<String>,
    /// The key under which the checkpoint was checked, as text: to compare with what the party published.
    pub log_key: Option<String>,
    /// Entries under the checkpoint.
    pub size: u64,
    /// The checkpoint's root, hexadecimal.
    pub root: String,
    /// Time of the first entry, RFC 3339.
    pub from: Option<String>,
    /// Time of the last entry, RFC 3339.
    pub to: Option<String>,
    /// Entries by kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// What was used of every grant.
    pub grants: Vec<GrantUse>,
    /// All failures; none when the log is good.
    pub findings: Vec<Finding>,
    /// What is worth knowing and is no failure.
    pub notes: Vec<String>,
    /// Receipts without a countersignature (`UNCOUNTERSIGNED`).
    pub uncountersigned: u64,
}

impl AuditReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }

    /// The verdict: `OK`, or the number of findings.
    pub fn verdict(&self) -> String {
        match self.findings.len() {
            0 => "OK".to_owned(),
            found => counted(found as u64, "finding"),
        }
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Log of {}", self.party.as_deref().unwrap_or("an unknown party"))?;
        writeln!(f, "  entries          {}", self.size)?;
        writeln!(f, "  root             {}", self.root)?;
        if let Some(key) = &self.log_key {
            writeln!(f, "  key              {key}")?;
        }
        if let (Some(from), Some(to)) = (&self.from, &self.to) {
            writeln!(f, "  time             {from} to {to}")?;
        }
        self.counts.iter().try_for_each(|(kind, count)| writeln!(f, "    {kind:<15}{count:>12}"))?;
        writeln!(f, "  UNCOUNTERSIGNED  {}", self.uncountersigned)
    }

    fn write_grants(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.grants.is_empty() {
            return Ok(());
        }
        writeln!(f, "  grants           used / total, busiest day / per day")?;
        self.grants.iter().try_for_each(|g| {
            let (who, uses) = (format!("{} asks {}", g.requester, g.provider), g.group);
            let days = format!("{} / {}", g.busiest_day, g.per_day);
            writeln!(f, "    {} {who}, {uses}: {} / {}, {days}", g.grant, g.used, g.total)
        })
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_grants(f)?;
        write_list(f, "notes", &self.notes)?;
        write_list(f, "findings", &self.findings)?;
        writeln!(f, "  verdict          {}", self.verdict())
    }
}

/// An entry in a party's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Whose log.
    pub party: String,
    /// Index of the entry.
    pub entry: u64,
}

/// One difference between two logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What kind of difference, stable over versions: see [`super::code`].
    pub code: &'static str,
    /// The party whose log lacks something; where both have it and differ, `None`.
    pub lacking: Option<String>,
    /// The session as hexadecimal digits, where it is about one.
    pub session: Option<String>,
    /// The entries that it is about, in the logs that have them.
    pub places: Vec<Place>,
    /// In words.
    pub text: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)?;
        if let Some(session) = &self.session {
            write!(f, ", session {session}")?;
        }
        self.places.iter().try_for_each(|place| write!(f, ", entry {} of {}", place.entry, place.party))?;
        write!(f, ": {}", self.text)
    }
}

/// What two parties have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PairReport {
    /// Who asked.
    pub requester: String,
    /// Who answered.
    pub provider: String,
    /// Sessions that stand in at least one of the logs.
    pub sessions: u64,
    /// Sessions whose receipt stands in both logs, the same.
    pub agreed: u64,
    /// Of these, those countersigned in both logs.
    pub countersigned: u64,
    /// Receipts without a countersignature in either log (`UNCOUNTERSIGNED`).
    pub uncountersigned: u64,
    /// Sessions without a receipt for which a log gives a reason, by its code.
    pub explained: BTreeMap<String, u64>,
    /// Grants that both logs have.
    pub grants: u64,
    /// Set intersections and trainings that stand in at least one of the logs.
    pub jobs: u64,
    /// Jobs whose receipt, with its transcript hash, stands in both logs, the same.
    pub jobs_agreed: u64,
    /// Trainings that the requester did not end, of which the provider signed what it had answered.
    pub jobs_lapsed: u64,
}

/// What a comparison of logs found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReconcileReport {
    /// The checks of every log by itself, in the order given.
    pub logs: Vec<AuditReport>,
    /// Every requester with every provider that it had to do with.
    pub pairs: Vec<PairReport>,
    /// All differences; none when the logs agree.
    pub differences: Vec<Difference>,
    /// What is worth knowing and is no difference.
    pub notes: Vec<String>,
}

impl ReconcileReport {
    /// Whether the logs agree and every one of them is good.
    pub fn is_ok(&self) -> bool {
        self.differences.is_empty() && self.logs.iter().all(AuditReport::is_ok)
    }

    /// The verdict: `OK`, or the numbers of differences and findings.
    pub fn verdict(&self) -> String {
        let findings: usize = self.logs.iter().map(|log| log.findings.len()).sum();
        match (self.differences.len(), findings) {
            (0, 0) => "OK".to_owned(),
            (differences, findings) => {
                let differences = counted(differences as u64, "difference");
                format!("{differences}, {}", counted(findings as u64, "finding"))
            }
        }
    }
}

impl fmt::Display for ReconcileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.logs.iter().try_for_each(|log| writeln!(f, "{log}"))?;
        writeln!(f, "Reconciliation")?;
        for pair in &self.pairs {
            let PairReport { requester, provider, sessions, agreed, countersigned, .. } = pair;
            writeln!(f, "  {requester} asks {provider}")?;
            writeln!(f, "    sessions         {sessions:>12}\n    receipts agreed  {agreed:>12}")?;
            writeln!(f, "    countersigned    {countersigned:>12}")?;
            writeln!(f, "    UNCOUNTERSIGNED  {:>12}", pair.uncountersigned)?;
            pair.explained
                .iter()
                .try_for_each(|(code, count)| writeln!(f, "    no receipt       {count:>12}  {code}"))?;
            writeln!(f, "    grants           {:>12}", pair.grants)?;
            writeln!(f, "    jobs             {:>12}", pair.jobs)?;
            writeln!(f, "    jobs agreed      {:>12}", pair.jobs_agreed)?;
            writeln!(f, "    jobs given up    {:>12}", pair.jobs_lapsed)?;
        }
        write_list(f, "notes", &self.notes)?;
        write_list(f, "differences", &self.differences)?;
        writeln!(f, "  verdict          {}", self.verdict())
    }
}

/// A titled list; nothing when it is empty.
fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, title: &str, items: &[T]) -> fmt::Result {
    if !items.is_empty() {
        writeln!(f, "  {title}")?;
    }
    items.iter().try_for_each(|item| writeln!(f, "    {item}"))
}

/// Names of files are whatever somebody put there; they must not drive the reader's terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A number and its noun.
pub(super) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
