//! `windvane grant`.

use std::path::PathBuf;

use serde::Serialize;
use windvane::admin::{GrantTerms, ScoreOutput, read_text};
use windvane::clock::{Clock as _, SystemClock, rfc3339};
use windvane_protocols::audit::grant::{Grant, Operation, PsiTerms, TrainTerms};
use windvane_protocols::identity::Family;
use windvane_protocols::limits::{
    MAX_BLOCK_TREES, MAX_PSI_ROWS, MAX_TRAIN_BLOCKS, MAX_TRAINING_ROWS, MAX_TREE_DEPTH,
};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::calibration::{Band, Bands};

use super::Answer;
use super::failure::Failure;
use super::place::{Place, hand_over};
use super::terminal::table;

/// What to do with grants.
#[derive(Debug, clap::Subcommand)]
pub(super) enum GrantCommand {
    /// Permit a partner to ask this provider, and sign it
    Issue(Box<IssueArgs>),
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
    /// Verification: which families: 1 phone, 2 phone+ID, 3 phone+name, 4 phone+ID+name, 5 ID, 6 ID+name, 7
    /// social credit
    #[arg(long, value_name = "N,N", required_unless_present_any = ["psi_runs", "score", "train_runs"], value_delimiter = ',',
        value_parser = family)]
    families: Vec<Family>,
    /// For which purposes, such as account_opening
    #[arg(long, value_name = "CODE", required = true, num_args = 1.., value_delimiter = ',')]
    purposes: Vec<String>,
    /// Which label fields the requester may use; all when not given
    #[arg(long, value_name = "FIELD", num_args = 1.., value_delimiter = ',')]
    columns: Vec<String>,
    /// Verification and joint score: elements per key and day (UTC)
    #[arg(long, value_name = "N", required_unless_present_any = ["psi_runs", "train_runs"], allow_negative_numbers = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    per_day: Option<u64>,
    /// Verification and joint score: elements per key in all
    #[arg(long, value_name = "N", required_unless_present_any = ["psi_runs", "train_runs"], allow_negative_numbers = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    total: Option<u64>,
    /// Elements per key and second; a session of more passes when a whole second's is there, and the next one once it is
    /// paid for at this rate
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Verification: how long an epoch may be, in hours, since a lookup opens a person's rows of all of it; at least
    /// `epoch_hours` of the data set
    #[arg(long, value_name = "HOURS", default_value_t = 24,
        value_parser = clap::value_parser!(u64).range(1..=87_600))]
    epoch_hours: u64,
    /// Days that the grant runs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3_650))]
    days: u64,
    #[command(flatten)]
    psi: PsiArgs,
    #[command(flatten)]
    train: TrainArgs,
    /// Joint score: permits scores of the groups among the data sets
    #[arg(long)]
    score: bool,
    /// Joint score: only the band among these may be kept, such as low:0,medium:40,high:90
    #[arg(long, value_name = "NAME:FROM", requires = "score", num_args = 1.., value_delimiter = ',', value_parser = band)]
    score_bands: Vec<Band>,
    /// Where to write the grant; printed when not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// What set intersections a grant permits.
#[derive(Debug, clap::Args)]
struct PsiArgs {
    /// Set intersection: jobs in all; without it the grant permits none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    psi_runs: Option<u64>,
    /// Set intersection: rows of the requester's file, at most
    #[arg(long, value_name = "N", requires = "psi_runs", default_value_t = MAX_PSI_ROWS)]
    psi_requester_rows: u64,
    /// Set intersection: rows of the own list, at most
    #[arg(long, value_name = "N", requires = "psi_runs", default_value_t = MAX_PSI_ROWS)]
    psi_provider_rows: u64,
    /// Set intersection: columns of the list that may travel with matches
    #[arg(long, value_name = "COLUMN", requires = "psi_runs", num_args = 1.., value_delimiter = ',')]
    psi_columns: Vec<String>,
    /// Set intersection: the same file may come again
    #[arg(long, requires = "psi_runs")]
    psi_repeated_input: bool,
    /// Set intersection: smallest result that may be released, and fewest rows of the requester's file (ecdh only). How many
    /// match is told below it too, so a requester that adds numbers which nobody has can count for a single person
    #[arg(long, value_name = "N", requires = "psi_runs", default_value_t = 0)]
    psi_minimum: u64,
}

impl PsiArgs {
    fn terms(&self) -> Option<PsiTerms> {
        Some(PsiTerms {
            max_requester_rows: self.psi_requester_rows,
            max_provider_rows: self.psi_provider_rows,
            runs: self.psi_runs?,
            repeated_input: self.psi_repeated_input,
            payload_columns: self.psi_columns.clone(),
        })
    }
}

