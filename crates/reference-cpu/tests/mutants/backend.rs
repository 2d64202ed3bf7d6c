//! The reference backend with one defect.

use engine_core::batch::Batch;
use engine_core::checkpoint::RowSource;
use engine_core::device::{Device, KvCacheShape, OpError};
use engine_core::dtype::DType;
use engine_core::formats::Fp8Flavour;
use engine_core::kv_dtype::KvDType;
use engine_core::kv_run::KvRun;
use engine_core::kv_scales::KvScales;
use engine_core::ops::{
    Attention, Cols, HeadNorm, KvWrite, Linear, Ops, Out, RmsNorm, Rope, RopeAngles, SiluMul,
};
use reference_cpu::backend::{Buffer, KvCache, Matrix};
use reference_cpu::{ReferenceCpu, bounds, ops};

/// What a kernel can get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    None,
    WeightTruncated,
    LastPartLost,
    /// The last element is off by three times its bound.
    OneElementOff,
    LastRowMissing,
    RowTooMany,
    OddTailDropped,
    BiasIgnored,
    AddStores,
    ProductRounded,
    EpsIgnored,
    RowsIgnored,
    ActUnrounded,
    ActTruncated,
    FirstColIgnored,
    AngleInF64,
    AttentionFactorIgnored,
    SineFlipped,
    MinusOneWritten,
    KvUnrounded,
    LayerIgnored,
    KeysAndValuesSwapped,
    WrongKvHead,
    WindowOneLess,
    WindowOneMore,
    WindowIgnored,
    SelfUnseen,
    FutureSeen,
    ScaleIgnored,
    BlockTableIgnored,
    /// Masked values count with weight 0, and 0 · NaN is NaN.
    MaskedTimesZero,
    /// The softmax does not subtract the maximum.
    MaximumIgnored,
    QueryUnrounded,
    ProbabilitiesRounded,
    GateAndUpSwapped,
    /// Sums forwards for one row, backwards for several.
    SumOrderByBatch,
    SumsInF32,
    /// A scale from the largest number of the batch.
    ScaledByBatch,
    /// Sums a chunk's own keys before the older ones.
    KeysFromChunk,
    /// Sums each kv_block's keys apart.
    SumsByBlock,
    /// The last layer of a kv_block stays behind.
    LastLayerNotCopied,
    /// kv_blocks are copied in ascending order, whatever order was asked for.
    BlockOrderIgnored,
    /// Signalling NaN become quiet on the way.
    CopiedAsNumbers,
    BlocksUnchecked,
    /// A run starts with the first slot of its kv_block.
    RunFromBlockStart,
    /// Tokens before heads, as the cache has them.
    RunByToken,
    /// The slots around a run are written, too.
    RunOfWholeBlocks,
    RunUnchecked,
    /// OCP for FNUZ and the other way: another bias.
    OtherFlavour,
    /// What is too large for FP8 becomes NaN.
    NotSaturated,
    /// Keys and values are not divided when they are written.
    StoredUnscaled,
    KeyScaleIgnored,
    ValueScaleIgnored,
    KeyScaleDoubled,
    KeyAndValueScalesSwapped,
    ScalesOfNextHead,
    ScalesOfFirstHead,
}

/// A backend with a defect.
pub struct Mutant {
    pub inner: ReferenceCpu,
    pub defect: Defect,
    dtype: DType,
}

impl Mutant {
    pub fn new(defect: Defect, dtype: DType) -> Self {
        let inner = match defect {
            Defect::ActUnrounded => ReferenceCpu::new(DType::F32),
            _ => ReferenceCpu::new(dtype),
        };
        Mutant { inner, defect, dtype }
    }

    /// `num_rows` as the defect has it.
    fn rows(&self, num_rows: usize) -> usize {
        match self.defect {
            Defect::LastRowMissing => num_rows.saturating_sub(1),
            Defect::RowTooMany => num_rows + 1,
            _ => num_rows,
        }
    }

