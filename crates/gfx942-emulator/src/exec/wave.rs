//! The architectural state of one wave.

use std::ops::Range;

use super::Registers;
use crate::WAVE_SIZE;
use crate::isa::Operand;

/// One register across the wave.
pub type Lanes = [u32; WAVE_SIZE];

/// Vector registers of a wave: 256 VGPRs, then 256 AccVGPRs.
const NUM_VECTOR_REGISTERS: usize = 512;

/// Scalar operand codes that name a register.
const NUM_SCALAR_REGISTERS: usize = 128;

/// For every byte of a mask, all ones in the lanes that it has: a table is what both SSE and AVX load fast.
static SELECTS: [[u32; 8]; 256] = {
    let mut selects = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut lane = 0;
        while lane < 8 {
            if byte >> lane & 1 != 0 {
                selects[byte][lane] = u32::MAX;
            }
            lane += 1;
        }
        byte += 1;
    }
    selects
};

/// The lanes of `mask`, all ones in each, zeros in the others.
#[inline(always)]
pub(super) fn expand(mask: u64) -> Lanes {
    let mut lanes = [0; WAVE_SIZE];
    for (lanes, byte) in lanes.chunks_exact_mut(8).zip(mask.to_le_bytes()) {
        lanes.copy_from_slice(&SELECTS[usize::from(byte)]);
    }
    lanes
}

/// The MODE register (manual, 3.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode(pub u32);

impl Mode {
    /// Rounding of f32: 0 nearest even, 1 up, 2 down, 3 toward zero.
    pub const fn round_f32(self) -> u32 {
        self.0 & 3
    }

    /// Rounding of f16 and f64, in the same code.
    pub const fn round_f16_f64(self) -> u32 {
        self.0 >> 2 & 3
    }

    /// f32 denormals: bit 0 sources are kept, bit 1 results are kept.
    pub const fn denorm_f32(self) -> u32 {
        self.0 >> 4 & 3
    }

    /// f16 and f64 denormals, in the same code.
    pub const fn denorm_f16_f64(self) -> u32 {
        self.0 >> 6 & 3
    }

    /// Whether a clamp turns NaN into 0.
    pub const fn dx10_clamp(self) -> bool {
        self.0 >> 8 & 1 != 0
    }

    /// Whether signalling NaNs are quieted and `min`/`max` follow IEEE 754-2008.
    pub const fn ieee(self) -> bool {
        self.0 >> 9 & 1 != 0
    }

    /// Whether f16 and FP8 overflows saturate.
    pub const fn fp16_ovfl(self) -> bool {
        self.0 >> 23 & 1 != 0
    }

    /// Whether M0 moves the VGPRs that vector instructions name.
    pub const fn gpr_index(self) -> bool {
        self.0 >> 27 & 1 != 0
    }

    /// The same mode with VGPR indexing on or off.
    pub const fn with_gpr_index(self, on: bool) -> Self {
        Self(self.0 & !(1 << 27) | (on as u32) << 27)
    }

    /// Whether vector instructions are skipped.
    pub const fn vskip(self) -> bool {
        self.0 >> 28 & 1 != 0
    }

    /// The same mode with vector instructions skipped or not.
    pub const fn with_vskip(self, on: bool) -> Self {
        Self(self.0 & !(1 << 28) | (on as u32) << 28)
    }
}

/// The architectural state of one wave.
pub struct Wave {
    /// Byte offset of the next instruction in the code.
    pub pc: u64,
    /// Active lanes.
    pub exec: u64,
    /// The scalar condition code.
    pub scc: bool,
    /// Floating-point and other modes.
    pub mode: Mode,
    /// What `s_getreg` reads as HW_ID.
    pub hw_id: u32,
    /// What `s_getreg` reads as XCC_ID.
    pub xcc_id: u32,
    /// The registers that it has.
    pub registers: Registers,
    scalar: [u32; NUM_SCALAR_REGISTERS],
    vector: Box<[Lanes]>,
}

