//! Hardware registers that `s_getreg` and `s_setreg` reach.

use super::{Mode, Trap, Wave};

const MODE: u32 = 1;
const STATUS: u32 = 2;
const HW_ID: u32 = 4;
const XCC_ID: u32 = 20;

/// A field: register in bits 5:0, offset in 10:6, size − 1 in 15:11.
struct Field {
    register: u32,
    offset: u32,
    mask: u32,
}

impl Field {
    fn of(simm16: u32) -> Self {
        let size = (simm16 >> 11 & 31) + 1;
        Self { register: simm16 & 63, offset: simm16 >> 6 & 31, mask: u32::MAX >> (32 - size) }
    }
}

/// The field that `simm16` names.
pub(super) fn read(wave: &Wave, simm16: u32) -> Result<u32, Trap> {
    let field = Field::of(simm16);
    let value = match field.register {
        MODE => wave.mode.0,
        STATUS => status(wave),
        HW_ID => wave.hw_id,
        XCC_ID => wave.xcc_id,
        other => return Err(Trap::Unimplemented(format!("s_getreg of hardware register {other}"))),
    };
    Ok(value >> field.offset & field.mask)
}

/// Writes the field that `simm16` names. Only MODE can be written by a kernel.
pub(super) fn write(wave: &mut Wave, simm16: u32, value: u32) -> Result<(), Trap> {
    let field = Field::of(simm16);
    if field.register != MODE {
        return Err(Trap::Unimplemented(format!(
            "s_setreg of hardware register {}",
            field.register
        )));
    }
    let mask = field.mask << field.offset;
    wave.mode = Mode(wave.mode.0 & !mask | value << field.offset & mask);
    Ok(())
}

/// SCC, EXECZ, VCCZ and VALID; no traps, no debugger.
fn status(wave: &Wave) -> u32 {
    u32::from(wave.scc)
        | u32::from(wave.exec == 0) << 9
        | u32::from(wave.vcc() == 0) << 10
        | 1 << 16
}
