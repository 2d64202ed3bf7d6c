//! Compiles kernels and runs them under the sanitizer.

use std::fs;

use code_object::{Argument, CodeObject, Kernel, ValueKind};
use gfx942_emulator::exec::memory::{Arena, ArenaConfig, MemoryKind};
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
    watch(object, name, shape, |arena, _| {
        let (input, output) = (allocate(arena, NUM_BYTES), allocate(arena, NUM_BYTES));
        let dwords = (0..NUM_BYTES as u32 / 4).map(|i| i % 61);
        let bytes: Vec<u8> = dwords.flat_map(u32::to_le_bytes).collect();
        arena.write(input, &bytes).expect("it was allocated");
        vec![Argument::Pointer(input), Argument::Pointer(output)]
    })
}

/// What it finds in kernel `name`, whatever arguments it takes: pointers to much, and [`NUMBER`].
pub fn findings_of_any(object: &[u8], name: &str, shape: Shape) -> Vec<Finding> {
    watch(object, name, shape, |arena, kernel| {
        let arguments = &kernel.metadata.as_ref().expect("hipcc writes metadata").args;
        let given = arguments.iter().filter_map(|argument| match argument.value_kind {
            ValueKind::GlobalBuffer => {
                let address = allocate(arena, 1 << 20);
                // Numbers in any format, and indices of a sparse matrix.
                arena.fill(address, 1 << 20, &[0x44]).expect("it was allocated");
                Some(Argument::Pointer(address))
            }
            ValueKind::ByValue => Some(Argument::Value(&NUMBER[..argument.size as usize])),
            _ => None,
        });
        given.collect()
    })
}

/// 192, in as many bytes as are asked for; of a struct, every u64.
const NUMBER: [u8; 1024] = {
    let mut bytes = [0; 1024];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = 192;
        at += 8;
    }
    bytes
};

fn allocate(arena: &Arena, num_bytes: usize) -> u64 {
    arena.allocate(num_bytes as u64, MemoryKind::Device).expect("there is room")
}

fn watch(
    object: &[u8],
    name: &str,
    shape: Shape,
    arguments: impl FnOnce(&Arena, &Kernel) -> Vec<Argument<'static>>,
) -> Vec<Finding> {
    let object = CodeObject::parse(object).expect("clang's output is well-formed");
    let config = ArenaConfig { tracks_writes: true, capacity: 1 << 30, ..ArenaConfig::default() };
    let emulator = Emulator::new(config).expect("address space is free");
    let module = emulator.load(object).expect("there is room");
    let kernel = module.object().kernel(name).expect("it is in the file");
    let launch = Launch {
        grid: [shape.grid, 1, 1],
        block: [shape.block, 1, 1],
        dynamic_lds_bytes: 0,
        kernarg: &[],
    };
    let arguments = arguments(emulator.arena(), kernel);
    let segment = kernel.kernarg(&arguments, &launch.dispatch()).expect("they fit");
    let launch = Launch { kernarg: &segment.bytes, ..launch };
    let settings = Settings { num_threads: shape.num_threads, ..Settings::default() };
    let mut sanitizer = Sanitizer::new(&emulator, &module, kernel, &launch, &settings);
    emulator.launch(&module, name, &launch, &settings, &mut sanitizer).expect("it runs");
    sanitizer.findings().cloned().collect()
}
