//! What a model's folder holds, and of which version: lets a later run start without the network
//! and a later pull skip what has not changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cache;
use super::error::HubError;

const FILE_NAME: &str = ".kvasir-pull.json";

/// The files of one revision of a repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The commit that the revision stood for.
    pub commit: Option<String>,
    /// Every file of the model in transformers' layout is there.
    pub complete: bool,
    /// By name.
    pub files: BTreeMap<String, PulledFile>,
}

/// One file that was fetched whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PulledFile {
    /// Size on disk.
    pub size_bytes: u64,
    /// The hub's digest, checked on arrival.
    pub sha256: Option<String>,
    /// The hub's name for the content, where it gives no digest.
    pub blob_id: Option<String>,
    /// The server's name for the version.
    pub etag: Option<String>,
}

impl Manifest {
    /// The manifest of `folder`, empty if there is none that can be read.
    pub(super) fn load(folder: &Path) -> Manifest {
        fs::read(folder.join(FILE_NAME))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }

    pub(super) fn store(&self, folder: &Path) -> Result<(), HubError> {
        let path = folder.join(FILE_NAME);
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| HubError::io("write", &path, std::io::Error::other(error)))?;
        cache::write_whole(&path, &json)
    }

    /// The entry of `name`, if the file is on disk as it was when it came.
    pub(super) fn intact(&self, folder: &Path, name: &str) -> Option<&PulledFile> {
        let entry = self.files.get(name)?;
        (cache::file_size(&folder.join(name)) == Some(entry.size_bytes)).then_some(entry)
    }

    /// What to load, if all of it is in `folder`: the folder, or the GGUF file chosen.
    pub(super) fn ready(&self, folder: &Path, gguf: Option<&str>) -> Option<PathBuf> {
        match gguf {
            Some(name) => self.intact(folder, name).map(|_| folder.join(name)),
            None => {
                let all = self.files.keys().all(|name| self.intact(folder, name).is_some());
                (self.complete && all).then(|| folder.to_path_buf())
            }
        }
    }
}
