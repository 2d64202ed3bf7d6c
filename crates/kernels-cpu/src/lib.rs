//! The fast CPU backend: SIMD kernels chosen at run time, one thread pool, paged KV.
//!
//! **Reduction class.** Every dot product is one chain over k in order (pairs of k for bfloat16),
//! every attention row walks KV tiles of `ops::KV_TILE` positions at absolute borders and merges
//! them in position order. Row counts, batch mates, chunk borders, block sizes and threads choose
//! only how many chains run side by side, so they cannot change a bit.
//!
//! The way down: [`KernelsCpu`] (shape checks) → `ops` (tasks on the pool) → `simd` (one tile or one
//! row, per ISA).

mod backend;
mod buffer;
mod fp8;
mod isa;
mod kv_layout;
mod kv_run;
mod matrix;
mod ops;
mod pool;
mod simd;

pub use backend::{KernelsCpu, StartError};
pub use buffer::Buffer;
pub use isa::{CpuIsa, IsaError};
pub use kv_layout::{KvCache, KvLayout};
pub use matrix::Matrix;
