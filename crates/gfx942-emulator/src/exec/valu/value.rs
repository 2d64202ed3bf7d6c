//! The types that a lane of a vector instruction can hold.

use std::array;

use crate::WAVE_SIZE;
use crate::exec::Lanes;
use crate::exec::sources::Kind;

/// A lane's operand or result.
pub(super) trait Value: Copy {
    /// How its bits are read.
    const KIND: Kind;

    /// The registers of a result.
    type Registers: AsMut<[Lanes]>;

    /// The value of each lane.
    fn collect(lane: impl Fn(usize) -> Self) -> Self::Registers;

    /// From one register, or from two.
    fn of(low: u32, high: u32) -> Self;

    /// To one register, or to two.
    fn bits(self) -> (u32, u32);
}

/// The bits of an f16: what they mean depends on MODE ([`crate::numeric::F16Rules`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct F16(pub u16);

macro_rules! value {
    (@collect 1, $lane:ident) => {
        [array::from_fn(|i| $lane(i).bits().0)]
    };
    (@collect 2, $lane:ident) => {{
        let mut registers = [[0; WAVE_SIZE]; 2];
        let [low, high] = &mut registers;
        for i in 0..WAVE_SIZE {
            (low[i], high[i]) = $lane(i).bits();
        }
        registers
    }};
    ($($type:ty: $kind:ident, $num:tt, |$low:pat_param, $high:pat_param| $of:expr, |$value:ident| $bits:expr;)+) => {$(
        impl Value for $type {
            const KIND: Kind = Kind::$kind;

            type Registers = [Lanes; $num];

            #[inline(always)]
            fn collect(lane: impl Fn(usize) -> Self) -> Self::Registers {
                value!(@collect $num, lane)
            }

            #[inline(always)]
            fn of($low: u32, $high: u32) -> Self {
                $of
            }

            #[inline(always)]
            fn bits(self) -> (u32, u32) {
                let $value = self;
                $bits
            }
        }
    )+};
}

value! {
    u32: B32, 1, |low, _| low, |value| (value, 0);
    i32: B32, 1, |low, _| low as i32, |value| (value as u32, 0);
    f32: F32, 1, |low, _| f32::from_bits(low), |value| (value.to_bits(), 0);
    u16: B16, 1, |low, _| low as u16, |value| (u32::from(value), 0);
    i16: B16, 1, |low, _| low as i16, |value| (u32::from(value as u16), 0);
    F16: F16, 1, |low, _| F16(low as u16), |value| (u32::from(value.0), 0);
    u64: U64, 2, |low, high| join(low, high), |value| split(value);
    i64: I64, 2, |low, high| join(low, high) as i64, |value| split(value as u64);
    f64: F64, 2, |low, high| f64::from_bits(join(low, high)), |value| split(value.to_bits());
}

#[inline(always)]
fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

#[inline(always)]
fn split(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}
