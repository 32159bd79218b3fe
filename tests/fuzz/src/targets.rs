//! The targets, by what their inputs are.

mod decoding;
mod files;
mod points;
mod records;
mod text;
mod wire;

use windvane::table::MAX_PAGE_BYTES;

use super::Target;

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, extra: 0 }
}

/// Of each of four columns a dictionary and a page may be held, and the decompressors have windows of their own.
const fn with_pages(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, extra: 4 * 2 * MAX_PAGE_BYTES + (64 << 20) }
}

/// Every target.
pub const TARGETS: &[Target] = &[
    target("identity", text::identity),
    target("party_names", text::party_names),
    target("configuration", text::configuration),
    target("data_set", text::data_set),
    target("schema", text::schema),
    target("rules", text::rules),
    target("plans", text::plans),
    target("model_card", text::model_card),
    target("checkpoint", text::checkpoint),
    target("tile_path", text::tile_path),
    target("token", text::token),
    target("points", points::points),
    target("oprf", points::oprf),
    target("rows", points::rows),
    target("pages", points::pages),
    target("tiles", points::tiles),
    target("payload", points::payload),
    target("manifest", records::manifest),
    target("delta", records::delta),
    target("grant", records::grant),
    target("entry", records::entry),
    target("receipt", records::receipt),
    target("lookup_records", records::lookup),
    target("psi_records", records::psi),
    target("score_records", records::score),
    target("train_records", records::train),
    target("decoding", decoding::decoding),
    target("lookup_wire", wire::lookup),
    target("audit_wire", wire::audit),
    target("psi_wire", wire::psi),
    target("score_wire", wire::score),
    target("train_wire", wire::train),
    target("certificate", files::certificate),
    target("enrolment", files::enrolment),
    target("documents", files::documents),
    target("csv", files::csv),
    with_pages("parquet", files::parquet),
];

/// The first byte chooses; the rest is the input.
fn choose(input: &[u8], among: &[fn(&[u8])]) {
    if let Some((first, rest)) = input.split_first() {
        among[usize::from(*first) % among.len()](rest);
    }
}
