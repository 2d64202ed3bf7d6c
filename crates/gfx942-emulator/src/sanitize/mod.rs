//! Sanitizers: what is wrong with machine code though it may happen to give the right results.
//!
//! [`Sanitizer`] watches a launch and keeps [`Finding`]s of five [`Kind`]s. Clean code, as compilers make it, has none:
//! where the manual and LLVM's own rules differ, what LLVM relies on is allowed.

mod effects;
mod finding;
mod matrix;
mod problem;
mod races;
mod states;
mod twin;
mod waits;

use std::sync::Arc;

use code_object::{Kernel, KernelDescriptor};

use crate::exec::memory::{Arena, Lds};
use crate::exec::{Access, Flow, Observer, Options, Registers, Slot, Space, Wave, WaveId};
use crate::isa::Operand;
use crate::launch::{Emulator, Launch, Module, Settings};
use effects::Effects;
use finding::Findings;
pub use finding::{Finding, Kind, Site};
use problem::Problem;
use races::{LdsAccess, Races};
use states::States;
use twin::{Initial, Step, Twin};
use waits::{Spaces, Waits};

/// What is to be known of a launch.
#[derive(Clone, Copy)]
struct Watched<'a> {
    arena: &'a Arena,
    kernel: &'a Kernel,
    load_address: u64,
    lds_bytes: usize,
    options: Options,
    /// What registers, LDS and scratch hold before they are written.
    poison: u32,
}

/// Watches one launch of one kernel. See [`Kind`] for what it finds.
pub struct Sanitizer<'a> {
    watched: Watched<'a>,
    initial: Initial,
    effects: Vec<Option<Arc<Effects>>>,
    waves: Vec<WaveState>,
    races: Races,
    lds: Lds,
    problems: Vec<Problem>,
    findings: Findings,
}

#[derive(Default)]
struct WaveState {
    waits: Waits,
    states: States,
    twin: Option<Box<Twin>>,
    /// The lanes it started with; none: it has not started.
    lanes: u64,
    spaces: Spaces,
    /// The instruction at hand.
    current: Option<Arc<Effects>>,
    site: problem::Site,
    /// The barrier at which it waits.
    barrier: Option<problem::Site>,
}

impl<'a> Sanitizer<'a> {
    /// A sanitizer for one launch of `kernel`, which is one of `module`'s.
    ///
    /// Reads of device memory that nobody wrote are found only if the device
    /// [tracks writes](crate::exec::memory::ArenaConfig::tracks_writes).
    pub fn new(
        emulator: &'a Emulator,
        module: &'a Module,
        kernel: &'a Kernel,
        launch: &Launch<'_>,
        settings: &Settings,
    ) -> Self {
        let fixed = kernel.descriptor.group_segment_fixed_size;
        Self::watching(Watched {
            arena: emulator.arena(),
            kernel,
            load_address: module.load_address(),
            lds_bytes: fixed.saturating_add(launch.dynamic_lds_bytes) as usize,
            options: settings.options,
            poison: settings.poison,
        })
    }

