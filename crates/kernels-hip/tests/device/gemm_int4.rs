//! `gemm_int4`: within the bound of a dense layer on the weights that the oracle unpacks.

use engine_core::dtype::DType;
use kernels_hip::ops::{GemmInt4, Int4Packing, Int4Weights};
use reference_cpu::{bounds, check, ops};

use crate::mutants::code_object;
use crate::{Bits, device};

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

#[test]
fn products_are_within_the_bound() {
    let Some((device, stream)) = device() else { return };
    let mut bits = Bits(61);
    // Groups that divide, a last one that is short, one for all; with and without an order of their own.
    for (k, n, group_size, has_g_idx) in
        [(128, 264, 32, true), (96, 40, 128, false), (200, 16, 64, true)]
    {
        let num_groups = usize::div_ceil(k, group_size);
        let mut words = |len: usize| -> Vec<u32> { (0..len).map(|_| bits.next()).collect() };
        let (qweight, qzeros) = (words(k * n / 8), words(num_groups * n / 8));
        let groups: Vec<u32> = words(k).into_iter().map(|word| word % num_groups as u32).collect();
        GemmInt4::check_groups(&groups, num_groups).unwrap();
        let scales: Vec<u16> =
            bits.units(num_groups * n).iter().map(|x| narrowed(DType::F16, 0.02 * x)).collect();
        let meant: Vec<f32> = scales.iter().map(|&bits| widened(DType::F16, bits)).collect();
        let bias = bits.units(n);
        let on_qweight = device.buffer_from(&stream, &qweight).unwrap();
        let on_qzeros = device.buffer_from(&stream, &qzeros).unwrap();
        let on_scales = device.buffer_from(&stream, &scales).unwrap();
        let on_groups = device.buffer_from(&stream, &groups).unwrap();
        let on_bias = device.buffer_from(&stream, &bias).unwrap();
        for (packing, format) in PACKINGS {
            let weight = ops::int4_dequantize(&ops::Int4Weight {
                format,
                qweight: &qweight,
                qzeros: &qzeros,
                scales: &meant,
                g_idx: has_g_idx.then_some(&groups),
                group_size,
                in_features: k,
                out_features: n,
            });
            for (dtype, out) in [
                (DType::BF16, DType::F32),
                (DType::BF16, DType::BF16),
                (DType::F16, DType::F32),
                (DType::F16, DType::F16),
            ] {
                let x: Vec<u16> = bits.units(3 * k).iter().map(|&x| narrowed(dtype, x)).collect();
                let x_meant: Vec<f32> = x.iter().map(|&bits| widened(dtype, bits)).collect();
                let mut want = vec![0.0; 3 * n];
                ops::linear(&x_meant, &weight, Some(&bias), k, &mut want);
                let errors = bounds::linear(&x_meant, &weight, Some(&bias), None, k);
                let code = code_object(&device, "gemm_int4_v1_naive");
                let op = GemmInt4::from_code_object(&device, &code, packing, dtype, out).unwrap();
                let on_x = device.buffer_from(&stream, &x).unwrap();
                let weights = Int4Weights {
                    qweight: &on_qweight,
                    qzeros: &on_qzeros,
                    scales: &on_scales,
                    g_idx: has_g_idx.then_some(&on_groups),
                    group_size,
                    in_features: k,
                    out_features: n,
                };
                let got = if out == DType::F32 {
                    let mut on_out = device.buffer::<f32>(3 * n).unwrap();
                    op.run(&stream, &mut on_out, &on_x, &weights, Some(&on_bias)).unwrap();
                    on_out.to_host(&stream).unwrap()
                } else {
                    let mut on_out = device.buffer::<u16>(3 * n).unwrap();
                    op.run(&stream, &mut on_out, &on_x, &weights, Some(&on_bias)).unwrap();
                    let bits = on_out.to_host(&stream).unwrap().into_iter();
                    bits.map(|bits| widened(out, bits)).collect()
                };
                let report = check::compare(out, &got, &want, &errors);
                assert!(report.is_ok(), "{packing:?}, {k} by {n}, {dtype} to {out}: {report}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let Some((device, stream)) = device() else { return };
    assert!(GemmInt4::new(&device, Int4Packing::Awq, DType::F32, DType::F32).is_err());
    assert!(GemmInt4::new(&device, Int4Packing::Awq, DType::F16, DType::BF16).is_err());
    assert!(GemmInt4::check_groups(&[0, 3, 4], 4).is_err());
    let words = |len| device.buffer_from(&stream, &vec![0_u32; len]).unwrap();
    let halves = |len| device.buffer_from(&stream, &vec![0_u16; len]).unwrap();
    let run =
        |packing, [k, n, group_size]: [usize; 3], [qweight, qzeros, scales, g_idx]: [usize; 4]| {
            let op = GemmInt4::new(&device, packing, DType::F16, DType::F32).unwrap();
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
