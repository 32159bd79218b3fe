//! Disks that take their time: whom that is blamed on, and what a stop waits for.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use windvane::evidence::disk::Disk;
use windvane::http::{Client, VerificationBody};
use windvane::peer::transport::Tcp;
use windvane::{Node, Surroundings};
use windvane_protocols::audit::entry::Event;

use crate::lab::{Lab, Party, SUBSCRIBERS, bank_of, error_of, events, terms, zhang};

/// A disk that makes nothing durable while it is stalled.
#[derive(Debug, Default)]
struct Stalling {
    stalled: Mutex<bool>,
    changed: Condvar,
}

/// Stalls a disk until it is dropped.
struct Stalled(Arc<Stalling>);

impl Stalling {
    fn stall(self: &Arc<Self>) -> Stalled {
        *self.stalled.lock().unwrap() = true;
        Stalled(self.clone())
    }
}

impl Drop for Stalled {
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
    // An idle log syncs in its caller's thread, so another one ends the stall, when the call's time is over.
    let ending = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        drop(stalled);
    });
    assert_eq!(error_of(&node, zhang()).await.as_deref(), Some("DEADLINE_EXCEEDED"));
    ending.join().unwrap();
    let breaker = bank_of(&node).breakers().remove(0);
    assert_eq!((breaker.state, breaker.last_failure), ("closed", None));
    assert_eq!(carrier_node.log().size(), before, "it was not asked");
    node.stop().await.unwrap();
    carrier_node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_a_verification_whose_caller_hung_up() {
    let lab = Lab::new();
    let (carrier, disk) = (lab.carrier("carrier-a", SUBSCRIBERS), Arc::new(Stalling::default()));
    let carrier_node = start_on(&lab, &carrier, &disk).await;
    let (mut bank, node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
    node.stop().await.unwrap();
    bank.config.service.stop_grace_ms = 60_000;
    let token = bank.admin.admit_caller("counter").unwrap();
    let node = lab.start(&bank).await;
    let base = format!("http://{}", node.http_address().unwrap());
    let client = Client::new(&base, &token).unwrap();
    let body: VerificationBody = serde_json::from_value(json!({
        "name": "张三", "id_number": "11010519491231002X", "phone": "13800138000",
        "purpose": "account_opening", "ticket": "T-1", "consent": { "id": "C-1" }, "operator": "teller-1"
    }))
    .unwrap();
    let (before, begun) = (node.log().size(), Instant::now());
    let stalled = disk.stall();
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.verify(&body).await });
    while node.log().size() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody is asked");
    }
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // A whole round trip later the listener has seen the end of the connection.
    assert_eq!(client.report("none").await.unwrap_err().code, "VERIFICATION_UNKNOWN");
    let stop = node.stop();
    tokio::pin!(stop);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut stop).await.is_err(), "it waits");
    drop(stalled);
    stop.await.unwrap();
    carrier_node.stop().await.unwrap();
    assert!(events(&bank).iter().any(|event| matches!(event, Event::Decided(_))));
}
