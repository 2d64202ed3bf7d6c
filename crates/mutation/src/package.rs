//! A crate with all its faults in it, each behind a switch, built once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::edit::Edit;

/// The switch, at the end of the copy's `lib.rs`.
const SWITCH: &str = "
pub mod faults {
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// The fault that is switched on.
    pub static ON: AtomicUsize = AtomicUsize::new(0);

    pub fn is_on(id: usize) -> bool {
        ON.load(Relaxed) == id
    }
}
";

/// Faults are to be seen by the runner, not by assertions. Dependencies are built as in the workspace, so that they need
/// not be built again.
const PROFILES: &str = r#"
[profile.dev]
opt-level = 2
debug = false
debug-assertions = false
overflow-checks = false

[profile.dev.package."*"]
opt-level = 1
debug = false
debug-assertions = true
overflow-checks = true

[profile.dev.package.libm]
opt-level = 3
"#;

/// A copy of a crate of this workspace, and a program that runs it with one fault switched on, or with none.
///
/// The copy has a module `faults`, where `ON` is the number of the fault, from 1 on in the order of the table; 0 is none.
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    /// The crate's name.
    pub name: &'a str,
    /// The crate's folder: `CARGO_MANIFEST_DIR` of the test.
    pub folder: &'a str,
    /// Where test programs may write: `CARGO_TARGET_TMPDIR` of the test.
    pub tmp: &'a str,
    /// The program's name.
    pub program: &'a str,
    /// The program's source, in the crate's folder.
    pub runner: &'a str,
    /// A module of the program: its path as the source has it, and in the crate's folder.
    pub module: [&'a str; 2],
    /// Features that the sources ask about, and that stay off.
    pub features: &'a [&'a str],
}

impl Package<'_> {
    /// Writes the package below the workspace's target directory, and builds it with the workspace's locked dependencies,
    /// which building the test has already fetched. Gives the program.
    ///
    /// # Panics
    ///
    /// If a fault's text is not in the sources once, or they do not build.
    #[must_use]
    pub fn build(&self, faults: &[&[Edit<'_>]]) -> PathBuf {
        let (folder, tmp) = (Path::new(self.folder), Path::new(self.tmp));
        let package = tmp.join(self.program);
        fs::create_dir_all(&package).unwrap();
        let mut num_edits = 0;
        copy_sources(
            &folder.join("src"),
            &package.join("src"),
            Path::new(""),
            &mut |file, text| {
                num_edits += put_faults(file, text, faults);
            },
        );
        let num_wanted: usize = faults.iter().map(|edits| edits.len()).sum();
        assert_eq!(num_edits, num_wanted, "a fault names a file that is not among the sources");
        write_if_new(&package.join("Cargo.toml"), &self.manifest());
        if !package.join("Cargo.lock").exists() {
            fs::copy(folder.join("../../Cargo.lock"), package.join("Cargo.lock")).unwrap();
        }
        let runner = fs::read_to_string(folder.join(self.runner)).unwrap();
        let [said, module] = self.module;
        let runner = runner.replace(&format!("{said:?}"), &format!("{:?}", folder.join(module)));
        write_if_new(&package.join("runner.rs"), &runner);

        let target_dir = tmp.parent().unwrap();
        let output = Command::new(env::var_os("CARGO").expect("Cargo runs tests"))
            .args(["build", "--offline", "--bin", self.program, "--manifest-path"])
            .arg(package.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target_dir)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo build failed with {}:\n{stderr}", output.status);
        target_dir.join("debug").join(format!("{}{}", self.program, env::consts::EXE_SUFFIX))
    }

    fn manifest(&self) -> String {
        let Package { name, program, .. } = *self;
        let features: String =
            self.features.iter().map(|feature| format!("{feature} = []\n")).collect();
        format!(
            "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[features]\n{features}\n[[bin]]\nname = {program:?}\npath = \"runner.rs\"\n{PROFILES}\n[dependencies]\n{}",
            self.dependencies()
        )
    }

    /// The workspace's lines for what is always among the dependencies of the crate.
    fn dependencies(&self) -> String {
        let folder = Path::new(self.folder);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let workspace = fs::read_to_string(folder.join("../../Cargo.toml")).unwrap();
        let crates = format!("path = \"{}/", folder.parent().unwrap().display());
        let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
        let lines = lines.take_while(|line| !line.is_empty() && !line.starts_with('['));
        let lines =
            lines.filter(|line| !line.starts_with('#') && !line.contains("optional = true"));
        let names = lines.map(|line| {
            line.strip_suffix(".workspace = true").expect("dependencies are the workspace's")
        });
        let line = |name: &str| {
            let start = format!("{name} = ");
            let line = workspace.lines().find(|line| line.starts_with(&start));
            let line = line.expect("the workspace names it");
            format!("{}\n", line.replace("path = \"crates/", &crates))
        };
        names.map(line).collect()
    }
}

/// Leaves a file alone whose contents are right, so that Cargo does not build it again.
fn write_if_new(path: &Path, contents: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(contents) {
        fs::write(path, contents).unwrap();
    }
}

fn copy_sources(from: &Path, to: &Path, folder: &Path, change: &mut impl FnMut(&str, &mut String)) {
    fs::create_dir_all(to.join(folder)).unwrap();
    for entry in fs::read_dir(from.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_sources(from, to, &path, change);
            continue;
        }
        let mut text = fs::read_to_string(entry.path()).unwrap();
        let name = path.to_str().unwrap().replace('\\', "/");
        change(&name, &mut text);
        if name == "lib.rs" {
            text.push_str(SWITCH);
        }
        write_if_new(&to.join(&path), &text);
    }
}

