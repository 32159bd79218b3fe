//! What programmers print: `Debug` of everything that holds an identity, and panics that hold those.

use windvane::dataset::StagingReader;
use windvane::http::{BatchBody, VerificationBody};
use windvane_protocols::identity::Family;
use windvane_protocols::lookup::client::Customer;

use super::marks::{SUBSCRIBERS, everybody};
use super::operations::{Carriers, Stage, lenient, questions};
use super::rest;

/// Prints, and panics with, everything.
pub(crate) fn everything(stage: &Stage, carriers: &Carriers) {
    let data_set = lenient().name().clone();
    let questions = questions();
    stage.record.debug("inquiries", &questions);
    for question in &questions {
        let customer = Customer { person: &question.person, ticket: b"T", consent: b"C" };
        stage.record.debug("customers", &customer);
        let encodings: Vec<_> =
            Family::ALL.into_iter().filter_map(|f| f.encode("subscribers", &question.person)).collect();
        stage.record.debug("encodings", &encodings);
    }
    let asked = everybody().filter(|marked| !marked.phones.is_empty());
    let bodies: Vec<VerificationBody> =
        asked.map(|marked| serde_json::from_value(rest::body(marked)).unwrap()).collect();
    stage.record.debug("bodies", &bodies);
    let batch: BatchBody = serde_json::from_value(rest::batch()).unwrap();
    stage.record.debug("bodies", &batch);
    let keys = carriers.a.admin.keys();
    let staged = StagingReader::open(&carriers.a.config.node.data_dir, &data_set, 14, &keys.storage).unwrap();
    let mut records = staged.into_iter();
    let some: Vec<_> = records.by_ref().take(20).map(Result::unwrap).collect();
    assert!(some.len() > SUBSCRIBERS.len());
    stage.record.debug("staged records", &(&some, &records));
    stage.record.debug("administration", &carriers.a.admin);
    panics(&(questions, bodies, batch, some, records));
}

/// As an assertion that fails while these are at hand; standard error gets the message and the trace.
fn panics(values: &(impl std::fmt::Debug + Sync)) {
    let message = std::thread::scope(|scope| {
        let thread = scope.spawn(|| panic!("a check failed: {values:?} {values:#?}"));
        thread.join().unwrap_err()
    });
    assert!(message.is::<String>());
}
