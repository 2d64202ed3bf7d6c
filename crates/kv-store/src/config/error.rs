//! Why a configuration is refused, and what to write instead.

use std::fmt;
use std::path::PathBuf;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file, from 1.
    Line(u64),
    /// An environment variable.
    Variable(&'static str),
    /// The caller: a flag of the command, or an argument of the library.
    Caller,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line(line) => write!(f, "line {line}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::Caller => f.write_str("given"),
        }
    }
}

/// Why there is no [`KvConfig`](super::KvConfig).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// More than a configuration can be.
    #[error("the configuration has {bytes} bytes, and {most} are the most that is read")]
    TooLong {
        /// Its size.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// Not YAML, or not a mapping of keys to values.
    #[error("{0}")]
    Yaml(String),
    /// A key that nothing reads.
    #[error("line {line}: unknown key {key:?}{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// Its line.
        line: u64,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A value that its key cannot have.
    #[error("{origin}: {key} is {value}; expected {expected}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What is there.
        value: String,
        /// What could be.
        expected: String,
    },
    /// A key needs another one.
    #[error("{key} is set, and {missing} is not: {hint}")]
    Missing {
        /// The key that is there.
        key: &'static str,
        /// The key that is not.
        missing: &'static str,
        /// What to write.
        hint: &'static str,
    },
    /// Two keys that exclude each other.
    #[error("{first} and {second} contradict each other: {hint}")]
    Contradiction {
        /// One key.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// What to write.
        hint: &'static str,
    },
    /// An `nfs://` address that is mounted nowhere.
    #[error(
        "{url} is mounted nowhere on this machine; mount {server}:{export}, or name the directory with storage_path"
    )]
    NotMounted {
        /// The address.
        url: String,
        /// Its server.
        server: String,
        /// Its path on the server.
        export: String,
    },
    /// The free space, of which a missing cap is a share, is not known.
    #[error("{key} is missing, and what is free there is not known ({error}); set {key} in bytes")]
    FreeUnknown {
        /// The cap's key.
        key: &'static str,
        /// Why.
        error: std::io::Error,
    },
    /// A bucket: a tier of `kv-store-object`, which opens such stores.
    #[error(
        "storage is the bucket {bucket}, and this build has no tier of objects; name a directory"
    )]
    NoObjectTier {
        /// The bucket.
        bucket: String,
    },
    /// Neither host memory nor storage.
    #[error(
        "the configuration names no place to keep chunks in; set local_host: \"cpu\", or storage_backend and storage_path"
    )]
    NoPlace,
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|key| format!("; did you mean {key:?}?")).unwrap_or_default()
}
