//! A state file that does not let go of what the log has: the log has it once all the same.

use rusqlite::Connection;
use windvane_protocols::audit::entry::Event;

use crate::lab::{Lab, Party, SUBSCRIBERS, events};

/// Makes every removal from a party's outbox fail until it is dropped.
struct Stuck(Connection);

impl Stuck {
    fn new(party: &Party) -> Self {
        let state = Connection::open(party.config.node.data_dir.join("state.db")).unwrap();
        let trigger = "CREATE TRIGGER stuck BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'stuck'); END";
        state.execute_batch(trigger).unwrap();
        Self(state)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.execute_batch("DROP TRIGGER stuck").unwrap();
    }
}

fn admitted(party: &Party) -> Vec<String> {
    let name = |event| match event {
        Event::User { name, .. } => Some(name),
        _ => None,
    };
    events(party).into_iter().filter_map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_tells_stands_in_the_log_once_when_the_state_cannot_be_written() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let stuck = Stuck::new(&carrier);
    for name in ["alice", "bob"] {
        assert_eq!(carrier.admin.admit_caller(name).unwrap_err().code(), "STATE_UNAVAILABLE");
    }
    drop(stuck);
    carrier.admin.admit_caller("carol").unwrap();

    // The same while a node has the log, and takes entries over again and again.
    let node = lab.start(&carrier).await;
    let stuck = Stuck::new(&carrier);
    carrier.admin.admit_caller("dave").unwrap();
    for _ in 0..3 {
        assert_eq!(node.reload().await.unwrap_err().code(), "STATE_UNAVAILABLE");
    }
    carrier.admin.admit_caller("erin").unwrap();
    drop(stuck);
    node.reload().await.unwrap();
    assert!(carrier.admin.is_flushed().unwrap());
    node.stop().await.unwrap();
    assert_eq!(admitted(&carrier), ["alice", "bob", "carol", "dave", "erin"]);
}
