//! min_p, top_k and top_p over one row of weights, without sorting the vocabulary.
//!
//! A weight is the token's probability over the likeliest one's, so in [0, 1]; 0 is out. Sums are
//! of integers, weights in units of 2⁻⁴⁰: exact in any order, so what is kept depends on the
//! weights alone. Weights below one unit (less than 1e-12 of the likeliest) are out from the start.

use alloc::vec;
use alloc::vec::Vec;

/// One unit of `to_units`.
pub(super) const UNIT: f32 = 1.0 / UNITS_PER_ONE;
const UNITS_PER_ONE: f32 = (1u64 << 40) as f32;

/// Weights fall into bins by their exponent and five bits more, largest first.
const BIN_SHIFT: u32 = 18;
const NUM_BINS: usize = bin(UNIT.to_bits()) + 1;

/// A weight as an integer; truncated, at most 2⁴⁰.
#[inline(always)]
fn to_units(weight: f32) -> u64 {
    (weight * UNITS_PER_ONE) as i64 as u64
}

const fn bin(weight_bits: u32) -> usize {
    ((1.0f32.to_bits() - weight_bits) >> BIN_SHIFT) as usize
}

/// Memory of the filters, reused from row to row.
#[derive(Clone, Debug)]
pub(super) struct FilterScratch {
    /// What each bin measures.
    bins: Vec<u64>,
    /// Bits and index of the weights of one bin.
    members: Vec<(u32, u32)>,
}

impl Default for FilterScratch {
    fn default() -> Self {
        FilterScratch { bins: vec![0; NUM_BINS], members: Vec::new() }
    }
}

/// Puts out weights below `min_p`. The largest is 1, so it stays.
pub(super) fn min_p(weights: &mut [f32], min_p: f32) {
    keep_from(weights, min_p);
}

/// Puts out weights below the `top_k`-th largest; equals of that one stay, as in vLLM.
pub(super) fn top_k(weights: &mut [f32], top_k: usize, scratch: &mut FilterScratch) {
    if let Some((bits, _)) = last_taken(weights, |_| 1, |_| top_k as u64, scratch) {
        keep_from(weights, f32::from_bits(bits));
    }
}

/// Keeps the fewest largest weights whose sum reaches `top_p` of all; of equals, those with the
/// lower index first.
pub(super) fn top_p(weights: &mut [f32], top_p: f32, scratch: &mut FilterScratch) {
    let limit = |total: u64| (libm::ceil(f64::from(top_p) * total as f64) as u64).min(total);
    let Some(last) = last_taken(weights, to_units, limit, scratch) else {
        return;
    };
    for (idx, weight) in weights.iter_mut().enumerate() {
        let bits = weight.to_bits();
        if bits < last.0 || (bits == last.0 && idx as u32 > last.1) {
            *weight = 0.0;
        }
    }
}

fn keep_from(weights: &mut [f32], threshold: f32) {
    for weight in weights {
        *weight = if *weight >= threshold { *weight } else { 0.0 };
    }
}

