//! What a run came to, by vLLM's definitions.

use super::client::Answer;
use crate::cli::bench::spread::{deviation, mean, quantile};

/// Times of one kind over all answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Ttft,
    Tpot,
    Itl,
    E2el,
}

impl Metric {
    pub(crate) const ALL: [Metric; 4] = [Metric::Ttft, Metric::Tpot, Metric::Itl, Metric::E2el];

    /// As options and keys have it.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Metric::Ttft => "ttft",
            Metric::Tpot => "tpot",
            Metric::Itl => "itl",
            Metric::E2el => "e2el",
        }
    }

    /// As tables have it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Metric::Ttft => "Time to First Token",
            Metric::Tpot => "Time per Output Token (excl. 1st token)",
            Metric::Itl => "Inter-token Latency",
            Metric::E2el => "End-to-end Latency",
        }
    }
}

/// The service that counts as good: most milliseconds of a kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Objective {
    pub metric: Metric,
    pub limit_ms: f64,
}

/// A run. Times are seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub duration_s: f64,
    pub num_completed: usize,
    pub num_failed: usize,
    pub total_input: u64,
    pub total_output: u64,
    /// One for each answer; 0 for those that failed.
    pub output_lens: Vec<u64>,
    pub num_good: usize,
    /// Most pieces of answers in any second.
    pub max_tokens_per_s: f64,
    /// Most requests that were answered in the end and in progress at any time.
    pub max_concurrent: usize,
    /// Pieces of answers in each second, from the first request on.
    pub pieces_per_s: Vec<u64>,
    ttfts: Vec<f64>,
    tpots: Vec<f64>,
    itls: Vec<f64>,
    e2els: Vec<f64>,
}

impl Measured {
    /// Answers whose tokens the endpoint did not count are counted by `count`.
    pub(crate) fn new(
        answers: &[Answer],
        duration_s: f64,
        objectives: &[Objective],
        count: impl Fn(&str) -> u64,
    ) -> Measured {
        let mut measured = Measured { duration_s, ..Measured::default() };
        for answer in answers {
            let is_success = answer.is_success();
            let output_len = match (is_success, answer.output_tokens) {
                (false, _) => 0,
                (true, Some(tokens)) => tokens,
                (true, None) => count(&answer.text),
            };
            measured.output_lens.push(output_len);
            if is_success {
                measured.add(answer, output_len, objectives);
            } else {
                measured.num_failed += 1;
            }
        }
        measured.add_peaks(answers);
        measured
    }

    fn add(&mut self, answer: &Answer, output_len: u64, objectives: &[Objective]) {
        self.num_completed += 1;
        self.total_input = self.total_input.saturating_add(answer.prompt_len);
        self.total_output = self.total_output.saturating_add(output_len);
        // An answer of one token has no time between tokens: for an objective it is 0.
        let tpot = match output_len {
            0 | 1 => 0.0,
            _ => (answer.latency_s - answer.ttft_s) / (output_len - 1) as f64,
        };
        if output_len > 1 {
            self.tpots.push(tpot);
        }
        self.ttfts.push(answer.ttft_s);
        self.itls.extend(&answer.itls_s);
        self.e2els.push(answer.latency_s);
        let is_met = |objective: &Objective| {
            let time_s = match objective.metric {
                Metric::Ttft => answer.ttft_s,
                Metric::E2el => answer.latency_s,
                Metric::Tpot | Metric::Itl => tpot,
            };
            time_s * 1e3 <= objective.limit_ms
        };
        self.num_good += usize::from(objectives.iter().all(is_met));
    }

    fn add_peaks(&mut self, answers: &[Answer]) {
        let succeeded = || answers.iter().filter(|answer| answer.is_success());
        let begin = succeeded().map(|answer| answer.start_s).fold(f64::INFINITY, f64::min);
        let mut changes = Vec::new();
        for answer in succeeded() {
            changes.push((answer.start_s, 1));
            changes.push((answer.start_s + answer.latency_s, -1));
            let mut at = answer.start_s - begin + answer.ttft_s;
            self.add_piece(at);
            for itl in &answer.itls_s {
                at += itl;
                self.add_piece(at);
            }
        }
        self.max_tokens_per_s = self.pieces_per_s.iter().max().map_or(0.0, |&most| most as f64);
        // Who ends at a time is gone when another begins then.
        changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut concurrent = 0_i64;
        for (_, change) in changes {
            concurrent += change;
            self.max_concurrent = self.max_concurrent.max(concurrent.unsigned_abs() as usize);
        }
    }

