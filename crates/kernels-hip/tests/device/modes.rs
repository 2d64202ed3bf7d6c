//! The device tests once more in the emulator's other modes, each in a process of its own: sanitized, in other orders,
//! over other poison, with transcendental results moved, with matrix products accumulated as the hardware does.
//!
//! What the tests compare they must find in every mode. What they only bound (`rms_norm`) has the same bits in all
//! modes that hardware could not tell apart.

use std::env;
use std::process::Command;

use engine_core::dtype::DType;
use hip_sys::LIBRARY_VAR;
use kernels_hip::ops::{NormRows, RmsNorm};
use kernels_hip::registry;

use crate::{Bits, device, emulator};

/// Set for the processes that the test starts.
pub const MODE_VAR: &str = "KVASIR_TEST_MODE";

/// What the process says before the bits that it has.
const BITS: &str = "bits of rms_norm: ";

/// Variables of the emulator; the bits of every mode without `ULP` are the usual ones.
const MODES: [&[(&str, &str)]; 9] = [
    &[("SANITIZE", "fail")],
    &[("SANITIZE", "fail"), ("WAVE_ORDER", "11"), ("POISON", "0x7fc00000")],
    &[("WAVE_ORDER", "1"), ("POISON", "0")],
    &[("WAVE_ORDER", "2"), ("POISON", "0xffffffff")],
    &[("LAZY", "1"), ("POISON", "0x3f800000")],
    &[("EXACT_MFMA", "1")],
    &[("ULP", "up")],
    &[("ULP", "down")],
    &[("ULP", "5"), ("WAVE_ORDER", "3")],
];

#[test]
fn in_child() {
    if env::var_os(MODE_VAR).is_none() {
        return;
    }
    let (device, stream) = device().expect("the parent has looked");
    let op = RmsNorm::new(&device, DType::F32).unwrap();
    let mut bits = Bits(4);
    let (x, weight) = (bits.units(5 * 577), bits.units(577));
    let [x, weight] = [&x, &weight].map(|values| device.buffer_from(&stream, values).unwrap());
    let mut out = device.buffer::<f32>(5 * 577).unwrap();
    op.run(&stream, &mut out, &x, &weight, (1e-5, 577), NormRows::First(5)).unwrap();
    let bits: Vec<u32> = out.to_host(&stream).unwrap().into_iter().map(f32::to_bits).collect();
    println!("{BITS}{bits:?}.");
}

/// Runs all tests but this in a mode, and gives the bits of `rms_norm`.
fn run(mode: &[(&str, &str)]) -> String {
    // One after the other: what of the memory is free is for all tests of a process to see.
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--nocapture", "--skip", "every_mode", "--test-threads", "1"]);
    child.env(MODE_VAR, "1").env(LIBRARY_VAR, emulator());
    child.envs(mode.iter().map(|(name, value)| (format!("KVASIR_EMU_{name}"), value)));
    if mode.iter().any(|(name, _)| *name == "EXACT_MFMA") {
        // Nobody has measured how the hardware adds sparse products up, so that the emulator refuses.
        child.args(["--skip", "sparse"]);
    }
    let output = child.output().unwrap();
    let [said, errors] = [output.stdout, output.stderr].map(|s| String::from_utf8(s).unwrap());
    assert!(output.status.success(), "{mode:?}\n{said}\n{errors}");
    let (_, bits) = said.split_once(BITS).unwrap();
    bits.split_once('.').unwrap().0.to_owned()
}

#[test]
fn every_mode_gives_what_the_tests_compare() {
    if registry::rows().is_empty() {
        // Says that it is skipped, or fails where it must not be.
        assert!(device().is_none());
        return;
    }
    let usual = run(&[]);
    for mode in MODES {
        let bits = run(mode);
        let is_moved = mode.iter().any(|(name, _)| *name == "ULP");
        assert!(is_moved || bits == usual, "{mode:?} changes the bits of rms_norm");
    }
}
