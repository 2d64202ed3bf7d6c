//! The engine for async callers: one thread runs the steps, and each request is a stream.
//!
//! Nothing here needs a runtime of its own; any executor can poll the streams. A stream that its
//! reader is slow to poll costs no more memory than the request's answer: what has not been read is
//! merged. A stream that is dropped withdraws its request.

mod stream;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use async_channel::Sender;
use engine_core::request::SamplingParams;

pub use stream::RequestStream;
use worker::{Command, Worker};

use crate::error::LlmError;
use crate::llm::{Llm, RequestOptions, StepOutcome};
use crate::prompt::Prompt;
use crate::status::EngineStatus;

/// Requests on their way to the engine's thread; whoever comes when so many are waits to be let in.
const MAX_NUM_COMMANDS: usize = 1024;

/// An [`Llm`] on a thread of its own.
///
/// ```
/// use futures_util::StreamExt;
/// use engine::{AsyncLlm, Llm, SamplingParams};
///
/// # let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/families/llama");
/// # pollster::block_on(async {
/// let llm = AsyncLlm::new(Llm::builder(model).build()?)?;
/// let params = SamplingParams { max_tokens: 4, temperature: 0.0, ..SamplingParams::default() };
/// let mut stream = llm.generate(vec![86, 14, 3], params).await?;
/// let mut token_ids = Vec::new();
/// while let Some(update) = stream.next().await {
///     token_ids.extend(update?.new_token_ids);
/// }
/// assert_eq!(token_ids.len(), 4);
/// # Ok::<(), engine::LlmError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct AsyncLlm {
    commands: Sender<Command>,
    status: Arc<Mutex<EngineStatus>>,
    worker: Option<JoinHandle<()>>,
}

impl AsyncLlm {
    /// Most requests that wait unless `max_num_queued_reqs` says how many: with each no longer than
    /// `max_model_len`, memory is bounded however many come.
    pub const DEFAULT_MAX_NUM_QUEUED_REQS: usize = 4096;

    /// Gives `llm` a thread.
    ///
    /// # Errors
    /// [`LlmError::Thread`] when the system has none.
    pub fn new(llm: Llm) -> Result<AsyncLlm, LlmError> {
        Self::with_step_observer(llm, |_| ())
    }

    /// The same, with somebody who is told, between steps, what the last one did.
    ///
    /// # Errors
    /// As [`AsyncLlm::new`].
    pub fn with_step_observer(
        llm: Llm,
        step_observer: impl FnMut(StepOutcome<'_>) + Send + 'static,
    ) -> Result<AsyncLlm, LlmError> {
        let (commands, receiver) = async_channel::bounded(MAX_NUM_COMMANDS);
        let status = Arc::new(Mutex::new(llm.status()));
        let shown = Arc::clone(&status);
        let worker = thread::Builder::new()
            .name("kvasir-engine".into())
            .spawn(move || Worker::new(llm, receiver, shown, Box::new(step_observer)).run())
            .map_err(LlmError::Thread)?;
        Ok(AsyncLlm { commands, status, worker: Some(worker) })
    }

    /// How busy the engine was after its last step; answers at once, however long a step takes.
    pub fn status(&self) -> EngineStatus {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the engine's thread works.
    pub fn is_alive(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| !worker.is_finished())
    }

    /// Queues a request; its answer comes through the stream.
    ///
    /// # Errors
    /// [`LlmError`] if it could never be answered or the queue is full; [`LlmError::Stopped`] when
    /// the engine's thread has ended.
    pub async fn generate(
        &self,
        prompt: impl Into<Prompt>,
        params: SamplingParams,
    ) -> Result<RequestStream, LlmError> {
        self.generate_with(prompt, params, RequestOptions::default()).await
    }

    /// The same with a priority or a cache salt.
    ///
    /// # Errors
    /// As [`AsyncLlm::generate`].
    pub async fn generate_with(
        &self,
        prompt: impl Into<Prompt>,
        params: SamplingParams,
        options: RequestOptions,
    ) -> Result<RequestStream, LlmError> {
        let (reply, answer) = async_channel::bounded(1);
        let (prompt, params) = (prompt.into(), Box::new(params));
        let add = Command::Add { prompt, params, options, reply };
        self.commands.send(add).await.map_err(|_| LlmError::Stopped)?;
        answer.recv().await.map_err(|_| LlmError::Stopped)?
    }

    /// Does something with the engine between two steps: looks at its counters, say.
    ///
    /// # Errors
    /// [`LlmError::Stopped`] when the engine's thread has ended.
    pub async fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Llm) -> T + Send + 'static,
    ) -> Result<T, LlmError> {
        let (reply, answer) = async_channel::bounded(1);
        let call = Command::Call(Box::new(move |llm| {
            // Nobody waits for the answer if the caller is gone.
            let _ = reply.try_send(f(llm));
        }));
        self.commands.send(call).await.map_err(|_| LlmError::Stopped)?;
        answer.recv().await.map_err(|_| LlmError::Stopped)
    }
}

impl Drop for AsyncLlm {
    /// Ends the thread after the step in progress. Streams that are still read end with
    /// [`LlmError::Stopped`].
    fn drop(&mut self) {
        self.commands.close();
        if let Some(worker) = self.worker.take() {
            // A panic of the worker has already ended every stream.
            let _ = worker.join();
        }
    }
}
