//! What the running node finds itself, over its own listener.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::super::Finding;
use super::super::health::Readiness;
use crate::config::Config;

/// The node is on this machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Findings have some hundred bytes each.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Asks the node for its readiness; nothing where the configuration gives it no listener.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let Some(address) = config.observability.listen else {
        let what = "the node shows neither health nor metrics";
        return vec![Finding::note(
            "OBSERVABILITY_OFF",
            what,
            "add [observability] listen = \"127.0.0.1:9464\"",
        )];
    };
    if address.port() == 0 {
        return Vec::new();
    }
    match tokio::time::timeout(TIMEOUT, readiness(address)).await {
        Ok(Some(Readiness { ready, findings, .. })) => {
            let what = if ready { "the node runs and is ready" } else { "the node runs and is not ready" };
            std::iter::once(Finding::note("NODE_RUNS", what, "")).chain(findings).collect()
        }
        _ => vec![Finding::warning(
            "NODE_DOWN",
            format!("no node answers at http://{address}/readyz"),
            "start it with windvane node; its log on standard error says why it ended",
        )],
    }
}

async fn readiness(address: SocketAddr) -> Option<Readiness> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.get(format!("http://{address}/readyz").parse().ok()?).await.ok()?;
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}