/// Takes the weights from the largest down (of equals, the lower index first) until what was taken
/// measures at least `limit` of what all measure; answers bits and index of the last one taken.
/// `None` when all are taken and that is not reached.
fn last_taken(
    weights: &[f32],
    measure: impl Fn(f32) -> u64,
    limit: impl Fn(u64) -> u64,
    scratch: &mut FilterScratch,
) -> Option<(u32, u32)> {
    let FilterScratch { bins, members } = scratch;
    bins.fill(0);
    for &weight in weights.iter().filter(|&&weight| weight > 0.0) {
        bins[bin(weight.to_bits())] += measure(weight);
    }
    let limit = limit(bins.iter().sum());
    let mut taken = 0;
    let last_bin = bins.iter().position(|&in_bin| {
        taken += in_bin;
        taken >= limit
    })?;
    taken -= bins[last_bin];

    members.clear();
    // All at once, not as rows happen to need it.
    members.reserve(weights.len());
    for (idx, &weight) in weights.iter().enumerate() {
        if weight > 0.0 && bin(weight.to_bits()) == last_bin {
            members.push((weight.to_bits(), idx as u32));
        }
    }
    members.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    members.iter().copied().find(|&(bits, _)| {
        taken += measure(f32::from_bits(bits));
        taken >= limit
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Indices from the largest weight down, by a full sort.
    fn sorted(weights: &[f32]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..weights.len()).filter(|&i| weights[i] > 0.0).collect();
        order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]).then(a.cmp(&b)));
        order
    }

    fn naive_top_k(weights: &mut [f32], k: usize) {
        let order = sorted(weights);
        if let Some(&kth) = order.get(k - 1) {
            let threshold = weights[kth];
            weights.iter_mut().filter(|weight| **weight < threshold).for_each(|w| *w = 0.0);
        }
    }

    fn naive_top_p(weights: &mut [f32], p: f32) {
        let order = sorted(weights);
        let total: u64 = order.iter().map(|&i| to_units(weights[i])).sum();
        let mut before = 0;
        for i in order {
            let units = to_units(weights[i]);
            if before as f64 >= f64::from(p) * total as f64 {
                weights[i] = 0.0;
            }
            before += units;
        }
    }

    /// A likeliest weight of 1, and others with many equals, many zeros, and all magnitudes.
    fn rows() -> impl Strategy<Value = Vec<f32>> {
        let weight = prop_oneof![
            4 => (0.0f32..40.0).prop_map(|log| libm::exp2f(-log)),
            2 => (0u32..5).prop_map(|log| libm::exp2f(-(log as f32))),
            1 => Just(0.0f32),
        ];
        prop::collection::vec(weight, 1..600).prop_flat_map(|row| {
            let len = row.len();
            (Just(row), 0..len).prop_map(|(mut row, at)| {
                row[at] = 1.0;
                row
            })
        })
    }

    proptest! {
        #[test]
        fn top_k_keeps_what_a_full_sort_keeps(mut row in rows(), k in 1usize..700) {
            let mut expected = row.clone();
            naive_top_k(&mut expected, k);
            top_k(&mut row, k, &mut FilterScratch::default());
            prop_assert_eq!(row, expected);
        }

        #[test]
        fn top_p_keeps_what_a_full_sort_keeps(mut row in rows(), p in 1e-3f32..=1.0) {
            let mut expected = row.clone();
            naive_top_p(&mut expected, p);
            top_p(&mut row, p, &mut FilterScratch::default());
            prop_assert!(row.contains(&1.0));
            prop_assert_eq!(row, expected);
        }

        #[test]
        fn all_three_in_order_and_with_used_scratch(
            rows in prop::collection::vec(rows(), 1..4),
            k in 1usize..100,
            p in 0.01f32..1.0,
            lowest in 0.0f32..0.5,
        ) {
            let mut scratch = FilterScratch::default();
            for mut row in rows {
                let mut expected = row.clone();
                expected.iter_mut().filter(|w| **w < lowest).for_each(|w| *w = 0.0);
                naive_top_k(&mut expected, k);
                naive_top_p(&mut expected, p);
                min_p(&mut row, lowest);
                top_k(&mut row, k, &mut scratch);
                top_p(&mut row, p, &mut scratch);
                prop_assert_eq!(row, expected);
            }
        }
    }

    #[test]
    fn top_k_keeps_the_equals_of_the_last() {
        let mut row = vec![0.25, 1.0, 0.5, 0.25, 0.125];
        top_k(&mut row, 3, &mut FilterScratch::default());
        assert_eq!(row, [0.25, 1.0, 0.5, 0.25, 0.0]);
    }

    #[test]
    fn top_p_stops_as_soon_as_it_is_reached() {
        // Probabilities ½, ¼, ⅛, ⅛.
        let row = [0.25, 1.0, 0.5, 0.25];
        let kept = |p| {
            let mut row = row;
            top_p(&mut row, p, &mut FilterScratch::default());
            row
        };
        assert_eq!(kept(0.5), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(kept(0.500_1), [0.0, 1.0, 0.5, 0.0]);
        assert_eq!(kept(0.75), [0.0, 1.0, 0.5, 0.0]);
        assert_eq!(kept(0.8), [0.25, 1.0, 0.5, 0.0]);
        assert_eq!(kept(1e-9), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(kept(1.0), row);
    }

    #[test]
    fn every_weight_has_a_bin() {
        assert_eq!((bin(1.0f32.to_bits()), bin(UNIT.to_bits())), (0, NUM_BINS - 1));
        assert_eq!((to_units(1.0), to_units(UNIT)), (1 << 40, 1));
    }
}
