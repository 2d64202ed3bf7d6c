//! libamdhip64 without a GPU: the same functions with the same C ABI, over [`gfx942_emulator`].
//!
//! A program that loads this library in place of ROCm's (`KVASIR_HIP_LIBRARY`, or `LD_LIBRARY_PATH` and a link named
//! `libamdhip64.so.6`) finds one MI300X. Its kernels are executed on the CPU, by the machine code that would run on
//! the GPU.
//!
//! Work runs when it is submitted, or, with `KVASIR_EMU_LAZY=1`, not before something synchronises with it: a program
//! that forgot to synchronise then sees what it could see on hardware on a bad day. What goes wrong is told in words
//! on stderr and by [`fault::kvasirEmuLastFault`].

// The names are HIP's.
#![allow(non_snake_case)]

pub mod abi;
mod device;
mod error;
pub mod fault;
mod launch;
mod module;
mod properties;
mod queue;
mod runtime;
mod work;
