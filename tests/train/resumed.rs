//! A training that did not come through goes on: under its plan from wherever it is named, and after an outage that was
//! longer than a request is good for.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_other_threads_and_patience_takes_its_training_up_and_another_plan_does_not() {
    let world = World::new().await;
    let plan = world.plan("resumed-1");
    let training = world.begun(&plan);
    let runner = world.runner();
    let patient = TrainPlan { node: Some(world.at("bank.toml")), threads: 1, idle_s: 240, ..plan.clone() };
    assert_eq!(runner.unfinished(&patient).unwrap(), Some(training));
    runner.take_up(training, &patient).unwrap();
    let kept = TrainFolder::plan(&world.bank.config.node.data_dir, training).unwrap();
    assert_eq!(kept, Some(patient));
    let other = TrainPlan { held_out: 25, ..plan };
    assert_eq!(runner.unfinished(&other).unwrap(), None);
    assert_eq!(runner.take_up(training, &other).unwrap_err().code(), "TRAIN_FOLDER");
    world.stopped().await;
}
