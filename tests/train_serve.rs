//! A provider's side of a training, held by a bank that speaks the wire itself: sessions that run to their receipt, go
//! on after a restart, and refuse whatever is out of order, too long or another's.

use std::time::Duration;

use tokio_stream::StreamExt as _;
use tonic::Status;
use tonic::transport::Channel;
use windvane::Node;
use windvane::admin::GrantTerms;
use windvane::clock::Clock as _;
use windvane::error::PeerError;
use windvane::peer::channel;
use windvane::score::universe::SignedUniverse;
use windvane_proto::audit::v1::CountersignRequest;
use windvane_proto::audit::v1::audit_client::AuditClient;
use windvane_proto::convert::{
    TrainBegin, TrainFinish, TrainGrown, TrainUpload, TrainUploaded, contributions_request, grow_request,
    parts_request, train_parts, train_rows, train_upload_digest,
};
use windvane_proto::train::v1::train_client::TrainClient;
use windvane_proto::train::v1::{OpenRequest, UploadRequest};
use windvane_protocols::audit::grant::TrainTerms;
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::party::SessionId;
use windvane_protocols::score::group::{Fingerprint, Identity};
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::boosting::{Row, bound, subtract};
use windvane_protocols::train::charter::{Charter, Unit, encode_list, list_digest};
use windvane_protocols::train::decode::Decoder;
use windvane_protocols::train::elgamal::{
    Answers, CIPHERTEXT_BYTES, Encryptor, Statistic, TrainingKey, TrainingSeed,
};
use windvane_protocols::train::growth::{Bound, Growth, Step};
use windvane_protocols::train::histogram::{Cell, FeatureCells, Groups, NodeCells};
use windvane_protocols::train::parameters::{Hyperparameters, Numbers};
use windvane_protocols::train::partition::Proposal;
use windvane_protocols::train::record::{StepHash, TrainAcceptance, TrainReceipt, TrainRequest};
use windvane_protocols::train::scale::{Scaling, Span, Values};
use windvane_protocols::train::step::{self, Place, returned_digest};
use windvane_protocols::train::tree::{Decision, Tree};
use windvane_protocols::transcript::{Hash, Signed};

use crate::lab::{self, Lab, Party};

mod hostile;
mod lapsed;
mod opening;
mod parts;

/// Listed rows: every third one is a decoy.
const ROWS: usize = 150;

fn numbers() -> Numbers {
    Numbers {
        blocks: 2,
        trees: 2,
        depth: 2,
        rate_micros: 300_000,
        lambda: 1,
        minimum_rows: 5,
        minimum_count: 10,
    }
}

fn train_terms() -> TrainTerms {
    TrainTerms {
        max_rows: 1_000,
        runs: 3,
        decoy_factor: 2,
        minimum_count: 10,
        max_blocks: 2,
        max_trees: 2,
        max_depth: 2,
        named_features: true,
        alone: true,
    }
}

fn grant(train: TrainTerms) -> GrantTerms {
    GrantTerms {
        data_sets: vec!["telecom-risk".parse().unwrap()],
        families: Vec::new(),
        purposes: vec!["risk_model".into()],
        train: Some(train),
        ..lab::terms()
    }
}

/// A carrier with a table for trainings, and a bank.
struct World {
    lab: Lab,
    carrier: Party,
    node: Node,
    bank: Party,
    universe: Universe,
    /// The carrier's sections.
    section: String,
}

/// What the bank knows of a training, and its way to the carrier.
struct Training {
    client: TrainClient<Channel>,
    session: SessionId,
    request: Signed<TrainRequest>,
    acceptance: Option<Signed<TrainAcceptance>>,
    key: TrainingKey,
    rows: Vec<Row>,
    steps: Vec<(Hash, Hash)>,
    counts: Vec<u64>,
}

impl World {
    async fn new() -> Self {
        Self::with(train_terms()).await
    }

