//! Writes one carrier's file of any size, as of today: `carrier_file CARRIER SUBSCRIBERS PATH`, CARRIER 0, 1
//! or 2.

use std::io::{Error, Result};
use std::path::Path;
use std::time::SystemTime;

use windvane_world::{Date, WorldConfig, write_carrier_stream};

const DAY_S: u64 = 86_400;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [carrier, subscribers, path] = arguments.as_slice() else {
        return Err(Error::other("usage: carrier_file CARRIER SUBSCRIBERS PATH"));
    };
    let carrier = carrier.parse().map_err(Error::other)?;
    let subscribers = subscribers.parse().map_err(Error::other)?;
    // An import refuses a file whose data are more than a few weeks old.
    let world = WorldConfig { as_of: today()?, ..WorldConfig::default() };
    write_carrier_stream(&world, carrier, subscribers, Path::new(path))
}

fn today() -> Result<Date> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(Error::other)?;
    let days = i64::try_from(since.as_secs() / DAY_S).map_err(Error::other)?;
    Ok(Date::new(1970, 1, 1).expect("the epoch's first day exists").days_before(-days))
}
