//! What a variant is measured on: an op at one shape, with normally distributed numbers (constant ones would switch
//! fewer transistors, and flatter).

mod attention;
mod fp8;
mod int4;
mod numbers;
mod rows;

use engine_core::device::OpError;
use engine_core::kv_dtype::KvDType;
use engine_core::ops::Ops;
use kernels_hip::ops::{GemmScaling, Scaling};
use kernels_hip::variant::VariantInfo;
use kernels_hip::{Device, KernelsHip};

pub use self::attention::Pages;
use self::attention::{AttentionRun, KvWriteRun};
use self::fp8::{GemmFp8Run, QuantizeRun};
use self::int4::GemmInt4Run;
pub use self::numbers::Verdict;
use self::rows::{LinearRun, RmsNormRun, SiluMulRun};
use super::measure::CompareError;
use super::peaks::{BF16, FP8, Peaks};

/// An op at one shape.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The op of the table of variants: `gemm`.
    pub op: &'static str,
    /// The shape.
    pub shape: Shape,
}

/// The shape of a workload.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A dense layer.
    Linear {
        /// Token rows.
        num_rows: usize,
        /// Columns of the weight.
        in_features: usize,
        /// Rows of the weight.
        out_features: usize,
    },
    /// A normalisation.
    RmsNorm {
        /// Token rows.
        num_rows: usize,
        /// Columns.
        hidden_size: usize,
    },
    /// An activation.
    SiluMul {
        /// Token rows.
        num_rows: usize,
        /// Columns of the output.
        width: usize,
    },
    /// Keys and values of the last `num_rows` tokens of each of `num_seqs` sequences go to their pages.
    KvWrite(Pages),
    /// Attention of the last `num_rows` tokens of each of `num_seqs` sequences.
    Attention(Pages),
    /// A dense layer on codes.
    GemmFp8 {
        /// Token rows.
        num_rows: usize,
        /// Columns of the weight.
        in_features: usize,
        /// Rows of the weight.
        out_features: usize,
        /// Whose scales.
        scaling: GemmScaling,
    },
    /// A dense layer on weights of four bits, packed as AWQ's, with matrix inputs of 16.
    GemmInt4 {
        /// Token rows.
        num_rows: usize,
        /// Input features.
        in_features: usize,
        /// Output features, a multiple of 8.
        out_features: usize,
        /// Input features of a group.
        group_size: usize,
    },
    /// Rows to codes.
    Quantize {
        /// Token rows.
        num_rows: usize,
        /// Columns of the codes.
        num_cols: usize,
        /// Whose scales.
        scaling: Scaling,
        /// What is done before.
        before: Before,
    },
}

/// What is fused with a quantization.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// A normalisation.
    RmsNorm,
    /// An activation.
    SiluMul,
}

/// A workload with its buffers on a backend, to be run again and again.
pub trait Bound<O> {
    /// Gives the work to the backend.
    ///
    /// # Errors
    ///
    /// The backend's, that it does not serve the shape for one.
    fn run(&mut self, ops: &mut O) -> Result<(), CompareError>;

    /// Holds a few rows of what it left, from the first to the last, against the oracle.
    ///
    /// # Errors
    ///
    /// The backend's.
    fn check(&mut self, ops: &mut O) -> Result<Verdict, CompareError>;
}

impl Workload {
    /// The shape in words.
    #[must_use]
    pub fn name(&self) -> String {
        match self.shape {
            Shape::Linear { num_rows, in_features, out_features } => {
                format!("{num_rows} rows, {in_features} to {out_features}")
            }
            Shape::GemmFp8 { num_rows, in_features, out_features, scaling } => {
                let scaling = format!("{scaling:?}").to_lowercase();
                format!("{num_rows} rows, {in_features} to {out_features}, {scaling} scales")
            }
            Shape::GemmInt4 { num_rows, in_features, out_features, group_size } => {
                format!("{num_rows} rows, {in_features} to {out_features}, groups of {group_size}")
            }
            Shape::RmsNorm { num_rows, hidden_size } => format!("{num_rows} rows of {hidden_size}"),
            Shape::SiluMul { num_rows, width } => format!("{num_rows} rows of {width}"),
            Shape::Quantize { num_rows, num_cols, scaling, .. } => {
                let scaling = format!("{scaling:?}").to_lowercase();
                format!("{num_rows} rows of {num_cols}, {scaling} scales")
            }
            Shape::KvWrite(pages) | Shape::Attention(pages) => pages.to_string(),
        }
    }

