//! `rms_norm` within the bound that every backend is held to; rows independent of each other.

use engine_core::dtype::DType;
use kernels_hip::Device;
use kernels_hip::ops::{NormRows, RmsNorm};
use reference_cpu::{bounds, ops};

use crate::mutants::code_object;
use crate::{Bits, device};

const EPS: f32 = 1e-5;

fn op(device: &Device, dtype: DType) -> RmsNorm {
    let code = code_object(device, "rms_norm_v1_naive");
    RmsNorm::from_code_object(device, &code, dtype).unwrap()
}

#[test]
fn rows_are_normalized_as_the_reference_has_it() {
    let Some((device, stream)) = device() else { return };
    let op = op(&device, DType::F32);
    let mut bits = Bits(2);
    for (num_rows, hidden_size) in [(1, 1), (3, 63), (2, 256), (5, 576), (1, 4097)] {
        let (x, weight) = (bits.units(num_rows * hidden_size), bits.units(hidden_size));
        let run = |x: &[f32]| {
            let on_x = device.buffer_from(&stream, x).unwrap();
            let on_weight = device.buffer_from(&stream, &weight).unwrap();
            let mut out = device.buffer::<f32>(x.len()).unwrap();
            out.fill_bytes(&stream, 0xff).unwrap();
            let rows = NormRows::First(x.len() / hidden_size);
            op.run(&stream, &mut out, &on_x, &on_weight, (EPS, hidden_size), rows).unwrap();
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

#[test]
fn listed_rows_are_those_rows_in_more_than_one_launch() {
    const NUM_ROWS: usize = 9;
    const WIDTH: usize = 70;
    let Some((device, stream)) = device() else { return };
    let mut bits = Bits(6);
    let x = device.buffer_from(&stream, &bits.units(NUM_ROWS * WIDTH)).unwrap();
    let weight = device.buffer_from(&stream, &bits.units(WIDTH)).unwrap();
    let listed: Vec<u32> = (0..600).map(|_| bits.next() % NUM_ROWS as u32).collect();
    let op = op(&device, DType::BF16);
    let run = |rows: NormRows<'_>, num_rows: usize| {
        let mut out = device.buffer::<u16>(num_rows * WIDTH).unwrap();
        out.fill_bytes(&stream, 0xff).unwrap();
        op.run(&stream, &mut out, &x, &weight, (EPS, WIDTH), rows).unwrap();
        out.to_host(&stream).unwrap()
    };
    let all = run(NormRows::First(NUM_ROWS), NUM_ROWS);
    let got = run(NormRows::Listed(&listed), listed.len());
    for (got, &row) in got.chunks(WIDTH).zip(&listed) {
        assert_eq!(got, &all[row as usize * WIDTH..][..WIDTH], "row {row}");
    }
    let mut out = device.buffer::<u16>(WIDTH).unwrap();
    let outside = NormRows::Listed(&[NUM_ROWS as u32]);
    assert!(op.run(&stream, &mut out, &x, &weight, (EPS, WIDTH), outside).is_err());
    let mut f32_out = device.buffer::<f32>(WIDTH).unwrap();
    let first = NormRows::First(1);
    assert!(op.run(&stream, &mut f32_out, &x, &weight, (EPS, WIDTH), first).is_err());
}
