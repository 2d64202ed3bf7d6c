//! `cargo xtask test`: everything that CI runs.

mod clients;
mod fuzz;
mod hip;
mod load;
mod nightly;
mod oracles;
mod page;
mod rust;
mod served;
mod summary;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::context::Context;
use summary::{Outcome, Row, Summary};

/// What `cargo xtask test` runs.
#[derive(Args, Debug)]
pub struct Options {
    /// Run only these parts, separated by commas.
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_parser = part_names())]
    only: Vec<String>,
    /// Print the parts and what each one checks, and run nothing.
    #[arg(long)]
    list: bool,
    /// Stop at the first part that fails.
    #[arg(long)]
    fail_fast: bool,
    /// Search longer: all golden rows where some stand for them, more property-test cases, minutes
    /// instead of seconds per fuzz target, clients that take gigabytes.
    #[arg(long)]
    long: bool,
    /// Fail where there is no hipcc that targets gfx942, rather than skip what needs one.
    #[arg(long)]
    require_hip: bool,
}

/// One part of the tests. A new one is a row in [`PARTS`]; everything else walks that table.
struct Part {
    name: &'static str,
    about: &'static str,
    run: fn(&Context, &Options) -> Result<()>,
}

/// In the order in which they run: what fails fastest comes first.
const PARTS: &[Part] = &[
    Part { name: "fmt", about: "the formatting is rustfmt's", run: rust::fmt },
    Part {
        name: "hip",
        about: "a hipcc that targets gfx942 is here; made if it can be",
        run: hip::toolchain,
    },
    Part { name: "clippy", about: "no warnings from clippy, in any target", run: rust::clippy },
    Part { name: "doc", about: "the documentation builds without warnings", run: rust::doc },
    Part {
        name: "test",
        about: "unit and integration tests, the real model's included",
        run: rust::test,
    },
    Part { name: "doctest", about: "the examples in the documentation", run: rust::doctest },
    Part {
        name: "oracles",
        about: "other implementations still give the committed fixtures",
        run: oracles::check,
    },
    Part {
        name: "clients",
        about: "OpenAI's Python package, schemathesis and, with --long, guidellm and lm_eval against kvasir serve",
        run: clients::check,
    },
    Part { name: "page", about: "the server's page in a headless Chromium", run: page::check },
    Part {
        name: "fuzz",
        about: "a bounded run of every fuzz target, and a canary that must crash",
        run: fuzz::smoke,
    },
];

fn part_names() -> PossibleValuesParser {
    PossibleValuesParser::new(PARTS.iter().map(|part| part.name))
}

fn chosen(only: &[String]) -> Vec<&'static Part> {
    let wanted = |part: &&Part| only.is_empty() || only.iter().any(|name| name == part.name);
    PARTS.iter().filter(wanted).collect()
}

/// Runs the chosen parts, all of them even when one fails, and prints the table.
pub fn run(context: &Context, options: &Options) -> Result<ExitCode> {
    if options.list {
        for part in PARTS {
            println!("{:<8} {}", part.name, part.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let summary = run_parts(&chosen(&options.only), context, options);
    print!("\n{summary}");
    Ok(if summary.num_failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_parts(parts: &[&Part], context: &Context, options: &Options) -> Summary {
    let mut summary = Summary::default();
    for (i, part) in parts.iter().enumerate() {
        if options.fail_fast && summary.num_failed() > 0 {
            summary.push(Row::skipped(part.name));
            continue;
        }
        println!("\n== {} ({} of {}): {} ==", part.name, i + 1, parts.len(), part.about);
        let start = Instant::now();
        let outcome = match (part.run)(context, options) {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                println!("{} failed: {error:#}", part.name);
                Outcome::Failed(format!("{error:#}"))
            }
        };
        summary.push(Row { part: part.name, outcome, elapsed: start.elapsed() });
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(args: &[&str]) -> Result<Options, clap::Error> {
        Line::try_parse_from([&["test"], args].concat()).map(|line| line.options)
    }

    #[test]
    fn only_selects_in_the_order_of_the_table() {
        let options = parse(&["--only", "fuzz,fmt"]).unwrap();
        let names: Vec<_> = chosen(&options.only).iter().map(|p| p.name).collect();
        assert_eq!(names, ["fmt", "fuzz"]);
        assert_eq!(chosen(&[]).len(), PARTS.len());
    }

    #[test]
    fn an_unknown_part_or_flag_is_refused() {
        let error = parse(&["--only", "fmt,clipy"]).unwrap_err().to_string();
        assert!(error.contains("clipy") && error.contains("clippy"), "{error}");
        assert!(parse(&["--require-gpu"]).is_err());
    }

    #[test]
    fn part_names_are_unique() {
        let mut names: Vec<_> = PARTS.iter().map(|p| p.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PARTS.len());
    }

    const PASSES: Part = Part { name: "passes", about: "", run: |_, _| Ok(()) };
    const FAILS: Part = Part { name: "fails", about: "", run: |_, _| anyhow::bail!("as it must") };

    #[test]
    fn every_part_runs_after_a_failure_unless_fail_fast() {
        let context = Context::new().unwrap();
        let parts = [&FAILS, &PASSES];
        let summary = run_parts(&parts, &context, &parse(&[]).unwrap()).to_string();
        assert!(summary.ends_with("\n1 passed, 1 failed\n"), "{summary}");
        let fast = parse(&["--fail-fast"]).unwrap();
        let summary = run_parts(&parts, &context, &fast).to_string();
        assert!(summary.ends_with("\n0 passed, 1 failed, 1 skipped\n"), "{summary}");
    }
}
