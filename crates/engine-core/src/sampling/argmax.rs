//! The largest of a row, at memory speed.

const LANES: usize = 16;

/// The largest value; NaN never wins; −∞ if there is nothing else.
pub(super) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    // `if x > max { x } else { max }` is one vector instruction and drops NaN.
    let larger = |max: f32, x: f32| if x > max { x } else { max };
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, x);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |max, &x| larger(max, x))
}

/// How many values are above `threshold`.
pub(super) fn count_above(values: &[f32], threshold: f32) -> usize {
    // A count per lane and block of chunks is narrow enough for vector code and cannot overflow.
    values
        .chunks(1 << 16)
        .map(|block| block.iter().map(|&x| u32::from(x > threshold)).sum::<u32>() as usize)
        .sum()
}

/// Where the largest value is and what it is; of equals, the first. `None` unless it is finite.
pub(super) fn argmax(values: &[f32]) -> Option<(usize, f32)> {
    let max = max(values);
    if !max.is_finite() {
        return None;
    }
    let has_max = |chunk: &[f32]| chunk.iter().fold(false, |any, &x| any | (x == max));
    let chunk_idx = values.chunks(LANES).position(has_max)?;
    let start = chunk_idx * LANES;
    let offset = values[start..].iter().position(|&x| x == max)?;
    Some((start + offset, max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn finds_the_first_of_the_largest_at_every_place() {
        for len in 1..70 {
            for at in 0..len {
                let mut values: Vec<f32> = (0..len).map(|i| -1.0 - (i % 7) as f32).collect();
                values[at..].fill(0.5);
                assert_eq!(argmax(&values), Some((at, 0.5)), "{at} of {len}");
            }
        }
    }

    #[test]
    fn nan_never_wins() {
        for at in 0..40 {
            let mut values = vec![f32::NAN; 40];
            values[at] = -3.0;
            assert_eq!(argmax(&values), Some((at, -3.0)));
        }
    }

    #[test]
    fn without_a_finite_largest_there_is_none() {
        assert_eq!(argmax(&[]), None);
        assert_eq!(argmax(&[f32::NAN; 20]), None);
        assert_eq!(argmax(&[f32::NEG_INFINITY; 20]), None);
        assert_eq!(argmax(&[0.0, f32::INFINITY]), None);
    }

    #[test]
    fn counts_what_is_above() {
        let values: Vec<f32> = (0..100_000).map(|i| (i % 1000) as f32).collect();
        assert_eq!(count_above(&values, 989.5), 1000);
        assert_eq!(count_above(&values, f32::NAN), 0);
        assert_eq!(count_above(&[f32::NAN, 1.0], 0.0), 1);
    }
}
