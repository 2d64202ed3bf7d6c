//! The engine's thread: takes commands between steps, and hands out what steps give.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_channel::{Receiver, Sender};
use engine_core::request::SamplingParams;
use engine_core::scheduler::Refusal;

use super::AsyncLlm;
use super::stream::{Feed, RequestStream, stream};
use crate::error::LlmError;
use crate::llm::{Llm, RequestId, RequestOptions, RequestUpdate, StepOutcome};
use crate::prompt::Prompt;
use crate::status::EngineStatus;

/// What the thread is asked to do.
pub(super) enum Command {
    /// Queue a request.
    Add {
        prompt: Prompt,
        params: Box<SamplingParams>,
        options: RequestOptions,
        reply: Sender<Result<RequestStream, LlmError>>,
    },
    /// Run a function on the engine.
    Call(Box<dyn FnOnce(&mut Llm) + Send>),
}

/// The thread's state.
pub(super) struct Worker {
    llm: Llm,
    commands: Receiver<Command>,
    feeds: BTreeMap<RequestId, Feed>,
    status: Arc<Mutex<EngineStatus>>,
    step_observer: Box<dyn FnMut(StepOutcome<'_>) + Send>,
    /// Token rows of all steps that have been told of.
    num_told_tokens: u64,
}

impl Worker {
    pub(super) fn new(
        llm: Llm,
        commands: Receiver<Command>,
        status: Arc<Mutex<EngineStatus>>,
        step_observer: Box<dyn FnMut(StepOutcome<'_>) + Send>,
    ) -> Self {
        let num_told_tokens = llm.stats().num_scheduled_tokens;
        let feeds = BTreeMap::new();
        Worker { llm, commands, feeds, status, step_observer, num_told_tokens }
    }

    /// Works until nobody can command any more.
    pub(super) fn run(mut self) {
        while self.take_commands() {
            self.withdraw_abandoned();
            self.show_status();
            if self.llm.has_unfinished() {
                let updates = self.llm.step();
                self.tell_of_step(&updates);
                // Whoever hears of the end of a request must not see it among those that run.
                self.show_status();
                self.hand_out(updates);
            }
        }
    }

    /// Obeys all commands there are, and waits for one if there is nothing else to do; `false`
    /// when no more will come.
    fn take_commands(&mut self) -> bool {
        if !self.llm.has_unfinished() {
            match self.commands.recv_blocking() {
                Ok(command) => self.obey(command),
                Err(_) => return false,
            }
        }
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
        !self.commands.is_closed()
    }

    fn tell_of_step(&mut self, updates: &[RequestUpdate]) {
        let num_tokens = self.llm.stats().num_scheduled_tokens;
        let num_rows = num_tokens.saturating_sub(self.num_told_tokens) as usize;
        self.num_told_tokens = num_tokens;
        (self.step_observer)(StepOutcome { num_rows, updates });
    }

    fn show_status(&self) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = self.llm.status();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add { prompt, params, options, reply } => {
                let added = self.add(prompt, *params, options);
                // A caller that has stopped waiting drops the stream, which withdraws the request.
                let _ = reply.try_send(added);
            }
            Command::Call(f) => {
                self.withdraw_abandoned();
                f(&mut self.llm);
            }
        }
    }

    fn add(
        &mut self,
        prompt: Prompt,
        params: SamplingParams,
        options: RequestOptions,
    ) -> Result<RequestStream, LlmError> {
        let max_num_queued_reqs = self.llm.scheduler_config().max_num_queued_reqs;
        let max_num_queued_reqs =
            max_num_queued_reqs.unwrap_or(AsyncLlm::DEFAULT_MAX_NUM_QUEUED_REQS);
        let n = params.n;
        if n > max_num_queued_reqs {
            return Err(LlmError::QueueTooShort { n, max_num_queued_reqs });
        }
        if self.llm.num_waiting().saturating_add(n) > max_num_queued_reqs {
            return Err(Refusal::QueueFull { max_num_queued_reqs }.into());
        }
        let id = self.llm.add_request_with(prompt, params, options)?;
        let (feed, stream) = stream(id);
        self.feeds.insert(id, feed);
        Ok(stream)
    }

    fn withdraw_abandoned(&mut self) {
        let llm = &mut self.llm;
        self.feeds.retain(|&id, feed| {
            let is_abandoned = feed.is_abandoned();
            if is_abandoned {
                llm.abort(id);
            }
            !is_abandoned
        });
    }

    fn hand_out(&mut self, updates: Vec<RequestUpdate>) {
        for update in updates {
            let (id, is_last) = (update.id, update.finished.is_some());
            if let Some(feed) = self.feeds.get(&id) {
                feed.push(update);
            }
            if is_last {
                self.feeds.remove(&id);
            }
        }
    }
}
