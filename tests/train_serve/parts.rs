//! Parts that are told: those of the registry, once, under one scale, and behind the blocks alone.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use windvane::identity::Layout;
use windvane::score::folder::ScoreFolder;
use windvane::score::registry::Registry;
use windvane_proto::train::v1::{PartsRequest, Scale};
use windvane_protocols::train::mask::MaskingKey;
use windvane_protocols::train::record::TrainAnnouncement;

use super::*;

impl World {
    /// A model's parts of the listed rows, as the carrier's registry has them.
    fn kept(&self, model: &str) -> Vec<u8> {
        let layout = Layout::new(self.carrier.config.node.data_dir.clone());
        let registry = Registry::new(ScoreFolder::new(&layout).group(&"telecom-risk".parse().unwrap()));
        let version = registry.open(model).unwrap();
        let parts = version.parts(&self.carrier.admin.keys().storage, &self.universe).unwrap();
        Self::positions().iter().map(|position| parts.as_slice()[*position as usize]).collect()
    }
}

fn refused<T>(result: Result<T, Status>) -> String {
    code(&result.err().expect("a refusal"))
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_those_of_the_registry_for_real_rows_and_nothing_for_decoys() {
    let world = World::new().await;
    let mut training = world.training(5);
    training.blocks().await;
    // The least scale that holds the span, so that parts differ.
    let scaling = Scaling::new(600, Span::new(-300, 300).unwrap(), Values::Fine).unwrap();
    let rows = training.parts(scaling).await.unwrap();
    let told = training.decrypt(&rows);
    let finish = TrainFinish { scaling, ..training.finish_request("joint-1") };
    training.finish(&finish).await.unwrap();
    let kept = world.kept("joint-1");
    for ((told, kept), row) in told.iter().zip(&kept).zip(&training.rows) {
        assert_eq!(*told, i64::from(*kept) * i64::from(row.indicator));
    }
    let mut values = kept.clone();
    values.sort_unstable();
    values.dedup();
    // Alone, the carrier shows few values although it was asked for all.
    assert!((3..=16).contains(&values.len()), "{values:?}");
    // Rows that its table does not have have the default, which a sum tells too.
    let elsewhere = ROWS - 1;
    assert!(training.rows[elsewhere].indicator == 1 && kept[elsewhere] != 0, "{kept:?}");
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_come_again_after_a_restart_and_under_no_other_scale() {
    let mut world = World::new().await;
    let mut training = world.training(5);
    training.blocks().await;
    let before = training.parts(scaling(4_000)).await.unwrap();
    world = world.restarted().await;
    training.client = world.client(&world.bank);
    assert_eq!(refused(training.parts(scaling(4_001)).await), "TRAIN_DECISION_DIFFERS");
    let after = training.parts(scaling(4_000)).await.unwrap();
    assert_ne!(after, before);
    assert_eq!(training.decrypt(&after), training.decrypt(&before));
    assert_eq!(refused(training.parts(scaling(4_000).coarse()).await), "TRAIN_DECISION_DIFFERS");
    assert_eq!(refused(training.upload_statistic(Statistic::Residual { block: 2 }).await), "TRAIN_ORDER");
    assert_eq!(refused(training.grow(Place::first(1), &[]).await), "TRAIN_STEP_PAST");
    let finish = training.finish_request("joint-1");
    training.finish(&finish).await.unwrap();
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_before_the_last_block_and_scales_that_cannot_be_are_refused_and_the_session_goes_on() {
    let world = World::new().await;
    let mut training = world.training(5);
    training.open().await.unwrap();
    assert_eq!(refused(training.parts(scaling(4_000)).await), "TRAIN_ORDER");
    training.begin().await.unwrap();
    training.upload_list().await.unwrap();
    training.upload_statistic(Statistic::Indicator).await.unwrap();
    training.upload_statistic(Statistic::Residual { block: 0 }).await.unwrap();
    assert_eq!(refused(training.parts(scaling(4_000)).await), "TRAIN_ORDER");
    training.block(0).await;
    assert_eq!(refused(training.parts(scaling(4_000)).await), "TRAIN_ORDER");
    training.upload_statistic(Statistic::Residual { block: 1 }).await.unwrap();
    training.block(1).await;
    for (widest, minimum, maximum) in [(9, -5, 5), (0, 0, 0), (u64::MAX, 0, 1), (9, 1, 5), (9, -5, -1)] {
        let scale = Some(Scale { widest, minimum, maximum, coarse: false });
        let request = PartsRequest { session: training.session.as_bytes().to_vec().into(), scale };
        assert_eq!(refused(training.client.parts(request).await), "MESSAGE_MALFORMED", "{scale:?}");
    }
    training.parts(scaling(4_000)).await.unwrap();
    world.node.stop().await.unwrap();
}

/// The carrier beside a second provider, which nobody runs: its announcement is signed here.
struct Beside {
    world: World,
    other: Party,
}

impl Beside {
    async fn new() -> Self {
        let mut world = World::new().await;
        let other = world.lab.party("police", "");
        let identity = other.admin.score_identity();
        let pin = format!("[[train.peers]]\nparty = \"police\"\nidentity = \"{}\"\n", identity.fingerprint());
        world.carrier.config = world.lab.config("carrier-a", &format!("{}{pin}", world.section));
        Self { world: world.restarted().await, other }
    }

    async fn training(&self) -> Training {
        let key = TrainingKey::derive(&TrainingSeed::from_bytes([5; 32]));
        let mut request = self.world.request(5, &key);
        let receipt = self.other.admin.keys().receipt.verifying_key();
        let member = Identity { party: self.other.config.party(), key: receipt };
        request.charter.units.push(Unit { members: vec![member] });
        let mut training = self.world.training_of(request, key);
        let own = training.open().await.unwrap().body().announcement.clone();
        let mask = MaskingKey::random(&mut ChaCha20Rng::seed_from_u64(5));
        let announcement = TrainAnnouncement {
            charter: own.body().charter,
            party: self.other.config.party(),
            schema: [0; 64],
            mask_key: *mask.public(),
        };
        let announcement = Signed::sign(announcement, self.other.admin.keys().signing_key());
        let begin = TrainBegin { session: training.session, announcements: vec![own, announcement] };
        let begin = windvane_proto::train::v1::BeginRequest::from(&begin);
        training.client.begin(begin).await.unwrap();
        training.upload_list().await.unwrap();
        training.upload_statistic(Statistic::Indicator).await.unwrap();
        training
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_others_the_span_must_be_that_of_the_trees() {
    let beside = Beside::new().await;
    let mut training = beside.training().await;
    let leaf = |value| [Decision::Leaf(value)];
    for block in 0..numbers().blocks {
        training.upload_statistic(Statistic::Residual { block }).await.unwrap();
        training.grow(Place::first(block), &[]).await.unwrap();
        training.grow(Place { block, tree: 1, level: 0 }, &leaf(3)).await.unwrap();
        training.contributions(block, &leaf(-1)).await.unwrap();
    }
    // Two trees of a leaf of 3, and two of -1.
    let scaling =
        |minimum, maximum| Scaling::new(100, Span::new(minimum, maximum).unwrap(), Values::Fine).unwrap();
    for (minimum, maximum) in [(0, 0), (-1, 4), (0, 5), (-2, 6)] {
        assert_eq!(refused(training.parts(scaling(minimum, maximum)).await), "TRAIN_SCALE");
    }
    let rows = training.parts(scaling(0, 4)).await.unwrap();
    // Alone the answers decrypt to nothing, whatever the provider's parts are.
    let answers = Answers::decode(&rows, ROWS, 1).unwrap();
    assert!(training.key.decrypt(&answers, &Decoder::new(1 << 20).unwrap(), 1).is_err());
    beside.world.node.stop().await.unwrap();
}
