//! What must hold of every file that a reader accepts. The targets only feed these functions.
//!
//! "It did not panic" is not enough: a reader that accepted nonsense would pass. So whatever is
//! accepted is looked at here: places are in the file, sizes agree, every row can be read, and the
//! configuration obeys the rules that the kernels rely on. The engine's tests include this file and
//! run it over the seeds and over damaged files.

use std::path::Path;

use engine::Replay;
use engine::weights::gguf::{Gguf, checkpoint_from_bytes, generation_config, model_config};
use engine::weights::hf::{self, HfConfig, SafetensorsEntry, ShardIndex};
use engine::weights::{TensorFormat, expected_tensors};
use engine_core::checkpoint::Checkpoint;
use engine_core::config::{ModelConfig, RopeScaling};

/// Any bytes as a GGUF file. Whether they were accepted as one.
pub fn gguf(bytes: &[u8]) -> bool {
    let Ok(gguf) = Gguf::from_bytes(bytes) else {
        return false;
    };
    for tensor in &gguf.tensors {
        assert_place(bytes, &tensor.range, &tensor.shape, tensor.format);
    }
    assert_disjoint(gguf.tensors.iter().map(|tensor| tensor.range.clone()).collect());
    // The results are the reader's business; that they come without a panic is ours.
    let _ = generation_config(&gguf.metadata);
    if let Ok(config) = model_config(&gguf, bytes) {
        assert_config(&config);
    }
    if let Ok(checkpoint) = checkpoint_from_bytes("fuzz", bytes.to_vec()) {
        assert_readable(&checkpoint);
    }
    true
}

/// Any bytes as a safetensors file. Whether they were accepted as one.
pub fn safetensors(bytes: &[u8]) -> bool {
    let Ok(entries) = hf::safetensors_from_bytes(bytes) else {
        return false;
    };
    for SafetensorsEntry { shape, format, range, .. } in &entries {
        match format {
            Ok(format) => assert_place(bytes, range, shape, *format),
            Err(_) => assert!(range.end <= bytes.len()),
        }
    }
    assert_disjoint(entries.into_iter().map(|entry| entry.range).collect());
    let config = seed_config();
    if let Ok(checkpoint) = hf::checkpoint_from_bytes(config, "fuzz", bytes.to_vec()) {
        assert_readable(&checkpoint);
    }
    true
}

/// Any bytes as `config.json`, `generation_config.json` and an index of shards. Whether they were
/// accepted as a configuration.
pub fn config(bytes: &[u8]) -> bool {
    if let Ok(index) = ShardIndex::from_bytes(bytes) {
        for file in index.files() {
            assert!(!file.contains(['/', '\\']) && file != "..", "{file} leaves the directory");
        }
    }
    let Ok(config) = HfConfig::from_bytes(bytes) else {
        return false;
    };
    assert_config(&config.model);
    if let Ok(generation) = hf::generation_config_from_bytes(bytes, &config) {
        assert!(generation.temperature.is_none_or(|x| x >= 0.0));
    }
    true
}

/// Any bytes as a recorded run. Whether they were accepted as one.
pub fn record(bytes: &[u8]) -> bool {
    let num_lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
    match Replay::summarize(Path::new("fuzz"), bytes) {
        Ok(summary) => {
            assert!(bytes.ends_with(b"\n"), "the last line has its end");
            assert!(summary.num_sequences + summary.num_steps < num_lines, "a line is one event");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The configuration of the small model whose files are the seeds.
fn seed_config() -> ModelConfig {
    const CONFIG: &[u8] = include_bytes!("../seeds/config/llama.json");
    match HfConfig::from_bytes(CONFIG) {
        Ok(config) => config.model,
        Err(error) => panic!("the seed is no configuration: {error}"),
    }
}

fn assert_place(
    bytes: &[u8],
    range: &std::ops::Range<usize>,
    shape: &[usize],
    format: TensorFormat,
) {
    assert!(range.start <= range.end && range.end <= bytes.len(), "{range:?} is outside");
    let num_elements: usize = shape.iter().product();
    let num_cols = shape.last().copied().unwrap_or(1);
    let row_bytes = format.row_bytes(num_cols).expect("whole blocks");
    if num_elements == 0 {
        assert!(range.is_empty());
        return;
    }
    let num_rows = num_elements / num_cols;
    assert_eq!(range.len(), num_rows * row_bytes, "{shape:?} {format}");
    let mut row = vec![0.0; num_cols];
    for start in [range.start, range.end - row_bytes] {
        format.dequantize_row(&bytes[start..start + row_bytes], &mut row);
    }
}

fn assert_disjoint(mut ranges: Vec<std::ops::Range<usize>>) {
    ranges.sort_by_key(|range| (range.start, range.end));
    for pair in ranges.windows(2) {
        assert!(pair[0].end <= pair[1].start, "{:?} and {:?} overlap", pair[0], pair[1]);
    }
}

/// Every tensor that the model will ask for is there, and its first and last rows can be read.
fn assert_readable(checkpoint: &dyn Checkpoint) {
    for tensor in expected_tensors(checkpoint.config()) {
        let rows = checkpoint
            .tensor(&tensor.name, &tensor.shape)
            .unwrap_or_else(|error| panic!("opened without a tensor: {error}"));
        let num_elements: usize = tensor.shape.iter().product();
        assert_eq!(rows.num_rows() * rows.num_cols(), num_elements, "{}", tensor.name);
        let mut row = vec![0.0; rows.num_cols()];
        rows.read_row(0, &mut row);
        rows.read_row(rows.num_rows() - 1, &mut row);
    }
}

fn assert_config(config: &ModelConfig) {
    assert_eq!(config.sliding_windows.len(), config.num_layers);
    assert!(!config.sliding_windows.contains(&Some(0)));
    assert!(config.num_kv_heads > 0 && config.num_qo_heads.is_multiple_of(config.num_kv_heads));
    assert!(config.head_dim > 0 && config.head_dim.is_multiple_of(2));
    let rope = &config.rope;
    assert!(
        rope.rotary_dim > 0
            && rope.rotary_dim.is_multiple_of(2)
            && rope.rotary_dim <= config.head_dim
    );
    assert!(rope.theta.is_finite() && rope.theta > 1.0);
    if let RopeScaling::Factors(factors) = &rope.scaling {
        assert_eq!(factors.len(), rope.rotary_dim / 2);
    }
    for size in [
        config.num_layers,
        config.hidden_size,
        config.intermediate_size,
        config.vocab_size,
        config.max_position_embeddings,
    ] {
        assert!(size > 0 && size <= 1 << 30);
    }
    assert!(config.rms_norm_eps.is_finite());
}
