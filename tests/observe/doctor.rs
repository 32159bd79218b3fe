//! The doctor finds what is wrong with a node, from its files, its partners and the node itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use windvane::Node;
use windvane::observe::Severity;
use windvane::observe::doctor::{Report, examine};

use super::{Pair, shown};
use crate::lab::{Lab, Party, SUBSCRIBERS, bank_of, zhang};

/// The party's file, with where its node shows itself.
fn file(lab: &Lab, party: &Party, node: &Node) -> PathBuf {
    let path = lab.dir.path().join(&party.config.node.party).join("windvane.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.split("[observability]").next().unwrap();
    let listen = node.observability_address().unwrap();
    let section = format!(
        "[observability]\nlisten = \"{listen}\"\nmin_free_disk_mb = 0\n[certificates]\nwarn_days = 1\n"
    );
    // Sections of arrays may stand before it, so that it ends the file.
    fs::write(&path, format!("{text}{section}")).unwrap();
    path
}

fn codes(report: &Report, severity: Severity) -> Vec<String> {
    report.findings.iter().filter(|found| found.severity == severity).map(|found| found.short()).collect()
}

fn problems(report: &Report) -> Vec<String> {
    codes(report, Severity::Problem)
}

const NOTHING: [&str; 0] = [];

/// An address at which nobody listens.
fn closed() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_nodes_have_no_problems_and_the_provider_answers() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, shown).await;
    bank_of(&pair.node).verify(zhang()).await.unwrap();
    let report = examine(&file(&lab, &pair.bank, &pair.node)).await;
    assert_eq!((problems(&report), report.problems), (vec![], 0), "{}", report.text());
    let notes = codes(&report, Severity::Note);
    for code in ["carrier-a: PEER_ANSWERS", "KEYS", "LOG", "NODE_RUNS", "VERSION"] {
        assert!(notes.contains(&code.to_owned()), "{code} in {notes:?}");
    }
    let report = examine(&file(&lab, &pair.carrier, &pair.provider)).await;
    assert_eq!(problems(&report), NOTHING, "{}", report.text());
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_provider_is_named() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, shown).await;
    let path = file(&lab, &pair.bank, &pair.node);
    lab.clock.advance_ms(90_000);
    assert_eq!(problems(&examine(&path).await), ["carrier-a: CLOCK_SKEW"]);

    // A carrier that does not know this bank, one of another authority, and one that does not run.
    let stranger = lab.carrier("carrier-b", SUBSCRIBERS);
    let (stranger_node, abroad) = (lab.start(&stranger).await, Lab::new());
    let foreign = abroad.carrier("carrier-c", SUBSCRIBERS);
    let foreign_node = abroad.start(&foreign).await;
    let text = fs::read_to_string(&path).unwrap();
    let provider =
        |party: &str, address: &str| format!("[[provider]]\nparty = \"{party}\"\naddress = \"{address}\"\n");
    let address = |node: &Node| node.grpc_address().unwrap().to_string();
    let more = [
        provider("carrier-b", &address(&stranger_node)),
        provider("carrier-c", &address(&foreign_node)),
        provider("carrier-d", &closed()),
    ];
    fs::write(&path, format!("{text}{}", more.concat())).unwrap();
    let mut found = problems(&examine(&path).await);
    found.sort();
    assert_eq!(
        found,
        [
            "carrier-a: CLOCK_SKEW",
            "carrier-b: PEER_UNKNOWN",
            "carrier-c: TLS_HANDSHAKE",
            "carrier-d: PEER_UNREACHABLE"
        ]
    );
    for node in [stranger_node, foreign_node] {
        node.stop().await.unwrap();
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_show_itself_is_asked_over_rest_and_else_known_by_its_log() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, |config| config.observability.min_free_disk_mb = 0).await;
    let unseen = |party: &Party, node: &Node| {
        let path = lab.dir.path().join(&party.config.node.party).join("windvane.toml");
        let text = fs::read_to_string(&path).unwrap();
        let text = match node.http_address() {
            Some(address) => text.replacen(
                "[http]\nlisten = \"127.0.0.1:0\"",
                &format!("[http]\nlisten = \"{address}\""),
                1,
            ),
            None => text,
        };
        fs::write(&path, text + "[observability]\nmin_free_disk_mb = 0\n[certificates]\nwarn_days = 1\n")
            .unwrap();
        path
    };
    let (bank, carrier) = (unseen(&pair.bank, &pair.node), unseen(&pair.carrier, &pair.provider));
    let report = examine(&bank).await;
    let notes = codes(&report, Severity::Note);
    for code in ["NODE_RUNS", "OBSERVABILITY_OFF"] {
        assert!(notes.contains(&code.to_owned()), "{code} in {}", report.text());
    }
    // That it is ready is not known, so it is not called healthy.
    let report = examine(&carrier).await;
    assert!(codes(&report, Severity::Warning).contains(&"OBSERVABILITY_OFF".to_owned()), "{}", report.text());
    assert!(!report.text().contains("healthy"), "{}", report.text());
    // One whose log is open, and that does not answer where it is asked, is not to be started once more.
    let text = fs::read_to_string(&bank).unwrap();
    let address = pair.node.http_address().unwrap().to_string();
    fs::write(&bank, text.replacen(&address, &closed(), 1)).unwrap();
    let found = codes(&examine(&bank).await, Severity::Warning);
    assert!(
        found.contains(&"NODE_SILENT".to_owned()) && !found.contains(&"NODE_DOWN".to_owned()),
        "{found:?}"
    );
    fs::write(&bank, text).unwrap();
    pair.stop().await;
    for path in [bank, carrier] {
        let report = examine(&path).await;
        assert!(codes(&report, Severity::Warning).contains(&"NODE_DOWN".to_owned()), "{}", report.text());
        assert!(!report.text().contains("healthy"), "{}", report.text());
    }
}

