//! Prompts of random tokens, in lengths around a mean.

use std::ops::RangeInclusive;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Sample, Words};
use crate::cli::error::CliError;

/// vLLM's `random`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random {
    /// Tokens of a prompt on average, with those that the model wants around it, without the prefix.
    pub input_len: usize,
    pub output_len: usize,
    /// From 0 to below 1: lengths are within this part of the mean, evenly.
    pub range_ratio: f64,
    /// Tokens that all prompts begin with.
    pub prefix_len: usize,
}

impl Random {
    /// # Errors
    /// If a prompt could have no token.
    pub(crate) fn samples(
        &self,
        words: &Words<'_>,
        num: usize,
        seed: u64,
    ) -> Result<Vec<Sample>, CliError> {
        let mut rng = StdRng::seed_from_u64(seed);
        let inputs = around(self.input_len.saturating_sub(words.num_special()), self.range_ratio);
        if self.prefix_len + inputs.start() == 0 {
            return Err(CliError::usage(format!(
                "--random-input-len {} with --random-range-ratio {} leaves prompts without a token: {} are around every \
                 text",
                self.input_len,
                self.range_ratio,
                words.num_special()
            ))
            .with_hint("take longer prompts or a smaller ratio"));
        }
        let outputs = around(self.output_len, self.range_ratio);
        let outputs = *outputs.start().max(&1)..=*outputs.end().max(&1);
        let prefix: Vec<u32> = (0..self.prefix_len).map(|_| words.random(&mut rng)).collect();
        let sample = |_| {
            let input_len = rng.random_range(inputs.clone());
            let output_len = rng.random_range(outputs.clone());
            // A run of the vocabulary from a random place on.
            let offset: u32 = rng.random();
            let tokens = (0..input_len).map(|i| words.nth(offset as usize + i));
            let ids = prefix.iter().copied().chain(tokens).collect();
            let (text, ids) = words.text_of(ids, &mut rng)?;
            Ok(Sample::of_text(text, ids.len(), output_len))
        };
        (0..num).map(sample).collect()
    }
}

/// Lengths within `ratio` of `mean`.
fn around(mean: usize, ratio: f64) -> RangeInclusive<usize> {
    let bound = |factor: f64| mean as f64 * factor;
    bound(1.0 - ratio).floor() as usize..=bound(1.0 + ratio).ceil() as usize
}
