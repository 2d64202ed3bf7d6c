//! The kernels, from source to result: compiled by the build, launched through libamdhip64, compared with
//! `reference-cpu`.
//!
//! On the device of the library that `KVASIR_HIP_LIBRARY` names, else on ROCm's, else in the emulator if it was built
//! beside these tests; without any they are skipped.
#![forbid(unsafe_code)]

mod fp8_quantize;
mod handles;
mod mfma_probe;
mod rms_norm;
mod vector_add;

use kernels_hip::{Device, Error, Runtime, Stream, registry};

/// A device and a stream of it, if there is one and the build had a compiler.
fn device() -> Option<(Device, Stream)> {
    if registry::rows().is_empty() {
        eprintln!("skipped: no hipcc");
        return None;
    }
    let device = Runtime::load().and_then(|runtime| runtime.device(0));
    match device.or_else(|error| emulated().unwrap_or(Err(error))) {
        Ok(device) => {
            let stream = device.stream().unwrap();
            Some((device, stream))
        }
        Err(error @ (Error::Load(hip_sys::LoadError::NotFound { .. }) | Error::NoDevice(_))) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The emulator's device, where Cargo has built the emulator.
fn emulated() -> Option<kernels_hip::Result<Device>> {
    let library = std::env::current_exe().ok()?.with_file_name("libhip_emulator.so");
    let is_named = std::env::var_os(hip_sys::LIBRARY_VAR).is_some();
    let runtime = (library.exists() && !is_named).then(|| Runtime::open(&library))?;
    Some(runtime.and_then(|runtime| runtime.device(0)))
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
