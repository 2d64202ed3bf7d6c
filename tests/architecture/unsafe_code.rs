//! `unsafe` lives in the crates that need it, and the compiler forbids it in the others.

use std::path::Path;

use crate::assert_none;
use crate::code::{has_word, without_comments_and_strings};
use crate::workspace::{Package, TextFile, packages, read, text_files};

/// Crates that may have `unsafe`: SIMD intrinsics and shared output buffers; memory maps; the memory of a
/// device that is emulated; the C interface of HIP.
const UNSAFE_CRATES: &[&str] =
    &["kernels-cpu", "host-io", "gfx942-emulator", "hip-sys", "kernels-hip", "hip-emulator"];

/// Tests that cannot be written without it: a program without std brings its own allocator.
const UNSAFE_TESTS: &[&str] = &["crates/engine-core/tests/no-std-link/program.rs"];

const FORBID: &str = "#![forbid(unsafe_code)]";

fn unsafe_outside(files: &[TextFile]) -> Vec<String> {
    let may = |path: &Path| {
        let in_crate = |name: &&str| path.starts_with(Path::new("crates").join(name));
        UNSAFE_CRATES.iter().any(in_crate)
            || UNSAFE_TESTS.iter().any(|allowed| path == Path::new(allowed))
    };
    let rust = files.iter().filter(|file| file.extension() == "rs");
    let found = rust.filter(|file| {
        !may(&file.path) && has_word(&without_comments_and_strings(&file.text), "unsafe")
    });
    found
        .map(|file| {
            let path = file.path.display();
            format!("{path}: unsafe code outside {}", UNSAFE_CRATES.join(", "))
        })
        .collect()
}

/// The library and every binary of each other crate must forbid it themselves.
fn without_forbid(packages: &[Package], read: impl Fn(&Path) -> String) -> Vec<String> {
    let safe = packages.iter().filter(|p| !UNSAFE_CRATES.contains(&p.name.as_str()));
    safe.flat_map(|package| &package.entry_points)
        .filter(|path| !read(path).lines().any(|line| line.trim() == FORBID))
        .map(|path| format!("{}: the line {FORBID} is missing", path.display()))
        .collect()
}

#[test]
fn unsafe_code_stays_in_its_crates() {
    assert_none(&unsafe_outside(&text_files()));
}

#[test]
fn the_other_crates_forbid_unsafe_code() {
    assert_none(&without_forbid(&packages(), |path| read(path).text));
}

#[test]
fn every_exception_is_needed() {
    for path in UNSAFE_TESTS {
        let code = without_comments_and_strings(&read(Path::new(path)).text);
        assert!(has_word(&code, "unsafe"), "{path} has no unsafe code: take it off the list");
    }
}

#[test]
fn misplaced_unsafe_code_is_seen() {
    let at = |path: &str| TextFile {
        path: path.into(),
        text: "// SAFETY: none\nfn f() { unsafe { g() } }".to_owned(),
    };
    assert_eq!(unsafe_outside(&[at("crates/engine/src/lib.rs")]).len(), 1);
    assert_eq!(unsafe_outside(&[at("tests/golden.rs")]).len(), 1);
    assert_eq!(unsafe_outside(&[at("crates/kernels-cpu-2/src/lib.rs")]).len(), 1);
    assert_none(&unsafe_outside(&[at("crates/kernels-cpu/src/lib.rs")]));
}

#[test]
fn a_missing_forbid_is_seen() {
    let packages = packages();
    let all = without_forbid(&packages, |_| String::new());
    assert!(all.len() >= packages.len() - UNSAFE_CRATES.len(), "{all:?}");
    let commented = without_forbid(&packages, |_| format!("// {FORBID}"));
    assert_eq!(commented, all);
}
