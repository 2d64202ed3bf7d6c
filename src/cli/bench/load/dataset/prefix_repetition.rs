//! Prompts that share prefixes.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::{Sample, Words};
use crate::cli::error::CliError;

/// vLLM's `prefix_repetition`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrefixRepetition {
    pub prefix_len: usize,
    pub suffix_len: usize,
    pub num_prefixes: usize,
    pub output_len: usize,
}

impl PrefixRepetition {
    /// In random order. Where the prompts cannot be parted evenly, the first prefixes get one more.
    ///
    /// # Errors
    /// If there are fewer prompts than prefixes.
    pub(crate) fn samples(
        &self,
        words: &Words<'_>,
        num: usize,
        seed: u64,
    ) -> Result<Vec<Sample>, CliError> {
        if num < self.num_prefixes {
            return Err(CliError::usage(format!(
                "{num} prompts cannot begin with {} prefixes",
                self.num_prefixes
            ))
            .with_hint("give more --num-prompts or fewer --prefix-repetition-num-prefixes"));
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let mut piece = |len: usize| {
            let ids = (0..len).map(|_| words.random(&mut rng)).collect();
            words.text_of(ids, &mut rng)
        };
        let prefixes: Vec<String> = (0..self.num_prefixes)
            .map(|_| Ok(piece(self.prefix_len)?.0))
            .collect::<Result<_, CliError>>()?;
        let sample = |index: usize| {
            let text = prefixes[index % prefixes.len()].clone() + &piece(self.suffix_len)?.0;
            let prompt_len = words.count(&text)?;
            Ok(Sample::of_text(text, prompt_len, self.output_len))
        };
        let mut samples = (0..num).map(sample).collect::<Result<Vec<_>, CliError>>()?;
        samples.shuffle(&mut rng);
        Ok(samples)
    }
}
