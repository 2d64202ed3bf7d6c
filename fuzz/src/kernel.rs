//! A code object made by hand around any descriptor and any code, and what must hold when its kernel runs: it ends, in
//! its own memory, with an error at worst. The emulator's own tests include this file.

use code_object::{CodeObject, KernelDescriptor, WorkGroupShape};
use gfx942_emulator::count::Counters;
use gfx942_emulator::exec::memory::{ArenaConfig, MemoryKind};
use gfx942_emulator::exec::{Options, Ulp};
use gfx942_emulator::launch::{Cause, Emulator, Launch, LaunchError, Order, Settings};
use gfx942_emulator::sanitize::Sanitizer;

/// The only kernel of [`code_object()`].
pub const NAME: &str = "k";

/// Where the code lies in [`code_object()`]: what faults count from.
pub const CODE: usize = 512;

const DESCRIPTOR: usize = CODE - KernelDescriptor::NUM_BYTES;

/// Bytes of each of the two buffers that the kernel is given.
const BUFFER_BYTES: u64 = 4096;

/// Bytes of device memory.
const CAPACITY: u64 = 64 << 20;

/// Most instructions of a wave.
const STEP_LIMIT: u64 = 1000;

/// An ELF file with one kernel: the descriptor, but for where its code begins, and the code.
pub fn code_object(descriptor: &[u8; KernelDescriptor::NUM_BYTES], code: &[u8]) -> Vec<u8> {
    const DYNSYM: u64 = 120;
    const DYNSTR: u64 = 168;
    const SECTIONS: u64 = 176;
    let mut file = Vec::with_capacity(CODE + code.len());
    file.extend(b"\x7fELF\x02\x01\x01\x40\x03\0\0\0\0\0\0\0");
    // A shared object for AMD's GPUs, version 1: gfx942, XNACK and SRAMECC either way.
    put(&mut file, &[3, 0xe0], 2);
    put(&mut file, &[1], 4);
    put(&mut file, &[0, 64, SECTIONS], 8);
    put(&mut file, &[0x54c], 4);
    put(&mut file, &[64, 56, 1, 64, 3, 2], 2);
    // One segment, to be loaded, readable and executable: the whole file.
    let num_bytes = (CODE + code.len()) as u64;
    put(&mut file, &[1, 5], 4);
    put(&mut file, &[0, 0, 0, num_bytes, num_bytes, 256], 8);
    // No symbol, then the descriptor's: a global object in a section.
    file.extend([0; 24]);
    put(&mut file, &[1], 4);
    put(&mut file, &[0x11, 0], 1);
    put(&mut file, &[1], 2);
    put(&mut file, &[DESCRIPTOR as u64, KernelDescriptor::NUM_BYTES as u64], 8);
    file.extend(b"\0k.kd\0\0\0");
    // No section, the dynamic symbols, their names.
    file.extend([0; 64]);
    section(&mut file, [11, 2, DYNSYM, 48, 2, 1, 24]);
    section(&mut file, [3, 2, DYNSTR, 6, 0, 0, 0]);
    file.resize(DESCRIPTOR, 0);
    file.extend(descriptor);
    let entry_offset = (CODE - DESCRIPTOR) as u64;
    file[DESCRIPTOR + 16..DESCRIPTOR + 24].copy_from_slice(&entry_offset.to_le_bytes());
    file.extend(code);
    file
}

fn section(file: &mut Vec<u8>, [kind, flags, at, num_bytes, link, info, entry]: [u64; 7]) {
    put(file, &[0, kind], 4);
    put(file, &[flags, at, at, num_bytes], 8);
    put(file, &[link, info], 4);
    put(file, &[8, entry], 8);
}

fn put(file: &mut Vec<u8>, values: &[u64], num_bytes: usize) {
    values.iter().for_each(|value| file.extend(&value.to_le_bytes()[..num_bytes]));
}

/// Any bytes as a descriptor and the code that follows it. What stopped it.
pub fn kernel(bytes: &[u8]) -> Result<(), String> {
    let Some((descriptor, code)) = bytes.split_first_chunk() else {
        return Err("too short".into());
    };
    let object = CodeObject::parse(&code_object(descriptor, code)).map_err(|e| e.to_string())?;
    let config = ArenaConfig { capacity: CAPACITY, tracks_writes: true, ..ArenaConfig::default() };
    let emulator = Emulator::new(config).expect("address space is free");
    let module = emulator.load(object).expect("the code is small");
    let kernel = module.object().kernel(NAME).expect("it has one");
    let mut kernarg = Vec::new();
    for _ in 0..2 {
        let address = emulator.arena().allocate(BUFFER_BYTES, MemoryKind::Device);
        kernarg.extend(address.expect("there is room").to_le_bytes());
    }
    // A wave and a lane.
    let launch =
        Launch { grid: [2, 1, 1], block: [65, 1, 1], dynamic_lds_bytes: 256, kernarg: &kernarg };
    let seed = u64::from(code.first().copied().unwrap_or_default());
    let settings = Settings {
        options: Options { exact_mfma: seed & 1 != 0, ulp: Ulp::Seeded(seed) },
        order: if seed & 2 != 0 { Order::Seeded(seed) } else { Order::InOrder },
        num_threads: 1,
        step_limit: STEP_LIMIT,
        ..Settings::default()
    };
    let sanitizer = Sanitizer::new(&emulator, &module, kernel, &launch, &settings);
    let mut observers = (sanitizer, Counters::default());
    let ended = emulator.launch(&module, NAME, &launch, &settings, &mut observers);
    let (sanitizer, counters) = observers;
    sanitizer.findings().for_each(|finding| assert!(!finding.to_string().is_empty()));
    let shape = WorkGroupShape { waves_per_work_group: launch.num_waves(), dynamic_lds_bytes: 256 };
    let report = counters.report(kernel, &shape);
    assert!(report.instructions.total <= report.waves * STEP_LIMIT);
    if let Err(LaunchError::Fault(fault)) = &ended {
        assert!(
            matches!(fault.cause, Cause::NoInstruction) || fault.pc < (CODE + code.len()) as u64
        );
        assert!(fault.to_string().starts_with("k: work-group"));
    }
    ended.map_err(|error| error.to_string())
}
