//! `fp8_quantize`: the bytes of the oracle, from every variant, for every kind of value, row length and scale.

use engine_core::formats::Fp8Format;
use half::bf16;
use kernels_hip::ops::{Fp8Quantize, Input, SCALE_GROUP, Scales, Scaling};
use kernels_hip::{Device, Error, Stream};
use reference_cpu::ops;

use crate::mutants::code_object;
use crate::{Bits, built, device};

const FORMATS: [Fp8Format; 2] = [Fp8Format::E4m3Fnuz, Fp8Format::E5m2Fnuz];
const SCALINGS: [Scaling; 4] = [Scaling::Static, Scaling::Row, Scaling::Group, Scaling::Tensor];

/// Columns: one, less than a vector, odd ones that no row but the first begins at a vector of, and those of models.
const NUM_COLS: [usize; 7] = [1, 3, 111, 321, 500, 3584, 16384];

/// Rows of a model's size, then: of any bits, zeros, NaN alone, with an infinity, tiny.
fn rows(num_cols: usize, is_odd: bool) -> Vec<f32> {
    let mut bits = Bits(3);
    let mut rows: Vec<f32> = bits.units(2 * num_cols).iter().map(|x| x * 8.0).collect();
    if is_odd {
        rows.extend((0..num_cols).map(|_| f32::from_bits(bits.next())));
        rows.extend([0.0, -0.0].iter().cycle().take(num_cols));
        rows.extend(vec![f32::NAN; num_cols]);
        rows.extend(bits.units(num_cols));
        *rows.last_mut().unwrap() = f32::NEG_INFINITY;
        rows.extend(bits.units(num_cols).iter().map(|x| x * 1e-39));
    }
    rows
}

/// The oracle's codes and scales.
fn want(
    meant: &[f32],
    num_cols: usize,
    (scaling, given): (Scaling, f32),
    format: Fp8Format,
) -> (Vec<u8>, Vec<f32>) {
    let mut codes = vec![0; meant.len()];
    let mut scales = Vec::new();
    let (row_len, len) = match scaling {
        Scaling::Tensor | Scaling::Static => (meant.len(), meant.len()),
        Scaling::Row => (num_cols, num_cols),
        Scaling::Group => (num_cols, SCALE_GROUP),
    };
    for (row, codes) in meant.chunks(row_len).zip(codes.chunks_mut(row_len)) {
        for (part, codes) in row.chunks(len).zip(codes.chunks_mut(len)) {
            let scale = if scaling == Scaling::Static {
                given
            } else {
                scales.push(ops::fp8_row_scale(part, format));
                scales[scales.len() - 1]
            };
            ops::fp8_quantize(part, scale, format, codes);
        }
    }
    (codes, scales)
}

/// Compares every variant that serves the shape with the oracle; how many that were.
fn check<T: Input>(
    (device, stream): (&Device, &Stream),
    x: &[T],
    meant: &[f32],
    num_cols: usize,
    (scaling, given): (Scaling, f32),
    format: Fp8Format,
) -> usize {
    let on_x = device.buffer_from(stream, x).unwrap();
    let shape = [x.len() / num_cols, num_cols];
    let (want_codes, want_scales) = want(meant, num_cols, (scaling, given), format);
    let mut num_variants = 0;
    for variant in built("fp8_quantize") {
        let code = code_object(device, variant);
        let new = Fp8Quantize::from_code_object::<T>;
        let op = match new(device, &code, format, scaling, shape, variant) {
            Err(Error::Pin { .. }) => continue,
            op => op.unwrap(),
        };
        num_variants += 1;
        let context = format!("{variant}, {}, {format:?}, {scaling:?}, {num_cols}", T::NAME);
        let mut out = device.buffer(x.len()).unwrap();
        let mut scales = device.buffer(scaling.num_scales(shape[0], num_cols)).unwrap();
        out.fill_bytes(stream, 0x55).unwrap();
        scales.fill_bytes(stream, 0xff).unwrap();
        let with = match scaling {
            Scaling::Static => Scales::Given(given),
            _ => Scales::Made(&mut scales),
        };
        op.run(stream, &mut out, with, &on_x).unwrap();
        let (got, scales) = (out.to_host(stream).unwrap(), scales.to_host(stream).unwrap());
        let bits = |scales: &[f32]| scales.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&scales), bits(&want_scales), "{context}");
        let differing = (0..x.len()).find(|&i| got[i] != want_codes[i]);
        let numbers = differing.map(|i| (i, meant[i], got[i], want_codes[i]));
        assert_eq!(numbers, None, "{context}");
    }
    num_variants
}

