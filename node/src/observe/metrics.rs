//! Every metric, with the one place where it is named and described: [`Metrics::page`] is made of it.
//!
//! Counters and histograms are counted where things happen; gauges are read when somebody collects
//! (`super::sample`).

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::labels::{
    BuildLabels, CallLabels, ColourLabels, FindingLabels, HttpLabels, JobLabels, KindLabels, MethodLabels,
    PartyLabels, PeerCodeLabels, PeerCodes, PeerLabels, QuotaLabels, ResultLabels, RouteLabels,
    ServiceLabels, TableLabels,
};

/// The media type of `Metrics::text`.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Upper bounds of calls' durations, seconds. A verification takes 3 to 10 ms on a quiet machine and is answered in
/// 400 ms whatever comes; batches and jobs take longer.
const CALL_SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 5.0, 60.0];

type Number = Gauge<u64, AtomicU64>;
type Real = Gauge<f64, AtomicU64>;
type Timed<L> = Family<L, Histogram, fn() -> Histogram>;

/// A metric as it is documented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name as it is exported.
    pub name: String,
    /// Counter, gauge or histogram.
    pub kind: &'static str,
    /// Its labels, separated by commas.
    pub labels: &'static str,
    /// What it says.
    pub help: &'static str,
}

/// All metrics of one node.
pub struct Metrics {
    registry: Registry,
    described: Vec<Described>,
    pub(super) codes: PeerCodes,

    pub(super) calls: Family<CallLabels, Counter>,
    pub(super) call_seconds: Timed<MethodLabels>,
    pub(super) calls_running: Family<ServiceLabels, Gauge>,
    refusals: Family<PeerCodeLabels, Counter>,
    pub(super) connections: Number,
    pub(super) calls_waiting: Number,
    pub(super) transfers: Number,
    pub(super) shed: Family<PeerLabels, Counter>,
    pub(super) circuit_open: Family<PeerLabels, Number>,
    peer_calls: Family<PeerCodeLabels, Counter>,
    peer_call_seconds: Timed<PeerLabels>,
    verifications: Family<ResultLabels, Counter>,
    decisions: Family<ColourLabels, Counter>,
    questions: Family<KindLabels, Counter>,
    question_seconds: Timed<KindLabels>,
    pub(super) http_requests: Family<HttpLabels, Counter>,
    pub(super) http_request_seconds: Timed<RouteLabels>,
    jobs_ended: Family<JobLabels, Counter>,

    pub(super) jobs: Family<JobLabels, Number>,
    pub(super) log_entries: Counter,
    pub(super) log_size: Number,
    pub(super) log_waiting: Number,
    pub(super) log_waiting_bytes: Number,
    pub(super) log_unpublished_seconds: Real,
    pub(super) log_checkpoint_age_seconds: Real,
    pub(super) outbox: Number,
    pub(super) passes_waiting: Number,
    pub(super) sessions: Number,
    pub(super) receipts_open: Number,
    pub(super) receipts_uncountersigned: Family<PeerLabels, Number>,
    pub(super) data_age_seconds: Family<TableLabels, Real>,
    pub(super) epoch_left_seconds: Family<TableLabels, Real>,
    pub(super) certificate_days: Family<PartyLabels, Real>,
    pub(super) grant_days: Family<PartyLabels, Real>,
    pub(super) quota_used: Family<QuotaLabels, Number>,
    pub(super) quota_limit: Family<QuotaLabels, Number>,
    pub(super) ready: Number,
    pub(super) findings: Family<FindingLabels, Number>,
    pub(super) disk_free_bytes: Number,
    pub(super) memory_bytes: Number,
    pub(super) cpu_seconds: Counter<f64, AtomicU64>,
    pub(super) open_files: Number,
    pub(super) build: Family<BuildLabels, Number>,
}

/// Names, describes and registers.
#[derive(Default)]
struct Register {
    registry: Registry,
    described: Vec<Described>,
}

