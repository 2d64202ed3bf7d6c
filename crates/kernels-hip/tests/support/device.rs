//! The device that tests use.
//!
//! That of the library that `KVASIR_HIP_LIBRARY` names, else ROCm's, else the emulator, which Cargo builds beside these
//! tests. Without a hipcc at build time they are skipped, or fail if `KVASIR_REQUIRE_HIP=1`.

use std::env;
use std::path::PathBuf;

use hip_sys::{LIBRARY_VAR, LoadError};
use hip_toolchain::REQUIRE_HIP_VAR;
use kernels_hip::{Device, Error, Runtime, Stream, registry};

/// A device and a stream of it, if the build had a compiler.
pub fn device() -> Option<(Device, Stream)> {
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

/// The emulator's library: a dev-dependency's cdylib lies where the tests do.
pub fn emulator() -> PathBuf {
    env::current_exe().unwrap().with_file_name("libhip_emulator.so")
}
