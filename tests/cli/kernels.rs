//! `kvasir kernels`.

use kernels_hip::{ops, registry};
use serde_json::Value;

use crate::command::kvasir;

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
