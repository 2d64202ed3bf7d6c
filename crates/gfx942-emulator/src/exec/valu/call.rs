//! A vector instruction in execution: its sources are read, a function is applied to each lane, the result is written.

use std::array;
use std::mem::MaybeUninit;

use super::modify;
use super::value::{Value, collect};
use crate::WAVE_SIZE;
use crate::exec::sources::{Kind, scalar};
use crate::exec::{Lanes, Options, Trap, Wave};
use crate::isa::{Extra, Flags, Inst, Op, Operand};
use crate::simd::Simd;

/// Registers for sources that are not whole registers of the wave.
pub(super) type Staging = [MaybeUninit<Lanes>; 2];

/// A source's low and high registers; 32-bit ones have the same twice.
pub(super) type Source<'a> = [&'a Lanes; 2];

pub(super) const STAGING: Staging = [MaybeUninit::uninit(); 2];

/// A vector instruction in execution.
pub(super) struct Call<'w> {
    pub wave: &'w mut Wave,
    pub inst: &'w Inst,
    pub options: &'w Options,
    pub simd: Simd,
    /// The lanes that are written.
    pub mask: u64,
    /// Sources are registers as they are.
    plain: bool,
    /// The operation has done what its clamp bit asks for.
    pub clamped: bool,
}

impl<'w> Call<'w> {
    pub fn new(
        wave: &'w mut Wave,
        inst: &'w Inst,
        options: &'w Options,
        simd: Simd,
    ) -> Result<Self, Trap> {
        let modifiers = inst.modifiers;
        let plain =
            modifiers.neg | modifiers.abs | modifiers.op_sel == 0 && inst.extra == Extra::None;
        let mut mask = wave.exec;
        if let Extra::Dpp(dpp) = inst.extra {
            mask &= modify::dpp_writes(dpp, wave.exec)?;
        }
        Ok(Self { wave, inst, options, simd, mask, plain, clamped: false })
    }

    /// The operation.
    pub fn op(&self) -> Op {
        self.inst.op
    }

    /// Whether the clamp bit is set, which the caller takes care of.
    pub fn clamp(&mut self) -> bool {
        self.clamped = true;
        self.inst.flags.has(Flags::CLAMP)
    }

    /// That the operation is none of the caller's.
    #[cold]
    pub fn unimplemented(&self) -> Result<(), Trap> {
        Err(Trap::Unimplemented(self.inst.op.name().into()))
    }

