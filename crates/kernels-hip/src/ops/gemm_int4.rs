//! `gemm_int4`.

use bytemuck::Pod;
use engine_core::dtype::DType;

use super::gemm_fp8::{check_rows, rows_by_columns};
use super::{check_element, count, element_name};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::Argument;
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant, everything};

const NAME: &str = "gemm_int4_v1_naive";
/// Four-bit numbers of a word.
const PACK: usize = 8;

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] =
    &[Variant { op: "gemm_int4", name: NAME, reduction_class: "k in order", supports: everything }];

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
    /// Loads `gemm_int4_v1_naive`.
    ///
    /// # Errors
    ///
    /// If `x` is not a type of 16 bits, or `out` neither f32 nor the same, or the build has none for this device; HIP's.
    pub fn new(device: &Device, packing: Int4Packing, x: DType, out: DType) -> Result<Self> {
        Self::from_module(&device.variant(NAME)?, packing, x, out)
    }

    /// As [`GemmInt4::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_code_object(
        device: &Device,
        code_object: &[u8],
        packing: Int4Packing,
        x: DType,
        out: DType,
    ) -> Result<Self> {
        Self::from_module(&device.module(code_object)?, packing, x, out)
    }

    fn from_module(module: &Module, packing: Int4Packing, x: DType, out: DType) -> Result<Self> {
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
        let name = format!("{NAME}__{format}_{}_{}", element_name(x), element_name(out));
        Ok(GemmInt4 { kernel: module.kernel(&name)?, packing, out })
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
    /// If a length or type does not fit, or words are not whole; HIP's.
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
        let zero_offset = u32::from(self.packing == Int4Packing::Gptq);
        let sizes = [
            zero_offset,
            count("group_size", group_size)?,
            count("the number of groups", num_groups)?,
            count("out_features", out_features)?,
            count("in_features", in_features)?,
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
        ];
        let geometry = rows_by_columns(num_rows, out_features)?;
        // SAFETY: the kernel touches rows of x and out below `num_rows`, and of the weights input features below
        // `in_features`, output features below `out_features`, and groups below `num_groups`, whatever g_idx says: as many
        // as checked above.
        unsafe { self.kernel.launch(stream, geometry, &args) }
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
