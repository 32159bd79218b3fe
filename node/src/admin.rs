//! What an operator does with a node's own files: keys, enrolment, grants, callers, data sets, snapshots.
//!
//! Every change commits together with the log entry that tells of it. A running node takes both over within
//! moments; without one, [`Admin::flush`] writes the entries itself.

use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use windvane_keys::enrolment::{Enrolment, Partner};
use windvane_keys::files::{read_public, write_private};
use windvane_keys::identity::TlsKey;
use windvane_keys::record::Purpose;
use windvane_keys::rotation::generate_subject_tag;
use windvane_keys::signing::{LogKey, ReceiptKey};
use windvane_keys::store::{FileStore, KeyStore as _, StoreError};
use windvane_keys::symmetric::{LookupKey, StorageKey};
use windvane_keys::trust::TrustError;
use windvane_protocols::audit::entry::{Entry, Event, Keys};
use windvane_protocols::transcript::Record as _;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::NodeError;
use crate::evidence::{EvidenceLog, LogError, LogReader};
use crate::http::Token;
use crate::identity::{Layout, NodeKeys, passphrase, system_disk};
use crate::outbox;
use crate::peer::transport::{Tcp, Transport};
use crate::store::Store;

mod changes;
mod data;
mod fetch;
mod functions;
mod grants;
mod life;
mod score;
mod train;
mod trust;

pub use data::Published;
pub use fetch::Fetched;
pub use grants::{GrantTerms, ScoreOutput};
pub use score::{AddedModel, FetchedScore, ModelFiles, ModelStatus, ScorePublication};
pub use trust::ImportedList;

/// Largest text document that a command reads: a request, an enrolment, a grant.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Random bytes of a generated passphrase.
const PASSPHRASE_BYTES: usize = 32;

/// A node's files in an operator's hands.
#[derive(Debug)]
pub struct Admin {
    config: Config,
    keys: NodeKeys,
    store: Store,
    layout: Layout,
    clock: Arc<dyn Clock>,
    transport: Arc<dyn Transport>,
    #[cfg(feature = "faults")]
    bug: Option<crate::faults::Bug>,
}

/// A partner's newest enrolment.
#[derive(Debug)]
pub struct Enrolled {
    /// The enrolment.
    pub enrolment: Enrolment,
    /// The partner, or why it is believed no longer.
    pub partner: Result<Partner, TrustError>,
}

impl Admin {
    /// Makes the keys of a new node and begins its log. A passphrase file that is not there is made, with
    /// random content that only its owner may read. Called again after it was interrupted, it makes what is missing.
    ///
    /// # Errors
    /// [`NodeError`]; `ALREADY_EXISTS` when the log has begun.
    pub fn init(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        let layout = Layout::new(config.node.data_dir.clone());
        if LogReader::open(&layout.log()).is_ok_and(|log| log.checkpoint().unverified().size > 0) {
            let message = format!("{} is there already; keys are made once", layout.keys().display());
            return Err(NodeError::Given { code: "ALREADY_EXISTS", message });
        }
        // Where there is a log, all keys were made before it: one that is missing was lost, and another is no replacement.
        if !layout.log().exists() {
            make_keys(config, &layout, clock.now_ms())?;
        }
        let admin = Self::open(config, clock)?;
        admin.with_log(|_| Ok(()))?;
        Ok(admin)
    }

