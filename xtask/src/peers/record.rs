//! A result that is kept: the table under the machine and the commit that it is true of.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::process;

/// Writes `table` to `benches/record/CPU/DATE-COMMIT.txt`.
pub fn write(context: &Context, table: &str) -> Result<PathBuf> {
    let mut date = Command::new("date");
    let date = process::stdout_of(date.args(["-u", "+%F"]))?;
    let mut commit = Command::new("git");
    commit.args(["describe", "--always", "--dirty"]);
    let commit = process::stdout_of(commit.current_dir(&context.root))?;
    let kernel = process::stdout_of(Command::new("uname").args(["-srm"]))?;
    let cpu_info = fs::read_to_string("/proc/cpuinfo").context("cannot tell this machine's CPU")?;
    let cpu = cpu_name(&cpu_info).context("/proc/cpuinfo names no CPU")?;
    let num_cpus = std::thread::available_parallelism()?;
    let (date, commit) = (date.trim(), commit.trim());
    let folder = context.root.join("benches/record").join(file_name(&cpu));
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{date}-{commit}.txt"));
    let header = format!(
        "date    {date}\ncommit  {commit}\ncpu     {cpu}, {num_cpus} threads, {}\nsystem  {}\n",
        isa(&cpu_info).join(" "),
        kernel.trim()
    );
    fs::write(&path, format!("{header}\n{table}"))?;
    Ok(path)
}

fn cpu_name(cpu_info: &str) -> Option<String> {
    field(cpu_info, "model name").map(|name| name.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The instruction sets that kernels are chosen by.
fn isa(cpu_info: &str) -> Vec<&str> {
    let relevant = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"];
    let flags = field(cpu_info, "flags").unwrap_or_default();
    let flags = flags.split_whitespace();
    flags.filter(|flag| relevant.contains(flag)).collect()
}

fn field<'a>(cpu_info: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = cpu_info.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(key, _)| key.trim() == name)?;
    Some(value.trim())
}

/// A name with nothing in it that a shell or a file system minds.
fn file_name(name: &str) -> String {
    let plain = name.to_lowercase().replace("(r)", "").replace("(tm)", "");
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU_INFO: &str =
        "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)  Processor\nflags\t\t: fpu avx2 amx_bf16\n";

    #[test]
    fn the_machine_is_named() {
        let name = cpu_name(CPU_INFO).unwrap();
        assert_eq!(name, "Intel(R) Xeon(R) Processor");
        assert_eq!(file_name(&name), "intel-xeon-processor");
        assert_eq!(isa(CPU_INFO), ["avx2", "amx_bf16"]);
        assert_eq!(cpu_name("processor: 0\n"), None);
    }
}
