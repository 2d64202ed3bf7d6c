//! `kvasir.toml`: a flag's name is a key, at the top for all commands, in a section for one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use clap::{Arg, Command};
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::layers::{Setting, Shape, Source, flag, is_list, settable, shape};
use super::{OF_ONE_RUN, SECTIONS};
use crate::cli::error::CliError;

/// Longest file, bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What a file says, with every key known and every type right.
#[derive(Debug)]
pub(super) struct ConfigFile {
    entries: Vec<Entry>,
}

/// One key.
#[derive(Debug)]
struct Entry {
    section: Option<&'static str>,
    name: String,
    values: Vec<String>,
    source: Source,
}

/// The options of one section, or of all for the keys at the top.
type Known<'a> = BTreeMap<&'a str, &'a Arg>;

impl ConfigFile {
    /// Reads the file for the sections of `command`.
    pub(super) fn read(path: &Path, command: &Command) -> Result<ConfigFile, CliError> {
        let mut text = String::new();
        let file = std::fs::File::open(path);
        file.and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(|error| CliError::file("read", path, &error))?;
        let file = path.display().to_string();
        if text.len() as u64 > MAX_BYTES {
            return Err(CliError::usage(format!("{file} has more than {MAX_BYTES} bytes")));
        }
        ConfigFile::parse(&file, &text, command)
    }

    fn parse(file: &str, text: &str, command: &Command) -> Result<ConfigFile, CliError> {
        let document = DeTable::parse(text).map_err(|error| {
            let line = line_at(text, error.span().map_or(0, |span| span.start));
            CliError::usage(format!("{file}, line {line}: {}", error.message()))
                .with_hint("write TOML: key = \"text\", key = 1, key = true, [section]")
        })?;
        let mut reader = Reader { file, text, entries: Vec::new() };
        let of_sections = SECTIONS.map(|section| (section, known(command, section)));
        let all = of_sections.iter().flat_map(|(_, known)| known.clone()).collect();
        for (key, value) in in_order(document.get_ref()) {
            let section = of_sections.iter().find(|(name, _)| name == key.get_ref());
            match (section, value.get_ref()) {
                (Some((name, known)), DeValue::Table(table)) => {
                    for (key, value) in in_order(table) {
                        reader.entry(Some(name), known, key, value)?;
                    }
                }
                _ => reader.entry(None, &all, key, value)?,
            }
        }
        Ok(ConfigFile { entries: reader.entries })
    }

    /// What a section, or the top, says of `options`.
    pub(super) fn settings<'a>(
        &self,
        options: &'a Command,
        section: Option<&str>,
    ) -> Vec<(&'a Arg, Setting)> {
        let known: Known<'a> = settable(options).collect();
        let entries = self.entries.iter().filter(|entry| entry.section == section);
        let setting = |entry: &Entry| {
            let arg = *known.get(entry.name.as_str())?;
            let (mut arg, mut values) = (arg, entry.values.clone());
            if shape(arg) == Shape::Flag {
                let (of, is_on) = flag(options, &entry.name, arg, values == ["true"]);
                (arg, values) = (of, vec![is_on.to_string()]);
            }
            Some((arg, Setting { values, source: entry.source.clone() }))
        };
        entries.filter_map(setting).filter(|(_, setting)| !setting.values.is_empty()).collect()
    }
}

/// By their places in the file, which the parser's order is not.
fn in_order<'a, 'i>(
    table: &'a DeTable<'i>,
) -> Vec<(&'a Spanned<Cow<'i, str>>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// The options of a section's commands.
fn known<'a>(command: &'a Command, section: &str) -> Known<'a> {
    fn add<'a>(command: &'a Command, known: &mut Known<'a>) {
        known.extend(settable(command));
        command.get_subcommands().for_each(|command| add(command, known));
    }
    let mut known = Known::new();
    if let Some(command) = command.find_subcommand(section) {
        add(command, &mut known);
    }
    known
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    entries: Vec<Entry>,
}

