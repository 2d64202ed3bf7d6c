//! `kvasir bench kernels`: the CPU kernels on this machine, and the HIP kernels where there is a GPU.

use std::fmt;

use clap::{Args, value_parser};
use kernels_hip::{Device, Runtime, registry};
use kvasir::kernels::{
    Comparison, CpuReport, CpuRuns, Measured, Plain, Subject, Workload, compare, measured_line,
    subjects, time_cpu,
};
use serde::Serialize;

use super::memory::{MemorySampler, MemoryUse};
use super::output::OutputArgs;
use super::progress;
use super::report::{Page, bars};
use crate::cli::error::CliError;

/// `kvasir bench kernels`.
#[derive(Args, Debug)]
pub(super) struct KernelsArgs {
    /// Only these ops
    #[arg(value_name = "OP")]
    ops: Vec<String>,

    /// Runs of each CPU kernel before those that are measured
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(..=1_000_000))]
    num_iters_warmup: u32,

    /// Runs of each CPU kernel that are measured
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=1_000_000))]
    num_iters: u32,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    cpu: Vec<CpuReport>,
    /// Nothing without a GPU: an emulator has no time of its own.
    hip: Vec<Comparison>,
    /// Why `hip` is empty, if it is.
    no_device: Option<String>,
    memory: MemoryUse,
}

pub(super) fn run(args: &KernelsArgs) -> Result<(), CliError> {
    let report = measure(args)?;
    args.output.give(&report, &report.to_string(), || report.page())
}

fn measure(args: &KernelsArgs) -> Result<Report, CliError> {
    let known = || subjects().iter().map(|subject| subject.op);
    if let Some(op) = args.ops.iter().find(|op| !known().any(|known| known == op.as_str())) {
        return Err(CliError::usage(format!("{op} is no op that can be timed"))
            .with_hint(format!("name some of {}", known().collect::<Vec<_>>().join(", "))));
    }
    let is_wanted =
        |subject: &&Subject| args.ops.is_empty() || args.ops.iter().any(|op| op == subject.op);
    let wanted: Vec<&Subject> = subjects().iter().filter(is_wanted).collect();
    let sampler = MemorySampler::start();
    let workloads: Vec<_> = wanted.iter().flat_map(|subject| subject.workloads(false)).collect();
    let bar = progress(workloads.len() as u64);
    let runs =
        CpuRuns { num_warm_ups: args.num_iters_warmup as usize, num_runs: args.num_iters as usize };
    let time = |workload| {
        bar.set_message(Workload::name(workload));
        let report = time_cpu(workload, runs);
        bar.inc(1);
        report.map_err(|error| CliError::from_internal_error(&error))
    };
    let cpu = workloads.iter().map(time).collect::<Result<Vec<_>, _>>()?;
    bar.finish_and_clear();
    let (hip, no_device) = match gpu() {
        Err(reason) => (Vec::new(), Some(reason)),
        Ok(device) => {
            let told = &mut |what: &str| eprintln!("{what}");
            let of_op = |subject: &&Subject| compare(&device, subject.op, told);
            let hip = wanted.iter().map(of_op).collect::<Result<Vec<_>, _>>();
            (hip.map_err(|error| CliError::from_internal_error(&error))?, None)
        }
    };
    Ok(Report { cpu, hip, no_device, memory: sampler.stop() })
}

/// A device whose times mean something, or why there is none.
fn gpu() -> Result<Device, String> {
    if registry::rows().is_empty() {
        return Err("this build has no HIP kernels: it found no hipcc".to_owned());
    }
    let device = Runtime::load().and_then(|runtime| runtime.device(0));
    let device = device.map_err(|error| error.to_string())?;
    match device.runtime().emulator() {
        None => Ok(device),
        Some(_) => Err("an emulator's time says nothing of a GPU; `kvasir kernels report` counts what kernels do".to_owned()),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for report in &self.cpu {
            let CpuReport { op, kernels_cpu, num_threads, workload, .. } = report;
            writeln!(f, "{op} by kernels-cpu ({kernels_cpu}, {num_threads} threads), {workload}")?;
            match (&report.measured, &report.refused) {
                (Some(measured), _) => writeln!(f, "  {}", measured_line(measured))?,
                (None, Some(reason)) => writeln!(f, "  refused: {reason}")?,
                (None, None) => {}
            }
        }
        self.hip.iter().try_for_each(|comparison| write!(f, "\n{}", Plain(comparison)))?;
        self.no_device
            .iter()
            .try_for_each(|reason| writeln!(f, "\nno HIP kernels were timed: {reason}"))
    }
}

impl Report {
    fn page(&self) -> Result<Page, CliError> {
        let mut page = Page::new("Kernels");
        let cpu = self.cpu.iter().filter_map(|report| {
            Some((format!("{}, {}", report.op, report.workload), report.measured.as_ref()?))
        });
        add(&mut page, "CPU kernels", cpu.collect())?;
        for comparison in &self.hip {
            let variants = comparison.variants.iter().flat_map(|variant| {
                let name = |workload: &str| format!("{}, {workload}", variant.variant);
                let workloads = variant.workloads.iter();
                workloads.filter_map(move |w| Some((name(&w.workload), w.measured.as_ref()?)))
            });
            add(
                &mut page,
                &format!("{} on {}", comparison.op, comparison.device),
                variants.collect(),
            )?;
        }
        page.memory(&self.memory)?;
        Ok(page)
    }
}

/// A table and a picture of times.
fn add(page: &mut Page, caption: &str, found: Vec<(String, &Measured)>) -> Result<(), CliError> {
    let row = |(name, measured): &(String, &Measured)| {
        let spread = measured.spread;
        [
            name.clone(),
            format!("{:.1}", spread.median_us),
            format!("{:.1} to {:.1}", spread.p10_us, spread.p90_us),
            format!("{:.2}", measured.tb_per_s * 1e3),
            format!("{:.3}", measured.tflop_per_s),
        ]
    };
    page.table(
        caption,
        ["", "median (µs)", "10 % to 90 % (µs)", "GB/s", "TFLOP/s"],
        found.iter().map(row).collect(),
    );
    let bar = |(name, measured): &(String, &Measured)| {
        let spread = measured.spread;
        (name.clone(), [spread.p10_us, spread.median_us, spread.p90_us])
    };
    let rows: Vec<_> = found.iter().map(bar).collect();
    page.figure(&format!("{caption}: median, and from 10 % to 90 % of runs"), bars("µs", &rows))
}
