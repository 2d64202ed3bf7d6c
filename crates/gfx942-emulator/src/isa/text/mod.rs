//! An instruction in LLVM's spelling: what `llvm-objdump -d --mcpu=gfx942` prints before the comment.

mod memory;
mod operand;
mod scalar;
mod vector;

use std::fmt;

use super::{Format, Inst};

impl fmt::Display for Inst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&disassemble(self))
    }
}

/// The instruction as LLVM spells it.
pub fn disassemble(inst: &Inst) -> String {
    let mut line = Line { text: inst.op.name().to_owned(), num_operands: 0 };
    match inst.format {
        Format::Sop2 | Format::Sopk | Format::Sop1 | Format::Sopc | Format::Sopp => {
            scalar::print(inst, &mut line)
        }
        Format::Smem => memory::smem(inst, &mut line),
        Format::Ds => memory::ds(inst, &mut line),
        Format::Flat | Format::Global | Format::Scratch => memory::flat(inst, &mut line),
        Format::Mubuf | Format::Mtbuf => memory::buffer(inst, &mut line),
        _ => vector::print(inst, &mut line),
    }
    line.text
}

/// A line of assembly in the making.
struct Line {
    text: String,
    num_operands: usize,
}

impl Line {
    /// One more operand.
    fn operand(&mut self, text: &str) {
        self.text.push_str(if self.num_operands == 0 { " " } else { ", " });
        self.text.push_str(text);
        self.num_operands += 1;
    }

    /// A modifier that follows the operands, if it `applies`.
    fn modifier(&mut self, applies: bool, text: &str) {
        if applies {
            self.text.push(' ');
            self.text.push_str(text);
        }
    }

    /// A modifier with a list of bits, one a source, unless all are as `usual`.
    fn bits(&mut self, name: &str, bits: u8, count: usize, usual: u8) {
        if bits & mask(count) != usual & mask(count) {
            let list: Vec<&str> =
                (0..count).map(|i| if bits >> i & 1 != 0 { "1" } else { "0" }).collect();
            self.text.push_str(&format!(" {name}:[{}]", list.join(",")));
        }
    }
}

const fn mask(count: usize) -> u8 {
    (1 << count) - 1
}