    /// `run` as the defect has it.
    fn run<'a>(&self, run: &KvRun<'a>, kv_cache: &KvCache) -> KvRun<'a> {
        let shape = kv_cache.shape();
        match self.defect {
            Defect::RunFromBlockStart => {
                KvRun { first_token: run.first_token - run.first_token % shape.block_size, ..*run }
            }
            Defect::RunUnchecked => {
                KvRun { layer_idx: run.layer_idx.min(shape.num_layers - 1), ..*run }
            }
            _ => *run,
        }
    }

    fn first_col<B>(&self, cols: Cols<B>) -> Cols<B> {
        Cols {
            first_col: match self.defect {
                Defect::FirstColIgnored => 0,
                _ => cols.first_col,
            },
            ..cols
        }
    }

    /// Changes rows of keys or values so that a sound write stores what the defect would.
    fn damage(
        &mut self,
        rows: &mut Buffer,
        cols: &Cols<&Buffer>,
        kv_cache: &KvCache,
        (layer_idx, is_key): (usize, bool),
    ) -> Result<(), OpError> {
        let shape = kv_cache.shape();
        let Some(format) = shape.dtype.fp8() else { return Ok(()) };
        let scales = kv_cache.scales().layer(layer_idx);
        let scales = if is_key { scales.k } else { scales.v };
        let mut values = rows.values().to_vec();
        for row in values.chunks_mut(cols.stride) {
            let row = row.iter_mut().skip(cols.first_col).take(scales.len() * shape.head_dim);
            for (i, x) in row.enumerate() {
                let scale = scales[i / shape.head_dim];
                match self.defect {
                    Defect::StoredUnscaled => *x *= scale,
                    Defect::NotSaturated if (*x / scale).abs() > format.max() => *x = f32::NAN,
                    _ => {}
                }
            }
        }
        self.inner.write_f32(&values, rows)
    }

    fn eps(&self, eps: f32) -> f32 {
        match self.defect {
            Defect::EpsIgnored => 0.0,
            _ => eps,
        }
    }

    /// Stores `exact` in a matrix-input buffer without rounding to nearest.
    fn truncate(&mut self, exact: &[f32], out: &mut Buffer) -> Result<(), OpError> {
        let truncated: Vec<f32> = exact.iter().map(|&value| truncated(value)).collect();
        self.inner.write_act(&truncated, out)
    }
}

/// `x` cut to bf16.
fn truncated(x: f32) -> f32 {
    f32::from_bits(x.to_bits() & 0xffff_0000)
}

/// Moves the last of `values` by three times the last of `errors`.
pub fn move_last(values: &mut [f32], errors: &[f64]) {
    if let (Some(value), Some(error)) = (values.last_mut(), errors.last()) {
        let moved = f64::from(*value) + 3.0 * error;
        // At least to the next number: the bound of a zero is smaller than that.
        *value = (moved as f32).max(value.next_up());
    }
}

struct Truncated<'a>(&'a dyn RowSource);

impl RowSource for Truncated<'_> {
    fn num_rows(&self) -> usize {
        self.0.num_rows()
    }

    fn num_cols(&self) -> usize {
        self.0.num_cols()
    }

    fn read_row(&self, row: usize, out: &mut [f32]) {
        self.0.read_row(row, out);
        out.iter_mut().for_each(|x| *x = truncated(*x));
    }
}

impl Device for Mutant {
    type Buffer = Buffer;
    type KvCache = KvCache;
    type Batch = Batch;

    fn name(&self) -> String {
        format!("{:?} of {}", self.defect, self.inner.name())
    }

    fn numerics_id(&self) -> String {
        self.inner.numerics_id()
    }

    fn compute_dtype(&self) -> DType {
        self.dtype
    }

    fn alloc(&mut self, len: usize) -> Result<Buffer, OpError> {
        self.inner.alloc(len)
    }

