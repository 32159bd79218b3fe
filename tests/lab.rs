//! Parties with fresh keys in one directory, as an operator would set them up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use windvane::admin::{Admin, GrantTerms};
use windvane::bank::{Bank, Inquiry};
use windvane::clock::{Clock as _, ShiftedClock};
use windvane::config::Config;
use windvane::dataset::{DataSetConfig, Quality};
use windvane::evidence::LogReader;
use windvane::identity::Certificate;
use windvane::{Node, telemetry};
use windvane_keys::authority::CertificateAuthority;
use windvane_keys::enrolment::{Enrolment, EnrolmentRequest};
use windvane_keys::revocation::RevocationList;
use windvane_keys::store::MemoryStore;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::identity::{Document, DocumentKind, Family, Name, Person, Phone};
use windvane_protocols::transcript::Record as _;

/// The families that carriers serve.
pub(crate) const FAMILIES: [Family; 4] =
    [Family::Phone, Family::PhoneId, Family::PhoneName, Family::PhoneIdName];

/// Header of a carrier's file.
pub(crate) const HEADER: &str =
    "手机号,姓名,证件类型,证件号码,用户状态,入网日期,换卡日期,二次放号,同证号码数,风险标签,数据日期\n";

/// Two subscribers whose data never change.
pub(crate) const SUBSCRIBERS: &str = "13800138000,张三,居民身份证,11010519491231002X,正常,2015-05-01,,否,1,,2026-11-01\n\
     13900139000,李四,居民身份证,440524188001010014,正常,2016-01-01,,否,2,疑似涉诈,2026-11-01\n";

/// The authority, the clock and the folder that all parties of a test share.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) clock: ShiftedClock,
    authority: CertificateAuthority,
    /// Sections that every configuration has.
    common: String,
}

/// One party's files.
pub(crate) struct Party {
    pub(crate) admin: Admin,
    pub(crate) config: Config,
    pub(crate) enrolment: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        telemetry::start("warn");
        let clock = ShiftedClock::default();
        let store = MemoryStore::new();
        let authority =
            CertificateAuthority::create(&store, "Trial", 30, clock.now_ms(), &mut rand::rng()).unwrap();
        Self { dir: tempfile::tempdir().unwrap(), clock, authority, common: String::new() }
    }

    /// With these sections in every party's configuration.
    pub(crate) fn with(sections: &str) -> Self {
        Self { common: sections.to_owned(), ..Self::new() }
    }

    /// A party that the authority enrolled. `sections` are added to its configuration.
    pub(crate) fn party(&self, name: &str, sections: &str) -> Party {
        let config = self.config(name, sections);
        let admin = Admin::init(&config, Arc::new(self.clock.clone())).unwrap();
        let enrolment = self.enrol(&admin, 20);
        Party { admin, config, enrolment }
    }

    /// Has the party's request signed, and takes the enrolment over.
    pub(crate) fn enrol(&self, admin: &Admin, days: u32) -> String {
        let request = EnrolmentRequest::from_pem(&admin.enrolment_request().unwrap()).unwrap();
        let now_ms = self.clock.now_ms();
        let enrolment = self.authority.sign(&request, days, now_ms, &mut rand::rng()).unwrap().to_pem();
        admin.import_enrolment(&enrolment).unwrap();
        enrolment
    }

    /// Signs a request of a party; gives the enrolment.
    pub(crate) fn sign(&self, request: &str) -> String {
        let request = EnrolmentRequest::from_pem(request).unwrap();
        self.authority.sign(&request, 20, self.clock.now_ms(), &mut rand::rng()).unwrap().to_pem()
    }

    /// The list that follows `before`, with the certificates of these enrolments.
    pub(crate) fn revoke(&self, before: Option<&RevocationList>, enrolments: &[&str]) -> RevocationList {
        let parsed = enrolments.iter().map(|pem| Enrolment::from_pem(pem).unwrap()).collect::<Vec<_>>();
        let serials: Vec<_> = parsed.iter().map(|e| e.certificate().serial.as_slice()).collect();
        self.authority.revoke(before, &serials, 7, self.clock.now_ms()).unwrap()
    }

    /// A configuration as its file would be.
    pub(crate) fn config(&self, name: &str, sections: &str) -> Config {
        let root = self.dir.path().join(name);
        std::fs::create_dir_all(&root).unwrap();
        let file = root.join("windvane.toml");
        let head =
            format!("[node]\nparty = \"{name}\"\ndata_dir = \"data\"\n[keys]\npassphrase_file = \"pass\"\n");
        std::fs::write(&file, format!("{head}{sections}{}", self.common)).unwrap();
        Config::load(&file).unwrap()
    }

    pub(crate) async fn start(&self, party: &Party) -> Node {
        Node::start(&party.config, Arc::new(self.clock.clone())).await.unwrap()
    }

    /// A carrier that published `rows` below [`HEADER`].
    pub(crate) fn carrier(&self, name: &str, rows: &str) -> Party {
        self.carrier_with(name, rows, "[grpc]\nlisten = \"127.0.0.1:0\"\n")
    }

    /// The same with these sections in its configuration.
    pub(crate) fn carrier_with(&self, name: &str, rows: &str, sections: &str) -> Party {
        let party = self.party(name, sections);
        let file = self.dir.path().join(format!("{name}.csv"));
        std::fs::write(&file, format!("{HEADER}{rows}")).unwrap();
        party.publish(&file);
        party
    }

    /// A bank that asks these providers, which are enrolled with each other and granted `terms`.
    pub(crate) async fn bank(&self, providers: &[(&Party, &Node)], terms: &GrantTerms) -> (Party, Node) {
        let addresses: Vec<_> = providers
            .iter()
            .map(|(party, node)| (*party, node.grpc_address().unwrap().to_string()))
            .collect();
        let bank = self.bank_files(&addresses, terms);
        for (party, node) in providers {
            party.taken_over_by(node).await;
            bank.admin.fetch_snapshot(&party.config.node.party, |_, _| ()).await.unwrap();
        }
        let node = self.start(&bank).await;
        (bank, node)
    }

    /// [`Self::bank`], which countersigns only when it is told to.
    pub(crate) async fn waiting_bank(
        &self,
        providers: &[(&Party, &Node)],
        terms: &GrantTerms,
    ) -> (Party, Node) {
        let (mut bank, node) = self.bank(providers, terms).await;
        node.stop().await.unwrap();
        // Longer than a test runs.
        bank.config.verification.countersign_interval_ms = 600_000;
        let node = self.start(&bank).await;
        (bank, node)
    }

    /// [`Self::bank`] without downloads and not started.
    pub(crate) fn bank_files(&self, providers: &[(&Party, String)], terms: &GrantTerms) -> Party {
        let section = |(party, address): &(&Party, String)| {
            let name = &party.config.node.party;
            format!("[[provider]]\nparty = \"{name}\"\naddress = \"{address}\"\ndata_set = \"subscribers\"\n")
        };
        let sections: String = providers.iter().map(section).collect();
        let common = "[http]\nlisten = \"127.0.0.1:0\"\n[verification]\ndeadline_ms = 5000\n";
        let bank = self.party("bank", &format!("{common}{sections}"));
        for (provider, _) in providers {
            provider.admin.import_enrolment(&bank.enrolment).unwrap();
            bank.admin.import_enrolment(&provider.enrolment).unwrap();
            let grant = provider.admin.issue_grant(terms).unwrap();
            bank.admin.accept_grant(&grant).unwrap();
        }
        bank
    }
}