    fn add_piece(&mut self, at_s: f64) {
        let second = at_s as usize;
        if self.pieces_per_s.len() <= second {
            self.pieces_per_s.resize(second + 1, 0);
        }
        self.pieces_per_s[second] += 1;
    }

    pub(crate) fn times_s(&self, metric: Metric) -> &[f64] {
        match metric {
            Metric::Ttft => &self.ttfts,
            Metric::Tpot => &self.tpots,
            Metric::Itl => &self.itls,
            Metric::E2el => &self.e2els,
        }
    }

    /// `num` in each second of the run.
    pub(crate) fn rate(&self, num: f64) -> f64 {
        num / self.duration_s
    }
}

/// How times are spread: milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    pub mean_ms: f64,
    pub median_ms: f64,
    pub std_ms: f64,
    /// A percentile, and the time.
    pub percentiles_ms: Vec<(f64, f64)>,
}

impl Summary {
    /// Of no times, zeros, as vLLM has it.
    pub(crate) fn of(times_s: &[f64], percentiles: &[f64]) -> Summary {
        let mut sorted: Vec<f64> = times_s.iter().map(|time| time * 1e3).collect();
        if sorted.is_empty() {
            sorted.push(0.0);
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let percentile = |&percent: &f64| (percent, quantile(&sorted, percent / 100.0));
        Summary {
            mean_ms: mean(&sorted),
            median_ms: quantile(&sorted, 0.5),
            std_ms: deviation(&sorted),
            percentiles_ms: percentiles.iter().map(percentile).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(start_s: f64, ttft_s: f64, itls_s: &[f64], output_tokens: Option<u64>) -> Answer {
        let latency_s = ttft_s + itls_s.iter().sum::<f64>();
        Answer {
            prompt_len: 10,
            output_tokens,
            text: "x y z".to_owned(),
            ttft_s,
            itls_s: itls_s.to_vec(),
            latency_s,
            start_s,
            ..Answer::default()
        }
    }

    #[test]
    fn sums_rates_and_peaks_are_of_what_succeeded() {
        let failed = Answer { error: "gone".to_owned(), ..answer(0.0, 9.0, &[], Some(99)) };
        let answers = [
            answer(0.0, 0.5, &[0.25, 0.25], Some(5)),
            answer(0.75, 0.5, &[1.0], None),
            failed,
            answer(1.0, 0.1, &[], Some(1)),
        ];
        let objectives = [
            Objective { metric: Metric::Ttft, limit_ms: 500.0 },
            Objective { metric: Metric::Tpot, limit_ms: 200.0 },
        ];
        let words = |text: &str| text.split(' ').count() as u64;
        let measured = Measured::new(&answers, 2.0, &objectives, words);
        assert_eq!((measured.num_completed, measured.num_failed), (3, 1));
        assert_eq!((measured.total_input, measured.total_output), (30, 9));
        assert_eq!(measured.output_lens, [5, 3, 0, 1]);
        // The second waits half a second for each of its tokens.
        assert_eq!(measured.num_good, 2);
        // At 0.5, 0.75, 1.0; at 1.25 and 2.25; at 1.1.
        assert_eq!(measured.pieces_per_s, [2, 3, 1]);
        // The first ends when the third begins.
        assert_eq!((measured.max_tokens_per_s, measured.max_concurrent), (3.0, 2));
        assert_eq!(measured.times_s(Metric::Tpot), [0.125, 0.5]);
        assert_eq!(measured.times_s(Metric::Itl).len(), 3);
        assert_eq!(measured.rate(9.0), 4.5);
    }

    #[test]
    fn a_summary_has_numpys_percentiles() {
        let summary = Summary::of(&[0.004, 0.001, 0.002, 0.003], &[25.0, 99.0]);
        assert_eq!((summary.mean_ms, summary.median_ms), (2.5, 2.5));
        assert!((summary.std_ms - 1.25_f64.sqrt()).abs() < 1e-12);
        assert_eq!(summary.percentiles_ms[0], (25.0, 1.75));
        assert!((summary.percentiles_ms[1].1 - 3.97).abs() < 1e-12);
        assert_eq!(Summary::of(&[], &[50.0]).percentiles_ms, [(50.0, 0.0)]);
    }
}
