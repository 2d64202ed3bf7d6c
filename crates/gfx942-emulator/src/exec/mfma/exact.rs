//! Bit-exact accumulation: what CDNA3's matrix cores were measured to compute.
//!
//! Source of the model: P. Xie et al., "MMA-Sim", arXiv 2511.10909 (equal to hardware in more than a million tests).
//! It covers the dense instructions; f32 and f64 are plain chains of FMAs, so only narrower inputs come here.
//!
//! A group of products is summed in fixed point: all are aligned to the largest exponent among them and cut off 24
//! bits below it. That sum and C are then aligned to the larger of their two exponents, rounding towards −∞, added,
//! and rounded to f32 to nearest even. The next group starts from that. A zero counts with exponent −126, so it
//! can be what the others are aligned to.

use super::instruction::{Element, Shape};
use super::operands::Panel;
use crate::exec::Lanes;
use crate::numeric::Fp8;

/// Bits below the largest exponent that take part.
const FRACTION: u32 = 24;

/// The fraction of an element's significand: no type has more.
const ELEMENT_FRACTION: i32 = 10;

/// The exponent that a zero counts with.
const ZERO_EXPONENT: i32 = -126;

/// A number as the adder sees it.
#[derive(Clone, Copy, Default)]
struct Parts {
    /// Times 2 to the exponent, and by how many fraction bits there are.
    significand: i64,
    exponent: i32,
}

impl Parts {
    /// Takes a finite `value` apart; below 2 to the `min_exponent`, the significand has no leading one.
    fn of(value: f32, min_exponent: i32, fraction: i32) -> Self {
        if value == 0.0 {
            return Self { significand: 0, exponent: ZERO_EXPONENT };
        }
        let field = (value.to_bits() >> 23 & 0xff) as i32;
        let exponent = (field - 127).max(min_exponent);
        // Exact: the type's own precision is not more.
        let significand = f64::from(value) * power_of_two(fraction - exponent);
        Self { significand: significand as i64, exponent }
    }
}

/// 2 to the `exponent`, which must be a normal f64.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// How the products of one instruction are summed.
#[derive(Clone, Copy)]
struct Model {
    /// Products per group.
    group: usize,
    min_exponents: [i32; 2],
    /// Products with an even and with an odd k have separate sums.
    split: bool,
}

impl Model {
    fn of(shape: Shape, elements: [Element; 2]) -> Self {
        let (group, split) = match elements[0] {
            Element::Xf32 => (4, false),
            Element::Fp8(_) => (16, true),
            _ => (shape.depth.min(8), false),
        };
        let min_exponents = elements.map(|element| match element {
            Element::F16 => -14,
            Element::Fp8(Fp8::Fp8) => -7,
            Element::Fp8(Fp8::Bf8) => -15,
            _ => -126,
        });
        Self { group, min_exponents, split }
    }
}

/// D += A × B.
pub(super) fn accumulate(
    shape: Shape,
    elements: [Element; 2],
    a: &Panel,
    b: &Panel,
    d: &mut [Lanes],
) {
    let model = Model::of(shape, elements);
    for tile in shape.tiles() {
        for (r, column) in (0..4).flat_map(|r| (0..shape.side).map(move |column| (r, column))) {
            let d = &mut d[tile.register + r][tile.lane + column];
            let row = tile.block * shape.side + tile.row + r;
            let column = tile.block * shape.side + column;
            let mut sum = f32::from_bits(*d);
            for first in (0..a.depth()).step_by(model.group) {
                let mut pairs = [(0.0, 0.0); 16];
                let pairs = &mut pairs[..model.group];
                for (pair, k) in pairs.iter_mut().zip(first..) {
                    *pair = (a.at(k)[row], b.at(k)[column]);
                }
                sum = add_group(pairs, sum, model);
            }
            *d = if sum.is_nan() { super::NAN } else { sum.to_bits() };
        }
    }
}

/// C plus the products of one group.
fn add_group(pairs: &[(f32, f32)], c: f32, model: Model) -> f32 {
    if let Some(special) = special(pairs, c) {
        return special;
    }
    let mut products = [Parts::default(); 16];
    for (product, &(a, b)) in products.iter_mut().zip(pairs) {
        let a = Parts::of(a, model.min_exponents[0], ELEMENT_FRACTION);
        let b = Parts::of(b, model.min_exponents[1], ELEMENT_FRACTION);
        *product =
            Parts { significand: a.significand * b.significand, exponent: a.exponent + b.exponent };
    }
    let products = &products[..pairs.len()];
    let c = Parts::of(c, -126, FRACTION as i32);
    let (products, c_vanishes_below) = if model.split {
        let even = fixed_point_sum(products.iter().step_by(2));
        let odd = fixed_point_sum(products.iter().skip(1).step_by(2));
        let exponent = even.exponent.max(odd.exponent);
        let significand = floor(even, exponent) + floor(odd, exponent);
        (Parts { significand, exponent }, 25)
    } else {
        (fixed_point_sum(products.iter()), i32::MAX)
    };
    // The products' sum keeps seven more bits than C.
    let exponent = products.exponent.max(c.exponent);
    let products = floor(Parts { significand: products.significand << 7, ..products }, exponent);
    let c = if exponent - c.exponent > c_vanishes_below { 0 } else { floor(c, exponent) };
    let sum = (products + (c << 7)) as f64; // Exact: fewer than 53 bits.
    (sum * power_of_two(exponent - FRACTION as i32 - 7)) as f32
}

/// The sum of products, each aligned to the largest exponent and truncated to [`FRACTION`] bits.
fn fixed_point_sum<'a>(products: impl Iterator<Item = &'a Parts> + Clone) -> Parts {
    let exponent = products.clone().map(|product| product.exponent).max().unwrap_or(ZERO_EXPONENT);
    let aligned = products.map(|product| {
        let magnitude = product.significand.abs() << (FRACTION as i32 - 2 * ELEMENT_FRACTION);
        (magnitude >> shift(*product, exponent)) * product.significand.signum()
    });
    Parts { significand: aligned.sum(), exponent }
}

/// The significand aligned to `exponent`, rounded towards −∞.
fn floor(parts: Parts, exponent: i32) -> i64 {
    parts.significand >> shift(parts, exponent)
}

fn shift(parts: Parts, exponent: i32) -> i32 {
    (exponent - parts.exponent).min(63)
}

/// The result where an infinity or a NaN takes part, or a product does not fit an f32.
fn special(pairs: &[(f32, f32)], c: f32) -> Option<f32> {
    let products = || pairs.iter().map(|&(a, b)| f64::from(a) * f64::from(b));
    let sum = products().sum::<f64>() + f64::from(c);
    if !sum.is_finite() {
        return Some(sum as f32);
    }
    let limit = power_of_two(128);
    let up = products().any(|product| product >= limit);
    let down = products().any(|product| product <= -limit);
    match (up, down) {
        (true, true) => Some(f32::NAN),
        (true, false) => Some(f32::INFINITY),
        (false, true) => Some(f32::NEG_INFINITY),
        (false, false) => None,
    }
}
