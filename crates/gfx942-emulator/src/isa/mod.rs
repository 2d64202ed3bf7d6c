//! The instruction set: what the bits of an instruction mean, and how LLVM spells it.
//!
//! Source: "AMD Instinct MI300 Instruction Set Architecture" (CDNA3), chapters 5 to 13; LLVM is the arbiter of
//! spelling and of what decodes at all.

mod access;
mod decode;
mod inst;
mod matrix;
mod op;
mod operand;
mod table;
mod text;

pub use access::{Access, Accesses};
pub use decode::{DecodeError, decode};
pub use inst::{Dpp, Extra, Flags, Format, Inst, Modifiers, Sdwa, SdwaSelect};
pub use matrix::{CYCLES_PER_PASS, matrix_cycles};
pub use op::Op;
pub use operand::Operand;
pub use table::{Form, Kind, OpInfo, traits};
pub use text::disassemble;
