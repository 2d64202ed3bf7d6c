//! What atomics make of memory (manual, 9.2 for floating point).

use half::{bf16, f16};

use crate::exec::{Mode, Trap};

/// What an atomic makes of the `old` value, given a `value` and, for some, an `other`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Update {
    Swap,
    /// `value`, if `old` is `other`.
    CompareSwap,
    /// The same as floating-point numbers: zeros are equal, NaNs are not.
    FloatCompareSwap,
    Add,
    Sub,
    /// `value` − `old`.
    ReverseSub,
    SignedMin,
    UnsignedMin,
    SignedMax,
    UnsignedMax,
    And,
    Or,
    Xor,
    /// Up to `value`, then 0.
    Inc,
    /// Down to 0, then `value`.
    Dec,
    /// `value` where `other` has ones.
    MaskedOr,
    /// − `value`, or + `other` if that would be negative.
    Wrap,
    FloatAdd,
    FloatMin,
    FloatMax,
    PackedAddF16,
    PackedAddBf16,
}

/// An atomic operation, on 32 or 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Atomic {
    pub(super) update: Update,
    pub(super) wide: bool,
}

impl Atomic {
    /// Dwords in memory.
    pub(super) const fn num_dwords(self) -> usize {
        if self.wide { 2 } else { 1 }
    }

    /// Dwords of operands, as VMEM and SMEM have them: a compare-and-swap has two.
    pub(super) const fn num_operand_dwords(self) -> usize {
        match self.update {
            Update::CompareSwap => 2 * self.num_dwords(),
            _ => self.num_dwords(),
        }
    }
}

/// Which denormals an adder or comparer keeps: in [`Mode`]'s code, bit 0 those that come in, bit 1 those that come out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Denormals {
    single: u32,
    half: u32,
    double: u32,
}

impl Denormals {
    /// Those of L2. The manual (9.2.2) has `add_f32` flush them; LLVM says otherwise of gfx942 (its
    /// `memory-atomic-fadd-f32-denormal-support`) and compiles programs accordingly.
    pub(super) const KEPT: Self = Self { single: 3, half: 3, double: 3 };

    /// Those of LDS, for `atomic`.
    pub(super) fn of_lds(mode: Mode, atomic: Atomic) -> Result<Self, Trap> {
        let (single, double) = (mode.denorm_f32(), mode.denorm_f16_f64());
        if atomic.update == Update::PackedAddBf16 && single != double {
            let what = "bf16 atomics in LDS while MODE treats denormals of f32 and f16 differently";
            return Err(Trap::Unimplemented(what.into()));
        }
        Ok(Self { single, half: double, double })
    }
}

macro_rules! integers {
    ($name:ident, $unsigned:ident, $signed:ident) => {
        /// `update` as far as it is about integers.
        fn $name(
            update: Update,
            old: $unsigned,
            value: $unsigned,
            other: $unsigned,
        ) -> Option<$unsigned> {
            Some(match update {
                Update::Swap => value,
                Update::CompareSwap if old == other => value,
                Update::CompareSwap => old,
                Update::Add => old.wrapping_add(value),
                Update::Sub => old.wrapping_sub(value),
                Update::ReverseSub => value.wrapping_sub(old),
                Update::SignedMin => (old as $signed).min(value as $signed) as $unsigned,
                Update::UnsignedMin => old.min(value),
                Update::SignedMax => (old as $signed).max(value as $signed) as $unsigned,
                Update::UnsignedMax => old.max(value),
                Update::And => old & value,
                Update::Or => old | value,
                Update::Xor => old ^ value,
                Update::Inc if old >= value => 0,
                Update::Inc => old + 1,
                Update::Dec if old == 0 || old > value => value,
                Update::Dec => old - 1,
                Update::MaskedOr => old & !other | value,
                Update::Wrap if old >= value => old - value,
                Update::Wrap => old.wrapping_add(other),
                _ => return None,
            })
        }
    };
}

integers!(integer32, u32, i32);
integers!(integer64, u64, i64);