impl Reader<'_> {
    fn entry(
        &mut self,
        section: Option<&'static str>,
        known: &Known<'_>,
        key: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), CliError> {
        let line = line_at(self.text, key.span().start);
        let name = key.get_ref().as_ref();
        let key = section.map_or(name.to_owned(), |section| format!("{section}.{name}"));
        let place = format!("{}, line {line}", self.file);
        let Some(arg) = known.get(name) else {
            return Err(unknown(section, name, known).at(&place));
        };
        let values = values(arg, value.get_ref()).map_err(|expected| {
            CliError::usage(format!("{key} is {}", a_kind(value.get_ref())))
                .at(&place)
                .with_hint(format!("give {expected}"))
        })?;
        let source = Source::File { file: self.file.to_owned(), line, key };
        self.entries.push(Entry { section, name: name.to_owned(), values, source });
        Ok(())
    }
}

fn unknown(section: Option<&str>, name: &str, known: &Known<'_>) -> CliError {
    let what = section.map_or(name.to_owned(), |section| format!("{section}.{name}"));
    let error = CliError::usage(format!("there is no option {what}"));
    if OF_ONE_RUN.contains(&name) {
        return error.with_hint(format!("give --{name} on the command line: it is of one run"));
    }
    let sections = SECTIONS.iter().filter(|_| section.is_none());
    let names = known.keys().chain(sections);
    let nearest = names
        .map(|known| (strsim::jaro_winkler(known, &name.replace('_', "-")), known))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((likeness, nearest)) if likeness > 0.7 => {
            error.with_hint(format!("did you mean {nearest}?"))
        }
        _ => error.with_hint("take it out; the keys are the names of the command's flags"),
    }
}

/// The words of the flag for a value of the file, or what it should be.
fn values(arg: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, &'static str> {
    let shape = shape(arg);
    match value {
        DeValue::Array(items) if is_list(arg) => {
            items.iter().map(|item| word(shape, item.get_ref())).collect()
        }
        value => word(shape, value).map(|word| vec![word]),
    }
}

fn word(shape: Shape, value: &DeValue<'_>) -> Result<String, &'static str> {
    match (shape, value) {
        (Shape::Flag, DeValue::Boolean(is_on)) => Ok(is_on.to_string()),
        (Shape::Flag, _) => Err("true or false"),
        (Shape::Number, DeValue::Integer(number)) => integer(number),
        (Shape::Number, DeValue::Float(number)) => Ok(number.as_str().to_owned()),
        (Shape::Number, _) => Err("a number"),
        (Shape::Text | Shape::Json, DeValue::String(text)) => Ok(text.to_string()),
        (Shape::Json, DeValue::Table(_)) => json(value).map(|json| json.to_string()),
        (Shape::Json, _) => Err("a table, or its JSON as a text"),
        (Shape::Text, _) => Err("a text"),
    }
}

fn integer(number: &DeInteger<'_>) -> Result<String, &'static str> {
    let number = i128::from_str_radix(number.as_str(), number.radix());
    number.map(|number| number.to_string()).map_err(|_| "a smaller number")
}

/// How deep is bounded by the parser.
fn json(value: &DeValue<'_>) -> Result<Value, &'static str> {
    Ok(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(is) => Value::from(*is),
        DeValue::Integer(number) => match integer(number)?.parse::<serde_json::Number>() {
            Ok(number) => Value::Number(number),
            Err(_) => return Err("a smaller number"),
        },
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            Value::Number(number.ok_or("a number that JSON has")?)
        }
        DeValue::Array(items) => {
            items.iter().map(|item| json(item.get_ref())).collect::<Result<_, _>>()?
        }
        DeValue::Table(table) => {
            let item = |(key, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
                Ok((key.get_ref().to_string(), json(value.get_ref())?))
            };
            Value::Object(in_order(table).into_iter().map(item).collect::<Result<_, &str>>()?)
        }
        DeValue::Datetime(_) => return Err("no date: JSON has none"),
    })
}

fn a_kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn line_at(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