    fn watching(watched: Watched<'a>) -> Self {
        Self {
            watched,
            initial: initial(&watched.kernel.descriptor),
            effects: Vec::new(),
            waves: Vec::new(),
            races: Races::default(),
            lds: Lds::new(watched.lds_bytes, !watched.poison),
            problems: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// What was found, by place in the code.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter()
    }

    /// What the instruction at `pc` reads and writes.
    fn effects(&mut self, wave: &Wave, slot: &Slot) -> Arc<Effects> {
        let site = self.site(wave.pc) as usize;
        if site >= self.effects.len() {
            self.effects.resize(site + 1, None);
        }
        let effects = self.effects[site].get_or_insert_with(|| Arc::new(Effects::of(slot)));
        effects.indexed(wave).map_or_else(|| effects.clone(), Arc::new)
    }

    fn site(&self, pc: u64) -> problem::Site {
        (pc.wrapping_sub(self.watched.load_address) / 4) as problem::Site
    }

    fn named(&self, site: problem::Site) -> Site {
        let effects = self.effects.get(site as usize).and_then(Option::as_ref);
        let instruction = effects.map_or_else(String::new, |effects| effects.inst.to_string());
        Site { pc: u64::from(site) * 4, instruction }
    }

    /// Keeps what the checks said of an instruction.
    fn keep(&mut self, id: WaveId, site: problem::Site) {
        if self.problems.is_empty() {
            return;
        }
        for problem in std::mem::take(&mut self.problems) {
            let Problem { kind, lane, other, text } = problem;
            let rank = (id.work_group_index, id.wave, lane);
            let other_pc = other.map(|other| u64::from(other) * 4);
            if self.findings.has(rank, u64::from(site) * 4, kind, other_pc) {
                continue;
            }
            let finding = Finding {
                kind,
                kernel: self.watched.kernel.name.clone(),
                work_group: id.work_group,
                wave: id.wave,
                lane,
                site: self.named(site),
                other: other.map(|other| self.named(other)),
                text,
            };
            self.findings.add(rank, finding);
        }
    }

    /// The waves are at a barrier: at the same one, with all their lanes?
    fn check_barrier(&mut self, id: WaveId, ended: bool) {
        let first = self.waves.iter().zip(0..).find_map(|(wave, i)| Some((wave.barrier?, i)));
        let Some((first, first_wave)) = first else { return };
        if ended {
            let text = "waits for waves that have ended: let all work-items of the work-group reach the barrier";
            self.problems.push(Problem {
                kind: Kind::Barrier,
                lane: None,
                other: None,
                text: text.into(),
            });
            self.keep(WaveId { wave: first_wave, ..id }, first);
        }
        for wave in 0..self.waves.len() {
            let Some(site) = self.waves[wave].barrier else { continue };
            if site != first {
                let text = format!(
                    "wave {first_wave} waits at another barrier: let all work-items reach the same one"
                );
                let (kind, other) = (Kind::Barrier, Some(first));
                self.problems.push(Problem { kind, lane: None, other, text });
                self.keep(WaveId { wave: wave as u32, ..id }, site);
            }
        }
    }
}

impl Observer for Sanitizer<'_> {
    fn fork(&self) -> Self {
        Self::watching(self.watched)
    }

    fn merge(&mut self, other: Self) {
        self.findings.merge(other.findings);
    }

    fn work_group(&mut self, _: WaveId, num_waves: usize) {
        self.waves.resize_with(num_waves, WaveState::default);
        for wave in &mut self.waves {
            (wave.lanes, wave.barrier, wave.current) = (0, None, None);
        }
        self.races.start(num_waves);
        self.lds.reset(self.watched.lds_bytes, !self.watched.poison);
    }

    fn before(&mut self, id: WaveId, wave: &Wave, slot: &Slot) {
        let effects = self.effects(wave, slot);
        let site = self.site(wave.pc);
        let state = &mut self.waves[id.wave as usize];
        if state.current.is_none() {
            state.start(wave, &self.initial, self.watched.poison);
        }
        let now = self.watched.step(id, wave, slot, &effects, site, wave.pc, Spaces::default());
        state.waits.check(&effects, &mut self.problems);
        state.states.check(&effects, &mut self.problems);
        if let Some(twin) = &mut state.twin {
            twin.check(&now, &mut self.problems);
        }
        (state.current, state.site, state.spaces) = (Some(effects), site, Spaces::default());
        self.keep(id, site);
    }

    fn access(&mut self, id: WaveId, access: &Access<'_>) {
        let state = &mut self.waves[id.wave as usize];
        let (Some(effects), site) = (&state.current, state.site) else { return };
        if access.space == Space::Lds {
            state.spaces.lds = true;
            let ticket = state.waits.ticket(effects);
            let by_vector_memory = effects.is_vector_memory() && effects.loads_to_lds();
            let by = LdsAccess { access, wave: id.wave, site, by_vector_memory, ticket };
            self.races.access(&by, &state.waits, &mut self.problems);
        } else {
            state.spaces.other = true;
        }
        if let Some(twin) = &mut state.twin {
            twin.access(access, effects, self.watched.arena, &mut self.problems);
        }
        self.keep(id, site);
    }

