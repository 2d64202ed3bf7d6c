//! The math that a backend provides: everything that [`crate::model`] needs for one step.
//!
//! Rows are independent: the bits of an output row are a function of that row's inputs (and, in
//! attention, of its own sequence's KV) within one numerics id. How many rows there are, and which,
//! must not show.
//!
//! Every method is a no-op for zero rows. Every method fails with [`OpError::Shape`] when buffers
//! are too small, and [`OpError::Unsupported`] when no kernel takes the shape.

use crate::checkpoint::RowSource;
use crate::device::{Device, OpError};

/// Columns `first_col..first_col + width` of a row-major f32 buffer with `stride` columns.
#[derive(Debug)]
pub struct Cols<B> {
    /// The whole buffer, borrowed.
    pub buffer: B,
    /// First column of the view.
    pub first_col: usize,
    /// Columns of the buffer.
    pub stride: usize,
}

/// Where a [`Linear`] puts its product.
#[derive(Debug)]
pub enum Out<'a, B> {
    /// `out = x · wᵀ + bias`.
    Store(&'a mut B),
    /// `out += x · wᵀ + bias`: the residual connection.
    AddTo(&'a mut B),
}

/// `out[t] = x[t] · wᵀ (+ bias)`: a dense layer.
///
/// Shapes: `x` `[num_rows, in_features]` (a matrix-input buffer), `weight` `[out_features, in_features]`,
/// `bias` `[out_features]`, out `[num_rows, out_features]` f32. Sums in f32 (or wider).
#[derive(Debug)]
pub struct Linear<'a, O: Ops + ?Sized> {
    /// Input rows.
    pub x: &'a O::Buffer,
    /// Weight.
    pub weight: &'a O::Matrix,
    /// Added to every row.
    pub bias: Option<&'a O::Buffer>,
    /// Rows.
    pub num_rows: usize,
    /// Destination.
    pub out: Out<'a, O::Buffer>,
}

/// `out[t, i] = x[r(t), i] / rms(x[r(t), :]) · weight[i]`, with `r` = `rows` or the identity.
///
/// Shapes: `x` `[_, hidden_size]` f32; `weight` `[hidden_size]`; `out` `[num_rows, hidden_size]`, a
/// matrix-input buffer: rounded once, at the store. Sums in f32. Source: arXiv:1910.07467.
#[derive(Debug)]
pub struct RmsNorm<'a, B> {
    /// The residual stream.
    pub x: &'a B,
    /// Gain.
    pub weight: &'a B,
    /// Added to mean(x²).
    pub eps: f32,
    /// Width.
    pub hidden_size: usize,
    /// Which rows of `x`, in order of output; `None`: the first `num_rows`.
    pub rows: Option<&'a [u32]>,
    /// Output rows.
    pub num_rows: usize,
    /// Destination.
    pub out: &'a mut B,
}

/// RMSNorm of each head of `x` in place (Qwen3's QK-norm). `weight` is `[head_dim]`, f32 throughout.
#[derive(Debug)]
pub struct HeadNorm<'a, B> {
    /// `[num_rows, num_heads · head_dim]`.
    pub x: Cols<&'a mut B>,
    /// Gain.
    pub weight: &'a B,
    /// Added to mean(x²).
    pub eps: f32,
    /// Rows.
    pub num_rows: usize,
    /// Heads.
    pub num_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

/// cos and sin of every row's position: `out[t] = [cos(p·f₀) … cos(p·f_{n-1}), sin(p·f₀) … ]`, both
/// times `attention_factor`, with `p` the row's position and `n = rotary_dim / 2`. The angle is the
/// f32 product of the position and the f32 frequency, as Hugging Face computes it.
#[derive(Debug)]
pub struct RopeAngles<'a, O: Ops + ?Sized> {
    /// The step.
    pub batch: &'a O::Batch,
    /// `[rotary_dim / 2]` frequencies, radians per token.
    pub inv_freq: &'a O::Buffer,
    /// `rotary_dim / 2`.
    pub num_freqs: usize,
    /// YaRN's factor on cos and sin, else 1.
    pub attention_factor: f32,
    /// `[num_tokens, rotary_dim]`.
    pub out: &'a mut O::Buffer,
}

