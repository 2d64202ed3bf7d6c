//! Two integers of 16 bits in each register.

use super::operands::{map, packed, plain};
use crate::WAVE_SIZE;
use crate::exec::sources::Kind;
use crate::exec::{Trap, Wave};
use crate::isa::{Flags, Inst, Op};

/// Executes `inst`. With a clamp, sums and products saturate.
pub(super) fn execute(wave: &mut Wave, inst: &Inst) -> Result<(), Trap> {
    let shift =
        matches!(inst.op, Op::v_pk_lshlrev_b16 | Op::v_pk_lshrrev_b16 | Op::v_pk_ashrrev_i16);
    plain(inst, !shift)?;
    let has_third = inst.src[2].is_some();
    let third = if has_third { packed(wave, inst, 2, Kind::B32)? } else { [0; WAVE_SIZE] };
    let sources = [packed(wave, inst, 0, Kind::B32)?, packed(wave, inst, 1, Kind::B32)?, third];
    let clamp = inst.flags.has(Flags::CLAMP);
    let signed = |value: i32| if clamp { value.clamp(-0x8000, 0x7fff) } else { value };
    let unsigned = |value: i64| if clamp { value.clamp(0, 0xffff) } else { value };
    macro_rules! each {
        (i16 $function:expr) => {
            map(wave, inst, &sources, |a, b, c| {
                halves(a, b, c, |a, b, c| {
                    let value: i32 =
                        ($function)(i32::from(a as i16), i32::from(b as i16), i32::from(c as i16));
                    value as u32
                })
            })
        };
        (u16 $function:expr) => {
            map(wave, inst, &sources, |a, b, c| {
                halves(a, b, c, |a, b, c| {
                    let value: i64 = ($function)(i64::from(a), i64::from(b), i64::from(c));
                    value as u32
                })
            })
        };
    }
    match inst.op {
        Op::v_pk_mad_i16 => each!(i16 |a: i32, b: i32, c: i32| signed(a * b + c)),
        Op::v_pk_add_i16 => each!(i16 |a: i32, b: i32, _| signed(a + b)),
        Op::v_pk_sub_i16 => each!(i16 |a: i32, b: i32, _| signed(a - b)),
        Op::v_pk_max_i16 => each!(i16 |a: i32, b: i32, _| a.max(b)),
        Op::v_pk_min_i16 => each!(i16 |a: i32, b: i32, _| a.min(b)),
        Op::v_pk_ashrrev_i16 => each!(i16 |a: i32, b: i32, _| b >> (a & 15)),
        Op::v_pk_mad_u16 => each!(u16 |a: i64, b: i64, c: i64| unsigned(a * b + c)),
        Op::v_pk_mul_lo_u16 => each!(u16 |a: i64, b: i64, _| unsigned(a * b)),
        Op::v_pk_add_u16 => each!(u16 |a: i64, b: i64, _| unsigned(a + b)),
        Op::v_pk_sub_u16 => each!(u16 |a: i64, b: i64, _| unsigned(a - b)),
        Op::v_pk_max_u16 => each!(u16 |a: i64, b: i64, _| a.max(b)),
        Op::v_pk_min_u16 => each!(u16 |a: i64, b: i64, _| a.min(b)),
        Op::v_pk_lshlrev_b16 => each!(u16 |a: i64, b: i64, _| b << (a & 15)),
        Op::v_pk_lshrrev_b16 => each!(u16 |a: i64, b: i64, _| b >> (a & 15)),
        _ => Err(Trap::Unimplemented(inst.op.name().into())),
    }
}

/// `function` of the low halves and of the high ones.
#[inline(always)]
fn halves(a: u32, b: u32, c: u32, function: impl Fn(u32, u32, u32) -> u32) -> u32 {
    let low = function(a & 0xffff, b & 0xffff, c & 0xffff);
    let high = function(a >> 16, b >> 16, c >> 16);
    high << 16 | low & 0xffff
}
