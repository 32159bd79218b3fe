//! Generated from the protos: every message's shape.

use bytes::Bytes;
use windvane_protocols::limits::{
    MAX_DELTAS, MAX_FAMILIES, MAX_SCORE_PROVIDERS, MAX_TRAIN_FEATURES, MAX_TREE_NODES,
};
use windvane_protocols::train::step::MAX_LEVEL_PAIRS;

use super::{Content, Field, MessageKind, Shape, Shaped};
use crate::convert::MAX_PROTOCOLS;

include!(concat!(env!("OUT_DIR"), "/table.rs"));
