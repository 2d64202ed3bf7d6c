//! The scales of an FP8 KV cache from the largest keys and values that a model computes of given
//! texts, layer by layer and head by head.

use engine_core::batch::Batch;
use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_scales::KvScales;
use engine_core::model::{Model, Workspace};
use engine_core::ops::Ops;

use crate::error::LlmError;
use crate::kv_scales::MARGIN;
use crate::weights;

/// Token rows of a step.
const CHUNK_LEN: usize = 512;
/// Longest piece of a text that is computed at once, if the model takes as much.
const MAX_PIECE_LEN: usize = 4096;
const BLOCK_SIZE: usize = 64;

/// Tokens done so far, and of all texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalibrateProgress {
    /// Until now.
    pub done_tokens: usize,
    /// In the end.
    pub total_tokens: usize,
}

/// What calibration found.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The scales, for OCP e4m3: the largest number seen becomes 224, half of the format's largest.
    pub scales: KvScales,
    /// Tokens computed.
    pub num_tokens: usize,
    /// The largest key.
    pub largest_key: f32,
    /// The largest value.
    pub largest_value: f32,
}

/// Runs `model` over `texts` on `ops` and measures keys (after RoPE) and values of each layer and head.
/// Texts longer than the model takes are computed in pieces.
///
/// # Errors
/// [`LlmError`] if there is no token, if one is not of the vocabulary, or if the model computes what is
/// no number.
pub fn calibrate<O: Ops>(
    mut ops: O,
    model: &weights::Model,
    texts: &[Vec<u32>],
    progress: &mut dyn FnMut(CalibrateProgress),
) -> Result<Calibration, LlmError> {
    let config = model.config();
    let total_tokens: usize = texts.iter().map(Vec::len).sum();
    if total_tokens == 0 {
        return Err(LlmError::NothingToCalibrate);
    }
    let vocab_size = config.vocab_size;
    if let Some(&token_id) = texts.iter().flatten().find(|&&id| id as usize >= vocab_size) {
        return Err(LlmError::TokenOutOfVocab { token_id, vocab_size });
    }
    let piece_len = config.default_max_model_len().min(MAX_PIECE_LEN);
    let shape = KvCacheShape {
        num_layers: config.num_layers,
        num_blocks: piece_len.div_ceil(BLOCK_SIZE),
        block_size: BLOCK_SIZE,
        num_kv_heads: config.num_kv_heads,
        head_dim: config.head_dim,
        // Exact: what the cache holds is what was computed.
        dtype: DType::F32.into(),
    };
    let device_model = Model::load(&mut ops, model.checkpoint(), piece_len)?;
    let ones = KvScales::ones(shape.num_layers, shape.num_kv_heads);
    let mut run = Run {
        workspace: device_model.workspace(&mut ops, CHUNK_LEN, 1)?,
        kv_cache: ops.alloc_kv_cache(shape, &ones)?,
        batch: O::Batch::default(),
        model: device_model,
        ops,
        shape,
        largest: vec![[0.0; 2]; shape.num_layers * shape.num_kv_heads],
    };
    let mut done_tokens = 0;
    for piece in texts.iter().flat_map(|text| text.chunks(piece_len)) {
        for first in (0..piece.len()).step_by(CHUNK_LEN) {
            let end = piece.len().min(first + CHUNK_LEN);
            run.step(&piece[first..end], first)?;
            run.measure(first..end)?;
            done_tokens += end - first;
            progress(CalibrateProgress { done_tokens, total_tokens });
        }
    }
    let [k, v] = [0, 1].map(|part| run.largest.iter().map(|l| l[part]).collect::<Vec<f32>>());
    let largest = |part: &[f32]| part.iter().copied().fold(0.0, f32::max);
    let (largest_key, largest_value) = (largest(&k), largest(&v));
    let [k, v] = [k, v].map(|part| part.into_iter().map(scale_of).collect());
    let scales = KvScales::new(shape.num_kv_heads, k, v).map_err(|source| {
        LlmError::Weights(weights::WeightsError::KvScales {
            file: model.path().display().to_string(),
            source: source.into(),
        })
    })?;
    Ok(Calibration { scales, num_tokens: total_tokens, largest_key, largest_value })
}

/// The scale of a head whose largest number is `largest`; 1 for a head of zeros.
fn scale_of(largest: f32) -> f32 {
    if largest == 0.0 {
        return 1.0;
    }
    (MARGIN * largest / Fp8Format::E4m3.max()).max(f32::MIN_POSITIVE)
}

/// One sequence after another through the model.
struct Run<O: Ops> {
    ops: O,
    model: Model<O>,
    workspace: Workspace<O>,
    kv_cache: O::KvCache,
    batch: O::Batch,
    shape: KvCacheShape,
    /// The largest key and value of each layer and head.
    largest: Vec<[f32; 2]>,
}

impl<O: Ops> Run<O> {
    /// Computes `token_ids` at `first` and the positions after it; those before are in the cache.
    fn step(&mut self, token_ids: &[u32], first: usize) -> Result<(), LlmError> {
        let end = first + token_ids.len();
        let batch = Batch {
            token_ids: token_ids.to_vec(),
            positions: (first as u32..end as u32).collect(),
            slot_mapping: (first as i64..end as i64).collect(),
            cu_seqlens_q: vec![0, token_ids.len() as u32],
            seq_lens: vec![end as u32],
            block_tables: (0..self.shape.num_blocks as u32).collect(),
            max_num_blocks: self.shape.num_blocks,
        };
        let Run { ops, model, workspace, kv_cache, batch: device_batch, shape, .. } = self;
        ops.upload_batch(&batch, device_batch)?;
        model.begin(ops, device_batch, workspace)?;
        for layer_idx in 0..shape.num_layers {
            let rows = (&*device_batch, token_ids.len());
            model.layer(ops, layer_idx, rows, kv_cache, workspace)?;
        }
        Ok(())
    }

    /// Takes the slots `slots` into account.
    fn measure(&mut self, slots: std::ops::Range<usize>) -> Result<(), LlmError> {
        let (num_layers, num_kv_heads) = (self.shape.num_layers, self.shape.num_kv_heads);
        for layer_idx in 0..num_layers {
            for head_idx in 0..num_kv_heads {
                let largest = &mut self.largest[layer_idx * num_kv_heads + head_idx];
                for slot in slots.clone() {
                    let (key, value) =
                        self.ops.read_kv(&self.kv_cache, layer_idx, slot, head_idx)?;
                    for (largest, numbers) in largest.iter_mut().zip([key, value]) {
                        if numbers.iter().any(|x| !x.is_finite()) {
                            return Err(LlmError::NotFinite { layer_idx });
                        }
                        *largest = numbers.iter().fold(*largest, |most, x| most.max(x.abs()));
                    }
                }
            }
        }
        Ok(())
    }
}
