//! Uninitialised reads: every wave has a twin in which what nobody wrote has other bits.
//!
//! The twin executes what depends on such bits; everything else it takes over from the wave. So a register of the two
//! differs only if what is in it depends on what nobody wrote, through any instruction, bit by bit, and only in the lanes
//! where that is so. Copies, spills, selections and values that are masked away are no findings. A finding is a
//! difference that decides about something: an address, a lane mask, a branch, or what is stored to device memory.
//! After one the twin takes over the wave's value, so that one mistake is one finding.

mod decision;
mod origin;

use super::Kind;
use super::effects::{Effects, NUM_REGISTERS, Span};
use super::problem::{Problem, Site};
use super::waits::Spaces;
use crate::WAVE_SIZE;
use crate::exec::memory::{Arena, Lds, Memory, Scratch};
use crate::exec::{Access, AccessKind, Context, Options, Slot, Space, Unit, Wave, WaveId, step};
use crate::isa::{Format, Operand, traits};
use decision::{Decision, decision, stored_bits};
use origin::{Origin, Source, found};

/// What waves start with.
#[derive(Clone, Debug)]
pub(super) struct Initial {
    /// Bit `i`: scalar register `i` is set.
    pub scalars: u128,
    /// VGPRs and AccVGPRs that the kernel has.
    pub num_vectors: [usize; 2],
    /// Bytes of scratch.
    pub scratch_bytes: usize,
}

/// The instruction at hand, and what it can reach.
pub(super) struct Step<'a> {
    pub wave: &'a Wave,
    pub slot: &'a Slot,
    pub effects: &'a Effects,
    pub site: Site,
    pub pc: u64,
    pub id: WaveId,
    pub arena: &'a Arena,
    pub options: &'a Options,
    pub spaces: Spaces,
}

/// A wave's twin.
pub(super) struct Twin {
    wave: Wave,
    scratch: Scratch,
    /// Of each register, the lanes that differ (scalar ones: bit 0).
    differs: Box<[u64]>,
    origins: Box<[Option<Origin>]>,
    /// Where a different SCC comes from.
    scc: Option<Origin>,
    /// Lanes, each with the bytes of what it loaded that nobody wrote.
    unwritten: Vec<(u32, u64)>,
    /// Lanes of a FLAT instruction that accessed device memory.
    device_lanes: u64,
    /// A FLAT store of something different, if it turns out to go to device memory.
    stored: Option<(u64, Problem)>,
}

impl Twin {
    /// The twin of a wave that starts.
    pub fn new(wave: &Wave, initial: &Initial, options_poison: u32) -> Self {
        let mut twin = Self {
            wave: Wave::new(wave.pc, wave.mode, wave.exec, 0),
            scratch: Scratch::new(initial.scratch_bytes, !options_poison),
            differs: vec![0; NUM_REGISTERS].into(),
            origins: vec![None; NUM_REGISTERS].into(),
            scc: None,
            unwritten: Vec::new(),
            device_lanes: 0,
            stored: None,
        };
        twin.restart(wave, initial, options_poison);
        twin
    }

    /// The twin of another wave that starts.
    pub fn restart(&mut self, wave: &Wave, initial: &Initial, poison: u32) {
        (self.wave.mode, self.wave.exec, self.wave.scc) = (wave.mode, wave.exec, wave.scc);
        self.scratch.reset(initial.scratch_bytes, !poison);
        self.differs.fill(0);
        self.origins.fill(None);
        self.scc = None;
        for code in 0..126u16 {
            let value = wave.scalar(code);
            let is_set = initial.scalars >> code & 1 != 0;
            self.wave.set_scalar(code, if is_set { value } else { !value });
            if !is_set {
                self.differs[usize::from(code)] = 1;
                self.origins[usize::from(code)] =
                    Some(Origin { what: Source::Register(code), site: None });
            }
        }
        *self.wave.vector_mut(0) = *wave.vector(0);
        let [num_vgprs, num_agprs] = initial.num_vectors;
        for index in (1..num_vgprs.min(256)).chain(256..256 + num_agprs.min(256)) {
            *self.wave.vector_mut(index) = wave.vector(index).map(|value| !value);
            self.differs[256 + index] = u64::MAX;
            let what = Source::Register(256 + index as u16);
            self.origins[256 + index] = Some(Origin { what, site: None });
        }
    }

