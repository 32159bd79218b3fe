//! Tables from parts to sums: published, killed, served over gRPC, lied about, fetched and opened.

mod fetching;
mod killing;
mod publishing;
mod serving;
mod world;
