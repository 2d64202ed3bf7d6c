//! `cargo xtask peers`: other engines on the same machine, in the same minutes, on the same model.
//!
//! Absolute figures move from machine to machine and from hour to hour, so every contender runs
//! once per round, the rounds follow one another, and what counts is the ratio of the medians.

mod figures;
mod kvasir;
mod llama_cpp;
mod record;
mod report;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::context::Context;
use figures::{Contender, Runs};

/// What `cargo xtask peers` runs.
#[derive(Args, Debug)]
pub struct Options {
    /// How many times each contender runs; the medians are compared.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..=100))]
    rounds: u32,
    /// Threads of each contender.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Print JSON instead of the table: every run and the medians.
    #[arg(long)]
    json: bool,
    /// Also write the table, headed by the machine and the commit, to benches/record/.
    #[arg(long)]
    record: bool,
    /// Run the other engines alone.
    #[arg(long)]
    only_peers: bool,
}

/// Builds what is missing, runs the rounds, prints the ratios.
pub fn run(context: &Context, options: &Options) -> Result<()> {
    let contenders = contenders(context, options)?;
    let mut runs = Runs::new(contenders.iter().map(|contender| contender.name.clone()));
    for round in 1..=options.rounds {
        for (i, contender) in contenders.iter().enumerate() {
            eprintln!("round {round} of {}: {}", options.rounds, contender.name);
            let figures = (contender.measure)().with_context(|| contender.name.clone())?;
            runs.push(i, figures);
        }
    }
    if options.json {
        println!("{:#}", report::json(&runs));
    } else {
        print!("{}", report::table(&runs));
    }
    if options.record {
        let path = record::write(context, &report::table(&runs))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// Everyone who runs; Kvasir, whom the others are compared with, comes first.
fn contenders<'a>(context: &'a Context, options: &Options) -> Result<Vec<Contender<'a>>> {
    let q4_1 = context.test_model()?;
    let tools = llama_cpp::ensure_built(context)?;
    let bf16 = llama_cpp::ensure_bf16(context, &tools, q4_1)?;
    let mut contenders = Vec::new();
    if !options.only_peers {
        contenders.push(kvasir::contender(context, q4_1, options.threads)?);
    }
    contenders.push(llama_cpp::contender("llama.cpp BF16", &tools, bf16, options.threads));
    contenders.push(llama_cpp::contender(
        "llama.cpp Q4_1",
        &tools,
        q4_1.to_path_buf(),
        options.threads,
    ));
    ensure!(!contenders.is_empty(), "nobody to run");
    Ok(contenders)
}
