//! A bank, its carriers and whoever else takes part in their joint score, as separate processes on loopback, for a
//! trial on one machine.
//!
//! **Promised**: fresh keys and certificates for every fleet; the nodes are this program's own, started as an
//! operator starts them, over mutual TLS; they are stopped in order, the bank first so that it can
//! countersign, also when the fleet is dropped. **Not promised**: separation. One process makes all parties'
//! keys in one directory, and every passphrase lies beside its keys.
//!
//! ```text
//! <dir>/certificates/        the trial's certificate authority
//! <dir>/token                the bank's caller token
//! <dir>/<party>/node.toml    the party's configuration
//! <dir>/<party>/dataset.toml a carrier's data set, with carrier-schema.toml
//! <dir>/<party>/data/        keys, state, log, data sets or snapshots
//! <dir>/<party>/node.log     what the node wrote to standard error
//! <dir>/score/               the scoring group, where there is one
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::task::block_in_place;
use windvane_keys::files::{read_public, write_private};

use crate::config::Config;
use crate::dataset::ImportReport;
use crate::http::Token;

mod authority;
mod error;
pub mod operators;
pub mod pair;
mod party;
mod process;
pub mod scoring;
pub mod screening;
pub mod training;

pub use error::FleetError;
pub use process::Ready;

use authority::Authority;
use party::Party;
use process::Process;
use scoring::{Group, Scored, Scoring};

/// The purpose that the grants name.
pub const PURPOSE: &str = "account_opening";

/// The bank's party id.
const BANK: &str = "bank";

/// The name under which the bank admits the caller of its interface.
const CALLER: &str = "trial";

/// Largest log of a node that is read back.
const MAX_NODE_LOG_BYTES: usize = 64 << 20;

/// What is to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// An existing directory without anything of an earlier fleet.
    pub dir: PathBuf,
    /// The carriers' party ids and the files that they deliver.
    pub carriers: Vec<(String, PathBuf)>,
    /// The joint score that they are to give, if any.
    pub scoring: Option<Scoring>,
    /// The `windvane` program.
    pub program: PathBuf,
}

impl Plan {
    /// A plan that runs this very program.
    ///
    /// # Errors
    /// [`FleetError::Io`] when the system does not tell where it is.
    pub fn new(dir: PathBuf, carriers: Vec<(String, PathBuf)>) -> Result<Self, FleetError> {
        let program = std::env::current_exe().map_err(FleetError::io("finding this program"))?;
        Ok(Self { dir, carriers, scoring: None, program })
    }
}

/// A running bank and its carriers.
#[derive(Debug)]
pub struct Fleet {
    dir: PathBuf,
    bank_url: String,
    token: Token,
    /// The bank first: it must stop first.
    members: Vec<Member>,
    imports: Vec<ImportReport>,
    scored: Option<Scored>,
}

#[derive(Debug)]
struct Member {
    party: String,
    dir: PathBuf,
    verifier: String,
    process: Process,
    ready: Ready,
}

impl Fleet {
    /// Makes keys, enrolments, grants and tables, and starts all nodes. `note` hears what is being done.
    ///
    /// Needs a runtime of several threads.
    ///
    /// # Errors
    /// [`FleetError`]; nodes that run already are stopped.
    pub async fn start(plan: &Plan, note: &(dyn Fn(&str) + Sync)) -> Result<Self, FleetError> {
        note("making keys, certificates and grants");
        let mut bank = block_in_place(|| Party::bank(&plan.dir.join(BANK), BANK))?;
        let mut providers = block_in_place(|| found(plan, &bank))?;
        let imports = block_in_place(|| {
            let published = providers.iter_mut().zip(&plan.carriers);
            published.map(|(carrier, (_, file))| carrier.publish(file, note)).collect::<Result<Vec<_>, _>>()
        })?;
        let group = plan.scoring.as_ref();
        let group =
            group.map(|scoring| block_in_place(|| Group::found(&plan.dir, scoring, &bank, &providers)));
        let group = group.transpose()?;
        note("starting the providers");
        let providers = serve(providers, &plan.program).await?;
        let addresses: Vec<_> = providers.iter().filter_map(Member::address).collect();
        let (carriers, scorers) = addresses.split_at(plan.carriers.len());
        block_in_place(|| bank.know_all(carriers, scorers))?;
        note("fetching the snapshots");
        for (party, _) in carriers {
            bank.fetch(party).await?;
        }
        let scored = match group {
            Some(group) => Some(group.activate(&bank, |party| plan.dir.join(party), note).await?),
            None => None,
        };
        let token = block_in_place(|| bank.admit(CALLER))?;
        let path = plan.dir.join("token");
        write_private(&path, token.expose().as_bytes()).map_err(FleetError::party(BANK))?;
        note("starting the bank");
        let mut members = serve(vec![bank], &plan.program).await?;
        let http = members[0].ready.http.ok_or_else(|| FleetError::NotReady { party: BANK.to_owned() })?;
        members.extend(providers);
        let bank_url = format!("http://{http}");
        Ok(Self { dir: plan.dir.clone(), bank_url, token, members, imports, scored })
    }

