//! Paged causal attention (scaled dot-product attention, arXiv:1706.03762, over pages as in
//! arXiv:2309.06180).

use core::ops::Range;

use engine_core::batch::Batch;
use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::kv_scales::LayerScales;
use engine_core::ops::Cols;

use super::{AttendedToken, AttentionRow};

/// What [`attention`] reads.
#[derive(Debug)]
pub struct Attention<'a> {
    /// The step.
    pub batch: &'a Batch,
    /// Queries: `[num_tokens, num_qo_heads · head_dim]`.
    pub q: Cols<&'a [f32]>,
    /// Keys of one layer: `[num_slots, num_kv_heads, head_dim]`.
    pub k: &'a [f32],
    /// Values of one layer, as the keys.
    pub v: &'a [f32],
    /// The cache's shape.
    pub shape: KvCacheShape,
    /// The layer's scales.
    pub scales: LayerScales<'a>,
    /// The format of queries: [`KvDType::attention_dtype`](engine_core::kv_dtype::KvDType::attention_dtype).
    pub query_dtype: DType,
    /// Query heads.
    pub num_qo_heads: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// Tokens each row sees, itself included; `None`: all.
    pub window: Option<u32>,
}

impl<'a> Attention<'a> {
    /// Query head `head` of row `row`, rounded to the queries' format.
    pub fn query(&self, row: usize, head: usize) -> Vec<f64> {
        let head_dim = self.shape.head_dim;
        let start = row * self.q.stride + self.q.first_col + head * head_dim;
        let query = &self.q.buffer[start..start + head_dim];
        query.iter().map(|&q| f64::from(self.query_dtype.round(q))).collect()
    }

    /// Factor on the scores and factor on the output with KV head `kv_head`.
    pub fn factors(&self, kv_head: usize) -> (f64, f64) {
        let k_scale = f64::from(self.scales.k[kv_head]);
        (f64::from(self.scale) * k_scale, f64::from(self.scales.v[kv_head]))
    }

    /// Key and value of KV head `kv_head` at `position` of the sequence with `block_table`.
    pub fn key_value(
        &self,
        block_table: &[u32],
        position: usize,
        kv_head: usize,
    ) -> (&'a [f32], &'a [f32]) {
        let shape = &self.shape;
        let block = block_table[position / shape.block_size] as usize;
        let slot = block * shape.block_size + position % shape.block_size;
        let start = (slot * shape.num_kv_heads + kv_head) * shape.head_dim;
        let range = start..start + shape.head_dim;
        (&self.k[range.clone()], &self.v[range])
    }
}

/// Positions that the row at `position` sees: `max(0, p + 1 − window) ..= p`.
pub fn attended(position: usize, window: Option<u32>) -> Range<usize> {
    let first = window.map_or(0, |window| (position + 1).saturating_sub(window as usize));
    first..position + 1
}

/// `out = v_scale · softmax(scale · k_scale · q · Kᵀ) · V` for the rows `rows` of the batch, each query head with KV
/// head `head / (num_qo_heads / num_kv_heads)`.
///
/// `out` `[rows, num_qo_heads · head_dim]`.
pub fn attention(args: &Attention<'_>, rows: Range<usize>, out: &mut [f32]) {
    let head_dim = args.shape.head_dim;
    let group = args.num_qo_heads / args.shape.num_kv_heads;
    for seq_idx in 0..args.batch.num_seqs() {
        let block_table = args.batch.block_table(seq_idx);
        for row in args.batch.rows(seq_idx) {
            if !rows.contains(&row) {
                continue;
            }
            let seen = attended(args.batch.positions[row] as usize, args.window);
            for head in 0..args.num_qo_heads {
                let start = ((row - rows.start) * args.num_qo_heads + head) * head_dim;
                let keys_values = seen
                    .clone()
                    .map(|position| args.key_value(block_table, position, head / group));
                attend(
                    &args.query(row, head),
                    keys_values,
                    args.factors(head / group),
                    &mut out[start..start + head_dim],
                );
            }
        }
    }
}

/// One query over its keys and values: `out = v_scale · Σⱼ wⱼ·vⱼ / Σⱼ wⱼ` with
/// `wⱼ = e^(sⱼ − max s)` and `sⱼ = scale · q·kⱼ`.
pub fn attend<'a>(
    query: &[f64],
    keys_values: impl Iterator<Item = (&'a [f32], &'a [f32])>,
    (scale, v_scale): (f64, f64),
    out: &mut [f32],
) {
    let row = AttentionRow {
        query: query.to_vec(),
        tokens: keys_values.map(AttendedToken::new).collect(),
        scale,
        v_scale,
        soft_cap: None,
        sink: None,
    };
    let exact = row.attend(out.len()).out;
    for (out, exact) in out.iter_mut().zip(exact) {
        *out = exact as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_sees_its_window_and_itself() {
        assert_eq!(attended(5, None), 0..6);
        assert_eq!(attended(5, Some(1)), 5..6);
        assert_eq!(attended(5, Some(4)), 2..6);
        assert_eq!(attended(5, Some(9)), 0..6);
    }

    #[test]
    fn weighs_values_by_the_softmax_of_the_scores() {
        // Scores 0 and ln 3 give the weights 1/4 and 3/4.
        let ln3 = 3.0_f32.ln();
        let pairs: [(&[f32], &[f32]); 2] = [(&[0.0, 1.0], &[8.0, 0.0]), (&[2.0, 0.0], &[0.0, 4.0])];
        let mut out = [0.0; 2];
        attend(&[f64::from(ln3), 0.0], pairs.into_iter(), (0.5, 3.0), &mut out);
        assert!((out[0] - 6.0).abs() < 1e-6 && (out[1] - 9.0).abs() < 1e-6);
    }

    #[test]
    fn finds_pages_heads_and_rows() {
        // Two KV heads of one element, three query heads each; equal keys, so a mean of values.
        let shape = KvCacheShape {
            num_layers: 1,
            num_blocks: 3,
            block_size: 2,
            num_kv_heads: 2,
            head_dim: 1,
            dtype: DType::F32.into(),
        };
        let nan = f32::NAN;
        let k = [0.0; 12];
        let v = [30.0, 3.0, nan, nan, nan, nan, nan, nan, 10.0, 1.0, 20.0, 2.0];
        let batch = Batch {
            token_ids: vec![0; 2],
            positions: vec![1, 2],
            slot_mapping: vec![5, 0],
            cu_seqlens_q: vec![0, 2],
            seq_lens: vec![3],
            block_tables: vec![2, 0],
            max_num_blocks: 2,
        };
        let args = Attention {
            batch: &batch,
            q: Cols { buffer: &[1.0; 12], first_col: 0, stride: 6 },
            k: &k,
            v: &v,
            shape,
            scales: LayerScales { k: &[1.0, 7.0], v: &[1.0, 1.0] },
            query_dtype: DType::F32,
            num_qo_heads: 6,
            scale: 1.0,
            window: None,
        };
        let mut out = [0.0; 12];
        attention(&args, 0..2, &mut out);
        assert_eq!(out[..6], [15.0, 15.0, 15.0, 1.5, 1.5, 1.5]);
        assert_eq!(out[6..], [20.0, 20.0, 20.0, 2.0, 2.0, 2.0]);
        let mut second = [0.0; 6];
        attention(&args, 1..2, &mut second);
        assert_eq!(second, out[6..]);
    }
}
