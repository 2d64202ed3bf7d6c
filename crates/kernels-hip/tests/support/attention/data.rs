//! The numbers of a problem, by position; where they lie is nobody's business here.

use std::ops::Range;

use engine_core::batch::Batch;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use reference_cpu::inputs::{Inputs, Rng};
use reference_cpu::ops::{AttendedToken, AttentionRow};

use super::problem::{Fixture, Problem, Seq};

/// Queries, and keys and values as they are stored. `[kv_head][position]` of each sequence is `head_dim` elements.
pub struct Data {
    pub batch: Batch,
    pub scale: f32,
    /// `[num_tokens][num_qo_heads][head_dim]`.
    pub q: Vec<f32>,
    pub k: Vec<Vec<f32>>,
    pub v: Vec<Vec<f32>>,
    pub k_scales: Vec<f32>,
    pub v_scales: Vec<f32>,
    /// `[kv_head][position]` of each sequence, of keys and of values; 1 where the problem has none.
    pub token_scales: [Vec<Vec<f32>>; 2],
    pub slopes: Option<Vec<f32>>,
    pub sinks: Option<Vec<f32>>,
}

/// Bits of a position that a fingerprint's keys show: more than any of its contexts needs.
const POSITION_BITS: usize = 16;

impl Data {
    pub fn new(problem: &Problem) -> Self {
        let Problem { num_kv_heads, head_dim, .. } = *problem;
        let mut rng = Rng::new(problem.seed);
        let is_exact = problem.fixture == Fixture::Fingerprint;
        let mut scales = |low: f64, high: f64, len: usize| -> Vec<f32> {
            let one = |_| (low * (high / low).powf(rng.uniform())) as f32;
            (0..len).map(one).collect()
        };
        let scales_of = |len, scales: &mut dyn FnMut(f64, f64, usize) -> Vec<f32>| {
            if is_exact { vec![1.0; len] } else { scales(0.5, 2.0, len) }
        };
        let k_scales = scales_of(num_kv_heads, &mut scales);
        let v_scales = scales_of(num_kv_heads, &mut scales);
        let token_scales = [(); 2].map(|()| {
            let of_seq = |seq: &Seq| match problem.token_scales && !is_exact {
                true => scales(0.25, 1.0, num_kv_heads * seq.len),
                false => vec![1.0; num_kv_heads * seq.len],
            };
            problem.seqs.iter().map(of_seq).collect()
        });
        let mut numbers = |len: usize, dtype: KvDType| -> Vec<f32> {
            let peaked = problem.fixture == Fixture::Peaked;
            let kind = if peaked { Inputs::Peaked } else { Inputs::Normal };
            let mut numbers = kind.make(&mut rng, len, problem.q_dtype);
            numbers.iter_mut().for_each(|x| *x = dtype.round(*x));
            numbers
        };
        let q_len = problem.num_tokens() * problem.num_qo_heads * head_dim;
        let q = numbers(q_len, problem.q_dtype.into());
        let mut kv = || -> Vec<Vec<f32>> {
            let len = |seq: &Seq| num_kv_heads * seq.len * head_dim;
            problem.seqs.iter().map(|seq| numbers(len(seq), problem.kv_dtype)).collect()
        };
        let (k, v) = (kv(), kv());
        let slopes =
            |head: usize| f64::exp2(-8.0 * (head + 1) as f64 / problem.num_qo_heads as f64);
        let slopes =
            problem.alibi.then(|| (0..problem.num_qo_heads).map(|h| slopes(h) as f32).collect());
        let sinks =
            problem.sinks.then(|| (0..problem.num_qo_heads).map(|_| 2.0 * rng.normal()).collect());
        let scale = if is_exact { 1.0 } else { 1.0 / (head_dim as f32).sqrt() };
        let batch = problem.batch();
        let mut data =
            Data { batch, scale, q, k, v, k_scales, v_scales, token_scales, slopes, sinks };
        match problem.fixture {
            Fixture::Needle => data.add_needles(problem, &mut rng),
            Fixture::Fingerprint => data.add_fingerprints(problem),
            Fixture::Normal | Fixture::Peaked => {}
        }
        data
    }

    /// In each sequence and KV head, one key is what all queries look for.
    fn add_needles(&mut self, problem: &Problem, rng: &mut Rng) {
        let Problem { num_kv_heads, head_dim, num_qo_heads, .. } = *problem;
        for (seq_idx, &seq) in problem.seqs.iter().enumerate() {
            let first = problem.first_attended(seq);
            for kv_head in 0..num_kv_heads {
                if seq.num_rows == 0 {
                    continue;
                }
                let end = seq.len - seq.num_rows + 1;
                let position = (first + rng.below(end.max(first + 1) - first)).min(seq.len - 1);
                let signs: Vec<f32> =
                    (0..head_dim).map(|_| if rng.below(2) == 0 { -1.0 } else { 1.0 }).collect();
                let key = (kv_head * seq.len + position) * head_dim;
                self.k[seq_idx][key..key + head_dim].copy_from_slice(&signs);
                for row in self.batch.rows(seq_idx) {
                    for head in kv_head * problem.group()..(kv_head + 1) * problem.group() {
                        let start = (row * num_qo_heads + head) * head_dim;
                        for (q, sign) in self.q[start..start + head_dim].iter_mut().zip(&signs) {
                            *q = problem.q_dtype.round(2.0 * sign + 0.25 * *q);
                        }
                    }
                }
            }
        }
    }

