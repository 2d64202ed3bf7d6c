//! The upper half of an f32.

/// The value of a bf16; exact.
#[inline(always)]
pub const fn to_f32(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

/// The nearest bf16, ties to even; a NaN is quieted.
#[inline(always)]
pub const fn from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    (if value.is_nan() { bits >> 16 | 0x40 } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn every_code_and_every_boundary_is_as_in_half() {
        for code in 0..=u16::MAX {
            let value = to_f32(code);
            assert_eq!(value.to_bits(), u32::from(code) << 16);
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let value = f32::from_bits(value.to_bits() | low);
                let (ours, theirs) = (from_f32(value), bf16::from_f32(value));
                assert!(
                    ours == theirs.to_bits() || theirs.is_nan() && to_f32(ours).is_nan(),
                    "{value:e}"
                );
            }
        }
    }
}
