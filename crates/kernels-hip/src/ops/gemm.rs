//! `gemm`.

use std::fmt;

use engine_core::dtype::DType;

use super::{count, format_name};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::Kernel;
use crate::registry;
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Choices, Variant, everything};

const NAIVE: &str = "gemm_v1_naive";
const LDS: &str = "gemm_v2_mfma_lds";
const SKINNY: &str = "gemm_v3_mfma_skinny";
const PING_PONG: &str = "gemm_v4_ping_pong";

/// The class of the variants that use the matrix unit, written down in `kernels/include/gemm_mfma.h`.
const QUARTERS: &str = "mfma 16x16x16, quarters of k";

/// Rows of x that the variant for few rows takes.
const SKINNY_ROWS: usize = 32;

/// Rows and columns of a work-group of the variant whose waves take turns, and how many of its tiles there must be for
/// it: with fewer, four times as many smaller ones give more compute units work.
const PING_PONG_SIDE: usize = 128;
const PING_PONG_MIN_TILES: usize = 4;

/// Elements of a 16-byte load.
const VECTOR_LEN: usize = 8;

/// What there is. The number of rows chooses among variants of one class alone; K, which is a weight's, between classes.
pub(super) const VARIANTS: &[Variant<GemmShape>] = &[
    Variant {
        op: "gemm",
        name: SKINNY,
        reduction_class: QUARTERS,
        supports: |shape| {
            if shape.num_rows > SKINNY_ROWS {
                return Err(format!("it takes up to {SKINNY_ROWS} rows"));
            }
            if !shape.has_lds {
                // Or the number of rows would choose between classes.
                return Err(format!("{LDS}, which computes more rows alike, is not in this build"));
            }
            whole_vectors(shape)
        },
    },
    Variant { op: "gemm", name: PING_PONG, reduction_class: QUARTERS, supports: ping_pong },
    Variant { op: "gemm", name: LDS, reduction_class: QUARTERS, supports: whole_vectors },
    Variant { op: "gemm", name: NAIVE, reduction_class: "k in order, fused", supports: everything },
];

fn ping_pong(shape: &GemmShape) -> std::result::Result<(), String> {
    if !shape.has_lds {
        return Err(format!("{LDS}, which computes fewer rows alike, is not in this build"));
    }
    let tiles = |len: usize| len.div_ceil(PING_PONG_SIDE);
    let num_tiles = tiles(shape.num_rows).saturating_mul(tiles(shape.out_features));
    if num_tiles < PING_PONG_MIN_TILES {
        return Err(format!(
            "there are {num_tiles} tiles of {PING_PONG_SIDE}, and it wants {PING_PONG_MIN_TILES}"
        ));
    }
    whole_vectors(shape)
}

fn whole_vectors(shape: &GemmShape) -> std::result::Result<(), String> {
    if shape.in_features.is_multiple_of(VECTOR_LEN) {
        return Ok(());
    }
    Err(format!("in_features must be a multiple of {VECTOR_LEN}"))
}

/// What a variant is chosen by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GemmShape {
    /// Rows of x.
    pub num_rows: usize,
    /// Rows of the weight.
    pub out_features: usize,
    /// Columns of both.
    pub in_features: usize,
    /// Whether the build has the variant that computes many rows with the matrix unit.
    has_lds: bool,
}

impl fmt::Display for GemmShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows of {} by {}", self.num_rows, self.in_features, self.out_features)
    }
}

/// Dense layers, 16 bits in and f32 out: [`engine_core::ops::Linear`].
pub struct Gemm {
    kernels: Vec<(&'static str, Kernel)>,
    has_lds: bool,
    arch: String,
}

/// A product: x · wᵀ, rows by rows.
pub struct Product<'a> {
    /// `[num_rows, in_features]`.
    pub x: &'a Buffer<u16>,
    /// `[out_features, in_features]`.
    pub weight: &'a Buffer<u16>,
    /// `[out_features]`.
    pub bias: Option<&'a Buffer<f32>>,
    /// Rows of x.
    pub num_rows: usize,
    /// Rows of the weight.
    pub out_features: usize,
    /// Columns of both.
    pub in_features: usize,
    /// Added to what `out` has, instead of stored.
    pub add_to: bool,
}