    /// Keys show their position in binary, a query the one that it looks for, and values where they lie in the pool.
    fn add_fingerprints(&mut self, problem: &Problem) {
        let Problem { num_kv_heads, head_dim, num_qo_heads, block_size, .. } = *problem;
        let sign = |position: usize, d: usize| {
            if position >> (d % POSITION_BITS) & 1 == 1 { 1.0 } else { -1.0 }
        };
        for (seq_idx, &seq) in problem.seqs.iter().enumerate() {
            assert!(seq.len < 1 << POSITION_BITS);
            let table = self.batch.block_table(seq_idx);
            for kv_head in 0..num_kv_heads {
                for position in problem.first_attended(seq)..seq.len {
                    let start = (kv_head * seq.len + position) * head_dim;
                    let block = u64::from(table[position / block_size]);
                    let slot = (position % block_size) as u64;
                    for d in 0..head_dim {
                        self.k[seq_idx][start + d] = sign(position, d);
                        let place =
                            (block << 40) + (slot << 24) + ((kv_head as u64) << 12) + d as u64;
                        let value = Rng::new(place).normal();
                        self.v[seq_idx][start + d] =
                            problem.kv_dtype.round(problem.q_dtype.round(value));
                    }
                }
            }
            for row in self.batch.rows(seq_idx) {
                for head in 0..num_qo_heads {
                    let attended = problem.attended(seq, row - self.batch.rows(seq_idx).start);
                    let mut rng = Rng::new((row * num_qo_heads + head) as u64);
                    let target = attended.start + rng.below(attended.len());
                    let start = (row * num_qo_heads + head) * head_dim;
                    for d in 0..head_dim {
                        // One wrong bit costs twice this: e^-128 is 0.
                        self.q[start + d] = 64.0 * sign(target, d);
                    }
                }
            }
        }
    }

    /// The launch of some rows of some sequences: each as the chunk that ends a shorter sequence.
    pub fn part(&self, problem: &Problem, parts: &[(usize, Range<usize>)]) -> (Problem, Data) {
        let Problem { head_dim, num_qo_heads, num_kv_heads, .. } = *problem;
        let width = num_qo_heads * head_dim;
        let seq = |(seq_idx, rows): &(usize, Range<usize>)| {
            let seq = problem.seqs[*seq_idx];
            Seq { num_rows: rows.len(), len: seq.len - seq.num_rows + rows.end }
        };
        let part = Problem { seqs: parts.iter().map(seq).collect(), ..problem.clone() };
        let cut = |of_seqs: &[Vec<f32>], elements: usize| -> Vec<Vec<f32>> {
            let cut_one = |((seq_idx, _), new): (&(usize, Range<usize>), &Seq)| {
                let heads = of_seqs[*seq_idx].chunks(problem.seqs[*seq_idx].len * elements);
                heads.flat_map(|head| head[..new.len * elements].to_vec()).collect()
            };
            let cut: Vec<Vec<f32>> = parts.iter().zip(&part.seqs).map(cut_one).collect();
            assert!(
                cut.iter().zip(&part.seqs).all(|(x, s)| x.len() == num_kv_heads * s.len * elements)
            );
            cut
        };
        let first_row = |seq_idx: usize| self.batch.rows(seq_idx).start;
        let q = parts.iter().flat_map(|(seq_idx, rows)| {
            let first = first_row(*seq_idx);
            self.q[(first + rows.start) * width..(first + rows.end) * width].to_vec()
        });
        let data = Data {
            batch: part.batch(),
            scale: self.scale,
            q: q.collect(),
            k: cut(&self.k, head_dim),
            v: cut(&self.v, head_dim),
            k_scales: self.k_scales.clone(),
            v_scales: self.v_scales.clone(),
            token_scales: [0, 1].map(|i| cut(&self.token_scales[i], 1)),
            slopes: self.slopes.clone(),
            sinks: self.sinks.clone(),
        };
        (part, data)
    }

    /// The oracle's view of a row and query head.
    pub fn row(
        &self,
        problem: &Problem,
        seq_idx: usize,
        row: usize,
        head: usize,
    ) -> AttentionRow<'_> {
        let Problem { head_dim, num_qo_heads, .. } = *problem;
        let (seq, kv_head) = (problem.seqs[seq_idx], head / problem.group());
        let attended = problem.attended(seq, row);
        let token = |position: usize| {
            let of_token = kv_head * seq.len + position;
            let range = of_token * head_dim..(of_token + 1) * head_dim;
            let slope = self.slopes.as_ref().map_or(0.0, |slopes| f64::from(slopes[head]));
            AttendedToken {
                key: &self.k[seq_idx][range.clone()],
                value: &self.v[seq_idx][range],
                k_scale: f64::from(self.token_scales[0][seq_idx][of_token]),
                v_scale: f64::from(self.token_scales[1][seq_idx][of_token]),
                bias: slope * (position as f64 - (attended.end - 1) as f64),
            }
        };
        let start = ((self.batch.rows(seq_idx).start + row) * num_qo_heads + head) * head_dim;
        AttentionRow {
            query: self.q[start..start + head_dim].iter().map(|&q| f64::from(q)).collect(),
            tokens: attended.clone().map(token).collect(),
            scale: f64::from(self.scale) * f64::from(self.k_scales[kv_head]),
            v_scale: f64::from(self.v_scales[kv_head]),
            soft_cap: problem.soft_cap.map(f64::from),
            sink: self.sinks.as_ref().map(|sinks| f64::from(sinks[head])),
        }
    }
}

/// A format's NaN.
pub fn nan_code(dtype: KvDType) -> u32 {
    match dtype {
        KvDType::Fp8(Fp8Format::E4m3Fnuz | Fp8Format::E5m2Fnuz) => 0x80,
        dtype => dtype.to_code(f32::NAN),
    }
}
