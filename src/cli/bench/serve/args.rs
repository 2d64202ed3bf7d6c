//! The options of `kvasir bench serve`: vLLM's.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::cli::bench::load::metrics::{Metric, Objective};
use crate::cli::bench::output::OutputArgs;
use crate::cli::serve::seconds;

/// `kvasir bench serve`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    #[command(flatten)]
    pub dataset: DatasetArgs,
    #[command(flatten)]
    pub traffic: TrafficArgs,
    #[command(flatten)]
    pub figures: FigureArgs,
    #[command(flatten)]
    pub save: SaveArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

const HELP: &str = "\
    kvasir serve smollm2-135m &
    kvasir bench serve --tokenizer smollm2-135m --num-prompts 100 --request-rate 4 --html report.html

Results have the keys of `vllm bench serve`. A request that fails is counted, and its error is kept; the exit code is 0
unless all fail.";

/// What is asked.
#[derive(Args, Debug)]
#[command(next_help_heading = "Endpoint")]
pub(crate) struct EndpointArgs {
    /// Where the server is, without a path; http or https
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000", value_parser = base_url)]
    pub base_url: String,

    /// The path: completions, or chat completions
    #[arg(long, value_name = "PATH", default_value = "/v1/completions", value_parser = path)]
    pub endpoint: String,

    /// Name of the model [default: the first that the server lists]
    #[arg(long)]
    pub model: Option<String>,

    /// A model whose tokenizer makes the prompts: a known name, a GGUF file or a model directory [default: --model]
    #[arg(long, value_name = "MODEL")]
    pub tokenizer: Option<String>,

    /// Sent as the bearer token of each request
    #[arg(long, value_name = "KEY", env = "OPENAI_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,

    /// Send this header with each request (repeatable)
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,

    /// More fields of each request, which win over others
    #[arg(long, value_name = "JSON", value_parser = object)]
    pub extra_body: Option<Map<String, Value>>,

    /// Trust any certificate: for servers that signed their own
    #[arg(long)]
    pub insecure: bool,

    /// Longest that a request may take until the end of its answer; then it has failed
    #[arg(long, value_name = "SECONDS", default_value = "21600", value_parser = seconds)]
    pub request_timeout: Duration,
}

/// A kind of data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum DatasetName {
    Random,
    #[value(name = "sharegpt")]
    ShareGpt,
    PrefixRepetition,
    TimedTrace,
}

/// What the requests are.
#[derive(Args, Debug)]
#[command(next_help_heading = "Data set")]
pub(crate) struct DatasetArgs {
    /// Random tokens; conversations; prompts that share prefixes; a trace with times, as Mooncake's
    #[arg(long, value_enum, default_value_t = DatasetName::Random)]
    pub dataset_name: DatasetName,

    /// File of sharegpt (JSON) or timed_trace (JSONL)
    #[arg(long, value_name = "FILE")]
    pub dataset_path: Option<PathBuf>,

    /// Number of requests; a trace may have fewer
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub num_prompts: u32,

    /// Seed of prompts and of times
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// --random-input-len
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    pub input_len: Option<u32>,

    /// --random-output-len, --sharegpt-output-len and --prefix-repetition-output-len
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    pub output_len: Option<u32>,

    /// Tokens of a prompt on average, without the prefix
    #[arg(long, value_name = "TOKENS", default_value_t = 1024, value_parser = tokens)]
    pub random_input_len: u32,

    /// Tokens of an answer on average
    #[arg(long, value_name = "TOKENS", default_value_t = 128, value_parser = tokens)]
    pub random_output_len: u32,

    /// Lengths are within this part of the average, from 0 to below 1
    #[arg(long, value_name = "RATIO", default_value_t = 0.0, value_parser = ratio)]
    pub random_range_ratio: f64,

    /// Tokens that all prompts begin with, besides
    #[arg(long, value_name = "TOKENS", default_value_t = 0, value_parser = value_parser!(u32).range(..=MAX_TOKENS))]
    pub random_prefix_len: u32,

    /// Tokens of every answer [default: as many as the conversation's]
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    pub sharegpt_output_len: Option<u32>,

    /// Tokens of a prefix
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = tokens)]
    pub prefix_repetition_prefix_len: u32,

    /// Tokens of what is a prompt's own
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = tokens)]
    pub prefix_repetition_suffix_len: u32,

    /// Different prefixes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..))]
    pub prefix_repetition_num_prefixes: u32,

    /// Tokens of an answer
    #[arg(long, value_name = "TOKENS", default_value_t = 128, value_parser = tokens)]
    pub prefix_repetition_output_len: u32,

    /// Tokens that one of a trace's hash_ids stands for; Mooncake's are of 512
    #[arg(long, value_name = "TOKENS", default_value_t = 512, value_parser = value_parser!(u32).range(1..=65_536))]
    pub timed_trace_chunk_hash_size: u32,

    /// Seconds of one unit of a trace's timestamp; Mooncake's are milliseconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.001, value_parser = above_zero)]
    pub timed_trace_sec_multiplier: f64,

    /// Go on after an end of sequence, to the wanted length [default with random and timed_trace]
    #[arg(long, overrides_with = "no_ignore_eos")]
    pub ignore_eos: bool,

    /// Let the model end: for endpoints that know no ignore_eos
    #[arg(long)]
    pub no_ignore_eos: bool,

    /// Temperature of each request [default: the server's]
    #[arg(long, value_parser = from_zero)]
    pub temperature: Option<f64>,
}

