//! Compiles the protos with `protox`, so that nobody needs `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "common/v1/common.proto",
        "lookup/v1/lookup.proto",
        "audit/v1/audit.proto",
        "psi/v1/psi.proto",
        "score/v1/score.proto",
        "train/v1/train.proto",
    ];
    files.iter().for_each(|file| println!("cargo::rerun-if-changed={file}"));
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
