//! Requests as they came to a service, when they came: Mooncake's traces.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;

use super::{Sample, SamplePrompt, Words};
use crate::cli::error::CliError;

/// vLLM's `timed_trace`: lines of `{"timestamp", "input_length", "output_length", "hash_ids"}`. Prompts that begin with
/// equal `hash_ids` begin with equal tokens; the others have nothing in common.
#[derive(Clone, Debug)]
pub(crate) struct TimedTrace {
    pub path: PathBuf,
    /// Tokens that one of `hash_ids` stands for; the last may stand for fewer.
    pub chunk_hash_size: usize,
    /// Seconds of one unit of `timestamp`.
    pub sec_multiplier: f64,
}

#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: usize,
    output_length: usize,
    hash_ids: Vec<u64>,
}

impl TimedTrace {
    /// The first `num` of the trace, or all if it has fewer.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is no request, or times run backwards.
    pub(crate) fn samples(
        &self,
        words: &Words<'_>,
        num: usize,
        seed: u64,
    ) -> Result<Vec<Sample>, CliError> {
        let unreadable = |error| CliError::file("read", &self.path, &error);
        let file = File::open(&self.path).map_err(unreadable)?;
        let mut samples: Vec<Sample> = Vec::new();
        let mut first_s = None;
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(unreadable)?;
            if samples.len() == num {
                break;
            }
            if line.trim().is_empty() {
                continue;
            }
            let before_s = samples.last().and_then(|sample| sample.arrival_s);
            let sample = self.read(&line).and_then(|line| {
                let at_s = line.timestamp * self.sec_multiplier;
                let arrival_s = at_s - *first_s.get_or_insert(at_s);
                if before_s.is_some_and(|before_s| arrival_s < before_s) {
                    return Err("its timestamp is before that of the line above".to_owned());
                }
                Ok(self.sample(words, &line, arrival_s, seed))
            });
            let place = format!("{}, line {}", self.path.display(), index + 1);
            samples.push(sample.map_err(|error| CliError::usage(error).at(&place))?);
        }
        match samples.is_empty() {
            true => Err(CliError::usage(format!("{} has no request", self.path.display()))),
            false => Ok(samples),
        }
    }

    fn read(&self, line: &str) -> Result<Line, String> {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if !(line.timestamp >= 0.0 && (line.timestamp * self.sec_multiplier).is_finite()) {
            return Err(format!("timestamp is {}, not a number from 0 up", line.timestamp));
        }
        if line.input_length == 0 || line.output_length == 0 {
            return Err("input_length and output_length must be at least 1".to_owned());
        }
        let num_tokens = line.hash_ids.len().saturating_mul(self.chunk_hash_size);
        if num_tokens < line.input_length {
            return Err(format!(
                "its {} hash_ids stand for {num_tokens} tokens, and input_length is {}; give the trace's \
                 --timed-trace-chunk-hash-size",
                line.hash_ids.len(),
                line.input_length
            ));
        }
        Ok(line)
    }

    fn sample(&self, words: &Words<'_>, line: &Line, arrival_s: f64, seed: u64) -> Sample {
        let mut ids = Vec::with_capacity(line.input_length);
        for hash_id in &line.hash_ids {
            let num_left = line.input_length - ids.len();
            // Of the seed and the hash alone, so that it is the same in every prompt.
            let mut rng = StdRng::from_seed(key(seed, *hash_id));
            let num = self.chunk_hash_size.min(num_left);
            ids.extend((0..num).map(|_| words.random(&mut rng)));
        }
        Sample {
            prompt_len: ids.len(),
            prompt: SamplePrompt::TokenIds(ids),
            output_len: line.output_length,
            arrival_s: Some(arrival_s),
        }
    }
}

fn key(seed: u64, hash_id: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&hash_id.to_le_bytes());
    key
}
