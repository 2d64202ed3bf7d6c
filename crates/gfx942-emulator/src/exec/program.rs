//! A kernel's code, decoded once.

use super::{Registers, Unit};
use crate::isa::Inst;

/// A decoded instruction with what is looked up per instruction.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The instruction.
    pub inst: Inst,
    /// What executes it.
    pub unit: Unit,
    /// What registers it needs.
    pub needs: Registers,
}

impl Slot {
    /// `inst`, looked up.
    pub fn new(inst: Inst) -> Self {
        Self { unit: Unit::of(&inst), needs: Registers::of(&inst), inst }
    }
}

/// Code at consecutive addresses, decoded at every word: any word may be jumped to.
pub struct Program {
    base: u64,
    slots: Vec<Option<Slot>>,
}

impl Program {
    /// Decodes `code`, which lies at address `base`, with `decode`. Words that are no instruction (data, padding) are an
    /// error only when a wave gets there.
    pub fn decode(base: u64, code: &[u8], decode: impl Fn(&[u8]) -> Option<Inst>) -> Self {
        let slot = |word| decode(&code[word * 4..]).map(Slot::new);
        let slots = (0..code.len() / 4).map(slot).collect();
        Self { base, slots }
    }

    /// Instructions that somebody else decoded, one after the other from `base` on.
    pub fn new(base: u64, instructions: impl IntoIterator<Item = Inst>) -> Self {
        let mut slots = Vec::new();
        for inst in instructions {
            slots.push(Some(Slot::new(inst)));
            slots.extend((4..inst.size).step_by(4).map(|_| None));
        }
        Self { base, slots }
    }

    /// The instruction at `pc`, if there is one.
    #[inline(always)]
    pub fn at(&self, pc: u64) -> Option<&Slot> {
        let offset = pc.wrapping_sub(self.base);
        let index = usize::try_from(offset / 4).ok()?;
        if offset.is_multiple_of(4) { self.slots.get(index)?.as_ref() } else { None }
    }

    /// The address of the first instruction.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// All instructions, also those that start in the middle of another.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }
}
