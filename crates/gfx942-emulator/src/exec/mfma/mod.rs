//! Matrix instructions and AccVGPR moves (manual, chapter 7).
//!
//! EXEC does not matter to a matrix instruction; the moves are ordinary vector instructions, which it masks.
//! Of MODE, only the f32 instructions see the denormal field (and only for A and B), and FP16_OVFL says what happens
//! beyond the range of the result. Every NaN that results is the same one, as its bits are not documented.

mod double;
mod exact;
mod fast;
mod instruction;
mod operands;
mod saturate;
mod sparse;

use fast::{Accumulate, Float, Integer, Pairing, Same};
use instruction::{Element, Instruction, Shape};
use operands::{Addend, Panel, Sources};
use sparse::Index;

use super::{Context, Lanes, Trap, Wave};
use crate::isa::{Flags, Inst, Op};
use crate::numeric::{Fp8, bf16, f16, flush_f32, xf32};
use crate::simd;

/// The NaN of every f32 result that is one.
const NAN: u32 = 0x7fc0_0000;

/// How products are added up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accuracy {
    /// As a chain of FMAs in the order of k.
    Fast,
    /// As the hardware was measured to.
    Exact,
}

/// Executes `inst`.
pub(super) fn execute<O>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    run(wave, inst, if context.options.exact_mfma { Accuracy::Exact } else { Accuracy::Fast })
}

/// Executes a matrix instruction or an AccVGPR move.
///
/// # Errors
/// Modifiers that the instruction does not have, registers beyond the file, an index that is none, and in
/// [`Accuracy::Exact`] the sparse instructions with floating-point inputs, for which nobody published a model.
pub fn run(wave: &mut Wave, inst: &Inst, accuracy: Accuracy) -> Result<(), Trap> {
    if matches!(inst.op, Op::v_accvgpr_read_b32 | Op::v_accvgpr_write_b32 | Op::v_accvgpr_mov_b32) {
        return move_register(wave, inst);
    }
    let unknown = || Trap::Unimplemented(inst.op.name().into());
    let matrix = Instruction::of(inst.op).ok_or_else(unknown)?;
    if inst.flags != Flags::default() || inst.modifiers.omod != 0 {
        return Err(Trap::Unimplemented(format!("{} with {:?}", inst.op.name(), inst.flags)));
    }
    let d = operands::registers(inst, inst.dst, matrix.num_d())?;
    let a = operands::registers(inst, inst.src[0], matrix.num_a())?;
    let b = operands::registers(inst, inst.src[1], matrix.num_b())?;
    let addend = Addend::of(inst, matrix, &d)?;
    let Some(elements) = matrix.elements else {
        // CBSZ and ABID mean nothing here, and BLGP is the signs of A, B and C.
        let [negate_a, negate_b, negate_c] =
            [0, 1, 2].map(|bit| inst.modifiers.blgp >> bit & 1 != 0);
        let a = double::unpack(wave.vectors(a), negate_a);
        let b = double::unpack(wave.vectors(b), negate_b);
        addend.place(wave, &d, true);
        let d = wave.vectors_mut(d);
        simd::run(double::Accumulate { shape: matrix.shape, a: &a, b: &b, negate_c, d });
        return Ok(());
    };
    let depths;
    let (index, sources_of_a) = if matrix.sparse {
        if accuracy == Accuracy::Exact && elements[0] != Element::I8 {
            return Err(Trap::Unimplemented(format!("bit-exact {}", inst.op.name())));
        }
        let register = operands::registers(inst, inst.src[2], 1)?;
        depths = sparse::depths(inst, matrix, wave.vector(register.start))?;
        (Some(Index(&depths)), None)
    } else {
        (None, operands::sources_of_a(inst, matrix)?)
    };
    let sources_of_b = operands::sources_of_b(inst, matrix)?;
    let shape = matrix.shape;
    let multiply =
        Multiply { wave, shape, elements, a, b, d, addend, sources_of_a, sources_of_b, accuracy };
    match index {
        Some(index) => multiply.run(index),
        None => multiply.run(Same),
    }
    Ok(())
}

