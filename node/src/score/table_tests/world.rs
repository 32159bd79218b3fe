//! A bank and three providers whose setup is done, each with a folder, from one seed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use windvane_keys::files::write_private;
use windvane_proto::convert::TableWanted;
use windvane_proto::score::v1::score_server::{Score, ScoreServer};
use windvane_proto::score::v1::{
    AnnounceRequest, AnnounceResponse, ConfirmRequest, ConfirmResponse, DealRequest, DealResponse,
    FetchTableManifestRequest, FetchTableManifestResponse, FetchTableRequest, FetchTableResponse,
    FinishRequest, FinishResponse,
};
use windvane_protocols::identity::{IDENTITY_VERSION, Phone};
use windvane_protocols::limits::MAX_MESSAGE_BYTES;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::{Epoch, Member};
use windvane_protocols::score::group::{Charter, GroupTerms, Identity, Pins, Sharing};
use windvane_protocols::score::shares::announce;
use windvane_protocols::score::table::TableHasher;
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::score::table::parts::Coverage;
use windvane_protocols::score::universe::{NUMBERS_PER_SEGMENT, Segment, Universe};
use windvane_protocols::transcript::{Record as _, Signed};

use crate::dataset::Progress;
use crate::identity::Layout;
use crate::score::build::{PublishTable, ScoreBuildError, prepare};
use crate::score::fetch::{FetchTables, FetchedTables, ScoreFetchError, fetch};
use crate::score::folder::{EpochFolder, ScoreFolder};
use crate::score::parts::{DenseParts, PartsFile};
use crate::score::serve_tables;
use crate::score::table::OwnTable;

const SEED: u64 = 20_260_702;
pub(super) const PROVIDERS: usize = 3;
pub(super) const EPOCH: u64 = 4;
pub(super) const NOW_MS: u64 = 1_700_000_000_000;
pub(super) const DEFAULT: u8 = 3;

pub(super) fn rng(stream: u64) -> ChaCha20Rng {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    rng.set_stream(stream);
    rng
}

pub(super) fn party(provider: usize) -> PartyId {
    ["carrier-a", "carrier-b", "carrier-c"][provider].parse().unwrap()
}

pub(super) fn key(provider: usize) -> SigningKey {
    SigningKey::from_bytes(&[provider as u8 + 1; 32])
}

pub(super) fn bank() -> Identity {
    let key = SigningKey::from_bytes(&[0xba; 32]).verifying_key();
    Identity { party: "bank".parse().unwrap(), key }
}

pub(super) struct World {
    pub(super) root: PathBuf,
    pub(super) universe: Universe,
    pub(super) members: Vec<Member>,
    pub(super) parts: Vec<DenseParts>,
}

impl World {
    /// The same for every process that is given the same folder and number of segments.
    pub(super) fn new(root: &Path, segments: u32) -> Self {
        let list = (0..segments).map(|i| Segment::try_from(1_380_000 + i).unwrap()).collect();
        let universe = Universe::new(bank().party, 1, list).unwrap();
        let members = members(&universe, PROVIDERS);
        let mut world = Self { root: root.to_owned(), universe, members, parts: Vec::new() };
        world.parts = (0..PROVIDERS).map(|i| world.some_parts(i as u64)).collect();
        world
    }

    pub(super) fn epoch(&self) -> &Epoch {
        self.members[0].epoch()
    }

    /// Parts of a fifth of all numbers, through a file as a provider has it.
    pub(super) fn some_parts(&self, stream: u64) -> DenseParts {
        let mut rng = rng(100 + stream);
        let mut text = "number,part\n".to_owned();
        for position in 0..self.universe.rows() {
            if rng.next_u32().is_multiple_of(5) {
                text += &format!("{},{}\n", phone(position).as_str(), rng.next_u32() % 256);
            }
        }
        let (path, rejects) = (self.root.join("parts.csv"), self.root.join("rejects.csv"));
        std::fs::write(&path, text).unwrap();
        let (number_column, part_column) = (PartsFile::NUMBER_COLUMN, PartsFile::PART_COLUMN);
        let file = PartsFile { path: &path, number_column, part_column, default: DEFAULT, rejects: &rejects };
        DenseParts::import(&file, &self.universe, &()).unwrap().0
    }

    pub(super) fn score_folder(&self, name: &str) -> ScoreFolder {
        ScoreFolder::new(&Layout::new(self.root.join(name)))
    }

