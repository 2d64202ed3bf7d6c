//! Running a page: a folder that looks like a clone of the repository, with programs that are built already.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::fences::{Fence, Mark};
use crate::golden_model::{repository_path, smollm2};
use crate::listening::listening_on;
use crate::server::{ACCESS_KEY, SECRET_KEY, Server as Bucket};

/// Where pages say that servers are.
const ADDRESS: &str = "http://localhost:8000";

/// The bucket of pages.
const BUCKET: &str = "kv-chunks";

/// `cargo` for pages: what it would build and run is built.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
    "run --release -- "*) shift 3; exec kvasir "$@" ;;
    "run -p gfx942-run -- "*) shift 4; exec gfx942-run "$@" ;; # which cargo build -p gfx942-run makes
    "xtask hip-toolchain") echo "$BOOK_HIPCC" ;;
    "build -p hip-emulator") ;;
    *) echo "tests/book cannot stand in for: cargo $*" >&2; exit 2 ;;
esac
"#;

/// A folder for one page.
struct Place {
    folder: TempDir,
    hipcc: PathBuf,
    bucket: Option<(TempDir, Bucket)>,
}

/// A server of a page, killed when it is dropped.
struct Serving {
    process: Child,
    url: String,
}

/// Runs the blocks one after another; says which one failed, and what it said.
pub fn run(page: &str, fences: &[Fence]) -> Result<(), String> {
    let needs = |what: &str| fences.iter().any(|fence| fence.commands.contains(what));
    let hipcc = match needs("hip").then(hip_toolchain::for_tests) {
        Some(Some(toolchain)) => toolchain.hipcc().to_owned(),
        Some(None) => return Ok(()),
        None => PathBuf::new(),
    };
    let place = Place::new(hipcc, needs(BUCKET));
    let mut serving: Option<Serving> = None;
    for fence in fences {
        let failed = |said: String| {
            format!("docs/{page}.md, line {}:\n{}\n{said}", fence.line, fence.commands)
        };
        match fence.mark {
            Mark::Mi300x => {}
            Mark::Server => serving = Some(place.serve(&fence.commands).map_err(failed)?),
            Mark::Run => {
                let url = serving.as_ref().map_or(ADDRESS, |serving| &serving.url);
                place.run(&fence.commands.replace(ADDRESS, url)).map_err(failed)?;
            }
        }
    }
    Ok(())
}

impl Place {
    fn new(hipcc: PathBuf, has_bucket: bool) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["bin", "cache/kvasir/models", "target/debug"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        let built = Path::new(env!("CARGO_BIN_EXE_kvasir")).parent().unwrap();
        let runner = built.join("gfx942-run");
        if runner.exists() {
            symlink(&runner, at("bin/gfx942-run")).unwrap();
        }
        let model = smollm2();
        let in_cache = at("cache/kvasir/models").join(model.file_name().unwrap());
        for (from, to) in [
            (Path::new(env!("CARGO_BIN_EXE_kvasir")), at("bin/kvasir")),
            (&built.join("deps/libhip_emulator.so"), at("target/debug/libhip_emulator.so")),
            (&model, in_cache),
            (&repository_path("crates"), at("crates")),
            (&repository_path("tests"), at("tests")),
        ] {
            symlink(from, to).unwrap();
        }
        fs::write(at("bin/cargo"), CARGO).unwrap();
        fs::set_permissions(at("bin/cargo"), fs::Permissions::from_mode(0o755)).unwrap();
        let bucket = has_bucket.then(|| {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join(BUCKET)).unwrap();
            let server = Bucket::start(root.path());
            (root, server)
        });
        Place { folder, hipcc, bucket }
    }

    /// A shell that ends with the first command that fails.
    fn shell(&self, commands: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", commands]).current_dir(self.folder.path());
        shell.env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()));
        shell.env("XDG_CACHE_HOME", self.folder.path().join("cache"));
        shell.env("BOOK_HIPCC", &self.hipcc);
        if let Some((_, bucket)) = &self.bucket {
            shell.env("AWS_ENDPOINT_URL", &bucket.endpoint).env("AWS_REGION", "us-east-1");
            shell.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        }
        shell.stdin(Stdio::null());
        shell
    }

    fn run(&self, commands: &str) -> Result<(), String> {
        let output = self.shell(commands).output().unwrap();
        if output.status.success() {
            return Ok(());
        }
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
        Err(format!("{}\n{stdout}\n{stderr}", output.status))
    }

    /// Starts a server, a single command, on a free port.
    fn serve(&self, command: &str) -> Result<Serving, String> {
        let mut shell = self.shell(&format!("exec {command}"));
        let process = shell.env("KVASIR_PORT", "0").stderr(Stdio::piped()).spawn().unwrap();
        let mut serving = Serving { process, url: String::new() };
        let mut lines = BufReader::new(serving.process.stderr.take().unwrap());
        let mut said = String::new();
        loop {
            let before = said.len();
            if lines.read_line(&mut said).unwrap() == 0 {
                return Err(said);
            }
            if let Some(url) = listening_on(said[before..].trim_end()) {
                // Whatever else it says must not fill the pipe.
                std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
                serving.url = url;
                return Ok(serving);
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
