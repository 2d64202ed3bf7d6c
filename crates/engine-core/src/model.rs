//! The Llama-family decoder in terms of ops, one layer at a time.
//!
//! The driver calls [`Model::begin`], then [`Model::layer`] for each layer, then [`Model::logits`];
//! between layers it may wait for KV that is still being loaded. In each layer all K and V rows are
//! written before any row attends.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::checkpoint::{Checkpoint, CheckpointError, RowSource};
use crate::config::ModelConfig;
use crate::device::OpError;
use crate::ops::{Cols, HeadNorm, Linear, Ops, Out, RmsNorm, RopeAngles, RotateAttend, SiluMul};
use crate::rope::inv_freq;

/// A loaded model: its weights on the device of `O`.
pub struct Model<O: Ops> {
    config: ModelConfig,
    embedding: O::Matrix,
    layers: Vec<Layer<O>>,
    final_norm: O::Buffer,
    /// `None`: the embedding is the output projection.
    lm_head: Option<O::Matrix>,
    inv_freq: O::Buffer,
    attention_factor: f32,
}

/// Weights of one decoder layer. q, k and v are one matrix, and so are gate and up: the same inputs,
/// read once.
struct Layer<O: Ops> {
    input_norm: O::Buffer,
    qkv: Dense<O>,
    q_norm: Option<O::Buffer>,
    k_norm: Option<O::Buffer>,
    o: Dense<O>,
    post_attention_norm: O::Buffer,
    gate_up: Dense<O>,
    down: Dense<O>,
}

struct Dense<O: Ops> {
    weight: O::Matrix,
    bias: Option<O::Buffer>,
}

/// Activations of one step, allocated once for the largest.
pub struct Workspace<O: Ops> {
    /// `[max_num_tokens, hidden_size]` f32.
    residual: O::Buffer,
    /// `[max_num_tokens, hidden_size]`, matrix inputs.
    normed: O::Buffer,
    /// `[max_num_tokens, (num_qo_heads + 2 · num_kv_heads) · head_dim]` f32: q, k, v side by side.
    qkv: O::Buffer,
    /// `[max_num_tokens, rotary_dim]` f32.
    angles: O::Buffer,
    /// `[max_num_tokens, num_qo_heads · head_dim]`, matrix inputs.
    attended: O::Buffer,
    /// `[max_num_tokens, 2 · intermediate_size]` f32: gate, up.
    gate_up: O::Buffer,
    /// `[max_num_tokens, intermediate_size]`, matrix inputs.
    activated: O::Buffer,
    /// `[max_num_logit_rows, hidden_size]`, matrix inputs.
    logit_inputs: O::Buffer,
    /// `[max_num_logit_rows, vocab_size]` f32.
    logits: O::Buffer,
    max_num_logit_rows: usize,
}

impl<O: Ops> Workspace<O> {
    /// Rows that one call of [`Model::logits`] can take.
    pub fn max_num_logit_rows(&self) -> usize {
        self.max_num_logit_rows
    }
}

/// Why a model cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The checkpoint lacks a tensor or has it in another shape.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The backend cannot hold it.
    #[error(transparent)]
    Op(#[from] OpError),
}