    /// Where the bank's REST interface is.
    pub fn bank_url(&self) -> &str {
        &self.bank_url
    }

    /// The caller's token of that interface; it stands in the file `token` as well.
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// Where everything of the fleet is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The joint score that is active.
    pub const fn scored(&self) -> Option<&Scored> {
        self.scored.as_ref()
    }

    /// Lets the bank use the joint score, or its rules alone; its node follows within a fraction of a second. Nothing
    /// changes where there is no score.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn use_score(&self, on: bool) -> Result<(), FleetError> {
        self.scored.as_ref().map_or(Ok(()), |scored| scored.switch(&self.dir.join(BANK), on))
    }

    /// The providers' party ids and addresses: the carriers, and those who take part in scores alone.
    pub fn carriers(&self) -> Vec<(String, SocketAddr)> {
        self.members.iter().filter_map(Member::address).collect()
    }

    /// What each carrier's import found.
    pub fn imports(&self) -> &[ImportReport] {
        &self.imports
    }

    /// Every node's party id and process id, the bank first.
    pub fn processes(&self) -> Vec<(&str, u32)> {
        self.members.iter().map(|member| (member.party.as_str(), member.ready.pid)).collect()
    }

    /// Every node's log directory, the bank's first.
    pub fn log_dirs(&self) -> Vec<PathBuf> {
        self.members.iter().map(|member| member.dir.join("data/log")).collect()
    }

    /// The verifier keys of those logs, in the same order.
    pub fn log_verifiers(&self) -> Vec<&str> {
        self.members.iter().map(|member| member.verifier.as_str()).collect()
    }

    /// The bank's configuration.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn bank_config(&self) -> Result<Config, FleetError> {
        party::load(&self.dir.join(BANK)).map_err(FleetError::party(BANK))
    }

    /// What each node has written to standard error so far: party id and text.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn node_logs(&self) -> Result<Vec<(&str, String)>, FleetError> {
        let read = |member: &'_ Member| {
            let bytes = read_public(&process::log_path(&member.dir), MAX_NODE_LOG_BYTES);
            bytes.map_err(FleetError::party(&member.party))
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.members.iter().map(|member| Ok((member.party.as_str(), text(read(member)?)))).collect()
    }

    /// Stops the bank, which countersigns what waits, and then the carriers. Blocks until they have ended.
    ///
    /// # Errors
    /// [`FleetError`] of the first node that did not end well; the others are stopped all the same.
    pub fn stop(&mut self) -> Result<(), FleetError> {
        let stops: Vec<_> = self.members.iter_mut().map(|member| member.process.stop()).collect();
        stops.into_iter().collect()
    }
}

impl Member {
    fn address(&self) -> Option<(String, SocketAddr)> {
        Some((self.party.clone(), self.ready.grpc?))
    }
}

/// The keys of the carriers and then of those who take part in scores alone, all enrolments, and the grants.
fn found(plan: &Plan, bank: &Party) -> Result<Vec<Party>, FleetError> {
    let authority = Authority::create(&plan.dir.join("certificates"))?;
    let ours = bank.enrol(&authority)?;
    let scoring = plan.scoring.as_ref();
    let scores = |party: &str| scoring.is_some_and(|scoring| scoring.has(party));
    let carriers = plan.carriers.iter().map(|(party, _)| {
        let carrier = Party::carrier(&plan.dir.join(party), party)?;
        acquaint(bank, &ours, &carrier, &authority)?;
        bank.accept(&if scores(party) { carrier.grant_with_score(BANK)? } else { carrier.grant(BANK)? })?;
        Ok(carrier)
    });
    let scorers = scoring.into_iter().flat_map(|scoring| scoring.others(&plan.carriers)).map(|party| {
        let scorer = Party::scorer(&plan.dir.join(party), party)?;
        acquaint(bank, &ours, &scorer, &authority)?;
        bank.accept(&scorer.grant_score(BANK)?)?;
        Ok(scorer)
    });
    carriers.chain(scorers).collect()
}

/// Enrols a provider, and makes it and the bank each other's partners.
fn acquaint(bank: &Party, ours: &str, provider: &Party, authority: &Authority) -> Result<(), FleetError> {
    let theirs = provider.enrol(authority)?;
    provider.import_enrolment(ours)?;
    bank.import_enrolment(&theirs)
}

/// Starts nodes beside each other and waits for all of them.
async fn serve(parties: Vec<Party>, program: &Path) -> Result<Vec<Member>, FleetError> {
    let mut started = Vec::with_capacity(parties.len());
    for party in parties {
        let verifier = party.log_verifier()?;
        let (name, dir) = party.close();
        let process = Process::spawn(program, &name, &dir)?;
        started.push((name, dir, verifier, process));
    }
    let mut members = Vec::with_capacity(started.len());
    for (party, dir, verifier, mut process) in started {
        let ready = process.ready(&dir).await?;
        members.push(Member { party, dir, verifier, process, ready });
    }
    Ok(members)
}
