//! What an instruction reads and writes, by register.

use crate::exec::{Slot, Unit, Wave};
use crate::isa::{Extra, Flags, Format, Inst, Op, Operand, SdwaSelect, traits};

/// Registers by operand code: scalar ones below 128, VGPRs from 256 on, AccVGPRs from 512 on.
pub(super) const NUM_REGISTERS: usize = 768;

/// What a register is read for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Source `i` of arithmetic.
    Source(u8),
    /// The old value of the result: an accumulator, or a part that is kept.
    Old,
    /// A lane mask.
    Mask,
    /// Which lane, or which register.
    Select,
    /// A part of an address, a resource included.
    Address,
    /// What is stored.
    Data,
}

/// Consecutive registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub first: u16,
    pub len: u16,
}

impl Span {
    fn new(operand: Operand, dwords: u8) -> Option<Self> {
        let first = operand.0;
        let end = if operand.is_scalar_register() {
            128
        } else if operand.vector_index().is_some() {
            if first < Operand::ACC0.0 { Operand::ACC0.0 } else { NUM_REGISTERS as u16 }
        } else {
            return None;
        };
        Some(Self { first, len: u16::from(dwords).min(end - first) })
    }

    pub fn registers(self) -> impl Iterator<Item = usize> + use<> {
        usize::from(self.first)..usize::from(self.first + self.len)
    }

    pub fn is_scalar(self) -> bool {
        self.first < 128
    }

    fn shifted(self, index: u16) -> Self {
        Self { first: (self.first + index).min(NUM_REGISTERS as u16 - self.len), len: self.len }
    }
}

/// What executes an instruction, as far as wait states tell the difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    Scalar,
    /// Vector arithmetic of any kind but MFMA.
    Vector,
    Matrix,
    ScalarMemory,
    Lds,
    VectorMemory,
    Other,
}

/// What an instruction reads and writes.
#[derive(Clone, Debug)]
pub(super) struct Effects {
    pub inst: Inst,
    pub unit: Unit,
    pub class: Class,
    pub reads: Vec<(Span, Role)>,
    pub writes: Vec<Span>,
    /// A part of the result's register only is written, at other bits than it is computed at.
    pub shifts_result: bool,
}

impl Effects {
    pub fn of(slot: &Slot) -> Self {
        let inst = slot.inst;
        let mut effects = Self {
            inst,
            unit: slot.unit,
            class: class(slot),
            reads: Vec::new(),
            writes: Vec::new(),
            shifts_result: shifts_result(&inst),
        };
        effects.explicit_reads();
        effects.implicit_reads();
        effects.results();
        effects
    }

    /// The same while `s_set_gpr_idx` moves the VGPRs of `wave`'s vector arithmetic.
    pub fn indexed(&self, wave: &Wave) -> Option<Self> {
        let is_vector = matches!(self.unit, Unit::Vector | Unit::Transcendental | Unit::Packed);
        if !is_vector || !wave.mode.gpr_index() {
            return None;
        }
        let m0 = wave.scalar(Operand::M0.0);
        let (index, enabled) = (m0 as u16 & 0xff, m0 >> 12);
        let mut moved = self.clone();
        for (span, role) in &mut moved.reads {
            let bit = match role {
                Role::Source(i) => u32::from(*i),
                _ => 3,
            };
            if !span.is_scalar() && enabled >> bit & 1 != 0 {
                *span = span.shifted(index);
            }
        }
        for span in &mut moved.writes {
            if !span.is_scalar() && enabled >> 3 & 1 != 0 {
                *span = span.shifted(index);
            }
        }
        Some(moved)
    }

    fn read(&mut self, operand: Operand, dwords: u8, role: Role) {
        if let Some(span) = Span::new(operand, dwords).filter(|span| span.len > 0) {
            self.reads.push((span, role));
        }
    }

    fn write(&mut self, operand: Operand, dwords: u8) {
        if let Some(span) = Span::new(operand, dwords).filter(|span| span.len > 0) {
            self.writes.push(span);
        }
    }

    fn explicit_reads(&mut self) {
        let inst = self.inst;
        let info = inst.op.info();
        for (i, (&operand, form)) in inst.src.iter().zip(&info.src).enumerate() {
            let (dwords, role) = match (inst.format, i) {
                (Format::Flat, 0) => (2, Role::Address),
                (Format::Global, 0) => (if inst.src[2].is_some() { 1 } else { 2 }, Role::Address),
                (Format::Global, 2) => (2, Role::Address),
                (Format::Scratch, 0 | 2) => (1, Role::Address),
                (Format::Mubuf | Format::Mtbuf, 0) => {
                    let both = inst.flags.has(Flags(Flags::OFFEN.0 | Flags::IDXEN.0));
                    (if both { 2 } else { 1 }, Role::Address)
                }
                (Format::Mubuf | Format::Mtbuf, 1) => (form.dwords, Role::Data),
                (Format::Mubuf | Format::Mtbuf, _) => (form.dwords, Role::Address),
                (Format::Smem, 0) => (form.dwords, Role::Address),
                (Format::Smem, _) => (1, Role::Address),
                (Format::Ds, 0) if inst.op == Op::ds_swizzle_b32 => (1, Role::Source(0)),
                (Format::Ds, 0) => (form.dwords, Role::Address),
                (Format::Flat | Format::Global | Format::Scratch | Format::Ds, _) => {
                    (form.dwords, Role::Data)
                }
                _ if i == info.num_sources() && info.has(traits::MASK_IN) => (2, Role::Mask),
                _ if i == 1 && matches!(inst.op, Op::v_readlane_b32 | Op::v_writelane_b32) => {
                    (1, Role::Select)
                }
                _ => (form.dwords, Role::Source(i as u8)),
            };
            self.read(operand, dwords, role);
        }
    }

