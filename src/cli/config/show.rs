//! What is in force, and who said so.

use std::collections::BTreeMap;
use std::fmt;

use clap::builder::StyledStr;
use clap::{Arg, ArgMatches, Command, Id};
use serde::Serialize;

use super::credentials;
use super::layers::{self, Setting, Source};
use super::{OF_ONE_RUN, SECRETS};
use crate::cli::error::CliError;
use crate::cli::output;

/// Every option of a command.
#[derive(Debug)]
pub(crate) struct Shown {
    options: Vec<Shows>,
    as_json: bool,
}

/// One.
#[derive(Debug, Serialize)]
struct Shows {
    option: String,
    /// One text for each time that it is set.
    values: Vec<String>,
    source: &'static str,
    /// The variable, file and line, or the name of the preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

impl Shown {
    /// The values of `options`, of which `flags` were given and `settings` are of other layers.
    pub(super) fn new(
        options: &Command,
        flags: &[&Arg],
        matches: &ArgMatches,
        settings: &BTreeMap<Id, Setting>,
    ) -> Shown {
        let of = |arg: &Arg| {
            let name = arg.get_long().map_or_else(|| value_name(arg), str::to_owned);
            if OF_ONE_RUN.contains(&name.as_str()) || is_replaced(options, flags, settings, arg) {
                return None;
            }
            let is_given = flags.iter().any(|flag| flag.get_id() == arg.get_id());
            let (source, place) = match settings.get(arg.get_id()).map(|setting| &setting.source) {
                _ if is_given => ("flag", None),
                Some(source @ Source::Environment(_)) => ("environment", Some(source.place())),
                Some(source @ Source::File { .. }) => ("file", Some(source.place())),
                Some(source @ Source::Preset(_)) => ("preset", Some(source.place())),
                None => ("default", None),
            };
            let mut values = values(matches, arg);
            if SECRETS.contains(&name.as_str()) {
                values.fill("(hidden)".to_owned());
            }
            if values.is_empty() {
                values.extend(default_in(arg.get_help()));
            }
            Some(Shows { option: name, values, source, place })
        };
        let as_json = matches.get_flag("json");
        Shown { options: options.get_arguments().filter_map(of).collect(), as_json }
    }

    /// Prints it.
    pub(crate) fn print(&self) -> Result<(), CliError> {
        if self.as_json { output::json(&self.options) } else { output::text(&self.to_string()) }
    }
}

/// Whether what is in force excludes `arg`.
fn is_replaced(
    options: &Command,
    flags: &[&Arg],
    settings: &BTreeMap<Id, Setting>,
    arg: &Arg,
) -> bool {
    let is_set = |other: &Arg| {
        let by_layer = settings.get(other.get_id()).is_some_and(|s| s.values != ["false"]);
        by_layer || flags.iter().any(|flag| flag.get_id() == other.get_id())
    };
    !is_set(arg)
        && options
            .get_arguments()
            .any(|other| is_set(other) && layers::exclude(options, arg, other))
}

fn value_name(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some([name, ..]) => name.to_string(),
        _ => arg.get_id().as_str().to_uppercase(),
    }
}

fn values(matches: &ArgMatches, arg: &Arg) -> Vec<String> {
    let raw = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
    raw.map(|value| credentials::hidden(value.to_string_lossy().into_owned())).collect()
}

/// What the help says that happens without the option.
fn default_in(help: Option<&StyledStr>) -> Option<String> {
    let help = help?.to_string();
    let default = help.split_once("[default: ")?.1;
    Some(default.strip_suffix(']').unwrap_or(default).replace('\n', " "))
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.options.iter().map(|shows| shows.option.len()).max().unwrap_or(0);
        for Shows { option, values, source, place } in &self.options {
            let value = if values.is_empty() { "-".to_owned() } else { values.join(", ") };
            write!(f, "{option:width$}  {value:24}  {source}")?;
            match place {
                Some(place) => writeln!(f, ": {place}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
