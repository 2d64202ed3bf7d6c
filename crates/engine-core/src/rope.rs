//! RoPE frequencies for every scaling method, rounded where Hugging Face transformers rounds.
//!
//! There, frequencies are float32 tensors and parameters are float64 numbers that become float32
//! when they meet one; each operation rounds once. The same is done here. Only powers can differ,
//! by the last bit: they are taken in f64 and rounded, where torch's float32 power is off by up to
//! one unit.

use alloc::vec::Vec;
use core::f64::consts::PI;

use crate::config::{ModelConfig, RopeConfig, RopeScaling};

impl ModelConfig {
    /// The `max_model_len` of a user who gives none: all that the checkpoint was made for. Configs
    /// with yarn or llama3 scaling state the stretched length here.
    pub fn default_max_model_len(&self) -> usize {
        self.max_position_embeddings
    }

    /// The longest `max_model_len` that the model can be asked for: what it was made for, times the
    /// stretch where its configuration states the length before stretching.
    pub fn longest_model_len(&self) -> usize {
        let stretched = match self.rope.scaling {
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor } => {
                self.max_position_embeddings as f64 * factor
            }
            RopeScaling::Yarn { factor, original_max_position_embeddings, .. } => {
                original_max_position_embeddings as f64 * factor
            }
            RopeScaling::None | RopeScaling::Llama3 { .. } | RopeScaling::Factors(_) => 0.0,
        };
        self.max_position_embeddings.max(stretched as usize)
    }
}

/// Frequencies in radians per token, `rotary_dim / 2` of them, and the factor on cos and sin.
///
/// `max_position_embeddings` is the checkpoint's, `max_model_len` the longest sequence that will
/// run; both matter to [`RopeScaling::Dynamic`] only. [`RopeScaling::Factors`] must hold a factor
/// for each frequency; the loader has checked.
pub fn inv_freq(
    rope: &RopeConfig,
    max_position_embeddings: usize,
    max_model_len: usize,
) -> (Vec<f32>, f32) {
    let dim = rope.rotary_dim;
    match &rope.scaling {
        RopeScaling::None => (plain(rope.theta, dim), 1.0),
        RopeScaling::Linear { factor } => {
            let stretch = |freq: f32| freq / *factor as f32;
            (plain(rope.theta, dim).into_iter().map(stretch).collect(), 1.0)
        }
        RopeScaling::Dynamic { factor } => {
            let base = dynamic_base(rope, *factor, max_position_embeddings, max_model_len);
            (plain(base, dim), 1.0)
        }
        RopeScaling::Yarn { attention_factor, .. } => (yarn(rope), *attention_factor as f32),
        RopeScaling::Llama3 { .. } => (llama3(rope), 1.0),
        RopeScaling::Factors(factors) => {
            let freqs = plain(rope.theta, dim).into_iter().zip(factors);
            (freqs.map(|(freq, factor)| freq / factor).collect(), 1.0)
        }
    }
}

/// `base^(2i / dim)` for each pair of elements.
fn powers(base: f64, dim: usize) -> impl Iterator<Item = f32> {
    (0..dim / 2).map(move |i| {
        let exponent = (2 * i) as f32 / dim as f32;
        libm::pow(f64::from(base as f32), f64::from(exponent)) as f32
    })
}

fn plain(base: f64, dim: usize) -> Vec<f32> {
    powers(base, dim).map(|power| 1.0 / power).collect()
}

/// The base with which the slowest frequency turns over `max_model_len` as it did over the original
/// length.
fn dynamic_base(
    rope: &RopeConfig,
    factor: f64,
    max_position_embeddings: usize,
    max_model_len: usize,
) -> f64 {
    // With one pair its frequency is 1 whatever the base.
    if max_model_len <= max_position_embeddings || rope.rotary_dim <= 2 {
        return rope.theta;
    }
    let dim = rope.rotary_dim as f64;
    let stretch = factor * max_model_len as f64 / max_position_embeddings as f64 - (factor - 1.0);
    rope.theta * libm::pow(stretch, dim / (dim - 2.0))
}

/// Fast frequencies stay, slow ones are divided by `factor`, and a ramp joins them.
fn yarn(rope: &RopeConfig) -> Vec<f32> {
    let RopeScaling::Yarn {
        factor,
        original_max_position_embeddings,
        beta_fast,
        beta_slow,
        truncate,
        ..
    } = rope.scaling
    else {
        return Vec::new();
    };
    let dim = rope.rotary_dim as f64;
    let original = original_max_position_embeddings as f64;
    // The (fractional) index of the frequency that makes so many turns over the original length.
    let index_of =
        |turns: f64| dim * libm::log(original / (turns * 2.0 * PI)) / (2.0 * libm::log(rope.theta));
    let (mut low, mut high) = (index_of(beta_fast), index_of(beta_slow));
    if truncate {
        (low, high) = (libm::floor(low), libm::ceil(high));
    }
    (low, high) = (low.max(0.0), high.min(dim - 1.0));
    if low == high {
        high += 0.001;
    }
    let blend = |(i, power): (usize, f32)| {
        let kept = 1.0 / power;
        let stretched = 1.0 / (factor as f32 * power);
        let ramp = ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
        // Hugging Face computes 1 − (1 − ramp), which is not always `ramp` in f32.
        let keep = 1.0 - ramp;
        stretched * (1.0 - keep) + kept * keep
    };
    powers(rope.theta, rope.rotary_dim).enumerate().map(blend).collect()
}

/// Wavelengths well within the original length stay, those beyond it are stretched, and those
/// between are blended.
fn llama3(rope: &RopeConfig) -> Vec<f32> {
    let RopeScaling::Llama3 {
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
    } = rope.scaling
    else {
        return Vec::new();
    };
    let original = original_max_position_embeddings as f64;
    let longest_kept = (original / high_freq_factor) as f32;
    let shortest_stretched = (original / low_freq_factor) as f32;
    // torch divides a number by a tensor as reciprocal and product.
    let stretch = |freq: f32| {
        let wavelength = 1.0 / freq * (2.0 * PI) as f32;
        if wavelength > shortest_stretched {
            freq / factor as f32
        } else if wavelength < longest_kept {
            freq
        } else {
            let keep = (1.0 / wavelength * original as f32 - low_freq_factor as f32)
                / (high_freq_factor - low_freq_factor) as f32;
            (1.0 - keep) * freq / factor as f32 + keep * freq
        }
    };
    plain(rope.theta, rope.rotary_dim).into_iter().map(stretch).collect()
}
