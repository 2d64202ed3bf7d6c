//! The workspace as the rules see it: its packages from `cargo metadata`, its files as texts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the manifests say of one package.
#[derive(Clone, Debug)]
pub struct Package {
    pub name: String,
    /// The folder of its manifest, relative to the root; empty for the root package.
    pub folder: PathBuf,
    /// All but dev-dependencies.
    pub dependencies: Vec<Dependency>,
    /// Root files of its library and binaries, relative to the repository's root.
    pub entry_points: Vec<PathBuf>,
}

/// One line of `[dependencies]` or `[build-dependencies]`.
#[derive(Clone, Debug)]
pub struct Dependency {
    pub name: String,
    /// Of this workspace, rather than from a registry.
    pub ours: bool,
    pub default_features: bool,
}

/// All packages of the workspace. Reads manifests only: no network, no lock file.
pub fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed: {stderr}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    list(&metadata["packages"]).iter().map(package).collect()
}

fn package(package: &Value) -> Package {
    let manifest = Path::new(text(&package["manifest_path"]));
    let folder = manifest.parent().expect("a manifest lies in a folder");
    let dependencies = list(&package["dependencies"]);
    let targets = list(&package["targets"]);
    Package {
        name: text(&package["name"]).to_owned(),
        folder: relative(folder),
        dependencies: dependencies
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| Dependency {
                name: text(&dependency["name"]).to_owned(),
                ours: dependency["path"].is_string(),
                default_features: dependency["uses_default_features"] == true,
            })
            .collect(),
        entry_points: targets
            .iter()
            .filter(|target| matches!(target["kind"][0].as_str(), Some("lib" | "bin" | "cdylib")))
            .map(|target| relative(Path::new(text(&target["src_path"]))))
            .collect(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo metadata has a list here")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo metadata has a text here")
}

fn relative(path: &Path) -> PathBuf {
    let relative = path.strip_prefix(root());
    relative.expect("a path of this workspace").to_path_buf()
}

/// A text file and what is in it.
#[derive(Clone, Debug)]
pub struct TextFile {
    /// Relative to the root.
    pub path: PathBuf,
    pub text: String,
}

impl TextFile {
    pub fn extension(&self) -> &str {
        self.path.extension().and_then(|e| e.to_str()).unwrap_or("")
    }
}

/// What is written by people: sources, scripts, manifests, documents. Not data, not build output.
pub fn text_files() -> Vec<TextFile> {
    let mut files = Vec::new();
    collect(root(), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Folders of build output, of downloads and of data that programs wrote.
const SKIPPED_FOLDERS: &[&str] = &[
    ".git",
    ".venv",
    "target",
    "node_modules",
    "golden",
    "fixtures",
    "seeds",
    "corpus",
    "artifacts",
    "coverage",
    "record",
    "proptest-regressions",
    "__pycache__",
];

const EXTENSIONS: &[&str] =
    &["rs", "py", "sh", "toml", "md", "hip", "h", "hpp", "c", "cpp", "yml", "yaml", "txt", "jinja"];

fn collect(folder: &Path, files: &mut Vec<TextFile>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !SKIPPED_FOLDERS.contains(&name.as_ref()) {
                collect(&path, files);
            }
            continue;
        }
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if EXTENSIONS.contains(&extension) || path.ends_with(".ci/run") {
            files.push(read(&relative(&path)));
        }
    }
}

/// The file at `path`, relative to the root.
pub fn read(path: &Path) -> TextFile {
    let text = fs::read_to_string(root().join(path));
    TextFile {
        path: path.to_path_buf(),
        text: text.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display())),
    }
}

#[test]
fn the_workspace_is_seen() {
    let packages = packages();
    let core = packages.iter().find(|package| package.name == "engine-core");
    let core = core.expect("engine-core is a package");
    assert_eq!(core.folder, Path::new("crates/engine-core"));
    assert_eq!(core.entry_points, [Path::new("crates/engine-core/src/lib.rs")]);
    assert!(core.dependencies.iter().any(|dependency| dependency.name == "half"));
    let files = text_files();
    for path in ["Cargo.toml", ".ci/run", "README.md", "tests/architecture/main.rs"] {
        assert!(files.iter().any(|file| file.path == Path::new(path)), "{path}");
    }
}
