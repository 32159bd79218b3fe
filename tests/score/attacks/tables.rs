//! Tables that must not be: a second one under a context, a sum without a member's, rows that are no sums.

use std::fmt::Write as _;

use curve25519_dalek::RistrettoPoint;
use windvane::admin::{Admin, ScorePublication};
use windvane::error::NodeError;
use windvane::score::parts::{DenseParts, PartsFile};
use windvane::score::plan::GroupPlan;
use windvane::verification::ScoreStatus;
use windvane_keys::files::write_private;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::score::table::parts::Coverage;
use windvane_protocols::score::table::{SEGMENT_BYTES, TableHasher};
use windvane_protocols::transcript::Signed;

use super::operator::Operator;
use crate::lab::{Party, events, failures};
use crate::score::calls::{Scored, activate, group, number, part, publish, sum};
use crate::score::{epoch_dir, failures_of_bank};

/// Publishes parts of the first provider of which one is another than before.
fn publish_other(scored: &Scored, admin: &Admin) -> Result<Signed<TableManifest>, NodeError> {
    let mut csv = "number,part\n".to_owned();
    for position in (0..10_000).filter(|position| position % 7 != 0) {
        let other = if position == 8 { part(0, position) ^ 1 } else { part(0, position) };
        let _ = writeln!(csv, "{},{other}", number(position));
    }
    let (path, rejects) =
        (scored.lab.dir.path().join("other.csv"), scored.lab.dir.path().join("other-rejects"));
    std::fs::write(&path, csv).unwrap();
    let publication = ScorePublication {
        group: group(),
        epoch: Some(1),
        coverage: Coverage::Overlapped,
        overlap_permille: 1_000,
    };
    let (number_column, part_column) = (PartsFile::NUMBER_COLUMN, PartsFile::PART_COLUMN);
    let file = PartsFile { path: &path, number_column, part_column, default: 3, rejects: &rejects };
    admin.score_publish(&publication, |plan| Ok(DenseParts::import(&file, &plan.universe, &())?.0), &())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_table_under_one_context_is_refused_told_and_never_served() {
    let scored = Scored::new(2, 2, 1).await;
    let (provider, node) = &scored.providers[0];
    let before = Operator::new(&scored).await.tables.swap_remove(0);
    let error = publish_other(&scored, &provider.admin).unwrap_err();
    assert_eq!(error.code(), "SCORE_SECOND_TABLE");
    // Neither when the first one and its manifest are gone.
    for file in ["table", "manifests/provider-0"] {
        std::fs::rename(epoch_dir(provider, 1).join(file), scored.lab.dir.path().join("aside")).unwrap();
        assert_eq!(publish_other(&scored, &provider.admin).unwrap_err().code(), "SCORE_SECOND_TABLE");
        std::fs::rename(scored.lab.dir.path().join("aside"), epoch_dir(provider, 1).join(file)).unwrap();
    }
    provider.taken_over_by(node).await;
    assert_eq!(failures(provider, node).await, ["SCORE_SECOND_TABLE"; 3]);
    assert_eq!(Operator::new(&scored).await.tables[0], before);
    assert_eq!(scored.score(&number(8)).await.sum, Some(sum(2, 8)));
    scored.stop().await;
}

/// A second epoch for which some of the providers publish.
async fn second_epoch(scored: &Scored, publishers: &[usize]) {
    let plan = GroupPlan::load(&scored.lab.dir.path().join("group.toml")).unwrap();
    assert_eq!(scored.bank.admin.score_setup(&plan, None, &()).await.unwrap().epoch, 2);
    for i in publishers {
        let (provider, node) = &scored.providers[*i];
        publish(&scored.lab, provider, *i, scored.segments);
        provider.taken_over_by(node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_without_a_members_table_is_refused_and_the_active_epoch_stays() {
    let scored = Scored::new(3, 2, 1).await;
    second_epoch(&scored, &[0, 1]).await;
    let error = scored.bank.admin.score_fetch(&group(), Some(2), &()).await.unwrap_err();
    assert_eq!(error.code(), "SCORE_TABLE_UNKNOWN");
    assert!(error.to_string().starts_with("provider-2: "), "{error}");
    assert_eq!(failures(&scored.providers[2].0, &scored.providers[2].1).await, ["SCORE_TABLE_UNKNOWN"]);
    let error = scored.bank.admin.activate_score(&group(), 2, "fraud-1", "bob").unwrap_err();
    assert_eq!(error.code(), "SCORE_TABLE_MISSING");
    assert_eq!(scored.score(&number(5)).await.sum, Some(sum(3, 5)));
    scored.bank.taken_over_by(&scored.bank_node).await;
    scored.bank_node.log().publish().await.unwrap();
    assert_eq!(failures_of_bank(&scored.bank), [("provider-2".to_owned(), "SCORE_TABLE_UNKNOWN".to_owned())]);
    scored.stop().await;
}

/// Rows of a provider's own table become elements of its choice, under a manifest that it signs.
fn plant(provider: &Party, epoch: u64, positions: &[usize]) {
    let (dir, name) = (epoch_dir(provider, epoch), provider.config.party());
    let mut rows = std::fs::read(dir.join("table")).unwrap();
    for position in positions {
        let element = RistrettoPoint::from_uniform_bytes(&[*position as u8 + 1; 64]).compress();
        rows[position * 32..][..32].copy_from_slice(element.as_bytes());
    }
    let mut hasher = TableHasher::new();
    rows.as_chunks::<SEGMENT_BYTES>().0.iter().for_each(|segment| hasher.push(segment));
    let path = dir.join("manifests").join(name.as_str());
    let signed = Signed::<TableManifest>::from_bytes_unverified(std::fs::read(&path).unwrap()).unwrap();
    let manifest = TableManifest { root: hasher.root(), ..signed.body().clone() };
    let signed = Signed::sign(manifest, provider.admin.keys().signing_key());
    write_private(&path, signed.as_bytes()).unwrap();
    std::fs::write(dir.join("table"), rows).unwrap();
}

/// How often each kind of entry stands in a provider's log.
fn kinds(party: &Party) -> (usize, usize, usize) {
    let events = events(party);
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    (
        count(|event| matches!(event, Event::Answered(_))),
        count(|event| matches!(event, Event::Failed { .. })),
        count(|event| matches!(event, Event::Countersigned(_))),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_row_is_an_error_that_names_the_epoch_at_the_bank_alone_for_its_number_alone() {
    let scored = Scored::new(3, 2, 1).await;
    second_epoch(&scored, &[0, 1, 2]).await;
    plant(&scored.providers[1].0, 2, &[5, 77]);
    activate(&scored.lab, &scored.bank, 2).await;
    scored.bank.taken_over_by(&scored.bank_node).await;
    let mut seen = Vec::new();
    for position in [5, 6, 77, 78] {
        let score = scored.score(&number(position)).await;
        assert_eq!(score.epoch, 2);
        if [5, 77].contains(&position) {
            let found = (score.status, score.error.as_deref(), score.sum, score.band);
            assert_eq!(found, (ScoreStatus::Undecodable, Some("SCORE_UNDECODABLE"), None, None));
        } else {
            assert_eq!((score.status, score.sum), (ScoreStatus::Scored, Some(sum(3, position))));
        }
        scored.bank().countersign().await;
        let mut kinds_seen = Vec::new();
        for (provider, node) in &scored.providers {
            node.log().publish().await.unwrap();
            kinds_seen.push(kinds(provider));
        }
        seen.push(kinds_seen);
    }
    // Every call is the same to every provider: one more answer, one more countersignature, no failure.
    let ordinary = |at: usize| vec![(at, 0, at); 3];
    assert_eq!(seen, [ordinary(1), ordinary(2), ordinary(3), ordinary(4)]);
    scored.bank_node.log().publish().await.unwrap();
    let undecodable = ("bank".to_owned(), "SCORE_UNDECODABLE".to_owned());
    assert_eq!(failures_of_bank(&scored.bank), [undecodable.clone(), undecodable]);
    scored.stop().await;
}