    pub(super) fn folder(&self, name: &str) -> EpochFolder {
        self.score_folder(name).group(&self.epoch().charter().terms().group).epoch(EPOCH)
    }

    pub(super) fn own_folder(&self, provider: usize) -> EpochFolder {
        self.folder(party(provider).as_str())
    }

    /// Publishes some parts as a provider's.
    pub(super) fn publish_parts(
        &self,
        provider: usize,
        parts: &DenseParts,
    ) -> Result<Signed<TableManifest>, ScoreBuildError> {
        self.with_job(provider, parts, |job| publish(job, &()))
    }

    pub(super) fn with_job<T>(
        &self,
        provider: usize,
        parts: &DenseParts,
        run: impl FnOnce(&PublishTable<'_>) -> T,
    ) -> T {
        run(&PublishTable {
            member: &self.members[provider],
            universe: &self.universe,
            parts,
            coverage: Coverage::Overlapped,
            overlap_permille: 1_000,
            folder: &self.own_folder(provider),
            ledger: &self.score_folder(party(provider).as_str()),
            key: &key(provider),
            now_ms: NOW_MS,
        })
    }

    pub(super) fn publish_all(&self) -> Vec<Signed<TableManifest>> {
        (0..PROVIDERS).map(|i| self.publish_parts(i, &self.parts[i]).unwrap()).collect()
    }

    /// The root of the table that a provider's parts must give, segment by segment on one thread.
    pub(super) fn root(&self, provider: usize, parts: &DenseParts) -> [u8; 32] {
        let (sealer, mut hasher) = (self.members[provider].sealer().unwrap(), TableHasher::new());
        for (first, parts) in (0..).step_by(NUMBERS_PER_SEGMENT).zip(parts.as_slice().chunks(10_000)) {
            hasher.push(sealer.rows(first, parts).as_flattened().try_into().unwrap());
        }
        hasher.root()
    }

    /// What the parts of a position add up to.
    pub(super) fn truth(&self, position: usize) -> u16 {
        self.parts.iter().map(|parts| u16::from(parts.as_slice()[position])).sum()
    }

    pub(super) fn write_evidence(&self, provider: usize) {
        let folder = self.own_folder(provider);
        write_private(&folder.join("evidence"), self.epoch().evidence().encode().as_bytes()).unwrap();
    }

    /// Fetches into the bank's folder from providers that lie so.
    pub(super) async fn fetch(&self, lies: [Lie; PROVIDERS]) -> Result<FetchedTables, ScoreFetchError> {
        let mut channels = BTreeMap::new();
        for (provider, lie) in lies.into_iter().enumerate() {
            channels.insert(party(provider), self.serve(provider, lie).await);
        }
        let (epoch, universe, folder) = (self.epoch(), &self.universe, &self.folder("bank"));
        fetch(&FetchTables { epoch, universe, folder, channels: &channels }, &()).await
    }

    async fn serve(&self, provider: usize, lie: Lie) -> Channel {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Liar { folder: self.own_folder(provider), provider, lie };
        let service = ScoreServer::new(service).max_encoding_message_size(MAX_MESSAGE_BYTES);
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
    }
}

/// Makes a table and puts it in its place.
pub(super) fn publish(
    job: &PublishTable<'_>,
    progress: &dyn Progress,
) -> Result<Signed<TableManifest>, ScoreBuildError> {
    prepare(job, progress)?.place()
}

pub(super) fn phone(position: u64) -> Phone {
    Phone::parse(&format!("{}{:04}", 1_380_000 + position / 10_000, position % 10_000)).unwrap()
}

/// A whole setup of some providers.
pub(super) fn members(universe: &Universe, providers: usize) -> Vec<Member> {
    let identity = |i| Identity { party: party(i), key: key(i).verifying_key() };
    let terms = GroupTerms {
        group: "fraud".parse().unwrap(),
        requester: bank(),
        providers: (0..providers).map(identity).collect(),
        sharing: if providers == 1 { Sharing::SingleProvider } else { Sharing::Threshold(providers) },
        universe: *universe.digest(),
        identity_version: IDENTITY_VERSION.to_owned(),
        model: [7; 64],
        epoch: EPOCH,
    };
    let pins: Pins = terms.identities().map(|i| (i.party.clone(), i.fingerprint())).collect();
    let charter = Charter::accept(terms, &pins).unwrap();
    let mut rng = rng(1);
    let announced = (0..providers).map(|i| announce(charter.clone(), &party(i), &key(i), &mut rng).unwrap());
    let (states, messages): (Vec<_>, Vec<_>) = announced.map(|step| (step.state, step.message)).unzip();
    let dealt = states
        .into_iter()
        .enumerate()
        .map(|(i, state)| state.on_announcements(&messages, &key(i), &mut rng).unwrap());
    let (states, messages): (Vec<_>, Vec<_>) = dealt.map(|step| (step.state, step.message)).unzip();
    let confirmed =
        states.into_iter().enumerate().map(|(i, state)| state.on_dealings(&messages, &key(i)).unwrap());
    let (states, mut messages): (Vec<_>, Vec<_>) = confirmed.map(|step| (step.state, step.message)).unzip();
    messages.push(states[0].sharing().confirm(bank().party, &SigningKey::from_bytes(&[0xba; 32])));
    states.into_iter().map(|state| state.on_confirmations(&messages).unwrap()).collect()
}

/// How a provider's service differs from an honest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    /// A row of a segment is no element.
    NoElement {
        segment: u64,
        row: usize,
    },
    /// Two rows of a segment change places: elements still, but another table.
    Swapped {
        segment: u64,
    },
    /// The download ends before this segment.
    Short {
        segments: u64,
    },
    /// One more segment comes.
    Long,
    /// A segment lacks its last byte.
    Malformed,
    /// The manifest is signed by another key.
    Forged,
    /// The stream fails before this segment.
    Broken {
        segment: u64,
    },
    /// Nothing before this segment may be asked for.
    NotBefore {
        segment: u64,
    },
}

