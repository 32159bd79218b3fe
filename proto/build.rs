//! Compiles the protos with `protox`, so that nobody needs `protoc`, and writes the table of messages that
//! `src/decode.rs` holds them against before they are decoded.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

/// How often each repeated field may occur in one message: constants that `src/decode/table.rs` imports.
const MOST: [(&str, &str); 14] = [
    ("windvane.common.v1.HelloRequest.protocols", "MAX_PROTOCOLS"),
    ("windvane.common.v1.HelloResponse.protocols", "MAX_PROTOCOLS"),
    ("windvane.lookup.v1.EvaluateRequest.groups", "MAX_FAMILIES"),
    ("windvane.lookup.v1.EvaluateResponse.groups", "MAX_FAMILIES"),
    ("windvane.lookup.v1.FetchDeltasResponse.deltas", "MAX_DELTAS"),
    ("windvane.score.v1.DealRequest.announcements", "MAX_SCORE_PROVIDERS"),
    ("windvane.score.v1.ConfirmRequest.dealings", "MAX_SCORE_PROVIDERS"),
    // The bank confirms too.
    ("windvane.score.v1.FinishRequest.confirmations", "MAX_SCORE_PROVIDERS + 1"),
    ("windvane.train.v1.BeginRequest.announcements", "MAX_SCORE_PROVIDERS"),
    ("windvane.train.v1.GrowRequest.decisions", "MAX_TREE_NODES"),
    ("windvane.train.v1.ContributionsRequest.decisions", "MAX_TREE_NODES"),
    ("windvane.train.v1.Proposal.groups", "MAX_TRAIN_FEATURES"),
    ("windvane.train.v1.Proposals.pairs", "MAX_LEVEL_PAIRS"),
    ("windvane.train.v1.SumRequest.pairs", "MAX_LEVEL_PAIRS"),
];

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
    let table = table(&DescriptorPool::from_file_descriptor_set(descriptors.clone())?)?;
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("table.rs"), table)?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::decode::BoundedCodec")
        .compile_fds(descriptors)?;
    Ok(())
}

/// The code of the table.
fn table(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut most: BTreeMap<_, _> = MOST.into();
    let (mut table, mut kinds, mut longest) = (String::new(), String::new(), 0);
    for message in pool.all_messages() {
        let mut fields = Vec::new();
        for field in message.fields() {
            fields.extend(entry(&field, most.remove(field.full_name()))?);
        }
        longest = longest.max(fields.len());
        let others = message.fields().len() - fields.len();
        let (path, name, fields) = (path(&message), message.full_name(), fields.join(", "));
        writeln!(table, "impl Shaped for {path} {{")?;
        writeln!(
            table,
            "    const SHAPE: &'static Shape = &Shape {{ fields: &[{fields}], others: {others} }};\n}}"
        )?;
        writeln!(
            kinds,
            "MessageKind {{ name: {name:?}, shape: {path}::SHAPE, again: super::again::<{path}> }},"
        )?;
    }
    if let Some(name) = most.into_keys().next() {
        return Err(format!("{name} stands in MOST of build.rs and is no repeated field: remove it").into());
    }
    writeln!(table, "pub(super) const MAX_FIELDS: usize = {longest};")?;
    writeln!(table, "/// Every message of the wire.\npub const MESSAGES: &[MessageKind] = &[{kinds}];")?;
    writeln!(table, "/// The message of a method's request, by the path of the call.")?;
    writeln!(table, "pub fn request(path: &str) -> Option<&'static Shape> {{\n    match path {{")?;
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let (service, input) = (method.parent_service().full_name().to_owned(), path(&method.input()));
        writeln!(table, "\"/{service}/{}\" => Some({input}::SHAPE),", method.name())?;
    }
    writeln!(table, "_ => None,\n    }}\n}}")?;
    Ok(table)
}

/// What the table says of a field: nothing where decoding it allocates nothing.
fn entry(field: &FieldDescriptor, most: Option<&str>) -> Result<Option<String>, Box<dyn Error>> {
    let (number, name) = (field.number(), field.name());
    let refused = |what| Err(format!("{}: {what}", field.full_name()).into());
    let (content, element) = match field.kind() {
        Kind::Message(_) if field.is_map() || field.is_group() => {
            return refused("maps and groups are not counted; send a list of messages");
        }
        Kind::Message(message) => (format!("Content::Message({}::SHAPE)", path(&message)), path(&message)),
        Kind::String => ("Content::Text".to_owned(), "String".to_owned()),
        Kind::Bytes => ("Content::Bytes".to_owned(), "Bytes".to_owned()),
        _ if field.is_list() => return refused("repeated numbers are not counted; send them as bytes"),
        _ => return Ok(None),
    };
    let (most, place) = match (field.is_list(), most) {
        (true, Some(most)) => (most, format!("size_of::<{element}>()")),
        (true, None) => return refused("is repeated: say in MOST of build.rs how often at most"),
        (false, Some(_)) => {
            return refused("stands in MOST of build.rs and is not repeated: remove it there");
        }
        (false, None) if content == "Content::Bytes" => return Ok(None),
        (false, None) => ("1", "0".to_owned()),
    };
    Ok(Some(format!(
        "Field {{ number: {number}, name: {name:?}, most: {most}, place: {place}, content: {content} }}"
    )))
}

/// The type that `prost` makes of a message.
fn path(message: &MessageDescriptor) -> String {
    let package = message.package_name().strip_prefix("windvane.").unwrap_or_default();
    format!("crate::{}::{}", package.replace('.', "::"), message.name())
}
