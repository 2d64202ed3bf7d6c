//! The counters, named and summed.

use std::collections::BTreeMap;

use code_object::{Kernel, Resources, WorkGroupShape};
use serde::Serialize;

use super::Counters;
use super::cycles::issue_cycles;
use crate::exec::Unit;
use crate::isa::Op;

/// What a launch did. Instructions are counted once per wave.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct Report {
    /// The kernel's name.
    pub kernel: String,
    /// Work-groups that ran.
    pub work_groups: u64,
    /// Waves that ran.
    pub waves: u64,
    /// Times that a work-group's waves met.
    pub barriers: u64,
    /// Instructions by class.
    pub instructions: Instructions,
    /// Lanes that were active.
    pub lanes: Lanes,
    /// Issue cycles, summed over all waves.
    pub cycles: Cycles,
    /// Device memory and scratch.
    pub memory: Memory,
    /// The local data share.
    pub lds: Lds,
    /// Load bytes in flight.
    pub loads_in_flight: LoadsInFlight,
    /// What the code object asks of a compute unit.
    pub resources: Resources,
    /// Instructions by mnemonic.
    pub by_mnemonic: BTreeMap<&'static str, u64>,
}

/// Instructions by class, once per wave.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Debug)]
#[allow(missing_docs)] // Each is the class of its name.
pub struct Instructions {
    pub total: u64,
    pub scalar: u64,
    pub control: u64,
    pub vector: u64,
    pub transcendental: u64,
    pub packed: u64,
    pub matrix: u64,
    pub lds: u64,
    pub scalar_memory: u64,
    pub vector_memory: u64,
    /// `s_waitcnt`, which `control` counts too.
    pub waits: u64,
}

/// Active lanes of vector instructions.
#[derive(Clone, PartialEq, Default, Serialize, Debug)]
pub struct Lanes {
    /// Active lanes, over all vector, transcendental and packed instructions.
    pub active: u64,
    /// `active` as a part of all lanes; 1 without divergence.
    pub utilization: f64,
}

/// Cycles for which single units are occupied, by published rates, summed over all waves. They are not a time: a compute
/// unit has four SIMDs, and units work at once.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Debug)]
#[allow(missing_docs)]
pub struct Cycles {
    pub vector: u64,
    pub transcendental: u64,
    pub matrix: u64,
    pub lds: u64,
    pub lds_conflict: u64,
}

/// One kind of access to device memory or scratch.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Debug)]
pub struct Traffic {
    /// Instructions that accessed it, once per wave.
    pub instructions: u64,
    /// Bytes that lanes asked for.
    pub bytes: u64,
    /// Lines of 128 bytes that the instructions touched, each once per instruction. Not counted for scalar accesses and
    /// scratch.
    pub lines: u64,
}

impl Traffic {
    fn add(&mut self, other: &Self) {
        self.instructions += other.instructions;
        self.bytes += other.bytes;
        self.lines += other.lines;
    }
}

/// Lines that the model of L2 did not hold (8 dies of 4 MB, 16 ways, least recently used; work-groups dealt round-robin,
/// each die's one after the other).
#[derive(Clone, PartialEq, Eq, Default, Serialize, Debug)]
pub struct L2 {
    /// By loads: what memory is read for.
    pub load_misses: u64,
    /// By stores and atomics.
    pub store_misses: u64,
}

/// Device memory and scratch.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Debug)]
#[allow(missing_docs)]
pub struct Memory {
    pub loads: Traffic,
    pub stores: Traffic,
    pub atomics: Traffic,
    pub scalar: Traffic,
    pub scratch: Traffic,
    pub l2: L2,
}

impl Memory {
    pub(super) fn add(&mut self, other: &Self) {
        self.loads.add(&other.loads);
        self.stores.add(&other.stores);
        self.atomics.add(&other.atomics);
        self.scalar.add(&other.scalar);
        self.scratch.add(&other.scratch);
        self.l2.load_misses += other.l2.load_misses;
        self.l2.store_misses += other.l2.store_misses;
    }
}

/// The local data share.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Debug)]
pub struct Lds {
    /// Accesses, once per wave.
    pub accesses: u64,
    /// Bytes that lanes asked for.
    pub bytes: u64,
    #[serde(skip)]
    pub(super) cycles: u64,
    #[serde(skip)]
    pub(super) conflict_cycles: u64,
}

