//! The decoder and disassembler, with LLVM as the arbiter.

mod access;
mod any_bytes;
mod kernels;
mod llvm;
mod random;
mod sampler;
