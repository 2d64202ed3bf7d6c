//! `cargo xtask hip-toolchain`: a hipcc that targets gfx942, made once, for machines without ROCm.
//!
//! The packages of a Debian release that has one are fetched by the machine's own apt and unpacked
//! into the cache folder. Nothing is installed and nothing needs root: the programs are patched to
//! find their libraries, the C library included, beside them.

mod debian;
mod relocate;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use hip_toolchain::{Made, Toolchain};

use crate::context::Context;
use crate::process;

/// What the kernels need of a compiler, in a few lines: the runtime's headers, FP8 and MFMA.
const PROBE: &str = "\
#include <hip/hip_runtime.h>
#include <hip/hip_fp8.h>
typedef float f32x4 __attribute__((ext_vector_type(4)));
extern \"C\" __global__ void probe(f32x4 *c, const long *a) {
    c[threadIdx.x] = __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(a[0], a[1], c[threadIdx.x], 0, 0, 0);
}
";

/// Prints the path of a hipcc that targets gfx942, and makes one first if there is none.
pub fn run(context: &Context) -> Result<()> {
    println!("{}", ensure(context)?.hipcc().display());
    Ok(())
}

/// Has the test that compares `hip-sys`'s bindings write them instead.
pub fn bindings(context: &Context) -> Result<()> {
    ensure(context)?;
    let mut test = process::cargo(&context.root);
    test.args(["test", "--quiet", "-p", "hip-sys", "--test", "bindings"]);
    test.env("KVASIR_UPDATE_BINDINGS", "1").env(hip_toolchain::REQUIRE_HIP_VAR, "1");
    process::run(&mut test)
}

/// A toolchain, made if there is none.
pub fn ensure(context: &Context) -> Result<Toolchain> {
    match Toolchain::find() {
        Err(hip_toolchain::Error::NotFound { .. }) => {}
        found_or_unusable => return Ok(found_or_unusable?),
    }
    let made = Made::in_cache().context("no home folder: set HOME or XDG_CACHE_HOME")?;
    let toolchain = make_once(&made).context(
        "cannot make a HIP toolchain: install ROCm 6 or later and set ROCM_PATH or HIPCC",
    )?;
    // Its table of kernels is empty if it was built before there was a compiler.
    let mut clean = process::cargo(&context.root);
    clean.args(["clean", "--quiet", "-p", "kernels-hip"]);
    process::run(&mut clean)?;
    Ok(toolchain)
}

/// Makes it unless another process, which is waited for, has made it meanwhile.
fn make_once(made: &Made) -> Result<Toolchain> {
    let tools = made.dir().parent().context("the toolchain lies in a folder")?;
    fs::create_dir_all(tools).with_context(|| format!("cannot write {}", tools.display()))?;
    let lock = File::create(made.dir().with_extension("lock"))?;
    lock.lock().context("cannot wait for another process that makes the toolchain")?;
    if !made.is_complete() {
        make(made)?;
    }
    Ok(Toolchain::made(made.clone()))
}

fn make(made: &Made) -> Result<()> {
    let start = Instant::now();
    debian::check_machine()?;
    let dir = made.dir();
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot replace {}", dir.display()))?;
    }
    fs::create_dir(dir)?;
    let archive = debian::Archive::new(&dir.join("apt"))?;
    step(1, &format!("reading the package list of {} from {}", debian::RELEASE, archive.mirror));
    archive.update()?;
    step(2, "fetching packages");
    let packages = archive.download()?;
    step(3, &format!("unpacking {} packages into {}", packages.len(), made.root().display()));
    debian::unpack(&packages, &made.root())?;
    step(4, "making the programs run where they are");
    relocate::relocate(made)?;
    fs::remove_dir_all(dir.join("apt"))?;
    step(5, "compiling a kernel");
    probe(&Toolchain::made(made.clone()), dir)?;
    made.mark_complete()?;
    eprintln!("hip-toolchain: made in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

const NUM_STEPS: usize = 5;

fn step(number: usize, about: &str) {
    eprintln!("hip-toolchain {number}/{NUM_STEPS}: {about}");
}

fn probe(toolchain: &Toolchain, dir: &Path) -> Result<()> {
    let (source, object) = (dir.join("probe.hip"), dir.join("probe.hsaco"));
    fs::write(&source, PROBE)?;
    toolchain.compile(&source, "gfx942", &["-O3"], &object)?;
    let mut objdump = std::process::Command::new(toolchain.llvm_tool("llvm-objdump")?);
    objdump.args(["-d", "--mcpu=gfx942"]).arg(&object);
    let listing = process::stdout_of(&mut objdump)?;
    if !listing.contains("v_mfma_f32_16x16x32_fp8_fp8") {
        bail!("the new toolchain compiles, but not to MFMA:\n{}", process::tail(&listing));
    }
    fs::remove_file(source)?;
    fs::remove_file(object)?;
    Ok(())
}

/// The only folder in `parent` whose name begins with `prefix`.
fn only_folder(parent: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(parent).with_context(|| format!("no {}", parent.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        n => bail!("{n} folders {prefix}* in {}, where one is expected", parent.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_and_no_other_number_of_them() {
        let dir = tempfile::tempdir().unwrap();
        assert!(only_folder(dir.path(), "llvm-").is_err());
        fs::create_dir(dir.path().join("llvm-21")).unwrap();
        fs::create_dir(dir.path().join("gcc")).unwrap();
        assert_eq!(only_folder(dir.path(), "llvm-").unwrap(), dir.path().join("llvm-21"));
        fs::create_dir(dir.path().join("llvm-22")).unwrap();
        assert!(only_folder(dir.path(), "llvm-").is_err());
        assert!(only_folder(&dir.path().join("gone"), "llvm-").is_err());
    }
}
