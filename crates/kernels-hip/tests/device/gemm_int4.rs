//! `gemm_int4`: within the bound of a dense layer on the weights that the oracle unpacks.

use engine_core::dtype::DType;
use kernels_hip::ops::{GemmInt4, GemmInt4Shape, Int4Packing, Int4Weights};
use kernels_hip::{Device, Error, Stream};
use reference_cpu::{bounds, check, ops};

use crate::mutants::code_object;
use crate::{Bits, built, device};

const WIDE: &str = "gemm_int4_v2_mfma";
const SKINNY: &str = "gemm_int4_v3_mfma_skinny";

const PACKINGS: [(Int4Packing, ops::Int4Format); 3] = [
    (Int4Packing::Gptq, ops::Int4Format::Gptq),
    (Int4Packing::GptqV2, ops::Int4Format::GptqV2),
    (Int4Packing::Awq, ops::Int4Format::Awq),
];

fn narrowed(dtype: DType, x: f32) -> u16 {
    match dtype {
        DType::BF16 => half::bf16::from_f32(x).to_bits(),
        _ => half::f16::from_f32(x).to_bits(),
    }
}

fn widened(dtype: DType, bits: u16) -> f32 {
    match dtype {
        DType::BF16 => half::bf16::from_bits(bits).to_f32(),
        _ => half::f16::from_bits(bits).to_f32(),
    }
}

/// A product's numbers, and where they lie.
struct Numbers {
    sizes: [usize; 3],
    group_size: usize,
    qweight: Vec<u32>,
    qzeros: Vec<u32>,
    scales: Vec<u16>,
    groups: Option<Vec<u32>>,
    bias: Vec<f32>,
}

impl Numbers {
    /// Rows of x, output features, input features.
    fn new(sizes: [usize; 3], group_size: usize, has_g_idx: bool) -> Self {
        let [num_rows, n, k] = sizes;
        let mut bits = Bits((61 + num_rows + n * k) as u64);
        let num_groups = k.div_ceil(group_size);
        let mut words = |len: usize| -> Vec<u32> { (0..len).map(|_| bits.next()).collect() };
        let (qweight, qzeros) = (words(k * n / 8), words(num_groups * n / 8));
        let groups: Vec<u32> = words(k).into_iter().map(|word| word % num_groups as u32).collect();
        GemmInt4::check_groups(&groups, num_groups).unwrap();
        let scales = bits.units(num_groups * n).into_iter().map(|x| narrowed(DType::F16, 0.02 * x));
        let scales = scales.collect();
        let groups = has_g_idx.then_some(groups);
        Numbers { sizes, group_size, qweight, qzeros, scales, groups, bias: bits.units(n) }
    }

    fn x(&self, dtype: DType) -> Vec<u16> {
        let [num_rows, _, k] = self.sizes;
        Bits(7).units(num_rows * k).iter().map(|&x| narrowed(dtype, x)).collect()
    }

    /// What `variant` makes of some rows, or why it does not.
    fn product(
        &self,
        (device, stream): (&Device, &Stream),
        variant: &str,
        packing: Int4Packing,
        types: [DType; 2],
        x: &[u16],
    ) -> Result<Vec<f32>, Error> {
        let [_, n, k] = self.sizes;
        let num_rows = x.len() / k;
        let g_idx = self.groups.as_ref().map(|groups| device.buffer_from(stream, groups).unwrap());
        let weights = Int4Weights {
            qweight: &device.buffer_from(stream, &self.qweight)?,
            qzeros: &device.buffer_from(stream, &self.qzeros)?,
            scales: &device.buffer_from(stream, &self.scales)?,
            g_idx: g_idx.as_ref(),
            group_size: self.group_size,
            in_features: k,
            out_features: n,
        };
        let shape = GemmInt4Shape::new(num_rows, &weights);
        let code = code_object(device, variant);
        let op = GemmInt4::from_code_object(device, &code, packing, shape, types, variant)?;
        let x = device.buffer_from(stream, x)?;
        let bias = device.buffer_from(stream, &self.bias)?;
        Ok(if types[1] == DType::F32 {
            let mut out = device.buffer::<f32>(num_rows * n)?;
            op.run(stream, &mut out, &x, &weights, Some(&bias))?;
            out.to_host(stream)?
        } else {
            let mut out = device.buffer::<u16>(num_rows * n)?;
            op.run(stream, &mut out, &x, &weights, Some(&bias))?;
            out.to_host(stream)?.into_iter().map(|bits| widened(types[1], bits)).collect()
        })
    }

