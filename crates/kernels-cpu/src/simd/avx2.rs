//! AVX2, FMA and F16C: a panel is two registers of 8 f32.

use std::arch::x86_64::*;

use crate::fp8::Widen;

use super::{EXP2_POLY, Finish, Kernels, LANES, SoftmaxRow, TILE_COLS, Tile, dispatch_tile};

pub(super) const KERNELS: Kernels = Kernels {
    native_bf16: false,
    tile_f32,
    tile_f16,
    tile_bf16,
    softmax_row,
    rms_norm_row,
    silu_mul_row,
    store_bf16,
    widen_fp8,
    round_f16,
    place_kv: None,
};

/// f32 lanes of one register.
const HALF: usize = LANES / 2;

/// Panel by panel: 6 × 2 accumulators, two operands and a broadcast fill 15 of 16 registers.
/// `$group` values of k per step, each with its own `$b_load` of 8 lanes.
macro_rules! tile_kernel {
    ($name:ident, $kernel:ident, $group:literal, $b_load:expr) => {
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn $name(tile: &Tile) {
            dispatch_tile!(tile, $kernel, [1 2 3 4 5 6], [1 2 3 4])
        }

        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn $kernel<const R: usize, const P: usize>(tile: &Tile) {
            for p in 0..P {
                let mut acc = [[_mm256_setzero_ps(); 2]; R];
                if tile.finish == Finish::Continue {
                    for (r, row) in acc.iter_mut().enumerate() {
                        for (half, lanes) in row.iter_mut().enumerate() {
                            // SAFETY: masked to columns that exist.
                            *lanes = unsafe {
                                _mm256_maskload_ps(c(tile, r, p, half), mask(tile, p, half))
                            };
                        }
                    }
                }
                for step in 0..tile.steps {
                    // SAFETY: step < steps, and a panel's step is one whole line.
                    let line = unsafe { tile.b[p].add(step * tile.b_stride) };
                    for g in 0..$group {
                        // SAFETY: inside the line.
                        let b: [__m256; 2] = unsafe { [$b_load(line, 0, g), $b_load(line, 1, g)] };
                        for (r, row) in acc.iter_mut().enumerate() {
                            // SAFETY: row r < rows has `steps` steps of `$group` f32.
                            let a = unsafe {
                                let step = tile.a.add(r * tile.a_stride).cast::<[f32; $group]>().add(step);
                                _mm256_broadcast_ss(&(*step)[g])
                            };
                            row[0] = _mm256_fmadd_ps(a, b[0], row[0]);
                            row[1] = _mm256_fmadd_ps(a, b[1], row[1]);
                        }
                    }
                }
                for (r, row) in acc.iter().enumerate() {
                    for (half, &lanes) in row.iter().enumerate() {
                        // SAFETY: `c` is writable for rows × cols, `bias` readable for its columns.
                        unsafe { finish(tile, r, p, half, lanes) };
                    }
                }
            }
        }
    };
}

tile_kernel!(tile_f32, tile_f32_sized, 1, |line: *const u8, half: usize, _: usize| {
    _mm256_loadu_ps(line.cast::<f32>().add(half * HALF))
});
tile_kernel!(tile_f16, tile_f16_sized, 1, |line: *const u8, half: usize, _: usize| {
    _mm256_cvtph_ps(_mm_loadu_si128(line.cast::<__m128i>().add(half)))
});
tile_kernel!(tile_bf16, tile_bf16_sized, 2, |line: *const u8, half: usize, g: usize| {
    let pairs = _mm256_loadu_si256(line.cast::<__m256i>().add(half));
    let low = _mm256_slli_epi32::<16>(pairs);
    let high = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32 as i32));
    _mm256_castsi256_ps(if g == 0 { low } else { high })
});

/// All ones in the lanes of this half panel whose columns exist.
#[inline]
#[target_feature(enable = "avx2")]
fn mask(tile: &Tile, p: usize, half: usize) -> __m256i {
    first_lanes(tile.panel_cols(p).saturating_sub(half * HALF))
}

/// All ones in the first `count` of 8 lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn first_lanes(count: usize) -> __m256i {
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count.min(HALF) as i32), lane)
}

