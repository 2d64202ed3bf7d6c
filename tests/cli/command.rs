//! Runs the command, on models that are in the repository.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

pub use crate::byte_model::{ByteModel, family};

/// What a run of the command gave.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Asserts success and gives standard output.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// Asserts that the user can mend it, that stderr has all of `words`, and that nothing was
    /// written to standard output.
    pub fn usage_error(self, words: &[&str]) {
        assert_eq!(self.code, Some(2), "{}", self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {}", self.stderr);
        }
        assert_eq!(self.stdout, "");
    }
}

/// Runs the command with `input` on standard input.
pub fn kvasir_with_input(args: &[&str], input: &str) -> Run {
    kvasir_with(args, &[], input)
}

/// The same with variables of the environment.
pub fn kvasir_with(args: &[&str], variables: &[(&str, &str)], input: &str) -> Run {
    kvasir_in(Path::new("."), args, variables, input)
}

/// The same in a folder.
pub fn kvasir_in(folder: &Path, args: &[&str], variables: &[(&str, &str)], input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kvasir"))
        .args(args)
        .current_dir(folder)
        .envs(variables.iter().copied())
        // A test that forgets to name a model must fail, not fetch one.
        .env("XDG_CACHE_HOME", "/nowhere")
        .env("PATH", "/nowhere")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // A command that refuses its arguments does not read; that is no failure of the test.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("the command ends");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

pub fn kvasir(args: &[&str]) -> Run {
    kvasir_with_input(args, "")
}
