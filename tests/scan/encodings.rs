//! The bytes in which a mark may stand: texts in four encodings, written in clear or in the ways that bytes
//! become text, and hashed without a key.

use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use encoding_rs::GB18030;
use md5::{Digest, Md5};
use prost::bytes::Bytes;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use sm3::Sm3;
use windvane_protocols::identity::{Family, Person};
use windvane_protocols::oprf::{Context, PrivateKey};
use windvane_protocols::transcript::commit;

use super::marks::{Marked, national};

/// Bytes of a digest that are looked for, so that a shortened digest is found as well.
pub(crate) const DIGEST_PREFIX: usize = 8;

/// What to look for, and what form of a mark it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needle {
    pub(crate) form: String,
    pub(crate) bytes: Vec<u8>,
}

/// Everything by which a person can be recognised in bytes.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// Texts in their encodings, and numbers as machines hold them.
    pub(crate) clear: Vec<Needle>,
    /// Texts with their escapes; these are complete as they stand.
    pub(crate) escaped: Vec<Needle>,
    /// Digests and other values that anybody can compute, in full length.
    pub(crate) hashed: Vec<Needle>,
}

impl Traces {
    pub(crate) fn of(marked: &Marked) -> Self {
        let mut traces = Self::default();
        for text in marked.texts() {
            traces.add_text(&text);
        }
        for number in marked.phones.iter().filter_map(|phone| national(phone).parse().ok()) {
            traces.add_number(number);
            traces.add_number(8_600_000_000_000 + number);
        }
        for joined in marked.parts().iter().flat_map(joins) {
            traces.add_digests("joined", joined.as_bytes());
        }
        if let Some(person) = marked.person() {
            traces.add_person(&person);
        }
        traces
    }

    fn add_text(&mut self, text: &str) {
        for (encoding, bytes) in encoded(text) {
            self.add_digests(encoding, &bytes);
            self.clear.push(Needle { form: encoding.into(), bytes });
        }
        self.add_digests("with a line feed", format!("{text}\n").as_bytes());
        let escapes = [
            ("JSON escapes", json_escaped(text, false)),
            ("JSON escapes, upper case", json_escaped(text, true)),
            ("Debug", text.escape_debug().to_string()),
            ("Rust escapes", text.escape_default().to_string()),
            ("Rust escapes throughout", text.escape_unicode().to_string()),
        ];
        for (form, escaped) in escapes {
            self.escaped.push(Needle { form: form.into(), bytes: escaped.clone().into_bytes() });
            let form = format!("{form} in a string");
            self.escaped.push(Needle { form, bytes: quoted(&escaped).into_bytes() });
        }
        for (encoding, bytes) in encoded(text).into_iter().take(2) {
            for (form, upper, all) in URL_FORMS {
                let bytes = url_encoded(&bytes, upper, all).into_bytes();
                self.escaped.push(Needle { form: format!("{encoding} {form}"), bytes });
            }
        }
    }

    /// As integers of 64 bits, and of 48 bits as SQLite stores them.
    fn add_number(&mut self, number: u64) {
        let (big, little) = (number.to_be_bytes(), number.to_le_bytes());
        for (form, bytes) in
            [("big-endian", &big[..]), ("little-endian", &little), ("SQLite integer", &big[2..])]
        {
            self.clear.push(Needle { form: form.into(), bytes: bytes.to_vec() });
        }
    }

    /// The encodings that enter the oblivious PRF, hashed, committed to without a secret, and as the group
    /// elements that they become before any key touches them.
    fn add_person(&mut self, person: &Person) {
        let mut one = [0; 32];
        one[0] = 1;
        let one = PrivateKey::from_bytes(&one).unwrap();
        for data_set in ["", "subscribers"] {
            for encoding in Family::ALL.into_iter().filter_map(|f| f.encode(data_set, person)) {
                let bytes = encoding.as_bytes();
                self.add_digests("identity/v1", bytes);
                let contexts = [("LOOKUP", &Context::LOOKUP), ("SUBJECT", &Context::SUBJECT)];
                for (name, context) in contexts {
                    let bytes = one.tags(context, &[bytes])[0].to_vec();
                    self.hashed.push(Needle { form: format!("group element of identity/v1, {name}"), bytes });
                }
                let bytes = commit(&[0; 32], bytes).to_vec();
                self.hashed.push(Needle { form: "commitment without a salt".into(), bytes });
            }
        }
    }

    fn add_digests(&mut self, what: &str, bytes: &[u8]) {
        for (name, digest) in digests(bytes) {
            self.hashed.push(Needle { form: format!("{name} of {what}"), bytes: digest });
        }
    }
}

/// Forms of URL encoding: name, upper case, whether unreserved characters are encoded too.
const URL_FORMS: [(&str, bool, bool); 4] = [
    ("URL-encoded", true, false),
    ("URL-encoded, lower case", false, false),
    ("URL-encoded throughout", true, true),
    ("URL-encoded throughout, lower case", false, true),
];

