//! gfx942 (CDNA3, MI300X) in software: the machine code that hipcc makes, executed on the CPU.
//!
//! The way of an instruction: bytes ► [`isa::decode`] ► [`isa::Inst`] ► [`exec`] ► registers and memory. [`launch`] starts kernels, and
//! [`count`] and [`sanitize`] watch them.

pub mod count;
pub mod exec;
pub mod isa;
pub mod launch;
pub mod numeric;
pub mod sanitize;
mod simd;

/// Lanes of a wave.
pub const WAVE_SIZE: usize = 64;

/// Accelerator dies of an MI300X, among which work-groups are dealt round-robin.
pub const NUM_XCDS: usize = 8;
