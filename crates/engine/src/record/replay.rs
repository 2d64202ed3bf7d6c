//! Running a recorded run again.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use engine_core::request::{FinishReason, SeqId};

use super::options::builder;
use super::{Event, FORMAT, Header, RecordedRequest};
use crate::error::LlmError;
use crate::llm::Llm;
use crate::run_loop::{Observed, StepDigest};

/// Longest line that is read: a prompt of sixteen million tokens.
const MAX_LINE_BYTES: u64 = 256 << 20;

/// A recorded run, ready to be run again.
pub struct Replay {
    llm: Llm,
    lines: Lines<BufReader<File>>,
    num_steps: u64,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordSummary {
    /// Sequences that arrived.
    pub num_sequences: u64,
    /// Steps.
    pub num_steps: u64,
}

/// How a repetition went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayReport {
    /// Steps that were repeated, the one that differs included.
    pub num_steps: u64,
    /// The first step that went another way; nothing was repeated after it.
    pub difference: Option<Difference>,
}

/// A step that went another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Steps before it.
    pub step_idx: u64,
    /// Line of the file, from 1.
    pub line: u64,
    /// What differs first.
    pub part: DifferentPart,
}

/// What of a step differs: each follows from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferentPart {
    /// Other tokens were computed, or in other slots.
    Batch,
    /// The logits have other bits.
    Logits,
    /// Other tokens were sampled.
    Tokens,
}

impl DifferentPart {
    /// In a word: `batch`, `logits`, `tokens`.
    pub const fn name(self) -> &'static str {
        match self {
            DifferentPart::Batch => "batch",
            DifferentPart::Logits => "logits",
            DifferentPart::Tokens => "tokens",
        }
    }
}

/// Why a run cannot be repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line is not what its place asks for.
    #[error("{path}, line {line}: {what}; the file is damaged or was not made by --record")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// Another Kvasir's file.
    #[error(
        "the record has format {found}, but this Kvasir reads format {FORMAT}; use version {version}"
    )]
    Format {
        /// The file's.
        found: u32,
        /// The Kvasir that wrote it.
        version: String,
    },
    /// This engine computes other bits.
    #[error(
        "recorded with the numerics id `{recorded}`, but this engine has `{here}`; record with \
         --cpu-isa portable to repeat a run on any machine"
    )]
    NumericsId {
        /// The file's.
        recorded: String,
        /// This engine's.
        here: String,
    },
    /// Another model, wherever it lies.
    #[error(
        "recorded with the model {model}, of other weights, tokenizer or configuration than the one here; give the \
         recorded one with --model"
    )]
    Model {
        /// Where it was.
        model: String,
    },
    /// The engine does not start, or does not take what it once took.
    #[error(transparent)]
    Llm(#[from] LlmError),
}

impl Replay {
    /// Starts the engine that `path` was recorded with: its model from where it was then, unless
    /// `model` says where it is now. The number of threads does not matter.
    ///
    /// # Errors
    /// [`ReplayError`] if the file is unreadable, or the engine cannot be had here.
    pub fn open(
        path: &Path,
        model: Option<PathBuf>,
        threads: Option<NonZero<usize>>,
    ) -> Result<Replay, ReplayError> {
        let mut lines = Lines::open(path)?;
        let header = lines.header()?;
        let mut builder = builder(&header, model.as_deref()).map_err(|what| lines.error(what))?;
        if let Some(threads) = threads {
            builder = builder.threads(threads);
        }
        let mut llm = builder.identified().build()?;
        let here = llm.numerics_id();
        if here != header.numerics_id {
            return Err(ReplayError::NumericsId { recorded: header.numerics_id, here });
        }
        if llm.kv_identity() != Some(&header.kv_identity) {
            return Err(ReplayError::Model { model: header.model });
        }
        llm.trace();
        Ok(Replay { llm, lines, num_steps: 0 })
    }

    /// Reads a whole record without running anything. `name` is what errors call it.
    ///
    /// # Errors
    /// [`ReplayError`] for the first line that is no part of a record.
    pub fn summarize(name: &Path, record: impl BufRead) -> Result<RecordSummary, ReplayError> {
        let mut lines = Lines::new(name.to_path_buf(), record, 0);
        let header = lines.header()?;
        builder(&header, None).map(drop).map_err(|what| lines.error(what))?;
        let mut summary = RecordSummary::default();
        while let Some(event) = lines.event()? {
            match event {
                Event::Add(_) => summary.num_sequences += 1,
                Event::Step { .. } => summary.num_steps += 1,
                Event::Finish { .. } | Event::ResetPrefixCache => {}
            }
        }
        Ok(summary)
    }

    /// Bytes of the file, and those of them that have been read.
    pub fn progress(&self) -> (u64, u64) {
        (self.lines.num_bytes, self.lines.num_read)
    }

