//! What the backend's conformance run does not reach: interleaved rotary embedding, conversion of views, the largest of a row.

use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use engine_core::ops::Cols;
use kernels_hip::ops::{Argmax, Convert, Rope, RopeConvert, RopeLayout, RopeShape};
use reference_cpu::{bounds, ops};

use crate::mutants::code_object;
use crate::{Bits, device};

#[test]
fn interleaved_pairs_turn_as_half_split_ones_in_another_order() {
    const HEAD_DIM: usize = 24;
    let Some((device, stream)) = device() else { return };
    let op = Rope::from_code_object(&device, &code_object(&device, "rope_v1_naive")).unwrap();
    let mut bits = Bits(9);
    for (num_rows, num_heads, rotary_dim) in [(1, 1, 2), (3, 5, 24), (2, 30, 16)] {
        let stride = 3 + num_heads * HEAD_DIM + 2;
        let x = bits.units(num_rows * stride);
        let angles = bits.units(num_rows * rotary_dim);
        let run = |x: &[f32], layout| {
            let mut on_x = device.buffer_from(&stream, x).unwrap();
            let on_angles = device.buffer_from(&stream, &angles).unwrap();
            let view = Cols { buffer: &mut on_x, first_col: 3, stride };
            let shape = RopeShape { num_rows, num_heads, head_dim: HEAD_DIM, rotary_dim, layout };
            op.run(&stream, view, &on_angles, shape).unwrap();
            on_x.to_host(&stream).unwrap()
        };
        // Elements of a head in the other layout's order.
        let place = |d: usize| match d < rotary_dim {
            true => d % 2 * (rotary_dim / 2) + d / 2,
            false => d,
        };
        let reorder = |x: &[f32]| {
            let mut out = x.to_vec();
            for (row, out) in out.chunks_mut(stride).enumerate() {
                for head in 0..num_heads {
                    for d in 0..HEAD_DIM {
                        let first = 3 + head * HEAD_DIM;
                        out[first + place(d)] = x[row * stride + first + d];
                    }
                }
            }
            out
        };
        let half_split = run(&reorder(&x), RopeLayout::HalfSplit);
        let interleaved = run(&x, RopeLayout::Interleaved);
        let as_bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(as_bits(&reorder(&interleaved)), as_bits(&half_split));
        let mut want = reorder(&x);
        let view = Cols { buffer: &mut want[..], first_col: 3, stride };
        ops::rope(view, &angles, num_rows, num_heads, HEAD_DIM, rotary_dim);
        for row in 0..num_rows {
            let heads = row * stride + 3..(row + 1) * stride - 2;
            let angles = &angles[row * rotary_dim..][..rotary_dim];
            let bound = bounds::rope(&reorder(&x)[heads.clone()], angles, HEAD_DIM);
            for (i, bound) in heads.zip(bound) {
                let error = (f64::from(half_split[i]) - f64::from(want[i])).abs();
                assert!(error <= bound, "{i}: {} not {}", half_split[i], want[i]);
            }
        }
    }
    let mut x = device.buffer_from(&stream, &[1.0_f32; 24]).unwrap();
    let angles = device.buffer_from(&stream, &[1.0_f32; 24]).unwrap();
    let shape = RopeShape {
        num_rows: 1,
        num_heads: 1,
        head_dim: HEAD_DIM,
        rotary_dim: 24,
        layout: RopeLayout::HalfSplit,
    };
    for shape in [
        RopeShape { rotary_dim: 3, ..shape },
        RopeShape { rotary_dim: 26, ..shape },
        RopeShape { num_heads: 2, ..shape },
        RopeShape { num_rows: 2, ..shape },
    ] {
        let view = Cols { buffer: &mut x, first_col: 0, stride: HEAD_DIM };
        assert!(op.run(&stream, view, &angles, shape).is_err(), "{shape:?}");
    }
}

