//! `gemm`: each variant within the bound of every backend; those of one class bit-equal to each other; rows independent of
//! their company.

use engine_core::dtype::DType;
use kernels_hip::ops::{Gemm, Product};
use kernels_hip::variant::Choices;
use kernels_hip::{Device, Stream};
use reference_cpu::{bounds, ops};

use crate::mutants::code_object;
use crate::{Bits, device};

const NAIVE: &str = "gemm_v1_naive";
const LDS: &str = "gemm_v2_mfma_lds";
const SKINNY: &str = "gemm_v3_mfma_skinny";
const PING_PONG: &str = "gemm_v4_ping_pong";

/// Rows, columns out, columns in.
type Sizes = [usize; 3];

/// A product's numbers: those of x and of the weight are numbers of `dtype`.
struct Numbers {
    dtype: DType,
    sizes: Sizes,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    before: Option<Vec<f32>>,
}

impl Numbers {
    fn new(dtype: DType, sizes: Sizes, has_bias: bool, adds: bool) -> Self {
        let [num_rows, out_features, in_features] = sizes;
        let mut bits = Bits((num_rows + out_features * in_features) as u64);
        let mut rounded = |len| -> Vec<f32> {
            bits.units(len).into_iter().map(|x| dtype.round(3.0 * x)).collect()
        };
        let (x, weight) = (rounded(num_rows * in_features), rounded(out_features * in_features));
        let bias = has_bias.then(|| rounded(out_features));
        let before = adds.then(|| rounded(num_rows * out_features));
        Numbers { dtype, sizes, x, weight, bias, before }
    }

    /// What `variant` makes of rows `first..first + num_rows`.
    fn product(
        &self,
        (device, stream): (&Device, &Stream),
        variant: &str,
        (first, num_rows): (usize, usize),
    ) -> kernels_hip::Result<Vec<f32>> {
        let [_, out_features, in_features] = self.sizes;
        let codes = |values: &[f32]| -> Vec<u16> {
            let dtype = engine_core::kv_dtype::KvDType::Float(self.dtype);
            values.iter().map(|&x| dtype.to_code(x) as u16).collect()
        };
        let rows =
            |values: &[f32], width: usize| values[first * width..][..num_rows * width].to_vec();
        let x = device.buffer_from(stream, &codes(&rows(&self.x, in_features)))?;
        let weight = device.buffer_from(stream, &codes(&self.weight))?;
        let bias = self.bias.as_ref().map(|bias| device.buffer_from(stream, bias)).transpose()?;
        let mut out = device.buffer(num_rows * out_features)?;
        out.fill_bytes(stream, 0xff)?;
        if let Some(before) = &self.before {
            out.copy_from_host(stream, &rows(before, out_features))?;
        }
        let choices = Choices::new(&[format!("gemm={variant}")], Box::new(|_| ()))?;
        let product = Product {
            x: &x,
            weight: &weight,
            bias: bias.as_ref(),
            num_rows,
            out_features,
            in_features,
            add_to: self.before.is_some(),
        };
        let code = code_object(device, variant);
        let op = Gemm::from_code_object(device, variant, &code, self.dtype)?;
        op.run(stream, &choices, &mut out, &product)?;
        out.to_host(stream)
    }

    fn check(&self, got: &[f32], variant: &str) {
        let in_features = self.sizes[2];
        let mut want = vec![0.0; got.len()];
        ops::linear(&self.x, &self.weight, self.bias.as_deref(), in_features, &mut want);
        if let Some(before) = &self.before {
            want.iter_mut().zip(before).for_each(|(want, before)| *want += before);
        }
        let bound = bounds::linear(
            &self.x,
            &self.weight,
            self.bias.as_deref(),
            self.before.as_deref(),
            in_features,
        );
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let error = (f64::from(*got) - f64::from(*want)).abs();
            let sizes = self.sizes;
            assert!(
                error <= bound[i],
                "{variant} {sizes:?} {i}: {got} not {want}, off by {error:e}"
            );
        }
    }
}

fn bits_of(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Both sides of tiles, of segments and of steps of k; the last with more than one tile of everything.
const SIZES: [Sizes; 10] = [
    [1, 1, 8],
    [2, 17, 64],
    [16, 16, 72],
    [17, 63, 256],
    [31, 65, 264],
    [33, 4, 576],
    [65, 70, 320],
    [130, 66, 1032],
    // Enough for large tiles, with an empty segment, and with two.
    [130, 257, 328],
    [257, 140, 72],
];

#[test]
fn every_variant_multiplies_within_the_bound_and_a_class_has_equal_bits() {
    let Some((device, stream)) = device() else { return };
    let on = (&device, &stream);
    let mut num_large = 0;
    for (i, sizes) in SIZES.into_iter().enumerate() {
        let dtype = [DType::BF16, DType::F16][i % 2];
        let numbers = Numbers::new(dtype, sizes, i % 3 != 0, i % 4 > 1);
        let num_rows = sizes[0];
        let of = |variant: &str, first, num_rows| {
            numbers
                .product(on, variant, (first, num_rows))
                .unwrap_or_else(|error| panic!("{error}"))
        };
        numbers.check(&of(NAIVE, 0, num_rows), NAIVE);
        let all = of(LDS, 0, num_rows);
        numbers.check(&all, LDS);
        match numbers.product(on, PING_PONG, (0, num_rows)) {
            Ok(large) => {
                num_large += 1;
                assert_eq!(bits_of(&large), bits_of(&all), "{PING_PONG} {sizes:?}");
            }
            Err(error) => assert!(error.to_string().contains("tiles of 128"), "{error}"),
        }
        // In parts of any size, the last row alone among them, by either.
        let width = sizes[1];
        for variant in [LDS, SKINNY] {
            for (first, len) in [
                (0, num_rows.min(32)),
                (num_rows / 2, (num_rows / 2).clamp(1, 17)),
                (num_rows - 1, 1),
            ] {
                let part = of(variant, first, len);
                let want = &all[first * width..][..len * width];
                assert_eq!(
                    bits_of(&part),
                    bits_of(want),
                    "{variant} {sizes:?}: {len} rows from {first}"
                );
            }
        }
    }
    assert_eq!(num_large, 2, "{PING_PONG}");
}

#[test]
fn rows_that_do_not_start_on_16_bytes_are_the_naive_ones() {
    let Some((device, stream)) = device() else { return };
    let on = (&device, &stream);
    for (in_features, add) in [(1, true), (17, false), (577, true)] {
        let numbers = Numbers::new(DType::BF16, [3, 5, in_features], true, add);
        numbers.check(&numbers.product(on, NAIVE, (0, 3)).unwrap(), NAIVE);
        for variant in [LDS, SKINNY] {
            let error = numbers.product(on, variant, (0, 3)).unwrap_err().to_string();
            assert!(error.contains("multiple of 8"), "{error}");
        }
    }
    let numbers = Numbers::new(DType::F16, [33, 5, 16], false, false);
    let error = numbers.product(on, SKINNY, (0, 33)).unwrap_err().to_string();
    assert!(error.contains("32 rows"), "{error}");
}
