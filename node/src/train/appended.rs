//! Files that only grow: what is added is durable before anything else happens, and a crash cuts off the last of it, and
//! nothing else.

use std::fs::File;
use std::io::{
    BufRead as _, BufReader, Error, ErrorKind, Read as _, Result, Seek as _, SeekFrom, Write as _,
};

/// Gives every whole line of a journal to `take`, which says `None` of one that no node writes; gives where the last one
/// ends. Such a line is an error, also where it is the last: forgetting what it and those behind it say could let the same
/// be answered or encrypted in another way.
///
/// # Errors
/// Errors of the system; [`ErrorKind::InvalidData`] for a damaged line, or for one of `max_bytes` or more.
pub(super) fn read_lines(
    file: &File,
    max_bytes: u64,
    mut take: impl FnMut(&[u8]) -> Option<()>,
) -> Result<u64> {
    let (mut end, mut number) = (0, 0);
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0))?;
    loop {
        number += 1;
        let damaged = || {
            let text = format!(
                "line {number} is damaged; put the file back as it was, or have the bank begin a new training with \
                 `windvane train --anew`"
            );
            Error::new(ErrorKind::InvalidData, text)
        };
        let mut line = Vec::new();
        (&mut reader).take(max_bytes).read_until(b'\n', &mut line)?;
        let Some(text) = line.strip_suffix(b"\n") else {
            return if line.len() as u64 == max_bytes { Err(damaged()) } else { Ok(end) };
        };
        take(text).ok_or_else(damaged)?;
        end += line.len() as u64;
    }
}

/// Adds a line to a journal behind `end`, where its last whole one ends; gives where it ends, and is durable then.
///
/// # Errors
/// Errors of the system.
pub(super) fn append_line(file: &mut File, end: u64, mut line: Vec<u8>) -> Result<u64> {
    line.push(b'\n');
    append(file, end, &line)?;
    Ok(end + line.len() as u64)
}

/// Adds bytes behind `end`, where what is whole ends, and is durable then. What a crash or a write that failed half-way
/// left there is cut off first.
///
/// # Errors
/// Errors of the system.
pub(super) fn append(file: &mut File, end: u64, bytes: &[u8]) -> Result<()> {
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    file.write_all(bytes)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn lines(file: &File) -> Result<(Vec<String>, u64)> {
        let mut found = Vec::new();
        let end = read_lines(file, 8, |line| {
            found.push(String::from_utf8(line.to_vec()).unwrap());
            (line != b"bad").then_some(())
        });
        end.map(|end| (found, end))
    }

    #[test]
    fn a_cut_line_is_left_out_and_a_damaged_or_endless_one_is_an_error() {
        assert_eq!(lines(&file(b"one\ntwo\nthr")).unwrap(), (vec!["one".into(), "two".into()], 8));
        for damaged in ["one\nbad\ntwo\n", "one\nbad\n", "one\nlonger than eight\n"] {
            let error = lines(&file(damaged.as_bytes())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(error.to_string().contains("line 2"), "{error}");
        }
    }

    #[test]
    fn a_line_is_written_behind_the_last_whole_one_whatever_stands_there() {
        let mut file = file(b"one\na fragment");
        let end = append_line(&mut file, 4, b"two".to_vec()).unwrap();
        assert_eq!(append_line(&mut file, end, b"three".to_vec()).unwrap(), 14);
        assert_eq!(lines(&file).unwrap().0, ["one", "two", "three"]);
    }
}
