//! The node's configuration file: TOML, unknown fields refused, units in names.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;

use crate::clock::MAX_TOLERANCE_MS;
use crate::toml_text;

mod breaker;
mod certificates;
mod functions;
mod limits;
mod observability;
mod offers;
mod retention;
mod score;

pub use breaker::BreakerConfig;
pub use certificates::CertificatesConfig;
pub use functions::FunctionsConfig;
pub use limits::LimitsConfig;
pub use observability::ObservabilityConfig;
pub use offers::{ListConfig, TrainConfig, TrainPeer};
pub use retention::RetentionConfig;
pub use score::{Fallback, ScoreConfig};

/// Larger files are no configuration.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The shipped samples, which a test parses.
pub const SAMPLES: [(&str, &str); 6] = [
    ("bank.toml", include_str!("../samples/bank.toml")),
    ("carrier.toml", include_str!("../samples/carrier.toml")),
    ("deploy/bank.toml", include_str!("../deploy/bank.toml")),
    ("deploy/carrier.toml", include_str!("../deploy/carrier.toml")),
    ("deploy/docker/bank.toml", include_str!("../deploy/docker/bank.toml")),
    ("deploy/docker/carrier.toml", include_str!("../deploy/docker/carrier.toml")),
];

/// Everything a node is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The node's own name and place.
    pub node: NodeConfig,
    /// How the key store is unlocked.
    pub keys: KeysConfig,
    /// Certificates and revocation lists.
    #[serde(default)]
    pub certificates: CertificatesConfig,
    /// The interface to other nodes; a bank that only asks has none.
    pub grpc: Option<GrpcConfig>,
    /// The interface to the organisation's own systems; a provider needs none.
    pub http: Option<HttpConfig>,
    /// The log.
    #[serde(default)]
    pub log: LogSection,
    /// Whom the bank asks.
    #[serde(default, rename = "provider")]
    pub providers: Vec<ProviderConfig>,
    /// How the bank asks.
    #[serde(default)]
    pub verification: VerificationConfig,
    /// What a provider tolerates.
    #[serde(default)]
    pub service: ServiceConfig,
    /// Lists that a provider offers for set intersection.
    #[serde(default, rename = "psi")]
    pub lists: Vec<ListConfig>,
    /// Tables that a provider offers for joint trainings.
    #[serde(default, rename = "train")]
    pub tables: Vec<TrainConfig>,
    /// How the bank watches the joint score.
    #[serde(default)]
    pub score: ScoreConfig,
    /// How long what is kept.
    #[serde(default)]
    pub retention: RetentionConfig,
    /// How much one peer may take of a provider's node.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// When the bank stops asking a provider that does not answer.
    #[serde(default)]
    pub breaker: BreakerConfig,
    /// What the node does at all.
    #[serde(default)]
    pub functions: FunctionsConfig,
    /// What the node shows of itself.
    #[serde(default)]
    pub observability: ObservabilityConfig,
}

/// The node's own name and place.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The party's name, as in its certificate.
    pub party: String,
    /// Where keys, state, log, data sets and snapshots are; relative to the configuration file.
    pub data_dir: PathBuf,
}

/// How the key store is unlocked: exactly one of the two.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// A file that only its owner may read.
    pub passphrase_file: Option<PathBuf>,
    /// The name of a systemd credential.
    pub systemd_credential: Option<String>,
}

/// The interface to other nodes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Connections at a time.
    #[serde(default = "defaults::connections")]
    pub max_connections: usize,
}

/// The interface to the organisation's own systems.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// A loopback address; a proxy that terminates TLS stands in front.
    pub listen: SocketAddr,
    /// How long an `Idempotency-Key` is remembered with its answer.
    #[serde(default = "defaults::idempotency_minutes")]
    pub idempotency_minutes: u64,
}

/// The log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// Longest time between an entry and the checkpoint that covers it.
    pub checkpoint_interval_ms: u64,
    /// How long a commit waits for more entries; 0 commits at once.
    pub commit_delay_us: u64,
}

/// One provider that the bank asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// The provider's name; it must be enrolled as a partner.
    pub party: String,
    /// Host and port.
    pub address: String,
    /// In which of its data sets customers are looked up; none where it takes part in joint scores alone.
    pub data_set: Option<String>,
    /// The largest snapshot or delta that is fetched, on the disk.
    #[serde(default = "defaults::snapshot_mb")]
    pub max_snapshot_mb: u64,
}

