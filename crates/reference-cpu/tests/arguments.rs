//! No argument makes the reference backend panic, and wrong ones are refused by name.

use engine_core::batch::Batch;
use engine_core::checkpoint::RowSource;
use engine_core::device::{Device, KvCacheShape, OpError};
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::KvScales;
use engine_core::ops::{
    Attention, Cols, HeadNorm, KvWrite, Linear, Ops, Out, RmsNorm, Rope, RopeAngles, SiluMul,
};
use proptest::prelude::*;
use reference_cpu::ReferenceCpu;

struct Zeros(usize, usize);

impl RowSource for Zeros {
    fn num_rows(&self) -> usize {
        self.0
    }

    fn num_cols(&self) -> usize {
        self.1
    }

    fn read_row(&self, _row: usize, out: &mut [f32]) {
        out.fill(0.0);
    }
}

/// Mostly small numbers, now and then one that overflows what it is multiplied with.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 0_usize..12, 1 => Just(usize::MAX), 1 => Just(usize::MAX / 2 + 1)]
}

fn cache_shape() -> impl Strategy<Value = KvCacheShape> {
    let small = || 0_usize..5;
    (small(), small(), small(), small(), small()).prop_map(
        |(num_layers, num_blocks, block_size, num_kv_heads, head_dim)| KvCacheShape {
            num_layers,
            num_blocks,
            block_size,
            num_kv_heads,
            head_dim,
            dtype: KvDType::Fp8(Fp8Format::E4m3),
        },
    )
}