    /// Source `index`.
    #[inline(always)]
    pub fn source<'a, T: Value>(
        &'a self,
        index: usize,
        staging: &'a mut Staging,
    ) -> Result<Source<'a>, Trap> {
        let operand = self.inst.src[index];
        match operand.vector_index() {
            Some(register) if self.plain && !flushes_sources(T::KIND, self.wave) => {
                self.register::<T>(register)
            }
            _ => self.stage(operand, index, T::KIND, staging),
        }
    }

    /// What the destination holds, as a source.
    #[inline(always)]
    pub fn destination<'a, T: Value>(
        &'a self,
        staging: &'a mut Staging,
    ) -> Result<Source<'a>, Trap> {
        match self.inst.dst.vector_index() {
            Some(register) if !flushes_sources(T::KIND, self.wave) => self.register::<T>(register),
            _ => self.stage(self.inst.dst, 3, T::KIND, staging),
        }
    }

    #[inline(always)]
    fn register<T: Value>(&self, register: usize) -> Result<Source<'_>, Trap> {
        let low = self.wave.vector(register);
        if T::KIND.is_wide() {
            Ok([low, self.wave.vector(second(register)?)])
        } else {
            Ok([low, low])
        }
    }

    /// A source that has to be made: a constant, or a register seen through modifiers.
    #[inline(never)]
    fn stage<'a>(
        &'a self,
        operand: Operand,
        index: usize,
        kind: Kind,
        [low, high]: &'a mut Staging,
    ) -> Result<Source<'a>, Trap> {
        let wide = kind.is_wide();
        let (low, mut high) = match operand.vector_index() {
            Some(register) => {
                let low = low.write(*self.wave.vector(register));
                (
                    low,
                    if wide {
                        Some(high.write(*self.wave.vector(second(register)?)))
                    } else {
                        None
                    },
                )
            }
            None => {
                let value = scalar(self.wave, self.inst, operand, kind)?;
                let low = low.write([value as u32; WAVE_SIZE]);
                (low, wide.then(|| high.write([(value >> 32) as u32; WAVE_SIZE])))
            }
        };
        if !self.plain && index < 3 {
            modify::source(self.inst, index, kind, self.wave.exec, low, high.as_deref_mut())?;
        }
        if flushes_sources(kind, self.wave) {
            modify::flush(kind, low, high.as_deref_mut());
        }
        Ok(match high {
            Some(high) => [low, high],
            None => [low, low],
        })
    }

    /// Writes a result.
    #[inline(always)]
    pub fn write<T: Value>(&mut self, mut result: T::Registers) -> Result<(), Trap> {
        match self.inst.dst.vector_index() {
            Some(register) if self.is_written_as_is(T::KIND) => {
                let last = register + result.as_mut().len() - 1;
                if last % 256 < register % 256 {
                    return Err(beyond(register));
                }
                for (register, lanes) in (register..).zip(result.as_mut()) {
                    self.wave.set_vector(register, self.mask, lanes);
                }
                Ok(())
            }
            _ => self.finish(T::KIND, result.as_mut()),
        }
    }

    /// Whether a result of `kind` goes to its register without further ado.
    #[inline(always)]
    fn is_written_as_is(&self, kind: Kind) -> bool {
        self.plain
            && !kind.is_half()
            && (self.clamped || !self.inst.flags.has(Flags::CLAMP))
            && self.inst.modifiers.omod == 0
            && !flushes_results(kind, self.wave)
    }

    /// Writes a result with everything that can happen to one on the way.
    #[inline(never)]
    fn finish(&mut self, kind: Kind, result: &mut [Lanes]) -> Result<(), Trap> {
        let Some(register) = self.inst.dst.vector_index() else {
            return Err(Trap::Undefined(format!(
                "{} has no vector destination",
                self.inst.op.name()
            )));
        };
        modify::result(self, kind, result)?;
        match result {
            [low] => {
                modify::place(self.inst, kind, self.wave.vector(register), low)?;
                self.wave.set_vector(register, self.mask, low);
            }
            [low, high] => {
                self.wave.set_vector(second(register)?, self.mask, high);
                self.wave.set_vector(register, self.mask, low);
            }
            _ => return self.unimplemented(),
        }
        Ok(())
    }

    /// `dst = f(src0)`.
    #[inline(always)]
    pub fn map1<A: Value, R: Value>(&mut self, f: impl Fn(A) -> R) -> Result<(), Trap> {
        let mut staging = STAGING;
        let result = {
            let a = self.source::<A>(0, &mut staging)?;
            collect!(R, i => f(at(a, i)))
        };
        self.write::<R>(result)
    }

    /// `dst = f(src0, src1)`.
    #[inline(always)]
    pub fn map2<A: Value, B: Value, R: Value>(
        &mut self,
        f: impl Fn(A, B) -> R,
    ) -> Result<(), Trap> {
        self.lanes2(|_, a, b| f(a, b))
    }

    /// `dst = f(lane, src0, src1)`.
    #[inline(always)]
    pub fn lanes2<A: Value, B: Value, R: Value>(
        &mut self,
        f: impl Fn(usize, A, B) -> R,
    ) -> Result<(), Trap> {
        let mut staging = [STAGING; 2];
        let [s0, s1] = &mut staging;
        let result = {
            let (a, b) = (self.source::<A>(0, s0)?, self.source::<B>(1, s1)?);
            collect!(R, i => f(i, at(a, i), at(b, i)))
        };
        self.write::<R>(result)
    }

    /// `dst = f(src0, src1, src2)`.
    #[inline(always)]
    pub fn map3<A: Value, B: Value, C: Value, R: Value>(
        &mut self,
        f: impl Fn(A, B, C) -> R,
    ) -> Result<(), Trap> {
        self.lanes3(|_, a, b, c| f(a, b, c))
    }

    /// `dst = f(lane, src0, src1, src2)`.
    #[inline(always)]
    pub fn lanes3<A: Value, B: Value, C: Value, R: Value>(
        &mut self,
        f: impl Fn(usize, A, B, C) -> R,
    ) -> Result<(), Trap> {
        let mut staging = [STAGING; 3];
        let [s0, s1, s2] = &mut staging;
        let result = {
            let (a, b, c) =
                (self.source::<A>(0, s0)?, self.source::<B>(1, s1)?, self.source::<C>(2, s2)?);
            collect!(R, i => f(i, at(a, i), at(b, i), at(c, i)))
        };
        self.write::<R>(result)
    }

    /// `dst = f(src0, src1, dst)`.
    #[inline(always)]
    pub fn accumulate<A: Value, B: Value, R: Value>(
        &mut self,
        f: impl Fn(A, B, R) -> R,
    ) -> Result<(), Trap> {
        let mut staging = [STAGING; 3];
        let [s0, s1, s2] = &mut staging;
        let result = {
            let (a, b, c) =
                (self.source::<A>(0, s0)?, self.source::<B>(1, s1)?, self.destination::<R>(s2)?);
            collect!(R, i => f(at(a, i), at(b, i), at(c, i)))
        };
        self.write::<R>(result)
    }

    /// The mask of lanes for which `f(src0, src1)` holds; inactive ones count as not.
    #[inline(always)]
    pub fn test2<A: Value, B: Value>(&self, f: impl Fn(A, B) -> bool) -> Result<u64, Trap> {
        let mut staging = [STAGING; 2];
        let [s0, s1] = &mut staging;
        let (a, b) = (self.source::<A>(0, s0)?, self.source::<B>(1, s1)?);
        Ok(pack(|i| f(at(a, i), at(b, i))) & self.wave.exec)
    }
}

