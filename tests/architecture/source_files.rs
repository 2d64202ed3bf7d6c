//! What no file may contain, and how long it may be.

use crate::assert_none;
use crate::workspace::{TextFile, text_files};

/// Longest source file or document, lines. Most have 50 to 400.
const MAX_LINES: usize = 800;

/// Unfinished work, with what to do instead. Pieced together, so that this file has none itself.
const LEFTOVERS: &[(&str, &str)] = &[
    (concat!("to", "do!("), "finish it, or return a typed error"),
    (concat!("unimple", "mented!("), "finish it, or return a typed error"),
    (concat!("db", "g!("), "remove it"),
    (concat!("FIX", "ME"), "fix it, or open an issue"),
    (concat!("TO", "DO"), "do it, or open an issue"),
    (concat!("XX", "X:"), "say what it is"),
    (concat!("#[ig", "nore"), "make the test fast enough, or assert what holds"),
];

/// Folders that only one machine has.
const MACHINE_FOLDERS: &[&str] = &["home", "root", "Users", "work", "tmp", "mnt", "opt"];

fn leftovers(file: &TextFile) -> Vec<String> {
    // Documents may speak of leftovers.
    if file.extension() == "md" {
        return Vec::new();
    }
    let found = LEFTOVERS.iter().filter(|(leftover, _)| file.text.contains(leftover));
    found
        .map(|(leftover, instead)| format!("{}: {leftover}: {instead}", file.path.display()))
        .collect()
}

fn too_long(file: &TextFile) -> Option<String> {
    let num_lines = file.text.lines().count();
    let path = file.path.display();
    (num_lines > MAX_LINES)
        .then(|| format!("{path}: {num_lines} lines; split it by what its parts are for"))
}

/// Absolute paths, which another machine does not have.
fn machine_paths(file: &TextFile) -> Vec<String> {
    let mut violations = Vec::new();
    for (i, line) in file.text.lines().enumerate() {
        let found = line.match_indices('/').any(|(at, _)| {
            // A path begins here: what stands before is no part of one.
            let begins =
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || ".-_~*}>)/$".contains(c));
            let rest = &line[at + 1..];
            let folder = rest.split('/').next().unwrap_or_default();
            begins && rest.len() > folder.len() && MACHINE_FOLDERS.contains(&folder)
        });
        if found {
            let path = file.path.display();
            violations.push(format!("{path}:{}: an absolute machine path", i + 1));
        }
    }
    violations
}

fn check(rule: impl Fn(&TextFile) -> Vec<String>) {
    let violations: Vec<String> = text_files().iter().flat_map(rule).collect();
    assert_none(&violations);
}

#[test]
fn nothing_is_left_unfinished() {
    check(leftovers);
}

#[test]
fn files_stay_small() {
    check(|file| too_long(file).into_iter().collect());
}

#[test]
fn no_path_is_of_one_machine() {
    check(machine_paths);
}

fn rust(text: &str) -> TextFile {
    TextFile { path: "src/lib.rs".into(), text: text.to_owned() }
}

#[test]
fn every_leftover_is_seen() {
    for (leftover, _) in LEFTOVERS {
        assert_eq!(leftovers(&rust(&format!("    {leftover})]\n"))).len(), 1, "{leftover}");
    }
    assert_none(&leftovers(&rust("let todos = 1;")));
}

#[test]
fn a_long_file_is_seen() {
    assert!(too_long(&rust(&"x\n".repeat(MAX_LINES))).is_none());
    assert!(too_long(&rust(&"x\n".repeat(MAX_LINES + 1))).is_some());
}

#[test]
fn a_machine_path_is_seen() {
    for folder in MACHINE_FOLDERS {
        let line = format!("let path = \"/{folder}/model.gguf\";");
        assert_eq!(machine_paths(&rust(&line)).len(), 1, "{line}");
    }
    let harmless =
        "a/work/b https://x.org/home/y ./tmp/x $HOME/root/x target/tmp/x //root/ 1 /work";
    assert_none(&machine_paths(&rust(harmless)));
}
