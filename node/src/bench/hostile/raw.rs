//! HTTP/2 frames as no library would send them, RFC 9113.

use std::collections::BTreeMap;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

/// The client's first bytes, section 3.4, and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_HEADERS: u8 = 4;

/// CANCEL, section 7.
const CANCEL: u32 = 8;

/// What the peer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    /// So many streams at once, whatever the peer's settings say.
    Streams(u32),
    /// Streams that are opened and given up at once, without end.
    Resets,
    /// One header block without end.
    Headers,
}

/// Sends a flood until the peer ends the connection or the time is up; counts what the peer said.
pub(super) async fn flood(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    flood: Flood,
    until: Instant,
    told: &mut BTreeMap<String, u64>,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        // That nothing can be written any more is found out by reading what the peer said last.
        let _ = write(&mut writer, flood).await;
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut head = [0; 9];
        let mut payload = Vec::new();
        while reader.read_exact(&mut head).await.is_ok() {
            let [a, b, c, kind, ..] = head;
            payload.resize(u32::from_be_bytes([0, a, b, c]) as usize, 0);
            if reader.read_exact(&mut payload).await.is_err() {
                break;
            }
            let reason = match kind {
                RST_STREAM => payload.first_chunk::<4>(),
                GOAWAY => payload.get(4..).and_then(<[u8]>::first_chunk),
                _ => None,
            };
            if let Some(reason) = reason {
                let name = if kind == GOAWAY { "GOAWAY" } else { "RST_STREAM" };
                let said = format!("{name} {}", reason_name(u32::from_be_bytes(*reason)));
                *told.entry(said).or_default() += 1;
            }
        }
        *told.entry("CLOSED".to_owned()).or_default() += 1;
    };
    let both = async {
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    };
    // Whoever is not thrown out by then has its answer, too.
    let _ = timeout_at(until, both).await;
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), flood: Flood) -> std::io::Result<()> {
    writer.write_all(PREFACE).await?;
    match flood {
        Flood::Streams(count) => {
            for stream in 0..count {
                writer.write_all(&open(2 * stream + 1)).await?;
            }
        }
        Flood::Resets => {
            for stream in 0..u32::MAX / 4 {
                let number = 2 * stream + 1;
                let reset = frame(RST_STREAM, 0, number, &CANCEL.to_be_bytes());
                writer.write_all(&[open(number), reset].concat()).await?;
            }
        }
        Flood::Headers => {
            writer.write_all(&frame(HEADERS, 0, 1, &fields())).await?;
            let filling = literal("x", &"y".repeat(1_000)).repeat(16);
            loop {
                writer.write_all(&frame(CONTINUATION, 0, 1, &filling)).await?;
            }
        }
    }
    writer.flush().await
}

fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields())
}

/// The head of a call, without a body yet.
fn fields() -> Vec<u8> {
    [
        literal(":method", "POST"),
        literal(":scheme", "http"),
        literal(":path", "/windvane.lookup.v1.Lookup/Evaluate"),
        literal(":authority", "windvane"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ]
    .concat()
}

/// A field without indexing and without compression, RFC 7541, section 6.2.2.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [length(text.len()), text.as_bytes().to_vec()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// An integer with a prefix of seven bits, RFC 7541, section 5.1.
fn length(length: usize) -> Vec<u8> {
    let Some(mut rest) = length.checked_sub(127) else { return vec![length as u8] };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Section 7.
fn reason_name(reason: u32) -> String {
    match reason {
        0 => "NO_ERROR".to_owned(),
        1 => "PROTOCOL_ERROR".to_owned(),
        3 => "FLOW_CONTROL_ERROR".to_owned(),
        5 => "STREAM_CLOSED".to_owned(),
        7 => "REFUSED_STREAM".to_owned(),
        8 => "CANCEL".to_owned(),
        9 => "COMPRESSION_ERROR".to_owned(),
        11 => "ENHANCE_YOUR_CALM".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_encoded_as_the_rfc_has_them() {
        assert_eq!(length(10), [10]);
        assert_eq!(length(127), [127, 0]);
        assert_eq!(length(127 + 1_210), [127, 186, 9]);
    }

    #[test]
    fn a_frame_has_its_length_first() {
        assert_eq!(frame(RST_STREAM, 0, 5, &CANCEL.to_be_bytes()), [0, 0, 4, 3, 0, 0, 0, 0, 5, 0, 0, 0, 8]);
    }
}