/// Any file of the log's right edge.
fn partial_tile(dir: &Path) -> PathBuf {
    let mut pending = vec![dir.join("tile")];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pending.push(path),
                false if path.parent().unwrap().extension().is_some_and(|end| end == "p") => return path,
                false => {}
            }
        }
    }
    panic!("there is no partial tile");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_node_that_is_stopped_are_examined() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, shown).await;
    let path = file(&lab, &pair.bank, &pair.node);
    let (bank, root) = (pair.bank.config.clone(), pair.bank.config.node.data_dir.clone());
    pair.stop().await;
    let report = examine(&path).await;
    assert_eq!(problems(&report), ["carrier-a: PEER_UNREACHABLE"], "{}", report.text());
    assert!(codes(&report, Severity::Warning).contains(&"NODE_DOWN".to_owned()));

    fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(codes(&examine(&path).await, Severity::Warning).contains(&"MODE_LOOSE".to_owned()));

    let tile = partial_tile(&root.join("log"));
    let mut bytes = fs::read(&tile).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&tile, bytes).unwrap();
    assert!(problems(&examine(&path).await).contains(&"LOG_DAMAGED".to_owned()));

    fs::remove_dir_all(root.join("snapshots")).unwrap();
    let report = examine(&path).await;
    assert!(codes(&report, Severity::Warning).contains(&"SNAPSHOT_MISSING".to_owned()), "{}", report.text());

    fs::write(bank.keys.passphrase_file.as_ref().unwrap(), "another").unwrap();
    let report = examine(&path).await;
    assert!(report.problems > 0 && report.findings[0].is_problem(), "{}", report.text());
    fs::remove_file(&path).unwrap();
    let report = examine(&path).await;
    assert_eq!(problems(&report), ["CONFIG_UNREADABLE"]);
    assert!(report.findings[0].advice.contains("--config"));
}
