//! The order in which places are looked at.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::made::Made;
use crate::toolchain::Toolchain;

/// What the search depends on.
pub(crate) struct Surroundings {
    pub hipcc: Option<OsString>,
    pub rocm_path: Option<OsString>,
    pub path: Option<OsString>,
    pub made: Option<Made>,
}

impl Surroundings {
    pub fn of_this_process() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Surroundings {
            hipcc: set("HIPCC"),
            rocm_path: set("ROCM_PATH"),
            path: set("PATH"),
            made: Made::in_cache(),
        }
    }

    pub fn find(self) -> Result<Toolchain, Error> {
        if let Some(hipcc) = self.hipcc {
            return named("HIPCC", PathBuf::from(hipcc));
        }
        if let Some(rocm) = self.rocm_path {
            return named("ROCM_PATH", Path::new(&rocm).join("bin").join("hipcc"));
        }
        let mut looked_at = vec!["HIPCC and ROCM_PATH are not set".to_owned()];
        match self.path.as_ref().and_then(on_path) {
            Some(hipcc) => match Toolchain::installed(hipcc.clone()) {
                Ok(toolchain) => return Ok(toolchain),
                Err(why) => looked_at.push(format!("{} on PATH: {why}", hipcc.display())),
            },
            None => looked_at.push("none on PATH".to_owned()),
        }
        match self.made {
            Some(made) if made.is_complete() => return Ok(Toolchain::made(made)),
            Some(made) => looked_at.push(format!("none in {}", made.dir().display())),
            None => looked_at.push("no home folder, so no cache folder".to_owned()),
        }
        Err(Error::NotFound { looked_at })
    }
}

fn named(variable: &'static str, path: PathBuf) -> Result<Toolchain, Error> {
    Toolchain::installed(path.clone()).map_err(|why| Error::Unusable { variable, path, why })
}

fn on_path(path: &OsString) -> Option<PathBuf> {
    let mut candidates = std::env::split_paths(path).map(|folder| folder.join("hipcc"));
    candidates.find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    const KNOWS_GFX942: &str = "exit 0";
    const TOO_OLD: &str = "echo 'error: invalid target ID gfx942' >&2; exit 1";

    /// A folder with programs that act as hipcc does when asked for gfx942.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Machine(tempfile::tempdir().unwrap())
        }

        fn hipcc(&self, path: &str, script: &str) -> PathBuf {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        }

        fn find(&self, set: &[&str], made: bool) -> Result<PathBuf, Error> {
            let cached = Made::at(&self.0.path().join("made"));
            self.hipcc("made/bin/hipcc", KNOWS_GFX942);
            if made {
                cached.mark_complete().unwrap();
            }
            let at = |name: &str, path: &str| {
                set.contains(&name).then(|| self.0.path().join(path).into_os_string())
            };
            let surroundings = Surroundings {
                hipcc: at("HIPCC", "own-hipcc"),
                rocm_path: at("ROCM_PATH", "rocm"),
                path: at("PATH", "bin"),
                made: Some(cached),
            };
            surroundings.find().map(|toolchain| toolchain.hipcc().to_owned())
        }
    }

    #[test]
    fn the_order_is_hipcc_rocm_path_path_cache() {
        let machine = Machine::new();
        let own = machine.hipcc("own-hipcc", KNOWS_GFX942);
        let rocm = machine.hipcc("rocm/bin/hipcc", KNOWS_GFX942);
        let path = machine.hipcc("bin/hipcc", KNOWS_GFX942);
        let all = ["HIPCC", "ROCM_PATH", "PATH"];
        assert_eq!(machine.find(&all, true).unwrap(), own);
        assert_eq!(machine.find(&all[1..], true).unwrap(), rocm);
        assert_eq!(machine.find(&all[2..], true).unwrap(), path);
        assert!(machine.find(&[], true).unwrap().ends_with("made/bin/hipcc"));
    }

    #[test]
    fn an_old_one_on_path_is_passed_over_and_a_named_one_is_an_error() {
        let machine = Machine::new();
        machine.hipcc("bin/hipcc", TOO_OLD);
        assert!(machine.find(&["PATH"], true).unwrap().ends_with("made/bin/hipcc"));
        machine.hipcc("own-hipcc", TOO_OLD);
        let error = machine.find(&["HIPCC", "PATH"], true).unwrap_err().to_string();
        assert!(error.starts_with("HIPCC names") && error.contains("invalid target"), "{error}");
        let error = machine.find(&["ROCM_PATH"], true).unwrap_err().to_string();
        assert!(error.contains("rocm/bin/hipcc"), "{error}");
    }

    #[test]
    fn without_any_the_error_says_where_it_looked_and_what_to_do() {
        let machine = Machine::new();
        machine.hipcc("bin/hipcc", TOO_OLD);
        let error = machine.find(&["PATH"], false).unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }));
        let text = error.to_string();
        for words in ["invalid target", "bin/hipcc on PATH", "cargo xtask hip-toolchain"] {
            assert!(text.contains(words), "{text}");
        }
    }
}
