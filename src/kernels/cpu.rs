//! The CPU kernels on the workloads of the HIP kernels, in this machine's time.

use std::time::Instant;

use engine_core::device::OpError;
use engine_core::dtype::DType;
use kernels_cpu::{CpuIsa, KernelsCpu};
use serde::Serialize;

use super::comparison::{Clock, Measured, Spread};
use super::measure::CompareError;
use super::workload::Workload;

/// How often a workload runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuRuns {
    /// Runs before those that count.
    pub num_warm_ups: usize,
    /// Runs that count, at least one.
    pub num_runs: usize,
}

/// A workload on the CPU.
#[derive(Clone, Debug, Serialize)]
pub struct CpuReport {
    /// The op.
    pub op: &'static str,
    /// The instructions that were used.
    pub kernels_cpu: &'static str,
    /// Threads that computed.
    pub num_threads: usize,
    /// The shape in words.
    pub workload: String,
    /// Why it did not run, if it did not.
    pub refused: Option<String>,
    /// Times of this machine's clock.
    pub measured: Option<Measured>,
}

/// Runs `workload` with the best instructions of this machine and all its threads, and holds the result against the
/// oracle.
///
/// # Errors
///
/// [`CompareError`] if the result is wrong, or a run fails. A shape that the kernels do not serve is no error.
pub fn time_cpu(workload: &Workload, runs: CpuRuns) -> Result<CpuReport, CompareError> {
    let isa = CpuIsa::detect();
    let num_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut ops = KernelsCpu::new(isa, DType::BF16, num_threads)?;
    let mut report = CpuReport {
        op: workload.op,
        kernels_cpu: isa.name(),
        num_threads,
        workload: workload.name(),
        refused: None,
        measured: None,
    };
    let mut bound = match workload.bind(&mut ops, 0) {
        Ok(bound) => bound,
        Err(error @ OpError::Unsupported { .. }) => {
            report.refused = Some(error.to_string());
            return Ok(report);
        }
        Err(error) => return Err(error.into()),
    };
    let mut times = Vec::with_capacity(runs.num_runs);
    for run in 0..runs.num_warm_ups + runs.num_runs {
        let start = Instant::now();
        bound.run(&mut ops)?;
        if run >= runs.num_warm_ups {
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    let verdict = bound.check(&mut ops)?;
    if verdict.num_failures > 0 {
        let workload = workload.name();
        return Err(CompareError::WrongWorkload { variant: "kernels-cpu", workload, verdict });
    }
    report.measured = Some(Measured::new(Clock::Cpu, Spread::of(times), workload));
    Ok(report)
}
