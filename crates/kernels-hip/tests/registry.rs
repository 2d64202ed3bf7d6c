//! The registry, the source files and the Cargo features are one list.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use code_object::CodeObject;
use hip_toolchain::for_tests;
use kernels_hip::{ops, registry};

/// The names of all kernel files, enabled or not.
fn sources() -> BTreeSet<String> {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut names = BTreeSet::new();
    for op in fs::read_dir(kernels).unwrap() {
        for file in fs::read_dir(op.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "hip") {
                names.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    names
}

/// The features of the manifest, each with the features that it turns on.
fn features() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = include_str!("../Cargo.toml");
    let section = manifest.split("[features]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let entries = section.split(']').filter_map(|entry| {
        let (name, list) = entry.split_once(" = [")?;
        let list = list.split(',').map(|item| item.trim().trim_matches('"').to_owned());
        Some((name.trim().to_owned(), list.filter(|item| !item.is_empty()).collect()))
    });
    entries.collect()
}

#[test]
fn a_variant_after_v1_is_a_file_and_a_feature() {
    let later = sources().into_iter().filter(|name| !name.contains("_v1_"));
    let later: BTreeSet<String> = later.map(|name| name.replace('_', "-")).collect();
    let mut features = features();
    assert_eq!(features.remove("all-variants").as_ref(), Some(&later));
    assert!(features.remove("default").unwrap().is_subset(&later));
    assert_eq!(features.into_keys().collect::<BTreeSet<_>>(), later);
}

#[test]
fn every_file_is_a_row_of_its_ops_table() {
    let catalogue = ops::catalogue();
    let rows: BTreeSet<String> = catalogue.iter().map(|row| row.name.to_owned()).collect();
    assert_eq!(rows, sources());
    assert_eq!(rows.len(), catalogue.len(), "a row stands twice");
    for row in catalogue {
        assert!(row.name.starts_with(&format!("{}_v", row.op)), "{row:?}");
        assert!(!row.reduction_class.is_empty(), "{row:?}");
    }
}

#[test]
fn every_row_is_a_code_object_whose_kernels_have_its_name() {
    if for_tests().is_none() {
        return;
    }
    let first: BTreeSet<String> =
        sources().into_iter().filter(|name| name.contains("_v1_")).collect();
    let built: BTreeSet<String> =
        registry::rows().iter().map(|row| row.variant.to_owned()).collect();
    assert!(!first.is_empty() && first.is_subset(&built), "{first:?} are not all in {built:?}");
    for row in registry::rows() {
        assert!(row.variant.starts_with(&format!("{}_v", row.op)), "{row:?}");
        let object = CodeObject::parse(row.bytes).unwrap();
        assert!(!object.kernels.is_empty(), "{}", row.variant);
        for kernel in &object.kernels {
            let rest = kernel.name.strip_prefix(row.variant);
            assert!(
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("__")),
                "{}",
                kernel.name
            );
            let metadata = kernel.metadata.as_ref().unwrap();
            assert_eq!(metadata.wavefront_size, 64);
            assert_eq!(
                (metadata.vgpr_spill_count, metadata.sgpr_spill_count),
                (0, 0),
                "{}",
                kernel.name
            );
        }
    }
}

#[test]
fn the_probe_has_every_matrix_instruction() {
    if for_tests().is_none() {
        return;
    }
    let row = registry::code_object("mfma_probe_v1_builtin", "gfx942").unwrap();
    let object = CodeObject::parse(row.bytes).unwrap();
    let sparse = object.kernels.iter().filter(|kernel| kernel.name.contains("__smfmac_"));
    // 32 dense and 14 sparse: LLVM's table for gfx942.
    assert_eq!((object.kernels.len(), sparse.count()), (46, 14));
}
