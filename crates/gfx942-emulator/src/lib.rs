//! gfx942 (CDNA3, MI300X) in software: the machine code that hipcc makes, executed on the CPU.
//!
//! The way of an instruction: bytes ► [`isa::decode`] ► [`isa::Inst`] ► [`exec`] ► registers and memory.

pub mod count;
pub mod exec;
pub mod isa;
pub mod numeric;
mod simd;

/// Lanes of a wave.
pub const WAVE_SIZE: usize = 64;