    fn alloc_act(&mut self, len: usize) -> Result<Buffer, OpError> {
        self.inner.alloc_act(len)
    }

    fn alloc_kv_cache(
        &mut self,
        shape: KvCacheShape,
        scales: &KvScales,
    ) -> Result<KvCache, OpError> {
        let dtype = match (self.defect, shape.dtype) {
            (Defect::KvUnrounded, _) => DType::F32.into(),
            (Defect::OtherFlavour, KvDType::Fp8(format)) => {
                KvDType::Fp8(format.with_flavour(match format.flavour() {
                    Fp8Flavour::Ocp => Fp8Flavour::Fnuz,
                    Fp8Flavour::Fnuz => Fp8Flavour::Ocp,
                }))
            }
            (_, dtype) => dtype,
        };
        self.inner.alloc_kv_cache(KvCacheShape { dtype, ..shape }, scales)
    }

    fn fp8_flavour(&self) -> Fp8Flavour {
        self.inner.fp8_flavour()
    }

    fn upload_batch(&mut self, batch: &Batch, device_batch: &mut Batch) -> Result<(), OpError> {
        self.inner.upload_batch(batch, device_batch)
    }

    fn read_f32(&mut self, buffer: &Buffer, out: &mut [f32]) -> Result<(), OpError> {
        self.inner.read_f32(buffer, out)
    }

    fn write_f32(&mut self, data: &[f32], buffer: &mut Buffer) -> Result<(), OpError> {
        self.inner.write_f32(data, buffer)
    }

    fn read_act(&mut self, buffer: &Buffer, out: &mut [f32]) -> Result<(), OpError> {
        self.inner.read_act(buffer, out)
    }

    fn write_act(&mut self, data: &[f32], buffer: &mut Buffer) -> Result<(), OpError> {
        self.inner.write_act(data, buffer)
    }

    fn read_kv(
        &mut self,
        kv_cache: &KvCache,
        layer_idx: usize,
        slot: usize,
        kv_head_idx: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), OpError> {
        self.inner.read_kv(kv_cache, layer_idx, slot, kv_head_idx)
    }

    fn read_kv_blocks(
        &mut self,
        kv_cache: &KvCache,
        block_ids: &[u32],
        out: &mut [u8],
    ) -> Result<(), OpError> {
        self.inner.read_kv_blocks(kv_cache, block_ids, out)
    }

