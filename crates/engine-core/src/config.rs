//! What a checkpoint says of its model: shapes, RoPE, attention pattern.

use alloc::vec::Vec;

/// The shape of a Llama-family decoder. Every count is of the whole model (no tensor parallelism).
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The family as the checkpoint names it (`llama`, `mistral`, `qwen2`, `qwen3`).
    pub architecture: Architecture,
    /// Decoder layers.
    pub num_layers: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Query (and output) heads.
    pub num_qo_heads: usize,
    /// Key and value heads; divides `num_qo_heads`.
    pub num_kv_heads: usize,
    /// Elements of one head; not always `hidden_size / num_qo_heads`.
    pub head_dim: usize,
    /// Rows of the embedding and of the output projection.
    pub vocab_size: usize,
    /// Added to mean(x²) before the root in every RMSNorm.
    pub rms_norm_eps: f32,
    /// Rotary position embedding.
    pub rope: RopeConfig,
    /// Sliding window of each layer, in tokens, the token itself included; `None`: all of the context.
    pub sliding_windows: Vec<Option<u32>>,
    /// Longest sequence that the checkpoint was made for, in tokens.
    pub max_position_embeddings: usize,
    /// The output projection is the embedding.
    pub tie_word_embeddings: bool,
    /// q, k and v projections have biases.
    pub qkv_bias: bool,
    /// The attention output projection has a bias.
    pub o_bias: bool,
    /// gate, up and down projections have biases.
    pub mlp_bias: bool,
    /// q and k are RMS-normalised per head before RoPE (Qwen3).
    pub qk_norm: bool,
}

/// The model families that [`crate::config::ModelConfig`] can describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2, 3, 3.1, CodeLlama, Yi, SmolLM.
    Llama,
    /// Mistral: Llama with a sliding window.
    Mistral,
    /// Qwen2: Llama with biases on q, k and v.
    Qwen2,
    /// Qwen3: Llama with q and k normalised per head.
    Qwen3,
}

impl Architecture {
    /// The name in a config's `model_type` and in GGUF's `general.architecture`.
    pub const fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
            Architecture::Mistral => "mistral",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
        }
    }
}

/// Rotary position embedding, half-split ("NeoX") layout: element `i` turns with `i + rotary_dim / 2`.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the geometric series of frequencies.
    pub theta: f64,
    /// Leading elements of a head that turn; even, at most `head_dim`.
    pub rotary_dim: usize,
    /// How the frequencies are stretched for long contexts.
    pub scaling: RopeScaling,
}

/// The context-extension methods, with the parameter names of Hugging Face configs.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Plain frequencies.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// Stretch of the context.
        factor: f64,
    },
    /// NTK-aware base change: plain while `max_model_len` is within the original length
    /// (`max_position_embeddings`), else the base for `max_model_len`, fixed at load so that a
    /// cached key never changes.
    Dynamic {
        /// Stretch of the context.
        factor: f64,
    },
    /// YaRN, arXiv:2309.00071.
    Yarn {
        /// Stretch of the context.
        factor: f64,
        /// Length before stretching, in tokens.
        original_max_position_embeddings: usize,
        /// Turns above which a frequency is left alone.
        beta_fast: f64,
        /// Turns below which a frequency is fully interpolated.
        beta_slow: f64,
        /// Factor on cos and sin; the loader has applied the defaults (`0.1 ln(factor) + 1`, mscale).
        attention_factor: f64,
        /// Round the correction range to whole dimensions.
        truncate: bool,
    },
    /// Llama 3.1's piecewise interpolation.
    Llama3 {
        /// Stretch of the context.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are fully stretched.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are left alone.
        high_freq_factor: f64,
        /// Length before stretching, in tokens.
        original_max_position_embeddings: usize,
    },
    /// A divisor for each frequency, as GGUF's `rope_freqs.weight` gives; `rotary_dim / 2` values.
    Factors(Vec<f32>),
}
