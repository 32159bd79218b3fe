//! `windvane snapshot`: a bank's copies of providers' encrypted tables.

use std::fmt::Write as _;

use windvane::admin::{Admin, Fetched};
use windvane::clock::rfc3339;
use windvane::config::ProviderConfig;
use windvane::error::{NodeError, PeerError};
use windvane_protocols::lookup::manifest::Publication;

use super::failure::Failure;
use super::place::Place;
use super::progress::{Bar, Unit};
use super::{Answer, runtime};

/// What to do with snapshots.
#[derive(Debug, clap::Subcommand)]
pub(super) enum SnapshotCommand {
    /// Download and install current snapshots, and apply their deltas; a broken download goes on where it ended
    Fetch {
        /// The provider, in all its data sets; every configured one when not given
        provider: Option<String>,
        #[command(flatten)]
        place: Place,
    },
}

impl SnapshotCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        let Self::Fetch { provider, place } = self;
        let config = place.load()?;
        if provider.is_none() && config.providers.is_empty() {
            return Err(Failure::given(
                "PROVIDER_MISSING",
                "the configuration has no [[provider]] section; add one for every contract",
            ));
        }
        let admin = place.admin()?;
        let sections = admin.fetched_sections(provider.as_deref())?;
        if sections.is_empty() {
            return Ok(Answer::text("no [[provider]] section names a data_set: there is nothing to fetch"));
        }
        runtime()?.block_on(fetch_all(&admin, &sections))
    }
}

/// One table whose provider is down or stalls does not keep the others from being renewed.
async fn fetch_all(admin: &Admin, sections: &[&ProviderConfig]) -> Result<Answer, Failure> {
    let (mut lines, mut failed) = (Vec::new(), None);
    for section in sections {
        let (party, data_set) = (&section.party, section.data_set.as_deref().unwrap_or_default());
        match fetch(admin, section, data_set).await {
            Ok(line) => lines.push(format!("{party}: {line}")),
            Err(error) => {
                let failure = Failure::from(error);
                let (code, advice) = (failure.code(), failure.advice());
                lines.push(format!("{party}: {data_set} was not fetched, {code} ({advice})"));
                failed.get_or_insert(failure);
            }
        }
    }
    match failed {
        // Alone, it is told as every command tells its error.
        Some(failure) if sections.len() == 1 => Err(failure),
        failed => Ok(Answer::text(lines.join("\n")).with_failure(failed)),
    }
}

async fn fetch(admin: &Admin, section: &ProviderConfig, data_set: &str) -> Result<String, NodeError> {
    let party = &section.party;
    let bar = Bar::new(format!("fetching {data_set} of {party}, pages"), Unit::Things);
    match admin.fetch_section(section, |done, total| bar.reach(done, total)).await {
        Ok(fetched) => Ok(told(&fetched)),
        Err(error) if error.code() == "SNAPSHOT_INSTALLED" => {
            Ok(format!("the current snapshot of {data_set} and its deltas are installed already"))
        }
        Err(NodeError::Peer(error)) => Err(named(party, error).into()),
        Err(error) => Err(error),
    }
}

/// What a fetch brought, in words.
fn told(fetched: &Fetched) -> String {
    let body = fetched.manifest.body();
    let (epoch, end) = (body.epoch, rfc3339(body.not_after_ms));
    let rows =
        |publications: &mut dyn Iterator<Item = &Publication>| publications.map(|p| p.rows).sum::<u64>();
    let mut text = format!("epoch {epoch} of {}", body.data_set);
    if fetched.installed {
        let rows = rows(&mut body.publications.iter());
        let _ = write!(text, " installed, {rows} rows, until {end}");
    }
    if fetched.dropped > 0 {
        let dropped = fetched.dropped;
        let _ = write!(text, "; {dropped} deltas were taken off: the provider has others (DELTA_FORKED)");
    }
    if !fetched.applied.is_empty() {
        let rows = rows(&mut fetched.applied.iter().map(|delta| &delta.body().publication));
        let _ = write!(text, "; {} deltas applied, {rows} rows", fetched.applied.len());
    }
    if fetched.unknown > 0 {
        let unknown = fetched.unknown;
        let _ = write!(text, "; {unknown} deltas here are not known to the provider any more, and stay");
    }
    text
}

/// A peer's words do not say which peer they are of.
fn named(provider: &str, error: PeerError) -> PeerError {
    let advice = match error.code.as_str() {
        "PEER_UNAVAILABLE" => "; check the address in the configuration, and that the provider's node runs",
        _ => "",
    };
    PeerError { message: format!("{provider}: {}{advice}", error.message), ..error }
}
