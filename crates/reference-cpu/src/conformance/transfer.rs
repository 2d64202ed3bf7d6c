//! kv_blocks on their way to host memory and back.

use engine_core::device::{KvCacheShape, OpError};
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::KvScales;
use engine_core::ops::{Cols, KvWrite, Ops};

use super::kv_run::slots;
use super::paging::{NUM_LAYERS, Paging};
use super::rig::Rig;
use super::{Failure, OpReport};
use crate::cases::{self, KvFormat, KvScaling, KvWriteCase};
use crate::inputs::Rng;

pub(super) fn kv_blocks<O: Ops>(
    mut rig: Rig<O>,
    kv_dtypes: &[KvDType],
) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0x5a4b);
    for (case, &dtype) in cases::kv_write().iter().zip(kv_dtypes.iter().cycle()) {
        rig.begin(&(case, dtype));
        let paging = Paging::new(&mut rng, case.block_size, &[case.num_tokens]);
        let scaling = if dtype.fp8().is_some() { KvScaling::PerHead } else { KvScaling::Ones };
        let format = KvFormat { dtype, scaling };
        let cache = paging.cache(case.num_kv_heads, case.head_dim, format);
        moved(&mut rig, case, &paging, &cache, &mut rng)?;
        any_bytes(&mut rig, &cache, &mut rng)?;
        refused(&mut rig, &cache)?;
    }
    Ok(rig.finish())
}

/// Half of the blocks go out, the pool is written over, and they come back elsewhere.
fn moved<O: Ops>(
    rig: &mut Rig<O>,
    case: &KvWriteCase,
    paging: &Paging,
    &(shape, ref scales): &(KvCacheShape, KvScales),
    rng: &mut Rng,
) -> Result<(), Failure> {
    let allocated = rig.backend.alloc_kv_cache(shape, scales);
    let mut kv_cache = rig.did(allocated)?;
    let len = shape.num_blocks * shape.block_size * 2 * shape.num_kv_heads * shape.head_dim;
    for layer_idx in 0..NUM_LAYERS {
        let mut rows = case.inputs.make(rng, len, DType::F32);
        rows.iter_mut().skip(layer_idx).step_by(11).for_each(|x| *x = f32::NAN);
        write(rig, paging, shape, &mut kv_cache, layer_idx, &rows)?;
    }
    let before = slots(rig, &kv_cache, &shape)?;

    let mut ids: Vec<u32> = (0..shape.num_blocks as u32).collect();
    rng.shuffle(&mut ids);
    let (out, rest) = ids.split_at(ids.len() / 2);
    let back = &rest[..out.len()];
    let mut host = vec![0xa5; out.len() * shape.block_bytes() as usize];
    let done = rig.backend.read_kv_blocks(&kv_cache, out, &mut host);
    rig.did(done)?;
    for layer_idx in 0..NUM_LAYERS {
        write(rig, paging, shape, &mut kv_cache, layer_idx, &vec![-2.0; len])?;
    }
    let mut want = slots(rig, &kv_cache, &shape)?;
    let done = rig.backend.write_kv_blocks(&mut kv_cache, back, &host);
    rig.did(done)?;

    let block_len = before.len() / NUM_LAYERS / shape.num_blocks;
    for layer_idx in 0..NUM_LAYERS {
        for (&from, &to) in out.iter().zip(back) {
            let [from, to] =
                [from, to].map(|block| (layer_idx * shape.num_blocks + block as usize) * block_len);
            want[to..to + block_len].copy_from_slice(&before[from..from + block_len]);
        }
    }
    let got = slots(rig, &kv_cache, &shape)?;
    rig.check_exact(DType::F32, &got, &want)
}

/// What nobody wrote may be any bytes, signalling NaN among them, and stays what it is.
fn any_bytes<O: Ops>(
    rig: &mut Rig<O>,
    &(shape, ref scales): &(KvCacheShape, KvScales),
    rng: &mut Rng,
) -> Result<(), Failure> {
    let allocated = rig.backend.alloc_kv_cache(shape, scales);
    let mut kv_cache = rig.did(allocated)?;
    let mut ids: Vec<u32> = (0..shape.num_blocks as u32).collect();
    rng.shuffle(&mut ids);
    let num_bytes = ids.len() * shape.block_bytes() as usize;
    let want: Vec<u8> = (0..num_bytes).map(|_| rng.next_u64() as u8).collect();
    let done = rig.backend.write_kv_blocks(&mut kv_cache, &ids, &want);
    rig.did(done)?;
    let mut got = vec![0; num_bytes];
    let done = rig.backend.read_kv_blocks(&kv_cache, &ids, &mut got);
    rig.did(done)?;
    let [got, want] = [got, want].map(|bytes| bytes.into_iter().map(f32::from).collect::<Vec<_>>());
    rig.check_exact(DType::F32, &got, &want)
}

/// Lengths and blocks that do not fit.
fn refused<O: Ops>(
    rig: &mut Rig<O>,
    &(shape, ref scales): &(KvCacheShape, KvScales),
) -> Result<(), Failure> {
    let allocated = rig.backend.alloc_kv_cache(shape, scales);
    let mut kv_cache = rig.did(allocated)?;
    let block_bytes = shape.block_bytes() as usize;
    let outside = shape.num_blocks as u32;
    for (ids, num_bytes) in
        [(&[0][..], block_bytes - 1), (&[0], block_bytes + 1), (&[], 1), (&[outside], block_bytes)]
    {
        let mut host = vec![0; num_bytes];
        for done in [
            rig.backend.read_kv_blocks(&kv_cache, ids, &mut host),
            rig.backend.write_kv_blocks(&mut kv_cache, ids, &host),
        ] {
            if !matches!(done, Err(OpError::Shape { .. })) {
                return Err(rig.took(&format!("{num_bytes} bytes for the blocks {ids:?}")));
            }
        }
    }
    for (num_layers, num_kv_heads) in
        [(NUM_LAYERS + 1, shape.num_kv_heads), (NUM_LAYERS, shape.num_kv_heads + 1)]
    {
        let scales = KvScales::ones(num_layers, num_kv_heads);
        if !matches!(rig.backend.alloc_kv_cache(shape, &scales), Err(OpError::Shape { .. })) {
            return Err(rig.took(&format!("scales of {num_layers} layers, {num_kv_heads} heads")));
        }
    }
    Ok(())
}

/// Writes every slot of a layer; `rows` are `[num_slots, 2 · num_kv_heads · head_dim]`.
fn write<O: Ops>(
    rig: &mut Rig<O>,
    paging: &Paging,
    shape: KvCacheShape,
    kv_cache: &mut O::KvCache,
    layer_idx: usize,
    rows: &[f32],
) -> Result<(), Failure> {
    let width = shape.num_kv_heads * shape.head_dim;
    let mut batch = O::Batch::default();
    let uploaded = rig.backend.upload_batch(&paging.whole_pool(), &mut batch);
    rig.did(uploaded)?;
    let buffer = rig.f32_buffer(rows)?;
    let cols = |first_col| Cols { buffer: &buffer, first_col, stride: 2 * width };
    let (k, v) = (cols(0), cols(width));
    let done = rig.backend.kv_write(KvWrite { batch: &batch, k, v, kv_cache, layer_idx });
    rig.did(done)
}
