//! The vocabulary as the compiler sees it, and the limits that a compilation keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use engine_core::request::{StructuredOutputs, TokenId};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use super::error::StructuredError;
use super::form;
use crate::text::Tokenizer;

/// Stack of a compilation; parsers recurse as deep as brackets nest.
const STACK_BYTES: usize = 32 << 20;
/// Longest compilation. The compiler counts its own work; this is for what it does not count.
const MAX_SECONDS: u64 = 10;
/// Compilations at once; more than one only if some were given up and have not ended.
const MAX_RUNNING: usize = 4;
/// States of a lexer, at 1 to 2 KB each.
const MAX_LEXER_STATES: usize = 20_000;

/// What is shown of an error; it may quote the form.
const MAX_ERROR_CHARS: usize = 500;

/// Compiles forms for one vocabulary.
pub(super) struct Compiler {
    factory: Arc<ParserFactory>,
    num_ids: usize,
    running: Arc<AtomicUsize>,
}

impl Compiler {
    pub(super) fn new(
        tokenizer: &Tokenizer,
        eos_token_ids: &[TokenId],
    ) -> Result<Self, StructuredError> {
        let mut words = tokenizer.token_bytes().ok_or(StructuredError::WordVocabulary)?;
        let num_ids = words.len();
        for token_id in eos_token_ids {
            if let Some(word) = words.get_mut(token_id.0 as usize) {
                word.clear();
            }
        }
        // The library's own end of sequence, which no vocabulary has.
        words.push(Vec::new());
        let info = TokRxInfo::new(words.len() as u32, num_ids as u32);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &words)));
        let slices = SlicedBiasComputer::general_slices();
        let invalid = |error: &dyn std::fmt::Display| StructuredError::Parser {
            reason: format!("the vocabulary cannot be used: {error}"),
        };
        let mut factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices)
            .map_err(|error| invalid(&error))?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.max_lexer_states = MAX_LEXER_STATES;
        limits.verbose_errors = false;
        Ok(Compiler { factory: Arc::new(factory), num_ids, running: Arc::default() })
    }

    /// Ids of the vocabulary.
    pub(super) fn num_ids(&self) -> usize {
        self.num_ids
    }

    /// Compiles a form, on a thread of its own: with a stack as deep as needed, and no longer than
    /// is bearable.
    pub(super) fn compile(&self, form: &StructuredOutputs) -> Result<Matcher, StructuredError> {
        let kind = form::kind(form);
        let grammar = form::grammar(form)?;
        if self.running.load(Ordering::Relaxed) >= MAX_RUNNING {
            return Err(StructuredError::Busy);
        }
        let (sender, receiver) = sync_channel(1);
        let factory = Arc::clone(&self.factory);
        let running = Running::new(&self.running);
        let compile = move || {
            let matcher = Matcher::new(factory.create_parser(grammar));
            drop(running);
            // Nobody listens if it was given up.
            let _ = sender.send(matcher);
        };
        let invalid = |reason: String| StructuredError::Invalid { kind, reason };
        thread::Builder::new()
            .name("structured-outputs".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(compile)
            .map_err(|error| invalid(format!("no thread to compile it: {error}")))?;
        match receiver.recv_timeout(Duration::from_secs(MAX_SECONDS)) {
            Ok(matcher) => match matcher.get_error() {
                Some(error) => Err(invalid(in_one_line(&error))),
                None => Ok(matcher),
            },
            Err(RecvTimeoutError::Timeout) => {
                Err(StructuredError::TooSlow { kind, seconds: MAX_SECONDS })
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(invalid("the compiler failed on it".to_owned()))
            }
        }
    }
}

/// Counts a compilation while it runs, even if it panics.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The library's error in one line, without its own state and without end.
pub(super) fn in_one_line(error: &str) -> String {
    let lines = error.lines().map(str::trim).take_while(|line| !line.starts_with('<'));
    let line: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    line.join(" ").chars().take(MAX_ERROR_CHARS).collect()
}