    /// Bytes that have to be read and written at least, each once, with matrix inputs of 16 bits.
    #[must_use]
    pub fn min_bytes(&self) -> u64 {
        let bytes = match self.shape {
            Shape::Linear { num_rows, in_features, out_features } => {
                2 * in_features * (num_rows + out_features) + 4 * num_rows * out_features
            }
            Shape::GemmFp8 { num_rows, in_features, out_features, scaling } => {
                let blocks = in_features.div_ceil(128);
                let scales = match scaling {
                    GemmScaling::Row => num_rows + out_features,
                    GemmScaling::Block => (num_rows + out_features.div_ceil(128)) * blocks,
                };
                in_features * (num_rows + out_features) + 4 * (scales + num_rows * out_features)
            }
            Shape::GemmInt4 { num_rows, in_features, out_features, group_size } => {
                // Half a byte of each weight and zero point, and two of each scale.
                let groups = in_features.div_ceil(group_size);
                let weight = out_features * (in_features + groups) / 2 + 2 * groups * out_features;
                weight + num_rows * (2 * in_features + 4 * out_features)
            }
            Shape::RmsNorm { num_rows, hidden_size } => (num_rows * (4 + 2) + 4) * hidden_size,
            Shape::SiluMul { num_rows, width } => num_rows * width * (2 * 4 + 2),
            Shape::Quantize { num_rows, num_cols, scaling, before } => {
                let per_element = if before == Before::SiluMul { 2 * 4 + 1 } else { 4 + 1 };
                let weight = if before == Before::RmsNorm { 4 * num_cols } else { 0 };
                let scales = 4 * scaling.num_scales(num_rows, num_cols);
                num_rows * num_cols * per_element + weight + scales
            }
            Shape::KvWrite(pages) => {
                let rows = pages.num_seqs * pages.num_rows;
                2 * rows * pages.kv_width() * (4 + pages.kv_dtype.size_bytes())
            }
            Shape::Attention(pages) => {
                let tokens = pages.num_seqs * pages.seq_len;
                let kv = 2 * tokens * pages.kv_width() * pages.kv_dtype.size_bytes();
                // Queries come in 32 bits and results go in 16.
                kv + pages.num_seqs * pages.num_rows * pages.q_width() * (4 + 2)
            }
        };
        bytes as u64
    }

    /// Floating-point operations of the products.
    #[must_use]
    pub fn flops(&self) -> u64 {
        let flops = match self.shape {
            Shape::Linear { num_rows, in_features, out_features }
            | Shape::GemmInt4 { num_rows, in_features, out_features, .. }
            | Shape::GemmFp8 { num_rows, in_features, out_features, .. } => {
                2 * num_rows * in_features * out_features
            }
            Shape::RmsNorm { num_rows, hidden_size } => 4 * num_rows * hidden_size,
            Shape::SiluMul { num_rows, width } => 5 * num_rows * width,
            Shape::Quantize { num_rows, num_cols, before, .. } => {
                let before = match before {
                    Before::Nothing => 0,
                    Before::RmsNorm => 4,
                    Before::SiluMul => 5,
                };
                num_rows * num_cols * (2 + before)
            }
            Shape::KvWrite(pages) => 2 * pages.num_seqs * pages.num_rows * pages.kv_width(),
            Shape::Attention(pages) => {
                let Pages { num_seqs, num_rows, seq_len, .. } = pages;
                let attended = num_rows * (2 * seq_len - num_rows + 1) / 2;
                4 * num_seqs * attended * pages.q_width()
            }
        };
        flops as u64
    }