/// Replaces each text that a fault is in by a choice between the right one and the faulty ones. Gives how many edits the
/// file has.
fn put_faults(file: &str, text: &mut String, faults: &[&[Edit<'_>]]) -> usize {
    let mut num_edits = 0;
    // Choices by where they begin, so that what is replaced moves nothing that is still to be.
    let mut choices: BTreeMap<usize, (&str, String)> = BTreeMap::new();
    for (idx, edits) in faults.iter().enumerate() {
        for edit in edits.iter().filter(|edit| edit.file == file) {
            num_edits += 1;
            let place = edit.place(text).unwrap_or_else(|error| panic!("{error}"));
            let (find, choice) = choices.entry(place).or_insert((edit.find, String::new()));
            assert_eq!(*find, edit.find, "{file}: two faults overlap");
            let wrong = edit.replace;
            let id = 1 + idx;
            choice.push_str(&format!("if crate::faults::is_on({id}) {{ {wrong} }} else "));
        }
    }
    for (place, (right, choice)) in choices.into_iter().rev() {
        let end = place + right.len();
        assert!(text.is_char_boundary(end), "{file}: faults overlap at `{right}`");
        let choice = format!("{choice}{{ {right} }}");
        let is_statement = right.ends_with([';', '}']);
        let choice = if is_statement { choice } else { format!("({choice})") };
        text.replace_range(place..end, &choice);
    }
    num_edits
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn edit(find: &'static str, replace: &'static str) -> Edit<'static> {
        Edit { file: "a.rs", find, replace }
    }

    #[test]
    fn faults_of_one_place_are_choices() {
        let faults: [&[Edit<'_>]; 3] = [&[edit("1", "2")], &[edit("b();", "")], &[edit("1", "3")]];
        let mut text = "let a = 1; b();".to_owned();
        assert_eq!(put_faults("a.rs", &mut text, &faults), 3);
        let number =
            "(if crate::faults::is_on(1) { 2 } else if crate::faults::is_on(3) { 3 } else { 1 })";
        let call = "if crate::faults::is_on(2) {  } else { b(); }";
        assert_eq!(text, format!("let a = {number}; {call}"));
        assert_eq!(put_faults("b.rs", &mut text, &faults), 0);
    }

    #[test]
    #[should_panic(expected = "0 times")]
    fn a_fault_whose_text_is_gone_fails() {
        put_faults("a.rs", &mut "c".to_owned(), &[&[edit("1", "2")]]);
    }
}
