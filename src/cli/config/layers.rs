//! Which layer has the last word on each option.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::num::NonZero;

use clap::{Arg, ArgAction, ArgMatches, Command, Id};

use super::file::ConfigFile;
use super::{OF_ONE_RUN, environment, preset};
use crate::cli::error::CliError;

/// What a layer below the flags says of an option.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting {
    /// In the words of the flag.
    pub values: Vec<String>,
    pub source: Source,
}

/// Who says so.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    /// A variable.
    Environment(String),
    /// A line.
    File { file: String, line: usize, key: String },
    /// A row of the recipe.
    Preset(&'static str),
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Flag,
    Number,
    Text,
    /// An object, as a text.
    Json,
}

/// The options that a configuration can set, by name.
pub(super) fn settable(options: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let named = options.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg)));
    named.filter(|(name, _)| !OF_ONE_RUN.contains(name))
}

/// Whether an option is repeatable, one value each time. An object is one value.
pub(super) fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) && shape(arg) != Shape::Json
}

/// The shape of an option's values.
pub(super) fn shape(arg: &Arg) -> Shape {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Shape::Flag;
    }
    if arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "JSON")) {
        return Shape::Json;
    }
    let numbers = [
        TypeId::of::<usize>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<i32>(),
        TypeId::of::<f32>(),
        TypeId::of::<f64>(),
        TypeId::of::<NonZero<usize>>(),
    ];
    let of_values = arg.get_value_parser().type_id();
    if numbers.iter().any(|number| of_values == *number) { Shape::Number } else { Shape::Text }
}

/// `options`' settings below `flags`, the arguments that were given: the environment, then the file's section, then
/// what the file says for all commands, then a preset. What a higher layer excludes is left out.
pub(super) fn settle(
    options: &Command,
    flags: &[&Arg],
    given: &ArgMatches,
    file: Option<&ConfigFile>,
    section: &str,
) -> Result<BTreeMap<Id, Setting>, CliError> {
    let mut layers = vec![environment::settings(options)?];
    if let Some(file) = file {
        layers.push(file.settings(options, Some(section)));
        layers.push(file.settings(options, None));
    }
    let mut settled = Settled { options, by_id: BTreeMap::new(), taken: flags.to_vec() };
    for layer in layers {
        settled.add(layer)?;
    }
    // The layers above say which.
    let preset = preset::settings(options, |id| {
        let is_given = flags.iter().any(|flag| flag.get_id() == id);
        let flag = if is_given { given.get_raw(id.as_str()) } else { None };
        let flag = flag.and_then(|mut values| Some(values.next()?.to_string_lossy().into_owned()));
        flag.or_else(|| settled.by_id.get(id)?.values.first().cloned())
    })?;
    settled.add(preset)?;
    Ok(settled.by_id)
}

/// What layers have said so far.
struct Settled<'a> {
    options: &'a Command,
    by_id: BTreeMap<Id, Setting>,
    /// Options on which a higher layer has spoken.
    taken: Vec<&'a Arg>,
}

impl<'a> Settled<'a> {
    /// The next layer below.
    fn add(&mut self, layer: Vec<(&'a Arg, Setting)>) -> Result<(), CliError> {
        let options = self.options;
        let mut of_layer: Vec<(&Arg, Setting)> = Vec::new();
        for (arg, setting) in layer {
            let is_no = setting.values == ["false"];
            let excludes = |other: &Arg| {
                arg.get_id() == other.get_id() || (!is_no && exclude(options, arg, other))
            };
            if self.taken.iter().any(|other| excludes(other)) {
                continue;
            }
            if let Some((_, other)) = of_layer.iter().find(|(other, _)| excludes(other)) {
                return Err(contradiction(&setting.source, &other.source));
            }
            of_layer.push((arg, setting));
        }
        for (arg, setting) in of_layer {
            self.taken.push(arg);
            self.by_id.insert(arg.get_id().clone(), setting);
        }
        Ok(())
    }
}

/// Whether two options cannot be given together, or one takes the other back.
pub(super) fn exclude(options: &Command, one: &Arg, other: &Arg) -> bool {
    let excludes = |one: &Arg, other: &Arg| {
        options.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id())
    };
    let takes_back = |one: &Arg, other: &Arg| match (one.get_long(), other.get_long()) {
        (Some(one), Some(other)) => one.strip_prefix("no-") == Some(other),
        _ => false,
    };
    excludes(one, other) || excludes(other, one) || takes_back(one, other) || takes_back(other, one)
}

fn contradiction(one: &Source, other: &Source) -> CliError {
    CliError::usage(format!("{} and {} cannot be used together", other.place(), one.place()))
        .with_hint("take one of them out")
}

impl Source {
    /// Where to look.
    pub(super) fn place(&self) -> String {
        match self {
            Source::Environment(variable) => variable.clone(),
            Source::File { file, line, key } => format!("{key} ({file}, line {line})"),
            Source::Preset(name) => (*name).to_owned(),
        }
    }
}

/// A flag that is set to `is_on`: itself, or the one that takes it back.
pub(super) fn flag<'a>(
    options: &'a Command,
    name: &str,
    arg: &'a Arg,
    is_on: bool,
) -> (&'a Arg, bool) {
    let opposite = match name.strip_prefix("no-") {
        Some(without) => without.to_owned(),
        None => format!("no-{name}"),
    };
    let opposite = options.get_arguments().find(|arg| arg.get_long() == Some(opposite.as_str()));
    match opposite {
        Some(opposite) if !is_on => (opposite, true),
        _ => (arg, is_on),
    }
}
