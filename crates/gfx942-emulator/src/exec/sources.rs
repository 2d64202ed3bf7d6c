//! What an operand code means where no lane is involved: registers, constants, apertures.

use super::{Trap, Wave};
use crate::isa::{Inst, Operand};

/// The high half of LDS' flat addresses.
pub const SHARED_APERTURE: u32 = 0x0001_0000;

/// The high half of scratch's flat addresses.
pub const PRIVATE_APERTURE: u32 = 0x0002_0000;

/// How an operand's bits are read: it decides what constants and literals mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Sixteen bits.
    B16,
    /// An f16.
    F16,
    /// 32 bits.
    B32,
    /// An f32.
    F32,
    /// 64 bits: literals are zero-extended.
    U64,
    /// A signed 64-bit integer: literals are sign-extended.
    I64,
    /// An f64: literals are its high half.
    F64,
}

impl Kind {
    /// Whether it takes two registers.
    pub const fn is_wide(self) -> bool {
        matches!(self, Self::U64 | Self::I64 | Self::F64)
    }

    /// Whether it takes half a register.
    pub const fn is_half(self) -> bool {
        matches!(self, Self::B16 | Self::F16)
    }
}

/// The value of an operand that is the same for all lanes.
pub(super) fn scalar(wave: &Wave, inst: &Inst, operand: Operand, kind: Kind) -> Result<u64, Trap> {
    if operand.is_scalar_register() {
        return register(wave, operand, kind);
    }
    if let Some(value) = operand.inline_integer() {
        return Ok(narrow(value as i64 as u64, kind));
    }
    if operand.is_inline_float() {
        return Ok(inline_float(operand, kind));
    }
    match operand {
        Operand::LITERAL => Ok(literal(inst.literal, kind)),
        Operand::VCCZ => Ok(u64::from(wave.vcc() == 0)),
        Operand::EXECZ => Ok(u64::from(wave.exec == 0)),
        Operand::SCC => Ok(u64::from(wave.scc)),
        Operand(235..=238) if kind.is_wide() => Ok(aperture(operand)),
        _ => Err(Trap::Unimplemented(format!(
            "operand {} as a source of {}",
            operand.0,
            inst.op.name()
        ))),
    }
}

/// The value of a 32-bit operand.
pub(super) fn scalar32(wave: &Wave, inst: &Inst, operand: Operand) -> Result<u32, Trap> {
    scalar(wave, inst, operand, Kind::B32).map(|value| value as u32)
}

/// The value of a 64-bit operand.
pub(super) fn scalar64(wave: &Wave, inst: &Inst, operand: Operand) -> Result<u64, Trap> {
    scalar(wave, inst, operand, Kind::U64)
}

/// Writes a 32-bit scalar result.
pub(super) fn set_scalar32(wave: &mut Wave, operand: Operand, value: u32) -> Result<(), Trap> {
    if !operand.is_scalar_register() {
        return Err(Trap::Undefined(format!("operand {} cannot be written", operand.0)));
    }
    if !is_trap_temporary(operand) {
        wave.set_scalar(operand.0, value);
    }
    Ok(())
}

/// Writes a 64-bit scalar result.
pub(super) fn set_scalar64(wave: &mut Wave, operand: Operand, value: u64) -> Result<(), Trap> {
    if !operand.is_scalar_register() || !operand.0.is_multiple_of(2) {
        return Err(Trap::Undefined(format!("operand {} cannot be written as 64 bits", operand.0)));
    }
    if !is_trap_temporary(operand) {
        wave.set_scalar64(operand.0, value);
    }
    Ok(())
}

/// Trap temporaries read as zero and ignore writes outside of a trap handler (manual, 3.10).
fn is_trap_temporary(operand: Operand) -> bool {
    matches!(operand.0, 108..=123)
}

fn register(wave: &Wave, operand: Operand, kind: Kind) -> Result<u64, Trap> {
    if is_trap_temporary(operand) {
        return Ok(0);
    }
    if !kind.is_wide() {
        return Ok(u64::from(wave.scalar(operand.0)));
    }
    if !operand.0.is_multiple_of(2) {
        return Err(Trap::Undefined(format!(
            "64 bits are read from scalar register {}, which is odd",
            operand.0
        )));
    }
    Ok(wave.scalar64(operand.0))
}

