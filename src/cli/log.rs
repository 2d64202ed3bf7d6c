//! What commands tell of their work while they do it: libraries' events, on stderr.
//!
//! Answers go to standard output, and are never mixed with these lines.

use std::io::{self, IsTerminal, Write};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;

use super::bars;
use super::error::CliError;

/// The commands that have a log, with all commands below them.
const LOGGED: [&str; 6] = ["generate", "serve", "bench", "calibrate", "replay", "store"];

/// What a server tells unless it is told otherwise.
const OF_A_SERVER: &str = "info";

/// The same of commands that a person waits for: what was chosen for them, and what is wrong.
const OF_A_COMMAND: &str = "warn,kvasir=info";

/// What vLLM's `--enable-log-requests` stands for.
const REQUESTS: &str = "server::requests=debug";
const OF_REQUESTS: &str = "enable_log_requests";

/// The variable of `--log-level`.
pub(super) const VARIABLE: &str = "KVASIR_LOG";

/// How a command logs.
#[derive(Args, Debug)]
#[command(next_help_heading = "Log")]
struct LogArgs {
    /// How the log on stderr is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// What is logged: off, error, warn, info, debug or trace, also for a part: info,kv_store=debug. By request:
    /// [request{id=cmpl-7}]=debug. Its variable is KVASIR_LOG
    #[arg(long, value_name = "DIRECTIVES", value_parser = directives, default_value = OF_A_COMMAND)]
    log_level: String,
}

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// An object a line, for programs
    Json,
}

/// `command` with the options of the log where there is one.
pub(super) fn with_log_args(mut command: Command) -> Command {
    for name in LOGGED {
        let augment = if name == "serve" { of_a_server } else { super::with_args::<LogArgs> };
        command = command.mut_subcommand(name, |command| super::for_leaves(command, &augment));
    }
    command
}

fn of_a_server(command: Command) -> Command {
    let help = format!(
        "Log every request at its end: tokens, times, and why it ended. As {REQUESTS} in --log-level"
    );
    let requests = Arg::new(OF_REQUESTS).long("enable-log-requests").action(ArgAction::SetTrue);
    super::with_args::<LogArgs>(command)
        .mut_arg("log_level", |arg| arg.default_value(OF_A_SERVER))
        .arg(requests.help(help).help_heading("Log"))
}

/// Begins the log that the options of a command ask for.
pub(super) fn start(matches: &ArgMatches) -> Result<(), CliError> {
    if !matches!(matches.try_contains_id("log_level"), Ok(true)) {
        return Ok(());
    }
    let args = LogArgs::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
    let filter = filter(&args.log_level, matches)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Stderr);
    // Whoever started the command may not read what it says: that is no failure.
    let log = log.log_internal_errors(false);
    let started = match args.log_format {
        LogFormat::Text => log.with_ansi(has_colours()).try_init(),
        LogFormat::Json => {
            log.json().flatten_event(true).with_span_list(false).with_ansi(false).try_init()
        }
    };
    started.map_err(|error| CliError::internal(format!("cannot begin the log: {error}")))
}

/// What the command's options say. Commands that have no kvasir.toml have the variable all the same.
fn filter(directives: &str, matches: &ArgMatches) -> Result<EnvFilter, CliError> {
    let variable = std::env::var(VARIABLE).ok().filter(|value| !value.trim().is_empty());
    let is_given = matches.value_source("log_level") == Some(ValueSource::CommandLine);
    let text = variable.filter(|_| !is_given).unwrap_or_else(|| directives.to_owned());
    let of_requests = matches!(matches.try_get_one(OF_REQUESTS), Ok(Some(true)));
    let text = if of_requests { format!("{text},{REQUESTS}") } else { text };
    parse(&text).map_err(|error| CliError::usage(format!("{VARIABLE}: {error}")))
}

/// The directives of a filter, if they are some.
fn directives(text: &str) -> Result<String, String> {
    parse(text).map(|_| text.to_owned())
}

fn parse(text: &str) -> Result<EnvFilter, String> {
    // A single word would be a part of the program, and one that does not exist would silence all others.
    let is_word = |directive: &&str| !directive.contains(['=', '[']);
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty()).filter(is_word);
    for word in words {
        if word.parse::<LevelFilter>().is_err() {
            return Err(format!(
                "`{word}` is no level; take off, error, warn, info, debug or trace, or PART=LEVEL"
            ));
        }
    }
    EnvFilter::builder().parse(text).map_err(|error| {
        format!("`{text}`: {error}; write LEVEL or PART=LEVEL, several with commas between them")
    })
}

fn has_colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Standard error, between progress bars.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Stderr;

    fn make_writer(&'a self) -> Stderr {
        Stderr
    }
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        bars::beside(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_of_levels_and_parts() {
        for text in
            ["info", "WARN", "off", "info,kv_store=debug", "[request{id=cmpl-7}]=debug,warn"]
        {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in ["verbose", "info,kv_store", "kv_store=loud", "info,,=", "[request=debug"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in [OF_A_SERVER, OF_A_COMMAND, REQUESTS] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }
}
