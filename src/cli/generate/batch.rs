//! A file of requests: every line is checked before any is answered; the answers keep the order.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Instant;

use engine::text::Message;
use engine::weights::GenerationConfig;
use engine::{Llm, Prompt, RequestId, RequestOutput, SamplingParams};

use super::load;
use super::print_summary;
use crate::cli::args::GenerateArgs;
use crate::cli::bars;
use crate::cli::engine_setup::engine_error;
use crate::cli::error::CliError;
use crate::cli::in_order::InOrder;
use crate::cli::jsonl::{LineRequest, parse_line};
use crate::cli::output_line::OutputLine;
use crate::cli::overrides::model_defaults;
use crate::cli::summary::{Summary, Tally};

/// Longest line that is read.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// A request and where it stands: "FILE, line N".
#[derive(Debug)]
struct PlacedRequest {
    place: String,
    request: LineRequest,
}

pub(super) fn run(input: &Path, args: &GenerateArgs) -> Result<(), CliError> {
    let output = args.files.output.as_deref().filter(|path| *path != Path::new("-"));
    if let Some(output) = output {
        refuse_same_file(input, output)?;
    }
    let requests = read_requests(input)?;
    // Before a model is loaded, and again with what it says of itself.
    check_ranges(&requests, &defaults(&GenerationConfig::default(), args))?;
    let mut llm = load(args)?;
    let defaults = defaults(llm.generation_config(), args);
    check_ranges(&requests, &defaults)?;
    let order = submit(&mut llm, requests, &defaults, args)?;
    let mut writer = open_output(output)?;
    let started = Instant::now();
    let tallies = answer_all(&mut llm, &order, &mut writer)?;
    let summary = Summary::new(&tallies, started.elapsed());
    llm.check_record().map_err(|error| engine_error(&error))?;
    print_summary(&summary, args.json, None)
}

/// Writing the answers would cut off the questions.
fn refuse_same_file(input: &Path, output: &Path) -> Result<(), CliError> {
    match (fs::canonicalize(input), fs::canonicalize(output)) {
        (Ok(a), Ok(b)) if a == b => Err(CliError::usage("--input and --output are the same file")
            .with_hint("give --output another name")),
        _ => Ok(()),
    }
}

fn read_requests(input: &Path) -> Result<Vec<PlacedRequest>, CliError> {
    let requests = if input == Path::new("-") {
        parse_lines("standard input", io::stdin().lock())?
    } else {
        let file = File::open(input).map_err(|error| CliError::file("read", input, &error))?;
        parse_lines(&input.display().to_string(), BufReader::new(file))?
    };
    if requests.is_empty() {
        return Err(CliError::usage(format!("{} has no requests", input.display()))
            .with_hint("write one JSON object per line, such as {\"prompt\": \"Hello\"}"));
    }
    Ok(requests)
}

fn parse_lines(name: &str, mut reader: impl BufRead) -> Result<Vec<PlacedRequest>, CliError> {
    let mut requests = Vec::new();
    let mut bytes = Vec::new();
    for line in 1_u64.. {
        let place = format!("{name}, line {line}");
        bytes.clear();
        let len = (&mut reader)
            .take(MAX_LINE_BYTES + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| CliError::usage(format!("cannot read it: {error}")).at(&place))?;
        if len == 0 {
            break;
        }
        if len as u64 > MAX_LINE_BYTES {
            return Err(CliError::usage(format!("longer than {MAX_LINE_BYTES} bytes")).at(&place));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| CliError::usage(format!("not UTF-8: {error}")).at(&place))?;
        if text.trim().is_empty() {
            continue;
        }
        let request = parse_line(text).map_err(|error| error.at(&place))?;
        requests.push(PlacedRequest { place, request });
    }
    Ok(requests)
}

/// The layers below a line's own.
fn defaults(model: &GenerationConfig, args: &GenerateArgs) -> SamplingParams {
    let mut params = model_defaults(model, args.sampling.max_tokens);
    args.sampling.overrides().apply(&mut params);
    params
}

/// Refuses values that no model takes.
fn check_ranges(requests: &[PlacedRequest], defaults: &SamplingParams) -> Result<(), CliError> {
    for PlacedRequest { place, request } in requests {
        let mut params = defaults.clone();
        request.sampling.apply(&mut params);
        params.validate().map_err(|error| CliError::from_usage_error(&error).at(place))?;
    }
    Ok(())
}