/// Rotates each head of `x` in place, half-split: with `n = rotary_dim / 2`, element `i < n` becomes
/// `x[i]·cos − x[i+n]·sin` and element `i + n` becomes `x[i+n]·cos + x[i]·sin`. f32.
/// Source: arXiv:2104.09864.
#[derive(Debug)]
pub struct Rope<'a, B> {
    /// `[num_rows, num_heads · head_dim]`.
    pub x: Cols<&'a mut B>,
    /// What [`Ops::rope_angles`] made: `[num_rows, rotary_dim]`.
    pub angles: &'a B,
    /// Rows.
    pub num_rows: usize,
    /// Heads.
    pub num_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Leading elements that turn.
    pub rotary_dim: usize,
}

/// Writes each row's K and V to its slot of layer `layer_idx`, divided by the cache's scale of their
/// head (an f32 division) and rounded to the cache's format as
/// [`KvDType::round`](crate::kv_dtype::KvDType::round) says.
///
/// Shapes: `k`, `v` `[num_tokens, num_kv_heads · head_dim]`. Rows whose slot is −1 are skipped.
#[derive(Debug)]
pub struct KvWrite<'a, O: Ops + ?Sized> {
    /// The step.
    pub batch: &'a O::Batch,
    /// Keys, after RoPE.
    pub k: Cols<&'a O::Buffer>,
    /// Values.
    pub v: Cols<&'a O::Buffer>,
    /// The cache.
    pub kv_cache: &'a mut O::KvCache,
    /// Which layer.
    pub layer_idx: usize,
}

/// Paged causal attention: row at position `p` attends positions `max(0, p + 1 − window) ..= p` of
/// its sequence, all read from the cache, the step's own rows included.
///
/// `out = v_scale · softmax(scale · k_scale · q · Kᵀ) · V` per head, with the cache's scales of the
/// head; query head `h` reads KV head `h / (num_qo_heads / num_kv_heads)`. Softmax and sums in f32; q is
/// rounded to the [format of attention](crate::kv_dtype::KvDType::attention_dtype), and the
/// probabilities, relative to a running maximum, may be.
/// Shapes: `q` `[num_tokens, num_qo_heads · head_dim]` f32; `out` the same, a matrix-input buffer.
/// Slots that no attended position maps to may hold NaN.
#[derive(Debug)]
pub struct Attention<'a, O: Ops + ?Sized> {
    /// The step.
    pub batch: &'a O::Batch,
    /// Queries, after RoPE.
    pub q: Cols<&'a O::Buffer>,
    /// The cache.
    pub kv_cache: &'a O::KvCache,
    /// Which layer.
    pub layer_idx: usize,
    /// Query heads.
    pub num_qo_heads: usize,
    /// Usually `head_dim^-½`.
    pub scale: f32,
    /// Tokens each row sees, itself included; `None`: all.
    pub window: Option<u32>,
    /// Destination.
    pub out: &'a mut O::Buffer,
}

/// What follows the projection of queries, keys and values in a layer: queries and keys turn as [`Rope`] says, keys and
/// values go to the cache as [`KvWrite`] says, and every row attends as [`Attention`] says. The bits are those of the
/// three one after the other. What `qkv` holds afterwards is unspecified.
#[derive(Debug)]
pub struct RotateAttend<'a, O: Ops + ?Sized> {
    /// The step.
    pub batch: &'a O::Batch,
    /// Its rows.
    pub num_rows: usize,
    /// `[num_rows, (num_qo_heads + 2 · num_kv_heads) · head_dim]` f32: queries, keys and values side by side.
    pub qkv: &'a mut O::Buffer,
    /// What [`Ops::rope_angles`] made: `[num_rows, rotary_dim]`.
    pub angles: &'a O::Buffer,
    /// Leading elements of a head that turn.
    pub rotary_dim: usize,
    /// The cache.
    pub kv_cache: &'a mut O::KvCache,
    /// Which layer.
    pub layer_idx: usize,
    /// Query heads.
    pub num_qo_heads: usize,
    /// KV heads.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Usually `head_dim^-½`.
    pub scale: f32,
    /// Tokens each row sees, itself included; `None`: all.
    pub window: Option<u32>,
    /// `[num_rows, num_qo_heads · head_dim]`, a matrix-input buffer.
    pub out: &'a mut O::Buffer,
}

