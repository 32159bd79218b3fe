//! Private set intersection over files.

pub mod vole;
