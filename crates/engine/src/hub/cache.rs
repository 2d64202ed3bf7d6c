//! Where models live on disk, and how a file gets there whole: written under another name, synced,
//! renamed, by one process at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::error::HubError;
use super::name::HfName;
use super::progress::Progress;

/// The folder of models.
#[derive(Clone, Debug)]
pub(super) struct ModelCache {
    root: PathBuf,
}

/// Held while files are put into a folder; the operating system gives it back if the process dies.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl ModelCache {
    /// `$XDG_CACHE_HOME/kvasir/models`, or `~/.cache/kvasir/models`.
    pub(super) fn from_env() -> Result<ModelCache, HubError> {
        let base = etcetera::base_strategy::Xdg::new().map_err(|_| HubError::NoCacheDir)?;
        Ok(ModelCache::at(base.cache_dir().join("kvasir").join("models")))
    }

    pub(super) fn at(root: PathBuf) -> ModelCache {
        ModelCache { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one revision of a repository. `%` is in no revision's name, so `a/b` and
    /// `a%2Fb` cannot meet.
    pub(super) fn hf_folder(&self, name: &HfName) -> PathBuf {
        self.root
            .join("hf")
            .join(&name.org)
            .join(&name.model)
            .join(name.revision.replace('/', "%2F"))
    }
}

/// Makes `folder` and waits until no other process fetches into it.
pub(super) fn lock_folder(folder: &Path, progress: &dyn Progress) -> Result<FolderLock, HubError> {
    fs::create_dir_all(folder).map_err(|source| HubError::io("create", folder, source))?;
    let path = folder.join(".kvasir-lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| HubError::io("open", &path, source))?;
    let locked = match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            progress.note("waiting for another kvasir that fetches this model");
            file.lock()
        }
        Err(TryLockError::Error(source)) => Err(source),
    };
    locked.map_err(|source| HubError::io("lock", &path, source))?;
    Ok(FolderLock { _file: file })
}

/// Replaces `path` by `content`; readers see the old file or the new one.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), HubError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".kvasir-").tempfile_in(folder)?;
        file.write_all(content)?;
        publish(file, path)
    };
    write().map_err(|source| HubError::io("write", path, source))
}

/// Gives a finished temporary file its name.
pub(super) fn publish(file: tempfile::NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    let kept = file.persist(path).map_err(|error| error.error)?;
    // Temporary files are private to the user; a cached model need not be.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        kept.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    drop(kept);
    Ok(())
}

/// The size of the file `path`, if it is one.
pub(super) fn file_size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
}
