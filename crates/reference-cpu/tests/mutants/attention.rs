//! Attention with a defect.

use engine_core::device::{Device, OpError};
use engine_core::dtype::DType;
use engine_core::kv_scales::LayerScales;
use engine_core::ops::{Attention, Cols, Ops};
use reference_cpu::{bounds, ops};

use crate::backend::{Defect, Mutant, f32_dot, move_last};

impl Mutant {
    pub fn attention_with_defect(&mut self, args: Attention<'_, Self>) -> Result<(), OpError> {
        // First the arguments' checks, and every row as it should be.
        self.inner.attention(Attention {
            batch: args.batch,
            q: Cols { ..args.q },
            kv_cache: args.kv_cache,
            layer_idx: args.layer_idx,
            num_qo_heads: args.num_qo_heads,
            scale: args.scale,
            window: args.window,
            out: args.out,
        })?;
        let (k, v) = args.kv_cache.layer(args.layer_idx);
        let scales = args.kv_cache.scales().layer(args.layer_idx);
        let (k_scales, v_scales) = self.scales_with_defect(scales);
        let oracle = ops::Attention {
            batch: args.batch,
            q: Cols {
                buffer: args.q.buffer.values(),
                first_col: args.q.first_col,
                stride: args.q.stride,
            },
            k,
            v,
            shape: *args.kv_cache.shape(),
            scales: LayerScales { k: &k_scales, v: &v_scales },
            query_dtype: args.kv_cache.shape().dtype.attention_dtype(self.compute_dtype()),
            num_qo_heads: args.num_qo_heads,
            scale: args.scale,
            window: args.window,
        };
        let width = args.num_qo_heads * oracle.shape.head_dim;
        let num_tokens = args.batch.num_tokens();
        let mut out = args.out.values()[..num_tokens * width].to_vec();
        match self.defect {
            Defect::None => return Ok(()),
            Defect::OneElementOff => {
                let errors = bounds::attention(&oracle, 0..num_tokens, &out);
                move_last(&mut out, &errors);
            }
            Defect::LastRowMissing => {
                let start = out.len() - width.min(out.len());
                out[start..].fill(f32::NAN);
            }
            defect => heads(&oracle, defect, &mut out),
        }
        self.inner.write_act(&out, args.out)
    }

    /// What attention takes for the layer's scales.
    fn scales_with_defect(&self, scales: LayerScales<'_>) -> (Vec<f32>, Vec<f32>) {
        let (mut k, mut v) = (scales.k.to_vec(), scales.v.to_vec());
        match self.defect {
            Defect::KeyScaleIgnored => k.fill(1.0),
            Defect::ValueScaleIgnored => v.fill(1.0),
            Defect::KeyScaleDoubled => k.iter_mut().for_each(|scale| *scale *= 2.0),
            Defect::ScalesOfNextHead => {
                k.rotate_left(1);
                v.rotate_left(1);
            }
            Defect::ScalesOfFirstHead => {
                let first = (k[0], v[0]);
                k.fill(first.0);
                v.fill(first.1);
            }
            Defect::KeyAndValueScalesSwapped => std::mem::swap(&mut k, &mut v),
            _ => {}
        }
        (k, v)
    }
}

/// Computes every head of every row with the defect.
fn heads(args: &ops::Attention<'_>, defect: Defect, out: &mut [f32]) {
    let head_dim = args.shape.head_dim;
    let mut out_heads = out.chunks_exact_mut(head_dim);
    for seq_idx in 0..args.batch.num_seqs() {
        for row in args.batch.rows(seq_idx) {
            for (head, out) in (0..args.num_qo_heads).zip(out_heads.by_ref()) {
                one_head(args, defect, (seq_idx, row, head), out);
            }
        }
    }
}

