//! Memory instructions against simple models. Instructions are built by hand.

mod arena;
mod atomics;
mod buffers;
mod crossing;
mod floats;
mod formats;
mod global;
mod lds;
mod scalar;
mod scratch;

use super::{Arena, ArenaConfig, Lds, Memory, MemoryKind, Scratch, execute};
use crate::exec::{
    Access, AccessKind, Context, Mode, Observer, Options, Space, Trap, Wave, WaveId,
};
use crate::isa::{Extra, Flags, Format, Inst, Modifiers, Op, Operand};

const POISON: u32 = 0xdead_beef;
const ALL: u64 = u64::MAX;

/// An instruction with nothing set.
fn inst(format: Format, op: Op) -> Inst {
    Inst {
        op,
        format,
        size: 8,
        dst: Operand::NONE,
        sdst: Operand::NONE,
        src: [Operand::NONE; 4],
        literal: 0,
        offset: 0,
        flags: Flags::default(),
        modifiers: Modifiers::default(),
        extra: Extra::None,
        buffer_format: 0,
    }
}

/// Vector register `index`.
fn v(index: u8) -> Operand {
    Operand::vgpr(index)
}

/// Scalar register `index`.
fn s(index: u8) -> Operand {
    Operand::sgpr(index)
}

/// What an observer saw.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    kind: AccessKind,
    space: Space,
    lanes: u64,
    first_address: u64,
    num_bytes: usize,
    outside: u64,
}

#[derive(Default)]
struct Recorder(Vec<Seen>);

impl Observer for Recorder {
    fn fork(&self) -> Self {
        Self::default()
    }

    fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    fn access(&mut self, _id: WaveId, access: &Access<'_>) {
        let Access { kind, space, lanes, num_bytes, outside, .. } = *access;
        let first_address = access.addresses[lanes.trailing_zeros() as usize % 64];
        self.0.push(Seen { kind, space, lanes, first_address, num_bytes, outside });
    }
}

/// A wave and its memories.
struct Machine {
    arena: Arena,
    lds: Lds,
    scratch: Scratch,
    wave: Wave,
    recorder: Recorder,
}

impl Machine {
    fn new() -> Self {
        let arena = Arena::new(ArenaConfig {
            capacity: 64 << 20,
            poison: POISON,
            ..ArenaConfig::default()
        })
        .unwrap();
        let mode = Mode(0xf0);
        Self {
            arena,
            lds: Lds::new(4096, POISON),
            scratch: Scratch::new(64, POISON),
            wave: Wave::new(0, mode, ALL, 0x5555_5555),
            recorder: Recorder::default(),
        }
    }

    fn run(&mut self, inst: Inst) -> Result<(), Trap> {
        let memory = Memory {
            arena: &self.arena,
            lds: &mut self.lds,
            scratch: &mut self.scratch,
            clock: 2100,
        };
        let options = &Options::default();
        let observer = &mut self.recorder;
        let mut context = Context::new(memory, options, observer, WaveId::default());
        execute(&mut self.wave, &inst, &mut context)
    }

    fn allocate(&self, num_bytes: u64) -> u64 {
        self.arena.allocate(num_bytes, MemoryKind::Device).unwrap()
    }

    /// An allocation that holds `bytes`.
    fn allocate_with(&self, bytes: &[u8]) -> u64 {
        let address = self.allocate(bytes.len() as u64);
        self.arena.write(address, bytes).unwrap();
        address
    }

    fn read(&self, address: u64, num_bytes: usize) -> Vec<u8> {
        let mut bytes = vec![0; num_bytes];
        self.arena.read(address, &mut bytes).unwrap();
        bytes
    }

    fn set(&mut self, register: usize, value: impl Fn(usize) -> u32) {
        *self.wave.vector_mut(register) = std::array::from_fn(value);
    }

    /// Puts 64-bit values into two registers.
    fn set_wide(&mut self, register: usize, value: impl Fn(usize) -> u64) {
        self.set(register, |lane| value(lane) as u32);
        self.set(register + 1, |lane| (value(lane) >> 32) as u32);
    }

    fn get(&self, register: usize, lane: usize) -> u32 {
        self.wave.vector(register)[lane]
    }
}

/// Bytes that differ from their neighbours.
fn pattern(num_bytes: usize) -> Vec<u8> {
    (0..num_bytes as u32).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

/// A load for the model: bytes, whether signed, and what of the register it fills.
const LOADS: [(&str, usize, bool, &str); 14] = [
    ("dword", 4, false, ""),
    ("dwordx2", 8, false, ""),
    ("dwordx3", 12, false, ""),
    ("dwordx4", 16, false, ""),
    ("ubyte", 1, false, ""),
    ("sbyte", 1, true, ""),
    ("ushort", 2, false, ""),
    ("sshort", 2, true, ""),
    ("ubyte_d16", 1, false, "low"),
    ("ubyte_d16_hi", 1, false, "high"),
    ("sbyte_d16", 1, true, "low"),
    ("sbyte_d16_hi", 1, true, "high"),
    ("short_d16", 2, false, "low"),
    ("short_d16_hi", 2, false, "high"),
];

/// A store for the model: bytes, and the bit of the register that they start at.
const STORES: [(&str, usize, usize); 8] = [
    ("dword", 4, 0),
    ("dwordx2", 8, 0),
    ("dwordx3", 12, 0),
    ("dwordx4", 16, 0),
    ("byte", 1, 0),
    ("short", 2, 0),
    ("byte_d16_hi", 1, 2),
    ("short_d16_hi", 2, 2),
];

/// The operation called `name`.
fn op(name: &str) -> Op {
    *Op::ALL.iter().find(|op| op.name() == name).unwrap_or_else(|| panic!("no {name}"))
}

/// What a load of `bytes` puts into the registers.
fn loaded(bytes: &[u8], signed: bool, part: &str) -> Vec<u32> {
    if bytes.len() >= 4 {
        return bytes
            .chunks(4)
            .map(|dword| u32::from_le_bytes(dword.try_into().unwrap()))
            .collect();
    }
    let mut value = bytes.iter().rev().fold(0_i64, |value, &byte| value << 8 | i64::from(byte));
    if signed && bytes[bytes.len() - 1] >= 0x80 {
        value -= 1 << (8 * bytes.len());
    }
    vec![match part {
        "low" => value as u32 & 0xffff,
        "high" => (value as u32 & 0xffff) << 16,
        _ => value as u32,
    }]
}
