//! The four FP8 formats: e4m3 and e5m2, as the Open Compute Project defines them and as gfx942 has them.
//!
//! OCP 8-bit Floating Point Specification (2023); *FNUZ* as in Noune et al., 8-bit Numerical Formats for Deep Neural
//! Networks (2022): finite numbers only, no negative zero, one NaN.

/// Who defined an FP8 format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Fp8Flavour {
    /// The Open Compute Project: checkpoints, and most hardware.
    Ocp,
    /// Finite numbers, no negative zero: gfx942.
    Fnuz,
}

/// An FP8 format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fp8Format {
    /// OCP e4m3: bias 7, largest 448, no infinity.
    E4m3,
    /// OCP e5m2: bias 15, largest 57344, with infinities.
    E5m2,
    /// e4m3 with bias 8: largest 240, NaN is 0x80.
    E4m3Fnuz,
    /// e5m2 with bias 16: largest 57344, NaN is 0x80.
    E5m2Fnuz,
}

/// What becomes of a number that is too large.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Overflow {
    /// The largest of the format, infinities included.
    Saturate,
    /// Infinity where the format has it, else NaN.
    Special,
}

const SIGN: u8 = 0x80;

impl Fp8Format {
    /// All four.
    pub const ALL: [Self; 4] = [Self::E4m3, Self::E5m2, Self::E4m3Fnuz, Self::E5m2Fnuz];

    /// The same number of exponent and mantissa bits in `flavour`.
    #[must_use]
    pub const fn with_flavour(self, flavour: Fp8Flavour) -> Self {
        match (self, flavour) {
            (Self::E4m3 | Self::E4m3Fnuz, Fp8Flavour::Ocp) => Self::E4m3,
            (Self::E4m3 | Self::E4m3Fnuz, Fp8Flavour::Fnuz) => Self::E4m3Fnuz,
            (Self::E5m2 | Self::E5m2Fnuz, Fp8Flavour::Ocp) => Self::E5m2,
            (Self::E5m2 | Self::E5m2Fnuz, Fp8Flavour::Fnuz) => Self::E5m2Fnuz,
        }
    }

    /// Who defined it.
    #[must_use]
    pub const fn flavour(self) -> Fp8Flavour {
        match self {
            Self::E4m3 | Self::E5m2 => Fp8Flavour::Ocp,
            Self::E4m3Fnuz | Self::E5m2Fnuz => Fp8Flavour::Fnuz,
        }
    }

    /// Bits of the mantissa behind the point.
    #[must_use]
    pub const fn mantissa_bits(self) -> u8 {
        match self {
            Self::E4m3 | Self::E4m3Fnuz => 3,
            Self::E5m2 | Self::E5m2Fnuz => 2,
        }
    }

    /// What is added to a number's exponent in its code.
    #[must_use]
    pub const fn bias(self) -> i32 {
        match self {
            Self::E4m3 => 7,
            Self::E4m3Fnuz => 8,
            Self::E5m2 => 15,
            Self::E5m2Fnuz => 16,
        }
    }

    /// The largest number.
    #[must_use]
    pub fn max(self) -> f32 {
        self.decode(self.max_code())
    }

    /// The number that `code` stands for.
    #[must_use]
    pub fn decode(self, code: u8) -> f32 {
        let magnitude = code & !SIGN;
        if self.is_nan(code) {
            return f32::NAN;
        }
        let value = if magnitude > self.max_code() {
            f32::INFINITY
        } else {
            let mantissa_bits = self.mantissa_bits();
            let fraction = f32::from(magnitude & ((1 << mantissa_bits) - 1));
            let one = f32::from(1_u8 << mantissa_bits);
            match i32::from(magnitude >> mantissa_bits) {
                // Subnormal: the exponent of the least normal, and no leading 1.
                0 => fraction / one * power_of_two(1 - self.bias()),
                exponent => (1.0 + fraction / one) * power_of_two(exponent - self.bias()),
            }
        };
        if code & SIGN == 0 { value } else { -value }
    }

    /// The code of the number nearest to `x`, ties to the even code. NaN stays NaN.
    #[must_use]
    pub fn encode(self, x: f32, overflow: Overflow) -> u8 {
        if x.is_nan() {
            return self.nan_code(x.is_sign_negative());
        }
        let sign = if x.is_sign_negative() { SIGN } else { 0 };
        let code = self.nearest(x.abs());
        match (code > u32::from(self.max_code()), overflow) {
            (true, Overflow::Saturate) => self.max_code() | sign,
            (true, Overflow::Special) if self == Self::E5m2 => (self.max_code() + 1) | sign,
            (true, Overflow::Special) => self.nan_code(x.is_sign_negative()),
            // FNUZ has no negative zero: its code is NaN's.
            (false, _) if code == 0 && self.is_fnuz() => 0,
            // At most max_code, so it fits.
            (false, _) => code as u8 | sign,
        }
    }

    /// The code of the nearest number, as if the exponent had no end.
    fn nearest(self, magnitude: f32) -> u32 {
        if magnitude.is_infinite() {
            return u32::MAX;
        }
        let mantissa_bits = i32::from(self.mantissa_bits());
        let exponent = (magnitude.to_bits() >> 23) as i32 - 127;
        let exponent = exponent.max(1 - self.bias());
        // In units of the last place: both steps are exact, but for the rounding itself.
        let units =
            f64::from(magnitude) * f64::from_bits(((1023 + mantissa_bits - exponent) as u64) << 52);
        let units = libm::rint(units) as i32;
        // A normal number has units from 2^mantissa_bits, which is one exponent in the code. One that rounds up to the next
        // power of two carries into the exponent by itself.
        let exponent_code = (exponent + self.bias() - 1) << mantissa_bits;
        (exponent_code + units) as u32
    }

    fn is_nan(self, code: u8) -> bool {
        let magnitude = code & !SIGN;
        match self {
            Self::E4m3 => magnitude == 0x7f,
            Self::E5m2 => magnitude > 0x7c,
            Self::E4m3Fnuz | Self::E5m2Fnuz => code == SIGN,
        }
    }

    fn nan_code(self, is_negative: bool) -> u8 {
        let sign = if is_negative { SIGN } else { 0 };
        match self {
            Self::E4m3 => 0x7f | sign,
            Self::E5m2 => 0x7e | sign,
            Self::E4m3Fnuz | Self::E5m2Fnuz => SIGN,
        }
    }

    fn max_code(self) -> u8 {
        match self {
            Self::E4m3 => 0x7e,
            Self::E5m2 => 0x7b,
            Self::E4m3Fnuz | Self::E5m2Fnuz => 0x7f,
        }
    }

    fn is_fnuz(self) -> bool {
        self.flavour() == Fp8Flavour::Fnuz
    }
}

/// 2^exponent, for exponents of normal f32.
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((127 + exponent) as u32) << 23)
}