    /// What the matrix unit does at its products' precision; nothing of work that has no matrix products.
    #[must_use]
    pub fn peaks(&self) -> Option<Peaks> {
        match self.shape {
            Shape::Linear { .. } | Shape::GemmInt4 { .. } | Shape::Attention(_) => Some(BF16),
            Shape::GemmFp8 { .. } => Some(FP8),
            _ => None,
        }
    }

    /// The workload with its buffers on `ops`, filled with the numbers of `seed`.
    ///
    /// # Errors
    ///
    /// Those of the backend: no memory, or a shape that nobody serves.
    pub fn bind<O: Ops + 'static>(
        &self,
        ops: &mut O,
        seed: u64,
    ) -> Result<Box<dyn Bound<O>>, OpError> {
        Ok(match self.shape {
            Shape::Linear { num_rows, in_features, out_features } => {
                Box::new(LinearRun::new(ops, seed, [num_rows, in_features, out_features])?)
            }
            Shape::RmsNorm { num_rows, hidden_size } => {
                Box::new(RmsNormRun::new(ops, seed, [num_rows, hidden_size])?)
            }
            Shape::SiluMul { num_rows, width } => {
                Box::new(SiluMulRun::new(ops, seed, [num_rows, width])?)
            }
            Shape::KvWrite(pages) => Box::new(KvWriteRun::new(ops, seed, pages)?),
            Shape::Attention(pages) => Box::new(AttentionRun::new(ops, seed, pages, false)?),
            Shape::GemmFp8 { .. } | Shape::GemmInt4 { .. } | Shape::Quantize { .. } => {
                let what = "it among the ops of the engine".to_owned();
                return Err(OpError::Unsupported { op: self.op, what });
            }
        })
    }

    /// The workload for the variant `row`, of which `ops` takes its op. Ops that the engine does not have are the kernels'
    /// own.
    ///
    /// # Errors
    ///
    /// As [`Workload::bind`].
    pub fn bind_variant(
        &self,
        device: &Device,
        ops: &mut KernelsHip,
        row: &VariantInfo,
        seed: u64,
    ) -> Result<Box<dyn Bound<KernelsHip>>, CompareError> {
        Ok(match self.shape {
            Shape::GemmFp8 { num_rows, in_features, out_features, scaling } => {
                let shape = [num_rows, out_features, in_features];
                Box::new(GemmFp8Run::new((device, ops.stream()), row, seed, shape, scaling)?)
            }
            Shape::GemmInt4 { num_rows, in_features, out_features, group_size } => {
                let shape = [num_rows, in_features, out_features, group_size];
                Box::new(GemmInt4Run::new((device, ops.stream()), row, seed, shape)?)
            }
            Shape::Quantize { num_rows, num_cols, scaling, before } => {
                let on = (device, ops.stream());
                Box::new(QuantizeRun::new(on, row, seed, [num_rows, num_cols], scaling, before)?)
            }
            Shape::Attention(pages) => {
                let is_fp8 = row.reduction_class.contains(super::subject::FP8_QUERIES);
                Box::new(AttentionRun::new(ops, seed, pages, is_fp8)?)
            }
            _ => self.bind(ops, seed)?,
        })
    }
}

/// Llama 3 8B's heads in kv_blocks of 16.
#[must_use]
pub const fn llama(num_seqs: usize, num_rows: usize, seq_len: usize, kv_dtype: KvDType) -> Pages {
    let (num_qo_heads, num_kv_heads, head_dim, block_size) = (32, 8, 128, 16);
    Pages {
        num_seqs,
        num_rows,
        seq_len,
        num_qo_heads,
        num_kv_heads,
        head_dim,
        block_size,
        kv_dtype,
    }
}
