//! One work-group: its waves in turns, from barrier to barrier.

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};

use super::Module;
use super::emulator::{Launch, Order, Settings};
use super::fault::{Cause, Fault};
use super::initial::{self, Addresses};
use crate::NUM_XCDS;
use crate::exec::memory::{Arena, Lds, Memory, Scratch};
use crate::exec::{Context, Flow, Mode, Observer, Registers, Trap, Wave, WaveId, step};
use code_object::Kernel;

/// Instructions after which another wave gets a turn: one that spins until another wave acts would spin for ever.
const TURN: u64 = 1 << 16;

/// Most instructions of a turn in seeded order: few enough to interleave the waves of a small kernel.
const MAX_SEEDED_TURN: u64 = 256;

/// What the work-groups of a launch share.
pub(super) struct Shared<'a> {
    pub arena: &'a Arena,
    pub module: &'a Module,
    pub kernel: &'a Kernel,
    pub launch: &'a Launch<'a>,
    pub settings: &'a Settings,
    pub addresses: Addresses,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    AtBarrier,
    Ended,
}

struct Seat {
    wave: Wave,
    scratch: Scratch,
    state: State,
    num_steps: u64,
}

/// Room for a work-group, used for one after the other.
pub(super) struct WorkGroup<'a> {
    shared: &'a Shared<'a>,
    lds: Lds,
    seats: Vec<Seat>,
}

impl<'a> WorkGroup<'a> {
    pub fn new(shared: &'a Shared<'a>) -> Self {
        let poison = shared.settings.poison;
        let scratch_bytes = shared.kernel.descriptor.private_segment_fixed_size as usize;
        let mode = Mode(shared.kernel.descriptor.mode());
        let seats = (0..shared.launch.num_waves()).map(|_| Seat {
            wave: Wave::new(0, mode, 0, poison),
            scratch: Scratch::new(scratch_bytes, poison),
            state: State::Running,
            num_steps: 0,
        });
        Self { shared, lds: Lds::new(0, poison), seats: seats.collect() }
    }

    /// Runs the work-group `index` to its end.
    pub fn run<O: Observer>(&mut self, index: u64, observer: &mut O) -> Result<(), Box<Fault>> {
        let [x, y, _] = self.shared.launch.grid.map(u64::from);
        let work_group = [index % x, index / x % y, index / (x * y)].map(|id| id as u32);
        let id = WaveId { work_group, work_group_index: index, wave: 0 };
        self.start(id)?;
        observer.work_group(id, self.seats.len());
        let mut turns = Turns::new(self.shared.settings.order, index);
        loop {
            let seats = self.seats.iter().zip(0..);
            let running = seats.filter(|(seat, _)| seat.state == State::Running);
            if let Some(wave) = turns.pick(running.map(|(_, wave)| wave)) {
                let length = turns.length();
                self.take_turn(WaveId { wave, ..id }, length, observer)?;
            } else if !self.leave_barrier(id, observer) {
                return Ok(());
            }
        }
    }

    /// Lets the waves that wait go on; `false` if there are none.
    fn leave_barrier<O: Observer>(&mut self, id: WaveId, observer: &mut O) -> bool {
        let mut num_waiting = 0;
        for seat in self.seats.iter_mut().filter(|seat| seat.state == State::AtBarrier) {
            seat.state = State::Running;
            num_waiting += 1;
        }
        if num_waiting > 0 {
            observer.barrier(id, num_waiting < self.seats.len());
        }
        num_waiting > 0
    }

    fn start(&mut self, id: WaveId) -> Result<(), Box<Fault>> {
        let Shared { kernel, launch, settings, addresses, module, .. } = self.shared;
        let descriptor = &kernel.descriptor;
        let lds_bytes = descriptor.group_segment_fixed_size + launch.dynamic_lds_bytes;
        self.lds.reset(lds_bytes as usize, settings.poison);
        for (i, seat) in self.seats.iter_mut().enumerate() {
            let wave_index = i as u32;
            let dimensions = descriptor.enable_vgpr_workitem_id;
            let (v0, exec) = initial::work_items(launch.block, wave_index, dimensions);
            let wave = &mut seat.wave;
            wave.xcc_id = (id.work_group_index % NUM_XCDS as u64) as u32;
            wave.reset(
                module.entry(kernel),
                Mode(descriptor.mode()),
                exec,
                settings.poison,
                Registers::allocated(descriptor),
            );
            *wave.vector_mut(0) = v0;
            initial::set_user_sgprs(wave, descriptor, addresses, launch.kernarg).map_err(
                |trap| {
                    let id = WaveId { wave: wave_index, ..id };
                    self.shared.fault(id, module.entry(kernel), trap.into())
                },
            )?;
            initial::set_work_group_sgprs(
                wave,
                descriptor,
                launch,
                addresses,
                id.work_group,
                wave_index,
            );
            seat.scratch.reset(descriptor.private_segment_fixed_size as usize, settings.poison);
            seat.state = State::Running;
            seat.num_steps = 0;
        }
        Ok(())
    }