/// When requests are sent.
#[derive(Args, Debug)]
#[command(next_help_heading = "Traffic")]
pub(crate) struct TrafficArgs {
    /// Requests a second; inf sends all at once
    #[arg(long, value_name = "RATE", default_value = "inf", value_parser = rate)]
    pub request_rate: f64,

    /// 1 is a Poisson process; less comes in bursts, more evenly
    #[arg(long, value_name = "SHAPE", default_value_t = 1.0, value_parser = above_zero)]
    pub burstiness: f64,

    /// Most requests at once; others wait
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub max_concurrency: Option<u32>,

    /// Send a trace's requests by --request-rate, not when they came
    #[arg(long)]
    pub no_self_timed: bool,

    /// Requests before those that are measured, each the first one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub num_warmups: u32,
}

/// What is reported.
#[derive(Args, Debug)]
#[command(next_help_heading = "Figures")]
pub(crate) struct FigureArgs {
    /// Kinds of times to report: ttft, tpot, itl, e2el
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "ttft,tpot,itl", value_parser = metric)]
    pub percentile_metrics: Vec<Metric>,

    /// Percentiles of each
    #[arg(long, value_name = "PERCENTS", value_delimiter = ',', default_value = "99", value_parser = percent)]
    pub metric_percentiles: Vec<f64>,

    /// Milliseconds within which a request must be served to be good, such as ttft:200 tpot:50 (also e2el)
    #[arg(long, value_name = "NAME:MS", num_args = 1.., value_parser = objective)]
    pub goodput: Vec<Objective>,

    /// Sample the memory of this process, the server's for example
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
}

/// Where results go.
#[derive(Args, Debug)]
#[command(next_help_heading = "Results")]
pub(crate) struct SaveArgs {
    /// Write the result as JSON to a file
    #[arg(long)]
    pub save_result: bool,

    /// Put each request's lengths, times, text and error into the result
    #[arg(long)]
    pub save_detailed: bool,

    /// Write the result as a further line of the file
    #[arg(long)]
    pub append_result: bool,

    /// Folder of the file [default: this one]
    #[arg(long, value_name = "FOLDER")]
    pub result_dir: Option<PathBuf>,

    /// Name of the file [default: LABEL-RATEqps-MODEL-DATE.json]
    #[arg(long, value_name = "NAME")]
    pub result_filename: Option<String>,

    /// First word of the file's name [default: the backend's]
    #[arg(long)]
    pub label: Option<String>,

    /// More keys of the result
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = pair)]
    pub metadata: Vec<(String, String)>,
}

impl EndpointArgs {
    pub(super) fn header_map(&self) -> HeaderMap {
        self.headers.iter().cloned().collect()
    }
}

impl DatasetArgs {
    /// As vLLM: data sets whose answers have a length of their own go on to it.
    pub(super) fn ignores_eos(&self) -> bool {
        let by_default = matches!(self.dataset_name, DatasetName::Random | DatasetName::TimedTrace);
        !self.no_ignore_eos && (self.ignore_eos || by_default)
    }
}

/// Longest prompt or answer, tokens: more than any model takes.
const MAX_TOKENS: i64 = 1 << 24;

fn tokens(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_TOKENS).contains(number));
    let number = number.and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("give a whole number from 1 to {MAX_TOKENS}"))
}

fn base_url(text: &str) -> Result<String, String> {
    let is_one = text.starts_with("http://") || text.starts_with("https://");
    match reqwest::Url::parse(text) {
        Ok(url) if is_one && url.has_host() => Ok(text.to_owned()),
        _ => Err("give a URL such as http://127.0.0.1:8000".to_owned()),
    }
}

fn path(text: &str) -> Result<String, String> {
    let is_one = text.starts_with('/') && text.ends_with("/completions");
    is_one
        .then(|| text.to_owned())
        .ok_or_else(|| "give /v1/completions or /v1/chat/completions".to_owned())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = pair(text)?;
    let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
    let mut value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("give a JSON object: {error}"))
}

fn metric(text: &str) -> Result<Metric, String> {
    let found = Metric::ALL.into_iter().find(|metric| metric.key() == text);
    found.ok_or_else(|| format!("it must be one of {}", Metric::ALL.map(Metric::key).join(", ")))
}

fn objective(text: &str) -> Result<Objective, String> {
    let parse = || {
        let (name, limit_ms) = text.split_once(':')?;
        let metric = metric(name).ok().filter(|&metric| metric != Metric::Itl)?;
        Some(Objective { metric, limit_ms: from_zero(limit_ms).ok()? })
    };
    parse().ok_or_else(|| "write ttft, tpot or e2el, a colon, and milliseconds".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    match text {
        "inf" => Ok(f64::INFINITY),
        _ => above_zero(text).map_err(|error| format!("{error}, or inf")),
    }
}

fn above_zero(text: &str) -> Result<f64, String> {
    number(text, |number| number > 0.0, "above 0")
}

fn from_zero(text: &str) -> Result<f64, String> {
    number(text, |number| number >= 0.0, "from 0 up")
}

fn ratio(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..1.0).contains(&number), "from 0 to below 1")
}

fn percent(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..=100.0).contains(&number), "from 0 to 100")
}

fn number(text: &str, fits: impl Fn(f64) -> bool, words: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&number: &f64| number.is_finite() && fits(number));
    number.ok_or_else(|| format!("give a number {words}"))
}