    fn origin(&self, span: Span) -> Option<Origin> {
        span.registers().find(|&r| self.differs[r] != 0).and_then(|r| self.origins[r])
    }

    fn is_same(&self, span: Span) -> bool {
        span.registers().all(|register| self.differs[register] == 0)
    }

    /// Takes over a register.
    fn adopt(&mut self, wave: &Wave, register: usize) {
        match register {
            126 | 127 => {}
            0..128 => self.wave.set_scalar(register as u16, wave.scalar(register as u16)),
            256.. => *self.wave.vector_mut(register - 256) = *wave.vector(register - 256),
            _ => {}
        }
        self.differs[register] = 0;
    }

    /// Compares a register with the wave's.
    fn compare(&mut self, wave: &Wave, register: usize, origin: Option<Origin>) {
        let differs = match register {
            126 | 127 => 0,
            0..128 => u64::from(self.wave.scalar(register as u16) != wave.scalar(register as u16)),
            _ => differing_lanes(self.wave.vector(register - 256), wave.vector(register - 256)),
        };
        if differs != 0 && origin.is_some() {
            self.origins[register] = origin;
        }
        self.differs[register] = differs;
    }

    /// Before the instruction: whether what it decides by is the same in both.
    pub fn check(&mut self, now: &Step<'_>, problems: &mut Vec<Problem>) {
        self.unwritten.clear();
        self.device_lanes = 0;
        self.stored = None;
        let (inst, effects) = (&now.effects.inst, now.effects);
        for &(span, role) in &effects.reads {
            if self.is_same(span) {
                continue;
            }
            match decision(effects, role) {
                Some(Decision::Stored) => self.check_stored(now, span, problems),
                Some(Decision::Other(what)) => self.check_used(now, span, what, problems),
                None => {}
            }
        }
        let is_branch = inst.op.info().has(traits::BRANCH);
        if is_branch && inst.op.info().has(traits::SCC_IN) && self.wave.scc != now.wave.scc {
            self.wave.scc = now.wave.scc;
            problems.push(found("the branch is decided by", self.scc, None, now.site));
        }
        if is_branch && inst.op.info().has(traits::VCC_IN) {
            let vcc = Span { first: Operand::VCC.0, len: 2 };
            if (self.wave.vcc() == 0) != (now.wave.vcc() == 0) {
                problems.push(found("the branch is decided by", self.origin(vcc), None, now.site));
                vcc.registers().for_each(|register| self.adopt(now.wave, register));
            }
        }
    }

    fn check_used(&mut self, now: &Step<'_>, span: Span, what: &str, problems: &mut Vec<Problem>) {
        for register in span.registers() {
            let lanes = self.differs[register] & if span.is_scalar() { 1 } else { now.wave.exec };
            if lanes != 0 {
                let lane = (!span.is_scalar()).then_some(lanes.trailing_zeros());
                problems.push(found(what, self.origins[register], lane, now.site));
                return self.adopt_all(now.wave, span);
            }
        }
    }

    fn adopt_all(&mut self, wave: &Wave, span: Span) {
        span.registers().for_each(|register| self.adopt(wave, register));
    }

    fn check_stored(&mut self, now: &Step<'_>, span: Span, problems: &mut Vec<Problem>) {
        let is_flat = now.effects.inst.format == Format::Flat;
        for (i, register) in span.registers().enumerate() {
            let lanes = self.stored_lanes(now, span, register, i);
            if lanes == 0 {
                continue;
            }
            let lane = (!span.is_scalar()).then_some(lanes.trailing_zeros());
            let what = "what is stored depends on";
            let problem = found(what, self.origins[register], lane, now.site);
            if is_flat {
                self.stored = Some((lanes, problem));
            } else {
                problems.push(problem);
            }
            return;
        }
    }

