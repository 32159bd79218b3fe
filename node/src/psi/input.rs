//! A party's table, bucket by bucket.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use windvane_protocols::psi::{PSI_SALT_BYTES, Parameters};

use super::PsiError;
use super::side::BucketItems;

/// A table that is partitioned under a job's salt.
pub trait Buckets: Send + Sync {
    /// The items of a bucket, all different.
    ///
    /// # Errors
    /// [`PsiError`].
    fn bucket(&self, bucket: u32, parameters: &Parameters) -> Result<BucketItems, PsiError>;
}

/// A table and what of it takes part.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// The file.
    pub path: PathBuf,
    /// What its items are.
    pub key: String,
    /// The columns of the key.
    pub key_columns: Vec<String>,
    /// Columns that travel with matches.
    pub payload_columns: Vec<String>,
    /// Memory for the table's records.
    pub memory_bytes: usize,
}

/// What one pass over a table tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Its rows.
    pub rows: u64,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    /// The longest payload.
    pub payload_bytes: usize,
}

impl InputFile {
    /// Reads the table once.
    pub fn scan(&self) -> Result<Scan, PsiError> {
        let bytes = std::fs::read(&self.path).map_err(PsiError::io(&self.path))?;
        let rows = self.rows()?;
        let payload_bytes = rows.iter().map(|(_, payload)| payload.len()).max().unwrap_or(0);
        Ok(Scan { rows: rows.len() as u64, digest: Sha256::digest(bytes).into(), payload_bytes })
    }

    /// Partitions the table, which must be the one that was scanned.
    pub fn partition(
        &self,
        scan: &Scan,
        salt: &[u8; PSI_SALT_BYTES],
        _folder: &Path,
    ) -> Result<Memory, PsiError> {
        if self.scan()? != *scan {
            return Err(PsiError::InputChanged { path: self.path.clone() });
        }
        let mut rows = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (row, (item, payload)) in self.rows()?.into_iter().enumerate() {
            let digest = Sha256::new().chain_update(salt).chain_update(&item).finalize();
            let prefix = u64::from_be_bytes(digest[..8].try_into().expect("8"));
            let key: [u8; 16] = digest[8..24].try_into().expect("16");
            if seen.insert(key) {
                rows.push((prefix, key, row as u64, payload));
            }
        }
        Ok(Memory(rows))
    }

    fn rows(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, PsiError> {
        let io = |e: csv::Error| PsiError::Folder { path: self.path.clone(), what: e.to_string() };
        let mut reader = csv::Reader::from_path(&self.path).map_err(io)?;
        let headers = reader.headers().map_err(io)?.clone();
        let find = |name: &String| {
            headers.iter().position(|h| h == name).ok_or_else(|| PsiError::Folder { path: self.path.clone(), what: name.clone() })
        };
        let keys = self.key_columns.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let payload = self.payload_columns.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(io)?;
            let mut p = Vec::new();
            for c in &payload {
                p.extend_from_slice(&(record[*c].len() as u16).to_be_bytes());
                p.extend_from_slice(record[*c].as_bytes());
            }
            rows.push((record[keys[0]].trim().as_bytes().to_vec(), p));
        }
        Ok(rows)
    }
}

/// In memory.
pub struct Memory(Vec<(u64, [u8; 16], u64, Vec<u8>)>);

impl Buckets for Memory {
    fn bucket(&self, bucket: u32, parameters: &Parameters) -> Result<BucketItems, PsiError> {
        let bits = parameters.buckets().ilog2();
        let mut items = BucketItems::default();
        for (prefix, key, row, payload) in &self.0 {
            if bits == 0 || (prefix >> (64 - bits)) as u32 == bucket {
                items.keys.push(*key);
                items.rows.push(*row);
                items.payloads.push(payload.clone());
            }
        }
        Ok(items)
    }
}
