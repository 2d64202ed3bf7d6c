//! The HIP compile step, which the package `kernels-hip` names as its build script.
//!
//! Compiles `kernels/<op>/<op>_v<N>_<idea>.hip` of that package for each architecture in
//! `KVASIR_HIP_ARCHS` (default `gfx942`) and writes the table that `registry` reads. v1 of each op is
//! always compiled; any other variant if the Cargo feature of its name is on. Without a hipcc the
//! table is empty, and one warning says so.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use hip_toolchain::Toolchain;

const ARCHS_VAR: &str = "KVASIR_HIP_ARCHS";
const DEFAULT_ARCHS: &str = "gfx942";

/// A warning is something to look at, so none is let through.
const FLAGS: [&str; 4] = ["-O3", "-Wall", "-Wextra", "-Werror"];

/// One source file.
struct Variant {
    op: String,
    /// The file's name, the feature's, the registry row's.
    name: String,
    source: PathBuf,
}

/// A compilation: what, and for which architecture.
type Job<'a> = (&'a Variant, &'a str);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // As it is, line by line: it is the compiler's own message.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let kernels = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("kernels");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", kernels.display());
    for variable in [ARCHS_VAR, "HIPCC", "ROCM_PATH", "XDG_CACHE_HOME"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let variants = enabled(variants(&kernels)?);
    let archs = archs()?;
    let jobs: Vec<Job> = variants
        .iter()
        .flat_map(|variant| archs.iter().map(move |arch| (variant, arch.as_str())))
        .collect();
    let table = match Toolchain::find() {
        Ok(toolchain) => {
            // Another compiler in the same place makes other code.
            println!("cargo::rerun-if-changed={}", toolchain.hipcc().display());
            compile_all(&toolchain, &jobs, &kernels.join("include"), &out)?;
            table(&jobs)
        }
        Err(error @ hip_toolchain::Error::NotFound { .. }) => {
            println!("cargo::warning=no GPU kernels in this build: {error}");
            table(&[])
        }
        Err(error) => return Err(error.to_string().into()),
    };
    fs::write(out.join("code_objects.rs"), table)?;
    Ok(())
}

fn archs() -> Result<Vec<String>, Box<dyn Error>> {
    let archs = env::var(ARCHS_VAR).unwrap_or_else(|_| DEFAULT_ARCHS.to_owned());
    let archs: Vec<String> =
        archs.split([',', ' ']).filter(|a| !a.is_empty()).map(str::to_owned).collect();
    let plain =
        |arch: &String| arch.starts_with("gfx") && arch.chars().all(|c| c.is_ascii_alphanumeric());
    if archs.is_empty() || !archs.iter().all(plain) {
        return Err(format!(
            "{ARCHS_VAR} must name architectures, for example gfx942,gfx950; it names {archs:?}"
        )
        .into());
    }
    Ok(archs)
}

/// All source files, by name.
fn variants(kernels: &Path) -> Result<Vec<Variant>, Box<dyn Error>> {
    let mut variants = Vec::new();
    for folder in sorted(kernels)? {
        for source in sorted(&folder)? {
            if source.extension().is_some_and(|extension| extension == "hip") {
                variants.push(variant(&folder, source)?);
            }
        }
    }
    Ok(variants)
}

fn variant(folder: &Path, source: PathBuf) -> Result<Variant, Box<dyn Error>> {
    let text =
        |path: Option<&std::ffi::OsStr>| path.unwrap_or_default().to_string_lossy().into_owned();
    let (op, name) = (text(folder.file_name()), text(source.file_stem()));
    let rest = name.strip_prefix(&format!("{op}_v")).unwrap_or_default();
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    if digits == 0 || !rest[digits..].starts_with('_') || rest.len() == digits + 1 {
        return Err(
            format!("{}: a kernel file is named {op}_v<N>_<idea>.hip", source.display()).into()
        );
    }
    Ok(Variant { op, name, source })
}