    async fn with(terms: TrainTerms) -> Self {
        let lab = Lab::new();
        let bank = lab.party("bank", "[http]\nlisten = \"127.0.0.1:0\"\n");
        let segments = vec!["1380013".parse().unwrap()];
        let universe = Universe::new("bank".parse().unwrap(), 1, segments).unwrap();
        let document = SignedUniverse::sign(universe.clone(), bank.admin.keys().signing_key());
        std::fs::write(lab.dir.path().join("universe.pem"), document.to_pem()).unwrap();
        // The carrier lacks some of the numbers that are listed.
        let line = |i: usize| {
            format!("1380013{:04},{},{}\n", 2 * i, i * 13 % 7, if i.is_multiple_of(5) { "" } else { "1.5" })
        };
        let table: String = (0..ROWS - 20).map(line).collect();
        std::fs::write(lab.dir.path().join("features.csv"), format!("phone,calls,active\n{table}")).unwrap();
        let at = |file: &str| lab.dir.path().join(file).display().to_string();
        let print = Fingerprint::of(&bank.admin.keys().receipt.verifying_key());
        let section = format!(
            "[grpc]\nlisten = \"127.0.0.1:0\"\n[[train]]\nname = \"telecom-risk\"\nnumber = \"phone\"\nfile = \"{}\"\n\
             universe = \"{}\"\n[[train.peers]]\nparty = \"bank\"\nidentity = \"{print}\"\n",
            at("features.csv"),
            at("universe.pem")
        );
        let carrier = lab.party("carrier-a", &section);
        let node = lab.start(&carrier).await;
        carrier.admin.import_enrolment(&bank.enrolment).unwrap();
        bank.admin.import_enrolment(&carrier.enrolment).unwrap();
        let text = carrier.admin.issue_grant(&grant(terms)).unwrap();
        bank.admin.accept_grant(&text).unwrap();
        carrier.taken_over_by(&node).await;
        Self { lab, carrier, node, bank, universe, section }
    }

    /// The same carrier after a stop and a start.
    async fn restarted(self) -> Self {
        self.node.stop().await.unwrap();
        let node = self.lab.start(&self.carrier).await;
        Self { node, ..self }
    }

