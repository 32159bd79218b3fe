//! Disks that take their time: whom that is blamed on.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use windvane::evidence::disk::Disk;
use windvane::peer::transport::Tcp;
use windvane::{Node, Surroundings};

use crate::lab::{Lab, Party, SUBSCRIBERS, bank_of, error_of, terms, zhang};

/// A disk that makes nothing durable while it is stalled.
#[derive(Debug, Default)]
struct Stalling {
    stalled: Mutex<bool>,
    changed: Condvar,
}

/// Stalls a disk until it is dropped.
struct Stalled<'a>(&'a Stalling);

impl Stalling {
    fn stall(&self) -> Stalled<'_> {
        *self.stalled.lock().unwrap() = true;
        Stalled(self)
    }
}

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        *self.0.stalled.lock().unwrap() = false;
        self.0.changed.notify_all();
    }
}

impl Disk for Stalling {
    fn sync(&self, file: &File) -> io::Result<()> {
        let stalled = self.stalled.lock().unwrap();
        drop(self.changed.wait_while(stalled, |stalled| *stalled).unwrap());
        file.sync_data()
    }
}

async fn start_on(lab: &Lab, party: &Party, disk: &Arc<Stalling>) -> Node {
    let surroundings = Surroundings::new(Arc::new(lab.clock.clone()), Arc::new(Tcp), disk.clone());
    Node::start_in(&party.config, surroundings).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banks_own_disk_is_no_failure_of_its_providers() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let carrier_node = lab.start(&carrier).await;
    let (mut bank, node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
    node.stop().await.unwrap();
    bank.config.verification.deadline_ms = 50;
    bank.config.breaker.failures = 1;
    let disk = Arc::new(Stalling::default());
    let node = start_on(&lab, &bank, &disk).await;
    let before = carrier_node.log().size();
    let stalled = disk.stall();
    let mut asked = Box::pin(error_of(&node, zhang()));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut asked).await.is_err());
    drop(stalled);
    assert_eq!(asked.await.as_deref(), Some("DEADLINE_EXCEEDED"));
    let breaker = bank_of(&node).breakers().remove(0);
    assert_eq!((breaker.state, breaker.last_failure), ("closed", None));
    assert_eq!(carrier_node.log().size(), before, "it was not asked");
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
}
