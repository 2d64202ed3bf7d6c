//! FP8 codes of one flavour to those of the other: the same bits wherever both have them.
//!
//! A FNUZ format has a bias that is larger by one, so that its number is half of the Open Compute Project's (OCP) of the
//! same bits. With twice the scale for FNUZ, `code · scale` stays what it was.

use engine_core::formats::{Fp8Flavour, Fp8Format, Overflow};

/// What a code becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Converted {
    /// The code in the other flavour.
    pub code: u8,
    /// Whether the other flavour has no such number, so that it became the largest.
    pub is_saturated: bool,
}

/// The code of `code`'s number in the other flavour of `from`, where scales are multiplied by [`fp8_convert_scale`].
///
/// - NaN becomes NaN: 0x80 in FNUZ, 0x7f in e4m3, 0x7e in e5m2.
/// - Negative zero, which FNUZ does not have, becomes zero.
/// - What the other flavour does not have becomes its largest number with its sign: from FNUZ, 0x7f of e4m3 (±240) and
///   from 0x7c on of e5m2 (±32768 and more); to FNUZ, the infinities of e5m2.
#[must_use]
pub fn fp8_convert(code: u8, from: Fp8Format) -> Converted {
    let to = other_flavour(from);
    let value = from.decode(code) * fp8_convert_scale(from).recip();
    let converted = to.encode(value, Overflow::Saturate);
    // NaN has no sign to keep.
    let converted =
        if value.is_nan() { to.encode(f32::NAN, Overflow::Saturate) } else { converted };
    let is_saturated = !value.is_nan() && to.decode(converted) != value;
    Converted { code: converted, is_saturated }
}

/// What the scale of `from`'s codes is multiplied by: 2 to FNUZ, ½ from FNUZ.
#[must_use]
pub fn fp8_convert_scale(from: Fp8Format) -> f32 {
    match from.flavour() {
        Fp8Flavour::Ocp => 2.0,
        Fp8Flavour::Fnuz => 0.5,
    }
}

/// The format with as many bits of each kind in the other flavour.
#[must_use]
pub const fn other_flavour(format: Fp8Format) -> Fp8Format {
    format.with_flavour(match format.flavour() {
        Fp8Flavour::Ocp => Fp8Flavour::Fnuz,
        Fp8Flavour::Fnuz => Fp8Flavour::Ocp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes that do not keep their bits, from tables of the formats; `true`: saturated.
    fn exceptions(from: Fp8Format) -> Vec<(u8, u8, bool)> {
        match from {
            Fp8Format::E4m3 => vec![(0x80, 0, false), (0x7f, 0x80, false), (0xff, 0x80, false)],
            Fp8Format::E4m3Fnuz => {
                vec![(0x80, 0x7f, false), (0x7f, 0x7e, true), (0xff, 0xfe, true)]
            }
            Fp8Format::E5m2 => {
                let nan = [0x7d, 0x7e, 0x7f, 0xfd, 0xfe, 0xff].map(|code| (code, 0x80, false));
                let mut list = vec![(0x80, 0, false), (0x7c, 0x7f, true), (0xfc, 0xff, true)];
                list.extend(nan);
                list
            }
            Fp8Format::E5m2Fnuz => {
                let mut list = vec![(0x80, 0x7e, false)];
                list.extend((0x7c..=0x7f).map(|code| (code, 0x7b, true)));
                list.extend((0xfc..=0xff).map(|code| (code, 0xfb, true)));
                list
            }
        }
    }

    #[test]
    fn every_code_keeps_its_bits_but_those_that_cannot() {
        for from in Fp8Format::ALL {
            let exceptions = exceptions(from);
            for code in 0..=u8::MAX {
                let exception = exceptions.iter().find(|exception| exception.0 == code);
                let (want, is_saturated) = exception.map_or((code, false), |e| (e.1, e.2));
                let want = Converted { code: want, is_saturated };
                assert_eq!(fp8_convert(code, from), want, "{from:?}, {code:#x}");
            }
        }
    }

    #[test]
    fn code_times_scale_stays_what_it_was() {
        for from in Fp8Format::ALL {
            for code in 0..=u8::MAX {
                let Converted { code: converted, is_saturated } = fp8_convert(code, from);
                let value = other_flavour(from).decode(converted) * fp8_convert_scale(from);
                let is_same =
                    value == from.decode(code) || value.is_nan() && from.decode(code).is_nan();
                assert!(is_same != is_saturated, "{from:?}, {code:#x}: {value}");
            }
        }
    }
}
