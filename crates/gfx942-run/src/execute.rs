//! Executing a kernel: arguments to device memory, the launch, results to files.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use code_object::{Argument, CodeObject, Kernel, WorkGroupShape};
use gfx942_emulator::count::{Counters, Report};
use gfx942_emulator::exec::Options;
use gfx942_emulator::exec::memory::{ArenaConfig, MemoryKind};
use gfx942_emulator::launch::{Emulator, Launch, Order, Settings};
use gfx942_emulator::sanitize::{Finding, Sanitizer};

use crate::cli::Execution;
use crate::object::find;
use crate::spec::{PlacedSpec, Spec};
use crate::trace::Trace;

/// Largest kernarg segment that `@OFFSET` may ask for.
const MAX_SEGMENT_BYTES: usize = 1 << 16;

/// Executes the kernel; what was asked to be told goes to `out`.
pub fn run(objects: &[CodeObject], execution: &Execution, out: &mut impl Write) -> Result<()> {
    let (object, kernel) = find(objects, &execution.kernel)?;
    let tracks_writes = execution.sanitize;
    let emulator = Emulator::new(ArenaConfig { tracks_writes, ..ArenaConfig::default() })?;
    let args: Vec<Loaded> =
        execution.args.iter().map(|arg| load(&emulator, arg)).collect::<Result<_>>()?;
    let mut launch = Launch {
        grid: execution.grid,
        block: execution.block,
        dynamic_lds_bytes: execution.lds,
        kernarg: &[],
    };
    let segment = segment(kernel, &args, &launch)?;
    launch.kernarg = &segment;
    let settings = settings(execution);
    let module = emulator.load(object.clone())?;
    let sanitizer = || Sanitizer::new(&emulator, &module, kernel, &launch, &settings);
    let mut watch = (
        execution.counts.then(Counters::default),
        (
            execution.trace.then(|| Trace::new(module.load_address())),
            execution.sanitize.then(sanitizer),
        ),
    );
    let result = emulator.launch(&module, &kernel.name, &launch, &settings, &mut watch);
    let (counters, (trace, sanitizer)) = watch;
    // What was seen before a fault is why one watches.
    if let Some(trace) = trace {
        out.write_all(trace.text().as_bytes())?;
        out.flush()?;
    }
    let findings: Option<Vec<&Finding>> = sanitizer.as_ref().map(|own| own.findings().collect());
    match counters.filter(|_| result.is_ok()) {
        Some(counters) => {
            let waves_per_work_group = launch.num_waves();
            let shape = WorkGroupShape { waves_per_work_group, dynamic_lds_bytes: execution.lds };
            print_json(&counters.report(kernel, &shape), findings.as_deref(), out)?;
        }
        None => findings.iter().flatten().for_each(|finding| eprintln!("{finding}")),
    }
    result?;
    args.iter().try_for_each(|arg| store(&emulator, arg))?;
    let num_findings = findings.map_or(0, |findings| findings.len());
    ensure!(num_findings == 0, "the sanitizer found what is wrong in {num_findings} places");
    Ok(())
}