    fn write_kv_blocks(
        &mut self,
        kv_cache: &mut KvCache,
        block_ids: &[u32],
        data: &[u8],
    ) -> Result<(), OpError> {
        let (mut block_ids, mut data) = (block_ids.to_vec(), data.to_vec());
        let shape = *kv_cache.shape();
        match self.defect {
            Defect::LastLayerNotCopied => {
                let mut old = data.clone();
                self.inner.read_kv_blocks(kv_cache, &block_ids, &mut old)?;
                let block_bytes = shape.block_bytes() as usize;
                let kept = block_bytes / shape.num_layers * (shape.num_layers - 1);
                let blocks = data.chunks_mut(block_bytes).zip(old.chunks(block_bytes));
                blocks.for_each(|(new, old)| new[kept..].copy_from_slice(&old[kept..]));
            }
            Defect::BlockOrderIgnored => block_ids.sort_unstable(),
            Defect::CopiedAsNumbers => {
                for bits in data.chunks_mut(4).filter(|bits| bits.len() == 4) {
                    let x =
                        f32::from_bits(u32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]));
                    let quiet = if x.is_nan() { x.to_bits() | 0x40_0000 } else { x.to_bits() };
                    bits.copy_from_slice(&quiet.to_le_bytes());
                }
            }
            Defect::BlocksUnchecked => {
                let last = shape.num_blocks as u32 - 1;
                block_ids.iter_mut().for_each(|id| *id = (*id).min(last));
            }
            _ => {}
        }
        self.inner.write_kv_blocks(kv_cache, &block_ids, &data)
    }

    fn read_kv_run(
        &mut self,
        kv_cache: &KvCache,
        run: &KvRun<'_>,
        out: &mut [u8],
    ) -> Result<(), OpError> {
        self.inner.read_kv_run(kv_cache, &self.run(run, kv_cache), out)?;
        if self.defect == Defect::RunByToken {
            let sorted = transposed(out, run.num_tokens, kv_cache, true);
            out.copy_from_slice(&sorted);
        }
        Ok(())
    }

    fn write_kv_run(
        &mut self,
        kv_cache: &mut KvCache,
        run: &KvRun<'_>,
        data: &[u8],
    ) -> Result<(), OpError> {
        let run = self.run(run, kv_cache);
        let shape = *kv_cache.shape();
        let last = run.first_token + run.num_tokens;
        match self.defect {
            Defect::RunByToken => {
                let sorted = transposed(data, run.num_tokens, kv_cache, false);
                self.inner.write_kv_run(kv_cache, &run, &sorted)
            }
            Defect::RunOfWholeBlocks
                if !last.is_multiple_of(shape.block_size) && run.num_tokens > 0 =>
            {
                self.inner.write_kv_run(kv_cache, &run, data)?;
                let stray = KvRun { first_token: last, num_tokens: 1, ..run };
                let zeros = vec![0; stray.num_bytes(&shape)];
                self.inner.write_kv_run(kv_cache, &stray, &zeros)
            }
            _ => self.inner.write_kv_run(kv_cache, &run, data),
        }
    }
}

impl Ops for Mutant {
    type Matrix = Matrix;

    fn load_matrix(&mut self, parts: &[&dyn RowSource]) -> Result<Matrix, OpError> {
        match self.defect {
            Defect::WeightTruncated => {
                let parts: Vec<Truncated> = parts.iter().map(|part| Truncated(*part)).collect();
                let parts: Vec<_> = parts.iter().map(|part| part as &dyn RowSource).collect();
                self.inner.load_matrix(&parts)
            }
            Defect::LastPartLost if parts.len() > 1 => {
                let mut parts = parts.to_vec();
                let last = parts.len() - 1;
                parts[last] = parts[0];
                self.inner.load_matrix(&parts)
            }
            _ => self.inner.load_matrix(parts),
        }
    }

    fn embed(&mut self, table: &Matrix, batch: &Batch, out: &mut Buffer) -> Result<(), OpError> {
        self.inner.embed(table, batch, out)
    }

    fn linear(&mut self, args: Linear<'_, Self>) -> Result<(), OpError> {
        let (ins, outs) = (args.weight.in_features(), args.weight.out_features());
        let num_rows = self.rows(args.num_rows);
        let (out, add) = match args.out {
            Out::Store(out) => (out, false),
            Out::AddTo(out) => (out, true),
        };
        let before = add.then(|| out.values().to_vec());
        let mut x = args.x.clone();
        if self.defect == Defect::OddTailDropped && ins % 8 != 0 {
            let mut values = x.values().to_vec();
            values.iter_mut().skip(ins - 1).step_by(ins).for_each(|x| *x = 0.0);
            self.inner.write_act(&values, &mut x)?;
        }
        let bias = args.bias.filter(|_| self.defect != Defect::BiasIgnored);
        self.inner.linear(Linear {
            x: &x,
            weight: args.weight,
            bias,
            num_rows,
            out: if add && self.defect != Defect::AddStores {
                Out::AddTo(out)
            } else {
                Out::Store(out)
            },
        })?;
        let x = &x.values()[..num_rows * ins];
        let bias = bias.map(|bias| &bias.values()[..outs]);
        let mut values = out.values()[..num_rows * outs].to_vec();
        match self.defect {
            Defect::OneElementOff => {
                let weight = args.weight.values();
                let errors = bounds::linear(x, weight, bias, before.as_deref(), ins);
                move_last(&mut values, &errors);
            }
            Defect::ProductRounded => values.iter_mut().for_each(|y| *y = DType::BF16.round(*y)),
            Defect::SumOrderByBatch | Defect::SumsInF32 => {
                let backwards = self.defect == Defect::SumOrderByBatch && num_rows > 1;
                for (i, y) in values.iter_mut().enumerate() {
                    let x = &x[i / outs * ins..][..ins];
                    let weight = &args.weight.values()[i % outs * ins..][..ins];
                    let before = before.as_ref().map_or(0.0, |before| before[i]);
                    *y = f32_dot(x, weight, backwards) + bias.map_or(0.0, |b| b[i % outs]) + before;
                }
            }
            _ => return Ok(()),
        }
        self.inner.write_f32(&values, out)
    }

