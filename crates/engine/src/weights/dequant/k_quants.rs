//! ggml's "K" formats: super-blocks of 256 elements whose groups have small integer scales.

use super::legacy::scale_at;

/// Elements of a super-block.
pub(super) const BLOCK_LEN: usize = 256;
/// Scale, minimum, 12 bytes of packed 6-bit scales and minima, 128 nibble pairs.
pub(super) const Q4_K_BYTES: usize = 4 + Q4_K_SCALE_BYTES + BLOCK_LEN / 2;
/// Low nibbles, high bit pairs, 16 signed scales, scale.
pub(super) const Q6_K_BYTES: usize = BLOCK_LEN / 2 + BLOCK_LEN / 4 + Q6_K_GROUPS + 2;

const Q4_K_SCALE_BYTES: usize = 12;
const Q4_K_GROUPS: usize = 8;
const Q4_K_GROUP_LEN: usize = BLOCK_LEN / Q4_K_GROUPS;
const Q6_K_GROUPS: usize = 16;

/// `(d × scale) × nibble − (dmin × minimum)`. Each 32 bytes hold one group in the low nibbles and
/// the next in the high ones.
pub(super) fn q4_k_row(row: &[u8], out: &mut [f32]) {
    let blocks = row.as_chunks::<Q4_K_BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<BLOCK_LEN>().0) {
        let (d, d_min) = (scale_at(block, 0), scale_at(block, 2));
        let (packed, nibbles) = block[4..].split_at(Q4_K_SCALE_BYTES);
        let (scales, minima) = unpack_q4_k_scales(packed);
        let pairs = nibbles.as_chunks::<Q4_K_GROUP_LEN>().0;
        for (pair_idx, (bytes, out)) in
            pairs.iter().zip(out.as_chunks_mut::<{ 2 * Q4_K_GROUP_LEN }>().0).enumerate()
        {
            let (low, high) = out.split_at_mut(Q4_K_GROUP_LEN);
            let scale = |group: usize| d * f32::from(scales[group]);
            let minimum = |group: usize| d_min * f32::from(minima[group]);
            let (low_scale, low_minimum) = (scale(2 * pair_idx), minimum(2 * pair_idx));
            let (high_scale, high_minimum) = (scale(2 * pair_idx + 1), minimum(2 * pair_idx + 1));
            for ((&byte, low), high) in bytes.iter().zip(low).zip(high) {
                *low = low_scale * i32::from(byte & 15) as f32 - low_minimum;
                *high = high_scale * i32::from(byte >> 4) as f32 - high_minimum;
            }
        }
    }
}

/// Eight 6-bit scales and eight 6-bit minima from 12 bytes: the first four of each are the low
/// bits of bytes 0–3 and 4–7; the last four have their low nibbles in bytes 8–11 and their two
/// high bits in the tops of bytes 0–7.
fn unpack_q4_k_scales(packed: &[u8]) -> ([u8; Q4_K_GROUPS], [u8; Q4_K_GROUPS]) {
    let mut scales = [0; Q4_K_GROUPS];
    let mut minima = [0; Q4_K_GROUPS];
    for i in 0..4 {
        let (a, b, nibbles) = (packed[i], packed[4 + i], packed[8 + i]);
        scales[i] = a & 63;
        minima[i] = b & 63;
        scales[4 + i] = (nibbles & 15) | ((a >> 2) & 0x30);
        minima[4 + i] = (nibbles >> 4) | ((b >> 2) & 0x30);
    }
    (scales, minima)
}

/// `(d × scale) × (six bits − 32)`. Half a super-block is 128 elements in four runs of 32: the
/// runs' low nibbles are the low and then the high halves of 64 bytes, their high bits the four
/// bit pairs of 32 bytes.
pub(super) fn q6_k_row(row: &[u8], out: &mut [f32]) {
    const LOW: usize = BLOCK_LEN / 2;
    const HIGH: usize = BLOCK_LEN / 4;
    let blocks = row.as_chunks::<Q6_K_BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<BLOCK_LEN>().0) {
        let (low, rest) = block.split_at(LOW);
        let (high, rest) = rest.split_at(HIGH);
        let d = scale_at(rest, Q6_K_GROUPS);
        let scales: [f32; Q6_K_GROUPS] = std::array::from_fn(|i| d * f32::from(rest[i] as i8));
        for (run_idx, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (half, run) = (run_idx / 4, run_idx % 4);
            let low = &low[half * 64 + (run % 2) * 32..][..32];
            let high = &high[half * 32..][..32];
            let (low_shift, high_shift) = (4 * (run / 2), 2 * run);
            for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let scale = scales[2 * run_idx + group];
                let low = &low[16 * group..][..16];
                let high = &high[16 * group..][..16];
                for ((&low, &high), x) in low.iter().zip(high).zip(out) {
                    let six_bits = (low >> low_shift) & 15 | ((high >> high_shift) & 3) << 4;
                    *x = scale * (i32::from(six_bits) - 32) as f32;
                }
            }
        }
    }
}
