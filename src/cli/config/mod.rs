//! Options in layers: flags, over variables of the environment, over `kvasir.toml`, over a preset, over defaults.
//!
//! The options of [`SECTIONS`]' commands can be set in all of them, by one mechanism: what a layer says becomes the
//! default of the option before clap reads the arguments, so flags win and every value is checked as a flag is.

mod credentials;
mod environment;
mod file;
mod layers;
mod preset;
mod show;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Id};

use super::error::CliError;
use super::{for_leaves, log, with_args};
use file::ConfigFile;
use layers::{Setting, Source};
pub(crate) use show::Shown;

/// The commands whose options have layers, with all commands below them; their names are the file's sections.
const SECTIONS: [&str; 4] = ["generate", "serve", "plan", "bench"];

/// Options that are of one run, and no configuration.
const OF_ONE_RUN: [&str; 12] = [
    "config",
    "show-config",
    "help",
    "version",
    "json",
    "html",
    "input",
    "output",
    "record",
    "recipe",
    "svg",
    "directory",
];

/// Options whose values are nobody else's business.
pub(crate) const SECRETS: [&str; 2] = ["api-key", "header"];

/// Where options come from.
#[derive(Args, Debug)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct ConfigArgs {
    /// Options for this command, below flags and the environment (KVASIR_ and the flag's name: KVASIR_BLOCK_SIZE)
    /// [default: KVASIR_CONFIG, else kvasir.toml in this folder if there is one]
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,

    /// Print every option's value, and where it is from, and do nothing else
    #[arg(long)]
    show_config: bool,
}

/// For commands that a row of the recipe says something of.
#[derive(Args, Debug)]
#[command(next_help_heading = "Configuration")]
struct PresetArgs {
    /// Take the settings of this row of the recipe's context matrix, below all other layers; auto: the row for --context.
    /// `kvasir presets` lists them
    #[arg(long, value_name = "NAME", value_parser = preset::names())]
    preset: Option<String>,
}

/// What is to be done.
pub(crate) enum Asked {
    /// The command, with the options of all layers.
    Run(ArgMatches),
    /// Nothing but to say what they are.
    Show(Shown),
}

/// `command` with the options that all configured commands have.
pub(crate) fn with_config_args(mut command: Command) -> Command {
    for section in SECTIONS {
        command = command.mut_subcommand(section, |command| for_leaves(command, &augment));
    }
    command
}

fn augment(command: Command) -> Command {
    let has_json = command.get_arguments().any(|arg| arg.get_id() == "json");
    let mut command = with_args::<ConfigArgs>(command);
    if preset::has_settings_for(&command) {
        command = preset::augment(with_args::<PresetArgs>(command));
    }
    if has_json {
        return command;
    }
    let help = "Print JSON, with --show-config";
    command.arg(
        Arg::new("json").long("json").action(ArgAction::SetTrue).requires("show_config").help(help),
    )
}

/// Reads `args` and the layers below them, and begins the log that they ask for. Clap prints its own errors and ends the process.
pub(crate) fn read(command: Command, args: &[OsString]) -> Result<Asked, CliError> {
    let parse = |command: Command| command.try_get_matches_from(args);
    let matches = parse(command.clone()).unwrap_or_else(|error| error.exit());
    let (path, given) = leaf(&matches);
    if !path.first().is_some_and(|section| SECTIONS.contains(section)) {
        log::start(given)?;
        return Ok(Asked::Run(matches));
    }
    let mut built = command.clone();
    built.build();
    let Some(options) = find(&built, &path) else { return Ok(Asked::Run(matches)) };
    let config = ConfigArgs::from_arg_matches(given).unwrap_or_else(|error| error.exit());
    let file = match file_of(config.config)? {
        Some(file) => Some(ConfigFile::read(&file, &built)?),
        None => None,
    };
    let is_given =
        |arg: &&Arg| given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let flags: Vec<&Arg> = options.get_arguments().filter(is_given).collect();
    let settings = layers::settle(options, &flags, given, file.as_ref(), path[0])?;
    let matches = parse(inject(command, &path, &settings))
        .map_err(|error| wrong_value(error, options, &settings))?;
    log::start(leaf(&matches).1)?;
    preset::warn_of_what_is_left_out(options, leaf(&matches).1)?;
    if config.show_config {
        return Ok(Asked::Show(Shown::new(options, &flags, leaf(&matches).1, &settings)));
    }
    Ok(Asked::Run(matches))
}

/// The names of the chosen commands, and what the last was given.
fn leaf(matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let (mut path, mut matches) = (Vec::new(), matches);
    while let Some((name, of_command)) = matches.subcommand() {
        path.push(name);
        matches = of_command;
    }
    (path, matches)
}

fn find<'a>(command: &'a Command, path: &[&str]) -> Option<&'a Command> {
    path.iter().try_fold(command, |command, name| command.find_subcommand(name))
}

/// The named file, or the one that lies here.
fn file_of(flag: Option<PathBuf>) -> Result<Option<PathBuf>, CliError> {
    let named = flag.or_else(|| {
        let variable = std::env::var_os("KVASIR_CONFIG").filter(|file| !file.is_empty());
        variable.map(PathBuf::from)
    });
    let here = Path::new("kvasir.toml");
    Ok(named.or_else(|| here.exists().then(|| here.to_owned())))
}

/// `command` with what the layers say as defaults of its options.
fn inject(command: Command, path: &[&str], settings: &BTreeMap<Id, Setting>) -> Command {
    let Some((first, rest)) = path.split_first() else {
        return command.mut_args(|arg| match settings.get(arg.get_id()) {
            // A default is no answer to a requirement.
            Some(setting) => arg.default_values(setting.values.clone()).required(false),
            None => arg,
        });
    };
    command.mut_subcommand(first, |command| inject(command, rest, settings))
}

/// What a layer says may be no value of its option; everything else has been looked at before.
fn wrong_value(
    error: clap::Error,
    options: &Command,
    settings: &BTreeMap<Id, Setting>,
) -> CliError {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else {
        error.exit()
    };
    let is_named = |arg: &&Arg| arg.to_string() == *named && settings.contains_key(arg.get_id());
    let Some(arg) = options.get_arguments().find(is_named) else { error.exit() };
    let text = error.render().to_string();
    let text = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    let place = match &settings[arg.get_id()].source {
        Source::Environment(variable) => variable.clone(),
        Source::File { file, line, key } => format!("{file}, line {line}: {key}"),
        Source::Preset(name) => format!("preset {name}"),
    };
    CliError::usage(text.replace("\n  ", " ")).at(&place)
}
