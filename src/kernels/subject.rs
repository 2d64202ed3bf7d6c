//! The ops that can be compared: the cases that judge each, and the workloads that it is measured on.

use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use engine_core::ops::Ops;
use reference_cpu::conformance::{self, Failure, OpReport, PartOf};

use super::workload::{Shape, Workload};

/// An op of the table of variants.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Its name there.
    pub op: &'static str,
    cases: PartOf,
    shapes: &'static [Shape],
}

/// What reduction classes say that round queries.
const FP8_QUERIES: &str = "queries in fp8";

const BF16: KvDType = KvDType::Float(DType::BF16);
const E4M3: KvDType = KvDType::Fp8(Fp8Format::E4m3Fnuz);

/// Llama 3 8B's heads.
const fn attention(num_seqs: usize, num_rows: usize, seq_len: usize, kv_dtype: KvDType) -> Shape {
    let (heads, head_dim, block_size) = ((32, 8), 128, 16);
    Shape::Attention { num_seqs, num_rows, seq_len, heads, head_dim, block_size, kv_dtype }
}

const SUBJECTS: &[Subject] = &[
    Subject {
        op: "paged_attention",
        cases: PartOf::Attention,
        shapes: &[attention(4, 1, 2048, BF16), attention(4, 1, 2048, E4M3)],
    },
    Subject {
        op: "prefill_attention",
        cases: PartOf::Attention,
        shapes: &[attention(1, 256, 512, BF16), attention(1, 256, 512, E4M3)],
    },
    Subject {
        op: "gemm",
        cases: PartOf::Linear,
        shapes: &[
            Shape::Linear { num_rows: 256, in_features: 1024, out_features: 1024 },
            Shape::Linear { num_rows: 4, in_features: 4096, out_features: 1024 },
        ],
    },
    Subject {
        op: "rms_norm",
        cases: PartOf::RmsNorm,
        shapes: &[Shape::RmsNorm { num_rows: 256, hidden_size: 4096 }],
    },
    Subject {
        op: "silu_mul",
        cases: PartOf::SiluMul,
        shapes: &[Shape::SiluMul { num_rows: 64, width: 14336 }],
    },
];

/// Every op that can be compared.
#[must_use]
pub fn subjects() -> &'static [Subject] {
    SUBJECTS
}

impl Subject {
    /// What it is measured on.
    pub fn workloads(&self) -> impl Iterator<Item = Workload> {
        let op = self.op;
        self.shapes.iter().map(move |&shape| Workload { op, shape })
    }

    /// Holds a backend, which sums as `reduction_class` says, against the oracle over the op's cases, leaving out those that
    /// it does not serve.
    ///
    /// # Errors
    ///
    /// The first case that is wrong.
    pub fn judge<O: Ops>(&self, backend: O, reduction_class: &str) -> Result<OpReport, Failure> {
        let kv_dtypes = [BF16, E4M3, KvDType::Fp8(Fp8Format::E5m2Fnuz)];
        let cases = match self.cases {
            PartOf::Attention if reduction_class.contains(FP8_QUERIES) => {
                PartOf::AttentionOfFp8Queries
            }
            cases => cases,
        };
        conformance::part_of(cases, backend, &kv_dtypes)
    }
}