/// What trainings of a joint model a grant permits.
#[derive(Debug, clap::Args)]
struct TrainArgs {
    /// Training: how many in all; without it the grant permits none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    train_runs: Option<u64>,
    /// Training: rows of the requester's list, decoys among them, at most
    #[arg(long, value_name = "N", requires = "train_runs", default_value_t = MAX_TRAINING_ROWS as u64)]
    train_rows: u64,
    /// Training: decoys for every real row, at least
    #[arg(long, value_name = "N", requires = "train_runs", default_value_t = 2)]
    train_decoy_factor: u64,
    /// Training: listed rows whose sum is shown, at least
    #[arg(long, value_name = "N", requires = "train_runs", default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(1..))]
    train_minimum_count: u64,
    /// Training: blocks, at most
    #[arg(long, value_name = "N", requires = "train_runs", default_value_t = u64::from(MAX_TRAIN_BLOCKS))]
    train_blocks: u64,
    /// Training: trees of a block, at most
    #[arg(long, value_name = "N", requires = "train_runs", default_value_t = u64::from(MAX_BLOCK_TREES))]
    train_trees: u64,
    /// Training: depth of a tree, at most
    #[arg(long, value_name = "N", requires = "train_runs", default_value_t = u64::from(MAX_TREE_DEPTH))]
    train_depth: u64,
    /// Training: the requester may learn the features' names
    #[arg(long, requires = "train_runs")]
    train_named_features: bool,
    /// Training: this provider may be the only one, so that the requester reads what it contributes to each row
    #[arg(long, requires = "train_runs")]
    train_alone: bool,
}

impl TrainArgs {
    fn terms(&self) -> Option<TrainTerms> {
        Some(TrainTerms {
            max_rows: self.train_rows,
            runs: self.train_runs?,
            decoy_factor: self.train_decoy_factor,
            minimum_count: self.train_minimum_count,
            max_blocks: self.train_blocks,
            max_trees: self.train_trees,
            max_depth: self.train_depth,
            named_features: self.train_named_features,
            alone: self.train_alone,
        })
    }
}

/// A band as `NAME:FROM`.
fn band(text: &str) -> Result<Band, String> {
    let (name, from) = text.split_once(':').ok_or("a band is NAME:FROM, such as high:90")?;
    let from = from.parse().map_err(|_| "a band begins at a sum from 0 to 65,535".to_owned())?;
    Ok(Band { name: name.to_owned(), from })
}

fn output(bands: Vec<Band>) -> Result<ScoreOutput, Failure> {
    if bands.is_empty() {
        return Ok(ScoreOutput::Everything);
    }
    Bands::new(bands)
        .map(ScoreOutput::Bands)
        .map_err(|error| Failure::given("GRANT_INVALID", format!("--score-bands: {error}")))
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
            per_day: self.per_day.unwrap_or(0),
            total: self.total.unwrap_or(0),
            days: self.days,
            minimum_result: self.psi.psi_minimum,
            psi: self.psi.terms(),
            score: self.score.then(|| output(self.score_bands)).transpose()?,
            train: self.train.terms(),
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
    minimum_result: u64,
    psi: Option<PsiView>,
    train: Option<TrainView>,
    /// Names and first sums of the bands that a score may be kept in; null where it is not limited to bands.
    score_bands: Option<Vec<(String, u16)>>,
}

/// The set intersections of a grant in a listing.
#[derive(Debug, Serialize)]
struct PsiView {
    max_requester_rows: u64,
    max_provider_rows: u64,
    runs: u64,
    repeated_input: bool,
    payload_columns: Vec<String>,
}

impl PsiView {
    fn of(grant: &Grant) -> Option<Self> {
        let terms = &grant.psi;
        grant.operations.contains(&Operation::Psi).then(|| Self {
            max_requester_rows: terms.max_requester_rows,
            max_provider_rows: terms.max_provider_rows,
            runs: terms.runs,
            repeated_input: terms.repeated_input,
            payload_columns: terms.payload_columns.clone(),
        })
    }
}

/// The trainings of a grant in a listing.
#[derive(Debug, Serialize)]
struct TrainView {
    max_rows: u64,
    runs: u64,
    decoy_factor: u64,
    minimum_count: u64,
    max_blocks: u64,
    max_trees: u64,
    max_depth: u64,
    named_features: bool,
    alone: bool,
}

impl TrainView {
    fn of(grant: &Grant) -> Option<Self> {
        let terms = &grant.train;
        grant.operations.contains(&Operation::Train).then_some(Self {
            max_rows: terms.max_rows,
            runs: terms.runs,
            decoy_factor: terms.decoy_factor,
            minimum_count: terms.minimum_count,
            max_blocks: terms.max_blocks,
            max_trees: terms.max_trees,
            max_depth: terms.max_depth,
            named_features: terms.named_features,
            alone: terms.alone,
        })
    }
}

impl GrantView {
    fn of((grant, ended_at_ms): (Grant, Option<u64>), now_ms: u64) -> Self {
        Self {
            minimum_result: grant.minimum_result,
            psi: PsiView::of(&grant),
            train: TrainView::of(&grant),
            score_bands: grant
                .score_bands
                .as_ref()
                .map(|bands| bands.as_slice().iter().map(|band| (band.name.clone(), band.from)).collect()),
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