/// Prints what was counted, and what was found where anybody looked.
fn print_json(report: &Report, findings: Option<&[&Finding]>, out: &mut impl Write) -> Result<()> {
    let mut json = serde_json::to_value(report)?;
    if let (Some(findings), Some(fields)) = (findings, json.as_object_mut()) {
        fields.insert("findings".to_owned(), serde_json::to_value(findings)?);
    }
    serde_json::to_writer_pretty(&mut *out, &json)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

fn settings(execution: &Execution) -> Settings {
    let mut settings = Settings {
        options: Options { exact_mfma: execution.exact_mfma, ulp: execution.ulp },
        order: execution.wave_order.map_or(Order::InOrder, Order::Seeded),
        ..Settings::default()
    };
    if execution.trace {
        settings.num_threads = 1;
    }
    settings
}

/// An argument with its memory.
struct Loaded {
    offset: Option<usize>,
    value: Value,
    /// Where to and how much of it, afterwards.
    result: Option<(PathBuf, usize)>,
}

enum Value {
    Pointer(u64),
    Bytes(Vec<u8>),
}

impl Value {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Pointer(address) => address.to_le_bytes().into(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

fn load(emulator: &Emulator, arg: &PlacedSpec) -> Result<Loaded> {
    let allocate = |num_bytes: usize| -> Result<u64> {
        ensure!(num_bytes > 0, "an argument without any bytes");
        Ok(emulator.arena().allocate(num_bytes as u64, MemoryKind::Device)?)
    };
    let filled = |bytes: &[u8]| -> Result<Value> {
        let address = allocate(bytes.len())?;
        emulator.arena().write(address, bytes)?;
        Ok(Value::Pointer(address))
    };
    let (value, result) = match &arg.spec {
        Spec::In(file) => (filled(&read(file)?)?, None),
        Spec::InOut(file) => {
            let bytes = read(file)?;
            (filled(&bytes)?, Some((file.clone(), bytes.len())))
        }
        Spec::Out(file, num_bytes) => {
            (Value::Pointer(allocate(*num_bytes)?), Some((file.clone(), *num_bytes)))
        }
        Spec::Zero(num_bytes) => {
            let address = allocate(*num_bytes)?;
            emulator.arena().fill(address, *num_bytes as u64, &[0])?;
            (Value::Pointer(address), None)
        }
        Spec::Value(bytes) => (Value::Bytes(bytes.clone()), None),
    };
    Ok(Loaded { offset: arg.offset, value, result })
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let shown = file.display();
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    ensure!(!bytes.is_empty(), "{shown} is empty");
    Ok(bytes)
}

fn store(emulator: &Emulator, arg: &Loaded) -> Result<()> {
    let (Some((file, num_bytes)), Value::Pointer(address)) = (&arg.result, &arg.value) else {
        return Ok(());
    };
    let mut bytes = vec![0; *num_bytes];
    emulator.arena().read(*address, &mut bytes)?;
    std::fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

/// The kernarg segment: by the kernel's metadata, or by the offsets of the command line.
fn segment(kernel: &Kernel, args: &[Loaded], launch: &Launch<'_>) -> Result<Vec<u8>> {
    let dispatch = launch.dispatch();
    let num_placed = args.iter().filter(|arg| arg.offset.is_some()).count();
    if num_placed == 0 && (kernel.metadata.is_some() || !args.is_empty()) {
        let bytes: Vec<Vec<u8>> = args.iter().map(|arg| arg.value.bytes()).collect();
        let args = args.iter().zip(&bytes).map(|(arg, bytes)| match arg.value {
            Value::Pointer(address) => Argument::Pointer(address),
            // Pointers may be given as numbers.
            Value::Bytes(_) => Argument::Bytes(bytes),
        });
        let args: Vec<Argument<'_>> = args.collect();
        let segment = kernel.kernarg(&args, &dispatch).with_context(
            || "arguments are given in order by --arg, or placed by --arg @OFFSET=SPEC",
        )?;
        return Ok(segment.bytes);
    }
    if num_placed != args.len() {
        bail!("--arg @OFFSET=SPEC and --arg SPEC cannot be mixed: place all arguments or none");
    }
    Ok(kernel.kernarg_from_buffer(&placed(kernel, args)?, &dispatch)?.bytes)
}

/// A buffer with the arguments where the command line puts them.
fn placed(kernel: &Kernel, args: &[Loaded]) -> Result<Vec<u8>> {
    let mut buffer = vec![0; kernel.kernarg_segment_bytes() as usize];
    let mut taken: Vec<(usize, usize)> = Vec::new();
    for arg in args {
        let (start, bytes) = (arg.offset.unwrap_or(0), arg.value.bytes());
        let end = start.saturating_add(bytes.len());
        ensure!(end <= MAX_SEGMENT_BYTES, "an argument at {start} is far out");
        if let Some((other, _)) = taken.iter().find(|(from, to)| start < *to && *from < end) {
            bail!("the arguments at {other} and {start} overlap");
        }
        taken.push((start, end));
        buffer.resize(buffer.len().max(end), 0);
        buffer[start..end].copy_from_slice(&bytes);
    }
    Ok(buffer)
}
