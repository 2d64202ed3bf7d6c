//! The documents name only what exists, and stay short enough to be read.

use std::path::Path;

use crate::assert_none;
use crate::workspace::{TextFile, read, root, text_files};

/// Longest README, lines.
const MAX_README_LINES: usize = 120;

/// Documents whose every page is about the code.
const DOCUMENTS: [&str; 4] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/invariants.md"];

/// Files that users write.
const OF_USERS: [&str; 1] = ["kvasir.toml"];

/// The words in backticks and the targets of links that are meant as paths of this repository. Links of a document are
/// relative to its folder.
fn named_paths(document: &str, text: &str) -> Vec<String> {
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    let mut paths = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            let spans = line.split('`').skip(1).step_by(2);
            paths.extend(spans.filter(|span| is_path(span)).map(str::to_owned));
            let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let files = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
            paths.extend(files.map(|link| folder.join(link).display().to_string()));
        }
    }
    paths
}

/// A word with a folder or a known extension in it, and without a placeholder (`crates/NAME`).
fn is_path(span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let placeholder = span.split(['/', '.']).any(|part| {
        part.len() > 1 && part.chars().all(|c| c.is_ascii_uppercase()) && !is_known_name(span)
    });
    let with_extension = [".rs", ".md", ".toml", ".py"].iter().any(|e| span.ends_with(e));
    let with_folder = span.contains('/') && !span.starts_with('/');
    let is_ours = !placeholder && !OF_USERS.contains(&span);
    span.chars().all(plain) && is_ours && (with_extension || with_folder)
}

/// Names in capitals that are files all the same.
fn is_known_name(span: &str) -> bool {
    let name = span.rsplit('/').next().unwrap_or(span);
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].contains(&name)
}

fn missing_paths(document: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let paths = named_paths(document, text);
    let missing = paths.iter().filter(|path| !exists(path));
    missing.map(|path| format!("{document} names {path}, which does not exist")).collect()
}

fn exists(path: &str) -> bool {
    root().join(path).exists()
}

#[test]
fn every_path_that_the_documents_name_exists() {
    for document in DOCUMENTS {
        let text = read(Path::new(document)).text;
        assert!(!named_paths(document, &text).is_empty(), "{document} names no path");
    }
    let is_document = |file: &TextFile| {
        file.path.starts_with("docs") || DOCUMENTS.iter().any(|path| file.path == Path::new(path))
    };
    for file in text_files().into_iter().filter(is_document) {
        let document = file.path.display().to_string();
        assert_none(&missing_paths(&document, &file.text, exists));
    }
}

#[test]
fn the_readme_is_short() {
    let num_lines = read(Path::new("README.md")).text.lines().count();
    assert!(num_lines <= MAX_README_LINES, "README.md has {num_lines} lines");
}

#[test]
fn ci_runs_what_the_readme_says() {
    const COMMAND: &str = "cargo xtask test";
    assert!(read(Path::new("README.md")).text.contains(COMMAND));
    let script = read(Path::new(".ci/run")).text;
    let last = script.lines().last().unwrap_or_default();
    assert_eq!(last, format!("exec {COMMAND} --require-hip"));
}

#[test]
fn a_missing_path_is_seen() {
    let text = "see `crates/gone/src/lib.rs`, `src/lib.rs` and [there](docs/gone.md)";
    let violations = missing_paths("README.md", text, exists);
    assert_eq!(violations.len(), 2, "{violations:?}");
    let text = "see [the API](api.md) and [the README](../README.md), not [this](README.md)";
    let violations = missing_paths("docs/quick-start.md", text, exists);
    assert_eq!(violations.len(), 1, "{violations:?}");
}

#[test]
fn only_paths_are_taken_for_paths() {
    let check = |span: &str, expected: bool| assert_eq!(is_path(span), expected, "{span}");
    check("crates/engine", true);
    check("Cargo.toml", true);
    check("ARCHITECTURE.md", true);
    check(".ci/run", true);
    check("crates/NAME", false);
    check("tests/oracles/NAME.py", false);
    check("kvasir generate", false);
    check("cargo nextest run -p CRATE", false);
    check("Ops", false);
    check("engine_core::ops", false);
}
