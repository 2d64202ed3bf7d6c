//! `rms_norm_fp8_quantize` and `silu_mul_fp8_quantize`: within the bounds of the norm and the activation, rounded to FP8;
//! the same bytes from every variant.

use engine_core::formats::{Fp8Format, Overflow};
use half::bf16;
use kernels_hip::ops::{
    Input, RmsNormFp8Quantize, SCALE_GROUP, Scales, Scaling, SiluMulFp8Quantize,
};
use kernels_hip::{Device, Error, Stream};
use reference_cpu::{bounds, ops};

use crate::mutants::code_object;
use crate::{Bits, built, device};

const FORMATS: [Fp8Format; 2] = [Fp8Format::E4m3Fnuz, Fp8Format::E5m2Fnuz];
const SCALINGS: [Scaling; 3] = [Scaling::Static, Scaling::Row, Scaling::Group];
const EPS: f32 = 1e-5;
const GIVEN: f32 = 0.037;

/// What is computed before it is quantized, and how far that may be off.
struct Before {
    want: Vec<f32>,
    errors: Vec<f64>,
    num_cols: usize,
}

/// Codes and scales.
type Quantized = (Vec<u8>, Vec<f32>);

/// Every code is one that a value inside the bound has, with a scale that such values have.
fn check_bounds(
    before: &Before,
    (codes, scales): &Quantized,
    how: (Scaling, Fp8Format),
    context: &str,
) {
    let (scaling, format) = how;
    let part_len = match scaling {
        Scaling::Group => SCALE_GROUP,
        _ => before.num_cols,
    };
    let moved = |i: usize, by: f64| (f64::from(before.want[i]) + by * before.errors[i]) as f32;
    let mut scales = scales.iter();
    for row in (0..codes.len()).step_by(before.num_cols) {
        for start in (row..row + before.num_cols).step_by(part_len) {
            let part = start..(start + part_len).min(row + before.num_cols);
            let scale = if scaling == Scaling::Static { GIVEN } else { *scales.next().unwrap() };
            if scaling != Scaling::Static {
                let farthest = |by: f64| -> Vec<f32> {
                    let away = |i| moved(i, if before.want[i] < 0.0 { -by } else { by });
                    part.clone().map(away).collect()
                };
                let low = ops::fp8_row_scale(&farthest(-1.0), format).next_down();
                let high = ops::fp8_row_scale(&farthest(1.0), format).next_up();
                assert!(low <= scale && scale <= high, "{context}: scale {scale} of {start}");
            }
            for i in part {
                let code = |x: f32| format.decode(format.encode(x / scale, Overflow::Saturate));
                let got = format.decode(codes[i]);
                let (low, high) = (code(moved(i, -1.0).next_down()), code(moved(i, 1.0).next_up()));
                let is_inside = low <= got && got <= high;
                let is_nan = before.want[i].is_nan() && got.is_nan();
                assert!(
                    is_inside || is_nan,
                    "{context}: {i}: {got} for {}",
                    before.want[i] / scale
                );
            }
        }
    }
    assert!(scales.next().is_none(), "{context}");
}

