//! `head_norm`.

use engine_core::ops::Cols;

use super::{WAVE_SIZE, check_view, count, plain};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::Kernel;
use crate::result::Result;
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const NAME: &str = "head_norm_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] =
    &[plain("head_norm", NAME, "stride 64, wave butterfly")];

/// RMSNorm of each head in place: [`engine_core::ops::HeadNorm`].
pub struct HeadNorm {
    kernel: Kernel,
}

impl HeadNorm {
    /// Loads `head_norm_v1_naive`.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(HeadNorm { kernel: device.variant(NAME)?.kernel(NAME)? })
    }

    /// Normalizes the heads of `head_dim` that the view's columns are, in `num_rows` rows.
    ///
    /// # Errors
    ///
    /// If a buffer is too short; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        x: Cols<&mut Buffer<f32>>,
        weight: &Buffer<f32>,
        eps: f32,
        [num_rows, num_heads, head_dim]: [usize; 3],
    ) -> Result<()> {
        let Cols { buffer, first_col, stride } = x;
        let width = num_heads.saturating_mul(head_dim);
        check_view("x", &Cols { buffer: &*buffer, first_col, stride }, num_rows, width)?;
        weight.check_at_least("weight", head_dim)?;
        let stride = stride as u64;
        let num_heads = count("num_heads", num_heads)?;
        let head_dim = count("head_dim", head_dim)?;
        let args = [
            Argument::output_from(buffer, first_col),
            Argument::value(&stride),
            Argument::input(weight),
            Argument::value(&eps),
            Argument::value(&head_dim),
        ];
        let geometry = Geometry {
            workgroups: [count("num_rows", num_rows)?, num_heads, 1],
            ..Geometry::linear(1, WAVE_SIZE as u32)
        };
        // SAFETY: a work-group touches one head of one row, below the counts that the view was checked for, and as many
        // elements of `weight` as a head has.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }
}
