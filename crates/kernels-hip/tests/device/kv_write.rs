//! `kv_write`: every byte of the pools, by the rounding of `engine-core` and the places of `KvLayout`. So the kernels' layout
//! and the host's are the same one, padding is not touched, and neither is what a slot of -1 or another head would hit.

use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use engine_core::ops::Cols;
use kernels_hip::kv_layout::KvLayout;
use kernels_hip::ops::{KvRows, KvWrite, TokenScales};
use kernels_hip::{Device, Stream};
use reference_cpu::ops;

use crate::mutants::code_object;
use crate::{Bits, device};

const DTYPES: [KvDType; 4] = [
    KvDType::Float(DType::BF16),
    KvDType::Float(DType::F16),
    KvDType::Fp8(Fp8Format::E4m3Fnuz),
    KvDType::Fp8(Fp8Format::E5m2Fnuz),
];

/// kv_blocks of the pools.
const NUM_BLOCKS: usize = 3;
/// What the pools hold before.
const BEFORE: u8 = 0xa5;

fn layout(block_size: usize, num_kv_heads: usize, head_dim: usize, dtype: KvDType) -> KvLayout {
    let num_blocks = NUM_BLOCKS;
    let shape =
        KvCacheShape { num_layers: 1, num_blocks, block_size, num_kv_heads, head_dim, dtype };
    KvLayout::new(&shape).unwrap()
}

/// A written cache: raw pools of keys and values, and their token scales.
struct Written {
    pools: [Vec<u8>; 2],
    token_scales: [Vec<f32>; 2],
}

/// Rows to write: keys from column 3 on, values behind them.
struct Rows {
    values: Vec<f32>,
    slots: Vec<i64>,
    scales: [Vec<f32>; 2],
}

impl Rows {
    const FIRST_COL: usize = 3;

    /// Odd values among usual ones; the last slot first, one slot of -1, the others in no order.
    fn new(layout: &KvLayout) -> Self {
        let num_slots = (NUM_BLOCKS * layout.block_size()) as i64;
        let mut slots: Vec<i64> = (0..num_slots).rev().step_by(2).collect();
        slots.insert(slots.len() / 2, -1);
        let mut bits = Bits(layout.head_dim() as u64);
        let mut values = bits.units(slots.len() * Self::stride(layout));
        values.iter_mut().for_each(|x| *x *= 30.0);
        let odd = [f32::NAN, f32::INFINITY, -1e30, -0.0, 1e-7, 1e-40, -250.0];
        for (i, x) in odd.into_iter().enumerate() {
            let at = values.len() / 7 * i + 5;
            values[at] = x;
        }
        let mut scale = || (0..layout.num_kv_heads()).map(|_| 0.3 + bits.unit().abs()).collect();
        Rows { values, slots, scales: [scale(), scale()] }
    }

    fn stride(layout: &KvLayout) -> usize {
        Self::FIRST_COL + 2 * layout.num_kv_heads() * layout.head_dim() + 1
    }

    fn head(&self, layout: &KvLayout, part: usize, token: usize, head: usize) -> &[f32] {
        let head = part * layout.num_kv_heads() + head;
        let first = token * Self::stride(layout) + Self::FIRST_COL + head * layout.head_dim();
        &self.values[first..first + layout.head_dim()]
    }

    /// What the device makes of it.
    fn write(&self, device: &Device, stream: &Stream, layout: &KvLayout, own: bool) -> Written {
        let code = code_object(device, "kv_write_v1_naive");
        let op = KvWrite::from_code_object(device, &code, layout.dtype()).unwrap();
        let pool_bytes = layout.pool_bytes(NUM_BLOCKS).unwrap();
        let mut pools = [0; 2].map(|_| device.buffer::<u8>(pool_bytes).unwrap());
        let num_scales = layout.token_scale(NUM_BLOCKS, 0, 0);
        let mut token_scales = [0; 2].map(|_| device.buffer::<f32>(num_scales).unwrap());
        pools.iter_mut().for_each(|pool| pool.fill_bytes(stream, BEFORE).unwrap());
        token_scales.iter_mut().for_each(|scales| scales.fill_bytes(stream, 0xff).unwrap());
        let slot_mapping = device.buffer_from(stream, &self.slots).unwrap();
        let values = device.buffer_from(stream, &self.values).unwrap();
        let [k_scales, v_scales] =
            [0, 1].map(|part| device.buffer_from(stream, &self.scales[part]).unwrap());
        let width = layout.num_kv_heads() * layout.head_dim();
        let cols = |first_col| Cols { buffer: &values, first_col, stride: Self::stride(layout) };
        let [k, v] = &mut token_scales;
        let rows = KvRows {
            slot_mapping: &slot_mapping,
            num_tokens: self.slots.len(),
            k: cols(Self::FIRST_COL),
            v: cols(Self::FIRST_COL + width),
            k_scales: &k_scales,
            v_scales: &v_scales,
            token_scales: own.then_some(TokenScales { k, v }),
        };
        let [k_pool, v_pool] = &mut pools;
        op.run(stream, layout, [k_pool, v_pool], rows).unwrap();
        Written {
            pools: pools.map(|pool| pool.to_host(stream).unwrap()),
            token_scales: token_scales.map(|scales| scales.to_host(stream).unwrap()),
        }
    }