    /// Opens a node's files.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        let layout = Layout::new(config.node.data_dir.clone());
        let keys = NodeKeys::open(config)?;
        let store = Store::open(&layout.state())?;
        let transport = Arc::new(Tcp);
        Ok(Self {
            config: config.clone(),
            keys,
            store,
            layout,
            clock,
            transport,
            #[cfg(feature = "faults")]
            bug: None,
        })
    }

    /// The same files; snapshots are downloaded over another transport.
    #[must_use]
    pub fn over(self, transport: Arc<dyn Transport>) -> Self {
        Self { transport, ..self }
    }

    /// The same files, worked on with a deliberate bug.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn with_bug(self, bug: Option<crate::faults::Bug>) -> Self {
        Self { bug, ..self }
    }

    /// The node's keys.
    pub const fn keys(&self) -> &NodeKeys {
        &self.keys
    }

    /// The node's state.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// Where the node's files are.
    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The verifier key of the node's log, for an auditor.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn log_verifier(&self) -> Result<String, NodeError> {
        let origin = windvane_keys::signing::log_origin(&self.keys.party);
        let verifier =
            windvane_protocols::audit::checkpoint::LogVerifier::new(&origin, self.keys.log.verifying_key());
        Ok(verifier.map_err(LogError::from)?.to_string())
    }

    /// What the authority signs: the node's name, public keys and certificate request.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn enrolment_request(&self) -> Result<String, NodeError> {
        self.request_with(&TlsKey::load(&self.keys.store)?)
    }

    /// Checks the node's own enrolment against the authority that it names; gives the certificate's end in
    /// milliseconds of Unix time.
    ///
    /// # Errors
    /// [`NodeError`], also when the certificate is not valid at `now_ms`.
    pub fn check_own_enrolment(&self, now_ms: u64) -> Result<u64, NodeError> {
        let enrolment = Enrolment::from_pem(&read_text(&self.layout.enrolment())?)?;
        Ok(enrolment.verify(&enrolment.authority().der, now_ms)?.valid_until_ms)
    }

    /// The newest enrolments of all partners, and what each is worth now.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn enrolled(&self) -> Result<Vec<Enrolled>, NodeError> {
        let (trust, now_ms) = (self.certificate()?.trust, self.clock.now_ms());
        let read = |pem: String| {
            let enrolment = Enrolment::from_pem(&pem)?;
            let partner = trust.partner(&enrolment, now_ms);
            Ok(Enrolled { enrolment, partner })
        };
        self.store.partners()?.into_iter().map(read).collect()
    }

    /// The partners whose newest enrolments hold.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn partners(&self) -> Result<Vec<Partner>, NodeError> {
        Ok(self.enrolled()?.into_iter().filter_map(|enrolled| enrolled.partner.ok()).collect())
    }

    /// Admits a caller of the REST interface; gives its token, which is shown this once.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn admit_caller(&self, name: &str) -> Result<Token, NodeError> {
        check_name(name)?;
        let token = Token::from_bytes(rand::random());
        let entry = self.entry(Event::User { name: name.to_owned(), action: "admitted".into() });
        self.store.admit(name, &token.digest(), self.clock.now_ms(), &entry)?;
        self.flush()?;
        Ok(token)
    }

    /// Dismisses a caller of the REST interface.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn dismiss_caller(&self, name: &str) -> Result<(), NodeError> {
        let entry = self.entry(Event::User { name: name.to_owned(), action: "dismissed".into() });
        self.store.dismiss(name, &entry)?;
        self.flush()
    }

    /// Writes entries that wait into the log, unless a running node has it and does so itself.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn flush(&self) -> Result<(), NodeError> {
        if self.is_flushed()? {
            return Ok(());
        }
        let written = self.with_log(|log| {
            outbox::forget_logged(&self.store, log)?;
            let waiting = self.store.outbox()?;
            let Some(&(last, _)) = waiting.last() else { return Ok(()) };
            log.append_blocking(waiting.into_iter().map(|(_, entry)| entry).collect())?;
            Ok(self.store.clear_outbox(last)?)
        });
        match written {
            Err(NodeError::Log(LogError::Locked { .. })) => Ok(()),
            written => written,
        }
    }

    /// Whether the log has every entry of a command, so that a running node has read what commands changed.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn is_flushed(&self) -> Result<bool, NodeError> {
        Ok(self.store.outbox()?.is_empty())
    }

    /// Opens the log for `write` and seals it. On a thread of its own, because the caller's may drive asynchronous work.
    fn with_log(
        &self,
        write: impl FnOnce(&EvidenceLog) -> Result<(), NodeError> + Send,
    ) -> Result<(), NodeError> {
        let write = || {
            let (keys, now_ms) = (&self.keys, self.clock.now_ms());
            let log = keys.open_log_in_service(&self.config, &system_disk(), &self.store, now_ms)?;
            write(&log)?;
            Ok(self.store.put_sealed(log.seal_blocking()?.size)?)
        };
        let stopped = |_| NodeError::Given { code: "INTERNAL", message: "a worker stopped".into() };
        std::thread::scope(|scope| scope.spawn(write).join().map_err(stopped)?)
    }

    fn partner(&self, party: &str) -> Result<Partner, NodeError> {
        for pem in self.store.partners()? {
            let enrolment = Enrolment::from_pem(&pem)?;
            if enrolment.request().party().as_str() == party {
                return Ok(self.certificate()?.trust.partner(&enrolment, self.clock.now_ms())?);
            }
        }
        Err(partner_missing(party))
    }

    fn entry(&self, event: Event) -> Vec<u8> {
        Entry::new(self.clock.now_ms(), event).encode().into_bytes()
    }
}

/// Makes the keys that a new node does not have yet.
fn make_keys(config: &Config, layout: &Layout, now_ms: u64) -> Result<(), NodeError> {
    std::fs::create_dir_all(layout.root()).map_err(NodeError::io(layout.root().display().to_string()))?;
    if let Some(path) = config.keys.passphrase_file.as_ref().filter(|path| !path.exists()) {
        write_private(path, hex::encode(rand::random::<[u8; PASSPHRASE_BYTES]>()).as_bytes())?;
    }
    let (passphrase, rng) = (passphrase(&config.keys)?, &mut rand::rng());
    let keys = match FileStore::open(&layout.keys(), &passphrase) {
        Err(StoreError::NoStore { .. }) => FileStore::create(&layout.keys(), &passphrase)?,
        opened => opened?,
    };
    let lacks = |purpose| Ok::<_, NodeError>(keys.find(&purpose)?.is_empty());
    if lacks(Purpose::Receipt)? {
        ReceiptKey::generate(&keys, now_ms, rng)?;
    }
    if lacks(Purpose::Log)? {
        LogKey::generate(&keys, now_ms, rng)?;
    }
    if lacks(Purpose::SubjectTag)? {
        generate_subject_tag(&keys, now_ms, rng)?;
    }
    if lacks(Purpose::Storage)? {
        StorageKey::generate(&keys, now_ms, rng)?;
    }
    if lacks(Purpose::Lookup)? {
        LookupKey::generate(&keys, now_ms, rng)?;
    }
    if lacks(Purpose::Tls)? {
        TlsKey::generate(&keys, now_ms)?;
    }
    Ok(())
}

