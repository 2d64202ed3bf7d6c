//! The kernels, from source to result: compiled by the build, launched through libamdhip64, compared with
//! `reference-cpu`.
//! On the device that `support/device.rs` finds.
#![forbid(unsafe_code)]

mod counted;
mod fp8_convert;
mod fp8_quantize;
mod fused_fp8;
mod gemm;
mod gemm_fp8;
mod gemm_int4;
mod handles;
mod kv_blocks;
mod kv_paths;
mod kv_write;
mod mfma_probe;
mod modes;
mod mutants;
mod rms_norm;
mod rows;
mod sample;
mod vector_add;

#[path = "../support/baseline.rs"]
mod baseline;
#[path = "../support/counters.rs"]
mod counters;
// Shared with tests/mutants, which uses the rest of it.
#[allow(dead_code)]
#[path = "../support/patch.rs"]
mod patch;
#[path = "../support/device.rs"]
mod support;

use kernels_hip::{ops, registry};
use support::{device, emulator};

/// The variants of an op that this build has, the best first.
fn built(op: &str) -> impl Iterator<Item = &'static str> {
    let names = ops::catalogue().into_iter().filter(move |row| row.op == op).map(|row| row.name);
    names.filter(|name| registry::rows().iter().any(|row| row.variant == *name))
}

/// A sequence of bits that looks random and is the same each time.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// In -1 .. 1.
    fn unit(&mut self) -> f32 {
        (self.next() as i32) as f32 / 2_147_483_648.0
    }

    fn units(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.unit()).collect()
    }
}
