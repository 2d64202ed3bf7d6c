//! What is measured, and the runs of each contender.

use anyhow::Result;

/// Whether more or less of a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Rates.
    Higher,
    /// Times.
    Lower,
}

/// One line of the table.
#[derive(Debug)]
pub struct Metric {
    /// Its key in JSON, with the unit last.
    pub key: &'static str,
    /// Its name in the table.
    pub label: &'static str,
    /// Which way is up.
    pub better: Better,
}

/// Prompt lengths of the prefill metrics, tokens.
pub const PREFILL_TOKENS: [u32; 2] = [512, 2048];
/// Tokens that the decode metric generates.
pub const DECODE_TOKENS: u32 = 64;
/// The batched job: sequences, prompt tokens and generated tokens of each.
pub const BATCH_JOB: (u32, u32, u32) = (32, 128, 64);

/// Each figure of a run is the best of so many: the example `throughput` does it, so everyone does.
pub const BEST_OF: u32 = 3;

/// What every contender measures.
pub const METRICS: [Metric; 4] = [
    Metric { key: "prefill_512_tok_s", label: "prefill 512, tokens/s", better: Better::Higher },
    Metric { key: "prefill_2048_tok_s", label: "prefill 2048, tokens/s", better: Better::Higher },
    Metric { key: "decode_tok_s", label: "decode, 1 sequence, tokens/s", better: Better::Higher },
    Metric { key: "batch_job_s", label: "32 x (128 in, 64 out), s", better: Better::Lower },
];

impl Metric {
    /// How many times as good `ours` is as `theirs`; above 1 is ahead.
    pub fn ratio(&self, ours: f64, theirs: f64) -> f64 {
        match self.better {
            Better::Higher => ours / theirs,
            Better::Lower => theirs / ours,
        }
    }
}

/// Named numbers of one run: the metrics, and what else a contender tells of itself.
pub type Figures = Vec<(&'static str, f64)>;

/// One engine in one setting.
pub struct Contender<'a> {
    /// For the table.
    pub name: String,
    /// Runs it once.
    pub measure: Box<dyn Fn() -> Result<Figures> + 'a>,
}

/// All runs so far.
#[derive(Debug)]
pub struct Runs {
    contenders: Vec<(String, Vec<Figures>)>,
}

impl Runs {
    /// No runs yet, of contenders with these names.
    pub fn new(names: impl Iterator<Item = String>) -> Self {
        Runs { contenders: names.map(|name| (name, Vec::new())).collect() }
    }

    /// Adds a run of contender `contender_idx`.
    pub fn push(&mut self, contender_idx: usize, figures: Figures) {
        self.contenders[contender_idx].1.push(figures);
    }

    /// The contenders' names and runs.
    pub fn contenders(&self) -> &[(String, Vec<Figures>)] {
        &self.contenders
    }
}

/// The median of the figure `key` over `runs`; `None` if no run has it.
pub fn median(runs: &[Figures], key: &str) -> Option<f64> {
    let mut values: Vec<f64> = runs
        .iter()
        .filter_map(|run| run.iter().find(|(name, _)| *name == key))
        .map(|(_, value)| *value)
        .collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(values: &[f64]) -> Vec<Figures> {
        values.iter().map(|value| vec![("x", *value)]).collect()
    }

    #[test]
    fn the_median_ignores_order_and_outliers() {
        assert_eq!(median(&runs(&[9.0, 1.0, 2.0]), "x"), Some(2.0));
        assert_eq!(median(&runs(&[4.0, 1.0, 2.0, 90.0]), "x"), Some(3.0));
        assert_eq!(median(&runs(&[]), "x"), None);
        assert_eq!(median(&runs(&[1.0]), "y"), None);
    }

    #[test]
    fn a_ratio_above_one_is_ahead_for_rates_and_for_times() {
        let [prefill, .., job] = METRICS;
        assert_eq!(prefill.ratio(200.0, 100.0), 2.0);
        assert_eq!(job.ratio(5.0, 10.0), 2.0);
    }
}
