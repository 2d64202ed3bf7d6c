//! `gfx942-run K.hsaco`: executes kernels of a code object on the CPU, or looks into it.
#![forbid(unsafe_code)]

mod cli;
mod disasm;
mod execute;
mod list;
mod object;
mod spec;
mod trace;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cli::{Cli, Mode};

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let objects = object::read(&cli.object)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match cli.mode() {
        Mode::List => list::print(&objects, cli.kernel.as_deref(), &mut out)?,
        Mode::Disasm => disasm::print(&objects, cli.kernel.as_deref(), &mut out)?,
        Mode::Execute(execution) => execute::run(&objects, &execution, &mut out)?,
    }
    Ok(out.flush()?)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
