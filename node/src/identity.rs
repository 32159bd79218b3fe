//! The node's own keys and certificate, loaded once, and where its files are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use windvane_keys::enrolment::Enrolment;
use windvane_keys::identity::{TlsIdentity, TlsKey};
use windvane_keys::passphrase::Passphrase;
use windvane_keys::rotation::load_subject_tag;
use windvane_keys::signing::{LogKey, ReceiptKey, log_origin};
use windvane_keys::store::{FileStore, KeyStore as _};
use windvane_keys::symmetric::{LookupKey, StorageKey};
use windvane_keys::trust::Trust;
use windvane_protocols::audit::entry::{Entry, Event, Keys};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::oprf::PrivateKey;
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::Record as _;

use crate::config::{CertificatesConfig, Config, KeysConfig};
use crate::error::NodeError;
use crate::evidence::disk::{Disk, SystemDisk};
use crate::evidence::{EvidenceLog, LogConfig};
use crate::store::{Store, StoredAuthority};

mod trust;

/// Largest enrolment file.
const MAX_ENROLMENT_BYTES: usize = 64 << 10;

/// Where a node's files are.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below a data directory.
    pub const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The data directory itself; data sets and snapshots have their folders in it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The key store.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The state file.
    pub fn state(&self) -> PathBuf {
        self.root.join("state.db")
    }

    /// The log: nothing but `tlog-tiles` files.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The log's journal.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The data sets that have a folder here.
    ///
    /// # Errors
    /// [`NodeError::Io`].
    pub fn data_sets(&self) -> Result<Vec<DataSet>, NodeError> {
        let dir = self.root.join("datasets");
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let listed = std::fs::read_dir(&dir).map_err(NodeError::io(dir.display().to_string()))?;
        let name = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        let mut names: Vec<_> = listed.flatten().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// The node's own enrolment, with its certificate.
    pub fn enrolment(&self) -> PathBuf {
        self.root.join("enrolment.pem")
    }
}

/// The keys that a node holds from its first day.
#[derive(Debug)]
pub struct NodeKeys {
    /// The node's own name.
    pub party: PartyId,
    /// The sealed store, for OPRF epochs.
    pub store: FileStore,
    /// Signs requests, receipts, grants and manifests.
    pub receipt: ReceiptKey,
    /// Signs checkpoints.
    pub log: LogKey,
    /// Groups a person's entries in the node's own log.
    pub subject_tag: PrivateKey,
    /// Seals identities at rest.
    pub storage: StorageKey,
    /// Finds sealed identities again.
    pub lookup: LookupKey,
}

impl NodeKeys {
    /// Opens the store and loads the keys.
    ///
    /// # Errors
    /// [`NodeError`] when the store, the passphrase or a key is not there.
    pub fn open(config: &Config) -> Result<Self, NodeError> {
        let layout = Layout::new(config.node.data_dir.clone());
        let store = FileStore::open(&layout.keys(), &passphrase(&config.keys)?)?;
        Ok(Self {
            party: config.party(),
            receipt: ReceiptKey::load(&store)?,
            log: LogKey::load(&store)?,
            subject_tag: load_subject_tag(&store)?,
            storage: StorageKey::load(&store)?,
            lookup: LookupKey::load(&store)?,
            store,
        })
    }

    /// The key that signs what the node says.
    pub fn signing_key(&self) -> &SigningKey {
        self.receipt.signing_key()
    }

    /// The public halves, as they stand in the log.
    pub fn public(&self) -> Keys {
        Keys {
            party: self.party.clone(),
            receipt: self.receipt.verifying_key().to_bytes(),
            log: self.log.verifying_key().to_bytes(),
            subject_tag: self.subject_tag.public().as_bytes().to_vec(),
        }
    }

    /// Opens the log of a node in service, and writes the first entries of one that has none: the node's name and public
    /// halves, and its keys as they stand. Nothing else may come first, or no auditor knows whose log it is; the command
    /// that made the keys may have been killed before it.
    ///
    /// # Errors
    /// [`NodeError`]; `LOG_MISSING` when the state knows that the log had entries, `LOG_IN_USE` when another process has it.
    pub(crate) fn open_log_in_service(
        &self,
        config: &Config,
        disk: &Arc<dyn Disk>,
        store: &Store,
        now_ms: u64,
    ) -> Result<EvidenceLog, NodeError> {
        let log = self.open_log_on(config, disk)?;
        if log.size() > 0 {
            return Ok(log);
        }
        let known = store.known_entries()?;
        if known > 0 {
            let message = format!(
                "the log is empty, and the state file knows of {known} entries; put the log's folder back, or restore \
                 the node from its backup"
            );
            return Err(NodeError::Given { code: "LOG_MISSING", message });
        }
        let opened = std::iter::once(Event::Opened(self.public()));
        let records = self.store.records()?.into_iter().map(|record| Event::Key {
            purpose: record.purpose.to_string(),
            public: record.public,
            state: record.state.as_str().to_owned(),
        });
        let entries = opened.chain(records).map(|event| Entry::new(now_ms, event).encode().into_bytes());
        log.append_blocking(entries.collect())?;
        Ok(log)
    }

