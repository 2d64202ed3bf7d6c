//! hipcc's code, launched: results, counters, faults, orders.

use code_object::{Argument, CodeObject, WorkGroupShape};
use gfx942_emulator::count::Counters;
use gfx942_emulator::exec::memory::{ArenaConfig, MemoryKind};
use gfx942_emulator::exec::{Observer, Trap};
use gfx942_emulator::launch::{Cause, Emulator, Launch, LaunchError, Module, Order, Settings};

const SOURCE: &str = r#"
#include <hip/hip_runtime.h>
extern "C" __global__ void vector_add(const float *a, const float *b, float *c, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) c[i] = a[i] + b[i];
}
extern "C" __global__ void endless(int *p) { while (__hip_atomic_load(p, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT)); }
extern "C" __global__ void spin(int *out) {
    __shared__ int flag;
    if (threadIdx.x == 64) __hip_atomic_store(&flag, 7, __ATOMIC_RELEASE, __HIP_MEMORY_SCOPE_WORKGROUP);
    if (threadIdx.x == 0)
        while (__hip_atomic_load(&flag, __ATOMIC_ACQUIRE, __HIP_MEMORY_SCOPE_WORKGROUP) != 7);
    out[threadIdx.x] = threadIdx.x;
}
extern "C" __global__ void sum(float *total, const float *a) { unsafeAtomicAdd(total, a[blockIdx.x]); }
extern "C" __global__ void place(unsigned *out) {
    unsigned at = ((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * blockDim.x * blockDim.y * blockDim.z
        + (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[at] = blockIdx.x | blockIdx.y << 4 | blockIdx.z << 8 | threadIdx.x << 12 | threadIdx.y << 18 | threadIdx.z << 24;
}
"#;

struct Device {
    emulator: Emulator,
    module: Module,
}

impl Device {
    fn new() -> Option<Self> {
        let toolchain = hip_toolchain::for_tests()?;
        let folder = tempfile::tempdir().unwrap();
        let [source, object] = ["k.hip", "k.hsaco"].map(|name| folder.path().join(name));
        std::fs::write(&source, SOURCE).unwrap();
        toolchain.compile(&source, "gfx942", &["-O3"], &object).unwrap();
        let object = CodeObject::parse(&std::fs::read(&object).unwrap()).unwrap();
        let emulator = Emulator::new(ArenaConfig::default()).unwrap();
        let module = emulator.load(object).unwrap();
        Some(Self { emulator, module })
    }

    fn allocate(&self, values: &[u32]) -> u64 {
        let bytes: Vec<_> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let address =
            self.emulator.arena().allocate(bytes.len() as u64, MemoryKind::Device).unwrap();
        self.emulator.arena().write(address, &bytes).unwrap();
        address
    }

    fn read(&self, address: u64, count: usize) -> Vec<u32> {
        let mut bytes = vec![0; count * 4];
        self.emulator.arena().read(address, &mut bytes).unwrap();
        bytes.as_chunks().0.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect()
    }

    fn launch(
        &self,
        name: &str,
        [grid, block]: [[u32; 3]; 2],
        arguments: &[Argument<'_>],
        settings: &Settings,
        observer: &mut impl Observer,
    ) -> Result<(), LaunchError> {
        let launch = Launch { grid, block, dynamic_lds_bytes: 0, kernarg: &[] };
        let kernel = self.module.object().kernel(name).unwrap();
        let segment = kernel.kernarg(arguments, &launch.dispatch())?;
        let launch = Launch { kernarg: &segment.bytes, ..launch };
        self.emulator.launch(&self.module, name, &launch, settings, observer)
    }
}

fn line(blocks: u32, threads: u32) -> [[u32; 3]; 2] {
    [[blocks, 1, 1], [threads, 1, 1]]
}

fn orders() -> [Settings; 4] {
    let settings = |order, num_threads| Settings { order, num_threads, ..Settings::default() };
    [
        settings(Order::InOrder, 1),
        settings(Order::InOrder, 4),
        settings(Order::Seeded(1), 1),
        settings(Order::Seeded(2), 3),
    ]
}

#[test]
fn vectors_add_up_in_any_order() {
    let Some(device) = Device::new() else { return };
    let n = 5000usize;
    let values = |scale: f32| (0..n).map(|i| (i as f32 * scale).to_bits()).collect::<Vec<_>>();
    let (a, b) = (device.allocate(&values(0.5)), device.allocate(&values(1.25)));
    for settings in orders() {
        let c = device.allocate(&vec![0; n]);
        let count = (n as u32).to_le_bytes();
        let arguments = [
            Argument::Pointer(a),
            Argument::Pointer(b),
            Argument::Pointer(c),
            Argument::Value(&count),
        ];
        device.launch("vector_add", line(20, 256), &arguments, &settings, &mut ()).unwrap();
        let expected: Vec<_> =
            (0..n).map(|i| (i as f32 * 0.5 + i as f32 * 1.25).to_bits()).collect();
        assert_eq!(device.read(c, n), expected);
    }
}

#[test]
fn every_work_item_knows_its_place() {
    let Some(device) = Device::new() else { return };
    let ([gx, gy, gz], [bx, by, bz]) = ([3, 2, 4], [5, 3, 7]);
    let expected: Vec<u32> = (0..gx * gy * gz)
        .flat_map(|group| (0..bx * by * bz).map(move |item| (group, item)))
        .map(|(group, item)| {
            let [gx, gy, gz] = [group % gx, group / gx % gy, group / (gx * gy)];
            let [bx, by, bz] = [item % bx, item / bx % by, item / (bx * by)];
            gx | (gy << 4) | (gz << 8) | (bx << 12) | (by << 18) | (bz << 24)
        })
        .collect();
    let out = device.allocate(&vec![u32::MAX; expected.len()]);
    let shape = [[gx, gy, gz], [bx, by, bz]];
    device
        .launch("place", shape, &[Argument::Pointer(out)], &Settings::default(), &mut ())
        .unwrap();
    assert_eq!(device.read(out, expected.len()), expected);
}

#[test]
fn a_launch_is_counted() {
    let Some(device) = Device::new() else { return };
    let n = 2048u32;
    let zeros = vec![0; n as usize];
    let [a, b, c] = [0; 3].map(|_| Argument::Pointer(device.allocate(&zeros)));
    // The last of three work-groups has nothing to do.
    let arguments = [a, b, c, Argument::Value(&n.to_le_bytes())];
    let shape = WorkGroupShape { waves_per_work_group: 16, dynamic_lds_bytes: 0 };
    let kernel = device.module.object().kernel("vector_add").unwrap();
    let report = |settings: &Settings| {
        let mut counters = Counters::default();
        device.launch("vector_add", line(3, 1024), &arguments, settings, &mut counters).unwrap();
        counters.report(kernel, &shape)
    };
    let seen = report(&orders()[0]);
    assert_eq!((seen.work_groups, seen.waves, seen.barriers), (3, 48, 0));
    // Each busy wave loads 2 × 256 bytes and stores 256: 2 lines of 128 bytes each.
    let traffic = |t: &gfx942_emulator::count::Traffic| [t.instructions, t.bytes, t.lines];
    assert_eq!(traffic(&seen.memory.loads), [64, 16384, 128]);
    assert_eq!(traffic(&seen.memory.stores), [32, 8192, 64]);
    assert_eq!((seen.memory.l2.load_misses, seen.memory.l2.store_misses), (128, 64));
    assert_eq!(seen.by_mnemonic["v_add_f32"], 32);
    assert_eq!(seen.by_mnemonic["s_endpgm"], 48);
    assert_eq!(seen.loads_in_flight.max_bytes_per_wave, 512);
    assert_eq!(seen.instructions.total, seen.by_mnemonic.values().sum::<u64>());
    assert_eq!(seen.resources.waves_per_cu, 32, "two work-groups of sixteen");
    for settings in &orders()[1..] {
        assert_eq!(report(settings), seen, "the order does not show");
    }
}

#[test]
fn an_access_outside_names_the_place() {
    let Some(device) = Device::new() else { return };
    let n = 1024u32;
    let [a, b, c] = [1024, 1024, 1000].map(|n| device.allocate(&vec![0; n]));
    let arguments = [
        Argument::Pointer(a),
        Argument::Pointer(b),
        Argument::Pointer(c),
        Argument::Value(&n.to_le_bytes()),
    ];
    for settings in orders() {
        let error = device.launch("vector_add", line(4, 256), &arguments, &settings, &mut ());
        let Err(LaunchError::Fault(fault)) = error else { panic!("{error:?}") };
        assert_eq!(
            (fault.kernel.as_str(), fault.work_group, fault.wave),
            ("vector_add", [3, 0, 0], 3)
        );
        assert!(fault.instruction.starts_with("global_store_dword"), "{fault}");
        let Cause::Trap(Trap::Memory { lane, address, access, .. }) = fault.cause else {
            panic!("{fault}")
        };
        assert_eq!((lane, address, access), (40, c + 4000, "store"));
    }
}

#[test]
fn a_wave_that_waits_for_another_gets_there_and_an_endless_one_is_stopped() {
    let Some(device) = Device::new() else { return };
    let out = device.allocate(&[0; 128]);
    for settings in orders() {
        device.launch("spin", line(1, 128), &[Argument::Pointer(out)], &settings, &mut ()).unwrap();
    }
    assert_eq!(device.read(out, 128), (0..128).collect::<Vec<_>>());
    let one = device.allocate(&[1]);
    let settings = Settings { step_limit: 10_000, ..Settings::default() };
    let error =
        device.launch("endless", line(1, 64), &[Argument::Pointer(one)], &settings, &mut ());
    let Err(LaunchError::Fault(fault)) = error else { panic!("{error:?}") };
    assert_eq!(fault.cause, Cause::StepLimit(10_000));
}

#[test]
fn sums_in_memory_do_not_depend_on_threads() {
    let Some(device) = Device::new() else { return };
    let values: Vec<_> = (0..500).map(|i| (1e-3 * (i * 7919 % 1000) as f32).to_bits()).collect();
    let a = device.allocate(&values);
    let total = |settings: &Settings| {
        let total = device.allocate(&[0]);
        let arguments = [Argument::Pointer(total), Argument::Pointer(a)];
        device.launch("sum", line(500, 1), &arguments, settings, &mut ()).unwrap();
        device.read(total, 1)[0]
    };
    let [one, four, shuffled, _] = orders().map(|settings| total(&settings));
    assert_eq!(one, four);
    assert_ne!(one, shuffled, "this sum depends on the order: the test can see it");
}

#[test]
fn what_the_device_does_not_take_is_refused() {
    let Some(device) = Device::new() else { return };
    let settings = Settings::default();
    let out = Argument::Pointer(device.allocate(&[0; 64]));
    for (shape, says) in
        [(line(0, 64), "empty"), (line(1, 2048), "at most 1024"), (line(1 << 31, 4), "axis 0")]
    {
        let error = device.launch("place", shape, &[out], &settings, &mut ()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = device.launch("place", line(1, 64), &[out, out], &settings, &mut ()).unwrap_err();
    assert!(error.to_string().contains("1 arguments"), "{error}");
    let huge = Launch { grid: [1; 3], block: [u32::MAX; 3], dynamic_lds_bytes: 0, kernarg: &[] };
    assert_eq!(huge.num_waves(), 1 << 26, "a block beyond 32 bits is no overflow");
    let launch = Launch { grid: [1; 3], block: [1; 3], dynamic_lds_bytes: 0, kernarg: &[] };
    let error = device.emulator.launch(&device.module, "plaice", &launch, &settings, &mut ());
    assert!(error.unwrap_err().to_string().contains("place"), "the kernels are named");
}
