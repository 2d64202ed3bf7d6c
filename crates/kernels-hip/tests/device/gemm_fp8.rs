//! `gemm_fp8`: within the bound of FP8 products, with both kinds of scales, from every variant.

use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use kernels_hip::ops::{GemmFp8, GemmFp8Shape, GemmScaling, ScaledProduct};
use kernels_hip::{Device, Error, Stream};
use reference_cpu::{bounds, check, ops};

use crate::mutants::code_object;
use crate::{Bits, built, device};

const FORMAT: Fp8Format = Fp8Format::E4m3Fnuz;

/// Operands on the host.
struct Case {
    x: Vec<u8>,
    weight: Vec<u8>,
    x_scales: Vec<f32>,
    weight_scales: Vec<f32>,
    bias: Option<Vec<f32>>,
    /// Rows and columns of the weight.
    shape: [usize; 2],
    scaling: GemmScaling,
}

impl Case {
    fn new(seed: u64, num_rows: usize, (n, k): (usize, usize), scaling: GemmScaling) -> Self {
        let mut bits = Bits(seed);
        // Any code but NaN, small ones more often.
        let mut codes = |len| -> Vec<u8> {
            let mut code = || {
                let mask = if bits.next() & 3 == 0 { 0xff } else { 0xbf };
                (bits.next() >> 8) as u8 & mask
            };
            let any = (0..len).map(|_| code());
            any.map(|code| if code == 0x80 { 0 } else { code }).collect()
        };
        let (x, weight) = (codes(num_rows * k), codes(n * k));
        let num_blocks = k.div_ceil(ops::SCALE_BLOCK);
        let (of_x, of_weight) = match scaling {
            GemmScaling::Row => (num_rows, n),
            GemmScaling::Block => {
                (num_rows * num_blocks, n.div_ceil(ops::SCALE_BLOCK) * num_blocks)
            }
        };
        let mut scales =
            |len| -> Vec<f32> { bits.units(len).iter().map(|x| (3.0 * x).exp2() * 0.01).collect() };
        let (x_scales, weight_scales) = (scales(of_x), scales(of_weight));
        let bias = seed.is_multiple_of(2).then(|| bits.units(n));
        let shape = [n, k];
        Case { x, weight, x_scales, weight_scales, bias, shape, scaling }
    }

    fn num_rows(&self) -> usize {
        self.x.len() / self.shape[1]
    }

    /// The oracle's result and errors.
    fn want(&self) -> (Vec<f32>, Vec<f64>) {
        let (x, weight) = (&self.x_scales[..], &self.weight_scales[..]);
        let args = ops::GemmFp8 {
            x: &self.x,
            weight: &self.weight,
            format: FORMAT,
            scales: match self.scaling {
                GemmScaling::Row => ops::GemmScales::Rows { x, weight },
                GemmScaling::Block => ops::GemmScales::Blocks { x, weight },
            },
            bias: self.bias.as_deref(),
            in_features: self.shape[1],
        };
        let (want, magnitudes) = ops::gemm_fp8(&args);
        let errors = bounds::gemm_fp8(&args, &magnitudes);
        (want, errors)
    }

    /// What a variant makes of it; nothing if it does not serve the shape.
    fn run(
        &self,
        (device, stream): (&Device, &Stream),
        variant: &str,
        out: DType,
    ) -> Option<Vec<f32>> {
        let code = code_object(device, variant);
        let shape = GemmFp8Shape::new(self.num_rows(), self.shape);
        let new = GemmFp8::from_code_object;
        let op = match new(device, &code, self.scaling, shape, out, variant) {
            Err(Error::Pin { .. }) => return None,
            op => op.unwrap(),
        };
        let on_device = |values: &[f32]| device.buffer_from(stream, values).unwrap();
        let bias = self.bias.as_deref().map(on_device);
        let product = ScaledProduct {
            x: &device.buffer_from(stream, &self.x).unwrap(),
            x_scales: &on_device(&self.x_scales),
            weight: &device.buffer_from(stream, &self.weight).unwrap(),
            weight_scales: &on_device(&self.weight_scales),
            bias: bias.as_ref(),
        };
        let len = self.num_rows() * self.shape[0];
        Some(match out {
            DType::F32 => {
                let mut out = device.buffer::<f32>(len).unwrap();
                op.run(stream, &mut out, &product).unwrap();
                out.to_host(stream).unwrap()
            }
            DType::BF16 | DType::F16 => {
                let mut on_out = device.buffer::<u16>(len).unwrap();
                op.run(stream, &mut on_out, &product).unwrap();
                let bits = on_out.to_host(stream).unwrap().into_iter();
                bits.map(|bits| widened(out, bits)).collect()
            }
        })
    }
}

fn widened(dtype: DType, bits: u16) -> f32 {
    match dtype {
        DType::BF16 => half::bf16::from_bits(bits).to_f32(),
        _ => half::f16::from_bits(bits).to_f32(),
    }
}

