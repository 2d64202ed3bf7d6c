//! Our own side: the example `throughput`, which measures the same jobs and prints JSON.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::figures::{Contender, Figures, METRICS};
use crate::context::Context;
use crate::process;

/// What the example tells beside the metrics: the time until the model is ready, and the
/// bandwidth that bounds decoding.
const ALSO: [&str; 2] = ["load_s", "read_gb_s"];

/// Builds the example and returns the contender.
pub fn contender<'a>(context: &'a Context, model: &'a Path, threads: u32) -> Result<Contender<'a>> {
    let example = ["--release", "--locked", "--example", "throughput"];
    process::run(process::cargo(&context.root).arg("build").args(example))
        .context("cannot build the example `throughput`")?;
    let measure = move || {
        let mut run = process::cargo(&context.root);
        run.args(["run", "--quiet"]).args(example);
        run.args(["--", "--json", "--dtype", "bfloat16"]);
        run.args(["--threads", &threads.to_string(), "--model"]);
        figures(&process::stdout_of(run.arg(model))?)
    };
    Ok(Contender { name: "kvasir bfloat16".to_owned(), measure: Box::new(measure) })
}

fn figures(printed: &str) -> Result<Figures> {
    let printed: serde_json::Value =
        serde_json::from_str(printed).context("the example printed something other than JSON")?;
    let keys = METRICS.iter().map(|metric| metric.key).chain(ALSO);
    keys.map(|key| {
        let value = printed[key].as_f64();
        let value = value.with_context(|| format!("the example printed no number `{key}`"))?;
        ensure!(value > 0.0, "the example printed `{key}` = {value}");
        Ok((key, value))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_must_be_a_positive_number() {
        let full = r#"{"prefill_512_tok_s": 900, "prefill_2048_tok_s": 800.5, "decode_tok_s": 80,
            "batch_job_s": 9.5, "load_s": 0.5, "read_gb_s": 28}"#;
        let read = figures(full).unwrap();
        assert_eq!(read[1], ("prefill_2048_tok_s", 800.5));
        assert_eq!(read.len(), 6);
        let zero = figures(&full.replace("9.5", "0")).unwrap_err();
        assert!(zero.to_string().contains("batch_job_s"), "{zero}");
        let missing = figures(&full.replace("load_s", "loads")).unwrap_err();
        assert!(missing.to_string().contains("load_s"), "{missing}");
    }
}
