//! What the emulator counted of a launch.

use code_object::Resources;
use kernels_hip::time_model::Work;
use serde::{Deserialize, Serialize};

/// Lanes of a wave.
const WAVE_SIZE: u64 = 64;
/// Bytes of a line of L2.
pub(super) const LINE_BYTES: u64 = 128;

/// The parts of the emulator's report that a comparison shows.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[allow(missing_docs)] // The names are those of `gfx942_emulator::count::Report`.
pub struct Counted {
    pub kernel: String,
    pub work_groups: u64,
    pub waves: u64,
    pub barriers: u64,
    pub instructions: Instructions,
    pub cycles: Cycles,
    pub memory: Memory,
    pub loads_in_flight: LoadsInFlight,
    pub resources: Resources,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct Instructions {
    pub total: u64,
    pub scalar: u64,
    pub vector: u64,
    pub transcendental: u64,
    pub packed: u64,
    pub matrix: u64,
    pub lds: u64,
    pub scalar_memory: u64,
    pub vector_memory: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct Cycles {
    pub vector: u64,
    pub transcendental: u64,
    pub matrix: u64,
    pub lds: u64,
    pub lds_conflict: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct Traffic {
    pub instructions: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct Memory {
    pub loads: Traffic,
    pub stores: Traffic,
    pub scratch: Traffic,
    pub l2: L2,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct L2 {
    pub load_misses: u64,
    pub store_misses: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct LoadsInFlight {
    pub max_bytes_per_cu: u64,
    pub mean_bytes_per_wave_at_waits: f64,
}

impl Counted {
    /// Bytes that memory is read and written for, by the model of L2.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        (self.memory.l2.load_misses + self.memory.l2.store_misses) * LINE_BYTES
    }

    /// Issue cycles of vector instructions, transcendental ones among them.
    #[must_use]
    pub fn vector_cycles(&self) -> u64 {
        self.cycles.vector + self.cycles.transcendental
    }

    /// What the model of time needs to know.
    #[must_use]
    pub fn work(&self) -> Work {
        let waves = self.waves.checked_div(self.work_groups).unwrap_or(1);
        Work {
            num_workgroups: self.work_groups,
            waves_per_workgroup: u32::try_from(waves).unwrap_or(WAVE_SIZE as u32),
            matrix_cycles: self.cycles.matrix,
            vector_cycles: self.vector_cycles(),
            lds_cycles: self.cycles.lds,
            memory_bytes: self.memory_bytes(),
        }
    }
}
