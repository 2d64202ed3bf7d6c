//! The HIP kernels: `cargo bench --bench kernels -- [--json] [--events] [FILTER...]`, where a filter is part of the name of
//! an op or a variant; every variant with `--features all-variants`.
//!
//! With a GPU, each variant is held against the oracle, on the op's cases and on what is timed, then timed with events: on
//! normally distributed numbers, in buffers taken in turn that have more bytes than the last cache, which is flushed
//! before each run. Without one the CPU kernels are timed on the same ops, and the emulator counts what each variant does:
//! no time, and the lines say so. `--events` (or `--test`) times the emulator with events all the same, which says
//! nothing of an MI300X, and that the way to hardware's figures works. `--json` prints JSON, and the table on stderr.

use std::env;
use std::error::Error;

use kernels_hip::{Device, Runtime, registry};
use kvasir::kernels::{
    Comparison, CpuReport, CpuRuns, Measure, Plain, Subject, Timing, Workload, compare_variants,
    measured_line, subjects, time_cpu,
};
use serde_json::{Value, json};

/// Of a CPU kernel.
const RUNS: CpuRuns = CpuRuns { num_warm_ups: 2, num_runs: 12 };

/// What the command line asks for.
struct Args {
    json: bool,
    events: bool,
    filters: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = args()?;
    let subjects: Vec<_> = subjects().iter().filter(|subject| args.wants_op(subject)).collect();
    if subjects.is_empty() {
        return Err(format!("no op or variant has {}", args.filters.join(" or ")).into());
    }
    let device = device()?;
    let is_hardware = device.as_ref().is_some_and(|device| device.runtime().emulator().is_none());
    let mut found = Vec::new();
    if !is_hardware && !args.events {
        for workload in subjects.iter().flat_map(|subject| subject.workloads(false)) {
            found.extend(cpu(&workload, &args)?);
        }
    }
    match &device {
        None => args
            .say("no HIP kernels: the build found no hipcc; cargo xtask hip-toolchain makes one"),
        Some(device) => {
            for subject in subjects {
                found.push(serde_json::to_value(hip(device, subject, &args)?)?);
            }
        }
    }
    if args.json {
        println!("{:#}", Value::from(found));
    }
    Ok(())
}

fn args() -> Result<Args, String> {
    let mut args = Args { json: false, events: false, filters: Vec::new() };
    for arg in env::args().skip(1) {
        match arg.as_str() {
            "--json" => args.json = true,
            "--events" | "--test" => args.events = true,
            // Cargo's own.
            "--bench" => (),
            flag if flag.starts_with('-') => {
                return Err(format!("{flag}: there are --json, --events and --test"));
            }
            filter => args.filters.push(filter.to_owned()),
        }
    }
    Ok(args)
}

impl Args {
    fn wants(&self, op: &str, variant: &str) -> bool {
        let has = |filter: &String| variant.contains(filter) || op == filter;
        self.filters.is_empty() || self.filters.iter().any(has)
    }

    fn wants_op(&self, subject: &Subject) -> bool {
        let catalogue = kernels_hip::ops::catalogue();
        let mut of_op = catalogue.iter().filter(|row| row.op == subject.op);
        of_op.any(|row| self.wants(row.op, row.name))
    }

    /// Prints for people.
    fn say(&self, line: &str) {
        if self.json { eprintln!("{line}") } else { println!("{line}") }
    }
}

/// A GPU, or the emulator that Cargo builds beside the bench.
fn device() -> Result<Option<Device>, Box<dyn Error>> {
    if registry::rows().is_empty() {
        return Ok(None);
    }
    let device = Runtime::load().and_then(|runtime| runtime.device(0));
    if let (Err(error), Some(_)) = (&device, env::var_os("KVASIR_HIP_LIBRARY")) {
        return Err(error.to_string().into());
    }
    if let Ok(device) = device {
        return Ok(Some(device));
    }
    let emulator = env::current_exe()?.with_file_name("libhip_emulator.so");
    Ok(Some(Runtime::open(&emulator)?.device(0)?))
}

fn hip(device: &Device, subject: &Subject, args: &Args) -> Result<Comparison, Box<dyn Error>> {
    let is_emulated = device.runtime().emulator().is_some();
    let measure = match args.events && is_emulated {
        true => Measure::Events(Timing::SMOKE),
        false => Measure::OfDevice,
    };
    let is_wanted = |variant: &str| args.wants(subject.op, variant);
    let told = &mut |what: &str| eprintln!("{what}");
    let comparison = compare_variants(device, subject.op, is_wanted, measure, told)?;
    args.say(&Plain(&comparison).to_string());
    Ok(comparison)
}

/// The CPU kernels on a workload; nothing of one that they do not serve.
fn cpu(workload: &Workload, args: &Args) -> Result<Option<Value>, Box<dyn Error>> {
    let report = time_cpu(workload, RUNS)?;
    let CpuReport { op, kernels_cpu, num_threads, workload, refused, measured } = report;
    let label = format!("{op} by kernels-cpu ({kernels_cpu}, {num_threads} threads)");
    let Some(measured) = measured else {
        args.say(&format!("{label}, {workload}: {}", refused.unwrap_or_default()));
        return Ok(None);
    };
    args.say(&format!("{label}, {workload}\n  {}", measured_line(&measured)));
    Ok(Some(json!({
        "op": op,
        "kernels_cpu": kernels_cpu,
        "workload": workload,
        "measured": measured,
    })))
}
