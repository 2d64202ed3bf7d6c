//! `argmax`.

use super::{WORKGROUP_SIZE, count, plain};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::Kernel;
use crate::result::Result;
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const NAME: &str = "argmax_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] = &[plain("argmax", NAME, "none: maxima have no order")];

/// Where the largest of each row is; of equals, the first.
pub struct Argmax {
    kernel: Kernel,
}

impl Argmax {
    /// What a row has whose largest number is not finite.
    pub const NONE: u32 = u32::MAX;

    /// Loads `argmax_v1_naive`.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(Argmax { kernel: device.variant(NAME)?.kernel(NAME)? })
    }

    /// As [`Argmax::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// If it has no such kernel; HIP's.
    pub fn from_code_object(device: &Device, code_object: &[u8]) -> Result<Self> {
        Ok(Argmax { kernel: device.module(code_object)?.kernel(NAME)? })
    }

    /// `x` is `num_rows` rows of `num_cols`; NaN never wins.
    ///
    /// # Errors
    ///
    /// If a buffer is too short; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        out: &mut Buffer<u32>,
        x: &Buffer<f32>,
        [num_rows, num_cols]: [usize; 2],
    ) -> Result<()> {
        out.check_at_least("out", num_rows)?;
        x.check_at_least("x", num_rows.saturating_mul(num_cols))?;
        let num_cols = count("num_cols", num_cols)?;
        let args = [Argument::output(out), Argument::input(x), Argument::value(&num_cols)];
        let geometry = Geometry::linear(count("num_rows", num_rows)?, WORKGROUP_SIZE);
        // SAFETY: the kernel reads rows below the number of work-groups, of `num_cols`, and writes one number for each;
        // the buffers have them, checked above.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }
}