#[test]
fn queries_turn_and_are_rounded_as_rope_and_convert_do() {
    let Some((device, stream)) = device() else { return };
    let code = code_object(&device, "rope_convert_v1_naive");
    let rope = Rope::new(&device).unwrap();
    let mut bits = Bits(12);
    for (num_rows, num_heads, head_dim, rotary_dim) in
        [(1, 1, 16, 2), (3, 5, 48, 32), (2, 3, 128, 128)]
    {
        let (first_col, width) = (3, num_heads * head_dim);
        let stride = first_col + width + 2;
        let x = bits.units(num_rows * stride);
        let angles = device.buffer_from(&stream, &bits.units(num_rows * rotary_dim)).unwrap();
        for (layout, dtype) in [
            (RopeLayout::HalfSplit, DType::BF16),
            (RopeLayout::Interleaved, DType::BF16),
            (RopeLayout::HalfSplit, DType::F16),
        ] {
            let shape = RopeShape { num_rows, num_heads, head_dim, rotary_dim, layout };
            let mut on_x = device.buffer_from(&stream, &x).unwrap();
            let mut got = device.buffer::<u16>(num_rows * width).unwrap();
            let op = RopeConvert::from_code_object(&device, &code, dtype).unwrap();
            let view = Cols { buffer: &on_x, first_col, stride };
            op.run(&stream, &mut got, &view, &angles, shape).unwrap();
            let short = &mut device.buffer::<u16>(num_rows * width - 1).unwrap();
            assert!(op.run(&stream, short, &view, &angles, shape).is_err());
            let odd = RopeShape { rotary_dim: rotary_dim + 1, ..shape };
            assert!(op.run(&stream, &mut got, &view, &angles, odd).is_err());

            rope.run(&stream, Cols { buffer: &mut on_x, first_col, stride }, &angles, shape)
                .unwrap();
            let mut want = device.buffer::<u16>(num_rows * width).unwrap();
            let view = Cols { buffer: &on_x, first_col, stride };
            let convert = Convert::new(&device, dtype).unwrap();
            convert.run(&stream, &mut want, &view, [num_rows, width]).unwrap();
            let [got, want] = [&got, &want].map(|buffer| buffer.to_host(&stream).unwrap());
            assert!(got == want, "{shape:?}, {dtype}");
        }
    }
}

#[test]
fn columns_are_rounded_to_nearest_even() {
    let Some((device, stream)) = device() else { return };
    let mut bits = Bits(10);
    let (num_rows, first_col, width, stride) = (5, 7, 300, 311);
    // Any bits: subnormal, infinite and NaN too, and halves between two numbers of either format.
    let mut x: Vec<f32> = (0..num_rows * stride).map(|_| f32::from_bits(bits.next())).collect();
    x.iter_mut().step_by(3).for_each(|x| *x = f32::from_bits(x.to_bits() & 0xffff_8000));
    x.iter_mut().skip(1).step_by(3).for_each(|x| *x = (*x).clamp(-3.0, 3.0) * 0.001);
    let on_x = device.buffer_from(&stream, &x).unwrap();
    for dtype in [DType::BF16, DType::F16] {
        let mut out = device.buffer::<u16>(num_rows * width).unwrap();
        let view = Cols { buffer: &on_x, first_col, stride };
        let code = code_object(&device, "convert_v1_naive");
        let op = Convert::from_code_object(&device, &code, dtype).unwrap();
        op.run(&stream, &mut out, &view, [num_rows, width]).unwrap();
        for (i, got) in out.to_host(&stream).unwrap().into_iter().enumerate() {
            let x = x[i / width * stride + first_col + i % width];
            let want = dtype.round(x);
            let got = KvDType::Float(dtype).from_code(got.into());
            assert!(
                got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
                "{x}: {got} not {want}"
            );
        }
    }
    assert!(Convert::new(&device, DType::F32).is_err());
}

#[test]
fn the_first_of_the_largest_is_found_and_nan_never_wins() {
    const WIDTH: usize = 1000;
    let Some((device, stream)) = device() else { return };
    let mut bits = Bits(11);
    let mut rows: Vec<(Vec<f32>, u32)> = Vec::new();
    for at in [0, 1, 63, 64, 255, 256, 700, 999] {
        // All of the later ones are as large, and half of the others NaN.
        let mut row: Vec<f32> = bits.units(WIDTH).iter().map(|x| x - 2.0).collect();
        row.iter_mut().step_by(2).for_each(|x| *x = f32::NAN);
        row[at..].fill(0.25);
        rows.push((row, at as u32));
    }
    for at in [0, 65, 700] {
        let mut row = vec![f32::NAN; WIDTH];
        row[at] = -3.0;
        rows.push((row, at as u32));
    }
    rows.push((vec![f32::NAN; WIDTH], Argmax::NONE));
    rows.push((vec![f32::NEG_INFINITY; WIDTH], Argmax::NONE));
    let mut infinite = vec![0.0; WIDTH];
    infinite[5] = f32::INFINITY;
    rows.push((infinite, Argmax::NONE));
    let x: Vec<f32> = rows.iter().flat_map(|(row, _)| row.iter().copied()).collect();
    let on_x = device.buffer_from(&stream, &x).unwrap();
    let mut out = device.buffer(rows.len()).unwrap();
    let op = Argmax::from_code_object(&device, &code_object(&device, "argmax_v1_naive")).unwrap();
    op.run(&stream, &mut out, &on_x, [rows.len(), WIDTH]).unwrap();
    let want: Vec<u32> = rows.iter().map(|(_, at)| *at).collect();
    assert_eq!(out.to_host(&stream).unwrap(), want);
}