    /// The lanes for which bits that are stored differ.
    fn stored_lanes(&self, now: &Step<'_>, span: Span, register: usize, i: usize) -> u64 {
        if span.is_scalar() {
            return self.differs[register];
        }
        let bits = stored_bits(now.effects.inst.op, i);
        let (own, other) = (self.wave.vector(register - 256), now.wave.vector(register - 256));
        let mut lanes = 0;
        for lane in 0..WAVE_SIZE {
            lanes |= u64::from((own[lane] ^ other[lane]) & bits != 0) << lane;
        }
        lanes & now.wave.exec
    }

    /// The instruction touches memory.
    pub fn access(
        &mut self,
        access: &Access<'_>,
        effects: &Effects,
        arena: &Arena,
        problems: &mut Vec<Problem>,
    ) {
        if !matches!(access.space, Space::Global | Space::Scalar) {
            return;
        }
        self.device_lanes |= access.lanes;
        if let Some((_, problem)) = self.stored.take_if(|(lanes, _)| *lanes & access.lanes != 0) {
            problems.push(problem);
        }
        let num_bytes = access.num_bytes as u64;
        let replaces = effects.inst.op.name().contains("_swap");
        for lane in (0..WAVE_SIZE).filter(|lane| access.lanes >> lane & 1 != 0) {
            let address = access.addresses[lane];
            if access.kind != AccessKind::Store && !arena.is_written(address, num_bytes) {
                let unwritten = (0..num_bytes.min(64))
                    .filter(|&byte| !arena.is_written(address + byte, 1))
                    .fold(0, |bytes, byte| bytes | 1 << byte);
                self.unwritten.push((lane as u32, unwritten));
                if access.kind == AccessKind::Atomic && !replaces {
                    let text = format!(
                        "updates device memory at {address:#x} that nobody wrote: initialise it"
                    );
                    let (kind, lane) = (Kind::Uninitialized, Some(lane as u32));
                    problems.push(Problem { kind, lane, other: None, text });
                }
            }
            if access.kind != AccessKind::Load {
                arena.mark_written(address, num_bytes);
            }
        }
    }

    /// The wave has executed the instruction: so does the twin, as far as it matters.
    pub fn executed(&mut self, now: &Step<'_>, lds: &mut Lds, problems: &mut Vec<Problem>) {
        match now.slot.unit {
            Unit::ScalarMemory => self.take_over(now),
            Unit::Lds => self.repeat(now, lds),
            Unit::VectorMemory => self.vector_memory(now, lds),
            Unit::Control => {
                for span in &now.effects.writes {
                    self.adopt_all(now.wave, *span);
                }
            }
            _ => self.compute(now, lds),
        }
        if self.wave.exec != now.wave.exec {
            let lanes = self.wave.exec ^ now.wave.exec;
            let origin = now.effects.reads.iter().find_map(|&(span, _)| self.origin(span));
            let lane = Some(lanes.trailing_zeros());
            problems.push(found("which lanes are active is decided by", origin, lane, now.site));
        }
        (self.wave.exec, self.wave.mode) = (now.wave.exec, now.wave.mode);
    }

    fn compute(&mut self, now: &Step<'_>, lds: &mut Lds) {
        let effects = now.effects;
        let info = effects.inst.op.info();
        let scc_differs = info.has(traits::SCC_IN) && self.scc.is_some();
        let is_same = !scc_differs
            && effects.reads.iter().all(|&(span, _)| self.is_same(span))
            && effects.writes.iter().all(|&span| self.is_same(span));
        if is_same {
            effects.writes.iter().for_each(|&span| self.adopt_all(now.wave, span));
            self.wave.exec = now.wave.exec;
            if info.has(traits::SCC_OUT) {
                (self.wave.scc, self.scc) = (now.wave.scc, None);
            }
            return;
        }
        self.repeat(now, lds);
    }