    fn after(&mut self, id: WaveId, wave: &Wave, slot: &Slot, pc: u64, flow: Flow) {
        let state = &mut self.waves[id.wave as usize];
        let Some(effects) = state.current.clone() else { return };
        let site = state.site;
        let now = self.watched.step(id, wave, slot, &effects, site, pc, state.spaces);
        state.waits.executed(&effects, state.spaces, site);
        state.states.executed(&effects, site);
        if let Some(twin) = &mut state.twin {
            twin.executed(&now, &mut self.lds, &mut self.problems);
        }
        if flow == Flow::Barrier {
            state.barrier = Some(site);
            let absent = state.lanes & !wave.exec;
            if absent != 0 {
                let lane = Some(absent.trailing_zeros());
                let text = "this lane is switched off at the barrier: let all work-items of the work-group reach it";
                let kind = Kind::Barrier;
                self.problems.push(Problem { kind, lane, other: None, text: text.into() });
            }
        }
        self.keep(id, site);
    }

    fn barrier(&mut self, id: WaveId, ended: bool) {
        self.check_barrier(id, ended);
        self.waves.iter_mut().for_each(|wave| wave.barrier = None);
        self.races.barrier(self.waves.iter().map(|wave| &wave.waits));
    }
}

impl Watched<'_> {
    #[allow(clippy::too_many_arguments)] // The observer's arguments, gathered.
    fn step<'s>(
        &'s self,
        id: WaveId,
        wave: &'s Wave,
        slot: &'s Slot,
        effects: &'s Effects,
        site: problem::Site,
        pc: u64,
        spaces: Spaces,
    ) -> Step<'s> {
        let (arena, options) = (self.arena, &self.options);
        Step { wave, slot, effects, site, pc, id, arena, options, spaces }
    }
}

impl WaveState {
    fn start(&mut self, wave: &Wave, initial: &Initial, poison: u32) {
        self.lanes = wave.exec;
        self.waits.start();
        self.states.start();
        match &mut self.twin {
            Some(twin) => twin.restart(wave, initial, poison),
            None => self.twin = Some(Box::new(Twin::new(wave, initial, poison))),
        }
    }
}

/// What a wave of the kernel starts with (manual, 3.13; LLVM, "Initial Kernel Execution State").
fn initial(descriptor: &KernelDescriptor) -> Initial {
    let mut scalars = 0u128;
    let mut set = |first: u32, count: u32| {
        (first..first + count).filter(|&code| code < 126).for_each(|code| scalars |= 1 << code);
    };
    for (_, first, count) in descriptor.user_sgprs() {
        set(first, count);
    }
    let ids = descriptor.enable_sgpr_workgroup_id.into_iter().filter(|&enabled| enabled).count();
    let info = usize::from(descriptor.enable_sgpr_workgroup_info);
    set(descriptor.user_sgpr_count, (ids + info) as u32);
    set(Operand::FLAT_SCRATCH.0.into(), 2);
    set(Operand::XNACK_MASK.0.into(), 2);
    set(Operand::TTMP0.0.into(), 16);
    Initial {
        scalars,
        num_vectors: Registers::allocated(descriptor).vectors(),
        scratch_bytes: descriptor.private_segment_fixed_size as usize,
    }
}

/// A register's name.
fn register_name(register: usize) -> String {
    let scalar = |low: &str, high: &str, i: usize| (if i == 0 { low } else { high }).to_string();
    match register {
        0..=101 => format!("s{register}"),
        102 | 103 => scalar("flat_scratch_lo", "flat_scratch_hi", register - 102),
        104 | 105 => scalar("xnack_mask_lo", "xnack_mask_hi", register - 104),
        106 | 107 => scalar("vcc_lo", "vcc_hi", register - 106),
        108..=123 => format!("ttmp{}", register - 108),
        124 => "m0".into(),
        126 | 127 => scalar("exec_lo", "exec_hi", register - 126),
        256..512 => format!("v{}", register - 256),
        512.. => format!("a{}", register - 512),
        _ => format!("register {register}"),
    }
}