macro_rules! floats {
    ($module:ident, $float:ident, $bits:ident) => {
        mod $module {
            const SIGN: $bits = 1 << ($bits::BITS - 1);
            const QUIET: $bits = 1 << ($float::MANTISSA_DIGITS - 2);
            const INFINITY: $bits = $float::INFINITY.to_bits();

            pub(super) const fn is_nan(bits: $bits) -> bool {
                bits & !SIGN > INFINITY
            }

            const fn is_signalling(bits: $bits) -> bool {
                is_nan(bits) && bits & QUIET == 0
            }

            /// A denormal as 0, unless they are kept.
            const fn flush(bits: $bits, keep: bool) -> $bits {
                if !keep && bits & INFINITY == 0 { bits & SIGN } else { bits }
            }

            /// Rounded to nearest even. A NaN comes from the first source that is one, or is made without a sign.
            pub(super) fn add(old: $bits, value: $bits, denormals: u32) -> $bits {
                let nan = [old, value].into_iter().find(|&bits| is_nan(bits));
                if let Some(nan) = nan {
                    return nan | QUIET;
                }
                let [old, value] =
                    [old, value].map(|bits| $float::from_bits(flush(bits, denormals & 1 != 0)));
                let sum = old + value;
                if sum.is_nan() {
                    return INFINITY | QUIET;
                }
                flush(sum.to_bits(), denormals & 2 != 0)
            }

            /// Larger numbers have larger keys, −0 a smaller one than +0.
            const fn key(bits: $bits, denormals: u32) -> $bits {
                let bits = flush(bits, denormals & 1 != 0);
                if bits & SIGN != 0 { !bits } else { bits | SIGN }
            }

            /// One of the two, as it is. A quiet NaN loses; a signalling one comes out quiet.
            pub(super) fn select(old: $bits, value: $bits, max: bool, denormals: u32) -> $bits {
                let signalling = [old, value].into_iter().find(|&bits| is_signalling(bits));
                if let Some(nan) = signalling {
                    return nan | QUIET;
                }
                let (old_key, value_key) = (key(old, denormals), key(value, denormals));
                let better = if max { value_key > old_key } else { value_key < old_key };
                match (is_nan(old), is_nan(value)) {
                    (_, true) => old,
                    (true, false) => value,
                    (false, false) if better => value,
                    (false, false) => old,
                }
            }

            pub(super) fn compare_swap(
                old: $bits,
                value: $bits,
                other: $bits,
                denormals: u32,
            ) -> $bits {
                let keep = denormals & 1 != 0;
                let number = |bits| $float::from_bits(flush(bits, keep));
                flush(if number(old) == number(other) { value } else { old }, keep)
            }
        }
    };
}

floats!(single, f32, u32);
floats!(double, f64, u64);

/// Both halves, each added by `add`.
fn packed(old: u32, value: u32, add: impl Fn(u16, u16) -> u16) -> u32 {
    let low = add(old as u16, value as u16);
    let high = add((old >> 16) as u16, (value >> 16) as u16);
    u32::from(low) | u32::from(high) << 16
}

fn add_f16(old: u16, value: u16, denormals: u32) -> u16 {
    const QUIET: u16 = 0x200;
    let flush =
        |bits: u16, keep: bool| if !keep && bits & 0x7c00 == 0 { bits & 0x8000 } else { bits };
    if let Some(nan) = [old, value].into_iter().find(|&bits| f16::from_bits(bits).is_nan()) {
        return nan | QUIET;
    }
    let wide = |bits| f16::from_bits(flush(bits, denormals & 1 != 0)).to_f64();
    // The sum of two f16 is exact in f64, so this rounds once.
    let sum = f16::from_f64(wide(old) + wide(value));
    if sum.is_nan() { 0x7e00 } else { flush(sum.to_bits(), denormals & 2 != 0) }
}

fn add_bf16(old: u16, value: u16, denormals: u32) -> u16 {
    const QUIET: u16 = 0x40;
    let flush =
        |bits: u16, keep: bool| if !keep && bits & 0x7f80 == 0 { bits & 0x8000 } else { bits };
    if let Some(nan) = [old, value].into_iter().find(|&bits| bf16::from_bits(bits).is_nan()) {
        return nan | QUIET;
    }
    let wide = |bits| bf16::from_bits(flush(bits, denormals & 1 != 0)).to_f32();
    // f32 has more than twice the digits of bf16 and two more, so rounding twice is rounding once.
    let sum = bf16::from_f32(wide(old) + wide(value));
    if sum.is_nan() { 0x7fc0 } else { flush(sum.to_bits(), denormals & 2 != 0) }
}

impl Update {
    /// What 32 bits of memory become.
    pub(super) fn apply32(self, old: u32, value: u32, other: u32, denormals: Denormals) -> u32 {
        let Denormals { single: keep, half, .. } = denormals;
        match self {
            Self::FloatAdd => single::add(old, value, keep),
            Self::FloatMin => single::select(old, value, false, keep),
            Self::FloatMax => single::select(old, value, true, keep),
            Self::FloatCompareSwap => single::compare_swap(old, value, other, keep),
            Self::PackedAddF16 => packed(old, value, |a, b| add_f16(a, b, half)),
            Self::PackedAddBf16 => packed(old, value, |a, b| add_bf16(a, b, half)),
            _ => integer32(self, old, value, other).unwrap_or(old),
        }
    }

    /// What 64 bits of memory become.
    pub(super) fn apply64(self, old: u64, value: u64, other: u64, denormals: Denormals) -> u64 {
        match self {
            // The one adder that has no switch for denormals.
            Self::FloatAdd => double::add(old, value, 3),
            Self::FloatMin => double::select(old, value, false, denormals.double),
            Self::FloatMax => double::select(old, value, true, denormals.double),
            Self::FloatCompareSwap => double::compare_swap(old, value, other, denormals.double),
            _ => integer64(self, old, value, other).unwrap_or(old),
        }
    }
}
