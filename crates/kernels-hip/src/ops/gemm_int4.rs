//! `gemm_int4`.

use std::fmt;

use bytemuck::Pod;
use engine_core::dtype::DType;

use super::gemm_fp8::{check_rows, rows_by_columns};
use super::{check_element, count, element_name};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::registry;
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Variant, choose, everything};

const OP: &str = "gemm_int4";
const V1: &str = "gemm_int4_v1_naive";
const V2: &str = "gemm_int4_v2_mfma";
const V3: &str = "gemm_int4_v3_mfma_skinny";
/// Four-bit numbers of a word.
const PACK: usize = 8;

/// The class of the variants that use the matrix unit, written down in `kernels/include/gemm_int4_mfma.h`.
const QUARTERS: &str = "mfma 16x16x16 of q - zero, groups, quarters of k";

/// Input features of two matrix instructions, which must be of one group.
const STEP: usize = 32;
/// Columns and rows of what a work-group of v2 makes, and of v3.
const TILE: [usize; 2] = [256, 64];
const SKINNY_TILE: [usize; 2] = [64, 32];

/// What there is. The number of rows chooses among variants of one class alone; what belongs to a weight, between classes.
pub(super) const VARIANTS: &[Variant<GemmInt4Shape>] = &[
    Variant {
        op: OP,
        name: V3,
        reduction_class: QUARTERS,
        supports: |shape| {
            if shape.num_rows > SKINNY_TILE[1] {
                return Err(format!("it takes up to {} rows", SKINNY_TILE[1]));
            }
            if !shape.has_mfma {
                // Or the number of rows would choose between classes.
                return Err(format!("{V2}, which computes more rows alike, is not in this build"));
            }
            whole_steps(shape)
        },
    },
    Variant { op: OP, name: V2, reduction_class: QUARTERS, supports: whole_steps },
    Variant { op: OP, name: V1, reduction_class: "k in order", supports: everything },
];

fn whole_steps(shape: &GemmInt4Shape) -> std::result::Result<(), String> {
    let GemmInt4Shape { in_features, group_size, .. } = *shape;
    if shape.has_g_idx {
        return Err("input features have an order of their own".to_owned());
    }
    if !in_features.is_multiple_of(STEP) {
        return Err(format!("in_features must be a multiple of {STEP}"));
    }
    if !group_size.is_multiple_of(STEP) && group_size < in_features {
        return Err(format!("groups of {group_size} are no multiple of {STEP}"));
    }
    Ok(())
}

/// What a variant is chosen by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GemmInt4Shape {
    /// At most as many rows of x.
    pub num_rows: usize,
    /// Output features.
    pub out_features: usize,
    /// Input features.
    pub in_features: usize,
    /// Input features of a group.
    pub group_size: usize,
    /// Whether input features say which group is theirs.
    pub has_g_idx: bool,
    /// Whether the build has the variant that computes many rows with the matrix unit.
    has_mfma: bool,
}

impl GemmInt4Shape {
    /// At most `num_rows` rows of x by `weights`.
    #[must_use]
    pub fn new(num_rows: usize, weights: &Int4Weights<'_>) -> Self {
        let Int4Weights { g_idx, group_size, in_features, out_features, .. } = *weights;
        let has_g_idx = g_idx.is_some();
        let has_mfma = true;
        GemmInt4Shape { num_rows, out_features, in_features, group_size, has_g_idx, has_mfma }
    }

    fn choose(mut self, device: &Device, pin: Option<&str>) -> Result<(&'static str, Self)> {
        let arch = &device.info().arch;
        self.has_mfma = registry::code_object(V2, arch).is_ok();
        Ok((choose(VARIANTS, arch, &self, pin)?.name, self))
    }
}

impl fmt::Display for GemmInt4Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GemmInt4Shape { num_rows, in_features, out_features, group_size, .. } = self;
        write!(f, "{num_rows} rows of {in_features} by {out_features}, groups of {group_size}")?;
        f.write_str(if self.has_g_idx { " in an order of their own" } else { "" })
    }
}