    /// Executes the instruction as the wave did, and compares.
    fn repeat(&mut self, now: &Step<'_>, lds: &mut Lds) {
        let effects = now.effects;
        let origin = effects.reads.iter().find_map(|&(span, _)| self.origin(span)).or((effects
            .inst
            .op
            .info()
            .has(traits::SCC_IN))
        .then_some(self.scc)
        .flatten());
        let is_load = effects.inst.op.info().dst.is_some();
        let origin = match now.slot.unit {
            Unit::Lds if is_load && origin.is_none() => {
                Some(Origin { what: Source::Lds, site: None })
            }
            Unit::VectorMemory if is_load && origin.is_none() => {
                let what = if now.spaces.lds { Source::Lds } else { Source::Scratch };
                Some(Origin { what, site: None })
            }
            _ => origin,
        };
        let origin = origin.map(|o| Origin { site: o.site.or(Some(now.site)), ..o });
        self.wave.pc = now.pc;
        let memory = Memory { arena: now.arena, lds, scratch: &mut self.scratch, clock: 0 };
        let mut nobody = ();
        let mut context = Context::new(memory, now.options, &mut nobody, now.id);
        let is_done = step(&mut self.wave, now.slot, &mut context).is_ok();
        for register in effects.writes.iter().flat_map(|span| span.registers()) {
            if is_done {
                self.compare(now.wave, register, origin);
            } else {
                self.adopt(now.wave, register);
            }
        }
        if effects.inst.op.info().has(traits::SCC_OUT) {
            self.scc = if self.wave.scc == now.wave.scc { None } else { origin };
            if self.scc.is_none() {
                self.wave.scc = now.wave.scc;
            }
        }
    }

    fn vector_memory(&mut self, now: &Step<'_>, lds: &mut Lds) {
        let effects = now.effects;
        if effects.loads_to_lds() {
            // What is loaded is the same; so is where it goes.
            return self.repeat(now, lds);
        }
        let others = match effects.inst.format {
            Format::Flat => now.wave.exec & !self.device_lanes,
            Format::Scratch => now.wave.exec,
            _ => 0,
        };
        if others != 0 {
            self.wave.exec = others;
            self.repeat(now, lds);
            self.wave.exec = now.wave.exec;
        }
        if others == 0 || self.device_lanes != 0 {
            self.take_over(now);
        }
    }

    /// Takes over what was loaded from device memory, with other bits where nobody wrote it.
    fn take_over(&mut self, now: &Step<'_>) {
        // Lanes outside of a buffer load 0.
        let is_flat = now.effects.inst.format == Format::Flat;
        let lanes = if is_flat { self.device_lanes } else { now.wave.exec };
        for register in now.effects.writes.iter().flat_map(|span| span.registers()) {
            if register < 128 {
                self.adopt(now.wave, register);
                continue;
            }
            let (own, other) =
                (self.wave.vector_mut(register - 256), now.wave.vector(register - 256));
            for lane in (0..WAVE_SIZE).filter(|lane| lanes >> lane & 1 != 0) {
                own[lane] = other[lane];
            }
            self.differs[register] &= !lanes;
        }
        self.spoil(now);
    }

    fn spoil(&mut self, now: &Step<'_>) {
        let Some(&span) = now.effects.writes.first() else { return };
        let name = now.effects.inst.op.name();
        let shift = if name.contains("d16_hi") { 2 } else { 0 };
        for (lane, bytes) in std::mem::take(&mut self.unwritten) {
            for (i, register) in span.registers().enumerate() {
                let bytes = (u128::from(bytes) << shift >> (4 * i)) as u32 & 0xf;
                if bytes == 0 {
                    continue;
                }
                let bits = (0..4)
                    .filter(|byte| bytes >> byte & 1 != 0)
                    .fold(0, |bits, byte| bits | 0xff << (8 * byte));
                let (what, site) = (Source::Device, Some(now.site));
                self.origins[register] = Some(Origin { what, site });
                if register < 128 {
                    let code = register as u16;
                    self.wave.set_scalar(code, now.wave.scalar(code) ^ bits);
                    self.differs[register] = 1;
                } else {
                    self.wave.vector_mut(register - 256)[lane as usize] ^= bits;
                    self.differs[register] |= 1 << lane;
                }
            }
        }
    }
}

fn differing_lanes(a: &[u32; WAVE_SIZE], b: &[u32; WAVE_SIZE]) -> u64 {
    if a == b {
        return 0;
    }
    let mut lanes = 0;
    for lane in 0..WAVE_SIZE {
        lanes |= u64::from(a[lane] != b[lane]) << lane;
    }
    lanes
}