    fn check(&self, got: &[f32], format: ops::Int4Format, types: [DType; 2], what: &str) {
        let [num_rows, n, k] = self.sizes;
        let scales: Vec<f32> = self.scales.iter().map(|&bits| widened(DType::F16, bits)).collect();
        let weight = ops::int4_dequantize(&ops::Int4Weight {
            format,
            qweight: &self.qweight,
            qzeros: &self.qzeros,
            scales: &scales,
            g_idx: self.groups.as_deref(),
            group_size: self.group_size,
            in_features: k,
            out_features: n,
        });
        let x: Vec<f32> = self.x(types[0]).iter().map(|&bits| widened(types[0], bits)).collect();
        let mut want = vec![0.0; num_rows * n];
        ops::linear(&x, &weight, Some(&self.bias), k, &mut want);
        let errors = bounds::linear(&x, &weight, Some(&self.bias), None, k);
        let report = check::compare(types[1], got, &want, &errors);
        assert!(report.is_ok(), "{what}, {format:?}, {:?}, {types:?}: {report}", self.sizes);
    }
}

const TYPES: [[DType; 2]; 4] = [
    [DType::BF16, DType::F32],
    [DType::BF16, DType::BF16],
    [DType::F16, DType::F32],
    [DType::F16, DType::F16],
];

#[test]
fn products_are_within_the_bound() {
    let Some((device, stream)) = device() else { return };
    let mut num_served = 0;
    // Groups that divide, a last one that is short, one for all; with and without an order of their own.
    for (sizes, group_size, has_g_idx) in [
        ([3, 264, 128], 32, true),
        ([3, 40, 96], 128, false),
        ([3, 16, 200], 64, true),
        ([3, 72, 160], 64, false),
    ] {
        let numbers = Numbers::new(sizes, group_size, has_g_idx);
        for variant in built("gemm_int4") {
            for (packing, format) in PACKINGS {
                for types in TYPES {
                    let x = numbers.x(types[0]);
                    match numbers.product((&device, &stream), variant, packing, types, &x) {
                        Ok(got) => numbers.check(&got, format, types, variant),
                        Err(error @ Error::Pin { .. }) => {
                            assert!(has_g_idx && variant.contains("mfma"), "{variant}: {error}");
                            continue;
                        }
                        Err(error) => panic!("{variant}: {error}"),
                    }
                    num_served += usize::from(variant.contains("mfma"));
                }
            }
        }
    }
    let num_mfma = built("gemm_int4").filter(|name| name.contains("mfma")).count();
    assert_eq!(num_served, num_mfma * 2 * PACKINGS.len() * TYPES.len());
}

