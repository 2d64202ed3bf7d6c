//! Chat templates: messages to a prompt, as transformers renders them with Jinja.
//!
//! A template comes with a model, from anybody. It runs in minijinja with limited means: no files, no other
//! templates, limited steps, and every operation that makes or reads data is paid for from a budget, so that
//! neither time nor memory depends on what the template wants. `sandbox` says how.

mod budget;
mod error;
mod filters;
mod json;
mod message;
mod methods;
mod operators;
mod python;
mod sandbox;
mod strftime;

pub use error::ChatTemplateError;
pub use message::{Content, ContentPart, FunctionCall, Message, ToolCall, ToolKind};

use std::borrow::Cow;
use std::path::Path;

use minijinja::Value;
use serde_json::Map;

use super::error::TokenizerError;
use super::read::read_bounded;

/// Largest template source. Published ones have up to about 25 KB.
pub(super) const MAX_TEMPLATE_BYTES: usize = 256 << 10;

/// Stands behind the text that an answer is to continue, to find where that ends in the prompt. Its space, which
/// templates that trim a message take away, is one that no template writes behind a message.
const CONTINUED_HERE: &str = "kvasir-continues-here\u{2003}";

/// A compiled-checked chat template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: String,
}

/// What a template gets besides the messages.
#[derive(Clone, Debug, Default)]
pub struct RenderOptions<'a> {
    /// Where the prompt ends.
    pub end: PromptEnd,
    /// The template's `bos_token`; undefined in the template if `None`.
    pub bos_token: Option<&'a str>,
    /// The template's `eos_token`; undefined in the template if `None`.
    pub eos_token: Option<&'a str>,
    /// What `strftime_now` shows, in seconds since 1970-01-01 UTC. A template that asks for it fails if
    /// `None`: the same request must give the same prompt.
    pub now_unix_s: Option<i64>,
    /// Tools that the answer may call, as the OpenAI API has them: `{"type": "function", "function": …}`.
    pub tools: &'a [serde_json::Value],
    /// Texts that the answer may draw on, each an object as the template wants it.
    pub documents: &'a [serde_json::Value],
    /// Variables of the template's own, such as `enable_thinking`.
    pub args: Option<&'a Map<String, serde_json::Value>>,
}

/// Where a prompt ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PromptEnd {
    /// Behind the header of the assistant's answer (transformers' `add_generation_prompt`).
    #[default]
    BeforeAnswer,
    /// Behind the last message.
    AfterLastMessage,
    /// Behind the text of the last message, which the answer goes on with (`continue_final_message`).
    InLastMessage,
}

impl ChatTemplate {
    /// Takes a template's source and checks that it compiles.
    ///
    /// # Errors
    /// If it is too large, is not Jinja, or uses what is not supported.
    pub fn new(source: impl Into<String>) -> Result<Self, ChatTemplateError> {
        let source = source.into();
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatTemplateError::TooLarge {
                found: source.len(),
                limit: MAX_TEMPLATE_BYTES,
            });
        }
        // Generation blocks mark the assistant's tokens for training. For a prompt they only are a scope.
        let source = match replace_generation_tags(&source) {
            Cow::Borrowed(_) => source,
            Cow::Owned(replaced) => replaced,
        };
        sandbox::check(&source)?;
        Ok(ChatTemplate { source })
    }

    /// The prompt for `messages`, to be tokenized without adding special tokens.
    ///
    /// Content in parts goes to the template as a list if the template understands lists, otherwise as one
    /// text, the parts joined with line feeds.
    ///
    /// # Errors
    /// If there is no message, the template raises an error or fails, or it reaches a limit; if there are tools,
    /// documents or arguments that the template has no place for; and if the last message is to be continued and is
    /// not found in the prompt.
    pub fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions<'_>,
    ) -> Result<String, ChatTemplateError> {
        let Some((last, before)) = messages.split_last() else {
            return Err(ChatTemplateError::NoMessages);
        };
        self.check_options(options)?;
        let has_parts =
            messages.iter().any(|message| matches!(message.content, Some(Content::Parts(_))));
        let as_lists = has_parts && self.understands_lists(options);
        let mut last = Cow::Borrowed(last);
        if options.end == PromptEnd::InLastMessage {
            let text = last.to_mut().last_text_mut();
            text.ok_or(ChatTemplateError::NothingToContinue)?.push_str(CONTINUED_HERE);
        }
        let messages = before.iter().chain([last.as_ref()]);
        let messages: Vec<Value> = messages.map(|message| message.to_value(as_lists)).collect();
        let mut prompt = sandbox::render(&self.source, messages, options)?;
        if options.end == PromptEnd::InLastMessage {
            cut_at_tag(&mut prompt)?;
        }
        Ok(prompt)
    }

    /// Whatever a template is given must be able to change the prompt.
    fn check_options(&self, options: &RenderOptions<'_>) -> Result<(), ChatTemplateError> {
        if !options.tools.is_empty() && !self.takes_tools() {
            return Err(ChatTemplateError::NoTools);
        }
        let args = options.args.filter(|args| !args.is_empty());
        if args.is_none() && options.documents.is_empty() {
            return Ok(());
        }
        let variables = sandbox::variables(&self.source)?;
        if !options.documents.is_empty() && !variables.contains("documents") {
            return Err(ChatTemplateError::NoDocuments);
        }
        let own = || variables.iter().filter(|name| !sandbox::GIVEN.contains(&name.as_str()));
        match args.into_iter().flat_map(Map::keys).find(|&arg| !own().any(|name| name == arg)) {
            None => Ok(()),
            Some(name) if sandbox::GIVEN.contains(&name.as_str()) => {
                Err(ChatTemplateError::GivenArg { name: name.clone() })
            }
            Some(name) => {
                let own = own().cloned().collect();
                Err(ChatTemplateError::UnknownArg { name: name.clone(), own })
            }
        }
    }

    /// Whether a list of parts comes out as their text. Templates made for plain text fail on a list, or
    /// write it out with its brackets.
    fn understands_lists(&self, options: &RenderOptions<'_>) -> bool {
        const PROBE: &str = "kvasir probes this template";
        let parts = Content::Parts(vec![ContentPart::text(PROBE)]);
        let probe = Message { content: Some(parts), ..Message::new("user", "") };
        sandbox::render(&self.source, vec![probe.to_value(true)], options).is_ok_and(|prompt| {
            prompt.contains(PROBE) && !prompt.contains("'type'") && !prompt.contains("\"type\"")
        })
    }

    /// Whether a model hears of the tools that it may call. Templates without a place for them do not say so.
    pub fn takes_tools(&self) -> bool {
        const PROBE: &str = "kvasir_probes_this_template";
        let function = serde_json::json!({
            "name": PROBE,
            "description": "",
            "parameters": { "type": "object", "properties": {} },
        });
        let tools = [serde_json::json!({ "type": "function", "function": function })];
        let options =
            RenderOptions { tools: &tools, now_unix_s: Some(0), ..RenderOptions::default() };
        sandbox::render(&self.source, vec![Message::new("user", "").to_value(false)], &options)
            .is_ok_and(|prompt| prompt.contains(PROBE))
    }

    /// What the template is written in.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The template in a file.
    ///
    /// # Errors
    /// If it cannot be read, or the template is unusable.
    pub fn from_file(path: &Path) -> Result<Self, ChatTemplateError> {
        let file = path.display().to_string();
        let bytes = read_bounded(path, MAX_TEMPLATE_BYTES as u64)?;
        let bytes = bytes.ok_or_else(|| TokenizerError::Parse {
            file: file.clone(),
            reason: "there is no such file".to_owned(),
        })?;
        let parse_error = |reason: String| TokenizerError::Parse { file, reason };
        Self::new(String::from_utf8(bytes).map_err(|error| parse_error(error.to_string()))?)
    }

    /// The template of a Hugging Face directory: `chat_template.jinja`, or that of
    /// `tokenizer_config.json`. `None` if there is none.
    ///
    /// # Errors
    /// If a file cannot be read, or the template is unusable.
    pub fn from_dir(dir: &Path) -> Result<Option<Self>, ChatTemplateError> {
        source_in_dir(dir)?.map(ChatTemplate::new).transpose()
    }
}

