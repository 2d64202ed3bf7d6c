//! `kv_write_rope`, `kv_read` and `kv_copy`: the bytes of the ops that they are made of, or of the host.

use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use engine_core::ops::Cols;
use kernels_hip::kv_layout::KvLayout;
use kernels_hip::ops::{
    KeyRope, KvCopy, KvPart, KvRead, KvRows, KvSlots, KvWrite, KvWriteRope, Rope, RopeLayout,
    RopeShape, TokenScales,
};
use kernels_hip::{Buffer, Device, Stream};

use crate::mutants::code_object;
use crate::{Bits, device};

const DTYPES: [KvDType; 4] = [
    KvDType::Float(DType::BF16),
    KvDType::Float(DType::F16),
    KvDType::Fp8(Fp8Format::E4m3Fnuz),
    KvDType::Fp8(Fp8Format::E5m2Fnuz),
];
const NUM_BLOCKS: usize = 3;

fn layout(block_size: usize, num_kv_heads: usize, head_dim: usize, dtype: KvDType) -> KvLayout {
    let num_blocks = NUM_BLOCKS;
    let shape =
        KvCacheShape { num_layers: 1, num_blocks, block_size, num_kv_heads, head_dim, dtype };
    KvLayout::new(&shape).unwrap()
}

/// Tokens with keys and values side by side, on the device.
struct Tokens {
    slots: Vec<i64>,
    slot_mapping: Buffer<i64>,
    /// Rows of keys, then values.
    values: Buffer<f32>,
    scales: [Vec<f32>; 2],
    on_scales: [Buffer<f32>; 2],
}

impl Tokens {
    fn new(device: &Device, stream: &Stream, layout: &KvLayout) -> Self {
        let mut bits = Bits(71);
        let num_slots = (NUM_BLOCKS * layout.block_size()) as i64;
        let mut slots: Vec<i64> = (0..num_slots).rev().step_by(3).collect();
        slots.push(-1);
        let width = layout.num_kv_heads() * layout.head_dim();
        let values: Vec<f32> =
            bits.units(slots.len() * 2 * width).iter().map(|x| x * 20.0).collect();
        let scales =
            [0; 2].map(|_| (0..layout.num_kv_heads()).map(|_| 0.3 + bits.unit().abs()).collect());
        Tokens {
            slot_mapping: device.buffer_from(stream, &slots).unwrap(),
            values: device.buffer_from(stream, &values).unwrap(),
            on_scales: [0, 1].map(|part: usize| {
                let scales: &Vec<f32> = &scales[part];
                device.buffer_from(stream, scales).unwrap()
            }),
            slots,
            scales,
        }
    }

    fn rows<'a>(&'a self, layout: &KvLayout, own: Option<&'a mut [Buffer<f32>; 2]>) -> KvRows<'a> {
        let width = layout.num_kv_heads() * layout.head_dim();
        let cols = |first_col| Cols { buffer: &self.values, first_col, stride: 2 * width };
        KvRows {
            slot_mapping: &self.slot_mapping,
            num_tokens: self.slots.len(),
            k: cols(0),
            v: cols(width),
            k_scales: &self.on_scales[0],
            v_scales: &self.on_scales[1],
            token_scales: own.map(|[k, v]| TokenScales { k, v }),
        }
    }
}

/// Pools and token scales that hold something.
fn cache(
    device: &Device,
    stream: &Stream,
    layout: &KvLayout,
) -> ([Buffer<u8>; 2], [Buffer<f32>; 2]) {
    let mut pools = [0; 2].map(|_| device.buffer(layout.pool_bytes(NUM_BLOCKS).unwrap()).unwrap());
    let mut scales = [0; 2].map(|_| device.buffer(layout.token_scale(NUM_BLOCKS, 0, 0)).unwrap());
    pools.iter_mut().for_each(|pool| pool.fill_bytes(stream, 0xa5).unwrap());
    scales.iter_mut().for_each(|scales| scales.fill_bytes(stream, 0x3f).unwrap());
    (pools, scales)
}

