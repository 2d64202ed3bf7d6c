//! `silu_mul_fp8_quantize`.

use engine_core::formats::Fp8Format;

use super::fp8_quantize::{Input, Scales, Scaling, format_name};
use super::row_scales::{self, FusedShape, any_row, kept_row, whole_rows};
use super::{WORKGROUP_SIZE, count};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Variant, choose};

const OP: &str = "silu_mul_fp8_quantize";
const CLASS: &str = "none: a maximum has no order";

/// What there is.
pub(super) const VARIANTS: &[Variant<FusedShape>] = &[
    Variant {
        op: OP,
        name: "silu_mul_fp8_quantize_v2_registers",
        reduction_class: CLASS,
        supports: kept_row,
    },
    Variant {
        op: OP,
        name: "silu_mul_fp8_quantize_v1_naive",
        reduction_class: CLASS,
        supports: any_row,
    },
];

/// [`engine_core::ops::SiluMul`] and [`super::Fp8Quantize`] in one.
pub struct SiluMulFp8Quantize {
    kernel: Kernel,
    shape: FusedShape,
    input: &'static str,
}

impl SiluMulFp8Quantize {
    /// The variant that `pin` names, or else the best, for `width` columns of codes from elements of type `T`.
    ///
    /// # Errors
    ///
    /// If `format` is not one of the two that the device computes with, or no variant serves the shape; HIP's.
    pub fn new<T: Input>(
        device: &Device,
        format: Fp8Format,
        scaling: Scaling,
        width: usize,
        pin: Option<&str>,
    ) -> Result<Self> {
        let shape = shape::<T>(scaling, width);
        let variant = choose(VARIANTS, &device.info().arch, &shape, pin)?;
        Self::from_module::<T>(&device.variant(variant.name)?, variant.name, format, shape)
    }

    /// As [`SiluMulFp8Quantize::new`], of a code object from elsewhere that says it is `variant`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_code_object<T: Input>(
        device: &Device,
        code_object: &[u8],
        format: Fp8Format,
        scaling: Scaling,
        width: usize,
        variant: &str,
    ) -> Result<Self> {
        let shape = shape::<T>(scaling, width);
        let variant = choose(VARIANTS, &device.info().arch, &shape, Some(variant))?;
        Self::from_module::<T>(&device.module(code_object)?, variant.name, format, shape)
    }

    fn from_module<T: Input>(
        module: &Module,
        variant: &str,
        format: Fp8Format,
        shape: FusedShape,
    ) -> Result<Self> {
        let (format, scaling) = (format_name(format)?, shape.scaling.kernel_name());
        let kernel = module.kernel(&format!("{variant}__{}_{format}_{scaling}", T::NAME))?;
        Ok(SiluMulFp8Quantize { kernel, shape, input: T::NAME })
    }

    /// out = fp8(silu(gate) · up / scale), where a row of `gate_up` is `width` gates and then as many ups.
    ///
    /// # Errors
    ///
    /// If a given scale is not positive and finite, or a length or type does not fit; HIP's.
    pub fn run<T: Input>(
        &self,
        stream: &Stream,
        out: &mut Buffer<u8>,
        scales: Scales<'_>,
        gate_up: &Buffer<T>,
    ) -> Result<()> {
        let width = self.shape.num_cols;
        if T::NAME != self.input {
            return Err(Error::Value {
                what: "the type of gate_up",
                allowed: "that of SiluMulFp8Quantize::new",
                found: format!("{}, and the kernel was loaded for {}", T::NAME, self.input),
            });
        }
        let num_rows = whole_rows("out", out.len(), width)?;
        gate_up.check_len("gate_up", 2 * out.len())?;
        let (scales, given) = row_scales::arguments(&self.shape, num_rows, scales)?;
        let width = count("width", width)?;
        let args = [
            Argument::output(out),
            scales,
            Argument::value(&given),
            Argument::input(gate_up),
            Argument::value(&width),
        ];
        // SAFETY: the kernel touches rows below the number of work-groups and columns below `width`, as many as `out` has,
        // twice as many of `gate_up`, which has the type that it reads, and the scales of those rows; all checked above,
        // and by `choose` that the variant serves rows of so many columns.
        unsafe { self.kernel.launch(stream, Geometry::linear(num_rows, WORKGROUP_SIZE), &args) }
    }
}

fn shape<T: Input>(scaling: Scaling, num_cols: usize) -> FusedShape {
    FusedShape { num_cols, element_bytes: size_of::<T>(), scaling }
}