/// Ends the prompt where the tag is. As in transformers, a template that trims the message is followed in that.
fn cut_at_tag(prompt: &mut String) -> Result<(), ChatTemplateError> {
    let tag = CONTINUED_HERE.trim_end();
    let at = prompt.rfind(tag).ok_or(ChatTemplateError::NothingToContinue)?;
    let is_trimmed = !prompt[at..].starts_with(CONTINUED_HERE);
    prompt.truncate(at);
    // A template that writes the message twice leaves it open which one is continued.
    if prompt.contains(tag) {
        return Err(ChatTemplateError::NothingToContinue);
    }
    if is_trimmed {
        prompt.truncate(python::strip(prompt, None, false, true).len());
    }
    Ok(())
}

/// Largest `tokenizer_config.json`; it may list all added tokens.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// The source of a directory's template, by priority.
pub(super) fn source_in_dir(dir: &Path) -> Result<Option<String>, TokenizerError> {
    let path = dir.join("chat_template.jinja");
    let parse_error = |path: &Path, reason: String| TokenizerError::Parse {
        file: path.display().to_string(),
        reason,
    };
    if let Some(bytes) = read_bounded(&path, MAX_TEMPLATE_BYTES as u64)? {
        return String::from_utf8(bytes).map(Some).map_err(|e| parse_error(&path, e.to_string()));
    }
    let path = dir.join("tokenizer_config.json");
    let Some(bytes) = read_bounded(&path, MAX_CONFIG_BYTES)? else {
        return Ok(None);
    };
    let config: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| parse_error(&path, e.to_string()))?;
    source_in_config(&config["chat_template"]).map_err(|reason| parse_error(&path, reason))
}

/// A template's source as `tokenizer_config.json` has it: a text, or a list of named ones of which
/// `default` counts.
fn source_in_config(template: &serde_json::Value) -> Result<Option<String>, String> {
    match template {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(source) => Ok(Some(source.clone())),
        serde_json::Value::Array(named) => named
            .iter()
            .find(|entry| entry["name"] == "default")
            .and_then(|entry| entry["template"].as_str())
            .map(|source| Some(source.to_owned()))
            .ok_or_else(|| "none of the chat templates is named `default`".into()),
        _ => Err("chat_template must be a text or a list of named texts".into()),
    }
}

/// Turns `{% generation %}` and `{% endgeneration %}` into the tags of a plain scope.
fn replace_generation_tags(source: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    for (at, _) in source.match_indices("{%") {
        let tag_start = at + 2;
        let body = &source[tag_start..];
        let inner = body.trim_start_matches(['-', '+']).trim_start();
        let (name, scope) = if inner.starts_with("endgeneration") {
            ("endgeneration", "endwith")
        } else {
            ("generation", "with")
        };
        let Some(rest) = inner.strip_prefix(name) else {
            continue;
        };
        if !rest.trim_start().trim_start_matches(['-', '+']).starts_with("%}") {
            continue;
        }
        let name_start = tag_start + (body.len() - inner.len());
        out.push_str(&source[copied..name_start]);
        out.push_str(scope);
        copied = name_start + name.len();
    }
    if copied == 0 {
        return Cow::Borrowed(source);
    }
    out.push_str(&source[copied..]);
    Cow::Owned(out)
}
