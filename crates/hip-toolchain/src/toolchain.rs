//! A toolchain that was found.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::find::Surroundings;
use crate::made::Made;

/// hipcc tells the linker of libraries even where nothing is linked.
const QUIET: &str = "-Wno-unused-command-line-argument";

/// A hipcc that targets gfx942, with the programs and libraries that came with it.
#[derive(Clone, Debug)]
pub struct Toolchain {
    hipcc: PathBuf,
    made: Option<Made>,
}

impl Toolchain {
    /// The first that is found, in the order of the [crate](crate)'s documentation.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is none, [`Error::Unusable`] if one that `HIPCC` or
    /// `ROCM_PATH` names does not work.
    pub fn find() -> Result<Self, Error> {
        Surroundings::of_this_process().find()
    }

    /// The one that was made in a cache folder.
    #[must_use]
    pub fn made(made: Made) -> Self {
        Toolchain { hipcc: made.hipcc(), made: Some(made) }
    }

    /// One of the machine, if it knows gfx942; what it said if not.
    pub(crate) fn installed(hipcc: PathBuf) -> Result<Self, String> {
        let toolchain = Toolchain { hipcc, made: None };
        let mut probe = toolchain.driver();
        probe.args(["--offload-arch=gfx942", "--cuda-device-only", "-nogpuinc", "-nogpulib"]);
        probe.args(["-fsyntax-only", "-x", "hip", "/dev/null"]);
        output(&mut probe).map(|_| toolchain)
    }

    /// The compiler driver's path.
    #[must_use]
    pub fn hipcc(&self) -> &Path {
        &self.hipcc
    }

    /// A command that starts the compiler driver. For AMD's devices, whatever else is installed.
    #[must_use]
    pub fn driver(&self) -> Command {
        let mut command = Command::new(&self.hipcc);
        command.env("HIP_PLATFORM", "amd").arg(QUIET);
        command
    }

    /// Compiles a source file to one code object, with no bundle around it. `flags` are the
    /// compiler's, for example `-O0` or `-I`; the default is `-O3`.
    ///
    /// The bytes depend on source, flags and compiler alone, not on the folder.
    ///
    /// # Errors
    ///
    /// [`Error::Compile`] with the compiler's own message.
    pub fn compile(
        &self,
        source: &Path,
        arch: &str,
        flags: &[&str],
        object: &Path,
    ) -> Result<(), Error> {
        let mut compile = self.driver();
        compile.arg(format!("--offload-arch={arch}"));
        compile.args(["--cuda-device-only", "--no-gpu-bundle-output", "-fuse-cuid=none"]);
        compile.args(flags).arg("-o").arg(object).arg(source);
        output(&mut compile)
            .map(drop)
            .map_err(|message| Error::Compile { source_path: source.to_owned(), message })
    }

    /// The path of an LLVM program of the same version as the compiler: `llvm-objdump`, `llvm-mc`,
    /// `ld.lld`.
    ///
    /// # Errors
    ///
    /// [`Error::Program`] if the compiler knows none of that name.
    pub fn llvm_tool(&self, name: &str) -> Result<PathBuf, Error> {
        let mut ask = self.driver();
        ask.args(["--offload-arch=gfx942", &format!("--print-prog-name={name}")]);
        let failed = |why| Error::Program { program: self.hipcc.clone(), why };
        let path = output(&mut ask).map_err(failed)?;
        let path = PathBuf::from(path.trim());
        // A name that it does not know is printed as it was given.
        if !path.is_absolute() {
            return Err(failed(format!("its LLVM has no program {name}")));
        }
        Ok(path)
    }

    /// The headers, `hip/hip_runtime_api.h` among them.
    #[must_use]
    pub fn include_dir(&self) -> PathBuf {
        match &self.made {
            Some(made) => made.root().join("usr/include"),
            None => self.prefix().join("include"),
        }
    }

    /// The library `name`, for example `libamdhip64.so.6`, where it came with the toolchain.
    #[must_use]
    pub fn library(&self, name: &str) -> Option<PathBuf> {
        self.library_dirs().into_iter().map(|dir| dir.join(name)).find(|path| path.exists())
    }

    /// clang as a library, where it came with the toolchain.
    #[must_use]
    pub fn libclang(&self) -> Option<PathBuf> {
        let dirs = self.library_dirs().into_iter();
        let files = dirs.flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
        let mut found: Vec<_> = files.filter(|f| is_libclang(&f.file_name())).collect();
        // The shortest of several names is the one that is kept from version to version.
        found.sort_by_key(|file| (file.file_name().len(), file.file_name()));
        found.first().map(fs::DirEntry::path)
    }

    fn library_dirs(&self) -> Vec<PathBuf> {
        if let Some(made) = &self.made {
            return vec![made.library_dir()];
        }
        let dirs = ["lib", "lib64", "lib/x86_64-linux-gnu", "lib/llvm/lib", "llvm/lib"];
        dirs.map(|dir| self.prefix().join(dir)).into()
    }

    /// A command that starts `program` so that it can load the toolchain's libraries: a toolchain
    /// that was made has a newer C library than the machine may have, and lends it.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let Some(made) = &self.made else {
            return Command::new(program);
        };
        let mut command = Command::new(made.loader());
        command.arg("--library-path").arg(made.library_dir()).arg(program);
        command
    }

    /// The folder that `bin/hipcc` is in, past any links.
    fn prefix(&self) -> PathBuf {
        let hipcc = self.hipcc.canonicalize().unwrap_or_else(|_| self.hipcc.clone());
        hipcc.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned()
    }
}

/// `libclang.so`, `libclang-21.so.21`; not `libclang-cpp.so`.
fn is_libclang(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let rest = name.strip_prefix("libclang").unwrap_or_default();
    let version =
        rest.strip_prefix('-').unwrap_or(rest).trim_start_matches(|c: char| c.is_ascii_digit());
    version.starts_with(".so")
        && (rest.starts_with('.') || rest[1..].starts_with(|c: char| c.is_ascii_digit()))
}

/// What a program printed, or what it said when it failed.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = text(&output.stderr);
    Err(if said.is_empty() { output.status.to_string() } else { said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_is_told_from_its_neighbours() {
        for name in ["libclang.so", "libclang.so.21.1", "libclang-21.so.21", "libclang-21.so"] {
            assert!(is_libclang(OsStr::new(name)), "{name}");
        }
        for name in ["libclang-cpp.so.21.1", "libclang", "libclang-21.a", "libLLVM.so", "libclang-"]
        {
            assert!(!is_libclang(OsStr::new(name)), "{name}");
        }
    }
}
