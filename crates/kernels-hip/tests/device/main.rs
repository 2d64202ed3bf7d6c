//! The kernels, from source to result: compiled by the build, launched through libamdhip64, compared with
//! `reference-cpu`.
//!
//! On the device of the library that `KVASIR_HIP_LIBRARY` names, else on ROCm's; without either they are skipped.
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
    match device {
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
