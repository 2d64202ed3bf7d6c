//! Values of the cache as the bytes of their format, and back: exact both ways, payloads of NaN
//! included.

use engine_core::dtype::DType;

/// Writes `values`, which `dtype` represents, in its format; `out` has just the room.
pub(super) fn to_bytes(dtype: DType, values: &[f32], out: &mut [u8]) {
    let size_bytes = dtype.size_bytes();
    for (&value, out) in values.iter().zip(out.chunks_exact_mut(size_bytes)) {
        out.copy_from_slice(&code_of(dtype, value).to_le_bytes()[..size_bytes]);
    }
}

/// The values that [`to_bytes`] wrote.
pub(super) fn from_bytes(dtype: DType, bytes: &[u8], values: &mut [f32]) {
    let size_bytes = dtype.size_bytes();
    for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(size_bytes)) {
        let mut code = [0; 4];
        code[..size_bytes].copy_from_slice(bytes);
        *value = value_of(dtype, u32::from_le_bytes(code));
    }
}

/// The code of a number that `dtype` represents. NaN keeps the leading bits of its payload.
fn code_of(dtype: DType, value: f32) -> u32 {
    let bits = value.to_bits();
    match dtype {
        DType::F32 => bits,
        DType::BF16 => bits >> 16,
        DType::F16 if value.is_nan() => bits >> 16 & 0x8000 | 0x7c00 | bits >> 13 & 0x03ff,
        DType::F16 => u32::from(half::f16::from_f32(value).to_bits()),
    }
}

fn value_of(dtype: DType, code: u32) -> f32 {
    match dtype {
        DType::F32 => f32::from_bits(code),
        DType::BF16 => f32::from_bits(code << 16),
        // Widened by hand: conversions make signalling NaN quiet.
        DType::F16 if code & 0x7fff > 0x7c00 => {
            f32::from_bits((code & 0x8000) << 16 | 0x7f80_0000 | (code & 0x03ff) << 13)
        }
        DType::F16 => half::f16::from_bits(code as u16).to_f32(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back() {
        for dtype in [DType::F16, DType::BF16] {
            for code in 0..=0xffff {
                let value = value_of(dtype, code);
                assert_eq!(code_of(dtype, value), code, "{dtype}: {value}");
                assert!(value.is_nan() || dtype.round(value).to_bits() == value.to_bits());
            }
        }
    }
}
