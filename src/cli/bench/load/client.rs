//! One request to an OpenAI endpoint, and what came back when.

use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::dataset::{Sample, SamplePrompt};
use super::sse::Events;
use crate::cli::error::CliError;

/// Longest that a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most of an error's text that is kept.
const MAX_ERROR_CHARS: usize = 500;

/// Which of the two ways to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// `/v1/completions`
    Completions,
    /// `/v1/chat/completions`
    Chat,
}

/// How an endpoint is reached.
pub(crate) struct Connection<'a> {
    /// `http://HOST:PORT`, without a path.
    pub base_url: &'a str,
    /// Longest that a request may take, from its sending to the end of its answer.
    pub request_timeout: Duration,
    /// Sent with each request.
    pub api_key: Option<&'a str>,
    pub headers: HeaderMap,
    /// Trust any certificate.
    pub insecure: bool,
}

/// An endpoint.
pub(crate) struct Endpoint {
    client: Client,
    base_url: String,
}

/// What all requests of a run have in common.
pub(crate) struct Question {
    pub api: Api,
    /// The path: `/v1/completions`.
    pub path: String,
    pub model: String,
    pub ignore_eos: bool,
    /// Fields besides; they win.
    pub extra_body: Map<String, Value>,
}

/// What came of a request. Times are seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// What went wrong; empty if nothing did.
    pub error: String,
    /// Tokens of the prompt: the endpoint's count if it gives one.
    pub prompt_len: u64,
    /// Tokens of the answer, if the endpoint counts them.
    pub output_tokens: Option<u64>,
    pub text: String,
    /// From sending to the first token.
    pub ttft_s: f64,
    /// From each piece of the answer to the next.
    pub itls_s: Vec<f64>,
    /// From sending to the end.
    pub latency_s: f64,
    /// When it was sent, since the run began.
    pub start_s: f64,
    /// From when it was due until it was sent: it waited for --max-concurrency.
    pub queue_s: f64,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        self.error.is_empty()
    }
}

impl Endpoint {
    /// # Errors
    /// If a header is none, or TLS cannot be set up.
    pub(crate) fn new(connection: &Connection<'_>) -> Result<Endpoint, CliError> {
        // Fails if someone has chosen one before: then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = connection.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = connection.api_key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
                CliError::usage("--api-key has a character that no header may have")
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(connection.request_timeout)
            .tcp_nodelay(true)
            // What an endpoint leads to elsewhere is not what was to be measured.
            .redirect(Policy::none())
            // Without TLS there is nothing to trust, and a system without certificates must not matter.
            .danger_accept_invalid_certs(
                connection.insecure || !connection.base_url.starts_with("https://"),
            )
            .default_headers(headers)
            .build()
            .map_err(|error| CliError::internal(format!("no HTTP client: {}", chain(&error))))?;
        let base_url = connection.base_url.trim_end_matches('/').to_owned();
        Ok(Endpoint { client, base_url })
    }

    /// The first model that the endpoint serves.
    ///
    /// # Errors
    /// If it cannot be asked, or serves none.
    pub(crate) async fn first_model(&self) -> Result<String, CliError> {
        #[derive(Deserialize)]
        struct Models {
            data: Vec<Model>,
        }
        #[derive(Deserialize)]
        struct Model {
            id: String,
        }
        let url = format!("{}/v1/models", self.base_url);
        let asked = async {
            let response = self.client.get(&url).send().await.map_err(|error| chain(&error))?;
            let text = body(refuse_failure(response).await?).await?;
            serde_json::from_str::<Models>(&text).map_err(|error| error.to_string())
        };
        let models = asked.await.map_err(|error| {
            CliError::usage(format!("{url}: {error}")).with_hint(
                "check --base-url and that the server runs, or name the model with --model",
            )
        })?;
        let first = models.data.into_iter().next();
        first.map(|model| model.id).ok_or_else(|| CliError::usage(format!("{url} lists no model")))
    }

    /// Sends a request and reads its answer to the end. What goes wrong is in the answer.
    pub(crate) async fn ask(&self, question: &Question, sample: &Sample) -> Answer {
        let mut answer = Answer { prompt_len: sample.prompt_len as u64, ..Answer::default() };
        let start = Instant::now();
        if let Err(error) = self.read_answer(question, sample, start, &mut answer).await {
            answer.error = error.chars().take(MAX_ERROR_CHARS).collect();
        }
        answer.latency_s = start.elapsed().as_secs_f64();
        answer
    }

    async fn read_answer(
        &self,
        question: &Question,
        sample: &Sample,
        start: Instant,
        answer: &mut Answer,
    ) -> Result<(), String> {
        let request = self.client.post(format!("{}{}", self.base_url, question.path));
        let request = request.header(ACCEPT, "text/event-stream");
        let sent = request.body(question.body(sample).to_string()).send().await;
        let mut response = refuse_failure(sent.map_err(|error| chain(&error))?).await?;
        let mut events = Events::default();
        let mut stream = Stream { answer, start, last: start, has_token: false, has_ended: false };
        while let Some(bytes) = response.chunk().await.map_err(|error| chain(&error))? {
            for data in events.push(&bytes)? {
                stream.event(&data)?;
            }
        }
        match (stream.has_ended, stream.has_token) {
            (false, _) => Err("the stream ended in the middle of the answer".to_owned()),
            (true, false) => Err("the answer has no token".to_owned()),
            (true, true) => Ok(()),
        }
    }
}

