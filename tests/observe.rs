//! What nodes show of themselves: metrics after known calls, readiness for every cause, spans of both parties.

mod collector;
mod doctor;
mod labels;
mod readiness;
mod traces;

pub(crate) use collector::Collector;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use windvane::Node;
use windvane::config::Config;
use windvane::observe::Metrics;

use crate::lab::{Lab, Party, SUBSCRIBERS, bank_of, error_of, terms, zhang};

/// A carrier and a bank that show themselves.
struct Pair {
    carrier: Party,
    provider: Node,
    bank: Party,
    node: Node,
}

/// Takes a free port of loopback for health and metrics.
pub(crate) fn shown(config: &mut Config) {
    config.observability.listen = Some("127.0.0.1:0".parse().unwrap());
    // The machine that runs the tests may have little room.
    config.observability.min_free_disk_mb = 0;
}

/// The same as sections of a configuration, with a collector of spans.
pub(crate) fn shown_to(collector: SocketAddr) -> String {
    format!(
        "[observability]\nlisten = \"127.0.0.1:0\"\nmin_free_disk_mb = 0\notlp_endpoint = \"http://{collector}\"\n"
    )
}

impl Pair {
    /// Both nodes, each with its configuration changed.
    async fn start(lab: &Lab, change: impl Fn(&mut Config)) -> Self {
        let mut carrier = lab.carrier("carrier-a", SUBSCRIBERS);
        change(&mut carrier.config);
        let provider = lab.start(&carrier).await;
        let address = provider.grpc_address().unwrap().to_string();
        let mut bank = lab.bank_files(&[(&carrier, address)], &terms());
        change(&mut bank.config);
        carrier.taken_over_by(&provider).await;
        bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
        let node = lab.start(&bank).await;
        Self { carrier, provider, bank, node }
    }

    async fn stop(self) {
        self.node.stop().await.unwrap();
        self.provider.stop().await.unwrap();
    }
}

