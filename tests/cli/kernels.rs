//! `kvasir kernels`.

use std::path::{Path, PathBuf};

use kernels_hip::{Runtime, ops, registry};
use kvasir::kernels::{Clock, Measure, Spread, Timing, compare_variants};
use serde_json::Value;

use crate::command::{kvasir, kvasir_with};

#[test]
fn every_variant_is_listed_with_what_the_compiler_made_of_it() {
    let rows: Value = serde_json::from_str(&kvasir(&["kernels", "list", "--json"]).ok()).unwrap();
    let rows = rows.as_array().unwrap();
    let listed: Vec<_> = rows.iter().map(|row| row["variant"].as_str().unwrap()).collect();
    let known: Vec<_> = ops::catalogue().iter().map(|row| row.name).collect();
    assert_eq!(listed, known);
    for row in rows {
        let variant = row["variant"].as_str().unwrap();
        let built = registry::rows().iter().filter(|built| built.variant == variant).count();
        let objects = row["code_objects"].as_array().unwrap();
        assert_eq!(objects.len(), built, "{variant}");
        for kernel in objects.iter().flat_map(|object| object["kernels"].as_array().unwrap()) {
            assert!(kernel["waves_per_simd"].as_u64().unwrap() >= 1, "{kernel}");
            assert_eq!(kernel["vgpr_spills"], 0, "{kernel}");
        }
    }
    let text = kvasir(&["kernels", "list", "--op", "rms_norm", "--kernels"]).ok();
    assert!(text.contains("rms_norm_v1_naive") && !text.contains("vector_add"), "{text}");
    kvasir(&["kernels", "list", "--op", "rms_nrom"]).usage_error(&["rms_nrom", "rms_norm"]);
}

/// The emulator, which lies where the tests' own program does.
fn emulator() -> PathBuf {
    let deps = Path::new(env!("CARGO_BIN_EXE_kvasir")).with_file_name("deps");
    deps.join("libhip_emulator.so")
}

/// What `cargo bench --bench kernels` does on hardware, on an op of the engine and on one that it does not have.
#[test]
fn every_variant_is_verified_and_timed_with_events() {
    if registry::rows().is_empty() {
        return println!("skipped: no hipcc");
    }
    let device = Runtime::open(&emulator()).and_then(|runtime| runtime.device(0)).unwrap();
    for op in ["rms_norm", "fp8_quantize"] {
        let measure = Measure::Events(Timing::SMOKE);
        let all = compare_variants(&device, op, |_| true, measure, &mut |_| ()).unwrap();
        let of_op = ops::catalogue().into_iter().filter(|row| row.op == op);
        let built = of_op.filter(|row| registry::code_object(row.name, "gfx942").is_ok());
        assert_eq!(all.variants.len(), built.count());
        for variant in &all.variants {
            let accuracy = &variant.accuracy;
            assert!(accuracy.num_elements > 0 && accuracy.max_of_bound <= 1.0, "{variant:?}");
            let timed = variant.workloads.iter().filter_map(|workload| workload.measured.as_ref());
            for measured in timed.clone() {
                let Spread { num_runs, median_us, p10_us, p90_us } = measured.spread;
                assert_eq!(num_runs, Timing::SMOKE.num_runs);
                assert!(0.0 < p10_us && p10_us <= median_us && median_us <= p90_us, "{measured:?}");
                // No figure of an MI300X is made of the emulator's time.
                assert_eq!(measured.clock, Clock::Emulator);
                assert_eq!(
                    (measured.of_peak_bandwidth, measured.of_achievable_tflops),
                    (None, None)
                );
            }
            let num_refused = variant.workloads.iter().filter(|w| w.refused.is_some()).count();
            assert_eq!(timed.count() + num_refused, variant.workloads.len(), "{variant:?}");
        }
    }
    let none = |variant: &str| variant == "rms_norm_v0";
    let filtered = compare_variants(&device, "rms_norm", none, Measure::OfDevice, &mut |_| ());
    assert!(filtered.unwrap().variants.is_empty());
}

#[test]
fn variants_are_compared_in_numbers_that_say_where_they_are_from() {
    if registry::rows().is_empty() {
        return println!("skipped: no hipcc");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let emulator = emulator();
    let variables = [("KVASIR_HIP_LIBRARY", emulator.to_str().unwrap())];
    let run = kvasir_with(&["kernels", "report", "--ops", "rms_norm", "-o", out], &variables, "");
    assert!(run.ok().contains("kernels.md"));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let found: Value = serde_json::from_str(&read("kernels.json")).unwrap();
    let variant = &found[0]["variants"][0];
    assert!(variant["accuracy"]["max_of_bound"].as_f64().unwrap() <= 1.0, "{variant}");
    let workload = &variant["workloads"][0];
    let emulated = &workload["emulated"];
    // It multiplies no matrices.
    assert!(emulated["issue"]["per_2048"].is_null(), "{workload}");
    // Rows that are read twice are read from memory once.
    let over_fetch = emulated["over_fetch"].as_f64().unwrap();
    assert!((1.0..1.1).contains(&over_fetch), "{workload}");
    let [lower, upper] =
        ["lower_us", "upper_us"].map(|key| emulated["model"][key].as_f64().unwrap());
    assert!(0.0 < lower && lower <= upper, "{workload}");
    assert!(workload["measured"].is_null(), "{workload}");
    assert!(read("kernels.md").contains("model: "), "{}", read("kernels.md"));
    assert!(read("rms_norm.svg").contains("<svg"), "{}", read("rms_norm.svg"));
    kvasir_with(&["kernels", "compare", "rms_nrom"], &variables, "").usage_error(&["rms_norm"]);
    let nowhere = [("KVASIR_HIP_LIBRARY", "/nowhere/libamdhip64.so")];
    kvasir_with(&["kernels", "compare", "rms_norm"], &nowhere, "")
        .usage_error(&["/nowhere/libamdhip64.so", "hip-emulator"]);
}