#[test]
fn rotated_keys_are_written_as_rope_and_kv_write_do() {
    let Some((device, stream)) = device() else { return };
    let rope = Rope::new(&device).unwrap();
    for dtype in DTYPES {
        for (block_size, num_kv_heads, head_dim, rotary_dim) in
            [(7, 2, 48, 32), (16, 1, 128, 128), (5, 3, 16, 2)]
        {
            for (kind, own) in
                [(RopeLayout::HalfSplit, false), (RopeLayout::Interleaved, dtype.fp8().is_some())]
            {
                let layout = layout(block_size, num_kv_heads, head_dim, dtype);
                let mut tokens = Tokens::new(&device, &stream, &layout);
                let num_rows = tokens.slots.len();
                let angles = Bits(72).units(num_rows * rotary_dim);
                let angles = device.buffer_from(&stream, &angles).unwrap();
                let (mut pools, mut scales) = cache(&device, &stream, &layout);
                let code = code_object(&device, "kv_write_rope_v1_naive");
                let op = KvWriteRope::from_code_object(&device, &code, dtype).unwrap();
                let [k, v] = &mut pools;
                let turn = KeyRope { angles: &angles, rotary_dim, layout: kind };
                let rows = tokens.rows(&layout, own.then_some(&mut scales));
                op.run(&stream, &layout, [k, v], rows, turn).unwrap();

                let stride = 2 * num_kv_heads * head_dim;
                let view = Cols { buffer: &mut tokens.values, first_col: 0, stride };
                let shape = RopeShape {
                    num_rows,
                    num_heads: num_kv_heads,
                    head_dim,
                    rotary_dim,
                    layout: kind,
                };
                rope.run(&stream, view, &angles, shape).unwrap();
                let (mut want, mut want_scales) = cache(&device, &stream, &layout);
                let [k, v] = &mut want;
                let rows = tokens.rows(&layout, own.then_some(&mut want_scales));
                KvWrite::new(&device, dtype).unwrap().run(&stream, &layout, [k, v], rows).unwrap();
                for part in [0, 1] {
                    let bytes = |pool: &Buffer<u8>| pool.to_host(&stream).unwrap();
                    assert!(
                        bytes(&pools[part]) == bytes(&want[part]),
                        "{layout:?}, {kind:?}, {part}"
                    );
                    let floats = |scales: &Buffer<f32>| scales.to_host(&stream).unwrap();
                    assert_eq!(floats(&scales[part]), floats(&want_scales[part]), "{layout:?}");
                }
            }
        }
    }
}

/// The numbers of the pool's codes, by the host's places and formats.
fn numbers(
    layout: &KvLayout,
    pool: &[u8],
    tokens: &Tokens,
    own: Option<&[f32]>,
    part: usize,
) -> Vec<f32> {
    let size_bytes = layout.dtype().size_bytes();
    let mut numbers = Vec::new();
    for &slot in &tokens.slots {
        let (block, offset) =
            (slot as usize / layout.block_size(), slot as usize % layout.block_size());
        for head in 0..layout.num_kv_heads() {
            for d in 0..layout.head_dim() {
                if slot < 0 {
                    numbers.push(0.0);
                    continue;
                }
                let place = match part {
                    0 => layout.k_offset(offset, d),
                    _ => layout.v_offset(offset, d),
                };
                let at = (layout.head_block(block, head) + place) * size_bytes;
                let mut code = [0; 4];
                code[..size_bytes].copy_from_slice(&pool[at..at + size_bytes]);
                let scale = own.map_or(1.0, |own| own[layout.token_scale(block, head, offset)]);
                let value = layout.dtype().from_code(u32::from_le_bytes(code));
                numbers.push(value * tokens.scales[part][head] * scale);
            }
        }
    }
    numbers
}