    /// Until so many sessions have a call under way.
    async fn running(&self, calls: usize) {
        while self.node.trainings().unwrap().sessions().0 != calls {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the carrier keeps of a session.
    fn folder(&self, training: &Training) -> std::path::PathBuf {
        self.carrier.config.node.data_dir.join("train-sessions").join(training.session.to_string())
    }

    fn client(&self, of: &Party) -> TrainClient<Channel> {
        let address = self.node.grpc_address().unwrap().to_string();
        TrainClient::new(channel(&of.certificate(), &self.carrier.config.party(), &address).unwrap())
    }

    fn positions() -> Vec<u64> {
        (0..ROWS as u64).map(|i| 2 * i).collect()
    }

    fn charter(&self, key: &TrainingKey) -> Charter {
        let receipt = self.carrier.admin.keys().receipt.verifying_key();
        let member = Identity { party: self.carrier.config.party(), key: receipt };
        Charter {
            training: SessionId::from_bytes([1; 16]),
            requester: "bank".parse().unwrap(),
            units: vec![Unit { members: vec![member] }],
            hyperparameters: Hyperparameters::new(numbers()).unwrap(),
            decoy_factor: 2,
            held_out: 20,
            universe: *self.universe.digest(),
            rows: ROWS as u64,
            list: list_digest(self.universe.digest(), &Self::positions()),
            public_key: *key.public().as_bytes(),
            model: "joint-1".into(),
        }
    }

    fn request(&self, session: u8, key: &TrainingKey) -> TrainRequest {
        TrainRequest {
            session: SessionId::from_bytes([session; 16]),
            charter: self.charter(key),
            provider: self.carrier.config.party(),
            grant: self.bank.admin.grants().unwrap()[0].0.id,
            purpose: "risk_model".into(),
            data_set: "telecom-risk".parse().unwrap(),
            seed: [3; 32],
            software: [0; 64],
            configuration: [0; 64],
            requested_at_ms: self.lab.clock.now_ms(),
        }
    }

    fn training(&self, session: u8) -> Training {
        let key = TrainingKey::derive(&TrainingSeed::from_bytes([session; 32]));
        let request = self.request(session, &key);
        self.training_of(request, key)
    }

    fn training_of(&self, request: TrainRequest, key: TrainingKey) -> Training {
        let label = |i: usize| (!i.is_multiple_of(3)).then(|| i * 13 % 7 > 3 || i.is_multiple_of(11));
        Training {
            client: self.client(&self.bank),
            session: request.session,
            request: Signed::sign(request, self.bank.admin.keys().signing_key()),
            acceptance: None,
            key,
            rows: (0..ROWS).map(|i| Row::new(label(i), 400)).collect(),
            steps: Vec::new(),
            counts: Vec::new(),
        }
    }
}

/// The stable code of a refusal.
fn code(status: &Status) -> String {
    PeerError::from(status).code
}

impl Training {
    async fn open(&mut self) -> Result<Signed<TrainAcceptance>, Status> {
        let response = self.client.open(OpenRequest::from(&self.request)).await?;
        let acceptance = Signed::<TrainAcceptance>::try_from(response.into_inner()).unwrap();
        self.acceptance = Some(acceptance.clone());
        Ok(acceptance)
    }

    async fn begin(&mut self) -> Result<(), Status> {
        let announcement = self.acceptance.as_ref().unwrap().body().announcement.clone();
        let begin = TrainBegin { session: self.session, announcements: vec![announcement] };
        self.client.begin(windvane_proto::train::v1::BeginRequest::from(&begin)).await.map(drop)
    }

    async fn upload(&mut self, what: TrainUploaded, bytes: &[u8]) -> Result<Hash, Status> {
        let header = TrainUpload::Header(self.session, what);
        let chunks = bytes.chunks(4_096).map(|chunk| TrainUpload::Chunk(chunk.to_vec().into()));
        let messages: Vec<_> = std::iter::once(header).chain(chunks).map(UploadRequest::from).collect();
        let response = self.client.upload(tokio_stream::iter(messages)).await?;
        Ok(train_upload_digest(&response.into_inner()).unwrap())
    }

    fn statistic(&self, statistic: Statistic) -> Vec<u8> {
        let value = |row: &Row| match statistic {
            Statistic::Indicator => i64::from(row.indicator),
            Statistic::HeldOut => 0,
            Statistic::Residual { .. } => row.residual.into(),
        };
        let values: Vec<_> = self.rows.iter().map(value).collect();
        let mut encryptor = Encryptor::new(&self.key, statistic, values.len()).unwrap();
        encryptor.chunk(&values, 1).unwrap().into_flattened()
    }

    async fn upload_list(&mut self) -> Result<Hash, Status> {
        self.upload(TrainUploaded::List, &encode_list(&World::positions())).await
    }

    async fn upload_statistic(&mut self, statistic: Statistic) -> Result<Hash, Status> {
        let bytes = self.statistic(statistic);
        self.upload(TrainUploaded::Statistic(statistic), &bytes).await
    }

    /// Everything to the end of the second block.
    async fn blocks(&mut self) {
        self.prepared().await;
        self.block(0).await;
        self.upload_statistic(Statistic::Residual { block: 1 }).await.unwrap();
        self.block(1).await;
    }

    /// Everything, to the receipt of what it was ended with.
    async fn whole(&mut self) -> (TrainFinish, Signed<TrainReceipt>) {
        self.blocks().await;
        self.parts(scaling(4_000)).await.unwrap();
        let finish = self.finish_request("joint-1");
        let receipt = self.finish(&finish).await.unwrap();
        (finish, receipt)
    }

    /// Everything before the first level.
    async fn prepared(&mut self) {
        self.open().await.unwrap();
        self.begin().await.unwrap();
        self.upload_list().await.unwrap();
        self.upload_statistic(Statistic::Indicator).await.unwrap();
        self.upload_statistic(Statistic::Residual { block: 0 }).await.unwrap();
    }

    async fn grow(&mut self, place: Place, made: &[Decision]) -> Result<(Vec<Proposal>, Vec<u8>), Status> {
        let mut stream = self.client.grow(grow_request(self.session, place, made)).await?.into_inner();
        let (mut proposals, mut sums) = (Vec::new(), Vec::new());
        while let Some(message) = stream.next().await {
            match TrainGrown::try_from(message?).unwrap() {
                TrainGrown::Proposals(sent) => proposals = sent,
                TrainGrown::Sums(bytes) => sums.extend_from_slice(&bytes),
            }
        }
        let asked = step::Step::Grow { place, decisions: made.to_vec() };
        self.returned(&asked, returned_digest(&proposals, &sums));
        Ok((proposals, sums))
    }

    async fn contributions(&mut self, block: u16, made: &[Decision]) -> Result<Vec<u8>, Status> {
        let request = contributions_request(self.session, block, made);
        let mut stream = self.client.contributions(request).await?.into_inner();
        let mut rows = Vec::new();
        while let Some(message) = stream.next().await {
            rows.extend_from_slice(&train_rows(message?).unwrap());
        }
        let asked = step::Step::Contributions { block, decisions: made.to_vec() };
        self.returned(&asked, returned_digest(&[], &rows));
        Ok(rows)
    }

    async fn parts(&mut self, scaling: Scaling) -> Result<Vec<u8>, Status> {
        let mut stream = self.client.parts(parts_request(self.session, scaling)).await?.into_inner();
        let mut rows = Vec::new();
        while let Some(message) = stream.next().await {
            rows.extend_from_slice(&train_parts(message?).unwrap());
        }
        self.returned(&step::Step::Parts { scaling }, returned_digest(&[], &rows));
        Ok(rows)
    }

    /// Of a step that is asked again the last answer counts.
    fn returned(&mut self, asked: &step::Step, returned: Hash) {
        let asked = asked.digest();
        match self.steps.last_mut().filter(|(last, _)| *last == asked) {
            Some((_, last)) => *last = returned,
            None => self.steps.push((asked, returned)),
        }
    }

    fn decrypt(&self, bytes: &[u8]) -> Vec<i64> {
        let answers = Answers::decode(bytes, bytes.len() / CIPHERTEXT_BYTES, 1).unwrap();
        self.key.decrypt(&answers, &Decoder::new(1 << 20).unwrap(), 1).unwrap()
    }

    fn cells(&mut self, place: Place, proposals: &[Proposal], sums: &[u8]) -> Vec<NodeCells> {
        let numbers = self.decrypt(sums);
        let mut rest = numbers.as_slice();
        let mut take = |count| {
            let (taken, more) = rest.split_at(count);
            rest = more;
            taken.to_vec()
        };
        let mut nodes = Vec::new();
        for proposal in proposals {
            let count = proposal.groups.iter().map(Groups::cells).sum();
            let sums = take(count);
            if place.has_counts() {
                let counts: Vec<_> = take(count).iter().map(|count| *count as u64).collect();
                if place.level == 0 {
                    self.counts.clone_from(&counts);
                }
                nodes.push(node(proposal, &sums, &counts));
            } else {
                nodes.push(node(proposal, &sums, &self.counts));
            }
        }
        nodes
    }

    /// A block's trees from its first level on; the residuals are there.
    async fn block(&mut self, block: u16) -> Vec<Tree> {
        let bins = self.acceptance.as_ref().unwrap().body().bins.clone();
        let (mut trees, mut last) = (Vec::new(), Vec::new());
        let mut limit: Bound = bound(&self.rows).unwrap();
        for tree in 0..numbers().trees {
            let mut growth = Growth::new(&Hyperparameters::new(numbers()).unwrap(), &bins, limit).unwrap();
            for level in 0.. {
                let place = Place { block, tree, level };
                let (proposals, sums) = self.grow(place, &last).await.unwrap();
                match growth.on_cells(self.cells(place, &proposals, &sums)).unwrap() {
                    Step::Deeper { growth: next, decisions } => (growth, last) = (next, decisions),
                    Step::Grown { tree, decisions } => {
                        limit = limit.after(&tree).unwrap();
                        trees.push(tree);
                        last = decisions;
                        break;
                    }
                }
            }
        }
        let rows = self.contributions(block, &last).await.unwrap();
        let added: Vec<_> = self.decrypt(&rows).iter().map(|value| *value as i32).collect();
        subtract(&mut self.rows, &added).unwrap();
        trees
    }

    fn step_hash(&self) -> StepHash {
        let acceptance = self.acceptance.as_ref().unwrap();
        StepHash::new(&acceptance.digest(), &[acceptance.body().announcement.clone()])
    }

    fn finish_request(&self, name: &str) -> TrainFinish {
        let mut steps = self.step_hash();
        self.steps.iter().for_each(|(asked, returned)| steps.step(asked, returned));
        let card = windvane::score::card::SAMPLE.replace("fraud-2026-11", name);
        TrainFinish {
            session: self.session,
            scaling: scaling(4_000),
            card: windvane::score::card::parse(&card).unwrap(),
            steps: steps.finish(),
        }
    }

    async fn finish(&mut self, finish: &TrainFinish) -> Result<Signed<TrainReceipt>, Status> {
        let request = windvane_proto::train::v1::FinishRequest::from(finish);
        let response = self.client.finish(request).await?;
        Ok(Signed::<TrainReceipt>::try_from(response.into_inner()).unwrap())
    }
}

/// A scale of this width; the carrier is alone, so that its span is taken from the bank.
fn scaling(widest: u64) -> Scaling {
    Scaling::new(widest, Span::new(-2_000, 2_000).unwrap(), Values::Fine).unwrap()
}

fn node(proposal: &Proposal, sums: &[i64], counts: &[u64]) -> NodeCells {
    let mut cells = sums.iter().zip(counts).map(|(sum, count)| Cell { sum: *sum, count: *count });
    let features = proposal.groups.iter().map(|groups| FeatureCells {
        groups: groups.clone(),
        cells: cells.by_ref().take(groups.cells()).collect(),
    });
    NodeCells { child: proposal.child, features: features.collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_runs_to_a_countersigned_receipt_and_a_model_that_waits_for_approval() {
    let world = World::new().await;
    let mut training = world.training(5);
    training.prepared().await;
    let acceptance = training.acceptance.clone().unwrap();
    assert_eq!(acceptance.body().names, ["calls", "active"]);
    assert!(acceptance.verify(&world.carrier.admin.keys().receipt.verifying_key()));
    let trees = training.block(0).await;
    assert!(trees.iter().any(|tree| tree.nodes().len() > 1), "a tree that splits");
    training.upload_statistic(Statistic::Residual { block: 1 }).await.unwrap();
    training.block(1).await;
    training.parts(scaling(4_000)).await.unwrap();
    let finish = training.finish_request("joint-1");
    let receipt = training.finish(&finish).await.unwrap();
    assert!(receipt.verify(&world.carrier.admin.keys().receipt.verifying_key()));
    assert_eq!((receipt.body().steps, receipt.body().attempts), (finish.steps, 1));
    assert_eq!(training.finish(&finish).await.unwrap(), receipt);
    let other = training.finish_request("joint-2");
    assert_eq!(code(&training.finish(&other).await.unwrap_err()), "TRAIN_FINISH_DIFFERS");
    countersign(&world, &receipt).await;
    // Nothing that tells of people is left.
    let left: Vec<_> =
        std::fs::read_dir(world.folder(&training)).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(
        left.iter().all(|name| ["acceptance", "receipt", "salt", "journal"].iter().any(|n| name == n)),
        "{left:?}"
    );
    let models = world.carrier.config.node.data_dir.join("score/telecom-risk/models/joint-1");
    assert!(models.join("parts").exists() && models.join("record.json").exists());
    world.node.stop().await.unwrap();
    let options = windvane::audit::VerifyOptions::default();
    let report = windvane::audit::verify(&world.carrier.log_dir(), &options);
    assert!(report.findings.is_empty(), "{report}");
    assert_eq!(report.uncountersigned, 0);
}

async fn countersign(world: &World, receipt: &Signed<TrainReceipt>) {
    let body = Countersignature {
        requester: "bank".parse().unwrap(),
        provider: world.carrier.config.party(),
        receipts: vec![receipt.digest()],
        signed_at_ms: world.lab.clock.now_ms(),
    };
    let signed = Signed::sign(body, world.bank.admin.keys().signing_key());
    let address = world.node.grpc_address().unwrap().to_string();
    let channel = channel(&world.bank.certificate(), &world.carrier.config.party(), &address).unwrap();
    let request = CountersignRequest { countersignature: signed.as_bytes().to_vec().into() };
    AuditClient::new(channel).countersign(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_of_a_tree_changes_nothing() {
    let mut world = World::new().await;
    let mut undisturbed = world.training(5);
    undisturbed.prepared().await;
    let expected = undisturbed.block(0).await;
    let mut training = world.training(6);
    training.rows.clone_from(&world.training(5).rows);
    training.prepared().await;
    let first = Place::first(0);
    let before = training.grow(first, &[]).await.unwrap();
    world = world.restarted().await;
    training.client = world.client(&world.bank);
    // The same acceptance, the same answer but for its randomness, and the same trees.
    let acceptance = training.acceptance.clone().unwrap();
    assert_eq!(training.open().await.unwrap(), acceptance);
    let after = training.grow(first, &[]).await.unwrap();
    assert_eq!(after.0, before.0);
    assert_ne!(after.1, before.1);
    assert_eq!(training.decrypt(&after.1), training.decrypt(&before.1));
    assert_eq!(training.block(0).await, expected);
    world.node.stop().await.unwrap();
    let events = lab::events(&world.carrier);
    let count = |kind| events.iter().filter(|event| event.kind() == kind).count();
    // Both sessions were accepted once; one of them was opened twice.
    assert_eq!((count("train accepted"), count("train attempted")), (2, 3));
}
