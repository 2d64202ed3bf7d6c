//! Makes unpacked programs run where they lie, and drops what no one runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use hip_toolchain::Made;

use super::only_folder;
use crate::process;

/// The LLVM programs that are kept, with the names that are links to them.
const LLVM_TOOLS: [&str; 11] = [
    "clang",
    "clang++",
    "lld",
    "ld.lld",
    "llvm-link",
    "llvm-mc",
    "llvm-objcopy",
    "llvm-objdump",
    "llvm-readelf",
    "llvm-readobj",
    "clang-offload-bundler",
];

/// Programs that are kept of `usr/bin`.
const PROGRAMS: [&str; 2] = ["hipcc", "hipconfig"];

/// Libraries whose own search path would keep a program's from being used.
const LIBRARIES: [&str; 2] = ["libLLVM.so", "libclang-cpp.so"];

/// What an unpacked toolchain does not need to compile for a GPU.
const DROPPED: [&str; 5] = ["etc", "var", "usr/sbin", "usr/lib32", "usr/libx32"];

/// What is kept of `usr/share`: the version of HIP, which clang reads.
const SHARED: &str = "hip";

/// Patches, prunes and configures the toolchain in `made`.
pub fn relocate(made: &Made) -> Result<()> {
    let root = made.root();
    let llvm = only_folder(&root.join("usr/lib"), "llvm-")?;
    let patchelf = Patchelf { made };
    for name in LLVM_TOOLS {
        patchelf.program(&llvm.join("bin").join(name), "$ORIGIN/../../x86_64-linux-gnu")?;
    }
    patchelf.program(&root.join("usr/bin/hipcc"), "$ORIGIN/../lib/x86_64-linux-gnu")?;
    for prefix in LIBRARIES {
        patchelf.search_path(&only_file(&made.library_dir(), prefix)?, "$ORIGIN")?;
    }
    configure_clang(&llvm)?;
    write_driver(made, &llvm)?;
    prune(&root, &llvm)
}

/// Debian's own patchelf, run on Debian's own C library.
struct Patchelf<'a> {
    made: &'a Made,
}

impl Patchelf<'_> {
    /// The program is loaded by the toolchain's loader, with libraries from `search_path`.
    fn program(&self, program: &Path, search_path: &str) -> Result<()> {
        if program.is_symlink() {
            // The file that it leads to is patched by its own name.
            return Ok(());
        }
        let mut patch = self.command();
        patch.arg("--set-interpreter").arg(self.made.loader()).arg(program);
        process::stdout_of(&mut patch)?;
        self.search_path(program, search_path)
    }

    fn search_path(&self, file: &Path, search_path: &str) -> Result<()> {
        let mut patch = self.command();
        // An rpath, unlike a runpath, holds for the libraries of libraries too.
        patch.args(["--force-rpath", "--set-rpath", search_path]).arg(file);
        process::stdout_of(&mut patch).map(drop)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.made.loader());
        command.arg("--library-path").arg(self.made.library_dir());
        command.arg(self.made.root().join("usr/bin/patchelf"));
        command
    }
}

/// The file in `folder`, not a link, whose name begins with `prefix`.
fn only_file(folder: &Path, prefix: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(entry.path());
        }
    }
    anyhow::bail!("no {prefix}* in {}", folder.display())
}

/// clang reads its options from a file beside it: where HIP, the device libraries and the C++ headers
/// are, which must not be the machine's.
fn configure_clang(llvm: &Path) -> Result<()> {
    let version = only_folder(&llvm.join("lib/clang"), "")?;
    let version = version.file_name().context("a folder has a name")?.to_string_lossy();
    let options = format!(
        "--rocm-path=<CFGDIR>/../../..\n\
         --hip-path=<CFGDIR>/../../..\n\
         --sysroot=<CFGDIR>/../../../..\n\
         --rocm-device-lib-path=<CFGDIR>/../lib/clang/{version}/amdgcn/bitcode\n"
    );
    fs::write(llvm.join("bin/clang++.cfg"), options)?;
    Ok(())
}