    fn rms_norm(&mut self, args: RmsNorm<'_, Buffer>) -> Result<(), OpError> {
        let args = RmsNorm {
            eps: self.eps(args.eps),
            rows: args.rows.filter(|_| self.defect != Defect::RowsIgnored),
            num_rows: self.rows(args.num_rows),
            ..args
        };
        let weight = args.weight.values()[..args.hidden_size].to_vec();
        let (x, eps, rows) = (args.x.values(), args.eps, args.rows);
        let out = args.out;
        let mut exact = vec![0.0; args.num_rows * args.hidden_size];
        match self.defect {
            Defect::ActTruncated => {
                ops::rms_norm(x, &weight, eps, rows, &mut exact);
                self.truncate(&exact, out)
            }
            Defect::OneElementOff => {
                ops::rms_norm(x, &weight, eps, rows, &mut exact);
                let errors = bounds::rms_norm(&exact, &weight);
                move_last(&mut exact, &errors);
                self.inner.write_act(&exact, out)
            }
            Defect::ScaledByBatch => {
                let batch = &x[..args.num_rows * args.hidden_size];
                let largest = batch.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                let scale = if largest.is_normal() { largest } else { 1.0 };
                let scaled: Vec<f32> = x.iter().map(|x| x / scale * scale).collect();
                ops::rms_norm(&scaled, &weight, eps, rows, &mut exact);
                self.inner.write_act(&exact, out)
            }
            _ => self.inner.rms_norm(RmsNorm { out, ..args }),
        }
    }

    fn head_norm(&mut self, args: HeadNorm<'_, Buffer>) -> Result<(), OpError> {
        self.inner.head_norm(HeadNorm {
            x: self.first_col(args.x),
            eps: self.eps(args.eps),
            ..args
        })
    }

    fn rope_angles(&mut self, args: RopeAngles<'_, Self>) -> Result<(), OpError> {
        if self.defect == Defect::AngleInF64 {
            let mut angles = Vec::new();
            for &position in &args.batch.positions {
                let freqs = args.inv_freq.values()[..args.num_freqs].iter();
                let wide = freqs.map(|&freq| f64::from(position) * f64::from(freq));
                let wide: Vec<f64> = wide.collect();
                let factor = args.attention_factor;
                angles.extend(wide.iter().map(|angle| angle.cos() as f32 * factor));
                angles.extend(wide.iter().map(|angle| angle.sin() as f32 * factor));
            }
            return self.inner.write_f32(&angles, args.out);
        }
        self.inner.rope_angles(RopeAngles {
            batch: args.batch,
            inv_freq: args.inv_freq,
            num_freqs: args.num_freqs,
            attention_factor: match self.defect {
                Defect::AttentionFactorIgnored => 1.0,
                _ => args.attention_factor,
            },
            out: args.out,
        })
    }

