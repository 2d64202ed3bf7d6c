//! A problem on a device.

use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use engine_core::ops::Cols;
use kernels_hip::ops::{Attention, AttentionInputs, AttentionOutputs, PagedBatch};
use kernels_hip::{Buffer, Device, Result, Stream};

use super::data::{Data, nan_code};
use super::problem::Problem;

/// What a kernel wrote.
pub struct Got {
    /// `[num_tokens][num_qo_heads][head_dim]`.
    pub out: Vec<u16>,
    /// `[num_tokens][num_qo_heads]`.
    pub lse: Vec<f32>,
    /// Whether it left alone what lies behind.
    pub guards_hold: bool,
}

/// Elements behind a result that must stay.
const GUARD: usize = 512;

/// Elements before and after the queries' columns.
const GAP: usize = 24;

impl Got {
    /// The results as numbers.
    pub fn values(&self, dtype: DType) -> Vec<f32> {
        self.out.iter().map(|&bits| KvDType::from(dtype).from_code(u32::from(bits))).collect()
    }

    /// The bits of everything.
    pub fn bits(&self) -> (Vec<u16>, Vec<u32>) {
        (self.out.clone(), self.lse.iter().map(|x| x.to_bits()).collect())
    }
}

/// Has `attention` do the problem.
pub fn run(
    attention: &mut Attention,
    (device, stream): (&Device, &Stream),
    problem: &Problem,
    data: &Data,
) -> Result<Got> {
    let layout = problem.layout();
    let [k_pool, v_pool] = pools(device, stream, problem, data)?;
    let token_scales = problem.token_scales.then(|| token_scales(problem, data));
    let token_scales = match token_scales {
        Some([k, v]) => Some([device.buffer_from(stream, &k)?, device.buffer_from(stream, &v)?]),
        None => None,
    };
    let floats = |values: &[f32]| device.buffer_from(stream, values);
    let (k_scales, v_scales) = (floats(&data.k_scales)?, floats(&data.v_scales)?);
    let slopes = data.slopes.as_deref().map(floats).transpose()?;
    let sinks = data.sinks.as_deref().map(floats).transpose()?;
    let width = problem.num_qo_heads * problem.head_dim;
    let q = device.buffer_from(stream, &with_gaps(problem, &data.q, width))?;
    let batch = PagedBatch::upload(device, stream, &data.batch)?;
    let num_rows = problem.num_tokens();
    let mut out = device.buffer(num_rows * width + GUARD)?;
    let mut lse = device.buffer(num_rows * problem.num_qo_heads + GUARD)?;
    out.fill_bytes(stream, 0xff)?;
    lse.fill_bytes(stream, 0xff)?;
    let inputs = AttentionInputs {
        q: Cols { buffer: &q, first_col: GAP, stride: width + 2 * GAP },
        q_dtype: problem.q_dtype,
        num_qo_heads: problem.num_qo_heads,
        k_pool: &k_pool,
        v_pool: &v_pool,
        layout: &layout,
        k_scales: &k_scales,
        v_scales: &v_scales,
        token_scales: token_scales.as_ref().map(|[k, v]| [k, v]),
        batch: &batch,
        scale: data.scale,
        window: problem.window,
        soft_cap: problem.soft_cap,
        alibi_slopes: slopes.as_ref(),
        sinks: sinks.as_ref(),
    };
    let outputs = AttentionOutputs { out: &mut out, lse: Some(&mut lse) };
    attention.run(stream, outputs, &inputs)?;
    stream.synchronize()?;
    let (mut out, mut lse) = (out.to_host(stream)?, lse.to_host(stream)?);
    let out_guard = out.split_off(num_rows * width);
    let lse_guard = lse.split_off(num_rows * problem.num_qo_heads);
    let guards_hold = out_guard.iter().all(|&bits| bits == 0xffff)
        && lse_guard.iter().all(|x| x.to_bits() == u32::MAX);
    Ok(Got { out, lse, guards_hold })
}

/// Queries as bits, with NaN between rows.
fn with_gaps(problem: &Problem, q: &[f32], width: usize) -> Vec<u16> {
    let code = |x: f32| KvDType::from(problem.q_dtype).to_code(x) as u16;
    let gap = [code(f32::NAN); GAP];
    let row = |row: &[f32]| {
        gap.into_iter().chain(row.iter().map(|&x| code(x)).collect::<Vec<_>>()).chain(gap)
    };
    q.chunks(width).flat_map(row).collect()
}

/// Both pools: what is attended, and NaN everywhere else.
fn pools(
    device: &Device,
    stream: &Stream,
    problem: &Problem,
    data: &Data,
) -> Result<[Buffer<u8>; 2]> {
    let layout = problem.layout();
    let first_block = problem.first_block.unwrap_or(0);
    let block_bytes = layout.pool_bytes(1).unwrap();
    let size = problem.kv_dtype.size_bytes();
    let nan = nan_code(problem.kv_dtype).to_le_bytes();
    // Of the pool, only what lies from the first kv_block on is more than address space.
    let num_bytes = (problem.num_blocks() - first_block) * block_bytes;
    let mut bytes = [(); 2].map(|()| nan[..size].repeat(num_bytes / size));
    for_each_attended(problem, data, |seq_idx, kv_head, position, block, slot| {
        let seq_len = problem.seqs[seq_idx].len;
        let base = layout.head_block(block - first_block, kv_head);
        let from = (kv_head * seq_len + position) * problem.head_dim;
        for d in 0..problem.head_dim {
            let places = [layout.k_offset(slot, d), layout.v_offset(slot, d)];
            let values = [data.k[seq_idx][from + d], data.v[seq_idx][from + d]];
            for ((bytes, place), value) in bytes.iter_mut().zip(places).zip(values) {
                let code = problem.kv_dtype.to_code(value).to_le_bytes();
                bytes[(base + place) * size..][..size].copy_from_slice(&code[..size]);
            }
        }
    });
    let pool = |bytes: &[u8]| -> Result<Buffer<u8>> {
        let mut pool = device.buffer(first_block * block_bytes + num_bytes)?;
        pool.write_at(stream, first_block * block_bytes, bytes)?;
        Ok(pool)
    };
    Ok([pool(&bytes[0])?, pool(&bytes[1])?])
}

/// The scales of attended tokens in the layout's order, NaN everywhere else.
fn token_scales(problem: &Problem, data: &Data) -> [Vec<f32>; 2] {
    let layout = problem.layout();
    let len = layout.token_scale(problem.num_blocks(), 0, 0);
    let mut scales = [vec![f32::NAN; len], vec![f32::NAN; len]];
    for_each_attended(problem, data, |seq_idx, kv_head, position, block, slot| {
        let from = kv_head * problem.seqs[seq_idx].len + position;
        for (scales, of_tokens) in scales.iter_mut().zip(&data.token_scales) {
            scales[layout.token_scale(block, kv_head, slot)] = of_tokens[seq_idx][from];
        }
    });
    scales
}

/// Sequence, KV head, position, kv_block and slot of every token that a row attends.
fn for_each_attended(
    problem: &Problem,
    data: &Data,
    mut visit: impl FnMut(usize, usize, usize, usize, usize),
) {
    for (seq_idx, &seq) in problem.seqs.iter().enumerate() {
        let table = data.batch.block_table(seq_idx);
        for position in problem.first_attended(seq)..seq.len {
            let block = table[position / problem.block_size] as usize;
            for kv_head in 0..problem.num_kv_heads {
                visit(seq_idx, kv_head, position, block, position % problem.block_size);
            }
        }
    }
}
