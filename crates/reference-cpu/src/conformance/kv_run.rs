//! Runs of tokens in their canonical form, out of one cache and into another.

use engine_core::device::{KvCacheShape, OpError};
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use engine_core::kv_run::KvRun;
use engine_core::kv_scales::KvScales;
use engine_core::ops::{Attention, Cols, KvWrite, Ops};

use super::paging::{LAYER_IDX, NUM_LAYERS, Paging};
use super::rig::Rig;
use super::{Failure, OpReport};
use crate::cases::{self, KvFormat, KvRunCase, KvScaling};
use crate::inputs::{Inputs, Rng};

pub(super) fn kv_run<O: Ops>(mut rig: Rig<O>, kv_dtypes: &[KvDType]) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0x72_756e);
    let cases = cases::kv_run();
    // Each format meets every case: few are needed, and each is small.
    for (case, &dtype) in
        cases.iter().flat_map(|case| kv_dtypes.iter().map(move |dtype| (case, dtype)))
    {
        rig.begin(&(case, dtype));
        let [from, to] = case.block_sizes.map(|block_size| {
            let paging = Paging::new(&mut rng, block_size, &[case.num_tokens]);
            let scaling = if dtype.fp8().is_some() { KvScaling::PerHead } else { KvScaling::Ones };
            let cache = paging.cache(case.num_kv_heads, case.head_dim, KvFormat { dtype, scaling });
            (paging, cache)
        });
        any_codes(&mut rig, case, &from, &mut rng)?;
        same_attention(&mut rig, case, [&from, &to], &mut rng)?;
        refused(&mut rig, &from)?;
    }
    Ok(rig.finish())
}

type Pages = (Paging, (KvCacheShape, KvScales));

fn run<'a>(
    paging: &'a Paging,
    layer_idx: usize,
    first_token: usize,
    num_tokens: usize,
) -> KvRun<'a> {
    KvRun { layer_idx, block_table: paging.table(0), first_token, num_tokens }
}

/// Any codes, NaN of all kinds among them, lie where the canonical order says, come back as they were,
/// and nothing around them changes.
fn any_codes<O: Ops>(
    rig: &mut Rig<O>,
    case: &KvRunCase,
    (paging, (shape, scales)): &Pages,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let allocated = rig.backend.alloc_kv_cache(*shape, scales);
    let mut kv_cache = rig.did(allocated)?;
    let pool_bytes = shape.num_blocks * shape.block_bytes() as usize;
    let ids: Vec<u32> = (0..shape.num_blocks as u32).collect();
    let done = rig.backend.write_kv_blocks(&mut kv_cache, &ids, &vec![0x11; pool_bytes]);
    rig.did(done)?;
    let mut want = slots(rig, &kv_cache, shape)?;

    let (first, num_tokens) = case.run;
    let run = run(paging, LAYER_IDX, first, num_tokens);
    let codes: Vec<u8> = (0..run.num_bytes(shape)).map(|_| rng.next_u64() as u8).collect();
    let done = rig.backend.write_kv_run(&mut kv_cache, &run, &codes);
    rig.did(done)?;
    let mut got = vec![0; codes.len()];
    let done = rig.backend.read_kv_run(&kv_cache, &run, &mut got);
    rig.did(done)?;
    exact_bytes(rig, &got, &codes)?;

    let numbers: Vec<f32> = codes
        .chunks_exact(shape.dtype.size_bytes())
        .map(|bytes| bytes.iter().rev().fold(0, |code, &byte| code << 8 | u32::from(byte)))
        .map(|code| shape.dtype.from_code(code))
        .collect();
    let KvCacheShape { block_size, num_kv_heads, head_dim, .. } = *shape;
    for (token, head, part) in (0..num_tokens)
        .flat_map(|token| (0..num_kv_heads).map(move |head| (token, head)))
        .flat_map(|(token, head)| [0, 1].map(|part| (token, head, part)))
    {
        let position = first + token;
        let block = paging.table(0)[position / block_size] as usize;
        let slot =
            LAYER_IDX * shape.num_blocks * block_size + block * block_size + position % block_size;
        let to = ((slot * num_kv_heads + head) * 2 + part) * head_dim;
        let from = ((head * 2 + part) * num_tokens + token) * head_dim;
        want[to..to + head_dim].copy_from_slice(&numbers[from..from + head_dim]);
    }
    let got = slots(rig, &kv_cache, shape)?;
    rig.check_exact(DType::F32, &got, &want)
}

/// What one cache holds, another attends with the same bits, whatever its kv_blocks are and however the
/// tokens were cut into runs.
fn same_attention<O: Ops>(
    rig: &mut Rig<O>,
    case: &KvRunCase,
    [from, to]: [&Pages; 2],
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut caches = Vec::new();
    for (_, (shape, scales)) in [from, to] {
        let allocated = rig.backend.alloc_kv_cache(*shape, scales);
        let mut kv_cache = rig.did(allocated)?;
        // All ones is NaN in most formats, and a number that no row has in the others.
        let ids: Vec<u32> = (0..shape.num_blocks as u32).collect();
        let filler = vec![0xff; ids.len() * shape.block_bytes() as usize];
        let done = rig.backend.write_kv_blocks(&mut kv_cache, &ids, &filler);
        rig.did(done)?;
        caches.push(kv_cache);
    }
    let width = case.num_kv_heads * case.head_dim;
    for layer_idx in 0..NUM_LAYERS {
        let rows = Inputs::Normal.make(rng, case.num_tokens * 2 * width, DType::F16);
        write(rig, &from.0, case, &mut caches[0], layer_idx, &rows)?;
        let mut first = 0;
        while first < case.num_tokens {
            let num_tokens = (1 + rng.below(case.num_tokens)).min(case.num_tokens - first);
            let read = run(&from.0, layer_idx, first, num_tokens);
            let mut codes = vec![0; read.num_bytes(&from.1.0)];
            let done = rig.backend.read_kv_run(&caches[0], &read, &mut codes);
            rig.did(done)?;
            let written = run(&to.0, layer_idx, first, num_tokens);
            let done = rig.backend.write_kv_run(&mut caches[1], &written, &codes);
            rig.did(done)?;
            first += num_tokens;
        }
    }
    let queries = Inputs::Normal.make(rng, NUM_QUERIES * width, DType::F16);
    for layer_idx in 0..NUM_LAYERS {
        let before = attend(rig, case, &from.0, &caches[0], layer_idx, &queries)?;
        let after = attend(rig, case, &to.0, &caches[1], layer_idx, &queries)?;
        rig.check_exact(DType::F32, &after, &before)?;
    }
    Ok(())
}

