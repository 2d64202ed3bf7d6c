//! What the compiler made of every kernel: no spill and no scratch, what a tuned variant's header promises, and the
//! numbers of `baselines/code_objects.json`.
//!
//! A variant beyond v1 has a line in its header, for example
//! `// Code object: 16-byte loads, MFMA, 2 waves per SIMD.`, which holds for each of its kernels (waves: at least).
#![forbid(unsafe_code)]

#[path = "../support/baseline.rs"]
mod baseline;
mod facts;
mod promise;

use std::collections::BTreeMap;

use baseline::Baseline;
use facts::Facts;
use hip_toolchain::for_tests;
use kernels_hip::registry;
use promise::Promise;

/// The facts of every kernel that this build compiled, by variant and kernel.
fn facts() -> BTreeMap<&'static str, BTreeMap<String, Facts>> {
    let rows = registry::rows().iter().filter(|row| row.arch == "gfx942");
    rows.map(|row| (row.variant, facts::of(row.bytes))).collect()
}

#[test]
fn no_kernel_spills_or_needs_scratch() {
    if for_tests().is_none() {
        return;
    }
    for (kernel, facts) in facts().values().flatten() {
        let found = (facts.vgpr_spills, facts.sgpr_spills, facts.scratch_bytes);
        assert_eq!(found, (0, 0, 0), "{kernel}: spilled VGPRs and SGPRs, bytes of scratch");
    }
}

#[test]
fn tuned_variants_keep_what_their_headers_promise() {
    if for_tests().is_none() {
        return;
    }
    let mut broken = Vec::new();
    for (variant, kernels) in facts() {
        let promise = Promise::of(variant);
        if variant.contains("_v1_") && promise.is_none() {
            continue;
        }
        let Some(promise) = promise else {
            broken.push(format!("{variant}: its header has no line `// Code object: ...`"));
            continue;
        };
        for (kernel, facts) in kernels {
            broken.extend(promise.broken_by(&facts).map(|what| format!("{kernel}: {what}")));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Registers, LDS, occupancy and instructions of every kernel.
#[test]
fn nothing_differs_from_the_baseline() {
    let Some(toolchain) = for_tests() else { return };
    let kernels: BTreeMap<_, _> = facts().into_values().flatten().collect();
    let is_built = |variant: &str| registry::rows().iter().any(|row| row.variant == variant);
    Baseline::of(&toolchain, kernels).check("code_objects", "code_objects", is_built);
}
