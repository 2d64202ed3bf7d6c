//! Ops on FP8 codes, which the engine's own ops do not have.

use engine_core::dtype::DType;
use engine_core::formats::{Fp8Format, Overflow};
use kernels_hip::ops::{
    Fp8Quantize, GemmFp8, GemmFp8Shape, GemmScaling, RmsNormFp8Quantize, SCALE_GROUP,
    ScaledProduct, Scales, Scaling, SiluMulFp8Quantize,
};
use kernels_hip::variant::VariantInfo;
use kernels_hip::{Buffer, Device, KernelsHip, Stream};
use reference_cpu::{bounds, check, ops as oracle};

use super::numbers::{Normal, Verdict, spread};
use super::rows::{EPS, activated, normed};
use super::{Before, Bound, CompareError};

const FORMAT: Fp8Format = Fp8Format::E4m3Fnuz;
/// Codes of numbers whose standard deviation is this: the largest number of the format is six of them.
const DEVIATION: f32 = 40.0;
/// Rows of a weight that are checked at its beginning and at its end.
const NUM_CHECKED_COLS: usize = 16;

/// A row of codes.
fn codes(row: Vec<f32>) -> impl Iterator<Item = u8> {
    row.into_iter().map(|x| FORMAT.encode(DEVIATION * x, Overflow::Saturate))
}

/// Scales that differ.
fn scales(len: usize) -> Vec<f32> {
    (0..len).map(|i| (1.0 + (i % 7) as f32 / 8.0) / DEVIATION).collect()
}

pub(super) struct GemmFp8Run {
    op: GemmFp8,
    scaling: GemmScaling,
    host: [Normal; 2],
    host_scales: [Vec<f32>; 2],
    x: Buffer<u8>,
    weight: Buffer<u8>,
    scales: [Buffer<f32>; 2],
    out: Buffer<f32>,
}

impl GemmFp8Run {
    pub fn new(
        (device, stream): (&Device, &Stream),
        row: &VariantInfo,
        seed: u64,
        [num_rows, out_features, in_features]: [usize; 3],
        scaling: GemmScaling,
    ) -> Result<Self, CompareError> {
        let shape = GemmFp8Shape::new(num_rows, [out_features, in_features]);
        let op = GemmFp8::new(device, FORMAT, scaling, shape, DType::F32, Some(row.name))?;
        let host = [
            Normal::new(seed, 0, [num_rows, in_features]),
            Normal::new(seed, 1, [out_features, in_features]),
        ];
        let upload = |matrix: &Normal| {
            let all = (0..matrix.num_rows).flat_map(|row| codes(matrix.row(row)));
            device.buffer_from(stream, &all.collect::<Vec<_>>())
        };
        let num_blocks = in_features.div_ceil(oracle::SCALE_BLOCK);
        let host_scales = match scaling {
            GemmScaling::Row => [scales(num_rows), scales(out_features)],
            GemmScaling::Block => [
                scales(num_rows * num_blocks),
                scales(out_features.div_ceil(oracle::SCALE_BLOCK) * num_blocks),
            ],
        };
        let [of_x, of_weight] = &host_scales;
        Ok(GemmFp8Run {
            op,
            scaling,
            x: upload(&host[0])?,
            weight: upload(&host[1])?,
            scales: [device.buffer_from(stream, of_x)?, device.buffer_from(stream, of_weight)?],
            out: device.buffer(num_rows * out_features)?,
            host,
            host_scales,
        })
    }

    /// The oracle of columns from `first` on, which begins a block, of a row; with its magnitudes' errors.
    fn want(&self, row: usize, first: usize, num: usize) -> (Vec<f32>, Vec<f64>) {
        let [rows, weights] = &self.host;
        let in_features = rows.num_cols;
        let num_blocks = in_features.div_ceil(oracle::SCALE_BLOCK);
        let [of_x, of_weight] = &self.host_scales;
        let x: Vec<u8> = codes(rows.row(row)).collect();
        let weight: Vec<u8> =
            (first..first + num).flat_map(|col| codes(weights.row(col))).collect();
        let block = first / oracle::SCALE_BLOCK;
        let scales = match self.scaling {
            GemmScaling::Row => oracle::GemmScales::Rows {
                x: &of_x[row..=row],
                weight: &of_weight[first..first + num],
            },
            GemmScaling::Block => oracle::GemmScales::Blocks {
                x: &of_x[row * num_blocks..(row + 1) * num_blocks],
                weight: &of_weight[block * num_blocks..(block + 1) * num_blocks],
            },
        };
        let (x, weight) = (&x[..], &weight[..]);
        let args = oracle::GemmFp8 { x, weight, format: FORMAT, scales, bias: None, in_features };
        let (want, magnitudes) = oracle::gemm_fp8(&args);
        let errors = bounds::gemm_fp8(&args, &magnitudes);
        (want, errors)
    }
}

