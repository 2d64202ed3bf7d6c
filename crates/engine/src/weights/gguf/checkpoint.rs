//! A GGUF file as a [`TensorStore`].

use std::collections::HashMap;

use engine_core::checkpoint::Checkpoint;
use engine_core::config::{Architecture, ModelConfig};

use super::config::model_config;
use super::names::{self, ROPE_FREQS};
use super::{Gguf, GgufError, TensorInfo};
use crate::weights::WeightsError;
use crate::weights::store::{RowOrder, SourceFile, StoredTensor, TensorStore};

/// The model in `bytes`, a whole GGUF file that errors call `label`.
///
/// # Errors
/// [`WeightsError`] when it is no GGUF file or no model that is known here.
pub fn checkpoint_from_bytes(
    label: &str,
    bytes: Vec<u8>,
) -> Result<impl Checkpoint + Send + Sync, WeightsError> {
    let gguf = parse(label, &bytes)?;
    open(label, bytes, &gguf)
}

pub(in crate::weights) fn parse(label: &str, bytes: &[u8]) -> Result<Gguf, WeightsError> {
    Gguf::from_bytes(bytes)
        .map_err(|source: GgufError| WeightsError::Gguf { file: label.to_owned(), source })
}

/// The tensors of `gguf`, which was read from `bytes`.
pub(in crate::weights) fn open<B: AsRef<[u8]> + Send + Sync>(
    label: &str,
    bytes: B,
    gguf: &Gguf,
) -> Result<TensorStore<B>, WeightsError> {
    let config = model_config(gguf, bytes.as_ref())
        .map_err(|source| WeightsError::Config { file: label.to_owned(), source })?;
    let mut tensors = HashMap::with_capacity(gguf.tensors.len());
    for tensor in &gguf.tensors {
        if tensor.name == ROPE_FREQS || names::is_obsolete(&tensor.name) {
            continue;
        }
        let Some(name) = names::hf_name(&tensor.name) else {
            return Err(WeightsError::UnexpectedTensor {
                name: tensor.name.clone(),
                file: label.to_owned(),
                architecture: config.architecture.name(),
            });
        };
        let stored = stored_tensor(&config, &name, tensor);
        tensors.insert(name, stored);
    }
    let file = SourceFile { label: label.to_owned(), bytes };
    TensorStore::new(config, label.to_owned(), vec![file], tensors)
}

fn stored_tensor(config: &ModelConfig, hf_name: &str, tensor: &TensorInfo) -> StoredTensor {
    StoredTensor {
        file_idx: 0,
        range: tensor.range.clone(),
        shape: tensor.shape.clone(),
        format: tensor.format,
        row_order: row_order(config, hf_name),
    }
}

/// llama.cpp's converter permutes q and k of the llama family only.
fn row_order(config: &ModelConfig, hf_name: &str) -> RowOrder {
    let is_q_or_k =
        hf_name.contains(".self_attn.q_proj.") || hf_name.contains(".self_attn.k_proj.");
    match config.architecture {
        Architecture::Llama | Architecture::Mistral if is_q_or_k => RowOrder::InterleavedRope {
            head_dim: config.head_dim,
            rotary_dim: config.rope.rotary_dim,
        },
        _ => RowOrder::HuggingFace,
    }
}
