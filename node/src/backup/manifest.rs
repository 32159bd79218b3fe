//! The list of a backup's files, and the seal over it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha512};
use windvane_protocols::limits::MAX_DOCUMENT_BYTES;
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::{Hash, Reader, Record, Signed, Transcript, TranscriptError};

use super::BackupError;
use crate::snapshot::disk::at;

/// Name of the list of files.
pub const MANIFEST: &str = "MANIFEST";

/// Name of the seal.
pub const SEAL: &str = "SEAL";

/// A path is not longer than the system's limit.
const MAX_LINE_BYTES: u64 = 128 + 2 + 4_096 + 1;

/// What a backup is, signed by the node's receipt key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Whose backup it is.
    pub party: PartyId,
    /// When it was made, milliseconds of Unix time.
    pub created_at_ms: u64,
    /// Entries of the log that were published before anything was copied: the state is not older.
    pub before: u64,
    /// Entries of the log in the backup.
    pub log_size: u64,
    /// Root over them.
    pub log_root: [u8; 32],
    /// Files, without MANIFEST and SEAL.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// SHA-512 of MANIFEST.
    pub manifest: Hash,
}

impl Record for Seal {
    const DOMAIN: &'static str = "windvane/backup/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.text("party", self.party.as_str())
            .u64("created at", self.created_at_ms)
            .u64("before", self.before)
            .u64("log size", self.log_size)
            .bytes("log root", &self.log_root)
            .u64("files", self.files)
            .u64("bytes", self.bytes)
            .bytes("manifest", &self.manifest)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self {
            party: r.parse("party")?,
            created_at_ms: r.u64("created at")?,
            before: r.u64("before")?,
            log_size: r.u64("log size")?,
            log_root: r.array("log root")?,
            files: r.u64("files")?,
            bytes: r.u64("bytes")?,
            manifest: r.array("manifest")?,
        })
    }
}

/// Reads a seal; its signature is checked by whoever has the key.
pub(crate) fn read_seal(dir: &Path) -> Result<Signed<Seal>, BackupError> {
    let bytes = windvane_keys::files::read_public(&dir.join(SEAL), MAX_DOCUMENT_BYTES)?;
    let damaged = |error| BackupError::Damaged { path: dir.to_owned(), finding: format!("{SEAL}: {error}") };
    Signed::from_bytes_unverified(bytes).map_err(damaged)
}

/// The files of a backup with their SHA-512, in the order of their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manifest(pub(crate) BTreeMap<String, Hash>);

impl Manifest {
    /// The text form: what `sha512sum` writes.
    pub(crate) fn to_text(&self) -> String {
        self.0.iter().map(|(path, hash)| format!("{}  {path}\n", hex::encode(hash))).collect()
    }

    /// Reads MANIFEST, and gives its digest.
    pub(crate) fn read(dir: &Path) -> Result<(Self, Hash), BackupError> {
        let path = dir.join(MANIFEST);
        let mut reader = BufReader::new(std::fs::File::open(&path).map_err(at(&path))?);
        let damaged = |what: &str| BackupError::Damaged {
            path: dir.to_owned(),
            finding: format!("{MANIFEST} has {what}"),
        };
        let (mut files, mut digest) = (BTreeMap::new(), Sha512::new());
        loop {
            let mut line = Vec::new();
            reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(at(&path))?;
            if line.is_empty() {
                break;
            }
            digest.update(&line);
            let line = std::str::from_utf8(&line).map_err(|_| damaged("a line that is no text"))?;
            let (hash, name) = parse(line).ok_or_else(|| damaged("a line that is no digest and path"))?;
            if files.insert(name.to_owned(), hash).is_some() {
                return Err(damaged("a path twice"));
            }
        }
        Ok((Self(files), digest.finalize().into()))
    }
}

/// A line's digest and path; a path that leads out of the backup is none.
fn parse(line: &str) -> Option<(Hash, &str)> {
    let (hash, path) = line.strip_suffix('\n')?.split_once("  ")?;
    let hash = hex::decode(hash).ok()?.try_into().ok()?;
    is_plain(path).then_some((hash, path))
}

/// Whether a path stays below the directory it is taken from, in the one spelling that a manifest has.
pub(super) fn is_plain(path: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.split('/').all(plain) && !path.chars().any(|c| c.is_control() || c == '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_what_it_was_and_takes_no_path_that_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let files = [("log/checkpoint".to_owned(), [1; 64]), ("state.db".to_owned(), [2; 64])];
        let manifest = Manifest(files.into());
        let text = manifest.to_text();
        std::fs::write(dir.path().join(MANIFEST), &text).unwrap();
        let (read, digest) = Manifest::read(dir.path()).unwrap();
        assert_eq!((read, digest), (manifest, Sha512::digest(text.as_bytes()).into()));
        for path in ["/etc/passwd", "../state.db", "log/../../x", "log//x", ".", "", "a\\b"] {
            let line = format!("{}  {path}\n", hex::encode([1; 64]));
            std::fs::write(dir.path().join(MANIFEST), format!("{text}{line}")).unwrap();
            assert_eq!(Manifest::read(dir.path()).unwrap_err().code(), "BACKUP_DAMAGED", "{path}");
        }
    }

    #[test]
    fn a_seal_survives_its_encoding() {
        let seal = Seal {
            party: "bank".parse().unwrap(),
            created_at_ms: 1,
            before: 2,
            log_size: 3,
            log_root: [4; 32],
            files: 5,
            bytes: 6,
            manifest: [7; 64],
        };
        assert_eq!(Seal::decode(seal.encode().as_bytes()), Ok(seal));
    }
}
