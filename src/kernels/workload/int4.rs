//! Dense layers on weights of four bits, which the engine's own ops do not have.

use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use kernels_hip::ops::{GemmInt4, GemmInt4Shape, Int4Packing, Int4Weights};
use kernels_hip::variant::VariantInfo;
use kernels_hip::{Buffer, Device, KernelsHip, Stream};
use reference_cpu::inputs::Rng;
use reference_cpu::{bounds, check, ops as oracle};

use super::numbers::{Normal, Verdict, spread};
use super::{Bound, CompareError};

/// Output features of a word.
const PACK: usize = 8;
const X: KvDType = KvDType::Float(DType::BF16);
const SCALE: KvDType = KvDType::Float(DType::F16);

/// Words and scales that are known one by one.
#[derive(Clone, Copy)]
struct Weights {
    seed: u64,
    in_features: usize,
    out_features: usize,
    group_size: usize,
}

impl Weights {
    fn num_groups(&self) -> usize {
        self.in_features.div_ceil(self.group_size)
    }

    fn words_of_row(&self) -> usize {
        self.out_features / PACK
    }

    /// Word `idx` of the weights (0) or of the zero points (1).
    fn word(&self, part: u64, idx: usize) -> u32 {
        Rng::new((self.seed << 1 | part) << 40 ^ idx as u64).next_u64() as u32
    }

    fn scale(idx: usize) -> f32 {
        SCALE.round(0.01 + (idx % 13) as f32 / 1024.0)
    }

    /// The oracle's weights of the output features of word `column`.
    fn unpacked(&self, column: usize) -> Vec<f32> {
        let words = |part, num_rows: usize| -> Vec<u32> {
            (0..num_rows).map(|row| self.word(part, row * self.words_of_row() + column)).collect()
        };
        let scales = (0..self.num_groups()).flat_map(|group| {
            let first = group * self.out_features + column * PACK;
            (first..first + PACK).map(Self::scale)
        });
        oracle::int4_dequantize(&oracle::Int4Weight {
            format: oracle::Int4Format::Awq,
            qweight: &words(0, self.in_features),
            qzeros: &words(1, self.num_groups()),
            scales: &scales.collect::<Vec<_>>(),
            g_idx: None,
            group_size: self.group_size,
            in_features: self.in_features,
            out_features: PACK,
        })
    }
}

pub(super) struct GemmInt4Run {
    op: GemmInt4,
    rows: Normal,
    host: Weights,
    x: Buffer<u16>,
    qweight: Buffer<u32>,
    qzeros: Buffer<u32>,
    scales: Buffer<u16>,
    out: Buffer<f32>,
}

impl GemmInt4Run {
    pub fn new(
        (device, stream): (&Device, &Stream),
        row: &VariantInfo,
        seed: u64,
        [num_rows, in_features, out_features, group_size]: [usize; 4],
    ) -> Result<Self, CompareError> {
        let host = Weights { seed, in_features, out_features, group_size };
        let rows = Normal::new(seed, 0, [num_rows, in_features]);
        let words = |part, num_rows: usize| -> Vec<u32> {
            (0..num_rows * host.words_of_row()).map(|idx| host.word(part, idx)).collect()
        };
        let x: Vec<u16> = rows.rows().iter().map(|&x| X.to_code(X.round(x)) as u16).collect();
        let scales = (0..host.num_groups() * out_features).map(Weights::scale);
        let scales: Vec<u16> = scales.map(|scale| SCALE.to_code(scale) as u16).collect();
        let qweight = device.buffer_from(stream, &words(0, in_features))?;
        let qzeros = device.buffer_from(stream, &words(1, host.num_groups()))?;
        let scales = device.buffer_from(stream, &scales)?;
        let weights = Int4Weights {
            qweight: &qweight,
            qzeros: &qzeros,
            scales: &scales,
            g_idx: None,
            group_size,
            in_features,
            out_features,
        };
        let shape = GemmInt4Shape::new(num_rows, &weights);
        let types = [DType::BF16, DType::F32];
        let op = GemmInt4::new(device, Int4Packing::Awq, shape, types, Some(row.name))?;
        let x = device.buffer_from(stream, &x)?;
        let out = device.buffer(num_rows * out_features)?;
        Ok(GemmInt4Run { op, rows, host, x, qweight, qzeros, scales, out })
    }
}

impl Bound<KernelsHip> for GemmInt4Run {
    fn run(&mut self, ops: &mut KernelsHip) -> Result<(), CompareError> {
        let weights = Int4Weights {
            qweight: &self.qweight,
            qzeros: &self.qzeros,
            scales: &self.scales,
            g_idx: None,
            group_size: self.host.group_size,
            in_features: self.host.in_features,
            out_features: self.host.out_features,
        };
        Ok(self.op.run(ops.stream(), &mut self.out, &self.x, &weights, None)?)
    }

    fn check(&mut self, ops: &mut KernelsHip) -> Result<Verdict, CompareError> {
        let got = self.out.to_host(ops.stream())?;
        let Weights { in_features, out_features, .. } = self.host;
        let mut verdict = Verdict::default();
        for column in spread(self.host.words_of_row()) {
            let weight = self.host.unpacked(column);
            for row in spread(self.rows.num_rows) {
                let x: Vec<f32> = self.rows.row(row).into_iter().map(|x| X.round(x)).collect();
                let mut want = vec![0.0; PACK];
                oracle::linear(&x, &weight, None, in_features, &mut want);
                let errors = bounds::linear(&x, &weight, None, None, in_features);
                let got = &got[row * out_features + column * PACK..][..PACK];
                verdict.report(&check::compare(DType::F32, got, &want, &errors));
            }
        }
        Ok(verdict)
    }
}
