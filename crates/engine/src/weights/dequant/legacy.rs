//! ggml's first quantized formats: 32 elements under one f16 scale.
//!
//! A nibble block of 16 bytes holds elements 0–15 in the low and 16–31 in the high halves.

use super::float::widen_f16;

/// Elements of a block.
pub(super) const BLOCK_LEN: usize = 32;
/// Scale, 16 nibble pairs.
pub(super) const Q4_0_BYTES: usize = 2 + BLOCK_LEN / 2;
/// Scale, minimum, 16 nibble pairs.
pub(super) const Q4_1_BYTES: usize = 4 + BLOCK_LEN / 2;
/// Scale, 32 bytes.
pub(super) const Q8_0_BYTES: usize = 2 + BLOCK_LEN;

/// `scale × (nibble − 8)`.
pub(super) fn q4_0_row(row: &[u8], out: &mut [f32]) {
    let blocks = row.as_chunks::<Q4_0_BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<BLOCK_LEN>().0) {
        let scale = scale_at(block, 0);
        let (low, high) = out.split_at_mut(BLOCK_LEN / 2);
        for ((&byte, low), high) in block[2..].iter().zip(low).zip(high) {
            *low = scale * (i32::from(byte & 15) - 8) as f32;
            *high = scale * (i32::from(byte >> 4) - 8) as f32;
        }
    }
}

/// `scale × nibble + minimum`.
pub(super) fn q4_1_row(row: &[u8], out: &mut [f32]) {
    let blocks = row.as_chunks::<Q4_1_BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<BLOCK_LEN>().0) {
        let (scale, minimum) = (scale_at(block, 0), scale_at(block, 2));
        let (low, high) = out.split_at_mut(BLOCK_LEN / 2);
        for ((&byte, low), high) in block[4..].iter().zip(low).zip(high) {
            *low = scale * i32::from(byte & 15) as f32 + minimum;
            *high = scale * i32::from(byte >> 4) as f32 + minimum;
        }
    }
}

/// `scale × byte`.
pub(super) fn q8_0_row(row: &[u8], out: &mut [f32]) {
    let blocks = row.as_chunks::<Q8_0_BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<BLOCK_LEN>().0) {
        let scale = scale_at(block, 0);
        for (&byte, x) in block[2..].iter().zip(out) {
            *x = scale * i32::from(byte as i8) as f32;
        }
    }
}

/// The f16 at byte `at`, widened.
pub(super) fn scale_at(block: &[u8], at: usize) -> f32 {
    widen_f16(u16::from_le_bytes([block[at], block[at + 1]]))
}