impl Register {
    fn add<M: Metric + Clone>(
        &mut self,
        (name, kind): (&str, &'static str),
        labels: &'static str,
        help: &'static str,
        metric: M,
    ) -> M {
        let exported =
            if kind == COUNTER { format!("windvane_{name}_total") } else { format!("windvane_{name}") };
        self.described.push(Described { name: exported, kind, labels, help });
        self.registry.register(format!("windvane_{name}"), help, metric.clone());
        metric
    }

    fn counter<M: Metric + Clone + Default>(
        &mut self,
        name: &str,
        labels: &'static str,
        help: &'static str,
    ) -> M {
        self.add((name, COUNTER), labels, help, M::default())
    }

    fn gauge<M: Metric + Clone + Default>(
        &mut self,
        name: &str,
        labels: &'static str,
        help: &'static str,
    ) -> M {
        self.add((name, GAUGE), labels, help, M::default())
    }

    fn timed<L>(&mut self, name: &str, labels: &'static str, help: &'static str) -> Timed<L>
    where
        L: Clone + std::hash::Hash + Eq + fmt::Debug + Send + Sync + 'static,
        Timed<L>: Metric,
    {
        let seconds: Timed<L> = Family::new_with_constructor(|| Histogram::new(CALL_SECONDS));
        self.add((name, HISTOGRAM), labels, help, seconds)
    }
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
const HISTOGRAM: &str = "histogram";

impl Metrics {
    /// Nothing counted yet; the log's sync times are counted by the log.
    #[expect(clippy::too_many_lines, reason = "one line for each metric")]
    pub fn new(sync_seconds: Histogram) -> Self {
        let mut r = Register::default();
        r.add(
            ("log_sync_seconds", HISTOGRAM),
            "",
            "Duration of the log's syncs, with their writes",
            sync_seconds,
        );
        Self {
            codes: PeerCodes::default(),
            calls: r.counter(
                "calls",
                "service,method,peer,code",
                "Calls of peers that have ended, by their code: OK, the refusal's, or CANCELLED by the peer",
            ),
            call_seconds: r.timed(
                "call_seconds",
                "service,method",
                "Duration of peers' calls, to the end of the answer",
            ),
            calls_running: r.gauge("calls_running", "service", "Calls of peers under way (streams)"),
            refusals: r.counter(
                "refusals",
                "peer,code",
                "What peers were refused, also within calls and jobs",
            ),
            connections: r.gauge("connections", "", "Open connections with peers, accepted and dialled"),
            calls_waiting: r.gauge("calls_waiting", "", "Calls of peers that wait for their turn"),
            transfers: r.gauge(
                "transfers_running",
                "",
                "Downloads, set intersections and trainings under way",
            ),
            shed: r.counter(
                "shed_calls",
                "peer",
                "Calls that were refused unread, for want of room or for the peer's faults",
            ),
            circuit_open: r.gauge(
                "circuit_open",
                "peer",
                "1 while the bank does not ask a provider that has not been answering",
            ),
            peer_calls: r.counter(
                "peer_calls",
                "peer,code",
                "Sessions with providers, by their outcome: OK, the provider's code, or why it was not asked",
            ),
            peer_call_seconds: r.timed(
                "peer_call_seconds",
                "peer",
                "Time until a provider's answer to a session",
            ),
            verifications: r.counter("verifications", "result", "Customers verified, by the result"),
            decisions: r.counter("decisions", "colour", "Customers decided, by the colour"),
            questions: r.counter(
                "questions",
                "kind",
                "Calls of the bank's own systems that were answered: single, batch, score",
            ),
            question_seconds: r.timed("question_seconds", "kind", "Time until their answer is durable"),
            http_requests: r.counter(
                "http_requests",
                "method,route,status",
                "Requests to the REST interface",
            ),
            http_request_seconds: r.timed(
                "http_request_seconds",
                "route",
                "Duration of requests to the REST interface",
            ),
            jobs_ended: r.counter(
                "jobs_ended",
                "kind,state",
                "Connections of set intersections (psi) and trainings (train) that were completed, or failed",
            ),
            jobs: r.gauge(
                "jobs",
                "kind,state",
                "Set intersections (psi) and trainings (train) that are running",
            ),
            log_entries: r.counter("log_entries", "", "Entries that this run made durable in the log"),
            log_size: r.gauge("log_size_entries", "", "Entries of the log"),
            log_waiting: r.gauge("log_waiting_appends", "", "Appends that wait for the disk"),
            log_waiting_bytes: r.gauge(
                "log_waiting_bytes",
                "",
                "Bytes of the entries that wait for the disk",
            ),
            log_unpublished_seconds: r.gauge(
                "log_unpublished_seconds",
                "",
                "How long the oldest entry without a checkpoint over it has waited; 0 while there is none",
            ),
            log_checkpoint_age_seconds: r.gauge(
                "log_checkpoint_age_seconds",
                "",
                "Since when the last checkpoint stands; it grows while nothing happens",
            ),
            outbox: r.gauge("outbox_entries", "", "Entries of commands that wait for the log"),
            passes_waiting: r.gauge("passes_waiting", "", "Sessions that wait for the pass under way"),
            sessions: r.gauge("sessions_remembered", "", "Sessions that are remembered against replays"),
            receipts_open: r.gauge("receipts_open", "", "Receipts that peers have not countersigned"),
            receipts_uncountersigned: r.gauge(
                "receipts_uncountersigned",
                "peer",
                "Receipts of a provider that the bank has not countersigned",
            ),
            data_age_seconds: r.gauge(
                "data_age_seconds",
                "provider,data_set",
                "Since when the published or downloaded table is built",
            ),
            epoch_left_seconds: r.gauge(
                "epoch_left_seconds",
                "provider,data_set",
                "Until when the epoch may be used; negative once it has ended",
            ),
            certificate_days: r.gauge(
                "certificate_days_left",
                "party",
                "Days until a party's certificate ends",
            ),
            grant_days: r.gauge("grant_days_left", "party", "Days until the last grant with a party ends"),
            quota_used: r.gauge(
                "quota_used_elements",
                "peer,purpose,group,window",
                "Elements that a peer used of a quota, today or in all (window)",
            ),
            quota_limit: r.gauge(
                "quota_limit_elements",
                "peer,purpose,group,window",
                "Elements that the quota permits",
            ),
            ready: r.gauge("ready", "", "1 when no check has a problem"),
            findings: r.gauge(
                "findings",
                "code,severity,subject",
                "Findings of the checks behind /readyz, 1 each",
            ),
            disk_free_bytes: r.gauge("disk_free_bytes", "", "Free bytes on the disk of data_dir"),
            memory_bytes: r.gauge("process_resident_memory_bytes", "", "Resident memory of the process"),
            cpu_seconds: r.counter("process_cpu_seconds", "", "User and system time of the process"),
            open_files: r.gauge("process_open_files", "", "Open file descriptors of the process"),
            build: r.gauge("build_info", "version,party", "1; what runs here"),
            described: r.described,
            registry: r.registry,
        }
    }
}

/// How a session, a job or a question went; what is unknown to metrics stays so.
impl Metrics {
    /// A peer was refused something.
    pub(crate) fn refused(&self, peer: &str, code: &str) {
        self.refusals.get_or_create(&peer_code(peer, code.to_owned())).inc();
    }

    /// A session with a provider ended.
    pub(crate) fn asked(&self, peer: &str, code: &str, took: Option<Duration>) {
        self.peer_calls.get_or_create(&peer_code(peer, self.codes.of(peer, code))).inc();
        if let Some(took) = took {
            let peer = PeerLabels { peer: peer.to_owned() };
            self.peer_call_seconds.get_or_create(&peer).observe(took.as_secs_f64());
        }
    }

    /// The bank answered a question of its own systems.
    pub(crate) fn answered(&self, kind: &'static str, took: Duration) {
        self.questions.get_or_create(&KindLabels { kind }).inc();
        self.question_seconds.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    /// A customer's result and colour.
    pub(crate) fn decided(&self, result: &'static str, colour: &'static str) {
        self.verifications.get_or_create(&ResultLabels { result }).inc();
        self.decisions.get_or_create(&ColourLabels { colour }).inc();
    }

    /// A connection of a set intersection, or a training, ended.
    pub(crate) fn job_ended(&self, kind: &'static str, completed: bool) {
        let state = if completed { "completed" } else { "failed" };
        self.jobs_ended.get_or_create(&JobLabels { kind, state }).inc();
    }

    /// Everything in the text form of Prometheus.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)
            .expect("a text takes everything that is written to it");
        text
    }

    /// All metrics, in order.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// The page that documents all metrics.
    pub fn page() -> String {
        let metrics = Self::new(Histogram::new([]));
        let mut page = PAGE.to_owned();
        for Described { name, kind, labels, help } in metrics.described() {
            let labels: Vec<_> = labels.split(',').filter(|label| !label.is_empty()).collect();
            let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            writeln!(page, "| `{name}` | {kind} | {labels} | {help} |").expect("a text takes every line");
        }
        page
    }
}

const PAGE: &str = "# Metrics\n\nA node with `[observability] listen` serves these at `/metrics`, in the text form of \
Prometheus, which collects them with\n\n```yaml\nscrape_configs:\n  - job_name: windvane\n    static_configs:\n      - \
targets: [\"127.0.0.1:9464\"]\nrule_files: [alerts.yaml]\n```\n\n`dashboard.json` is for Grafana. A metric appears \
with its first value. Labels are bounded: parties that are enrolled, data sets and purposes of the node's own grants, \
names and codes of the program; a code that a provider gave is `OTHER` once it gave 32 different ones. No label and no \
value is about a customer. A test holds this page, the alerts and the dashboard against the program.\n\n\
| Name | Kind | Labels | What it says |\n|---|---|---|---|\n";

fn peer_code(peer: &str, code: String) -> PeerCodeLabels {
    PeerCodeLabels { peer: peer.to_owned(), code }
}

/// Raises a counter to what something else counts.
pub(super) fn raise(counter: &Counter, to: u64) {
    counter.inner().fetch_max(to, Ordering::Relaxed);
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("described", &self.described.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the page anew when set.
    const WRITE: &str = "WINDVANE_WRITE_PAGES";

    #[test]
    fn the_page_documents_exactly_what_is_exported() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/observability/metrics.md");
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(path, Metrics::page()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap();
        assert!(
            found == Metrics::page(),
            "{path} is not what the program says; set {WRITE}=1 and run this again"
        );
    }

    /// Every name of ours in a file's expressions, without the endings of a histogram's series.
    fn named(text: &str) -> std::collections::BTreeSet<String> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = text.split(|c| !word(c)).filter(|word| word.starts_with("windvane_"));
        words
            .map(|name| {
                let end = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end));
                end.unwrap_or(name).to_owned()
            })
            .collect()
    }

