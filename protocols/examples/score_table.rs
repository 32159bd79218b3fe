//! Times the joint score on one thread: `cargo run --release -p windvane-protocols --example score_table
//! [ROWS [CUSTOMERS [PROVIDERS]]]`.
//!
//! Rows of one provider's table, the bank's sum, and a batch's cost for a customer by step. It shows processor
//! time, which other processes disturb less than they do wall time.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::collections::BTreeMap;
use std::error::Error;

use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use windvane_protocols::identity::{IDENTITY_VERSION, Phone};
use windvane_protocols::score::epoch::Member;
use windvane_protocols::score::group::{Charter, GroupTerms, Identity, Sharing};
use windvane_protocols::score::query::ask;
use windvane_protocols::score::shares::announce;
use windvane_protocols::score::table::{Row, sum};
use windvane_protocols::score::universe::{NUMBERS_PER_SEGMENT, Universe};
use windvane_protocols::transcript::Signed;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let rows = arguments.next().transpose()?.unwrap_or(400_000);
    let customers = arguments.next().transpose()?.unwrap_or(10_000).clamp(1, NUMBERS_PER_SEGMENT);
    let providers = arguments.next().transpose()?.unwrap_or(3).max(2);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let bank = identity("bank", 0)?;
    let universe = Universe::new(bank.0.party.clone(), 1, vec!["1380013".parse()?])?;
    let members = set_up(bank, providers, &universe, &mut rng)?;

    let mut parts = vec![0; rows.max(customers)];
    rng.fill_bytes(&mut parts);
    let sealer = members[0].sealer().ok_or("the table's key is there")?;
    let (table, seconds) = timed(|| sealer.rows(0, &parts[..rows]))?;
    println!(
        "table: {:.0} rows/s, {:.2} µs a row",
        table.len() as f64 / seconds,
        seconds * 1e6 / rows as f64
    );
    let summed = summed(&members, &parts[..customers])?;
    for batch in [1, 8, 64, customers] {
        call(&members, &universe, &summed[..batch.min(customers)], &parts, &mut rng)?;
    }
    Ok(())
}

/// The bank's table, where all providers have the same parts.
fn summed(members: &[Member], parts: &[u8]) -> Result<Vec<Row>, Failure> {
    let sealers = members.iter().filter_map(Member::sealer);
    let tables: Vec<_> = sealers.map(|sealer| sealer.rows(0, parts)).collect();
    let stretches: Vec<_> = tables.iter().map(|table| table.as_flattened()).collect();
    let (summed, seconds) = timed(|| sum::add(members[0].epoch(), &stretches))?;
    println!("sum of {}: {:.2} µs a row", members.len(), seconds * 1e6 / parts.len() as f64);
    Ok(summed?)
}

/// Calls about the first numbers of the universe.
fn call(
    members: &[Member],
    universe: &Universe,
    rows: &[Row],
    parts: &[u8],
    rng: &mut ChaCha20Rng,
) -> Result<(), Failure> {
    let phones = (0..rows.len()).map(|last| Phone::parse(&format!("1380013{last:04}")));
    let phones = phones.collect::<Result<Vec<_>, _>>()?;
    let numbers: Vec<_> = phones.iter().map(Some).collect();
    let passes = (2_000 / rows.len()).max(1);
    let mut steps = [0.0; 4];
    for _ in 0..passes {
        let (asked, asking) = timed(|| ask(members[0].epoch(), universe, &numbers, rng))?;
        let (state, question) = asked?;
        let (answers, answering) =
            timed(|| members.iter().map(|m| m.answer(&question, rng)).collect::<Result<Vec<_>, _>>())?;
        let answers = answers?;
        let (unblinded, combining) = timed(|| state.on_answers(&answers))?;
        let unblinded = unblinded?;
        let (sums, opening) = timed(|| unblinded.open(rows))?;
        let truth = parts.iter().map(|part| u16::from(*part) * members.len() as u16);
        if !sums.iter().zip(truth).all(|(sum, truth)| *sum == Some(Ok(truth))) {
            return Err("a sum is wrong".into());
        }
        let seconds = [asking, answering / members.len() as f64, combining, opening];
        steps.iter_mut().zip(seconds).for_each(|(sum, seconds)| *sum += seconds);
    }
    let [asking, answering, combining, opening] = steps.map(|s| s * 1e6 / (passes * rows.len()) as f64);
    println!(
        "batch of {:5}, {} providers, µs a customer: ask {asking:.1}, answer {answering:.1} each, \
         combine {combining:.1}, open {opening:.1}",
        rows.len(),
        members.len()
    );
    Ok(())
}

fn identity(name: &str, seed: u8) -> Result<(Identity, SigningKey), Failure> {
    let key = SigningKey::from_bytes(&[seed; 32]);
    Ok((Identity { party: name.parse()?, key: key.verifying_key() }, key))
}

/// A group of providers whose threshold is their number.
fn set_up(
    (requester, bank): (Identity, SigningKey),
    providers: usize,
    universe: &Universe,
    rng: &mut ChaCha20Rng,
) -> Result<Vec<Member>, Failure> {
    let named = |i: usize| identity(&format!("carrier-{i:02}"), i as u8 + 1);
    let (identities, keys): (Vec<_>, Vec<_>) =
        (0..providers).map(named).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let terms = GroupTerms {
        group: "fraud".parse()?,
        requester: requester.clone(),
        providers: identities.clone(),
        sharing: Sharing::Threshold(providers),
        universe: *universe.digest(),
        identity_version: IDENTITY_VERSION.to_owned(),
        model: [0; 64],
        epoch: 1,
    };
    let pins: BTreeMap<_, _> = terms.identities().map(|i| (i.party.clone(), i.fingerprint())).collect();
    let charter = Charter::accept(terms, &pins)?;
    let (mut states, mut messages) = (Vec::new(), Vec::new());
    for (identity, key) in identities.iter().zip(&keys) {
        let step = announce(charter.clone(), &identity.party, key, rng)?;
        states.push(step.state);
        messages.push(step.message);
    }
    let (mut dealing, mut dealings) = (Vec::new(), Vec::new());
    for (state, key) in states.into_iter().zip(&keys) {
        let step = state.on_announcements(&messages, key, rng)?;
        dealing.push(step.state);
        dealings.push(step.message);
    }
    let (mut waiting, mut confirmations): (Vec<_>, Vec<Signed<_>>) = (Vec::new(), Vec::new());
    for (state, key) in dealing.into_iter().zip(&keys) {
        let step = state.on_dealings(&dealings, key)?;
        waiting.push(step.state);
        confirmations.push(step.message);
    }
    confirmations.push(waiting[0].sharing().confirm(requester.party, &bank));
    waiting.into_iter().map(|state| Ok(state.on_confirmations(&confirmations)?)).collect()
}

/// What a step gives, and the seconds of processor time that it took.
fn timed<T>(step: impl FnOnce() -> T) -> Result<(T, f64), Failure> {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let start = now();
    let value = step();
    Ok((value, now() - start))
}