/// Lane `lane` of a source.
#[inline(always)]
pub(super) fn at<T: Value>([low, high]: Source<'_>, lane: usize) -> T {
    T::of(low[lane], high[lane])
}

/// The second register of a pair.
#[inline(always)]
fn second(register: usize) -> Result<usize, Trap> {
    if register % 256 == 255 { Err(beyond(register)) } else { Ok(register + 1) }
}

#[cold]
fn beyond(register: usize) -> Trap {
    Trap::Undefined(format!(
        "64 bits from vector register {} on, which is the last one",
        register % 256
    ))
}

/// Whether MODE asks for denormal sources to be read as zeros. f16 has its own rules, at the operation.
#[inline(always)]
fn flushes_sources(kind: Kind, wave: &Wave) -> bool {
    match kind {
        Kind::F32 => wave.mode.denorm_f32() & 1 == 0,
        Kind::F64 => wave.mode.denorm_f16_f64() & 1 == 0,
        _ => false,
    }
}

/// Whether MODE asks for denormal results to become zeros.
#[inline(always)]
pub(super) fn flushes_results(kind: Kind, wave: &Wave) -> bool {
    match kind {
        Kind::F32 => wave.mode.denorm_f32() & 2 == 0,
        Kind::F64 => wave.mode.denorm_f16_f64() & 2 == 0,
        _ => false,
    }
}

/// The lanes for which `f` holds, as a mask.
#[inline(always)]
pub(super) fn pack(f: impl Fn(usize) -> bool) -> u64 {
    let flags: [u8; WAVE_SIZE] = array::from_fn(|i| u8::from(f(i)));
    let mut mask = 0;
    for (i, byte) in flags.chunks_exact(8).enumerate() {
        let byte = u64::from_le_bytes([
            byte[0], byte[1], byte[2], byte[3], byte[4], byte[5], byte[6], byte[7],
        ]);
        // The product's top byte gathers the lowest bits of the eight bytes, the first one lowest.
        mask |= (byte.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    mask
}

/// Makes `$name` out of the always-inlined `$body`, compiled for every machine and for better ones.
macro_rules! multiversion {
    ($name:ident, $body:ident) => {
        #[doc = concat!("[`", stringify!($body), "`], for the machine at hand.")]
        pub(super) fn $name(
            call: &mut $crate::exec::valu::call::Call<'_>,
        ) -> Result<(), $crate::exec::Trap> {
            struct Job<'a, 'w>(&'a mut $crate::exec::valu::call::Call<'w>);

            impl $crate::simd::Job for Job<'_, '_> {
                type Output = Result<(), $crate::exec::Trap>;

                #[inline(always)]
                fn run(self) -> Self::Output {
                    $body(self.0)
                }
            }

            call.simd.run(Job(call))
        }
    };
}

pub(super) use multiversion;