/// `bin/hipcc`: Debian's, told where it lies.
fn write_driver(made: &Made, llvm: &Path) -> Result<()> {
    let usr = made.root().join("usr");
    let quoted = |path: &Path| {
        let path = path.to_str().context("the cache folder's name is no UTF-8")?;
        Ok::<_, anyhow::Error>(format!("'{}'", path.replace('\'', r"'\''")))
    };
    let (usr_text, bin, hipcc) =
        (quoted(&usr)?, quoted(&llvm.join("bin"))?, quoted(&usr.join("bin/hipcc"))?);
    let script = format!(
        "#!/bin/sh\n\
         export HIP_PLATFORM=amd ROCM_PATH={usr_text} HIP_PATH={usr_text} HIP_CLANG_PATH={bin}\n\
         exec {hipcc} \"$@\"\n"
    );
    let driver = made.hipcc();
    fs::create_dir_all(driver.parent().context("bin/hipcc lies in a folder")?)?;
    fs::write(&driver, script)?;
    fs::set_permissions(&driver, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn prune(root: &Path, llvm: &Path) -> Result<()> {
    for folder in DROPPED {
        let folder = root.join(folder);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
    }
    for entry in fs::read_dir(root.join("usr/share"))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != SHARED {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let kept = |names: &[&str], name: &str| names.contains(&name) || name.ends_with(".cfg");
    remove_files(&llvm.join("bin"), |name| !kept(&LLVM_TOOLS, name))?;
    remove_files(&root.join("usr/bin"), |name| !kept(&PROGRAMS, name))?;
    // Only a host program would be linked with these.
    remove_files(&root.join("usr/lib/x86_64-linux-gnu"), |name| name.ends_with(".a"))
}

/// Removes the files and links of `folder` whose name `unwanted` takes.
fn remove_files(folder: &Path, unwanted: impl Fn(&str) -> bool) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() && unwanted(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_survives_any_folder_name() {
        let dir = tempfile::tempdir().unwrap();
        let made = Made::at(&dir.path().join("it's a $HOME"));
        let hipcc = made.root().join("usr/bin/hipcc");
        fs::create_dir_all(hipcc.parent().unwrap()).unwrap();
        fs::write(&hipcc, "#!/bin/sh\necho \"$HIP_CLANG_PATH|$1 $2\"\n").unwrap();
        fs::set_permissions(&hipcc, fs::Permissions::from_mode(0o755)).unwrap();
        let llvm = made.root().join("usr/lib/llvm-21");
        write_driver(&made, &llvm).unwrap();
        let said = process::stdout_of(Command::new(made.hipcc()).args(["-o", "k"])).unwrap();
        assert_eq!(said, format!("{}/bin|-o k\n", llvm.display()));
    }

    #[test]
    fn pruning_keeps_the_tools_and_their_options() {
        let dir = tempfile::tempdir().unwrap();
        let llvm = dir.path().join("usr/lib/llvm-21");
        let write = |path: PathBuf| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        for name in ["clang", "clang++.cfg", "opt"] {
            write(llvm.join("bin").join(name));
        }
        write(dir.path().join("usr/bin/patchelf"));
        write(dir.path().join("usr/lib/x86_64-linux-gnu/libc.a"));
        write(dir.path().join("usr/share/doc/libc6/copyright"));
        write(dir.path().join("usr/share/hip/version"));
        prune(dir.path(), &llvm).unwrap();
        assert!(llvm.join("bin/clang").exists() && llvm.join("bin/clang++.cfg").exists());
        assert!(!llvm.join("bin/opt").exists());
        assert!(!dir.path().join("usr/bin/patchelf").exists());
        assert!(!dir.path().join("usr/lib/x86_64-linux-gnu/libc.a").exists());
        assert!(!dir.path().join("usr/share/doc").exists());
        assert!(dir.path().join("usr/share/hip/version").exists());
    }
}
