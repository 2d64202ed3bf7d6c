//! The kernels, from source to result: compiled by the build, launched through libamdhip64, compared with
//! `reference-cpu`.
//!
//! On the device of the library that `KVASIR_HIP_LIBRARY` names, else on ROCm's, else in the emulator, which Cargo
//! builds beside these tests. Without a hipcc at build time they are skipped, or fail if `KVASIR_REQUIRE_HIP=1`.
#![forbid(unsafe_code)]

mod fp8_convert;
mod fp8_quantize;
mod fused_fp8;
mod handles;
mod kv_write;
mod mfma_probe;
mod modes;
mod rms_norm;
mod sample;
mod vector_add;

use std::env;
use std::path::PathBuf;

use hip_sys::{LIBRARY_VAR, LoadError};
use hip_toolchain::REQUIRE_HIP_VAR;
use kernels_hip::{Device, Error, Runtime, Stream, ops, registry};

/// A device and a stream of it, if the build had a compiler.
fn device() -> Option<(Device, Stream)> {
    if registry::rows().is_empty() {
        let is_required = env::var_os(REQUIRE_HIP_VAR).is_some_and(|value| value == "1");
        assert!(!is_required, "the build found no hipcc, and {REQUIRE_HIP_VAR} is 1");
        eprintln!("skipped: no hipcc");
        return None;
    }
    let device = Runtime::load().and_then(|runtime| runtime.device(0));
    let is_named = env::var_os(LIBRARY_VAR).is_some();
    let device = match device {
        Err(Error::Load(LoadError::NotFound { .. }) | Error::NoDevice(_)) if !is_named => {
            Runtime::open(&emulator()).and_then(|runtime| runtime.device(0))
        }
        device => device,
    };
    let device = device.unwrap_or_else(|error| panic!("{error}"));
    let stream = device.stream().unwrap();
    Some((device, stream))
}

/// The variants of an op that this build has, the best first.
fn built(op: &str) -> impl Iterator<Item = &'static str> {
    let names = ops::catalogue().into_iter().filter(move |row| row.op == op).map(|row| row.name);
    names.filter(|name| registry::rows().iter().any(|row| row.variant == *name))
}

/// The emulator's library: a dev-dependency's cdylib lies where the tests do.
fn emulator() -> PathBuf {
    env::current_exe().unwrap().with_file_name("libhip_emulator.so")
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
