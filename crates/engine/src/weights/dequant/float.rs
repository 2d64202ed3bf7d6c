//! Unquantized rows: little-endian floats.

/// f32, as stored.
pub(super) fn f32_row(row: &[u8], out: &mut [f32]) {
    for (bytes, x) in row.as_chunks::<4>().0.iter().zip(out) {
        *x = f32::from_le_bytes(*bytes);
    }
}

/// bf16 is the upper half of an f32.
pub(super) fn bf16_row(row: &[u8], out: &mut [f32]) {
    for (bytes, x) in row.as_chunks::<2>().0.iter().zip(out) {
        *x = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}

/// f16.
pub(super) fn f16_row(row: &[u8], out: &mut [f32]) {
    for (bytes, x) in row.as_chunks::<2>().0.iter().zip(out) {
        *x = widen_f16(u16::from_le_bytes(*bytes));
    }
}

/// Exact for every f16, NaN payloads included, and without branches, so that loops over it become
/// vector code on every machine: the `half` crate's conversion does so only where F16C is known at
/// compile time.
pub(super) fn widen_f16(bits: u16) -> f32 {
    const EXPONENT: u32 = 0x7f80_0000;
    // f16 bias 15, f32 bias 127.
    const TWO_POW_112: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // Subnormals come out right too: the product normalises them.
    let finite = (f32::from_bits(magnitude) * TWO_POW_112).to_bits();
    let infinite_or_nan = if bits & 0x7c00 == 0x7c00 { EXPONENT } else { 0 };
    f32::from_bits(finite | infinite_or_nan | u32::from(bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_widens_as_half_does() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            let found = widen_f16(bits);
            if expected.is_nan() {
                assert!(found.is_nan(), "{bits:#06x}");
            } else {
                assert_eq!(found.to_bits(), expected.to_bits(), "{bits:#06x}");
            }
        }
    }

    #[test]
    fn every_bf16_is_the_upper_half_of_an_f32() {
        for bits in 0..=u16::MAX {
            let mut out = [0.0];
            bf16_row(&bits.to_le_bytes(), &mut out);
            assert_eq!(out[0].to_bits(), u32::from(bits) << 16);
        }
    }
}
