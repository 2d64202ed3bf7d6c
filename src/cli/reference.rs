//! The configuration reference of the book, docs/configuration.md, made from the definition of the arguments.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, ArgAction, Command};

/// Commands whose options make no reference of their own: `help`, and none else.
const LEFT_OUT: &str = "help";

/// What options of how many commands are listed once, and not with each.
const MANY: usize = 3;

const INTRODUCTION: &str = "\
# Configuration

<!-- Written by a test from the definition of the arguments: KVASIR_BLESS=1 cargo test -p kvasir --bins reference -->

An option of `generate`, `serve`, `bench` and `plan` comes from the first of these that says it:

1. its flag;
2. its variable: `KVASIR_` and the flag's name, so `KVASIR_BLOCK_SIZE` for `--block-size`, and `KVASIR_LOG` for
   `--log-level`; a switch is `true` or `false`; a repeatable option has commas between its values, or is a JSON list
   where they have commas themselves: `KVASIR_API_KEY=one,two`, `KVASIR_STOP='[\"a, b\", \"c\"]'`;
3. `kvasir.toml` in this folder, or the file that `--config` or `KVASIR_CONFIG` names: in the command's section, else at
   the top for all commands;
4. the preset that `--preset` names, a row of the recipe's context matrix;
5. its default.

```sh
cat > kvasir.toml <<'END'
block-size = 32

[serve]
port = 9000
kv-storage-path = \"kv\"
END
KVASIR_BLOCK_SIZE=8 kvasir serve --max-num-seqs 4 --show-config
kvasir plan --show-config --preset auto --context 12000
```

`--show-config` prints the value of every option and who says it. A key that is not an option, a value of another kind,
and two options that exclude each other are errors that name file and line. What is of one run, as `--json` or
`--output`, is a flag alone.

Other variables: `LMCACHE_CONFIG_FILE` and `LMCACHE_BACKEND` say where KV is kept ([KV store](kv-store.md)), `AWS_*` are
those of S3's clients, `KVASIR_HIP_LIBRARY` is the libamdhip64 to load, `XDG_CACHE_HOME` is where models are kept.
";

/// An option as a row: equal rows of several commands are one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    heading: String,
    option: String,
    default: String,
    help: String,
}

/// The page.
fn page() -> String {
    let mut definition = super::definition();
    definition.build();
    let commands = leaves(&definition, "kvasir");
    let mut users: BTreeMap<Row, Vec<&str>> = BTreeMap::new();
    for (name, command) in &commands {
        rows(command).into_iter().for_each(|row| users.entry(row).or_default().push(name));
    }
    let is_shared = |row: &Row| users[row].len() >= MANY;
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Options of several commands\n");
    let mut heading = "";
    for (row, users) in users.iter().filter(|(_, users)| users.len() >= MANY) {
        if row.heading != heading {
            heading = &row.heading;
            let _ = write!(
                page,
                "\n### {heading}\n\n| option | default | what it does | commands |\n|---|---|---|---|\n"
            );
        }
        let short: Vec<&str> =
            users.iter().map(|name| name.trim_start_matches("kvasir ")).collect();
        let _ = writeln!(page, "{} {} |", cells(row), short.join(", "));
    }
    for (name, command) in &commands {
        let own: Vec<Row> = rows(command).into_iter().filter(|row| !is_shared(row)).collect();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(page, "\n## {name}\n\n{about}.\n");
        if !own.is_empty() {
            page.push_str("\n| option | default | what it does |\n|---|---|---|\n");
            own.iter().for_each(|row| page.push_str(&(cells(row) + "\n")));
        }
    }
    page
}

/// The commands that do something, by their full names.
fn leaves<'a>(command: &'a Command, name: &str) -> Vec<(String, &'a Command)> {
    let below = command.get_subcommands().filter(|below| below.get_name() != LEFT_OUT);
    let below: Vec<_> =
        below.flat_map(|below| leaves(below, &format!("{name} {}", below.get_name()))).collect();
    if below.is_empty() { vec![(name.to_owned(), command)] } else { below }
}

/// What the command takes, but for what every command has.
fn rows(command: &Command) -> Vec<Row> {
    let is_own = |arg: &&Arg| !["help", "version"].contains(&arg.get_id().as_str());
    command.get_arguments().filter(is_own).map(row).collect()
}

fn row(arg: &Arg) -> Row {
    let takes = !matches!(arg.get_action(), ArgAction::SetTrue);
    let names = arg.get_value_names().unwrap_or_default();
    let value =
        names.first().map_or_else(|| arg.get_id().as_str().to_uppercase(), ToString::to_string);
    let option = match (arg.get_long(), takes) {
        (Some(long), true) => format!("--{long} {value}"),
        (Some(long), false) => format!("--{long}"),
        (None, _) => value,
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, said) = match help.split_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), default.trim_end_matches(']').to_owned()),
        None => (help, String::new()),
    };
    let default = if takes { shown_default(arg).unwrap_or(said) } else { said };
    let mut help = help.replace('\n', " ");
    let possible = arg.get_possible_values();
    if takes && !possible.is_empty() {
        let names: Vec<_> =
            possible.iter().map(|value| format!("`{}`", value.get_name())).collect();
        let _ = write!(help, ": {}", names.join(", "));
    }
    let heading = arg.get_help_heading().unwrap_or("Output").to_owned();
    Row { heading, option, default, help }
}

/// The default that the definition has, if it is the same on every machine.
fn shown_default(arg: &Arg) -> Option<String> {
    let values: Vec<_> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match &values[..] {
        [] => None,
        [folder] if Path::new(&**folder) == std::env::temp_dir() => {
            Some("the folder of temporary files".to_owned())
        }
        values => Some(format!("`{}`", values.join(" "))),
    }
}

fn cells(Row { option, default, help, .. }: &Row) -> String {
    let [option, default, help] = [option, default, help].map(|text| text.replace('|', "\\|"));
    format!("| `{option}` | {default} | {help} |")
}

#[test]
fn the_reference_says_what_the_command_takes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = page();
    if std::env::var_os("KVASIR_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differing = page.lines().zip(committed.lines()).find(|(made, found)| made != found);
    assert_eq!(differing, None, "run it with KVASIR_BLESS=1, and look at the difference");
    assert_eq!(page, committed, "run it with KVASIR_BLESS=1, and look at the difference");
}