impl Gemm {
    /// Loads what the build has for operands of `dtype`.
    ///
    /// # Errors
    ///
    /// If `dtype` has not 16 bits, or the build has none for this device; HIP's.
    pub fn new(device: &Device, dtype: DType) -> Result<Self> {
        let format = format_name(dtype)?;
        let arch = device.info().arch.clone();
        let is_built = |name| registry::code_object(name, &arch).is_ok();
        let mut kernels = Vec::new();
        for Variant { name, .. } in VARIANTS.iter().filter(|v| v.name == NAIVE || is_built(v.name))
        {
            kernels.push((*name, device.variant(name)?.kernel(&format!("{name}__{format}"))?));
        }
        let has_lds = is_built(LDS);
        Ok(Gemm { kernels, has_lds, arch })
    }

    /// The variant `name` alone, of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// If there is no such variant, or the code object has no such kernel; HIP's.
    pub fn from_code_object(
        device: &Device,
        name: &str,
        code_object: &[u8],
        dtype: DType,
    ) -> Result<Self> {
        let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) else {
            let (what, allowed) = ("the variant", "one of gemm's");
            return Err(Error::Value { what, allowed, found: name.to_owned() });
        };
        let kernel = format!("{name}__{}", format_name(dtype)?);
        let kernels = vec![(variant.name, device.module(code_object)?.kernel(&kernel)?)];
        let arch = device.info().arch.clone();
        Ok(Gemm { kernels, has_lds: registry::code_object(LDS, &arch).is_ok(), arch })
    }

    /// Computes `product` with the variant that `choices` takes for it.
    ///
    /// # Errors
    ///
    /// If a buffer is too short, or a pinned variant does not take the shape; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        choices: &Choices,
        out: &mut Buffer<f32>,
        product: &Product<'_>,
    ) -> Result<()> {
        let Product { x, weight, bias, num_rows, out_features, in_features, add_to } = *product;
        if in_features == 0 {
            let (what, allowed) = ("in_features", "at least 1");
            return Err(Error::Value { what, allowed, found: "0".to_owned() });
        }
        x.check_at_least("x", num_rows.saturating_mul(in_features))?;
        weight.check_at_least("weight", out_features.saturating_mul(in_features))?;
        out.check_at_least("out", num_rows.saturating_mul(out_features))?;
        if let Some(bias) = bias {
            bias.check_at_least("bias", out_features)?;
        }
        if num_rows == 0 || out_features == 0 {
            return Ok(());
        }
        let shape = GemmShape { num_rows, out_features, in_features, has_lds: self.has_lds };
        let name = choices.choose(VARIANTS, &self.arch, &shape)?.name;
        let Some((_, kernel)) = self.kernels.iter().find(|(loaded, _)| *loaded == name) else {
            return Err(Error::NoVariant { variant: name.to_owned(), variants: Vec::new() });
        };
        let side = PING_PONG_SIDE as u32;
        let (tile, workgroup_size) = match name {
            PING_PONG => ([side, side], 512),
            SKINNY => ([16, SKINNY_ROWS as u32], 256),
            LDS => ([64, 64], 256),
            _ => ([64, 4], 256),
        };
        let sizes = [
            count("num_rows", num_rows)?,
            count("out_features", out_features)?,
            count("in_features", in_features)?,
        ];
        let add_to = u32::from(add_to);
        let args = [
            Argument::output(out),
            Argument::input(x),
            Argument::input(weight),
            bias.map_or_else(Argument::null, Argument::input),
            Argument::value(&sizes[0]),
            Argument::value(&sizes[1]),
            Argument::value(&sizes[2]),
            Argument::value(&add_to),
        ];
        let workgroups = match [sizes[1].div_ceil(tile[0]), sizes[0].div_ceil(tile[1]), 1] {
            // It deals its tiles itself.
            [cols, rows, _] if name == PING_PONG => {
                [count("tiles", cols as usize * rows as usize)?, 1, 1]
            }
            workgroups => workgroups,
        };
        let geometry = Geometry { workgroups, ..Geometry::linear(1, workgroup_size) };
        // SAFETY: whatever the tile, the kernels read rows and columns below the sizes, which the buffers have, checked
        // above, and store elements below them alone. Rows start on 16 bytes where a variant loads as many: buffers do,
        // and `supports` asks for whole vectors.
        unsafe { kernel.launch(stream, geometry, &args) }
    }
}
