//! How long a kernel may take on an MI300X, from what it was counted to do: a model, not a measurement.
//!
//! Work-groups are dealt evenly over 304 compute units, so the busiest one has the whole of the last, perhaps not full,
//! round. There each SIMD issues its waves' matrix and vector cycles; beside it, bytes come from memory. The longest of
//! these is the time, on top of the launch. Two things are not known, and give two bounds: how much of matrix and vector
//! work a schedule overlaps (all of it: the larger counts; none: the sum), and the bandwidth that is reached.
//!
//! What it leaves out: the latency of memory (a kernel with few bytes in flight is slower than both bounds), exchanges
//! over the dies, throttling by power. Within a family of kernels it ranks; between families it may be off by a third.
//!
//! Sources. Issue cycles: AMD's matrix instruction calculator and the CDNA3 ISA manual, as `gfx942-emulator` counts
//! them. Bandwidth: 4.3 TB/s is what stream kernels reach of 5.3 (arXiv 2510.27583), 3.0 TB/s AMD's own effective
//! figure in Origami, which also has the launch of 2.7 µs. The clock without overlap is fitted to AITER's
//! attention in its first rounding mode (`tests/time_model.rs`); the clock of the lower bound is the highest of the part.

/// A device, as the model sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Machine {
    /// Compute units.
    pub num_cus: u32,
    /// SIMDs of a compute unit.
    pub simds_per_cu: u32,
    /// Highest clock, GHz.
    pub peak_clock_ghz: f64,
    /// Clock that kernels without overlap of matrix and vector work were seen to run at, GHz.
    pub sustained_clock_ghz: f64,
    /// Highest bandwidth of memory that was measured, bytes per second.
    pub best_bandwidth: f64,
    /// Bandwidth that kernels reach as a rule, bytes per second.
    pub usual_bandwidth: f64,
    /// A launch, µs.
    pub launch_us: f64,
}

/// AMD Instinct MI300X.
pub const MI300X: Machine = Machine {
    num_cus: 304,
    simds_per_cu: 4,
    peak_clock_ghz: 2.1,
    sustained_clock_ghz: 1.761,
    best_bandwidth: 4.3e12,
    usual_bandwidth: 3.0e12,
    launch_us: 2.7,
};

/// What a launch does. Cycles are summed over all of its waves.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Work {
    /// Work-groups.
    pub num_workgroups: u64,
    /// Waves of a work-group.
    pub waves_per_workgroup: u32,
    /// Issue cycles of matrix instructions.
    pub matrix_cycles: u64,
    /// Issue cycles of vector and transcendental instructions.
    pub vector_cycles: u64,
    /// Cycles of the local data share, bank conflicts included.
    pub lds_cycles: u64,
    /// Bytes that memory is read and written for.
    pub memory_bytes: u64,
}

/// What limits a kernel, by the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Resource {
    Matrix,
    Vector,
    /// Matrix and vector instructions, one after the other.
    Issue,
    Lds,
    Memory,
    Launch,
}

impl Resource {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Resource::Matrix => "matrix",
            Resource::Vector => "vector",
            Resource::Issue => "issue",
            Resource::Lds => "LDS",
            Resource::Memory => "memory",
            Resource::Launch => "launch",
        }
    }
}

/// One bound of a time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bound {
    /// µs, the launch included.
    pub us: f64,
    /// What it is made of for the most part.
    pub limit: Resource,
}

/// Between which bounds a time lies, by the model.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Prediction {
    /// Everything overlaps, at the highest clock and the best bandwidth.
    pub lower: Bound,
    /// Matrix and vector work take turns, at the usual clock and bandwidth.
    pub upper: Bound,
}