#[test]
fn products_are_within_the_bound() {
    let Some((device, stream)) = device() else { return };
    let on = (&device, &stream);
    // One, less than a tile, more than a work-group's tile, blocks with a rest, rows that are no vectors.
    let shapes = [
        (1, (1, 16)),
        (5, (70, 320)),
        (33, (130, 64)),
        (67, (200, 144)),
        (3, (257, 512)),
        (4, (30, 131)),
        (17, (48, 2000)),
    ];
    for (i, (num_rows, weight)) in shapes.into_iter().enumerate() {
        for scaling in [GemmScaling::Row, GemmScaling::Block] {
            let case = Case::new(40 + i as u64, num_rows, weight, scaling);
            let (want, errors) = case.want();
            // Rounding is the store's, whatever the shape.
            let dtypes = [DType::F32, DType::BF16, DType::F16];
            for dtype in &dtypes[..if i < 2 { 3 } else { 1 }] {
                let dtype = *dtype;
                let mut num_variants = 0;
                for variant in built("gemm_fp8") {
                    let Some(got) = case.run(on, variant, dtype) else { continue };
                    let report = check::compare(dtype, &got, &want, &errors);
                    assert!(
                        report.is_ok(),
                        "{variant}, {scaling:?}, {weight:?}, {dtype}: {report}"
                    );
                    num_variants += 1;
                }
                let is_vectors = weight.1.is_multiple_of(16);
                let want = 1 + usize::from(is_vectors) + usize::from(is_vectors && num_rows <= 32);
                assert_eq!(num_variants, want, "{weight:?}");
            }
        }
    }
}

/// The variants that use the matrix unit give equal bits, whatever the tile and whoever sums a segment.
#[test]
fn variants_of_a_class_have_the_same_bits() {
    let Some((device, stream)) = device() else { return };
    for (num_rows, weight) in [(1, (33, 48)), (16, (20, 640)), (31, (17, 2000))] {
        for scaling in [GemmScaling::Row, GemmScaling::Block] {
            let case = Case::new(60, num_rows, weight, scaling);
            let bits = |variant| -> Vec<u32> {
                let values = case.run((&device, &stream), variant, DType::F32).unwrap();
                values.into_iter().map(f32::to_bits).collect()
            };
            let (many, few) = (bits("gemm_fp8_v2_mfma"), bits("gemm_fp8_v3_mfma_skinny"));
            assert!(many == few, "{num_rows} rows, {weight:?}, {scaling:?}");
        }
    }
}

#[test]
fn a_row_has_the_bits_that_it_has_alone() {
    let Some((device, stream)) = device() else { return };
    for scaling in [GemmScaling::Row, GemmScaling::Block] {
        let all = Case::new(51, 40, (70, 272), scaling);
        let per_row = all.x_scales.len() / 40;
        for row in [0, 17, 39] {
            let x = all.x[row * 272..(row + 1) * 272].to_vec();
            let x_scales = all.x_scales[row * per_row..(row + 1) * per_row].to_vec();
            let (weight, weight_scales) = (all.weight.clone(), all.weight_scales.clone());
            let alone = Case { x, x_scales, weight, weight_scales, bias: None, ..all };
            for variant in built("gemm_fp8") {
                // One that takes few rows takes the row alone: `variants_of_a_class_have_the_same_bits`.
                let run = |case: &Case| case.run((&device, &stream), variant, DType::F32);
                let Some(among) = run(&all) else { continue };
                let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                let got = bits(&run(&alone).unwrap());
                assert_eq!(got, bits(&among[row * 70..(row + 1) * 70]), "{variant}, {scaling:?}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let Some((device, stream)) = device() else { return };
    let shape = GemmFp8Shape::new(2, [3, 130]);
    let new =
        |format, pin| GemmFp8::new(&device, format, GemmScaling::Block, shape, DType::F32, pin);
    assert!(new(Fp8Format::E5m2Fnuz, None).is_err());
    assert!(new(FORMAT, Some("gemm_fp8_v2_mfma")).is_err());
    let op = new(FORMAT, None).unwrap();
    assert_eq!(op.variant(), "gemm_fp8_v1_naive");
    let bytes = |len| device.buffer_from(&stream, &vec![0_u8; len]).unwrap();
    let floats = |len| device.buffer_from(&stream, &vec![0_f32; len]).unwrap();
    let run = |x, of_x, weight, of_weight, out| {
        let product = ScaledProduct {
            x: &bytes(x),
            x_scales: &floats(of_x),
            weight: &bytes(weight),
            weight_scales: &floats(of_weight),
            bias: None,
        };
        op.run(&stream, &mut floats(out), &product)
    };
    assert!(run(260, 4, 390, 2, 6).is_ok());
    assert!(run(261, 4, 390, 2, 6).is_err());
    assert!(run(260, 2, 390, 2, 6).is_err());
    assert!(run(260, 4, 391, 2, 6).is_err());
    assert!(run(260, 4, 390, 3, 6).is_err());
    assert!(run(260, 4, 390, 2, 5).is_err());
    let product = ScaledProduct {
        x: &bytes(260),
        x_scales: &floats(4),
        weight: &bytes(390),
        weight_scales: &floats(2),
        bias: None,
    };
    assert!(op.run(&stream, &mut device.buffer::<u16>(6).unwrap(), &product).is_err());
}