impl Lds {
    pub(super) fn add(&mut self, other: &Self) {
        self.accesses += other.accesses;
        self.bytes += other.bytes;
        self.cycles += other.cycles;
        self.conflict_cycles += other.conflict_cycles;
    }
}

/// Load bytes in flight: issued, and not yet waited for.
#[derive(Clone, PartialEq, Default, Serialize, Debug)]
pub struct LoadsInFlight {
    /// The most that a wave had.
    pub max_bytes_per_wave: u64,
    /// What a wave had when it waited, on average.
    pub mean_bytes_per_wave_at_waits: f64,
    /// The most of a compute unit: `max_bytes_per_wave` times the waves that fit.
    pub max_bytes_per_cu: u64,
    #[serde(skip)]
    pub(super) num_waits: u64,
    #[serde(skip)]
    pub(super) bytes_at_waits: u64,
}

impl LoadsInFlight {
    pub(super) fn add(&mut self, other: &Self) {
        self.max_bytes_per_wave = self.max_bytes_per_wave.max(other.max_bytes_per_wave);
        self.num_waits += other.num_waits;
        self.bytes_at_waits += other.bytes_at_waits;
    }
}

impl Counters {
    /// What was counted while `kernel` was launched in work-groups of this shape.
    pub fn report(&self, kernel: &Kernel, shape: &WorkGroupShape) -> Report {
        let resources = Resources::of(kernel, shape);
        let mut report = Report {
            kernel: kernel.name.clone(),
            work_groups: self.num_work_groups,
            waves: self.num_waves,
            barriers: self.num_barriers,
            instructions: Instructions::default(),
            lanes: Lanes::default(),
            cycles: Cycles {
                lds: self.lds.cycles,
                lds_conflict: self.lds.conflict_cycles,
                ..Cycles::default()
            },
            memory: self.memory.clone(),
            lds: self.lds.clone(),
            loads_in_flight: self.loads_in_flight(&resources),
            resources,
            by_mnemonic: BTreeMap::new(),
        };
        self.sum_operations(&mut report);
        report
    }

    fn loads_in_flight(&self, resources: &Resources) -> LoadsInFlight {
        let seen = &self.in_flight;
        LoadsInFlight {
            mean_bytes_per_wave_at_waits: ratio(seen.bytes_at_waits, seen.num_waits),
            max_bytes_per_cu: seen.max_bytes_per_wave * u64::from(resources.waves_per_cu),
            ..seen.clone()
        }
    }

    fn sum_operations(&self, report: &mut Report) {
        let mut lanes = 0;
        for (&op, count) in Op::ALL.iter().zip(&self.by_op) {
            let Some(unit) = count.unit else { continue };
            report.by_mnemonic.insert(op.name(), count.waves);
            let (class, cycles) = report.class(unit);
            *class += count.waves;
            if let Some(cycles) = cycles {
                *cycles += count.waves * u64::from(issue_cycles(op, unit));
            }
            report.instructions.total += count.waves;
            if matches!(unit, Unit::Vector | Unit::Transcendental | Unit::Packed) {
                report.lanes.active += count.lanes;
                lanes += count.waves * crate::WAVE_SIZE as u64;
            }
            if op == Op::s_waitcnt {
                report.instructions.waits += count.waves;
            }
        }
        report.lanes.utilization = ratio(report.lanes.active, lanes);
    }
}

impl Report {
    /// Where a unit's instructions and issue cycles are counted.
    fn class(&mut self, unit: Unit) -> (&mut u64, Option<&mut u64>) {
        let (counts, cycles) = (&mut self.instructions, &mut self.cycles);
        match unit {
            Unit::Scalar => (&mut counts.scalar, None),
            Unit::Control => (&mut counts.control, None),
            Unit::Vector => (&mut counts.vector, Some(&mut cycles.vector)),
            Unit::Transcendental => (&mut counts.transcendental, Some(&mut cycles.transcendental)),
            Unit::Packed => (&mut counts.packed, Some(&mut cycles.vector)),
            Unit::Matrix => (&mut counts.matrix, Some(&mut cycles.matrix)),
            Unit::ScalarMemory => (&mut counts.scalar_memory, None),
            Unit::Lds => (&mut counts.lds, None),
            Unit::VectorMemory => (&mut counts.vector_memory, None),
        }
    }
}

fn ratio(sum: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { sum as f64 / of as f64 }
}