    /// The bytes of the pool of keys (`part` 0) or values (1), and the token scales, if heads have their own.
    fn want(&self, layout: &KvLayout, part: usize, own: bool) -> (Vec<u8>, Vec<f32>) {
        let mut pool = vec![BEFORE; layout.pool_bytes(NUM_BLOCKS).unwrap()];
        let mut token_scales = vec![f32::NAN; layout.token_scale(NUM_BLOCKS, 0, 0)];
        let size_bytes = layout.dtype().size_bytes();
        for (token, &slot) in self.slots.iter().enumerate().filter(|(_, slot)| **slot >= 0) {
            let (block, slot) =
                (slot as usize / layout.block_size(), slot as usize % layout.block_size());
            for head in 0..layout.num_kv_heads() {
                let scale = self.scales[part][head];
                let scaled: Vec<f32> =
                    self.head(layout, part, token, head).iter().map(|x| x / scale).collect();
                let format = layout.dtype().fp8().filter(|_| own);
                let token_scale = format.map_or(1.0, |format| ops::fp8_row_scale(&scaled, format));
                if own {
                    token_scales[layout.token_scale(block, head, slot)] = token_scale;
                }
                for (d, x) in scaled.into_iter().enumerate() {
                    let offset = match part {
                        0 => layout.k_offset(slot, d),
                        _ => layout.v_offset(slot, d),
                    };
                    let at = (layout.head_block(block, head) + offset) * size_bytes;
                    let code = layout.dtype().to_code(layout.dtype().round(x / token_scale));
                    pool[at..at + size_bytes].copy_from_slice(&code.to_le_bytes()[..size_bytes]);
                }
            }
        }
        (pool, token_scales)
    }
}

fn check(device: &Device, stream: &Stream, layout: &KvLayout, own: bool) {
    let rows = Rows::new(layout);
    let got = rows.write(device, stream, layout, own);
    for part in [0, 1] {
        let (pool, token_scales) = rows.want(layout, part, own);
        let differing = (0..pool.len()).find(|&i| got.pools[part][i] != pool[i]);
        assert!(
            differing.is_none(),
            "{layout:?}, {}: byte {differing:?}: {:?}",
            ["keys", "values"][part],
            differing.map(|i| (got.pools[part][i], pool[i])),
        );
        let bits = |scales: &[f32]| scales.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let written: Vec<bool> = token_scales.iter().map(|x| !x.is_nan()).collect();
        let kept = got.token_scales[part].iter().map(|x| !x.is_nan()).collect::<Vec<_>>();
        assert_eq!(kept, written, "{layout:?}");
        let of_written = |scales: &[f32]| {
            let scales = scales.iter().zip(&written).filter(|(_, written)| **written);
            bits(&scales.map(|(scale, _)| *scale).collect::<Vec<_>>())
        };
        assert_eq!(of_written(&got.token_scales[part]), of_written(&token_scales), "{layout:?}");
    }
}

#[test]
fn every_byte_of_the_pools_is_where_the_layout_says() {
    let Some((device, stream)) = device() else { return };
    for dtype in DTYPES {
        for (block_size, num_kv_heads, head_dim) in
            [(1, 2, 16), (7, 1, 96), (16, 3, 64), (33, 2, 256), (128, 1, 32)]
        {
            check(&device, &stream, &layout(block_size, num_kv_heads, head_dim, dtype), false);
        }
    }
}

#[test]
fn fp8_heads_can_have_scales_of_their_own() {
    let Some((device, stream)) = device() else { return };
    for dtype in &DTYPES[2..] {
        for (block_size, num_kv_heads, head_dim) in [(7, 2, 48), (16, 1, 128)] {
            check(&device, &stream, &layout(block_size, num_kv_heads, head_dim, *dtype), true);
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let Some((device, stream)) = device() else { return };
    let shape = |head_dim, dtype| KvCacheShape {
        num_layers: 1,
        num_blocks: NUM_BLOCKS,
        block_size: 16,
        num_kv_heads: 2,
        head_dim,
        dtype,
    };
    for (head_dim, dtype) in [(24, DTYPES[0]), (0, DTYPES[0]), (64, DType::F32.into())] {
        assert!(KvLayout::new(&shape(head_dim, dtype)).is_err(), "{head_dim} {dtype}");
    }
    assert!(
        KvLayout::new(&KvCacheShape { block_size: usize::MAX, ..shape(16, DTYPES[0]) }).is_err()
    );
    let layout = layout(16, 2, 32, DTYPES[0]);
    let op = KvWrite::new(&device, DTYPES[0]).unwrap();
    let ones = device.buffer_from(&stream, &[1.0_f32; 2]).unwrap();
    let slot_mapping = device.buffer_from(&stream, &[0_i64; 2]).unwrap();
    let values = device.buffer_from(&stream, &[1.0_f32; 256]).unwrap();
    let pool_bytes = layout.pool_bytes(NUM_BLOCKS).unwrap();
    let run = |pool_bytes: usize, stride: usize, num_tokens: usize| {
        let mut pools = [0; 2].map(|_| device.buffer::<u8>(pool_bytes).unwrap());
        let [k_pool, v_pool] = &mut pools;
        let rows = KvRows {
            slot_mapping: &slot_mapping,
            num_tokens,
            k: Cols { buffer: &values, first_col: 0, stride },
            v: Cols { buffer: &values, first_col: 64, stride },
            k_scales: &ones,
            v_scales: &ones,
            token_scales: None,
        };
        op.run(&stream, &layout, [k_pool, v_pool], rows)
    };
    assert!(run(pool_bytes, 128, 2).is_ok());
    assert!(run(pool_bytes, 127, 2).is_err(), "values past the stride");
    assert!(run(pool_bytes, 192, 2).is_err(), "rows past the buffer");
    assert!(run(pool_bytes, 128, 3).is_err(), "tokens without slots");
    assert!(run(pool_bytes - 1, 128, 2).is_err(), "a part of a block");
}
