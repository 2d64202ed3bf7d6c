//! `fp8_quantize`: the bytes of the oracle, for every kind of value and both formats.

use engine_core::formats::Fp8Format;
use half::bf16;
use kernels_hip::ops::{Fp8Quantize, Input};
use kernels_hip::{Device, Stream};
use reference_cpu::ops;

use crate::{Bits, device};

const FORMATS: [Fp8Format; 2] = [Fp8Format::E4m3Fnuz, Fp8Format::E5m2Fnuz];
const NUM_COLS: usize = 321;

/// Rows: one of any bits, one of a model's size, zeros, NaN alone, with an infinity, tiny.
fn rows() -> Vec<f32> {
    let mut bits = Bits(3);
    let mut rows: Vec<f32> = (0..NUM_COLS).map(|_| f32::from_bits(bits.next())).collect();
    rows.extend(bits.units(NUM_COLS).iter().map(|x| x * 8.0));
    rows.extend([0.0, -0.0].iter().cycle().take(NUM_COLS));
    rows.extend([f32::NAN; NUM_COLS]);
    rows.extend(bits.units(NUM_COLS));
    let with_infinity = rows.len() - 1;
    rows[with_infinity] = f32::NEG_INFINITY;
    rows.extend(bits.units(NUM_COLS).iter().map(|x| x * 1e-39));
    rows
}

fn check<T: Input>(device: &Device, stream: &Stream, x: &[T], meant: &[f32]) {
    let on_x = device.buffer_from(stream, x).unwrap();
    for format in FORMATS {
        let op = Fp8Quantize::new::<T>(device, format).unwrap();
        let mut out = device.buffer(x.len()).unwrap();
        let mut want = vec![0; x.len()];
        for scale in [1.0, 0.037, 1e30, 1e-30] {
            op.with_static_scale(stream, &mut out, &on_x, NUM_COLS, scale).unwrap();
            ops::fp8_quantize(meant, scale, format, &mut want);
            let got = out.to_host(stream).unwrap();
            let differing = (0..x.len()).find(|&i| got[i] != want[i]);
            assert!(
                differing.is_none(),
                "{format:?}, {scale}: {:?}",
                differing.map(|i| (meant[i], got[i], want[i]))
            );
        }
        let mut scales = device.buffer(x.len() / NUM_COLS).unwrap();
        op.with_row_scales(stream, &mut out, &mut scales, &on_x, NUM_COLS).unwrap();
        let (got, scales) = (out.to_host(stream).unwrap(), scales.to_host(stream).unwrap());
        for (row, meant) in meant.chunks(NUM_COLS).enumerate() {
            let scale = ops::fp8_row_scale(meant, format);
            assert_eq!(scales[row].to_bits(), scale.to_bits(), "{format:?}, row {row}");
            let mut want = vec![0; NUM_COLS];
            ops::fp8_quantize(meant, scale, format, &mut want);
            assert_eq!(got[row * NUM_COLS..][..NUM_COLS], want, "{format:?}, row {row}");
        }
    }
}

#[test]
fn f32_rows_have_the_oracles_bytes() {
    let Some((device, stream)) = device() else { return };
    let rows = rows();
    check::<f32>(&device, &stream, &rows, &rows);
}

#[test]
fn bf16_rows_have_the_oracles_bytes() {
    let Some((device, stream)) = device() else { return };
    let rows: Vec<bf16> = rows().into_iter().map(bf16::from_f32).collect();
    let bits: Vec<u16> = rows.iter().map(|x| x.to_bits()).collect();
    let meant: Vec<f32> = rows.iter().map(|x| x.to_f32()).collect();
    check::<u16>(&device, &stream, &bits, &meant);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let Some((device, stream)) = device() else { return };
    assert!(Fp8Quantize::new::<f32>(&device, Fp8Format::E4m3).is_err());
    let op = Fp8Quantize::new::<f32>(&device, Fp8Format::E4m3Fnuz).unwrap();
    let x = device.buffer_from(&stream, &[1.0_f32; 6]).unwrap();
    let mut out = device.buffer(6).unwrap();
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(op.with_static_scale(&stream, &mut out, &x, 3, scale).is_err(), "{scale}");
    }
    assert!(op.with_static_scale(&stream, &mut out, &x, 4, 1.0).is_err());
    let bf16 = device.buffer_from(&stream, &[1_u16; 6]).unwrap();
    assert!(op.with_static_scale(&stream, &mut out, &bf16, 3, 1.0).is_err());
    let mut scales = device.buffer(3).unwrap();
    assert!(op.with_row_scales(&stream, &mut out, &mut scales, &x, 3).is_err());
}