    /// Executes at most `turn` instructions of a wave, until it waits or ends.
    fn take_turn<O: Observer>(
        &mut self,
        id: WaveId,
        turn: u64,
        observer: &mut O,
    ) -> Result<(), Box<Fault>> {
        let shared = self.shared;
        let seat = &mut self.seats[id.wave as usize];
        let memory = Memory {
            arena: shared.arena,
            lds: &mut self.lds,
            scratch: &mut seat.scratch,
            clock: seat.num_steps,
        };
        let mut context = Context::new(memory, &shared.settings.options, observer, id);
        let limit = shared.settings.step_limit;
        for _ in 0..turn.min(limit - seat.num_steps) {
            let pc = seat.wave.pc;
            let slot = shared.module.at(pc);
            let slot = slot.ok_or_else(|| shared.fault(id, pc, Cause::NoInstruction))?;
            context.observer.before(id, &seat.wave, slot);
            let flow = step(&mut seat.wave, slot, &mut context)
                .map_err(|trap| shared.fault(id, pc, shared.cause(trap)))?;
            context.observer.after(id, &seat.wave, slot, pc, flow);
            context.memory.clock += 1;
            match flow {
                Flow::Next | Flow::Jump(_) => continue,
                Flow::Barrier => seat.state = State::AtBarrier,
                Flow::End => seat.state = State::Ended,
            }
            break;
        }
        seat.num_steps = context.memory.clock;
        if seat.num_steps >= limit && seat.state == State::Running {
            return Err(shared.fault(id, seat.wave.pc, Cause::StepLimit(limit)));
        }
        Ok(())
    }
}

impl Shared<'_> {
    pub fn num_work_groups(&self) -> u64 {
        self.launch.grid.map(u64::from).iter().product()
    }

    /// What is to be said of a trap of this kernel.
    fn cause(&self, trap: Trap) -> Cause {
        match trap {
            Trap::Scratch { .. } if self.kernel.descriptor.uses_dynamic_stack => {
                Cause::DynamicStack(trap)
            }
            trap => Cause::Trap(trap),
        }
    }

    fn fault(&self, id: WaveId, pc: u64, cause: Cause) -> Box<Fault> {
        let instruction = match self.module.at(pc) {
            Some(slot) => slot.inst.to_string(),
            None => "no instruction".into(),
        };
        Box::new(Fault {
            kernel: self.kernel.name.clone(),
            work_group: id.work_group,
            wave: id.wave,
            pc: pc.wrapping_sub(self.module.load_address()),
            instruction,
            cause,
        })
    }
}

/// Whose turn it is, and for how long.
enum Turns {
    /// One wave after the other, each until it waits.
    InOrder {
        last: Option<u32>,
    },
    Seeded(Box<StdRng>),
}

impl Turns {
    fn new(order: Order, work_group_index: u64) -> Self {
        match order {
            Order::InOrder => Self::InOrder { last: None },
            Order::Seeded(seed) => {
                let seed = seed ^ work_group_index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                Self::Seeded(Box::new(StdRng::seed_from_u64(seed)))
            }
        }
    }

    /// One of the waves that can run, which come in order.
    fn pick(&mut self, mut running: impl Iterator<Item = u32> + Clone) -> Option<u32> {
        match self {
            Self::InOrder { last } => {
                let first = running.clone().next();
                *last = running.find(|&wave| last.is_none_or(|last| wave > last)).or(first);
                *last
            }
            Self::Seeded(rng) => running.choose(rng),
        }
    }

    /// Instructions that it may execute.
    fn length(&mut self) -> u64 {
        match self {
            Self::InOrder { .. } => TURN,
            Self::Seeded(rng) => rng.random_range(1..=MAX_SEEDED_TURN),
        }
    }
}