/// How four-bit weights lie in words: `reference_cpu::ops::Int4Format` says it in full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Int4Packing {
    /// AutoGPTQ's first format, with zero points less one.
    Gptq,
    /// The same with zero points as they are.
    GptqV2,
    /// AutoAWQ's.
    Awq,
}

/// Dense layers on weights of four bits, which are widened as they are read.
pub struct GemmInt4 {
    kernel: Kernel,
    variant: &'static str,
    shape: GemmInt4Shape,
    packing: Int4Packing,
    out: DType,
}

/// Weights of `[in_features, out_features]`.
pub struct Int4Weights<'a> {
    /// GPTQ: `[in_features / 8, out_features]`; AWQ: `[in_features, out_features / 8]`.
    pub qweight: &'a Buffer<u32>,
    /// `[num_groups, out_features / 8]`.
    pub qzeros: &'a Buffer<u32>,
    /// `[num_groups, out_features]`, binary16.
    pub scales: &'a Buffer<u16>,
    /// The group of each input feature, which [`GemmInt4::check_groups`] checks; `None`: `group_size` neighbours are one.
    pub g_idx: Option<&'a Buffer<u32>>,
    /// Input features of a group; the last group may have fewer.
    pub group_size: usize,
    /// Input features.
    pub in_features: usize,
    /// Output features.
    pub out_features: usize,
}

impl GemmInt4 {
    /// The variant that `pin` names, or else the best, for `[x, out]` of these types.
    ///
    /// # Errors
    ///
    /// If `x` is not a type of 16 bits, or `out` neither f32 nor the same, or no variant serves the shape; HIP's.
    pub fn new(
        device: &Device,
        packing: Int4Packing,
        shape: GemmInt4Shape,
        types: [DType; 2],
        pin: Option<&str>,
    ) -> Result<Self> {
        let (variant, shape) = shape.choose(device, pin)?;
        Self::from_module(&device.variant(variant)?, (variant, shape), packing, types)
    }

