//! Finding the library.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::bindings::{Hip, hipError_t};
use crate::emulator::Emulator;

/// The variable that names the library to load: ROCm's elsewhere, or one with the same ABI.
pub const LIBRARY_VAR: &str = "KVASIR_HIP_LIBRARY";

/// The names under which ROCm installs it, newest first.
const NAMES: [&str; 2] = ["libamdhip64.so.7", "libamdhip64.so.6"];

/// Versions of HIP whose functions and types are those of [`crate::bindings`].
const MAJORS: std::ops::RangeInclusive<i32> = 6..=7;

/// A loaded libamdhip64. It stays loaded until the process ends: a HIP runtime has threads of its own and values of
/// every thread that called it, whose code must not go away.
pub struct Library {
    hip: &'static Hip,
    name: PathBuf,
    version: (i32, i32),
}

/// Why no library was loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Not one of the names could be loaded.
    #[error(
        "no HIP runtime: {}; install ROCm 6 or later, or set KVASIR_HIP_LIBRARY to a libamdhip64",
        reasons.join("; ")
    )]
    NotFound {
        /// For each name, what the loader said.
        reasons: Vec<String>,
    },
    /// It is there, and cannot be used.
    #[error("cannot load {}: {reason}", name.display())]
    Broken {
        /// The library.
        name: PathBuf,
        /// What the loader said, for example which function is missing.
        reason: String,
    },
    /// It did not say its version.
    #[error("{}: hipRuntimeGetVersion failed with error {code}", name.display())]
    NoVersion {
        /// The library.
        name: PathBuf,
        /// The HIP error.
        code: u32,
    },
    /// A version that these types do not describe.
    #[error("{} has HIP {major}.{minor}; versions 6 and 7 are supported", name.display())]
    Version {
        /// The library.
        name: PathBuf,
        /// Its major version.
        major: i32,
        /// Its minor version.
        minor: i32,
    },
}

impl Library {
    /// Loads what `KVASIR_HIP_LIBRARY` names, else ROCm's from where the system's loader looks.
    ///
    /// # Errors
    ///
    /// If there is none, or one of another version.
    pub fn load() -> Result<Self, LoadError> {
        let named = env::var_os(LIBRARY_VAR).filter(|name| !name.is_empty());
        if let Some(name) = named {
            return Self::open(Path::new(&name));
        }
        let mut reasons = Vec::new();
        for name in NAMES {
            // A library that is present and broken must be told, not passed over.
            match Self::open(Path::new(name)) {
                Err(LoadError::Broken { reason, .. }) if is_missing(name, &reason) => {
                    reasons.push(reason);
                }
                result => return result,
            }
        }
        Err(LoadError::NotFound { reasons })
    }

    /// Loads the library `name`: a path, or a file name for the system's loader to find.
    ///
    /// # Errors
    ///
    /// As [`Library::load`].
    pub fn open(name: &Path) -> Result<Self, LoadError> {
        let broken = |error: libloading::Error| LoadError::Broken {
            name: name.to_owned(),
            reason: std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string),
        };
        // SAFETY: loading runs the library's initialisers; who names a library as HIP's runtime trusts it as
        // they trust the system's loader. Its functions have the header's types for the versions that are
        // let through below; of another version only hipRuntimeGetVersion is called, which never changed.
        let hip = unsafe { Hip::new(OsString::from(name)) }.map_err(broken)?;
        let mut version = 0;
        // SAFETY: the pointer is to an int that outlives the call.
        let code = unsafe { hip.hipRuntimeGetVersion(&mut version) };
        if code != hipError_t::hipSuccess {
            return Err(LoadError::NoVersion { name: name.to_owned(), code: code.0 });
        }
        let (major, minor) = split_version(version);
        if !MAJORS.contains(&major) {
            return Err(LoadError::Version { name: name.to_owned(), major, minor });
        }
        let hip = Box::leak(Box::new(hip));
        Ok(Library { hip, name: name.to_owned(), version: (major, minor) })
    }

    /// The functions.
    #[must_use]
    pub fn hip(&self) -> &'static Hip {
        self.hip
    }

    /// The name that it was loaded by.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// The functions that only `hip-emulator` has; `None` if the library is another.
    #[must_use]
    pub fn emulator(&self) -> Option<Emulator> {
        Emulator::of(&self.name)
    }

    /// HIP's version: major, minor.
    #[must_use]
    pub fn version(&self) -> (i32, i32) {
        self.version
    }
}

/// Whether the loader found no file of this name, rather than one that it could not load.
fn is_missing(name: &str, reason: &str) -> bool {
    reason.starts_with(name) && reason.contains("No such file")
}

/// `hipRuntimeGetVersion`'s number is major · 10⁷ + minor · 10⁵ + patch.
fn split_version(version: i32) -> (i32, i32) {
    (version / 10_000_000, version / 100_000 % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_split_as_hip_joins_them() {
        assert_eq!(split_version(60_443_484), (6, 4));
        assert_eq!(split_version(70_051_831), (7, 0));
        assert_eq!(split_version(50_221_153), (5, 2));
    }

    #[test]
    fn a_missing_library_and_a_missing_dependency_are_told_apart() {
        let missing = "libamdhip64.so.7: cannot open shared object file: No such file or directory";
        assert!(is_missing("libamdhip64.so.7", missing));
        let dependency =
            "libhsa-runtime64.so.1: cannot open shared object file: No such file or directory";
        assert!(!is_missing("libamdhip64.so.7", dependency));
    }

    #[test]
    fn what_is_no_library_is_named_with_the_loaders_reason() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no ELF").unwrap();
        let error = Library::open(file.path()).err().unwrap().to_string();
        assert!(error.contains("file too short") || error.contains("ELF"), "{error}");
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