const fn narrow(value: u64, kind: Kind) -> u64 {
    if kind.is_wide() {
        value
    } else if kind.is_half() {
        value & 0xffff
    } else {
        value & 0xffff_ffff
    }
}

const fn literal(value: u32, kind: Kind) -> u64 {
    match kind {
        Kind::F64 => (value as u64) << 32,
        Kind::I64 => value as i32 as i64 as u64,
        _ => narrow(value as u64, kind),
    }
}

/// Apertures are 64-bit values only: LLVM notes that hardware reads them wrong as 32 bits.
const fn aperture(operand: Operand) -> u64 {
    match operand.0 {
        235 => (SHARED_APERTURE as u64) << 32,
        236 => (SHARED_APERTURE as u64) << 32 | 0xffff_ffff,
        237 => (PRIVATE_APERTURE as u64) << 32,
        _ => (PRIVATE_APERTURE as u64) << 32 | 0xffff_ffff,
    }
}

fn inline_float(operand: Operand, kind: Kind) -> u64 {
    // ±0.5, ±1, ±2, ±4, then 1/(2π).
    let index = usize::from(operand.0 - 240);
    if kind.is_half() {
        const F16: [u16; 9] =
            [0x3800, 0xb800, 0x3c00, 0xbc00, 0x4000, 0xc000, 0x4400, 0xc400, 0x3118];
        u64::from(F16[index])
    } else if kind.is_wide() {
        const F64: [f64; 8] = [0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0];
        F64.get(index).map_or(0x3fc4_5f30_6dc9_c882, |value| value.to_bits())
    } else {
        const F32: [f32; 8] = [0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0];
        u64::from(F32.get(index).map_or(0x3e22_f983, |value| value.to_bits()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Mode;
    use crate::exec::testing::inst;
    use crate::isa::{Format, Op};

    #[test]
    fn constants_by_kind() {
        let wave = Wave::new(0, Mode(0), !0, 0);
        let mut mov = inst(Op::s_mov_b64, Format::Sop1);
        mov.literal = 0x8000_0001;
        let read = |code, kind| scalar(&wave, &mov, Operand(code), kind).unwrap();
        assert_eq!(read(193, Kind::B32), 0xffff_ffff);
        assert_eq!(read(193, Kind::U64), u64::MAX);
        assert_eq!(read(208, Kind::B16), 0xfff0);
        assert_eq!(read(192, Kind::I64), 64);
        assert_eq!(read(247, Kind::F32), u64::from((-4f32).to_bits()));
        assert_eq!(read(247, Kind::F64), (-4f64).to_bits());
        assert_eq!(read(241, Kind::F16), 0xb800);
        assert_eq!(read(248, Kind::F16), 0x3118);
        assert_eq!(read(255, Kind::F64), 0x8000_0001_0000_0000);
        assert_eq!(read(255, Kind::U64), 0x8000_0001);
        assert_eq!(read(255, Kind::I64), 0xffff_ffff_8000_0001);
        assert_eq!(read(235, Kind::U64), 0x1_0000_0000_0000);
        assert_eq!(read(237, Kind::U64), 0x2_0000_0000_0000);
        assert!(scalar(&wave, &mov, Operand(235), Kind::B32).is_err());
        assert!(scalar(&wave, &mov, Operand(127), Kind::U64).is_err());
        assert!(scalar(&wave, &mov, Operand::NONE, Kind::B32).is_err());
    }

    #[test]
    fn conditions() {
        let mut wave = Wave::new(0, Mode(0), 0, 0);
        let mov = inst(Op::s_mov_b32, Format::Sop1);
        wave.scc = true;
        for operand in [Operand::SCC, Operand::EXECZ, Operand::VCCZ] {
            assert_eq!(scalar32(&wave, &mov, operand), Ok(1));
        }
        wave.scc = false;
        wave.exec = 1;
        wave.set_scalar64(Operand::VCC.0, 1 << 63);
        for operand in [Operand::SCC, Operand::EXECZ, Operand::VCCZ] {
            assert_eq!(scalar32(&wave, &mov, operand), Ok(0));
        }
    }
}
