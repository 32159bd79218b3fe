//! Every provider, asked for its version and its clock.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::net::TcpStream;
use tonic::Request;
use windvane_proto::common::v1::HelloRequest;
use windvane_proto::common::v1::peer_client::PeerClient;
use windvane_protocols::party::PartyId;
use windvane_protocols::{lookup, score};

use super::super::Finding;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::error::PeerError;
use crate::identity::Certificate;
use crate::peer::channel;

/// Connecting may take this long.
const CONNECT: Duration = Duration::from_secs(5);

/// The whole conversation may take this long.
const ANSWER: Duration = Duration::from_secs(10);

/// Asks every provider of the configuration, one after the other.
pub(super) async fn examine(config: &Config, certificate: &Certificate) -> Vec<Finding> {
    let providers: BTreeMap<_, _> = config
        .providers
        .iter()
        .map(|provider| (provider.party.as_str(), provider.address.as_str()))
        .collect();
    let mut found = Vec::new();
    for (name, address) in providers {
        // Checked when the configuration was read.
        let Ok(party) = name.parse::<PartyId>() else { continue };
        found.extend(ask(config, certificate, &party, address).await.into_iter().map(|f| f.about(name)));
    }
    found
}

async fn ask(config: &Config, certificate: &Certificate, party: &PartyId, address: &str) -> Vec<Finding> {
    match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return vec![unreachable(address, &error.to_string())],
        Err(_) => return vec![unreachable(address, "it took too long to connect")],
    }
    let before_ms = SystemClock.now_ms();
    let hello = tokio::time::timeout(ANSWER, hello(certificate, party, address)).await;
    let after_ms = SystemClock.now_ms();
    match hello {
        Ok(Ok((protocols, theirs_ms))) => {
            let took_ms = after_ms.saturating_sub(before_ms);
            let ours_ms = before_ms + took_ms / 2;
            let mut found = vec![answers(took_ms, &protocols)];
            found.extend(clock(theirs_ms.abs_diff(ours_ms), config.service.clock_tolerance_ms));
            found.extend(versions(&protocols));
            found
        }
        Ok(Err(error)) => vec![refused(&error)],
        Err(_) => vec![unreachable(address, "it did not answer in time")],
    }
}

fn unreachable(address: &str, why: &str) -> Finding {
    let advice =
        "see whether the provider's node runs, the address is right, and the firewalls let it through";
    Finding::problem("PEER_UNREACHABLE", format!("{address}: {why}"), advice)
}

async fn hello(
    certificate: &Certificate,
    party: &PartyId,
    address: &str,
) -> Result<(Vec<String>, u64), PeerError> {
    let ours = |error: &dyn std::fmt::Display| PeerError {
        code: "PEER_UNAVAILABLE".into(),
        message: error.to_string(),
        retry_after_ms: None,
    };
    let channel = channel(certificate, party, address).map_err(|error| ours(&error))?;
    let request = HelloRequest {
        protocols: [lookup::PROTOCOL, score::PROTOCOL].map(str::to_owned).into(),
        now_ms: SystemClock.now_ms(),
    };
    let answer = PeerClient::new(channel).hello(Request::new(request)).await;
    let answer = answer.map_err(|status| PeerError::from(&status))?.into_inner();
    Ok((answer.protocols, answer.now_ms))
}

fn answers(took_ms: u64, protocols: &[String]) -> Finding {
    // A provider may name anything; what we know is ours.
    let known = [lookup::PROTOCOL, score::PROTOCOL].into_iter().filter(|p| protocols.iter().any(|q| q == p));
    let known = known.collect::<Vec<_>>().join(", ");
    Finding::note("PEER_ANSWERS", format!("answers over mutual TLS in {took_ms} ms, speaks {known}"), "")
}

fn clock(off_ms: u64, tolerance_ms: u64) -> Option<Finding> {
    let what = format!("its clock and ours are {off_ms} ms apart, {tolerance_ms} are tolerated");
    let advice =
        "keep both clocks with a time service; beyond the tolerance requests are refused (CLOCK_SKEW)";
    if off_ms > tolerance_ms {
        return Some(Finding::problem("CLOCK_SKEW", what, advice));
    }
    (off_ms > tolerance_ms / 4).then(|| Finding::warning("CLOCK_DRIFTS", what, advice))
}

fn versions(protocols: &[String]) -> Option<Finding> {
    let missing = !protocols.iter().any(|protocol| protocol == lookup::PROTOCOL);
    missing.then(|| {
        let what = format!("it does not speak {}", lookup::PROTOCOL);
        Finding::problem("VERSION_MISMATCH", what, "bring both nodes to versions that share a protocol")
    })
}

fn refused(error: &PeerError) -> Finding {
    match error.code.as_str() {
        "PEER_UNAVAILABLE" => Finding::problem(
            "TLS_HANDSHAKE",
            "it accepts a connection, and no mutual TLS comes about",
            "compare both enrolments: one authority, certificates that have not ended or been revoked, the right party",
        ),
        "PEER_UNKNOWN" => Finding::problem(
            "PEER_UNKNOWN",
            "it does not know this node",
            "have the provider import this node's enrolment: windvane partner import",
        ),
        code => Finding::problem(code, "it answers a greeting with an error", "ask the provider's operator"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told_before_requests_are_refused() {
        let code = |off| clock(off, 60_000).map(|found| found.code);
        assert_eq!(code(15_000), None);
        assert_eq!(code(15_001).as_deref(), Some("CLOCK_DRIFTS"));
        assert_eq!(code(60_001).as_deref(), Some("CLOCK_SKEW"));
    }

    #[test]
    fn what_a_provider_names_is_shown_only_where_it_is_known() {
        let found = answers(7, &["lookup/v1".into(), "<script>".into()]);
        assert!(found.what.ends_with("speaks lookup/v1"), "{}", found.what);
        assert!(versions(&["lookup/v2".into()]).is_some() && versions(&["lookup/v1".into()]).is_none());
    }
}
