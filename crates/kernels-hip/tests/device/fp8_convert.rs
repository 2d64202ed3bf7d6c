//! `fp8_convert`: all codes of all formats, to the codes of the oracle, and the count of those that saturate.

use engine_core::formats::Fp8Format;
use kernels_hip::ops::Fp8Convert;
use reference_cpu::ops;

use crate::mutants::code_object;
use crate::{built, device};

#[test]
fn every_code_of_every_format_becomes_the_oracles() {
    let Some((device, stream)) = device() else { return };
    // All of them, and an odd tail.
    let codes: Vec<u8> = (0..=u8::MAX).chain(0..=u8::MAX).chain([0x7f, 0x80, 0xff]).collect();
    let variants = built("fp8_convert");
    for (from, variant) in variants.flat_map(|v| Fp8Format::ALL.map(|from| (from, v))) {
        let code = code_object(&device, variant);
        let op = Fp8Convert::from_code_object(&device, &code, from, variant).unwrap();
        let on_codes = device.buffer_from(&stream, &codes).unwrap();
        let mut out = device.buffer(codes.len()).unwrap();
        let mut num_saturated = device.buffer_from(&stream, &[1000]).unwrap();
        op.codes(&stream, &mut out, &mut num_saturated, &on_codes).unwrap();
        let want: Vec<_> = codes.iter().map(|&code| ops::fp8_convert(code, from)).collect();
        let want_codes: Vec<u8> = want.iter().map(|converted| converted.code).collect();
        assert_eq!(out.to_host(&stream).unwrap(), want_codes, "{from:?}, {variant}");
        let count = want.iter().filter(|converted| converted.is_saturated).count();
        assert_eq!(
            num_saturated.to_host(&stream).unwrap(),
            [1000 + count as u32],
            "{from:?}, {variant}"
        );
    }
}

#[test]
fn scales_are_doubled_or_halved() {
    let Some((device, stream)) = device() else { return };
    let scales: Vec<f32> = (0..300).map(|i| (i as f32 - 150.0).exp2() * 1.7).collect();
    for from in Fp8Format::ALL {
        let op = Fp8Convert::new(&device, from, None).unwrap();
        // Those that stay normal.
        let scales = &scales[30..270];
        let on_scales = device.buffer_from(&stream, scales).unwrap();
        let mut out = device.buffer(scales.len()).unwrap();
        op.scales(&stream, &mut out, &on_scales).unwrap();
        let factor = ops::fp8_convert_scale(from);
        let want: Vec<f32> = scales.iter().map(|scale| scale * factor).collect();
        assert_eq!(out.to_host(&stream).unwrap(), want, "{from:?}");
    }
}

#[test]
fn lengths_that_differ_are_an_error() {
    let Some((device, stream)) = device() else { return };
    let op = Fp8Convert::new(&device, Fp8Format::E4m3, None).unwrap();
    let codes = device.buffer(5).unwrap();
    let mut counter = device.buffer(1).unwrap();
    assert!(op.codes(&stream, &mut device.buffer(4).unwrap(), &mut counter, &codes).is_err());
    let mut counters = device.buffer(2).unwrap();
    assert!(op.codes(&stream, &mut device.buffer(5).unwrap(), &mut counters, &codes).is_err());
}
