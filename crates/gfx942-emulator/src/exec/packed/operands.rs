//! Sources of two halves, and results in the active lanes.

use crate::WAVE_SIZE;
use crate::exec::sources::{Kind, scalar};
use crate::exec::{Lanes, Trap, Wave};
use crate::isa::{Flags, Format, Inst, Operand};
use crate::simd;

/// The halves that source `index` gives to the low and to the high result. Without VOP3P's fields: each to its own.
pub(super) fn halves(inst: &Inst, index: usize) -> [bool; 2] {
    let modifiers = inst.modifiers;
    match inst.format {
        Format::Vop3p => [modifiers.op_sel, modifiers.op_sel_hi].map(|bits| bits >> index & 1 != 0),
        _ => [false, true],
    }
}

/// Source `index` in all lanes, 32 bits as they are.
///
/// An integer constant is its 32 bits, whatever the type. A floating-point constant is an f16 below sixteen zeros for
/// [`Kind::F16`], and an f32 otherwise (LLVM, `getInlineEncodingV216`).
pub(super) fn source(wave: &Wave, inst: &Inst, index: usize, kind: Kind) -> Result<Lanes, Trap> {
    let operand = inst.src[index];
    if let Some(register) = operand.vector_index() {
        return Ok(*wave.vector(register));
    }
    if operand == Operand::LITERAL && inst.format == Format::Vop3p {
        return Err(Trap::Undefined(format!("{} cannot have a literal", inst.op.name())));
    }
    let kind = if operand.is_inline_float() { kind } else { Kind::B32 };
    Ok([scalar(wave, inst, operand, kind)? as u32; WAVE_SIZE])
}

/// Source `index` as sixteen bits for the low and sixteen for the high result, where they belong.
pub(super) fn packed(wave: &Wave, inst: &Inst, index: usize, kind: Kind) -> Result<Lanes, Trap> {
    let bits = source(wave, inst, index, kind)?;
    Ok(match halves(inst, index) {
        [false, true] => bits,
        [true, false] => bits.map(|bits| bits.rotate_left(16)),
        [false, false] => bits.map(|bits| bits << 16 | bits & 0xffff),
        [true, true] => bits.map(|bits| bits & 0xffff_0000 | bits >> 16),
    })
}

/// That the instruction has neither signs nor, unless `clamp`, a clamp.
pub(super) fn plain(inst: &Inst, clamp: bool) -> Result<(), Trap> {
    let allowed = if clamp { Flags::CLAMP.0 } else { 0 };
    if inst.modifiers.neg | inst.modifiers.abs != 0 || inst.flags.0 & !allowed != 0 {
        let (name, modifiers, flags) = (inst.op.name(), inst.modifiers, inst.flags);
        return Err(Trap::Unimplemented(format!("{name} with {modifiers:?} {flags:?}")));
    }
    Ok(())
}

/// Applies a function to each lane.
pub(super) struct Map<'a, F> {
    pub sources: [&'a Lanes; 3],
    pub function: F,
}

impl<F: Fn(u32, u32, u32) -> u32> simd::Job for Map<'_, F> {
    type Output = Lanes;

    #[inline(always)]
    fn run(self) -> Lanes {
        let [a, b, c] = self.sources;
        let mut result = [0; WAVE_SIZE];
        for (lane, result) in result.iter_mut().enumerate() {
            *result = (self.function)(a[lane], b[lane], c[lane]);
        }
        result
    }
}

/// Writes `function` of the sources to the destination, in the active lanes.
pub(super) fn map(
    wave: &mut Wave,
    inst: &Inst,
    sources: &[Lanes; 3],
    function: impl Fn(u32, u32, u32) -> u32,
) -> Result<(), Trap> {
    let result = simd::run(Map { sources: sources.each_ref(), function });
    let destination = destination(inst)?;
    wave.set_vector(destination, wave.exec, &result);
    Ok(())
}

/// The register of the result.
pub(super) fn destination(inst: &Inst) -> Result<usize, Trap> {
    inst.dst.vector_index().ok_or_else(|| {
        Trap::Undefined(format!("{}: operand {} is no vector register", inst.op.name(), inst.dst.0))
    })
}
