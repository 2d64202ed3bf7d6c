//! `rms_norm` within the bound that every backend is held to; rows independent of each other.

use kernels_hip::ops::RmsNorm;
use reference_cpu::{bounds, ops};

use crate::{Bits, device};

const EPS: f32 = 1e-5;

#[test]
fn rows_are_normalized_as_the_reference_has_it() {
    let Some((device, stream)) = device() else { return };
    let op = RmsNorm::new(&device).unwrap();
    let mut bits = Bits(2);
    for (num_rows, hidden_size) in [(1, 1), (3, 63), (2, 256), (5, 576), (1, 4097)] {
        let (x, weight) = (bits.units(num_rows * hidden_size), bits.units(hidden_size));
        let run = |x: &[f32]| {
            let on_x = device.buffer_from(&stream, x).unwrap();
            let on_weight = device.buffer_from(&stream, &weight).unwrap();
            let mut out = device.buffer(x.len()).unwrap();
            out.fill_bytes(&stream, 0xff).unwrap();
            op.run(&stream, &mut out, &on_x, &on_weight, EPS).unwrap();
            out.to_host(&stream).unwrap()
        };
        let got = run(&x);
        let mut want = vec![0.0; x.len()];
        ops::rms_norm(&x, &weight, EPS, None, &mut want);
        let bound = bounds::rms_norm(&want, &weight);
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let error = (f64::from(*got) - f64::from(*want)).abs();
            assert!(error <= bound[i], "{hidden_size}: {i}: {got} not {want}: off by {error:e}");
        }
        // A row alone has the bits that it has among others.
        let last = x.len() - hidden_size;
        let alone = run(&x[last..]);
        assert!(alone.iter().zip(&got[last..]).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