impl Bound<KernelsHip> for GemmFp8Run {
    fn run(&mut self, ops: &mut KernelsHip) -> Result<(), CompareError> {
        let [x_scales, weight_scales] = &self.scales;
        let (x, weight) = (&self.x, &self.weight);
        let product = ScaledProduct { x, x_scales, weight, weight_scales, bias: None };
        Ok(self.op.run(ops.stream(), &mut self.out, &product)?)
    }

    fn check(&mut self, ops: &mut KernelsHip) -> Result<Verdict, CompareError> {
        let got = self.out.to_host(ops.stream())?;
        let [rows, weights] = &self.host;
        let out_features = weights.num_rows;
        let last_block = (out_features - 1) / oracle::SCALE_BLOCK * oracle::SCALE_BLOCK;
        let mut verdict = Verdict::default();
        for row in spread(rows.num_rows) {
            for first in [0, last_block] {
                let num = NUM_CHECKED_COLS.min(out_features - first);
                let (want, errors) = self.want(row, first, num);
                let got = &got[row * out_features + first..][..num];
                verdict.report(&check::compare(DType::F32, got, &want, &errors));
            }
        }
        Ok(verdict)
    }
}

enum Op {
    Plain(Box<Fp8Quantize>),
    RmsNorm(Box<RmsNormFp8Quantize>),
    SiluMul(Box<SiluMulFp8Quantize>),
}

pub(super) struct QuantizeRun {
    op: Op,
    scaling: Scaling,
    /// Rows and weights.
    host: [Normal; 2],
    num_cols: usize,
    x: Buffer<f32>,
    weight: Buffer<f32>,
    out: Buffer<u8>,
    scales: Buffer<f32>,
}

impl QuantizeRun {
    pub fn new(
        (device, stream): (&Device, &Stream),
        row: &VariantInfo,
        seed: u64,
        [num_rows, num_cols]: [usize; 2],
        scaling: Scaling,
        before: Before,
    ) -> Result<Self, CompareError> {
        let pin = Some(row.name);
        let op = match before {
            Before::Nothing => {
                let new = Fp8Quantize::new::<f32>;
                Op::Plain(Box::new(new(device, FORMAT, scaling, [num_rows, num_cols], pin)?))
            }
            Before::RmsNorm => {
                let op = RmsNormFp8Quantize::new(device, FORMAT, scaling, num_cols, pin)?;
                Op::RmsNorm(Box::new(op))
            }
            Before::SiluMul => {
                let new = SiluMulFp8Quantize::new::<f32>;
                Op::SiluMul(Box::new(new(device, FORMAT, scaling, num_cols, pin)?))
            }
        };
        let width = if before == Before::SiluMul { 2 * num_cols } else { num_cols };
        let host = [Normal::new(seed, 0, [num_rows, width]), Normal::new(seed, 1, [1, num_cols])];
        Ok(QuantizeRun {
            op,
            scaling,
            num_cols,
            x: device.buffer_from(stream, &host[0].rows())?,
            weight: device.buffer_from(stream, &host[1].rows())?,
            out: device.buffer(num_rows * num_cols)?,
            scales: device.buffer(scaling.num_scales(num_rows, num_cols))?,
            host,
        })
    }

    /// What a row is before it is quantized, and how far that may be off.
    fn before(&self, row: usize) -> (Vec<f32>, Vec<f64>) {
        let x = self.host[0].row(row);
        match self.op {
            Op::Plain(_) => {
                let exact = vec![0.0; x.len()];
                (x, exact)
            }
            Op::RmsNorm(_) => normed(&x, &self.host[1].rows()),
            Op::SiluMul(_) => activated(&x),
        }
    }
}

impl Bound<KernelsHip> for QuantizeRun {
    fn run(&mut self, ops: &mut KernelsHip) -> Result<(), CompareError> {
        let QuantizeRun { op, x, weight, out, scales, .. } = self;
        let (stream, scales) = (ops.stream(), Scales::Made(scales));
        match op {
            Op::Plain(op) => op.run(stream, out, scales, x)?,
            Op::RmsNorm(op) => op.run(stream, out, scales, (x, None), (weight, EPS))?,
            Op::SiluMul(op) => op.run(stream, out, scales, x)?,
        }
        Ok(())
    }

