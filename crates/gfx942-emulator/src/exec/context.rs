//! What an instruction can reach besides its own wave.

use std::str::FromStr;

use super::memory::Memory;
use crate::simd::Simd;

/// How the emulator behaves where the hardware leaves room, or where exactness costs time.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// MFMA accumulates bit by bit as the hardware does, instead of as a chain of FMAs.
    pub exact_mfma: bool,
    /// How transcendental results (`v_exp_f32`, `v_rcp_f32`, …) are moved.
    pub ulp: Ulp,
}

/// What happens to the last bit of f32 and f16 transcendental results, which the manual promises to 1 ULP only.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Ulp {
    /// Correctly rounded.
    #[default]
    Exact,
    /// One ULP away from zero.
    Up,
    /// One ULP towards zero.
    Down,
    /// −1, 0 or +1 ULP, a fixed function of the seed, the input and the operation.
    Seeded(u64),
}

/// `exact`, `up`, `down`, or a seed.
impl FromStr for Ulp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "exact" => Ok(Self::Exact),
            "up" => Ok(Self::Up),
            "down" => Ok(Self::Down),
            seed => seed
                .parse()
                .map(Self::Seeded)
                .map_err(|_| format!("{seed:?} is none of exact, up, down and seeds (numbers)")),
        }
    }
}

/// Which wave of which work-group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct WaveId {
    /// The work-group's indices in the grid.
    pub work_group: [u32; 3],
    /// The work-group's place in the order x, then y, then z.
    pub work_group_index: u64,
    /// The wave in its work-group.
    pub wave: u32,
}

/// What an instruction can reach besides its own wave.
pub struct Context<'a, O> {
    /// Device memory, the work-group's LDS and the wave's scratch.
    pub memory: Memory<'a>,
    /// Choices for the whole launch.
    pub options: &'a Options,
    /// Who watches.
    pub observer: &'a mut O,
    /// Which wave this is.
    pub id: WaveId,
    pub(super) simd: Simd,
}

impl<'a, O> Context<'a, O> {
    /// What wave `id` can reach.
    pub fn new(memory: Memory<'a>, options: &'a Options, observer: &'a mut O, id: WaveId) -> Self {
        Self { memory, options, observer, id, simd: Simd::detect() }
    }
}