impl<O: Ops> Model<O> {
    /// Reads the weights of `checkpoint` into the device. `max_model_len` fixes the RoPE frequencies
    /// of checkpoints whose scaling depends on it.
    ///
    /// # Errors
    /// [`LoadError`] names the tensor or what there is no room for.
    pub fn load(
        ops: &mut O,
        checkpoint: &dyn Checkpoint,
        max_model_len: usize,
    ) -> Result<Self, LoadError> {
        let config = checkpoint.config().clone();
        let mut loader = Loader { ops, checkpoint };
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let embedding = loader.matrix(&[("model.embed_tokens.weight", vocab)], hidden)?;
        let layers = (0..config.num_layers)
            .map(|layer_idx| loader.layer(&config, layer_idx))
            .collect::<Result<_, _>>()?;
        let final_norm = loader.vector(&["model.norm.weight"], &[hidden])?;
        let lm_head = if config.tie_word_embeddings {
            None
        } else {
            Some(loader.matrix(&[("lm_head.weight", vocab)], hidden)?)
        };
        let (frequencies, attention_factor) =
            inv_freq(&config.rope, config.max_position_embeddings, max_model_len);
        let mut inv_freq = ops.alloc(frequencies.len())?;
        ops.write_f32(&frequencies, &mut inv_freq)?;
        Ok(Model { config, embedding, layers, final_norm, lm_head, inv_freq, attention_factor })
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Activations for steps of at most `max_num_tokens` rows, and logits of `max_num_logit_rows`
    /// at a time.
    ///
    /// # Errors
    /// [`OpError::OutOfMemory`].
    pub fn workspace(
        &self,
        ops: &mut O,
        max_num_tokens: usize,
        max_num_logit_rows: usize,
    ) -> Result<Workspace<O>, OpError> {
        let ModelConfig { hidden_size, intermediate_size, head_dim, .. } = self.config;
        let q_width = self.config.num_qo_heads * head_dim;
        Ok(Workspace {
            residual: ops.alloc(max_num_tokens * hidden_size)?,
            normed: ops.alloc_act(max_num_tokens * hidden_size)?,
            qkv: ops.alloc(max_num_tokens * self.qkv_width())?,
            angles: ops.alloc(max_num_tokens * self.config.rope.rotary_dim)?,
            attended: ops.alloc_act(max_num_tokens * q_width)?,
            gate_up: ops.alloc(max_num_tokens * 2 * intermediate_size)?,
            activated: ops.alloc_act(max_num_tokens * intermediate_size)?,
            logit_inputs: ops.alloc_act(max_num_logit_rows * hidden_size)?,
            logits: ops.alloc(max_num_logit_rows * self.config.vocab_size)?,
            max_num_logit_rows,
        })
    }

    fn qkv_width(&self) -> usize {
        (self.config.num_qo_heads + 2 * self.config.num_kv_heads) * self.config.head_dim
    }

    /// Starts a step: embeds the batch's `num_tokens` tokens and computes their rotations.
    ///
    /// # Errors
    /// [`OpError`] from the backend.
    pub fn begin(
        &self,
        ops: &mut O,
        batch: &O::Batch,
        workspace: &mut Workspace<O>,
    ) -> Result<(), OpError> {
        ops.embed(&self.embedding, batch, &mut workspace.residual)?;
        ops.rope_angles(RopeAngles {
            batch,
            inv_freq: &self.inv_freq,
            num_freqs: self.config.rope.rotary_dim / 2,
            attention_factor: self.attention_factor,
            out: &mut workspace.angles,
        })
    }

    /// Runs layer `layer_idx` on the step's `num_tokens` rows.
    ///
    /// # Errors
    /// [`OpError`] from the backend.
    pub fn layer(
        &self,
        ops: &mut O,
        layer_idx: usize,
        (batch, num_tokens): (&O::Batch, usize),
        kv_cache: &mut O::KvCache,
        workspace: &mut Workspace<O>,
    ) -> Result<(), OpError> {
        let layer = &self.layers[layer_idx];
        self.norm(ops, &layer.input_norm, num_tokens, workspace)?;
        ops.linear(Linear {
            x: &workspace.normed,
            weight: &layer.qkv.weight,
            bias: layer.qkv.bias.as_ref(),
            num_rows: num_tokens,
            out: Out::Store(&mut workspace.qkv),
        })?;
        self.norm_heads(ops, layer, num_tokens, workspace)?;
        self.attend(ops, layer_idx, (batch, num_tokens), kv_cache, workspace)?;
        ops.linear(Linear {
            x: &workspace.attended,
            weight: &layer.o.weight,
            bias: layer.o.bias.as_ref(),
            num_rows: num_tokens,
            out: Out::AddTo(&mut workspace.residual),
        })?;
        self.norm(ops, &layer.post_attention_norm, num_tokens, workspace)?;
        self.feed_forward(ops, layer, num_tokens, workspace)
    }

    fn norm(
        &self,
        ops: &mut O,
        weight: &O::Buffer,
        num_rows: usize,
        workspace: &mut Workspace<O>,
    ) -> Result<(), OpError> {
        ops.rms_norm(RmsNorm {
            x: &workspace.residual,
            weight,
            eps: self.config.rms_norm_eps,
            hidden_size: self.config.hidden_size,
            rows: None,
            num_rows,
            out: &mut workspace.normed,
        })
    }

    /// Normalises q and k in place, if the model does.
    fn norm_heads(
        &self,
        ops: &mut O,
        layer: &Layer<O>,
        num_rows: usize,
        workspace: &mut Workspace<O>,
    ) -> Result<(), OpError> {
        let ModelConfig { num_qo_heads, num_kv_heads, head_dim, .. } = self.config;
        let stride = self.qkv_width();
        let parts = [
            (0, num_qo_heads, &layer.q_norm),
            (num_qo_heads * head_dim, num_kv_heads, &layer.k_norm),
        ];
        for (first_col, num_heads, norm) in parts {
            if let Some(weight) = norm {
                ops.head_norm(HeadNorm {
                    x: Cols { buffer: &mut workspace.qkv, first_col, stride },
                    weight,
                    eps: self.config.rms_norm_eps,
                    num_rows,
                    num_heads,
                    head_dim,
                })?;
            }
        }
        Ok(())
    }

    /// Rotates q and k, writes k and v to the cache, and attends.
    fn attend(
        &self,
        ops: &mut O,
        layer_idx: usize,
        (batch, num_rows): (&O::Batch, usize),
        kv_cache: &mut O::KvCache,
        workspace: &mut Workspace<O>,
    ) -> Result<(), OpError> {
        let ModelConfig { num_qo_heads, num_kv_heads, head_dim, .. } = self.config;
        ops.rotate_attend(RotateAttend {
            batch,
            num_rows,
            qkv: &mut workspace.qkv,
            angles: &workspace.angles,
            rotary_dim: self.config.rope.rotary_dim,
            kv_cache,
            layer_idx,
            num_qo_heads,
            num_kv_heads,
            head_dim,
            scale: 1.0 / libm::sqrtf(head_dim as f32),
            window: self.config.sliding_windows[layer_idx],
            out: &mut workspace.attended,
        })
    }

    fn feed_forward(
        &self,
        ops: &mut O,
        layer: &Layer<O>,
        num_rows: usize,
        workspace: &mut Workspace<O>,
    ) -> Result<(), OpError> {
        ops.linear(Linear {
            x: &workspace.normed,
            weight: &layer.gate_up.weight,
            bias: layer.gate_up.bias.as_ref(),
            num_rows,
            out: Out::Store(&mut workspace.gate_up),
        })?;
        ops.silu_mul(SiluMul {
            gate_up: &workspace.gate_up,
            num_rows,
            width: self.config.intermediate_size,
            out: &mut workspace.activated,
        })?;
        ops.linear(Linear {
            x: &workspace.activated,
            weight: &layer.down.weight,
            bias: layer.down.bias.as_ref(),
            num_rows,
            out: Out::AddTo(&mut workspace.residual),
        })
    }

    /// Logits of the given rows of the step: `[rows.len(), vocab_size]` f32, valid until the next call.
    ///
    /// # Errors
    /// [`OpError::Shape`] for more rows than the workspace takes; [`OpError`] from the backend.
    pub fn logits<'w>(
        &self,
        ops: &mut O,
        rows: &[u32],
        workspace: &'w mut Workspace<O>,
    ) -> Result<&'w O::Buffer, OpError> {
        let (found, expected) = (rows.len(), workspace.max_num_logit_rows);
        if found > expected {
            return Err(OpError::Shape { op: "logits", what: "number of rows", found, expected });
        }
        ops.rms_norm(RmsNorm {
            x: &workspace.residual,
            weight: &self.final_norm,
            eps: self.config.rms_norm_eps,
            hidden_size: self.config.hidden_size,
            rows: Some(rows),
            num_rows: rows.len(),
            out: &mut workspace.logit_inputs,
        })?;
        ops.linear(Linear {
            x: &workspace.logit_inputs,
            weight: self.lm_head.as_ref().unwrap_or(&self.embedding),
            bias: None,
            num_rows: rows.len(),
            out: Out::Store(&mut workspace.logits),
        })?;
        Ok(&workspace.logits)
    }
}

