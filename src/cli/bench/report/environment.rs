//! What a bench ran on, and how it was called.

use std::fs;

use chrono::Local;

use crate::cli::config::SECRETS;

/// The command line, for a shell, without secrets.
pub(super) fn command(args: impl Iterator<Item = String>) -> String {
    let mut words = Vec::new();
    let mut is_secret = false;
    for (index, arg) in args.enumerate() {
        let option = arg.split_once('=').map_or(arg.as_str(), |(option, _)| option);
        let names_secret = option.strip_prefix("--").is_some_and(|name| SECRETS.contains(&name));
        words.push(match (index, is_secret) {
            // Where the program lies is this machine's business.
            (0, _) => "kvasir".to_owned(),
            (_, true) => "***".to_owned(),
            _ if names_secret && option != arg => format!("{option}=***"),
            _ => quoted(arg.clone()),
        });
        is_secret = !is_secret && names_secret && option == arg;
    }
    words.join(" ")
}

fn quoted(arg: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    match !arg.is_empty() && arg.chars().all(plain) {
        true => arg,
        false => format!("'{}'", arg.replace('\'', r"'\''")),
    }
}

/// Names and values; what the system does not tell is left out.
pub(super) fn of_this_machine() -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let field = |path: &str, name: &str| {
        let text = read(path)?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let kernel = read("/proc/sys/kernel/osrelease").map(|text| format!("Linux {}", text.trim()));
    let num_threads = std::thread::available_parallelism().ok().map(|num| num.to_string());
    let facts = [
        ("Kvasir", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("Date", Some(Local::now().format("%Y-%m-%d %H:%M:%S %:z").to_string())),
        ("Processor", field("/proc/cpuinfo", "model name")),
        ("Hardware threads", num_threads),
        ("Memory", field("/proc/meminfo", "MemTotal")),
        ("System", kernel),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_repeated_and_tells_no_secret() {
        let args = [
            "/a/b/kvasir",
            "bench",
            "serve",
            "--api-key",
            "k1",
            "--header=X=k2",
            "--label",
            "it's",
        ];
        let line = command(args.map(str::to_owned).into_iter());
        assert_eq!(line, r"kvasir bench serve --api-key *** --header=*** --label 'it'\''s'");
        let line = command(["kvasir", "--api-key=k3", "bench"].map(str::to_owned).into_iter());
        assert_eq!(line, "kvasir --api-key=*** bench");
    }
}
