//! Files of a job's folder that only this node may read: the positions that a training lists, the secret of its masks,
//! and which rows matched in a set intersection, with what came of them.
//!
//! A file is `id(16) ‖ body ‖ tag(16)`, AES-256-GCM under a key that derives from the node's storage key and the
//! random id, so that the nonce, which is zero, is never used twice under one key. The associated data name the job
//! and the file within its folder.

use std::path::Path;

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use windvane_keys::files::{FileError, read_private, write_private};
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::kdf;
use windvane_protocols::party::SessionId;
use windvane_protocols::transcript::Transcript;
use zeroize::{Zeroize as _, Zeroizing};

const ID_BYTES: usize = 16;
const TAG_BYTES: usize = 16;

/// Seals `body` into a file; one that stands there is replaced.
pub(crate) fn write(
    path: &Path,
    job: SessionId,
    name: &str,
    body: &[u8],
    key: &StorageKey,
) -> Result<(), FileError> {
    let id: [u8; ID_BYTES] = rand::random();
    let mut sealed = Vec::with_capacity(ID_BYTES + body.len() + TAG_BYTES);
    sealed.extend_from_slice(&id);
    sealed.extend_from_slice(body);
    let tag = cipher(key, &id)
        .encrypt_inout_detached(&Nonce::default(), &bound(job, name), (&mut sealed[ID_BYTES..]).into())
        .expect("files are far below the cipher's limit");
    sealed.extend_from_slice(&tag);
    write_private(path, &sealed)
}

/// Opens what [`write()`] sealed; `None` where it was changed, or sealed for another job or under another key.
pub(crate) fn read(
    path: &Path,
    job: SessionId,
    name: &str,
    max: usize,
    key: &StorageKey,
) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    let bytes = read_private(path, ID_BYTES + max + TAG_BYTES)?;
    let Some((id, rest)) = bytes.split_first_chunk::<ID_BYTES>() else { return Ok(None) };
    let Some((body, tag)) = rest.split_last_chunk::<TAG_BYTES>() else { return Ok(None) };
    let mut body = Zeroizing::new(body.to_vec());
    let opened = cipher(key, id).decrypt_inout_detached(
        &Nonce::default(),
        &bound(job, name),
        body.as_mut_slice().into(),
        &Tag::from(*tag),
    );
    Ok(opened.ok().map(|()| body))
}

fn bound(job: SessionId, name: &str) -> Vec<u8> {
    Transcript::new("windvane/job-file/v1").bytes("job", job.as_bytes()).text("name", name).into_bytes()
}

/// HKDF-SHA-512 of the storage key, with empty salt and info = len16 ‖ "job-file" ‖ id.
fn cipher(key: &StorageKey, id: &[u8; ID_BYTES]) -> Aes256Gcm {
    let info = [b"\x00\x08job-file".as_slice(), id].concat();
    let mut bytes = Key::<Aes256Gcm>::default();
    kdf::extract(key.secret().expose()).expand(&info, &mut bytes).expect("32 bytes are a valid length");
    let cipher = Aes256Gcm::new(&bytes);
    bytes.zeroize();
    cipher
}

#[cfg(test)]
mod tests {
    use windvane_keys::store::MemoryStore;

    use super::*;

    #[test]
    fn a_file_opens_for_its_job_and_name_and_as_it_was_written_alone() {
        let (dir, session) = (tempfile::tempdir().unwrap(), SessionId::from_bytes([3; 16]));
        let key = || StorageKey::generate(&MemoryStore::new(), 1, &mut rand::rng()).unwrap();
        let (path, own) = (dir.path().join("list"), key());
        write(&path, session, "list", b"positions", &own).unwrap();
        let open = |session, name, key: &StorageKey| read(&path, session, name, 64, key).unwrap();
        assert_eq!(open(session, "list", &own).unwrap().as_slice(), b"positions");
        assert!(open(session, "mask", &own).is_none());
        assert!(open(SessionId::from_bytes([4; 16]), "list", &own).is_none());
        assert!(open(session, "list", &key()).is_none());
        let good = std::fs::read(&path).unwrap();
        assert!(!good.windows(9).any(|window| window == b"positions"));
        for at in [0, 20, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(open(session, "list", &own).is_none());
        }
        std::fs::write(&path, &good[..20]).unwrap();
        assert!(open(session, "list", &own).is_none());
    }
}