impl Machine {
    /// The bounds for `work`.
    #[must_use]
    pub fn predict(&self, work: &Work) -> Prediction {
        let share = self.busiest(work);
        let simds = f64::from(self.simds_per_cu);
        let us = |cycles: f64, clock_ghz: f64| cycles / (clock_ghz * 1e3);
        let memory_us = |bandwidth: f64| work.memory_bytes as f64 / bandwidth * 1e6;
        let [matrix, vector] =
            [work.matrix_cycles, work.vector_cycles].map(|cycles| cycles as f64 * share / simds);
        // A compute unit has one LDS.
        let lds = work.lds_cycles as f64 * share;
        let lower = [
            (us(matrix, self.peak_clock_ghz), Resource::Matrix),
            (us(vector, self.peak_clock_ghz), Resource::Vector),
            (us(lds, self.peak_clock_ghz), Resource::Lds),
            (memory_us(self.best_bandwidth), Resource::Memory),
        ];
        let upper = [
            (us(matrix + vector, self.sustained_clock_ghz), Resource::Issue),
            (us(lds, self.sustained_clock_ghz), Resource::Lds),
            (memory_us(self.usual_bandwidth), Resource::Memory),
        ];
        Prediction { lower: self.bound(&lower), upper: self.bound(&upper) }
    }

    /// The part of all cycles that falls on the busiest compute unit, as if all of its SIMDs had the busiest one's.
    fn busiest(&self, work: &Work) -> f64 {
        let waves_per_workgroup = u64::from(work.waves_per_workgroup.max(1));
        let num_waves = work.num_workgroups * waves_per_workgroup;
        if num_waves == 0 {
            return 0.0;
        }
        let workgroups = work.num_workgroups.div_ceil(u64::from(self.num_cus));
        let simds = u64::from(self.simds_per_cu);
        let waves = (workgroups * waves_per_workgroup).div_ceil(simds) * simds;
        waves as f64 / num_waves as f64
    }

    fn bound(&self, parts: &[(f64, Resource)]) -> Bound {
        let longest = parts.iter().fold((0.0, Resource::Launch), |longest, &part| {
            if part.0 > longest.0 { part } else { longest }
        });
        let limit = if longest.0 < self.launch_us { Resource::Launch } else { longest.1 };
        Bound { us: self.launch_us + longest.0, limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Work = Work {
        num_workgroups: 304,
        waves_per_workgroup: 4,
        matrix_cycles: 304 * 4 * 2_100_000,
        vector_cycles: 304 * 4 * 1_050_000,
        lds_cycles: 0,
        memory_bytes: 0,
    };

    #[test]
    fn overlap_is_what_lies_between_the_bounds() {
        let Prediction { lower, upper } = MI300X.predict(&FULL);
        assert_eq!((lower.limit, upper.limit), (Resource::Matrix, Resource::Issue));
        assert!((lower.us - 1002.7).abs() < 1e-6, "{lower:?}");
        assert!((upper.us - 2.7 - 3_150_000.0 / 1761.0).abs() < 1e-6, "{upper:?}");
    }

    #[test]
    fn one_workgroup_more_than_fits_begins_another_round() {
        let one_more = Work {
            num_workgroups: 305,
            matrix_cycles: FULL.matrix_cycles / 304 * 305,
            vector_cycles: FULL.vector_cycles / 304 * 305,
            ..FULL
        };
        let (full, more) = (MI300X.predict(&FULL).lower.us, MI300X.predict(&one_more).lower.us);
        assert!((more - 2.7 - 2.0 * (full - 2.7)).abs() < 1e-6, "{full} {more}");
    }

    #[test]
    fn bytes_limit_what_has_few_cycles_and_nothing_takes_a_launch() {
        let copy = Work { memory_bytes: 8_600_000_000, ..FULL };
        let Prediction { lower, upper } = MI300X.predict(&copy);
        assert_eq!((lower.limit, upper.limit), (Resource::Memory, Resource::Memory));
        assert!((lower.us - 2002.7).abs() < 1e-6 && upper.us > lower.us, "{lower:?} {upper:?}");
        let nothing = MI300X.predict(&Work::default());
        assert_eq!(nothing.lower, Bound { us: 2.7, limit: Resource::Launch });
    }
}
