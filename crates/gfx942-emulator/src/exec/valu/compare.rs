//! Comparisons: a mask of the lanes for which something holds, to SGPRs, and for `v_cmpx` to EXEC as well.

use super::call::{Call, multiversion};
use super::value::F16;
use crate::exec::Trap;
use crate::exec::sources::set_scalar64;
use crate::isa::Op;
use crate::numeric::F16Rules;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    let mask = test(call)?;
    if call.op() as u16 >= Op::v_cmpx_class_f16 as u16 {
        call.wave.exec = mask;
    }
    set_scalar64(call.wave, call.inst.sdst, mask)
}

/// The lanes for which the comparison holds. The clamp bit would only make NaNs signal.
///
/// The four lowest bits of the opcode are the [`relation`]s that are accepted, and bit 4 tells `v_cmpx` from `v_cmp`
/// (manual, 12.9): `lt` is 1, `eq` 2, `le` 3, and so on to `nlt` 14 and `tru` 15. Integers have three such bits, and the
/// fourth is the sign's.
#[inline(always)]
fn test(call: &Call<'_>) -> Result<u64, Trap> {
    use Op::*;
    let f16 = F16Rules::of(call.wave.mode);
    let opcode = call.op().info().opcode;
    let accepted = opcode as u32 & 15;
    match opcode & !0x17 {
        0x20 | 0x28 => {
            call.test2(|a: F16, b: F16| relation(f16.read(a.0), f16.read(b.0)) & accepted != 0)
        }
        0x40 | 0x48 => call.test2(|a: f32, b: f32| relation(a, b) & accepted != 0),
        0x60 | 0x68 => call.test2(|a: f64, b: f64| relation(a, b) & accepted != 0),
        0xa0 => call.test2(|a: i16, b: i16| relation(a, b) & accepted != 0),
        0xa8 => call.test2(|a: u16, b: u16| relation(a, b) & accepted != 0),
        0xc0 => call.test2(|a: i32, b: i32| relation(a, b) & accepted != 0),
        0xc8 => call.test2(|a: u32, b: u32| relation(a, b) & accepted != 0),
        0xe0 => call.test2(|a: i64, b: i64| relation(a, b) & accepted != 0),
        0xe8 => call.test2(|a: u64, b: u64| relation(a, b) & accepted != 0),
        _ => match call.op() {
            v_cmp_class_f16 | v_cmpx_class_f16 => {
                call.test2(|a: F16, b: u32| b >> class(a.0.into(), 15, 10) & 1 != 0)
            }
            v_cmp_class_f32 | v_cmpx_class_f32 => {
                call.test2(|a: f32, b: u32| b >> class(a.to_bits().into(), 31, 23) & 1 != 0)
            }
            v_cmp_class_f64 | v_cmpx_class_f64 => {
                call.test2(|a: f64, b: u32| b >> class(a.to_bits(), 63, 52) & 1 != 0)
            }
            _ => Err(Trap::Unimplemented(call.op().name().into())),
        },
    }
}

/// How `a` is to `b`: 1 less, 2 equal, 4 greater, 8 unordered.
#[inline(always)]
fn relation<T: PartialOrd>(a: T, b: T) -> u32 {
    let ordered = u32::from(a < b) | u32::from(a == b) << 1 | u32::from(a > b) << 2;
    if ordered == 0 { 8 } else { ordered }
}

/// The class of a float with its sign at bit `sign` and `fraction` bits of fraction: 0 signalling NaN, 1 quiet NaN,
/// then −∞, negative normal, denormal and zero, and the positive ones in the opposite order.
#[inline(always)]
fn class(bits: u64, sign: u32, fraction: u32) -> u32 {
    let magnitude = bits & ((1 << sign) - 1);
    let infinity = ((1 << (sign - fraction)) - 1) << fraction;
    if magnitude > infinity {
        return (magnitude >> (fraction - 1) & 1) as u32;
    }
    let negative = if magnitude == infinity {
        2
    } else if magnitude >> fraction != 0 {
        3
    } else if magnitude != 0 {
        4
    } else {
        5
    };
    if bits >> sign & 1 != 0 { negative } else { 11 - negative }
}
