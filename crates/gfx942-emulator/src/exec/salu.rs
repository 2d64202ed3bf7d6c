//! Scalar arithmetic (manual, chapter 5 and 12.1 to 12.4).

use super::sources::{scalar32, scalar64, set_scalar32, set_scalar64};
use super::{Trap, Wave, hwreg};
use crate::isa::{Inst, Op, Operand};

/// Executes `inst`.
pub(super) fn execute(wave: &mut Wave, inst: &Inst) -> Result<(), Trap> {
    let mut s = Scalar { wave, inst };
    let done = s.logic()?
        || s.arithmetic()?
        || s.compare()?
        || s.constant()?
        || s.bits()?
        || s.exec_mask()?
        || s.special()?;
    if done { Ok(()) } else { Err(Trap::Unimplemented(inst.op.name().into())) }
}

/// An instruction in execution. Each group's method tells whether the operation was one of its own.
struct Scalar<'w> {
    wave: &'w mut Wave,
    inst: &'w Inst,
}

type Done = Result<bool, Trap>;

impl Scalar<'_> {
    fn a32(&self) -> Result<u32, Trap> {
        scalar32(self.wave, self.inst, self.inst.src[0])
    }

    fn b32(&self) -> Result<u32, Trap> {
        scalar32(self.wave, self.inst, self.inst.src[1])
    }

    fn a64(&self) -> Result<u64, Trap> {
        scalar64(self.wave, self.inst, self.inst.src[0])
    }

    fn b64(&self) -> Result<u64, Trap> {
        scalar64(self.wave, self.inst, self.inst.src[1])
    }

    /// What the destination holds.
    fn d32(&self) -> Result<u32, Trap> {
        scalar32(self.wave, self.inst, self.inst.dst)
    }

    fn put32(&mut self, value: u32) -> Done {
        set_scalar32(self.wave, self.inst.dst, value)?;
        Ok(true)
    }

    fn put64(&mut self, value: u64) -> Done {
        set_scalar64(self.wave, self.inst.dst, value)?;
        Ok(true)
    }

    /// Writes a result and whether it is not zero.
    fn test32(&mut self, value: u32) -> Done {
        self.wave.scc = value != 0;
        self.put32(value)
    }

    fn test64(&mut self, value: u64) -> Done {
        self.wave.scc = value != 0;
        self.put64(value)
    }

    /// Writes a result and the condition.
    fn carry(&mut self, (value, condition): (u32, bool)) -> Done {
        self.wave.scc = condition;
        self.put32(value)
    }

    fn condition(&mut self, condition: bool) -> Done {
        self.wave.scc = condition;
        Ok(true)
    }

    fn simm16(&self) -> i32 {
        i32::from(self.inst.offset as i16)
    }

    /// Moves and bitwise operations.
    fn logic(&mut self) -> Done {
        use Op::*;
        match self.inst.op {
            s_mov_b32 => self.put32(self.a32()?),
            s_mov_b64 => self.put64(self.a64()?),
            s_and_b32 => self.test32(self.a32()? & self.b32()?),
            s_and_b64 => self.test64(self.a64()? & self.b64()?),
            s_or_b32 => self.test32(self.a32()? | self.b32()?),
            s_or_b64 => self.test64(self.a64()? | self.b64()?),
            s_xor_b32 => self.test32(self.a32()? ^ self.b32()?),
            s_xor_b64 => self.test64(self.a64()? ^ self.b64()?),
            s_andn2_b32 => self.test32(self.a32()? & !self.b32()?),
            s_andn2_b64 => self.test64(self.a64()? & !self.b64()?),
            s_orn2_b32 => self.test32(self.a32()? | !self.b32()?),
            s_orn2_b64 => self.test64(self.a64()? | !self.b64()?),
            s_nand_b32 => self.test32(!(self.a32()? & self.b32()?)),
            s_nand_b64 => self.test64(!(self.a64()? & self.b64()?)),
            s_nor_b32 => self.test32(!(self.a32()? | self.b32()?)),
            s_nor_b64 => self.test64(!(self.a64()? | self.b64()?)),
            s_xnor_b32 => self.test32(!(self.a32()? ^ self.b32()?)),
            s_xnor_b64 => self.test64(!(self.a64()? ^ self.b64()?)),
            s_not_b32 => self.test32(!self.a32()?),
            s_not_b64 => self.test64(!self.a64()?),
            s_lshl_b32 => self.test32(self.a32()? << (self.b32()? & 31)),
            s_lshl_b64 => self.test64(self.a64()? << (self.b32()? & 63)),
            s_lshr_b32 => self.test32(self.a32()? >> (self.b32()? & 31)),
            s_lshr_b64 => self.test64(self.a64()? >> (self.b32()? & 63)),
            s_ashr_i32 => self.test32((self.a32()? as i32 >> (self.b32()? & 31)) as u32),
            s_ashr_i64 => self.test64((self.a64()? as i64 >> (self.b32()? & 63)) as u64),
            s_cselect_b32 => self.put32(if self.wave.scc { self.a32()? } else { self.b32()? }),
            s_cselect_b64 => self.put64(if self.wave.scc { self.a64()? } else { self.b64()? }),
            s_cmov_b32 if self.wave.scc => self.put32(self.a32()?),
            s_cmov_b64 if self.wave.scc => self.put64(self.a64()?),
            s_cmov_b32 | s_cmov_b64 => Ok(true),
            s_pack_ll_b32_b16 => self.put32(self.a32()? & 0xffff | self.b32()? << 16),
            s_pack_lh_b32_b16 => self.put32(self.a32()? & 0xffff | self.b32()? & 0xffff_0000),
            s_pack_hh_b32_b16 => self.put32(self.a32()? >> 16 | self.b32()? & 0xffff_0000),
            _ => Ok(false),
        }
    }

    fn arithmetic(&mut self) -> Done {
        use Op::*;
        match self.inst.op {
            s_add_u32 => self.carry(self.a32()?.overflowing_add(self.b32()?)),
            s_sub_u32 => self.carry(self.a32()?.overflowing_sub(self.b32()?)),
            s_add_i32 => self.signed(i32::overflowing_add),
            s_sub_i32 => self.signed(i32::overflowing_sub),
            s_addc_u32 => {
                let sum =
                    u64::from(self.a32()?) + u64::from(self.b32()?) + u64::from(self.wave.scc);
                self.carry((sum as u32, sum >> 32 != 0))
            }
            s_subb_u32 => {
                let difference =
                    i64::from(self.a32()?) - i64::from(self.b32()?) - i64::from(self.wave.scc);
                self.carry((difference as u32, difference < 0))
            }
            s_min_i32 => self.select(|a, b| (a as i32) < b as i32),
            s_min_u32 => self.select(|a, b| a < b),
            s_max_i32 => self.select(|a, b| a as i32 >= b as i32),
            s_max_u32 => self.select(|a, b| a >= b),
            s_mul_i32 => self.put32(self.a32()?.wrapping_mul(self.b32()?)),
            s_mul_hi_u32 => {
                self.put32(((u64::from(self.a32()?) * u64::from(self.b32()?)) >> 32) as u32)
            }
            s_mul_hi_i32 => self.put32(
                ((i64::from(self.a32()? as i32) * i64::from(self.b32()? as i32)) >> 32) as u32,
            ),
            s_abs_i32 => self.test32((self.a32()? as i32).wrapping_abs() as u32),
            s_absdiff_i32 => {
                self.test32((self.a32()?.wrapping_sub(self.b32()?) as i32).wrapping_abs() as u32)
            }
            s_sext_i32_i8 => self.put32(self.a32()? as i8 as u32),
            s_sext_i32_i16 => self.put32(self.a32()? as i16 as u32),
            s_lshl1_add_u32 => self.shift_add(1),
            s_lshl2_add_u32 => self.shift_add(2),
            s_lshl3_add_u32 => self.shift_add(3),
            s_lshl4_add_u32 => self.shift_add(4),
            _ => Ok(false),
        }
    }

    fn signed(&mut self, f: fn(i32, i32) -> (i32, bool)) -> Done {
        let (value, overflow) = f(self.a32()? as i32, self.b32()? as i32);
        self.carry((value as u32, overflow))
    }

    fn select(&mut self, first: fn(u32, u32) -> bool) -> Done {
        let (a, b) = (self.a32()?, self.b32()?);
        let chosen = first(a, b);
        self.carry((if chosen { a } else { b }, chosen))
    }

    fn shift_add(&mut self, shift: u32) -> Done {
        let sum = (u64::from(self.a32()?) << shift) + u64::from(self.b32()?);
        self.carry((sum as u32, sum >> 32 != 0))
    }

    /// Searches, counts, fields.
    fn bits(&mut self) -> Done {
        use Op::*;
        match self.inst.op {
            s_brev_b32 => self.put32(self.a32()?.reverse_bits()),
            s_brev_b64 => self.put64(self.a64()?.reverse_bits()),
            s_bcnt0_i32_b32 => self.test32(self.a32()?.count_zeros()),
            s_bcnt0_i32_b64 => self.test32(self.a64()?.count_zeros()),
            s_bcnt1_i32_b32 => self.test32(self.a32()?.count_ones()),
            s_bcnt1_i32_b64 => self.test32(self.a64()?.count_ones()),
            s_ff0_i32_b32 => self.put32(found(self.a32()?.trailing_ones(), 32)),
            s_ff0_i32_b64 => self.put32(found(self.a64()?.trailing_ones(), 64)),
            s_ff1_i32_b32 => self.put32(found(self.a32()?.trailing_zeros(), 32)),
            s_ff1_i32_b64 => self.put32(found(self.a64()?.trailing_zeros(), 64)),
            s_flbit_i32_b32 => self.put32(found(self.a32()?.leading_zeros(), 32)),
            s_flbit_i32_b64 => self.put32(found(self.a64()?.leading_zeros(), 64)),
            s_flbit_i32 => {
                let value = self.a32()? as i32;
                self.put32(found((value ^ value >> 31).leading_zeros(), 32))
            }
            s_flbit_i32_i64 => {
                let value = self.a64()? as i64;
                self.put32(found((value ^ value >> 63).leading_zeros(), 64))
            }
            s_bitset0_b32 => self.put32(self.d32()? & !(1 << (self.a32()? & 31))),
            s_bitset1_b32 => self.put32(self.d32()? | 1 << (self.a32()? & 31)),
            s_bitset0_b64 => self
                .put64(scalar64(self.wave, self.inst, self.inst.dst)? & !(1 << (self.a32()? & 63))),
            s_bitset1_b64 => {
                self.put64(scalar64(self.wave, self.inst, self.inst.dst)? | 1 << (self.a32()? & 63))
            }
            s_bfm_b32 => self.put32(((1 << (self.a32()? & 31)) - 1) << (self.b32()? & 31)),
            s_bfm_b64 => self.put64(((1 << (self.a32()? & 63)) - 1) << (self.b32()? & 63)),
            s_bfe_u32 => {
                let [offset, width] = self.field()?;
                self.test32(low_bits(u64::from(self.a32()? >> (offset & 31)), width) as u32)
            }
            s_bfe_u64 => {
                let [offset, width] = self.field()?;
                self.test64(low_bits(self.a64()? >> offset, width))
            }
            s_bfe_i32 => {
                let [offset, width] = self.field()?;
                let value = i64::from(self.a32()? as i32 >> (offset & 31));
                self.test32(sign_extend(value, width.min(32)) as u32)
            }
            s_bfe_i64 => {
                let [offset, width] = self.field()?;
                self.test64(sign_extend(self.a64()? as i64 >> offset, width) as u64)
            }
            s_wqm_b32 => self.test32(whole_quads(u64::from(self.a32()?)) as u32),
            s_wqm_b64 => self.test64(whole_quads(self.a64()?)),
            s_quadmask_b32 => self.test32(quad_mask(u64::from(self.a32()?)) as u32),
            s_quadmask_b64 => self.test64(quad_mask(self.a64()?)),
            s_bitreplicate_b64_b32 => {
                let value = self.a32()?;
                self.put64((0..32).map(|i| (u64::from(value >> i & 1) * 3) << (2 * i)).sum())
            }
            _ => Ok(false),
        }
    }

    /// The offset and the width of a bit field, from the second source.
    fn field(&self) -> Result<[u32; 2], Trap> {
        let field = self.b32()?;
        Ok([field & 63, field >> 16 & 0x7f])
    }

    fn compare(&mut self) -> Done {
        use Op::*;
        match self.inst.op {
            s_cmp_eq_i32 | s_cmp_eq_u32 => self.condition(self.a32()? == self.b32()?),
            s_cmp_lg_i32 | s_cmp_lg_u32 => self.condition(self.a32()? != self.b32()?),
            s_cmp_gt_i32 => self.condition(self.a32()? as i32 > self.b32()? as i32),
            s_cmp_ge_i32 => self.condition(self.a32()? as i32 >= self.b32()? as i32),
            s_cmp_lt_i32 => self.condition((self.a32()? as i32) < self.b32()? as i32),
            s_cmp_le_i32 => self.condition(self.a32()? as i32 <= self.b32()? as i32),
            s_cmp_gt_u32 => self.condition(self.a32()? > self.b32()?),
            s_cmp_ge_u32 => self.condition(self.a32()? >= self.b32()?),
            s_cmp_lt_u32 => self.condition(self.a32()? < self.b32()?),
            s_cmp_le_u32 => self.condition(self.a32()? <= self.b32()?),
            s_cmp_eq_u64 => self.condition(self.a64()? == self.b64()?),
            s_cmp_lg_u64 => self.condition(self.a64()? != self.b64()?),
            s_bitcmp0_b32 => self.condition(self.a32()? >> (self.b32()? & 31) & 1 == 0),
            s_bitcmp1_b32 => self.condition(self.a32()? >> (self.b32()? & 31) & 1 == 1),
            s_bitcmp0_b64 => self.condition(self.a64()? >> (self.b32()? & 63) & 1 == 0),
            s_bitcmp1_b64 => self.condition(self.a64()? >> (self.b32()? & 63) & 1 == 1),
            _ => Ok(false),
        }
    }

    /// Operations with a 16-bit constant (SOPK).
    fn constant(&mut self) -> Done {
        use Op::*;
        let (signed, unsigned) = (self.simm16(), self.simm16() as u32 & 0xffff);
        match self.inst.op {
            s_movk_i32 => self.put32(signed as u32),
            s_cmovk_i32 if self.wave.scc => self.put32(signed as u32),
            s_cmovk_i32 => Ok(true),
            s_cmpk_eq_i32 => self.condition(self.d32()? as i32 == signed),
            s_cmpk_lg_i32 => self.condition(self.d32()? as i32 != signed),
            s_cmpk_gt_i32 => self.condition(self.d32()? as i32 > signed),
            s_cmpk_ge_i32 => self.condition(self.d32()? as i32 >= signed),
            s_cmpk_lt_i32 => self.condition((self.d32()? as i32) < signed),
            s_cmpk_le_i32 => self.condition(self.d32()? as i32 <= signed),
            s_cmpk_eq_u32 => self.condition(self.d32()? == unsigned),
            s_cmpk_lg_u32 => self.condition(self.d32()? != unsigned),
            s_cmpk_gt_u32 => self.condition(self.d32()? > unsigned),
            s_cmpk_ge_u32 => self.condition(self.d32()? >= unsigned),
            s_cmpk_lt_u32 => self.condition(self.d32()? < unsigned),
            s_cmpk_le_u32 => self.condition(self.d32()? <= unsigned),
            s_addk_i32 => {
                let (sum, overflow) = (self.d32()? as i32).overflowing_add(signed);
                self.carry((sum as u32, overflow))
            }
            s_mulk_i32 => self.put32((self.d32()? as i32).wrapping_mul(signed) as u32),
            s_getreg_b32 => {
                let value = hwreg::read(self.wave, unsigned)?;
                self.put32(value)
            }
            s_setreg_b32 => hwreg::write(self.wave, unsigned, self.d32()?).map(|()| true),
            s_setreg_imm32_b32 => {
                hwreg::write(self.wave, unsigned, self.inst.literal).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Operations that change EXEC and save it, or write it.
    fn exec_mask(&mut self) -> Done {
        use Op::*;
        let exec = self.wave.exec;
        match self.inst.op {
            s_and_saveexec_b64 => self.save_exec(self.a64()? & exec),
            s_or_saveexec_b64 => self.save_exec(self.a64()? | exec),
            s_xor_saveexec_b64 => self.save_exec(self.a64()? ^ exec),
            s_andn2_saveexec_b64 => self.save_exec(self.a64()? & !exec),
            s_orn2_saveexec_b64 => self.save_exec(self.a64()? | !exec),
            s_andn1_saveexec_b64 => self.save_exec(!self.a64()? & exec),
            s_orn1_saveexec_b64 => self.save_exec(!self.a64()? | exec),
            s_nand_saveexec_b64 => self.save_exec(!(self.a64()? & exec)),
            s_nor_saveexec_b64 => self.save_exec(!(self.a64()? | exec)),
            s_xnor_saveexec_b64 => self.save_exec(!(self.a64()? ^ exec)),
            s_andn1_wrexec_b64 => self.write_exec(!self.a64()? & exec),
            s_andn2_wrexec_b64 => self.write_exec(self.a64()? & !exec),
            _ => Ok(false),
        }
    }

    fn save_exec(&mut self, new: u64) -> Done {
        let old = self.wave.exec;
        self.wave.exec = new;
        self.wave.scc = new != 0;
        self.put64(old)
    }

    fn write_exec(&mut self, new: u64) -> Done {
        self.wave.exec = new;
        self.wave.scc = new != 0;
        self.put64(new)
    }

    /// Indexed registers, and what skips or indexes vector instructions.
    fn special(&mut self) -> Done {
        use Op::*;
        let m0 = self.wave.scalar(Operand::M0.0);
        match self.inst.op {
            s_movrels_b32 => {
                self.put32(scalar32(self.wave, self.inst, self.indexed(self.inst.src[0], 1)?)?)
            }
            s_movrels_b64 => {
                self.put64(scalar64(self.wave, self.inst, self.indexed(self.inst.src[0], 2)?)?)
            }
            s_movreld_b32 => {
                let value = self.a32()?;
                set_scalar32(self.wave, self.indexed(self.inst.dst, 1)?, value).map(|()| true)
            }
            s_movreld_b64 => {
                let value = self.a64()?;
                set_scalar64(self.wave, self.indexed(self.inst.dst, 2)?, value).map(|()| true)
            }
            s_set_gpr_idx_on => {
                let index = self.a32()? & 0xff;
                let mode = self.inst.offset as u32 & 0xf;
                self.wave.set_scalar(Operand::M0.0, m0 & !0xf0ff | index | mode << 12);
                self.wave.mode = self.wave.mode.with_gpr_index(true);
                Ok(true)
            }
            s_set_gpr_idx_idx => {
                let index = self.a32()? & 0xff;
                self.wave.set_scalar(Operand::M0.0, m0 & !0xff | index);
                Ok(true)
            }
            s_setvskip => {
                let skip = self.a32()? >> (self.b32()? & 31) & 1 != 0;
                self.wave.mode = self.wave.mode.with_vskip(skip);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The SGPR that M0 moves the first of `dwords` to.
    fn indexed(&self, operand: Operand, dwords: u64) -> Result<Operand, Trap> {
        let first = u64::from(operand.0) + u64::from(self.wave.scalar(Operand::M0.0));
        let allocated = self.wave.registers.sgprs();
        if first + dwords <= allocated.into() {
            return Ok(Operand(first as u16));
        }
        Err(Trap::Undefined(format!(
            "m0 moves s{} to s{first}, and the kernel has {allocated} SGPRs",
            operand.0
        )))
    }
}

/// A search's result: −1 where nothing was found.
const fn found(position: u32, bits: u32) -> u32 {
    if position == bits { u32::MAX } else { position }
}

const fn low_bits(value: u64, width: u32) -> u64 {
    if width >= 64 { value } else { value & ((1 << width) - 1) }
}

const fn sign_extend(value: i64, width: u32) -> i64 {
    match width {
        0 => 0,
        1..=63 => value << (64 - width) >> (64 - width),
        _ => value,
    }
}

/// Every bit set whose group of four has one set.
fn whole_quads(value: u64) -> u64 {
    (0..16).map(|quad| if value >> (4 * quad) & 15 != 0 { 15 << (4 * quad) } else { 0 }).sum()
}

/// One bit per group of four.
fn quad_mask(value: u64) -> u64 {
    (0..16).map(|quad| u64::from(value >> (4 * quad) & 15 != 0) << quad).sum()
}

#[cfg(test)]
mod tests;
