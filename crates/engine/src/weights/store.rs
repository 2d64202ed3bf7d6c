//! Tensors in mapped files: the one implementation of [`Checkpoint`] for every file format.

use std::collections::HashMap;
use std::ops::Range;

use engine_core::checkpoint::{Checkpoint, CheckpointError, RowSource};
use engine_core::config::ModelConfig;
use engine_core::kv_scales::KvScales;

use super::dequant::TensorFormat;
use super::kv_scales::{NamedScale, is_kv_scale, kv_scales};
use super::names;
use super::{TensorSummary, WeightsError};

/// A tensor's place and format. `range` lies in file `file_idx` and has the size that `shape` and
/// `format` ask for: whoever makes one has checked it.
#[derive(Clone, Debug)]
pub(super) struct StoredTensor {
    pub(super) file_idx: usize,
    pub(super) range: Range<usize>,
    pub(super) shape: Vec<usize>,
    pub(super) format: TensorFormat,
    pub(super) row_order: RowOrder,
}

/// How rows (of a vector: elements) are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowOrder {
    /// As Hugging Face orders them.
    HuggingFace,
    /// As llama.cpp's interleaved RoPE wants them: in each head, the first `rotary_dim` rows hold
    /// the pairs that turn together one after the other.
    InterleavedRope {
        /// Rows of a head.
        head_dim: usize,
        /// Leading rows of a head that turn.
        rotary_dim: usize,
    },
}

impl RowOrder {
    /// Where Hugging Face's row `row` is stored.
    fn stored_row(self, row: usize) -> usize {
        match self {
            RowOrder::HuggingFace => row,
            RowOrder::InterleavedRope { head_dim, rotary_dim } => {
                let (head, i) = (row / head_dim, row % head_dim);
                let half = rotary_dim / 2;
                let stored = match i {
                    _ if i < half => 2 * i,
                    _ if i < rotary_dim => 2 * (i - half) + 1,
                    _ => i,
                };
                head * head_dim + stored
            }
        }
    }
}

/// One file's bytes and its name for errors.
pub(super) struct SourceFile<B> {
    pub(super) label: String,
    pub(super) bytes: B,
}

/// A complete checkpoint: every tensor of `config` is there with its shape, and nothing else is.
pub(super) struct TensorStore<B> {
    config: ModelConfig,
    /// What the errors call the whole.
    label: String,
    files: Vec<SourceFile<B>>,
    tensors: HashMap<String, StoredTensor>,
    /// What the checkpoint says of an FP8 cache.
    kv_scales: Option<KvScales>,
}

impl<B: AsRef<[u8]> + Send + Sync> TensorStore<B> {
    /// Refuses tensors that are missing, of the wrong shape, or unknown to the model. Tensors
    /// that checkpoints carry without use are dropped.
    pub(super) fn new(
        config: ModelConfig,
        label: String,
        files: Vec<SourceFile<B>>,
        mut tensors: HashMap<String, StoredTensor>,
    ) -> Result<Self, WeightsError> {
        tensors.retain(|name, _| !names::is_redundant(&config, name));
        let scale_tensors = tensors.extract_if(|name, _| is_kv_scale(name));
        let named = scale_tensors.map(|(name, tensor)| read_scale(name, &tensor, &files)).collect();
        let kv_scales = kv_scales(&config, named)
            .map_err(|source| WeightsError::KvScales { file: label.clone(), source })?;
        let expected = names::expected_shapes(&config);
        // The least name, so that the message does not depend on hash order.
        let unexpected = tensors.keys().filter(|name| !expected.contains_key(*name)).min();
        if let Some(name) = unexpected {
            return Err(WeightsError::UnexpectedTensor {
                name: name.clone(),
                file: files[tensors[name].file_idx].label.clone(),
                architecture: config.architecture.name(),
            });
        }
        let store = TensorStore { config, label, files, tensors, kv_scales };
        for tensor in names::expected_tensors(&store.config) {
            store.find(&tensor.name, &tensor.shape)?;
        }
        Ok(store)
    }

    /// The scales of an FP8 cache, if there are any.
    pub(super) fn kv_scales(&self) -> Option<&KvScales> {
        self.kv_scales.as_ref()
    }

