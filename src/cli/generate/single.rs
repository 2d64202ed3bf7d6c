//! One prompt: the answer is printed as it comes.

use std::io::{self, Read, Write};
use std::time::Instant;

use engine::text::Message;
use engine::{Llm, Prompt, RequestOutput};

use super::load;
use super::print_summary;
use crate::cli::args::{ChatArgs, GenerateArgs};
use crate::cli::engine_setup::engine_error;
use crate::cli::error::CliError;
use crate::cli::overrides::{OptionOverrides, model_defaults};
use crate::cli::summary::{Summary, Tally};

/// Longest prompt that is read from standard input.
const MAX_STDIN_BYTES: u64 = 64 << 20;

pub(super) fn run(prompt: &str, args: &GenerateArgs) -> Result<(), CliError> {
    let text = match prompt {
        "-" => read_stdin()?,
        prompt => prompt.to_owned(),
    };
    if text.trim().is_empty() {
        return Err(CliError::usage("the prompt is empty").with_hint("say what to answer"));
    }
    refuse_unseen_logprobs(args)?;
    let mut llm = load(args)?;
    let prompt = chat_or_raw(text, &args.chat, llm.has_chat_template())?;
    let mut params = model_defaults(llm.generation_config(), args.sampling.max_tokens);
    args.sampling.overrides().apply(&mut params);
    params.validate().map_err(|error| CliError::from_usage_error(&error))?;
    let started = Instant::now();
    let options = args.request.overrides().over(&OptionOverrides::default());
    llm.add_request_with(prompt, params, options).map_err(|error| engine_error(&error))?;
    let Some(output) = stream(&mut llm)? else {
        return Err(CliError::internal("the engine ended without an answer"));
    };
    let summary = Summary::new(&[Tally::from(&output)], started.elapsed());
    llm.check_record().map_err(|error| engine_error(&error))?;
    print_summary(&summary, args.json, Some(&output))
}

fn read_stdin() -> Result<String, CliError> {
    let mut text = String::new();
    io::stdin()
        .take(MAX_STDIN_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| CliError::usage(format!("cannot read standard input: {error}")))?;
    if text.len() as u64 > MAX_STDIN_BYTES {
        return Err(CliError::usage(format!(
            "standard input is longer than {MAX_STDIN_BYTES} bytes"
        )));
    }
    // The end of the last line belongs to the shell, not to the prompt.
    let end = text.strip_suffix('\n').map_or(text.len(), str::len);
    text.truncate(end);
    Ok(text)
}

/// A streamed answer has no place for log-probabilities.
fn refuse_unseen_logprobs(args: &GenerateArgs) -> Result<(), CliError> {
    let asked = [
        ("--logprobs", args.sampling.logprobs),
        ("--prompt-logprobs", args.sampling.prompt_logprobs),
    ];
    match asked.iter().find(|(_, count)| count.is_some()) {
        Some((flag, _)) if !args.json => {
            Err(CliError::usage(format!("{flag} has no effect on a streamed answer"))
                .with_hint("add --json to get them with the summary, or use --input"))
        }
        _ => Ok(()),
    }
}

/// A user's message if the model has a chat template and nobody said otherwise.
fn chat_or_raw(text: String, chat: &ChatArgs, has_template: bool) -> Result<Prompt, CliError> {
    let needs_template = [
        ("--chat", chat.chat),
        ("--system", chat.system.is_some()),
        ("--chat-template-kwargs", chat.chat_template_kwargs.is_some()),
    ];
    if let Some((flag, _)) = needs_template.iter().find(|(_, is_given)| *is_given && !has_template)
    {
        return Err(CliError::usage(format!("the model has no chat template, which {flag} needs"))
            .with_hint("leave the flag out, or choose a model that was trained to chat"));
    }
    if chat.raw || !has_template {
        return Ok(Prompt::Text(text));
    }
    let system = chat.system.iter().map(|system| Message::new("system", system));
    let messages: Vec<Message> = system.chain([Message::new("user", text)]).collect();
    Ok(chat.with_template_args(Prompt::from(messages)))
}

/// Runs the engine and prints what it says, piece by piece.
fn stream(llm: &mut Llm) -> Result<Option<RequestOutput>, CliError> {
    let closed = |error: io::Error| CliError::output("standard output", &error);
    let mut out = io::stdout().lock();
    let mut ends_line = true;
    let mut finished = None;
    while llm.has_unfinished() {
        for update in llm.step() {
            if let Some(error) = update.error {
                return Err(CliError::from_internal_error(&error));
            }
            if !update.text_delta.is_empty() {
                out.write_all(update.text_delta.as_bytes()).map_err(closed)?;
                out.flush().map_err(closed)?;
                ends_line = update.text_delta.ends_with('\n');
            }
            finished = update.finished.or(finished);
        }
    }
    if !ends_line {
        out.write_all(b"\n").and_then(|()| out.flush()).map_err(closed)?;
    }
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(chat: bool, raw: bool, system: Option<&str>) -> ChatArgs {
        ChatArgs { chat, raw, system: system.map(str::to_owned), chat_template_kwargs: None }
    }

    #[test]
    fn a_prompt_is_a_message_if_the_model_knows_messages() {
        let user = || Message::new("user", "hi");
        let prompt = |args, template| chat_or_raw("hi".to_owned(), &args, template);
        let plain = prompt(chat(false, false, None), true).unwrap();
        assert_eq!(plain, Prompt::from(vec![user()]));
        let raw = prompt(chat(false, true, None), true).unwrap();
        assert_eq!(raw, Prompt::Text("hi".to_owned()));
        let base_model = prompt(chat(false, false, None), false).unwrap();
        assert_eq!(base_model, Prompt::Text("hi".to_owned()));
        let system = prompt(chat(true, false, Some("be brief")), true).unwrap();
        assert_eq!(system, Prompt::from(vec![Message::new("system", "be brief"), user()]));
        assert!(prompt(chat(true, false, None), false).is_err());
        assert!(prompt(chat(false, false, Some("x")), false).is_err());
    }
}
