//! Number formats: what a conversion instruction, a packed one or a matrix one does to bits.
//!
//! All functions work on bit patterns, take no branches that depend on the data and can be inlined, so that a loop
//! over the lanes of a register vectorises.

pub mod bf16;
pub mod f16;
pub mod fp8;
mod narrow;

pub use f16::F16Rules;
pub use fp8::Fp8;

/// How a result that does not fit is rounded: the codes of MODE's FP_ROUND fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    /// To the nearest, ties to even.
    NearestEven,
    /// Toward +∞.
    Up,
    /// Toward −∞.
    Down,
    /// Toward zero.
    TowardZero,
}

impl Rounding {
    /// The rounding of a two-bit FP_ROUND field.
    pub const fn of(field: u32) -> Self {
        match field & 3 {
            0 => Self::NearestEven,
            1 => Self::Up,
            2 => Self::Down,
            _ => Self::TowardZero,
        }
    }
}

/// An f32 with a denormal replaced by a zero of its sign.
#[inline(always)]
pub const fn flush_f32(bits: u32) -> u32 {
    if bits & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits }
}

/// An f16 with a denormal replaced by a zero of its sign.
#[inline(always)]
pub const fn flush_f16(bits: u16) -> u16 {
    if bits & 0x7c00 == 0 { bits & 0x8000 } else { bits }
}

/// An f64 with a denormal replaced by a zero of its sign.
#[inline(always)]
pub const fn flush_f64(bits: u64) -> u64 {
    if bits & 0x7ff0_0000_0000_0000 == 0 { bits & 0x8000_0000_0000_0000 } else { bits }
}

/// An f32 as the XF32 matrix instructions read it: ten bits of mantissa, the rest cut off.
///
/// The manual says "round" (7.1.2); hardware was measured to truncate (arXiv 2511.10909). A NaN stays one.
#[inline(always)]
pub const fn xf32(bits: u32) -> u32 {
    let quiet = if bits & 0x7fff_ffff > 0x7f80_0000 { 0x0040_0000 } else { 0 };
    bits & 0xffff_e000 | quiet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushing_keeps_the_sign_and_everything_normal() {
        assert_eq!(
            [0x8000_0001, 0x007f_ffff, 0x0080_0000].map(flush_f32),
            [0x8000_0000, 0, 0x0080_0000]
        );
        assert_eq!([0x83ff, 0x0001, 0x0400].map(flush_f16), [0x8000, 0, 0x0400]);
        assert_eq!(flush_f64(0x800f_ffff_ffff_ffff), 0x8000_0000_0000_0000);
        assert_eq!(flush_f64(0x0010_0000_0000_0000), 0x0010_0000_0000_0000);
    }

    #[test]
    fn xf32_truncates_and_keeps_nan() {
        assert_eq!(xf32(0x3f80_3fff), 0x3f80_2000);
        assert_eq!(xf32(0xff80_0001), 0xffc0_0000);
        assert_eq!(xf32(0x7f80_0000), 0x7f80_0000);
    }
}
