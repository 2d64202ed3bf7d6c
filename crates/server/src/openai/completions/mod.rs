//! `/v1/completions`.

mod chunks;
mod writer;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chunks::Chunks;
use engine::Prompt;
use engine::output::RequestOutput;
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Heading, Running, StreamOptions, check_stream};
use super::logprobs::{Style, num_candidates};
use super::prompt::{ShownPrompt, Shows, prompt_logprobs_json};
use super::sampling::SamplingFields;
use super::usage::Usage;
use crate::app::App;
use crate::body::{Body, Record};
use crate::error::ApiError;
use crate::request_id;
use crate::served_model::{Generate, ServedModel};
use writer::Writer;

/// OpenAI's default.
const DEFAULT_MAX_TOKENS: usize = 16;

/// Most prompts of one request.
const MAX_NUM_PROMPTS: usize = 1024;

/// Texts to go on with.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct CompletionRequest {
    model: Option<String>,
    prompt: Option<Prompts>,
    logprobs: Option<usize>,
    prompt_logprobs: Option<i32>,
    /// Whether the answer begins with the prompt. With `max_tokens` 0 it is nothing else.
    echo: Option<bool>,
    /// Whether texts get the tokens that the tokenizer puts around a text; they do.
    add_special_tokens: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    request_id: Option<String>,
}

/// What a body has.
pub(crate) type Asked = (CompletionRequest, SamplingFields);

impl Record for CompletionRequest {
    const UNSUPPORTED: &'static [(&'static str, &'static str)] = &[
        ("suffix", "the model writes forward only"),
        ("best_of", "it decodes answers that nobody gets; ask for `n` with logprobs"),
        ("use_beam_search", "the engine has no beam search; ask for `n`"),
        ("kv_transfer_params", "prefill and decode run in one process"),
    ];
}

/// One prompt or several, in text or tokens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`prompt` must be a text, a list of token ids, or a list of either")]
enum Prompts {
    Text(String),
    TokenIds(Vec<u32>),
    Texts(Vec<String>),
    ManyTokenIds(Vec<Vec<u32>>),
}

impl Prompts {
    fn into_list(self, add_special_tokens: bool) -> Vec<Prompt> {
        let prompt = |text| match add_special_tokens {
            true => Prompt::Text(text),
            false => Prompt::BareText(text),
        };
        match self {
            Prompts::Text(text) => vec![prompt(text)],
            Prompts::TokenIds(token_ids) if token_ids.is_empty() => Vec::new(),
            Prompts::TokenIds(token_ids) => vec![Prompt::TokenIds(token_ids)],
            Prompts::Texts(texts) => texts.into_iter().map(prompt).collect(),
            Prompts::ManyTokenIds(lists) => lists.into_iter().map(Prompt::TokenIds).collect(),
        }
    }
}

impl CompletionRequest {
    fn check(&self) -> Result<(), ApiError> {
        check_stream(self.stream, self.stream_options, self.prompt_logprobs)
    }

    /// Likeliest candidates that the engine is asked for, for each token of the prompt.
    fn num_prompt_top(&self) -> Option<i32> {
        let echoed = self.logprobs.filter(|_| self.echo == Some(true)).map(num_candidates);
        match (self.prompt_logprobs, echoed) {
            (Some(-1), _) => Some(-1),
            (own, echoed) => own.max(echoed),
        }
    }
}

/// What the engine is asked, for each prompt.
pub(crate) fn generate(
    (request, sampling): &Asked,
    model: &ServedModel,
) -> Result<Vec<Generate>, ApiError> {
    model.check_name(request.model.as_deref())?;
    let add_special_tokens = request.add_special_tokens.unwrap_or(true);
    let prompts = request.prompt.clone().map(|prompts| prompts.into_list(add_special_tokens));
    let prompts = prompts.unwrap_or_default();
    if prompts.is_empty() || prompts.len() > MAX_NUM_PROMPTS {
        let message = format!("`prompt` has {} texts; give 1 to {MAX_NUM_PROMPTS}", prompts.len());
        return Err(ApiError::bad_field("prompt", message));
    }
    request.check()?;
    let mut params = sampling.params(model, DEFAULT_MAX_TOKENS)?;
    if Echo::of(request, sampling) == Echo::Alone {
        // The engine answers with a token at least.
        (params.max_tokens, params.min_tokens) = (1, 0);
    }
    params.logprobs = request.logprobs.map(num_candidates);
    model.check_logprobs("logprobs", params.logprobs)?;
    model.check_logprobs("prompt_logprobs", request.prompt_logprobs)?;
    params.prompt_logprobs = request.num_prompt_top();
    let options = sampling.options();
    let generate = |prompt| Generate { prompt, params: params.clone(), options: options.clone() };
    Ok(prompts.into_iter().map(generate).collect())
}