/// Groups that end inside of segments and segments inside of groups, an empty segment, tiles that are not full.
#[test]
fn a_rows_bits_are_those_of_any_company_and_variant() {
    let Some((device, stream)) = device() else { return };
    if built("gemm_int4").count() < 3 {
        return eprintln!("skipped: not all variants; --features kernels-hip/all-variants");
    }
    let on = (&device, &stream);
    for (sizes, group_size) in [([70, 264, 320], 96), ([33, 72, 1056], 128)] {
        let numbers = Numbers::new(sizes, group_size, false);
        let [num_rows, n, k] = sizes;
        for (i, (packing, format)) in PACKINGS.into_iter().enumerate() {
            let types = TYPES[i];
            let x = numbers.x(types[0]);
            let all = numbers.product(on, WIDE, packing, types, &x).unwrap();
            numbers.check(&all, format, types, WIDE);
            for (variant, first, len) in [
                (SKINNY, 0, 32),
                (SKINNY, num_rows - 17, 17),
                (SKINNY, num_rows - 1, 1),
                (WIDE, num_rows - 1, 1),
            ] {
                let part = &x[first * k..][..len * k];
                let got = numbers.product(on, variant, packing, types, part).unwrap();
                let is_same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
                let same = got.iter().zip(&all[first * n..][..len * n]).all(is_same);
                assert!(same, "{variant}, {packing:?}, {types:?}: {len} rows from {first}");
            }
        }
    }
    let numbers = Numbers::new([33, 8, 32], 32, false);
    let x = numbers.x(DType::F16);
    let error = numbers.product(on, SKINNY, Int4Packing::Awq, TYPES[2], &x).unwrap_err();
    assert!(error.to_string().contains("32 rows"), "{error}");
    for (k, group_size, why) in [(40, 40, "multiple of 32"), (64, 16, "groups of 16")] {
        let numbers = Numbers::new([1, 8, k], group_size, false);
        let x = numbers.x(DType::F16);
        for variant in [WIDE, SKINNY] {
            let got = numbers.product(on, variant, Int4Packing::Awq, TYPES[2], &x);
            let error = got.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let Some((device, stream)) = device() else { return };
    assert!(GemmInt4::check_groups(&[0, 3, 4], 4).is_err());
    let words = |len| device.buffer_from(&stream, &vec![0_u32; len]).unwrap();
    let halves = |len| device.buffer_from(&stream, &vec![0_u16; len]).unwrap();
    let run = |packing,
               [k, n, group_size]: [usize; 3],
               [qweight, qzeros, scales, g_idx]: [usize; 4]| {
        let weights = Int4Weights {
            qweight: &words(qweight),
            qzeros: &words(qzeros),
            scales: &halves(scales),
            g_idx: Some(&words(g_idx)),
            group_size,
            in_features: k,
            out_features: n,
        };
        let x = halves(k);
        let shape = GemmInt4Shape::new(1, &weights);
        for types in [[DType::F32; 2], [DType::F16, DType::BF16]] {
            assert!(GemmInt4::new(&device, packing, shape, types, None).is_err());
        }
        let op = GemmInt4::new(&device, packing, shape, [DType::F16, DType::F32], None).unwrap();
        let weights_of = Int4Weights { group_size: group_size + 1, ..weights };
        let another = GemmInt4Shape::new(1, &weights_of);
        let other = GemmInt4::new(&device, packing, another, [DType::F16, DType::F32], None);
        let mut out = device.buffer::<f32>(n).unwrap();
        assert!(other.unwrap().run(&stream, &mut out, &x, &weights, None).is_err());
        op.run(&stream, &mut device.buffer::<f32>(n).unwrap(), &x, &weights, None)
    };
    let (awq, gptq) = (Int4Packing::Awq, Int4Packing::Gptq);
    assert!(run(awq, [12, 8, 6], [12, 2, 16, 12]).is_ok());
    assert!(run(gptq, [12, 8, 6], [12, 2, 16, 12]).is_err());
    assert!(run(awq, [12, 12, 6], [18, 3, 24, 12]).is_err());
    assert!(run(awq, [12, 8, 0], [12, 2, 16, 12]).is_err());
    assert!(run(awq, [12, 8, 6], [11, 2, 16, 12]).is_err());
    assert!(run(awq, [12, 8, 6], [12, 1, 16, 12]).is_err());
    assert!(run(awq, [12, 8, 6], [12, 2, 15, 12]).is_err());
    assert!(run(awq, [12, 8, 6], [12, 2, 16, 11]).is_err());
}
