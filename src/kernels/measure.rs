//! Runs every variant of an op.

use engine_core::device::OpError;
use engine_core::dtype::DType;
use kernels_hip::time_model::MI300X;
use kernels_hip::variant::{Choices, VariantInfo, pins_for};
use kernels_hip::{Device, Emulator, Error, KernelsHip, registry};
use reference_cpu::conformance::Failure;

use super::comparison::{Accuracy, Comparison, Emulated, VariantReport, WorkloadReport};
use super::counted::Counted;
use super::subject::{Subject, subjects};
use super::timing::{Timing, time};
use super::workload::{Bound, Verdict, Workload};

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
    /// The same on a workload.
    #[error(
        "{variant} is wrong: {workload}: {} of {} elements are farther off than they may be, the worst {:.3} times that and {} ULP",
        verdict.num_failures, verdict.num_elements, verdict.max_of_bound, verdict.max_ulp
    )]
    WrongWorkload {
        /// The variant.
        variant: &'static str,
        /// Where.
        workload: String,
        /// By how much.
        verdict: Verdict,
    },
    /// The device failed.
    #[error(transparent)]
    Hip(#[from] kernels_hip::Error),
    /// The CPU kernels cannot start.
    #[error(transparent)]
    Cpu(#[from] kernels_cpu::StartError),
    /// The backend failed.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The emulator's report has another form.
    #[error("the emulator's report cannot be read: {0}; use a libhip_emulator of the same version")]
    Report(#[from] serde_json::Error),
}

/// What is done with variants beside judging them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// Hardware is timed, and an emulator counts.
    OfDevice,
    /// Events time an emulator too, on its small workloads, and the result says that the clock is the emulator's.
    Events(Timing),
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
    compare_variants(device, op, |_| true, Measure::OfDevice, progress)
}

/// [`compare`] for the variants whose names `is_wanted` wants, measured as `measure` says.
///
/// # Errors
///
/// [`CompareError`].
pub fn compare_variants(
    device: &Device,
    op: &str,
    is_wanted: impl Fn(&str) -> bool,
    measure: Measure,
    progress: &mut dyn FnMut(&str),
) -> Result<Comparison, CompareError> {
    let subject = subjects().iter().find(|subject| subject.op == op);
    let known = || subjects().iter().map(|subject| subject.op).collect();
    let subject =
        subject.ok_or_else(|| CompareError::NoSubject { op: op.to_owned(), known: known() })?;
    let arch = &device.info().arch;
    let rows = kernels_hip::ops::catalogue().into_iter();
    let built = rows.filter(|row| row.op == op && registry::code_object(row.name, arch).is_ok());
    let wanted = built.filter(|row| is_wanted(row.name));
    let variants = wanted.map(|row| variant(device, subject, row, measure, progress));
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
    measure: Measure,
    progress: &mut dyn FnMut(&str),
) -> Result<VariantReport, CompareError> {
    progress(&format!("{}: against the oracle", row.name));
    let mut accuracy = Accuracy::default();
    // Events alone are wanted of a device that is tested elsewhere.
    if measure == Measure::OfDevice {
        let wrong = |failure| CompareError::Wrong { variant: row.name, failure };
        let found = subject.judge(backend(device, &row)?, row.reduction_class);
        accuracy =
            found.map_err(|failure| wrong(Box::new(failure)))?.map_or(accuracy, Accuracy::of);
    }
    let on_hardware = device.runtime().emulator().is_none();
    let mut workloads = Vec::new();
    for workload in subject.workloads(on_hardware) {
        progress(&format!("{}: {}", row.name, workload.name()));
        let (report, verdict) = run(device, &workload, &row, measure)?;
        match verdict {
            Some(verdict) => accuracy.add(&verdict, &workload),
            None => accuracy.num_refused += 1,
        }
        workloads.push(report);
    }
    Ok(VariantReport {
        variant: row.name,
        reduction_class: row.reduction_class,
        accuracy,
        workloads,
    })
}

/// A backend that takes this variant, and no other, for its op.
fn backend(device: &Device, row: &VariantInfo) -> Result<KernelsHip, CompareError> {
    let choices = Choices::new(&pins_for(row), Box::new(|_| ()))?;
    Ok(KernelsHip::new(device, DType::BF16, choices)?)
}

/// Why a variant does not run a workload, if that is what the error says.
fn refusal(error: CompareError) -> Result<String, CompareError> {
    match error {
        CompareError::Op(OpError::Unsupported { what, .. }) => Ok(what),
        CompareError::Hip(error @ (Error::Pin { .. } | Error::NotServed { .. })) => {
            Ok(error.to_string())
        }
        error => Err(error),
    }
}

/// Runs a variant once on a workload and holds that against the oracle, then counts or times it.
fn run(
    device: &Device,
    workload: &Workload,
    row: &VariantInfo,
    measure: Measure,
) -> Result<(WorkloadReport, Option<Verdict>), CompareError> {
    let mut ops = backend(device, row)?;
    let mut report = WorkloadReport {
        workload: workload.name(),
        min_bytes: workload.min_bytes(),
        flops: workload.flops(),
        refused: None,
        emulated: None,
        measured: None,
    };
    let first = workload.bind_variant(device, &mut ops, row, 0).and_then(|mut bound| {
        bound.run(&mut ops)?;
        Ok(bound)
    });
    let mut first = match first {
        Ok(first) => first,
        Err(error) => {
            report.refused = Some(refusal(error)?);
            return Ok((report, None));
        }
    };
    let verdict = first.check(&mut ops)?;
    if verdict.num_failures > 0 {
        let (variant, workload) = (row.name, workload.name());
        return Err(CompareError::WrongWorkload { variant, workload, verdict });
    }
    let timing = match (measure, device.runtime().emulator()) {
        (Measure::OfDevice, Some(emulator)) => {
            let launches = count(device, &emulator, &mut ops, first.as_mut())?;
            report.emulated = Some(Emulated::new(launches, report.min_bytes, &MI300X));
            return Ok((report, Some(verdict)));
        }
        (Measure::OfDevice, None) => Timing::HARDWARE,
        (Measure::Events(timing), _) => timing,
    };
    let mut sets = vec![first];
    for seed in 1..timing.num_sets(workload) {
        sets.push(workload.bind_variant(device, &mut ops, row, seed as u64)?);
    }
    report.measured = Some(time(device, &mut ops, &mut sets, (workload, &timing))?);
    Ok((report, Some(verdict)))
}

/// What the emulator counts of one run.
fn count(
    device: &Device,
    emulator: &Emulator,
    ops: &mut KernelsHip,
    bound: &mut dyn Bound<KernelsHip>,
) -> Result<Vec<Counted>, CompareError> {
    device.synchronize()?;
    emulator.count(true);
    let done = bound.run(ops).and_then(|()| Ok(device.synchronize()?));
    emulator.count(false);
    let reports = emulator.take_reports();
    done?;
    Ok(serde_json::from_str(&reports)?)
}
