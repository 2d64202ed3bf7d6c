//! Attention over one sequence, stepped in every way.

use core::ops::Range;

use engine_core::device::OpError;
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use engine_core::ops::{Attention, Cols, KvWrite, Ops};

use super::same_bits;
use crate::cases::{KvFormat, KvScaling};
use crate::conformance::Failure;
use crate::conformance::paging::{LAYER_IDX, Paging};
use crate::inputs::{Inputs, Rng};

/// A model's attention and a sequence to run through it.
#[derive(Clone, Copy, Debug)]
struct Setup {
    seq_len: usize,
    num_qo_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
    window: Option<u32>,
}

/// How a sequence is stepped through: all of it in chunks of `chunk_len`.
#[derive(Clone, Copy, Debug)]
struct Plan {
    chunk_len: usize,
    block_size: usize,
    /// Another sequence before it and one of NaN behind it in every step.
    mates: bool,
}

const SETUPS: [Setup; 4] = [
    Setup { seq_len: 150, num_qo_heads: 9, num_kv_heads: 3, head_dim: 64, window: None },
    Setup { seq_len: 150, num_qo_heads: 4, num_kv_heads: 4, head_dim: 96, window: Some(24) },
    Setup { seq_len: 139, num_qo_heads: 7, num_kv_heads: 1, head_dim: 128, window: Some(70) },
    // Long enough for several partitions of any split of the context.
    Setup { seq_len: 700, num_qo_heads: 2, num_kv_heads: 1, head_dim: 32, window: None },
];

const PLANS: [Plan; 7] = [
    plan(1000, 16, false),
    plan(1, 16, false),
    plan(7, 1, true),
    plan(64, 128, false),
    plan(64, 16, true),
    plan(1000, 1, true),
    plan(1, 128, true),
];

const fn plan(chunk_len: usize, block_size: usize, mates: bool) -> Plan {
    Plan { chunk_len, block_size, mates }
}

pub(super) fn attention<O: Ops>(backends: &mut [O], kv_dtypes: &[KvDType]) -> Result<(), Failure> {
    for setup in SETUPS {
        for &dtype in kv_dtypes {
            let scaling = if dtype.fp8().is_some() { KvScaling::PerHead } else { KvScaling::Ones };
            let format = KvFormat { dtype, scaling };
            let mut first: Option<Vec<f32>> = None;
            for (backend_idx, backend) in backends.iter_mut().enumerate() {
                for plan in PLANS {
                    let case =
                        || format!("{setup:?} in {dtype}, {plan:?} on backend {backend_idx}");
                    let outputs = step_through(backend, setup, plan, format);
                    let got = outputs.map_err(|source| Failure::Refused {
                        op: "attention",
                        case: case(),
                        source,
                    })?;
                    let first = first.get_or_insert_with(|| got.clone());
                    let width = setup.num_qo_heads * setup.head_dim;
                    let rows = got.chunks_exact(width).zip(first.chunks_exact(width));
                    for (row, (got, first)) in rows.enumerate() {
                        same_bits("attention", &case, row, got, first)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// All outputs of sequence 1, whose rows hold the same numbers whatever the plan.
fn step_through<O: Ops>(
    backend: &mut O,
    setup: Setup,
    plan: Plan,
    format: KvFormat,
) -> Result<Vec<f32>, OpError> {
    let seq_lens = [setup.seq_len + 29, setup.seq_len, setup.seq_len];
    let paging = Paging::new(&mut Rng::new(3), plan.block_size, &seq_lens);
    let (shape, scales) = paging.cache(setup.num_kv_heads, setup.head_dim, format);
    let mut kv_cache = backend.alloc_kv_cache(shape, &scales)?;
    let row_len = (setup.num_qo_heads + 2 * setup.num_kv_heads) * setup.head_dim;
    let mut qkv = [0, 1].map(|seq_idx| {
        Inputs::Normal.make(
            &mut Rng::new(seq_idx),
            seq_lens[seq_idx as usize] * row_len,
            DType::F32,
        )
    });
    // Scores of tens for one token in ten: a softmax with a maximum that moves.
    for (_, row) in qkv[1].chunks_exact_mut(row_len).enumerate().filter(|(t, _)| t % 10 == 3) {
        row.iter_mut().for_each(|x| *x *= 4.0);
    }
    let poison = vec![f32::NAN; seq_lens[2] * row_len];
    let rows_of = [&qkv[0][..], &qkv[1][..], &poison[..]];
    let mut outputs = Vec::new();
    for start in (0..setup.seq_len).step_by(plan.chunk_len) {
        let end = setup.seq_len.min(start + plan.chunk_len);
        let spans = match plan.mates {
            false => vec![(1, start..end)],
            // The first mate prefills 29 tokens, then decodes or goes on in chunks of its own size.
            true => vec![(0, mate_rows(start, end)), (1, start..end), (2, start..end)],
        };
        let step = Step { setup, spans: &spans, rows_of, row_len };
        outputs.extend(step.run(backend, &paging, &mut kv_cache)?);
    }
    Ok(outputs)
}

/// Rows of the first mate when the sequence does `start..end`: 29 tokens ahead of it.
fn mate_rows(start: usize, end: usize) -> Range<usize> {
    let first = if start == 0 { 0 } else { start + 29 };
    first..end + 29
}

/// One engine step of one layer.
struct Step<'a> {
    setup: Setup,
    spans: &'a [(usize, Range<usize>)],
    rows_of: [&'a [f32]; 3],
    row_len: usize,
}

impl Step<'_> {
    /// Writes K and V, attends, and returns the outputs of sequence 1.
    fn run<O: Ops>(
        &self,
        backend: &mut O,
        paging: &Paging,
        kv_cache: &mut O::KvCache,
    ) -> Result<Vec<f32>, OpError> {
        let (setup, row_len) = (self.setup, self.row_len);
        let host_batch = paging.batch(self.spans);
        let mut batch = O::Batch::default();
        backend.upload_batch(&host_batch, &mut batch)?;
        let mut rows = Vec::with_capacity(host_batch.num_tokens() * row_len);
        for (seq_idx, positions) in self.spans {
            let range = positions.start * row_len..positions.end * row_len;
            rows.extend_from_slice(&self.rows_of[*seq_idx][range]);
        }
        let mut qkv = backend.alloc(rows.len())?;
        backend.write_f32(&rows, &mut qkv)?;
        let width = setup.num_qo_heads * setup.head_dim;
        let kv_width = setup.num_kv_heads * setup.head_dim;
        let columns = |first_col| Cols { buffer: &qkv, first_col, stride: row_len };
        backend.kv_write(KvWrite {
            batch: &batch,
            k: columns(width),
            v: columns(width + kv_width),
            kv_cache,
            layer_idx: LAYER_IDX,
        })?;
        let len = host_batch.num_tokens() * width;
        let mut out = backend.alloc_act(len)?;
        backend.attention(Attention {
            batch: &batch,
            q: columns(0),
            kv_cache,
            layer_idx: LAYER_IDX,
            num_qo_heads: setup.num_qo_heads,
            scale: (setup.head_dim as f32).sqrt().recip(),
            window: setup.window,
            out: &mut out,
        })?;
        let mut values = vec![0.0; len];
        backend.read_act(&out, &mut values)?;
        let seq_of_interest = self.spans.iter().position(|(seq_idx, _)| *seq_idx == 1);
        let rows = host_batch.rows(seq_of_interest.unwrap_or(0));
        Ok(values[rows.start * width..rows.end * width].to_vec())
    }
}
