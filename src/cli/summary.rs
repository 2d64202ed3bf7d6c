//! The last line on stderr: what it took.

use std::time::Duration;

use engine::RequestOutput;
use serde::Serialize;

use super::output_line::{Loaded, OutputLine};

/// Counts and times of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    num_requests: usize,
    num_prompt_tokens: usize,
    num_output_tokens: usize,
    /// Of the median request.
    time_to_first_token_s: f64,
    /// One request: of its tokens after the first. Several: of all tokens over the whole time.
    output_tokens_per_s: f64,
    wall_s: f64,
    /// Of all requests together, each at its longest.
    num_kv_blocks: u64,
    /// Prompt tokens whose KV was on the device already.
    num_cached_tokens: usize,
    /// Tokens whose KV came from the KV store.
    num_loaded_tokens: Loaded,
}

impl Summary {
    /// What `outputs` took together, `wall` from the first step to the last.
    pub(crate) fn new(tallies: &[Tally], wall: Duration) -> Summary {
        let num_output_tokens = tallies.iter().map(|tally| tally.num_output_tokens).sum();
        let wall_s = wall.as_secs_f64();
        Summary {
            num_requests: tallies.len(),
            num_prompt_tokens: tallies.iter().map(|tally| tally.num_prompt_tokens).sum(),
            num_output_tokens,
            time_to_first_token_s: median(tallies.iter().map(|tally| tally.time_to_first_token_s)),
            output_tokens_per_s: match tallies {
                [one] if one.num_output_tokens > 1 => one.decode_tokens_per_s(),
                _ => rate(num_output_tokens, wall_s),
            },
            wall_s,
            num_kv_blocks: tallies.iter().map(|tally| u64::from(tally.num_kv_blocks)).sum(),
            num_cached_tokens: tallies.iter().map(|tally| tally.num_cached_tokens).sum(),
            num_loaded_tokens: tallies.iter().fold(Loaded::default(), |sum, tally| Loaded {
                host: sum.host + tally.num_loaded_tokens.host,
                disk: sum.disk + tally.num_loaded_tokens.disk,
                object: sum.object + tally.num_loaded_tokens.object,
            }),
        }
    }

    /// One line for people.
    pub(crate) fn text(&self) -> String {
        let requests = match self.num_requests {
            1 => String::new(),
            several => format!("{several} requests, "),
        };
        format!(
            "{requests}{} prompt tokens{}, first token after {:.0} ms, {} tokens at {:.1} tokens/s, \
             {} KV blocks, {:.2} s in all",
            self.num_prompt_tokens,
            self.origins(),
            self.time_to_first_token_s * 1e3,
            self.num_output_tokens,
            self.output_tokens_per_s,
            self.num_kv_blocks,
            self.wall_s,
        )
    }

    /// Where KV came from that was not computed, nearest first.
    fn origins(&self) -> String {
        let Loaded { host, disk, object } = self.num_loaded_tokens;
        let origins = [
            (self.num_cached_tokens, "cached"),
            (host, "from memory"),
            (disk, "from disk"),
            (object, "from the bucket"),
        ];
        let named: Vec<String> = origins
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, origin)| format!("{count} {origin}"))
            .collect();
        if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
    }

    /// One line for programs; `output` is the answer to a single prompt.
    pub(crate) fn json(&self, output: Option<&RequestOutput>) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            summary: &'a Summary,
            #[serde(skip_serializing_if = "Option::is_none")]
            output: Option<OutputLine<'a>>,
        }
        serde_json::to_string(&Line {
            summary: self,
            output: output.map(|output| OutputLine::new(0, output)),
        })
    }
}

/// What the summary needs of one answer; the answer itself can be forgotten.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tally {
    num_prompt_tokens: usize,
    num_output_tokens: usize,
    time_to_first_token_s: f64,
    e2e_latency_s: f64,
    num_kv_blocks: u32,
    num_cached_tokens: usize,
    num_loaded_tokens: Loaded,
}

impl Tally {
    fn decode_tokens_per_s(&self) -> f64 {
        let decode_s = self.e2e_latency_s - self.time_to_first_token_s;
        rate(self.num_output_tokens - 1, decode_s)
    }
}

impl From<&RequestOutput> for Tally {
    fn from(output: &RequestOutput) -> Tally {
        Tally {
            num_prompt_tokens: output.prompt_token_ids.len(),
            num_output_tokens: output.outputs.iter().map(|one| one.token_ids.len()).sum(),
            time_to_first_token_s: output.metrics.time_to_first_token_s,
            e2e_latency_s: output.metrics.e2e_latency_s,
            num_kv_blocks: output.metrics.num_kv_blocks,
            num_cached_tokens: output.metrics.num_cached_tokens,
            num_loaded_tokens: output.metrics.num_loaded_tokens.into(),
        }
    }
}

fn rate(count: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(num_output_tokens: usize) -> Tally {
        Tally {
            num_prompt_tokens: 10,
            num_output_tokens,
            time_to_first_token_s: 0.5,
            e2e_latency_s: 1.5,
            num_kv_blocks: 3,
            num_cached_tokens: 0,
            num_loaded_tokens: Loaded::default(),
        }
    }

    #[test]
    fn one_request_is_judged_by_its_decode_rate() {
        let summary = Summary::new(&[tally(21)], Duration::from_secs(2));
        assert_eq!(
            summary.text(),
            "10 prompt tokens, first token after 500 ms, 21 tokens at 20.0 tokens/s, 3 KV blocks, 2.00 s in all"
        );
        let loaded = Loaded { disk: 5, ..Loaded::default() };
        let warm = Tally { num_cached_tokens: 4, num_loaded_tokens: loaded, ..tally(21) };
        let text = Summary::new(&[warm], Duration::from_secs(2)).text();
        assert!(text.starts_with("10 prompt tokens (4 cached, 5 from disk), first"), "{text}");
        let single = Summary::new(&[tally(1)], Duration::from_secs(2));
        assert_eq!(single.output_tokens_per_s, 0.5);
    }

    #[test]
    fn several_requests_are_judged_by_the_whole_job() {
        let summary = Summary::new(&[tally(20), tally(20)], Duration::from_secs(4));
        assert!(summary.text().starts_with("2 requests, 20 prompt tokens"), "{}", summary.text());
        assert_eq!(summary.output_tokens_per_s, 10.0);
        let json: serde_json::Value = serde_json::from_str(&summary.json(None).unwrap()).unwrap();
        assert_eq!(json["num_kv_blocks"], 6);
        assert!(json.get("output").is_none());
    }

    #[test]
    fn nothing_takes_no_time() {
        let summary = Summary::new(&[], Duration::ZERO);
        assert_eq!((summary.output_tokens_per_s, summary.time_to_first_token_s), (0.0, 0.0));
    }
}
