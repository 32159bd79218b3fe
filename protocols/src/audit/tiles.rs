//! tlog-tiles layout.
