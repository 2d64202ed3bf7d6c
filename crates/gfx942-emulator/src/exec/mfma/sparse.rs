//! Which elements of A a sparse instruction has (manual, 7.4).

use super::fast::Pairing;
use super::instruction::Instruction;
use crate::exec::{Lanes, Trap};
use crate::isa::Inst;

/// The k of each stored element of A: by row, then in the order of the elements.
#[derive(Clone, Copy)]
pub(super) struct Index<'a>(pub &'a Depths);

/// [`Index`]'s table.
pub(super) type Depths = [[u8; 32]; 32];

impl Pairing for Index<'_> {
    #[inline(always)]
    fn depth(self, row: usize, k: usize) -> usize {
        usize::from(self.0[row][k])
    }
}

/// Reads the index register: two bits for each stored element, saying which of its four it is.
///
/// A lane has as many sets of them as fit; ABID picks one, unless CBSZ says that it is the first.
pub(super) fn depths(inst: &Inst, matrix: Instruction, index: &Lanes) -> Result<Depths, Trap> {
    let name = inst.op.name();
    let (cbsz, abid) = (inst.modifiers.cbsz, inst.modifiers.abid);
    let shape = matrix.shape;
    let stored = shape.items() / 2;
    let num_bits = 2 * stored;
    let sets = 32 / num_bits;
    if cbsz > 3 || cbsz == 0 && usize::from(abid) >= sets {
        return Err(Trap::Undefined(format!("{name} cannot have cbsz:{cbsz} abid:{abid}")));
    }
    let set = if cbsz == 0 { usize::from(abid) } else { 0 };
    let mut depths = [[0; 32]; 32];
    for (lane, bits) in index.iter().enumerate() {
        let (row, group) = (lane % shape.side, lane / shape.side);
        for item in 0..stored {
            let place = |item: usize| bits >> (set * num_bits + 2 * item) & 3;
            if item % 2 == 1 && place(item - 1) >= place(item) {
                return Err(Trap::Undefined(format!(
                    "{name}: lane {lane}: the index {bits:#010x} does not name two of four in ascending order"
                )));
            }
            let k = group * shape.items() + item / 2 * 4 + place(item) as usize;
            depths[row][group * stored + item] = k as u8;
        }
    }
    Ok(depths)
}
