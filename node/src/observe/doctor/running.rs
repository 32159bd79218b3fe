//! What the running node finds itself, and whether there is one.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::super::Finding;
use super::super::health::Readiness;
use crate::config::Config;
use crate::evidence::is_held;
use crate::identity::Layout;

/// What lets a node be asked.
const SHOW: &str = "add [observability] listen = \"127.0.0.1:9464\" to its configuration and start it again";

/// The node is on this machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Findings have some hundred bytes each.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Asks the node for its readiness, at the listener that shows it or at a bank's REST interface. Where it has neither,
/// the lock of its log tells whether it runs, and nothing whether it can do its work.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let (shown, rest) = (config.observability.listen, config.http.as_ref().map(|http| http.listen));
    let Some(address) = [shown, rest].into_iter().flatten().find(|address| address.port() != 0) else {
        return vec![by_log(has_log_open(config))];
    };
    let mut found = match tokio::time::timeout(TIMEOUT, readiness(address)).await {
        Ok(Some(Readiness { ready, findings, .. })) => {
            let what = if ready { "the node runs and is ready" } else { "the node runs and is not ready" };
            std::iter::once(Finding::note("NODE_RUNS", what, "")).chain(findings).collect()
        }
        _ if has_log_open(config) => {
            let what =
                format!("a process has the node's log open, and none answers at http://{address}/readyz");
            let advice = "run windvane doctor where the node runs, with its configuration; where it does, the node hangs: \
                          restart it";
            vec![Finding::warning("NODE_SILENT", what, advice)]
        }
        _ => vec![down(format!("no node answers at http://{address}/readyz"))],
    };
    if shown.is_none() {
        found.push(Finding::note("OBSERVABILITY_OFF", "the node shows no metrics", SHOW));
    }
    found
}

/// Whether a process has the node's log open, which only the running node has.
fn has_log_open(config: &Config) -> bool {
    is_held(&Layout::new(config.node.data_dir.clone()).log())
}

/// What there is to say of a node that cannot be asked.
fn by_log(is_open: bool) -> Finding {
    if is_open {
        let what = "a process has the node's log open, and whether it can do its work cannot be asked";
        return Finding::warning("OBSERVABILITY_OFF", what, SHOW);
    }
    down("no process has the node's log open".to_owned())
}

fn down(what: String) -> Finding {
    let advice = "start it with windvane node; its log on standard error says why it ended";
    Finding::warning("NODE_DOWN", what, advice)
}

async fn readiness(address: SocketAddr) -> Option<Readiness> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.get(format!("http://{address}/readyz").parse().ok()?).await.ok()?;
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}
