//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Parser};

/// Looks into a gfx942 code object.
#[derive(Parser, Debug)]
#[command(name = "gfx942-run", version, group = ArgGroup::new("mode").required(true))]
pub struct Cli {
    /// A code object (.hsaco), an offload bundle, or a program that contains one
    #[arg(value_name = "K.hsaco")]
    pub object: PathBuf,

    /// Print the kernels: what they take and what they need
    #[arg(long, group = "mode")]
    list: bool,

    /// Print the machine code as llvm-objdump does
    #[arg(long, group = "mode")]
    disasm: bool,

    /// Only this kernel
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    List,
    Disasm,
}

impl Cli {
    pub fn mode(&self) -> Mode {
        if self.list { Mode::List } else { Mode::Disasm }
    }
}
