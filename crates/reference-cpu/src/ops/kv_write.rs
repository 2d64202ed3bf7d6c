//! Storing keys and values in the paged cache.

use engine_core::kv_dtype::KvDType;
use engine_core::ops::Cols;

/// `pool[slot_mapping[t], h, :] = dtype.round(kv[t, h, :] / scales[h])`; rows whose slot is −1 are
/// skipped.
///
/// `kv` `[num_tokens, num_kv_heads, head_dim]`, `scales` `[num_kv_heads]` and `pool` `[num_slots,
/// num_kv_heads, head_dim]`: the keys or the values of one layer.
pub fn kv_write(
    slot_mapping: &[i64],
    kv: Cols<&[f32]>,
    head_dim: usize,
    (dtype, scales): (KvDType, &[f32]),
    pool: &mut [f32],
) {
    let width = scales.len() * head_dim;
    for (&slot, row) in slot_mapping.iter().zip(kv.buffer.chunks(kv.stride)) {
        let Ok(slot) = usize::try_from(slot) else {
            continue;
        };
        let heads = row[kv.first_col..kv.first_col + width].chunks(head_dim);
        let stored = pool[slot * width..(slot + 1) * width].chunks_mut(head_dim);
        for ((stored, head), &scale) in stored.zip(heads).zip(scales) {
            for (stored, &value) in stored.iter_mut().zip(head) {
                *stored = dtype.round(value / scale);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_core::dtype::DType;
    use engine_core::formats::Fp8Format;

    #[test]
    fn rounds_into_the_slots_and_skips_minus_one() {
        let kv = [9.0, 1.0, 9.0, 2.0, 9.0, 1.003];
        let mut pool = [0.0, -5.0, 0.0];
        let view = Cols { buffer: &kv[..], first_col: 1, stride: 2 };
        kv_write(&[2, -1, 0], view, 1, (DType::BF16.into(), &[1.0]), &mut pool);
        assert_eq!(pool, [1.0, -5.0, 1.0]);
    }

    #[test]
    fn each_head_is_divided_by_its_scale() {
        let kv = [3.0, 1000.0, 3.0, 1000.0];
        let mut pool = [0.0; 4];
        let view = Cols { buffer: &kv[..], first_col: 0, stride: 4 };
        kv_write(&[0], view, 2, (KvDType::Fp8(Fp8Format::E4m3Fnuz), &[2.0, 5.0]), &mut pool);
        // 500 saturates; 0.6 is nearer to 0.625 than to 0.5625; 200 lies between 192 and 208.
        assert_eq!(pool, [1.5, 240.0, 0.625, 192.0]);
    }
}