    fn check(&mut self, ops: &mut KernelsHip) -> Result<Verdict, CompareError> {
        let codes = self.out.to_host(ops.stream())?;
        let scales = self.scales.to_host(ops.stream())?;
        let num_cols = self.num_cols;
        let part_len = match self.scaling {
            Scaling::Group => SCALE_GROUP,
            _ => num_cols,
        };
        // One scale for all is known only from all.
        let all = (self.scaling == Scaling::Tensor).then(|| self.host[0].rows());
        let mut verdict = Verdict::default();
        for row in spread(self.host[0].num_rows) {
            let (want, errors) = self.before(row);
            let codes = codes[row * num_cols..(row + 1) * num_cols].chunks(part_len);
            let first_scale = if all.is_some() { 0 } else { row * num_cols.div_ceil(part_len) };
            let parts = want.chunks(part_len).zip(errors.chunks(part_len));
            for ((codes, scale), part) in codes.zip(&scales[first_scale..]).zip(parts) {
                let sharers = all.as_deref().unwrap_or(part.0);
                check_part(codes, (*scale, sharers), part, &mut verdict);
            }
        }
        Ok(verdict)
    }
}

/// The scale is that of the values that share it, inside their bounds, and each code is off by half a step and what its
/// value may be.
fn check_part(
    codes: &[u8],
    (scale, sharers): (f32, &[f32]),
    (want, errors): (&[f32], &[f64]),
    verdict: &mut Verdict,
) {
    let want_scale = oracle::fp8_row_scale(sharers, FORMAT);
    let error = errors.iter().copied().fold(0.0, f64::max);
    let ulps = u64::from(scale.to_bits().abs_diff(want_scale.to_bits()));
    let allowed = match error {
        0.0 => 0.0,
        error => error / f64::from(FORMAT.max()) + f64::from(2.0 * f32::EPSILON * want_scale),
    };
    let off = f64::from((scale - want_scale).abs());
    verdict.element(ulps, if off == 0.0 { 0.0 } else { off / allowed });
    for ((&code, &want), error) in codes.iter().zip(want).zip(errors) {
        let value = FORMAT.decode(code);
        let nearest = FORMAT.encode(want / scale, Overflow::Saturate);
        let ulps = u64::from(place(code).abs_diff(place(nearest)));
        let bound = error + (0.5 * step(value) + f64::EPSILON * 1e9) * f64::from(scale);
        let off = (f64::from(value) * f64::from(scale) - f64::from(want)).abs();
        verdict.element(ulps, if ulps == 0 { 0.0 } else { off / bound });
    }
}

/// The place of a code among the format's numbers in order.
fn place(code: u8) -> i16 {
    let magnitude = i16::from(code & 0x7f);
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The distance of neighbours of `value`: three bits behind the leading one, down to the exponent of the least normal one.
fn step(value: f32) -> f64 {
    let exponent = f64::from(value.abs()).log2().floor().max(-7.0);
    (exponent - 3.0).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of codes that is right, and what of it a changed code, or another scale, is.
    #[test]
    fn a_wrong_code_and_a_wrong_scale_are_failures() {
        let want: Vec<f32> = Normal::new(1, 0, [1, 300]).row(0);
        let scale = oracle::fp8_row_scale(&want, FORMAT);
        let mut codes = vec![0; want.len()];
        oracle::fp8_quantize(&want, scale, FORMAT, &mut codes);
        let failures = |codes: &[u8], scale, error: f64| {
            let mut verdict = Verdict::default();
            check_part(codes, (scale, &want), (&want, &vec![error; want.len()]), &mut verdict);
            verdict.num_failures
        };
        assert_eq!(failures(&codes, scale, 0.0), 0);
        assert_eq!(failures(&codes, scale, 1e-6), 0);
        assert_eq!(failures(&codes, scale.next_up(), 0.0), 1);
        assert!(failures(&codes, scale * 1.01, 1e-6) >= 1);
        for idx in [0, 150, 299] {
            let mut codes = codes.clone();
            codes[idx] ^= 0x81;
            assert_eq!(failures(&codes, scale, 1e-6), 1, "{idx}");
        }
    }
}