    #[test]
    fn alerts_and_the_dashboard_name_metrics_that_are_exported() {
        let page = Metrics::page();
        let alerts = include_str!("../../deploy/observability/alerts.yaml");
        let dashboard = include_str!("../../deploy/observability/dashboard.json");
        let parsed: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        assert!(parsed["panels"].as_array().unwrap().len() > 20);
        for (file, text, least) in [("alerts", alerts, 12), ("dashboard", dashboard, 35)] {
            let named = named(text);
            assert!(named.len() >= least, "{file}: {named:?}");
            for name in named {
                assert!(page.contains(&format!("| `{name}` |")), "{file}: {name} is not exported");
            }
        }
        let shown = named(dashboard);
        let documented = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let hidden: Vec<_> = documented.filter(|name| !shown.contains(*name)).collect();
        assert!(hidden.is_empty(), "the dashboard does not show {hidden:?}");
    }

    #[test]
    fn a_metric_is_exported_under_the_name_that_is_documented() {
        let metrics = Metrics::new(Histogram::new([]));
        metrics.refused("bank", "GRANT_EXPIRED");
        metrics.asked("carrier-a", "OK", Some(Duration::from_millis(12)));
        metrics.answered("single", Duration::from_millis(12));
        metrics.decided("match", "green");
        let text = metrics.text();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            let documented = metrics.described().iter().any(|d| d.name == name && d.kind == kind);
            assert!(documented, "{name} {kind} is not documented");
        }
        assert!(text.contains("windvane_refusals_total{peer=\"bank\",code=\"GRANT_EXPIRED\"} 1\n"), "{text}");
        assert!(
            text.contains("windvane_peer_call_seconds_bucket{peer=\"carrier-a\",le=\"0.015\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("windvane_decisions_total{colour=\"green\"} 1\n"), "{text}");
    }
}
