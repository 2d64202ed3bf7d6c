//! The medians as a table, or as JSON with every run.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::figures::{Figures, METRICS, Runs, median};

const LABEL_WIDTH: usize = 30;
const COLUMN_WIDTH: usize = 18;

/// Medians of every contender; beside each peer's, how many times as good the first contender is.
pub fn table(runs: &Runs) -> String {
    let [first, peers @ ..] = runs.contenders() else {
        return String::new();
    };
    let mut text = format!("{:<LABEL_WIDTH$}{:>COLUMN_WIDTH$}", "median", first.0);
    for (name, _) in peers {
        write!(text, "{name:>COLUMN_WIDTH$}{:>8}", "ratio").expect("writing to a String");
    }
    text.push('\n');
    for metric in &METRICS {
        let ours = median(&first.1, metric.key);
        write!(text, "{:<LABEL_WIDTH$}{}", metric.label, cell(ours)).expect("writing to a String");
        for (_, theirs) in peers {
            let theirs = median(theirs, metric.key);
            let ratio = ours.zip(theirs).map(|(a, b)| metric.ratio(a, b));
            let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            write!(text, "{}{ratio:>8}", cell(theirs)).expect("writing to a String");
        }
        text.push('\n');
    }
    text.push_str("ratio: how many times as good the first column is; above 1 it is ahead\n");
    text.push_str(&bounds(runs));
    text
}

fn cell(value: Option<f64>) -> String {
    match value {
        Some(value) => format!("{value:>COLUMN_WIDTH$.1}"),
        None => format!("{:>COLUMN_WIDTH$}", "-"),
    }
}

/// What bounds decoding: every weight is read once per token, at the measured bandwidth.
fn bounds(runs: &Runs) -> String {
    let of_first = |key| runs.contenders().first().and_then(|(_, r)| median(r, key));
    // The peer's BF16 file has as many bytes as our bfloat16 weights: 2 per parameter.
    let weight_bytes = runs
        .contenders()
        .iter()
        .filter(|(name, _)| name.ends_with("BF16"))
        .find_map(|(_, runs)| median(runs, "weight_bytes"));
    let mut text = String::new();
    if let (Some(read_gb_s), Some(bytes), Some(decode)) =
        (of_first("read_gb_s"), weight_bytes, of_first("decode_tok_s"))
    {
        let bound = read_gb_s * 1e9 / bytes;
        writeln!(
            text,
            "decode bound: {read_gb_s:.1} GB/s over {:.0} MB of weights = {bound:.0} tokens/s; \
             reached {:.2} of it",
            bytes / 1e6,
            decode / bound
        )
        .expect("writing to a String");
    }
    if let Some(load_s) = of_first("load_s") {
        writeln!(text, "model ready in {load_s:.2} s").expect("writing to a String");
    }
    text
}

/// Every run and the medians of each contender.
pub fn json(runs: &Runs) -> Value {
    let contenders = runs.contenders().iter().map(|(name, runs)| {
        let keys = runs.first().into_iter().flatten().map(|(key, _)| *key);
        let medians: Map<String, Value> =
            keys.map(|key| (key.to_owned(), json!(median(runs, key)))).collect();
        json!({
            "name": name,
            "medians": medians,
            "runs": runs.iter().map(object).collect::<Vec<_>>(),
        })
    });
    json!({ "contenders": contenders.collect::<Vec<_>>() })
}

fn object(figures: &Figures) -> Value {
    let entries = figures.iter();
    Value::Object(entries.map(|(key, value)| ((*key).to_owned(), json!(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Runs {
        let mut runs =
            Runs::new(["kvasir bfloat16", "llama.cpp BF16"].map(String::from).into_iter());
        for scale in [1.0, 3.0, 2.0] {
            let ours = [
                ("prefill_512_tok_s", 500.0 * scale),
                ("decode_tok_s", 30.0 * scale),
                ("batch_job_s", 10.0),
                ("read_gb_s", 20.0),
                ("load_s", 0.5),
            ];
            runs.push(0, ours.to_vec());
            let theirs =
                [("prefill_512_tok_s", 800.0), ("batch_job_s", 12.0), ("weight_bytes", 250e6)];
            runs.push(1, theirs.to_vec());
        }
        runs
    }

    #[test]
    fn the_table_compares_medians() {
        let table = table(&example());
        let line = |label: &str| table.lines().find(|l| l.starts_with(label)).unwrap();
        let words = |label| line(label).split_whitespace().collect::<Vec<_>>();
        assert!(words("prefill 512").ends_with(&["1000.0", "800.0", "1.25"]), "{table}");
        assert!(words("32 x").ends_with(&["10.0", "12.0", "1.20"]), "{table}");
        assert!(words("decode, 1").ends_with(&["60.0", "-", "-"]), "{table}");
        assert!(line("decode bound").contains("80 tokens/s; reached 0.75"), "{table}");
    }

    #[test]
    fn json_has_every_run_and_the_medians() {
        let json = json(&example());
        let ours = &json["contenders"][0];
        assert_eq!(ours["medians"]["prefill_512_tok_s"], 1000.0);
        assert_eq!(ours["runs"].as_array().unwrap().len(), 3);
        assert_eq!(ours["runs"][1]["decode_tok_s"], 90.0);
    }
}