fn enabled(variants: Vec<Variant>) -> Vec<Variant> {
    let is_on = |variant: &Variant| {
        let is_first = variant.name[variant.op.len()..].starts_with("_v1_");
        is_first || env::var_os(format!("CARGO_FEATURE_{}", variant.name.to_uppercase())).is_some()
    };
    variants.into_iter().filter(is_on).collect()
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<Result<Vec<_>, std::io::Error>>()?;
    paths.sort();
    Ok(paths)
}

fn object_name((variant, arch): Job) -> String {
    format!("{}.{arch}.hsaco", variant.name)
}

/// Compiles as many at a time as Cargo grants jobs, and nothing that is there from the same text. All errors
/// are told, not the first alone.
fn compile_all(
    toolchain: &Toolchain,
    jobs: &[Job],
    include: &Path,
    out: &Path,
) -> Result<(), String> {
    let num_threads = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_usize);
    let include_flag = format!("-I{}", include.display());
    let flags = [FLAGS.as_slice(), &[&include_flag]].concat();
    let compiler = fs::metadata(toolchain.hipcc()).and_then(|hipcc| hipcc.modified());
    let command = format!("{:?} of {compiler:?}, {flags:?}", toolchain.hipcc());
    let next = AtomicUsize::new(0);
    let errors = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..num_threads.min(jobs.len()) {
            scope.spawn(|| {
                while let Some(&job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (variant, arch) = job;
                    let object = out.join(object_name(job));
                    let text = compiled_text(&command, &variant.source, include);
                    if is_made_from(&object, &text) {
                        continue;
                    }
                    // A compiler that is cut off leaves no object that looks made.
                    let _ = fs::remove_file(text_of(&object));
                    let compiled = toolchain.compile(&variant.source, arch, &flags, &object);
                    let noted = compiled.map_err(|error| error.to_string()).and_then(|()| {
                        note_text(&object, &text).map_err(|error| error.to_string())
                    });
                    if let Err(error) = noted {
                        errors.lock().expect("no thread panics").push(error);
                    }
                }
            });
        }
    });
    let errors = errors.into_inner().expect("no thread panics");
    if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
}

/// All that a code object is made of: the command, the source, and our headers that it includes, each once.
/// What lies outside belongs to the compiler.
fn compiled_text(command: &str, source: &Path, include: &Path) -> String {
    let mut text = command.to_owned();
    let mut files = vec![source.to_owned()];
    let mut next = 0;
    while let Some(file) = files.get(next) {
        // One that cannot be read is the compiler's to complain of.
        let file = fs::read_to_string(file).unwrap_or_default();
        for line in file.lines() {
            let name = line.strip_prefix("#include \"").and_then(|rest| rest.split('"').next());
            if let Some(header) = name.map(|name| include.join(name))
                && !files.contains(&header)
            {
                files.push(header);
            }
        }
        text += &file;
        next += 1;
    }
    text
}

/// Where the text is kept that an object was made from.
fn text_of(object: &Path) -> PathBuf {
    object.with_extension("text")
}

fn is_made_from(object: &Path, text: &str) -> bool {
    object.exists() && fs::read_to_string(text_of(object)).is_ok_and(|made_from| made_from == text)
}

fn note_text(object: &Path, text: &str) -> std::io::Result<()> {
    fs::write(text_of(object), text)
}

/// A Rust expression: `&[CodeObjectRow { … }, …]`.
fn table(jobs: &[Job]) -> String {
    let mut text = "&[\n".to_owned();
    for &job in jobs {
        let (Variant { op, name, .. }, arch) = job;
        let bytes =
            format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{}\"))", object_name(job));
        writeln!(
            text,
            "    CodeObjectRow {{ op: {op:?}, variant: {name:?}, arch: {arch:?}, bytes: {bytes} }},"
        )
        .expect("writing to a string cannot fail");
    }
    text + "]\n"
}
