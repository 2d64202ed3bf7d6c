//! The ops that can be compared: the cases that judge each, and the workloads that it is measured on.

use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use engine_core::ops::Ops;
use kernels_hip::ops::{GemmScaling, Scaling};
use reference_cpu::conformance::{self, Failure, OpReport, PartOf};

use super::workload::{Before, Pages, Shape, Workload, llama};

/// An op of the table of variants.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Its name there.
    pub op: &'static str,
    /// What judges it, if it is an op of the engine's; the others are judged on their workloads alone.
    cases: Option<PartOf>,
    /// Small enough for an emulator.
    small: &'static [Shape],
    /// What hardware is timed on.
    large: &'static [Shape],
}

/// What reduction classes say that round queries.
pub(super) const FP8_QUERIES: &str = "queries in fp8";

const BF16: KvDType = KvDType::Float(DType::BF16);
const E4M3: KvDType = KvDType::Fp8(Fp8Format::E4m3Fnuz);

const fn attention(num_seqs: usize, num_rows: usize, seq_len: usize, kv_dtype: KvDType) -> Shape {
    Shape::Attention(llama(num_seqs, num_rows, seq_len, kv_dtype))
}

const fn linear(num_rows: usize, in_features: usize, out_features: usize) -> Shape {
    Shape::Linear { num_rows, in_features, out_features }
}

const fn gemm_fp8(num_rows: usize, features: [usize; 2], scaling: GemmScaling) -> Shape {
    let [in_features, out_features] = features;
    Shape::GemmFp8 { num_rows, in_features, out_features, scaling }
}

const fn gemm_int4(num_rows: usize, in_features: usize, out_features: usize) -> Shape {
    Shape::GemmInt4 { num_rows, in_features, out_features, group_size: 128 }
}

const fn quantize(rows: [usize; 2], scaling: Scaling, before: Before) -> Shape {
    let [num_rows, num_cols] = rows;
    Shape::Quantize { num_rows, num_cols, scaling, before }
}

/// Sequences that write what they have.
const fn kv_write(num_seqs: usize, num_rows: usize, kv_dtype: KvDType) -> Shape {
    Shape::KvWrite(Pages { block_size: 64, ..llama(num_seqs, num_rows, num_rows, kv_dtype) })
}

const SUBJECTS: &[Subject] = &[
    Subject {
        op: "paged_attention",
        cases: Some(PartOf::Attention),
        small: &[attention(4, 1, 2048, BF16), attention(4, 1, 2048, E4M3)],
        large: &[
            attention(64, 1, 8192, BF16),
            attention(64, 1, 8192, E4M3),
            attention(1, 1, 131_072, BF16),
        ],
    },
    Subject {
        op: "prefill_attention",
        cases: Some(PartOf::Attention),
        small: &[attention(1, 256, 512, BF16), attention(1, 256, 512, E4M3)],
        large: &[attention(2, 8192, 8192, BF16), attention(2, 8192, 8192, E4M3)],
    },
    Subject {
        op: "gemm",
        cases: Some(PartOf::Linear),
        small: &[linear(256, 1024, 1024), linear(4, 4096, 1024)],
        large: &[linear(8192, 8192, 8192), linear(16, 8192, 28_672)],
    },
    Subject {
        op: "gemm_fp8",
        cases: None,
        small: &[
            gemm_fp8(128, [1024, 512], GemmScaling::Row),
            gemm_fp8(4, [4096, 512], GemmScaling::Block),
        ],
        large: &[
            gemm_fp8(8192, [8192, 8192], GemmScaling::Row),
            gemm_fp8(8192, [8192, 8192], GemmScaling::Block),
            gemm_fp8(16, [8192, 28_672], GemmScaling::Row),
        ],
    },
    Subject {
        op: "gemm_int4",
        cases: None,
        small: &[gemm_int4(128, 1024, 512), gemm_int4(4, 4096, 512)],
        large: &[gemm_int4(8192, 8192, 8192), gemm_int4(16, 8192, 28_672)],
    },
    Subject {
        op: "rms_norm",
        cases: Some(PartOf::RmsNorm),
        small: &[Shape::RmsNorm { num_rows: 256, hidden_size: 4096 }],
        large: &[Shape::RmsNorm { num_rows: 8192, hidden_size: 8192 }],
    },
    Subject {
        op: "silu_mul",
        cases: Some(PartOf::SiluMul),
        small: &[Shape::SiluMul { num_rows: 64, width: 14336 }],
        large: &[Shape::SiluMul { num_rows: 4096, width: 14336 }],
    },
    Subject {
        op: "kv_write",
        cases: None,
        small: &[kv_write(2, 256, BF16), kv_write(2, 256, E4M3)],
        large: &[kv_write(8, 4096, BF16), kv_write(8, 4096, E4M3)],
    },
    Subject {
        op: "fp8_quantize",
        cases: None,
        small: &[
            quantize([256, 4096], Scaling::Row, Before::Nothing),
            quantize([64, 4096], Scaling::Group, Before::Nothing),
            quantize([10, 4096], Scaling::Tensor, Before::Nothing),
        ],
        large: &[
            quantize([8192, 8192], Scaling::Row, Before::Nothing),
            quantize([8192, 8192], Scaling::Group, Before::Nothing),
            quantize([10, 4096], Scaling::Tensor, Before::Nothing),
        ],
    },
    Subject {
        op: "rms_norm_fp8_quantize",
        cases: None,
        small: &[quantize([256, 4096], Scaling::Row, Before::RmsNorm)],
        large: &[quantize([8192, 8192], Scaling::Row, Before::RmsNorm)],
    },
    Subject {
        op: "silu_mul_fp8_quantize",
        cases: None,
        small: &[quantize([64, 14_336], Scaling::Row, Before::SiluMul)],
        large: &[quantize([4096, 14_336], Scaling::Row, Before::SiluMul)],
    },
];

/// Every op that can be compared.
#[must_use]
pub fn subjects() -> &'static [Subject] {
    SUBJECTS
}

impl Subject {
    /// What it is measured on: large enough for hardware, or small enough for an emulator.
    pub fn workloads(&self, on_hardware: bool) -> impl Iterator<Item = Workload> + use<> {
        let op = self.op;
        let shapes = if on_hardware { self.large } else { self.small };
        shapes.iter().map(move |&shape| Workload { op, shape })
    }

    /// Holds a backend, which sums as `reduction_class` says, against the oracle over the op's cases, leaving out those that
    /// it does not serve. Nothing of an op without cases.
    ///
    /// # Errors
    ///
    /// The first case that is wrong.
    pub fn judge<O: Ops>(
        &self,
        backend: O,
        reduction_class: &str,
    ) -> Result<Option<OpReport>, Failure> {
        let kv_dtypes = [BF16, E4M3, KvDType::Fp8(Fp8Format::E5m2Fnuz)];
        let cases = match self.cases {
            Some(PartOf::Attention) if reduction_class.contains(FP8_QUERIES) => {
                Some(PartOf::AttentionOfFp8Queries)
            }
            cases => cases,
        };
        cases.map(|cases| conformance::part_of(cases, backend, &kv_dtypes)).transpose()
    }
}
