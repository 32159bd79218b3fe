//! Where a demonstration or a benchmark writes.

use std::path::{Path, PathBuf};

use super::DemoError;

/// A directory that was given, or a temporary one.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    temporary: bool,
}

impl Place {
    /// Takes an empty directory, which is made when it is missing; without one, makes a temporary one in
    /// `base`.
    pub(crate) fn new(given: Option<&Path>, base: &Path) -> Result<Self, DemoError> {
        let Some(path) = given else {
            let dir = tempfile::Builder::new().prefix("windvane-").tempdir_in(base);
            let path = dir.map_err(DemoError::io(base.display().to_string()))?.keep();
            return Ok(Self { path, temporary: true });
        };
        let failed = || DemoError::io(path.display().to_string());
        std::fs::create_dir_all(path).map_err(failed())?;
        if std::fs::read_dir(path).map_err(failed())?.next().is_some() {
            return Err(DemoError::NotEmpty { path: path.to_owned() });
        }
        // The nodes' processes must find it whatever their working directory is.
        let path = path.canonicalize().map_err(failed())?;
        Ok(Self { path, temporary: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes a temporary directory.
    pub(crate) fn remove(&self) {
        if self.temporary {
            // What cannot be removed is in the system's temporary directory.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_temporary_place_is_removed_and_a_used_one_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let temporary = Place::new(None, base.path()).unwrap();
        std::fs::write(temporary.path().join("file"), "x").unwrap();
        temporary.remove();
        assert!(!temporary.path().exists());
        let given = base.path().join("given");
        Place::new(Some(&given), base.path()).unwrap().remove();
        assert!(given.exists());
        std::fs::write(given.join("file"), "x").unwrap();
        let refused = Place::new(Some(&given), base.path()).unwrap_err();
        assert_eq!(refused.code(), "NOT_EMPTY");
    }
}