impl<O: Ops + ?Sized> RotateAttend<'_, O> {
    /// Columns of `qkv`.
    pub fn stride(&self) -> usize {
        (self.num_qo_heads + 2 * self.num_kv_heads) * self.head_dim
    }

    /// Its parts, one after the other: what a backend does that has nothing better.
    ///
    /// # Errors
    /// Those of the parts.
    pub fn by_parts(self, ops: &mut O) -> Result<(), OpError> {
        let stride = self.stride();
        let RotateAttend { batch, num_rows, qkv, angles, rotary_dim, kv_cache, layer_idx, .. } =
            self;
        let RotateAttend { num_qo_heads, num_kv_heads, head_dim, scale, window, out, .. } = self;
        for (first_head, num_heads) in [(0, num_qo_heads), (num_qo_heads, num_kv_heads)] {
            let x = Cols { buffer: &mut *qkv, first_col: first_head * head_dim, stride };
            ops.rope(Rope { x, angles, num_rows, num_heads, head_dim, rotary_dim })?;
        }
        let cols =
            |first_head: usize| Cols { buffer: &*qkv, first_col: first_head * head_dim, stride };
        let (q, k, v) = (cols(0), cols(num_qo_heads), cols(num_qo_heads + num_kv_heads));
        ops.kv_write(KvWrite { batch, k, v, kv_cache: &mut *kv_cache, layer_idx })?;
        ops.attention(Attention { batch, q, kv_cache, layer_idx, num_qo_heads, scale, window, out })
    }
}

/// `out[t, i] = silu(gate_up[t, i]) · gate_up[t, width + i]`, with `silu(x) = x / (1 + e^−x)`.
///
/// Shapes: `gate_up` `[num_rows, 2 · width]` f32, `out` `[num_rows, width]`, a matrix-input buffer.
#[derive(Debug)]
pub struct SiluMul<'a, B> {
    /// Gate and up projections, side by side.
    pub gate_up: &'a B,
    /// Rows.
    pub num_rows: usize,
    /// Columns of the output.
    pub width: usize,
    /// Destination.
    pub out: &'a mut B,
}

/// A backend's math.
pub trait Ops: Device {
    /// A weight matrix in the backend's own layout.
    type Matrix;

    /// Packs the rows of `parts`, one below the other, into one matrix of the compute dtype.
    ///
    /// # Errors
    /// [`OpError::Shape`] when parts differ in width; [`OpError::OutOfMemory`].
    fn load_matrix(&mut self, parts: &[&dyn RowSource]) -> Result<Self::Matrix, OpError>;

    /// `out[t, :] = table[token_ids[t], :]`, f32 `[num_tokens, hidden_size]`.
    /// Token ids must be below the table's rows.
    ///
    /// # Errors
    /// As all methods.
    fn embed(
        &mut self,
        table: &Self::Matrix,
        batch: &Self::Batch,
        out: &mut Self::Buffer,
    ) -> Result<(), OpError>;

    /// See [`Linear`].
    ///
    /// # Errors
    /// As all methods.
    fn linear(&mut self, args: Linear<'_, Self>) -> Result<(), OpError>;

    /// See [`RmsNorm`].
    ///
    /// # Errors
    /// As all methods.
    fn rms_norm(&mut self, args: RmsNorm<'_, Self::Buffer>) -> Result<(), OpError>;

    /// See [`HeadNorm`].
    ///
    /// # Errors
    /// As all methods.
    fn head_norm(&mut self, args: HeadNorm<'_, Self::Buffer>) -> Result<(), OpError>;

    /// See [`RopeAngles`].
    ///
    /// # Errors
    /// As all methods.
    fn rope_angles(&mut self, args: RopeAngles<'_, Self>) -> Result<(), OpError>;

    /// See [`Rope`].
    ///
    /// # Errors
    /// As all methods.
    fn rope(&mut self, args: Rope<'_, Self::Buffer>) -> Result<(), OpError>;

    /// See [`KvWrite`].
    ///
    /// # Errors
    /// As all methods.
    fn kv_write(&mut self, args: KvWrite<'_, Self>) -> Result<(), OpError>;

    /// See [`Attention`].
    ///
    /// # Errors
    /// As all methods.
    fn attention(&mut self, args: Attention<'_, Self>) -> Result<(), OpError>;

    /// See [`RotateAttend`].
    ///
    /// # Errors
    /// As all methods.
    fn rotate_attend(&mut self, args: RotateAttend<'_, Self>) -> Result<(), OpError> {
        args.by_parts(self)
    }

    /// See [`SiluMul`].
    ///
    /// # Errors
    /// As all methods.
    fn silu_mul(&mut self, args: SiluMul<'_, Self::Buffer>) -> Result<(), OpError>;
}
