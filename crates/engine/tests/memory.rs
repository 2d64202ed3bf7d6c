//! The pool of kv_blocks gets what weights and activations leave of the memory, so their sizes, which
//! are worked out beforehand, are compared here with what a backend takes from the allocator.

use std::path::Path;

use engine::weights;
use engine_core::capacity::{max_num_logit_rows, weight_bytes, workspace_bytes};
use engine_core::config::ModelConfig;
use engine_core::dtype::DType;
use engine_core::model::Model;
use engine_core::ops::Ops;
use kernels_cpu::{CpuIsa, KernelsCpu};
use reference_cpu::ReferenceCpu;

const FAMILIES: [&str; 5] = ["llama", "llama_head_dim", "llama_tied_mha", "qwen2", "qwen3"];
const MAX_MODEL_LEN: usize = 64;
/// More than are computed at once in logits.
const NUM_ROWS: usize = 512;

/// Per array: a line to shift it to the start of a cache line, and one that may be read past its end.
const ARRAY_BYTES: u64 = 128;
/// Rows of a matrix come in panels of 16.
const PANEL_ROWS: u64 = 16;

/// Bytes that `f` takes and keeps, and its result. One thread: others are not counted.
fn taken<T>(f: impl FnOnce() -> T) -> (u64, T) {
    let mut result = None;
    let info = allocation_counter::measure(|| result = Some(f()));
    (u64::try_from(info.bytes_current).unwrap(), result.unwrap())
}

/// What a backend may take above the sum of elements: the alignment of each array, and the structs that
/// hold them. Less than any matrix or bias takes in all layers together; a norm of one layer is smaller.
fn slack(config: &ModelConfig, num_arrays: u64) -> u64 {
    const STRUCT_BYTES: u64 = 1024;
    num_arrays * ARRAY_BYTES + (config.num_layers as u64 + 1) * STRUCT_BYTES
}

/// Elements that fill up the last panel of each matrix.
fn panel_padding(config: &ModelConfig) -> u64 {
    let width = |heads: usize| (heads * config.head_dim) as u64;
    let (hidden, inner) = (config.hidden_size as u64, config.intermediate_size as u64);
    let qkv = width(config.num_qo_heads + 2 * config.num_kv_heads);
    let pad = |rows: u64, cols: u64| (rows.next_multiple_of(PANEL_ROWS) - rows) * cols;
    let layer = pad(qkv, hidden)
        + pad(hidden, width(config.num_qo_heads))
        + pad(2 * inner, hidden)
        + pad(hidden, inner);
    let num_vocab_matrices = if config.tie_word_embeddings { 1 } else { 2 };
    config.num_layers as u64 * layer + num_vocab_matrices * pad(config.vocab_size as u64, hidden)
}

fn assert_between(what: &str, taken: u64, least: u64, slack: u64) {
    let is_between = (least..=least + slack).contains(&taken);
    assert!(is_between, "{what} took {taken} bytes, not {least} and at most {slack} more");
}

/// `padded` are elements of weights that the backend adds to a matrix.
fn assert_sizes<O: Ops>(mut ops: O, checkpoint: &weights::Model, padded: u64) {
    let config = checkpoint.config();
    let what = format!("{} {} {}", checkpoint.path().display(), ops.compute_dtype(), ops.name());
    let (weights, model) =
        taken(|| Model::load(&mut ops, checkpoint.checkpoint(), MAX_MODEL_LEN).unwrap());
    // Embedding, final norm, head and frequencies; 12 arrays of a layer at most.
    let num_arrays = 4 + 12 * config.num_layers as u64;
    let size_bytes = ops.weight_size_bytes();
    let least = weight_bytes(config, size_bytes) + padded * size_bytes as u64;
    assert_between(&what, weights, least, slack(config, num_arrays));

    let num_logit_rows = max_num_logit_rows(NUM_ROWS);
    let (workspace, _) = taken(|| model.workspace(&mut ops, NUM_ROWS, num_logit_rows).unwrap());
    let least = workspace_bytes(config, ops.act_size_bytes(), NUM_ROWS);
    assert_between(&what, workspace, least, 9 * ARRAY_BYTES);
}

#[test]
fn sizes_are_what_the_backends_allocate() {
    let families = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families");
    for family in FAMILIES {
        let checkpoint = weights::open(&families.join(family)).unwrap();
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for isa in [CpuIsa::Portable, CpuIsa::detect()] {
                let ops = KernelsCpu::new(isa, dtype, 1).unwrap();
                assert_sizes(ops, &checkpoint, panel_padding(checkpoint.config()));
            }
            assert_sizes(ReferenceCpu::new(dtype), &checkpoint, 0);
        }
    }
}
