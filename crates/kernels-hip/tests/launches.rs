//! What a layer of a model launches in a decode step: each launch costs microseconds, whatever it does.
#![forbid(unsafe_code)]

#[path = "support/device.rs"]
mod support;

use engine_core::batch::Batch;
use engine_core::checkpoint::{Checkpoint, CheckpointError, RowSource};
use engine_core::config::{Architecture, ModelConfig, RopeConfig, RopeScaling};
use engine_core::device::{Device as _, KvCacheShape};
use engine_core::dtype::DType;
use engine_core::kv_scales::KvScales;
use engine_core::model::Model;
use kernels_hip::KernelsHip;
use kernels_hip::variant::Choices;
use serde::Deserialize;

/// Tokens of each sequence, more than a partition of attention has.
const SEQ_LENS: [usize; 2] = [700, 530];
const BLOCK_SIZE: usize = 16;

/// A model of equal weights.
struct Flat(ModelConfig);

struct Rows([usize; 2]);

impl RowSource for Rows {
    fn num_rows(&self) -> usize {
        self.0[0]
    }

    fn num_cols(&self) -> usize {
        self.0[1]
    }

    fn read_row(&self, _: usize, out: &mut [f32]) {
        out.fill(0.01);
    }
}

impl Checkpoint for Flat {
    fn config(&self) -> &ModelConfig {
        &self.0
    }

    fn tensor(&self, _: &str, shape: &[usize]) -> Result<Box<dyn RowSource + '_>, CheckpointError> {
        let num_cols = shape[shape.len() - 1];
        Ok(Box::new(Rows([shape.iter().product::<usize>() / num_cols, num_cols])))
    }
}

fn config() -> ModelConfig {
    ModelConfig {
        architecture: Architecture::Llama,
        num_layers: 2,
        hidden_size: 128,
        intermediate_size: 128,
        num_qo_heads: 2,
        num_kv_heads: 1,
        head_dim: 64,
        vocab_size: 16,
        rms_norm_eps: 1e-5,
        rope: RopeConfig { theta: 1e4, rotary_dim: 64, scaling: RopeScaling::None },
        sliding_windows: vec![None; 2],
        max_position_embeddings: 1024,
        tie_word_embeddings: true,
        qkv_bias: false,
        o_bias: false,
        mlp_bias: false,
        qk_norm: false,
    }
}

/// The last token of each sequence, `more` tokens later.
fn batch(more: usize) -> Batch {
    let blocks_per_seq = SEQ_LENS[0].div_ceil(BLOCK_SIZE) + 1;
    let last =
        |(seq, len): (usize, &usize)| (seq * blocks_per_seq * BLOCK_SIZE + len + more - 1) as i64;
    let num_seqs = SEQ_LENS.len();
    Batch {
        token_ids: vec![1; num_seqs],
        positions: SEQ_LENS.iter().map(|len| (len + more - 1) as u32).collect(),
        slot_mapping: SEQ_LENS.iter().enumerate().map(last).collect(),
        cu_seqlens_q: (0..=num_seqs as u32).collect(),
        seq_lens: SEQ_LENS.iter().map(|len| (len + more) as u32).collect(),
        block_tables: (0..(num_seqs * blocks_per_seq) as u32).collect(),
        max_num_blocks: blocks_per_seq,
    }
}

#[derive(Deserialize)]
struct Counted {
    kernel: String,
}

#[test]
fn a_layer_of_a_decode_step_is_eleven_launches() {
    let Some((device, _)) = support::device() else { return };
    let Some(emulator) = device.runtime().emulator() else {
        return eprintln!("skipped: hardware does not count");
    };
    let choices = Choices::new(&[], Box::new(|_| ())).unwrap();
    let mut ops = KernelsHip::new(&device, DType::BF16, choices).unwrap();
    let checkpoint = Flat(config());
    let model = Model::load(&mut ops, &checkpoint, 1024).unwrap();
    let mut workspace = model.workspace(&mut ops, 4, 4).unwrap();
    let first = batch(0);
    let shape = KvCacheShape {
        num_layers: 2,
        num_blocks: first.block_tables.len(),
        block_size: BLOCK_SIZE,
        num_kv_heads: 1,
        head_dim: 64,
        dtype: DType::BF16.into(),
    };
    let mut kv_cache = ops.alloc_kv_cache(shape, &KvScales::ones(2, 1)).unwrap();
    let mut device_batch = Default::default();
    for step in 0..2 {
        ops.upload_batch(&batch(step), &mut device_batch).unwrap();
        model.begin(&mut ops, &device_batch, &mut workspace).unwrap();
        for layer_idx in 0..2 {
            device.synchronize().unwrap();
            let _ = emulator.take_reports();
            emulator.count(true);
            model
                .layer(&mut ops, layer_idx, (&device_batch, 2), &mut kv_cache, &mut workspace)
                .unwrap();
            device.synchronize().unwrap();
            emulator.count(false);
            let counted: Vec<Counted> = serde_json::from_str(&emulator.take_reports()).unwrap();
            let kernels: Vec<_> =
                counted.iter().map(|c| c.kernel.split("_v").next().unwrap()).collect();
            assert_eq!(
                kernels,
                [
                    "rms_norm",
                    "gemm",
                    "kv_write_rope",
                    "rope_convert",
                    "paged_attention",
                    "attention_merge",
                    "gemm",
                    "rms_norm",
                    "gemm",
                    "silu_mul",
                    "gemm",
                ],
                "layer {layer_idx} of step {step}"
            );
        }
    }
}
