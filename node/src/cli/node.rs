//! `windvane node`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use windvane::Node;
use windvane::clock::SystemClock;
use windvane::config::Config;
use windvane_keys::files::write_public;

use super::failure::Failure;
use super::place::Place;
use super::{Answer, runtime};

/// Options of `node`.
#[derive(Debug, clap::Args)]
pub(super) struct NodeArgs {
    #[command(flatten)]
    place: Place,
    /// Where to write the addresses as JSON once the node serves; removed when it stops
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// What the ready file says.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    party: &'a str,
    grpc: Option<SocketAddr>,
    http: Option<SocketAddr>,
    pid: u32,
}

/// Runs a node until it is told to stop.
pub(super) fn run(args: &NodeArgs) -> Result<Answer, Failure> {
    // A core dump would hold keys and identities.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|error| Failure::io("forbidding core dumps", error.into()))?;
    let config = args.place.load()?;
    let ready_file = args.ready_file.as_deref();
    // A file that an earlier run left would name addresses where nobody listens.
    ready_file.map_or(Ok(()), remove)?;
    runtime()?.block_on(serve(&config, ready_file))?;
    ready_file.map_or(Ok(()), remove)?;
    Ok(Answer::text(""))
}

async fn serve(config: &Config, ready_file: Option<&Path>) -> Result<(), Failure> {
    // Listened for before the node starts, so that a stop during the start is graceful as well.
    let mut signals = [listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?];
    let node = Node::start(config, Arc::new(SystemClock)).await?;
    if let Some(path) = ready_file {
        write_ready(path, config, &node)?;
    }
    let [terminate, interrupt] = &mut signals;
    tokio::select! {
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
    }
    Ok(node.stop().await?)
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|source| Failure::io("listening for signals", source))
}

fn write_ready(path: &Path, config: &Config, node: &Node) -> Result<(), Failure> {
    let ready = Ready {
        party: &config.node.party,
        grpc: node.grpc_address(),
        http: node.http_address(),
        pid: std::process::id(),
    };
    let json = serde_json::to_vec(&ready).expect("texts and numbers always serialise");
    Ok(write_public(path, &json)?)
}

fn remove(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::io(path.display().to_string(), error))
        }
        _ => Ok(()),
    }
}
