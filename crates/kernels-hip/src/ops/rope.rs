//! `rope_angles` and `rope`.

use engine_core::dtype::DType;
use engine_core::ops::Cols;

use super::{WORKGROUP_SIZE, check_view, count, format_name, plain};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const ANGLES_NAME: &str = "rope_angles_v1_naive";
const NAME: &str = "rope_v1_naive";
const CONVERT_NAME: &str = "rope_convert_v1_naive";

/// What there is of `rope_angles`.
pub(super) const ANGLES_VARIANTS: &[Variant<Any>] = &[plain("rope_angles", ANGLES_NAME, "none")];

/// What there is of `rope`.
pub(super) const VARIANTS: &[Variant<Any>] = &[plain("rope", NAME, "none")];

/// What there is of `rope_convert`.
pub(super) const CONVERT_VARIANTS: &[Variant<Any>] = &[plain("rope_convert", CONVERT_NAME, "none")];

/// cos and sin of positions: [`engine_core::ops::RopeAngles`].
pub struct RopeAngles {
    kernel: Kernel,
}

impl RopeAngles {
    /// Loads `rope_angles_v1_naive`.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(RopeAngles { kernel: device.variant(ANGLES_NAME)?.kernel(ANGLES_NAME)? })
    }

    /// `out` is rows of `2 · num_freqs`: the cosines of `num_tokens` positions, then the sines.
    ///
    /// # Errors
    ///
    /// If a buffer is too short; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        out: &mut Buffer<f32>,
        positions: &Buffer<u32>,
        inv_freq: &Buffer<f32>,
        attention_factor: f32,
        [num_tokens, num_freqs]: [usize; 2],
    ) -> Result<()> {
        let num_angles = num_tokens.saturating_mul(num_freqs);
        out.check_at_least("out", num_angles.saturating_mul(2))?;
        positions.check_at_least("positions", num_tokens)?;
        inv_freq.check_at_least("inv_freq", num_freqs)?;
        let num_freqs = count("num_freqs", num_freqs)?;
        let num_workgroups =
            count("the number of work-groups", num_angles.div_ceil(WORKGROUP_SIZE as usize))?;
        let num_angles = num_angles as u64;
        let args = [
            Argument::output(out),
            Argument::input(positions),
            Argument::input(inv_freq),
            Argument::value(&attention_factor),
            Argument::value(&num_freqs),
            Argument::value(&num_angles),
        ];
        // SAFETY: the kernel touches angles below `num_angles`: tokens and frequencies below the counts checked above.
        unsafe {
            self.kernel.launch(stream, Geometry::linear(num_workgroups, WORKGROUP_SIZE), &args)
        }
    }
}

/// Which elements of a head turn together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RopeLayout {
    /// Element i with i + rotary_dim / 2: Hugging Face's, and [`engine_core::ops::Rope`]'s.
    HalfSplit,
    /// Element 2i with 2i + 1: the paper's.
    Interleaved,
}

/// A rotary embedding's sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RopeShape {
    /// Rows.
    pub num_rows: usize,
    /// Heads of a row.
    pub num_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Leading elements of a head that turn; even.
    pub rotary_dim: usize,
    /// Which of them together.
    pub layout: RopeLayout,
}

impl RopeShape {
    /// Fails unless a kernel may rotate the heads of `x` by `angles`; gives the elements of a row.
    fn check(&self, x: &Cols<&Buffer<f32>>, angles: &Buffer<f32>) -> Result<u32> {
        let RopeShape { num_rows, num_heads, head_dim, rotary_dim, .. } = *self;
        if rotary_dim == 0 || rotary_dim > head_dim || !rotary_dim.is_multiple_of(2) {
            let found = format!("{rotary_dim} of {head_dim}");
            let (what, allowed) = ("rotary_dim", "even, from 2 to head_dim");
            return Err(Error::Value { what, allowed, found });
        }
        let width = num_heads.saturating_mul(head_dim);
        check_view("x", x, num_rows, width)?;
        angles.check_at_least("angles", num_rows.saturating_mul(rotary_dim))?;
        // Kernels count a row's elements in 32 bits.
        count("columns", width)
    }
}

/// [`Rope`] and then [`super::Convert`], in one: queries on their way to attention, with the bits of the two.
pub struct RopeConvert {
    kernel: Kernel,
}