impl Party {
    /// Imports, builds and publishes a carrier's file.
    pub(crate) fn publish(&self, file: &Path) {
        // The files' dates are fixed; how old data may be is the import's own test.
        let config = DataSetConfig::carrier().with_quality(Quality::anything());
        self.admin.import(&config, file, &()).unwrap();
        self.admin.build(&config, &()).unwrap();
        self.admin.publish(&config).unwrap();
    }

    pub(crate) fn certificate(&self) -> Certificate {
        self.admin.certificate().unwrap()
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.config.node.data_dir.join("log")
    }

    /// Makes a running node take over what `admin` changed.
    pub(crate) async fn taken_over_by(&self, node: &Node) {
        node.reload().await.unwrap();
    }
}

/// A grant for everything that the tests do.
pub(crate) fn terms() -> GrantTerms {
    GrantTerms {
        requester: "bank".parse().unwrap(),
        data_sets: vec!["subscribers".parse().unwrap()],
        families: FAMILIES.to_vec(),
        purposes: vec!["account_opening".into()],
        columns: Vec::new(),
        epoch_hours: 24,
        rate_per_s: 1_000_000,
        per_day: 10_000_000,
        total: 100_000_000,
        days: 10,
        minimum_result: 0,
        score: None,
        train: None,
        psi: None,
    }
}

/// A question of the tests' bank.
pub(crate) fn inquiry(phone: &str, name: &str, id: &str) -> Inquiry {
    Inquiry {
        person: Person {
            phone: Some(Phone::parse(phone).unwrap()),
            document: Some(Document::parse(DocumentKind::ResidentId, id).unwrap()),
            name: Some(Name::parse(name).unwrap()),
            other: None,
        },
        customer_type: None,
        document_type: None,
        purpose: "account_opening".into(),
        ticket: "T-1".into(),
        consent: "C-1".into(),
        operator: "teller-1".into(),
        outlet: None,
        branch: None,
    }
}

/// The first subscriber, asked for rightly.
pub(crate) fn zhang() -> Inquiry {
    inquiry("13800138000", "张三", "11010519491231002X")
}

pub(crate) fn bank_of(node: &Node) -> &Bank {
    node.bank().unwrap()
}

/// The error code that the bank's report gives for its only provider.
pub(crate) async fn error_of(node: &Node, inquiry: Inquiry) -> Option<String> {
    bank_of(node).verify(inquiry).await.unwrap().providers.remove(0).error
}

/// Everything in a sealed log, in order.
pub(crate) fn events(party: &Party) -> Vec<Event> {
    let reader = LogReader::open(&party.log_dir()).unwrap();
    reader.entries(0).map(|entry| Entry::decode(&entry.unwrap().1).unwrap().event).collect()
}

/// The codes of all failures in a running node's log.
pub(crate) async fn failures(party: &Party, node: &Node) -> Vec<String> {
    node.log().publish().await.unwrap();
    let code = |event| match event {
        Event::Failed { code, .. } => Some(code),
        _ => None,
    };
    events(party).into_iter().filter_map(code).collect()
}

/// The certificate of a party's authority: the last block of its enrolment.
pub(crate) fn authority_pem(party: &Party) -> String {
    let blocks = pem::parse_many(&party.enrolment).unwrap();
    pem::encode(blocks.last().unwrap())
}

/// The digest by which an authority is released.
pub(crate) fn sha256_of(pem: &str) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(pem::parse(pem).unwrap().contents()))
}
