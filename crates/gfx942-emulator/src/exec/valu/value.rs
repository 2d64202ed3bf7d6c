//! The types that a lane of a vector instruction can hold.

use crate::WAVE_SIZE;
use crate::exec::Lanes;
use crate::exec::sources::Kind;

/// A lane's operand or result.
pub(super) trait Value: Copy {
    /// How its bits are read.
    const KIND: Kind;

    /// The registers of a result.
    type Registers: AsMut<[Lanes]>;

    /// Registers to be filled.
    const ZEROS: Self::Registers;

    /// Puts the value of a lane into the registers.
    fn put(self, registers: &mut Self::Registers, lane: usize);

    /// From one register, or from two.
    fn of(low: u32, high: u32) -> Self;

    /// To one register, or to two.
    fn bits(self) -> (u32, u32);
}

/// The bits of an f16: what they mean depends on MODE ([`crate::numeric::F16Rules`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct F16(pub u16);

macro_rules! value {
    (@put 1, $value:ident, $registers:ident, $lane:ident) => {
        $registers[0][$lane] = $value.bits().0
    };
    (@put 2, $value:ident, $registers:ident, $lane:ident) => {
        ($registers[0][$lane], $registers[1][$lane]) = $value.bits()
    };
    ($($type:ty: $kind:ident, $num:tt, |$low:pat_param, $high:pat_param| $of:expr, |$value:ident| $bits:expr;)+) => {$(
        impl Value for $type {
            const KIND: Kind = Kind::$kind;

            type Registers = [Lanes; $num];

            const ZEROS: Self::Registers = [[0; WAVE_SIZE]; $num];

            #[inline(always)]
            fn put(self, registers: &mut Self::Registers, lane: usize) {
                let value = self;
                value!(@put $num, value, registers, lane);
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

/// The registers that hold `$value` for each `$lane`. A macro, because a loop around a closure vectorises only if the
/// compiler finds the closure small enough to inline.
macro_rules! collect {
    ($type:ty, $lane:ident => $value:expr) => {{
        let mut registers = <$type>::ZEROS;
        for $lane in 0..$crate::WAVE_SIZE {
            <$type as $crate::exec::valu::value::Value>::put($value, &mut registers, $lane);
        }
        registers
    }};
}

pub(super) use collect;
