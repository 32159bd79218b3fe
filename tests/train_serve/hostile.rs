//! A bank that comes out of order, asks twice for different things, or sends too much, too little or another's gets its
//! own error, and the session of an honest one goes on.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::limits::{MAX_TRAIN_ATTEMPTS, MAX_TRAIN_CHUNK_BYTES};
use windvane_protocols::train::record::TrainAnnouncement;
use windvane_protocols::train::tree::Split;

use super::*;
use crate::lab::failures;

const INDICATOR: Statistic = Statistic::Indicator;

const fn residual(block: u16) -> Statistic {
    Statistic::Residual { block }
}

fn refused<T>(result: Result<T, Status>) -> String {
    code(&result.err().expect("a refusal"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_of_order_is_refused_and_the_session_goes_on() {
    let world = World::new().await;
    let mut training = world.training(5);
    assert_eq!(refused(training.upload_list().await), "TRAIN_SESSION_UNKNOWN");
    assert_eq!(refused(training.grow(Place::first(0), &[]).await), "TRAIN_SESSION_UNKNOWN");
    training.open().await.unwrap();
    assert_eq!(refused(training.upload_list().await), "TRAIN_ORDER");
    assert_eq!(refused(training.grow(Place::first(0), &[]).await), "TRAIN_ORDER");
    training.begin().await.unwrap();
    assert_eq!(refused(training.upload_statistic(INDICATOR).await), "TRAIN_ORDER");
    training.upload_list().await.unwrap();
    assert_eq!(refused(training.upload_statistic(residual(0)).await), "TRAIN_ORDER");
    training.upload_statistic(INDICATOR).await.unwrap();
    assert_eq!(refused(training.upload_statistic(residual(1)).await), "TRAIN_ORDER");
    training.upload_statistic(residual(0)).await.unwrap();
    for place in
        [Place { block: 0, tree: 1, level: 0 }, Place { block: 0, tree: 0, level: 1 }, Place::first(1)]
    {
        assert_eq!(refused(training.grow(place, &[]).await), "TRAIN_ORDER");
    }
    assert_eq!(refused(training.contributions(0, &[]).await), "TRAIN_ORDER");
    let finish = training.finish_request("joint-1");
    assert_eq!(refused(training.finish(&finish).await), "TRAIN_ORDER");
    training.block(0).await;
    assert_eq!(refused(training.grow(Place::first(1), &[]).await), "TRAIN_ORDER");
    let codes = failures(&world.carrier, &world.node).await;
    assert_eq!(codes.iter().filter(|code| *code == "TRAIN_ORDER").count(), 11);
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_place_has_one_answer() {
    let world = World::new().await;
    let mut training = world.training(5);
    training.prepared().await;
    let first = Place::first(0);
    training.grow(first, &[]).await.unwrap();
    assert_eq!(refused(training.grow(first, &[Decision::Leaf(0)]).await), "TRAIN_DECISION_DIFFERS");
    let next = Place { block: 0, tree: 1, level: 0 };
    training.grow(next, &[Decision::Leaf(1)]).await.unwrap();
    assert_eq!(refused(training.grow(next, &[Decision::Leaf(2)]).await), "TRAIN_DECISION_DIFFERS");
    assert_eq!(refused(training.grow(first, &[]).await), "TRAIN_STEP_PAST");
    let mut other = world.training(5);
    other.rows[1].residual += 1;
    assert_eq!(refused(other.upload_statistic(residual(0)).await), "TRAIN_UPLOAD_DIFFERS");
    assert_eq!(training.upload_statistic(residual(0)).await.unwrap().len(), 64);
    training.contributions(0, &[Decision::Leaf(1)]).await.unwrap();
    assert_eq!(refused(training.contributions(0, &[Decision::Leaf(2)]).await), "TRAIN_DECISION_DIFFERS");
    training.contributions(0, &[Decision::Leaf(1)]).await.unwrap();
    training.upload_statistic(residual(1)).await.unwrap();
    assert_eq!(refused(training.contributions(0, &[Decision::Leaf(1)]).await), "TRAIN_STEP_PAST");
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_answered_as_often_as_a_session_is_opened() {
    let mut world = World::new().await;
    let mut training = world.training(5);
    training.prepared().await;
    let first = Place::first(0);
    for _ in 0..MAX_TRAIN_ATTEMPTS - 1 {
        training.grow(first, &[]).await.unwrap();
    }
    world = world.restarted().await;
    training.client = world.client(&world.bank);
    training.grow(first, &[]).await.unwrap();
    assert_eq!(refused(training.grow(first, &[]).await), "TRAIN_ATTEMPTS");
    // The next one is asked as before.
    training.grow(Place { block: 0, tree: 1, level: 0 }, &[Decision::Leaf(1)]).await.unwrap();
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_that_no_node_has_are_refused_and_the_right_ones_still_taken() {
    let world = World::new().await;
    let mut training = world.training(5);
    training.prepared().await;
    training.grow(Place::first(0), &[]).await.unwrap();
    let split = |feature, bin| Decision::Split(Split { feature, bin });
    let deeper = Place { block: 0, tree: 0, level: 1 };
    for wrong in [vec![split(7, 0)], vec![split(0, 99)], vec![], vec![Decision::Leaf(0); 3]] {
        assert_eq!(refused(training.grow(deeper, &wrong).await), "TRAIN_DECISION_INVALID");
    }
    // A leaf that no sum can have would otherwise tell whose it is by the error.
    let next = Place { block: 0, tree: 1, level: 0 };
    assert_eq!(refused(training.grow(next, &[Decision::Leaf(1 << 20)]).await), "TRAIN_DECISION_INVALID");
    training.grow(next, &[Decision::Leaf(3)]).await.unwrap();
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_another_length_or_form_are_refused() {
    let world = World::new().await;
    let mut training = world.training(5);
    training.open().await.unwrap();
    training.begin().await.unwrap();
    let list = encode_list(&World::positions());
    let mut longer = list.clone();
    longer.extend_from_slice(&[0; 8]);
    assert_eq!(refused(training.upload(TrainUploaded::List, &longer).await), "TRAIN_UPLOAD_SIZE");
    assert_eq!(refused(training.upload(TrainUploaded::List, &list[8..]).await), "TRAIN_UPLOAD_SIZE");
    let mut unsorted = list.clone();
    unsorted.rotate_left(8);
    assert_eq!(refused(training.upload(TrainUploaded::List, &unsorted).await), "TRAIN_LIST_INVALID");
    let mut other = list.clone();
    other[7] += 1;
    assert_eq!(refused(training.upload(TrainUploaded::List, &other).await), "TRAIN_LIST_INVALID");
    training.upload_list().await.unwrap();
    let uploaded = TrainUploaded::Statistic(INDICATOR);
    let good = training.statistic(INDICATOR);
    assert_eq!(refused(training.upload(uploaded, &good[64..]).await), "TRAIN_UPLOAD_SIZE");
    let garbage = vec![0xff; good.len()];
    assert_eq!(refused(training.upload(uploaded, &garbage).await), "TRAIN_CIPHERTEXT_INVALID");
    let long = TrainUpload::Chunk(vec![0; MAX_TRAIN_CHUNK_BYTES + 1].into());
    let messages: Vec<_> =
        [TrainUpload::Header(training.session, uploaded), long].map(UploadRequest::from).to_vec();
    let refusal = training.client.upload(tokio_stream::iter(messages)).await;
    assert_eq!(refused(refusal), "MESSAGE_TOO_LARGE");
    let headless = vec![UploadRequest::from(TrainUpload::Chunk(vec![0; 64].into()))];
    assert_eq!(refused(training.client.upload(tokio_stream::iter(headless)).await), "TRAIN_ORDER");
    training.upload_statistic(INDICATOR).await.unwrap();
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bank_takes_no_more_than_its_share_of_the_places() {
    let world = World::new().await;
    let [mut slow, mut slower, mut third] = [5, 6, 7].map(|session| world.training(session));
    let mut uploads = Vec::new();
    for training in [&mut slow, &mut slower, &mut third] {
        training.open().await.unwrap();
        training.begin().await.unwrap();
    }
    for training in [&slow, &slower] {
        let (out, messages) = mpsc::channel(1);
        let header = TrainUpload::Header(training.session, TrainUploaded::List);
        out.send(UploadRequest::from(header)).await.unwrap();
        let mut client = training.client.clone();
        let call = tokio::spawn(async move { client.upload(ReceiverStream::new(messages)).await });
        uploads.push((out, call));
        world.running(uploads.len()).await;
    }
    assert_eq!(refused(third.begin().await), "TRAIN_BUSY");
    let (out, call) = uploads.remove(0);
    drop(out);
    assert_eq!(refused(call.await.unwrap()), "TRAIN_UPLOAD_SIZE");
    third.upload_list().await.unwrap();
    drop(uploads);
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_could_not_read_its_folder_goes_on_once_it_can() {
    let world = World::new().await;
    let mut training = world.training(5);
    training.open().await.unwrap();
    training.begin().await.unwrap();
    training.upload_list().await.unwrap();
    let folder = world.folder(&training);
    std::fs::rename(folder.join("list"), folder.join("away")).unwrap();
    assert_eq!(refused(training.upload_statistic(INDICATOR).await), "INTERNAL");
    std::fs::rename(folder.join("away"), folder.join("list")).unwrap();
    training.upload_statistic(INDICATOR).await.unwrap();
    training.upload_statistic(residual(0)).await.unwrap();
    training.grow(Place::first(0), &[]).await.unwrap();
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_bank_finds_no_session_and_cannot_open_one_in_the_first_ones_name() {
    let world = World::new().await;
    let rival = world.lab.party("rival", "[http]\nlisten = \"127.0.0.1:0\"\n");
    world.carrier.admin.import_enrolment(&rival.enrolment).unwrap();
    world.carrier.taken_over_by(&world.node).await;
    let mut training = world.training(5);
    training.prepared().await;
    let mut other = world.training(5);
    other.acceptance = training.acceptance.clone();
    other.client = world.client(&rival);
    assert_eq!(refused(other.open().await), "PARTIES_MISMATCH");
    assert_eq!(refused(other.begin().await), "TRAIN_SESSION_UNKNOWN");
    assert_eq!(refused(other.upload_list().await), "TRAIN_SESSION_UNKNOWN");
    assert_eq!(refused(other.grow(Place::first(0), &[]).await), "TRAIN_SESSION_UNKNOWN");
    let finish = training.finish_request("joint-1");
    assert_eq!(refused(other.finish(&finish).await), "TRAIN_SESSION_UNKNOWN");
    training.grow(Place::first(0), &[]).await.unwrap();
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_for_joint_trainings_permits_none_with_its_provider_alone() {
    let world = World::with(TrainTerms { alone: false, ..train_terms() }).await;
    assert_eq!(refused(world.training(9).open().await), "GRANT_SCOPE");
    // Nothing else keeps the provider from one with another beside it.
    let key = TrainingKey::derive(&TrainingSeed::from_bytes([9; 32]));
    let mut request = world.request(9, &key);
    let other =
        Identity { party: "police".parse().unwrap(), key: world.bank.admin.keys().receipt.verifying_key() };
    request.charter.units.push(Unit { members: vec![other] });
    assert_eq!(refused(world.training_of(request, key).open().await), "TRAIN_IDENTITY");
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_their_grant_or_of_another_universe_or_identity_are_refused() {
    let world = World::new().await;
    let key = || TrainingKey::derive(&TrainingSeed::from_bytes([9; 32]));
    let open = async |change: &dyn Fn(&mut TrainRequest)| {
        let mut request = world.request(9, &key());
        change(&mut request);
        let mut training = world.training_of(request, key());
        training.open().await.map(drop)
    };
    let with = |change: &dyn Fn(&mut Numbers), request: &mut TrainRequest| {
        let mut changed = numbers();
        change(&mut changed);
        request.charter.hyperparameters = Hyperparameters::new(changed).unwrap();
    };
    assert_eq!(refused(open(&|r| with(&|n| n.blocks = 3, r)).await), "TRAIN_TERMS");
    assert_eq!(refused(open(&|r| with(&|n| n.trees = 3, r)).await), "TRAIN_TERMS");
    assert_eq!(refused(open(&|r| with(&|n| n.depth = 3, r)).await), "TRAIN_TERMS");
    assert_eq!(refused(open(&|r| with(&|n| n.minimum_count = 9, r)).await), "TRAIN_TERMS");
    assert_eq!(refused(open(&|r| r.charter.decoy_factor = 1).await), "TRAIN_TERMS");
    assert_eq!(refused(open(&|r| r.charter.rows = 1_001).await), "TRAIN_TERMS");
    assert_eq!(refused(open(&|r| r.purpose = "marketing".into()).await), "GRANT_SCOPE");
    assert_eq!(refused(open(&|r| r.data_set = "subscribers".parse().unwrap()).await), "GRANT_SCOPE");
    assert_eq!(refused(open(&|r| r.charter.universe = [1; 64]).await), "TRAIN_UNIVERSE");
    assert_eq!(refused(open(&|r| r.charter.public_key = [0xff; 32]).await), "TRAIN_KEY_INVALID");
    assert_eq!(refused(open(&|r| r.requested_at_ms += 3_600_000).await), "CLOCK_SKEW");
    let stranger = |r: &mut TrainRequest| {
        let key = world.bank.admin.keys().receipt.verifying_key();
        let member = Identity { party: "carrier-x".parse().unwrap(), key };
        r.charter.units.push(Unit { members: vec![member] });
    };
    assert_eq!(refused(open(&stranger).await), "TRAIN_IDENTITY");
    // Nothing of them was counted or kept: three runs are still there, and no fourth.
    for session in 11..14 {
        world.training(session).open().await.unwrap();
    }
    assert_eq!(refused(world.training(14).open().await), "GRANT_EXHAUSTED");
    world.training(11).client.open(OpenRequest::default()).await.unwrap_err();
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_or_impossible_name_of_a_model_is_refused_before_the_training_is_accepted() {
    let world = World::new().await;
    let models = world.carrier.config.node.data_dir.join("score/telecom-risk/models");
    std::fs::create_dir_all(models.join("joint-1")).unwrap();
    let key = || TrainingKey::derive(&TrainingSeed::from_bytes([9; 32]));
    let named = |session, model: &str| {
        let mut request = world.request(session, &key());
        request.charter.model = model.to_owned();
        world.training_of(request, key())
    };
    assert_eq!(refused(named(9, "joint-1").open().await), "TRAIN_MODEL_EXISTS");
    for impossible in ["../joint-2", "joint 2", ".joint-2"] {
        assert_eq!(refused(named(10, impossible).open().await), "TRAIN_MODEL_NAME");
    }
    // No run was spent on them.
    for session in 11..14 {
        named(session, "joint-2").open().await.unwrap();
    }
    world.node.stop().await.unwrap();
    let accepted = |event: &Event| matches!(event, Event::TrainAccepted(_));
    assert_eq!(lab::events(&world.carrier).iter().filter(|event| accepted(event)).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_its_request_and_its_announcements() {
    let world = World::new().await;
    let mut training = world.training(5);
    training.open().await.unwrap();
    let key = TrainingKey::derive(&TrainingSeed::from_bytes([6; 32]));
    let mut other = world.training_of(world.request(5, &key), key);
    assert_eq!(refused(other.open().await), "TRAIN_SESSION_DIFFERS");
    let own = training.acceptance.as_ref().unwrap().body().announcement.clone();
    let forged = TrainAnnouncement { mask_key: [1; 32], ..own.body().clone() };
    let forged = Signed::sign(forged, world.bank.admin.keys().signing_key());
    let mut begin = async |announcements| {
        let begin = TrainBegin { session: training.session, announcements };
        training.client.begin(windvane_proto::train::v1::BeginRequest::from(&begin)).await
    };
    assert_eq!(refused(begin(vec![forged]).await), "TRAIN_ANNOUNCEMENTS_INVALID");
    assert_eq!(refused(begin(vec![]).await), "TRAIN_ANNOUNCEMENTS_INVALID");
    begin(vec![own.clone()]).await.unwrap();
    begin(vec![own]).await.unwrap();
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changed_ends_the_session_and_a_grant_that_was_ended_does() {
    let mut world = World::new().await;
    let mut training = world.training(5);
    training.prepared().await;
    let table = world.lab.dir.path().join("features.csv");
    let text = std::fs::read_to_string(&table).unwrap();
    std::fs::write(&table, text.replacen("1.5", "2.5", 1)).unwrap();
    world = world.restarted().await;
    training.client = world.client(&world.bank);
    assert_eq!(refused(training.grow(Place::first(0), &[]).await), "TRAIN_TABLE_CHANGED");
    std::fs::write(&table, text).unwrap();
    training.grow(Place::first(0), &[]).await.unwrap();
    let id = world.bank.admin.grants().unwrap()[0].0.id.to_string();
    world.carrier.admin.end_grant(&id).unwrap();
    world.carrier.taken_over_by(&world.node).await;
    assert_eq!(refused(training.grow(Place::first(0), &[]).await), "GRANT_UNKNOWN");
    world.node.stop().await.unwrap();
}

/// Blocks whose trees are one leaf each.
async fn trivial(training: &mut Training) {
    training.prepared().await;
    for block in 0..numbers().blocks {
        if block > 0 {
            training.upload_statistic(residual(block)).await.unwrap();
        }
        training.grow(Place::first(block), &[]).await.unwrap();
        let next = Place { block, tree: 1, level: 0 };
        training.grow(next, &[Decision::Leaf(1)]).await.unwrap();
        training.contributions(block, &[Decision::Leaf(1)]).await.unwrap();
    }
}

/// [`trivial`] blocks, and then parts.
async fn told(training: &mut Training) {
    trivial(training).await;
    training.parts(scaling(4_000)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_does_not_hold_is_refused_and_the_right_one_still_taken() {
    let world = World::new().await;
    let (mut first, mut second) = (world.training(5), world.training(6));
    told(&mut second).await;
    trivial(&mut first).await;
    let early = first.finish_request("joint-1");
    assert_eq!(refused(first.finish(&early).await), "TRAIN_ORDER");
    first.parts(scaling(4_000)).await.unwrap();
    let finish = first.finish_request("joint-1");
    let steps = TrainFinish { steps: [0; 64], ..finish.clone() };
    assert_eq!(refused(first.finish(&steps).await), "TRAIN_TRANSCRIPT");
    for other in [scaling(4_001), scaling(4_000).coarse()] {
        let other = TrainFinish { scaling: other, ..finish.clone() };
        assert_eq!(refused(first.finish(&other).await), "TRAIN_SCALE_DIFFERS");
    }
    let renamed = first.finish_request("joint-2");
    assert_eq!(refused(first.finish(&renamed).await), "TRAIN_MODEL_DIFFERS");
    first.finish(&finish).await.unwrap();
    assert_eq!(refused(first.grow(Place::first(0), &[]).await), "TRAIN_ENDED");
    assert_eq!(refused(first.open().await), "TRAIN_ENDED");
    // A name that was free when this one was accepted, and is taken now, is refused before anything of it is kept.
    let taken = second.finish_request("joint-1");
    assert_eq!(refused(second.finish(&taken).await), "TRAIN_MODEL_EXISTS");
    second.parts(scaling(4_000)).await.unwrap();
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_too_old_is_given_up() {
    let world = World::new().await;
    let mut training = world.training(5);
    training.prepared().await;
    world.lab.clock.advance_ms(8 * 86_400_000);
    assert_eq!(refused(training.grow(Place::first(0), &[]).await), "TRAIN_EXPIRED");
    world.node.stop().await.unwrap();
}