impl RopeConvert {
    /// Loads `rope_convert_v1_naive` to `dtype`.
    ///
    /// # Errors
    ///
    /// If `dtype` has not 16 bits, or the build has none for this device; HIP's.
    pub fn new(device: &Device, dtype: DType) -> Result<Self> {
        Self::of(&device.variant(CONVERT_NAME)?, dtype)
    }

    /// As [`RopeConvert::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_code_object(device: &Device, code_object: &[u8], dtype: DType) -> Result<Self> {
        Self::of(&device.module(code_object)?, dtype)
    }

    fn of(module: &Module, dtype: DType) -> Result<Self> {
        let kernel = format!("{CONVERT_NAME}__f32_{}", format_name(dtype)?);
        Ok(RopeConvert { kernel: module.kernel(&kernel)? })
    }

    /// The heads that the view's columns are, rotated by `angles`, rows of `rotary_dim`, and rounded, as dense rows. `x`
    /// stays as it is.
    ///
    /// # Errors
    ///
    /// As [`Rope::run`], and if `out` is too short.
    pub fn run(
        &self,
        stream: &Stream,
        out: &mut Buffer<u16>,
        x: &Cols<&Buffer<f32>>,
        angles: &Buffer<f32>,
        shape: RopeShape,
    ) -> Result<()> {
        let width = shape.check(x, angles)?;
        out.check_at_least("out", shape.num_rows.saturating_mul(width as usize))?;
        let stride = x.stride as u64;
        let [head_dim, rotary_dim] = [shape.head_dim, shape.rotary_dim].map(|size| size as u32);
        let interleaved = u32::from(shape.layout == RopeLayout::Interleaved);
        let args = [
            Argument::output(out),
            Argument::input_from(x.buffer, x.first_col),
            Argument::value(&stride),
            Argument::input(angles),
            Argument::value(&width),
            Argument::value(&head_dim),
            Argument::value(&rotary_dim),
            Argument::value(&interleaved),
        ];
        let workgroups = [count("num_rows", shape.num_rows)?, width.div_ceil(WORKGROUP_SIZE), 1];
        let geometry = Geometry { workgroups, ..Geometry::linear(1, WORKGROUP_SIZE) };
        // SAFETY: a work-item writes an element of a row of `width`, which `out` has, and reads two of the same head of
        // the view and two of the row's angles, all checked above.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }
}

/// Rotates heads in place: [`engine_core::ops::Rope`].
pub struct Rope {
    kernel: Kernel,
}

impl Rope {
    /// Loads `rope_v1_naive`.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(Rope { kernel: device.variant(NAME)?.kernel(NAME)? })
    }

    /// As [`Rope::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// If it has no such kernel; HIP's.
    pub fn from_code_object(device: &Device, code_object: &[u8]) -> Result<Self> {
        Ok(Rope { kernel: device.module(code_object)?.kernel(NAME)? })
    }

    /// Rotates the heads that the view's columns are by `angles`, rows of `rotary_dim`.
    ///
    /// # Errors
    ///
    /// If a buffer is too short, or `rotary_dim` odd, zero or above `head_dim`; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        x: Cols<&mut Buffer<f32>>,
        angles: &Buffer<f32>,
        shape: RopeShape,
    ) -> Result<()> {
        let RopeShape { num_rows, num_heads, head_dim, rotary_dim, layout } = shape;
        let Cols { buffer, first_col, stride } = x;
        shape.check(&Cols { buffer: &*buffer, first_col, stride }, angles)?;
        let stride = stride as u64;
        let sizes = [num_heads, head_dim, rotary_dim].map(|size| size as u32);
        let interleaved = u32::from(layout == RopeLayout::Interleaved);
        let args = [
            Argument::output_from(buffer, first_col),
            Argument::value(&stride),
            Argument::input(angles),
            Argument::value(&sizes[0]),
            Argument::value(&sizes[1]),
            Argument::value(&sizes[2]),
            Argument::value(&interleaved),
        ];
        let geometry = Geometry::linear(count("num_rows", num_rows)?, WORKGROUP_SIZE);
        // SAFETY: a work-group touches the view's columns of one row and one row of `angles`, both checked above.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }
}
