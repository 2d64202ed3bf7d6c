//! `kvasir presets`, and `--preset` as a layer.

use kvasir::plan::Preset;
use serde_json::Value;

use crate::command::{ByteModel, Run, kvasir, kvasir_with};

fn json(run: Run) -> Value {
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

/// Value and source of an option.
fn of(shown: &Value, option: &str) -> (String, String) {
    let shown = shown.as_array().unwrap();
    let found = shown.iter().find(|shows| shows["option"] == option).expect(option);
    (found["values"][0].as_str().unwrap().to_owned(), found["source"].as_str().unwrap().to_owned())
}

fn is(shown: &Value, option: &str, value: &str, source: &str) {
    assert_eq!(of(shown, option), (value.to_owned(), source.to_owned()), "{option}");
}

#[test]
fn the_recipes_rows_are_listed_with_what_they_hold_for() {
    let rows = json(kvasir(&["presets", "--json"]));
    let rows = rows.as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    let expected =
        ["small_2k_4k", "medium_8k_16k", "large_16k_32k", "very_large_64k", "extreme_128k_plus"];
    assert_eq!(names, expected);
    assert!(rows.iter().all(|row| !row["checks"].as_array().unwrap().is_empty()));
    let text = kvasir(&["presets"]).ok();
    assert!(text.contains("256 sequences do not fit"), "{text}");
    let recipe = kvasir(&["plan", "--recipe"]).ok();
    for line in text.lines().filter(|line| line.contains(" fit")) {
        assert!(recipe.contains(line), "no {line:?} in\n{recipe}");
    }
}

#[test]
fn a_preset_is_below_all_that_is_said() {
    let args =
        ["serve", "--show-config", "--json", "--preset", "large_16k_32k", "--max-num-seqs", "3"];
    let run = kvasir_with(&args, &[("KVASIR_MAX_NUM_BATCHED_TOKENS", "99")], "");
    assert!(run.stderr.contains("is for 4 devices"), "{}", run.stderr);
    let shown = json(run);
    is(&shown, "max-model-len", "32768", "preset");
    is(&shown, "kv-cache-dtype", "fp8", "preset");
    is(&shown, "enable-chunked-prefill", "true", "preset");
    is(&shown, "gpu-memory-utilization", "0.95", "preset");
    is(&shown, "max-num-seqs", "3", "flag");
    is(&shown, "max-num-batched-tokens", "99", "environment");
    let shown = kvasir_with(
        &["generate", "--show-config", "--json"],
        &[("KVASIR_PRESET", "small_2k_4k")],
        "",
    );
    let shown = json(shown);
    is(&shown, "no-enable-chunked-prefill", "true", "preset");
    is(&shown, "preset", "small_2k_4k", "environment");
    let auto = |tokens| {
        json(kvasir(&["plan", "--show-config", "--json", "--preset", "auto", "--context", tokens]))
    };
    is(&auto("40000"), "tp", "8", "preset");
    is(&auto("40000"), "batch", "2", "preset");
    is(&auto("40000"), "context", "40000", "flag");
    is(&auto("4096"), "batch", "256", "preset");
}

#[test]
fn the_engine_runs_with_a_preset() {
    let model = ByteModel::new();
    let args = [
        "generate",
        "hi",
        "--raw",
        "--model",
        model.arg(),
        "--preset",
        "auto",
        "--context",
        "4000",
        "--max-model-len",
        "64",
        "--max-num-seqs",
        "2",
        "--kv-cache-memory-bytes",
        "1048576",
        "--max-tokens",
        "2",
    ];
    kvasir(&args).ok();
    // The row is as long as it is: a model that is not made for it says so.
    let run =
        kvasir(&["generate", "hi", "--raw", "--model", model.arg(), "--preset", "medium_8k_16k"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("16384"), "{}", run.stderr);
}

#[test]
fn mistakes_are_named() {
    for (args, words) in [
        (&["serve", "--preset", "tiny"][..], &["tiny", "small_2k_4k", "auto"][..]),
        (&["serve", "--preset", "auto"], &["auto", "add --context N"]),
        (&["serve", "--context", "9"], &["--context has no effect", "--preset auto"]),
        (&["serve", "--preset", "small_2k_4k", "--context", "9"], &["no effect"]),
        // It has no option that a row says anything of.
        (&["bench", "kernels", "--preset", "small_2k_4k"], &["unexpected argument '--preset'"]),
    ] {
        kvasir(args).usage_error(words);
    }
    kvasir_with(&["serve", "--show-config"], &[("KVASIR_PRESET", "tiny")], "")
        .usage_error(&["KVASIR_PRESET: invalid value 'tiny'", "small_2k_4k"]);
}

#[test]
fn a_context_gets_the_recipes_row() {
    let name = |tokens| Preset::for_context(tokens).name;
    assert_eq!([1, 4096].map(name), ["small_2k_4k"; 2]);
    assert_eq!([4097, 16_384].map(name), ["medium_8k_16k"; 2]);
    assert_eq!([32_768, 32_769].map(name), ["large_16k_32k", "very_large_64k"]);
    assert_eq!([65_537, 1 << 40].map(name), ["extreme_128k_plus"; 2]);
}

#[test]
fn every_row_is_planned_with_every_model_it_names() {
    let check = |name: &str| Preset::named(name).unwrap().check().unwrap();
    // KV of a sequence: 2.1 GB (32 heads), 0.54 GB (8), 3.4 GB (40 heads, 40 layers); 175 GB may be used.
    let small: Vec<_> = check("small_2k_4k").iter().map(|c| (c.fits, c.max_batch)).collect();
    assert_eq!(small.iter().map(|row| row.0).collect::<Vec<_>>(), [false, true, false]);
    assert!((70..80).contains(&small[0].1) && (40..48).contains(&small[2].1), "{small:?}");
    // 32 sequences of 13.4 GB on two devices, of 2.1 GB for the third.
    let medium: Vec<_> = check("medium_8k_16k").iter().map(|c| c.fits).collect();
    assert_eq!(medium, [false, false, true]);
    for row in check("large_16k_32k").iter().chain(&check("very_large_64k")) {
        assert!(row.fits, "{row:?}");
    }
    let [extreme] = &check("extreme_128k_plus")[..] else { panic!("one model") };
    assert!(
        extreme.fits && extreme.notes.iter().any(|note| note.contains("second group")),
        "{extreme:?}"
    );
    let llama_3 = &check("large_16k_32k")[1];
    assert!(llama_3.notes.iter().any(|note| note.contains("made for 8192")), "{llama_3:?}");
}
