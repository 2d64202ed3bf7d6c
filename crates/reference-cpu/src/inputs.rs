//! Numbers to feed ops with: seeded, and of three kinds.

use engine_core::dtype::DType;

/// A small generator of random numbers (SplitMix64): equal seeds give equal numbers everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next_u64()) * end as u128) >> 64) as usize
    }

    /// A number in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from N(0, 1), by Box and Muller's transform.
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        (radius * (core::f64::consts::TAU * self.uniform()).cos()) as f32
    }

    /// `items` in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// What the numbers of a case look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// N(0, 1).
    Normal,
    /// N(0, 1) with every 32nd or so number 100 times as large: rows with outliers, and, as
    /// queries and keys, logits so large that one token takes all of the softmax.
    Peaked,
    /// Powers of two over the format's useful range, both signs, zeros of both signs and, in
    /// f16, subnormal numbers.
    Extreme,
}

impl Inputs {
    /// `len` numbers that `dtype` represents.
    pub fn make(self, rng: &mut Rng, len: usize, dtype: DType) -> Vec<f32> {
        (0..len).map(|_| dtype.round(self.one(rng, dtype))).collect()
    }

    fn one(self, rng: &mut Rng, dtype: DType) -> f32 {
        match self {
            Inputs::Normal => rng.normal(),
            Inputs::Peaked if rng.below(32) == 0 => 100.0 * rng.normal(),
            Inputs::Peaked => rng.normal(),
            Inputs::Extreme => {
                let sign = if rng.below(2) == 0 { 1.0 } else { -1.0 };
                if rng.below(8) == 0 {
                    return 0.0 * sign;
                }
                // f16 goes down to 2^−24 and up to 2^16; the others are kept where sums of
                // squares are far from f32's ends.
                let (low, high) = match dtype {
                    DType::F16 => (-24.0, 10.0),
                    DType::F32 | DType::BF16 => (-40.0, 20.0),
                };
                sign * (low + (high - low) * rng.uniform()).exp2() as f32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut rng = Rng::new(7);
        let numbers: Vec<f64> = (0..20_000).map(|_| f64::from(rng.normal())).collect();
        let mean = numbers.iter().sum::<f64>() / 20_000.0;
        let variance = numbers.iter().map(|x| x * x).sum::<f64>() / 20_000.0;
        // The standard deviations of the two estimates are 0.007 and 0.01.
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
    }

    #[test]
    fn all_kinds_are_finite_and_representable() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for kind in [Inputs::Normal, Inputs::Peaked, Inputs::Extreme] {
                for x in kind.make(&mut Rng::new(3), 2000, dtype) {
                    assert!(x.is_finite() && dtype.round(x).to_bits() == x.to_bits());
                }
            }
        }
    }

    #[test]
    fn shuffling_permutes() {
        let mut items: Vec<usize> = (0..100).collect();
        Rng::new(1).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
