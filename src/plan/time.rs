//! How long a device takes at least: what it must compute, and what it must read.

use engine_core::config::ModelConfig;
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use serde::Serialize;

use super::device::Rates;
use super::memory::kv_bytes_per_token;

/// What bounds a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Matrix products.
    Compute,
    /// Reading weights and KV.
    Memory,
}

/// A time, by the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Seconds.
    pub seconds: f64,
    /// What takes so long; the other is hidden behind it.
    pub limit: Limit,
}

/// FLOP and bytes of a step on all devices together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Work {
    flop: f64,
    bytes: f64,
}

impl Work {
    /// A prompt alone, whose last row is sampled from.
    pub(super) fn of_prefill(
        config: &ModelConfig,
        dtype: DType,
        kv_dtype: KvDType,
        num_tokens: usize,
    ) -> Work {
        let rows = num_tokens as f64;
        let pairs: f64 = layers(config).map(|window| pairs_in(num_tokens, window)).sum();
        Work {
            flop: 2.0 * rows * layer_elements(config)
                + flop_of_pairs(config, pairs)
                + logits_flop(config),
            bytes: weight_bytes(config, dtype) + rows * kv_bytes_per_token(config, kv_dtype) as f64,
        }
    }

    /// One row of each of `batch` sequences of `context` tokens.
    pub(super) fn of_decode(
        config: &ModelConfig,
        dtype: DType,
        kv_dtype: KvDType,
        batch: usize,
        context: usize,
    ) -> Work {
        let rows = batch as f64;
        let attended: f64 = layers(config).map(|window| tokens_in(context, window)).sum();
        let kv_bytes =
            kv_bytes_per_token(config, kv_dtype) as f64 / config.num_layers.max(1) as f64;
        Work {
            flop: rows
                * (2.0 * layer_elements(config)
                    + flop_of_pairs(config, attended)
                    + logits_flop(config)),
            bytes: weight_bytes(config, dtype) + rows * attended * kv_bytes,
        }
    }

    /// On `tp` devices that share all evenly.
    pub(super) fn on(self, rates: &Rates, tp: usize) -> Estimate {
        let compute_s = self.flop / rates.flop_per_s / tp as f64;
        let memory_s = self.bytes / rates.memory_bytes_per_s / tp as f64;
        if compute_s >= memory_s {
            Estimate { seconds: compute_s, limit: Limit::Compute }
        } else {
            Estimate { seconds: memory_s, limit: Limit::Memory }
        }
    }
}

/// The window of each layer.
fn layers(config: &ModelConfig) -> impl Iterator<Item = Option<u32>> + '_ {
    (0..config.num_layers).map(|layer| config.sliding_windows.get(layer).copied().flatten())
}

/// Tokens that the last of `context` attends.
fn tokens_in(context: usize, window: Option<u32>) -> f64 {
    context.min(window.map_or(usize::MAX, |window| window as usize)) as f64
}

/// Pairs of a query and a key that it attends.
fn pairs_in(num_tokens: usize, window: Option<u32>) -> f64 {
    let (all, within) = (num_tokens as f64, tokens_in(num_tokens, window));
    within * (within + 1.0) / 2.0 + (all - within) * within
}

/// Q·K and P·V of so many pairs in one layer each.
fn flop_of_pairs(config: &ModelConfig, pairs: f64) -> f64 {
    4.0 * pairs * (config.num_qo_heads * config.head_dim) as f64
}

/// Elements of the matrices that each row is multiplied with in all layers.
fn layer_elements(config: &ModelConfig) -> f64 {
    let q = config.num_qo_heads * config.head_dim;
    let kv = config.num_kv_heads * config.head_dim;
    let layer = config.hidden_size * (2 * q + 2 * kv + 3 * config.intermediate_size);
    config.num_layers as f64 * layer as f64
}

fn logits_flop(config: &ModelConfig) -> f64 {
    2.0 * config.vocab_size as f64 * config.hidden_size as f64
}

/// Of the matrices that a step reads whole: the embedding, of which it reads a few rows, is not among them unless it
/// is the output projection too.
fn weight_bytes(config: &ModelConfig, dtype: DType) -> f64 {
    let output = config.vocab_size as f64 * config.hidden_size as f64;
    (layer_elements(config) + output) * dtype.size_bytes() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_a_triangle_and_behind_the_window_a_band() {
        assert_eq!(pairs_in(4, None), 10.0);
        assert_eq!(pairs_in(4, Some(9)), 10.0);
        let counted =
            |tokens: u32, window: u32| (1..=tokens).map(|t| f64::from(t.min(window))).sum::<f64>();
        assert_eq!(pairs_in(100, Some(7)), counted(100, 7));
        assert_eq!(pairs_in(0, None), 0.0);
    }

    #[test]
    fn the_slower_resource_bounds() {
        let rates = Rates {
            memory_bytes_per_s: 10.0,
            flop_per_s: 100.0,
            host_link_bytes_per_s: 1.0,
            source: "",
        };
        let compute = Work { flop: 400.0, bytes: 20.0 }.on(&rates, 2);
        assert_eq!(compute, Estimate { seconds: 2.0, limit: Limit::Compute });
        let memory = Work { flop: 100.0, bytes: 20.0 }.on(&rates, 1);
        assert_eq!(memory, Estimate { seconds: 2.0, limit: Limit::Memory });
    }
}