    /// As [`GemmInt4::new`], of a code object from elsewhere that says it is `variant`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_code_object(
        device: &Device,
        code_object: &[u8],
        packing: Int4Packing,
        shape: GemmInt4Shape,
        types: [DType; 2],
        variant: &str,
    ) -> Result<Self> {
        let chosen = shape.choose(device, Some(variant))?;
        Self::from_module(&device.module(code_object)?, chosen, packing, types)
    }

    /// The variant.
    #[must_use]
    pub fn variant(&self) -> &'static str {
        self.variant
    }

    fn from_module(
        module: &Module,
        (variant, shape): (&'static str, GemmInt4Shape),
        packing: Int4Packing,
        [x, out]: [DType; 2],
    ) -> Result<Self> {
        if x == DType::F32 || (out != DType::F32 && out != x) {
            return Err(Error::Value {
                what: "the types of x and out",
                allowed: "bfloat16 or float16, and float32 or the same",
                found: format!("{x} and {out}"),
            });
        }
        let format = match packing {
            Int4Packing::Gptq | Int4Packing::GptqV2 => "gptq",
            Int4Packing::Awq => "awq",
        };
        let name = format!("{variant}__{format}_{}_{}", element_name(x), element_name(out));
        Ok(GemmInt4 { kernel: module.kernel(&name)?, variant, shape, packing, out })
    }

    /// Whether groups of input features are ones that there are: to be asked once, where `g_idx` is still on the host. The
    /// kernel takes the last group for those beyond it.
    ///
    /// # Errors
    ///
    /// If one is not.
    pub fn check_groups(g_idx: &[u32], num_groups: usize) -> Result<()> {
        match g_idx.iter().find(|&&group| group as usize >= num_groups) {
            None => Ok(()),
            Some(group) => Err(Error::Value {
                what: "a group of g_idx",
                allowed: "below the number of groups",
                found: format!("{group} of {num_groups}"),
            }),
        }
    }

    /// out = x · weight + bias, where x has 16-bit elements.
    ///
    /// # Errors
    ///
    /// If a length or type does not fit, words are not whole, or it is another shape than the variant was taken for; HIP's.
    pub fn run<T: Pod>(
        &self,
        stream: &Stream,
        out: &mut Buffer<T>,
        x: &Buffer<u16>,
        weights: &Int4Weights<'_>,
        bias: Option<&Buffer<f32>>,
    ) -> Result<()> {
        let Int4Weights { group_size, in_features, out_features, .. } = *weights;
        check_element::<T>(self.out)?;
        let num_rows = check_rows(x.len(), in_features)?;
        out.check_len("out", num_rows.saturating_mul(out_features))?;
        if let Some(bias) = bias {
            bias.check_len("bias", out_features)?;
        }
        let num_groups = self.check_weights(weights)?;
        let shape = GemmInt4Shape {
            has_mfma: self.shape.has_mfma,
            ..GemmInt4Shape::new(num_rows.max(self.shape.num_rows), weights)
        };
        if shape != self.shape {
            return Err(Error::Value {
                what: "the shape of a product that a variant was taken for",
                allowed: "what it was taken for, or fewer rows",
                found: format!("{shape}, not {}", self.shape),
            });
        }
        if num_rows == 0 || out_features == 0 {
            return Ok(());
        }
        let zero_offset = u32::from(self.packing == Int4Packing::Gptq);
        let sizes = [
            zero_offset,
            count("group_size", group_size)?,
            count("the number of groups", num_groups)?,
            count("out_features", out_features)?,
            count("in_features", in_features)?,
            count("num_rows", num_rows)?,
        ];
        let args = [
            Argument::output(out),
            Argument::input(x),
            Argument::input(weights.qweight),
            Argument::input(weights.qzeros),
            Argument::input(weights.scales),
            weights.g_idx.map_or_else(Argument::null, Argument::input),
            bias.map_or_else(Argument::null, Argument::input),
            Argument::value(&sizes[0]),
            Argument::value(&sizes[1]),
            Argument::value(&sizes[2]),
            Argument::value(&sizes[3]),
            Argument::value(&sizes[4]),
            Argument::value(&sizes[5]),
        ];
        // v1 has a work-group for each row, and no need of their number.
        let args = if self.variant == V1 { &args[..args.len() - 1] } else { &args };
        let geometry = self.geometry(num_rows, out_features)?;
        // SAFETY: the kernel touches rows of x and out below `num_rows`, and of the weights input features below
        // `in_features`, output features below `out_features`, and groups below `num_groups`, whatever g_idx says: as many
        // as checked above.
        // `supports` asked for what lets lanes of the others load 16 bytes: whole steps, from where buffers start.
        unsafe { self.kernel.launch(stream, geometry, args) }
    }

    fn geometry(&self, num_rows: usize, out_features: usize) -> Result<Geometry> {
        let [columns, rows] = match self.variant {
            V1 => return rows_by_columns(num_rows, out_features),
            V2 => TILE,
            _ => SKINNY_TILE,
        };
        let columns = count("out_features", out_features.div_ceil(columns))?;
        let workgroups = [columns, count("num_rows", num_rows.div_ceil(rows))?, 1];
        Ok(Geometry { workgroups, ..Geometry::linear(1, 256) })
    }

    /// How many groups there are.
    fn check_weights(&self, weights: &Int4Weights<'_>) -> Result<usize> {
        let Int4Weights { qweight, qzeros, scales, g_idx, group_size, in_features, out_features } =
            *weights;
        let is_whole = out_features.is_multiple_of(PACK)
            && (self.packing == Int4Packing::Awq || in_features.is_multiple_of(PACK));
        if group_size == 0 || !is_whole {
            return Err(Error::Value {
                what: "the shape of four-bit weights",
                allowed: "whole words of eight (GPTQ: of both features), in groups of at least 1",
                found: format!("{in_features} by {out_features}, groups of {group_size}"),
            });
        }
        let num_groups = in_features.div_ceil(group_size);
        qweight.check_len("qweight", in_features.saturating_mul(out_features / PACK))?;
        qzeros.check_len("qzeros", num_groups.saturating_mul(out_features / PACK))?;
        scales.check_len("scales", num_groups.saturating_mul(out_features))?;
        if let Some(g_idx) = g_idx {
            g_idx.check_len("g_idx", in_features)?;
        }
        Ok(num_groups)
    }
}
