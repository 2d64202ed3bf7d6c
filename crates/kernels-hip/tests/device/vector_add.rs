//! `vector_add`: equal bits, odd lengths and odd values.

use kernels_hip::ops::VectorAdd;

use crate::{Bits, device};

#[test]
fn sums_have_the_bits_of_f32_addition() {
    let Some((device, stream)) = device() else { return };
    let add = VectorAdd::new(&device).unwrap();
    let mut bits = Bits(1);
    for len in [0, 1, 63, 64, 255, 256, 257, 10_000] {
        // Any bits but NaN, whose payload no arithmetic promises: subnormals and infinities too.
        let mut floats = || -> Vec<f32> {
            let any = (0..len).map(|_| f32::from_bits(bits.next()));
            any.map(|x| if x.is_nan() { 0.0 } else { x }).collect()
        };
        let (a, b) = (floats(), floats());
        let mut out = device.buffer(len).unwrap();
        out.fill_bytes(&stream, 0xff).unwrap();
        let (on_a, on_b) =
            (device.buffer_from(&stream, &a).unwrap(), device.buffer_from(&stream, &b).unwrap());
        add.run(&stream, &mut out, &on_a, &on_b).unwrap();
        for (i, got) in out.to_host(&stream).unwrap().into_iter().enumerate() {
            let want = a[i] + b[i];
            assert!(
                got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
                "{len}: {i}: {} + {} = {got}, not {want}",
                a[i],
                b[i]
            );
        }
    }
}

#[test]
fn lengths_that_differ_are_an_error() {
    let Some((device, stream)) = device() else { return };
    let add = VectorAdd::new(&device).unwrap();
    let (a, b) = (device.buffer(4).unwrap(), device.buffer(5).unwrap());
    let error = add.run(&stream, &mut device.buffer(4).unwrap(), &a, &b).unwrap_err().to_string();
    assert!(error.contains("b: 5 elements, where 4 are needed"), "{error}");
}