/// Reads a checkpoint's tensors by name and hands them to the device.
struct Loader<'a, O: Ops> {
    ops: &'a mut O,
    checkpoint: &'a dyn Checkpoint,
}

impl<O: Ops> Loader<'_, O> {
    fn layer(&mut self, config: &ModelConfig, layer_idx: usize) -> Result<Layer<O>, LoadError> {
        let prefix = format!("model.layers.{layer_idx}");
        let ModelConfig { hidden_size: hidden, intermediate_size: inner, head_dim, .. } = *config;
        let (q, kv) = (config.num_qo_heads * head_dim, config.num_kv_heads * head_dim);
        let attention = format!("{prefix}.self_attn");
        let mlp = format!("{prefix}.mlp");
        let head_norm = |loader: &mut Self, name: &str| match config.qk_norm {
            true => loader.vector(&[&format!("{attention}.{name}.weight")], &[head_dim]).map(Some),
            false => Ok(None),
        };
        Ok(Layer {
            input_norm: self.vector(&[&format!("{prefix}.input_layernorm.weight")], &[hidden])?,
            qkv: self.dense(
                &attention,
                &[("q_proj", q), ("k_proj", kv), ("v_proj", kv)],
                hidden,
                config.qkv_bias,
            )?,
            q_norm: head_norm(self, "q_norm")?,
            k_norm: head_norm(self, "k_norm")?,
            o: self.dense(&attention, &[("o_proj", hidden)], q, config.o_bias)?,
            post_attention_norm: self
                .vector(&[&format!("{prefix}.post_attention_layernorm.weight")], &[hidden])?,
            gate_up: self.dense(
                &mlp,
                &[("gate_proj", inner), ("up_proj", inner)],
                hidden,
                config.mlp_bias,
            )?,
            down: self.dense(&mlp, &[("down_proj", hidden)], inner, config.mlp_bias)?,
        })
    }

    /// A dense layer made of `parts` (name and out features), one below the other.
    fn dense(
        &mut self,
        prefix: &str,
        parts: &[(&str, usize)],
        in_features: usize,
        has_bias: bool,
    ) -> Result<Dense<O>, LoadError> {
        let names = |kind: &str| -> Vec<_> {
            parts.iter().map(|(part, _)| format!("{prefix}.{part}.{kind}")).collect()
        };
        let weight_names = names("weight");
        let weights: Vec<_> =
            weight_names.iter().zip(parts).map(|(name, part)| (name.as_str(), part.1)).collect();
        let weight = self.matrix(&weights, in_features)?;
        let bias_names = names("bias");
        let bias_names: Vec<_> = bias_names.iter().map(|name| name.as_str()).collect();
        let lens: Vec<_> = parts.iter().map(|part| part.1).collect();
        let bias = if has_bias { Some(self.vector(&bias_names, &lens)?) } else { None };
        Ok(Dense { weight, bias })
    }

    fn matrix(
        &mut self,
        parts: &[(&str, usize)],
        in_features: usize,
    ) -> Result<O::Matrix, LoadError> {
        let sources = parts
            .iter()
            .map(|&(name, rows)| self.checkpoint.tensor(name, &[rows, in_features]))
            .collect::<Result<Vec<Box<dyn RowSource + '_>>, _>>()?;
        let sources: Vec<&dyn RowSource> = sources.iter().map(|source| source.as_ref()).collect();
        Ok(self.ops.load_matrix(&sources)?)
    }

    /// The vectors `names` (of `lens` elements), one behind the other, in f32.
    fn vector(&mut self, names: &[&str], lens: &[usize]) -> Result<O::Buffer, LoadError> {
        let mut values = vec![0.0; lens.iter().sum()];
        let mut rest = values.as_mut_slice();
        for (name, &len) in names.iter().zip(lens) {
            let (part, tail) = rest.split_at_mut(len);
            self.checkpoint.tensor(name, &[len])?.read_row(0, part);
            rest = tail;
        }
        let mut buffer = self.ops.alloc(values.len())?;
        self.ops.write_f32(&values, &mut buffer)?;
        Ok(buffer)
    }
}
