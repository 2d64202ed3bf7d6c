//! The same functions as kernels: compiled for gfx942, executed by the emulator.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use code_object::{Argument, CodeObject};
use gfx942_emulator::exec::memory::{ArenaConfig, MemoryKind};
use gfx942_emulator::launch::{Emulator, Launch, LaunchError, Settings};
use hip_toolchain::Toolchain;

use crate::generate::{NUM_INPUT_WORDS, NUM_OUTPUT_WORDS};
use crate::{BLOCK_SIZE, NUM_INPUTS, PRELUDE};

const FLAGS: [&str; 3] = ["-w", "-ffp-contract=off", "-fno-strict-aliasing"];

/// Compiles the functions as one HIP file, at `level` (`-O0`, …).
pub fn compile(toolchain: &Toolchain, folder: &Path, functions: &[String], level: &str) -> PathBuf {
    let source = folder.join(format!("device{level}.hip"));
    let object = source.with_extension("hsaco");
    fs::write(&source, text(functions)).expect("the folder is writable");
    let flags = [&[level], &FLAGS[..]].concat();
    toolchain.compile(&source, "gfx942", &flags, &object).expect("a C subset that clang takes");
    object
}

/// Runs the `num_functions` kernels of `object` over `inputs`; the outputs of each, or what stopped it.
pub fn run(
    object: &Path,
    num_functions: usize,
    inputs: &[u8],
    settings: &Settings,
) -> Vec<Result<Vec<u8>, LaunchError>> {
    let object = fs::read(object).expect("it was compiled");
    let object = CodeObject::parse(&object).expect("clang's output is well-formed");
    let emulator = Emulator::new(ArenaConfig::default()).expect("address space is free");
    let module = emulator.load(object).expect("there is room");
    let arena = emulator.arena();
    let num_bytes = NUM_INPUTS * NUM_OUTPUT_WORDS * 8;
    let input = arena.allocate(inputs.len() as u64, MemoryKind::Device).expect("there is room");
    let output = arena.allocate(num_bytes as u64, MemoryKind::Device).expect("there is room");
    arena.write(input, inputs).expect("it was allocated");
    let launch = Launch {
        grid: [(NUM_INPUTS / BLOCK_SIZE) as u32, 1, 1],
        block: [BLOCK_SIZE as u32, 1, 1],
        dynamic_lds_bytes: 0,
        kernarg: &[],
    };
    let run = |index| {
        let name = format!("function_{index}");
        let kernel = module.object().kernel(&name).expect("it is in the file");
        let arguments = [Argument::Pointer(input), Argument::Pointer(output)];
        let segment = kernel.kernarg(&arguments, &launch.dispatch()).expect("two pointers");
        let launch = Launch { kernarg: &segment.bytes, ..launch };
        emulator.launch(&module, &name, &launch, settings, &mut ())?;
        let mut outputs = vec![0; num_bytes];
        arena.read(output, &mut outputs).expect("it was allocated");
        Ok(outputs)
    };
    (0..num_functions).map(run).collect()
}

fn text(functions: &[String]) -> String {
    let mut text = format!("#include <hip/hip_runtime.h>\n{PRELUDE}\n{}", functions.concat());
    for index in 0..functions.len() {
        write!(
            text,
            "extern \"C\" __global__ __launch_bounds__({BLOCK_SIZE}) void function_{index}(
    const u32 *in, u64 *out) {{
    __shared__ u64 exchange[{BLOCK_SIZE}];
    u32 thread = threadIdx.x, global = blockIdx.x * {BLOCK_SIZE} + thread;
    exchange[thread] = before_{index}(in + global * {NUM_INPUT_WORDS});
    __syncthreads();
    u32 partner = (thread * (2 * {index}u + 5) + {index}u * 37) & ({BLOCK_SIZE} - 1);
    u64 result[{NUM_OUTPUT_WORDS}] = {{0}};
    result[0] = after_{index}(in + global * {NUM_INPUT_WORDS}, exchange[thread], exchange[partner], result);
    for (u32 k = 0; k < {NUM_OUTPUT_WORDS}; k++) out[global * {NUM_OUTPUT_WORDS} + k] = result[k];
}}
"
        )
        .unwrap();
    }
    text
}