/// Runs every variant of `op` that serves the shape: the first within the bounds, the others with its bytes.
fn check_variants(
    op: &str,
    before: &Before,
    how: (Scaling, Fp8Format),
    run: impl Fn(&str) -> Option<Quantized>,
) -> usize {
    let mut first: Option<Quantized> = None;
    let mut num_variants = 0;
    for variant in built(op) {
        let Some(got) = run(variant) else { continue };
        num_variants += 1;
        let context = format!("{variant}, {how:?}, {}", before.num_cols);
        check_bounds(before, &got, how, &context);
        let bits = |(codes, scales): &Quantized| {
            (codes.clone(), scales.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        };
        let first = first.get_or_insert_with(|| got.clone());
        assert!(bits(first) == bits(&got), "{context}: other bytes than the first variant");
    }
    num_variants
}

/// Gives `run` buffers for codes and scales, and what it leaves in them.
fn quantized(
    (device, stream): (&Device, &Stream),
    len: usize,
    num_scales: usize,
    run: impl FnOnce(&mut kernels_hip::Buffer<u8>, Scales<'_>),
) -> Quantized {
    let mut out = device.buffer(len).unwrap();
    let mut scales = device.buffer(num_scales).unwrap();
    out.fill_bytes(stream, 0x55).unwrap();
    scales.fill_bytes(stream, 0xff).unwrap();
    run(&mut out, if num_scales == 0 { Scales::Given(GIVEN) } else { Scales::Made(&mut scales) });
    (out.to_host(stream).unwrap(), scales.to_host(stream).unwrap())
}

#[test]
fn normalized_rows_are_quantized() {
    let Some((device, stream)) = device() else { return };
    let mut bits = Bits(21);
    // Many rows: a sum that is off by a unit moves few of the scales.
    for (num_rows, hidden_size) in
        [(2, 1), (3, 111), (64, 100), (2, 500), (3, 576), (1, 3584), (1, 16384)]
    {
        let len = num_rows * hidden_size;
        let (x, delta, weight) = (bits.units(len), bits.units(len), bits.units(hidden_size));
        for has_delta in [false, true] {
            let summed: Vec<f32> = x.iter().zip(&delta).map(|(x, delta)| x + delta).collect();
            let summed = if has_delta { &summed } else { &x };
            let mut want = vec![0.0; len];
            ops::rms_norm(summed, &weight, EPS, None, &mut want);
            let errors = bounds::rms_norm(&want, &weight);
            let before = Before { want, errors, num_cols: hidden_size };
            let on_delta = device.buffer_from(&stream, &delta).unwrap();
            let on_weight = device.buffer_from(&stream, &weight).unwrap();
            for (scaling, format) in SCALINGS.iter().flat_map(|s| FORMATS.map(|f| (*s, f))) {
                let run = |variant: &str| {
                    let code = code_object(&device, variant);
                    let new = RmsNormFp8Quantize::from_code_object;
                    let op = match new(&device, &code, format, scaling, hidden_size, variant) {
                        Err(Error::Pin { .. }) => return None,
                        op => op.unwrap(),
                    };
                    let mut on_x = device.buffer_from(&stream, &x).unwrap();
                    let num_scales = scaling.num_scales(num_rows, hidden_size);
                    let got = quantized((&device, &stream), len, num_scales, |out, scales| {
                        let delta = has_delta.then_some(&on_delta);
                        op.run(&stream, out, scales, (&mut on_x, delta), (&on_weight, EPS))
                            .unwrap();
                    });
                    assert_eq!(&on_x.to_host(&stream).unwrap(), summed, "{variant}: x + delta");
                    Some(got)
                };
                let op = "rms_norm_fp8_quantize";
                let num_variants = check_variants(op, &before, (scaling, format), run);
                assert_eq!(num_variants, if hidden_size % 4 == 0 { 2 } else { 1 });
            }
        }
    }
}

fn check_silu<T: Input>(seed: u64, narrow: impl Fn(f32) -> (T, f32)) {
    let Some((device, stream)) = device() else { return };
    let mut bits = Bits(seed);
    for (num_rows, width) in [(2, 1), (3, 111), (3, 500), (2, 1536), (1, 16384)] {
        let len = num_rows * width;
        let mut values: Vec<f32> = bits.units(2 * len).iter().map(|x| x * 9.0).collect();
        // e^-x beyond f32, and NaN, which only its own element may feel. Alone in its row, what underflows would have the
        // scale of zeros on the device, and that of a tiny number in the oracle.
        if width > 1 {
            values[0] = -100.0;
        }
        *values.last_mut().unwrap() = f32::NAN;
        let (gate_up, meant): (Vec<T>, Vec<f32>) = values.into_iter().map(&narrow).unzip();
        let mut want = vec![0.0; len];
        ops::silu_mul(&meant, width, &mut want);
        let errors = bounds::silu_mul(&meant, width, &want);
        let before = Before { want, errors, num_cols: width };
        let on_gate_up = device.buffer_from(&stream, &gate_up).unwrap();
        for (scaling, format) in SCALINGS.iter().flat_map(|s| FORMATS.map(|f| (*s, f))) {
            let run = |variant: &str| {
                let code = code_object(&device, variant);
                let new = SiluMulFp8Quantize::from_code_object::<T>;
                let op = match new(&device, &code, format, scaling, width, variant) {
                    Err(Error::Pin { .. }) => return None,
                    op => op.unwrap(),
                };
                let num_scales = scaling.num_scales(num_rows, width);
                Some(quantized((&device, &stream), len, num_scales, |out, scales| {
                    op.run(&stream, out, scales, &on_gate_up).unwrap();
                }))
            };
            let op = "silu_mul_fp8_quantize";
            let num_variants = check_variants(op, &before, (scaling, format), run);
            let is_vectors = width.is_multiple_of(16 / size_of::<T>());
            assert_eq!(num_variants, if is_vectors { 2 } else { 1 });
        }
    }
}

#[test]
fn activated_f32_rows_are_quantized() {
    check_silu(22, |x| (x, x));
}

#[test]
fn activated_bf16_rows_are_quantized() {
    check_silu(23, |x| {
        let x = bf16::from_f32(x);
        (x.to_bits(), x.to_f32())
    });
}

#[test]
fn what_does_not_fit_is_an_error() {
    let Some((device, stream)) = device() else { return };
    let format = Fp8Format::E4m3Fnuz;
    assert!(RmsNormFp8Quantize::new(&device, format, Scaling::Tensor, 4, None).is_err());
    let op = RmsNormFp8Quantize::new(&device, format, Scaling::Row, 4, None).unwrap();
    let mut out = device.buffer(8).unwrap();
    let (mut scales, mut x) = (device.buffer(2).unwrap(), device.buffer(8).unwrap());
    let weight = device.buffer(4).unwrap();
    let mut run = |scales: Scales<'_>, delta: Option<&_>, weight: &_| {
        op.run(&stream, &mut out, scales, (&mut x, delta), (weight, EPS))
    };
    assert!(run(Scales::Given(1.0), None, &weight).is_err());
    assert!(run(Scales::Made(&mut device.buffer(3).unwrap()), None, &weight).is_err());
    assert!(run(Scales::Made(&mut scales), Some(&device.buffer(4).unwrap()), &weight).is_err());
    assert!(run(Scales::Made(&mut scales), None, &device.buffer(5).unwrap()).is_err());

    let op = SiluMulFp8Quantize::new::<f32>(&device, format, Scaling::Static, 4, None).unwrap();
    let gate_up = device.buffer::<f32>(16).unwrap();
    assert!(op.run(&stream, &mut out, Scales::Made(&mut scales), &gate_up).is_err());
    assert!(op.run(&stream, &mut out, Scales::Given(0.0), &gate_up).is_err());
    let given = || Scales::Given(1.0);
    assert!(op.run(&stream, &mut out, given(), &device.buffer::<f32>(8).unwrap()).is_err());
    assert!(op.run(&stream, &mut out, given(), &device.buffer::<u16>(16).unwrap()).is_err());
}