/// Rows that attend.
const NUM_QUERIES: usize = 3;

fn attend<O: Ops>(
    rig: &mut Rig<O>,
    case: &KvRunCase,
    paging: &Paging,
    kv_cache: &O::KvCache,
    layer_idx: usize,
    queries: &[f32],
) -> Result<Vec<f32>, Failure> {
    let width = case.num_kv_heads * case.head_dim;
    let batch = paging.batch(&[(0, case.num_tokens - NUM_QUERIES..case.num_tokens)]);
    let mut device_batch = O::Batch::default();
    let uploaded = rig.backend.upload_batch(&batch, &mut device_batch);
    rig.did(uploaded)?;
    let q = rig.f32_buffer(queries)?;
    let mut out = rig.act_out(NUM_QUERIES * width)?;
    let done = rig.backend.attention(Attention {
        batch: &device_batch,
        q: Cols { buffer: &q, first_col: 0, stride: width },
        kv_cache,
        layer_idx,
        num_qo_heads: case.num_kv_heads,
        scale: (case.head_dim as f32).sqrt().recip(),
        window: None,
        out: &mut out,
    });
    rig.did(done)?;
    rig.read_act(&out, NUM_QUERIES * width)
}

/// Writes the sequence's rows, `[num_tokens, 2 · num_kv_heads · head_dim]`, to a layer.
fn write<O: Ops>(
    rig: &mut Rig<O>,
    paging: &Paging,
    case: &KvRunCase,
    kv_cache: &mut O::KvCache,
    layer_idx: usize,
    rows: &[f32],
) -> Result<(), Failure> {
    let width = case.num_kv_heads * case.head_dim;
    let mut batch = O::Batch::default();
    let uploaded = rig.backend.upload_batch(&paging.batch(&[(0, 0..case.num_tokens)]), &mut batch);
    rig.did(uploaded)?;
    let buffer = rig.f32_buffer(rows)?;
    let cols = |first_col| Cols { buffer: &buffer, first_col, stride: 2 * width };
    let (k, v) = (cols(0), cols(width));
    let done = rig.backend.kv_write(KvWrite { batch: &batch, k, v, kv_cache, layer_idx });
    rig.did(done)
}

/// Runs that do not fit.
fn refused<O: Ops>(rig: &mut Rig<O>, (paging, (shape, scales)): &Pages) -> Result<(), Failure> {
    let allocated = rig.backend.alloc_kv_cache(*shape, scales);
    let mut kv_cache = rig.did(allocated)?;
    let outside = [shape.num_blocks as u32];
    let whole = run(paging, 0, 0, 1);
    let num_bytes = whole.num_bytes(shape);
    for (run, num_bytes) in [
        (whole, num_bytes - 1),
        (whole, num_bytes + 1),
        (KvRun { layer_idx: NUM_LAYERS, ..whole }, num_bytes),
        (KvRun { first_token: paging.table(0).len() * shape.block_size, ..whole }, num_bytes),
        (KvRun { block_table: &outside, ..whole }, num_bytes),
    ] {
        let mut host = vec![0; num_bytes];
        for done in [
            rig.backend.read_kv_run(&kv_cache, &run, &mut host),
            rig.backend.write_kv_run(&mut kv_cache, &run, &host),
        ] {
            if !matches!(done, Err(OpError::Shape { .. })) {
                return Err(rig.took(&format!("{num_bytes} bytes for {run:?}")));
            }
        }
    }
    Ok(())
}

fn exact_bytes<O: Ops>(rig: &mut Rig<O>, got: &[u8], want: &[u8]) -> Result<(), Failure> {
    let [got, want] =
        [got, want].map(|bytes| bytes.iter().map(|&b| f32::from(b)).collect::<Vec<_>>());
    rig.check_exact(DType::F32, &got, &want)
}

/// Every slot of every layer: `[layer][slot][head][K, V][head_dim]`.
pub(super) fn slots<O: Ops>(
    rig: &mut Rig<O>,
    kv_cache: &O::KvCache,
    shape: &KvCacheShape,
) -> Result<Vec<f32>, Failure> {
    let mut values = Vec::new();
    for layer_idx in 0..NUM_LAYERS {
        for slot in 0..shape.num_blocks * shape.block_size {
            for head in 0..shape.num_kv_heads {
                let read = rig.backend.read_kv(kv_cache, layer_idx, slot, head);
                let (key, value) = rig.did(read)?;
                values.extend(key);
                values.extend(value);
            }
        }
    }
    Ok(values)
}