    /// Repeats the run to its end, or to the first step that goes another way; calls `on_step` after
    /// each step.
    ///
    /// # Errors
    /// [`ReplayError`] for a line that cannot be: it is not the run that this engine would have had.
    pub fn run(mut self, mut on_step: impl FnMut(&Replay)) -> Result<ReplayReport, ReplayError> {
        while let Some(event) = self.lines.event()? {
            if let Some(part) = self.repeat(event)? {
                let (step_idx, line) = (self.num_steps - 1, self.lines.line);
                let difference = Some(Difference { step_idx, line, part });
                return Ok(ReplayReport { num_steps: self.num_steps, difference });
            }
            on_step(&self);
        }
        Ok(ReplayReport { num_steps: self.num_steps, difference: None })
    }

    fn repeat(&mut self, event: Event) -> Result<Option<DifferentPart>, ReplayError> {
        match event {
            Event::Add(recorded) => self.add(*recorded)?,
            Event::Finish { seq_id, reason } => self.finish(seq_id, reason)?,
            Event::ResetPrefixCache => {
                if !self.llm.reset_prefix_cache() {
                    return Err(self.lines.error("the prefix cache is in use"));
                }
            }
            Event::Step { observed, digest } => return Ok(self.step(observed, &digest)),
        }
        Ok(None)
    }

    fn add(&mut self, recorded: RecordedRequest) -> Result<(), ReplayError> {
        let expected = recorded.seq_id;
        let seq_id = self.llm.add_recorded(recorded)?;
        if seq_id != expected {
            let what =
                format!("the sequence has id {}, but {} would be next", expected.0, seq_id.0);
            return Err(self.lines.error(what));
        }
        Ok(())
    }

    fn finish(&mut self, seq_id: SeqId, reason: FinishReason) -> Result<(), ReplayError> {
        if !self.llm.finish_recorded(seq_id, reason) {
            return Err(self.lines.error(format!("sequence {} does not live", seq_id.0)));
        }
        Ok(())
    }

    fn step(&mut self, observed: Observed, expected: &StepDigest) -> Option<DifferentPart> {
        let found = self.llm.repeat_step(observed);
        self.num_steps += 1;
        let parts = [
            (DifferentPart::Batch, found.batch == expected.batch),
            (DifferentPart::Logits, found.logits == expected.logits),
            (DifferentPart::Tokens, found.tokens == expected.tokens),
        ];
        parts.into_iter().find(|(_, is_same)| !is_same).map(|(part, _)| part)
    }
}

/// The lines of a record, one at a time.
struct Lines<R> {
    path: PathBuf,
    reader: R,
    bytes: Vec<u8>,
    /// Lines read.
    line: u64,
    num_bytes: u64,
    num_read: u64,
}

impl Lines<BufReader<File>> {
    fn open(path: &Path) -> Result<Self, ReplayError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (num_bytes, file) =
            opened.map_err(|error| ReplayError::Io { path: path.to_path_buf(), error })?;
        Ok(Lines::new(path.to_path_buf(), BufReader::new(file), num_bytes))
    }
}

impl<R: BufRead> Lines<R> {
    fn new(path: PathBuf, reader: R, num_bytes: u64) -> Self {
        Lines { path, reader, bytes: Vec::new(), line: 0, num_bytes, num_read: 0 }
    }

    fn header(&mut self) -> Result<Header, ReplayError> {
        let Some(line) = self.next()? else {
            return Err(self.error("there is no header"));
        };
        let header: Header =
            serde_json::from_slice(line).map_err(|error| self.error(error.to_string()))?;
        if header.kvasir_record != FORMAT {
            let (found, version) = (header.kvasir_record, header.version);
            return Err(ReplayError::Format { found, version });
        }
        Ok(header)
    }

    /// What comes next; `None` at the end.
    fn event(&mut self) -> Result<Option<Event>, ReplayError> {
        let Some(line) = self.next()? else { return Ok(None) };
        match serde_json::from_slice(line) {
            Ok(event) => Ok(Some(event)),
            Err(error) => Err(self.error(error.to_string())),
        }
    }

    /// The next line; `None` after the last. A last line that was cut off is an error.
    fn next(&mut self) -> Result<Option<&[u8]>, ReplayError> {
        self.bytes.clear();
        let mut limited = (&mut self.reader).take(MAX_LINE_BYTES);
        let num_bytes = limited
            .read_until(b'\n', &mut self.bytes)
            .map_err(|error| ReplayError::Io { path: self.path.clone(), error })?;
        self.line += 1;
        self.num_read += num_bytes as u64;
        if num_bytes == 0 {
            return Ok(None);
        }
        if self.bytes.pop() != Some(b'\n') {
            return Err(self.error("the line has no end"));
        }
        Ok(Some(&self.bytes))
    }

    fn error(&self, what: impl Into<String>) -> ReplayError {
        ReplayError::Line { path: self.path.clone(), line: self.line, what: what.into() }
    }
}
