//! AVX-512: 16 f32 lanes, and `vdpbf16ps` for bfloat16.

use std::arch::x86_64::*;

use crate::fp8::Widen;

use super::{
    EXP2_POLY, Finish, Kernels, LANES, PlaceKv, SoftmaxRow, TILE_COLS, Tile, dispatch_tile,
};

pub(super) const KERNELS: Kernels = Kernels {
    native_bf16: true,
    tile_f32,
    tile_f16,
    tile_bf16,
    softmax_row,
    rms_norm_row,
    silu_mul_row,
    store_bf16,
    widen_fp8,
    round_f16,
    place_kv: Some(PLACE_KV),
};

const PLACE_KV: PlaceKv =
    PlaceKv { keys: place_keys, values: place_values, finish: finish_placing };

macro_rules! tile_kernel {
    ($name:ident, $kernel:ident, $b_load:expr, $a_load:expr, $multiply_add:expr) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
        unsafe fn $name(tile: &Tile) {
            dispatch_tile!(tile, $kernel, [1 2 3 4 5 6], [1 2 3 4])
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
        unsafe fn $kernel<const R: usize, const P: usize>(tile: &Tile) {
            let mut acc = [[_mm512_setzero_ps(); P]; R];
            if tile.finish == Finish::Continue {
                for (r, row) in acc.iter_mut().enumerate() {
                    for (p, lanes) in row.iter_mut().enumerate() {
                        // SAFETY: `c` is readable for rows × cols; the mask leaves the rest alone.
                        *lanes = unsafe { _mm512_maskz_loadu_ps(mask(tile.panel_cols(p)), c(tile, r, p)) };
                    }
                }
            }
            for step in 0..tile.steps {
                let mut b = [_mm512_setzero_si512(); P];
                for (p, lanes) in b.iter_mut().enumerate() {
                    // SAFETY: step < steps, and a panel's step is one whole line.
                    *lanes = unsafe { $b_load(tile.b[p].add(step * tile.b_stride)) };
                }
                for (r, row) in acc.iter_mut().enumerate() {
                    // SAFETY: row r < rows has `steps` steps of four bytes.
                    let a = unsafe { $a_load(tile.a.add(r * tile.a_stride + step * 4)) };
                    for (lanes, &b) in row.iter_mut().zip(&b) {
                        *lanes = $multiply_add(*lanes, a, b);
                    }
                }
            }
            for (r, row) in acc.iter().enumerate() {
                for (p, &lanes) in row.iter().enumerate() {
                    // SAFETY: `c` is writable for rows × cols, `bias` readable for whole panels.
                    unsafe { finish(tile, r, p, lanes) };
                }
            }
        }
    };
}

tile_kernel!(
    tile_f32,
    tile_f32_sized,
    |b: *const u8| _mm512_loadu_si512(b.cast()),
    |a: *const u8| _mm512_set1_ps(a.cast::<f32>().read_unaligned()),
    |acc, a, b| _mm512_fmadd_ps(a, _mm512_castsi512_ps(b), acc)
);
tile_kernel!(
    tile_f16,
    tile_f16_sized,
    |b: *const u8| _mm512_castps_si512(_mm512_cvtph_ps(_mm256_loadu_si256(b.cast()))),
    |a: *const u8| _mm512_set1_ps(a.cast::<f32>().read_unaligned()),
    |acc, a, b| _mm512_fmadd_ps(a, _mm512_castsi512_ps(b), acc)
);
tile_kernel!(
    tile_bf16,
    tile_bf16_sized,
    |b: *const u8| _mm512_loadu_si512(b.cast()),
    |a: *const u8| bf16_lanes(_mm512_set1_epi32(a.cast::<i32>().read_unaligned())),
    |acc, a, b| _mm512_dpbf16_ps(acc, a, bf16_lanes(b))
);

/// The same 512 bits, as 32 bfloat16.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn bf16_lanes(bits: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes without padding or invalid values.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) }
}

/// The first `count` of 16 lanes.
#[inline]
fn mask(count: usize) -> __mmask16 {
    ((1_u32 << count.min(LANES)) - 1) as __mmask16
}

