//! The cheapest call there is, over the channel that the bank's calls take: what the wire alone costs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use windvane_proto::common::v1::HelloRequest;
use windvane_proto::common::v1::peer_client::PeerClient;
use windvane_protocols::lookup::PROTOCOL;

use crate::config::Config;
use crate::demo::DemoError;
use crate::error::{NodeError, PeerError};
use crate::identity::Certificate;
use crate::peer::channel;

/// Calls before those that count: they connect.
const WARM_UP: usize = 50;

/// Latencies of `count` calls of `Peer/Hello`, one after another, ascending; the caller is the bank.
///
/// # Errors
/// [`DemoError::Node`].
pub(super) async fn echo(
    bank: &Config,
    (party, address): &(String, SocketAddr),
    count: usize,
) -> Result<Vec<Duration>, DemoError> {
    let certificate = tokio::task::block_in_place(|| Certificate::of(bank))?;
    let party = party.parse().expect("a running node's party id was checked");
    let mut client = PeerClient::new(channel(&certificate, &party, &address.to_string())?);
    let mut latencies = Vec::with_capacity(count);
    for nth in 0..WARM_UP + count {
        let request = HelloRequest { protocols: vec![PROTOCOL.to_owned()], now_ms: 0 };
        let begun = Instant::now();
        client.hello(request).await.map_err(|status| NodeError::from(PeerError::from(&status)))?;
        if nth >= WARM_UP {
            latencies.push(begun.elapsed());
        }
    }
    latencies.sort_unstable();
    Ok(latencies)
}
