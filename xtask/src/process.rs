//! Running other programs: shown before they run, failing with what failed.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// Lines of a program's output that an error repeats.
const TAIL_LINES: usize = 40;

/// Cargo itself, in `dir`.
pub fn cargo(dir: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(dir);
    command
}

/// Runs `command` with its output passed through.
pub fn run(command: &mut Command) -> Result<()> {
    show(command);
    let status = command.stdin(Stdio::null()).status();
    let status = status.map_err(|error| cannot_start(command, &error))?;
    if !status.success() {
        bail!("{} failed ({status})", name(command));
    }
    Ok(())
}

/// Runs `command` and returns what it wrote to standard output; standard error is passed through.
pub fn stdout_of(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let Output { status, stdout, .. } =
        command.output().map_err(|error| cannot_start(command, &error))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    String::from_utf8(stdout).with_context(|| format!("{} printed no UTF-8", name(command)))
}

/// Runs `command` with all of its output in the file `log`; an error repeats the end of it.
pub fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    show(command);
    let (success, text) = run_to_log(command, log)?;
    if !success {
        bail!(
            "{} failed; all of its output is in {}, the end of it:\n{}",
            name(command),
            log.display(),
            tail(&text)
        );
    }
    Ok(())
}

/// Runs `command` with all of its output in the file `log`; whether it succeeded, and the output.
pub fn run_to_log(command: &mut Command, log: &Path) -> Result<(bool, String)> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file);
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    let text = std::fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok((status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// Whether `command` runs and succeeds. Its output is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The last lines of `text`.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Prints the command as one would type it. Standard error, so that a task's own output stays clean.
fn show(command: &Command) {
    eprintln!("$ {}", line(command));
}

fn line(command: &Command) -> String {
    let mut words = vec![name(command)];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into()));
    words.join(" ")
}

/// The program's name without its folder.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let file_name = program.file_name().unwrap_or(program.as_os_str());
    file_name.to_string_lossy().into_owned()
}

fn cannot_start(command: &Command, error: &std::io::Error) -> anyhow::Error {
    let program = name(command);
    match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("`{program}` is not installed or not on PATH"),
        _ => anyhow::anyhow!("cannot run `{program}`: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program-kvasir")).unwrap_err();
        assert_eq!(error.to_string(), "`no-such-program-kvasir` is not installed or not on PATH");
    }

    #[test]
    fn a_failing_program_is_an_error_and_its_log_is_repeated() {
        assert!(run(&mut Command::new("false")).is_err());
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo why it failed; exit 3"]);
        let error = run_logged(&mut command, &dir.path().join("log")).unwrap_err();
        assert!(error.to_string().ends_with("\nwhy it failed"), "{error}");
    }

    #[test]
    fn the_tail_is_the_end() {
        let text: String = (0..100).map(|i| format!("{i}\n")).collect();
        assert!(tail(&text).starts_with("60\n") && tail(&text).ends_with("\n99"));
        assert_eq!(tail("one"), "one");
    }
}
