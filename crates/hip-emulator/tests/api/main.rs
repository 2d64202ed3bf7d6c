//! The library through its ABI: loaded as a program loads ROCm's.

mod hip;
mod kernels;
mod memory;
mod program;
mod streams;
mod watch;