/// Row `r`, panel `p` of `c`.
#[inline]
unsafe fn c(tile: &Tile, r: usize, p: usize) -> *mut f32 {
    // SAFETY: the caller's r and p are inside the tile.
    unsafe { tile.c.add(r * tile.c_stride + p * LANES) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn finish(tile: &Tile, r: usize, p: usize, sums: __m512) {
    let mask = mask(tile.panel_cols(p));
    // SAFETY: inside the tile, says the caller.
    let c = unsafe { c(tile, r, p) };
    let mut sums = sums;
    if !tile.bias.is_null() {
        // SAFETY: masked to columns that exist.
        let bias = unsafe { _mm512_maskz_loadu_ps(mask, tile.bias.add(p * LANES)) };
        sums = _mm512_add_ps(sums, bias);
    }
    if tile.finish == Finish::AddTo {
        // SAFETY: masked to columns that exist.
        sums = _mm512_add_ps(unsafe { _mm512_maskz_loadu_ps(mask, c) }, sums);
    }
    // SAFETY: masked to columns that exist.
    unsafe { _mm512_mask_storeu_ps(c, mask, sums) };
}

/// 2^x for x ≤ 0 (and a little above); −∞ gives 0.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn exp2(x: __m512) -> __m512 {
    let whole = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
    // −∞ − −∞ is NaN; the final scale by 2^−∞ would keep it, so such lanes are cleared.
    let fraction = _mm512_sub_ps(x, whole);
    let mut power = _mm512_set1_ps(EXP2_POLY[7]);
    for &coefficient in EXP2_POLY[..7].iter().rev() {
        power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(coefficient));
    }
    let in_range = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, _mm512_set1_ps(-126.0));
    _mm512_maskz_scalef_ps(in_range, power, whole)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn softmax_row(row: SoftmaxRow<'_>) {
    let SoftmaxRow { scores, valid, scale_log2, max, sum, out } = row;
    let negative_infinity = _mm512_set1_ps(f32::NEG_INFINITY);
    let valid = (1_u128 << valid.end) - (1_u128 << valid.start);
    let mut panels = [negative_infinity; TILE_COLS / LANES];
    let mut lane_max = negative_infinity;
    for (p, panel) in panels.iter_mut().enumerate() {
        let mask = (valid >> (p * LANES)) as __mmask16;
        // SAFETY: `scores` has 64 elements.
        let raw = unsafe { _mm512_loadu_ps(scores.as_ptr().add(p * LANES)) };
        *panel = _mm512_mask_mul_ps(negative_infinity, mask, raw, _mm512_set1_ps(scale_log2));
        lane_max = _mm512_max_ps(lane_max, *panel);
    }
    let new_max = max.max(_mm512_reduce_max_ps(lane_max));
    if new_max == f32::NEG_INFINITY {
        scores.fill(0.0);
        return;
    }
    let rescale = _mm512_cvtss_f32(exp2(_mm512_set1_ps(*max - new_max)));
    let mut lane_sum = _mm512_setzero_ps();
    for (p, panel) in panels.into_iter().enumerate() {
        let probabilities = exp2(_mm512_sub_ps(panel, _mm512_set1_ps(new_max)));
        lane_sum = _mm512_add_ps(lane_sum, probabilities);
        // SAFETY: `scores` has 64 elements.
        unsafe { _mm512_storeu_ps(scores.as_mut_ptr().add(p * LANES), probabilities) };
    }
    *sum = *sum * rescale + _mm512_reduce_add_ps(lane_sum);
    *max = new_max;
    for x in out {
        *x *= rescale;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn rms_norm_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut lanes = _mm512_setzero_ps();
    for chunk in x.chunks(LANES) {
        // SAFETY: masked to the chunk.
        let x = unsafe { _mm512_maskz_loadu_ps(mask(chunk.len()), chunk.as_ptr()) };
        lanes = _mm512_fmadd_ps(x, x, lanes);
    }
    let mean = _mm512_reduce_add_ps(lanes) / x.len() as f32;
    let scale = 1.0 / (mean + eps).sqrt();
    for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn silu_mul_row(gate: &[f32], up: &[f32], out: &mut [f32]) {
    let one = _mm512_set1_ps(1.0);
    let minus_log2_e = _mm512_set1_ps(-std::f32::consts::LOG2_E);
    for ((gate, up), out) in gate.chunks(LANES).zip(up.chunks(LANES)).zip(out.chunks_mut(LANES)) {
        let mask = mask(out.len());
        // SAFETY: masked to the chunks, which are equally long.
        let (gate, up) = unsafe {
            (_mm512_maskz_loadu_ps(mask, gate.as_ptr()), _mm512_maskz_loadu_ps(mask, up.as_ptr()))
        };
        // e^−|x| never overflows; the two signs share it.
        let decay = exp2(_mm512_mul_ps(_mm512_abs_ps(gate), minus_log2_e));
        let negative = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(gate, _mm512_setzero_ps());
        let numerator = _mm512_mask_blend_ps(negative, one, decay);
        let sigmoid = _mm512_div_ps(numerator, _mm512_add_ps(one, decay));
        let product = _mm512_mul_ps(_mm512_mul_ps(gate, sigmoid), up);
        // SAFETY: masked to the chunk.
        unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, product) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn store_bf16(x: &[f32], out: &mut [u16]) {
    for (x, out) in x.chunks(LANES).zip(out.chunks_mut(LANES)) {
        let mask = mask(out.len());
        // SAFETY: masked to the chunk.
        let rounded = _mm512_cvtneps_pbh(unsafe { _mm512_maskz_loadu_ps(mask, x.as_ptr()) });
        // SAFETY: both are 32 bytes without padding or invalid values.
        let bits = unsafe { std::mem::transmute::<__m256bh, __m256i>(rounded) };
        // SAFETY: masked to the chunk.
        unsafe { _mm256_mask_storeu_epi16(out.as_mut_ptr().cast(), mask, bits) };
    }
}

/// 128 magnitudes fill four registers: two lookups of 64 each, the right one chosen by bit 6.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn widen_fp8(table: &Widen, codes: &[u8], out: &mut [u16]) {
    // SAFETY: the table has 256 entries, and 32 fill a register.
    let magnitudes: [__m512i; 4] = std::array::from_fn(|i| unsafe {
        _mm512_loadu_si512(table.bits.as_ptr().add(32 * i).cast())
    });
    // Without a negative zero, its code is NaN's.
    let minus_zero = _mm512_set1_epi16(table.bits[0x80] as i16);
    for (codes, out) in codes.chunks(2 * LANES).zip(out.chunks_mut(2 * LANES)) {
        let mask = ((1_u64 << codes.len()) - 1) as __mmask32;
        // SAFETY: masked to the chunk.
        let narrow = unsafe { _mm256_maskz_loadu_epi8(mask, codes.as_ptr().cast()) };
        let code = _mm512_cvtepu8_epi16(narrow);
        let below = _mm512_permutex2var_epi16(magnitudes[0], code, magnitudes[1]);
        let above = _mm512_permutex2var_epi16(magnitudes[2], code, magnitudes[3]);
        let is_above = _mm512_test_epi16_mask(code, _mm512_set1_epi16(0x40));
        let magnitude = _mm512_mask_blend_epi16(is_above, below, above);
        let sign = _mm512_slli_epi16::<8>(_mm512_and_si512(code, _mm512_set1_epi16(0x80)));
        let wide = _mm512_or_si512(magnitude, sign);
        let is_minus_zero = _mm512_cmpeq_epi16_mask(code, _mm512_set1_epi16(0x80));
        let wide = _mm512_mask_blend_epi16(is_minus_zero, wide, minus_zero);
        // SAFETY: masked to the chunk.
        unsafe { _mm512_mask_storeu_epi16(out.as_mut_ptr().cast(), mask, wide) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn round_f16(x: &mut [f32]) {
    for x in x.chunks_mut(LANES) {
        let mask = mask(x.len());
        // SAFETY: masked to the chunk.
        let wide = unsafe { _mm512_maskz_loadu_ps(mask, x.as_ptr()) };
        let narrow = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(wide);
        // SAFETY: masked to the chunk.
        unsafe { _mm512_mask_storeu_ps(x.as_mut_ptr(), mask, _mm512_cvtph_ps(narrow)) };
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn place_keys(rows: &[[u8; 4]], num_groups: usize, block_size: usize, head: *mut [u8; 4]) {
    assert!(rows.len() == LANES * num_groups && num_groups.is_multiple_of(LANES));
    debug_assert!(head.addr().is_multiple_of(size_of::<__m512i>()));
    for first in (0..num_groups).step_by(LANES) {
        let mut square = [_mm512_setzero_si512(); LANES];
        for (row, lanes) in square.iter_mut().enumerate() {
            // SAFETY: `rows` has this row, and 16 groups of it from `first` on.
            *lanes =
                unsafe { _mm512_loadu_si512(rows.as_ptr().add(row * num_groups + first).cast()) };
        }
        for (group, lanes) in transpose(square).into_iter().enumerate() {
            // SAFETY: the line of this group is inside the kv_block and aligned, says the caller.
            unsafe { _mm512_stream_si512(head.add((first + group) * block_size).cast(), lanes) };
        }
    }
}

/// 16 × 16 words, rows to columns: pairs of rows, then fours, eights and all.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let mut twos = rows;
    for (two, row) in twos.chunks_exact_mut(2).zip(rows.chunks_exact(2)) {
        two[0] = _mm512_unpacklo_epi32(row[0], row[1]);
        two[1] = _mm512_unpackhi_epi32(row[0], row[1]);
    }
    let mut fours = twos;
    for (four, two) in fours.chunks_exact_mut(4).zip(twos.chunks_exact(4)) {
        four[0] = _mm512_unpacklo_epi64(two[0], two[2]);
        four[1] = _mm512_unpackhi_epi64(two[0], two[2]);
        four[2] = _mm512_unpacklo_epi64(two[1], two[3]);
        four[3] = _mm512_unpackhi_epi64(two[1], two[3]);
    }
    let mut columns = fours;
    for i in 0..4 {
        // Lane l of `fours[4 r + i]` has rows 4 r.. of column 4 l + i.
        let [a, b, c, d] = [fours[i], fours[4 + i], fours[8 + i], fours[12 + i]];
        let (ab_even, ab_odd) =
            (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) =
            (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        columns[i] = _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even);
        columns[4 + i] = _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd);
        columns[8 + i] = _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even);
        columns[12 + i] = _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd);
    }
    columns
}

#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn place_values(first: &[[u8; 2]], second: &[[u8; 2]], out: *mut [u8; 2]) {
    const HALVES: usize = 2 * LANES;
    assert!(first.len() == second.len() && first.len().is_multiple_of(HALVES));
    debug_assert!(out.addr().is_multiple_of(size_of::<__m512i>()));
    let low: [u16; HALVES] = std::array::from_fn(|i| (i / 2 + i % 2 * HALVES) as u16);
    // SAFETY: 64 bytes.
    let low = unsafe { _mm512_loadu_si512(low.as_ptr().cast()) };
    let high = _mm512_add_epi16(low, _mm512_set1_epi16(LANES as i16));
    for at in (0..first.len()).step_by(HALVES) {
        // SAFETY: both rows have 32 elements from `at` on; `out` has twice as many from twice there on and is aligned,
        // says the caller.
        unsafe {
            let a = _mm512_loadu_si512(first.as_ptr().add(at).cast());
            let b = _mm512_loadu_si512(second.as_ptr().add(at).cast());
            let out = out.add(2 * at).cast::<__m512i>();
            _mm512_stream_si512(out, _mm512_permutex2var_epi16(a, low, b));
            _mm512_stream_si512(out.add(1), _mm512_permutex2var_epi16(a, high, b));
        }
    }
}

fn finish_placing() {
    // SAFETY: every x86-64 has SSE.
    unsafe { _mm_sfence() };
}
