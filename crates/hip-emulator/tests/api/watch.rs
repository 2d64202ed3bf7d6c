//! Counters and sanitizers, by the functions that only the emulator has.

use hip_sys::bindings::hipError_t;
use serde_json::json;

use crate::hip::{Emulator, arg, compile, emulator, ok};

const SOURCE: &str = r#"
#include <hip/hip_runtime.h>
extern "C" __global__ void copy(const int* from, int* to) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    to[i] = from[i];
}
extern "C" __global__ void mirror(int* to) {
    __shared__ int tile[128];
    tile[threadIdx.x] = threadIdx.x;
    // The barrier that belongs here is missing.
    asm volatile("" ::: "memory");
    to[threadIdx.x] = tile[127 - threadIdx.x];
}
"#;

fn synchronize(emulator: &Emulator) -> hipError_t {
    // SAFETY: no arguments.
    unsafe { emulator.hip().hipDeviceSynchronize() }
}

fn reset(emulator: &Emulator) {
    // SAFETY: no arguments.
    ok(unsafe { emulator.hip().hipDeviceReset() });
}

#[test]
fn launches_are_counted_when_they_run() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let emulator = emulator();
    let image = compile(&toolchain, SOURCE, &["-O3"]);
    let function = emulator.function(emulator.load(&image), c"copy");
    let (mut from, mut to) = (emulator.upload(&[1_i32; 512]), emulator.malloc(2048));
    let mut args = [arg(&mut from), arg(&mut to)];
    ok(emulator.launch(function, 4, 128, &mut args));
    assert_eq!(emulator.take_reports(), json!([]));
    emulator.set_counters(true);
    emulator.set_lazy(true);
    ok(emulator.launch(function, 4, 128, &mut args));
    ok(emulator.launch(function, 1, 64, &mut args));
    assert_eq!(emulator.take_reports(), json!([]), "nothing has run");
    ok(synchronize(&emulator));
    let reports = emulator.take_reports();
    let seen = |i: usize| {
        let report = &reports[i];
        let (loads, stores) = (&report["memory"]["loads"], &report["memory"]["stores"]);
        json!([report["kernel"], report["waves"], loads["bytes"], stores["bytes"]])
    };
    assert_eq!(seen(0), json!(["copy", 8, 2048, 2048]));
    assert_eq!(seen(1), json!(["copy", 1, 256, 256]));
    assert_eq!((reports.as_array().unwrap().len(), emulator.take_reports()), (2, json!([])));
}

#[test]
fn findings_are_told_and_fail_only_where_asked() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let emulator = emulator();
    let image = compile(&toolchain, SOURCE, &["-O3"]);
    for (mode, after) in [
        (0, hipError_t::hipSuccess),
        (1, hipError_t::hipSuccess),
        (2, hipError_t::hipErrorLaunchFailure),
    ] {
        emulator.set_sanitize(mode);
        let function = emulator.function(emulator.load(&image), c"mirror");
        let mut to = emulator.malloc(512);
        ok(emulator.launch(function, 1, 128, &mut [arg(&mut to)]));
        assert_eq!(synchronize(&emulator), after);
        // It stays.
        assert_eq!(synchronize(&emulator), after);
        let findings = emulator.take_findings();
        if mode == 0 {
            assert_eq!(findings, json!([]));
            continue;
        }
        assert_eq!(
            (&findings[0]["kind"], &findings[0]["kernel"]),
            (&json!("race"), &json!("mirror"))
        );
        assert_eq!(emulator.take_findings(), json!([]));
        assert_eq!(emulator.last_fault().contains("sanitizer: mirror"), mode == 2);
    }
    reset(&emulator);
    ok(synchronize(&emulator));
}

#[test]
fn device_memory_that_nobody_wrote_is_found_from_a_reset_on() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let emulator = emulator();
    let image = compile(&toolchain, SOURCE, &["-O3"]);
    emulator.set_sanitize(1);
    reset(&emulator);
    let module = emulator.load(&image);
    let (mut middle, mut to) = (emulator.malloc(512), emulator.malloc(512));
    let copy = emulator.function(module, c"copy");
    let mut from = emulator.upload(&[3_i32; 128]);
    // A kernel's own stores count, while nobody keeps findings too.
    emulator.set_sanitize(0);
    ok(emulator.launch(copy, 1, 64, &mut [arg(&mut from), arg(&mut middle)]));
    emulator.set_sanitize(1);
    ok(emulator.launch(copy, 1, 64, &mut [arg(&mut middle), arg(&mut to)]));
    assert_eq!(emulator.take_findings(), json!([]));
    ok(emulator.launch(copy, 2, 64, &mut [arg(&mut middle), arg(&mut to)]));
    let findings = emulator.take_findings();
    assert_eq!(
        (&findings[0]["kind"], &findings[0]["work_group"]),
        (&json!("uninitialized"), &json!([1, 0, 0]))
    );
    // Told, and no fault.
    ok(synchronize(&emulator));
}
