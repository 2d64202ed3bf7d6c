//! `kvasir kernels`.

use kernels_hip::{ops, registry};
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

/// Counted in the emulator, which lies where the tests' own program does.
#[test]
fn variants_are_compared_in_numbers_that_say_where_they_are_from() {
    if registry::rows().is_empty() {
        return println!("skipped: no hipcc");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let emulator = std::path::Path::new(env!("CARGO_BIN_EXE_kvasir")).with_file_name("deps");
    let emulator = emulator.join("libhip_emulator.so");
    let variables = [("KVASIR_HIP_LIBRARY", emulator.to_str().unwrap())];
    let run = kvasir_with(&["kernels", "report", "--ops", "rms_norm", "-o", out], &variables, "");
    assert!(run.ok().contains("kernels.md"));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let found: Value = serde_json::from_str(&read("kernels.json")).unwrap();
    let variant = &found[0]["variants"][0];
    assert!(variant["accuracy"]["max_of_bound"].as_f64().unwrap() <= 1.0, "{variant}");
    let workload = &variant["workloads"][0];
    let emulated = &workload["emulated"];
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