    fn rope(&mut self, args: Rope<'_, Buffer>) -> Result<(), OpError> {
        let mut angles = args.angles.clone();
        if self.defect == Defect::SineFlipped {
            let mut values = angles.values().to_vec();
            for row in values.chunks_mut(args.rotary_dim) {
                row.iter_mut().skip(args.rotary_dim / 2).for_each(|sin| *sin = -*sin);
            }
            self.inner.write_f32(&values, &mut angles)?;
        }
        self.inner.rope(Rope {
            x: self.first_col(args.x),
            angles: &angles,
            num_rows: self.rows(args.num_rows),
            ..args
        })
    }

    fn kv_write(&mut self, args: KvWrite<'_, Self>) -> Result<(), OpError> {
        let mut batch = args.batch.clone();
        if self.defect == Defect::MinusOneWritten {
            batch.slot_mapping.iter_mut().for_each(|slot| *slot = (*slot).max(0));
        }
        let (k, v) = match self.defect {
            Defect::KeysAndValuesSwapped => (args.v, args.k),
            _ => (args.k, args.v),
        };
        let (mut k_rows, mut v_rows) = (k.buffer.clone(), v.buffer.clone());
        self.damage(&mut k_rows, &k, args.kv_cache, (args.layer_idx, true))?;
        self.damage(&mut v_rows, &v, args.kv_cache, (args.layer_idx, false))?;
        let k = Cols { buffer: &k_rows, ..k };
        let v = Cols { buffer: &v_rows, ..v };
        self.inner.kv_write(KvWrite {
            batch: &batch,
            k,
            v,
            kv_cache: args.kv_cache,
            layer_idx: match self.defect {
                Defect::LayerIgnored => 0,
                _ => args.layer_idx,
            },
        })
    }

    fn attention(&mut self, args: Attention<'_, Self>) -> Result<(), OpError> {
        self.attention_with_defect(args)
    }

    fn silu_mul(&mut self, args: SiluMul<'_, Buffer>) -> Result<(), OpError> {
        let len = args.num_rows * args.width;
        let mut gate_up = args.gate_up.values()[..2 * len].to_vec();
        let mut exact = vec![0.0; len];
        match self.defect {
            Defect::ActTruncated => {
                ops::silu_mul(&gate_up, args.width, &mut exact);
                self.truncate(&exact, args.out)
            }
            Defect::OneElementOff => {
                ops::silu_mul(&gate_up, args.width, &mut exact);
                let errors = bounds::silu_mul(&gate_up, args.width, &exact);
                move_last(&mut exact, &errors);
                self.inner.write_act(&exact, args.out)
            }
            Defect::GateAndUpSwapped => {
                for row in gate_up.chunks_mut(2 * args.width) {
                    row.rotate_left(args.width);
                }
                ops::silu_mul(&gate_up, args.width, &mut exact);
                self.inner.write_act(&exact, args.out)
            }
            _ => self.inner.silu_mul(args),
        }
    }
}

/// The plain f32 loop, forwards or backwards.
pub fn f32_dot(x: &[f32], w: &[f32], backwards: bool) -> f32 {
    let products = x.iter().zip(w).map(|(x, w)| x * w);
    if backwards {
        products.rev().fold(0.0, |sum, product| sum + product)
    } else {
        products.fold(0.0, |sum, product| sum + product)
    }
}

/// The canonical bytes of a run with tokens before heads, or such bytes in canonical order.
fn transposed(bytes: &[u8], num_tokens: usize, kv_cache: &KvCache, by_token: bool) -> Vec<u8> {
    let shape = kv_cache.shape();
    let token_bytes = shape.head_dim * shape.dtype.size_bytes();
    let num_parts = 2 * shape.num_kv_heads;
    let (rows, cols) = if by_token { (num_parts, num_tokens) } else { (num_tokens, num_parts) };
    let mut out = Vec::with_capacity(bytes.len());
    for (col, row) in (0..cols).flat_map(|col| (0..rows).map(move |row| (col, row))) {
        out.extend_from_slice(&bytes[(row * cols + col) * token_bytes..][..token_bytes]);
    }
    out
}
