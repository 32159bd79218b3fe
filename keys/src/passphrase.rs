//! The passphrase from which the key-encryption key is derived: from a private file or a systemd credential.

use std::env;
use std::path::{Path, PathBuf};

use windvane_protocols::secret::Secret;

use crate::files::{self, FileError};

/// Shortest passphrase, in bytes. Use a generated one: `openssl rand -hex 32`.
pub const MIN_PASSPHRASE_BYTES: usize = 8;

/// Longest passphrase file, in bytes.
pub const MAX_PASSPHRASE_BYTES: usize = 1_024;

/// Where systemd puts a service's credentials.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// For a service that runs as a user, systemd grants that user access by an access control list, whose mask
/// then shows in the group bits as read; writing, and anything for the rest of the world, is still wrong.
const CREDENTIAL_FORBIDDEN: u32 = 0o037;

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// The file cannot be used.
    #[error("passphrase: {0}")]
    File(#[from] FileError),
    /// It is too short.
    #[error(
        "the passphrase has {found} bytes, at least {MIN_PASSPHRASE_BYTES} are needed; make one with: openssl rand -hex 32"
    )]
    TooShort {
        /// Its length.
        found: usize,
    },
    /// The process was not started with credentials.
    #[error(
        "${CREDENTIALS_DIRECTORY} is not set; start the service with LoadCredential= or name a passphrase file"
    )]
    NoCredentials,
    /// A credential's name that would leave the directory.
    #[error("a credential's name is a plain file name")]
    Name,
}

impl PassphraseError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::TooShort { .. } => "PASSPHRASE_TOO_SHORT",
            Self::NoCredentials => "NO_CREDENTIALS",
            Self::Name => "CREDENTIAL_NAME",
        }
    }
}

/// A passphrase, redacted when printed and wiped on drop.
#[derive(Debug, Clone)]
pub struct Passphrase(Secret<Vec<u8>>);

impl Passphrase {
    /// Takes a passphrase into custody.
    ///
    /// # Errors
    /// [`PassphraseError::TooShort`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, PassphraseError> {
        let found = bytes.len();
        let passphrase = Self(Secret::new(bytes));
        if found < MIN_PASSPHRASE_BYTES { Err(PassphraseError::TooShort { found }) } else { Ok(passphrase) }
    }

    /// Reads a file that only its owner may reach; a newline at the end does not count.
    ///
    /// # Errors
    /// [`PassphraseError`]; loose permissions are refused with the command that tightens them.
    pub fn from_file(path: &Path) -> Result<Self, PassphraseError> {
        Self::new(without_newline(files::read_private(path, MAX_PASSPHRASE_BYTES)?))
    }

    /// Reads the systemd credential `name`, that is `$CREDENTIALS_DIRECTORY/name`.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn from_credential(name: &str) -> Result<Self, PassphraseError> {
        let directory = env::var_os(CREDENTIALS_DIRECTORY).ok_or(PassphraseError::NoCredentials)?;
        Self::from_credential_in(&PathBuf::from(directory), name)
    }

    /// Reads the credential `name` in a directory that the service manager made.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn from_credential_in(directory: &Path, name: &str) -> Result<Self, PassphraseError> {
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(PassphraseError::Name);
        }
        let path = directory.join(name);
        Self::new(without_newline(files::read_checked(&path, MAX_PASSPHRASE_BYTES, CREDENTIAL_FORBIDDEN)?))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

fn without_newline(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    if bytes.ends_with(b"\r") {
        bytes.pop();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with_file(mode: u32, text: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_newline_at_the_end_does_not_count() {
        for text in [&b"correct horse"[..], b"correct horse\n", b"correct horse\r\n"] {
            let (_dir, path) = with_file(0o600, text);
            assert_eq!(Passphrase::from_file(&path).unwrap().expose(), b"correct horse");
        }
    }

    #[test]
    fn a_passphrase_file_that_others_can_read_is_refused() {
        let (_dir, path) = with_file(0o640, b"correct horse");
        assert_eq!(Passphrase::from_file(&path).unwrap_err().code(), "LOOSE_PERMISSIONS");
    }

    #[test]
    fn a_credential_may_show_the_mask_of_an_access_list_but_nothing_for_the_world() {
        for (mode, good) in [(0o400, true), (0o440, true), (0o460, false), (0o444, false)] {
            let (dir, _) = with_file(mode, b"correct horse");
            assert_eq!(Passphrase::from_credential_in(dir.path(), "passphrase").is_ok(), good, "{mode:o}");
        }
    }

    #[test]
    fn a_credential_name_cannot_leave_its_directory() {
        let (dir, _) = with_file(0o600, b"correct horse");
        for name in ["", ".", "..", "../passphrase", "/passphrase", "a/passphrase", "passphrase/"] {
            let error = Passphrase::from_credential_in(dir.path(), name).unwrap_err();
            assert_eq!(error.code(), "CREDENTIAL_NAME", "{name}");
        }
    }

    #[test]
    fn a_short_passphrase_is_refused_and_none_is_printed() {
        assert_eq!(Passphrase::new(vec![b'x'; 7]).unwrap_err().code(), "PASSPHRASE_TOO_SHORT");
        let printed = format!("{:?}", Passphrase::new(b"correct horse".to_vec()).unwrap());
        assert!(!printed.contains("horse"), "{printed}");
    }
}