    fn implicit_reads(&mut self) {
        let inst = self.inst;
        let info = inst.op.info();
        if info.has(traits::VCC_IN) {
            self.read(Operand::VCC, 2, Role::Mask);
        }
        if info.has(traits::M0_IN) || inst.flags.has(Flags::LDS) {
            self.read(Operand::M0, 1, Role::Select);
        }
        let is_memory = matches!(self.unit, Unit::ScalarMemory);
        if info.has(traits::DST_IN) {
            self.read(
                inst.dst,
                info.dst.dwords,
                if is_memory { Role::Data } else { Role::Source(0) },
            );
        } else if is_memory && info.has(traits::ATOMIC) {
            self.read(inst.dst, info.dst.dwords, Role::Data);
        } else if info.has(traits::ACCUM) || self.keeps_old() {
            self.read(inst.dst, info.dst.dwords, Role::Old);
        }
    }

    /// Whether bits of the result's register stay, by the encoding rather than the operation.
    fn keeps_old(&self) -> bool {
        match self.inst.extra {
            Extra::Sdwa(sdwa) => {
                sdwa.dst_unused == 2 && sdwa.dst_sel != SdwaSelect::Dword && self.inst.dst.is_some()
            }
            _ => self.inst.format == Format::Vop3 && self.inst.modifiers.op_sel & 8 != 0,
        }
    }

    fn results(&mut self) {
        let inst = self.inst;
        let info = inst.op.info();
        let scalar_memory = self.unit == Unit::ScalarMemory;
        let returns = !(scalar_memory && info.has(traits::ATOMIC)) || inst.flags.has(Flags::GLC);
        if !info.has(traits::DST_IN) && returns {
            self.write(inst.dst, info.dst.dwords);
        }
        self.write(inst.sdst, 2);
        if info.has(traits::EXEC_OUT) {
            self.write(Operand::EXEC, 2);
        }
        match inst.op {
            Op::v_swap_b32 => self.write(inst.src[0], 1),
            Op::s_set_gpr_idx_on | Op::s_set_gpr_idx_idx | Op::s_set_gpr_idx_mode => {
                self.write(Operand::M0, 1);
            }
            // Which register, only M0 tells.
            Op::s_movreld_b32 | Op::s_movreld_b64 => self.write(Operand(0), 102),
            Op::s_movrels_b32 | Op::s_movrels_b64 => self.read(Operand(0), 102, Role::Source(0)),
            _ => {}
        }
    }

    /// The registers that are read as `role`.
    pub fn reads_as(&self, role: Role) -> impl Iterator<Item = Span> + '_ {
        self.reads.iter().filter(move |(_, r)| *r == role).map(|&(span, _)| span)
    }

    pub fn is_dot(&self) -> bool {
        self.inst.op.name().starts_with("v_dot")
    }

    pub fn is_transcendental(&self) -> bool {
        self.unit == Unit::Transcendental
    }

    /// Whether it counts in `vmcnt`.
    pub fn is_vector_memory(&self) -> bool {
        self.class == Class::VectorMemory
    }

    /// Whether it loads into LDS.
    pub fn loads_to_lds(&self) -> bool {
        self.is_vector_memory()
            && (self.inst.op.info().has(traits::LDS_DMA) || self.inst.flags.has(Flags::LDS))
    }
}

fn class(slot: &Slot) -> Class {
    match slot.unit {
        Unit::Scalar => Class::Scalar,
        Unit::Vector | Unit::Transcendental | Unit::Packed => Class::Vector,
        Unit::Matrix if slot.inst.op.info().has(traits::MATRIX) => Class::Matrix,
        Unit::Matrix => Class::Vector,
        Unit::ScalarMemory => Class::ScalarMemory,
        Unit::Lds => Class::Lds,
        // About caches.
        Unit::VectorMemory if matches!(slot.inst.op, Op::buffer_inv | Op::buffer_wbl2) => {
            Class::Other
        }
        Unit::VectorMemory => Class::VectorMemory,
        Unit::Control => match slot.inst.op {
            Op::s_getpc_b64 | Op::s_setpc_b64 | Op::s_swappc_b64 | Op::s_call_b64 => Class::Scalar,
            _ => Class::Other,
        },
    }
}

fn shifts_result(inst: &Inst) -> bool {
    match inst.extra {
        Extra::Sdwa(sdwa) => sdwa.dst_sel != SdwaSelect::Dword && inst.dst.is_some(),
        _ => inst.format == Format::Vop3 && inst.modifiers.op_sel & 8 != 0,
    }
}