/// Queues every request, in order; the engine refuses at once what it could never finish.
fn submit(
    llm: &mut Llm,
    requests: Vec<PlacedRequest>,
    defaults: &SamplingParams,
    args: &GenerateArgs,
) -> Result<HashMap<RequestId, usize>, CliError> {
    let flags = args.request.overrides();
    let mut order = HashMap::with_capacity(requests.len());
    for (index, PlacedRequest { place, request }) in requests.into_iter().enumerate() {
        let mut params = defaults.clone();
        request.sampling.apply(&mut params);
        let prompt = match request.prompt {
            Prompt::Text(text) if args.chat.chat => Prompt::from(vec![Message::new("user", text)]),
            prompt => prompt,
        };
        let id = llm
            .add_request_with(
                args.chat.with_template_args(prompt),
                params,
                request.options.over(&flags),
            )
            .map_err(|error| engine_error(&error).at(&place))?;
        order.insert(id, index);
    }
    Ok(order)
}

/// Where answers go, and what to call it.
struct Output {
    name: String,
    writer: Box<dyn Write>,
}

fn open_output(path: Option<&Path>) -> Result<Output, CliError> {
    let Some(path) = path else {
        return Ok(Output {
            name: "standard output".to_owned(),
            writer: Box::new(BufWriter::new(io::stdout())),
        });
    };
    let file = File::create(path).map_err(|error| CliError::file("write", path, &error))?;
    Ok(Output { name: path.display().to_string(), writer: Box::new(BufWriter::new(file)) })
}

impl Output {
    fn write(&mut self, index: usize, output: &RequestOutput) -> Result<(), CliError> {
        let mut line = serde_json::to_vec(&OutputLine::new(index, output))
            .map_err(|error| CliError::from_internal_error(&error))?;
        line.push(b'\n');
        self.writer.write_all(&line).map_err(|error| CliError::output(&self.name, &error))
    }

    fn flush(&mut self) -> Result<(), CliError> {
        self.writer.flush().map_err(|error| CliError::output(&self.name, &error))
    }
}

/// Steps the engine until nothing is left; each answer goes out once all earlier ones have.
fn answer_all(
    llm: &mut Llm,
    order: &HashMap<RequestId, usize>,
    output: &mut Output,
) -> Result<Vec<Tally>, CliError> {
    let bar = bars::counting(order.len() as u64, "requests");
    let mut tallies = Vec::with_capacity(order.len());
    let mut waiting = InOrder::new();
    let mut failure = None;
    while llm.has_unfinished() {
        for update in llm.step() {
            // The line of a request that failed says so; the others have theirs all the same.
            failure = failure.or(update.error);
            let (Some(answer), Some(&index)) = (update.finished, order.get(&update.id)) else {
                continue;
            };
            bar.inc(1);
            tallies.push(Tally::from(&answer));
            let ready = waiting.push(index, (index, answer));
            for (index, answer) in &ready {
                output.write(*index, answer)?;
            }
            if !ready.is_empty() {
                output.flush()?;
            }
        }
    }
    bar.finish_and_clear();
    match failure {
        Some(error) => Err(CliError::from_internal_error(&error)),
        None => Ok(tallies),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_blank_ones_too() {
        let text = "{\"prompt\": \"a\"}\n\n  \r\n{\"prompt\": \"b\"}";
        let requests = parse_lines("x", text.as_bytes()).unwrap();
        let places: Vec<&str> = requests.iter().map(|request| request.place.as_str()).collect();
        assert_eq!(places, ["x, line 1", "x, line 4"]);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, expected) in [
            (
                &b"{\"prompt\": \"a\"}\n{\"promt\": 1}\n"[..],
                "x.jsonl, line 2: unknown field `promt`",
            ),
            (b"\n\xff\n", "x.jsonl, line 2: not UTF-8"),
            (b"nonsense", "x.jsonl, line 1: not valid JSON"),
        ] {
            let Err(CliError::Usage { message, .. }) = parse_lines("x.jsonl", text) else {
                panic!("{expected}");
            };
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