fn one_head(
    args: &ops::Attention<'_>,
    defect: Defect,
    (seq_idx, row, head): (usize, usize, usize),
    out: &mut [f32],
) {
    let (shape, num_kv_heads) = (&args.shape, args.shape.num_kv_heads);
    let kv_head = match defect {
        Defect::WrongKvHead => head % num_kv_heads,
        _ => head / (args.num_qo_heads / num_kv_heads),
    };
    let identity: Vec<u32> = (0..shape.num_blocks as u32).collect();
    let block_table = match defect {
        Defect::BlockTableIgnored => &identity[..],
        _ => args.batch.block_table(seq_idx),
    };
    let mut query = args.query(row, head);
    if defect == Defect::QueryUnrounded {
        let start = row * args.q.stride + args.q.first_col + head * shape.head_dim;
        let exact = &args.q.buffer[start..start + shape.head_dim];
        query = exact.iter().map(|&q| f64::from(q)).collect();
    }
    let position = args.batch.positions[row] as usize;
    let seq_len = args.batch.seq_lens[seq_idx] as usize;
    let capacity = seq_len.div_ceil(shape.block_size) * shape.block_size;
    let seen = seen(defect, position, args.window, capacity);
    let first_of_chunk = seq_len - args.batch.rows(seq_idx).len();
    let pair = |position: usize| args.key_value(block_table, position, kv_head);
    let (scale, v_scale) = match (defect, args.factors(kv_head)) {
        (Defect::ScaleIgnored, (_, v_scale)) => (1.0, v_scale),
        (_, factors) => factors,
    };
    match defect {
        Defect::KeysFromChunk => {
            let (old, own): (Vec<usize>, Vec<usize>) = seen.partition(|p| *p < first_of_chunk);
            let pairs = own.into_iter().chain(old).map(pair);
            sums_in_f32(&query, &pairs.collect::<Vec<_>>(), scale as f32, usize::MAX, out);
        }
        Defect::SumsByBlock => {
            let pairs: Vec<_> = seen.map(pair).collect();
            sums_in_f32(&query, &pairs, scale as f32, shape.block_size, out);
        }
        Defect::MaximumIgnored | Defect::ProbabilitiesRounded => {
            let pairs: Vec<_> = seen.map(pair).collect();
            careless_softmax(&query, &pairs, scale as f32, defect, out);
        }
        _ => ops::attend(&query, seen.map(pair), (scale, v_scale), out),
    }
    if defect == Defect::MaskedTimesZero {
        for masked in position + 1..capacity {
            for (out, value) in out.iter_mut().zip(pair(masked).1) {
                *out += 0.0 * value;
            }
        }
    }
}

/// The positions that are seen.
fn seen(
    defect: Defect,
    position: usize,
    window: Option<u32>,
    capacity: usize,
) -> std::ops::Range<usize> {
    let range = ops::attended(position, window);
    match (defect, window) {
        (Defect::WindowOneLess, Some(window)) if window > 1 => {
            ops::attended(position, Some(window - 1))
        }
        (Defect::WindowOneMore, Some(window)) => ops::attended(position, Some(window + 1)),
        (Defect::WindowIgnored, Some(_)) => 0..position + 1,
        (Defect::SelfUnseen, _) => range.start..position.max(range.start + 1),
        (Defect::FutureSeen, _) => range.start..capacity.min(position + 2),
        _ => range,
    }
}

type Pairs<'a> = [(&'a [f32], &'a [f32])];

/// Softmax and sums in f32, in the order of `pairs`, `tile_len` at a time.
fn sums_in_f32(query: &[f64], pairs: &Pairs<'_>, scale: f32, tile_len: usize, out: &mut [f32]) {
    let query: Vec<f32> = query.iter().map(|&q| q as f32).collect();
    let scores = pairs.iter().map(|(key, _)| scale * f32_dot(&query, key, false));
    let scores: Vec<f32> = scores.collect();
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = scores.iter().map(|score| (score - max).exp()).collect();
    let tile_len = tile_len.min(pairs.len());
    let sum_of = |term: &dyn Fn(usize) -> f32| -> f32 {
        let indices: Vec<usize> = (0..pairs.len()).collect();
        indices.chunks(tile_len).map(|tile| tile.iter().map(|&j| term(j)).sum::<f32>()).sum()
    };
    let weight_sum = sum_of(&|j| weights[j]);
    for (i, out) in out.iter_mut().enumerate() {
        *out = sum_of(&|j| weights[j] * pairs[j].1[i]) / weight_sum;
    }
}

fn careless_softmax(query: &[f64], pairs: &Pairs<'_>, scale: f32, defect: Defect, out: &mut [f32]) {
    let query: Vec<f32> = query.iter().map(|&q| q as f32).collect();
    let scores = pairs.iter().map(|(key, _)| scale * f32_dot(&query, key, false));
    let scores: Vec<f32> = scores.collect();
    let max = match defect {
        Defect::MaximumIgnored => 0.0,
        _ => scores.iter().copied().fold(f32::NEG_INFINITY, f32::max),
    };
    let rounded = |weight: f32| match defect {
        Defect::ProbabilitiesRounded => DType::BF16.round(weight),
        _ => weight,
    };
    let weights: Vec<f32> = scores.iter().map(|score| rounded((score - max).exp())).collect();
    let weight_sum: f32 = weights.iter().sum();
    for (i, out) in out.iter_mut().enumerate() {
        let terms = weights.iter().zip(pairs).map(|(weight, (_, value))| weight * value[i]);
        *out = terms.sum::<f32>() / weight_sum;
    }
}
