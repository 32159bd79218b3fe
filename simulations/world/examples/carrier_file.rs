//! Writes one carrier's file of any size: `carrier_file CARRIER SUBSCRIBERS PATH`, CARRIER 0, 1 or 2.

use std::io::{Error, Result};
use std::path::Path;
use windvane_world::{WorldConfig, write_carrier_stream};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [carrier, subscribers, path] = arguments.as_slice() else {
        return Err(Error::other("usage: carrier_file CARRIER SUBSCRIBERS PATH"));
    };
    let carrier = carrier.parse().map_err(Error::other)?;
    let subscribers = subscribers.parse().map_err(Error::other)?;
    write_carrier_stream(&WorldConfig::default(), carrier, subscribers, Path::new(path))
}