    /// Opens the node's log, of which there is one writer at a time, as it is.
    ///
    /// # Errors
    /// [`NodeError`], `LOG_IN_USE` when another process has it.
    pub fn open_log(&self, config: &Config) -> Result<EvidenceLog, NodeError> {
        self.open_log_on(config, &system_disk())
    }

    fn open_log_on(&self, config: &Config, disk: &Arc<dyn Disk>) -> Result<EvidenceLog, NodeError> {
        let layout = Layout::new(config.node.data_dir.clone());
        let log = LogConfig {
            dir: layout.log(),
            journal: layout.journal(),
            origin: log_origin(&self.party),
            checkpoint_interval: std::time::Duration::from_millis(config.log.checkpoint_interval_ms),
            gather: std::time::Duration::from_micros(config.log.commit_delay_us),
        };
        Ok(EvidenceLog::open_on(log, self.log.signing_key().clone(), disk)?)
    }
}

/// The disk of the system.
pub(crate) fn system_disk() -> Arc<dyn Disk> {
    Arc::new(SystemDisk)
}

/// The certificate that others know the node by, and whom the node believes.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Private key and chain.
    pub tls: Arc<TlsIdentity>,
    /// The authorities that partners' certificates must lead to, and what these revoked.
    pub trust: Arc<Trust>,
    source: Arc<Source>,
}

/// What a certificate and its trust were read from, to see whether it changed.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    enrolment: Vec<u8>,
    authorities: Vec<StoredAuthority>,
    lists: Vec<([u8; 32], i64)>,
}

impl Source {
    fn read(layout: &Layout, store: &Store) -> Result<Self, NodeError> {
        let path = layout.enrolment();
        if !path.exists() {
            return Err(NodeError::NotEnrolled { path });
        }
        let enrolment = windvane_keys::files::read_public(&path, MAX_ENROLMENT_BYTES)?;
        let (authorities, lists) = store.trust_version()?;
        Ok(Self { enrolment, authorities, lists })
    }
}

impl Certificate {
    /// Loads the node's own enrolment, and whom it believes.
    ///
    /// # Errors
    /// [`NodeError`]; `NOT_ENROLLED` when the node has none yet.
    pub fn load(config: &Config, keys: &NodeKeys, store: &Store) -> Result<Self, NodeError> {
        let layout = Layout::new(config.node.data_dir.clone());
        Self::open(Source::read(&layout, store)?, keys, store, config.certificates)
    }

    /// Loads the same with keys and state opened for this alone.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of(config: &Config) -> Result<Self, NodeError> {
        let layout = Layout::new(config.node.data_dir.clone());
        Self::load(config, &NodeKeys::open(config)?, &Store::open(&layout.state())?)
    }

    /// The same as it stands now, where anything of it changed.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) fn renewed(
        &self,
        layout: &Layout,
        keys: &NodeKeys,
        store: &Store,
    ) -> Result<Option<Self>, NodeError> {
        let source = Source::read(layout, store)?;
        if source == *self.source {
            return Ok(None);
        }
        let refuse_overdue_lists = self.trust.refuses_overdue();
        let config = CertificatesConfig { refuse_overdue_lists, ..CertificatesConfig::default() };
        Self::open(source, keys, store, config).map(Some)
    }

    fn open(
        source: Source,
        keys: &NodeKeys,
        store: &Store,
        config: CertificatesConfig,
    ) -> Result<Self, NodeError> {
        let enrolment = Enrolment::from_pem(&String::from_utf8_lossy(&source.enrolment))?;
        let tls = TlsKey::load_for(&keys.store, enrolment.request().tls_public_key())?;
        enrolment.check_ours(&keys.receipt, &keys.log, &tls)?;
        let trust = trust::load(enrolment.authority().clone(), store, &config)?;
        let tls = Arc::new(TlsIdentity::new(tls, enrolment.chain())?);
        Ok(Self { tls, trust: Arc::new(trust), source: Arc::new(source) })
    }
}

/// The passphrase that the configuration names.
///
/// # Errors
/// [`NodeError`].
pub fn passphrase(config: &KeysConfig) -> Result<Passphrase, NodeError> {
    match (&config.passphrase_file, &config.systemd_credential) {
        (Some(path), _) => Ok(Passphrase::from_file(path)?),
        (None, Some(name)) => Ok(Passphrase::from_credential(name)?),
        (None, None) => {
            unreachable!("the configuration names exactly one, which was checked when it was read")
        }
    }
}