/// Status and body of a page.
pub(crate) async fn page(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// What a node exports.
pub(crate) async fn metrics(node: &Node) -> String {
    let (status, body) = page(node.observability_address().unwrap(), "/metrics").await;
    assert_eq!(status, 200);
    body
}

/// The value of a series, by its name with its labels in order.
pub(crate) fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no {series} in\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_known_values_after_known_calls() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, shown).await;
    for _ in 0..3 {
        assert_eq!(error_of(&pair.node, zhang()).await, None);
    }
    let mut marketing = zhang();
    marketing.purpose = "marketing".into();
    assert_eq!(error_of(&pair.node, marketing).await.as_deref(), Some("GRANT_SCOPE"));
    bank_of(&pair.node).verify_batch(vec![zhang(), zhang()]).await.unwrap();
    bank_of(&pair.node).countersign().await;

    let text = metrics(&pair.provider).await;
    for (series, expected) in [
        ("windvane_calls_total{service=\"lookup\",method=\"Evaluate\",peer=\"bank\",code=\"OK\"}", 4.0),
        (
            "windvane_calls_total{service=\"lookup\",method=\"Evaluate\",peer=\"bank\",code=\"GRANT_SCOPE\"}",
            1.0,
        ),
        ("windvane_calls_total{service=\"lookup\",method=\"FetchManifest\",peer=\"bank\",code=\"OK\"}", 1.0),
        ("windvane_calls_total{service=\"lookup\",method=\"FetchPages\",peer=\"bank\",code=\"OK\"}", 1.0),
        ("windvane_call_seconds_count{service=\"lookup\",method=\"Evaluate\"}", 5.0),
        ("windvane_calls_running{service=\"lookup\"}", 0.0),
        ("windvane_refusals_total{peer=\"bank\",code=\"GRANT_SCOPE\"}", 1.0),
        (&quota("used", "match", "day"), 15.0),
        (&quota("used", "attribute", "total"), 5.0),
        (&quota("limit", "match", "day"), 10_000_000.0),
        (&quota("limit", "match", "total"), 100_000_000.0),
        ("windvane_receipts_open", 0.0),
        ("windvane_sessions_remembered", 4.0),
        ("windvane_connections", 1.0),
        ("windvane_log_size_entries", pair.provider.log().size() as f64),
        ("windvane_log_entries_total", pair.provider.log().stats().entries as f64),
        ("windvane_log_sync_seconds_count", pair.provider.log().stats().fsyncs as f64),
        ("windvane_outbox_entries", 0.0),
        ("windvane_jobs{kind=\"psi\",state=\"running\"}", 0.0),
        ("windvane_ready", 1.0),
        (
            &format!("windvane_build_info{{version=\"{}\",party=\"carrier-a\"}}", env!("CARGO_PKG_VERSION")),
            1.0,
        ),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    let days = value(&text, "windvane_certificate_days_left{party=\"carrier-a\"}");
    assert!((19.9..20.1).contains(&days), "{days}");
    let days = value(&text, "windvane_grant_days_left{party=\"bank\"}");
    assert!((9.9..10.1).contains(&days), "{days}");
    let left = value(&text, "windvane_epoch_left_seconds{provider=\"carrier-a\",data_set=\"subscribers\"}");
    assert!((86_000.0..86_401.0).contains(&left), "{left}");
    assert!(value(&text, "windvane_process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "windvane_process_cpu_seconds_total") > 0.0);

    let text = metrics(&pair.node).await;
    for (series, expected) in [
        ("windvane_peer_calls_total{peer=\"carrier-a\",code=\"OK\"}", 4.0),
        ("windvane_peer_calls_total{peer=\"carrier-a\",code=\"GRANT_SCOPE\"}", 1.0),
        ("windvane_peer_call_seconds_count{peer=\"carrier-a\"}", 5.0),
        ("windvane_questions_total{kind=\"single\"}", 4.0),
        ("windvane_questions_total{kind=\"batch\"}", 1.0),
        ("windvane_question_seconds_count{kind=\"single\"}", 4.0),
        ("windvane_verifications_total{result=\"match\"}", 5.0),
        ("windvane_verifications_total{result=\"unavailable\"}", 1.0),
        ("windvane_decisions_total{colour=\"green\"}", 5.0),
        ("windvane_decisions_total{colour=\"yellow\"}", 1.0),
        ("windvane_ready", 1.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    pair.stop().await;
}

/// The series of a quota of the tests' grant.
fn quota(what: &str, group: &str, window: &str) -> String {
    let labels = format!("peer=\"bank\",purpose=\"account_opening\",group=\"{group}\",window=\"{window}\"");
    format!("windvane_quota_{what}_elements{{{labels}}}")
}

/// Appear only with jobs, or with something to find, or when a bank that stopped left receipts.
const RARE: [&str; 3] =
    ["windvane_jobs_ended_total", "windvane_findings", "windvane_receipts_uncountersigned"];

#[tokio::test(flavor = "multi_thread")]
async fn both_nodes_export_what_is_documented_and_nothing_else() {
    let lab = Lab::new();
    let pair = Pair::start(&lab, shown).await;
    let mut marketing = zhang();
    marketing.purpose = "marketing".into();
    assert_eq!(error_of(&pair.node, marketing).await.as_deref(), Some("GRANT_SCOPE"));
    bank_of(&pair.node).countersign().await;
    assert_eq!(page(pair.node.http_address().unwrap(), "/readyz").await.0, 200);
    let text = metrics(&pair.provider).await + &metrics(&pair.node).await;
    let exported: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ').map(|(name, _)| name))
        .collect();
    let page = Metrics::page();
    for name in &exported {
        assert!(page.contains(&format!("| `{name}` |")), "{name} is not documented");
    }
    let documented = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let missing: Vec<_> =
        documented.filter(|name| !exported.contains(name) && !RARE.contains(name)).collect();
    assert!(missing.is_empty(), "documented and not exported: {missing:?}");
    pair.stop().await;
}
