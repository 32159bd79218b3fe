//! Operators' work while calls run: grants, tables, changes of tables.

use std::fs;

use tokio::time::{Instant, sleep};
use windvane::error::NodeError;

use super::super::ledger::{Invariant, Promise};
use super::super::machine::Machine;
use super::super::people::{self, State};
use super::super::template::{self, DESK};
use super::{ENDED_WITHIN, Outcome, Small, Watch, World, lock};

/// How often an operator tries to fetch a table.
const FETCHES: u32 = 6;

/// Why a change is published with a full table instead of a delta, as the errors say. The time is that of a clock which
/// has gone back since the last delta.
const FULL_IS_DUE: [&str; 4] = ["DELTA_COUNT_LIMIT", "DELTA_SIZE_LIMIT", "CHANGE_FILES_LIMIT", "DELTA_TIME"];

impl World {
    pub(super) async fn issue(&self, carrier: usize, total: u64, per_day: u64, number: u64) -> Outcome {
        let machine = &self.machines[1 + carrier];
        let _operator = machine.operator.lock().await;
        let mut terms = template::terms(DESK, &[windvane_protocols::identity::Family::Phone]);
        (terms.total, terms.per_day, terms.days) = (total, per_day, 1);
        let issued = machine.admin().and_then(|admin| admin.issue_grant(&terms));
        match issued.and_then(|text| self.desk.accept(&text)) {
            Ok(grant) => {
                self.ledger.promise(machine.name(), Promise::Granted(grant.id), number);
                lock(&self.small[carrier]).push(Small { id: grant.id, ended: None });
                "done".into()
            }
            Err(error) => self.work_failed(&error, machine, number),
        }
    }

    pub(super) async fn end(&self, carrier: usize, number: u64) -> Outcome {
        let machine = &self.machines[1 + carrier];
        let _operator = machine.operator.lock().await;
        let newest = lock(&self.small[carrier]).last().copied().filter(|small| small.ended.is_none());
        let Some(newest) = newest else { return "nothing".into() };
        match machine.admin().and_then(|admin| admin.end_grant(&newest.id.to_string())) {
            Ok(()) => {
                self.ledger.promise(machine.name(), Promise::Ended(newest.id), number);
                let mut small = lock(&self.small[carrier]);
                if let Some(small) = small.iter_mut().find(|small| small.id == newest.id) {
                    small.ended = Some(Instant::now());
                }
                "done".into()
            }
            Err(error) => self.work_failed(&error, machine, number),
        }
    }

    /// A carrier publishes its data as they are under fresh keys; the bank fetches them.
    pub(super) async fn rotate(&self, carrier: usize, number: u64) -> Outcome {
        let (bank, machine) = (&self.machines[0], &self.machines[1 + carrier]);
        let _operators = (bank.operator.lock().await, machine.operator.lock().await);
        if machine.up().is_none() {
            return "down".into();
        }
        if let Err(error) = publish(machine, carrier, &lock(&self.tables[carrier]).present()) {
            return self.work_failed(&error, machine, number);
        }
        self.delivered(carrier, number).await
    }

    /// One subscriber changes: a change file, a delta, and the bank that applies it.
    pub(super) async fn change(
        &self,
        carrier: usize,
        subscriber: usize,
        state: State,
        number: u64,
    ) -> Outcome {
        let (bank, machine) = (&self.machines[0], &self.machines[1 + carrier]);
        let _operators = (bank.operator.lock().await, machine.operator.lock().await);
        if machine.up().is_none() {
            return "down".into();
        }
        let before = lock(&self.tables[carrier]).present();
        let row = people::change_row(carrier, subscriber, before.state(subscriber), state);
        let Some(row) = row else { return "nothing".into() };
        // From here on it may be true at the carrier, whatever becomes of the rest.
        let after = before.with(subscriber, state);
        lock(&self.tables[carrier]).change(after.clone());
        let file = machine.data_dir().join("changes.csv");
        let config = template::data_set();
        let changed = fs::write(&file, row).map_err(NodeError::io("the change file")).and_then(|()| {
            let admin = machine.admin()?;
            admin.change(&config, &file, &())?;
            admin.publish_delta(&config, &()).map(drop)
        });
        let changed = match changed {
            Err(error) if FULL_IS_DUE.contains(&error.code()) => publish(machine, carrier, &after),
            changed => changed,
        };
        match changed {
            Ok(()) => self.delivered(carrier, number).await,
            Err(error) => self.work_failed(&error, machine, number),
        }
    }

    /// The bank fetches what a carrier published a moment ago.
    async fn delivered(&self, carrier: usize, number: u64) -> Outcome {
        let (bank, machine) = (&self.machines[0], &self.machines[1 + carrier]);
        // The node takes it over.
        sleep(ENDED_WITHIN).await;
        lock(&self.tables[carrier]).under_way();
        match fetch(bank, machine.name()).await {
            Ok(()) => {
                lock(&self.tables[carrier]).arrived(Instant::now() + ENDED_WITHIN);
                "fetched".into()
            }
            Err(error) => {
                let code = error.code().to_owned();
                self.stated_code(&code, &Watch::begin(machine), number)
            }
        }
    }

    pub(super) fn work_failed(&self, error: &NodeError, machine: &Machine, number: u64) -> Outcome {
        // Nobody is granted anything while its certificate is revoked.
        if error.code() == "CERTIFICATE_REVOKED" && self.is_distrusted() {
            return "refused".into();
        }
        let text = format!("an operator's work at {} failed: {}: {error}", machine.name(), error.code());
        self.ledger.violate(Invariant::Recovery, number, text);
        "violation".into()
    }
}

/// Imports, builds and publishes a carrier's full file.
fn publish(machine: &Machine, carrier: usize, facts: &people::Facts) -> Result<(), NodeError> {
    let (admin, config) = (machine.admin()?, template::data_set());
    let file = machine.data_dir().join("full.csv");
    fs::write(&file, people::file(carrier, facts)).map_err(NodeError::io("the full file"))?;
    admin.import(&config, &file, &())?;
    admin.build(&config, &())?;
    admin.publish(&config).map(drop)
}

/// Fetches a carrier's table, as an operator does who tries again.
async fn fetch(bank: &Machine, carrier: &str) -> Result<(), NodeError> {
    let admin = bank.admin()?;
    let mut tries = 1;
    loop {
        match admin.fetch_snapshot(carrier, |_, _| ()).await {
            // Nothing that it does not have.
            Err(error) if error.code() == "SNAPSHOT_INSTALLED" => return Ok(()),
            Err(_) if tries < FETCHES => tries += 1,
            fetched => return fetched.map(drop),
        }
        sleep(ENDED_WITHIN).await;
    }
}