impl Wave {
    /// A wave at `pc` that has all registers; they hold `poison`.
    pub fn new(pc: u64, mode: Mode, exec: u64, poison: u32) -> Self {
        Self {
            pc,
            exec,
            scc: false,
            mode,
            hw_id: 0,
            xcc_id: 0,
            registers: Registers::ALL,
            scalar: [poison; NUM_SCALAR_REGISTERS],
            vector: vec![[poison; WAVE_SIZE]; NUM_VECTOR_REGISTERS].into(),
        }
    }

    /// The same wave to start again: it has `registers`, which hold `poison`, and so do all scalar ones.
    pub(crate) fn reset(
        &mut self,
        pc: u64,
        mode: Mode,
        exec: u64,
        poison: u32,
        registers: Registers,
    ) {
        (self.pc, self.mode, self.exec, self.scc) = (pc, mode, exec, false);
        self.registers = registers;
        self.scalar.fill(poison);
        let files = self.vector.chunks_exact_mut(NUM_VECTOR_REGISTERS / 2);
        for (file, count) in files.zip(registers.vectors()) {
            file.iter_mut().take(count).for_each(|register| register.fill(poison));
        }
    }

    /// The vector register at `index` (0–255 VGPRs, 256–511 AccVGPRs: [`Operand::vector_index`]).
    pub fn vector(&self, index: usize) -> &Lanes {
        &self.vector[index]
    }

    /// The same, to write.
    pub fn vector_mut(&mut self, index: usize) -> &mut Lanes {
        &mut self.vector[index]
    }

    /// Consecutive vector registers.
    pub fn vectors(&self, indices: Range<usize>) -> &[Lanes] {
        &self.vector[indices]
    }

    /// The same, to write.
    pub fn vectors_mut(&mut self, indices: Range<usize>) -> &mut [Lanes] {
        &mut self.vector[indices]
    }

    /// Copies consecutive vector registers to those from `to` on; the two runs may overlap.
    pub fn copy_vectors(&mut self, from: Range<usize>, to: usize) {
        self.vector.copy_within(from, to);
    }

    /// Writes the lanes in `mask` of the vector register at `index`.
    #[inline(always)]
    pub fn set_vector(&mut self, index: usize, mask: u64, lanes: &Lanes) {
        let register = &mut self.vector[index];
        if mask == u64::MAX {
            *register = *lanes;
            return;
        }
        // A loop that might write what it reads next is not vectorised: hence a copy, and no closure.
        let (mut merged, select) = (*register, expand(mask));
        for i in 0..WAVE_SIZE {
            merged[i] ^= (merged[i] ^ lanes[i]) & select[i];
        }
        *register = merged;
    }

    /// The scalar register with operand code `code`, below 128.
    pub fn scalar(&self, code: u16) -> u32 {
        match code {
            126 => self.exec as u32,
            127 => (self.exec >> 32) as u32,
            _ => self.scalar[usize::from(code)],
        }
    }

    /// Two scalar registers, low half first.
    pub fn scalar64(&self, code: u16) -> u64 {
        u64::from(self.scalar(code)) | u64::from(self.scalar(code + 1)) << 32
    }

    /// Writes the scalar register with operand code `code`, below 128.
    pub fn set_scalar(&mut self, code: u16, value: u32) {
        match code {
            126 => self.exec = self.exec & !0xffff_ffff | u64::from(value),
            127 => self.exec = self.exec & 0xffff_ffff | u64::from(value) << 32,
            _ => self.scalar[usize::from(code)] = value,
        }
    }

    /// Writes two scalar registers, low half first.
    pub fn set_scalar64(&mut self, code: u16, value: u64) {
        self.set_scalar(code, value as u32);
        self.set_scalar(code + 1, (value >> 32) as u32);
    }

    /// `vcc`.
    pub fn vcc(&self) -> u64 {
        self.scalar64(Operand::VCC.0)
    }
}