struct Liar {
    folder: EpochFolder,
    provider: usize,
    lie: Lie,
}

impl Liar {
    fn tell(&self, segment: u64, mut rows: Vec<u8>) -> Result<FetchTableResponse, Status> {
        match self.lie {
            Lie::NoElement { segment: at, row } if at == segment => rows[row * 32..][..32].fill(0xff),
            Lie::Swapped { segment: at } if at == segment => rows[..64].rotate_left(32),
            Lie::Malformed => drop(rows.pop()),
            Lie::Broken { segment: at } if at == segment => return Err(Status::unavailable("gone")),
            _ => {}
        }
        Ok(FetchTableResponse { rows: rows.into() })
    }
}

#[tonic::async_trait]
impl Score for Liar {
    async fn announce(&self, _: Request<AnnounceRequest>) -> Result<Response<AnnounceResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn deal(&self, _: Request<DealRequest>) -> Result<Response<DealResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn confirm(&self, _: Request<ConfirmRequest>) -> Result<Response<ConfirmResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn finish(&self, _: Request<FinishRequest>) -> Result<Response<FinishResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn fetch_table_manifest(
        &self,
        _: Request<FetchTableManifestRequest>,
    ) -> Result<Response<FetchTableManifestResponse>, Status> {
        let table = OwnTable::open(&self.folder, &party(self.provider)).unwrap();
        let mut manifest = table.manifest().clone();
        if self.lie == Lie::Forged {
            manifest = Signed::sign(manifest.body().clone(), &SigningKey::from_bytes(&[0x66; 32]));
        }
        Ok(Response::new((&manifest).into()))
    }

    type FetchTableStream = ReceiverStream<Result<FetchTableResponse, Status>>;

    async fn fetch_table(
        &self,
        request: Request<FetchTableRequest>,
    ) -> Result<Response<Self::FetchTableStream>, Status> {
        let wanted = TableWanted::try_from(request.get_ref()).unwrap();
        let table = OwnTable::open(&self.folder, &party(self.provider)).unwrap();
        let total = table.segments();
        let end = match self.lie {
            Lie::None => return Ok(Response::new(serve_tables::segments(table, &wanted)?)),
            Lie::Short { segments } => segments,
            Lie::NotBefore { segment } if wanted.from < segment => {
                return Err(Status::failed_precondition("this came before"));
            }
            _ => total,
        };
        let (sender, receiver) = tokio::sync::mpsc::channel(total as usize + 1);
        for segment in wanted.from..end {
            sender.send(self.tell(segment, table.segment(segment).unwrap())).await.unwrap();
        }
        if self.lie == Lie::Long {
            sender.send(self.tell(total, table.segment(0).unwrap())).await.unwrap();
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