/// Row `r`, half `half` of panel `p` of `c`.
#[inline]
unsafe fn c(tile: &Tile, r: usize, p: usize, half: usize) -> *mut f32 {
    // `wrapping_add`: the second half of a narrow last panel may begin past `c`; it is never touched.
    tile.c.wrapping_add(r * tile.c_stride + p * LANES + half * HALF)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn finish(tile: &Tile, r: usize, p: usize, half: usize, sums: __m256) {
    let mask = mask(tile, p, half);
    // SAFETY: inside the tile, says the caller.
    let c = unsafe { c(tile, r, p, half) };
    let mut sums = sums;
    if !tile.bias.is_null() {
        let bias = tile.bias.wrapping_add(p * LANES + half * HALF);
        // SAFETY: masked to columns that exist.
        sums = _mm256_add_ps(sums, unsafe { _mm256_maskload_ps(bias, mask) });
    }
    if tile.finish == Finish::AddTo {
        // SAFETY: masked to columns that exist.
        sums = _mm256_add_ps(unsafe { _mm256_maskload_ps(c, mask) }, sums);
    }
    // SAFETY: masked to columns that exist.
    unsafe { _mm256_maskstore_ps(c, mask, sums) };
}

/// 2^x for x ≤ 0; 0 below −126.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn exp2(x: __m256) -> __m256 {
    let lowest = _mm256_set1_ps(-126.0);
    let in_range = _mm256_cmp_ps::<_CMP_GE_OQ>(x, lowest);
    let clamped = _mm256_max_ps(x, lowest);
    let whole = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(clamped);
    let fraction = _mm256_sub_ps(clamped, whole);
    let mut power = _mm256_set1_ps(EXP2_POLY[7]);
    for &coefficient in EXP2_POLY[..7].iter().rev() {
        power = _mm256_fmadd_ps(power, fraction, _mm256_set1_ps(coefficient));
    }
    let exponent = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(whole));
    let scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(power), exponent));
    _mm256_and_ps(scaled, in_range)
}

/// Sums (or joins) 8 lanes in a fixed tree: halves onto halves.
#[inline]
#[target_feature(enable = "avx2")]
fn reduce(lanes: __m256, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut parts = [0.0_f32; HALF];
    // SAFETY: `parts` has 8 elements.
    unsafe { _mm256_storeu_ps(parts.as_mut_ptr(), lanes) };
    let mut width = HALF / 2;
    while width > 0 {
        for lane in 0..width {
            parts[lane] = join(parts[lane], parts[lane + width]);
        }
        width /= 2;
    }
    parts[0]
}

