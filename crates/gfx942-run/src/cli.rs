//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, ValueEnum};
use gfx942_emulator::exec::Ulp;

use crate::spec::{PlacedSpec, three};

/// Executes kernels of a gfx942 code object on the CPU, or looks into it.
#[derive(Parser, Debug)]
#[command(name = "gfx942-run", version, group = ArgGroup::new("look"))]
pub struct Cli {
    /// A code object (.hsaco), an offload bundle, or a program that contains one
    #[arg(value_name = "K.hsaco")]
    pub object: PathBuf,

    /// Print the kernels: what they take and what they need
    #[arg(long, group = "look")]
    list: bool,

    /// Print the machine code as llvm-objdump does
    #[arg(long, group = "look")]
    disasm: bool,

    /// The kernel; with --list and --disasm, only this one
    #[arg(long, value_name = "NAME", required_unless_present = "look")]
    pub kernel: Option<String>,

    #[command(flatten)]
    launch: LaunchArgs,
}

#[derive(Args, Debug)]
struct LaunchArgs {
    /// Work-groups
    #[arg(long, value_name = "X,Y,Z", value_parser = three)]
    #[arg(required_unless_present = "look", conflicts_with = "look")]
    grid: Option<[u32; 3]>,

    /// Work-items of a work-group
    #[arg(long, value_name = "X,Y,Z", value_parser = three)]
    #[arg(required_unless_present = "look", conflicts_with = "look")]
    block: Option<[u32; 3]>,

    /// LDS on top of the kernel's own
    #[arg(long, value_name = "BYTES", default_value_t = 0, conflicts_with = "look")]
    lds: u32,

    /// An argument, in order: in:FILE, out:FILE:BYTES, inout:FILE, zero:BYTES, i32:V, u32:V, i64:V, u64:V, f32:V; or
    /// @OFFSET=SPEC, at a place in the kernarg segment
    #[arg(long = "arg", value_name = "SPEC", conflicts_with = "look", allow_hyphen_values = true)]
    args: Vec<PlacedSpec>,

    /// Print every instruction that is executed
    #[arg(long, conflicts_with_all = ["look", "counts"])]
    trace: bool,

    /// Print what was counted
    #[arg(long, value_name = "FORMAT", conflicts_with = "look")]
    counts: Option<CountsFormat>,

    /// Report what is wrong though the results may be right: missing waits, races in LDS, reads of what nobody wrote,
    /// divergent barriers, wait states; to stderr, or into the JSON of --counts. Findings are a failure
    #[arg(long, conflicts_with = "look")]
    sanitize: bool,

    /// Move transcendental results (v_exp_f32, v_rcp_f32, …) by a unit in the last place: exact, up, down, or a seed
    #[arg(long, value_name = "ULP", default_value = "exact", conflicts_with = "look")]
    ulp: Ulp,

    /// Accumulate matrix products bit by bit as the hardware does, instead of by fused multiply-adds
    #[arg(long, conflicts_with = "look")]
    exact_mfma: bool,

    /// Run work-groups and waves in a random order, a fixed function of the seed
    #[arg(long, value_name = "SEED", conflicts_with = "look")]
    wave_order: Option<u64>,
}

/// How counters are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum CountsFormat {
    Json,
}

/// A kernel to execute.
#[derive(Debug)]
pub struct Execution {
    pub kernel: String,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub lds: u32,
    pub args: Vec<PlacedSpec>,
    pub trace: bool,
    pub counts: bool,
    pub sanitize: bool,
    pub ulp: Ulp,
    pub exact_mfma: bool,
    pub wave_order: Option<u64>,
}

/// What to do.
#[derive(Debug)]
pub enum Mode {
    List,
    Disasm,
    Execute(Execution),
}

impl Cli {
    pub fn mode(&self) -> Mode {
        if self.list {
            return Mode::List;
        }
        let launch = &self.launch;
        // The parser asks for all three unless there is something to look at.
        let (Some(kernel), Some(grid), Some(block)) = (&self.kernel, launch.grid, launch.block)
        else {
            return Mode::Disasm;
        };
        Mode::Execute(Execution {
            kernel: kernel.clone(),
            grid,
            block,
            lds: launch.lds,
            args: launch.args.clone(),
            trace: launch.trace,
            counts: launch.counts.is_some(),
            sanitize: launch.sanitize,
            ulp: launch.ulp,
            exact_mfma: launch.exact_mfma,
            wave_order: launch.wave_order,
        })
    }
}
