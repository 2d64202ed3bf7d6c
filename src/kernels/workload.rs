//! What a variant is measured on: an op at one shape, with normally distributed numbers (constant ones would switch
//! fewer transistors, and flatter).

use engine_core::batch::Batch;
use engine_core::checkpoint::RowSource;
use engine_core::device::{KvCacheShape, OpError};
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::KvScales;
use engine_core::ops::{Attention, Cols, KvWrite, Linear, Ops, Out, RmsNorm, SiluMul};
use reference_cpu::inputs::{Inputs, Rng};

/// Rows of K and V that are written at a time.
const FILL_ROWS: usize = 1024;

/// An op at one shape.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The op of the table of variants: `gemm`.
    pub op: &'static str,
    /// The shape.
    pub shape: Shape,
}

/// The shape of a workload.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A dense layer.
    Linear {
        /// Token rows.
        num_rows: usize,
        /// Columns of the weight.
        in_features: usize,
        /// Rows of the weight.
        out_features: usize,
    },
    /// A normalisation.
    RmsNorm {
        /// Token rows.
        num_rows: usize,
        /// Columns.
        hidden_size: usize,
    },
    /// An activation.
    SiluMul {
        /// Token rows.
        num_rows: usize,
        /// Columns of the output.
        width: usize,
    },
    /// Attention of the last `num_rows` tokens of each of `num_seqs` sequences.
    Attention {
        /// Sequences.
        num_seqs: usize,
        /// Rows of each.
        num_rows: usize,
        /// Tokens of each.
        seq_len: usize,
        /// Query heads, KV heads.
        heads: (usize, usize),
        /// Elements of a head.
        head_dim: usize,
        /// Token slots of a kv_block.
        block_size: usize,
        /// Format of the cache.
        kv_dtype: KvDType,
    },
}

/// A workload on a backend, to be run again and again.
pub type Bound<O> = Box<dyn FnMut(&mut O) -> Result<(), OpError>>;

impl Workload {
    /// The shape in words.
    #[must_use]
    pub fn name(&self) -> String {
        match self.shape {
            Shape::Linear { num_rows, in_features, out_features } => {
                format!("{num_rows} rows, {in_features} to {out_features}")
            }
            Shape::RmsNorm { num_rows, hidden_size } => format!("{num_rows} rows of {hidden_size}"),
            Shape::SiluMul { num_rows, width } => format!("{num_rows} rows of {width}"),
            Shape::Attention {
                num_seqs,
                num_rows,
                seq_len,
                heads,
                head_dim,
                block_size,
                kv_dtype,
            } => {
                let (qo, kv) = heads;
                format!(
                    "{num_seqs} x {num_rows} of {seq_len} tokens, {qo}/{kv} heads of {head_dim}, {kv_dtype} in blocks of {block_size}"
                )
            }
        }
    }

    /// Bytes that have to be read and written at least, each once, with matrix inputs of 16 bits.
    #[must_use]
    pub fn min_bytes(&self) -> u64 {
        let bytes = match self.shape {
            Shape::Linear { num_rows, in_features, out_features } => {
                2 * in_features * (num_rows + out_features) + 4 * num_rows * out_features
            }
            Shape::RmsNorm { num_rows, hidden_size } => (num_rows * (4 + 2) + 4) * hidden_size,
            Shape::SiluMul { num_rows, width } => num_rows * width * (2 * 4 + 2),
            Shape::Attention { num_seqs, num_rows, seq_len, heads, head_dim, kv_dtype, .. } => {
                let kv = 2 * num_seqs * seq_len * heads.1 * head_dim * kv_dtype.size_bytes();
                // Queries come in 32 bits and results go in 16.
                kv + num_seqs * num_rows * heads.0 * head_dim * (4 + 2)
            }
        };
        bytes as u64
    }

    /// Floating-point operations of the products.
    #[must_use]
    pub fn flops(&self) -> u64 {
        let flops = match self.shape {
            Shape::Linear { num_rows, in_features, out_features } => {
                2 * num_rows * in_features * out_features
            }
            Shape::RmsNorm { num_rows, hidden_size } => 4 * num_rows * hidden_size,
            Shape::SiluMul { num_rows, width } => 5 * num_rows * width,
            Shape::Attention { num_seqs, num_rows, seq_len, heads, head_dim, .. } => {
                let attended = num_rows * (2 * seq_len - num_rows + 1) / 2;
                4 * num_seqs * attended * heads.0 * head_dim
            }
        };
        flops as u64
    }

