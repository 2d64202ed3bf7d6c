//! Runs every variant of an op.

use engine_core::device::OpError;
use engine_core::dtype::DType;
use kernels_hip::time_model::MI300X;
use kernels_hip::variant::{Choices, VariantInfo, pins_for};
use kernels_hip::{Device, KernelsHip, registry};
use reference_cpu::conformance::Failure;

use super::comparison::{Accuracy, Comparison, Emulated, Measured, VariantReport, WorkloadReport};
use super::counted::Counted;
use super::subject::{Subject, subjects};
use super::workload::{Bound, Workload};

/// Times that a workload is run on hardware, the first few for warming up.
const NUM_RUNS: usize = 30;
const NUM_WARM_UPS: usize = 5;
/// More than the last cache of an MI300X holds: written between runs.
const FLUSH_BYTES: usize = 512 << 20;

/// Why an op cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Nobody knows how.
    #[error("{op} cannot be compared; name one of {}", known.join(", "))]
    NoSubject {
        /// The op.
        op: String,
        /// Those that can.
        known: Vec<&'static str>,
    },
    /// A variant gave a wrong result: no figure of it means anything.
    #[error("{variant} is wrong: {failure}")]
    Wrong {
        /// The variant.
        variant: &'static str,
        /// Where, and by how much.
        failure: Box<Failure>,
    },
    /// The device failed.
    #[error(transparent)]
    Hip(#[from] kernels_hip::Error),
    /// The backend failed.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The emulator's report has another form.
    #[error("the emulator's report cannot be read: {0}; use a libhip_emulator of the same version")]
    Report(#[from] serde_json::Error),
}

/// Compares the variants of `op` that this build has. `progress` is told what begins.
///
/// # Errors
///
/// [`CompareError`].
pub fn compare(
    device: &Device,
    op: &str,
    progress: &mut dyn FnMut(&str),
) -> Result<Comparison, CompareError> {
    let subject = subjects().iter().find(|subject| subject.op == op);
    let known = || subjects().iter().map(|subject| subject.op).collect();
    let subject =
        subject.ok_or_else(|| CompareError::NoSubject { op: op.to_owned(), known: known() })?;
    let arch = &device.info().arch;
    let rows = kernels_hip::ops::catalogue().into_iter();
    let built = rows.filter(|row| row.op == op && registry::code_object(row.name, arch).is_ok());
    let variants = built.map(|row| variant(device, subject, row, progress));
    Ok(Comparison {
        op: op.to_owned(),
        device: device.info().name.clone(),
        variants: variants.collect::<Result<_, _>>()?,
    })
}

fn variant(
    device: &Device,
    subject: &Subject,
    row: VariantInfo,
    progress: &mut dyn FnMut(&str),
) -> Result<VariantReport, CompareError> {
    progress(&format!("{}: against the oracle", row.name));
    let found = subject
        .judge(backend(device, row)?, row.reduction_class)
        .map_err(|failure| CompareError::Wrong { variant: row.name, failure: Box::new(failure) })?;
    let accuracy = Accuracy {
        num_cases: found.num_cases,
        num_refused: found.num_refused,
        num_elements: found.num_elements,
        max_ulp: found.max_ulp,
        max_of_bound: found.max_severity,
        worst_case: found.worst_case,
    };
    let mut workloads = Vec::new();
    for workload in subject.workloads() {
        progress(&format!("{}: {}", row.name, workload.name()));
        workloads.push(run(device, &workload, row)?);
    }
    Ok(VariantReport {
        variant: row.name,
        reduction_class: row.reduction_class,
        accuracy,
        workloads,
    })
}

/// A backend that takes this variant, and no other, for its op.
fn backend(device: &Device, row: VariantInfo) -> Result<KernelsHip, CompareError> {
    let choices = Choices::new(&pins_for(&row), Box::new(|_| ()))?;
    Ok(KernelsHip::new(device, DType::BF16, choices)?)
}

fn run(
    device: &Device,
    workload: &Workload,
    row: VariantInfo,
) -> Result<WorkloadReport, CompareError> {
    let mut ops = backend(device, row)?;
    let mut report = WorkloadReport {
        workload: workload.name(),
        min_bytes: workload.min_bytes(),
        flops: workload.flops(),
        refused: None,
        emulated: None,
        measured: None,
    };
    let mut bound = workload.bind(&mut ops)?;
    match bound(&mut ops) {
        Err(OpError::Unsupported { what, .. }) => {
            report.refused = Some(what);
            return Ok(report);
        }
        done => done?,
    }
    device.synchronize()?;
    if let Some(emulator) = device.runtime().emulator() {
        emulator.count(true);
        let done = bound(&mut ops).map_err(CompareError::from);
        let done = done.and_then(|()| Ok(device.synchronize()?));
        emulator.count(false);
        let reports = emulator.take_reports();
        done?;
        let launches: Vec<Counted> = serde_json::from_str(&reports)?;
        report.emulated = Some(Emulated::new(launches, report.min_bytes, &MI300X));
    } else {
        report.measured = Some(time(device, &mut ops, &mut bound, &report)?);
    }
    Ok(report)
}

fn time(
    device: &Device,
    ops: &mut KernelsHip,
    bound: &mut Bound<KernelsHip>,
    report: &WorkloadReport,
) -> Result<Measured, CompareError> {
    let [mut start, mut end] = [device.event()?, device.event()?];
    let mut flush = device.buffer::<u8>(FLUSH_BYTES)?;
    let mut times = Vec::with_capacity(NUM_RUNS);
    for run in 0..NUM_WARM_UPS + NUM_RUNS {
        flush.fill_bytes(ops.stream(), run as u8)?;
        start.record(ops.stream())?;
        bound(ops)?;
        end.record(ops.stream())?;
        end.synchronize()?;
        if run >= NUM_WARM_UPS {
            times.push(end.since(&start)?.as_secs_f64() * 1e6);
        }
    }
    times.sort_by(f64::total_cmp);
    let us = times[times.len() / 2];
    let tb_per_s = report.min_bytes as f64 / us / 1e6;
    Ok(Measured {
        us,
        num_runs: NUM_RUNS,
        tb_per_s,
        of_achievable_bandwidth: tb_per_s / (MI300X.best_bandwidth / 1e12),
        tflop_per_s: report.flops as f64 / us / 1e6,
    })
}
