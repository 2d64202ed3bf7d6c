//! What launches did, by the emulator's counters, summed by kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The emulator's report of a launch: what a change of a kernel moves.
#[derive(Deserialize)]
pub struct Report {
    kernel: String,
    work_groups: u64,
    waves: u64,
    barriers: u64,
    instructions: Value,
    cycles: Value,
    memory: Value,
}

/// Sums over launches. Cycles are of single units, by published rates; misses are of a model of L2.
#[derive(Clone, Default, Serialize)]
pub struct Counters {
    launches: u64,
    work_groups: u64,
    waves: u64,
    barriers: u64,
    instructions: u64,
    vector_cycles: u64,
    transcendental_cycles: u64,
    matrix_cycles: u64,
    lds_cycles: u64,
    lds_conflict_cycles: u64,
    load_bytes: u64,
    store_bytes: u64,
    l2_load_misses: u64,
    l2_store_misses: u64,
}

/// Of each kernel.
pub type ByKernel = BTreeMap<String, Counters>;

/// Adds reports up; keys are `KERNEL, CASE`.
pub fn add(sums: &mut ByKernel, case: &str, reports: impl IntoIterator<Item = Report>) {
    for report in reports {
        let sum = sums.entry(format!("{}, {case}", report.kernel)).or_default();
        let of = |part: &Value, field: &str| part[field].as_u64().expect("a report's number");
        let memory = &report.memory;
        sum.launches += 1;
        sum.work_groups += report.work_groups;
        sum.waves += report.waves;
        sum.barriers += report.barriers;
        sum.instructions += of(&report.instructions, "total");
        sum.vector_cycles += of(&report.cycles, "vector");
        sum.transcendental_cycles += of(&report.cycles, "transcendental");
        sum.matrix_cycles += of(&report.cycles, "matrix");
        sum.lds_cycles += of(&report.cycles, "lds");
        sum.lds_conflict_cycles += of(&report.cycles, "lds_conflict");
        sum.load_bytes += of(&memory["loads"], "bytes");
        sum.store_bytes += of(&memory["stores"], "bytes");
        sum.l2_load_misses += of(&memory["l2"], "load_misses");
        sum.l2_store_misses += of(&memory["l2"], "store_misses");
    }
}