#[target_feature(enable = "avx2,fma")]
unsafe fn softmax_row(row: SoftmaxRow<'_>) {
    let SoftmaxRow { scores, valid, scale_log2, max, sum, out } = row;
    let negative_infinity = _mm256_set1_ps(f32::NEG_INFINITY);
    let mut lane_max = negative_infinity;
    for chunk_idx in 0..TILE_COLS / HALF {
        let first = chunk_idx * HALF;
        let before_end = first_lanes(valid.end.saturating_sub(first));
        let before_start = first_lanes(valid.start.saturating_sub(first));
        let keep = _mm256_castsi256_ps(_mm256_andnot_si256(before_start, before_end));
        // SAFETY: `scores` has 64 elements.
        unsafe {
            let chunk = scores.as_mut_ptr().add(first);
            let scaled = _mm256_mul_ps(_mm256_loadu_ps(chunk), _mm256_set1_ps(scale_log2));
            let masked = _mm256_blendv_ps(negative_infinity, scaled, keep);
            _mm256_storeu_ps(chunk, masked);
            lane_max = _mm256_max_ps(lane_max, masked);
        }
    }
    let new_max = max.max(reduce(lane_max, f32::max));
    if new_max == f32::NEG_INFINITY {
        scores.fill(0.0);
        return;
    }
    let rescale = _mm256_cvtss_f32(exp2(_mm256_set1_ps(*max - new_max)));
    let mut lane_sum = _mm256_setzero_ps();
    for chunk in scores.chunks_exact_mut(HALF) {
        // SAFETY: a chunk has 8 elements.
        let score = unsafe { _mm256_loadu_ps(chunk.as_ptr()) };
        let probabilities = exp2(_mm256_sub_ps(score, _mm256_set1_ps(new_max)));
        lane_sum = _mm256_add_ps(lane_sum, probabilities);
        // SAFETY: a chunk has 8 elements.
        unsafe { _mm256_storeu_ps(chunk.as_mut_ptr(), probabilities) };
    }
    *sum = *sum * rescale + reduce(lane_sum, |x, y| x + y);
    *max = new_max;
    for x in out {
        *x *= rescale;
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn rms_norm_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut lanes = _mm256_setzero_ps();
    for chunk in x.chunks(HALF) {
        // SAFETY: masked to the chunk.
        let x = unsafe { _mm256_maskload_ps(chunk.as_ptr(), first_lanes(chunk.len())) };
        lanes = _mm256_fmadd_ps(x, x, lanes);
    }
    let mean = reduce(lanes, |x, y| x + y) / x.len() as f32;
    let scale = 1.0 / (mean + eps).sqrt();
    for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn silu_mul_row(gate: &[f32], up: &[f32], out: &mut [f32]) {
    let one = _mm256_set1_ps(1.0);
    let sign = _mm256_set1_ps(-0.0);
    for ((gate, up), out) in gate.chunks(HALF).zip(up.chunks(HALF)).zip(out.chunks_mut(HALF)) {
        let mask = first_lanes(out.len());
        // SAFETY: masked to the chunks, which are equally long.
        let (gate, up) = unsafe {
            (_mm256_maskload_ps(gate.as_ptr(), mask), _mm256_maskload_ps(up.as_ptr(), mask))
        };
        // e^−|x| never overflows; the two signs share it.
        let minus_magnitude = _mm256_or_ps(gate, sign);
        let decay = exp2(_mm256_mul_ps(minus_magnitude, _mm256_set1_ps(std::f32::consts::LOG2_E)));
        // The sign bit of `gate` itself chooses.
        let numerator = _mm256_blendv_ps(one, decay, gate);
        let sigmoid = _mm256_div_ps(numerator, _mm256_add_ps(one, decay));
        let product = _mm256_mul_ps(_mm256_mul_ps(gate, sigmoid), up);
        // SAFETY: masked to the chunk.
        unsafe { _mm256_maskstore_ps(out.as_mut_ptr(), mask, product) };
    }
}

#[target_feature(enable = "avx2")]
unsafe fn store_bf16(x: &[f32], out: &mut [u16]) {
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = crate::matrix::bf16_bits(x));
}

/// From 8 to 0x77 the wide bits go up in equal steps; the eight magnitudes below (subnormals) and the
/// eight above (infinity and NaN) are looked up.
#[target_feature(enable = "avx2")]
unsafe fn widen_fp8(table: &Widen, codes: &[u8], out: &mut [u16]) {
    let bits = &table.bits;
    let step = bits[9] - bits[8];
    let shift = _mm_cvtsi32_si128(step.trailing_zeros() as i32);
    let offset = _mm256_set1_epi16(bits[8].wrapping_sub(8 * step) as i16);
    // SAFETY: eight entries fill 128 bits, and the table has 256.
    let [low_table, high_table] = [0, 0x78].map(|first: usize| unsafe {
        _mm256_broadcastsi128_si256(_mm_loadu_si128(bits.as_ptr().add(first).cast()))
    });
    let minus_zero = _mm256_set1_epi16(bits[0x80] as i16);
    let sign = _mm256_set1_epi16(0x80);
    let (whole, rest) = codes.split_at(codes.len() / LANES * LANES);
    let (whole_out, rest_out) = out.split_at_mut(whole.len());
    for (codes, out) in whole.chunks_exact(LANES).zip(whole_out.chunks_exact_mut(LANES)) {
        // SAFETY: a chunk has 16 codes.
        let code = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(codes.as_ptr().cast()) });
        let magnitude = _mm256_andnot_si256(sign, code);
        let middle = _mm256_add_epi16(_mm256_sll_epi16(magnitude, shift), offset);
        // The two bytes of entry i are 2i and 2i + 1.
        let entry = _mm256_and_si256(magnitude, _mm256_set1_epi16(7));
        let doubled = _mm256_mullo_epi16(entry, _mm256_set1_epi16(0x0202));
        let bytes = _mm256_add_epi16(doubled, _mm256_set1_epi16(0x0100));
        let low = _mm256_shuffle_epi8(low_table, bytes);
        let high = _mm256_shuffle_epi8(high_table, bytes);
        let is_low = _mm256_cmpgt_epi16(_mm256_set1_epi16(8), magnitude);
        let is_high = _mm256_cmpgt_epi16(magnitude, _mm256_set1_epi16(0x77));
        let wide = _mm256_blendv_epi8(_mm256_blendv_epi8(middle, low, is_low), high, is_high);
        let wide = _mm256_or_si256(wide, _mm256_slli_epi16::<8>(_mm256_and_si256(code, sign)));
        let wide = _mm256_blendv_epi8(wide, minus_zero, _mm256_cmpeq_epi16(code, sign));
        // SAFETY: a chunk has room for 16.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), wide) };
    }
    rest_out.iter_mut().zip(rest).for_each(|(out, &code)| *out = bits[usize::from(code)]);
}

#[target_feature(enable = "avx2,f16c")]
unsafe fn round_f16(x: &mut [f32]) {
    for x in x.chunks_mut(HALF) {
        let mask = first_lanes(x.len());
        // SAFETY: masked to the chunk.
        let wide = unsafe { _mm256_maskload_ps(x.as_ptr(), mask) };
        let narrow = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(wide);
        // SAFETY: masked to the chunk.
        unsafe { _mm256_maskstore_ps(x.as_mut_ptr(), mask, _mm256_cvtph_ps(narrow)) };
    }
}