/// How much of the text is the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Echo {
    No,
    BeforeAnswer,
    /// Nothing is answered: the caller wants the prompt's log-probabilities.
    Alone,
}

impl Echo {
    fn of(request: &CompletionRequest, sampling: &SamplingFields) -> Echo {
        match (request.echo, sampling.max_tokens) {
            (Some(true), Some(0)) => Echo::Alone,
            (Some(true), _) => Echo::BeforeAnswer,
            _ => Echo::No,
        }
    }
}

/// What is written of an answer.
#[derive(Clone, Copy, Debug)]
struct Form {
    /// Answers to each prompt.
    n: usize,
    echo: Echo,
    logprobs: Option<Style>,
    /// Likeliest candidates of `prompt_logprobs`.
    num_prompt_top: Option<i32>,
    returns_token_ids: bool,
}

impl Form {
    fn new((request, sampling): &Asked) -> Form {
        let as_token_ids = sampling.return_tokens_as_token_ids.unwrap_or(false);
        Form {
            n: sampling.n(),
            echo: Echo::of(request, sampling),
            logprobs: request.logprobs.map(|num_top| Style { num_top, as_token_ids }),
            num_prompt_top: request.prompt_logprobs,
            returns_token_ids: sampling.return_token_ids.unwrap_or(false),
        }
    }

    async fn start(
        &self,
        app: &Arc<App>,
        heading: &Heading,
        headers: &HeaderMap,
        mut generate: Generate,
    ) -> Result<(ShownPrompt, Running), ApiError> {
        let shown = match (self.echo, self.returns_token_ids) {
            (Echo::No, false) => ShownPrompt::default(),
            (Echo::No, true) => ShownPrompt::take(app, &mut generate, Shows::Tokens).await?,
            _ => ShownPrompt::take(app, &mut generate, Shows::Text).await?,
        };
        Ok((shown, Running::start(app, heading, headers, generate).await?))
    }
}

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let prompts = generate(&asked, &app.model)?;
    let form = Form::new(&asked);
    let (request, _) = asked;
    let heading = Heading::new(&app, "cmpl", request_id::of(&headers, request.request_id)?);
    let start = |generate| form.start(&app, &heading, &headers, generate);
    let started = try_join_all(prompts.into_iter().map(start)).await?;
    let (shown, running): (Vec<ShownPrompt>, Vec<Running>) = started.into_iter().unzip();
    if request.stream == Some(true) {
        let options = request.stream_options.unwrap_or_default();
        return Ok(chunks::stream(running, Chunks::new(heading, form, options, shown)));
    }
    let outputs = try_join_all(running.into_iter().map(Running::finish)).await?;
    Ok(Json(whole(&heading, form, &shown, &outputs)).into_response())
}

/// The answers at once: those to a prompt are numbered after those to the prompts before it.
fn whole(heading: &Heading, form: Form, shown: &[ShownPrompt], outputs: &[RequestOutput]) -> Value {
    let mut usage = Usage::default();
    let mut choices = Vec::new();
    for (prompt_idx, (shown, output)) in shown.iter().zip(outputs).enumerate() {
        usage.add(output);
        let prompt_logprobs = output.prompt_logprobs.as_ref().zip(form.num_prompt_top);
        let prompt_logprobs = prompt_logprobs.map(|(list, top)| prompt_logprobs_json(list, top));
        for completion in &output.outputs {
            let mut writer = Writer::new(form);
            writer.begin(shown, output.prompt_logprobs.as_deref().unwrap_or_default());
            let logprobs = completion.logprobs.as_deref().unwrap_or_default();
            writer.add(&completion.text, &completion.token_ids, logprobs);
            let end = (completion.finish_reason, completion.stop_reason.as_ref());
            let mut choice = writer.take(prompt_idx * form.n + completion.index, Some(end));
            choice["prompt_logprobs"] = prompt_logprobs.clone().unwrap_or_default();
            choices.push(choice);
        }
    }
    json!({
        "id": heading.id,
        "object": "text_completion",
        "created": heading.created,
        "model": heading.model,
        "choices": choices,
        "usage": usage.json(),
    })
}
