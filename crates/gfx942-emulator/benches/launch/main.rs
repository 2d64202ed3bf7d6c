//! Wave-instructions/s and GFLOP/s of whole launches on one core, with counters and without:
//! `cargo bench -p gfx942-emulator --bench launch`. Without hipcc there is nothing to measure.
//!
//! `launch/…` counts instructions (its `Gelem/s` are 10⁹ wave-instructions a second), `flops/…` operations of MFMA.
//!
//! Measured so on an Intel Xeon with AVX-512 (2 cores that other builds shared, hence the best of 80 samples), with
//! counters, in 10⁶ wave-instructions a second: valu 32, divergent 22, rms_norm 17, copy 15, fp8_quantize 12; and
//! mfma_bf16 19, mfma_fp8 17 GFLOP/s. With the cores busiest, up to 7 times less. They come from builds of the days when
//! this bench was written and the loops it measures were tuned; which is of which build was not kept. What came later,
//! such as the check of every instruction's registers and comparisons by opcode bits, is not in them.

use code_object::{Argument, CodeObject, WorkGroupShape};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gfx942_emulator::count::{Counters, Report};
use gfx942_emulator::exec::Observer;
use gfx942_emulator::exec::memory::{ArenaConfig, MemoryKind};
use gfx942_emulator::launch::{Emulator, Launch, Module, Settings};

/// Work-items of a work-group, and work-groups of a launch.
const WORK_GROUP: u32 = 256;
const NUM_WORK_GROUPS: u32 = 8;

/// Bytes of a kernel's input, and of its output.
const NUM_BYTES: u64 = 1 << 20;

/// The kernels, and how often their loops turn.
const KERNELS: [(&str, u32); 7] = [
    ("valu", 200),
    ("divergent", 200),
    ("copy", 64),
    ("rms_norm", 16),
    ("fp8_quantize", 16),
    ("mfma_bf16", 64),
    ("mfma_fp8", 64),
];

/// Operations of one MFMA of the kernels that have some.
const FLOPS: [(&str, &str, u64); 2] = [
    ("mfma_bf16", "v_mfma_f32_32x32x8_bf16", 2 * 32 * 32 * 8),
    ("mfma_fp8", "v_mfma_f32_16x16x32_fp8_fp8", 2 * 16 * 16 * 32),
];

struct Device {
    emulator: Emulator,
    module: Module,
    input: u64,
    output: u64,
}

impl Device {
    fn new() -> Option<Self> {
        let toolchain = hip_toolchain::for_tests()?;
        let folder = tempfile::tempdir().unwrap();
        let [source, object] =
            ["kernels.hip", "kernels.hsaco"].map(|name| folder.path().join(name));
        std::fs::write(&source, include_str!("kernels.hip")).unwrap();
        toolchain.compile(&source, "gfx942", &["-O3"], &object).unwrap();
        let object = CodeObject::parse(&std::fs::read(&object).unwrap()).unwrap();
        let emulator = Emulator::new(ArenaConfig::default()).unwrap();
        let module = emulator.load(object).unwrap();
        let allocate = || emulator.arena().allocate(NUM_BYTES, MemoryKind::Device).unwrap();
        let (input, output) = (allocate(), allocate());
        // Moderate numbers as f32, as bf16 and as FP8.
        let value = |i: u32| i.wrapping_mul(0x9e37_79b9) & 0x8f7f_8f7f | 0x3030_3030;
        let bytes: Vec<u8> =
            (0..NUM_BYTES as u32 / 4).flat_map(|i| value(i).to_le_bytes()).collect();
        emulator.arena().write(input, &bytes).unwrap();
        Some(Self { emulator, module, input, output })
    }

    fn launch(&self, name: &str, steps: u32, observer: &mut impl Observer) {
        let grid = [NUM_WORK_GROUPS, 1, 1];
        let launch = Launch { grid, block: [WORK_GROUP, 1, 1], dynamic_lds_bytes: 0, kernarg: &[] };
        let steps = steps.to_le_bytes();
        let arguments = [
            Argument::Pointer(self.output),
            Argument::Pointer(self.input),
            Argument::Value(&steps),
        ];
        let kernel = self.module.object().kernel(name).unwrap();
        let segment = kernel.kernarg(&arguments, &launch.dispatch()).unwrap();
        let launch = Launch { kernarg: &segment.bytes, ..launch };
        let settings = Settings { num_threads: 1, ..Settings::default() };
        self.emulator.launch(&self.module, name, &launch, &settings, observer).unwrap();
    }

    /// What the counters say of a launch.
    fn report(&self, name: &str, steps: u32) -> Report {
        let mut counters = Counters::default();
        self.launch(name, steps, &mut counters);
        let shape = WorkGroupShape { waves_per_work_group: WORK_GROUP / 64, dynamic_lds_bytes: 0 };
        counters.report(self.module.object().kernel(name).unwrap(), &shape)
    }
}

fn launch(criterion: &mut Criterion) {
    let Some(device) = Device::new() else { return };
    let mut group = criterion.benchmark_group("launch");
    for (name, steps) in KERNELS {
        group.throughput(Throughput::Elements(device.report(name, steps).instructions.total));
        group.bench_function(format!("{name}/counted"), |bencher| {
            let mut counters = Counters::default();
            bencher.iter(|| device.launch(name, steps, &mut counters));
        });
        group.bench_function(format!("{name}/bare"), |bencher| {
            bencher.iter(|| device.launch(name, steps, &mut ()));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("flops");
    for (name, mnemonic, flops) in FLOPS {
        let (_, steps) = KERNELS.into_iter().find(|(kernel, _)| *kernel == name).unwrap();
        let num_products = device.report(name, steps).by_mnemonic[mnemonic];
        group.throughput(Throughput::Elements(flops * num_products));
        group.bench_function(format!("{name}/counted"), |bencher| {
            let mut counters = Counters::default();
            bencher.iter(|| device.launch(name, steps, &mut counters));
        });
    }
    group.finish();
}

criterion_group!(benches, launch);
criterion_main!(benches);
