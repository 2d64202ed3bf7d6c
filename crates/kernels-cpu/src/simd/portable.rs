//! Plain Rust: the same bits everywhere. Multiplies and adds are separate roundings, loops run over
//! 16 lanes so that the compiler can use whatever registers the target has.

use engine_core::dtype::DType;

use crate::fp8::Widen;

use super::{EXP2_POLY, Finish, Kernels, LANES, SoftmaxRow, Tile};

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

type Lanes = [f32; LANES];

/// One row of one panel at a time: 16 sums and the operands are what 16 registers of four lanes hold.
macro_rules! tile_kernel {
    ($name:ident, $b:ty, $group:literal, $widen:expr) => {
        unsafe fn $name(tile: &Tile) {
            for p in 0..tile.panels() {
                for r in 0..tile.rows {
                    let mut acc: Lanes = [0.0; LANES];
                    if tile.finish == Finish::Continue {
                        // SAFETY: `c` is readable for rows × cols.
                        acc = unsafe { load_c(tile, r, p) };
                    }
                    // SAFETY: row r < rows has `steps` steps of `$group` f32.
                    let a = unsafe {
                        let row = tile.a.add(r * tile.a_stride).cast::<[f32; $group]>();
                        std::slice::from_raw_parts(row, tile.steps)
                    };
                    for (step, a) in a.iter().enumerate() {
                        // SAFETY: step < steps, and a panel's step is one whole line.
                        let b = unsafe { &*tile.b[p].add(step * tile.b_stride).cast::<$b>() };
                        let b: [Lanes; $group] = $widen(b);
                        for (a, b) in a.iter().zip(&b) {
                            for lane in 0..LANES {
                                acc[lane] += a * b[lane];
                            }
                        }
                    }
                    // SAFETY: `c` is writable for rows × cols, `bias` readable for its columns.
                    unsafe { finish(tile, r, p, &acc) };
                }
            }
        }
    };
}

tile_kernel!(tile_f32, [f32; LANES], 1, |b: &[f32; LANES]| [*b]);
tile_kernel!(tile_f16, [u16; LANES], 1, |b: &[u16; LANES]| [b.map(widen_f16)]);
tile_kernel!(tile_bf16, [u32; LANES], 2, |b: &[u32; LANES]| [
    b.map(|pair| f32::from_bits(pair << 16)),
    b.map(|pair| f32::from_bits(pair & 0xffff_0000)),
]);

/// A binary16 in f32, without a branch, so that loops vectorise: the exponent is rebased by a
/// multiplication, which is exact for subnormals too.
fn widen_f16(bits: u16) -> f32 {
    const REBASE: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * REBASE;
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | u32::from(bits & 0x8000) << 16)
}

unsafe fn load_c(tile: &Tile, r: usize, p: usize) -> Lanes {
    let mut lanes = [0.0; LANES];
    for (lane, x) in lanes.iter_mut().enumerate().take(tile.panel_cols(p)) {
        // SAFETY: row r < rows and the column exists.
        *x = unsafe { *tile.c.add(r * tile.c_stride + p * LANES + lane) };
    }
    lanes
}

unsafe fn finish(tile: &Tile, r: usize, p: usize, lanes: &Lanes) {
    for (lane, &sum) in lanes.iter().enumerate().take(tile.panel_cols(p)) {
        let col = p * LANES + lane;
        // SAFETY: `bias` has this column, if it is there at all.
        let bias = if tile.bias.is_null() { None } else { Some(unsafe { *tile.bias.add(col) }) };
        let sum = bias.map_or(sum, |bias| sum + bias);
        // SAFETY: row r < rows and the column exists.
        let c = unsafe { &mut *tile.c.add(r * tile.c_stride + col) };
        *c = if tile.finish == Finish::AddTo { *c + sum } else { sum };
    }
}

/// 2^x for x ≤ 0, 0 below −126. Adding 1.5·2²³ rounds to the nearest integer in the low bits.
fn exp2(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.max(-126.0);
    let shifted = clamped + ROUND;
    let fraction = clamped - (shifted - ROUND);
    let mut power = EXP2_POLY[7];
    for &coefficient in EXP2_POLY[..7].iter().rev() {
        power = power * fraction + coefficient;
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    let scaled = f32::from_bits(power.to_bits().wrapping_add(exponent << 23));
    if x < -126.0 { 0.0 } else { scaled }
}

/// Sums lanes in a fixed tree: halves onto halves.
fn reduce(mut lanes: Lanes, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

unsafe fn softmax_row(row: SoftmaxRow<'_>) {
    let SoftmaxRow { scores, valid, scale_log2, max, sum, out } = row;
    for (col, score) in scores.iter_mut().enumerate() {
        *score = if valid.contains(&col) { *score * scale_log2 } else { f32::NEG_INFINITY };
    }
    let mut lane_max = [f32::NEG_INFINITY; LANES];
    for panel in scores.chunks_exact(LANES) {
        lane_max.iter_mut().zip(panel).for_each(|(max, &score)| *max = max.max(score));
    }
    let new_max = max.max(reduce(lane_max, f32::max));
    if new_max == f32::NEG_INFINITY {
        scores.fill(0.0);
        return;
    }
    let rescale = exp2(*max - new_max);
    let mut lane_sum = [0.0; LANES];
    for panel in scores.chunks_exact_mut(LANES) {
        for (sum, score) in lane_sum.iter_mut().zip(panel) {
            *score = exp2(*score - new_max);
            *sum += *score;
        }
    }
    *sum = *sum * rescale + reduce(lane_sum, |x, y| x + y);
    *max = new_max;
    out.iter_mut().for_each(|x| *x *= rescale);
}

unsafe fn rms_norm_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut lanes = [0.0; LANES];
    for chunk in x.chunks(LANES) {
        lanes.iter_mut().zip(chunk).for_each(|(sum, &x)| *sum += x * x);
    }
    let mean = reduce(lanes, |x, y| x + y) / x.len() as f32;
    let scale = 1.0 / (mean + eps).sqrt();
    for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

unsafe fn silu_mul_row(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        // e^−|x| never overflows; the two signs share it.
        let decay = exp2(-gate.abs() * std::f32::consts::LOG2_E);
        let numerator = if gate < 0.0 { decay } else { 1.0 };
        *out = gate * (numerator / (1.0 + decay)) * up;
    }
}

unsafe fn store_bf16(x: &[f32], out: &mut [u16]) {
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = crate::matrix::bf16_bits(x));
}

unsafe fn widen_fp8(table: &Widen, codes: &[u8], out: &mut [u16]) {
    out.iter_mut().zip(codes).for_each(|(out, &code)| *out = table.bits[usize::from(code)]);
}

unsafe fn round_f16(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = DType::F16.round(*x));
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn every_f16_widens_as_half_does() {
        for bits in 0..=u16::MAX {
            let (wide, expected) = (widen_f16(bits), f16::from_bits(bits).to_f32());
            assert!(wide == expected || wide.is_nan() && expected.is_nan(), "{bits:#06x}");
        }
    }

    #[test]
    fn exp2_is_within_two_ulps() {
        for step in 0..=126_000 {
            let x = -(step as f32) / 1000.0;
            let expected = f64::from(x).exp2();
            let error = (f64::from(exp2(x)) - expected).abs() / expected;
            assert!(error <= 2.0 * f64::from(f32::EPSILON), "2^{x}: relative error {error:e}");
        }
        assert_eq!(exp2(-127.0), 0.0);
        assert_eq!(exp2(f32::NEG_INFINITY), 0.0);
    }
}