    /// Name, format, shape and size of every tensor in the model's order.
    pub(super) fn summaries(&self) -> Vec<TensorSummary> {
        let summary = |expected: names::ExpectedTensor| {
            let stored = self.tensors.get(&expected.name)?;
            Some(TensorSummary {
                name: expected.name,
                format: stored.format,
                shape: expected.shape,
                num_bytes: stored.range.len() as u64,
            })
        };
        names::expected_tensors(&self.config).into_iter().filter_map(summary).collect()
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<&StoredTensor, CheckpointError> {
        let tensor = self.tensors.get(name).ok_or_else(|| CheckpointError::Missing {
            name: name.to_owned(),
            file: self.label.clone(),
        })?;
        if tensor.shape == shape {
            Ok(tensor)
        } else {
            Err(CheckpointError::WrongShape {
                name: name.to_owned(),
                file: self.files[tensor.file_idx].label.clone(),
                found: format!("{:?}", tensor.shape),
                expected: format!("{shape:?}"),
            })
        }
    }
}

fn read_scale<B: AsRef<[u8]>>(
    name: String,
    tensor: &StoredTensor,
    files: &[SourceFile<B>],
) -> NamedScale {
    let bytes = &files[tensor.file_idx].bytes.as_ref()[tensor.range.clone()];
    let mut values = vec![0.0; tensor.shape.iter().product()];
    tensor.format.dequantize_row(bytes, &mut values);
    NamedScale { name, shape: tensor.shape.clone(), values }
}

impl<B: AsRef<[u8]> + Send + Sync> Checkpoint for TensorStore<B> {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn tensor(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Box<dyn RowSource + '_>, CheckpointError> {
        let tensor = self.find(name, shape)?;
        let bytes = &self.files[tensor.file_idx].bytes.as_ref()[tensor.range.clone()];
        Ok(Box::new(StoredRows::new(tensor, bytes)))
    }
}

/// The rows of one tensor, widened as they are read.
struct StoredRows<'a> {
    bytes: &'a [u8],
    format: TensorFormat,
    row_order: RowOrder,
    num_rows: usize,
    num_cols: usize,
}

impl<'a> StoredRows<'a> {
    fn new(tensor: &StoredTensor, bytes: &'a [u8]) -> Self {
        let (num_cols, outer) =
            tensor.shape.split_last().map_or((1, &[][..]), |(&cols, outer)| (cols, outer));
        StoredRows {
            bytes,
            format: tensor.format,
            row_order: tensor.row_order,
            num_rows: outer.iter().product(),
            num_cols,
        }
    }

    fn dequantize(&self, stored_row: usize, out: &mut [f32]) {
        let row_bytes = self.bytes.len() / self.num_rows;
        let row = &self.bytes[stored_row * row_bytes..][..row_bytes];
        self.format.dequantize_row(row, out);
    }
}

impl RowSource for StoredRows<'_> {
    fn num_rows(&self) -> usize {
        self.num_rows
    }

    fn num_cols(&self) -> usize {
        self.num_cols
    }

    fn read_row(&self, row: usize, out: &mut [f32]) {
        let is_reordered_vector = self.num_rows == 1 && self.row_order != RowOrder::HuggingFace;
        if is_reordered_vector {
            let mut stored = vec![0.0; self.num_cols];
            self.dequantize(0, &mut stored);
            for (i, x) in out.iter_mut().enumerate() {
                *x = stored[self.row_order.stored_row(i)];
            }
        } else {
            self.dequantize(self.row_order.stored_row(row), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_rows_are_a_permutation_that_keeps_pairs_together() {
        for (head_dim, rotary_dim) in [(2, 2), (8, 8), (8, 4), (64, 64), (10, 6)] {
            let order = RowOrder::InterleavedRope { head_dim, rotary_dim };
            let mut seen = vec![false; 3 * head_dim];
            for row in 0..seen.len() {
                let stored = order.stored_row(row);
                assert!(!std::mem::replace(&mut seen[stored], true));
                assert_eq!(stored / head_dim, row / head_dim, "stays in its head");
                if row % head_dim < rotary_dim / 2 {
                    let partner = order.stored_row(row + rotary_dim / 2);
                    assert_eq!(stored % 2, 0);
                    assert_eq!(partner, stored + 1);
                }
            }
        }
    }
}