/// Every scaling of rows in both formats; how often each number of variants served them.
fn check_all<T: Input>(on: (&Device, &Stream), narrow: impl Fn(f32) -> (T, f32)) {
    for num_cols in NUM_COLS {
        let (x, meant): (Vec<T>, Vec<f32>) =
            rows(num_cols, num_cols < 1000).into_iter().map(&narrow).unzip();
        for format in FORMATS {
            for scaling in SCALINGS {
                let given: &[f32] = match scaling {
                    Scaling::Static if num_cols == 321 => &[1.0, 0.037, 1e30, 1e-30],
                    _ => &[0.037],
                };
                for &given in given {
                    let num = check(on, &x, &meant, num_cols, (scaling, given), format);
                    // In groups of rows that are no vectors v2 refuses; v3 has tensor scales alone.
                    let is_alone =
                        scaling == Scaling::Group && !num_cols.is_multiple_of(16 / size_of::<T>());
                    assert_eq!(num, if is_alone { 1 } else { 2 }, "{scaling:?}, {num_cols}");
                }
            }
        }
    }
}

#[test]
fn f32_rows_have_the_oracles_bytes() {
    let Some((device, stream)) = device() else { return };
    check_all((&device, &stream), |x| (x, x));
}

#[test]
fn bf16_rows_have_the_oracles_bytes() {
    let Some((device, stream)) = device() else { return };
    check_all((&device, &stream), |x| {
        let x = bf16::from_f32(x);
        (x.to_bits(), x.to_f32())
    });
}

/// Numbers around every tie of both formats, times scales: the quotient must be the tie again, which a product with a
/// rounded reciprocal is not.
#[test]
fn ties_go_to_the_even_code() {
    let Some((device, stream)) = device() else { return };
    let mut ties = Vec::new();
    for exponent in 105..143_u32 {
        for sixteenth in 0..32 {
            let tie = exponent << 23 | sixteenth << 18;
            ties.extend([tie, tie + 1, tie.wrapping_sub(1)].map(f32::from_bits));
        }
    }
    for format in FORMATS {
        for scale in [1.0, 3.0, 7.0, 11.0, 13.0] {
            let x: Vec<f32> = ties.iter().map(|tie| tie * scale).collect();
            let num = check((&device, &stream), &x, &x, x.len(), (Scaling::Static, scale), format);
            assert_eq!(num, 2);
        }
    }
}

/// As many elements as one work-group has the registers for, and one less.
#[test]
fn a_full_work_group_has_the_oracles_bytes() {
    let Some((device, stream)) = device() else { return };
    for num_cols in [4096, 4095] {
        let x: Vec<f32> = Bits(7).units(10 * num_cols);
        // The largest is the last.
        let x: Vec<f32> = x.iter().enumerate().map(|(i, x)| x * i as f32).collect();
        for format in FORMATS {
            let on = (&device, &stream);
            assert_eq!(check(on, &x, &x, num_cols, (Scaling::Tensor, 1.0), format), 2);
        }
    }
}

#[test]
fn the_best_that_serves_a_shape_is_taken() {
    let Some((device, _)) = device() else { return };
    let variant = |scaling, shape| {
        Fp8Quantize::new::<u16>(&device, Fp8Format::E4m3Fnuz, scaling, shape, None)
            .unwrap()
            .variant()
    };
    assert_eq!(variant(Scaling::Row, [64, 3584]), "fp8_quantize_v2_registers");
    assert_eq!(variant(Scaling::Row, [64, 16_385]), "fp8_quantize_v1_naive");
    assert_eq!(variant(Scaling::Group, [64, 111]), "fp8_quantize_v1_naive");
    assert_eq!(variant(Scaling::Tensor, [10, 4096]), "fp8_quantize_v3_one_launch");
    assert_eq!(variant(Scaling::Tensor, [11, 4096]), "fp8_quantize_v1_naive");
}

#[test]
fn what_does_not_fit_is_an_error() {
    let Some((device, stream)) = device() else { return };
    let new = |format, scaling| Fp8Quantize::new::<f32>(&device, format, scaling, [2, 3], None);
    assert!(new(Fp8Format::E4m3, Scaling::Row).is_err());
    let op = new(Fp8Format::E4m3Fnuz, Scaling::Static).unwrap();
    let x = device.buffer_from(&stream, &[1.0_f32; 6]).unwrap();
    let mut out = device.buffer(6).unwrap();
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(op.run(&stream, &mut out, Scales::Given(scale), &x).is_err(), "{scale}");
    }
    let mut scales = device.buffer(3).unwrap();
    assert!(op.run(&stream, &mut out, Scales::Made(&mut scales), &x).is_err());
    let bf16 = device.buffer_from(&stream, &[1_u16; 6]).unwrap();
    assert!(op.run(&stream, &mut out, Scales::Given(1.0), &bf16).is_err());
    let op = new(Fp8Format::E4m3Fnuz, Scaling::Row).unwrap();
    assert!(op.run(&stream, &mut out, Scales::Given(1.0), &x).is_err());
    assert!(op.run(&stream, &mut out, Scales::Made(&mut scales), &x).is_err());
    for (len, reason) in [(5, "whole rows"), (9, "at most")] {
        let x = device.buffer_from(&stream, &vec![1.0_f32; len]).unwrap();
        let mut out = device.buffer(len).unwrap();
        let error = op.run(&stream, &mut out, Scales::Made(&mut scales), &x).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}