/// How the bank asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerificationConfig {
    /// When a single verification is answered with what has come.
    pub deadline_ms: u64,
    /// When a batch of up to 4,096 is answered with what has come.
    pub batch_deadline_ms: u64,
    /// The rules of the first decision; without it the shipped ones.
    pub rules: Option<PathBuf>,
    /// How often receipts are countersigned.
    pub countersign_interval_ms: u64,
}

/// What a provider tolerates.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceConfig {
    /// How far a request's time may be from this clock, five minutes at most; sessions are remembered twice as long.
    pub clock_tolerance_ms: u64,
    /// Bytes of answers that are kept for retries.
    pub stored_answer_bytes: usize,
    /// How long a stop waits for running calls.
    pub stop_grace_ms: u64,
    /// After how long a silent requester of a set intersection is given up.
    pub psi_idle_ms: u64,
    /// How long one connection of a set intersection may take.
    pub psi_total_ms: u64,
    /// Set intersections at a time.
    pub psi_jobs: usize,
    /// The same of one requester; the others are kept out by one bank where this is not less than `psi_jobs`.
    pub psi_jobs_per_peer: usize,
    /// Memory of one set intersection for the list's records; more is spilled to the disk.
    pub psi_memory_mb: usize,
    /// Trainings that are held in memory at a time; others wait on the disk.
    pub train_sessions: usize,
    /// Calls of trainings of one requester at a time; the others are kept out by one bank where this is not less than
    /// `train_sessions`.
    pub train_sessions_per_peer: usize,
    /// After how long a training that is not through is given up.
    pub train_keep_ms: u64,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { checkpoint_interval_ms: 1_000, commit_delay_us: 0 }
    }
}

impl Default for VerificationConfig {
    fn default() -> Self {
        Self { deadline_ms: 400, batch_deadline_ms: 30_000, rules: None, countersign_interval_ms: 1_000 }
    }
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            clock_tolerance_ms: 60_000,
            stored_answer_bytes: 64 << 20,
            stop_grace_ms: 5_000,
            psi_idle_ms: 60_000,
            psi_total_ms: 86_400_000,
            psi_jobs: 4,
            psi_jobs_per_peer: 2,
            psi_memory_mb: 512,
            train_sessions: 4,
            train_sessions_per_peer: 2,
            train_keep_ms: 7 * 86_400_000,
        }
    }
}

mod defaults {
    pub(super) const fn connections() -> usize {
        256
    }

    pub(super) const fn idempotency_minutes() -> u64 {
        60
    }

    /// A billion rows of 40 bytes, and half as many again.
    pub(super) const fn snapshot_mb() -> u64 {
        64 << 10
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not TOML, a field is missing, or one is unknown.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
    /// A field's value breaks a rule.
    #[error("{field}: {rule}")]
    Field {
        /// The field.
        field: &'static str,
        /// The rule, and the way out.
        rule: String,
    },
}

impl ConfigError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "CONFIG_UNREADABLE",
            Self::Syntax { .. } => "CONFIG_SYNTAX",
            Self::Field { .. } => "CONFIG_FIELD",
        }
    }
}

impl Config {
    /// Reads a file; relative paths in it become relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let too_large = || read(std::io::Error::other("larger than 1 MiB"));
        if std::fs::metadata(path).map_err(read)?.len() > MAX_CONFIG_BYTES {
            return Err(too_large());
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let mut config = Self::parse(&text).map_err(|error| match error {
            ConfigError::Syntax { message, .. } => ConfigError::Syntax { path: path.to_owned(), message },
            other => other,
        })?;
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        Ok(config)
    }

