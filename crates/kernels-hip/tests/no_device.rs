//! ROCm's own library on a machine without a GPU: `no ROCm device`, error 100, and no crash.
#![forbid(unsafe_code)]

use std::env;
use std::path::Path;

use hip_toolchain::for_tests;
use kernels_hip::{Error, Runtime};

/// Set for the process that loads the library.
const LIBRARY_VAR: &str = "KVASIR_TEST_ROCM_LIBRARY";

/// What the process says of a machine that has a GPU after all.
const HAS_DEVICE: &str = "this machine has a ROCm device";

/// The library may need a newer C++ library than the machine has, so it is loaded in a process that runs on the
/// toolchain's.
#[test]
fn in_child() {
    let Some(library) = env::var_os(LIBRARY_VAR) else { return };
    let runtime = Runtime::open(Path::new(&library)).unwrap();
    assert!((6..=7).contains(&runtime.version().0), "{:?}", runtime.version());
    match runtime.num_devices() {
        Err(error @ Error::NoDevice(_)) => println!("{error}"),
        Ok(_) => println!("{HAS_DEVICE}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn rocm_without_a_gpu_says_that_there_is_no_device() {
    let Some(toolchain) = for_tests() else { return };
    let libraries = ["libamdhip64.so.7", "libamdhip64.so.6"];
    let Some(library) = libraries.iter().find_map(|name| toolchain.library(name)) else {
        eprintln!("skipped: this hipcc came without libamdhip64");
        return;
    };
    let mut child = toolchain.command(&env::current_exe().unwrap());
    child.args(["--exact", "in_child", "--nocapture"]).env(LIBRARY_VAR, library);
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    if said.contains(HAS_DEVICE) {
        eprintln!("skipped: {HAS_DEVICE}");
        return;
    }
    for words in
        ["no ROCm device", "hipGetDeviceCount", "hipErrorNoDevice, error 100", "KVASIR_HIP_LIBRARY"]
    {
        assert!(said.contains(words), "{said}");
    }
}