    /// The workload with its buffers on `ops`.
    ///
    /// # Errors
    ///
    /// Those of the backend: no memory, or a shape that nobody serves.
    pub fn bind<O: Ops + 'static>(&self, ops: &mut O) -> Result<Bound<O>, OpError> {
        let mut rng = Rng::new(0x6b76);
        match self.shape {
            Shape::Linear { num_rows, in_features, out_features } => {
                linear(ops, &mut rng, num_rows, in_features, out_features)
            }
            Shape::RmsNorm { num_rows, hidden_size } => {
                rms_norm(ops, &mut rng, num_rows, hidden_size)
            }
            Shape::SiluMul { num_rows, width } => silu_mul(ops, &mut rng, num_rows, width),
            Shape::Attention { .. } => attention(ops, &mut rng, self.shape),
        }
    }
}

/// Rows of normally distributed numbers.
struct Normal(u64, usize, usize);

impl RowSource for Normal {
    fn num_rows(&self) -> usize {
        self.1
    }

    fn num_cols(&self) -> usize {
        self.2
    }

    fn read_row(&self, row: usize, out: &mut [f32]) {
        let mut rng = Rng::new(self.0 ^ row as u64);
        out.copy_from_slice(&Inputs::Normal.make(&mut rng, out.len(), DType::F32));
    }
}

fn f32s<O: Ops>(ops: &mut O, rng: &mut Rng, len: usize) -> Result<O::Buffer, OpError> {
    let mut buffer = ops.alloc(len)?;
    ops.write_f32(&Inputs::Normal.make(rng, len, DType::F32), &mut buffer)?;
    Ok(buffer)
}

fn linear<O: Ops + 'static>(
    ops: &mut O,
    rng: &mut Rng,
    num_rows: usize,
    in_features: usize,
    out_features: usize,
) -> Result<Bound<O>, OpError> {
    let weight = ops.load_matrix(&[&Normal(rng.next_u64(), out_features, in_features)])?;
    let len = num_rows * in_features;
    let mut x = ops.alloc_act(len)?;
    ops.write_act(&Inputs::Normal.make(rng, len, DType::F32), &mut x)?;
    let mut out = ops.alloc(num_rows * out_features)?;
    Ok(Box::new(move |ops| {
        let out = Out::Store(&mut out);
        ops.linear(Linear { x: &x, weight: &weight, bias: None, num_rows, out })
    }))
}

fn rms_norm<O: Ops + 'static>(
    ops: &mut O,
    rng: &mut Rng,
    num_rows: usize,
    hidden_size: usize,
) -> Result<Bound<O>, OpError> {
    let x = f32s(ops, rng, num_rows * hidden_size)?;
    let weight = f32s(ops, rng, hidden_size)?;
    let mut out = ops.alloc_act(num_rows * hidden_size)?;
    Ok(Box::new(move |ops| {
        let (x, weight, out) = (&x, &weight, &mut out);
        ops.rms_norm(RmsNorm { x, weight, eps: 1e-5, hidden_size, rows: None, num_rows, out })
    }))
}

fn silu_mul<O: Ops + 'static>(
    ops: &mut O,
    rng: &mut Rng,
    num_rows: usize,
    width: usize,
) -> Result<Bound<O>, OpError> {
    let gate_up = f32s(ops, rng, num_rows * 2 * width)?;
    let mut out = ops.alloc_act(num_rows * width)?;
    Ok(Box::new(move |ops| {
        ops.silu_mul(SiluMul { gate_up: &gate_up, num_rows, width, out: &mut out })
    }))
}