/// A batch that agrees with itself, or not: each number may be off.
fn batch() -> impl Strategy<Value = Batch> {
    let seqs = prop::collection::vec((0_u32..6, 0_u32..4), 0..4);
    let slots = prop::collection::vec(-2_i64..20, 12);
    let tables = prop::collection::vec(0_u32..6, 16);
    let damage = prop_oneof![2 => Just(None), 1 => (0_usize..6, 0_usize..8).prop_map(Some)];
    (seqs, slots, tables, 0_usize..5, damage).prop_map(
        |(seqs, slots, tables, max_num_blocks, damage)| {
            let mut batch = Batch::default();
            batch.clear();
            for (old, rows) in &seqs {
                batch.positions.extend(*old..old + rows);
                batch.cu_seqlens_q.push(batch.positions.len() as u32);
                batch.seq_lens.push(old + rows);
            }
            let num_tokens = batch.positions.len();
            batch.token_ids = vec![1; num_tokens];
            batch.slot_mapping = slots[..num_tokens].to_vec();
            batch.max_num_blocks = max_num_blocks;
            batch.block_tables = tables[..seqs.len() * max_num_blocks].to_vec();
            if let Some((field, place)) = damage {
                let longer = |list: &mut Vec<u32>| match list.get_mut(place) {
                    Some(entry) => *entry = entry.wrapping_sub(3),
                    None => list.push(7),
                };
                match field {
                    0 => longer(&mut batch.token_ids),
                    1 => longer(&mut batch.positions),
                    2 => longer(&mut batch.cu_seqlens_q),
                    3 => longer(&mut batch.seq_lens),
                    4 => longer(&mut batch.block_tables),
                    _ => batch.slot_mapping.push(i64::MAX),
                }
            }
            batch
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn row_ops_refuse_or_compute(
        lens in prop::collection::vec(0_usize..40, 4),
        dims in prop::collection::vec(size(), 6),
        rows in prop::collection::vec(0_u32..9, 0..5),
        acts in prop::collection::vec(any::<bool>(), 4),
    ) {
        let mut backend = ReferenceCpu::new(DType::BF16);
        let mut buffers: Vec<_> = lens
            .iter()
            .zip(acts)
            .map(|(&len, act)| if act { backend.alloc_act(len) } else { backend.alloc(len) })
            .collect::<Result<_, _>>()?;
        let mut out = buffers.pop().expect("four");
        let [a, b, c] = &buffers[..] else { unreachable!("three are left") };
        let weight = backend.load_matrix(&[&Zeros(dims[0] % 13, dims[1] % 13)]);
        if let Ok(weight) = weight {
            let out = Out::AddTo(&mut out);
            let _ = backend.linear(Linear { x: a, weight: &weight, bias: Some(b), num_rows: dims[2], out });
        }
        let _ = backend.rms_norm(RmsNorm {
            x: a,
            weight: b,
            eps: 1.0,
            hidden_size: dims[3],
            rows: (dims[4] % 2 == 0).then_some(&rows[..]),
            num_rows: dims[2],
            out: &mut out,
        });
        let _ = backend.silu_mul(SiluMul { gate_up: a, num_rows: dims[2], width: dims[3], out: &mut out });
        let x = Cols { buffer: &mut out, first_col: dims[0], stride: dims[1] };
        let (num_rows, num_heads, head_dim) = (dims[2], dims[3], dims[4]);
        let _ = backend.head_norm(HeadNorm { x, weight: c, eps: 1.0, num_rows, num_heads, head_dim });
        let x = Cols { buffer: &mut out, first_col: dims[0], stride: dims[1] };
        let rotary_dim = dims[5];
        let _ = backend.rope(Rope { x, angles: c, num_rows, num_heads, head_dim, rotary_dim });
    }

    #[test]
    fn batch_ops_refuse_or_compute(
        batch in batch(),
        shape in cache_shape(),
        lens in prop::collection::vec(0_usize..200, 2),
        dims in prop::collection::vec(size(), 4),
        window in prop::option::of(0_u32..5),
    ) {
        let mut backend = ReferenceCpu::new(DType::F16);
        let mut device_batch = Batch::default();
        if backend.upload_batch(&batch, &mut device_batch).is_err() {
            return Ok(());
        }
        let qkv = backend.alloc(lens[0])?;
        let mut out = backend.alloc(lens[1])?;
        let cols = |first_col| Cols { buffer: &qkv, first_col, stride: dims[0] };
        if let Ok(table) = backend.load_matrix(&[&Zeros(dims[1] % 5, dims[2] % 5)]) {
            let _ = backend.embed(&table, &device_batch, &mut out);
        }
        let _ = backend.rope_angles(RopeAngles {
            batch: &device_batch,
            inv_freq: &qkv,
            num_freqs: dims[1],
            attention_factor: 1.0,
            out: &mut out,
        });
        let scales = KvScales::ones(shape.num_layers, shape.num_kv_heads);
        let Ok(mut kv_cache) = backend.alloc_kv_cache(shape, &scales) else {
            return Ok(());
        };
        let _ = backend.kv_write(KvWrite {
            batch: &device_batch,
            k: cols(dims[1]),
            v: cols(dims[2]),
            kv_cache: &mut kv_cache,
            layer_idx: dims[3],
        });
        let mut out = backend.alloc_act(lens[1])?;
        let _ = backend.attention(Attention {
            batch: &device_batch,
            q: cols(dims[1]),
            kv_cache: &kv_cache,
            layer_idx: dims[3],
            num_qo_heads: dims[2],
            scale: 1.0,
            window,
            out: &mut out,
        });
        let _ = backend.read_kv(&kv_cache, dims[3], dims[2], dims[1]);
    }
}

#[test]
fn refusals_name_op_argument_and_numbers() {
    let mut backend = ReferenceCpu::new(DType::F32);
    let weight = backend.load_matrix(&[&Zeros(2, 3)]).expect("a matrix");
    let x = backend.alloc_act(5).expect("a buffer");
    let mut out = backend.alloc(4).expect("a buffer");
    let refused = backend.linear(Linear {
        x: &x,
        weight: &weight,
        bias: None,
        num_rows: 2,
        out: Out::Store(&mut out),
    });
    let error = refused.expect_err("x is one short");
    assert_eq!(error.to_string(), "linear: length of x is 5, but must be 6");
    let error = backend.load_matrix(&[&Zeros(2, 3), &Zeros(2, 4)]).expect_err("widths differ");
    assert_eq!(error.to_string(), "load_matrix: columns of a part is 4, but must be 3");
}

#[test]
fn matrix_inputs_are_not_taken_for_f32_nor_the_other_way() {
    let mut backend = ReferenceCpu::new(DType::F32);
    let mut act = backend.alloc_act(4).expect("a buffer");
    let mut plain = backend.alloc(4).expect("a buffer");
    let mut values = [0.0; 2];
    assert!(backend.read_f32(&act, &mut values).is_err());
    assert!(backend.write_f32(&values, &mut act).is_err());
    assert!(backend.read_act(&plain, &mut values).is_err());
    assert!(backend.write_act(&values, &mut plain).is_err());
}

#[test]
fn memory_that_cannot_be_had_is_refused() {
    let mut backend = ReferenceCpu::new(DType::F32);
    let shape = KvCacheShape {
        num_layers: 1,
        num_blocks: usize::MAX / 4,
        block_size: 16,
        num_kv_heads: 1,
        head_dim: 64,
        dtype: DType::F32.into(),
    };
    let refused = backend.alloc_kv_cache(shape, &KvScales::ones(1, 1));
    assert!(matches!(refused, Err(OpError::OutOfMemory { .. })), "{refused:?}");
    let refused = backend.alloc(usize::MAX / 4);
    assert!(matches!(refused, Err(OpError::OutOfMemory { .. })), "{refused:?}");
    let refused = backend.load_matrix(&[&Zeros(usize::MAX, 2)]);
    assert!(matches!(refused, Err(OpError::OutOfMemory { .. })), "{refused:?}");
}
