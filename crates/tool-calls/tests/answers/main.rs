//! Calls are found in each form, a stream tells what the whole answer does, and nothing that a model says is lost.

mod checks;

use std::panic::catch_unwind;

#[test]
fn every_check_holds() {
    let failed = checks::CHECKS.iter().filter(|(_, check)| catch_unwind(check).is_err());
    let failed: Vec<&str> = failed.map(|(name, _)| *name).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn no_seed_is_forgotten() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/tool_calls");
    assert_eq!(std::fs::read_dir(seeds).unwrap().count(), checks::SEEDS.len());
}