impl Question {
    fn body(&self, sample: &Sample) -> Value {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(self.model));
        let prompt = match &sample.prompt {
            SamplePrompt::Text(text) => json!(text),
            SamplePrompt::TokenIds(ids) => json!(ids),
        };
        let (prompt, limit) = match self.api {
            Api::Completions => (("prompt", prompt), "max_tokens"),
            Api::Chat => {
                let messages = json!([{ "role": "user", "content": prompt }]);
                (("messages", messages), "max_completion_tokens")
            }
        };
        body.insert(prompt.0.to_owned(), prompt.1);
        body.insert(limit.to_owned(), json!(sample.output_len));
        body.insert("stream".to_owned(), json!(true));
        body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
        if self.ignore_eos {
            body.insert("ignore_eos".to_owned(), json!(true));
        }
        body.extend(self.extra_body.clone());
        Value::Object(body)
    }
}

/// An event of the stream.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    text: Option<String>,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
    /// vLLM's two names for what a model thinks.
    #[serde(alias = "reasoning")]
    reasoning_content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: Option<u64>,
}

/// An answer that is being read.
struct Stream<'a> {
    answer: &'a mut Answer,
    start: Instant,
    last: Instant,
    has_token: bool,
    has_ended: bool,
}

impl Stream<'_> {
    fn event(&mut self, data: &str) -> Result<(), String> {
        if data == "[DONE]" {
            self.has_ended = true;
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(data)
            .map_err(|error| format!("an event is not what OpenAI's are: {error}: {data}"))?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(format!("the endpoint broke off: {error}"));
        }
        if let Some(usage) = chunk.usage {
            self.answer.prompt_len = usage.prompt_tokens;
            self.answer.output_tokens = usage.completion_tokens;
        }
        for choice in chunk.choices {
            self.choice(choice);
        }
        Ok(())
    }

    /// A piece with text is a token, or several. One without is a token only if none came before: an answer may have no
    /// text at all, and then its end is when its first token was there.
    fn choice(&mut self, choice: Choice) {
        let delta = choice.delta.unwrap_or_default();
        let texts = [choice.text, delta.reasoning_content, delta.content];
        let text: String = texts.into_iter().flatten().collect();
        let is_last = choice.finish_reason.is_some();
        self.has_ended |= is_last;
        if text.is_empty() && (self.has_token || !is_last) {
            return;
        }
        let now = Instant::now();
        if self.has_token {
            self.answer.itls_s.push((now - self.last).as_secs_f64());
        } else {
            self.answer.ttft_s = (now - self.start).as_secs_f64();
        }
        (self.has_token, self.last) = (true, now);
        self.answer.text += &text;
    }
}

/// The response, unless its status says that it is none.
async fn refuse_failure(response: Response) -> Result<Response, String> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    // What it says is worth more than why it could not be read.
    let text = body(response).await.unwrap_or_default();
    Err(format!("{status}: {}", text.trim()))
}

/// Largest answer that is no stream.
const MAX_BODY_BYTES: usize = 4 << 20;

async fn body(mut response: Response) -> Result<String, String> {
    let mut bytes = Vec::new();
    while let Some(more) = response.chunk().await.map_err(|error| chain(&error))? {
        bytes.extend_from_slice(&more);
        if bytes.len() > MAX_BODY_BYTES {
            return Err(format!("the answer is longer than {MAX_BODY_BYTES} bytes"));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An error with what caused it: reqwest's own words leave that out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is understood of these events.
    fn read(events: &[&str]) -> Result<(Answer, bool), String> {
        let mut answer = Answer::default();
        let start = Instant::now();
        let mut stream =
            Stream { answer: &mut answer, start, last: start, has_token: false, has_ended: false };
        events.iter().try_for_each(|event| stream.event(event))?;
        let has_ended = stream.has_ended;
        Ok((answer, has_ended))
    }

    #[test]
    fn tokens_are_counted_by_the_endpoint_and_timed_by_their_pieces() {
        let (answer, has_ended) = read(&[
            r#"{"choices":[{"index":0,"text":"a"}]}"#,
            r#"{"choices":[{"index":0,"text":""}]}"#,
            r#"{"choices":[{"index":0,"text":"bc","finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"text":"","finish_reason":"length"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}"#,
            "[DONE]",
        ])
        .unwrap();
        assert!(has_ended && answer.ttft_s > 0.0);
        assert_eq!((answer.text.as_str(), answer.itls_s.len()), ("abc", 1));
        assert_eq!((answer.prompt_len, answer.output_tokens), (7, Some(5)));
    }

    #[test]
    fn the_role_of_a_message_is_no_token() {
        let (answer, has_ended) = read(&[
            r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"content":"yes"}}]}"#,
        ])
        .unwrap();
        assert_eq!((answer.text.as_str(), answer.itls_s.len(), has_ended), ("hmyes", 1, false));
    }

    #[test]
    fn an_error_in_the_stream_is_told() {
        assert!(
            read(&[r#"{"error":{"message":"out of memory"}}"#]).unwrap_err().contains("memory")
        );
        assert!(read(&["nonsense"]).unwrap_err().contains("nonsense"));
    }
}
