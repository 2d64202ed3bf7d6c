//! `gemm_fp8`.

use std::fmt;

use bytemuck::Pod;
use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;

use super::{check_element, count, element_name};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::registry;
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Variant, choose, everything};

const OP: &str = "gemm_fp8";
const V1: &str = "gemm_fp8_v1_naive";
const V2: &str = "gemm_fp8_v2_mfma";
const V3: &str = "gemm_fp8_v3_mfma_skinny";

/// The class of the variants that use the matrix unit, written down in `kernels/include/gemm_fp8_mfma.h`.
const QUARTERS: &str = "mfma 16x16x32 fp8, quarters of k";

/// Rows and columns of a block of weights that share a scale.
const SCALE_BLOCK: usize = 128;
/// Codes of a 16-byte load.
const VECTOR_LEN: usize = 16;
const WORKGROUP_SIZE: u32 = 256;
/// Rows and columns of what a work-group of v2 makes.
const MFMA_TILE: usize = 64;
/// Columns of what a work-group of v3 makes, and its rows.
const SKINNY_TILE: usize = 16;
const SKINNY_ROWS: usize = 32;

/// What there is. The number of rows chooses among variants of one class alone; K, which is a weight's, between classes.
pub(super) const VARIANTS: &[Variant<GemmFp8Shape>] = &[
    Variant {
        op: OP,
        name: V3,
        reduction_class: QUARTERS,
        supports: |shape| {
            if shape.num_rows > SKINNY_ROWS {
                return Err(format!("it takes up to {SKINNY_ROWS} rows"));
            }
            if !shape.has_mfma {
                // Or the number of rows would choose between classes.
                return Err(format!("{V2}, which computes more rows alike, is not in this build"));
            }
            whole_vectors(shape)
        },
    },
    Variant { op: OP, name: V2, reduction_class: QUARTERS, supports: whole_vectors },
    Variant { op: OP, name: V1, reduction_class: "k in order", supports: everything },
];

fn whole_vectors(shape: &GemmFp8Shape) -> std::result::Result<(), String> {
    match shape.in_features % VECTOR_LEN {
        0 => Ok(()),
        _ => Err(format!("in_features must be a multiple of {VECTOR_LEN}")),
    }
}

/// What a variant is chosen by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GemmFp8Shape {
    num_rows: usize,
    out_features: usize,
    in_features: usize,
    /// Whether the build has the variant that computes many rows with the matrix unit.
    has_mfma: bool,
}

impl GemmFp8Shape {
    /// At most `num_rows` rows of x, and `out_features` of the weight, of `in_features` columns.
    #[must_use]
    pub fn new(num_rows: usize, [out_features, in_features]: [usize; 2]) -> Self {
        GemmFp8Shape { num_rows, out_features, in_features, has_mfma: true }
    }

    fn choose(mut self, device: &Device, pin: Option<&str>) -> Result<(&'static str, Self)> {
        let arch = &device.info().arch;
        self.has_mfma = registry::code_object(V2, arch).is_ok();
        Ok((choose(VARIANTS, arch, &self, pin)?.name, self))
    }
}

impl fmt::Display for GemmFp8Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows of {} by {}", self.num_rows, self.in_features, self.out_features)
    }
}

/// Whose scales codes are multiplied with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GemmScaling {
    /// One of each row of x, `[num_rows]`, and one of each row of the weight, `[out_features]`.
    Row,
    /// One of each 128 columns of a row of x, `[num_rows, ⌈in_features / 128⌉]` ([`super::Scaling::Group`]), and one of each
    /// 128 by 128 block of the weight, `[⌈out_features / 128⌉, ⌈in_features / 128⌉]`.
    Block,
}

/// Dense layers on e4m3fnuz codes: what they compute is written down at `reference_cpu::ops::gemm_fp8`.
pub struct GemmFp8 {
    kernel: Kernel,
    variant: &'static str,
    shape: GemmFp8Shape,
    scaling: GemmScaling,
    out: DType,
}

/// The operands of [`GemmFp8::run`].
pub struct ScaledProduct<'a> {
    /// `[num_rows, in_features]`.
    pub x: &'a Buffer<u8>,
    /// [`GemmScaling`]'s.
    pub x_scales: &'a Buffer<f32>,
    /// `[out_features, in_features]`.
    pub weight: &'a Buffer<u8>,
    /// [`GemmScaling`]'s.
    pub weight_scales: &'a Buffer<f32>,
    /// `[out_features]`.
    pub bias: Option<&'a Buffer<f32>>,
}

impl GemmFp8 {
    /// The variant that `pin` names, or else the best, with results of type `out`.
    ///
    /// # Errors
    ///
    /// If `format` is not e4m3fnuz, or no variant serves the shape; HIP's.
    pub fn new(
        device: &Device,
        format: Fp8Format,
        scaling: GemmScaling,
        shape: GemmFp8Shape,
        out: DType,
        pin: Option<&str>,
    ) -> Result<Self> {
        let (variant, shape) = shape.choose(device, pin)?;
        let module = device.variant(variant)?;
        Self::from_module(&module, variant, format, scaling, shape, out)
    }