fn attention<O: Ops + 'static>(
    ops: &mut O,
    rng: &mut Rng,
    shape: Shape,
) -> Result<Bound<O>, OpError> {
    let Shape::Attention { num_seqs, num_rows, seq_len, heads, head_dim, block_size, kv_dtype } =
        shape
    else {
        return Err(OpError::Unsupported { op: "attention", what: format!("{shape:?}") });
    };
    let (num_qo_heads, num_kv_heads) = heads;
    let blocks_per_seq = seq_len.div_ceil(block_size);
    let cache_shape = KvCacheShape {
        num_layers: 1,
        num_blocks: num_seqs * blocks_per_seq,
        block_size,
        num_kv_heads,
        head_dim,
        dtype: kv_dtype,
    };
    let mut kv_cache = ops.alloc_kv_cache(cache_shape, &KvScales::ones(1, num_kv_heads))?;
    let kv_width = num_kv_heads * head_dim;
    let kv = f32s(ops, rng, FILL_ROWS * 2 * kv_width)?;
    let mut batch = O::Batch::default();
    for first in (0..num_seqs * seq_len).step_by(FILL_ROWS) {
        let last = (first + FILL_ROWS).min(num_seqs * seq_len);
        ops.upload_batch(&slots(first..last, seq_len, block_size), &mut batch)?;
        let cols = |first_col| Cols { buffer: &kv, first_col, stride: 2 * kv_width };
        let (k, v, kv_cache) = (cols(0), cols(kv_width), &mut kv_cache);
        ops.kv_write(KvWrite { batch: &batch, k, v, kv_cache, layer_idx: 0 })?;
    }
    let width = num_qo_heads * head_dim;
    let num_tokens = num_seqs * num_rows;
    let q = f32s(ops, rng, num_tokens * width)?;
    let mut out = ops.alloc_act(num_tokens * width)?;
    ops.upload_batch(&last_rows(num_seqs, num_rows, seq_len, block_size), &mut batch)?;
    let scale = (head_dim as f32).sqrt().recip();
    Ok(Box::new(move |ops| {
        ops.attention(Attention {
            batch: &batch,
            q: Cols { buffer: &q, first_col: 0, stride: width },
            kv_cache: &kv_cache,
            layer_idx: 0,
            num_qo_heads,
            scale,
            window: None,
            out: &mut out,
        })
    }))
}

/// A batch that writes K and V of the tokens `tokens`, counted over all sequences: sequences of one row each.
fn slots(tokens: std::ops::Range<usize>, seq_len: usize, block_size: usize) -> Batch {
    let blocks_per_seq = seq_len.div_ceil(block_size);
    let num_rows = tokens.len();
    let slot = |token: usize| {
        let (seq_idx, position) = (token / seq_len, token % seq_len);
        (seq_idx * blocks_per_seq * block_size + position) as i64
    };
    Batch {
        token_ids: vec![0; num_rows],
        positions: tokens.clone().map(|token| (token % seq_len) as u32).collect(),
        slot_mapping: tokens.clone().map(slot).collect(),
        cu_seqlens_q: (0..=num_rows as u32).collect(),
        seq_lens: tokens.clone().map(|token| (token % seq_len + 1) as u32).collect(),
        block_tables: tokens.flat_map(|token| table(token / seq_len, blocks_per_seq)).collect(),
        max_num_blocks: blocks_per_seq,
    }
}

fn last_rows(num_seqs: usize, num_rows: usize, seq_len: usize, block_size: usize) -> Batch {
    let blocks_per_seq = seq_len.div_ceil(block_size);
    let positions = || (0..num_seqs).flat_map(|_| seq_len - num_rows..seq_len);
    let num_tokens = num_seqs * num_rows;
    Batch {
        token_ids: vec![0; num_tokens],
        positions: positions().map(|position| position as u32).collect(),
        slot_mapping: vec![-1; num_tokens],
        cu_seqlens_q: (0..=num_seqs).map(|seq_idx| (seq_idx * num_rows) as u32).collect(),
        seq_lens: vec![seq_len as u32; num_seqs],
        block_tables: (0..num_seqs).flat_map(|seq_idx| table(seq_idx, blocks_per_seq)).collect(),
        max_num_blocks: blocks_per_seq,
    }
}

/// The blocks of a sequence: one after the other.
fn table(seq_idx: usize, blocks_per_seq: usize) -> impl Iterator<Item = u32> {
    (seq_idx * blocks_per_seq..(seq_idx + 1) * blocks_per_seq).map(|block| block as u32)
}
