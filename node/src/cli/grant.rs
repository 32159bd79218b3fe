//! `windvane grant`.

use std::path::PathBuf;

use serde::Serialize;
use windvane::admin::{GrantTerms, read_text};
use windvane::clock::{Clock as _, SystemClock, rfc3339};
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::identity::Family;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;

use super::Answer;
use super::failure::Failure;
use super::place::{Place, hand_over};
use super::terminal::table;

/// What to do with grants.
#[derive(Debug, clap::Subcommand)]
pub(super) enum GrantCommand {
    /// Permit a partner to ask this provider, and sign it
    Issue(IssueArgs),
    /// Accept a grant that a provider issued to this node
    Accept {
        /// The grant
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// List issued and accepted grants
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a grant before its time, on either side
    End {
        /// The grant's id
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Options of `grant issue`.
#[derive(Debug, clap::Args)]
pub(super) struct IssueArgs {
    /// Who may ask
    #[arg(long, value_name = "PARTY")]
    to: PartyId,
    /// In which data sets
    #[arg(long, value_name = "NAME", required = true, num_args = 1.., value_delimiter = ',')]
    data_set: Vec<DataSet>,
    /// Which families: 1 phone, 2 phone+ID, 3 phone+name, 4 phone+ID+name, 5 ID, 6 ID+name, 7 social credit
    #[arg(long, value_name = "N,N", required = true, value_delimiter = ',', value_parser = family)]
    families: Vec<Family>,
    /// For which purposes, such as account_opening
    #[arg(long, value_name = "CODE", required = true, num_args = 1.., value_delimiter = ',')]
    purposes: Vec<String>,
    /// Which label fields the requester may use; all when not given
    #[arg(long, value_name = "FIELD", num_args = 1.., value_delimiter = ',')]
    columns: Vec<String>,
    /// Elements per key and day (UTC)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    per_day: u64,
    /// Elements per key in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    total: u64,
    /// Elements per key and second
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Longest life of an epoch
    #[arg(long, value_name = "HOURS", default_value_t = 24,
        value_parser = clap::value_parser!(u64).range(1..=87_600))]
    epoch_hours: u64,
    /// Days that the grant runs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3_650))]
    days: u64,
    /// Where to write the grant; printed when not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// A family by its number.
fn family(text: &str) -> Result<Family, String> {
    let code: u8 = text.parse().map_err(|_| "a family is a number from 1 to 10".to_owned())?;
    Family::try_from(code).map_err(|error| error.to_string())
}

impl GrantCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Issue(args) => args.run(),
            Self::Accept { file, place } => accept(&place, &file),
            Self::List { place, json } => list(&place, json),
            Self::End { id, place } => {
                place.admin()?.end_grant(&id)?;
                Ok(Answer::text(format!("grant {id} has ended; tell the other side")))
            }
        }
    }
}

impl IssueArgs {
    fn run(self) -> Result<Answer, Failure> {
        let terms = GrantTerms {
            requester: self.to,
            data_sets: self.data_set,
            families: self.families,
            purposes: self.purposes,
            columns: self.columns,
            epoch_hours: self.epoch_hours,
            rate_per_s: self.rate,
            per_day: self.per_day,
            total: self.total,
            days: self.days,
        };
        let text = self.place.admin()?.issue_grant(&terms)?;
        hand_over(self.out.as_deref(), text, &format!("grant to {}", terms.requester))
    }
}

fn accept(place: &Place, file: &std::path::Path) -> Result<Answer, Failure> {
    let grant = place.admin()?.accept_grant(&read_text(file)?)?;
    let end = rfc3339(grant.not_after_ms);
    Ok(Answer::text(format!("grant {} of {} is accepted; it runs until {end}", grant.id, grant.provider)))
}

/// A grant in a listing.
#[derive(Debug, Serialize)]
struct GrantView {
    id: String,
    state: &'static str,
    provider: String,
    requester: String,
    data_sets: Vec<String>,
    families: Vec<u8>,
    operations: Vec<&'static str>,
    purposes: Vec<String>,
    columns: Vec<String>,
    epoch_hours: u64,
    rate_per_s: u64,
    per_day: u64,
    total: u64,
    not_before: String,
    not_after: String,
    ended_at: Option<String>,
}

impl GrantView {
    fn of((grant, ended_at_ms): (Grant, Option<u64>), now_ms: u64) -> Self {
        Self {
            id: grant.id.to_string(),
            state: state(&grant, ended_at_ms, now_ms),
            provider: grant.provider.to_string(),
            requester: grant.requester.to_string(),
            data_sets: grant.data_sets.iter().map(ToString::to_string).collect(),
            families: grant.families.iter().map(|family| family.code()).collect(),
            operations: grant.operations.iter().map(|operation| operation.name()).collect(),
            purposes: grant.purposes,
            columns: grant.columns,
            epoch_hours: grant.epoch_hours,
            rate_per_s: grant.rate_per_s,
            per_day: grant.per_day,
            total: grant.total,
            not_before: rfc3339(grant.not_before_ms),
            not_after: rfc3339(grant.not_after_ms),
            ended_at: ended_at_ms.map(rfc3339),
        }
    }

    fn row(&self) -> [String; 8] {
        let families: Vec<_> = self.families.iter().map(u8::to_string).collect();
        [
            self.id.clone(),
            self.state.to_owned(),
            format!("{} -> {}", self.provider, self.requester),
            self.data_sets.join(","),
            families.join(","),
            self.purposes.join(","),
            format!("{}/day {} total", self.per_day, self.total),
            self.not_after.clone(),
        ]
    }
}

fn state(grant: &Grant, ended_at_ms: Option<u64>, now_ms: u64) -> &'static str {
    match () {
        () if ended_at_ms.is_some() => "ended",
        () if now_ms > grant.not_after_ms => "expired",
        () if now_ms < grant.not_before_ms => "pending",
        () => "running",
    }
}

fn list(place: &Place, json: bool) -> Result<Answer, Failure> {
    let now_ms = SystemClock.now_ms();
    let grants = place.admin()?.grants()?;
    let views: Vec<_> = grants.into_iter().map(|grant| GrantView::of(grant, now_ms)).collect();
    let header = ["ID", "STATE", "GRANT", "DATA SETS", "FAMILIES", "PURPOSES", "ELEMENTS", "UNTIL"];
    Ok(Answer::either(json, &views, |views| table(header, views.iter().map(GrantView::row))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_known_number_and_nothing_else() {
        assert_eq!(family("1"), Ok(Family::Phone));
        assert_eq!(family("10"), Ok(Family::IpAddress));
        for wrong in ["", "0", "11", "256", "-1", "phone", " 1"] {
            assert!(family(wrong).is_err(), "{wrong}");
        }
    }
}