    /// Reads a text; relative paths stay as they are.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`], [`ConfigError::Field`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml_text::parse(text)
            .map_err(|message| ConfigError::Syntax { path: PathBuf::from("configuration"), message })?;
        config.check()?;
        Ok(config)
    }

    /// The party's name.
    pub fn party(&self) -> PartyId {
        self.node.party.parse().expect("checked when the configuration was read")
    }

    fn resolve(&mut self, base: &Path) {
        let join = |path: &mut PathBuf| *path = base.join(&*path);
        join(&mut self.node.data_dir);
        self.keys.passphrase_file.iter_mut().for_each(join);
        self.verification.rules.iter_mut().for_each(join);
        self.lists.iter_mut().for_each(|list| join(&mut list.file));
        for table in &mut self.tables {
            join(&mut table.file);
            join(&mut table.universe);
            table.schema.iter_mut().for_each(join);
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |field, rule: &str| Err(ConfigError::Field { field, rule: rule.to_owned() });
        if let Err(error) = self.node.party.parse::<PartyId>() {
            return refuse("node.party", &error.to_string());
        }
        if self.keys.passphrase_file.is_some() == self.keys.systemd_credential.is_some() {
            return refuse("keys", "name exactly one of passphrase_file and systemd_credential");
        }
        if self.http.as_ref().is_some_and(|http| !http.listen.ip().is_loopback()) {
            return refuse(
                "http.listen",
                "must be a loopback address; put a proxy that terminates TLS in front",
            );
        }
        if self.http.as_ref().is_some_and(|http| !(1..=7 * 24 * 60).contains(&http.idempotency_minutes)) {
            return refuse("http.idempotency_minutes", "is 1 to 10080");
        }
        if !(100..=3_600_000).contains(&self.log.checkpoint_interval_ms) {
            return refuse("log.checkpoint_interval_ms", "is 100 to 3600000");
        }
        if !(10..=60_000).contains(&self.verification.deadline_ms) {
            return refuse("verification.deadline_ms", "is 10 to 60000");
        }
        self.certificates.check()?;
        self.check_providers()?;
        offers::check_lists(&self.lists)?;
        offers::check_tables(&self.tables)?;
        self.check_service()?;
        self.retention.check()?;
        self.limits.check()?;
        self.breaker.check()?;
        self.observability.check()?;
        self.score.check()
    }

    fn check_service(&self) -> Result<(), ConfigError> {
        let rule = |field, rule: &str| Err(ConfigError::Field { field, rule: rule.to_owned() });
        if !(1..=64).contains(&self.service.train_sessions) {
            return rule("service.train_sessions", "is 1 to 64");
        }
        if self.service.clock_tolerance_ms > MAX_TOLERANCE_MS {
            return rule(
                "service.clock_tolerance_ms",
                "is at most 300000; an audit takes no more for granted",
            );
        }
        let shares = [
            ("service.psi_jobs_per_peer", self.service.psi_jobs_per_peer),
            ("service.train_sessions_per_peer", self.service.train_sessions_per_peer),
        ];
        match shares.into_iter().find(|(_, share)| *share == 0) {
            Some((field, _)) => rule(field, "is at least 1; to permit none, end the grant"),
            None => Ok(()),
        }
    }

    fn check_providers(&self) -> Result<(), ConfigError> {
        let refuse = |field, rule: String| Err(ConfigError::Field { field, rule });
        let mut seen = std::collections::BTreeSet::new();
        for provider in &self.providers {
            if let Err(error) = provider.party.parse::<PartyId>() {
                return refuse("provider.party", error.to_string());
            }
            if let Some(Err(error)) = provider.data_set.as_ref().map(|name| name.parse::<DataSet>()) {
                return refuse("provider.data_set", error.to_string());
            }
            if provider.max_snapshot_mb == 0 {
                return refuse("provider.max_snapshot_mb", "is at least 1".to_owned());
            }
            if provider.address.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                return refuse("provider.address", "is host:port".to_owned());
            }
            if !seen.insert((&provider.party, &provider.data_set)) {
                return refuse("provider", format!("{} is named twice with one data set", provider.party));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_samples_are_valid() {
        for (name, text) in SAMPLES {
            Config::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn a_table_for_trainings_is_checked_and_its_paths_are_relative_to_the_file() {
        let (_, carrier) = SAMPLES[1];
        let print = "ab".repeat(32);
        let section = format!(
            "\n[[train]]\nname = \"telecom-risk\"\nfile = \"f.csv\"\nuniverse = \"u.pem\"\nschema = \"s.pem\"\n\
             [[train.peers]]\nparty = \"carrier-b\"\nidentity = \"{print}\"\n"
        );
        let text = format!("{carrier}{section}");
        let mut config = Config::parse(&text).unwrap();
        config.resolve(Path::new("/etc/windvane"));
        let table = &config.tables[0];
        assert_eq!((table.number.as_str(), table.file.to_str()), ("number", Some("/etc/windvane/f.csv")));
        assert_eq!(table.schema.as_deref(), Some(Path::new("/etc/windvane/s.pem")));
        for (from, to, expected) in [
            ("\"telecom-risk\"", "\"T\"", "train.name"),
            ("carrier-b", "Carrier", "train.peers.party"),
            (print.as_str(), "ab", "train.peers.identity"),
            ("universe =", "univers =", "univers"),
            ("schema = \"s.pem\"", "group = \"G\"", "train.group"),
        ] {
            assert!(section.contains(from), "{from}");
            let changed = format!("{carrier}{}", section.replacen(from, to, 1));
            let error = Config::parse(&changed).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let twice = format!("{text}{section}");
        assert!(Config::parse(&twice).unwrap_err().to_string().contains("named twice"));
    }

    #[test]
    fn a_limit_that_permits_nothing_is_refused() {
        let (_, carrier) = SAMPLES[1];
        for (from, to, expected) in [
            ("calls_per_peer = 32", "calls_per_peer = 0", "limits.calls_per_peer"),
            ("memory_per_peer_mb = 16", "memory_per_peer_mb = 1", "limits.memory_per_peer_mb"),
            ("slow_reader_ms = 30000", "slow_reader_ms = 1", "limits.slow_reader_ms"),
            ("handshakes = 256", "handshake = 256", "handshake"),
            ("psi_jobs_per_peer = 2", "psi_jobs_per_peer = 0", "service.psi_jobs_per_peer"),
            ("train_sessions_per_peer = 2", "train_sessions_per_peer = 0", "service.train_sessions_per_peer"),
        ] {
            assert!(carrier.contains(from), "{from}");
            let error = Config::parse(&carrier.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_clock_may_be_off_by_as_much_as_an_audit_takes_for_granted() {
        let (_, carrier) = SAMPLES[1];
        let tolerating = |ms: u64| {
            Config::parse(&carrier.replacen("_tolerance_ms = 60000", &format!("_tolerance_ms = {ms}"), 1))
        };
        assert!(tolerating(MAX_TOLERANCE_MS).is_ok());
        let error = tolerating(MAX_TOLERANCE_MS + 1).unwrap_err().to_string();
        assert!(error.contains("service.clock_tolerance_ms"), "{error}");
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let (_, bank) = SAMPLES[0];
        for (from, to, expected) in [
            ("party = \"bank\"", "party = \"Bank\"", "node.party"),
            ("127.0.0.1:8443", "0.0.0.0:8443", "http.listen"),
            ("data_set = \"subscribers\"", "data_set = \"S\"", "provider.data_set"),
            ("deadline_ms = 400", "deadline_ms = 1", "verification.deadline_ms"),
            ("deadline_ms = 400", "deadline = 400", "deadline"),
            ("warn_days = 30", "warn_days = 0", "certificates.warn_days"),
            ("psi_alert = 0.1", "psi_alert = 0.3", "score.psi_alert"),
            ("psi_alert = 0.1", "psi_alert = nan", "score.psi_alert"),
            ("unavailable_fallback = 0.5", "unavailable_fallback = 1.5", "score.unavailable_alert"),
            ("idempotency_minutes = 60", "idempotency_minutes = 0", "http.idempotency_minutes"),
            ("failures = 5", "failures = 0", "breaker.failures"),
            ("share = 0.5\nopen", "share = 1.5\nopen", "breaker.share"),
            ("max_open_ms = 30000", "max_open_ms = 1", "breaker.max_open_ms"),
            ("max_snapshot_mb = 65536", "max_snapshot_mb = 0", "provider.max_snapshot_mb"),
            ("training = true", "trainings = true", "trainings"),
            ("window = 1000", "window = 376", "score.window"),
            ("window = 1000", "red_alert = 0.0", "score.red_alert"),
            ("fallback = \"rules\"", "fallback = \"none\"", "fallback"),
        ] {
            assert!(bank.contains(from), "{from}");
            let error = Config::parse(&bank.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
