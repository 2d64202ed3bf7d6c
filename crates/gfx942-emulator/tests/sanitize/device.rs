//! Compiles kernels and runs them under the sanitizer.

use std::fs;

use code_object::{Argument, CodeObject};
use gfx942_emulator::exec::memory::{ArenaConfig, MemoryKind};
use gfx942_emulator::launch::{Emulator, Launch, Settings};
use gfx942_emulator::sanitize::{Finding, Sanitizer};
use hip_toolchain::Toolchain;

/// Bytes of the input, which is initialised, and of the output, which is not.
pub const NUM_BYTES: usize = 16 << 10;

/// A HIP source as a code object.
pub fn compile(toolchain: &Toolchain, text: &str, flags: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("kernels.hip");
    let object = source.with_extension("hsaco");
    fs::write(&source, text).expect("the folder is writable");
    toolchain.compile(&source, "gfx942", flags, &object).expect("the kernels compile");
    fs::read(&object).expect("it was compiled")
}

/// How a kernel is launched.
#[derive(Clone, Copy)]
pub struct Shape {
    pub grid: u32,
    pub block: u32,
    pub num_threads: usize,
}

impl Shape {
    pub const WAVE: Self = Self { grid: 1, block: 64, num_threads: 1 };
    pub const GROUPS: Self = Self { grid: 3, block: 128, num_threads: 2 };
}

/// What the sanitizer finds in kernel `name`, which takes an input, an output, and no more.
pub fn findings(object: &[u8], name: &str, shape: Shape) -> Vec<Finding> {
    let object = CodeObject::parse(object).expect("clang's output is well-formed");
    let config = ArenaConfig { tracks_writes: true, capacity: 1 << 30, ..ArenaConfig::default() };
    let emulator = Emulator::new(config).expect("address space is free");
    let module = emulator.load(object).expect("there is room");
    let arena = emulator.arena();
    let allocate = || arena.allocate(NUM_BYTES as u64, MemoryKind::Device).expect("there is room");
    let (input, output) = (allocate(), allocate());
    let bytes: Vec<u8> = (0..NUM_BYTES / 4).flat_map(|i| (i as u32 % 61).to_le_bytes()).collect();
    arena.write(input, &bytes).expect("it was allocated");
    let kernel = module.object().kernel(name).expect("it is in the file");
    let launch = Launch {
        grid: [shape.grid, 1, 1],
        block: [shape.block, 1, 1],
        dynamic_lds_bytes: 0,
        kernarg: &[],
    };
    let arguments = [Argument::Pointer(input), Argument::Pointer(output)];
    let segment = kernel.kernarg(&arguments, &launch.dispatch()).expect("two pointers");
    let launch = Launch { kernarg: &segment.bytes, ..launch };
    let settings = Settings { num_threads: shape.num_threads, ..Settings::default() };
    let mut sanitizer = Sanitizer::new(&emulator, &module, kernel, &launch, &settings);
    emulator.launch(&module, name, &launch, &settings, &mut sanitizer).expect("it runs");
    sanitizer.findings().cloned().collect()
}