#[test]
fn what_was_written_is_read_as_numbers() {
    let Some((device, stream)) = device() else { return };
    let code = code_object(&device, "kv_read_v1_naive");
    for dtype in DTYPES {
        let layout = layout(7, 2, 80, dtype);
        let tokens = Tokens::new(&device, &stream, &layout);
        for own in [false, true].into_iter().filter(|own| !own || dtype.fp8().is_some()) {
            let (mut pools, mut scales) = cache(&device, &stream, &layout);
            let [k, v] = &mut pools;
            let rows = tokens.rows(&layout, own.then_some(&mut scales));
            KvWrite::new(&device, dtype).unwrap().run(&stream, &layout, [k, v], rows).unwrap();
            for (part, out) in [KvPart::K, KvPart::V]
                .into_iter()
                .flat_map(|p| [DType::F32, DType::BF16, DType::F16].map(|o| (p, o)))
            {
                let idx = part as usize;
                let pool = pools[idx].to_host(&stream).unwrap();
                let own_scales = own.then(|| scales[idx].to_host(&stream).unwrap());
                let want = numbers(&layout, &pool, &tokens, own_scales.as_deref(), idx);
                let slots = KvSlots {
                    slot_mapping: &tokens.slot_mapping,
                    num_tokens: tokens.slots.len(),
                    head_scales: &tokens.on_scales[idx],
                    token_scales: own.then_some(&scales[idx]),
                };
                let op = KvRead::from_code_object(&device, &code, dtype, out).unwrap();
                let from = (&pools[idx], part);
                let got: Vec<u32> = if out == DType::F32 {
                    let mut on_out = device.buffer::<f32>(want.len()).unwrap();
                    op.run(&stream, &layout, &mut on_out, from, &slots).unwrap();
                    on_out.to_host(&stream).unwrap().into_iter().map(f32::to_bits).collect()
                } else {
                    let mut on_out = device.buffer::<u16>(want.len()).unwrap();
                    op.run(&stream, &layout, &mut on_out, from, &slots).unwrap();
                    on_out.to_host(&stream).unwrap().into_iter().map(u32::from).collect()
                };
                let stored = KvDType::from(out);
                let want: Vec<u32> =
                    want.iter().map(|&x| stored.to_code(stored.round(x))).collect();
                assert_eq!(got, want, "{dtype}, {part:?}, {out}, {own}");
            }
        }
    }
}

#[test]
fn blocks_are_copied_in_order() {
    let Some((device, stream)) = device() else { return };
    let op =
        KvCopy::from_code_object(&device, &code_object(&device, "kv_copy_v1_vectors")).unwrap();
    // Less than a work-group's vectors, and more.
    for block_len in [12, 4096 / 4 + 8] {
        let mut want: Vec<u32> = (0..8 * block_len as u32).collect();
        let mut pool = device.buffer_from(&stream, &want).unwrap();
        let pairs = [(0, 1), (2, 3), (1, 4), (5, 5), (6, 1), (7, 6)];
        op.run(&stream, &mut pool, block_len, &pairs).unwrap();
        for (from, to) in pairs.map(|(from, to)| (from as usize, to as usize)) {
            want.copy_within(from * block_len..(from + 1) * block_len, to * block_len);
        }
        assert_eq!(pool.to_host(&stream).unwrap(), want);
        assert!(op.run(&stream, &mut pool, block_len, &[(0, 8)]).is_err());
        assert!(op.run(&stream, &mut pool, block_len + 1, &[(0, 1)]).is_err());
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let Some((device, stream)) = device() else { return };
    let layout = layout(16, 2, 32, DTYPES[0]);
    let tokens = Tokens::new(&device, &stream, &layout);
    let (mut pools, scales) = cache(&device, &stream, &layout);
    let angles = device.buffer_from(&stream, &vec![1.0_f32; 32 * tokens.slots.len()]).unwrap();
    let op = KvWriteRope::new(&device, DTYPES[0]).unwrap();
    let mut run = |angles: &Buffer<f32>, rotary_dim| {
        let [k, v] = &mut pools;
        let turn = KeyRope { angles, rotary_dim, layout: RopeLayout::HalfSplit };
        op.run(&stream, &layout, [k, v], tokens.rows(&layout, None), turn)
    };
    assert!(run(&angles, 32).is_ok());
    assert!(run(&angles, 34).is_err());
    assert!(run(&angles, 31).is_err());
    assert!(run(&device.buffer_from(&stream, &[1.0_f32; 32]).unwrap(), 32).is_err());

    let op = KvRead::new(&device, DTYPES[0], DType::BF16).unwrap();
    let read = |len, num_tokens, layout: &KvLayout| {
        let slots = KvSlots {
            slot_mapping: &tokens.slot_mapping,
            num_tokens,
            head_scales: &tokens.on_scales[0],
            token_scales: None,
        };
        let mut out = device.buffer::<u16>(len).unwrap();
        op.run(&stream, layout, &mut out, (&pools[0], KvPart::K), &slots)
    };
    assert!(read(128, 2, &layout).is_ok());
    assert!(read(127, 2, &layout).is_err());
    assert!(read(6400, tokens.slots.len() + 1, &layout).is_err());
    assert!(read(128, 2, &super::kv_paths::layout(16, 2, 32, DTYPES[1])).is_err());
    assert!(read(128, 2, &super::kv_paths::layout(48, 3, 32, DTYPES[0])).is_err());
    drop(scales);
}