    /// As [`GemmFp8::new`], of a code object from elsewhere that says it is `variant`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_code_object(
        device: &Device,
        code_object: &[u8],
        scaling: GemmScaling,
        shape: GemmFp8Shape,
        out: DType,
        variant: &str,
    ) -> Result<Self> {
        let (variant, shape) = shape.choose(device, Some(variant))?;
        let module = device.module(code_object)?;
        Self::from_module(&module, variant, Fp8Format::E4m3Fnuz, scaling, shape, out)
    }

    fn from_module(
        module: &Module,
        variant: &'static str,
        format: Fp8Format,
        scaling: GemmScaling,
        shape: GemmFp8Shape,
        out: DType,
    ) -> Result<Self> {
        if format != Fp8Format::E4m3Fnuz {
            return Err(Error::Value {
                what: "the FP8 format of a matrix product",
                allowed: "E4m3Fnuz: weights of another flavour are converted when they are loaded",
                found: format!("{format:?}"),
            });
        }
        let scales = match scaling {
            GemmScaling::Row => "row",
            GemmScaling::Block => "block",
        };
        let name = format!("{variant}__e4m3fnuz_{}_{scales}", element_name(out));
        Ok(GemmFp8 { kernel: module.kernel(&name)?, variant, shape, scaling, out })
    }

    /// The variant.
    #[must_use]
    pub fn variant(&self) -> &'static str {
        self.variant
    }

    /// out = x · weightᵀ with their scales, and the bias. `out` has the type of [`GemmFp8::new`].
    ///
    /// # Errors
    ///
    /// If a length or type does not fit; HIP's.
    pub fn run<T: Pod>(
        &self,
        stream: &Stream,
        out: &mut Buffer<T>,
        product: &ScaledProduct<'_>,
    ) -> Result<()> {
        let ScaledProduct { x, x_scales, weight, weight_scales, bias } = *product;
        let GemmFp8Shape { num_rows: most, out_features, in_features, .. } = self.shape;
        check_element::<T>(self.out)?;
        let num_rows = check_rows(x.len(), in_features)?;
        if num_rows > most {
            let (what, allowed) = ("the number of rows", "at most that of GemmFp8::new");
            let found = format!("{num_rows}, and the shape has {most}");
            return Err(Error::Value { what, allowed, found });
        }
        weight.check_len("weight", out_features.saturating_mul(in_features))?;
        out.check_len("out", num_rows.saturating_mul(out_features))?;
        let num_blocks = in_features.div_ceil(SCALE_BLOCK);
        let (of_x, of_weight) = match self.scaling {
            GemmScaling::Row => (num_rows, out_features),
            GemmScaling::Block => {
                (num_rows * num_blocks, out_features.div_ceil(SCALE_BLOCK) * num_blocks)
            }
        };
        x_scales.check_len("x_scales", of_x)?;
        weight_scales.check_len("weight_scales", of_weight)?;
        if let Some(bias) = bias {
            bias.check_len("bias", out_features)?;
        }
        let sizes = [
            count("num_rows", num_rows)?,
            count("out_features", out_features)?,
            count("in_features", in_features)?,
        ];
        let args = [
            Argument::output(out),
            Argument::input(x),
            Argument::input(weight),
            Argument::input(x_scales),
            Argument::input(weight_scales),
            bias.map_or_else(Argument::null, Argument::input),
            Argument::value(&sizes[0]),
            Argument::value(&sizes[1]),
            Argument::value(&sizes[2]),
        ];
        let geometry = self.geometry(num_rows)?;
        // SAFETY: the kernel touches rows of x and out below `num_rows`, rows of the weight below `out_features`, columns
        // below `in_features`, and their scales and biases: as many as checked above. v2 and v3 load 16 codes at a time, and
        // rows are whole vectors of them; of v3's one tile no row is above the most that `choose` allows.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }

    fn geometry(&self, num_rows: usize) -> Result<Geometry> {
        if self.variant == V1 {
            return rows_by_columns(num_rows, self.shape.out_features);
        }
        let (n, m) = match self.variant {
            V3 => (SKINNY_TILE, SKINNY_ROWS),
            _ => (MFMA_TILE, MFMA_TILE),
        };
        let tiles = |len: usize, tile| count("the number of tiles", len.div_ceil(tile));
        let workgroups = [tiles(self.shape.out_features, n)?, tiles(num_rows, m)?, 1];
        Ok(Geometry { workgroups, ..Geometry::linear(1, WORKGROUP_SIZE) })
    }
}

/// A work-item for each column of each row.
pub(super) fn rows_by_columns(num_rows: usize, num_cols: usize) -> Result<Geometry> {
    let groups = num_cols.div_ceil(WORKGROUP_SIZE as usize);
    let workgroups = [count("num_rows", num_rows)?, count("out_features", groups)?, 1];
    Ok(Geometry { workgroups, ..Geometry::linear(1, WORKGROUP_SIZE) })
}

/// How many rows of x there are.
pub(super) fn check_rows(len: usize, in_features: usize) -> Result<usize> {
    if in_features == 0 || !len.is_multiple_of(in_features) {
        return Err(Error::Value {
            what: "the number of elements of x",
            allowed: "whole rows of in_features, which is at least 1",
            found: format!("{len} for rows of {in_features}"),
        });
    }
    Ok(len / in_features)
}
