//! Private set intersection over files.

pub mod item;
