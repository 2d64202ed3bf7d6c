//! Ops that are others one after the other: a backend may do them in one, with the same bits.

use engine_core::batch::Batch;
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use engine_core::ops::{Cols, KvWrite, Ops, RopeAngles, RotateAttend};

use super::paging::{LAYER_IDX, Paging};
use super::rig::Rig;
use super::rotary::frequencies;
use super::{Failure, OpReport};
use crate::cases::{self, KvFormat, RotateAttendCase};
use crate::inputs::{Inputs, Rng};

pub(super) fn rotate_attend<O: Ops>(
    mut rig: Rig<O>,
    kv_dtypes: &[KvDType],
) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0xf05ed);
    for case in cases::rotate_attend() {
        for format in cases::kv_formats(kv_dtypes) {
            rig.begin(&(&case, format));
            let mut sides = Vec::new();
            let seed = rng.next_u64();
            for by_parts in [false, true] {
                sides.push(side(&mut rig, &case, format, &mut Rng::new(seed), by_parts)?);
            }
            let (dtype, [got, want]) = (rig.backend.compute_dtype(), [&sides[0], &sides[1]]);
            rig.check_exact(dtype, &got.0, &want.0)?;
            rig.check_exact(DType::F32, &got.1, &want.1)?;
        }
    }
    Ok(rig.finish())
}

/// What is attended, and every byte of the cache afterwards.
fn side<O: Ops>(
    rig: &mut Rig<O>,
    case: &RotateAttendCase,
    format: KvFormat,
    rng: &mut Rng,
    by_parts: bool,
) -> Result<(Vec<f32>, Vec<f32>), Failure> {
    let RotateAttendCase { num_qo_heads, num_kv_heads, head_dim, rotary_dim, .. } = *case;
    let seq_lens: Vec<usize> = case.seqs.iter().map(|seq| seq.seq_len).collect();
    let paging = Paging::new(rng, case.block_size, &seq_lens);
    let (shape, scales) = paging.cache(num_kv_heads, head_dim, format);
    let allocated = rig.backend.alloc_kv_cache(shape, &scales);
    let mut kv_cache = rig.did(allocated)?;
    fill(rig, &paging.whole_pool(), (num_kv_heads, head_dim), &mut kv_cache, rng)?;

    let spans = case.seqs.iter().enumerate();
    let spans = spans.map(|(seq_idx, seq)| (seq_idx, seq.seq_len - seq.num_rows..seq.seq_len));
    let host = paging.batch(&spans.collect::<Vec<_>>());
    let num_rows = host.num_tokens();
    let mut batch = O::Batch::default();
    let uploaded = rig.backend.upload_batch(&host, &mut batch);
    rig.did(uploaded)?;
    let angles = angles(rig, &batch, (num_rows, rotary_dim))?;
    let stride = (num_qo_heads + 2 * num_kv_heads) * head_dim;
    let mut qkv = rig.f32_buffer(&Inputs::Normal.make(rng, num_rows * stride, DType::F32))?;
    let mut out = rig.act_out(num_rows * num_qo_heads * head_dim)?;
    let args = RotateAttend {
        batch: &batch,
        num_rows,
        qkv: &mut qkv,
        angles: &angles,
        rotary_dim,
        kv_cache: &mut kv_cache,
        layer_idx: LAYER_IDX,
        num_qo_heads,
        num_kv_heads,
        head_dim,
        scale: (head_dim as f32).sqrt().recip(),
        window: case.window,
        out: &mut out,
    };
    let done = match by_parts {
        true => args.by_parts(&mut rig.backend),
        false => rig.backend.rotate_attend(args),
    };
    rig.did(done)?;
    let out = rig.read_act(&out, num_rows * num_qo_heads * head_dim)?;
    let ids: Vec<u32> = (0..shape.num_blocks as u32).collect();
    let mut bytes = vec![0; ids.len() * shape.block_bytes() as usize];
    let read = rig.backend.read_kv_blocks(&kv_cache, &ids, &mut bytes);
    rig.did(read)?;
    Ok((out, bytes.into_iter().map(f32::from).collect()))
}

fn fill<O: Ops>(
    rig: &mut Rig<O>,
    host: &Batch,
    (num_kv_heads, head_dim): (usize, usize),
    kv_cache: &mut O::KvCache,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let width = num_kv_heads * head_dim;
    let mut batch = O::Batch::default();
    let uploaded = rig.backend.upload_batch(host, &mut batch);
    rig.did(uploaded)?;
    let len = host.num_tokens() * 2 * width;
    let rows = rig.f32_buffer(&Inputs::Normal.make(rng, len, DType::F32))?;
    for layer_idx in 0..super::paging::NUM_LAYERS {
        let [k, v] =
            [0, width].map(|first_col| Cols { buffer: &rows, first_col, stride: 2 * width });
        let kv_cache = &mut *kv_cache;
        let done = rig.backend.kv_write(KvWrite { batch: &batch, k, v, kv_cache, layer_idx });
        rig.did(done)?;
    }
    Ok(())
}

fn angles<O: Ops>(
    rig: &mut Rig<O>,
    batch: &O::Batch,
    (num_rows, rotary_dim): (usize, usize),
) -> Result<O::Buffer, Failure> {
    let num_freqs = rotary_dim / 2;
    let inv_freq = rig.f32_buffer(&frequencies(num_freqs, 1e4))?;
    let mut out = rig.f32_out(num_rows * rotary_dim)?;
    let done = rig.backend.rope_angles(RopeAngles {
        batch,
        inv_freq: &inv_freq,
        num_freqs,
        attention_factor: 1.0,
        out: &mut out,
    });
    rig.did(done)?;
    Ok(out)
}
