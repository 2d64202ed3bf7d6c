//! Storing keys and values in the paged cache.

use engine_core::dtype::DType;
use engine_core::ops::Cols;

/// `pool[slot_mapping[t], :] = dtype.round(kv[t, :])`; rows whose slot is −1 are skipped.
///
/// `kv` `[num_tokens, width]` and `pool` `[num_slots, width]` with
/// `width = num_kv_heads · head_dim`: the keys or the values of one layer.
pub fn kv_write(
    slot_mapping: &[i64],
    kv: Cols<&[f32]>,
    width: usize,
    dtype: DType,
    pool: &mut [f32],
) {
    for (&slot, row) in slot_mapping.iter().zip(kv.buffer.chunks(kv.stride)) {
        let Ok(slot) = usize::try_from(slot) else {
            continue;
        };
        let row = &row[kv.first_col..kv.first_col + width];
        for (stored, &value) in pool[slot * width..(slot + 1) * width].iter_mut().zip(row) {
            *stored = dtype.round(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_into_the_slots_and_skips_minus_one() {
        let kv = [9.0, 1.0, 9.0, 2.0, 9.0, 1.003];
        let mut pool = [0.0, -5.0, 0.0];
        let view = Cols { buffer: &kv[..], first_col: 1, stride: 2 };
        kv_write(&[2, -1, 0], view, 1, DType::BF16, &mut pool);
        assert_eq!(pool, [1.0, -5.0, 1.0]);
    }
}
