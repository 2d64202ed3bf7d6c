//! `silu_mul` and `convert`: one work-item per element.

use engine_core::dtype::DType;
use engine_core::ops::Cols;

use super::{WORKGROUP_SIZE, check_view, count, format_name, plain};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::Kernel;
use crate::result::Result;
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const SILU_MUL: &str = "silu_mul_v1_naive";
const CONVERT: &str = "convert_v1_naive";

/// What there is of `silu_mul`.
pub(super) const SILU_MUL_VARIANTS: &[Variant<Any>] = &[plain("silu_mul", SILU_MUL, "none")];

/// What there is of `convert`.
pub(super) const CONVERT_VARIANTS: &[Variant<Any>] = &[plain("convert", CONVERT, "none")];

/// Rows along x, elements of a row along y.
fn geometry(num_rows: usize, width: usize) -> Result<Geometry> {
    let workgroups_of_row = count("width", width)?.div_ceil(WORKGROUP_SIZE);
    Ok(Geometry {
        workgroups: [count("num_rows", num_rows)?, workgroups_of_row, 1],
        ..Geometry::linear(1, WORKGROUP_SIZE)
    })
}

/// The gated activation: [`engine_core::ops::SiluMul`].
pub struct SiluMul {
    kernel: Kernel,
}

impl SiluMul {
    /// Loads `silu_mul_v1_naive` for an output of `dtype`.
    ///
    /// # Errors
    ///
    /// If `dtype` has not 16 bits, or the build has none for this device; HIP's.
    pub fn new(device: &Device, dtype: DType) -> Result<Self> {
        let kernel = format!("{SILU_MUL}__{}", format_name(dtype)?);
        Ok(SiluMul { kernel: device.variant(SILU_MUL)?.kernel(&kernel)? })
    }

    /// `gate_up` is `num_rows` rows of `2 · width`, `out` of `width`.
    ///
    /// # Errors
    ///
    /// If a buffer is too short; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        out: &mut Buffer<u16>,
        gate_up: &Buffer<f32>,
        [num_rows, width]: [usize; 2],
    ) -> Result<()> {
        let len = num_rows.saturating_mul(width);
        out.check_at_least("out", len)?;
        gate_up.check_at_least("gate_up", len.saturating_mul(2))?;
        let geometry = geometry(num_rows, width)?;
        let width = count("width", width)?;
        let args = [Argument::output(out), Argument::input(gate_up), Argument::value(&width)];
        // SAFETY: the kernel touches rows below the number of work-groups along x and columns below `width`, which the
        // buffers have, checked above.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }
}

/// f32 columns as dense rows of 16 bits, rounded to nearest.
pub struct Convert {
    kernel: Kernel,
}

impl Convert {
    /// Loads `convert_v1_naive` to `dtype`.
    ///
    /// # Errors
    ///
    /// If `dtype` has not 16 bits, or the build has none for this device; HIP's.
    pub fn new(device: &Device, dtype: DType) -> Result<Self> {
        let kernel = format!("{CONVERT}__f32_{}", format_name(dtype)?);
        Ok(Convert { kernel: device.variant(CONVERT)?.kernel(&kernel)? })
    }

    /// As [`Convert::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// If it has no such kernel; HIP's.
    pub fn from_code_object(device: &Device, code_object: &[u8], dtype: DType) -> Result<Self> {
        let kernel = format!("{CONVERT}__f32_{}", format_name(dtype)?);
        Ok(Convert { kernel: device.module(code_object)?.kernel(&kernel)? })
    }

    /// The first `width` columns of the view, in `num_rows` rows.
    ///
    /// # Errors
    ///
    /// If a buffer is too short; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        out: &mut Buffer<u16>,
        x: &Cols<&Buffer<f32>>,
        [num_rows, width]: [usize; 2],
    ) -> Result<()> {
        out.check_at_least("out", num_rows.saturating_mul(width))?;
        check_view("x", x, num_rows, width)?;
        let geometry = geometry(num_rows, width)?;
        let stride = x.stride as u64;
        let width = count("width", width)?;
        let args = [
            Argument::output(out),
            Argument::input_from(x.buffer, x.first_col),
            Argument::value(&stride),
            Argument::value(&width),
        ];
        // SAFETY: as above, with the view's rows of `stride`.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }
}
