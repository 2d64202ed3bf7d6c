//! The HIP kernels: `cargo bench --bench kernels [OP]`, every variant with `--features all-variants`.
//!
//! With a GPU, each variant is held against the oracle, then timed with events on normally distributed numbers, more of
//! them than the last cache holds, which is flushed before each run. Without one, the CPU kernels are timed on the same
//! ops, and the emulator counts what each variant does: no time, and the lines say so.

use std::env;
use std::error::Error;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use engine_core::dtype::DType;
use hip_sys::LIBRARY_VAR;
use kernels_cpu::{CpuIsa, KernelsCpu};
use kernels_hip::{Device, Runtime, registry};
use kvasir::kernels::{Subject, Workload, built, measure, subjects, verify};

fn main() -> Result<(), Box<dyn Error>> {
    // Flags are criterion's.
    let ops: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_asked = |subject: &&Subject| ops.is_empty() || ops.iter().any(|op| op == subject.op);
    let subjects: Vec<_> = subjects().iter().filter(is_asked).collect();
    if subjects.is_empty() {
        return Err(format!("no such op: {}", ops.join(", ")).into());
    }
    let Some(device) = device()? else {
        eprintln!("no kernels: the build found no hipcc; cargo xtask hip-toolchain makes one");
        return Ok(cpu(&subjects));
    };
    if device.runtime().emulator().is_some() {
        cpu(&subjects);
        return emulated(&device, &subjects);
    }
    hardware(&device, &subjects)
}

/// A GPU, or the emulator that Cargo builds beside the bench.
fn device() -> Result<Option<Device>, Box<dyn Error>> {
    if registry::rows().is_empty() {
        return Ok(None);
    }
    let device = Runtime::load().and_then(|runtime| runtime.device(0));
    if let (Err(error), true) = (&device, env::var_os(LIBRARY_VAR).is_some()) {
        return Err(error.to_string().into());
    }
    if let Ok(device) = device {
        return Ok(Some(device));
    }
    let emulator = env::current_exe()?.with_file_name("libhip_emulator.so");
    Ok(Some(Runtime::open(&emulator)?.device(0)?))
}

fn hardware(device: &Device, subjects: &[&Subject]) -> Result<(), Box<dyn Error>> {
    for subject in subjects {
        for variant in built(device, subject.op) {
            verify(device, subject, variant)?;
            println!("{} on {}", variant.name, device.info().name);
            for workload in subject.large_workloads() {
                print!("{}", measure(device, &workload, variant)?);
            }
        }
    }
    Ok(())
}

fn emulated(device: &Device, subjects: &[&Subject]) -> Result<(), Box<dyn Error>> {
    for subject in subjects {
        for variant in built(device, subject.op) {
            println!("{} in the emulator", variant.name);
            for workload in subject.workloads() {
                print!("{}", measure(device, &workload, variant)?);
            }
        }
    }
    Ok(())
}

/// The CPU kernels on the same workloads.
fn cpu(subjects: &[&Subject]) {
    let mut criterion = Criterion::default().configure_from_args();
    for workload in subjects.iter().flat_map(|subject| subject.workloads()) {
        if let Err(error) = cpu_workload(&mut criterion, &workload) {
            eprintln!("{}, {}: {error}", workload.op, workload.name());
        }
    }
    criterion.final_summary();
}

fn cpu_workload(criterion: &mut Criterion, workload: &Workload) -> Result<(), Box<dyn Error>> {
    let isa = CpuIsa::detect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut ops = KernelsCpu::new(isa, DType::BF16, threads)?;
    let mut bound = workload.bind(&mut ops)?;
    bound(&mut ops)?;
    let mut group = criterion.benchmark_group(workload.op);
    group.sample_size(10).throughput(Throughput::Elements(workload.flops()));
    let id = BenchmarkId::new(format!("cpu {}", isa.name()), workload.name());
    group.bench_function(id, |bencher| {
        bencher.iter(|| black_box(bound(&mut ops)).expect("it was done before"));
    });
    Ok(())
}