/// A text in the encodings that systems here use; what an encoding cannot say is left out.
pub(crate) fn encoded(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
    let mut all = vec![("UTF-8", text.as_bytes().to_vec()), ("GB18030", GB18030.encode(text).0.into_owned())];
    all.push(("UTF-16LE", utf16(u16::to_le_bytes)));
    all.push(("UTF-16BE", utf16(u16::to_be_bytes)));
    all
}

/// The digests without a key.
pub(crate) fn digests(bytes: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    [
        ("MD5", Md5::digest(bytes).to_vec()),
        ("SHA-1", Sha1::digest(bytes).to_vec()),
        ("SHA-256", Sha256::digest(bytes).to_vec()),
        ("SHA-512", Sha512::digest(bytes).to_vec()),
        ("SM3", Sm3::digest(bytes).to_vec()),
    ]
}

/// The ways in which bytes are written; each is found wherever it stands in a longer text of its kind.
pub(crate) fn shown(needle: &Needle) -> Vec<Needle> {
    let Needle { form, bytes } = needle;
    let named = |how: &str, bytes: Vec<u8>| Needle { form: format!("{form}{how}"), bytes };
    let text = |how: &str, text: String| named(how, text.into_bytes());
    let mut all = vec![
        named("", bytes.clone()),
        text(" in hex", hex::encode(bytes)),
        text(" in hex, upper case", hex::encode_upper(bytes)),
        text(" as a list", decimal(bytes, ", ")),
        text(" as a dense list", decimal(bytes, ",")),
        text(" escaped", escaped(bytes)),
        text(" escaped in a string", quoted(&escaped(bytes))),
        text(" in a buffer", buffer(bytes)),
        text(" in a buffer in a string", quoted(&buffer(bytes))),
    ];
    for before in 0..3 {
        all.push(text(&format!(" in base64 behind {before}"), base64_core(&STANDARD, bytes, before)));
        all.push(text(&format!(" in base64url behind {before}"), base64_core(&URL_SAFE, bytes, before)));
    }
    all
}

/// The characters of base64 that depend on `bytes` only, when `before` bytes (modulo 3) stand in front.
fn base64_core(engine: &impl base64::Engine, bytes: &[u8], before: usize) -> String {
    let padded = [&[0; 2][..before], bytes, &[0; 2]].concat();
    let first = (before * 8).div_ceil(6);
    let end = (before + bytes.len()) * 8 / 6;
    engine.encode(padded)[first..end].to_owned()
}

/// As `Debug` and JSON write lists of bytes.
pub(crate) fn decimal(bytes: &[u8], separator: &str) -> String {
    bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(separator)
}

/// As `Debug` of byte strings.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// As `Debug` of the buffers that network crates use, which escapes by rules of its own.
fn buffer(bytes: &[u8]) -> String {
    let shown = format!("{:?}", Bytes::copy_from_slice(bytes));
    shown[2..shown.len() - 1].to_owned()
}

/// Inside a JSON string, where the backslashes of a text's own escapes are doubled.
fn quoted(text: &str) -> String {
    let string = serde_json::to_string(text).unwrap();
    string[1..string.len() - 1].to_owned()
}

fn json_escaped(text: &str, upper: bool) -> String {
    let unit = |unit: u16| match (u8::try_from(unit), upper) {
        (Ok(ascii), _) if ascii.is_ascii() => char::from(ascii).to_string(),
        (_, true) => format!("\\u{unit:04X}"),
        (_, false) => format!("\\u{unit:04x}"),
    };
    text.encode_utf16().map(unit).collect()
}

fn url_encoded(bytes: &[u8], upper: bool, all: bool) -> String {
    let one = |byte: &u8| match (byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) && !all {
        true => char::from(*byte).to_string(),
        false if upper => format!("%{byte:02X}"),
        false => format!("%{byte:02x}"),
    };
    bytes.iter().map(one).collect()
}

/// Every order of two or three parts, joined as systems join them before they hash.
fn joins(parts: &[String; 3]) -> Vec<String> {
    const ORDERS: [&[usize]; 12] = [
        &[0, 1],
        &[1, 0],
        &[0, 2],
        &[2, 0],
        &[1, 2],
        &[2, 1],
        &[0, 1, 2],
        &[0, 2, 1],
        &[1, 0, 2],
        &[1, 2, 0],
        &[2, 0, 1],
        &[2, 1, 0],
    ];
    let join = |order: &[usize], separator: &str| {
        order.iter().map(|i| parts[*i].as_str()).collect::<Vec<_>>().join(separator)
    };
    ORDERS.iter().flat_map(|order| ["", "|", ",", "_"].map(|separator| join(order, separator))).collect()
}