/// A matrix instruction with results of 32 bits, all of whose operands have been checked.
struct Multiply<'a> {
    wave: &'a mut Wave,
    shape: Shape,
    elements: [Element; 2],
    a: std::ops::Range<usize>,
    b: std::ops::Range<usize>,
    d: std::ops::Range<usize>,
    addend: Addend,
    sources_of_a: Option<Sources>,
    sources_of_b: Option<Sources>,
    accuracy: Accuracy,
}

impl Multiply<'_> {
    fn run<P: Pairing>(self, pairing: P) {
        let Self { wave, shape, elements, d, .. } = self;
        let keep_denormals = wave.mode.denorm_f32() & 1 != 0;
        let (mut a, mut b) = (Panel::new(shape.rows()), Panel::new(shape.rows()));
        let operands = [(&mut a, self.a, &self.sources_of_a), (&mut b, self.b, &self.sources_of_b)];
        for ((panel, registers, sources), element) in operands.into_iter().zip(elements) {
            let registers = wave.vectors(registers);
            simd::run(Unpack {
                panel,
                element,
                registers,
                sources: sources.as_ref(),
                keep_denormals,
            });
        }
        self.addend.place(wave, &d, false);
        let integers = elements[0] == Element::I8;
        if wave.mode.fp16_ovfl() && integers {
            return saturate::integers(shape, &a, &b, pairing, wave.vectors_mut(d));
        }
        let c = wave.mode.fp16_ovfl().then(|| wave.vectors(d.clone()).to_vec());
        let d = wave.vectors_mut(d);
        // The model of f32 is the chain of FMAs, and integers are exact.
        if integers {
            simd::run(Accumulate { shape, a: &a, b: &b, pairing, sum: Integer, d });
            return;
        }
        if self.accuracy == Accuracy::Exact && elements[0] != Element::F32 {
            exact::accumulate(shape, elements, &a, &b, d);
        } else {
            simd::run(Accumulate { shape, a: &a, b: &b, pairing, sum: Float, d: &mut *d });
        }
        if let Some(c) = c {
            saturate::floats(shape, &a, &b, pairing, &c, d);
        }
    }
}

/// Takes A or B apart.
struct Unpack<'a> {
    panel: &'a mut Panel,
    element: Element,
    registers: &'a [Lanes],
    sources: Option<&'a Sources>,
    keep_denormals: bool,
}

impl simd::Job for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { panel, element, registers, sources, keep_denormals } = self;
        match element {
            Element::F32 if keep_denormals => panel.unpack::<1>(registers, sources, f32::from_bits),
            Element::F32 => {
                panel.unpack::<1>(registers, sources, |bits| f32::from_bits(flush_f32(bits)));
            }
            Element::Xf32 => {
                panel.unpack::<1>(registers, sources, |bits| f32::from_bits(xf32(bits)))
            }
            Element::F16 => panel.unpack::<2>(registers, sources, |bits| f16::to_f32(bits as u16)),
            Element::Bf16 => {
                panel.unpack::<2>(registers, sources, |bits| bf16::to_f32(bits as u16))
            }
            Element::Fp8(Fp8::Fp8) => {
                panel.unpack::<4>(registers, sources, |bits| Fp8::Fp8.to_f32(bits as u8));
            }
            Element::Fp8(Fp8::Bf8) => {
                panel.unpack::<4>(registers, sources, |bits| Fp8::Bf8.to_f32(bits as u8));
            }
            Element::I8 => panel.unpack::<4>(registers, sources, |bits| f32::from(bits as i8)),
        }
    }
}

/// Copies a register to or from the accumulation file, in the active lanes.
fn move_register(wave: &mut Wave, inst: &Inst) -> Result<(), Trap> {
    let to = operands::registers(inst, inst.dst, 1)?.start;
    let from = inst.src[0];
    let values = match from.vector_index() {
        Some(index) => *wave.vector(index),
        None if from.is_scalar_register() => [wave.scalar(from.0); crate::WAVE_SIZE],
        None => {
            let name = inst.op.name();
            let wrong = || Trap::Undefined(format!("{name} cannot read operand {}", from.0));
            [operands::constant(from, false).ok_or_else(wrong)? as u32; crate::WAVE_SIZE]
        }
    };
    let exec = wave.exec;
    for (lane, (to, value)) in wave.vector_mut(to).iter_mut().zip(values).enumerate() {
        *to = if exec >> lane & 1 != 0 { value } else { *to };
    }
    Ok(())
}
