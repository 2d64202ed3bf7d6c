//! Instructions by hand, for unit tests.

use crate::isa::{Extra, Flags, Format, Inst, Modifiers, Op, Operand};

/// `op` without operands.
pub(crate) fn inst(op: Op, format: Format) -> Inst {
    Inst {
        op,
        format,
        size: 4,
        dst: Operand::NONE,
        sdst: Operand::NONE,
        src: [Operand::NONE; 4],
        literal: 0,
        offset: 0,
        flags: Flags::default(),
        modifiers: Modifiers::default(),
        extra: Extra::None,
        buffer_format: 0,
    }
}
