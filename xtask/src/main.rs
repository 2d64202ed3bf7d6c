//! Project tasks, run as `cargo xtask TASK`.
#![forbid(unsafe_code)]

mod chromium;
mod context;
mod hip_toolchain;
mod peers;
mod process;
mod python;
mod test;

use std::process::ExitCode;

use clap::Parser;

use context::Context;

/// Project tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Run everything that CI runs, part by part, and print a table of the results.
    Test(test::Options),
    /// Print the path of a hipcc that targets gfx942; where there is none, make one in the cache folder.
    HipToolchain,
    /// Write the bindings of libamdhip64 again, from the headers of the HIP toolchain.
    HipBindings,
    /// Build other engines, run them beside Kvasir, and print the ratios. Not part of CI.
    Peers(peers::Options),
}

fn main() -> ExitCode {
    let task = Task::parse();
    let done = Context::new().and_then(|context| match task {
        Task::Test(options) => test::run(&context, &options),
        Task::HipToolchain => hip_toolchain::run(&context).map(|()| ExitCode::SUCCESS),
        Task::HipBindings => hip_toolchain::bindings(&context).map(|()| ExitCode::SUCCESS),
        Task::Peers(options) => peers::run(&context, &options).map(|()| ExitCode::SUCCESS),
    });
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