fn partner_missing(party: &str) -> NodeError {
    let message = format!("{party} is not enrolled here; import its enrolment with `partner import`");
    NodeError::Given { code: "PARTNER_MISSING", message }
}

/// Reads a text document that another organisation sent.
///
/// # Errors
/// [`NodeError`].
pub fn read_text(path: &Path) -> Result<String, NodeError> {
    let bytes = read_public(path, MAX_TEXT_BYTES)?;
    String::from_utf8(bytes).map_err(|_| NodeError::Given {
        code: "NOT_TEXT",
        message: format!("{} is not UTF-8 text", path.display()),
    })
}

fn public_keys(enrolment: &Enrolment) -> Keys {
    let request = enrolment.request();
    let bytes = |key: &VerifyingKey| key.to_bytes();
    Keys {
        party: request.party().clone(),
        receipt: bytes(request.receipt_key()),
        log: bytes(request.log_key()),
        subject_tag: request.subject_tag_key().map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
    }
}

/// Whether a caller or a person may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b));
    plain && (1..=64).contains(&name.len())
}

fn check_name(name: &str) -> Result<(), NodeError> {
    if is_name(name) {
        return Ok(());
    }
    Err(NodeError::Given {
        code: "NAME_INVALID",
        message: "a caller's name has 1 to 64 characters of letters, digits and -_.@".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{self, VerifyOptions};
    use crate::backup::Backup;
    use crate::clock::SystemClock;
    use crate::config::SAMPLES;
    use crate::psi::evidence::JobLog;

    fn config(dir: &Path) -> Config {
        let (_, text) = SAMPLES.into_iter().find(|(name, _)| *name == "carrier.toml").unwrap();
        std::fs::write(dir.join("windvane.toml"), text).unwrap();
        Config::load(&dir.join("windvane.toml")).unwrap()
    }

    fn assert_whole_log(config: &Config) {
        let report = audit::verify(&config.node.data_dir.join("log"), &VerifyOptions::default());
        assert!(report.is_ok(), "{report}");
        assert_eq!(report.counts["opened"], 1);
    }

    #[test]
    fn keys_that_were_made_in_part_are_completed_and_those_that_are_there_stay() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let layout = Layout::new(config.node.data_dir.clone());
        std::fs::create_dir_all(layout.root()).unwrap();
        write_private(config.keys.passphrase_file.as_ref().unwrap(), b"a passphrase that is long").unwrap();
        let store = FileStore::create(&layout.keys(), &passphrase(&config.keys).unwrap()).unwrap();
        let receipt = ReceiptKey::generate(&store, 0, &mut rand::rng()).unwrap().verifying_key();
        drop(store);

        let admin = Admin::init(&config, Arc::new(SystemClock)).unwrap();
        assert_eq!(admin.keys.receipt.verifying_key(), receipt);
        assert_eq!(admin.keys.store.records().unwrap().len(), 6);
        drop(admin);
        assert_whole_log(&config);
        let again = Admin::init(&config, Arc::new(SystemClock)).unwrap_err();
        assert_eq!(again.code(), "ALREADY_EXISTS");
    }

    #[test]
    fn a_log_that_was_never_begun_opens_with_its_party_whatever_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        make_keys(&config, &Layout::new(config.node.data_dir.clone()), 0).unwrap();
        let admin = Admin::open(&config, Arc::new(SystemClock)).unwrap();
        admin.admit_caller("desk").unwrap();
        drop(admin);
        assert_whole_log(&config);
    }

    #[test]
    fn a_log_that_was_lost_is_not_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let admin = Admin::init(&config, Arc::new(SystemClock)).unwrap();
        std::fs::remove_dir_all(Layout::new(config.node.data_dir.clone()).log()).unwrap();
        assert_eq!(admin.admit_caller("desk").unwrap_err().code(), "LOG_MISSING");
        let state = Layout::new(config.node.data_dir.clone()).state();
        let (backups, store) = (dir.path().join("backups"), Arc::new(Store::open(&state).unwrap()));
        let backup =
            Backup { config: &config, keys: &admin.keys, store: &store, to: &backups, keep: Some(1) };
        assert_eq!(backup.make(&SystemClock, &|_, _| ()).unwrap_err().code(), "LOG_MISSING");
        let job = JobLog::open(&admin.keys, &config, &store, 0);
        assert_eq!(job.unwrap_err().code(), "LOG_MISSING");
        drop(admin);
        assert_eq!(Admin::init(&config, Arc::new(SystemClock)).unwrap_err().code(), "LOG_MISSING");
    }
}
